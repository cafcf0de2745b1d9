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
        let branches = vec!["WHEN a = 1 AND b - 2 > 3 THEN c || 'x'"; 5_000].join(" ");
        assert!(of(&format!("SELECT CASE {branches} ELSE 1 + 1 END FROM t")) < 20);
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
            ("CASE WHEN a THEN 1 ELSE ", " END"),
            ("CASE WHEN ", " THEN 1 END"),
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

    /// All that recurses, on a text that may have been let through: parse, decode, walk, write out,
    /// parse again, compare, drop.
    fn round_trip(text: &str) -> Result<(), Denial> {
        let mut scan = Scan::default();
        scan.read(text)?;
        check_tokens(&scan)?;
        with_stack(&scan, 0, || {
            let parsed = crate::parse::parse(text)?;
            let tree = crate::tree::of(&parsed).unwrap();
            let written = crate::parse::deparse(&parsed)?;
            let again = crate::parse::parse(&written)?;
            let tree_again = crate::tree::of(&again).unwrap();
            let depth = depth(&scan.tokens);
            let rule = crate::rules::SecondReader::WhenReadable;
            crate::second_reader::check(rule, text, depth, &tree)?;
            crate::prove::prove_equal(&tree, &tree_again)
        })
    }

    /// Beginnings, middles and ends that make a tree of any depth.
    const DEEP: &[(&str, &str, &str)] = &[
        ("(", "1", ")"),
        ("", "1", "::int"),
        ("NOT ", "true", ""),
        ("- ", "a", ""),
        ("CASE WHEN true THEN ", "1", " ELSE 2 END"),
        ("CASE ", "1", " WHEN 1 THEN 2 END"),
        ("ARRAY[", "1", "]"),
        ("(SELECT ", "1", ")"),
        ("f(", "1", ")"),
        ("f(a => ", "1", ")"),
        ("ROW(", "1", ")"),
        ("(", "1", ", 2)"),
        ("", "1", " + 1"),
        ("1 + (", "1", ")"),
        ("", "1", " || 'x'"),
        ("", "a", " IS NULL"),
        ("", "a", " COLLATE \"C\""),
        ("", "a", " AT TIME ZONE 'UTC'"),
        ("", "1", " UNION ALL SELECT 1"),
        ("1 UNION ALL (SELECT ", "1", ")"),
        ("COALESCE(1, ", "1", ")"),
        ("GREATEST(1, ", "1", ")"),
        ("a AND (b OR ", "1", ")"),
        ("1 IN (", "1", ")"),
        ("1 = ANY (SELECT ", "1", ")"),
        ("EXISTS (SELECT ", "1", ")"),
        ("1 FROM (SELECT ", "1", ") AS x"),
        ("1 FROM a JOIN b ON (SELECT ", "true", ")"),
        ("", "1 FROM t", " JOIN u ON true"),
        ("", "1 FROM t", " CROSS JOIN u"),
        ("", "1 FROM t", " NATURAL JOIN u"),
        ("x[", "1", "]"),
        ("(", "x", ").y"),
        ("(", "1", ")::numeric(3, 2)"),
        ("sum(1) FILTER (WHERE ", "true", ")"),
        ("sum(1) OVER (ORDER BY ", "1", ")"),
        ("xmlelement(name a, ", "1", ")"),
        ("json_object('a': ", "1", ")"),
        ("a BETWEEN 1 AND (", "1", ")"),
        ("a LIKE ", "'x'", ""),
        ("WITH x AS (", "SELECT 1", ") SELECT 1"),
    ];

    fn in_a_small_thread(work: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn(work).unwrap().join().unwrap();
    }

    fn deep(shape: &(&str, &str, &str), depth: usize) -> String {
        let (open, middle, close) = *shape;
        let prefix = if open.starts_with("WITH") {
            ""
        } else {
            "SELECT "
        };
        format!(
            "{prefix}{}{middle}{}",
            open.repeat(depth),
            close.repeat(depth)
        )
    }

    #[test]
    fn hostile_texts_are_refused_soon() {
        in_a_small_thread(|| {
            for shape in DEEP {
                let begun = std::time::Instant::now();
                for depth in [10_000, 60_000] {
                    let refused = round_trip(&deep(shape, depth));
                    assert!(refused.is_err(), "{shape:?}");
                }
                assert!(
                    begun.elapsed().as_millis() < 2_000,
                    "{shape:?} {:?}",
                    begun.elapsed()
                );
            }
        });
    }

    #[test]
    fn the_deepest_texts_that_pass_fit_the_stack() {
        in_a_small_thread(|| {
            for shape in DEEP {
                let begun = std::time::Instant::now();
                let mut passed = 0;
                for depth in [10, 50, 100, 120, 160, 240, 320, 490] {
                    match round_trip(&deep(shape, depth)) {
                        Ok(()) => passed = depth,
                        Err(denial) => assert!(
                            matches!(
                                denial.reason,
                                DenyReason::TooComplex | DenyReason::SyntaxError
                            ),
                            "{shape:?} {depth} {denial:?}"
                        ),
                    }
                }
                println!("{passed:4} {:?} {shape:?}", begun.elapsed());
            }
        });
    }

    /// What ORMs and drivers send at once: as many parameters as a Bind can carry, however they are
    /// dealt out to rows, and tens of thousands of rows of literals.
    #[test]
    fn inserts_of_many_rows_are_not_too_long() {
        let check = |rows: Vec<String>| {
            let mut scan = Scan::default();
            scan.read(&format!("INSERT INTO t VALUES {}", rows.join(", ")))?;
            check_tokens(&scan)
        };
        for width in [1, 3, 17] {
            let rows = (0..65_535 / width).map(|row| {
                let values = (1..=width).map(|at| format!("${}", row * width + at));
                format!("({})", values.collect::<Vec<_>>().join(", "))
            });
            assert!(check(rows.collect()).is_ok(), "{width}");
        }
        assert!(check(vec!["(1, 'a', 2, 'b', NULL, 3)".to_owned(); 30_000]).is_ok());
        let refused = check(vec!["(1, 'a', 2, 'b', NULL, 3)".to_owned(); 40_000]);
        assert_eq!(refused.map_err(|denial| denial.sqlstate), Err("54000"));
    }

    #[test]
    fn long_flat_texts_pass_in_bounded_time() {
        in_a_small_thread(|| {
            let begun = std::time::Instant::now();
            let list = vec!["12345"; 100_000].join(",");
            assert!(round_trip(&format!("SELECT * FROM t WHERE a IN ({list})")).is_ok());
            println!("in list {:?}", begun.elapsed());
            let begun = std::time::Instant::now();
            let or = vec!["(a = 1 AND b = 'x')"; 4_000].join(" OR ");
            assert!(round_trip(&format!("SELECT * FROM t WHERE {or}")).is_ok());
            println!("or list {:?}", begun.elapsed());
            let begun = std::time::Instant::now();
            let several = "SELECT 1; ".repeat(10_000);
            assert!(round_trip(&several).is_ok());
            println!("statements {:?}", begun.elapsed());
        });
    }
}
