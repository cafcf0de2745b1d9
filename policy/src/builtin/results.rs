//! What the functions of pg_catalog give.
//!
//! `results.txt` is made from the live `pg_proc` by `results.sql`: the types that a name gives whatever
//! version of PostgreSQL runs it. What is not in it gives what nobody knows.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::catalog::Oid;

/// What the functions of a name give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Results {
    /// All of them this type.
    One(Oid),
    /// The only one these columns, by name and type.
    Columns(Vec<(&'static str, Oid)>),
    /// Each what stands behind the types of its arguments.
    Overloads(Vec<(Vec<Oid>, Oid)>),
}

/// What is known of the results of a name.
pub(crate) fn of(name: &str) -> Option<&'static Results> {
    static RESULTS: OnceLock<HashMap<&'static str, Results>> = OnceLock::new();
    RESULTS
        .get_or_init(|| {
            include_str!("results.txt")
                .lines()
                .filter_map(read)
                .collect()
        })
        .get(name)
}

fn read(line: &'static str) -> Option<(&'static str, Results)> {
    let (name, written) = line.split_once(' ')?;
    let results = if let Ok(oid) = written.parse() {
        Results::One(oid)
    } else if written.contains(':') {
        let column = |it: &'static str| {
            let (column, ty) = it.split_once(':')?;
            Some((column, ty.parse().ok()?))
        };
        Results::Columns(written.split(',').map(column).collect::<Option<_>>()?)
    } else {
        let overload = |it: &str| {
            let (arguments, result) = it.split_once('>')?;
            let arguments = arguments.split(',').map(|it| it.parse().ok());
            Some((arguments.collect::<Option<_>>()?, result.parse().ok()?))
        };
        Results::Overloads(written.split(' ').map(overload).collect::<Option<_>>()?)
    };
    Some((name, results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = include_str!("results.txt").lines();
        assert_eq!(lines.clone().filter_map(read).count(), lines.count());
        assert_eq!(of("count"), Some(&Results::One(20)));
        let each = Results::Columns(vec![("key", 25), ("value", 25)]);
        assert_eq!(of("jsonb_each_text"), Some(&each));
        let lower = Results::Overloads(vec![(vec![25], 25)]);
        assert_eq!(of("lower"), Some(&lower));
    }

    #[test]
    fn what_differs_between_versions_is_not_told() {
        for name in ["extract", "random", "reverse", "no_such_function"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
