//! Prepared statements that clients share in transaction mode.
//!
//! A client's name leads to a statement whose name on the server says what it is (see
//! [`crate::pool::name_of`]). It is prepared by the client's own Parse where the server connection
//! lacks it, so that errors come at the right message, and again, unseen, before a Bind or Describe
//! on a connection that lacks it. A Parse of what is there is sent as a Close of nothing, whose
//! answer comes in its place, or not, just as that of the Parse would.

use std::sync::Arc;

use pgwarden_policy::{Denial, DenyReason, Protocol};

use super::Session;
use super::names::Statement;
use super::queue::{Expect, Pending, Queue};
use super::refusing::NOBODY;
use crate::backend::{Forward, Outbox};
use crate::pool::{self, Name, Need, Prepared, Under};

/// Makes room for a statement, if need be. Gives whether it must be prepared.
pub(super) fn make_way(
    prepared: &mut Prepared,
    name: &str,
    under: Under,
    stray: bool,
    queue: &mut Queue,
    server: &mut Outbox,
) -> bool {
    match prepared.need(name, under, stray) {
        Need::Nothing => false,
        Need::Prepare(None) => true,
        Need::Prepare(Some(evicted)) => {
            close(&evicted, server);
            queue.push(Pending {
                shared: Some(evicted),
                ..Pending::new(Expect::Evict)
            });
            true
        }
    }
}

/// A Close; of [`NOBODY`] it does nothing.
pub(super) fn close(name: &str, server: &mut Outbox) {
    server.forward_parts(Forward::Close, &[b"S", name.as_bytes(), &[0]]);
}

impl Session {
    /// What a statement is parsed under that is sent now.
    pub(super) fn under(&self) -> Under {
        match &self.sharing {
            Some(sharing) => sharing.under(self.who.session),
            None => self.era.under(),
        }
    }

    /// What to close on the server when the client closes a statement: a shared one stays.
    pub(super) fn name_to_close<'s>(&self, statement: &'s Statement) -> &'s str {
        if statement.under.is_some() {
            NOBODY
        } else {
            &statement.server_name
        }
    }

    /// The name of a statement on the server connection, where it is prepared, unseen, if it is
    /// lacking.
    ///
    /// The server has read the statement's literals under the settings of its Parse. Where it must be
    /// prepared under others, it gets their name, as it reads its literals by them: PostgreSQL
    /// itself reads them again, under the settings of then, when the tables of a statement change.
    pub(super) fn name_on_server(
        &mut self,
        statement: &Arc<Statement>,
        server: &mut Outbox,
    ) -> Result<Name, Denial> {
        let own_name = statement.server_name;
        let Some(prepared_under) = statement.under else {
            return Ok(own_name);
        };
        if self.prepared.is_ready(&own_name) {
            return Ok(own_name);
        }
        let under = self.under();
        let name = if prepared_under == under {
            own_name
        } else {
            pool::name_under(&own_name, under)
        };
        if self.prepared.is_ready(&name) {
            return Ok(name);
        }
        let types = &statement.declared;
        let cleared = self
            .judging
            .judge(&statement.text, Protocol::Extended, types)?;
        if cleared.text() != statement.sent() {
            let text = "the statement was prepared under another policy or search_path";
            let denial = Denial::new(DenyReason::UnsupportedConstruct, text);
            return Err(denial.hint("Prepare it again."));
        }
        let stray = self.sharing.as_ref().is_some_and(|it| it.strayed);
        let (prepared, queue) = (&mut self.prepared, &mut self.queue);
        make_way(prepared, &name, under, stray, queue, server);
        server.parse(&name, &cleared, types);
        self.pipeline_open = true;
        self.queue.push(Pending {
            statement: Some(Arc::clone(statement)),
            shared: Some((*name).into()),
            transaction: self.transaction,
            ..Pending::new(Expect::Prepare)
        });
        Ok(name)
    }
}
