//! Bounds on what is parsed at all: libpg_query, the tree's decoder and every walk recurse.
//!
//! [`depth`] reads from the tokens how deep the tree can become: brackets and CASE nest, and
//! operators, keywords, set operations and joins build chains that lean to one side. AND and OR
//! chains, lists and the branches of a CASE are flat. It may be too high by some, but not too low by more than a factor
//! that the stack has room for.

use std::sync::{Mutex, PoisonError};

use pg_query::protobuf::{ScanToken, Token};

use crate::deny::{Denial, DenyReason};
use crate::scan::{Scan, is};

/// The deepest nesting that is parsed.
const DEEPEST: usize = 500;

/// The most tokens of a text that nodes of its tree are made of. Commas and closing brackets are not counted: an
/// INSERT of 65,535 parameters, or of tens of thousands of rows, is no more than its values. Each takes up to 3.5 KiB while
/// it is judged, and its time (measured: 40,000 rows of two literals take 430 MB and, in a debug build, 1.5 s; a quarter of them a quarter).
const MOST_PARTS: usize = 250_000;

/// The scanner looks through the rest of a run of operator characters at every `/*` (and at signs
/// that it splits off an operator), hence costs the square of the run's length: a megabyte of `/*`
/// would keep it busy for minutes. The sum of these squares is bounded.
const MOST_OPERATOR_WORK: usize = 1 << 27;

/// Above this many tokens texts are judged one at a time, which bounds the memory that they take.
const LARGE_TOKENS: usize = 20_000;

/// The longest query of a view that is read.
pub(crate) const LONGEST_VIEW: usize = 64 << 10;

/// Held while a large text is judged.
static ONE_LARGE: Mutex<()> = Mutex::new(());

/// Stack that judging takes however small the text is.
const BASE_STACK: usize = 256 << 10;

/// Stack for one token. What needs most by far is prost: it decodes a node of any of 270 kinds in
/// one frame, and a token adds two such levels at most.
/// (Measured: 3.5 KiB a level in a release build, 31 KiB in a debug build.)
const TOKEN_STACK: usize = if cfg!(debug_assertions) {
    80 << 10
} else {
    12 << 10
};

/// Stack for any text. libpg_query stops itself at 2 MiB of its own frames, and whatever tree it
/// can hand over in these fits here. Only pages that are touched are taken from the system.
const LARGEST_STACK: usize = 256 << 20;

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
    check_operators(text)?;
    if text.as_bytes().contains(&0) {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        let mut denial = Denial::new(DenyReason::SyntaxError, "");
        denial.message = message.to_owned();
        denial.sqlstate = "22021";
        return Err(denial);
    }
    Ok(())
}

/// Refuses a text that would keep the scanner busy for long.
pub(crate) fn check_operators(text: &str) -> Result<(), Denial> {
    if operator_work(text) > MOST_OPERATOR_WORK {
        let message = "statement has too many operator characters in a row";
        let mut denial = Denial::new(DenyReason::TooComplex, message);
        denial.sqlstate = "54000";
        return Err(denial);
    }
    Ok(())
}

/// The sum of the squares of the lengths of all runs of operator characters.
fn operator_work(text: &str) -> usize {
    let (mut work, mut run) = (0_usize, 0_usize);
    for byte in text.bytes() {
        if is_of_operators(byte) {
            run += 1;
            // The square grows by this much.
            work = work.saturating_add(2 * run - 1);
        } else {
            run = 0;
        }
    }
    work
}

/// Whether operators are written with it.
fn is_of_operators(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

/// Refuses a text of too many tokens, or one that nests too deeply.
pub(crate) fn check_tokens(scan: &Scan) -> Result<(), Denial> {
    if parts(&scan.tokens) > MOST_PARTS {
        let message = format!(
            "statement has more than {MOST_PARTS} tokens, commas and closing brackets not counted"
        );
        let mut denial = Denial::new(DenyReason::TooComplex, message);
        denial.sqlstate = "54000";
        return Err(denial.hint("Split the statement, or bind the list as one array parameter."));
    }
    if depth(&scan.tokens) > DEEPEST {
        return Err(
            Denial::new(DenyReason::TooComplex, "statement is nested too deeply")
                .hint("Split the statement, or use lists in place of long chains."),
        );
    }
    Ok(())
}

/// The tokens that nodes of a tree are made of.
fn parts(tokens: &[ScanToken]) -> usize {
    const BETWEEN: [Token; 3] = [Token::Ascii44, Token::Ascii41, Token::Ascii93];
    let between = |token: &&ScanToken| BETWEEN.iter().any(|it| is(token, *it));
    tokens.iter().filter(|token| !between(token)).count()
}

/// Runs what judges a text on a stack that is large enough for any tree of so many tokens, and of
/// those of a view in it.
pub(crate) fn with_stack<R>(scan: &Scan, view: usize, work: impl FnOnce() -> R) -> R {
    let tokens = scan.tokens.len().saturating_add(view);
    let nested = tokens.saturating_mul(TOKEN_STACK);
    let needed = BASE_STACK.saturating_add(nested).min(LARGEST_STACK);
    let large = scan.tokens.len() > LARGE_TOKENS;
    let alone = large.then(|| ONE_LARGE.lock().unwrap_or_else(PoisonError::into_inner));
    let result = stacker::maybe_grow(needed, needed, work);
    drop(alone);
    result
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
            Kind::Branch if level.opener == Opener::Case => level.expression = 0,
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
            Kind::Branch | Kind::Chain => level.expression += 1,
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
    /// Begins the next part of a CASE.
    Branch,
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
        Token::When | Token::Then | Token::Else => Kind::Branch,
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
mod tests;
