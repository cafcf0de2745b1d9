//! The second reader: an independent SQL parser that is asked once for each shape.
//!
//! The likeliest hole in a proxy like this is a node that its own walker forgot. So when sqlparser
//! can read a statement and sees a relation that the first reader did not account for, the
//! statement is denied. It is no boundary by itself: what it is known to misread or not to see
//! (the list of [`Misreading`]) counts as unreadable.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Ident, ObjectName, visit_relations};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::deny::{Denial, DenyReason};
use crate::rules::SecondReader;
use crate::tree::{Node, Value};

/// Above this size a text counts as unreadable: this parser's time grows faster than its input.
const READABLE_BYTES: usize = 16 << 10;

/// Above this nesting a text counts as unreadable: this parser tries some brackets twice.
const READABLE_DEPTH: usize = 40;

/// The parser's own bound on recursion.
const RECURSION_LIMIT: usize = 100;

/// The longest name that PostgreSQL keeps (`NAMEDATALEN` less one).
const NAME_BYTES: usize = 63;

/// What it made of a statement.
#[derive(Debug, PartialEq)]
pub(crate) enum Reading {
    /// It sees the relations that the first reader sees.
    Agrees,
    /// It sees one that the first reader did not account for.
    Disagrees,
    /// It can't read the statement, or is known to misread it.
    Unreadable,
}

/// Asks the second reader, as the policy has it.
pub(crate) fn check(
    rule: SecondReader,
    text: &str,
    depth: usize,
    tree: &Node,
) -> Result<(), Denial> {
    if rule == SecondReader::Off {
        return Ok(());
    }
    match read(text, depth, tree) {
        Reading::Agrees => Ok(()),
        Reading::Disagrees => Err(Denial::new(
            DenyReason::ReaderDisagreement,
            "two parsers read different relations in this statement",
        )),
        Reading::Unreadable if rule == SecondReader::WhenReadable => Ok(()),
        Reading::Unreadable => Err(Denial::new(
            DenyReason::SecondReaderUnreadable,
            "the second reader can't read this statement",
        )
        .hint("Write it in plainer SQL, or set second_reader = \"when_readable\" in the policy.")),
    }
}

/// Compares the relations that both readers see.
pub(crate) fn read(text: &str, depth: usize, tree: &Node) -> Reading {
    if text.len() > READABLE_BYTES || depth > READABLE_DEPTH {
        return Reading::Unreadable;
    }
    let mut first = FirstReader::default();
    first.node(tree);
    let Some(seen) = relations(text) else {
        return Reading::Unreadable;
    };
    let misread = MISREADINGS
        .iter()
        .any(|misreading| (misreading.applies)(&first, &seen));
    let known = |name: &String| {
        first.relations.contains(name)
            || first.ctes.contains(name)
            || first.functions.contains(name)
    };
    if misread {
        Reading::Unreadable
    } else if seen.iter().all(known) {
        Reading::Agrees
    } else {
        Reading::Disagrees
    }
}

/// Something that sqlparser reads wrongly without knowing.
struct Misreading {
    /// For the tests: a statement that shows it.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the tests"))]
    example: &'static str,
    applies: fn(&FirstReader, &BTreeSet<String>) -> bool,
}

const MISREADINGS: &[Misreading] = &[
    Misreading {
        example: "SELECT a FROM ONLY leads",
        // A table called ONLY, with the alias `leads`.
        applies: |first, seen| first.only && seen.contains("only"),
    },
    Misreading {
        example: "SELECT d FROM current_date AS d",
        // A table called CURRENT_DATE.
        applies: |first, _| first.keyword_function,
    },
    Misreading {
        example: "TABLE leads",
        applies: misses_some,
    },
    Misreading {
        example: "SELECT 1 UNION ALL TABLE leads",
        applies: misses_some,
    },
    Misreading {
        example: "COPY leads TO STDOUT",
        applies: misses_some,
    },
    Misreading {
        example: "SELECT name AND FROM leads",
        applies: misses_some,
    },
    Misreading {
        example: "SELECT 1 END; DELETE FROM calls",
        applies: misses_some,
    },
];

fn misses_some(first: &FirstReader, seen: &BTreeSet<String>) -> bool {
    !first.relations.iter().all(|name| seen.contains(name))
}

/// The relations that sqlparser sees, by the last part of their names, folded as PostgreSQL does.
fn relations(text: &str) -> Option<BTreeSet<String>> {
    let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(RECURSION_LIMIT);
    let statements = parser.try_with_sql(text).ok()?.parse_statements().ok()?;
    let mut seen = BTreeSet::new();
    let whole = visit_relations(&statements, |relation: &ObjectName| {
        match relation.0.last().and_then(|part| part.as_ident()) {
            Some(name) => {
                seen.insert(folded(name));
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    });
    whole.is_continue().then_some(seen)
}

fn folded(name: &Ident) -> String {
    let mut folded = match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    };
    let mut end = folded.len().min(NAME_BYTES);
    while !folded.is_char_boundary(end) {
        end -= 1;
    }
    folded.truncate(end);
    folded
}

/// What the first reader's tree names.
#[derive(Debug, Default)]
struct FirstReader {
    relations: BTreeSet<String>,
    ctes: BTreeSet<String>,
    functions: BTreeSet<String>,
    only: bool,
    keyword_function: bool,
}

impl FirstReader {
    fn node(&mut self, node: &Node) {
        match node.kind {
            "RangeVar" => {
                self.relations.insert(node.text("relname").to_owned());
                self.only |= *node.field("inh") == Value::Default;
            }
            "CommonTableExpr" => {
                self.ctes.insert(node.text("ctename").to_owned());
            }
            "RangeFunction" => self.functions_of(node.field("functions")),
            _ => {}
        }
        for (_, value) in &node.fields {
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Node(node) => self.node(node),
            Value::List(items) => items.iter().for_each(|item| self.value(item)),
            Value::Default | Value::True | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }

    /// The functions of one FROM item: a list of pairs, function and column definitions.
    fn functions_of(&mut self, functions: &Value) {
        match functions {
            Value::List(items) => items.iter().for_each(|item| self.functions_of(item)),
            Value::Node(node) if node.kind == "List" => self.functions_of(node.field("items")),
            Value::Node(node) if node.kind == "FuncCall" => {
                let name = node.list("funcname").last().and_then(Value::as_name);
                self.functions.extend(name.map(str::to_owned));
            }
            Value::Node(node) if node.kind == "ColumnDef" => {}
            Value::Node(_) => self.keyword_function = true,
            Value::Default | Value::True | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(sql: &str) -> Reading {
        let parsed = pg_query::parse(sql, 0).unwrap().protobuf;
        read(sql, 0, &crate::tree::of(&parsed).unwrap())
    }

    #[test]
    fn readers_agree_on_ordinary_statements() {
        for sql in [
            "SELECT 1",
            "SELECT * FROM leads",
            "SELECT * FROM Leads l JOIN public.\"Calls\" c ON c.lead_id = l.id",
            "WITH x AS (SELECT * FROM leads) SELECT * FROM x",
            "SELECT * FROM generate_series(1, 3) g, leads",
            "INSERT INTO leads (a) SELECT a FROM calls",
            "UPDATE leads SET a = 1 FROM calls WHERE calls.id = leads.id",
            "DELETE FROM leads USING calls WHERE calls.id = leads.id",
            "SELECT * FROM leads WHERE EXISTS (SELECT 1 FROM calls)",
            "SELECT * FROM this_name_is_much_longer_than_the_sixty_three_bytes_that_postgresql_keeps",
        ] {
            assert_eq!(reading(sql), Reading::Agrees, "{sql}");
        }
    }

    #[test]
    fn misreadings_count_as_unreadable() {
        for misreading in MISREADINGS {
            let reading = reading(misreading.example);
            assert_eq!(reading, Reading::Unreadable, "{}", misreading.example);
        }
    }

    #[test]
    fn a_relation_that_the_first_reader_missed_is_a_disagreement() {
        let parsed = pg_query::parse("SELECT * FROM leads", 0).unwrap().protobuf;
        let tree = crate::tree::of(&parsed).unwrap();
        let text = "SELECT * FROM leads, calls";
        assert_eq!(read(text, 0, &tree), Reading::Disagrees);
        let denied = check(SecondReader::WhenReadable, text, 0, &tree);
        assert_eq!(denied.unwrap_err().reason, DenyReason::ReaderDisagreement);
        assert!(check(SecondReader::Off, text, 0, &tree).is_ok());
    }

    #[test]
    fn the_policy_may_require_that_it_reads() {
        let parsed = pg_query::parse("TABLE leads", 0).unwrap().protobuf;
        let tree = crate::tree::of(&parsed).unwrap();
        assert!(check(SecondReader::WhenReadable, "TABLE leads", 0, &tree).is_ok());
        let denied = check(SecondReader::Required, "TABLE leads", 0, &tree);
        assert_eq!(
            denied.unwrap_err().reason,
            DenyReason::SecondReaderUnreadable
        );
    }

    #[test]
    fn hostile_texts_take_bounded_time() {
        let begun = std::time::Instant::now();
        for (open, inner, close) in [
            ("(", "1", ")"),
            ("ARRAY[", "1", "]"),
            ("f(", "1", ")"),
            ("CASE WHEN true THEN ", "1", " END"),
            ("NOT ", "true", ""),
            ("(SELECT ", "1", ")"),
        ] {
            for depth in [30, 38] {
                let sql = format!(
                    "SELECT {}{inner}{}",
                    open.repeat(depth),
                    close.repeat(depth)
                );
                let _ = relations(&sql);
            }
        }
        for (open, close) in [
            ("(", ")"),
            ("(SELECT * FROM ", ") x"),
            ("(", " JOIN y ON true)"),
        ] {
            for depth in [10, 20, 38] {
                let sql = format!(
                    "SELECT * FROM {}t{}",
                    open.repeat(depth),
                    close.repeat(depth)
                );
                let _ = relations(&sql);
            }
        }
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }
}
