//! Scripts through the whole proxy, step by step beside the oracle.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Report, SHRUNK_MAX, panic_text, tenant_of};
use crate::fixture::{Arena, Tenant, contents_of, script, server, set_claims, superuser};
use crate::generator::{Generator, Statement, Step};
use crate::oracle::{Outcome, compare};
use crate::pair::rows;
use crate::proxy::session;
use crate::shrink;
use crate::wire::{Client, Reply};

/// The two sessions that a script runs in.
struct Sides {
    tenant: Tenant,
    subject: Client,
    oracle: Client,
}

impl Sides {
    fn open(arena: &Arena, tenant: Tenant) -> Self {
        let mut sides = Self {
            tenant,
            subject: session(&arena.plain(), tenant),
            oracle: arena.oracle_session(tenant),
        };
        sides.begin();
        sides
    }

    fn begin(&mut self) {
        for client in [&mut self.subject, &mut self.oracle] {
            // Only what would never end: a step that one side alone gives up leaves them apart.
            script(client, "SET statement_timeout = 30000");
        }
    }

    /// Leaves nothing of a script behind.
    fn clean(&mut self) {
        for client in [&mut self.subject, &mut self.oracle] {
            client.query("ROLLBACK");
            script(client, "DISCARD ALL");
        }
        set_claims(&mut self.oracle, &self.tenant.claims());
        self.begin();
    }

    fn run(&mut self, step: &Step, extended: bool) -> (Outcome, usize) {
        let ours = send(&mut self.subject, step, extended);
        let denied = compare(&ours, &Reply::default(), false);
        // A foreign row in COPY is refused by row level security, too.
        if matches!(denied, Outcome::Denied(_)) && !(step.hostile && step.copied.is_some()) {
            return (denied, 0);
        }
        let Some(copied) = &step.copied else {
            let theirs = send(&mut self.oracle, step, extended);
            return (
                compare(&ours, &theirs, false),
                rows(&theirs) + theirs.copied.len(),
            );
        };
        let theirs = self.oracle.query(&copied.insert);
        (compare_copied(&ours, &theirs, step.hostile), 0)
    }
}

fn send(client: &mut Client, step: &Step, extended: bool) -> Reply {
    let values: Vec<_> = step.values.iter().map(Option::as_deref).collect();
    match (&step.copied, extended) {
        (Some(copied), true) => client.extended_with(&step.sql, &copied.data),
        (Some(copied), false) => client.query_with(&step.sql, &copied.data),
        (None, true) => client.extended(&step.sql, &values),
        (None, false) => client.query(&step.sql),
    }
}

/// COPY FROM beside the INSERT that says the same. Which of a foreign row and another fault is
/// told first may differ.
fn compare_copied(ours: &Reply, theirs: &Reply, hostile: bool) -> Outcome {
    let count = |reply: &Reply| {
        let tag = reply.results.last().and_then(|it| it.tag.clone());
        tag.and_then(|tag| tag.split(' ').next_back().map(str::to_owned))
    };
    match (&ours.error, &theirs.error) {
        (None, None) if count(ours) == count(theirs) => Outcome::Same,
        (Some(one), Some(two)) if hostile || one.code() == two.code() => {
            Outcome::SameError(one.code().to_owned())
        }
        _ => Outcome::Different(format!(
            "{:?} {:?}, oracle: {:?} {:?}",
            ours.results, ours.error, theirs.results, theirs.error
        )),
    }
}

/// Looks at all tables of both databases, and puts them back.
struct Tables {
    admins: [Client; 2],
}

impl Tables {
    fn new(arena: &Arena) -> Self {
        Self {
            admins: [arena.plain(), arena.oracle()]
                .map(|name| superuser(server().address(), &name)),
        }
    }

    fn differ(&mut self) -> bool {
        let [one, two] = self
            .admins
            .each_mut()
            .map(|admin| contents_of(&script(admin, "SELECT name, sum FROM suite.contents()")));
        one != two
    }

    fn restore(&mut self) {
        for admin in &mut self.admins {
            script(admin, "SELECT suite.restore()");
        }
    }
}

/// Runs scripts of a seed through the proxy. Every other one speaks the extended protocol.
pub fn scripts(seed: u64, indexes: impl Iterator<Item = u64>) -> Report {
    let mut stage = Stage::new();
    let mut report = Report::default();
    for index in indexes {
        let tenant = tenant_of(index);
        let extended = index % 2 == 1;
        let steps = Generator::script(seed, index, tenant, extended);
        let known = report.different.len();
        stage.run(tenant, &steps, extended, &mut report, |at| {
            format!("seed {seed} script {index} step {at} as {tenant:?}")
        });
        if report.different.len() > known && known < SHRUNK_MAX {
            let smallest = shrink::list(&steps, |steps| {
                let mut again = Report::default();
                stage.run(tenant, steps, extended, &mut again, |_| String::new());
                !again.different.is_empty()
            });
            let texts: Vec<_> = smallest.iter().map(|it| it.sql.as_str()).collect();
            let shrunk = format!("\n  shrunk to\n    {}", texts.join(";\n    "));
            report.different[known] += &shrunk;
        }
    }
    report
}

/// The databases, and the sessions that are open on them.
struct Stage {
    arena: Arena,
    tables: Tables,
    open: Vec<Sides>,
}

impl Stage {
    fn new() -> Self {
        let arena = Arena::take();
        let tables = Tables::new(&arena);
        Self {
            arena,
            tables,
            open: Vec::new(),
        }
    }

    /// Runs a script, and puts back what it wrote.
    fn run(
        &mut self,
        tenant: Tenant,
        steps: &[Step],
        extended: bool,
        report: &mut Report,
        place: impl Fn(usize) -> String,
    ) {
        let mut sides = match self.open.iter().position(|it| it.tenant == tenant) {
            Some(at) => self.open.swap_remove(at),
            None => Sides::open(&self.arena, tenant),
        };
        let alike = play(&mut sides, steps, extended, report, &place);
        if alike && catch_unwind(AssertUnwindSafe(|| sides.clean())).is_ok() {
            self.open.push(sides);
        }
        if steps.iter().any(|step| step.writes) {
            if alike && self.tables.differ() {
                let different = format!("{}\n  tables differ afterwards", place(steps.len()));
                report.different.push(different);
            }
            self.tables.restore();
        }
    }
}

/// Plays a script up to the first step that says nothing about those after it. Gives whether the two
/// sessions are still alike.
fn play(
    sides: &mut Sides,
    steps: &[Step],
    extended: bool,
    report: &mut Report,
    place: impl Fn(usize) -> String,
) -> bool {
    for (at, step) in steps.iter().enumerate() {
        let result = catch_unwind(AssertUnwindSafe(|| sides.run(step, extended)));
        let lost = result.is_err();
        let (outcome, rows) =
            result.unwrap_or_else(|panic| (Outcome::Different(panic_text(panic.as_ref())), 0));
        let statement = Statement {
            sql: step.sql.clone(),
            writes: step.writes,
            hostile: step.hostile,
        };
        let alike = matches!(outcome, Outcome::Same | Outcome::SameError(_));
        let denied = matches!(outcome, Outcome::Denied(_));
        report.note(&statement, &place(at), outcome, rows);
        if !alike {
            // A refused step was run on neither side.
            return denied && !lost;
        }
    }
    true
}
