//! The catalogue reader on the suites' schema.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pgwarden_policy::Catalog;
use pgwarden_policy::catalog::{
    Cast, CastContext, FunctionKind, Relation, RelationKind, Type, TypeKind,
};
use pgwarden_tests::engine::engine;
use pgwarden_tests::fixture::{self, major_version, script, server, superuser};

/// What the fixture's schema lacks: domains whose checks run somebody's code.
const MORE: &str = "
    CREATE SCHEMA reader;
    CREATE DOMAIN reader.plain AS int CHECK (VALUE > 0);
    CREATE DOMAIN reader.coded AS text CHECK (public.initials(VALUE) <> '');
    CREATE DOMAIN reader.signed AS text CHECK (VALUE OPERATOR(public.===) 'x');
    CREATE DOMAIN reader.over_coded AS reader.coded;
    CREATE DOMAIN reader.over_array AS reader.coded[];
    CREATE TYPE reader.pair AS (a int, b reader.over_coded);
    CREATE TYPE reader.reach AS RANGE (subtype = reader.coded);
    CREATE TABLE reader.dropped (a int, b text NOT NULL DEFAULT 'x', c int GENERATED ALWAYS AS (1) STORED);
    ALTER TABLE reader.dropped DROP COLUMN a;
    CREATE VIEW reader.over_view AS
      SELECT o.id FROM public.lead_overview o JOIN public.plans p ON true;
    CREATE MATERIALIZED VIEW reader.kept AS SELECT id FROM public.plans;
    ALTER TABLE reader.dropped ENABLE ROW LEVEL SECURITY;
    CREATE TYPE reader.label AS ENUM ('x');
    CREATE FUNCTION reader.label(public.money_pair) RETURNS reader.label LANGUAGE sql AS $$ SELECT 'x'::reader.label $$;
    CREATE CAST (public.money_pair AS reader.label) WITH FUNCTION reader.label(public.money_pair);
    GRANT USAGE ON SCHEMA reader TO pgwarden_app";

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let address = server().address();
        let mut admin = superuser(address, "postgres");
        script(&mut admin, "CREATE DATABASE reader TEMPLATE base");
        script(&mut superuser(address, "reader"), MORE);
        if invoker_views() {
            let invoker = "ALTER VIEW reader.over_view SET (security_invoker = on)";
            script(&mut superuser(address, "reader"), invoker);
        }
        let _temporary = {
            let mut client = superuser(address, "reader");
            script(&mut client, "CREATE TEMPORARY TABLE passing (id int)");
            client
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(read(address.port()))
    })
}

/// Views learnt to run as their user in PostgreSQL 15.
fn invoker_views() -> bool {
    major_version(&superuser(server().address(), "postgres")) >= 15
}

/// As the role that the proxy uses, which owns nothing.
async fn read(port: u16) -> Catalog {
    let url = format!(
        "host=127.0.0.1 port={port} user={} dbname=reader",
        fixture::ROLE
    );
    let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
    let (client, connection) = connected.unwrap();
    tokio::spawn(connection);
    let first = pgwarden_schema::read_catalog(&client).await.unwrap();
    let second = pgwarden_schema::read_catalog(&client).await.unwrap();
    assert_eq!(
        first.parts(),
        second.parts(),
        "reading twice gives the same"
    );
    first
}

fn relation(schema: &str, name: &str) -> &'static Relation {
    let found = catalog().relation(schema, name);
    found.unwrap_or_else(|| panic!("{schema}.{name} is not in the catalogue"))
}

fn type_named(schema: &str, name: &str) -> &'static Type {
    let mut found = catalog().types_named(name);
    found
        .find(|ty| ty.schema == schema)
        .unwrap_or_else(|| panic!("{schema}.{name} is not in the catalogue"))
}

fn names(relation: &Relation) -> Vec<&str> {
    relation.columns.iter().map(|it| it.name.as_str()).collect()
}

#[test]
fn version_and_schemas() {
    let parts = catalog().parts();
    assert!(parts.server_version_num >= 130_000);
    for schema in [
        "public",
        "app",
        "hidden",
        "pg_catalog",
        "information_schema",
    ] {
        assert!(parts.schemas.iter().any(|it| it == schema), "{schema}");
    }
    assert!(!parts.schemas.iter().any(|it| it.starts_with("pg_temp")));
}

#[test]
fn relations_of_every_kind() {
    let kinds = [
        ("public", "leads", RelationKind::Table),
        ("public", "events", RelationKind::PartitionedTable),
        ("public", "lead_overview", RelationKind::View),
        ("reader", "kept", RelationKind::MaterializedView),
        ("public", "made_ids", RelationKind::Sequence),
        ("pg_catalog", "pg_class", RelationKind::Table),
        ("pg_catalog", "pg_stat_activity", RelationKind::View),
        ("information_schema", "columns", RelationKind::View),
    ];
    for (schema, name, kind) in kinds {
        assert_eq!(relation(schema, name).kind, kind, "{schema}.{name}");
    }
    let relations = &catalog().parts().relations;
    assert!(!relations.iter().any(|it| it.name == "passing"));
    assert!(!relations.iter().any(|it| it.schema == "pg_toast"));
    assert!(catalog().relation("public", "leads_pkey").is_none());
}

#[test]
fn columns_are_the_live_ones() {
    let dropped = relation("reader", "dropped");
    assert_eq!(names(dropped), ["b", "c"]);
    let (b, c) = (dropped.column("b").unwrap(), dropped.column("c").unwrap());
    assert!(b.not_null && b.has_default && !b.generated);
    assert!(c.generated && !c.not_null);
    assert_eq!((b.number, c.number), (2, 3));
    let id = relation("public", "payments").column("id").unwrap();
    assert!(id.identity && id.not_null);
    let order = relation("public", "Order Items");
    assert_eq!(names(order), ["Id", "org_id", "select", "Qty"]);
    assert_eq!(order.column("org_id").unwrap().type_oid, 2950);
    assert!(
        relation("pg_catalog", "pg_class")
            .column("relname")
            .is_some()
    );
}

#[test]
fn parents_and_partitions() {
    let part = relation("public", "events_2025");
    assert!(part.is_partition);
    assert_eq!(part.parents, [relation("public", "events").oid]);
    let child = relation("public", "notes_old");
    assert!(!child.is_partition);
    assert_eq!(child.parents, [relation("public", "notes").oid]);
}

#[test]
fn views_and_row_security() {
    let view = relation("reader", "over_view");
    assert_eq!(view.security_invoker, invoker_views());
    let mut expected = [
        relation("public", "lead_overview").oid,
        relation("public", "plans").oid,
    ];
    expected.sort_unstable();
    assert_eq!(view.depends_on, expected);
    assert!(!relation("public", "lead_overview").security_invoker);
    let guarded = relation("reader", "dropped");
    assert!(guarded.row_security && !guarded.force_row_security);
}

#[test]
fn types_and_what_runs_on_input() {
    assert_eq!(type_named("pg_catalog", "int4").kind, TypeKind::Base);
    assert_eq!(type_named("pg_catalog", "_int4").element, 23);
    assert_eq!(type_named("pg_catalog", "point").element, 0);
    assert_eq!(type_named("public", "call_status").kind, TypeKind::Enum);
    assert_eq!(type_named("public", "leads").kind, TypeKind::Composite);
    assert_eq!(type_named("public", "org_ref").base, 2950);
    assert_eq!(
        type_named("public", "hstore").extension.as_deref(),
        Some("hstore")
    );
    assert_eq!(
        type_named("public", "_hstore").extension.as_deref(),
        Some("hstore")
    );
    let coded = [
        "coded",
        "_coded",
        "signed",
        "over_coded",
        "over_array",
        "pair",
        "_pair",
        "reach",
    ];
    for name in coded {
        assert!(type_named("reader", name).check_calls_function, "{name}");
    }
    for name in ["plain", "_plain", "dropped", "label"] {
        assert!(!type_named("reader", name).check_calls_function, "{name}");
    }
    assert!(!type_named("information_schema", "cardinal_number").check_calls_function);
}

#[test]
fn functions_operators_and_casts() {
    let one = |name: &str| {
        let found: Vec<_> = catalog().functions_named(name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0]
    };
    let leak = one("cheap_leak");
    assert_eq!(
        (leak.schema.as_str(), leak.language.as_str()),
        ("public", "plpgsql")
    );
    assert_eq!((leak.volatility, leak.leakproof), ('v', false));
    assert_eq!(leak.arguments, [25]);
    assert!(one("all_leads").returns_set);
    assert!(one("definer_count").security_definer);
    assert_eq!(one("wipe").kind, FunctionKind::Procedure);
    assert_eq!(one("gather").kind, FunctionKind::Aggregate);
    assert_eq!(one("similarity").extension.as_deref(), Some("pg_trgm"));
    assert_eq!(catalog().functions_named("lower").count(), 0);
    assert_eq!(catalog().functions_named("_pg_expandarray").count(), 0);

    let operators: Vec<_> = catalog().operators_named("===").collect();
    assert_eq!(operators.len(), 1);
    assert_eq!(operators[0].function, "loud_eq");
    assert!(operators[0].extension.is_none());
    let similar = catalog()
        .operators_named("%")
        .find(|it| it.schema == "public");
    assert_eq!(similar.unwrap().extension.as_deref(), Some("pg_trgm"));

    let uuid = type_named("pg_catalog", "uuid").oid;
    let text = type_named("pg_catalog", "text").oid;
    let loud = catalog()
        .operators_named("===")
        .find(|it| it.schema == "public");
    assert_eq!(loud.map(|it| (it.left, it.right)), Some((text, text)));

    let (cast, _) = catalog()
        .calling_casts()
        .find(|(_, function)| function.name == "label")
        .unwrap();
    assert_eq!(cast.source, type_named("public", "money_pair").oid);
    assert_eq!(cast.target, type_named("reader", "label").oid);
    assert_eq!(cast.context, CastContext::Explicit);
    let hstore = |cast: &Cast| cast.extension.as_deref() == Some("hstore");
    assert!(catalog().calling_casts().any(|(cast, _)| hstore(cast)));
    let varchar = type_named("pg_catalog", "varchar").oid;
    assert!(catalog().has_implicit_cast(varchar, text));
    assert!(!catalog().has_implicit_cast(text, uuid));
}

/// What tells the text of an object looks at what is there now, the rest at a snapshot.
#[test]
fn objects_may_go_while_they_are_read() {
    let address = server().address();
    let mut admin = superuser(address, "postgres");
    script(&mut admin, "CREATE DATABASE going");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for at in 0..2 {
            let done = &done;
            scope.spawn(move || {
                let mut client = superuser(address, "going");
                while !done.load(Ordering::Relaxed) {
                    let sql = format!(
                        "CREATE FUNCTION f{at}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                         CREATE TABLE t{at} (id int PRIMARY KEY, n int REFERENCES t{at});
                         CREATE TRIGGER it AFTER INSERT ON t{at} EXECUTE FUNCTION f{at}();
                         CREATE VIEW v{at} AS TABLE t{at};
                         CREATE POLICY p ON t{at} USING (n > 1)"
                    );
                    client.query(&sql);
                    for sql in ["DROP VIEW v", "DROP TABLE t", "DROP FUNCTION f"] {
                        // The reading may be in the way of one: then the next round makes no other.
                        client.query(&format!("{sql}{at}"));
                    }
                }
            });
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let read = runtime.block_on(async {
            let url = format!(
                "host=127.0.0.1 port={} user=postgres dbname=going",
                address.port()
            );
            let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
            let (client, connection) = connected.unwrap();
            tokio::spawn(connection);
            for _ in 0..40 {
                let reading = pgwarden_schema::read_changed(&client, None).await;
                let reading = reading.map_err(|error| error.to_string())?;
                let guarantees = reading.expect("nothing is known").guarantees;
                guarantees.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
        done.store(true, Ordering::Relaxed);
        assert_eq!(read, Ok(()));
    });
    script(&mut admin, "DROP DATABASE going WITH (FORCE)");
}

#[test]
#[ignore = "writes what the fuzz targets judge over (scripts/fuzz.sh)"]
fn writes_the_snapshot_of_the_suites_schema() {
    let path = std::env::var_os("PGWARDEN_FUZZ_CATALOG").expect("where it is to be");
    let snapshot = pgwarden_schema::write_snapshot(engine(false).catalog());
    std::fs::write(path, snapshot.unwrap()).unwrap();
}
