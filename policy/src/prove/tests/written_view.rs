//! Views that are written to: what they show is worked out anew.

use super::{Gap, Node, decisions, findings, key, outcome_with, relation, tree};
use crate::catalog::{Relation, RelationKind};
use crate::judge::{Decision, Held, Key, Places};

pub(super) const PLAIN: &str =
    "SELECT leads.id, leads.org_id, leads.name FROM public.leads WHERE (leads.id > 3)";
pub(super) const OUTER: &str = "SELECT p.id, p.org_id, p.name FROM public.plain p";
pub(super) const PAIRED_LEADS: &str =
    "SELECT l.id, l.org_id, l.name FROM (public.leads l JOIN public.calls c ON ((c.id = l.id)))";
pub(super) const NESTED: &str = "SELECT leads.id, leads.org_id, leads.name FROM public.leads WHERE (EXISTS ( SELECT 1 FROM public.calls))";
pub(super) const OTHER: &str =
    "SELECT leads.id, (leads.org_id)::uuid AS org_id, leads.name FROM public.leads";
pub(super) const TWICE: &str =
    "SELECT leads.id, leads.org_id, leads.org_id AS name FROM public.leads";
pub(super) const FEW: &str = "SELECT leads.id, leads.org_id, leads.name FROM public.leads LIMIT 3";

pub(super) fn view(oid: u32, name: &str, query: &str) -> Relation {
    Relation {
        kind: RelationKind::View,
        definition: Some(query.to_owned()),
        ..relation(oid, "public", name, &["id", "org_id", "name"])
    }
}

/// A plain view with a trigger in its way.
pub(super) fn redirected(oid: u32, name: &str) -> Relation {
    Relation {
        redirects_writes: true,
        runs_code: false,
        unlogged: false,
        ..view(oid, name, PLAIN)
    }
}

fn stored(name: &str) -> &'static str {
    match name {
        "over_plain" => OUTER,
        "paired_leads" => PAIRED_LEADS,
        "nested" => NESTED,
        "other" => OTHER,
        "twice" => TWICE,
        "few" => FEW,
        _ => PLAIN,
    }
}

fn inside(name: &str) -> Places {
    let mut places = Places::default();
    decisions(&tree(stored(name)), &mut places.decisions);
    for (_, decision) in &mut places.decisions {
        if let Decision::Relation { name, .. } = &decision
            && name == "plain"
        {
            *decision = Decision::View {
                schema: "public".to_owned(),
                name: name.clone(),
                inside: inside("plain"),
            };
        }
    }
    places
}

/// What comes of a write through the view of that name, with the keys and places claimed.
fn written(
    name: &str,
    guard: &str,
    keys: &[Key],
    change: impl FnOnce(&mut Places),
) -> Result<(), Gap> {
    let client = format!("DELETE FROM {name} WHERE id = 1");
    let sent = format!("DELETE FROM public.{name} WHERE {guard} AND id = 1");
    let mut places = inside(name);
    change(&mut places);
    let scoped = keys.to_vec();
    let decide = |findings: &mut super::Findings| {
        for (_, decision) in &mut findings.places.decisions {
            *decision = Decision::WrittenView {
                schema: "public".to_owned(),
                name: name.to_owned(),
                scoped: scoped.clone(),
                inside: places.clone(),
            };
        }
    };
    outcome_with(&client, &sent, decide).map(|_| ())
}

fn guard(name: &str) -> String {
    format!("{name}.org_id OPERATOR(pg_catalog.=) $5::pg_catalog.uuid")
}

#[test]
fn a_view_that_shows_the_key_once_is_guarded_by_it() {
    for name in ["plain", "over_plain"] {
        assert_eq!(
            written(name, &guard(name), &[key("org_id", 0)], |_| {}),
            Ok(())
        );
        let unguarded = written(name, "true", &[key("org_id", 0)], |_| {});
        assert!(unguarded.is_err(), "{name}");
        let of_another = written(
            name,
            "plain.id OPERATOR(pg_catalog.=) $5::pg_catalog.uuid",
            &[key("id", 0)],
            |_| {},
        );
        assert!(of_another.is_err(), "{name}");
        assert!(written(name, "true", &[], |_| {}).is_err(), "{name}");
    }
}

#[test]
fn other_views_are_not_written_to() {
    for name in ["paired_leads", "nested", "other", "twice", "few", "ruled"] {
        let outcome = written(name, &guard(name), &[key("org_id", 0)], |_| {});
        assert!(outcome.is_err(), "{name}");
    }
}

#[test]
fn a_view_whose_own_conditions_leak_is_not_written_to() {
    let held = |places: &mut Places| {
        places.held.push(Held {
            at: 70,
            by: vec![50],
        })
    };
    assert!(written("plain", &guard("plain"), &[key("org_id", 0)], held).is_err());
    let fenced = |places: &mut Places| places.fences.push(3);
    assert!(written("plain", &guard("plain"), &[key("org_id", 0)], fenced).is_err());
    let elsewhere = |places: &mut Places| {
        for (at, _) in &mut places.decisions {
            *at += 1;
        }
    };
    assert!(written("plain", &guard("plain"), &[key("org_id", 0)], elsewhere).is_err());
}

#[test]
fn a_view_that_is_read_is_no_target() {
    let client = "SELECT * FROM plain";
    let before: Node = tree(client);
    assert_eq!(findings(&before).places.decisions.len(), 1);
    let decide = |findings: &mut super::Findings| {
        for (_, decision) in &mut findings.places.decisions {
            *decision = Decision::WrittenView {
                schema: "public".to_owned(),
                name: "plain".to_owned(),
                scoped: vec![key("org_id", 0)],
                inside: inside("plain"),
            };
        }
    };
    let sent = format!("SELECT * FROM public.plain WHERE {}", guard("plain"));
    assert!(outcome_with(client, &sent, decide).is_err());
}
