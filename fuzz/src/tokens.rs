//! A statement's tokens, as PostgreSQL's scanner finds them; and the statements of the case files.

use std::path::Path;

/// What a token can be replaced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A name.
    Name,
    /// A key word.
    Word,
    /// A number, a string, a parameter.
    Constant,
    /// An operator or a mark.
    Mark,
}

/// A token of a text.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its first byte.
    pub start: usize,
    /// The byte behind it.
    pub end: usize,
    /// Its text, in small letters unless it is a name.
    pub word: String,
    /// How many brackets it stands in; a bracket stands outside of itself.
    pub depth: usize,
    /// Its class.
    pub class: Class,
    /// Whether a dot follows, and none goes before.
    pub qualifies: bool,
}

/// The tokens, if the scanner can read the text.
pub fn of(text: &str) -> Option<Vec<Token>> {
    // pg_query makes a slice of no tokens out of a null pointer.
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let scanned = pg_query::scan_tokens(text).ok()?;
    let mut depth = 0_usize;
    let mut tokens: Vec<Token> = Vec::with_capacity(scanned.len());
    for token in &scanned {
        let (start, end) = (usize::try_from(token.start).ok()?, usize::try_from(token.end).ok()?);
        let word = text.get(start..end)?;
        if word.starts_with("--") || word.starts_with("/*") {
            continue;
        }
        let class = class(word, token.keyword_kind != 0);
        let bare = class == Class::Name;
        let word = if bare { word.to_owned() } else { word.to_lowercase() };
        if word == ")" {
            depth = depth.saturating_sub(1);
        }
        if word == "."
            && let [.., last] = tokens.as_mut_slice()
        {
            last.qualifies = last.class == Class::Name;
        }
        tokens.push(Token { start, end, depth, class, qualifies: false, word });
        if tokens.last().is_some_and(|it| it.word == "(") {
            depth += 1;
        }
    }
    Some(tokens)
}

/// Aliases and names that stand before a dot.
pub fn qualifiers(tokens: &[Token]) -> impl Iterator<Item = &Token> {
    tokens.iter().filter(|it| it.qualifies && it.word != "public" && it.word != "pg_catalog")
}

fn class(word: &str, key: bool) -> Class {
    let Some(first) = word.chars().next() else {
        return Class::Mark;
    };
    match first {
        _ if key => Class::Word,
        '\'' | '$' | '0'..='9' => Class::Constant,
        _ if word.ends_with('\'') => Class::Constant,
        '"' | '_' => Class::Name,
        _ if first.is_alphabetic() => Class::Name,
        _ => Class::Mark,
    }
}

/// The statements of all case files below a directory.
pub fn statements_of_cases(directory: &Path) -> Vec<String> {
    let mut statements = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else {
        return statements;
    };
    let mut paths: Vec<_> = entries.flatten().map(|it| it.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            statements.extend(statements_of_cases(&path));
        } else if path.extension().is_some_and(|it| it == "test") {
            statements.extend(statements_in(&std::fs::read_to_string(path).unwrap_or_default()));
        }
    }
    statements
}

fn statements_in(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut now = String::new();
    for line in text.lines() {
        if line.starts_with("===") || line.starts_with('@') || line.starts_with('#') {
            now.clear();
        } else if line.starts_with(">>> ") {
            statements.extend(Some(std::mem::take(&mut now)).filter(|it| !it.is_empty()));
        } else if !(line.is_empty() && now.is_empty()) {
            let gap = if now.is_empty() { "" } else { "\n" };
            now = format!("{now}{gap}{line}");
        }
    }
    statements
}
