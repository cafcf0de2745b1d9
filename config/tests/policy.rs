//! `policy.toml`: what it resolves to, and how its problems read.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::path::Path;

use pgwarden_config::{File, LoadedPolicy, load_policy, read_policy};
use pgwarden_policy::ValueType;
use pgwarden_policy::engine::BindingProblem;
use pgwarden_policy::rules::{
    Access, ClaimPath, Ddl, Expect, MissingFilter, Mode, Policy, QualifiedName, Scope, ScopeKey,
};

fn read(text: &str) -> Result<LoadedPolicy, String> {
    read_policy(&File::new("policy.toml", text)).map_err(|problems| problems.to_string())
}

fn policy(text: &str) -> Policy {
    let loaded = read(&format!("version = 1\n{text}")).unwrap_or_else(|shown| panic!("{shown}"));
    (*loaded.policy).clone()
}

fn problems_of(text: &str) -> String {
    read(&format!("version = 1\n{text}")).expect_err("there is a problem")
}

fn table<'a>(policy: &'a Policy, name: &str) -> &'a Scope {
    let found = policy
        .tables
        .iter()
        .find(|table| table.name.to_string() == name);
    &found.unwrap().scope
}

fn key(column: &str, claim: &str, value_type: ValueType) -> Scope {
    Scope::Keys(vec![ScopeKey {
        column: column.to_owned(),
        claim: ClaimPath(claim.split('.').map(str::to_owned).collect()),
        value_type,
    }])
}

#[track_caller]
fn assert_shows(shown: &str, expected: &str) {
    let expected = expected.trim_start_matches('\n');
    assert!(shown == expected, "shown:\n{shown}\nexpected:\n{expected}");
}

#[test]
fn the_smallest_policy_has_the_samples_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/policy.toml");
    let sample = load_policy(&path).unwrap_or_else(|shown| panic!("{shown}"));
    let smallest = policy("");
    assert_eq!(
        format!("{:?}", sample.policy.defaults),
        format!("{:?}", smallest.defaults)
    );
    assert_eq!(
        format!("{:?}", sample.policy.tenant),
        format!("{:?}", smallest.tenant)
    );
}

#[test]
fn the_contract_is_read() {
    let policy = read(include_str!("contract/policy.toml")).unwrap().policy;
    let org = "app_metadata.org_id";
    assert_eq!(
        *table(&policy, "public.organizations"),
        key("id", org, ValueType::Uuid)
    );
    let by_user = key("user_id", "sub", ValueType::Uuid);
    assert_eq!(*table(&policy, "public.user_credits"), by_user);
    assert_eq!(*table(&policy, "public.user_subscriptions"), by_user);
    assert_eq!(*table(&policy, "public.call_logs"), Scope::Discovered);
    let call_logs = policy
        .tables
        .iter()
        .find(|it| it.name.name == "call_logs")
        .unwrap();
    assert_eq!(call_logs.missing_filter, Some(MissingFilter::Reject));
    assert_eq!(*table(&policy, "public.plans"), Scope::Global(Access::Read));
    let similarity = QualifiedName {
        schema: "public".into(),
        name: "similarity".into(),
    };
    assert_eq!(policy.functions.allow, [similarity.into()]);
    assert_eq!(policy.functions.extensions, ["pg_trgm", "pgcrypto"]);
    assert_eq!(policy.settings.len(), 5);
    assert!(policy.role("service_role").unwrap().enforce);
    let admin = policy.role("platform_admin").unwrap();
    assert!(!admin.enforce);
    assert_eq!(admin.set_role.as_deref(), Some("platform_admin"));
    assert_eq!(policy.tests[0].expect, Expect::Rewrite);
    assert_eq!(
        policy.tests[0].claims,
        r#"{"app_metadata":{"org_id":"a0000000-0000-0000-0000-000000000001"},"role":"authenticated"}"#
    );
}

#[test]
fn a_function_that_no_policy_can_allow_is_a_mistake() {
    let functions = |entry: &str| {
        read(&format!(
            "version = 1\n[functions]\nallow = [\"{entry}\"]\n"
        ))
    };
    let sleep = functions("pg_catalog.pg_sleep").unwrap_err();
    assert!(
        sleep.contains("pg_catalog.pg_sleep can't be allowed"),
        "{sleep}"
    );
    assert!(sleep.contains("hold a server connection"), "{sleep}");
    for entry in [
        "pg_catalog.query_to_xml",
        "pg_catalog.pg_advisory_lock(int8)",
        "pg_catalog.no_such_function",
        "pg_catalog.pg_advisory_xact_lock(int8)",
    ] {
        assert!(functions(entry).is_err(), "{entry}");
    }
    for entry in [
        "pg_catalog.pg_advisory_xact_lock",
        "pg_catalog.pg_try_advisory_lock",
        "pg_catalog.lower",
        "public.pg_sleep",
    ] {
        assert!(functions(entry).is_ok(), "{entry}");
    }
}

#[test]
fn the_revision_is_the_start_of_the_files_sha256() {
    let revision = read("version = 1\n").unwrap().policy.revision.clone();
    assert_eq!(revision, "dbab12665d98");
}

#[test]
fn all_problems_are_shown_at_once() {
    let text = r#"
mode = "Enforce"
[tenant]
claim  = "user_metadata.org_id"
type   = "integer"
[defaults]
unlisted = "allow"
misssing_filter = "rewrite"
explain = true
[[table]]
name  = "leads"
[[table]]
name  = "public.calls"
scope = "global"
column = "org_id"
[[table]]
names = ["public.a", "Public.A", "public.b c"]
[[table]]
column = "id"
[[table]]
name = "public.t"
access = "read"
claim = "sub"
[settings]
allow = ["request.jwt.claims", "TimeZone"]
[[role]]
enforcement = false
[[test]]
name = "x"
claims = "{}"
sql = "SELECT 1"
expect = "rewritten"
"#;
    assert_shows(
        &problems_of(text),
        r#"
policy.toml:3:8: unknown value "Enforce"
  |
3 | mode = "Enforce"
  |        ^^^^^^^^^
  = help: did you mean "enforce"?

policy.toml:5:10: claim path goes through "user_metadata", which users can write
  |
5 | claim  = "user_metadata.org_id"
  |          ^^^^^^^^^^^^^^^^^^^^^^
  = help: take a claim that only the identity provider sets, such as "app_metadata.org_id"

policy.toml:6:10: unknown type "integer"
  |
6 | type   = "integer"
  |          ^^^^^^^^^
  = help: write "bigint": it is compared with all integer columns

policy.toml:8:12: unknown value "allow"
  |
8 | unlisted = "allow"
  |            ^^^^^^^
  = help: write "deny", "read" or "write"

policy.toml:9:1: unknown key "misssing_filter" in [defaults]
  |
9 | misssing_filter =…
  | ^^^^^^^^^^^^^^^
  = help: did you mean "missing_filter"?

policy.toml:10:11: expected a string, found a boolean
   |
10 | explain = true
   |           ^^^^

policy.toml:12:9: the schema is missing
   |
12 | name  = "leads"
   |         ^^^^^^^
   = help: write "public.leads" if it is in that schema

policy.toml:16:1: "column" can't stand beside "scope"
   |
16 | column = "org_id"
   | ^^^^^^
   = help: a global table has no tenant: leave one of them out

policy.toml:18:22: table public.a is listed twice, first in line 18
   |
18 | names = ["public.a", "Public.A", "public.b c"]
   |                      ^^^^^^^^^^
   = help: merge the two entries

policy.toml:18:34: not a name that PostgreSQL takes without quotes
   |
18 | names = ["public.a", "Public.A", "public.b c"]
   |                                  ^^^^^^^^^^^^
   = help: write '"schema"."name"' with double quotes inside single ones

policy.toml:19:1: key "name" is missing in [[table]]
   |
19 | [[table]]
   | ^^^^^^^^^
   = help: write name = "schema.table"

policy.toml:23:1: "access" needs "scope"
   |
23 | access = "read"
   | ^^^^^^
   = help: write scope = "global" too

policy.toml:24:1: "claim" needs "column"
   |
24 | claim = "sub"
   | ^^^^^
   = help: write the column that holds this claim's value

policy.toml:26:10: setting request.jwt.claims can't be allowed
   |
26 | allow = ["request.jwt.claims", "TimeZone"]
   |          ^^^^^^^^^^^^^^^^^^^^
   = help: it decides who the session is or how its text is read; leave it out

policy.toml:27:1: key "name" is missing in [[role]]
   |
27 | [[role]]
   | ^^^^^^^^

policy.toml:28:15: expected a string, found a boolean
   |
28 | enforcement = false
   |               ^^^^^

policy.toml:31:10: expected a table, found a string
   |
31 | claims = "{}"
   |          ^^^^
   = help: write claims = { role = "authenticated", app_metadata = { org_id = "…" } }

policy.toml:33:10: unknown value "rewritten"
   |
33 | expect = "rewritten"
   |          ^^^^^^^^^^^
   = help: did you mean "rewrite"?
"#,
    );
}

#[test]
fn the_version_must_be_one() {
    assert!(read("").unwrap_err().contains("key \"version\" is missing"));
    assert!(read("version = 2").unwrap_err().contains("unknown version"));
    assert!(
        read("version = \"1\"")
            .unwrap_err()
            .contains("expected an integer")
    );
}

#[test]
fn ddl_is_a_matter_of_the_policy_or_a_role() {
    let policy = policy("[defaults]\nddl = 'unscoped'\n[[role]]\nname = 'app'\nddl = 'deny'\n");
    assert_eq!(policy.defaults.ddl, Ddl::Unscoped);
    assert_eq!(policy.role("app").unwrap().ddl, Some(Ddl::Deny));
}

#[test]
fn locks_are_a_matter_of_the_policy_or_a_role() {
    let given = policy("[defaults]\nlock = 'allow'\n[[role]]\nname = 'app'\nlock = 'deny'\n");
    assert!(given.defaults.lock);
    assert_eq!(given.role("app").unwrap().lock, Some(false));
    assert!(!policy("").defaults.lock);
}

#[test]
fn the_policy_or_single_tables_are_observed() {
    assert_eq!(policy("mode = 'observe'").mode, Mode::Observe);
    let loaded = policy("[[table]]\nname = 'a.b'\nmode = 'observe'\n");
    assert_eq!(loaded.mode, Mode::Enforce);
    let modes: Vec<_> = loaded.tables.iter().map(|table| table.mode).collect();
    assert_eq!(modes, [Some(Mode::Observe)]);
    let shown = problems_of("mode = 'observe'\n[[table]]\nname = 'a.b'\nmode = 'enforce'\n");
    assert!(shown.contains("a table can't be enforced"), "{shown}");
}

#[test]
fn a_second_type_of_the_tenant_claim_is_possible() {
    let policy = policy("[[table]]\nname = 'a.b'\ncolumn = 'org'\ntype = 'text'\n");
    assert_eq!(
        *table(&policy, "a.b"),
        key("org", "app_metadata.org_id", ValueType::Text)
    );
}

#[test]
fn a_table_is_scoped_by_several_columns() {
    let own = |column: &str| ScopeKey {
        column: column.to_owned(),
        claim: ClaimPath(vec!["app_metadata".to_owned(), "org_id".to_owned()]),
        value_type: ValueType::Uuid,
    };
    let by = |column: &str, claim: &str, value_type| ScopeKey {
        column: column.to_owned(),
        claim: ClaimPath(vec![claim.to_owned()]),
        value_type,
    };
    let policy = policy(
        "[[table]]\nname = 'a.drafts'\nalso = [{ column = 'user_id', claim = 'sub' }]\n\
         [[table]]\nname = 'a.desks'\ncolumn = 'org'\n\
         [[table.also]]\ncolumn = 'region'\nclaim = 'region'\ntype = 'text'\n\
         [[table.also]]\ncolumn = 'team'\nclaim = 'team'\ntype = 'bigint'\n",
    );
    let drafts = [own("org_id"), by("user_id", "sub", ValueType::Uuid)];
    assert_eq!(*table(&policy, "a.drafts"), Scope::Keys(drafts.into()));
    let desks = [
        own("org"),
        by("region", "region", ValueType::Text),
        by("team", "team", ValueType::Bigint),
    ];
    assert_eq!(*table(&policy, "a.desks"), Scope::Keys(desks.into()));
}

#[test]
fn problems_of_further_columns_are_shown_where_they_stand() {
    let text = r#"
[[table]]
name = "a.one"
also = [{ column = "org_id", claim = "sub" }, { column = "u", claim = "sub" }, { column = "u", claim = "sub" }]
[[table]]
name = "a.two"
also = [{ column = "user_id" }]
[[table]]
name = "a.three"
scope = "global"
also = [{ column = "u", claim = "user_metadata.u", typ = "text" }]
[[table]]
name = "a.four"
also = "user_id"
"#;
    let shown = problems_of(text);
    let starts = |start: &str| {
        let found = shown.lines().any(|line| line.starts_with(start));
        assert!(found, "{start}\n{shown}");
    };
    starts("policy.toml:5:20: column \"org_id\" scopes the table already");
    starts("policy.toml:5:91: column \"u\" scopes the table already");
    starts("policy.toml:8:9: key \"claim\" is missing in [[table.also]]");
    starts("policy.toml:12:1: \"also\" can't stand beside \"scope\"");
    starts("policy.toml:12:33: claim path goes through \"user_metadata\"");
    starts("policy.toml:12:52: unknown key \"typ\" in [[table.also]]");
    starts("policy.toml:15:1: \"also\" is a string, not an array");
}

#[test]
fn problems_of_the_catalogue_are_shown_at_the_line_that_names_the_object() {
    let loaded = read("version = 1\n[[table]]\nname = 'public.lead'\n").unwrap();
    let problem = |object: &str| BindingProblem {
        object: object.to_owned(),
        message: "there is no such table".to_owned(),
        suggestion: Some("public.leads".to_owned()),
    };
    let shown = loaded.source.locate(&problem("public.lead")).to_string();
    assert_shows(
        &shown,
        r#"
policy.toml:3:8: there is no such table
  |
3 | name = 'public.lead'
  |        ^^^^^^^^^^^^^
  = help: did you mean "public.leads"?
"#,
    );
    let of_column = loaded
        .source
        .locate(&problem("public.lead.org_id"))
        .to_string();
    assert!(of_column.starts_with("policy.toml:3:8: "), "{of_column}");
    let elsewhere = loaded.source.locate(&problem("other.thing")).to_string();
    assert!(
        elsewhere.starts_with("policy.toml: other.thing: "),
        "{elsewhere}"
    );
}

#[test]
fn channels_are_listed_by_name() {
    let policy = |list: &str| {
        let text = format!("version = 1\n[channels]\nallow = {list}\n");
        let file = pgwarden_config::diagnostic::File::new("policy.toml", text);
        pgwarden_config::read_policy(&file)
    };
    let read = policy("[\"jobs\", \"Mixed Case\"]").expect("two channels");
    assert_eq!(read.policy.channels, ["jobs", "Mixed Case"]);
    for wrong in [
        "[\"*\"]",
        "[\"\"]",
        "\"jobs\"",
        &format!("[\"{}\"]", "x".repeat(64)),
    ] {
        assert!(policy(wrong).is_err(), "{wrong}");
    }
}
