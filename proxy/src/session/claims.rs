//! The claims and the facts: what must be true of the server connection before a statement runs.
//!
//! `request.jwt.claims` is set, and the effective `search_path` asked for, by one statement of our
//! own before the client's first, and again whenever either may have changed. Its replies are
//! swallowed. Its statement and portal have names of their own, so that the client's unnamed ones
//! stay.

use pgwarden_schema::temporary;

use super::ahead::Ahead;
use super::judging::Judging;
use super::queue::{Expect, Pending};
use super::{Session, Stop};
use crate::backend::{Forward, Outbox};
use crate::wire::{Reader, Report};

/// The name of our own statement and portal.
const NAME: &str = "pgwarden_claims";

const SET_CLAIMS: &str = "SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(false)), \
    pg_catalog.set_config('request.jwt.claims', $1, false)";

/// With `SET ROLE`, which `"$user"` in the search path depends on.
const SET_CLAIMS_AND_ROLE: &str = "SELECT pg_catalog.array_to_json(CASE WHEN \
    pg_catalog.set_config('role', $2, false) IS NULL THEN NULL \
    ELSE pg_catalog.current_schemas(false) END), \
    pg_catalog.set_config('request.jwt.claims', $1, false)";

const TEXT: u32 = 25;

/// The same as a prepared statement, which stays on a server connection of transaction mode.
pub(super) struct Kept {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) types: &'static [u32],
}

/// The one that sets the role, too, or not.
pub(super) fn kept(with_role: bool) -> Kept {
    match with_role {
        true => Kept {
            name: "pgwarden_claims_and_role",
            text: SET_CLAIMS_AND_ROLE,
            types: &[TEXT; 2],
        },
        false => Kept {
            name: "pgwarden_kept_claims",
            text: SET_CLAIMS,
            types: &[TEXT],
        },
    }
}

impl Kept {
    /// Runs it in a portal of its name, which is closed.
    pub(super) fn run<'v>(&self, values: impl Iterator<Item = &'v str>, server: &mut Outbox) {
        server.own_bind(self.name, values);
        let name = self.name.as_bytes();
        server.forward_parts(Forward::Execute, &[name, &[0; 5]]);
        server.forward_parts(Forward::Close, &[b"P", name, &[0]]);
    }
}

/// What is known of the server connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The claims on it are the session's, and the `search_path` is that of the facts.
    pub(super) settled: bool,
    /// What the server was asked last to put in force, and to tell, is the session's still.
    asked: bool,
    /// Cancels and time-outs that have hit a batch of ours since the server last answered the client.
    pub(super) retries: u8,
    /// A message of the client waits until it is answered.
    pub(super) awaited: bool,
    /// Something of it was changed inside the open transaction, so that its end may undo it.
    pub(super) in_transaction: bool,
    /// What was known still holds, but the schemas of the `search_path` may be others.
    confirms: bool,
    /// The server connection is to a standby: nothing but what it may answer goes there.
    pub(super) on_standby: bool,
    /// The tenant may be another in the next transaction.
    pub(super) floats: bool,
    /// The claims are part of the client's transaction, and nothing in it has failed.
    pub(super) ahead: Ahead,
    /// In session mode: a role was put in force.
    roled: bool,
    /// Other sessions used the server connection, and this one has taken nothing from a sequence on
    /// it yet.
    pub(super) foreign_sequences: bool,
}

impl Known {
    /// Of a server connection that nothing is known of.
    pub(super) fn of(judging: &Judging) -> Self {
        Self {
            floats: judging.floats(),
            ..Self::default()
        }
    }

    /// The catalogue has changed: the facts must be asked for again, although nothing of the
    /// session has changed them.
    pub(super) fn distrust(&mut self) {
        self.ahead = Ahead::No;
        self.confirms = self.settled;
        self.settled = false;
        self.asked = false;
    }

    /// Claims or facts may be others now.
    pub(super) fn lose(&mut self) {
        self.ahead = Ahead::No;
        self.confirms = false;
        self.settled = false;
        self.asked = false;
    }

    /// The claims are on their way, and the question for the facts.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    /// The server has answered. What has changed meanwhile was not in the question: it is asked again.
    pub(super) fn answer(&mut self) {
        self.settled |= std::mem::take(&mut self.asked);
    }
}

impl Session {
    /// Sends our own statement. Only where no reply is outstanding. Inside a pipeline of the
    /// client's, Flush takes the place of Sync, which would end its transaction.
    pub(super) fn ask_facts(&mut self, server: &mut Outbox) {
        if self.sharing.is_some() && !self.pipeline_open && self.status == b'I' {
            return self.ask_setup(server);
        }
        self.send_claims(server);
        if self.pipeline_open {
            server.forward(Forward::Flush, &[]);
        } else {
            self.own_sync(server);
        }
        self.known.ask();
        // What is set again to the same stays the same, however the transaction ends.
        if !std::mem::take(&mut self.known.confirms) {
            self.known.in_transaction = self.pipeline_open || self.status == b'T';
        }
    }

    /// Sends a Sync of our own.
    pub(super) fn own_sync(&mut self, server: &mut Outbox) {
        server.forward(Forward::Sync, &[]);
        self.transaction += 1;
        self.queue.push(Pending {
            transaction: self.transaction,
            ..Pending::new(Expect::OwnSync)
        });
    }

    /// Closes what a batch that has failed half-way may have left. To close nothing is no error.
    pub(super) fn close_leftover(&mut self, server: &mut Outbox) {
        if std::mem::take(&mut self.leftover) {
            server.forward_parts(Forward::Close, &[b"S", NAME.as_bytes(), &[0]]);
            self.queue.push(Pending::new(Expect::OwnClose));
        }
    }

    /// The same where nothing else is to be sent: the server connection may go to somebody else.
    pub(crate) fn clear_leftover(&mut self, server: &mut Outbox) {
        if self.leftover && self.is_idle() && self.uncommitted.failure().is_none() {
            self.close_leftover(server);
            self.own_sync(server);
        }
    }

    /// Sends the statement itself, without a Sync.
    pub(super) fn send_claims(&mut self, server: &mut Outbox) {
        self.close_leftover(server);
        if self.temporaries {
            own_statement(server, temporary::QUERY, &[]);
            self.owe(Expect::OwnTemporaries);
        }
        self.ask_uncommitted(server);
        let claims = self.judging.identity().claims_json();
        let roled = match &mut self.sharing {
            Some(sharing) => &mut sharing.roled,
            None => &mut self.known.roled,
        };
        // The policy may have taken the role away that is in force.
        let role = self.judging.access().set_role.as_deref();
        let role = role.or(roled.then_some("none"));
        *roled |= role.is_some();
        match role {
            Some(role) => own_statement(server, SET_CLAIMS_AND_ROLE, &[claims, role]),
            None => own_statement(server, SET_CLAIMS, &[claims]),
        }
        self.owe(Expect::Own);
    }

    /// The row of our own statement.
    pub(super) fn take_facts(&mut self, row: &[u8]) -> Result<(), Stop> {
        let path = search_path(row).ok_or_else(Stop::desynchronised)?;
        self.judging.set_search_path(&path);
        self.uncommitted.answered();
        let Some(sharing) = &mut self.sharing else {
            return Ok(());
        };
        if *sharing.search_path != *path {
            if self.known.ahead != Ahead::No {
                // Somebody has made or dropped a schema since it was asked for.
                self.judging.database().suspect_change();
            }
            sharing.search_path = path.into();
        }
        // What a transaction has set may be gone with it.
        let lasts = !self.known.in_transaction || self.known.ahead != Ahead::No;
        sharing.path_asked = lasts.then(|| self.judging.generation());
        Ok(())
    }

    /// The row of our question for temporary relations.
    pub(super) fn take_temporaries(&mut self, row: &[u8]) -> Result<(), Stop> {
        let told = first_column(row).and_then(temporary::read);
        let told = told.ok_or_else(Stop::desynchronised)?;
        // Inside a transaction, a rollback may bring dropped ones back.
        self.temporaries = !told.is_empty() || self.known.in_transaction;
        self.judging
            .set_temporaries(told, self.known.in_transaction);
        Ok(())
    }

    /// Our own statement has failed: there is no session without claims.
    pub(super) fn claims_failed(&self, body: &[u8]) -> Stop {
        let sqlstate = crate::wire::report::field(body, b'C').unwrap_or_default();
        let sqlstate = String::from_utf8_lossy(sqlstate);
        tracing::error!(%sqlstate, session = self.who.session, "can't set the claims");
        Stop::Fatal(Report::fatal(
            "08006",
            "pgwarden: can't set the session's claims",
        ))
    }
}

/// Runs a statement of our own with these texts; nothing of it stays.
pub(super) fn own_statement(server: &mut Outbox, text: &'static str, values: &[&str]) {
    let types = [TEXT; 2];
    server.own_parse(NAME, text, types.get(..values.len()).unwrap_or_default());
    server.forward(Forward::Bind, &bind(values));
    let portal = [NAME.as_bytes(), &[0]].concat();
    server.forward(Forward::Execute, &[&portal[..], &[0; 4]].concat());
    server.forward(Forward::Close, &[b"P", &portal[..]].concat());
    server.forward(Forward::Close, &[b"S", &portal[..]].concat());
}

/// The body of a Bind with these texts.
fn bind(values: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..2 {
        body.extend_from_slice(NAME.as_bytes());
        body.push(0);
    }
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(
        &u16::try_from(values.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    for value in values {
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    body
}

/// The first column of a DataRow, a JSON array of texts.
fn search_path(row: &[u8]) -> Option<Vec<String>> {
    serde_json::from_slice(first_column(row)??).ok()
}

/// The first column of a DataRow; `Some(None)` is NULL.
pub(super) fn first_column(row: &[u8]) -> Option<Option<&[u8]>> {
    let mut reader = Reader::new(row);
    reader.u16().ok()?;
    match reader.i32().ok()? {
        -1 => Some(None),
        length => reader.take(usize::try_from(length).ok()?).ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_path_is_read_from_the_row() {
        let mut row = vec![0, 2, 0, 0, 0, 18];
        row.extend_from_slice(br#"["public","a \"b"]"#);
        row.extend_from_slice(&[0, 0, 0, 0]);
        let wanted = vec!["public".to_owned(), "a \"b".to_owned()];
        assert_eq!(search_path(&row), Some(wanted));
        assert_eq!(search_path(&[0, 1, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(search_path(&[]), None);
    }
}
