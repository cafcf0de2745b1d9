//! Names of prepared statements, told wrongly.

use super::super::Gap;
use super::outcome_with;
use crate::plan::Effect;

/// What the proof says of a text, told that its names are these, each of a statement.
fn named(text: &str, told: &[(usize, Effect)]) -> Result<(), Gap> {
    let outcome = outcome_with(text, text, |findings| {
        findings.checks.clear();
        findings.effects = told.iter().map(|(_, effect)| effect.clone()).collect();
        findings.steps = told.iter().map(|(step, _)| *step).collect();
    });
    outcome.map(|_| ())
}

fn prepare(name: &str) -> Effect {
    Effect::Prepare(name.to_owned())
}

fn execute(name: &str) -> Effect {
    Effect::Execute(name.to_owned())
}

#[test]
fn each_name_is_told_of_its_statement() {
    let text = "PREPARE p AS SELECT 1; SELECT 2; EXECUTE p; DEALLOCATE p; DEALLOCATE ALL";
    let told = vec![
        (0, prepare("p")),
        (2, execute("p")),
        (3, Effect::Deallocate("p".to_owned())),
        (4, Effect::DeallocateAll),
    ];
    assert_eq!(named(text, &told), Ok(()));
    let gap = Err(Gap("a name of a prepared statement is told wrongly"));
    for at in 0..told.len() {
        let mut fewer = told.clone();
        fewer.remove(at);
        assert_eq!(named(text, &fewer), gap);
        let mut moved = told.clone();
        moved[at].0 += 1;
        assert_eq!(named(text, &moved), gap);
        let mut another = told.clone();
        another[at].1 = execute("q");
        assert_eq!(named(text, &another), gap);
        let mut twice = told.clone();
        twice.push(told[at].clone());
        assert_eq!(named(text, &twice), gap);
    }
    for text in ["EXECUTE p", "EXPLAIN EXECUTE p"] {
        assert_eq!(named(text, &[]), gap);
        assert_eq!(named(text, &[(0, execute("q"))]), gap);
        assert_eq!(named(text, &[(0, execute("p"))]), Ok(()));
    }
}

#[test]
fn nothing_stands_beside_that_changes_what_was_judged() {
    let run = |text: &str| {
        let step = text.split(';').position(|part| part.contains("EXECUTE"));
        named(text, &[(step.unwrap(), execute("p"))])
    };
    for text in [
        "BEGIN; EXECUTE p; COMMIT",
        "SAVEPOINT s; EXECUTE p; RELEASE s",
    ] {
        assert_eq!(run(text), Ok(()), "{text}");
    }
    let ended = Err(Gap("EXECUTE behind the end of a transaction"));
    for text in [
        "COMMIT; EXECUTE p",
        "COMMIT; EXPLAIN EXECUTE p",
        "ROLLBACK TO s; BEGIN; EXECUTE p",
    ] {
        assert_eq!(run(text), ended, "{text}");
    }
    let beside = Err(Gap("a statement stands beside a prepared one"));
    for text in [
        "LISTEN x; EXECUTE p",
        "EXECUTE p; CLOSE c",
        "CALL f(); EXECUTE p",
    ] {
        assert_eq!(run(text), beside, "{text}");
    }
    let told = [(0, Effect::SearchPath), (1, execute("p"))];
    let changed = Err(Gap(
        "what a prepared statement rests on is changed beside it",
    ));
    assert_eq!(named("SET search_path = x; EXECUTE p", &told), changed);
}
