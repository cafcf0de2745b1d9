//! Frames of the server: most pass as bytes, some are looked into.

use super::{OUTPUT_BYTES_MAX, server_gone};
use crate::session::{Passed, Session, Stop};
use crate::wire::frame::{self, HEADER_BYTES};

/// A message of the server that is looked into is no longer than this.
const INSPECTED_BYTES_MAX: usize = 64 << 20;

/// Relays frames as far as they have come; `passing` is how much of the last one is still to come.
/// Gives how many bytes were worked off.
pub(super) fn relay(
    bytes: &[u8],
    session: &mut Session,
    passing: &mut usize,
    ends: Ends,
) -> (usize, Result<(), Stop>) {
    let mut frames = Frames {
        bytes,
        ends,
        relayed: 0,
        at: 0,
    };
    let result = frames.relay(session, passing);
    frames.flush(session);
    (frames.at, result)
}

/// Where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// With the bytes.
    Never,
    /// When nothing is owed to the session: what follows is for another.
    Settled,
}

/// Frames of the server on their way to the client.
struct Frames<'a> {
    bytes: &'a [u8],
    ends: Ends,
    /// Up to here they were relayed.
    relayed: usize,
    /// Up to here they were looked at.
    at: usize,
}

impl Frames<'_> {
    /// Looks at frames as far as they have come.
    fn relay(&mut self, session: &mut Session, passing: &mut usize) -> Result<(), Stop> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let pass = (*passing).min(rest.len());
            self.at += pass;
            *passing -= pass;
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let full = session.output().len() + self.at - self.relayed >= OUTPUT_BYTES_MAX;
            let over = self.ends == Ends::Settled && session.is_settled();
            if *passing > 0 || full || over {
                return Ok(());
            }
            let Some(header) = frame::header(rest)? else {
                return Ok(());
            };
            if session.needs_body(header.tag) {
                if header.body > INSPECTED_BYTES_MAX {
                    return Err(Stop::Fatal(server_gone()));
                }
                let Some(body) = rest.get(HEADER_BYTES..header.frame()) else {
                    return Ok(());
                };
                self.flush(session);
                let passed = session.server_message(header.tag, body);
                self.at += header.frame();
                match passed {
                    Ok(Passed::AsIs) => {}
                    Ok(Passed::Done) => self.relayed = self.at,
                    Err(stop) => {
                        self.relayed = self.at;
                        return Err(stop);
                    }
                }
            } else {
                session.server_message(header.tag, &[])?;
                self.at += HEADER_BYTES;
                *passing = header.body;
            }
        }
    }

    /// Relays what was looked at and not yet relayed.
    fn flush(&mut self, session: &mut Session) {
        let run = self.bytes.get(self.relayed..self.at).unwrap_or_default();
        session.output().extend_from_slice(run);
        self.relayed = self.at;
    }
}
