//! How a batch is sent, what comes back as lines, and where these may differ.

use std::time::Duration;

use super::{Batch, END};
use crate::patience::patience;
use crate::wire::{Client, Message};

/// How a batch is written: at once, or in pieces of so many bytes.
#[derive(Debug, Clone, Copy)]
pub enum Pieces {
    /// One write.
    Whole,
    /// One for each message.
    Messages,
    /// Cut anywhere.
    Of(usize),
    /// Up to a Query or Sync, whose answer is waited for, if it comes soon.
    Rounds,
}

/// Sends a batch and reads up to its end. `heard` has how many messages each wait has brought before:
/// who goes first measures, who goes second must get as many.
pub fn talk(client: &mut Client, batch: &Batch, pieces: Pieces, heard: &mut Heard) -> Vec<String> {
    let mut lines = Vec::new();
    let mut unsent = Vec::new();
    for message in batch {
        unsent.extend_from_slice(&message.bytes);
        match pieces {
            Pieces::Whole if !message.waits => {}
            Pieces::Rounds if !message.waits && !message.ends => {}
            Pieces::Of(size) => {
                for piece in std::mem::take(&mut unsent).chunks(size) {
                    client.send_bytes(piece);
                }
            }
            _ => client.send_bytes(&std::mem::take(&mut unsent)),
        }
        if message.waits {
            heard.wait(client, &mut lines);
        } else if message.ends && matches!(pieces, Pieces::Rounds) {
            hear_out(client, &mut lines);
        }
    }
    client.send_bytes(&unsent);
    while !is_end(&lines) {
        let Ok(message) = client.read() else {
            lines.push(format!(
                "the connection is gone, timed out: {}",
                client.timed_out
            ));
            break;
        };
        lines.extend(shown(&message));
    }
    lines
}

/// Reads up to ReadyForQuery, which a Sync within a COPY is not answered by.
fn hear_out(client: &mut Client, lines: &mut Vec<String>) {
    client.set_timeout(Duration::from_millis(50));
    while let Ok(message) = client.read() {
        lines.extend(shown(&message));
        if message.tag == b'Z' {
            break;
        }
    }
    client.timed_out = false;
    client.set_timeout(patience());
}

/// Where a conversation may differ: what the proxy says first, what PostgreSQL says there, and why.
const BY_DESIGN: &[(&str, &str, &str)] = &[
    (
        "E 0A000 unsupported_statement",
        "",
        "settings changed in the open transaction: several statements at once are refused",
    ),
    (
        "E 0A000 unsupported_construct",
        "",
        "search_path changed in the same message: what looks names up behind it is refused",
    ),
    (
        "E 42P05 or 25P02",
        "C ROLLBACK",
        "in a failed transaction that has changed settings only its end is supported, and nothing behind it",
    ),
    (
        "E 34000",
        "I ",
        "the unnamed portal of a Query that has failed, whatever that was",
    ),
    (
        "E 34000",
        "n ",
        "PostgreSQL keeps the unnamed portal of a Query that has failed, up to the end of the transaction",
    ),
    (
        "E 34000",
        "E 42P05 or 25P02",
        "the same portal, of a transaction that has failed",
    ),
    (
        "E 42P01",
        "E 25006",
        "of two faults, an unknown name and a transaction that only reads, the name is seen first",
    ),
    (
        "what a Flush asks for",
        "E 08P01",
        "the same, where a Flush follows",
    ),
    (
        "the connection is gone",
        "E 08P01",
        "the end of a session because of a message that a COPY can't take is told once, not twice",
    ),
];

/// Whether two answers are known to differ.
pub fn is_by_design(ours: &[String], theirs: &[String]) -> bool {
    let differs = ours
        .iter()
        .zip(theirs)
        .find(|(ours, theirs)| ours != theirs);
    differs.is_some_and(|(ours, theirs)| {
        let known = |(our, their, _): &&(&str, &str, &str)| {
            ours.starts_with(our) && theirs.starts_with(their)
        };
        BY_DESIGN.iter().any(|it| known(&it))
    })
}

/// Whether the last answers are those to a batch's end.
fn is_end(lines: &[String]) -> bool {
    let mut last = lines.rchunks_exact(2);
    let mut ends = last.by_ref().take(END.len());
    let all = ends.len() == END.len() && ends.all(|it| it[0] == "I " && it[1].starts_with("Z "));
    // An empty statement's Execute and Sync are answered alike.
    all && last.next().is_none_or(|before| before[1].starts_with("Z "))
}

/// How many messages each Flush of a batch has brought.
#[derive(Debug, Default)]
pub struct Heard {
    counts: Vec<usize>,
    /// The next that is to be waited for; `None` while they are measured.
    at: Option<usize>,
}

impl Heard {
    /// From now on as many messages are waited for.
    pub fn demand(&mut self) {
        self.at = Some(0);
    }

    fn wait(&mut self, client: &mut Client, lines: &mut Vec<String>) {
        let Some(at) = &mut self.at else {
            client.set_timeout(Duration::from_millis(60));
            while let Ok(message) = client.read() {
                lines.extend(shown(&message));
            }
            client.timed_out = false;
            client.set_timeout(patience());
            self.counts.push(lines.len());
            return;
        };
        let wanted = self.counts.get(*at).copied().unwrap_or_default();
        *at += 1;
        while lines.len() < wanted {
            match client.read() {
                Ok(message) => lines.extend(shown(&message)),
                Err(_) => {
                    lines.push("what a Flush asks for does not come".to_owned());
                    return;
                }
            }
        }
    }
}

/// A message as a line; none for what may come at any time.
fn shown(message: &Message) -> Option<String> {
    match message.tag {
        b'A' | b'S' => None,
        b'E' | b'N' => {
            let error = message.error();
            let place = error.field(b'P');
            Some(match (error.code(), error.reason()) {
                // A name that nobody knows is denied before the server is asked.
                // A name that is taken by a statement: seen before, or after, that the transaction has failed.
                ("42P05" | "25P02", _) => "E 42P05 or 25P02".to_owned(),
                // A row that stands in the way is somebody else's: in our words.
                (code, Some("foreign_tenant_value")) => format!("E {code} at {place}"),
                ("42P01", _) | (_, Some("unknown_relation")) => "E 42P01".to_owned(),
                (code, Some("parameter_mismatch")) => format!("E {code} at {place}"),
                (code, Some(reason)) => format!("E {code} {reason}"),
                (code, None) => format!("{} {code} at {place}", message.tag as char),
            })
        }
        tag => Some(format!("{} {}", tag as char, message.body.escape_ascii())),
    }
}
