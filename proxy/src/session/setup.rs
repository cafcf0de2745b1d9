//! Putting a session's setup in force on a server connection, and asking for what has become of it.
//!
//! All goes in one batch, whose replies are swallowed: the sweep, if somebody else's settings or
//! traces may be left; the session's own settings; its claims; and, after a transaction that may
//! have changed settings or cursors, the question for them. Nothing of the client's is sent before
//! the batch was answered.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::ahead::Ahead;
use super::queue::{Expect, Pending};
use super::sharing::{Replay, Told};
use super::{Passed, Session, Stop, claims};
use crate::backend::{Outbox, RESEED};
use crate::wire::{Reader, report};

/// So many cancels or time-outs in a row may hit the batch.
const RETRIES: u8 = 3;

/// Leaves nothing of the last session but prepared statements, which have names of our own, and the
/// claims, which are set right behind it.
static SWEEP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "RESET SESSION AUTHORIZATION; RESET ALL; CLOSE ALL; UNLISTEN *; \
         SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; {RESEED}"
    )
});

/// Puts settings in force.
const REPLAY: &str = "SELECT pg_catalog.count(pg_catalog.set_config(key, value, false)) \
    FROM pg_catalog.json_each_text($1::pg_catalog.json)";

/// The settings of these names that were set since the start-up, and whether there are cursors,
/// channels and advisory locks. Settings with a dot may be unknown to `pg_settings`.
static ASK: LazyLock<String> = LazyLock::new(|| ask("false"));

/// The same after the session has taken an advisory lock. It is not part of the other, since the server
/// holds up everybody's locks while it lists them.
static ASK_LOCKS: LazyLock<String> = LazyLock::new(|| {
    ask(
        "EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
         AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())",
    )
});

fn ask(locks: &str) -> String {
    format!("{ASKED}, {locks}")
}

const ASKED: &str = "SELECT (SELECT pg_catalog.json_object_agg(it.name, it.value) FROM (\
    SELECT asked.name, CASE WHEN s.name IS NULL \
    THEN pg_catalog.current_setting(asked.name, true) \
    WHEN s.setting IS DISTINCT FROM s.reset_val OR s.source OPERATOR(pg_catalog.=) 'session' \
    THEN s.setting END AS value \
    FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) AS asked (name) \
    LEFT JOIN pg_catalog.pg_settings AS s \
    ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) pg_catalog.lower(asked.name)) AS it \
    WHERE it.value IS NOT NULL), \
    EXISTS (SELECT FROM pg_catalog.pg_cursors AS c WHERE c.is_holdable), \
    EXISTS (SELECT FROM pg_catalog.pg_listening_channels())";

impl Session {
    /// Sends the batch. Only where no reply is outstanding, and outside of a transaction.
    pub(super) fn ask_setup(&mut self, server: &mut Outbox) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        if !std::mem::replace(&mut sharing.placed, true) {
            // A session's own traces stay when only a RESET of its is followed.
            let restores = std::mem::take(&mut sharing.restores);
            if !restores && std::mem::take(&mut sharing.unswept) {
                server.own_query(&SWEEP);
                sharing.roled = false;
                if std::mem::take(&mut sharing.strayed) {
                    self.prepared.distrust_strays();
                }
                sharing.in_place = None;
                self.transaction += 1;
                self.queue.push(Pending {
                    transaction: self.transaction,
                    ..Pending::new(Expect::OwnQuery)
                });
                sharing.muted = true;
            }
            self.close_leftover(server);
            let Some(sharing) = &mut self.sharing else {
                return;
            };
            if !sharing.setup.settings.is_empty() {
                let settings: HashMap<_, _> = sharing.setup.settings.iter().cloned().collect();
                let settings = serde_json::to_string(&settings).unwrap_or_default();
                claims::own_statement(server, REPLAY, &[&settings]);
                sharing.in_place = Some(Arc::clone(&sharing.setup));
                sharing.muted |= !restores;
                sharing.replay = if restores {
                    Replay::Restores
                } else {
                    Replay::Places
                };
                self.owe(Expect::OwnReplay);
            }
        }
        self.send_claims(server);
        if let Some(sharing) = self.sharing.as_ref().filter(|sharing| sharing.asks) {
            let names: Vec<&str> = sharing.asked_names().into_iter().collect();
            let names = serde_json::to_string(&names).unwrap_or_default();
            let ask: &str = if sharing.locks { &ASK_LOCKS } else { &ASK };
            claims::own_statement(server, ask, &[&names]);
            self.owe(Expect::OwnSettings);
        }
        self.own_sync(server);
        self.known.lose();
        self.known.ask();
        self.known.in_transaction = false;
    }

    /// A statement of our own has failed. A cancel of the client's may have hit the batch instead of
    /// its own statement, or its `statement_timeout`: then the client's transaction fails, if one is open. Else
    /// the batch is sent again, unless a statement waits for it: that one fails, as PostgreSQL would have it, at once when
    /// it was cancelled, and when the batch was tried often enough.
    pub(super) fn own_error(&mut self, body: &[u8]) -> Result<Passed, Stop> {
        if self.uncommitted.is_asked() {
            return Ok(self.reading_failed(body));
        }
        if report::field(body, b'C') != Some(b"57014") {
            return Err(self.claims_failed(body));
        }
        if self.known.ahead == Ahead::Followed {
            return self.fail_ahead(body);
        }
        let owed = self.queue.expects().take_while(|it| it.is_own());
        if !{ owed }.any(|it| it == Expect::OwnSync) || self.status == b'T' {
            return Ok(self.reading_failed(body));
        }
        // What was not swept is not to be used, whatever comes behind in the batch.
        if self.queue.front().map(|front| front.expect) == Some(Expect::OwnQuery) {
            return Err(match self.can_swap() {
                true => Stop::Lost,
                false => self.claims_failed(body),
            });
        }
        let meant = report::field(body, b'M') == Some(report::CANCELLED.as_bytes());
        if self.known.awaited && (meant || self.known.retries >= RETRIES) {
            return Ok(self.reading_failed(body));
        }
        self.known.retries = self.known.retries.saturating_add(1);
        self.forget_batch();
        Ok(Passed::Done)
    }

    /// Whether so many cancels or time-outs have met the batch that it is sent for a statement only.
    pub(super) fn has_tried(&self) -> bool {
        self.known.retries >= RETRIES
    }

    /// The server skips the rest of the batch, and takes back what it has done of it.
    pub(super) fn forget_batch(&mut self) {
        self.skip_own();
        if let Some(sharing) = &mut self.sharing {
            sharing.forget_replay();
        }
        self.leftover = true;
        self.known.lose();
    }

    /// The server skips what is ours up to the next Sync.
    pub(super) fn skip_own(&mut self) {
        let mut skipped = Vec::new();
        while let Some(front) = self.queue.front()
            && front.expect.is_own()
            && front.expect != Expect::OwnSync
        {
            skipped.extend(self.queue.pop());
        }
        // The last first: a name that was to be closed and prepared again is there still.
        for pending in skipped.into_iter().rev() {
            if let Some(name) = pending.shared {
                match pending.expect {
                    Expect::OwnClose => self.prepared.restore(name),
                    _ => self.prepared.remove(&name),
                }
            }
        }
    }

    /// The replies to a statement of our own and its two Closes are owed.
    pub(super) fn owe(&mut self, expect: Expect) {
        self.queue.push(Pending {
            unsettles: true,
            ..Pending::new(expect)
        });
        self.queue.push(Pending::new(Expect::OwnClose));
        self.queue.push(Pending::new(Expect::OwnClose));
    }

    /// The row of [`ask`].
    pub(super) fn take_settings(&mut self, row: &[u8]) -> Result<(), Stop> {
        let told = told(row).ok_or_else(Stop::desynchronised)?;
        if let Some(sharing) = &mut self.sharing {
            sharing.learn(told);
            if sharing.restores {
                self.known.lose();
            }
        }
        Ok(())
    }
}

/// Settings in the order of their names, and whether there are cursors, channels and locks.
fn told(row: &[u8]) -> Option<Told> {
    let mut reader = Reader::new(row);
    reader.u16().ok()?;
    let settings: HashMap<String, String> = match usize::try_from(reader.i32().ok()?) {
        Ok(length) => serde_json::from_slice(reader.take(length).ok()?).ok()?,
        Err(_) => HashMap::new(),
    };
    let mut flag = || {
        let length = usize::try_from(reader.i32().ok()?).ok()?;
        Some(reader.take(length).ok()? != b"f")
    };
    let (holds, listens, locks) = (flag()?, flag()?, flag()?);
    let mut settings: Vec<_> = settings.into_iter().collect();
    settings.sort_unstable();
    Some(Told {
        settings,
        holds,
        listens,
        locks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(settings: Option<&str>, flags: [&str; 3]) -> Vec<u8> {
        let mut row = vec![0, 4];
        for value in [settings].into_iter().chain(flags.map(Some)) {
            match value {
                Some(text) => {
                    row.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
                    row.extend_from_slice(text.as_bytes());
                }
                None => row.extend_from_slice(&[0xff; 4]),
            }
        }
        row
    }

    #[test]
    fn settings_are_read_in_the_order_of_their_names() {
        let read = told(&row(Some(r#"{"b":"2","a":"1"}"#), ["f", "t", "f"]));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let both = Told {
            settings: vec![pair("a", "1"), pair("b", "2")],
            holds: false,
            listens: true,
            locks: false,
        };
        assert_eq!(read, Some(both));
        let none = Told {
            settings: Vec::new(),
            holds: true,
            listens: false,
            locks: true,
        };
        assert_eq!(told(&row(None, ["t", "f", "t"])), Some(none));
        assert_eq!(told(&[0, 3, 0]), None);
    }
}
