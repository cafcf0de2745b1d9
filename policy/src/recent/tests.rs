use super::*;
use crate::scan::Scan;

/// The literals that are found in `text` by what is known of `known`.
fn beside(known: &str, text: &str) -> Option<Vec<Literal>> {
    let mut scan = Scan::default();
    scan.read(known).ok()?;
    let mut literals = Vec::new();
    lay_beside(known, &scan.literals, text, &mut literals).then_some(literals)
}

#[test]
fn other_integers_and_plain_strings_are_the_same_text() {
    for (known, text) in [
        ("SELECT 1", "SELECT 123456789"),
        ("SELECT 10+-20", "SELECT 0+-7"),
        ("SELECT a[1:2], 'x'::text", "SELECT a[10:2000], ''::text"),
        (
            "SELECT 'a' /* 'b' */, 'c''d'",
            "SELECT 'ä' /* 'b' */, 'c''d'",
        ),
        ("SELECT E'a\\'b', 2.5, 'x'", "SELECT E'a\\'b', 2.5, 'y'"),
        (
            "SELECT n'a', $1, $$b$$ -- 'c'",
            "SELECT n'bc', $1, $$b$$ -- 'c'",
        ),
        ("SELECT 'a'\n'b', 1", "SELECT 'a'\n'b', 2"),
        ("SELECT 1", "SELECT 1"),
    ] {
        let mut scan = Scan::default();
        scan.read(text).unwrap();
        assert_eq!(beside(known, text), Some(scan.literals), "{text}");
    }
}

#[test]
fn what_the_scanner_might_read_otherwise_is_not() {
    for (known, text) in [
        ("SELECT 1", "SELECT 1234567890"),
        ("SELECT 1", "SELECT 1.5"),
        ("SELECT 1", "SELECT 1e5"),
        ("SELECT 1", "SELECT 0x1"),
        ("SELECT 1", "SELECT -1"),
        ("SELECT 1", "SELECT 1_000"),
        ("SELECT 1", "SELECT 1a"),
        ("SELECT 1", "SELECT "),
        ("SELECT 1", "SELECT 'a'"),
        ("SELECT 1, 2", "SELECT 1,2"),
        ("SELECT 1", "SELECT 1; SELECT 2"),
        ("SELECT 1.5", "SELECT 2.5"),
        ("SELECT 99999999999", "SELECT 1"),
        ("SELECT 'a'", "SELECT 'a''b'"),
        ("SELECT 'a'", "SELECT 'a\\'"),
        ("SELECT 'a'", "SELECT 'a' 'b'"),
        ("SELECT 'a'", "SELECT 'a'\n'b'"),
        ("SELECT 'a'\n'b'", "SELECT 'a'\n'c'"),
        ("SELECT 'a'", "SELECT 'a"),
        ("SELECT 'a'", "SELECT 'a\0'"),
        ("SELECT 'a'", "SELECT E'a'"),
        ("SELECT E'a'", "SELECT E'b'"),
        ("SELECT $$a$$", "SELECT $$b$$"),
        ("SELECT $1", "SELECT $2"),
        ("SELECT x'1f'", "SELECT x'2f'"),
        ("SELECT 1 FROM leads", "SELECT 1 FROM calls"),
    ] {
        assert_eq!(beside(known, text), None, "{text}");
    }
}

/// Texts that differ by one piece, each beside each: whoever is taken for another is scanned alike.
#[test]
fn whatever_is_taken_for_another_is_scanned_alike() {
    let pieces = [
        "1",
        "0",
        "007",
        "999999999",
        "2147483647",
        "2147483648",
        "1.0",
        ".5",
        "5.",
        "1e3",
        "0x1f",
        "0b1",
        "1_0",
        "1__0",
        "1a",
        "12 34",
        "1.5.2",
        "1..2",
        "''",
        "'a'",
        "'''a'",
        "'a'''",
        "'a''b'",
        "'a\\'",
        "'a\\''",
        "E'a'",
        "E'\\''",
        "'a' 'b'",
        "'a'\n'b'",
        "'a' -- c\n'b'",
        "U&'a'",
        "N'a'",
        "b'1'",
        "x'1'",
        "$$a$$",
        "$a$b$a$",
        "$1",
        "$12",
        "\"a\"",
        "-1",
        "- 1",
        "+1",
        "/* 1 */2",
        "--1\n2",
        "'--'",
        "'/*'",
        "'*/'",
        "';'",
        "1;2",
        "a",
        "",
    ];
    let frames = [
        ("SELECT ", ""),
        ("SELECT ", " FROM leads"),
        ("SELECT (", ")"),
        ("SELECT a.", ""),
        ("SELECT -", "::int"),
        ("SELECT E", ", 1"),
        ("SELECT U&", " UESCAPE '!'"),
        ("SELECT $", ", 'x'"),
        ("SELECT 'x'\n", ", 'y'"),
        ("SELECT 1 ", " 2"),
        ("SELECT 1", "2"),
        ("SELECT 'a", "b'"),
        ("SELECT /* ", " */ 3"),
    ];
    let kinds = |scan: &Scan| {
        let kinds = scan.tokens.iter().map(|token| token.token);
        kinds.collect::<Vec<_>>()
    };
    let mut taken = 0;
    for (before, after) in frames {
        for known in pieces {
            for piece in pieces {
                let (known, text) = (
                    format!("{before}{known}{after}"),
                    format!("{before}{piece}{after}"),
                );
                let Some(literals) = beside(&known, &text) else {
                    continue;
                };
                let (mut theirs, mut own) = (Scan::default(), Scan::default());
                theirs.read(&known).unwrap();
                assert!(own.read(&text).is_ok(), "{known} / {text}");
                assert_eq!(literals, own.literals, "{known} / {text}");
                assert_eq!(kinds(&theirs), kinds(&own), "{known} / {text}");
                taken += usize::from(known != text);
            }
        }
    }
    assert!(taken > 100, "{taken}");
}
