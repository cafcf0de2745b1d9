//! The operators of pg_catalog, by name and the types of their operands.
//!
//! `operators.txt` is made from the live `pg_operator` by `operators.sql`. Which of pg_catalog's own is
//! chosen matters for its result only; that there is one for just these types does: no other can be chosen
//! then.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use crate::catalog::Oid;

type Operators = HashMap<&'static str, HashMap<(Oid, Oid), Oid>>;

/// The first version that has the operators of [`SINCE_14`].
const FOURTEEN: u32 = 140_000;

/// Operators, with their operands, that PostgreSQL 13 has not, though it has the types.
const SINCE_14: &[(&str, Oid, Oid)] = &[
    ("+", 1700, 3220),
    ("+", 3220, 1700),
    ("-", 3220, 1700),
    ("<<|", 600, 600),
    ("|>>", 600, 600),
    // `||` of arrays takes `anyarray` there.
    ("||", 5077, 5078),
    ("||", 5078, 5077),
    ("||", 5078, 5078),
];

/// Whether pg_catalog of a server of this version has an operator for exactly these types; a prefix
/// operator's left one is 0.
pub(crate) fn exists(name: &str, left: Oid, right: Oid, server: u32) -> bool {
    let missing = server < FOURTEEN && SINCE_14.contains(&(name, left, right));
    !missing && of(name).is_some_and(|found| found.contains_key(&(left, right)))
}

/// What pg_catalog's operator of a name gives. An operand without a type of its own is `None`: it takes the
/// other's, or else any that leaves no doubt about the result.
pub(crate) fn result(name: &str, left: Option<Oid>, right: Option<Oid>) -> Option<Oid> {
    let found = of(name)?;
    let taken = (left.or(right)?, right.or(left)?);
    if let Some(exact) = found.get(&taken) {
        return Some(*exact);
    }
    let fits = |given: Option<Oid>, wanted: Oid| given.is_none_or(|given| given == wanted);
    let fitting = found
        .iter()
        .filter(|((wanted_left, wanted_right), _)| {
            *wanted_left != 0 && fits(left, *wanted_left) && fits(right, *wanted_right)
        })
        .map(|(_, result)| *result);
    let results: HashSet<Oid> = fitting.collect();
    let only = results.iter().next().copied();
    only.filter(|_| results.len() == 1)
}

fn of(name: &str) -> Option<&'static HashMap<(Oid, Oid), Oid>> {
    static OPERATORS: OnceLock<Operators> = OnceLock::new();
    // The scanner reads `!=` as `<>`; a name in OPERATOR() may still say it.
    let name = if name == "!=" { "<>" } else { name };
    OPERATORS.get_or_init(|| entries().collect()).get(name)
}

fn entries() -> impl Iterator<Item = (&'static str, HashMap<(Oid, Oid), Oid>)> {
    include_str!("operators.txt").lines().filter_map(|line| {
        let (name, signatures) = line.split_once(' ')?;
        let signature = |written: &str| {
            let (operands, result) = written.split_once('>')?;
            let (left, right) = operands.split_once(':')?;
            Some((
                (left.parse().ok()?, right.parse().ok()?),
                result.parse().ok()?,
            ))
        };
        Some((name, signatures.split(' ').filter_map(signature).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_known_by_their_operands() {
        let exists = |name, left, right| super::exists(name, left, right, 150_000);
        assert!(exists("=", 25, 25));
        assert!(exists("!=", 2950, 2950));
        assert!(exists("-", 0, 23));
        assert!(exists("->", 3802, 25));
        assert!(!exists("=", 1043, 1043));
        assert!(!exists("===", 25, 25));
        assert!(exists("<<|", 600, 600));
        assert!(!super::exists("<<|", 600, 600, 130_023));
        assert_eq!(result("-", Some(1184), Some(1186)), Some(1184));
        assert_eq!(result("+", Some(23), None), Some(23));
        assert_eq!(result("->>", Some(3802), None), Some(25));
        assert_eq!(result("-", Some(0), Some(23)), Some(23));
        assert_eq!(result("===", Some(25), Some(25)), None);
        let all: usize = entries().map(|(_, signatures)| signatures.len()).sum();
        assert!(all > 700, "{all}");
    }
}
