//! What the documents name is there: links and paths lead somewhere, and each threat has its tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold what others made, or what is made anew.
const NOT_OURS: [&str; 3] = ["target", "node_modules", ".git"];

/// Endings of names that are paths when they stand in backticks.
const ENDINGS: [&str; 8] = [".rs", ".sql", ".sh", ".py", ".toml", ".md", ".txt", ".test"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// All files and folders below one, as paths from the root.
fn walk(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if NOT_OURS.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        found.insert(path.strip_prefix(root()).unwrap().to_owned());
        if path.is_dir() {
            walk(&path, found);
        }
    }
}

fn tree() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    walk(root(), &mut found);
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What stands between backticks, code blocks aside.
fn quoted(text: &str) -> Vec<&str> {
    let outside = text.split("```").step_by(2);
    outside
        .flat_map(|part| part.split('`').skip(1).step_by(2))
        .collect()
}

/// Where the links of a text lead, those to other sites aside.
fn links(text: &str) -> Vec<&str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next());
    targets
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .collect()
}

fn is_path(quoted: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    quoted.chars().all(plain)
        && !quoted.starts_with(['/', '.'])
        && (quoted.ends_with('/') || ENDINGS.iter().any(|ending| quoted.ends_with(ending)))
}

/// The names of all cases and tests, and those of the suites.
fn tests(tree: &BTreeSet<PathBuf>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut names, mut suites) = (BTreeSet::new(), BTreeSet::new());
    for path in tree {
        let in_suites = path.starts_with("tests/suites");
        if in_suites && path.parent().unwrap().ends_with("suites") {
            suites.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
        let marks: &[&str] = match path.extension().and_then(|it| it.to_str()) {
            Some("test") if path.starts_with("tests/cases") => &["=== "],
            Some("rs") if in_suites => &["fn ", "async fn "],
            _ => continue,
        };
        for line in read(path).lines() {
            let named = marks.iter().find_map(|mark| line.strip_prefix(mark));
            let end = |c: char| !c.is_alphanumeric() && c != '_';
            names.extend(named.and_then(|it| it.split(end).next()).map(str::to_owned));
        }
    }
    (names, suites)
}

/// Whether a name has the parts of `pattern` in their order, with anything for each `*`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let start = parts.next().unwrap_or_default();
    let rest = name.strip_prefix(start);
    let after = |rest: &str, part| rest.split_once(part).map(|(_, rest)| rest.to_owned());
    let rest = rest.map(str::to_owned);
    let end = parts.try_fold(rest, |rest, part| {
        Some(rest.and_then(|it| after(&it, part)))
    });
    end.flatten().is_some()
}

#[test]
fn links_and_paths_lead_somewhere() {
    let tree = tree();
    let mut dead = Vec::new();
    for document in tree
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
    {
        let text = read(document);
        let beside = document.parent().unwrap();
        for link in links(&text) {
            if !root().join(beside).join(link).exists() {
                dead.push(format!("{}: link to {link}", document.display()));
            }
        }
        for path in quoted(&text).into_iter().filter(|it| is_path(it)) {
            let made = NOT_OURS.contains(&path.trim_end_matches('/'));
            if !made && !tree.iter().any(|it| it.ends_with(path)) {
                dead.push(format!("{}: `{path}`", document.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_threat_has_the_tests_that_are_named() {
    let (names, suites) = tests(&tree());
    let security = read(Path::new("SECURITY.md"));
    let named = |it: &str| names.iter().any(|name| matches(it, name));
    for row in security
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
    {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let claimed = quoted(cell);
        assert!(!claimed.is_empty(), "no tests: {row}");
        for it in claimed {
            assert!(
                suites.contains(it) || it.contains('*') && named(it),
                "{it}: {row}"
            );
        }
    }
    let elsewhere = quoted(&security).into_iter();
    for it in elsewhere.filter(|it| it.contains("_*") && !it.contains(['<', '/', ' '])) {
        assert!(named(it), "{it}");
    }
}
