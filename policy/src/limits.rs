//! Bounds on what is parsed at all: libpg_query, the tree's decoder and every walk recurse.
//!
//! [`depth`] reads from the tokens how deep the tree can become: brackets and CASE nest, and
//! operators, keywords, set operations and joins build chains that lean to one side. AND and OR
//! chains and lists are flat. It may be too high by some, but not too low by more than a factor
//! that the stack has room for.

use pg_query::protobuf::{ScanToken, Token};

use crate::deny::{Denial, DenyReason};
use crate::scan::{Scan, is};

/// The deepest nesting that is parsed.
const DEEPEST: usize = 500;

/// The most tokens of a text that is too small to nest deeply.
const SMALL_TOKENS: usize = 400;

/// Stack for a text of few tokens.
const SMALL_STACK: usize = 1 << 20;

/// Stack for any text: libpg_query stops itself at 2 MiB of its own frames, and the tree that it
/// can hand over in these needs less than this to be decoded, walked, written and dropped.
const LARGE_STACK: usize = 96 << 20;

/// Refuses a text by its size or by a NUL byte, which neither the parser nor the server reads past.
pub(crate) fn check_text(text: &str, longest: usize) -> Result<(), Denial> {
    if text.len() > longest {
        let mut denial = Denial::new(
            DenyReason::TooComplex,
            format!("statement is longer than {longest} bytes"),
        );
        denial.sqlstate = "54000";
        return Err(denial);
    }
    if text.as_bytes().contains(&0) {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        let mut denial = Denial::new(DenyReason::SyntaxError, "");
        denial.message = message.to_owned();
        denial.sqlstate = "22021";
        return Err(denial);
    }
    Ok(())
}

/// Refuses a text that nests too deeply.
pub(crate) fn check_depth(scan: &Scan) -> Result<(), Denial> {
    if depth(&scan.tokens) > DEEPEST {
        return Err(
            Denial::new(DenyReason::TooComplex, "statement is nested too deeply")
                .hint("Split the statement, or use lists in place of long chains."),
        );
    }
    Ok(())
}

/// Runs what judges a text on a stack that is large enough for its tree.
pub(crate) fn with_stack<R>(scan: &Scan, work: impl FnOnce() -> R) -> R {
    if scan.tokens.len() <= SMALL_TOKENS {
        stacker::maybe_grow(SMALL_STACK, SMALL_STACK * 4, work)
    } else {
        stacker::maybe_grow(LARGE_STACK, LARGE_STACK, work)
    }
}

/// What a level of nesting began with.
#[derive(PartialEq)]
enum Opener {
    Bracket,
    Case,
}

/// Chains at one level of nesting.
struct Level {
    opener: Opener,
    /// The chain of the expression that is being read.
    expression: usize,
    /// Set operations and joins, which chain across commas.
    relations: usize,
    /// The depth of everything around it.
    outside: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.outside + self.expression + self.relations
    }
}

/// How deep the tree of these tokens can become, in expressions and clauses.
pub(crate) fn depth(tokens: &[ScanToken]) -> usize {
    let mut deepest = 0;
    let base = || Level {
        opener: Opener::Bracket,
        expression: 0,
        relations: 0,
        outside: 0,
    };
    let mut levels = vec![base()];
    let mut label = false;
    for token in tokens {
        if is(token, Token::SqlComment) || is(token, Token::CComment) {
            continue;
        }
        // Behind a dot or AS any keyword is only a name.
        let name = std::mem::replace(
            &mut label,
            is(token, Token::As) || is(token, Token::Ascii46),
        );
        let Some(level) = levels.last_mut() else {
            levels.push(base());
            continue;
        };
        match kind(token) {
            _ if name && token.keyword_kind != 0 => {}
            Kind::Open(opener) => {
                level.expression += 1;
                let outside = level.depth();
                levels.push(Level {
                    opener,
                    expression: 0,
                    relations: 0,
                    outside,
                });
            }
            Kind::CloseBracket => close_bracket(&mut levels),
            Kind::CloseCase => {
                if level.opener == Opener::Case {
                    levels.pop();
                }
            }
            Kind::Separator => level.expression = 0,
            Kind::Statement => {
                *level = Level {
                    opener: Opener::Bracket,
                    ..base()
                }
            }
            Kind::Relations => {
                level.relations += 1;
                level.expression = 0;
            }
            Kind::Chain => level.expression += 1,
            Kind::Flat => {}
        }
        deepest = deepest.max(levels.last().map_or(0, Level::depth));
    }
    deepest
}

/// Leaves CASEs that were not ended, then the bracket; the outermost level stays.
fn close_bracket(levels: &mut Vec<Level>) {
    while levels.len() > 1 {
        if levels
            .pop()
            .is_some_and(|level| level.opener == Opener::Bracket)
        {
            break;
        }
    }
}

enum Kind {
    Open(Opener),
    CloseBracket,
    CloseCase,
    /// Begins the next item of a flat list.
    Separator,
    /// Begins the next statement.
    Statement,
    Relations,
    Chain,
    Flat,
}

fn kind(token: &ScanToken) -> Kind {
    let Ok(name) = Token::try_from(token.token) else {
        return Kind::Chain;
    };
    match name {
        Token::Ascii40 | Token::Ascii91 => Kind::Open(Opener::Bracket),
        Token::Ascii41 | Token::Ascii93 => Kind::CloseBracket,
        Token::Case => Kind::Open(Opener::Case),
        Token::EndP => Kind::CloseCase,
        Token::Ascii44 | Token::And | Token::Or => Kind::Separator,
        Token::Ascii59 => Kind::Statement,
        Token::Union | Token::Intersect | Token::Except | Token::Join => Kind::Relations,
        Token::Ident
        | Token::Uident
        | Token::Fconst
        | Token::Sconst
        | Token::Usconst
        | Token::Bconst
        | Token::Xconst
        | Token::Iconst
        | Token::Param
        | Token::Ascii46
        | Token::As => Kind::Flat,
        _ => Kind::Chain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> usize {
        depth(&pg_query::scan_tokens(text).unwrap())
    }

    #[test]
    fn ordinary_statements_are_shallow() {
        assert!(of("SELECT a, b FROM t JOIN u ON t.a = u.a WHERE x = 1 AND y IN (1, 2, 3)") < 20);
        let list = vec!["1"; 10_000].join(", ");
        assert!(of(&format!("SELECT * FROM t WHERE a IN ({list})")) < 20);
        let or = vec!["a = 1 AND b = 2"; 5_000].join(" OR ");
        assert!(of(&format!("SELECT * FROM t WHERE {or}")) < 20);
        let rows = vec!["(1, 'x', now() + interval '1 day')"; 5_000].join(", ");
        assert!(of(&format!("INSERT INTO t VALUES {rows}")) < 20);
    }

    #[test]
    fn nesting_counts_each_level() {
        for (open, close) in [
            ("(", ")"),
            ("NOT ", ""),
            ("- ", ""),
            ("CASE WHEN a AND b THEN ", " END"),
            ("CASE WHEN t.end AND b THEN ", " END"),
            ("CASE WHEN t. /* */ end AND b THEN ", " END"),
            ("ARRAY[", "]"),
            ("(SELECT ", ")"),
            ("f(1, ", ")"),
            ("1 + ", ""),
            ("'a' || ", ""),
        ] {
            let text = format!("SELECT {}1{}", open.repeat(600), close.repeat(600));
            assert!(of(&text) >= 600, "{open}");
        }
        assert!(of(&format!("SELECT 1{}", "::int".repeat(600))) >= 600);
        assert!(of(&format!("SELECT 1{}", " UNION ALL SELECT 1, 2".repeat(600))) >= 600);
        assert!(
            of(&format!(
                "SELECT 1 FROM a{}",
                " JOIN b ON x = 1 AND y = 2".repeat(600)
            )) >= 600
        );
        assert!(of(&format!("SELECT a{}", " IS NULL".repeat(600))) >= 600);
    }
}
