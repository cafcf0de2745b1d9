//! A file of SQL, cut into statements as psql cuts it, for commands that judge files.
//!
//! The tokens are those of PostgreSQL's own scanner, so a semicolon in a string, a comment or a
//! dollar quote ends nothing, and a statement with a syntax error does not hide those around it.
//! What psql would not send as SQL (its own commands, the data behind `COPY … FROM stdin`) is told
//! apart and never judged: nobody knows what it would do.

use std::ops::Range;

use pg_query::protobuf::{ScanToken, Token};

use crate::deny::Denial;
use crate::limits;
use crate::positions;
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
    let mut lines = Lines::of(text);
    loop {
        let cut = lines.next_cut(start);
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
    let read = limits::check_operators(text).and_then(|()| scan.read(text));
    read.is_ok() && scan.greatest_parameter > 0
}

/// Whether a statement begins or ends a transaction (savepoints do neither).
pub fn controls_transaction(text: &str) -> bool {
    let tokens = tokens(text).unwrap_or_default();
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
    let Ok(tokens) = tokens(text) else {
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

/// The tokens of a text that takes the scanner no longer than any statement may.
fn tokens(text: &str) -> Result<Vec<ScanToken>, Denial> {
    limits::check_operators(text)?;
    scan::tokens(text)
}

/// Looks for lines that are not SQL. A line counts only where a token could begin, so the text is
/// scanned on the way, once: a line in the middle of a string must not cost all that stands before it.
struct Lines<'t> {
    text: &'t str,
    /// Up to here tokens are whole.
    whole: usize,
    /// From there up to here is no place for a token to begin; [`usize::MAX`] where nobody can tell.
    closed: usize,
    /// Nothing that ends COPY's data follows.
    no_data: bool,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        Self {
            text,
            whole: 0,
            closed: 0,
            no_data: false,
        }
    }

    /// The next lines that are not SQL.
    fn next_cut(&mut self, start: usize) -> Option<Part> {
        (self.whole, self.closed) = (start, start);
        let text = self.text;
        let rest = text.get(start..).unwrap_or_default();
        let mut at = start;
        for line in rest.split_inclusive('\n') {
            let end = at + line.len();
            let written = line.trim_start();
            let begins = end - written.len();
            if written.starts_with('\\') && self.is_open(begins) {
                return Some(Part {
                    kind: PartKind::MetaCommand,
                    range: begins..begins + written.trim_end().len(),
                });
            }
            if !self.no_data && begins_copy_data(written) && self.is_open(end) {
                match copy_data(text, end) {
                    Some(range) => {
                        return Some(Part {
                            kind: PartKind::CopyData,
                            range,
                        });
                    }
                    None => self.no_data = true,
                }
            }
            at = end;
        }
        None
    }

    /// Whether a token could begin at a byte. Bytes are asked about in order.
    fn is_open(&mut self, at: usize) -> bool {
        while self.closed <= at {
            let Some(sql) = self.text.get(self.whole..at) else {
                return false;
            };
            match broken(sql) {
                None => {
                    (self.whole, self.closed) = (at, at);
                    return true;
                }
                Some(Some(token)) => self.leap(self.whole + token, at),
                Some(None) => self.closed = usize::MAX,
            }
        }
        false
    }

    /// Finds the end of the token that begins at a byte and goes on behind `at`, by looking twice as far
    /// each time.
    fn leap(&mut self, token: usize, at: usize) {
        self.whole = token;
        let mut far = (at - token).max(1);
        loop {
            far = far.saturating_mul(2);
            let mut end = token.saturating_add(far).min(self.text.len());
            while !self.text.is_char_boundary(end) {
                end += 1;
            }
            let sql = self.text.get(token..end).unwrap_or_default();
            let known = match broken(sql) {
                None => sql,
                Some(Some(0)) if end < self.text.len() => continue,
                Some(Some(behind)) if behind > 0 => sql.get(..behind).unwrap_or_default(),
                Some(_) => {
                    self.closed = usize::MAX;
                    return;
                }
            };
            let tokens = tokens(known).unwrap_or_default();
            let length = tokens.first().map_or(known.len(), |it| scan::range(it).1);
            self.whole = token + length.max(1);
            self.closed = self.whole.max(at + 1);
            return;
        }
    }
}

/// Whether a text can't be scanned, and if so, where the token begins that does not end in it; `None` where it
/// is for another reason.
#[allow(clippy::option_option, reason = "read right away, by two callers")]
fn broken(sql: &str) -> Option<Option<usize>> {
    let denial = tokens(sql).err()?;
    let begins = denial
        .position
        .filter(|_| denial.message.starts_with("unterminated"));
    Some(begins.and_then(|at| positions::to_bytes(sql, at)))
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
    let Ok(tokens) = tokens(sql) else {
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

    /// Both took minutes, the one by the scanner, the other by scanning anew from the beginning at each line.
    #[test]
    fn long_runs_and_long_strings_are_cut_soon() {
        let runs = "/*".repeat(500_000);
        assert_eq!(statements(&runs), [runs.as_str()]);
        assert!(!has_parameters(&runs) && !controls_transaction(&runs));
        let lines = "\\d leads\ncopy x from stdin;\n".repeat(20_000);
        for (open, close) in [("'", "'"), ("$x$", "$x$"), ("/*", "*/"), ("\"", "\"")] {
            let text = format!("SELECT 1;\nSELECT {open}{lines}{close}, 2;\n\\echo x\nSELECT 'é");
            let parts = parts(&text);
            let kinds: Vec<_> = parts.iter().map(|(kind, _)| *kind).collect();
            let (sql, meta) = (PartKind::Statement, PartKind::MetaCommand);
            assert_eq!(kinds, [sql, sql, meta, sql], "{open}");
        }
    }

    #[test]
    fn parameters_are_seen() {
        assert!(has_parameters("SELECT $1"));
        assert!(!has_parameters("SELECT '$1', $$1$$ -- $1"));
    }
}
