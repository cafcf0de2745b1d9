//! Cursors, and what is written where one stands.

use super::super::Gap;
use super::outcome_with;
use crate::plan::Effect;

fn declared(query: &str, locks: &str) -> Result<(), Gap> {
    let guarded = query.replace("WHERE", "WHERE @leads@ AND");
    let guarded = guarded.replace("FROM leads", "FROM public.leads");
    outcome_with(
        &format!("DECLARE c CURSOR FOR {query}"),
        &format!("DECLARE c CURSOR FOR {guarded}"),
        |findings| {
            findings.effects.push(Effect::Declare {
                cursor: "c".to_owned(),
                locks: Some(locks.to_owned()),
            });
        },
    )
    .map(|_| ())
}

#[test]
fn a_cursor_that_is_said_to_lock_does() {
    let query = "SELECT id FROM leads WHERE id > '0' FOR UPDATE";
    assert_eq!(declared(query, "public.leads"), Ok(()));
    let gap = Err(Gap("a cursor does not lock its rows"));
    assert_eq!(declared(query, "public.calls"), gap);
    for less in ["", "FOR KEY SHARE", "FOR UPDATE FOR KEY SHARE"] {
        let query = query.replace("FOR UPDATE", less);
        assert_eq!(declared(&query, "public.leads"), gap, "{less}");
    }
    let inside = "SELECT id FROM leads WHERE id = ANY (SELECT 'x') FOR UPDATE";
    assert_eq!(declared(inside, "public.leads"), gap);
    let other = outcome_with("SELECT 1", "SELECT 1", |findings| {
        findings.effects.push(Effect::Declare {
            cursor: "c".to_owned(),
            locks: Some("public.leads".to_owned()),
        });
    });
    assert_eq!(other.err(), Some(Gap("a cursor was not found")));
}

fn written(original: &str, rewritten: &str, relation: &str) -> Result<(), Gap> {
    let effect = Effect::CurrentOf {
        cursor: "c".to_owned(),
        relation: relation.to_owned(),
    };
    let outcome = outcome_with(original, rewritten, |it| it.effects.push(effect));
    outcome.map(|_| ())
}

#[test]
fn what_is_written_where_a_cursor_stands_is_looked_at() {
    for (verb, rest) in [("UPDATE", "SET note = 'x'"), ("DELETE FROM", "")] {
        let (original, rewritten) = (
            format!("{verb} leads {rest} WHERE CURRENT OF c"),
            format!("{verb} public.leads {rest} WHERE CURRENT OF c"),
        );
        assert_eq!(written(&original, &rewritten, "public.leads"), Ok(()));
        let gap = Err(Gap("the row of a cursor is not looked at"));
        assert_eq!(written(&original, &rewritten, "public.calls"), gap);
        let unsaid = outcome_with(&original, &rewritten, |_| {}).map(|_| ());
        assert_eq!(unsaid, gap);
        let other = rewritten.replace("OF c", "OF d");
        assert!(written(&original, &other, "public.leads").is_err());
        let other = rewritten.replace("WHERE CURRENT OF c", "");
        assert!(written(&original, &other, "public.leads").is_err());
    }
    assert_eq!(
        written(
            "UPDATE plans SET id = l.id FROM leads l WHERE CURRENT OF c",
            "UPDATE public.plans SET id = l.id FROM public.leads l WHERE CURRENT OF c",
            "public.plans",
        ),
        Err(Gap("the row of a cursor is written beside others"))
    );
}
