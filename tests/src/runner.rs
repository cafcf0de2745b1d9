//! Runs a case against a subject and its oracle.

use crate::cases::{Case, Expectation, Step};
use pg_query::{DeparseOptions, NodeEnum};

use crate::fixture::{Arena, ROLE, script, server, set_claims, superuser};
use crate::oracle::{Direct, Outcome, Subject, compare, rows};
use crate::wire::{Client, Reply};

/// Runs a case; an error says what went wrong, step by step.
pub fn run_case(
    case: &Case,
    arena: &Arena,
    subject: &mut dyn Subject,
    extended: bool,
) -> Result<(), String> {
    let mut oracle = Direct {
        client: arena.oracle_session(case.tenant),
        extended,
    };
    // The proxy's claims carry more than the oracle's (when the token expires): take them over, so
    // that statements which read them compare.
    if let Some(claims) = subject.run("SHOW request.jwt.claims", &[]).value() {
        set_claims(&mut oracle.client, &claims);
    }
    let mut problems = Vec::new();
    for step in &case.steps {
        prepare(step, arena);
        let result = match &step.expect {
            Expectation::Plain => alike_plain(step, subject, arena, extended),
            Expectation::SomeOfRls => some_of(step, subject, &mut oracle),
            _ => run_step(step, subject, &mut oracle),
        };
        if let Err(problem) = result {
            problems.push(format!("line {}: {}\n    {problem}", step.line, step.sql));
            break;
        }
    }
    if case.writes() {
        if problems.is_empty() {
            problems.extend(different_tables(arena));
        }
        for step in &case.steps {
            for sql in step.admin.iter().filter_map(|sql| undo(sql)) {
                for database in [arena.plain(), arena.oracle()] {
                    superuser(server().address(), &database).query(&sql);
                }
            }
        }
        arena.restore();
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

fn prepare(step: &Step, arena: &Arena) {
    for sql in &step.admin {
        for database in [arena.plain(), arena.oracle()] {
            script(&mut superuser(server().address(), &database), sql);
        }
    }
}

/// What a superuser's `CREATE kind name` is undone by.
fn undo(sql: &str) -> Option<String> {
    let mut words = sql.split_whitespace();
    if words.next() != Some("CREATE") {
        return None;
    }
    let (kind, name) = (words.next()?, words.next()?);
    Some(format!("DROP {kind} {} CASCADE", name.split('(').next()?))
}

fn run_step(step: &Step, subject: &mut dyn Subject, oracle: &mut Direct) -> Result<(), String> {
    let values: Vec<_> = step.values.iter().map(Option::as_deref).collect();
    let ours = subject.run(&step.sql, &values);
    if let Expectation::Denied(reasons) = &step.expect {
        abort_block(&ours, oracle);
        return check_denial(reasons, &ours);
    }
    // Row level security refuses a foreign row under ON CONFLICT, too.
    let refused_alike = step.expect == Expectation::SameError && ours.code() == "42501";
    if ours.denied().is_some() && !refused_alike {
        abort_block(&ours, oracle);
        return match &step.expect {
            // A failed proof is safe, and a fault all the same.
            Expectation::Safe if ours.denied() != Some("proof_failed") => Ok(()),
            Expectation::Error(code) if ours.code() == code => Ok(()),
            _ => Err(format!("denied: {:?}", ours.error)),
        };
    }
    let theirs = oracle.run(&step.sql, &values);
    match &step.expect {
        Expectation::Fine => ours.error.map_or(Ok(()), |error| Err(format!("{error:?}"))),
        Expectation::Error(code) if ours.code() == code => Ok(()),
        Expectation::Error(code) => Err(format!("not error {code}: {ours:?}")),
        Expectation::Rows(expected) => {
            let got = ours
                .results
                .last()
                .map(|result| rows(result, true))
                .unwrap_or_default();
            if got == *expected {
                Ok(())
            } else {
                Err(format!("rows {got:?} {:?}", ours.error))
            }
        }
        expected => match (compare(&ours, &theirs, step.ordered), expected) {
            (Outcome::Same, Expectation::Same | Expectation::Safe)
            | (Outcome::SameError(_), Expectation::SameError | Expectation::Safe) => Ok(()),
            (Outcome::Different(text), _) => Err(text),
            (outcome, _) => Err(format!("{outcome:?}: {:?}", theirs.error)),
        },
    }
}

/// Beside a session of the same role on the same database, without pgwarden.
fn alike_plain(
    step: &Step,
    subject: &mut dyn Subject,
    arena: &Arena,
    extended: bool,
) -> Result<(), String> {
    let plain = Client::connect(server().address(), ROLE, &arena.plain(), &[], None);
    let mut plain = Direct {
        client: plain.expect("the server answers"),
        extended,
    };
    let values: Vec<_> = step.values.iter().map(Option::as_deref).collect();
    let ours = subject.run(&step.sql, &values);
    let mut theirs = plain.run(&step.sql, &values);
    // A transaction block of the case is not the other session's.
    theirs.status = ours.status;
    match compare(&ours, &theirs, step.ordered) {
        Outcome::Same => Ok(()),
        Outcome::Different(text) => Err(text),
        outcome => Err(format!("{outcome:?}: {:?}", theirs.error)),
    }
}

/// PostgreSQL may choose the rows: they must be as many, and be such as it could have chosen.
fn some_of(step: &Step, subject: &mut dyn Subject, oracle: &mut Direct) -> Result<(), String> {
    let values: Vec<_> = step.values.iter().map(Option::as_deref).collect();
    let (ours, theirs) = (
        subject.run(&step.sql, &values),
        oracle.run(&step.sql, &values),
    );
    if let Some(error) = ours.error.as_ref().or(theirs.error.as_ref()) {
        return Err(format!("{error:?}"));
    }
    let all = oracle.run(&without_limit(&step.sql)?, &values);
    let rows_of = |reply: &Reply| reply.results.last().map(|it| rows(it, true));
    let mut all = rows_of(&all).unwrap_or_default();
    let (ours, theirs) = (rows_of(&ours), rows_of(&theirs));
    if ours.as_ref().map(Vec::len) != theirs.as_ref().map(Vec::len) {
        return Err(format!("rows {ours:?}, oracle {theirs:?}"));
    }
    for row in ours.unwrap_or_default() {
        let Some(at) = all.iter().position(|it| *it == row) else {
            return Err(format!("{row:?} is none of the oracle's rows"));
        };
        all.swap_remove(at);
    }
    Ok(())
}

/// The statement with a limit that no table reaches. A parameter stays, or it would have no type.
fn without_limit(sql: &str) -> Result<String, String> {
    let mut parsed = pg_query::parse(sql, 0).map_err(|error| error.to_string())?;
    let statement = parsed.protobuf.stmts.first_mut();
    let node = statement.and_then(|it| it.stmt.as_mut()?.node.as_mut());
    let Some(NodeEnum::SelectStmt(select)) = node else {
        return Err("it is no SELECT".to_owned());
    };
    let limit = select.limit_count.take().ok_or("it has no LIMIT")?;
    let text = parsed
        .deparse(DeparseOptions::default())
        .map_err(|error| error.to_string())?;
    let mut limit = limit.node;
    while let Some(NodeEnum::TypeCast(cast)) = limit {
        limit = cast.arg.and_then(|arg| arg.node);
    }
    Ok(match limit {
        Some(NodeEnum::ParamRef(it)) => format!("{text} LIMIT 1000000 * ${}::int", it.number),
        _ => text,
    })
}

/// Runs a case on the oracle alone: a case that expects what PostgreSQL gives must be one that
/// PostgreSQL answers, or else it tests a typing error.
pub fn check_case(case: &Case, arena: &Arena, extended: bool) -> Result<(), String> {
    let mut oracle = Direct {
        client: arena.oracle_session(case.tenant),
        extended,
    };
    let mut problems = Vec::new();
    for step in &case.steps {
        let values: Vec<_> = step.values.iter().map(Option::as_deref).collect();
        if matches!(step.expect, Expectation::Denied(_)) {
            continue;
        }
        let theirs = oracle.run(&step.sql, &values);
        match (&step.expect, &theirs.error) {
            (
                Expectation::Same
                | Expectation::SomeOfRls
                | Expectation::Plain
                | Expectation::Rows(_),
                Some(error),
            ) => {
                problems.push(format!("line {}: the oracle fails: {error:?}", step.line));
            }
            (Expectation::SameError, None) => {
                problems.push(format!("line {}: the oracle does not fail", step.line));
            }
            _ => {}
        }
    }
    if case.writes() {
        arena.restore();
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

/// After a refusal inside a transaction block the oracle's block must be aborted, too.
fn abort_block(ours: &Reply, oracle: &mut Direct) {
    if ours.status == b'E' {
        oracle.client.query("SELECT 1/0");
    }
}

fn check_denial(reasons: &[String], ours: &Reply) -> Result<(), String> {
    let Some(reason) = ours.denied() else {
        return Err(format!("was not denied: {ours:?}"));
    };
    let code = ours.code();
    let missing = reason == "unknown_relation" && code == "42P01";
    if !missing && !["42501", "0A000", "54000", "54001", "54011", "08P01"].contains(&code) {
        return Err(format!("denied with SQLSTATE {code}"));
    }
    let help = format!("See docs/deny/{reason}.");
    let hint = ours.error.as_ref().map(|error| error.field(b'H'));
    if !hint.is_some_and(|hint| hint.ends_with(&help)) {
        return Err(format!("the hint does not name its page: {:?}", ours.error));
    }
    if reasons.is_empty() || reasons.iter().any(|known| known == reason) {
        return Ok(());
    }
    Err(format!("denied for {reason}: {:?}", ours.error))
}

fn different_tables(arena: &Arena) -> Option<String> {
    let (ours, theirs) = (
        Arena::contents(&arena.plain()),
        Arena::contents(&arena.oracle()),
    );
    let differing: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .filter(|(a, b)| a != b)
        .map(|(a, _)| a.split(' ').next().unwrap_or(""))
        .collect();
    (!differing.is_empty()).then(|| format!("tables differ afterwards: {differing:?}"))
}
