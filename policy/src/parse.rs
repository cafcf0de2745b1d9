//! PostgreSQL's own parser: text to tree, and tree to text.
//!
//! What it refuses is answered as the server would answer: 42601, in the server's words, at the
//! place of the error.

use pg_query::protobuf::ParseResult;

use crate::deny::{Denial, DenyReason};
use crate::positions;

/// As it is built by default, libpg_query points the process's standard error at a pipe while it
/// parses: two threads at once would restore each other's pipes in place of it, and what another
/// thread logs meanwhile is lost. `.cargo/config.toml` builds it without that; where somebody's own
/// `CFLAGS` stand in the way (`build.rs`), one thread parses at a time.
#[cfg(not(parser_leaves_stderr))]
static PARSER: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Above this size the place of a syntax error is not searched for.
const LOCATED_BYTES: usize = 16 << 10;

/// Parses a text, or says what the server would say.
///
/// # Errors
/// The denial, for a text that is not SQL or is nested too deeply.
pub fn parse(text: &str) -> Result<ParseResult, Denial> {
    run(text).map_err(|error| refused(text, &error))
}

/// The text of a tree. Whoever sends it must first parse it again and prove it.
pub(crate) fn deparse(tree: &ParseResult) -> Result<String, Denial> {
    pg_query::deparse(tree, pg_query::DeparseOptions::default()).map_err(|_| {
        Denial::new(
            DenyReason::ProofFailed,
            "statement could not be written out",
        )
    })
}

/// The denial for an error of the scanner, which runs before the parser.
pub(crate) fn scan_error(text: &str, error: &pg_query::Error) -> Denial {
    refused(text, error)
}

fn run(text: &str) -> Result<ParseResult, pg_query::Error> {
    #[cfg(not(parser_leaves_stderr))]
    let _alone = PARSER
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(pg_query::parse(text, 0)?.protobuf)
}

fn refused(text: &str, error: &pg_query::Error) -> Denial {
    let message = match error {
        pg_query::Error::Parse(message) | pg_query::Error::Scan(message) => message.as_str(),
        _ => "statement can't be read",
    };
    if message.starts_with("stack depth limit") || message.starts_with("memory exhausted") {
        return Denial::new(DenyReason::TooComplex, "statement is nested too deeply");
    }
    let mut denial = Denial::new(DenyReason::SyntaxError, "");
    denial.message = message.to_owned();
    denial.position = locate(text, message).and_then(|at| positions::to_characters(text, at));
    denial
}

/// The byte that an error message is about. The library gives only the message, which quotes the
/// text from there on to the end of the token.
fn locate(text: &str, message: &str) -> Option<usize> {
    if message.ends_with(" at end of input") {
        return Some(text.len());
    }
    let (_, quoted) = message.split_once(" at or near \"")?;
    let near = quoted.strip_suffix('"')?;
    if message.starts_with("unterminated") {
        return text.ends_with(near).then(|| text.len() - near.len());
    }
    if text.len() > LOCATED_BYTES || near.is_empty() {
        return None;
    }
    let candidates: Vec<usize> = match pg_query::scan_tokens(text) {
        Ok(tokens) => {
            let starts = tokens.iter().filter_map(|t| usize::try_from(t.start).ok());
            let here = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(near));
            starts.filter(here).collect()
        }
        Err(_) => text.match_indices(near).map(|(at, _)| at).collect(),
    };
    match candidates.as_slice() {
        [] => None,
        [only] => Some(*only),
        // The parser stops at the first token that fits nowhere: what stands before it is the
        // beginning of some statement, and what stands before a later one is not.
        several => {
            let after = several.partition_point(|at| is_viable(text, *at));
            several.get(after.checked_sub(1)?).copied()
        }
    }
}

/// Whether a statement could begin with the first `at` bytes.
fn is_viable(text: &str, at: usize) -> bool {
    let Some(prefix) = text.get(..at) else {
        return false;
    };
    match run(prefix) {
        Ok(_) => true,
        Err(pg_query::Error::Parse(message)) => message.ends_with(" at end of input"),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sql: &str) -> (String, Option<u32>) {
        let denial = parse(sql).unwrap_err();
        assert_eq!(
            (denial.reason, denial.sqlstate),
            (DenyReason::SyntaxError, "42601")
        );
        (denial.message, denial.position)
    }

    /// What other threads log while one parses must not be lost.
    #[cfg(all(parser_leaves_stderr, target_os = "linux"))]
    #[test]
    fn standard_error_stays_where_it_is_while_threads_parse() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let stderr = || std::fs::read_link("/proc/self/fd/2").unwrap();
        let before = stderr();
        let parsing = AtomicUsize::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut read = true;
                    for _ in 0..500 {
                        let sql = "SELECT a, count(*) FROM leads WHERE b = 'x' GROUP BY 1";
                        read &= parse(sql).is_ok() && parse("SELECT FROM FROM").is_err();
                    }
                    parsing.fetch_sub(1, Ordering::Relaxed);
                    assert!(read);
                });
            }
            while parsing.load(Ordering::Relaxed) > 0 {
                assert_eq!(stderr(), before);
            }
        });
    }

    #[test]
    fn errors_have_the_servers_words_and_place() {
        let near = |word: &str| format!("syntax error at or near \"{word}\"");
        assert_eq!(refusal("SELEC 1"), (near("SELEC"), Some(1)));
        assert_eq!(refusal("SELECT 1 FROM FROM x"), (near("FROM"), Some(15)));
        assert_eq!(refusal("SELECT a, b, , c"), (near(","), Some(14)));
        assert_eq!(refusal("SELECT 'é', FROM x, ,"), (near("FROM"), Some(13)));
        assert_eq!(
            refusal("SELECT (1"),
            ("syntax error at end of input".to_owned(), Some(10))
        );
        assert_eq!(
            refusal("SELECT 'abc"),
            (
                "unterminated quoted string at or near \"'abc\"".to_owned(),
                Some(8)
            )
        );
    }
}
