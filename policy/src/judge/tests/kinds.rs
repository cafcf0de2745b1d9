//! One example, at least, of every statement kind of the grammar, and its verdict. `docs/statements.md` is
//! made of them: `PGWARDEN_WRITE_DOCS=1 cargo test -p pgwarden-policy kinds` writes it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::{check, judge};

/// `(kind, statement, what must be in the answer)`; a denial begins with `! <reason>`.
const KINDS: &[(&str, &str, &str)] = &[
    ("SelectStmt", "SELECT 1", "SELECT 1"),
    (
        "InsertStmt",
        "INSERT INTO leads (id) VALUES ('x')",
        "org_id",
    ),
    ("UpdateStmt", "UPDATE leads SET id = 'x'", "org_id"),
    ("DeleteStmt", "DELETE FROM leads", "org_id"),
    (
        "UpdateStmt",
        "UPDATE leads SET id = 'x' WHERE CURRENT OF c",
        "UPDATE public.leads SET id = 'x' WHERE CURRENT OF c",
    ),
    (
        "DeleteStmt",
        "DELETE FROM leads WHERE CURRENT OF c",
        "DELETE FROM public.leads WHERE CURRENT OF c",
    ),
    ("SelectStmt", "SELECT lo_get(1)", "! function_denied"),
    ("SelectStmt", "SELECT lo_import('x')", "! function_denied"),
    (
        "MergeStmt",
        "MERGE INTO leads l USING leads m ON l.id = m.id WHEN MATCHED THEN DELETE",
        "l.org_id",
    ),
    ("TransactionStmt", "BEGIN", "BEGIN"),
    ("TransactionStmt", "SAVEPOINT s", "SAVEPOINT s"),
    (
        "TransactionStmt",
        "PREPARE TRANSACTION 'x'",
        "! unsupported_statement",
    ),
    (
        "TransactionStmt",
        "COMMIT PREPARED 'x'",
        "! unsupported_statement",
    ),
    (
        "TransactionStmt",
        "ROLLBACK PREPARED 'x'",
        "! unsupported_statement",
    ),
    ("VariableSetStmt", "SET TRANSACTION READ ONLY", "SET"),
    ("VariableSetStmt", "SET ROLE postgres", "! "),
    (
        "VariableSetStmt",
        "SET TRANSACTION SNAPSHOT 'x'",
        "! unsupported_construct",
    ),
    ("VariableShowStmt", "SHOW server_version", "SHOW"),
    ("DiscardStmt", "DISCARD ALL", "DISCARD ALL"),
    ("PrepareStmt", "PREPARE p AS DELETE FROM leads", "org_id"),
    ("ExecuteStmt", "EXECUTE p", "EXECUTE p"),
    ("DeallocateStmt", "DEALLOCATE p", "DEALLOCATE p"),
    (
        "DeclareCursorStmt",
        "DECLARE c CURSOR FOR TABLE leads",
        "org_id",
    ),
    ("FetchStmt", "FETCH 1 FROM c", "FETCH 1 FROM c"),
    ("ClosePortalStmt", "CLOSE c", "CLOSE c"),
    (
        "ConstraintsSetStmt",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET CONSTRAINTS",
    ),
    ("UnlistenStmt", "UNLISTEN *", "UNLISTEN *"),
    ("ListenStmt", "LISTEN x", "! channel_denied"),
    ("NotifyStmt", "NOTIFY x", "! channel_denied"),
    (
        "CopyStmt",
        "COPY leads FROM PROGRAM 'x'",
        "! unsupported_statement",
    ),
    ("ExplainStmt", "EXPLAIN SELECT 1", "! unsupported_statement"),
    ("LockStmt", "LOCK leads", "! unsupported_statement"),
    (
        "LockStmt",
        "LOCK leads IN ROW EXCLUSIVE MODE",
        "LOCK leads IN ROW EXCLUSIVE MODE",
    ),
    (
        "LockStmt",
        "LOCK TABLE plans IN SHARE MODE",
        "! unsupported_statement",
    ),
    ("TruncateStmt", "TRUNCATE leads", "! unsupported_statement"),
    ("DoStmt", "DO ''", "! unsupported_statement"),
    ("CallStmt", "CALL nobody_knows()", "! unknown_function"),
    (
        "CreateStmt",
        "CREATE TABLE x (a int)",
        "! unsupported_statement",
    ),
    ("CreateStmt", "CREATE TEMP TABLE x (a int)", "CREATE TEMP"),
    ("CreateSeqStmt", "CREATE TEMP SEQUENCE x", "CREATE TEMP"),
    ("ViewStmt", "CREATE TEMP VIEW x AS TABLE leads", "OFFSET 0"),
    (
        "CreateTableAsStmt",
        "CREATE TABLE x AS TABLE leads",
        "! unsupported_statement",
    ),
    (
        "CreateTableAsStmt",
        "CREATE TEMP TABLE x AS TABLE leads",
        "org_id",
    ),
    ("SelectStmt", "SELECT * INTO TEMP x FROM leads", "org_id"),
    (
        "DropStmt",
        "DROP TABLE IF EXISTS x",
        "DROP TABLE IF EXISTS pg_temp.x",
    ),
    (
        "AlterRoleSetStmt",
        "ALTER ROLE x SET a = 1",
        "! identity_guard",
    ),
    ("AlterRoleStmt", "ALTER ROLE x LOGIN", "! identity_guard"),
    (
        "AlterDatabaseSetStmt",
        "ALTER DATABASE x SET a = 1",
        "! identity_guard",
    ),
    (
        "AlterSystemStmt",
        "ALTER SYSTEM SET a = 1",
        "! identity_guard",
    ),
    ("GrantRoleStmt", "GRANT x TO y", "! identity_guard"),
];

/// Statements that change what the database holds beside rows, and maintenance.
const REFUSED: &[(&str, &str)] = &[
    ("AlterTableStmt", "ALTER TABLE leads ADD x int"),
    ("AlterCollationStmt", "ALTER COLLATION x REFRESH VERSION"),
    ("AlterDomainStmt", "ALTER DOMAIN x DROP NOT NULL"),
    ("GrantStmt", "GRANT SELECT ON leads TO x"),
    (
        "AlterDefaultPrivilegesStmt",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x",
    ),
    ("CreateSchemaStmt", "CREATE SCHEMA x"),
    ("CreateTableSpaceStmt", "CREATE TABLESPACE x LOCATION '/x'"),
    ("DropTableSpaceStmt", "DROP TABLESPACE x"),
    (
        "AlterTableSpaceOptionsStmt",
        "ALTER TABLESPACE x SET (seq_page_cost = 1)",
    ),
    (
        "AlterTableMoveAllStmt",
        "ALTER TABLE ALL IN TABLESPACE x SET TABLESPACE y",
    ),
    ("CreateExtensionStmt", "CREATE EXTENSION x"),
    ("AlterExtensionStmt", "ALTER EXTENSION x UPDATE"),
    (
        "AlterExtensionContentsStmt",
        "ALTER EXTENSION x ADD TABLE leads",
    ),
    ("CreateFdwStmt", "CREATE FOREIGN DATA WRAPPER x"),
    ("AlterFdwStmt", "ALTER FOREIGN DATA WRAPPER x NO HANDLER"),
    (
        "CreateForeignServerStmt",
        "CREATE SERVER x FOREIGN DATA WRAPPER y",
    ),
    ("AlterForeignServerStmt", "ALTER SERVER x VERSION '1'"),
    (
        "CreateForeignTableStmt",
        "CREATE FOREIGN TABLE x (a int) SERVER y",
    ),
    (
        "CreateUserMappingStmt",
        "CREATE USER MAPPING FOR x SERVER y",
    ),
    (
        "AlterUserMappingStmt",
        "ALTER USER MAPPING FOR x SERVER y OPTIONS (a '1')",
    ),
    ("DropUserMappingStmt", "DROP USER MAPPING FOR x SERVER y"),
    (
        "ImportForeignSchemaStmt",
        "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z",
    ),
    ("CreatePolicyStmt", "CREATE POLICY x ON leads"),
    ("AlterPolicyStmt", "ALTER POLICY x ON leads USING (true)"),
    (
        "CreateAmStmt",
        "CREATE ACCESS METHOD x TYPE INDEX HANDLER y",
    ),
    (
        "CreateTrigStmt",
        "CREATE TRIGGER x BEFORE INSERT ON leads EXECUTE FUNCTION y()",
    ),
    (
        "CreateEventTrigStmt",
        "CREATE EVENT TRIGGER x ON sql_drop EXECUTE FUNCTION y()",
    ),
    ("AlterEventTrigStmt", "ALTER EVENT TRIGGER x DISABLE"),
    ("CreatePlangStmt", "CREATE LANGUAGE x HANDLER y"),
    ("CreateRoleStmt", "CREATE ROLE x"),
    ("DropRoleStmt", "DROP ROLE x"),
    ("CreateSeqStmt", "CREATE SEQUENCE x"),
    ("AlterSeqStmt", "ALTER SEQUENCE x RESTART"),
    (
        "DefineStmt",
        "CREATE AGGREGATE x (int) (SFUNC = y, STYPE = int)",
    ),
    ("CreateDomainStmt", "CREATE DOMAIN x AS int"),
    (
        "CreateOpClassStmt",
        "CREATE OPERATOR CLASS x FOR TYPE int USING btree AS OPERATOR 1 <",
    ),
    ("CreateOpFamilyStmt", "CREATE OPERATOR FAMILY x USING btree"),
    (
        "AlterOpFamilyStmt",
        "ALTER OPERATOR FAMILY x USING btree ADD OPERATOR 1 < (int, int)",
    ),
    ("DropStmt", "DROP TABLE leads"),
    ("CommentStmt", "COMMENT ON TABLE leads IS 'x'"),
    ("SecLabelStmt", "SECURITY LABEL ON TABLE leads IS 'x'"),
    ("IndexStmt", "CREATE INDEX ON leads (id)"),
    (
        "CreateStatsStmt",
        "CREATE STATISTICS x ON id, org_id FROM leads",
    ),
    ("AlterStatsStmt", "ALTER STATISTICS x SET STATISTICS 1"),
    (
        "CreateFunctionStmt",
        "CREATE FUNCTION x() RETURNS int LANGUAGE sql AS ''",
    ),
    ("AlterFunctionStmt", "ALTER FUNCTION x() STABLE"),
    ("RenameStmt", "ALTER TABLE leads RENAME TO x"),
    (
        "AlterObjectDependsStmt",
        "ALTER FUNCTION x() DEPENDS ON EXTENSION y",
    ),
    ("AlterObjectSchemaStmt", "ALTER TABLE leads SET SCHEMA x"),
    ("AlterOwnerStmt", "ALTER SCHEMA x OWNER TO y"),
    (
        "AlterOperatorStmt",
        "ALTER OPERATOR = (int, int) SET (RESTRICT = NONE)",
    ),
    ("AlterTypeStmt", "ALTER TYPE x SET (STORAGE = plain)"),
    ("RuleStmt", "CREATE RULE x AS ON INSERT TO leads DO NOTHING"),
    ("CompositeTypeStmt", "CREATE TYPE x AS (a int)"),
    ("CreateEnumStmt", "CREATE TYPE x AS ENUM ('a')"),
    ("CreateRangeStmt", "CREATE TYPE x AS RANGE (SUBTYPE = int)"),
    ("AlterEnumStmt", "ALTER TYPE x ADD VALUE 'b'"),
    ("ViewStmt", "CREATE VIEW x AS TABLE leads"),
    ("CreatedbStmt", "CREATE DATABASE x"),
    ("AlterDatabaseStmt", "ALTER DATABASE x CONNECTION LIMIT 1"),
    (
        "AlterDatabaseRefreshCollStmt",
        "ALTER DATABASE x REFRESH COLLATION VERSION",
    ),
    ("DropdbStmt", "DROP DATABASE x"),
    ("RefreshMatViewStmt", "REFRESH MATERIALIZED VIEW x"),
    (
        "CreateConversionStmt",
        "CREATE CONVERSION x FOR 'UTF8' TO 'LATIN1' FROM y",
    ),
    ("CreateCastStmt", "CREATE CAST (int AS x) WITHOUT FUNCTION"),
    (
        "CreateTransformStmt",
        "CREATE TRANSFORM FOR x LANGUAGE y (FROM SQL WITH FUNCTION z(internal))",
    ),
    ("DropOwnedStmt", "DROP OWNED BY x"),
    ("ReassignOwnedStmt", "REASSIGN OWNED BY x TO y"),
    (
        "AlterTsdictionaryStmt",
        "ALTER TEXT SEARCH DICTIONARY x (a = 1)",
    ),
    (
        "AlterTsconfigurationStmt",
        "ALTER TEXT SEARCH CONFIGURATION x DROP MAPPING FOR y",
    ),
    (
        "CreatePublicationStmt",
        "CREATE PUBLICATION x FOR ALL TABLES",
    ),
    (
        "AlterPublicationStmt",
        "ALTER PUBLICATION x ADD TABLE leads",
    ),
    (
        "CreateSubscriptionStmt",
        "CREATE SUBSCRIPTION x CONNECTION 'y' PUBLICATION z",
    ),
    ("AlterSubscriptionStmt", "ALTER SUBSCRIPTION x DISABLE"),
    ("DropSubscriptionStmt", "DROP SUBSCRIPTION x"),
    ("LoadStmt", "LOAD 'x'"),
    ("ClusterStmt", "CLUSTER leads"),
    ("VacuumStmt", "VACUUM leads"),
    ("VacuumStmt", "ANALYZE leads"),
    ("CheckPointStmt", "CHECKPOINT"),
    ("ReindexStmt", "REINDEX TABLE leads"),
];

/// Nodes that are called statements and are none of their own.
const INSIDE_OTHERS: &[&str] = &[
    "ReturnStmt",
    "PlassignStmt",
    "SetOperationStmt",
    "ReplicaIdentityStmt",
    "RawStmt",
];

fn kind_of(sql: &str) -> String {
    let parsed = pg_query::parse(sql, 0).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let tree = crate::tree::of(&parsed.protobuf).expect("the tree is read");
    let raw = tree.list("stmts").first().and_then(|raw| raw.as_node());
    let statement = raw.and_then(|raw| raw.node("stmt"));
    statement.expect("there is a statement").kind.to_owned()
}

#[test]
fn every_kind_has_its_verdict() {
    let cases: Vec<_> = KINDS
        .iter()
        .map(|(_, sql, wanted)| (*sql, *wanted))
        .collect();
    check(&cases);
    for (_, sql) in REFUSED {
        let got = judge(sql);
        assert!(got.starts_with("! unsupported_statement"), "{sql}: {got}");
    }
}

#[test]
fn every_kind_has_an_example() {
    let kinds = KINDS.iter().map(|(kind, sql, _)| (*kind, *sql));
    let examples: Vec<_> = kinds.chain(REFUSED.iter().copied()).collect();
    for (kind, sql) in &examples {
        let found = kind_of(sql);
        // The tree spells acronyms as PostgreSQL does: `CreatePLangStmt`.
        assert!(found.eq_ignore_ascii_case(kind), "{sql}: {found}");
    }
    // The table itself says which kinds there are: it does not compile without one of them.
    let table = include_str!("../statement.rs");
    let nodes = table.split("NodeEnum::").skip(1);
    let names = nodes.filter_map(|rest| rest.split('(').next());
    let statements: Vec<_> = names.filter(|name| name.ends_with("Stmt")).collect();
    assert!(statements.len() > 100, "the table moved");
    for name in statements {
        let known = examples.iter().any(|(kind, _)| *kind == name);
        assert!(
            known || INSIDE_OTHERS.contains(&name),
            "{name} has no example"
        );
    }
}

/// What becomes of an example, in a word or two.
fn verdict(sql: &str) -> String {
    let answer = judge(sql);
    match answer.strip_prefix("! ") {
        Some(denied) => {
            let reason = denied.split(' ').next().unwrap_or(denied);
            format!("[{reason}](deny/{reason}.md)")
        }
        None if answer == sql => "passes".to_owned(),
        None => "rewritten".to_owned(),
    }
}

#[test]
fn the_page_of_statements_is_not_stale() {
    let mut wanted = "# Every kind of statement\n\n\
        What becomes of an example of each, under the default policy: it passes as it came, is rewritten, or is \
        refused for a reason. `leads` holds rows of tenants, `plans` is everybody's. This page is made of the examples in \
        `policy/src/judge/tests/kinds.rs`; the table that decides, `policy/src/judge/statement.rs`, has no other \
        arm, so a kind that a new grammar brings does not compile until somebody decides.\n\n\
        With `ddl = \"unscoped\"` a client may also make tables, sequences, enums and indexes, add columns, defaults and constraints, \
        rename, empty and drop tables, and drop enums, where they hold nothing of a tenant and have a name of their own. They can be used in the transaction that makes them (READ COMMITTED), from the next message on; enums, sequences and a table whose columns are written out (no IF NOT EXISTS, no LIKE) in the same message, too, up to the end of the transaction. Foreign keys may refer to such tables only, and comments and `ALTER SEQUENCE … OWNED BY` be of such. CASCADE is taken as RESTRICT: where something depends on what is dropped or emptied, PostgreSQL refuses (2BP01, 0A000). `explain = \"allow\"` lets EXPLAIN pass, `lock = \"allow\"` LOCK in every mode.\n\n\
        | node | example | verdict |\n|---|---|---|\n"
        .to_owned();
    let kinds = KINDS.iter().map(|(kind, sql, _)| (*kind, *sql));
    let rows: BTreeSet<(&str, &str)> = kinds.chain(REFUSED.iter().copied()).collect();
    for (kind, sql) in rows {
        writeln!(wanted, "| {kind} | `{sql}` | {} |", verdict(sql)).expect("a String holds it");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/statements.md");
    if std::env::var_os("PGWARDEN_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{} is stale", path.display());
}
