//! A Query that finds rows by a key, sent as a Bind of a statement that the server has prepared.
//!
//! The engine tells which Queries are such ([`pgwarden_policy::Lookup`]). One whose statement has come
//! before is sent as Bind, Describe, Execute and Sync, with a Parse of our own before it where the server
//! connection lacks the statement; the answers are those of a Query but for one or two, which are swallowed.
//!
//! What a Query never meets must not be met by this one: until the server has taken the Bind, it may
//! refuse the statement (DDL behind our back gave it other columns), or a value in other words than those that it has for
//! a literal. Then all is taken back, as [`super::trial`] does it, and the Query itself is sent.

use std::sync::Arc;

use pgwarden_policy::Lookup;

use super::Session;
use super::ahead::Ahead;
use super::queue::{Expect, Pending, Queue};
use super::server_error::hints_at_change;
use super::shared;
use super::trial::{Trial, may_be_of_parse};
use crate::backend::{Forward, Outbox};
use crate::pool::{self, Name, Prepared, Under};
use crate::wire::report;

/// All that a lookup's statement depends on but its text.
pub(super) struct Origin {
    path: Option<Arc<[String]>>,
    catalog: (u64, u64),
    under: Under,
    whose: Option<(u64, u64)>,
    stray: bool,
}

impl Origin {
    /// The statement's name on the server.
    pub(super) fn name(&self, lookup: &Lookup<'_>) -> Name {
        let path = self.path.as_deref().unwrap_or_default();
        pool::name_of(
            lookup.text(),
            lookup.types(),
            path,
            self.catalog,
            self.under,
            self.whose,
        )
    }

    /// Sends a lookup, unless its statement comes for the first time. Gives whether it has.
    pub(super) fn send(
        &self,
        lookup: &Lookup<'_>,
        prepared: &mut Prepared,
        queue: &mut Queue,
        server: &mut Outbox,
    ) -> bool {
        let name = self.name(lookup);
        if !prepared.is_ready(&name) {
            if !prepared.comes_again(&name) {
                return false;
            }
            shared::make_way(prepared, &name, self.under, self.stray, queue, server);
            server.parse_lookup(&name, lookup);
            queue.push(Pending {
                shared: Some((*name).into()),
                ..Pending::new(Expect::Prepare)
            });
        }
        server.bind_lookup(&name, lookup);
        server.forward(Forward::Describe, b"P\0");
        server.forward(Forward::Execute, &[0; 5]);
        server.forward(Forward::Sync, &[]);
        true
    }
}

impl Session {
    /// What a lookup's statement would depend on, if a Query can be one: nothing may be lost when it is taken
    /// back.
    pub(super) fn origin(&mut self) -> Option<Origin> {
        let known = &self.known;
        let begins = match known.ahead {
            Ahead::No => self.is_idle() && !known.in_transaction,
            // They are taken back with it, and sent again with the Query.
            Ahead::Alone => {
                self.status == b'I' && !self.pipeline_open && self.queue.all(Expect::is_own)
            }
            Ahead::Followed => false,
        };
        let begins = begins && known.settled && self.trial == Trial::No;
        if !begins || !self.judging.access().enforce || self.judging.is_passing() {
            return None;
        }
        if self.sharing.as_ref().is_some_and(|sharing| sharing.unread) {
            return None;
        }
        if self.sharing.is_none() {
            self.era.rest();
        }
        Some(self.origin_of_statements())
    }

    /// The same for a session that need not have a server connection.
    pub(super) fn origin_of_statements(&self) -> Origin {
        let basis = self.judging.basis();
        let sharing = self.sharing.as_deref();
        Origin {
            path: sharing.map(|it| Arc::clone(&it.search_path)),
            catalog: (
                self.judging.generation(),
                self.judging.database().ddl_count(),
            ),
            under: self.under(),
            whose: sharing
                .is_none()
                .then_some((self.who.session, basis.engine << 32 | basis.path)),
            stray: sharing.is_some_and(|it| it.strayed),
        }
    }

    /// The server has taken the Bind: from here on its errors are those of the Query.
    pub(super) fn lookup_succeeds(&mut self) {
        self.trial = Trial::No;
    }

    /// The server has refused a message. Gives whether it was one of a lookup, which may be why; then all
    /// is taken back.
    pub(super) fn lookup_fails(&mut self, body: &[u8]) -> bool {
        if self.trial != Trial::Looking {
            return false;
        }
        let sqlstate = report::field(body, b'C').unwrap_or_default();
        let (names, prepared) = (&mut self.names, &mut self.prepared);
        if !may_be_of_parse(sqlstate) {
            self.queue.skip_to(Expect::Looked, names, prepared);
            self.trial = Trial::No;
            return false;
        }
        let synced = self.queue.take_back(names, prepared);
        if self.known.ahead == Ahead::Followed {
            self.known.lose();
        }
        if hints_at_change(sqlstate, body) || sqlstate == b"26000" {
            self.judging.database().suspect_change();
            self.prepared.distrust();
            if let Some(sharing) = &mut self.sharing {
                sharing.distrusts = !sharing.attached;
            }
        }
        self.trial = Trial::Refused { synced };
        true
    }
}
