//! The tokens of a text, by PostgreSQL's own scanner, so that no second lexer can disagree.

use pg_query::protobuf::{ScanToken, Token};

use crate::deny::{Denial, DenyReason};
use crate::parse;

/// What kind of literal a token is. Two literals may only stand for each other in one plan when
/// neither the grammar nor the type of the constant tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralKind {
    /// An integer that fits 32 bits.
    Integer,
    /// An integer in decimal digits that fits 64 bits and not 32: a `bigint`.
    Wide,
    /// A number with a point or an exponent: a `numeric`.
    Number,
    /// A string, in whatever quotes but `U&''`.
    Text,
}

/// A literal of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Literal {
    /// Its first byte.
    pub(crate) start: usize,
    /// The byte behind it.
    pub(crate) end: usize,
    /// Its kind.
    pub(crate) kind: LiteralKind,
}

/// A scanned text.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// All tokens, comments too.
    pub(crate) tokens: Vec<ScanToken>,
    /// The literals among them, in order.
    pub(crate) literals: Vec<Literal>,
    /// The greatest number of a `$n`.
    pub(crate) greatest_parameter: u16,
}

impl LiteralKind {
    /// Whether the parser makes the same kind of constant of both.
    pub(crate) fn is_like(self, other: Self) -> bool {
        let float = |kind| matches!(kind, Self::Wide | Self::Number);
        self == other || float(self) && float(other)
    }
}

impl Scan {
    /// Scans a text into this scan's buffers.
    ///
    /// # Errors
    /// What the server's scanner refuses, and parameter numbers that no Bind could fill.
    pub(crate) fn read(&mut self, text: &str) -> Result<(), Denial> {
        self.read_rewritten(text)?;
        self.greatest_parameter = 0;
        for token in &self.tokens {
            if is(token, Token::Param) {
                let (start, end) = range(token);
                let number = parameter(text.get(start..end).unwrap_or_default())?;
                self.greatest_parameter = self.greatest_parameter.max(number);
            }
        }
        Ok(())
    }

    /// Reads what the rewriter wrote: its own parameters may have numbers that no Bind can carry, where the session's
    /// values will be written out in their place.
    pub(crate) fn read_rewritten(&mut self, text: &str) -> Result<(), Denial> {
        self.literals.clear();
        self.tokens = tokens(text)?;
        for token in &self.tokens {
            let (start, end) = range(token);
            let written = text.get(start..end).unwrap_or_default();
            if let Some(kind) = literal_kind(token, written) {
                self.literals.push(Literal { start, end, kind });
            }
        }
        Ok(())
    }

    /// Whether a constant begins at a byte that shapes keep as it is.
    pub(crate) fn is_keyed_constant(&self, start: i32) -> bool {
        let at = self
            .tokens
            .binary_search_by_key(&start, |token| token.start);
        let token = at.ok().and_then(|at| self.tokens.get(at));
        let kinds = [
            Token::TrueP,
            Token::FalseP,
            Token::NullP,
            Token::Usconst,
            Token::Bconst,
            Token::Xconst,
            Token::Fconst,
            Token::Iconst,
        ];
        let keyed = token.is_some_and(|token| kinds.iter().any(|kind| is(token, *kind)));
        let start = usize::try_from(start).ok();
        keyed && start.is_some_and(|start| self.literal_at(start).is_none())
    }

    /// The literal that begins at a byte.
    pub(crate) fn literal_at(&self, start: usize) -> Option<usize> {
        let found = self.literals.binary_search_by_key(&start, |l| l.start);
        found.ok()
    }
}

/// The tokens. A text without any is not given to `scan_tokens`, which makes a slice of the null
/// pointer that it gets for none: undefined behaviour, and the end of a process that checks for it.
pub(crate) fn tokens(text: &str) -> Result<Vec<ScanToken>, Denial> {
    let blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    if text.bytes().all(blank) {
        return Ok(Vec::new());
    }
    pg_query::scan_tokens(text).map_err(|error| parse::scan_error(text, &error))
}

/// Whether a token is of that kind.
pub(crate) fn is(token: &ScanToken, kind: Token) -> bool {
    token.token == kind as i32
}

/// Where a token stands.
pub(crate) fn range(token: &ScanToken) -> (usize, usize) {
    let byte = |at: i32| usize::try_from(at).unwrap_or(0);
    (byte(token.start), byte(token.end))
}

/// The kind of a literal. Numbers whose type is not plain to see (beyond 64 bits), or that older servers
/// read in another way (hexadecimal, with underscores), stay in the shape as they are.
fn literal_kind(token: &ScanToken, written: &str) -> Option<LiteralKind> {
    let decimal = || written.bytes().all(|byte| byte.is_ascii_digit());
    if is(token, Token::Iconst) {
        decimal().then_some(LiteralKind::Integer)
    } else if is(token, Token::Sconst) {
        Some(LiteralKind::Text)
    } else if is(token, Token::Fconst) {
        let plain = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
        let fraction = |byte: u8| b".eE".contains(&byte);
        // With a minus sign this one alone is an `integer`.
        if written.parse() == Ok(1_i64 << 31) {
            None
        } else if written.parse::<i64>().is_ok() {
            Some(LiteralKind::Wide)
        } else if written.bytes().all(plain) && written.bytes().any(fraction) {
            Some(LiteralKind::Number)
        } else {
            None
        }
    } else {
        None
    }
}

/// The number of a `$n`.
fn parameter(token: &str) -> Result<u16, Denial> {
    let number: Option<u64> = token.strip_prefix('$').and_then(|n| n.parse().ok());
    match number {
        Some(0) => {
            let mut denial = Denial::new(DenyReason::ParameterMismatch, "there is no parameter $0");
            denial.sqlstate = "42P02";
            Err(denial)
        }
        Some(number) => u16::try_from(number).map_err(|_| too_many_parameters()),
        None => Err(too_many_parameters()),
    }
}

/// A text that needs more parameters than a Bind message can carry.
pub(crate) fn too_many_parameters() -> Denial {
    let mut denial = Denial::new(DenyReason::TooComplex, "statement has too many parameters");
    denial.sqlstate = "54000";
    denial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_parameters_are_found() {
        let mut scan = Scan::default();
        let text = "SELECT 'a', E'b', $$c$$, 1, 2.5, 99999999999, $7 /* 'x' $9 */, x'ff'";
        scan.read(text).unwrap();
        let found: Vec<_> = scan
            .literals
            .iter()
            .map(|l| &text[l.start..l.end])
            .collect();
        assert_eq!(found, ["'a'", "E'b'", "$$c$$", "1", "2.5", "99999999999"]);
        assert_eq!(scan.greatest_parameter, 7);
        assert_eq!(scan.literal_at(7), Some(0));
        assert_eq!(scan.literal_at(8), None);
    }

    #[test]
    fn numbers_of_another_type_are_another_kind() {
        let kind = |number: &str| {
            let mut scan = Scan::default();
            scan.read(&format!("SELECT {number}")).unwrap();
            scan.literals.first().map(|literal| literal.kind)
        };
        assert_eq!(kind("2147483647"), Some(LiteralKind::Integer));
        // `-2147483648` is an integer, `-2147483649` is none.
        assert_eq!(kind("2147483648"), None);
        assert_eq!(kind("2147483649"), Some(LiteralKind::Wide));
        assert_eq!(kind("0x1f"), None);
        assert_eq!(kind("9223372036854775807"), Some(LiteralKind::Wide));
        assert_eq!(kind("9223372036854775808"), None);
        assert_eq!(kind("1.5"), Some(LiteralKind::Number));
        assert_eq!(kind("1e3"), Some(LiteralKind::Number));
        assert_eq!(kind(".5"), Some(LiteralKind::Number));
        assert_eq!(kind("0x1ffffffffff"), None);
    }

    #[test]
    fn parameters_that_no_bind_can_fill_are_refused() {
        for text in ["SELECT $0", "SELECT $65536", "SELECT $99999999999999999999"] {
            assert!(Scan::default().read(text).is_err(), "{text}");
        }
        assert!(Scan::default().read("SELECT $65535").is_ok());
    }
}
