use super::*;
use crate::pool::name_under;
use pgwarden_policy::{StatementKind, Verdict};

fn server_name(text: &str) -> Name {
    name_under(text, Under::Settings(0))
}

fn statement(text: &str) -> Arc<Statement> {
    Arc::new(Statement {
        server_name: server_name(text),
        under: None,
        text: text.into(),
        declared: Box::default(),
        rewritten: None,
        plan: Arc::new(Plan {
            verdict: Verdict::Pass,
            kind: StatementKind::Select,
            statements: 1,
            parameters: 0,
            types: Vec::new(),
            hidden: Vec::new(),
            checks: Vec::new(),
            texts: Vec::new(),
            draws: false,
            random: false,
            last_value: false,
            absent: false,
            effects: Vec::new(),
            steps: Vec::new(),
            relations: Vec::new(),
            calls_users: false,
            reads_only: false,
            rows: None,
            fingerprint: 0,
            observed: None,
        }),
        basis: Basis::default(),
        token: None,
    })
}

fn text<'a>(names: &'a Names, name: &[u8]) -> Option<&'a str> {
    names.statement(name).map(|statement| &*statement.text)
}

#[test]
fn skipped_messages_are_undone_in_reverse_order() {
    let mut names = Names::default();
    names.set_statement(b"s", Some(statement("old")));
    let log = vec![
        names.set_statement(b"s", None),
        names.set_statement(b"s", Some(statement("new"))),
        names.set_statement(b"", Some(statement("unnamed"))),
        names.close_all(),
    ];
    assert_eq!(text(&names, b"s"), None);
    for change in log.into_iter().rev() {
        names.undo(change);
    }
    assert_eq!(text(&names, b"s"), Some("old"));
    assert_eq!(text(&names, b""), None);
}

#[test]
fn a_failed_parse_leaves_no_unnamed_statement() {
    let mut names = Names::default();
    names.set_statement(b"", Some(statement("old")));
    let change = names.set_statement(b"", Some(statement("new")));
    names.fail(change);
    assert_eq!(text(&names, b""), None);
    let change = names.set_statement(b"s", Some(statement("new")));
    names.fail(change);
    assert_eq!(text(&names, b"s"), None);
}

#[test]
fn a_failed_query_takes_nothing_away_that_came_behind_it() {
    let mut names = Names::default();
    names.set_statement(b"", Some(statement("old")));
    names.set_statement(b"s", Some(statement("s")));
    let change = names.set_statement(b"", None).and(names.close_all());
    names.set_statement(b"", Some(statement("new")));
    names.fail_query(change);
    assert_eq!(text(&names, b""), Some("new"));
    assert_eq!(text(&names, b"s"), Some("s"));
}

#[test]
fn a_failed_pipeline_takes_no_portal_of_the_next_away() {
    let mut names = Names::default();
    names.open_portal(b"p", statement("old"), 1);
    let skipped = names.open_portal(b"p", statement("skipped"), 1);
    let closed = names.close_portal(b"p", 1);
    let refused = names.open_portal(b"", statement("refused"), 1);
    names.open_portal(b"p", statement("new"), 2);
    names.open_portal(b"", statement("new"), 2);
    names.undo(closed);
    names.undo(skipped);
    names.fail(refused);
    let portal = |name| names.portal(name).map(|it| &*it.text);
    assert_eq!((portal(b"p"), portal(b"")), (Some("new"), Some("new")));
}

#[test]
fn both_kinds_of_statements_share_their_names() {
    let mut names = Names::default();
    names.set_statement(b"", Some(statement("unnamed")));
    let change = names.set_statement(b"", None);
    let change = change.and(names.set_prepared(b"p", Some(statement("p"))));
    assert!(names.is_taken(b"p") && names.statement(b"p").is_none());
    names.fail(change);
    assert!(!names.is_taken(b"p"));
    assert_eq!(text(&names, b""), None);
    names.set_prepared(b"p", Some(statement("p")));
    let change = names.close_all();
    assert!(!names.is_taken(b"p"));
    names.undo(change);
    assert!(names.prepared(b"p").is_some());
}

#[test]
fn portals_end_with_their_transaction() {
    let mut names = Names::default();
    names.open_portal(b"p", statement("a"), 1);
    names.open_portal(b"", statement("b"), 2);
    names.end_transaction(1);
    assert!(names.portal(b"p").is_none());
    assert!(names.portal(b"").is_some());
    names.end_transaction(2);
    assert!(names.portal(b"").is_none());
}

#[test]
fn closing_all_leaves_the_unnamed_statement() {
    let mut names = Names::default();
    names.set_statement(b"", Some(statement("unnamed")));
    names.set_statement(b"s", Some(statement("s")));
    assert_eq!(names.client_name(&server_name("s")), Some(&b"s"[..]));
    names.close_all();
    assert_eq!(text(&names, b""), Some("unnamed"));
    assert_eq!(text(&names, b"s"), None);
}

#[test]
fn what_is_held_is_counted_whatever_becomes_of_it() {
    let mut names = Names::default();
    let held = |names: &Names| names.statements.bytes + names.prepared.bytes + names.portals.bytes;
    let first = names.set_statement(b"s", Some(statement("s")));
    let one = held(&names);
    assert!(one > ENTRY_BYTES);
    let again = names.set_statement(b"s", Some(statement("s")));
    assert_eq!(held(&names), one);
    names.set_prepared(b"p", Some(statement("p")));
    names.open_portal(b"q", statement("q"), 1);
    let all = held(&names);
    let closed = names.close_all();
    assert!(held(&names) < all);
    names.undo(closed);
    assert_eq!(held(&names), all);
    names.end_transaction(1);
    drop(names.set_prepared(b"p", None));
    names.undo(again);
    assert_eq!(held(&names), one);
    names.undo(first);
    assert_eq!(held(&names), 0);
    names.set_statement(b"", Some(statement("s")));
    assert_eq!(held(&names), 0);
}

#[test]
fn texts_are_not_shown() {
    let mut names = Names::default();
    let change = names.set_statement(b"s", Some(statement("hunter2")));
    names.open_portal(b"p", statement("hunter2"), 1);
    let shown = format!("{names:?} {change:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
