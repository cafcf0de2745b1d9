//! Parse: a statement is judged when it gets its name.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::plan::RelationUse;
use pgwarden_policy::{Cleared, Denial, DenyReason, Plan, Protocol, StatementKind, reads_clock};

use super::ahead::{Ahead, may_follow};
use super::gate::{Gate, permit};
use super::given::Given;
use super::names::{Basis, Change, Statement};
use super::query::not_utf8;
use super::queue::{Expect, Pending, Queue};
use super::refusing::NOBODY;
use super::shared;
use super::sharing::Sharing;
use super::trial::Trial;
use super::unread::permit_absent;
use super::{Session, Stop, Taken};
use crate::backend::Outbox;
use crate::pool::{self, Name, Prepared, Under};
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
        let circumstances = self.circumstances(named, given.is_some());
        let parse = Parse {
            text: given.as_ref().map_or(text, |given| given.stand_in()),
            types,
            given,
            before,
        };
        let started = Instant::now();
        let judged = self.judge_parse(parse, &circumstances, server);
        let judge_seconds = &self.proxy.metrics().judge_seconds;
        judge_seconds.observe(started.elapsed());
        let (statement, place) = match judged {
            Ok(Some(judged)) => judged,
            Ok(None) => return self.put_off(dropped, server),
            Err(_) if self.may_be_own() => {
                self.restore(dropped);
                return self.look_again(server);
            }
            Err(_) if self.may_be_unread() => return self.put_off(dropped, server),
            Err(denial) => {
                self.deny(denial, Expect::Parse, dropped, server);
                return Ok(Taken::Yes);
            }
        };
        if place.expect == Expect::Tried {
            self.trial = Trial::Held;
        }
        self.followed();
        let change = self.names.set_statement(name, Some(Arc::clone(&statement)));
        self.pipeline_open = true;
        self.queue.push(Pending {
            shared: place.prepares.then(|| (*place.name).into()),
            statement: Some(statement),
            change: Some(dropped.unwrap_or(change)),
            transaction: self.transaction,
            ..Pending::new(place.expect)
        });
        Ok(Taken::Yes)
    }

    /// What a Parse that comes now is placed by.
    fn circumstances(&mut self, named: bool, gives_token: bool) -> Circumstances {
        let begins = !named && !gives_token && self.may_try();
        if begins {
            self.era.rest();
        }
        if self.trial == Trial::Given {
            self.trial = Trial::No;
        }
        let own_name = if named && self.sharing.is_none() {
            self.names.fresh()
        } else {
            Name::default()
        };
        let basis = self.judging.basis();
        let halted = self.sharing.as_ref().is_some_and(|it| it.halted);
        Circumstances {
            own_name,
            under: (begins || self.sharing.is_some()).then(|| self.under()),
            whose: (self.who.session, basis.engine << 32 | basis.path),
            passing: self.judging.is_passing(),
            failed: self.status == b'E',
            doubtful: halted || self.queue.may_fail_a_transaction(self.status),
            catalog: (
                self.judging.generation(),
                self.judging.database().ddl_count(),
            ),
        }
    }

    /// Judges a statement, and sends it to its place; `None` when it has to wait.
    fn judge_parse(
        &mut self,
        parse: Parse<'_>,
        circumstances: &Circumstances,
        server: &mut Outbox,
    ) -> Result<Option<(Arc<Statement>, Place)>, Denial> {
        let (known, has_unread) = (self.known, self.has_unread());
        let basis = self.judging.basis();
        let cleared = self
            .judging
            .judge(parse.text, Protocol::Extended, parse.types)?;
        let plan = cleared.plan();
        permit(known, plan)?;
        one_statement(plan)?;
        permit_absent(has_unread, plan)?;
        if known.ahead == Ahead::Alone && !may_follow(plan) {
            return Ok(None);
        }
        let side = ServerSide {
            prepared: &mut self.prepared,
            queue: &mut self.queue,
            server,
        };
        let place = match (&self.sharing, circumstances.under) {
            (Some(sharing), Some(under)) => {
                circumstances.among_others(under, &cleared, parse.types, sharing, side)
            }
            (None, Some(under)) if is_for_long(&cleared) => {
                circumstances.by_what_it_is(under, &cleared, parse.types, side)
            }
            _ => circumstances.of_its_own(&cleared, parse.types, side),
        };
        Ok(Some((parse.statement(&cleared, &place, basis), place)))
    }

    /// The Parse comes again when what is under way has been answered.
    fn put_off(&mut self, dropped: Option<Change>, server: &mut Outbox) -> Result<Taken, Stop> {
        self.restore(dropped);
        self.end_ahead(server);
        Ok(Taken::Later)
    }

    fn restore(&mut self, dropped: Option<Change>) {
        if let Some(dropped) = dropped {
            self.names.undo(dropped);
        }
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

/// A Parse that was let in.
struct Parse<'m> {
    /// The client's text, or what stands for it.
    text: &'m str,
    types: &'m [u32],
    /// The token that it gives.
    given: Option<Arc<Given>>,
    /// What its name has meant so far.
    before: Option<Arc<Statement>>,
}

impl Parse<'_> {
    /// The statement; what comes again and again is kept as it is.
    fn statement(self, cleared: &Cleared<'_>, place: &Place, basis: Basis) -> Arc<Statement> {
        let (text, types, plan) = (self.text, self.types, cleared.plan());
        let same = self.before.filter(|it| {
            self.given.is_none()
                && it.token.is_none()
                && (it.server_name, it.under, it.basis) == (place.name, place.under, basis)
                && (&*it.text, &*it.declared) == (text, types)
                && it.sent() == cleared.text()
                && Arc::ptr_eq(&it.plan, plan)
        });
        same.unwrap_or_else(|| {
            Arc::new(Statement {
                server_name: place.name,
                under: place.under,
                text: text.into(),
                declared: types.into(),
                rewritten: (cleared.text() != text).then(|| cleared.text().into()),
                plan: Arc::clone(plan),
                basis,
                token: self.given,
            })
        })
    }
}

/// Where a statement stands on the server.
struct Place {
    name: Name,
    /// What it was parsed under, where the name says what it is.
    under: Option<Under>,
    /// What the server answers.
    expect: Expect,
    /// Such a name was sent, and is there when the answer is good.
    prepares: bool,
}

/// What goes to the server, and what is known to be there.
struct ServerSide<'s> {
    prepared: &'s mut Prepared,
    queue: &'s mut Queue,
    server: &'s mut Outbox,
}

/// What decides where a statement is placed, but for itself.
struct Circumstances {
    /// A name of the session's own, for one that has a name; empty otherwise.
    own_name: Name,
    /// What it is parsed under, where its name may say what it is.
    under: Option<Under>,
    /// Catalogue and DDL, as for [`pool::name_of`].
    catalog: (u64, u64),
    /// The session and what it judges by, for what is nobody else's.
    whose: (u64, u64),
    /// It runs what was not judged.
    passing: bool,
    /// The transaction has failed.
    failed: bool,
    /// It may have, by what is under way.
    doubtful: bool,
}

impl Circumstances {
    /// In transaction mode: whoever sends the same finds it there.
    fn among_others(
        &self,
        under: Under,
        cleared: &Cleared<'_>,
        types: &[u32],
        sharing: &Sharing,
        side: ServerSide<'_>,
    ) -> Place {
        let plan = cleared.plan();
        let (path, catalog) = (&sharing.search_path, self.catalog);
        let timed = reads_clock(cleared.text());
        let whose = (self.passing || timed || uses_temporary(plan)).then_some(self.whose);
        let name = pool::name_of(cleared.text(), types, path, catalog, under, whose);
        // In a failed transaction it is refused as it is due, unless it ends it, and nothing may say that
        // it went well; and what ran unread may have changed any setting. What it reads by the clock it reads anew.
        let may_end = self.doubtful && plan.kind == StatementKind::Transaction;
        if self.failed || may_end || timed || sharing.unread {
            side.prepared.distrust_one(&name);
        }
        let (queue, server) = (side.queue, side.server);
        let stray = sharing.strayed;
        let prepares = shared::make_way(side.prepared, &name, under, stray, queue, server);
        let mut expect = Expect::Parse;
        if prepares {
            server.parse(&name, cleared, types);
        } else if self.doubtful {
            server.own_parse("", NOTHING, &[]);
        } else {
            shared::close(NOBODY, server);
            expect = Expect::Parsed;
        }
        Place {
            name,
            under: Some(under),
            expect,
            prepares,
        }
    }

    /// In session mode, an unnamed one: the second time it gets a name, by which later ones find it.
    fn by_what_it_is(
        &self,
        under: Under,
        cleared: &Cleared<'_>,
        types: &[u32],
        side: ServerSide<'_>,
    ) -> Place {
        let whose = Some(self.whose);
        let name = pool::name_of(cleared.text(), types, &[], self.catalog, under, whose);
        let is_ready = side.prepared.is_ready(&name);
        if !is_ready {
            if !side.prepared.comes_again(&name) {
                return self.of_its_own(cleared, types, side);
            }
            shared::make_way(side.prepared, &name, under, false, side.queue, side.server);
            side.server.parse(&name, cleared, types);
        }
        Place {
            name,
            under: Some(under),
            expect: if is_ready {
                Expect::Tried
            } else {
                Expect::Parse
            },
            prepares: !is_ready,
        }
    }

    /// In session mode: as the client names it.
    fn of_its_own(&self, cleared: &Cleared<'_>, types: &[u32], side: ServerSide<'_>) -> Place {
        side.server.parse(&self.own_name, cleared, types);
        Place {
            name: self.own_name,
            under: None,
            expect: Expect::Parse,
            prepares: false,
        }
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

/// Whether an unnamed statement that comes again may be what it was the last time.
fn is_for_long(cleared: &Cleared<'_>) -> bool {
    let plan = cleared.plan();
    may_follow(plan) && !uses_temporary(plan) && !reads_clock(cleared.text())
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
