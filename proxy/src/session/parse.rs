//! Parse: a statement is judged when it gets its name.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::plan::RelationUse;
use pgwarden_policy::{Cleared, Denial, DenyReason, Plan, Protocol, StatementKind};

use super::ahead::{Ahead, may_follow};
use super::gate::{Gate, permit};
use super::names::{Change, Statement};
use super::query::not_utf8;
use super::queue::{Expect, Pending};
use super::refusing::NOBODY;
use super::shared;
use super::trial::Trial;
use super::unread::permit_absent;
use super::{Session, Stop, Taken};
use crate::backend::Outbox;
use crate::pool::{self, Name};
use crate::wire::client::{self};

/// Longer Query texts are not kept for the positions of their errors.
const KEPT_TEXT_BYTES: usize = 64 << 10;

/// What is parsed in the place of what is there already, where a Parse does more than to prepare: in a transaction that
/// may have failed, where it is refused, and behind a write that may have stopped half-way, which it shows.
const NOTHING: &str = "SELECT";

impl Session {
    pub(super) fn parse(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let mut types = std::mem::take(&mut self.types);
        let taken = match client::parse(body, &mut types) {
            Ok(parse) => self.prepare(parse.name, parse.text, &types, server),
            Err(malformed) => Ok(self.malformed(&malformed, Expect::Parse, server)),
        };
        self.types = types;
        taken
    }

    pub(super) fn prepare(
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
        if let Some(report) = named.then(|| self.no_room_for(name)).flatten() {
            self.refuse(report, Expect::Parse, None, server);
            return Ok(Taken::Yes);
        }
        let before = self.names.statement(name).map(Arc::clone);
        // Also one that fails drops the unnamed statement.
        let dropped = (!named).then(|| self.names.set_statement(b"", None));
        let Ok(text) = std::str::from_utf8(text) else {
            self.refuse(not_utf8(), Expect::Parse, dropped, server);
            return Ok(Taken::Yes);
        };
        let given = match self.given(text) {
            Ok(given) => given,
            Err(denial) => {
                self.deny(denial, Expect::Parse, dropped, server);
                return Ok(Taken::Yes);
            }
        };
        let text = given.as_ref().map_or(text, |given| given.stand_in());
        let own_name = if named && self.sharing.is_none() {
            self.names.fresh()
        } else {
            Name::default()
        };
        let begins = !named && given.is_none() && self.may_try();
        if begins {
            self.era.rest();
        }
        if self.trial == Trial::Given {
            self.trial = Trial::No;
        }
        let registers = begins || self.sharing.is_some();
        let (known, basis) = (self.known, self.judging.basis());
        let whose = (self.who.session, basis.engine << 32 | basis.path);
        let passing = self.judging.is_passing();
        let failed = self.status == b'E';
        let halted = self.sharing.as_ref().is_some_and(|it| it.halted);
        let doubtful = halted || self.queue.may_fail_a_transaction(self.status);
        let mut prepares = true;
        let path = self.sharing.as_ref().map(|it| Arc::clone(&it.search_path));
        let under = registers.then(|| self.under());
        let catalog = (
            self.judging.generation(),
            self.judging.database().ddl_count(),
        );
        let has_unread = self.has_unread();
        let started = Instant::now();
        let judged = self.judging.judge(text, Protocol::Extended, types);
        let judged = judged.and_then(|cleared| {
            let plan = cleared.plan();
            permit(known, plan)?;
            one_statement(plan)?;
            permit_absent(has_unread, plan)?;
            if known.ahead == Ahead::Alone && !may_follow(plan) {
                return Ok(None);
            }
            let mut expect = Expect::Parse;
            let mut server_name = own_name;
            if let (Some(sharing), Some(path), Some(under)) = (&mut self.sharing, &path, under) {
                let whose = (passing || uses_temporary(plan)).then_some(whose);
                server_name = pool::name_of(cleared.text(), types, path, catalog, under, whose);
                // In a failed transaction it is refused as it is due, unless it ends it, and nothing may say that
                // it went well; and what ran unread may have changed any setting.
                let may_end = doubtful && plan.kind == StatementKind::Transaction;
                let prepared = &mut self.prepared;
                if failed || may_end || sharing.unread {
                    prepared.distrust_one(&server_name);
                }
                let (stray, queue) = (sharing.strayed, &mut self.queue);
                prepares = shared::make_way(prepared, &server_name, under, stray, queue, server);
                if !prepares && doubtful {
                    server.own_parse("", NOTHING, &[]);
                } else if !prepares {
                    shared::close(NOBODY, server);
                    expect = Expect::Parsed;
                }
            } else if let Some(under) = under
                && may_follow(plan)
                && !uses_temporary(plan)
            {
                let name = pool::name_of(cleared.text(), types, &[], catalog, under, Some(whose));
                if self.prepared.is_ready(&name) {
                    (server_name, expect) = (name, Expect::Tried);
                } else if self.prepared.comes_again(&name) {
                    let (prepared, queue) = (&mut self.prepared, &mut self.queue);
                    shared::make_way(prepared, &name, under, false, queue, server);
                    server_name = name;
                }
            }
            if expect == Expect::Parse && prepares {
                server.parse(&server_name, &cleared, types);
            }
            let under = under.filter(|_| !server_name.is_empty());
            let same = before.filter(|it| {
                given.is_none()
                    && it.token.is_none()
                    && (it.server_name, it.under, it.basis) == (server_name, under, basis)
                    && (&*it.text, &*it.declared) == (text, types)
                    && it.sent() == cleared.text()
                    && Arc::ptr_eq(&it.plan, plan)
            });
            // What comes again and again is kept as it is.
            let statement = same.unwrap_or_else(|| {
                Arc::new(Statement {
                    server_name,
                    under,
                    text: text.into(),
                    declared: types.into(),
                    rewritten: (cleared.text() != text).then(|| cleared.text().into()),
                    plan: Arc::clone(plan),
                    basis,
                    token: given.clone(),
                })
            });
            Ok(Some((statement, expect)))
        });
        self.proxy
            .metrics()
            .judge_seconds
            .observe(started.elapsed());
        let (statement, expect) = match judged {
            Ok(Some(judged)) => judged,
            Ok(None) => {
                if let Some(dropped) = dropped {
                    self.names.undo(dropped);
                }
                self.end_ahead(server);
                return Ok(Taken::Later);
            }
            Err(_) if self.may_be_own() => {
                if let Some(dropped) = dropped {
                    self.names.undo(dropped);
                }
                return self.look_again(server);
            }
            Err(_) if self.may_be_unread() => {
                if let Some(dropped) = dropped {
                    self.names.undo(dropped);
                }
                self.end_ahead(server);
                return Ok(Taken::Later);
            }
            Err(denial) => {
                self.deny(denial, Expect::Parse, dropped, server);
                return Ok(Taken::Yes);
            }
        };
        let prepares = prepares && statement.under.is_some() && expect == Expect::Parse;
        if expect == Expect::Tried {
            self.trial = Trial::Held;
        }
        self.followed();
        let change = self.names.set_statement(name, Some(Arc::clone(&statement)));
        self.pipeline_open = true;
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
    pub(super) fn sent(&mut self, expect: Expect, change: Option<Change>) {
        self.pipeline_open = true;
        self.queue.push(Pending {
            change,
            transaction: self.transaction,
            ..Pending::new(expect)
        });
    }
}

/// Keeps the text of a Query for the positions of its errors, if another is sent in its place.
pub(super) fn keep_text(
    (number, last): &mut (u64, String),
    transaction: u64,
    text: &str,
    cleared: &Cleared<'_>,
) {
    last.clear();
    if cleared.text() != text {
        *number = transaction + 1;
        if text.len() <= KEPT_TEXT_BYTES {
            last.push_str(text);
        }
    }
}

/// A statement over temporary tables is prepared for one session, and for the tables of now: those
/// of another may have the same name and other columns.
pub(super) fn uses_temporary(plan: &Plan) -> bool {
    let temporary = |relation: &RelationUse| relation.name.starts_with("pg_temp.");
    plan.relations.iter().any(temporary)
}

pub(super) fn one_statement(plan: &Plan) -> Result<(), Denial> {
    if plan.statements <= 1 {
        return Ok(());
    }
    let mut denial = Denial::new(DenyReason::SyntaxError, "");
    denial.message = "cannot insert multiple commands into a prepared statement".to_owned();
    Err(denial)
}
