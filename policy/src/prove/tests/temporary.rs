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
        kind: crate::temporary::Kind::Table,
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
        channels: &["jobs".to_owned()],
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
fn a_view_that_is_made_is_temporary_and_a_fence() {
    let client = "CREATE TEMP VIEW v (a) AS SELECT l.id FROM public.leads l WHERE l.id = 1";
    let sent = "CREATE TEMP VIEW v (a) AS SELECT l.id FROM public.leads l WHERE @l@ AND l.id = 1";
    proven(client, &format!("{sent} OFFSET 0"));
    refused(client, sent);
    refused(client, &format!("{sent} OFFSET 1"));
    refused(client, &format!("{client} OFFSET 0"));
    refused(client, &format!("{sent} OFFSET 0").replace("TEMP", ""));
    refused(client, &format!("{sent} OFFSET 0").replace(" v ", " w "));
    refused(client, &format!("{sent} OFFSET 0 WITH CHECK OPTION"));
    let client = "CREATE TEMP VIEW v AS SELECT 1 AS a";
    proven(client, client);
    proven(
        "CREATE TEMP VIEW v AS SELECT 1 FROM t",
        "CREATE TEMP VIEW v AS SELECT 1 FROM pg_temp.t",
    );
    for client in [
        "CREATE VIEW v AS SELECT 1 AS a",
        "CREATE VIEW public.v AS SELECT 1 AS a",
        "CREATE TEMP VIEW v WITH (security_invoker) AS SELECT 1 AS a",
        "CREATE TEMP VIEW v AS SELECT 1 AS a WITH CHECK OPTION",
    ] {
        refused(client, client);
    }
}

#[test]
fn a_sequence_that_is_made_is_temporary() {
    let client = "CREATE TEMP SEQUENCE s START 5";
    proven(client, client);
    refused(client, "CREATE SEQUENCE s START 5");
    refused("CREATE SEQUENCE s", "CREATE SEQUENCE s");
    proven("DROP SEQUENCE t", "DROP SEQUENCE pg_temp.t");
    proven("DROP VIEW IF EXISTS v", "DROP VIEW IF EXISTS pg_temp.v");
    refused("DROP VIEW public.v", "DROP VIEW pg_temp.v");
    refused("DROP SEQUENCE calls", "DROP SEQUENCE pg_temp.calls");
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
        (
            "DROP MATERIALIZED VIEW t",
            "DROP MATERIALIZED VIEW pg_temp.t",
        ),
        ("DROP INDEX none", "DROP INDEX IF EXISTS pg_temp.none"),
        ("DROP INDEX leads", "DROP INDEX leads"),
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

#[test]
fn what_is_changed_is_temporary_and_stays_alone() {
    for (client, sent) in [
        (
            "ALTER TABLE t ADD COLUMN a int",
            "ALTER TABLE pg_temp.t ADD COLUMN a int",
        ),
        (
            "ALTER TABLE t RENAME TO n",
            "ALTER TABLE pg_temp.t RENAME TO n",
        ),
        (
            "ALTER TABLE t RENAME a TO b",
            "ALTER TABLE pg_temp.t RENAME a TO b",
        ),
        ("DROP INDEX t", "DROP INDEX pg_temp.t"),
        (
            "COMMENT ON TABLE t IS 'x'",
            "COMMENT ON TABLE pg_temp.t IS 'x'",
        ),
        (
            "COMMENT ON COLUMN t.a IS 'x'",
            "COMMENT ON COLUMN pg_temp.t.a IS 'x'",
        ),
        (
            "COMMENT ON COLUMN pg_temp.t.a IS 'x'",
            "COMMENT ON COLUMN pg_temp.t.a IS 'x'",
        ),
    ] {
        proven(client, sent);
    }
    for (client, sent) in [
        ("ALTER TABLE t ADD a int", "ALTER TABLE t ADD a int"),
        (
            "ALTER TABLE t ADD a int",
            "ALTER TABLE pg_temp.leads ADD a int",
        ),
        (
            "ALTER TABLE calls ADD a int",
            "ALTER TABLE pg_temp.calls ADD a int",
        ),
        (
            "ALTER TABLE public.leads ADD a int",
            "ALTER TABLE pg_temp.leads ADD a int",
        ),
        (
            "ALTER TABLE public.plans ADD a int",
            "ALTER TABLE public.plans ADD a int",
        ),
        (
            "ALTER TABLE t INHERIT public.plans",
            "ALTER TABLE pg_temp.t INHERIT public.plans",
        ),
        (
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE pg_temp.t ENABLE ROW LEVEL SECURITY",
        ),
        (
            "ALTER TABLE t RENAME TO n",
            "ALTER TABLE pg_temp.t RENAME TO m",
        ),
        (
            "ALTER TABLE t RENAME a TO b",
            "ALTER TABLE pg_temp.t RENAME b TO b",
        ),
        ("COMMENT ON TABLE t IS 'x'", "COMMENT ON TABLE t IS 'x'"),
        (
            "COMMENT ON TABLE t IS 'x'",
            "COMMENT ON TABLE pg_temp.leads IS 'x'",
        ),
        (
            "COMMENT ON TABLE calls IS 'x'",
            "COMMENT ON TABLE pg_temp.calls IS 'x'",
        ),
        (
            "COMMENT ON TABLE public.leads IS 'x'",
            "COMMENT ON TABLE pg_temp.leads IS 'x'",
        ),
        (
            "COMMENT ON TABLE public.leads IS 'x'",
            "COMMENT ON TABLE public.leads IS 'x'",
        ),
        (
            "COMMENT ON COLUMN t.a IS 'x'",
            "COMMENT ON COLUMN pg_temp.t.b IS 'x'",
        ),
        (
            "COMMENT ON COLUMN t.a IS 'x'",
            "COMMENT ON COLUMN public.t.a IS 'x'",
        ),
        (
            "COMMENT ON COLUMN calls.a IS 'x'",
            "COMMENT ON COLUMN pg_temp.calls.a IS 'x'",
        ),
        ("COMMENT ON ROLE t IS 'x'", "COMMENT ON ROLE t IS 'x'"),
    ] {
        refused(client, sent);
    }
}

#[test]
fn behind_a_change_a_name_means_what_it_means_then() {
    let guarded = "SELECT FROM public.leads WHERE @leads@";
    let dropped = "DROP TABLE pg_temp.leads";
    // Behind the DROP of the temporary table the name means the tenants' one.
    for (client, sent) in [
        (
            "DROP TABLE leads; SELECT FROM public.leads",
            format!("{dropped}; {guarded}"),
        ),
        (
            "SELECT FROM leads; DROP TABLE leads",
            format!("SELECT FROM pg_temp.leads; {dropped}"),
        ),
    ] {
        proven(client, &sent);
    }
    for (client, sent) in [
        // Taken for the temporary one still.
        (
            "DROP TABLE leads; SELECT FROM leads",
            format!("{dropped}; SELECT FROM pg_temp.leads"),
        ),
        (
            "ALTER TABLE leads RENAME TO n; SELECT FROM leads",
            "ALTER TABLE pg_temp.leads RENAME TO n; SELECT FROM pg_temp.leads".to_owned(),
        ),
        (
            "DROP TABLE leads; SELECT FROM public.leads",
            format!("{dropped}; SELECT FROM public.leads"),
        ),
        (
            "DROP TABLE leads; DROP TABLE leads",
            format!("{dropped}; DROP TABLE leads"),
        ),
    ] {
        refused(client, &sent);
    }
    let remade = "DROP TABLE leads; CREATE TEMP TABLE leads (n int); SELECT FROM leads";
    proven(
        remade,
        &format!("{dropped}; CREATE TEMP TABLE leads (n int); SELECT FROM pg_temp.leads"),
    );
}
