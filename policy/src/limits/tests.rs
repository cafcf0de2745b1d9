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
