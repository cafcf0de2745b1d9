use std::sync::Arc;

use crate::catalog::Catalog;
use crate::engine::{Engine, Limits, Request, Scratch};
use crate::session::{Protocol, SessionFacts};
use crate::testing;

/// Leads have the key `id`, invoices `(org_id, id)`.
fn engine() -> Engine {
    let mut parts = testing::catalog().parts().clone();
    for relation in &mut parts.relations {
        match relation.name.as_str() {
            "leads" => relation.keys = vec![vec![1]],
            "invoices" => relation.keys = vec![vec![2, 1]],
            _ => {}
        }
    }
    let policy = Arc::new(testing::policy());
    Engine::new(policy, Arc::new(Catalog::new(parts)), Limits::default()).expect("it fits")
}

/// The lookup that a Query is: its text, types and values.
fn looked(text: &str) -> Option<(String, Vec<u32>, Vec<String>)> {
    let (engine, values) = (engine(), testing::values());
    let facts = SessionFacts {
        search_path: vec!["public".to_owned()],
        ..SessionFacts::default()
    };
    let mut scratch = Scratch::default();
    let mut last = None;
    // Made, and found again.
    for _ in 0..2 {
        let request = Request {
            text,
            protocol: Protocol::Simple,
            declared: &[],
            facts: &facts,
            values: &values,
        };
        let cleared = engine.judge(request, &mut scratch).expect("it passes");
        last = cleared.lookup().map(|lookup| {
            let mut bound = Vec::new();
            lookup.each_value(|value| bound.push(String::from_utf8_lossy(value).into_owned()));
            (lookup.text().to_owned(), lookup.types().to_vec(), bound)
        });
    }
    last
}

const ORG: &str = "a0000000-0000-0000-0000-000000000001";

#[test]
fn each_hole_is_a_parameter() {
    let (text, types, values) =
        looked("SELECT note FROM leads AS l WHERE l.id = 'x' AND amount = 7 LIMIT 21").unwrap();
    assert_eq!(
        text,
        "SELECT note FROM public.leads l WHERE l.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid \
         AND (l.id = $2 AND amount = $3) LIMIT $4"
    );
    assert_eq!(types, [0, 0, 23, 23]);
    assert_eq!(values, [ORG, "x", "7", "21"]);
}

#[test]
fn the_tenants_predicate_is_part_of_a_key() {
    assert!(looked("SELECT total FROM invoices WHERE id = 7").is_some());
    assert!(looked("SELECT total FROM invoices").is_none());
}

#[test]
fn other_statements_are_none() {
    for text in [
        "SELECT note FROM leads WHERE amount = 7",
        "SELECT note FROM leads WHERE id > 'x'",
        "SELECT note FROM leads WHERE id = 'x' OR amount = 7",
        "SELECT note FROM leads WHERE id = 'x' OFFSET 1",
        "SELECT note FROM leads WHERE id = 'x' ORDER BY amount + 1",
        "SELECT note, 1 FROM leads WHERE id = 'x'",
        "SELECT count(*) FROM leads WHERE id = 'x'",
        "SELECT note FROM leads WHERE id = 'x' AND amount = 7.5",
        "SELECT note FROM leads WHERE id = 'x' AND amount = 7000000000",
        "SELECT note FROM leads WHERE id = (SELECT id FROM calls LIMIT 1)",
        "SELECT leads.note FROM leads, calls WHERE leads.id = 'x'",
        "SELECT name FROM plans WHERE id = 7",
        "UPDATE leads SET note = 'x' WHERE id = 'x'",
        "SELECT note FROM leads WHERE id = 'x'; SELECT note FROM leads WHERE id = 'x'",
    ] {
        assert!(looked(text).is_none(), "{text}");
    }
}

#[test]
fn what_is_not_written_plainly_is_not_bound() {
    for key in ["E'x'", "'it''s'", "'a'\n'b'", "$$x$$"] {
        let text = format!("SELECT note FROM leads WHERE id = {key}");
        assert!(looked(&text).is_none(), "{text}");
    }
    assert!(looked("SELECT note FROM leads WHERE id = 'x' AND amount = 1234567890").is_none());
    // No literal that stands for others: it stays.
    let (text, types, _) = looked("SELECT note FROM leads WHERE id = U&'x'").unwrap();
    assert!(text.ends_with("id = 'x'"), "{text}");
    assert_eq!(types, [0]);
}
