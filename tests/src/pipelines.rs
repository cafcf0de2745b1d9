//! Random conversations: messages of all kinds in any order, cut anywhere, with errors in the middle. Whatever
//! comes of them, the proxy must say what PostgreSQL says with row level security, message for message.
//!
//! A conversation is a list of batches. A batch ends in a way that brings both sides back into step, whatever
//! went before: a Sync, and queries of their own whose answers are known.

mod hearing;
mod speaker;
mod texts;

use std::collections::HashMap;
use std::fmt;

use crate::random::Random;
use crate::wire::{bind_body, execute_body, frame, parse_body, target_body};

pub use hearing::{Heard, Pieces, is_by_design, talk};
pub use speaker::{POLICY, Speaker};
use texts::{FAIL_EARLY, PREPARES, PROBES, STATES, TEXTS, WITH_VALUES};

/// A message of the client, and what it is for the report.
#[derive(Clone)]
pub struct Sent {
    bytes: Vec<u8>,
    shown: String,
    /// The answers so far are waited for.
    waits: bool,
    /// It asks for ReadyForQuery.
    ends: bool,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Messages up to a point where both sides are in step again.
pub type Batch = Vec<Sent>;

/// What ends a batch: empty queries are answered in a transaction that has failed, too, and change nothing.
const END: [&str; 3] = [""; 3];

/// The messages at a batch's end that bring both sides into step.
pub const TAIL: usize = END.len() + 2;

const ZEROS: [u16; 4] = [0; 4];
const RESULTS: [&[u16]; 5] = [&[], &[], &[], &[0], &[1]];
const STATEMENTS: [&str; 4] = ["", "", "s", "t"];
const PORTALS: [&str; 4] = ["", "", "p", "q"];

struct Talk {
    random: Random,
    speaker: Speaker,
    /// What the client believes that its names stand for: how many values each takes.
    known: HashMap<&'static str, Vec<&'static str>>,
}

/// A conversation of a seed's sequence.
pub fn conversation(seed: u64, index: u64, speaker: Speaker) -> Vec<Batch> {
    let mut mixer = Random::new(seed ^ index.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let mut talk = Talk {
        random: Random::new(mixer.bits()),
        speaker,
        known: HashMap::new(),
    };
    let count = 1 + talk.random.below(4);
    let mut batches: Vec<Batch> = (0..count).map(|_| talk.batch()).collect();
    let mut probes: Batch = PROBES.iter().copied().map(query).collect();
    probes.extend(END.map(query));
    batches.push(probes);
    // Nothing is left to the next conversation.
    let mut over: Batch = ["ROLLBACK", "DISCARD ALL"].map(query).into();
    over.extend(END.map(query));
    batches.push(over);
    batches
}

fn query(sql: &str) -> Sent {
    let mut body = sql.as_bytes().to_vec();
    body.push(0);
    sent(b'Q', &body, format!("Query {sql:?}"))
}

fn sent(tag: u8, body: &[u8], shown: String) -> Sent {
    Sent {
        bytes: frame(tag, body),
        shown,
        waits: false,
        ends: matches!(tag, b'Q' | b'S'),
    }
}

impl Talk {
    fn batch(&mut self) -> Batch {
        let mut batch = Vec::new();
        for _ in 0..1 + self.random.below(5) {
            self.exchange(&mut batch);
        }
        batch.push(sent(b'f', b"over\0", "CopyFail".to_owned()));
        batch.push(sent(b'S', b"", "Sync".to_owned()));
        batch.extend(END.map(query));
        batch
    }

    /// Some messages that belong together, or not.
    fn exchange(&mut self, batch: &mut Batch) {
        match self.random.below(20) {
            0..=4 => batch.push(self.simple()),
            5..=12 => self.run(batch),
            13 => {
                let text = *self.random.pick(PREPARES);
                batch.push(query(text));
            }
            14 => batch.push(self.sync()),
            15 => batch.push(self.stray()),
            16 => self.copy(batch),
            17 => {
                let mut flush = sent(b'H', b"", "Flush".to_owned());
                flush.waits = true;
                batch.push(flush);
            }
            18 => {
                self.again(batch);
            }
            _ => {
                let step = self.step();
                batch.push(step);
            }
        }
    }

    /// Parse, Bind, Describe, Execute, Sync, some of them left out.
    fn run(&mut self, batch: &mut Batch) {
        let (name, portal) = self.names();
        if !self.random.chance(12) {
            batch.push(self.parse(name));
        }
        if self.random.chance(10) {
            batch.push(target(b'D', b'S', name));
        }
        if !self.random.chance(8) {
            batch.push(self.bind(portal, name));
        }
        if self.random.chance(75) {
            batch.push(target(b'D', b'P', portal));
        }
        if !self.random.chance(6) {
            batch.push(self.execute(portal));
        }
        if self.random.chance(15) {
            batch.push(self.execute(portal));
        }
        if self.random.chance(65) {
            batch.push(self.sync());
        }
    }

    /// The same short read several times, as drivers that prepare nothing send it.
    fn again(&mut self, batch: &mut Batch) {
        let (text, values) = *self.random.pick(WITH_VALUES);
        for _ in 0..2 + self.random.below(4) {
            batch.push(parse("", text, &[]));
            batch.push(bind("", "", values, &[], &[]));
            batch.push(target(b'D', b'P', ""));
            batch.push(self.execute(""));
            batch.push(self.sync());
        }
        self.known.insert("", values.to_vec());
    }

    /// Any one message.
    fn step(&mut self) -> Sent {
        let (name, portal) = self.names();
        match self.random.below(8) {
            0 => self.parse(name),
            1 => self.bind(portal, name),
            2 => target(b'D', b'S', name),
            3 => target(b'D', b'P', portal),
            4 => self.execute(portal),
            5 => target(b'C', b'S', name),
            6 => target(b'C', b'P', portal),
            _ => self.sync(),
        }
    }

    fn names(&mut self) -> (&'static str, &'static str) {
        let name = *self.random.pick(&STATEMENTS);
        (name, *self.random.pick(&PORTALS))
    }

    fn sync(&mut self) -> Sent {
        sent(b'S', b"", "Sync".to_owned())
    }

    fn execute(&mut self, portal: &str) -> Sent {
        let limit = *self.random.pick(&[0, 0, 0, 1, 2, 100]);
        let shown = format!("Execute {portal:?} {limit}");
        sent(b'E', &execute_body(portal, limit), shown)
    }

    fn simple(&mut self) -> Sent {
        let mut texts = vec![self.text()];
        while self.random.chance(20) {
            texts.push(self.text());
        }
        // The proxy judges all of a message before any of it runs.
        if texts.len() > 1 {
            texts.retain(|text| !FAIL_EARLY.iter().any(|it| text.contains(it)));
        }
        query(&texts.join("; "))
    }

    fn text(&mut self) -> String {
        match self.random.below(100) {
            0..=14 => self.write(),
            15..=34 => (*self.random.pick(STATES)).to_owned(),
            35..=48 => (*self.random.pick(PROBES)).to_owned(),
            49 => format!(
                "SELECT pg_advisory_lock({}) IS NOT NULL",
                self.speaker.number
            ),
            _ => (*self.random.pick(TEXTS)).to_owned(),
        }
    }

    /// A write of rows that are nobody else's.
    fn write(&mut self) -> String {
        let id = self.speaker.number * 100 + 1000 + self.random.below(3);
        match self.random.below(6) {
            5 => format!(
                "DELETE FROM holidays WHERE day BETWEEN '2030-{0:02}-01' AND '2030-{0:02}-20'",
                self.speaker.number + 1
            ),
            0 => format!("INSERT INTO campaigns (id, name, budget) VALUES ({id}, 'talk', 1)"),
            1 => {
                format!("UPDATE campaigns SET budget = budget + 1 WHERE id = {id} RETURNING budget")
            }
            2 => format!("DELETE FROM campaigns WHERE id = {id} RETURNING name"),
            3 => format!(
                "INSERT INTO campaigns (id, name) VALUES ({id}, 'again') ON CONFLICT (id) DO UPDATE SET budget = 0 RETURNING id"
            ),
            _ => format!(
                "SELECT id, budget FROM campaigns WHERE id BETWEEN {id} AND {} ORDER BY 1 FOR UPDATE",
                id + 2
            ),
        }
    }

    fn parse(&mut self, name: &'static str) -> Sent {
        if self.random.chance(35) {
            let (text, values) = *self.random.pick(WITH_VALUES);
            self.known.insert(name, values.to_vec());
            return parse(name, text, &[]);
        }
        let mut text = self.text();
        // Of two faults of a Parse, the proxy may see the other first.
        if !name.is_empty() && FAIL_EARLY.iter().any(|it| text.contains(it)) {
            "SELECT 2".clone_into(&mut text);
        }
        // What looks its names up when it runs, the proxy refuses when it is parsed.
        if ["DROP TABLE tt", "DROP TABLE own", "TRUNCATE own"].contains(&&*text) {
            "SELECT 3".clone_into(&mut text);
        }
        // A type for a parameter that the text does not have is the client's, too.
        let spare = self.random.chance(5);
        let types: &[u32] = if spare { &[23] } else { &[] };
        let values: &[&str] = if spare { &["5"] } else { &[] };
        self.known.insert(name, values.to_vec());
        parse(name, &text, types)
    }

    fn bind(&mut self, portal: &str, name: &str) -> Sent {
        let mut values = self.known.get(name).cloned().unwrap_or_default();
        if self.random.chance(4) {
            values.push("4");
        }
        if self.random.chance(6)
            && let Some(value) = values.first_mut()
        {
            *value = "no number";
        }
        let formats: &[u16] = match self.random.below(4) {
            0 => &[0],
            1 => &ZEROS[..values.len()],
            _ => &[],
        };
        let results = *self.random.pick(&RESULTS);
        bind(portal, name, &values, formats, results)
    }

    /// What belongs to a COPY, where there is none.
    fn stray(&mut self) -> Sent {
        match self.random.below(3) {
            0 => sent(b'd', b"1\tx\n", "CopyData".to_owned()),
            1 => sent(b'c', b"", "CopyDone".to_owned()),
            _ => sent(b'f', b"stray\0", "CopyFail".to_owned()),
        }
    }

    fn copy(&mut self, batch: &mut Batch) {
        let day = self.speaker.number + 1;
        let text = "COPY holidays (day, name) FROM STDIN";
        if self.random.chance(50) {
            batch.push(query(text));
        } else {
            batch.push(parse("", text, &[]));
            self.known.insert("", Vec::new());
            batch.push(bind("", "", &[], &[], &[]));
            batch.push(self.execute(""));
        }
        for row in 0..self.random.below(3) {
            let data = format!("2030-{day:02}-{:02}\tcopied\n", row + 1);
            batch.push(sent(b'd', data.as_bytes(), "CopyData".to_owned()));
        }
        match self.random.below(4) {
            0 => batch.push(sent(b'f', b"enough\0", "CopyFail".to_owned())),
            1 => batch.push(sent(b'd', b"no day\tx\n", "CopyData".to_owned())),
            _ => {}
        }
        batch.push(sent(b'c', b"", "CopyDone".to_owned()));
        batch.push(self.sync());
    }
}

fn parse(name: &str, text: &str, types: &[u32]) -> Sent {
    let shown = format!("Parse {name:?} {text:?} {types:?}");
    sent(b'P', &parse_body(name, text, types), shown)
}

fn bind(portal: &str, name: &str, values: &[&str], formats: &[u16], results: &[u16]) -> Sent {
    let shown = format!("Bind {portal:?} {name:?} {values:?} {formats:?} {results:?}");
    let values: Vec<_> = values.iter().map(|value| Some(value.as_bytes())).collect();
    let body = bind_body(portal, name, formats, &values, results);
    sent(b'B', &body, shown)
}

fn target(tag: u8, kind: u8, name: &str) -> Sent {
    let what = if tag == b'D' { "Describe" } else { "Close" };
    let shown = format!("{what} {} {name:?}", kind as char);
    sent(tag, &target_body(kind, name), shown)
}
