//! Lasting DDL where the policy allows it.

use std::sync::Arc;

use crate::catalog::{Catalog, Relation, RelationKind, Type, TypeKind};
use crate::engine::Limits;
use crate::rules::{Access, Ddl, QualifiedName, Scope, TableRule};
use crate::{Engine, Protocol, Request, Scratch, SessionFacts, testing};

/// The answer where tables that nobody listed may be written; what the policy says of DDL, and what it
/// says of the session's role.
fn judge(sql: &str, default: Ddl, ddl: Option<Ddl>) -> String {
    judge_where(sql, Access::Write, default, ddl)
}

fn judge_where(sql: &str, unlisted: Access, default: Ddl, ddl: Option<Ddl>) -> String {
    let mut policy = testing::policy();
    policy.defaults.unlisted = unlisted;
    policy.defaults.ddl = default;
    let catalog = Arc::new(testing::catalog());
    let engine = Engine::new(Arc::new(policy), catalog, Limits::default());
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

/// What is sent; a refusal fails.
#[track_caller]
fn sent(sql: &str) -> String {
    let sent = judge(sql, Ddl::Unscoped, None);
    assert!(!sent.starts_with('!'), "{sql}: {sent}");
    sent
}

#[test]
fn what_a_message_makes_is_used_behind_it() {
    let made = "CREATE TABLE fresh (id int, note text); ";
    for (used, as_sent) in [
        (
            "INSERT INTO fresh VALUES (1, 'x')",
            "INSERT INTO public.fresh VALUES (1, 'x')",
        ),
        ("SELECT note FROM fresh", "SELECT note FROM public.fresh"),
        (
            "CREATE INDEX ON fresh (id)",
            "CREATE INDEX ON public.fresh USING btree (id)",
        ),
        (
            "ALTER TABLE fresh ADD y int",
            "ALTER TABLE public.fresh ADD COLUMN y int",
        ),
        ("TRUNCATE fresh", "TRUNCATE public.fresh"),
        ("DROP TABLE fresh", "DROP TABLE fresh"),
    ] {
        let after = sent(&format!("{made}{used}"));
        let wanted = format!("CREATE TABLE public.fresh (id int, note text); {as_sent}");
        assert_eq!(after, wanted);
    }
    for used in [
        "ALTER TABLE fresh ADD y int; SELECT y FROM fresh",
        "ALTER TABLE fresh RENAME TO fresher; INSERT INTO fresher (id) VALUES (1)",
        "DROP TABLE fresh; CREATE TABLE fresh (z date); SELECT z FROM public.fresh",
        "DROP TABLE IF EXISTS fresh; CREATE TABLE fresh (z date); SELECT z FROM fresh",
        "BEGIN; SAVEPOINT s; RELEASE s; SELECT note FROM fresh",
        "INSERT INTO fresh SELECT amount, l.note FROM leads l",
    ] {
        sent(&format!("{made}{used}"));
    }
    // Wherever the path leads then.
    let after = sent("COMMIT; CREATE TABLE fresh (id int)");
    assert_eq!(after, "COMMIT; CREATE TABLE fresh (id int)");
    sent("COMMIT; CREATE TABLE public.fresh (id int); SELECT id FROM fresh");
    // One that was there, and is nobody's.
    let again = sent("DROP TABLE secret; CREATE TABLE secret (z date); SELECT z FROM secret");
    assert!(again.ends_with("SELECT z FROM public.secret"), "{again}");
    sent(
        "DROP TABLE IF EXISTS public.fresh; CREATE TABLE public.fresh (id int); TABLE public.fresh",
    );
}

/// A tenant's rows keep their predicate beside a table that the message has made.
#[test]
fn what_is_read_beside_it_is_guarded() {
    let after =
        sent("CREATE TABLE fresh (amount int); SELECT (SELECT amount FROM fresh) FROM leads");
    assert!(after.contains("org_id OPERATOR(pg_catalog.=)"), "{after}");
    // The column is the leads', so the condition that can fail must not see another tenant's.
    for made in ["(id int)", "(id int); ALTER TABLE fresh ADD x int"] {
        let sql = format!(
            "CREATE TABLE fresh {made}; SELECT FROM leads WHERE EXISTS (SELECT FROM fresh WHERE 1 / amount > 0)"
        );
        let after = sent(&sql);
        assert!(after.contains("CASE WHEN"), "{after}");
    }
}

#[test]
fn what_is_not_known_so_well_is_refused_behind_it() {
    for (made, used) in [
        (
            "CREATE TABLE IF NOT EXISTS fresh (id int)",
            "INSERT INTO fresh VALUES (1)",
        ),
        (
            "CREATE TABLE IF NOT EXISTS fresh (id int)",
            "DROP TABLE IF EXISTS fresh",
        ),
        (
            "CREATE TABLE IF NOT EXISTS fresh (id int)",
            "DROP TABLE IF EXISTS public.fresh",
        ),
        ("CREATE TABLE fresh (LIKE secret)", "SELECT FROM fresh"),
        ("CREATE TABLE fresh (id int); COMMIT", "SELECT FROM fresh"),
        (
            "CREATE TABLE fresh (id int); ROLLBACK",
            "SELECT FROM public.fresh",
        ),
        (
            "CREATE TABLE fresh (id int); ROLLBACK",
            "DROP TABLE IF EXISTS fresh",
        ),
        (
            "CREATE TABLE fresh (id int); ROLLBACK TO s",
            "SELECT FROM fresh",
        ),
        (
            "CREATE TABLE fresh (id int); DROP TABLE fresh; ROLLBACK TO s",
            "SELECT FROM fresh",
        ),
        (
            "DROP TABLE secret; CREATE TABLE secret (z date); ROLLBACK",
            "SELECT id FROM secret",
        ),
        ("DROP TABLE secret; ROLLBACK", "SELECT id FROM secret"),
        ("DROP TABLE secret; ROLLBACK", "DROP TABLE IF EXISTS secret"),
        ("ALTER TABLE secret RENAME TO fresh", "SELECT id FROM fresh"),
        (
            "COMMIT; CREATE TABLE fresh (id int)",
            "SELECT FROM public.fresh",
        ),
        ("CREATE SEQUENCE fresh", "SELECT FROM fresh"),
        ("CREATE SEQUENCE fresh", "DROP SEQUENCE IF EXISTS fresh"),
    ] {
        let told = judge(&format!("{made}; {used}"), Ddl::Unscoped, None);
        assert!(
            told.contains("in a message of its own"),
            "{made}; {used}: {told}"
        );
        assert!(told.starts_with('!'), "{told}");
    }
    for sql in [
        // What is gone is not looked for.
        "DROP TABLE secret; SELECT id FROM secret",
        "ALTER TABLE secret RENAME TO fresh; SELECT id FROM secret",
        "CREATE TABLE fresh (id int); DROP TABLE fresh; SELECT id FROM fresh",
        // Not the one that is named.
        "CREATE TEMP TABLE fresh (id int); DROP TABLE IF EXISTS public.fresh",
        "CREATE TEMP TABLE fresh (id int); DROP TABLE IF EXISTS pg_temp_3.fresh",
        "DROP TABLE IF EXISTS pg_temp_3.fresh",
        // A name that is taken, by the message itself.
        "CREATE TABLE fresh (id int); CREATE TABLE app.fresh (id int)",
        "CREATE TABLE fresh (id int); CREATE SEQUENCE fresh",
        "CREATE SEQUENCE fresh; CREATE TABLE fresh (id int)",
        "CREATE TABLE fresh (id int); ALTER TABLE secret RENAME TO fresh",
        "DROP TABLE secret; CREATE TABLE leads (id int)",
        // Its rows' type is not known.
        "CREATE TABLE fresh (id int); SELECT NULL::fresh",
        "CREATE TABLE fresh (id int); SELECT NULL::public._fresh",
        "DROP TABLE secret; CREATE TABLE secret (z int); SELECT NULL::secret",
        // What would be a tenant's.
        "CREATE TABLE fresh (id int); ALTER TABLE fresh ADD org_id uuid",
        "CREATE TABLE fresh (id int); ALTER TABLE fresh ADD note text",
        "CREATE TABLE fresh (org_id uuid); SELECT FROM fresh",
        "DROP TABLE secret; CREATE TABLE secret (org_id uuid)",
        "CREATE TABLE fresh (id int); CREATE INDEX ON fresh ((pg_sleep(id)))",
        "CREATE TABLE fresh (id int); ALTER TABLE fresh ADD CHECK (pg_sleep(id) IS NULL)",
        "CREATE TABLE fresh (id int); DROP TABLE fresh, leads",
    ] {
        let told = judge(sql, Ddl::Unscoped, None);
        assert!(
            told.starts_with('!') && !told.contains("proven"),
            "{sql}: {told}"
        );
    }
}

/// A view reads the table that it was made of, whatever has its name now.
#[test]
fn a_view_does_not_read_what_is_made() {
    let mut parts = testing::catalog().parts().clone();
    let secret = parts.relations.iter().find(|it| it.name == "secret");
    let view = Relation {
        oid: 99,
        name: "shown".to_owned(),
        kind: RelationKind::View,
        definition: Some("SELECT secret.id FROM public.secret".to_owned()),
        depends_on: vec![5],
        ..secret.expect("a table").clone()
    };
    parts.relations.push(view);
    let mut policy = testing::policy();
    policy.defaults.unlisted = Access::Write;
    policy.defaults.ddl = Ddl::Unscoped;
    let name = QualifiedName {
        schema: "public".to_owned(),
        name: "shown".to_owned(),
    };
    let listed = TableRule {
        name,
        scope: Scope::Discovered,
        ..policy.tables[0].clone()
    };
    policy.tables.push(listed);
    let engine = Engine::new(
        Arc::new(policy),
        Arc::new(Catalog::new(parts)),
        Limits::default(),
    );
    let engine = engine.expect("the policy fits");
    for (before, passes) in [
        ("", true),
        ("CREATE TABLE fresh (id int); ", true),
        ("ALTER TABLE secret RENAME TO fresh; ", false),
        (
            "ALTER TABLE secret RENAME TO fresh; CREATE TABLE secret (id int); ",
            false,
        ),
    ] {
        let request = Request {
            text: &format!("{before}SELECT id FROM shown"),
            protocol: Protocol::Simple,
            declared: &[],
            facts: &SessionFacts::default(),
            values: &testing::values(),
        };
        let mut scratch = Scratch::default();
        let judged = engine.judge(request, &mut scratch);
        assert_eq!(judged.is_ok(), passes, "{before}: {:?}", judged.err());
    }
}

/// The table is guarded as the policy guards what it does not list.
#[test]
fn what_is_made_is_used_as_far_as_the_policy_lets_unlisted_tables_be() {
    for (unlisted, read, written) in [
        (Access::Write, true, true),
        (Access::Read, true, false),
        (Access::Deny, false, false),
    ] {
        for (sql, wanted) in [
            ("SELECT id FROM fresh", read),
            ("INSERT INTO fresh VALUES (1)", written),
            ("CREATE INDEX ON fresh (id)", written),
            ("DROP TABLE fresh", written),
        ] {
            let told = judge_where(
                &format!("CREATE TABLE fresh (id int); {sql}"),
                unlisted,
                Ddl::Unscoped,
                None,
            );
            assert_eq!(!told.starts_with('!'), wanted, "{sql}: {told}");
        }
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
        "CREATE INDEX fresh ON secret (id app.text_ops)",
        "CREATE INDEX fresh ON secret (id public.text_pattern_ops)",
        "CREATE INDEX fresh ON secret (id gin_trgm_ops)",
        "CREATE INDEX fresh ON secret (id tsvector_ops (siglen = 100))",
        "ALTER TABLE secret RENAME TO calls",
        "CREATE TABLE fresh (id int, org_id uuid)",
        "CREATE TABLE fresh (LIKE leads)",
        "ALTER TABLE secret ADD COLUMN org_id uuid",
        "ALTER TABLE secret ADD COLUMN note text",
        // What reaches other objects, or runs what nobody has read.
        "CREATE TABLE fresh (id uuid REFERENCES leads)",
        "CREATE TABLE fresh (id uuid, FOREIGN KEY (id) REFERENCES public.leads)",
        "CREATE TEMP TABLE fresh (id int PRIMARY KEY, same int REFERENCES fresh)",
        "ALTER TABLE secret ADD COLUMN lead uuid REFERENCES leads",
        "CREATE TABLE fresh (id int GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME leads))",
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

/// The server refuses what would reach further.
#[test]
fn cascade_is_sent_as_restrict() {
    for (sql, as_sent) in [
        ("DROP TABLE secret CASCADE", "DROP TABLE secret"),
        (
            "DROP TABLE IF EXISTS public.secret CASCADE",
            "DROP TABLE IF EXISTS public.secret",
        ),
        ("TRUNCATE secret CASCADE", "TRUNCATE public.secret"),
        (
            "TRUNCATE public.secret RESTART IDENTITY CASCADE",
            "TRUNCATE public.secret RESTART IDENTITY",
        ),
        (
            "CREATE TABLE fresh (id int); DROP TABLE fresh CASCADE",
            "CREATE TABLE public.fresh (id int); DROP TABLE fresh",
        ),
    ] {
        assert_eq!(sent(sql), as_sent);
        assert!(judge(sql, Ddl::Deny, None).starts_with('!'), "{sql}");
    }
}

/// The answer where the schema has some types.
fn judge_types(sql: &str, ddl: Ddl) -> String {
    let mut parts = testing::catalog().parts().clone();
    parts.schemas.push("app".to_owned());
    let mut add = |oid, schema: &str, name: &str, kind, extension: Option<&str>| {
        parts.types.push(Type {
            oid,
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind,
            extension: extension.map(str::to_owned),
            ..testing::catalog().parts().types[0].clone()
        });
    };
    add(900, "public", "mood", TypeKind::Enum, None);
    add(901, "app", "far", TypeKind::Enum, None);
    add(902, "public", "twice", TypeKind::Enum, None);
    add(903, "app", "twice", TypeKind::Enum, None);
    add(904, "public", "pair", TypeKind::Composite, None);
    add(905, "public", "small", TypeKind::Domain, None);
    add(906, "public", "brought", TypeKind::Enum, Some("hstore"));
    add(907, "public", "leads", TypeKind::Enum, None);
    let mut policy = testing::policy();
    policy.defaults.ddl = ddl;
    let engine = Engine::new(
        Arc::new(policy),
        Arc::new(Catalog::new(parts)),
        Limits::default(),
    );
    let request = Request {
        text: sql,
        protocol: Protocol::Simple,
        declared: &[],
        facts: &SessionFacts::default(),
        values: &testing::values(),
    };
    let engine = engine.expect("the policy fits");
    match engine.judge(request, &mut Scratch::default()) {
        Ok(cleared) => cleared.text().to_owned(),
        Err(denial) => format!("! {} {}", denial.message, denial.hint.unwrap_or_default()),
    }
}

#[test]
fn enums_may_be_dropped() {
    for (sql, as_sent) in [
        ("DROP TYPE mood", "DROP TYPE mood"),
        (
            "DROP TYPE IF EXISTS public.mood CASCADE",
            "DROP TYPE IF EXISTS public.mood",
        ),
        ("DROP TYPE app.far", "DROP TYPE app.far"),
        ("DROP TYPE mood, app.far", "DROP TYPE mood, app.far"),
        (
            "DROP TYPE IF EXISTS nothing",
            "DROP TYPE IF EXISTS pg_temp.nothing",
        ),
        (
            "DROP TYPE IF EXISTS public.nothing CASCADE",
            "DROP TYPE IF EXISTS pg_temp.nothing",
        ),
    ] {
        assert_eq!(judge_types(sql, Ddl::Unscoped), as_sent);
        assert!(judge_types(sql, Ddl::Deny).starts_with('!'), "{sql}");
    }
    for sql in [
        "DROP TYPE nothing",
        "DROP TYPE far",
        "DROP TYPE app.mood",
        "DROP TYPE IF EXISTS app.mood",
        "DROP TYPE twice",
        "DROP TYPE public.twice",
        "DROP TYPE pair",
        "DROP TYPE small",
        "DROP DOMAIN small",
        "DROP TYPE brought",
        "DROP TYPE leads",
        "DROP TYPE public.leads",
        "DROP TYPE uuid",
        "DROP TYPE pg_catalog.uuid",
        "DROP TYPE mood, pair",
        "DROP TYPE nowhere.public.mood",
        // What the message has changed itself.
        "DROP TYPE mood; DROP TYPE mood",
        "DROP TYPE mood; CREATE TABLE mood (id int)",
        "CREATE TYPE fresh AS ENUM ('a'); DROP TYPE fresh",
        "CREATE TEMP TABLE mood (id int); DROP TYPE mood",
        "CREATE TEMP TABLE nothing (id int); DROP TYPE IF EXISTS nothing",
        "DROP TYPE mood; SELECT 'x'::mood",
    ] {
        let told = judge_types(sql, Ddl::Unscoped);
        assert!(
            told.starts_with('!') && !told.contains("proven"),
            "{sql}: {told}"
        );
    }
}
