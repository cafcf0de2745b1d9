//! The commands that judge without a database: output, errors and exit status of the binary.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

use place::Place;

mod place;
mod sarif;

const SCRIPT: &str = "\\set ON_ERROR_STOP on
-- the organisation's own; nothing to see here
SELECT name FROM leads
WHERE id = $1;
SELECT 1;
SELECT ';' AS \"ü\", id
  FROM secrets;
SELEC 2;
";

fn check(place: &Place, more: &[&str], input: &str, status: i32) -> place::Ran {
    let arguments = [&["check", "--catalog", "catalog.json"], more].concat();
    place.run_with(&arguments, input).with_status(status)
}

#[test]
fn check_shows_what_is_refused_and_where() {
    let place = Place::new();
    place.write("a.sql", SCRIPT);
    let ran = check(&place, &["a.sql"], "", 1);
    let expected = "\
a.sql:1:1: not_sql
    \\set is a command of psql, not SQL: nothing was judged
    hint: Write what it sends as SQL, or keep it in a file that is not checked.
a.sql:6:1: deny, unlisted_relation (42501)
    relation \"public.secrets\" is neither scoped nor listed in the policy
    hint: List the relation in policy.toml if clients may use it. See
    docs/deny/unlisted_relation.
a.sql:8:1: deny, syntax_error (42601)
    syntax error at or near \"SELEC\"
    hint: See docs/deny/syntax_error.
4 statements in 1 file: 1 pass, 1 rewrite, 2 deny; 1 not SQL
";
    assert_eq!(ran.out, expected);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn check_reads_standard_input() {
    let place = Place::new();
    let ran = check(&place, &["--all"], "SELECT name FROM leads; SELECT 1", 0);
    let expected = "\
<stdin>:1:1: rewrite
    public.leads (read) guarded by org_id
<stdin>:1:25: pass
2 statements in 1 file: 1 pass, 1 rewrite, 0 deny
";
    assert_eq!(ran.out, expected);
    check(&place, &["-"], "SELECT * FROM secrets", 1);
    check(&place, &["nowhere.sql"], "", 2);
    check(&place, &["--claims", "[]"], "SELECT 1", 2);
}

#[test]
fn check_knows_the_claims_that_it_is_given() {
    let place = Place::new();
    let insert = format!("INSERT INTO leads VALUES (1, '{}', 'x')", place::ORG);
    let claims = format!(r#"{{"app_metadata": {{"org_id": "{}"}}}}"#, place::ORG);
    check(&place, &["--claims", &claims], &insert, 0);
    let ran = check(&place, &[], &insert, 1);
    assert!(ran.out.contains("foreign_tenant_value"), "{}", ran.out);
}

#[test]
fn check_as_json_has_every_statement() {
    let place = Place::new();
    place.write("a.sql", SCRIPT);
    let json = check(&place, &["--format", "json", "a.sql"], "", 1).json();
    assert_eq!(json["summary"]["deny"], 2);
    let statements = json["statements"].as_array().unwrap();
    let verdicts: Vec<_> = statements.iter().map(|it| it["verdict"].as_str()).collect();
    let expected = ["not_sql", "rewrite", "pass", "deny", "deny"];
    assert_eq!(verdicts, expected.map(Some));
    assert_eq!(statements[1]["line"], 3);
    assert_eq!(statements[1]["end_line"], 4);
    assert_eq!(statements[1]["hidden_parameters"][0]["parameter"], 2);
    assert_eq!(statements[3]["reason"], "unlisted_relation");
    assert_eq!(statements[3]["file"], "a.sql");
}

const TESTED: &str = r#"version = 1

[[test]]
name   = "leads are the organisation's own"
claims = { app_metadata = { org_id = "a0000000-0000-0000-0000-000000000001" } }
sql    = "SELECT name FROM leads WHERE id = $1"
expect = "rewrite"
"#;

const WRONG: &str = r#"
[[test]]
name   = "secrets can be read"
claims = { app_metadata = { org_id = "a0000000-0000-0000-0000-000000000001" } }
sql    = "SELECT * FROM secrets"
expect = "pass"
"#;

#[test]
fn policy_test_is_a_test_runner() {
    let place = Place::new();
    let run = ["policy", "test", "--catalog", "catalog.json"];
    place.write("policy.toml", TESTED);
    let ran = place.run(&run).with_status(0);
    assert_eq!(
        ran.out,
        "ok      leads are the organisation's own\n1 passed, 0 failed\n"
    );
    place.write("policy.toml", &format!("{TESTED}{WRONG}"));
    let ran = place.run(&run).with_status(1);
    let expected = "\
ok      leads are the organisation's own
FAILED  secrets can be read

policy.toml:9: secrets can be read
    statement SELECT * FROM secrets
    expected  pass
    got       deny, unlisted_relation (42501)
    because   relation \"public.secrets\" is neither scoped nor listed in the
              policy
    because   hint: List the relation in policy.toml if clients may use it. See
              docs/deny/unlisted_relation.

1 passed, 1 failed
";
    assert_eq!(ran.out, expected);
    let json = place
        .run(&[&run[..], &["--format", "json"]].concat())
        .with_status(1)
        .json();
    assert_eq!(json["failed"], 1);
    assert_eq!(json["tests"][1]["line"], 9);
    assert_eq!(json["tests"][1]["expected"], "pass");
    assert_eq!(json["tests"][1]["reason"], "unlisted_relation");
    let first = &json["tests"][0];
    assert_eq!(first["statement"], "SELECT name FROM leads WHERE id = $1");
    assert!(first["sql"].as_str().unwrap().contains("org_id"), "{first}");
}

#[test]
fn the_catalogue_stands_beside_the_policy_unless_somebody_says_where() {
    let place = Place::new();
    place.write("policy.toml", TESTED);
    place.run(&["policy", "test"]).with_status(0);
    let claims = format!(r#"{{"app_metadata": {{"org_id": "{}"}}}}"#, place::ORG);
    let explain = ["explain", "--claims", &claims, "SELECT name FROM leads"];
    assert!(place.run(&explain).with_status(0).out.contains("rewrite"));
    place.write("elsewhere.sql", "SELECT 1");
    place.run(&["check", "elsewhere.sql"]).with_status(0);
    let both = [
        "policy",
        "diff",
        "policy.toml",
        "policy.toml",
        "elsewhere.sql",
    ];
    place.run(&both).with_status(0);
    std::fs::remove_file(place.folder.path().join("catalog.json")).unwrap();
    let ran = place.run(&explain).with_status(2);
    assert!(ran.err.contains("pgwarden catalog --dsn"), "{}", ran.err);
}

#[test]
fn policy_diff_shows_what_changes_both_ways() {
    let place = Place::new();
    let global = |name: &str, access: &str| {
        format!(
            "version = 1\n[[table]]\nname = \"public.{name}\"\nscope = \"global\"\n\
             access = \"{access}\"\n"
        )
    };
    place.write("old.toml", &global("leads", "write"));
    place.write("new.toml", &global("secrets", "read"));
    let statements = "SELECT 1;\nSELECT *\nFROM secrets;\nSELECT name FROM leads;\n\
                      DELETE FROM secrets";
    let diff = ["policy", "diff", "--catalog", "catalog.json"];
    let ran = place
        .run_with(&[&diff[..], &["old.toml", "new.toml"]].concat(), statements)
        .with_status(1);
    let expected = "\
<stdin>:2: loosened
    SELECT *
    FROM secrets
  old: deny, unlisted_relation (42501)
    relation \"public.secrets\" is neither scoped nor listed in the policy
    hint: List the relation in policy.toml if clients may use it. See
    docs/deny/unlisted_relation.
  new: pass
    public.secrets (read) guarded by global
<stdin>:4: tightened
    SELECT name FROM leads
  old: pass
    public.leads (read) guarded by global
  new: rewrite
    public.leads (read) guarded by org_id
<stdin>:5: altered
    DELETE FROM secrets
  old: deny, unlisted_relation (42501)
    relation \"public.secrets\" is neither scoped nor listed in the policy
    hint: List the relation in policy.toml if clients may use it. See
    docs/deny/unlisted_relation.
  new: deny, read_only_relation (42501)
    relation \"public.secrets\" may only be read
    hint: See docs/deny/read_only_relation.
4 statements: 1 loosened, 1 tightened, 1 altered
";
    assert_eq!(ran.out, expected);
    let same = [&diff[..], &["old.toml", "old.toml"]].concat();
    let ran = place.run_with(&same, statements).with_status(0);
    assert_eq!(
        ran.out,
        "4 statements: 0 loosened, 0 tightened, 0 altered\n"
    );
    let json = [&diff[..], &["old.toml", "new.toml", "--format", "json"]].concat();
    let json = place.run_with(&json, statements).with_status(1).json();
    assert_eq!(json["changes"][0]["way"], "loosened");
    assert_eq!(json["changes"][0]["old"]["reason"], "unlisted_relation");
    assert_eq!(json["changes"][1]["new"]["verdict"], "rewrite");
    place
        .run(&[&diff[..], &["old.toml", "nowhere.toml"]].concat())
        .with_status(2);
}

#[test]
fn check_as_sarif_has_a_rule_and_a_region_for_each_finding() {
    let place = Place::new();
    place.write("a b.sql", SCRIPT);
    let json = check(&place, &["--format", "sarif", "a b.sql"], "", 1).json();
    sarif::assert_valid(&json);
    assert_eq!(json["version"], "2.1.0");
    let run = &json["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(
            rules[index]["helpUri"]
                .as_str()
                .unwrap()
                .starts_with("https://")
        );
        assert_eq!(result["level"], "error");
    }
    let location = &results[1]["locations"][0]["physicalLocation"];
    assert_eq!(results[1]["ruleId"], "unlisted_relation");
    assert_eq!(location["artifactLocation"]["uri"], "a%20b.sql");
    assert_eq!(location["region"]["startLine"], 6);
    assert_eq!(location["region"]["endLine"], 7);
}

#[test]
fn check_as_sarif_is_valid_whatever_is_found() {
    let place = Place::new();
    let sarif = |input: &str, status| {
        let json = check(&place, &["--format", "sarif"], input, status).json();
        sarif::assert_valid(&json);
        json
    };
    let nothing = sarif("", 0);
    assert_eq!(nothing["runs"][0]["results"], serde_json::json!([]));
    sarif("SELECT name FROM leads", 0);
    sarif("SELECT '", 1);
    sarif(
        "\u{feff}\\i x.sql\r\nSELECT 1;\r\nSELECT * FROM secrets WHERE '\u{1F600}' = $$\n$$\r\n",
        1,
    );
}

#[test]
fn files_come_as_editors_and_other_systems_write_them() {
    let place = Place::new();
    place.write(
        "marked.sql",
        "\u{feff}SELECT 1;\r\n-- c\r\nSELECT * FROM secrets;\r\n",
    );
    let ran = check(&place, &["--all", "marked.sql"], "", 1);
    assert!(
        ran.out
            .starts_with("marked.sql:1:1: pass\nmarked.sql:3:1: deny"),
        "{}",
        ran.out
    );
    for text in ["", "\r\n", "-- nothing\n/* at all */;", "\u{feff}"] {
        let ran = check(&place, &["-"], text, 0);
        assert!(ran.out.starts_with("0 statements in 1 file"), "{}", ran.out);
    }
    std::fs::write(place.folder.path().join("latin1.sql"), b"SELECT '\xe4'").unwrap();
    let ran = check(&place, &["latin1.sql"], "", 2);
    assert_eq!(ran.err, "latin1.sql is not UTF-8: byte 9 can't be read\n");
}

#[test]
fn check_judges_what_stands_in_a_line_by_itself() {
    let place = Place::new();
    let line =
        "SELECT $$;$$; SELECT $a$\n\\i x $$\n$a$, id FROM leads; SELECT 1 \\gx\nSELECT :var;";
    let ran = check(&place, &["--all"], line, 1);
    let heads: Vec<_> = ran
        .out
        .lines()
        .filter(|line| line.starts_with('<'))
        .collect();
    let expected = [
        "<stdin>:1:1: pass",
        "<stdin>:1:15: rewrite",
        "<stdin>:3:21: pass",
        "<stdin>:3:30: not_sql",
        "<stdin>:4:8: deny, syntax_error (42601)",
    ];
    assert_eq!(heads, expected);
    let long = "SELECT id FROM leads WHERE id = 1;\n".repeat(3000);
    let ran = check(&place, &[], &long, 0);
    assert_eq!(
        ran.out,
        "3000 statements in 1 file: 0 pass, 3000 rewrite, 0 deny\n"
    );
}

#[test]
fn explain_takes_statements_as_they_come() {
    let place = Place::new();
    let verdict = |sql: &str, verdict: &str| {
        let ran = place.explain(sql, &[]).with_status(0);
        assert!(
            ran.out.starts_with(&format!("verdict:     {verdict}\n")),
            "{}",
            ran.out
        );
    };
    verdict("", "pass");
    verdict("-- why\nSELECT name FROM leads", "rewrite");
    verdict("-- nothing", "pass");
    verdict("\\i x.sql", "deny");
    let claims = format!(r#"{{"app_metadata":{{"org_id":"{}"}}}}"#, place::ORG);
    let arguments = [
        "explain",
        "--catalog",
        "catalog.json",
        "--claims",
        &claims,
        "-",
    ];
    let ran = place.run_with(&arguments, "\u{feff}SELECT name\r\nFROM leads\r\n");
    assert!(ran.with_status(0).out.starts_with("verdict:     rewrite\n"));
}
