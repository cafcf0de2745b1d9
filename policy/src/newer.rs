//! Texts that an older server reads otherwise than the grammar here does, and not as an error.
//!
//! `0x1F` and `1_000` are numbers since version 16. PostgreSQL 15 calls them junk; 13 and 14 read `0 AS x1f`
//! and `1 AS _000`, so that `INSERT INTO t (org_id) SELECT 4_2` would be judged by 42 and store 4. To 13 an
//! operator may stand behind its operand: `a ! between - 1 AND b` is `(a !) BETWEEN …` there, and here an
//! operator with the column `between`. Words of the grammar that an older server looks up as names are
//! refused where they are judged (`judge/json.rs`).

use pg_query::protobuf::{ScanToken, Token};

use crate::deny::{Denial, DenyReason};
use crate::scan::{Scan, is, range};

/// The first version that reads numerals as the grammar here does.
const NUMERALS: u32 = 160_000;

/// The first version without operators behind their operand.
const OPERATORS: u32 = 140_000;

/// What binds less than an operator behind its operand, of what can be the name of a column or function.
const WEAKER: [Token; 9] = [
    Token::Between,
    Token::Like,
    Token::Ilike,
    Token::Similar,
    Token::Escape,
    Token::Is,
    Token::Isnull,
    Token::Notnull,
    Token::Set,
];

/// Refuses a text that has another meaning to the server.
///
/// # Errors
/// A denial that says how to write it.
pub(crate) fn check(text: &str, scan: &Scan, server: u32) -> Result<(), Denial> {
    if server < NUMERALS
        && scan
            .tokens
            .iter()
            .any(|token| is_newer_numeral(text, token))
    {
        return Err(unsupported(
            "a number with underscores, or in other than decimal digits, is not supported on a server before version 16",
        )
        .hint("Write it in decimal digits alone."));
    }
    if server < OPERATORS && may_end_in_an_operator(scan) {
        return Err(unsupported(
            "an operator followed by a word that may end its expression is not supported on a server before version 14",
        )
        .hint("Quote the name, or set parentheses."));
    }
    Ok(())
}

fn unsupported(message: &str) -> Denial {
    Denial::new(DenyReason::UnsupportedConstruct, message)
}

fn is_newer_numeral(text: &str, token: &ScanToken) -> bool {
    let plain = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    let (start, end) = range(token);
    let number = is(token, Token::Iconst) || is(token, Token::Fconst);
    number && !text.get(start..end).is_some_and(|it| it.bytes().all(plain))
}

/// Whether an operator stands before a word that would end its expression, had it no right operand.
fn may_end_in_an_operator(scan: &Scan) -> bool {
    let comment = |token: &&ScanToken| is(token, Token::SqlComment) || is(token, Token::CComment);
    let tokens = || scan.tokens.iter().filter(|token| !comment(token));
    // `OPERATOR(pg_catalog.!)` ends in a parenthesis, as much else does.
    let named = tokens().any(|token| is(token, Token::Operator));
    let mut behind = false;
    for token in tokens() {
        if behind && WEAKER.iter().any(|weaker| is(token, *weaker)) {
            return true;
        }
        let ends = is(token, Token::Op) || named && is(token, Token::Ascii41);
        behind = ends || behind && (is(token, Token::Not) || is(token, Token::NotLa));
    }
    false
}
