//! THREATS C4: a relative of a scoped table shows no tenant's rows, however the policy lists it and
//! whatever becomes of the family beside the proxy; neither does a foreign table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use pgwarden_tests::watched::{NEVER, OFTEN, POLICY, World, ask, until};

const A: &str = "a0000000-0000-0000-0000-000000000001";
const B: &str = "b0000000-0000-0000-0000-000000000002";

/// A parent without tenants, and a child with them.
fn items() -> String {
    format!(
        "CREATE TABLE items (id int, name text);
         INSERT INTO items VALUES (1, 'everybody''s');
         CREATE TABLE org_items (org_id uuid) INHERITS (items);
         INSERT INTO org_items VALUES (2, 'mine', '{A}'), (3, 'b-secret', '{B}')"
    )
}

/// A partitioned table, one partition of which is in a schema that nobody discovers.
fn visits() -> String {
    format!(
        "CREATE TABLE visits (id int, org_id uuid NOT NULL, at date NOT NULL, note text)
           PARTITION BY RANGE (at);
         CREATE TABLE hidden.visits_2025 (note text, at date NOT NULL, org_id uuid NOT NULL, id int);
         ALTER TABLE visits ATTACH PARTITION hidden.visits_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
         CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
         INSERT INTO visits VALUES (1, '{A}', '2025-01-01', 'mine'), (2, '{B}', '2025-01-01', 'b-secret'),
                                   (3, '{A}', '2026-01-01', 'mine too'), (4, '{B}', '2026-01-01', 'b-secret');
         GRANT ALL ON ALL TABLES IN SCHEMA hidden TO PUBLIC"
    )
}

fn listing(table: &str) -> String {
    format!("{POLICY}\n[[table]]\n{table}\n")
}

#[test]
fn c4_the_open_parent_of_a_scoped_child() {
    let listed = listing("name = \"public.items\"\nscope = \"global\"\naccess = \"write\"");
    for (policy, reason) in [(POLICY, "unlisted_relation"), (&listed, "unfit_relation")] {
        let world = World::prepared(NEVER, policy, &items());
        let mut client = world.session();
        for sql in [
            "SELECT name FROM items",
            "SELECT name FROM ONLY items",
            "SELECT count(*) FROM leads l LEFT JOIN items i ON i.id = l.id",
            "UPDATE items SET name = 'x'",
            "DELETE FROM items",
        ] {
            assert_eq!(ask(&mut client, sql), reason, "{sql}");
        }
        assert_eq!(
            ask(&mut client, "SELECT string_agg(name, ',') FROM org_items"),
            "mine"
        );
    }
}

#[test]
fn c4_the_open_parent_of_a_child_that_is_scoped_by_another_column() {
    let policy =
        listing("name = \"public.mine\"\ncolumn = \"owner\"\nclaim = \"sub\"\ntype = \"uuid\"");
    let more = format!(
        "CREATE TABLE things (id int, name text);
         CREATE TABLE mine (owner uuid) INHERITS (things);
         INSERT INTO mine VALUES (1, 'b-secret', '{B}')"
    );
    let world = World::prepared(NEVER, &policy, &more);
    let mut client = world.session();
    assert_eq!(
        ask(&mut client, "SELECT name FROM things"),
        "unlisted_relation"
    );
    assert_eq!(ask(&mut client, "SELECT count(*) FROM mine"), "0");
}

#[test]
fn c4_an_open_family_stays_open() {
    let policy = listing("name = \"public.rates\"\nscope = \"global\"\naccess = \"read\"");
    let more = format!(
        "CREATE TABLE rates (org_id uuid, at date, n int) PARTITION BY RANGE (at);
         CREATE TABLE rates_2025 PARTITION OF rates FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
         INSERT INTO rates VALUES (NULL, '2025-01-01', 1), ('{B}', '2025-01-01', 2)"
    );
    let world = World::prepared(NEVER, &policy, &more);
    let mut client = world.session();
    for table in ["rates", "rates_2025"] {
        assert_eq!(
            ask(&mut client, &format!("SELECT sum(n) FROM {table}")),
            "3"
        );
    }
}

#[test]
fn c4_a_partition_in_another_schema_goes_with_its_root() {
    let world = World::prepared(NEVER, POLICY, &visits());
    let mut client = world.session();
    for (sql, expected) in [
        (
            "SELECT string_agg(note, ',' ORDER BY id) FROM visits",
            "mine,mine too",
        ),
        (
            "SELECT string_agg(note, ',') FROM hidden.visits_2025",
            "mine",
        ),
        (
            "UPDATE hidden.visits_2025 SET note = note || '!' RETURNING note",
            "mine!",
        ),
        (
            "INSERT INTO hidden.visits_2025 VALUES ('new', '2025-02-02') RETURNING org_id",
            A,
        ),
        (
            "INSERT INTO visits (id, at) VALUES (9, '2025-02-02') RETURNING org_id",
            A,
        ),
    ] {
        assert_eq!(ask(&mut client, sql), expected, "{sql}");
    }
    let foreign = format!("INSERT INTO hidden.visits_2025 VALUES ('x', '2025-02-02', '{B}')");
    assert_eq!(ask(&mut client, &foreign), "foreign_tenant_value");
}

#[test]
fn c4_a_partition_keeps_its_roots_wishes() {
    let policy = listing("name = \"public.visits\"\nmissing_filter = \"reject\"");
    let world = World::prepared(NEVER, &policy, &visits());
    let mut client = world.session();
    for table in ["visits", "visits_2026", "hidden.visits_2025"] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(ask(&mut client, &sql), "missing_filter");
    }
}

#[test]
fn c4_a_partition_of_a_scoped_table_is_not_everybodys() {
    let policy = listing("name = \"public.visits_2026\"\nscope = \"global\"\naccess = \"read\"");
    let world = World::prepared(NEVER, &policy, &visits());
    let mut client = world.session();
    assert_eq!(
        ask(&mut client, "SELECT note FROM visits_2026"),
        "unfit_relation"
    );
    assert_eq!(
        ask(&mut client, "SELECT note FROM visits WHERE id > 1"),
        "mine too"
    );
}

#[test]
fn c4_a_family_that_grows_beside_the_proxy() {
    let mut world = World::prepared(OFTEN, POLICY, &visits());
    let mut client = world.session();
    // Tables that nobody scopes may be read, until they become relatives of one that is scoped.
    world.ddl(
        "CREATE TABLE hidden.loose (id int, org_id uuid NOT NULL, at date NOT NULL, note text);
         CREATE TABLE loose_child (id int, name text, org_id uuid);
         GRANT ALL ON hidden.loose TO PUBLIC",
    );
    let loose = "SELECT count(*) FROM hidden.loose";
    until(|| ask(&mut client, loose), |it| it == "0");
    assert_eq!(ask(&mut client, "SELECT name FROM places"), "harbour");
    world.ddl(
        "BEGIN;
         ALTER TABLE visits ATTACH PARTITION hidden.loose FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
         ALTER TABLE loose_child INHERIT places;
         COMMIT",
    );
    until(
        || ask(&mut client, "SELECT name FROM places"),
        |it| it == "unlisted_relation",
    );
    world.ddl(&format!(
        "INSERT INTO visits VALUES (5, '{B}', '2027-05-05', 'b-secret'), (6, '{A}', '2027-05-05', 'mine');
         INSERT INTO loose_child VALUES (8, 'b-secret', '{B}')"
    ));
    assert_eq!(ask(&mut client, loose), "1");
    assert_eq!(
        ask(
            &mut client,
            "SELECT string_agg(note, ',') FROM hidden.loose"
        ),
        "mine"
    );
    assert_eq!(ask(&mut client, "SELECT count(*) FROM visits"), "3");
}

#[test]
fn c4_a_partition_that_leaves_does_not_become_everybodys() {
    let mut world = World::prepared(OFTEN, POLICY, &visits());
    let mut client = world.session();
    let sql = "SELECT string_agg(note, ',') FROM hidden.visits_2025";
    assert_eq!(ask(&mut client, sql), "mine");
    world.ddl("ALTER TABLE visits DETACH PARTITION hidden.visits_2025");
    until(|| ask(&mut client, sql), |it| it == "unfit_relation");
    world.ddl("ALTER TABLE visits DETACH PARTITION visits_2026");
    let other = "SELECT note FROM visits_2026";
    assert_eq!(ask(&mut client, other), "mine too");
    until(
        || ask(&mut client, "SELECT count(*) FROM visits"),
        |it| it == "0",
    );
    assert_eq!(ask(&mut client, other), "mine too");
}

/// Foreign tables over tables of the same database.
const FAR: &str = "
    CREATE EXTENSION postgres_fdw;
    CREATE SCHEMA store;
    CREATE TABLE store.orders (id int PRIMARY KEY, org_id uuid NOT NULL, note text);
    INSERT INTO store.orders SELECT * FROM leads;
    CREATE TABLE store.rates (id int, name text);
    INSERT INTO store.rates VALUES (1, 'low');
    DO $$ BEGIN
      EXECUTE format('CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',
                     '127.0.0.1', current_setting('port'), current_database());
    END $$;
    CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'postgres', password_required 'false');
    CREATE FOREIGN TABLE orders (id int, org_id uuid, note text) SERVER far OPTIONS (schema_name 'store', table_name 'orders');
    CREATE FOREIGN TABLE rates (id int, name text) SERVER far OPTIONS (schema_name 'store', table_name 'rates')";

#[test]
fn c4_an_unlisted_foreign_table() {
    let world = World::prepared(NEVER, POLICY, FAR);
    let mut client = world.session();
    for sql in [
        "SELECT note FROM orders",
        "SELECT name FROM rates",
        "INSERT INTO orders VALUES (9)",
        "DELETE FROM orders",
        "COPY orders TO STDOUT",
    ] {
        assert_eq!(ask(&mut client, sql), "opaque_relation", "{sql}");
    }
}

#[test]
fn c4_a_scoped_foreign_table() {
    let listed = "name = \"public.orders\"\ncolumn = \"org_id\"\n\
                  [[table]]\nname = \"public.rates\"\nscope = \"global\"\naccess = \"read\"";
    let mut world = World::prepared(NEVER, &listing(listed), FAR);
    let mut client = world.session();
    for (sql, expected) in [
        ("SELECT string_agg(note, ',') FROM orders", "a"),
        (
            "SELECT count(*) FROM orders WHERE 10 / (length(note) - 8) < 9",
            "1",
        ),
        (
            "SELECT count(*) FROM leads l FULL JOIN orders o ON o.id = l.id",
            "1",
        ),
        (
            "SELECT count(*) FROM leads l LEFT JOIN orders o ON o.note <> l.note",
            "1",
        ),
        ("SELECT name FROM rates", "low"),
        ("UPDATE rates SET name = 'x'", "read_only_relation"),
        ("UPDATE orders SET note = note || '!' RETURNING note", "a!"),
        (
            "INSERT INTO orders (id, note) VALUES (9, 'new') RETURNING org_id",
            A,
        ),
        (
            "DELETE FROM orders WHERE note = 'b-secret' OR id = 9 RETURNING id",
            "9",
        ),
        ("TRUNCATE orders", "unsupported_statement"),
        ("SELECT note FROM orders FOR UPDATE", "a!"),
        ("SELECT count(*) FROM store.orders", "42501"),
    ] {
        assert_eq!(ask(&mut client, sql), expected, "{sql}");
    }
    let foreign = format!("INSERT INTO orders VALUES (9, '{B}', 'x')");
    assert_eq!(ask(&mut client, &foreign), "foreign_tenant_value");
    let kept = "SELECT count(*) FROM store.orders WHERE note = 'b-secret'";
    assert_eq!(world.owner().query(kept).value().as_deref(), Some("1"));
}

#[test]
fn c4_a_foreign_partition_of_a_scoped_table() {
    let far = format!(
        "{FAR}; {}; CREATE TABLE store.visits (id int, org_id uuid NOT NULL, at date NOT NULL, note text);
         INSERT INTO store.visits VALUES (7, '{A}', '2024-01-01', 'far'), (8, '{B}', '2024-01-01', 'b-secret');
         CREATE FOREIGN TABLE visits_2024 PARTITION OF visits FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')
           SERVER far OPTIONS (schema_name 'store', table_name 'visits')",
        visits()
    );
    let world = World::prepared(NEVER, POLICY, &far);
    let mut client = world.session();
    let all = "SELECT string_agg(note, ',' ORDER BY id) FROM visits";
    assert_eq!(ask(&mut client, all), "mine,mine too,far");
    assert_eq!(
        ask(&mut client, "SELECT note FROM visits_2024"),
        "opaque_relation"
    );
}

/// `'x '` is the session's own parent, and `'x'`, which a `varchar(1)` would make of it, another tenant's. (A proxy that
/// starts with such a table refuses its policy.)
#[test]
fn d2_a_reference_that_would_be_cut() {
    let listed = listing(
        "name = \"public.pages\"\nvia = { column = \"code\", table = \"public.docs\", key = \"code\" }",
    );
    let more = format!(
        "CREATE DOMAIN short AS varchar(1);
         CREATE DOMAIN shorter AS short;
         CREATE TABLE docs (code text PRIMARY KEY, org_id uuid NOT NULL);
         INSERT INTO docs VALUES ('x ', '{A}'), ('x', '{B}');
         CREATE TABLE pages (id int, code text);
         GRANT ALL ON docs, pages TO PUBLIC"
    );
    let mut world = World::prepared(OFTEN, &listed, &more);
    let mut client = world.session();
    for (parent, child, fits) in [
        ("text", "text", true),
        ("text", "varchar(1)", false),
        ("text", "varchar", true),
        ("text", "shorter", false),
        ("varchar(8)", "varchar(8)", true),
        ("varchar(8)", "varchar(7)", false),
        ("varchar(8)", "varchar(9)", true),
        ("varchar(8)", "short", false),
        ("varchar(8)", "text", true),
        ("varchar", "varchar(8)", false),
    ] {
        world.ddl(&format!(
            "DELETE FROM pages; ALTER TABLE pages ALTER code TYPE {child}; ALTER TABLE docs ALTER code TYPE {parent}"
        ));
        let (read, written) = match fits {
            true => ("0", "x ."),
            false => ("unfit_relation", "unfit_relation"),
        };
        until(
            || ask(&mut client, "SELECT count(*) FROM pages"),
            |it| it == read,
        );
        let answer = ask(
            &mut client,
            "INSERT INTO pages VALUES (1, 'x ') RETURNING code || '.'",
        );
        assert_eq!(answer, written, "{child} of {parent}");
    }
}

/// To citext `'A'` and `'a'` are one tenant, to the claim they are two: a tenant column or a reference of that type is
/// refused, whatever else the policy leaves open.
#[test]
fn a1_a_tenant_column_that_knows_no_case_is_refused() {
    let policy = POLICY
        .replace("type = \"uuid\"", "type = \"text\"")
        .replace("unlisted = \"read\"", "unlisted = \"write\"")
        .replace("[[table]]\n    name = \"public.calls\"\n", "");
    let listed = format!(
        "{policy}\n[[table]]\nname = \"public.marks\"\ncolumn = \"owner\"\n\
         [[table]]\nname = \"public.labels\"\nvia = {{ column = \"code\", table = \"public.books\", key = \"code\" }}\n\
         [[table]]\nname = \"public.books\"\n"
    );
    let more = format!(
        "CREATE EXTENSION citext;
         CREATE DOMAIN loose AS citext;
         CREATE TABLE memos (id int, org_id citext);
         CREATE TABLE loose_memos (id int, org_id loose);
         CREATE TABLE books (code text, org_id text);
         CREATE TABLE marks (id int, owner text);
         CREATE TABLE labels (id int, code text);
         INSERT INTO memos VALUES (1, upper('{A}'));
         INSERT INTO loose_memos VALUES (1, upper('{A}'));
         INSERT INTO books VALUES ('x', '{A}'), ('X', '{B}');
         INSERT INTO marks VALUES (1, '{A}');
         INSERT INTO labels VALUES (1, 'x');
         GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC"
    );
    let mut world = World::prepared(OFTEN, &listed, &more);
    let mut client = world.session();
    for table in ["memos", "loose_memos"] {
        for sql in [
            format!("SELECT count(*) FROM {table}"),
            format!("INSERT INTO {table} VALUES (2, upper('{A}'))"),
            format!("INSERT INTO {table} (id) VALUES (2)"),
            format!("UPDATE {table} SET id = 3"),
            format!("COPY {table} TO STDOUT"),
            format!("COPY {table} FROM STDIN"),
        ] {
            assert_eq!(ask(&mut client, &sql), "unlisted_relation", "{sql}");
        }
    }
    for (table, column) in [("marks", "owner"), ("labels", "code")] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(ask(&mut client, &count), "1", "{table}");
        world.ddl(&format!("ALTER TABLE {table} ALTER {column} TYPE citext"));
        until(|| ask(&mut client, &count), |it| it == "unfit_relation");
        let write = format!("INSERT INTO {table} (id) VALUES (2)");
        assert_eq!(ask(&mut client, &write), "unfit_relation", "{table}");
    }
}
