//! A file of SQL, cut into statements as psql cuts it, for commands that judge files.
//!
//! The tokens are those of PostgreSQL's own scanner, so a semicolon in a string, a comment or a
//! dollar quote ends nothing, and a statement with a syntax error does not hide those around it.
//! What psql would not send as SQL (its own commands, the data behind `COPY … FROM stdin`) is told
//! apart and never judged: nobody knows what it would do.

use std::ops::Range;

use pg_query::protobuf::{ScanToken, Token};

use crate::scan::{self, Scan};

/// What a part of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// A statement, without its semicolon and the comments around it.
    Statement,
    /// A command of psql, from the backslash to the end of its line.
    MetaCommand,
    /// The data of a `COPY … FROM stdin`, with the `\.` that ends it.
    CopyData,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Where it stands, in bytes.
    pub range: Range<usize>,
}

/// Cuts a file. A text that can't be scanned (an unterminated string, say) is one statement, so
/// that judging it says what is wrong.
pub fn split(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    loop {
        let cut = next_cut(text, start);
        let end = cut.as_ref().map_or(text.len(), |cut| cut.range.start);
        statements(text, start..end, &mut parts);
        let Some(cut) = cut else {
            return parts;
        };
        start = cut.range.end;
        parts.push(cut);
    }
}

/// Whether a text uses parameters (`$1`), hence can only arrive in a Parse message.
pub fn has_parameters(text: &str) -> bool {
    let mut scan = Scan::default();
    scan.read(text).is_ok() && scan.greatest_parameter > 0
}

/// Whether a statement begins or ends a transaction (savepoints do neither).
pub fn controls_transaction(text: &str) -> bool {
    let tokens = scan::tokens(text).unwrap_or_default();
    let mut tokens = tokens.iter().filter(|token| !is_comment(token));
    let Some(first) = tokens.next() else {
        return false;
    };
    let is = |kind| scan::is(first, kind);
    if is(Token::Rollback) {
        return !tokens.any(|it| scan::is(it, Token::To));
    }
    if is(Token::Prepare) {
        return tokens
            .next()
            .is_some_and(|it| scan::is(it, Token::Transaction));
    }
    [
        Token::BeginP,
        Token::Start,
        Token::Commit,
        Token::EndP,
        Token::AbortP,
    ]
    .into_iter()
    .any(is)
}

/// Whether a statement of a message begins or ends a transaction, or goes back to a savepoint. A
/// message is not a file: there are no psql commands and no COPY data in it.
pub fn turns_transaction(text: &str) -> bool {
    let Ok(tokens) = scan::tokens(text) else {
        return true;
    };
    let turns = [
        Token::BeginP,
        Token::Start,
        Token::Commit,
        Token::EndP,
        Token::AbortP,
        Token::Rollback,
    ];
    let mut begins = true;
    let mut written = tokens.iter().filter(|token| !is_comment(token));
    written.any(|token| {
        let first = std::mem::replace(&mut begins, scan::is(token, Token::Ascii59));
        first && turns.into_iter().any(|kind| scan::is(token, kind))
    })
}

/// The next lines that are not SQL. A line counts only where a token could begin, which is where
/// everything before it can be scanned.
fn next_cut(text: &str, start: usize) -> Option<Part> {
    let rest = text.get(start..).unwrap_or_default();
    let is_open = |at: usize| {
        text.get(start..at)
            .is_some_and(|sql| scan::tokens(sql).is_ok())
    };
    let mut at = start;
    for line in rest.split_inclusive('\n') {
        let end = at + line.len();
        let written = line.trim_start();
        let begins = end - written.len();
        if written.starts_with('\\') && is_open(begins) {
            return Some(Part {
                kind: PartKind::MetaCommand,
                range: begins..begins + written.trim_end().len(),
            });
        }
        if begins_copy_data(written)
            && let Some(data) = copy_data(text, end)
            && is_open(end)
        {
            return Some(Part {
                kind: PartKind::CopyData,
                range: data,
            });
        }
        at = end;
    }
    None
}

/// Whether a line is a COPY whose data follows. pg_dump writes it on one line.
fn begins_copy_data(line: &str) -> bool {
    let line = line.trim_end().to_ascii_lowercase();
    line.starts_with("copy ") && line.contains(" from stdin") && line.ends_with(';')
}

/// The data that begins at a byte, if a line that ends it follows.
fn copy_data(text: &str, start: usize) -> Option<Range<usize>> {
    let mut at = start;
    for line in text.get(start..)?.split_inclusive('\n') {
        if line.trim_end_matches(['\r', '\n']) == "\\." {
            return Some(start..at + 2);
        }
        at += line.len();
    }
    None
}

fn statements(text: &str, range: Range<usize>, parts: &mut Vec<Part>) {
    let sql = text.get(range.clone()).unwrap_or_default();
    let Ok(tokens) = scan::tokens(sql) else {
        let trimmed = sql.trim_start();
        let start = range.end - trimmed.len();
        parts.push(Part {
            kind: PartKind::Statement,
            range: start..start + trimmed.trim_end().len(),
        });
        return;
    };
    let mut cutter = Cutter::default();
    let mut skip_to = 0;
    for token in &tokens {
        let (start, end) = scan::range(token);
        if start < skip_to || is_comment(token) {
            continue;
        }
        if scan::is(token, Token::Ascii92) {
            cutter.finish(range.start, parts);
            let rest = sql.get(start..).unwrap_or_default();
            let line = rest.lines().next().unwrap_or_default().trim_end();
            skip_to = start + line.len();
            parts.push(Part {
                kind: PartKind::MetaCommand,
                range: range.start + start..range.start + skip_to,
            });
        } else if cutter.ends_at(token) {
            cutter.finish(range.start, parts);
        } else {
            cutter.add(token, start..end);
        }
    }
    cutter.finish(range.start, parts);
}

fn is_comment(token: &ScanToken) -> bool {
    scan::is(token, Token::SqlComment) || scan::is(token, Token::CComment)
}

/// The statement that is being read. Semicolons in parentheses (CREATE RULE) and in a body
/// (`BEGIN ATOMIC … END`) do not end it.
#[derive(Default)]
struct Cutter {
    range: Option<Range<usize>>,
    parentheses: usize,
    /// `BEGIN ATOMIC` and the CASEs in it that are open.
    bodies: usize,
    after_begin: bool,
}

impl Cutter {
    fn ends_at(&self, token: &ScanToken) -> bool {
        self.parentheses == 0 && self.bodies == 0 && scan::is(token, Token::Ascii59)
    }

    fn add(&mut self, token: &ScanToken, place: Range<usize>) {
        if scan::is(token, Token::Ascii40) {
            self.parentheses += 1;
        } else if scan::is(token, Token::Ascii41) {
            self.parentheses = self.parentheses.saturating_sub(1);
        } else if self.after_begin && scan::is(token, Token::Atomic)
            || self.bodies > 0 && scan::is(token, Token::Case)
        {
            self.bodies += 1;
        } else if scan::is(token, Token::EndP) {
            self.bodies = self.bodies.saturating_sub(1);
        }
        self.after_begin = scan::is(token, Token::BeginP);
        let start = self.range.as_ref().map_or(place.start, |it| it.start);
        self.range = Some(start..place.end);
    }

    fn finish(&mut self, offset: usize, parts: &mut Vec<Part>) {
        if let Some(range) = std::mem::take(self).range {
            parts.push(Part {
                kind: PartKind::Statement,
                range: offset + range.start..offset + range.end,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<(PartKind, &str)> {
        let parts = split(text).into_iter();
        parts.map(|part| (part.kind, &text[part.range])).collect()
    }

    fn statements(text: &str) -> Vec<&str> {
        let parts = parts(text).into_iter();
        parts
            .map(|(kind, part)| {
                assert_eq!(kind, PartKind::Statement, "{part}");
                part
            })
            .collect()
    }

    #[test]
    fn a_message_that_turns_its_transaction_is_told() {
        for text in [
            "SELECT 1; ROLLBACK; SELECT 2",
            "/* x */ rollback to s; SELECT 1",
            "COPY t FROM stdin;\nEND;\nSELECT 1",
            "SELECT 1;; -- x\n COMMIT AND CHAIN",
        ] {
            assert!(turns_transaction(text), "{text}");
        }
        let stays = "SELECT CASE WHEN true THEN 1 END; SELECT 'x; ROLLBACK'; RELEASE s";
        assert!(!turns_transaction(stays));
    }

    #[test]
    fn semicolons_in_quotes_and_comments_end_nothing() {
        let text = "-- a; b\nSELECT ';', \";\" /* ; */;; DO $x$ BEGIN; END $x$;\nSELECT 2 -- ;\n";
        assert_eq!(
            statements(text),
            ["SELECT ';', \";\"", "DO $x$ BEGIN; END $x$", "SELECT 2"]
        );
        assert!(statements("").is_empty());
        assert!(statements(" -- nothing\n ; ;").is_empty());
    }

    #[test]
    fn transactions_are_told_from_savepoints() {
        for text in [
            "BEGIN",
            "/* x */ start transaction",
            "COMMIT AND CHAIN",
            "END",
            "abort",
            "ROLLBACK",
            "PREPARE TRANSACTION 'x'",
        ] {
            assert!(controls_transaction(text), "{text}");
        }
        for text in [
            "SAVEPOINT a",
            "ROLLBACK TO SAVEPOINT a",
            "RELEASE a",
            "PREPARE x AS SELECT 1",
            "SELECT 'COMMIT'",
            "",
        ] {
            assert!(!controls_transaction(text), "{text}");
        }
    }

    #[test]
    fn bodies_and_rules_stay_whole() {
        let function = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; \
                        SELECT CASE WHEN true THEN 1 END; END";
        let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)";
        let text = format!("{function}; {rule}; BEGIN; SELECT 1; END; SELECT 2");
        assert_eq!(
            statements(&text),
            [function, rule, "BEGIN", "SELECT 1", "END", "SELECT 2"]
        );
    }

    #[test]
    fn a_syntax_error_hides_nothing() {
        assert_eq!(statements("SELEC 1; SELECT 2; ;"), ["SELEC 1", "SELECT 2"]);
        // What can't be scanned is one statement.
        assert_eq!(
            statements("SELECT 1;\nSELECT 'a;\n"),
            ["SELECT 1;\nSELECT 'a;"]
        );
        assert_eq!(statements("\u{feff}SELECT 1;"), ["SELECT 1"]);
    }

    #[test]
    fn what_psql_keeps_to_itself_is_told_apart() {
        use PartKind::{CopyData, MetaCommand, Statement};
        let text = "\\echo it's\nSELECT 1;\n  \\d leads\nSELECT 2 \\gx\nSELECT '\n\\d' || 1;\n";
        assert_eq!(
            parts(text),
            [
                (MetaCommand, "\\echo it's"),
                (Statement, "SELECT 1"),
                (MetaCommand, "\\d leads"),
                (Statement, "SELECT 2"),
                (MetaCommand, "\\gx"),
                (Statement, "SELECT '\n\\d' || 1"),
            ]
        );
        let text = "SELECT 1;\nCOPY t (a) FROM stdin;\nit's\n\\N\n\\.\nSELECT 2;";
        assert_eq!(
            parts(text),
            [
                (Statement, "SELECT 1"),
                (Statement, "COPY t (a) FROM stdin"),
                (CopyData, "it's\n\\N\n\\."),
                (Statement, "SELECT 2"),
            ]
        );
    }

    #[test]
    fn parameters_are_seen() {
        assert!(has_parameters("SELECT $1"));
        assert!(!has_parameters("SELECT '$1', $$1$$ -- $1"));
    }
}
