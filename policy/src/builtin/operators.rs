//! The operators of pg_catalog, by name and the types of their operands.
//!
//! `operators.txt` is made from the live `pg_operator` by `operators.sql`. Which of pg_catalog's own is
//! chosen does not matter; that there is one for just these types does: no other can be chosen then.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use crate::catalog::Oid;

/// Whether pg_catalog has an operator for exactly these types; a prefix operator's left one is 0.
pub(crate) fn exists(name: &str, left: Oid, right: Oid) -> bool {
    static SIGNATURES: OnceLock<HashMap<&'static str, HashSet<(Oid, Oid)>>> = OnceLock::new();
    let signatures = SIGNATURES.get_or_init(|| entries().collect());
    // The scanner reads `!=` as `<>`; a name in OPERATOR() may still say it.
    let name = if name == "!=" { "<>" } else { name };
    let found = signatures.get(name);
    found.is_some_and(|found| found.contains(&(left, right)))
}

fn entries() -> impl Iterator<Item = (&'static str, HashSet<(Oid, Oid)>)> {
    include_str!("operators.txt").lines().filter_map(|line| {
        let (name, signatures) = line.split_once(' ')?;
        let signature = |written: &str| {
            let (left, right) = written.split_once(':')?;
            Some((left.parse().ok()?, right.parse().ok()?))
        };
        Some((name, signatures.split(' ').filter_map(signature).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_known_by_their_operands() {
        assert!(exists("=", 25, 25));
        assert!(exists("!=", 2950, 2950));
        assert!(exists("-", 0, 23));
        assert!(exists("->", 3802, 25));
        assert!(!exists("=", 1043, 1043));
        assert!(!exists("===", 25, 25));
        let all: usize = entries().map(|(_, signatures)| signatures.len()).sum();
        assert!(all > 700, "{all}");
    }
}
