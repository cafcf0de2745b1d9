//! Temporary tables, with what is made, read and dropped named wrongly on purpose.

use super::*;
use crate::temporary::Temporary;

/// The session has temporary tables `leads` and `t`.
fn outcome(original: &str, rewritten: &str) -> Result<Paired, Gap> {
    let before = tree(original);
    let mut findings = findings(&before);
    for (_, decision) in &mut findings.places.decisions {
        if let Decision::Relation {
            schema,
            name,
            scoped,
        } = decision
            && (schema == "pg_temp" || schema == "public" && is_own(original, name))
        {
            *schema = "pg_temp".to_owned();
            scoped.clear();
        }
    }
    let after = tree(&expand(rewritten));
    let own = ["leads", "t"].map(|name| Temporary {
        name: name.to_owned(),
        is_table: true,
        columns: Vec::new(),
    });
    let claims = Claims {
        findings: &findings,
        own: 4,
        declared: &[],
        catalog: &catalog(),
        views: &Views::default(),
        values: &ScopeValues::new(vec![Some(ScopeValue::Uuid(uuid::Uuid::nil()))]),
        search_path: &["public".to_owned()],
        temporaries: &Temporaries::new(own.into()),
        enforce: true,
        ddl: false,
        lock: false,
    };
    walk(&before, &after, claims)
}

/// What the judge may think of a name: that it is a temporary table.
fn is_own(original: &str, name: &str) -> bool {
    !original.contains(&format!("public.{name}"))
}

#[track_caller]
fn proven(original: &str, rewritten: &str) {
    assert_eq!(outcome(original, rewritten).err(), None, "{rewritten}");
}

#[track_caller]
fn refused(original: &str, rewritten: &str) {
    assert!(outcome(original, rewritten).is_err(), "{rewritten}");
}

#[test]
fn a_temporary_table_is_sent_as_one() {
    for name in ["leads", "t", "pg_temp.t"] {
        let client = format!("SELECT 1 FROM {name} WHERE id = 1");
        let bare = name.trim_start_matches("pg_temp.");
        proven(
            &client,
            &format!("SELECT 1 FROM pg_temp.{bare} WHERE id = 1"),
        );
        refused(&client, &format!("SELECT 1 FROM {bare} WHERE id = 1"));
        refused(
            &client,
            &format!("SELECT 1 FROM public.{bare} WHERE id = 1"),
        );
        refused(&client, "SELECT 1 FROM pg_temp.calls WHERE id = 1");
    }
    // The judge takes for temporary what is not.
    refused("SELECT 1 FROM calls", "SELECT 1 FROM pg_temp.calls");
    refused("SELECT 1 FROM calls", "SELECT 1 FROM public.calls");
    refused(
        "SELECT 1 FROM public.calls",
        "SELECT 1 FROM pg_temp.calls WHERE @calls@",
    );
}

#[test]
fn what_is_made_is_temporary() {
    for table in ["TEMP TABLE n", "TABLE pg_temp.n"] {
        let client = format!("CREATE {table} (a int CHECK (a > 0))");
        proven(&client, &client);
        let client = format!("CREATE {table} AS SELECT 1");
        proven(&client, &client);
    }
    proven("SELECT 1 INTO TEMP n", "SELECT 1 INTO TEMP n");
    for client in [
        "CREATE TABLE n (a int)",
        "CREATE UNLOGGED TABLE n (a int)",
        "CREATE TABLE public.n (a int)",
        "CREATE TABLE n AS SELECT 1",
        "SELECT 1 INTO n",
        "CREATE TEMP TABLE n (a int) INHERITS (t)",
        "CREATE TEMP TABLE n PARTITION OF t DEFAULT",
        "CREATE TEMP TABLE n OF public.leads",
    ] {
        refused(client, client);
    }
    refused("CREATE TEMP TABLE n (a int)", "CREATE TABLE n (a int)");
    refused("CREATE TEMP TABLE n (a int)", "CREATE TEMP TABLE m (a int)");
    refused(
        "CREATE TEMP TABLE n AS SELECT 1",
        "CREATE TABLE n AS SELECT 1",
    );
    let client = "CREATE TEMP TABLE n AS SELECT 1 FROM public.leads";
    refused(client, client);
    refused(
        "CREATE TEMP TABLE n (id int REFERENCES public.leads)",
        "CREATE TEMP TABLE n (id int REFERENCES public.leads)",
    );
}

#[test]
fn what_is_dropped_and_emptied_is_temporary() {
    proven("DROP TABLE t, leads", "DROP TABLE pg_temp.t, pg_temp.leads");
    proven(
        "DROP TABLE IF EXISTS none",
        "DROP TABLE IF EXISTS pg_temp.none",
    );
    proven("TRUNCATE t", "TRUNCATE pg_temp.t");
    proven("ANALYZE t", "ANALYZE pg_temp.t");
    proven("CREATE INDEX ON t (a)", "CREATE INDEX ON pg_temp.t (a)");
    for (client, sent) in [
        ("DROP TABLE t", "DROP TABLE t"),
        ("DROP TABLE t", "DROP TABLE pg_temp.leads"),
        ("DROP TABLE t", "DROP TABLE pg_temp.t, pg_temp.leads"),
        ("DROP TABLE calls", "DROP TABLE pg_temp.calls"),
        ("DROP TABLE public.leads", "DROP TABLE public.leads"),
        ("DROP TABLE public.leads", "DROP TABLE pg_temp.leads"),
        ("DROP VIEW t", "DROP VIEW pg_temp.t"),
        ("TRUNCATE t", "TRUNCATE t"),
        ("TRUNCATE public.calls", "TRUNCATE public.calls"),
        ("TRUNCATE public.plans", "TRUNCATE public.plans"),
        ("ANALYZE public.plans", "ANALYZE public.plans"),
        (
            "CREATE INDEX ON public.plans (a)",
            "CREATE INDEX ON public.plans (a)",
        ),
    ] {
        refused(client, sent);
    }
}
