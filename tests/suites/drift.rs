//! The drift guard: what the database loses of its own guarantees behind the proxy's back is told,
//! and denied where the policy wants it so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::fixture::ROLE;
use pgwarden_tests::watched::{OFTEN, POLICY, World, ask, until};

/// The suite's policy that wants row level security, too.
fn requiring(how: &str) -> String {
    POLICY.replacen(
        "[defaults]",
        &format!("[defaults]\nrequire_rls = \"{how}\""),
        1,
    )
}

/// What a policy compares.
const OWN: &str = "org_id = (nullif(current_setting('request.jwt.claims', true), '')::jsonb \
    #>> '{app_metadata,org_id}')::uuid";

fn gauge(code: &str) -> String {
    format!("pgwarden_schema_findings{{code=\"{code}\"}}")
}

#[test]
fn what_lacks_row_level_security_is_denied_until_it_has_it() {
    let mut world = World::with(OFTEN, &requiring("enforce"));
    let mut client = world.session();
    let sql = "SELECT note FROM leads";
    assert_eq!(ask(&mut client, sql), "rls_missing");
    assert_eq!(ask(&mut client, "DELETE FROM leads"), "rls_missing");
    assert_eq!(ask(&mut client, "SELECT name FROM places"), "harbour");
    let disabled = "pgwarden_schema_findings{code=\"rls_disabled\"}";
    assert_eq!(world.metric(disabled), 2.0);
    for (step, code) in [
        ("ENABLE ROW LEVEL SECURITY", "rls_not_forced"),
        ("FORCE ROW LEVEL SECURITY", "no_policy"),
    ] {
        world.ddl(&format!("ALTER TABLE leads {step}"));
        until(|| world.metric(&gauge(code)), |it| *it == 1.0);
        assert_eq!(ask(&mut client, sql), "rls_missing");
    }
    // A policy that lets everything through is no wall.
    world.ddl("CREATE POLICY tenant ON leads USING (true)");
    let always = gauge("policy_always_true");
    until(|| world.metric(&always), |it| *it == 1.0);
    assert_eq!(world.metric(&gauge("no_policy")), 0.0);
    assert_eq!(ask(&mut client, sql), "rls_missing");
    world.ddl(&format!("ALTER POLICY tenant ON leads USING ({OWN})"));
    until(|| ask(&mut client, sql), |it| it == "a");
    assert_eq!(world.metric(&always), 0.0);
    assert_eq!(world.metric(disabled), 1.0);
    world.ddl("ALTER POLICY tenant ON leads USING (note IS NOT NULL)");
    until(|| ask(&mut client, sql), |it| it == "rls_missing");
    assert_eq!(world.metric(&gauge("policy_ignores_tenant")), 1.0);
    world.ddl(&format!("ALTER POLICY tenant ON leads USING ({OWN})"));
    until(|| ask(&mut client, sql), |it| it == "a");
    world.ddl("ALTER TABLE leads DISABLE ROW LEVEL SECURITY");
    until(|| ask(&mut client, sql), |it| it == "rls_missing");
}

#[test]
fn a_policy_for_others_is_told_and_denies_nobody() {
    let mut world = World::with(OFTEN, &requiring("enforce"));
    let mut client = world.session();
    let sql = "SELECT note FROM leads";
    world.ddl(&format!(
        "ALTER TABLE leads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY tenant ON leads USING ({OWN});
         CREATE ROLE stranger; CREATE POLICY all_of_it ON leads TO stranger USING (true)"
    ));
    let always = gauge("policy_always_true");
    until(|| world.metric(&always), |it| *it == 1.0);
    assert_eq!(ask(&mut client, sql), "a");
    // Once the proxy's role has a part in it, it is the proxy's hole, too.
    world.ddl(&format!("GRANT stranger TO {ROLE}"));
    until(|| ask(&mut client, sql), |it| it == "rls_missing");
    world.ddl(&format!("REVOKE stranger FROM {ROLE}"));
    until(|| ask(&mut client, sql), |it| it == "a");
}

#[test]
fn the_lack_of_row_level_security_may_only_be_told() {
    let mut world = World::with(OFTEN, &requiring("warn"));
    let mut client = world.session();
    assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
    let disabled = "pgwarden_schema_findings{code=\"rls_disabled\"}";
    assert_eq!(world.metric(disabled), 2.0);
    world.ddl(
        "ALTER TABLE leads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY tenant ON leads USING (true)",
    );
    until(|| world.metric(disabled), |it| *it == 1.0);
    assert_eq!(world.metric(&gauge("policy_always_true")), 1.0);
    assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
    world.ddl(&format!("ALTER POLICY tenant ON leads USING ({OWN})"));
    let always = gauge("policy_always_true");
    until(|| world.metric(&always), |it| *it == 0.0);
    world.ddl("ALTER TABLE leads ALTER org_id DROP NOT NULL");
    let nullable = gauge("tenant_column_nullable");
    until(|| world.metric(&nullable), |it| *it == 1.0);
    world.ddl("ALTER TABLE leads ALTER org_id SET NOT NULL");
    until(|| world.metric(&nullable), |it| *it == 0.0);
}

#[test]
fn without_a_wish_for_it_only_what_goes_is_told() {
    let mut world = World::new(OFTEN);
    let mut client = world.session();
    let disabled = gauge("rls_disabled");
    assert_eq!(world.metric(&disabled), 0.0, "nobody has asked for it");
    world.ddl(&format!(
        "ALTER TABLE leads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY tenant ON leads USING ({OWN});
         CREATE TABLE fresh (id int, org_id uuid); GRANT ALL ON fresh TO PUBLIC"
    ));
    until(
        || ask(&mut client, "SELECT count(*) FROM fresh"),
        |it| it == "0",
    );
    assert_eq!(world.metric(&disabled), 0.0, "a new table has lost nothing");
    world.ddl("ALTER TABLE leads DISABLE ROW LEVEL SECURITY");
    until(|| world.metric(&disabled), |it| *it == 1.0);
    assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
    world.ddl("ALTER TABLE leads ENABLE ROW LEVEL SECURITY");
    until(|| world.metric(&disabled), |it| *it == 0.0);
    world.ddl("ALTER TABLE leads ALTER org_id DROP NOT NULL");
    let nullable = gauge("tenant_column_nullable");
    until(|| world.metric(&nullable), |it| *it == 1.0);
    world.ddl("DROP TABLE leads");
    until(|| world.metric(&nullable), |it| *it == 0.0);
}
