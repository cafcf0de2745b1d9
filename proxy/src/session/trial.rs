//! A Parse of what the server has already, tried out: nothing is sent for it, and the Bind or Describe
//! behind it answers for both.
//!
//! Only that answer shows whether the statement still is what a Parse would make of its text: DDL that
//! nobody has noticed may have changed it. So a trial begins only where nothing of the client's would be
//! lost, at the beginning of a transaction of one pipeline, and until it is answered nothing but the
//! messages of this one statement goes on. Should the server refuse it, all is taken back, the client
//! learns nothing of it, and its messages, which [`crate::relay`] has kept, begin anew with a
//! Parse that is sent. So each error comes at its own message, as if nothing had been tried.

use super::queue::Expect;
use super::server_error::hints_at_change;
use super::{Session, Stop, Taken};
use crate::backend::Outbox;
use crate::wire::client::{self, Target};
use crate::wire::{Reader, answer, report};

/// So many messages are kept, at most.
const MESSAGES_MAX: u8 = 8;

/// How far a trial has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Trial {
    /// There is none.
    #[default]
    No,
    /// The Parse was taken; nothing was sent.
    Held,
    /// So many messages behind it were sent.
    Sent(u8),
    /// The server has refused the statement: it is skipping, unless it has the Sync.
    Refused {
        /// The client's Sync was sent.
        synced: bool,
    },
    /// A Query was sent as a [lookup](super::lookup), which the server has not taken yet.
    Looking,
    /// The Parse, or the Query, comes again, and is sent this time.
    Given,
}

impl Session {
    /// Whether the client's messages must be kept.
    pub(crate) fn is_trying(&self) -> bool {
        matches!(self.trial, Trial::Held | Trial::Sent(_) | Trial::Looking)
    }

    /// Whether a Parse can be tried out.
    pub(super) fn may_try(&self) -> bool {
        let begins = self.trial == Trial::No && self.is_idle() && !self.known.in_transaction;
        begins && self.sharing.is_none() && self.judging.access().enforce
    }

    /// A message behind the Parse.
    pub(super) fn try_message(
        &mut self,
        tag: u8,
        body: &[u8],
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        let belongs = match self.trial {
            Trial::Looking => return Ok(Taken::Later),
            Trial::Held => uses_unnamed(tag, body),
            Trial::Sent(messages) => {
                let open = self.pipeline_open && messages < MESSAGES_MAX;
                open && matches!(tag, b'D' | b'E' | b'H' | b'S')
            }
            Trial::No | Trial::Refused { .. } | Trial::Given => true,
        };
        if belongs {
            match self.untried_message(tag, body, server)? {
                Taken::Later if self.trial == Trial::Held => {}
                Taken::Yes => {
                    self.trial = match self.trial {
                        Trial::Sent(messages) => Trial::Sent(messages + 1),
                        Trial::Held => Trial::Sent(1),
                        ended => ended,
                    };
                    return Ok(Taken::Yes);
                }
                taken => return Ok(taken),
            }
        }
        if self.trial == Trial::Held {
            self.queue.take_back(&mut self.names, &mut self.prepared);
            self.pipeline_open = false;
            self.trial = Trial::Given;
            return Ok(Taken::Again);
        }
        self.nudge(server);
        Ok(Taken::Later)
    }

    /// ParameterDescription comes before the server has looked whether the statement still is what
    /// it was. Gives whether it is held.
    pub(super) fn hold_description(&mut self, body: &[u8]) -> bool {
        let tried = self.is_tried();
        if tried {
            self.description = Some(body.into());
        }
        tried
    }

    /// The server has answered the message behind the Parse: that is answered, too.
    pub(super) fn trial_succeeds(&mut self) {
        if !self.is_tried() {
            return;
        }
        self.queue.pop();
        self.trial = Trial::No;
        answer::message(&mut self.to_client, b'1', |_| {});
        if let Some(description) = self.description.take()
            && let Some(Expect::DescribeStatement { hidden }) =
                self.queue.front().map(|it| it.expect)
        {
            answer::parameter_description(&mut self.to_client, &description, hidden);
        }
    }

    /// The server has refused a message. Gives whether it was one that answers for a Parse, which
    /// may be why; then all is taken back.
    pub(super) fn trial_fails(&mut self, body: &[u8]) -> bool {
        let sqlstate = report::field(body, b'C').unwrap_or_default();
        if !self.is_tried() || self.queue.is_refused(1) || !may_be_of_parse(sqlstate) {
            return false;
        }
        if hints_at_change(sqlstate, body) {
            self.judging.database().suspect_change();
            self.prepared.distrust();
        } else if let Some(tried) = self.queue.front().and_then(|it| it.statement.as_ref()) {
            self.prepared.distrust_one(&tried.server_name);
        }
        let synced = self.queue.take_back(&mut self.names, &mut self.prepared);
        self.copy = super::Copy::No;
        self.description = None;
        self.trial = Trial::Refused { synced };
        true
    }

    /// Whether the client's messages come again from the Parse on.
    pub(crate) fn begins_again(&mut self, server: &mut Outbox) -> bool {
        let Trial::Refused { synced } = self.trial else {
            return false;
        };
        if !synced {
            self.own_sync(server);
        }
        self.pipeline_open = false;
        self.nudged = false;
        self.trial = Trial::Given;
        true
    }

    /// The same where the server has had the Sync, and was left.
    pub(crate) fn begins_anew(&mut self) -> bool {
        let begins = matches!(self.trial, Trial::Refused { .. });
        if begins {
            self.trial = Trial::Given;
        }
        begins
    }

    fn is_tried(&self) -> bool {
        let front = self.queue.front();
        front.is_some_and(|front| front.expect == Expect::Tried)
    }
}

/// Whether a message is a Bind or a Describe of the unnamed statement.
fn uses_unnamed(tag: u8, body: &[u8]) -> bool {
    match tag {
        b'B' => {
            let mut reader = Reader::new(body);
            reader.string().is_ok() && reader.string().is_ok_and(<[u8]>::is_empty)
        }
        b'D' => client::target(body).is_ok_and(|target| target == Target::Statement(b"")),
        _ => false,
    }
}

/// Whether an error may be one that a Parse would have had; of most others a second try would only
/// be the same again, or what a cancel was meant for.
pub(super) fn may_be_of_parse(sqlstate: &[u8]) -> bool {
    let class = sqlstate.get(..2).unwrap_or_default();
    matches!(class, b"0A" | b"22" | b"26" | b"3F" | b"42" | b"XX")
}
