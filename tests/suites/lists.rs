//! The engine's lists of built-in names, beside the server that they describe: what psql asks the
//! catalogue is let through, what shows or runs more than that is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};

use pgwarden_tests::engine::Judged;
use pgwarden_tests::fixture::{Arena, Tenant, major_version, script, server, superuser};
use pgwarden_tests::wire::Client;

const GENERATOR: &str = include_str!("../../policy/src/builtin/functions.sql");
const SETS: &str = include_str!("../../policy/src/builtin/functions.rs");
const FUNCTIONS: &str = include_str!("../../policy/src/builtin/functions.txt");

const OPERATOR_GENERATOR: &str = include_str!("../../policy/src/builtin/operators.sql");
const OPERATORS: &str = include_str!("../../policy/src/builtin/operators.txt");
const OPERATOR_SETS: &str = include_str!("../../policy/src/builtin/operators.rs");

const RESULT_GENERATOR: &str = include_str!("../../policy/src/builtin/results.sql");
const NEEDED: &str = include_str!("../../policy/src/needed.rs");
const RESULTS: &str = include_str!("../../policy/src/builtin/results.txt");

/// What psql 15 sends for `\d` and its relatives (`psql -E`), with oids of another database.
const PSQL: &str = include_str!("../fixtures/psql_15.sql");

/// What of it is refused, and why: sizes count every tenant's rows (`\dt+`), settings of roles may hold
/// signing keys (`\drds`).
const REFUSED: &[&str] = &["pg_table_size", "setconfig"];

/// What newer servers have and `functions.sql` would allow, but nobody has asked for: unknown, hence denied.
const UNASKED: &[&str] = &[
    "bytea",
    "bytea_larger",
    "bytea_smaller",
    "has_largeobject_privilege",
    "hashbool",
    "hashboolextended",
    "hashbytea",
    "hashbyteaextended",
    "hashcid",
    "hashcidextended",
    "hashdate",
    "hashdateextended",
    "hashxid",
    "hashxid8",
    "hashxid8extended",
    "hashxidextended",
    "icu_unicode_version",
    "jsonb_populate_record_valid",
    "pg_column_toast_chunk_id",
    "pg_get_acl",
    "pg_numa_available",
    "pg_split_walfile_name",
    "record_larger",
    "record_smaller",
    "timestamptz_hash",
    "timestamptz_hash_extended",
];

/// What older servers declare otherwise, though the code is the same: not leakproof before 14, volatile before 15.
const DECLARED_SINCE: &[&str] = &["macaddr8", "name", "timezone"];

/// `functions.sql` and psql's queries are of this version; others have names of their own.
const GENERATED_ON: u32 = 15;

#[test]
fn the_list_of_functions_is_what_the_server_has() {
    let mut admin = superuser(server().address(), "postgres");
    if major_version(&admin) != GENERATED_ON {
        return;
    }
    let reply = script(&mut admin, GENERATOR);
    let rows = reply.results.last().map_or(&[][..], |result| &result.rows);
    let live: Vec<&str> = rows
        .iter()
        .map(|row| str::from_utf8(row[0].as_deref().unwrap()).unwrap())
        .collect();
    let listed: Vec<&str> = FUNCTIONS.lines().collect();
    let known: BTreeSet<&str> = listed.iter().copied().collect();
    let new: Vec<_> = live.iter().filter(|it| !known.contains(*it)).collect();
    assert!(new.is_empty(), "run functions.sql again: {new:?}");
    // A minor version that is older may lack one that came with a fault's mending; nobody may call those.
    let there: BTreeSet<&str> = live.into_iter().collect();
    let gone: Vec<_> = listed.iter().filter(|it| !there.contains(*it)).collect();
    assert!(gone.iter().all(|it| it.starts_with("d ")), "{gone:?}");
}

#[test]
fn the_list_of_operators_is_what_the_server_has() {
    let mut admin = superuser(server().address(), "postgres");
    if major_version(&admin) != GENERATED_ON {
        return;
    }
    let reply = script(&mut admin, OPERATOR_GENERATOR);
    let rows = reply.results.last().map_or(&[][..], |result| &result.rows);
    let live: Vec<&str> = rows
        .iter()
        .map(|row| str::from_utf8(row[0].as_deref().unwrap()).unwrap())
        .collect();
    let listed: Vec<&str> = OPERATORS.lines().collect();
    assert_eq!(live, listed, "run operators.sql again");
}

/// What a function is said to give it gives on every version: an overload may be missing, or be there besides.
#[test]
fn functions_give_what_is_said() {
    let mut admin = superuser(server().address(), "postgres");
    let version = major_version(&admin);
    let reply = script(&mut admin, RESULT_GENERATOR);
    let rows = reply.results.last().map_or(&[][..], |result| &result.rows);
    let denied: Vec<&str> = FUNCTIONS
        .lines()
        .filter_map(|it| it.strip_prefix("d "))
        .collect();
    let live: BTreeMap<String, String> = rows
        .iter()
        .map(|row| String::from_utf8(row[0].clone().unwrap()).unwrap())
        .filter_map(|line| {
            let (name, gives) = line.split_once(' ')?;
            Some((name.to_owned(), gives.to_owned()))
        })
        .filter(|(name, _)| !denied.contains(&name.as_str()))
        .collect();
    for (name, said) in RESULTS.lines().filter_map(|line| line.split_once(' ')) {
        let Some(gives) = live.get(name) else {
            assert!(version < GENERATED_ON, "{name}: nothing is known of it");
            continue;
        };
        let live: Vec<&str> = gives.split(' ').collect();
        let missing: Vec<&str> = said.split(' ').filter(|it| !live.contains(it)).collect();
        let older = version < GENERATED_ON && said.contains('>');
        assert!(
            missing.is_empty() || older,
            "{name}: {missing:?} of {gives}"
        );
    }
    if version == GENERATED_ON {
        assert_eq!(live.len(), RESULTS.lines().count(), "run results.sql again");
    }
}

/// What is said to give NULL for a NULL does so on every version, each overload of it.
#[test]
fn what_is_strict_is_so() {
    let quoted = |list: &str| {
        let (_, behind) = NEEDED
            .split_once(&format!("const {list}: &[&str] = &["))
            .unwrap();
        let (within, _) = behind.split_once("];").unwrap();
        within
            .replace('"', "'")
            .trim()
            .trim_end_matches(',')
            .to_owned()
    };
    let (operators, functions) = (quoted("STRICT_OPERATORS"), quoted("STRICT_FUNCTIONS"));
    let mut admin = superuser(server().address(), "postgres");
    let reply = script(
        &mut admin,
        &format!(
            "SELECT oprname FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode \
             WHERE oprnamespace = 'pg_catalog'::regnamespace AND NOT proisstrict AND oprname IN ({operators}) \
             UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace \
             AND (NOT proisstrict OR proretset OR prokind <> 'f') AND proname IN ({functions})"
        ),
    );
    let lax = reply.results.last().map_or(&[][..], |result| &result.rows);
    assert!(lax.is_empty(), "{lax:?}");
    assert!(operators.contains("'@>'") && functions.contains("'substr'"));
}

/// What other servers have beyond the list is unknown, hence denied, unless the engine names it; what the
/// list allows is no worse there.
#[test]
fn what_other_servers_have_is_denied_or_named() {
    let mut admin = superuser(server().address(), "postgres");
    let version = major_version(&admin);
    let live = classes(&mut admin);
    let listed: BTreeMap<&str, &str> = FUNCTIONS
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(class, name)| (name, class))
        .collect();
    let alike = |name: &str| version < GENERATED_ON && DECLARED_SINCE.contains(&name);
    let is_now = |name: &str, wrong: &dyn Fn(&str) -> bool| {
        !alike(name) && live.get(name).is_some_and(|now| wrong(now))
    };
    // What the list allows is not what the rules deny on this server.
    let turned: Vec<_> = listed
        .iter()
        .filter(|(name, class)| **class != "d" && is_now(name, &|now| now == "d"))
        .collect();
    assert!(turned.is_empty(), "denied by the rules: {turned:?}");
    let leaky: Vec<_> = listed
        .iter()
        .filter(|(name, class)| **class == "l" && is_now(name, &|now| now != "l"))
        .collect();
    assert!(leaky.is_empty(), "not leakproof: {leaky:?}");
    if version <= GENERATED_ON {
        return;
    }
    let named = |name: &str| SETS.contains(&format!("(\"{name}\", Class::"));
    let unnamed: Vec<_> = live
        .iter()
        .filter(|(name, class)| !listed.contains_key(name.as_str()) && *class != "d")
        .filter(|(name, _)| !named(name) && !UNASKED.contains(&name.as_str()))
        .collect();
    assert!(unnamed.is_empty(), "neither denied nor named: {unnamed:?}");
}

/// The classes of the server's functions by name, as the rules have them.
fn classes(admin: &mut Client) -> BTreeMap<String, String> {
    let reply = script(admin, GENERATOR);
    let rows = reply.results.last().map_or(&[][..], |result| &result.rows);
    rows.iter()
        .map(|row| String::from_utf8(row[0].clone().unwrap()).unwrap())
        .filter_map(|line| {
            let (class, name) = line.split_once(' ')?;
            Some((name.to_owned(), class.to_owned()))
        })
        .collect()
}

/// An operator of the list that the server has not, though it has the types: an operator of somebody's
/// would be chosen in its place.
#[test]
fn the_operators_that_older_servers_lack_are_known() {
    let mut admin = superuser(server().address(), "postgres");
    let reply = script(&mut admin, OPERATOR_GENERATOR);
    let rows = reply.results.last().map_or(&[][..], |result| &result.rows);
    let live: BTreeSet<(String, String)> = rows
        .iter()
        .flat_map(|row| signatures(str::from_utf8(row[0].as_deref().unwrap()).unwrap()))
        .collect();
    let reply = script(&mut admin, "SELECT oid FROM pg_type");
    let rows = reply.results.last().map_or(&[][..], |result| &result.rows);
    let types: BTreeSet<&str> = rows
        .iter()
        .map(|row| str::from_utf8(row[0].as_deref().unwrap()).unwrap())
        .collect();
    for operator in OPERATORS.lines().flat_map(signatures) {
        let (name, operands) = &operator;
        let (left, right) = operands.split_once(':').unwrap();
        let has_types = [left, right]
            .iter()
            .all(|it| *it == "0" || types.contains(it));
        if has_types && !live.contains(&operator) {
            let known = format!("(\"{name}\", {left}, {right})");
            assert!(OPERATOR_SETS.contains(&known), "{known} is not there");
        }
    }
}

/// The operators of a line: the name, and both operands' types.
fn signatures(line: &str) -> Vec<(String, String)> {
    let (name, signatures) = line.split_once(' ').unwrap();
    let operands = signatures.split(' ').filter_map(|it| it.split_once('>'));
    operands
        .map(|(operands, _)| (name.to_owned(), operands.to_owned()))
        .collect()
}

/// What may be called and gives several rows in the select list.
#[test]
fn the_functions_that_give_several_rows_are_known() {
    let mut admin = superuser(server().address(), "postgres");
    let sql = "SELECT DISTINCT proname FROM pg_proc WHERE proretset AND pronamespace = 'pg_catalog'::regnamespace";
    let reply = script(&mut admin, sql);
    let denied: Vec<&str> = FUNCTIONS
        .lines()
        .filter_map(|it| it.strip_prefix("d "))
        .collect();
    let listed: Vec<&str> = FUNCTIONS.lines().filter_map(|it| it.get(2..)).collect();
    let rows = reply.results.last().map_or(&[][..], |result| &result.rows);
    let live = rows
        .iter()
        .map(|row| str::from_utf8(row[0].as_deref().unwrap()).unwrap());
    let missing: Vec<&str> = live
        .filter(|name| listed.contains(name) && !denied.contains(name))
        .filter(|name| !SETS.contains(format!("\"{name}\",").as_str()))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn psql_can_describe_the_schema() {
    if major_version(&superuser(server().address(), "postgres")) != GENERATED_ON {
        return;
    }
    let arena = Arena::take();
    let mut session = Judged::new(&arena, Tenant::A);
    let mut failures = String::new();
    for query in PSQL.split(";\n").map(str::trim).filter(|q| !q.is_empty()) {
        let judged = session.judge(query);
        if REFUSED.iter().any(|name| query.contains(name)) {
            assert!(judged.is_err(), "{query}");
        } else if let Err(denial) = judged {
            failures += &format!(
                "\n{query}\n  {}: {}\n",
                denial.reason.code(),
                denial.message
            );
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
