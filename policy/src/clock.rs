//! Literals that the server reads by its clock.
//!
//! `'now'`, `'today'`, `'tomorrow'` and `'yesterday'` become dates and times when a statement is parsed, and stay
//! what they were for as long as it is prepared. A Parse that comes again means the time of then, so what has such
//! a literal must be parsed again. Whether it stands where a date is read is not looked at, and neither is how its
//! bytes are escaped: what may be one counts as one.

use pg_query::protobuf::{ScanToken, Token};

use crate::scan;

const WORDS: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];

/// Whether the server may read a literal of a text by its clock.
pub fn reads_clock(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Most statements that come again have parameters in the place of strings.
    let quotes = bytes.contains(&b'\'') || opens_dollars(bytes);
    let suspect = quotes && (has_word(bytes) || bytes.contains(&b'\\') || may_continue(bytes));
    suspect && scan::tokens(text).is_ok_and(|tokens| tokens.iter().any(|it| may_be_one(it, text)))
}

fn may_be_one(token: &ScanToken, text: &str) -> bool {
    let (start, end) = scan::range(token);
    let written = text.as_bytes().get(start..end).unwrap_or_default();
    let spelled = written.contains(&b'\\') || may_continue(written);
    match scan::is(token, Token::Sconst) {
        true => has_word(written) || spelled,
        false => scan::is(token, Token::Usconst) && (has_word(written) || written.contains(&b'\\')),
    }
}

/// Whether a dollar sign is none of a parameter's.
fn opens_dollars(text: &[u8]) -> bool {
    let mut behind = text.split(|byte| *byte == b'$').skip(1);
    behind.any(|it| !it.first().is_some_and(u8::is_ascii_digit))
}

fn has_word(text: &[u8]) -> bool {
    WORDS.iter().any(|word| {
        let mut windows = text.windows(word.len());
        windows.any(|it| it.eq_ignore_ascii_case(word))
    })
}

/// Whether a string may go on in the next line: a quote, and another behind nothing but space or a comment.
fn may_continue(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\'') {
        rest = rest.get(at + 1..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        let behind = rest.get(blank.count()..).unwrap_or_default();
        let apart = behind.len() < rest.len();
        if behind.starts_with(b"--") || apart && behind.starts_with(b"'") {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_read_by_the_clock_is_seen() {
        for text in [
            "SELECT 'now'::timestamptz",
            "SELECT timestamp 'NOW'",
            "SELECT * FROM t WHERE day = 'today' AND x = $1",
            "INSERT INTO t VALUES (1, 'now()')",
            "SELECT '[yesterday,tomorrow 10:00)'::tsrange, now()",
            "SELECT $$now$$::date",
            "SELECT E'n\\x6fw'::date",
            "SELECT U&'\\006eow'::date",
            "SELECT 'no'\n 'w'::date",
            "SELECT 'no' -- it goes on\n 'w'::date",
        ] {
            assert!(reads_clock(text), "{text}");
        }
        for text in [
            "SELECT now(), 'then'",
            "SELECT known FROM now WHERE today = 'x'",
            "SELECT 'a', 'b' /* now */",
            "SELECT \"now\" FROM t",
            "SELECT 'it''s' ",
            "",
        ] {
            assert!(!reads_clock(text), "{text}");
        }
    }
}
