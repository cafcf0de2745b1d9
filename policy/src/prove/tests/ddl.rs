//! Lasting DDL, with what is made, changed and dropped named wrongly on purpose.

use super::*;
use crate::plan::RelationUse;

/// The policy allows DDL, and the judge claims that `plans` holds nothing of a tenant.
fn outcome(original: &str, rewritten: &str, ddl: bool) -> Result<Paired, Gap> {
    let before = tree(original);
    let mut findings = findings(&before);
    let used = [("public.plans", "global"), ("public.fresh", "new")];
    findings.relations = used
        .map(|(name, guard)| RelationUse {
            name: name.to_owned(),
            write: true,
            guard: guard.to_owned(),
        })
        .into();
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
fn what_is_said_of_lasting_objects_is_said_of_no_tenants() {
    let plans = "COMMENT ON COLUMN public.plans.id IS 'x'";
    for (client, sent) in [
        (
            "COMMENT ON TABLE public.plans IS 'x'",
            "COMMENT ON TABLE public.plans IS 'x'",
        ),
        (
            "COMMENT ON TABLE plans IS 'x'",
            "COMMENT ON TABLE public.plans IS 'x'",
        ),
        ("COMMENT ON COLUMN plans.id IS 'x'", plans),
    ] {
        assert_eq!(outcome(client, sent, true).err(), None, "{client}");
        assert!(outcome(client, sent, false).is_err(), "{client}");
    }
    for (client, sent) in [
        (
            "COMMENT ON TABLE leads IS 'x'",
            "COMMENT ON TABLE public.leads IS 'x'",
        ),
        (
            "COMMENT ON TABLE plans IS 'x'",
            "COMMENT ON TABLE public.leads IS 'x'",
        ),
        (
            "COMMENT ON TABLE leads IS 'x'",
            "COMMENT ON TABLE public.plans IS 'x'",
        ),
        (
            "COMMENT ON TABLE plans IS 'x'",
            "COMMENT ON TABLE plans IS 'x'",
        ),
        (
            "COMMENT ON TABLE nowhere IS 'x'",
            "COMMENT ON TABLE public.nowhere IS 'x'",
        ),
        ("COMMENT ON COLUMN plans.name IS 'x'", plans),
        ("COMMENT ON COLUMN plans.id IS 'y'", plans),
        (
            "COMMENT ON SCHEMA public IS 'x'",
            "COMMENT ON SCHEMA public IS 'x'",
        ),
    ] {
        assert!(outcome(client, sent, true).is_err(), "{client} as {sent}");
    }
}

#[test]
fn a_sequence_is_owned_by_no_tenants_table() {
    let made = "CREATE SEQUENCE public.fresh; ALTER SEQUENCE public.fresh OWNED BY public.plans.id";
    for client in [
        made,
        &made.replace("BY public.", "BY "),
        &made.replace("SEQUENCE public.", "SEQUENCE "),
    ] {
        assert_eq!(outcome(client, made, true).err(), None, "{client}");
    }
    for (from, to) in [
        ("plans", "leads"),
        ("BY public.plans.id", "BY plans.id"),
        ("BY public.plans.id", "BY NONE"),
        ("OWNED BY public.plans.id", "RESTART"),
        (
            "OWNED BY public.plans.id",
            "OWNED BY public.plans.id RESTART",
        ),
        ("; ALTER SEQUENCE public.", "; ALTER SEQUENCE "),
        ("; ALTER SEQUENCE public.", "; ALTER SEQUENCE pg_temp."),
        (
            "; ALTER SEQUENCE public.fresh",
            "; ALTER SEQUENCE public.other",
        ),
    ] {
        let other = made.replace(from, to);
        assert!(outcome(made, &other, true).is_err(), "as {other}");
    }
    for other in [
        made.replace("plans", "leads"),
        made.replace("plans", "nowhere"),
    ] {
        assert!(outcome(&other, &other, true).is_err(), "{other}");
    }
    assert!(outcome(made, made, false).is_err());
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
        ("DROP TABLE plans", "DROP TABLE plans CASCADE"),
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

/// What a message makes is there behind it, where it was sent with its schema.
#[test]
fn what_is_made_is_there_for_the_statements_behind() {
    let made = "CREATE TABLE fresh (a int, PRIMARY KEY (a))";
    let there = "CREATE TABLE public.fresh (a int, PRIMARY KEY (a))";
    for (client, sent) in [
        ("SELECT 1 FROM fresh", "SELECT 1 FROM public.fresh"),
        (
            "INSERT INTO fresh VALUES (1)",
            "INSERT INTO public.fresh VALUES (1)",
        ),
        (
            "SAVEPOINT s; SELECT 1 FROM fresh",
            "SAVEPOINT s; SELECT 1 FROM public.fresh",
        ),
        (
            "DROP TABLE fresh; CREATE TABLE fresh (b int)",
            "DROP TABLE fresh; CREATE TABLE public.fresh (b int)",
        ),
        ("TRUNCATE fresh", "TRUNCATE public.fresh"),
        (
            "ALTER TABLE fresh RENAME TO newer; SELECT 1 FROM newer",
            "ALTER TABLE public.fresh RENAME TO newer; SELECT 1 FROM public.newer",
        ),
    ] {
        let (client, sent) = (format!("{made}; {client}"), format!("{there}; {sent}"));
        assert_eq!(outcome(&client, &sent, true).err(), None, "{sent}");
        assert!(outcome(&client, &sent, false).is_err(), "{sent}");
        // Somewhere, as the server finds it.
        let bare = sent.replacen("CREATE TABLE public.", "CREATE TABLE ", 1);
        assert!(outcome(&client, &bare, true).is_err(), "{bare}");
        let elsewhere = sent.replacen("CREATE TABLE public.", "CREATE TABLE private.", 1);
        assert!(outcome(&client, &elsewhere, true).is_err(), "{elsewhere}");
    }
    let again = "DROP TABLE plans; CREATE TABLE public.plans (b int); SELECT 1 FROM public.plans";
    assert_eq!(outcome(again, again, true).err(), None);
    let absent = "DROP TABLE IF EXISTS pg_temp.fresh; CREATE TABLE public.fresh (b int); SELECT 1 FROM public.fresh";
    for client in ["public.fresh", "fresh"] {
        let client = absent.replacen("pg_temp.fresh", client, 1);
        assert_eq!(outcome(&client, absent, true).err(), None, "{client}");
    }
}

#[test]
fn what_may_not_be_there_is_not_believed() {
    for made in [
        "CREATE TABLE IF NOT EXISTS public.fresh (a int)",
        "CREATE TABLE public.fresh (LIKE public.plans)",
        "CREATE TABLE public.other (a int)",
        "CREATE SEQUENCE public.fresh",
        "CREATE TABLE public.fresh (a int); COMMIT",
        "CREATE TABLE public.fresh (a int); ROLLBACK",
        "CREATE TABLE public.fresh (a int); ROLLBACK TO s",
        "CREATE TABLE public.fresh (a int); PREPARE TRANSACTION 's'",
        "CREATE TABLE public.fresh (a int); CALL public.p()",
        "CREATE TABLE public.fresh (a int); DROP TABLE public.fresh",
        "CREATE TABLE public.fresh (a int); ALTER TABLE public.fresh RENAME TO newer",
        "ALTER TABLE public.plans RENAME TO fresh",
        "SELECT 1",
    ] {
        for used in [
            "SELECT 1 FROM public.fresh",
            "DROP TABLE public.fresh",
            "TRUNCATE public.fresh",
        ] {
            let sql = format!("{made}; {used}");
            assert!(outcome(&sql, &sql, true).is_err(), "{sql}");
        }
    }
    for sql in [
        "DROP TABLE public.plans; SELECT 1 FROM public.plans",
        "DROP TABLE public.plans; ROLLBACK; SELECT 1 FROM public.plans",
        "ALTER TABLE public.plans RENAME TO fresh; SELECT 1 FROM public.plans",
        "CREATE TABLE public.fresh (a int); CREATE TABLE private.fresh (a int)",
        "DROP TABLE public.plans; ROLLBACK; CREATE TABLE public.plans (a int)",
    ] {
        assert!(outcome(sql, sql, true).is_err(), "{sql}");
    }
    for (client, sent) in [
        (
            "CREATE TABLE IF NOT EXISTS fresh (a int); DROP TABLE IF EXISTS fresh",
            "CREATE TABLE IF NOT EXISTS public.fresh (a int); DROP TABLE IF EXISTS pg_temp.fresh",
        ),
        (
            "DROP TABLE IF EXISTS public.leads",
            "DROP TABLE IF EXISTS pg_temp.leads",
        ),
        ("DROP TABLE public.nowhere", "DROP TABLE pg_temp.nowhere"),
    ] {
        assert!(outcome(client, sent, true).is_err(), "{sent}");
    }
}

/// A foreign key may name the table that is being made, and no tenant's.
#[test]
fn what_is_made_refers_to_itself() {
    let bare = "CREATE TABLE fresh (a int PRIMARY KEY, b int REFERENCES fresh)";
    let sent = "CREATE TABLE public.fresh (a int PRIMARY KEY, b int REFERENCES public.fresh)";
    for (original, rewritten) in [(bare, bare), (bare, sent), (sent, sent)] {
        assert_eq!(
            outcome(original, rewritten, true).err(),
            None,
            "{rewritten}"
        );
    }
    for referred in ["app.fresh", "public.leads", "leads", "public.plans"] {
        let other = sent.replace("REFERENCES public.fresh", &format!("REFERENCES {referred}"));
        for original in [bare, sent] {
            assert!(outcome(original, &other, true).is_err(), "{other}");
        }
    }
    for referred in ["public.leads", "leads"] {
        for sql in [
            format!("CREATE TABLE fresh (a uuid REFERENCES {referred})"),
            format!("ALTER TABLE public.plans ADD FOREIGN KEY (id) REFERENCES {referred}"),
        ] {
            assert!(outcome(&sql, &sql, true).is_err(), "{sql}");
        }
    }
}

/// An operator class names functions: it must be one of pg_catalog.
#[test]
fn an_operator_class_is_sent_with_its_schema() {
    let index = |class: &str| format!("CREATE INDEX fresh ON public.plans (id {class})");
    let (bare, sent) = (
        index("text_pattern_ops"),
        index("pg_catalog.text_pattern_ops"),
    );
    for original in [&bare, &sent] {
        assert_eq!(outcome(original, &sent, true).err(), None, "{original}");
    }
    for other in [
        bare.clone(),
        index(""),
        index("app.text_pattern_ops"),
        index("pg_catalog.text_ops"),
    ] {
        assert!(outcome(&bare, &other, true).is_err(), "{other}");
    }
    let own = index("app.text_pattern_ops");
    assert!(outcome(&own, &own, true).is_err());
}

#[test]
fn only_an_enum_of_its_name_is_dropped() {
    let absent = "DROP TYPE IF EXISTS pg_temp.nothing";
    for client in [
        "DROP TYPE IF EXISTS nothing",
        "DROP TYPE IF EXISTS public.nothing CASCADE",
    ] {
        assert_eq!(outcome(client, absent, true).err(), None, "{client}");
        assert!(outcome(client, absent, false).is_err(), "{client}");
    }
    for (client, sent) in [
        ("DROP TYPE nothing", "DROP TYPE nothing"),
        ("DROP TYPE IF EXISTS nothing", "DROP TYPE IF EXISTS nothing"),
        (
            "DROP TYPE IF EXISTS nothing",
            "DROP TYPE IF EXISTS pg_temp.other",
        ),
        (
            "DROP TYPE IF EXISTS nothing",
            "DROP TYPE IF EXISTS pg_temp.nothing CASCADE",
        ),
        (
            "DROP TYPE IF EXISTS nothing",
            "DROP TABLE IF EXISTS pg_temp.nothing",
        ),
        ("DROP TYPE nothing", "DROP TYPE pg_temp.nothing"),
        ("DROP TYPE leads", "DROP TYPE leads"),
        (
            "DROP TYPE IF EXISTS leads",
            "DROP TYPE IF EXISTS pg_temp.leads",
        ),
        ("DROP TYPE uuid", "DROP TYPE uuid"),
    ] {
        assert!(outcome(client, sent, true).is_err(), "{sent}");
    }
}
