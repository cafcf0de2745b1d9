//! Whether what the client has sent may be run on a standby.
//!
//! Asked when a server connection is to be had, of everything up to the Sync, which must have come:
//! what has begun on a standby ends there. It is a look ahead only. Each statement is judged again
//! when it is sent on, and refused if it is not what it seemed to be ([`super::gate`]).

use pgwarden_policy::Protocol;

use super::{Copy, Session, Skip};
use crate::backend::Moment;
use crate::wire::Reader;
use crate::wire::client::{self, Target};
use crate::wire::frame::{self, HEADER_BYTES};

impl Session {
    /// Whether the messages in a buffer, up to the end of their transaction, only read.
    pub(crate) fn only_reads(&mut self, buffer: &[u8]) -> bool {
        self.is_free() && self.batch_reads(buffer).unwrap_or(false)
    }

    /// Whether a message begins a batch.
    pub(crate) fn begins_batch(&self, tag: u8) -> bool {
        !self.pipeline_open && matches!(tag, b'Q' | b'P' | b'B' | b'D' | b'E' | b'C')
    }

    /// The session's last write was before this moment.
    pub(crate) fn last_write(&self) -> Moment {
        let sharing = self.sharing.as_ref();
        sharing
            .map(|sharing| sharing.wrote_before)
            .unwrap_or_default()
    }

    /// Whether nothing ties the session to the primary.
    fn is_free(&self) -> bool {
        let Some(sharing) = &self.sharing else {
            return false;
        };
        // On a standby a serialisable transaction fails.
        let of_transactions = |(name, _): &(String, String)| name.contains("transaction_");
        self.is_idle()
            && !sharing.asks
            && !sharing.search_path.is_empty()
            && !sharing.setup.settings.iter().any(of_transactions)
            && self.skip == Skip::Nothing
            && self.copy == Copy::No
            && self.pinned().is_none()
    }

    /// `None` when it can't be read, or is not all there.
    fn batch_reads(&mut self, mut rest: &[u8]) -> Option<bool> {
        let mut prepared: Vec<&[u8]> = Vec::new();
        let mut first = true;
        loop {
            let header = frame::header(rest).ok()??;
            let body = rest.get(HEADER_BYTES..header.frame())?;
            rest = rest.get(header.frame()..)?;
            let reads = match header.tag {
                b'Q' if first => {
                    let text = client::query(body).ok()?;
                    return Some(self.text_reads(text, Protocol::Simple, &[]));
                }
                b'P' => {
                    let mut types = Vec::new();
                    let parse = client::parse(body, &mut types).ok()?;
                    prepared.push(parse.name);
                    self.text_reads(parse.text, Protocol::Extended, &types)
                }
                b'B' => {
                    let mut reader = Reader::new(body);
                    reader.string().ok()?;
                    let statement = reader.string().ok()?;
                    prepared.contains(&statement) || self.statement_reads(statement)
                }
                b'D' => match client::target(body).ok()? {
                    Target::Portal(_) => true,
                    Target::Statement(name) => {
                        prepared.contains(&name) || self.statement_reads(name)
                    }
                },
                b'E' | b'C' | b'H' => true,
                b'S' => return Some(!first),
                _ => false,
            };
            if !reads {
                return Some(false);
            }
            first = false;
        }
    }

    fn statement_reads(&mut self, name: &[u8]) -> bool {
        let Some(statement) = self.names.statement(name) else {
            return false;
        };
        // Judged again, if the policy or the catalogue are others since.
        let plan = self.judging.plan_of(statement);
        plan.is_ok_and(|plan| plan.reads_only)
    }

    fn text_reads(&mut self, text: &[u8], protocol: Protocol, types: &[u32]) -> bool {
        let Ok(text) = std::str::from_utf8(text) else {
            return false;
        };
        looks_like_a_query(text)
            && self
                .judging
                .judge(text, protocol, types)
                .is_ok_and(|cleared| cleared.plan().reads_only)
    }
}

/// Spares most other statements being judged twice, and keeps tokens away from the judge.
pub(super) fn looks_like_a_query(text: &str) -> bool {
    let text = text.trim_start();
    let end = text.find(|it: char| !it.is_ascii_alphabetic());
    let word = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    let words = ["select", "with", "values", "table"];
    text.starts_with('(') || words.iter().any(|it| word.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_are_looked_at() {
        for text in [
            "SELECT 1",
            "\n with x as (select 1) table x",
            "(values (1))",
        ] {
            assert!(looks_like_a_query(text), "{text}");
        }
        for text in [
            "SET LOCAL pgwarden.token = 'x'",
            "",
            "/* */ select 1",
            "selects",
        ] {
            assert!(!looks_like_a_query(text), "{text}");
        }
    }
}
