//! Lasting DDL, with what is made, changed and dropped named wrongly on purpose.

use super::*;
use crate::plan::RelationUse;

/// The policy allows DDL, and the judge claims that `plans` holds nothing of a tenant.
fn outcome(original: &str, rewritten: &str, ddl: bool) -> Result<Paired, Gap> {
    let before = tree(original);
    let mut findings = findings(&before);
    findings.relations = vec![RelationUse {
        name: "public.plans".to_owned(),
        write: true,
        guard: "global".to_owned(),
    }];
    let claims = Claims {
        findings: &findings,
        own: 4,
        declared: &[],
        catalog: &catalog(),
        views: &Views::default(),
        values: &ScopeValues::new(vec![Some(ScopeValue::Uuid(uuid::Uuid::nil()))]),
        search_path: &["public".to_owned()],
        temporaries: &Temporaries::default(),
        enforce: true,
        ddl,
        lock: false,
        channels: &["jobs".to_owned()],
    };
    walk(&before, &tree(rewritten), claims)
}

#[test]
fn what_is_no_tenants_is_changed_as_it_came() {
    for sql in [
        "CREATE TABLE fresh (a int)",
        "CREATE SEQUENCE fresh",
        "ALTER TABLE public.plans ADD x int",
        "ALTER TABLE public.plans RENAME TO fresh",
        "CREATE INDEX fresh ON public.plans (id)",
        "DROP TABLE public.plans",
        "DROP TABLE plans",
        "TRUNCATE public.plans",
        "TRUNCATE public.plans RESTART IDENTITY",
    ] {
        assert_eq!(outcome(sql, sql, true).err(), None, "{sql}");
        assert!(outcome(sql, sql, false).is_err(), "{sql}");
    }
}

#[test]
fn what_is_a_tenants_is_not() {
    for sql in [
        "CREATE TABLE leads (a int)",
        "CREATE TABLE app.leads (a int)",
        "CREATE SEQUENCE app.leads",
        "ALTER TABLE public.leads ADD x int",
        "ALTER TABLE public.plans RENAME TO leads",
        "CREATE INDEX fresh ON public.leads (id)",
        "DROP TABLE leads",
        "DROP TABLE plans, leads",
        "DROP TABLE plans CASCADE",
        "DROP TABLE nowhere",
        "TRUNCATE public.leads",
        "TRUNCATE public.plans, public.leads",
        "TRUNCATE public.plans CASCADE",
        "TRUNCATE public.nowhere",
    ] {
        assert!(outcome(sql, sql, true).is_err(), "{sql}");
    }
    for (client, sent) in [
        ("DROP TABLE plans", "DROP TABLE leads"),
        ("TRUNCATE plans", "TRUNCATE public.leads"),
        ("TRUNCATE plans", "TRUNCATE public.plans, public.leads"),
        ("TRUNCATE plans", "TRUNCATE public.plans CASCADE"),
        ("CREATE TABLE fresh (a int)", "CREATE TABLE other (a int)"),
        (
            "ALTER TABLE public.plans ADD x int",
            "ALTER TABLE public.plans ADD y int",
        ),
        (
            "ALTER TABLE public.plans RENAME TO fresh",
            "ALTER TABLE public.plans RENAME TO other",
        ),
    ] {
        assert!(outcome(client, sent, true).is_err(), "{sent}");
    }
}
