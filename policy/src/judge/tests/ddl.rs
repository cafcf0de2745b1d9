//! Lasting DDL where the policy allows it.

use std::sync::Arc;

use crate::rules::{Access, Ddl};
use crate::{Engine, Protocol, Request, Scratch, SessionFacts, testing};

/// The answer where tables that nobody listed may be written; what the policy says of DDL, and what it
/// says of the session's role.
fn judge(sql: &str, default: Ddl, ddl: Option<Ddl>) -> String {
    let mut policy = testing::policy();
    policy.defaults.unlisted = Access::Write;
    policy.defaults.ddl = default;
    let catalog = Arc::new(testing::catalog());
    let engine = Engine::new(Arc::new(policy), catalog, crate::engine::Limits::default());
    let facts = SessionFacts {
        ddl,
        ..SessionFacts::default()
    };
    let request = Request {
        text: sql,
        protocol: Protocol::Simple,
        declared: &[],
        facts: &facts,
        values: &testing::values(),
    };
    let engine = engine.expect("the policy fits");
    match engine.judge(request, &mut Scratch::default()) {
        Ok(cleared) => cleared.text().to_owned(),
        Err(denial) => format!("! {} {}", denial.message, denial.hint.unwrap_or_default()),
    }
}

#[test]
fn what_a_message_makes_is_used_in_the_next_one() {
    for used in [
        "INSERT INTO fresh VALUES (1)",
        "CREATE INDEX ON public.fresh (id)",
    ] {
        let told = judge(
            &format!("CREATE TABLE fresh (id int); {used}"),
            Ddl::Unscoped,
            None,
        );
        assert!(
            told.contains("send what uses it in a message of its own"),
            "{told}"
        );
        let told = judge(
            &format!("CREATE TABLE other (id int); {used}"),
            Ddl::Unscoped,
            None,
        );
        assert!(!told.contains("in a message of its own"), "{told}");
    }
}

#[test]
fn what_no_tenant_owns_may_be_changed() {
    for sql in [
        "CREATE TABLE public.fresh (id int PRIMARY KEY, note text DEFAULT upper('x') CHECK (note <> ''))",
        "CREATE TABLE fresh (id int4 UNIQUE)",
        "CREATE TABLE IF NOT EXISTS fresh (LIKE secret)",
        "CREATE SEQUENCE public.fresh START 5",
        "CREATE TYPE public.fresh AS ENUM ('a', 'b')",
        "CREATE UNIQUE INDEX fresh ON secret (id) WHERE id > 3",
        "ALTER TABLE secret ADD COLUMN label text DEFAULT 'x'",
        "ALTER TABLE public.secret ADD CHECK (id > 0), ALTER id SET NOT NULL, ALTER id SET DEFAULT 1 + 1",
        "ALTER TABLE secret RENAME TO fresh",
        "DROP TABLE secret",
        "DROP TABLE public.secret RESTRICT",
        "TRUNCATE secret",
        "TRUNCATE ONLY public.secret RESTART IDENTITY",
    ] {
        assert_eq!(judge(sql, Ddl::Unscoped, None), sql);
        assert_eq!(judge(sql, Ddl::Deny, Some(Ddl::Unscoped)), sql);
        for denied in [
            judge(sql, Ddl::Deny, None),
            judge(sql, Ddl::Unscoped, Some(Ddl::Deny)),
        ] {
            assert!(denied.starts_with('!'), "{sql}");
        }
    }
}

#[test]
fn what_could_touch_or_shadow_a_tenants_is_refused() {
    for sql in [
        // What holds a tenant's rows, or what clients may not write.
        "DROP TABLE leads",
        "DROP TABLE secret, leads",
        "DROP TABLE plans",
        "DROP TABLE pg_catalog.pg_class",
        "ALTER TABLE leads ADD COLUMN x int",
        "ALTER TABLE public.leads RENAME TO fresh",
        "CREATE INDEX fresh ON leads (id)",
        "TRUNCATE leads",
        "TRUNCATE secret, leads",
        "TRUNCATE plans",
        "TRUNCATE secret CASCADE",
        "TRUNCATE nowhere.public.secret",
        // What would hide something, or become scoped.
        "CREATE TABLE leads (id int)",
        "CREATE TABLE app.leads (id int)",
        "CREATE TABLE pg_catalog.fresh (id int)",
        "CREATE TABLE lower (id int)",
        "CREATE TABLE int4 (id int)",
        "CREATE TABLE public.nowhere.fresh (id int)",
        "CREATE TYPE public.leads AS ENUM ('a')",
        "CREATE SEQUENCE public.calls",
        "CREATE INDEX leads ON secret (id)",
        "ALTER TABLE secret RENAME TO calls",
        "CREATE TABLE fresh (id int, org_id uuid)",
        "CREATE TABLE fresh (LIKE leads)",
        "ALTER TABLE secret ADD COLUMN org_id uuid",
        "ALTER TABLE secret ADD COLUMN note text",
        // What reaches other objects, or runs what nobody has read.
        "CREATE TABLE fresh (id uuid REFERENCES leads)",
        "CREATE TABLE fresh () INHERITS (leads)",
        "CREATE TABLE fresh PARTITION OF leads DEFAULT",
        "CREATE TABLE fresh (id int) INHERITS (secret)",
        "CREATE TABLE fresh (id int DEFAULT pg_sleep(1))",
        "CREATE TABLE fresh (id int DEFAULT (SELECT count(*) FROM leads))",
        "CREATE TABLE fresh AS SELECT * FROM leads",
        "SELECT * INTO fresh FROM leads",
        "ALTER TABLE secret ADD FOREIGN KEY (id) REFERENCES leads (amount)",
        "ALTER TABLE secret INHERIT leads",
        "ALTER TABLE secret DROP COLUMN id",
        "ALTER TABLE secret RENAME COLUMN id TO amount",
        "ALTER TABLE secret ALTER id TYPE text",
        "ALTER TABLE secret DROP CONSTRAINT x CASCADE",
        "ALTER TABLE secret OWNER TO postgres",
        "ALTER TABLE secret ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE secret SET SCHEMA app",
        "DROP TABLE secret CASCADE",
        "CREATE SEQUENCE fresh OWNED BY leads.amount",
        "CREATE VIEW fresh AS SELECT * FROM leads",
        "CREATE FUNCTION fresh() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TRIGGER t BEFORE INSERT ON secret EXECUTE FUNCTION f()",
        "CREATE RULE r AS ON INSERT TO secret DO ALSO DELETE FROM leads",
        "CREATE POLICY p ON leads",
        "CREATE CAST (int AS text) WITH INOUT AS IMPLICIT",
        "CREATE OPERATOR public.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = uuid_ne)",
        "CREATE DOMAIN fresh AS int",
        "CREATE EXTENSION dblink",
        "CREATE SCHEMA fresh",
        "CREATE ROLE fresh",
        "DROP SCHEMA public",
        "DROP VIEW v",
        "DROP INDEX i",
        "DROP SEQUENCE s",
        "GRANT SELECT ON leads TO PUBLIC",
        "COMMENT ON TABLE leads IS 'x'",
    ] {
        let answer = judge(sql, Ddl::Unscoped, None);
        assert!(answer.starts_with('!'), "{sql}: {answer}");
        assert!(!answer.contains("proven"), "{sql}: {answer}");
    }
}
