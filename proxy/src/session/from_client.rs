//! Messages of the client.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::{Denial, DenyReason, Effect, Plan, Protocol, StatementKind, Verdict};

use super::claims::Known;
use super::cursors;
use super::names::{Change, Statement};
use super::prepared::{self, names_a_statement};
use super::queue::{Expect, Pending};
use super::refusing::NOBODY;
use super::shared;
use super::{Copy, Session, Skip, Stop, Taken};
use crate::backend::{Forward, Outbox};
use crate::pool;
use crate::wire::client::{self, Spans, Target};
use crate::wire::{Malformed, Report, answer};

/// The most parameters that a Bind can carry.
const PARAMETERS_MAX: usize = u16::MAX as usize;

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::protocol(malformed.0)
    }
}

/// Longer Query texts are not kept for the positions of their errors.
const KEPT_TEXT_BYTES: usize = 4096;

/// Whether a message that runs, binds or prepares something may go on.
enum Gate {
    Open,
    Later,
    Refuse(Report),
}

impl Session {
    /// A message of the client.
    pub(crate) fn client_message(
        &mut self,
        tag: u8,
        body: &[u8],
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        if tag == b'X' {
            return Err(Stop::Terminated);
        }
        if self.copy != Copy::No {
            return self.copy_message(tag, body, server);
        }
        if self.skip != Skip::Nothing && tag != b'S' {
            return match tag {
                b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'F' | b'd' | b'c' | b'f' => {
                    Ok(Taken::Yes)
                }
                _ => Err(unknown(tag)),
            };
        }
        match tag {
            b'Q' => self.query(body, server),
            b'P' => self.parse(body, server),
            b'B' => self.bind(body, server),
            b'D' => self.describe(body, server),
            b'E' => self.execute(body, server),
            b'C' => self.close(body, server),
            b'S' => self.sync(body, server),
            b'H' => {
                if !body.is_empty() {
                    return Err(Stop::protocol("invalid message format"));
                }
                server.forward(Forward::Flush, &[]);
                Ok(Taken::Yes)
            }
            b'F' => self.function_call(server),
            // Out of place, PostgreSQL ignores them: they may be left over from a COPY that failed.
            b'd' | b'c' | b'f' => Ok(Taken::Yes),
            _ => Err(unknown(tag)),
        }
    }

    /// A message while a COPY decides what it means.
    fn copy_message(&mut self, tag: u8, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        if self.copy == Copy::Awaited {
            return Ok(Taken::Later);
        }
        match tag {
            b'd' => match self.rows.take(body) {
                Ok(data) => server.copy_data(&data),
                Err(denial) => self.fail_copy(denial, server),
            },
            b'c' => match self.rows.finish() {
                Ok(()) => {
                    server.forward(Forward::CopyDone, body);
                    self.copy = Copy::Awaited;
                }
                Err(denial) => self.fail_copy(denial, server),
            },
            b'f' => {
                server.forward(Forward::CopyFail, body);
                self.copy = Copy::Awaited;
            }
            // libpq sends them right behind Execute; PostgreSQL ignores them here.
            b'H' | b'S' => {}
            _ => {
                return Err(Stop::protocol(
                    "unexpected message type during COPY from stdin",
                ));
            }
        }
        Ok(Taken::Yes)
    }

    /// Whether the session is still good, and the server connection known to be its own.
    fn gate(&mut self, server: &mut Outbox) -> Result<Gate, Stop> {
        if Instant::now() >= self.expires {
            return Err(Stop::Fatal(Report::fatal(
                "28000",
                "pgwarden: the token has expired",
            )));
        }
        if let Err(error) = self.judging.refresh() {
            tracing::info!(session = self.who.session, %error, "no access under the new policy");
            let message = "pgwarden: the token gives no access to this database any more";
            return Err(Stop::Fatal(Report::fatal("28000", message)));
        }
        self.refresh_setup();
        if self.known.settled && !self.queue.unsettles() {
            self.nudged = false;
            return Ok(Gate::Open);
        }
        if !self.queue.is_empty() {
            // The server holds its answers back until it is asked for them.
            if self.pipeline_open && !self.nudged {
                server.forward(Forward::Flush, &[]);
                self.nudged = true;
            }
            return Ok(Gate::Later);
        }
        self.nudged = false;
        if self.pipeline_open && self.status == b'E' {
            let message = "pgwarden: a statement before this one in the same pipeline changes \
                settings that this one depends on";
            return Ok(Gate::Refuse(
                Report::error("0A000", message).hint("Send Sync first."),
            ));
        }
        if self.status == b'E' {
            // Nothing can be asked now; `permit` lets only the transaction's end pass.
            return Ok(Gate::Open);
        }
        self.ask_facts(server);
        Ok(Gate::Later)
    }

    /// Whether a statement only ends a transaction that has failed. In one, nothing can be asked,
    /// and nothing that it needs could be known: it must pass, or nobody would get out.
    fn ends_failed(&self, statement: Option<&Arc<Statement>>) -> bool {
        let plan = statement.map(|statement| &statement.plan);
        self.status == b'E' && plan.is_some_and(|plan| plan.kind == StatementKind::Transaction)
    }

    fn gate_unless(&mut self, open: bool, server: &mut Outbox) -> Result<Gate, Stop> {
        if open {
            return Ok(Gate::Open);
        }
        self.gate(server)
    }

    /// Asks for claims and facts as soon as the server owes nothing, so that the next statement
    /// need not wait.
    pub(crate) fn settle(&mut self, server: &mut Outbox) {
        if !self.known.settled && self.is_settled() && self.status == b'I' {
            self.ask_facts(server);
        }
    }

    fn query(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let text = client::query(body)?;
        match self.gate(server)? {
            Gate::Open => {}
            Gate::Later => return Ok(Taken::Later),
            Gate::Refuse(report) => {
                self.refuse(report, Expect::Query, None, server);
                return Ok(Taken::Yes);
            }
        }
        let started = Instant::now();
        // Every Query drops the unnamed statement, also one that fails.
        let change = self.names.set_statement(b"", None);
        let Ok(text) = std::str::from_utf8(text) else {
            self.refuse(not_utf8(), Expect::Query, Some(change), server);
            return Ok(Taken::Yes);
        };
        let known = self.known;
        let judged = self.judging.judge(text, Protocol::Simple, &[]);
        let judged = judged.and_then(|cleared| {
            permit(known, cleared.plan())?;
            cursors::check_fetches(&self.names, cleared.plan())?;
            if !names_a_statement(cleared.plan()) {
                server.query(&cleared);
            }
            keep_text(&mut self.last_query, self.transaction, text, cleared.plan());
            Ok(Arc::clone(cleared.plan()))
        });
        self.proxy
            .metrics()
            .judge_seconds
            .observe(started.elapsed());
        match judged {
            Ok(plan) if names_a_statement(&plan) => {
                return Ok(self.query_by_name(text, &plan, change, started, server));
            }
            Ok(plan) => self.queried(plan, change, started),
            Err(denial) => self.deny(denial, Expect::Query, Some(change), server),
        }
        Ok(Taken::Yes)
    }

    /// The Query is on its way.
    fn queried(&mut self, plan: Arc<Plan>, mut change: Change, started: Instant) {
        if plan.effects.contains(&Effect::DeallocateAll) {
            change = change.and(self.names.close_all());
        }
        if let Some(closed) = self.close_cursors(&plan) {
            change = change.and(closed);
        }
        if matches!(plan.kind, StatementKind::Copy | StatementKind::Several) {
            self.copy = Copy::Awaited;
        }
        self.transaction += 1;
        self.pipeline_open = false;
        self.push(Expect::Query, plan, Some(change), started);
    }

    /// A message that runs a plan is on its way.
    pub(super) fn push(
        &mut self,
        expect: Expect,
        plan: Arc<Plan>,
        change: Option<Change>,
        started: Instant,
    ) {
        let started = self.count(&plan).then_some(started);
        let all = plan.effects.contains(&Effect::DeallocateAll);
        if let Some(sharing) = &mut self.sharing {
            sharing.follow(&plan);
        }
        self.queue.push(Pending {
            unsettles: unsettles(self.known, &plan) || (self.sharing.is_some() && all),
            plan: Some(plan),
            change,
            started,
            transaction: self.transaction,
            ..Pending::new(expect)
        });
    }

    fn parse(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let mut types = std::mem::take(&mut self.types);
        let taken = match client::parse(body, &mut types) {
            Ok(parse) => self.prepare(parse.name, parse.text, &types, server),
            Err(malformed) => Ok(self.malformed(&malformed, Expect::Parse, server)),
        };
        self.types = types;
        taken
    }

    fn prepare(
        &mut self,
        name: &[u8],
        text: &[u8],
        types: &[u32],
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        match self.gate(server)? {
            Gate::Open => {}
            Gate::Later => return Ok(Taken::Later),
            Gate::Refuse(report) => {
                self.refuse(report, Expect::Parse, None, server);
                return Ok(Taken::Yes);
            }
        }
        let named = !name.is_empty();
        if named && self.names.is_taken(name) {
            self.refuse(prepared::taken(name), Expect::Parse, None, server);
            return Ok(Taken::Yes);
        }
        // Also one that fails drops the unnamed statement.
        let dropped = (!named).then(|| self.names.set_statement(b"", None));
        let Ok(text) = std::str::from_utf8(text) else {
            self.refuse(not_utf8(), Expect::Parse, dropped, server);
            return Ok(Taken::Yes);
        };
        let own_name = if named && self.sharing.is_none() {
            self.names.fresh()
        } else {
            Box::default()
        };
        let (known, basis) = (self.known, self.judging.basis());
        let failed = self.status == b'E';
        let path = self.sharing.as_ref().map(|it| Arc::clone(&it.search_path));
        let started = Instant::now();
        let judged = self.judging.judge(text, Protocol::Extended, types);
        let judged = judged.and_then(|cleared| {
            let plan = cleared.plan();
            permit(known, plan)?;
            one_statement(plan)?;
            let mut expect = Expect::Parse;
            let mut server_name = own_name;
            if let (Some(sharing), Some(path)) = (&mut self.sharing, &path) {
                server_name = pool::name_of(cleared.text(), types, path);
                let prepared = &mut sharing.prepared;
                if failed && plan.kind != StatementKind::Transaction {
                    // It is refused as it is due, and nothing may say that it went well.
                    prepared.distrust_one(&server_name);
                }
                if !shared::make_way(prepared, &server_name, &mut self.queue, server) {
                    shared::close(NOBODY, server);
                    expect = Expect::Parsed;
                }
            }
            if expect == Expect::Parse {
                server.parse(&server_name, &cleared, types);
            }
            let rewritten = (cleared.text() != text).then(|| cleared.text().into());
            Ok((Arc::clone(plan), rewritten, server_name, expect))
        });
        self.proxy
            .metrics()
            .judge_seconds
            .observe(started.elapsed());
        let (plan, rewritten, server_name, expect) = match judged {
            Ok(judged) => judged,
            Err(denial) => {
                self.deny(denial, Expect::Parse, dropped, server);
                return Ok(Taken::Yes);
            }
        };
        let statement = Arc::new(Statement {
            server_name,
            text: text.into(),
            declared: types.into(),
            rewritten,
            plan,
            basis,
        });
        let change = self.names.set_statement(name, Some(Arc::clone(&statement)));
        self.pipeline_open = true;
        let prepares = self.sharing.is_some() && expect == Expect::Parse;
        self.queue.push(Pending {
            shared: prepares.then(|| (*statement.server_name).into()),
            statement: Some(statement),
            change: Some(dropped.unwrap_or(change)),
            transaction: self.transaction,
            ..Pending::new(expect)
        });
        Ok(Taken::Yes)
    }

    /// An extended message is on its way.
    fn sent(&mut self, expect: Expect, change: Option<Change>) {
        self.pipeline_open = true;
        self.queue.push(Pending {
            change,
            transaction: self.transaction,
            ..Pending::new(expect)
        });
    }

    fn bind(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let mut spans = std::mem::take(&mut self.spans);
        let taken = match client::bind(body, &mut spans) {
            Ok(bind) => self.bind_to(&bind, &spans, server),
            Err(malformed) => Ok(self.malformed(&malformed, Expect::Bind, server)),
        };
        self.spans = spans;
        taken
    }

    fn bind_to(
        &mut self,
        bind: &client::Bind<'_>,
        spans: &Spans,
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        let ends = self.ends_failed(self.names.statement(bind.statement));
        match self.gate_unless(ends, server)? {
            Gate::Open => {}
            Gate::Later => return Ok(Taken::Later),
            Gate::Refuse(report) => {
                self.refuse(report, Expect::Bind, None, server);
                return Ok(Taken::Yes);
            }
        }
        let Some(statement) = self.names.statement(bind.statement).map(Arc::clone) else {
            let report = self.no_statement(bind.statement);
            self.refuse(report, Expect::Bind, None, server);
            return Ok(Taken::Yes);
        };
        let checked = self.check_bind(&statement, bind, spans);
        let checked = checked.and_then(|hidden| {
            self.ensure_prepared(&statement, server)?;
            Ok(hidden)
        });
        match checked {
            Ok(hidden) => self.write_bind(&statement, bind, spans.len(), hidden, server),
            Err(denial) => {
                self.deny(denial, Expect::Bind, None, server);
                return Ok(Taken::Yes);
            }
        }
        let change = self
            .names
            .open_portal(bind.portal, statement, self.transaction + 1);
        self.sent(Expect::Bind, Some(change));
        Ok(Taken::Yes)
    }

    /// Checks a Bind, and puts the hidden values, each with its length, into `self.hidden`. Gives
    /// how many there are.
    fn check_bind(
        &mut self,
        statement: &Statement,
        bind: &client::Bind<'_>,
        spans: &Spans,
    ) -> Result<usize, Denial> {
        if bind.portal.starts_with(b"pgwarden_") {
            let denial = Denial::new(DenyReason::IdentityGuard, "the portal's name is reserved");
            return Err(denial.hint("Choose a name that does not begin with pgwarden_."));
        }
        let plan = self.judging.plan_of(statement)?;
        permit(self.known, &plan)?;
        let values = &self.judging.access().values;
        plan.check_bind(&bind.parameters(spans), values)?;
        if spans.len() + plan.hidden.len() > PARAMETERS_MAX {
            let text = "the statement has too many parameters";
            return Err(Denial::new(DenyReason::TooComplex, text));
        }
        self.hidden.clear();
        // One format code is that of all values; otherwise ours are texts.
        let binary = bind.formats.len() == 2 && bind.is_binary(0);
        for slot in &plan.hidden {
            let Some(value) = values.get(*slot) else {
                let text = "the token lacks the claim that scopes the table";
                return Err(Denial::new(DenyReason::MissingClaim, text));
            };
            let at = self.hidden.len();
            self.hidden.extend_from_slice(&[0; 4]);
            if binary {
                value.write_binary(&mut self.hidden);
            } else {
                value.write_text(&mut self.hidden);
            }
            let length = u32::try_from(self.hidden.len() - at - 4).unwrap_or(u32::MAX);
            if let Some(field) = self.hidden.get_mut(at..at + 4) {
                field.copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(plan.hidden.len())
    }

    fn write_bind(
        &self,
        statement: &Statement,
        bind: &client::Bind<'_>,
        own: usize,
        hidden: usize,
        server: &mut Outbox,
    ) {
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes();
        let codes = bind.formats.len() / 2;
        // A list of codes goes on for the hidden values, with 0 for text.
        let more = if codes > 1 { hidden } else { 0 };
        server.forward_parts(
            Forward::Bind,
            &[
                bind.portal,
                &[0],
                statement.server_name.as_bytes(),
                &[0],
                &count(codes + more),
                bind.formats,
                &vec![0; more * 2],
                &count(own + hidden),
                bind.values,
                &self.hidden,
                bind.results,
            ],
        );
    }

    fn describe(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let target = match client::target(body) {
            Ok(target) => target,
            Err(malformed) => {
                return Ok(self.malformed(&malformed, Expect::DescribePortal, server));
            }
        };
        match target {
            Target::Portal(name) => {
                if name.starts_with(b"pgwarden_") {
                    self.refuse(no_portal(name), Expect::DescribePortal, None, server);
                } else {
                    // A portal or a cursor of DECLARE; the server knows.
                    server.forward(Forward::Describe, body);
                    self.sent(Expect::DescribePortal, None);
                }
            }
            Target::Statement(name) => match self.names.statement(name).map(Arc::clone) {
                Some(statement) => return self.describe_statement(&statement, server),
                None => {
                    let expect = Expect::DescribeStatement { hidden: 0 };
                    let report = self.no_statement(name);
                    self.refuse(report, expect, None, server);
                }
            },
        }
        Ok(Taken::Yes)
    }

    fn describe_statement(
        &mut self,
        statement: &Arc<Statement>,
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        let hidden = statement.plan.hidden.len();
        let expect = Expect::DescribeStatement { hidden };
        if self.sharing.is_some() {
            // It may have to be prepared, and names are looked up then.
            match self.gate(server)? {
                Gate::Open => {}
                Gate::Later => return Ok(Taken::Later),
                Gate::Refuse(report) => {
                    self.refuse(report, expect, None, server);
                    return Ok(Taken::Yes);
                }
            }
            if let Err(denial) = self.ensure_prepared(statement, server) {
                self.deny(denial, expect, None, server);
                return Ok(Taken::Yes);
            }
        }
        let name = statement.server_name.as_bytes();
        server.forward_parts(Forward::Describe, &[b"S", name, &[0]]);
        self.sent(expect, None);
        Ok(Taken::Yes)
    }

    fn execute(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let name = match client::execute(body) {
            Ok(name) => name,
            Err(malformed) => return Ok(self.malformed(&malformed, Expect::Execute, server)),
        };
        let ends = self.ends_failed(self.names.portal(name));
        match self.gate_unless(ends, server)? {
            Gate::Open => {}
            Gate::Later => return Ok(Taken::Later),
            Gate::Refuse(report) => {
                self.refuse(report, Expect::Execute, None, server);
                return Ok(Taken::Yes);
            }
        }
        let Some(statement) = self.names.portal(name).map(Arc::clone) else {
            self.refuse(no_portal(name), Expect::Execute, None, server);
            return Ok(Taken::Yes);
        };
        let started = Instant::now();
        let plan = self.judging.plan_of(&statement);
        let plan = plan.and_then(|plan| {
            permit(self.known, &plan)?;
            cursors::check_fetches(&self.names, &plan)?;
            Ok(plan)
        });
        let plan = match plan {
            Ok(plan) => plan,
            Err(denial) => {
                self.deny(denial, Expect::Execute, None, server);
                return Ok(Taken::Yes);
            }
        };
        if names_a_statement(&plan) {
            return Ok(self.execute_by_name(body, &statement, &plan, started, server));
        }
        server.forward(Forward::Execute, body);
        let all = plan.effects.contains(&Effect::DeallocateAll);
        let change = if all {
            Some(self.names.close_all())
        } else {
            self.close_cursors(&plan)
        };
        if plan.kind == StatementKind::Copy {
            // The client's Sync has to wait for the end of the COPY, and the server's answer must
            // not wait for the Sync.
            server.forward(Forward::Flush, &[]);
            self.copy = Copy::Awaited;
        }
        self.pipeline_open = true;
        self.push(Expect::Execute, plan, change, started);
        Ok(Taken::Yes)
    }

    /// A message of the extended protocol whose body can't be read is an error like any other: the
    /// session goes on after Sync.
    fn malformed(&mut self, malformed: &Malformed, expect: Expect, server: &mut Outbox) -> Taken {
        let sqlstate = if malformed.0.starts_with("unsupported format code") {
            "22023"
        } else {
            "08P01"
        };
        self.refuse(Report::error(sqlstate, malformed.0), expect, None, server);
        Taken::Yes
    }

    fn close(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let change = match client::target(body)? {
            Target::Portal(name) => {
                server.forward(Forward::Close, body);
                self.names.close_portal(name)
            }
            Target::Statement(name) => {
                let of_sql = self.names.prepared(name).is_some();
                // To close what does not exist is no error.
                let server_name = match self.names.statement(name) {
                    Some(statement) => self.name_to_close(statement).as_bytes(),
                    None if of_sql => name,
                    None => NOBODY.as_bytes(),
                };
                server.forward_parts(Forward::Close, &[b"S", server_name, &[0]]);
                if of_sql {
                    self.names.set_prepared(name, None)
                } else {
                    self.names.set_statement(name, None)
                }
            }
        };
        self.sent(Expect::Close, Some(change));
        Ok(Taken::Yes)
    }

    fn sync(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        if !body.is_empty() {
            return Err(Stop::protocol("invalid message format"));
        }
        let skipped = std::mem::replace(&mut self.skip, Skip::Nothing);
        self.pipeline_open = false;
        let alone = self.sharing.as_ref().is_some_and(|it| !it.attached);
        if skipped == Skip::Local || alone {
            answer::ready(&mut self.to_client, self.status);
            return Ok(Taken::Yes);
        }
        server.forward(Forward::Sync, &[]);
        self.transaction += 1;
        self.queue.push(Pending {
            // It may end the transaction in which settings were changed.
            unsettles: self.known.in_transaction,
            transaction: self.transaction,
            ..Pending::new(Expect::Sync)
        });
        Ok(Taken::Yes)
    }

    fn no_statement(&self, name: &[u8]) -> Report {
        match self.names.prepared(name) {
            Some(_) => prepared::of_sql(),
            None => no_statement(name),
        }
    }

    fn function_call(&mut self, server: &mut Outbox) -> Result<Taken, Stop> {
        let denial = Denial::new(
            DenyReason::UnsupportedStatement,
            "FunctionCall messages are not supported",
        );
        let denial = denial.hint("Call the function in a SELECT.");
        self.deny(denial, Expect::Query, None, server);
        Ok(Taken::Yes)
    }
}

/// Keeps the text of a Query for the positions of its errors.
pub(super) fn keep_text(
    (number, last): &mut (u64, String),
    transaction: u64,
    text: &str,
    plan: &Plan,
) {
    last.clear();
    if plan.verdict == Verdict::Rewrite && text.len() <= KEPT_TEXT_BYTES {
        last.push_str(text);
        *number = transaction + 1;
    }
}

/// What may not run in the session's state.
fn permit(known: Known, plan: &Plan) -> Result<(), Denial> {
    let text = match plan.kind {
        StatementKind::Transaction | StatementKind::Empty => return Ok(()),
        // COMMIT or ROLLBACK in the middle would bring other settings back.
        StatementKind::Several if known.in_transaction => {
            "several statements at once are not supported after SET search_path in a transaction"
        }
        _ if !known.settled => {
            "in a failed transaction that has changed settings only its end is supported"
        }
        _ => return Ok(()),
    };
    let denial = Denial::new(DenyReason::UnsupportedStatement, text);
    Err(denial.hint("Send the statements one by one."))
}

fn one_statement(plan: &Plan) -> Result<(), Denial> {
    if plan.statements <= 1 {
        return Ok(());
    }
    let mut denial = Denial::new(DenyReason::SyntaxError, "");
    denial.message = "cannot insert multiple commands into a prepared statement".to_owned();
    Err(denial)
}

/// Whether claims or facts may be others once the plan has run.
fn unsettles(known: Known, plan: &Plan) -> bool {
    let changes = |effect: &Effect| matches!(effect, Effect::SearchPath | Effect::ClaimsLost);
    let ends = matches!(
        plan.kind,
        StatementKind::Transaction | StatementKind::Several
    );
    plan.effects.iter().any(changes) || (known.in_transaction && ends)
}

fn unknown(tag: u8) -> Stop {
    let message = format!("invalid frontend message type {tag}");
    Stop::Fatal(Report::fatal("08P01", message))
}

fn not_utf8() -> Report {
    Report::error("22021", "invalid byte sequence for encoding \"UTF8\"")
}

pub(super) fn no_statement(name: &[u8]) -> Report {
    if name.is_empty() {
        return Report::error("26000", "unnamed prepared statement does not exist");
    }
    let name = String::from_utf8_lossy(name);
    let message = format!("prepared statement \"{name}\" does not exist");
    Report::error("26000", message)
}

fn no_portal(name: &[u8]) -> Report {
    let name = String::from_utf8_lossy(name);
    Report::error("34000", format!("portal \"{name}\" does not exist"))
}
