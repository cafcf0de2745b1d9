//! Random conversations: messages of all kinds in any order, cut anywhere, with errors in the middle. Whatever
//! comes of them, the proxy must say what PostgreSQL says with row level security, message for message.
//!
//! A conversation is a list of batches. A batch ends in a way that brings both sides back into step, whatever
//! went before: a Sync, and queries of their own whose answers are known.

mod hearing;

use std::collections::HashMap;
use std::fmt;

use crate::fixture::Tenant;
use crate::random::Random;
use crate::wire::{bind_body, execute_body, frame, parse_body, target_body};

pub use hearing::{Heard, PATIENCE, Pieces, is_by_design, talk};

/// A message of the client, and what it is for the report.
#[derive(Clone)]
pub struct Sent {
    bytes: Vec<u8>,
    shown: String,
    /// The answers so far are waited for.
    waits: bool,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Messages up to a point where both sides are in step again.
pub type Batch = Vec<Sent>;

/// Who talks: a tenant, and the number of the rows that nobody else writes.
#[derive(Debug, Clone, Copy)]
pub struct Speaker {
    /// The tenant.
    pub tenant: Tenant,
    /// Its rows in `campaigns` have ids from a hundred times this on.
    pub number: usize,
}

/// What ends a batch: empty queries are answered in a transaction that has failed, too, and change nothing.
const END: [&str; 3] = [""; 3];

/// The messages at a batch's end that bring both sides into step.
pub const TAIL: usize = END.len() + 2;

const ZEROS: [u16; 4] = [0; 4];
const RESULTS: [&[u16]; 5] = [&[], &[], &[], &[0], &[1]];
const STATEMENTS: [&str; 4] = ["", "", "s", "t"];
const PORTALS: [&str; 4] = ["", "", "p", "q"];

/// Statements that need no values.
const TEXTS: &[&str] = &[
    "SELECT id, full_name FROM leads WHERE score > 3 ORDER BY id",
    "SELECT count(*) FROM calls",
    "SELECT count(*), min(id) FROM calls WHERE seconds > 5",
    "SELECT l.id, c.name FROM leads l LEFT JOIN campaigns c ON c.id = l.campaign_id AND c.id < 50 ORDER BY 1",
    "SELECT 1",
    "SELECT now() IS NOT NULL, 'a;b'::text",
    "",
    "-- nothing",
    "SELECT 1 / (count(*) * 0) FROM leads",
    "SELECT nosuch FROM leads",
    "SELEC 1",
    "SELECT id FROM leads WHERE phone = ANY('{+491,+492,+493}') ORDER BY 1",
    "SELECT g, (SELECT count(*) FROM agents) FROM generate_series(1, 40) g",
    "SELECT repeat('x', 3000), g FROM generate_series(1, 12) g, (SELECT count(*) FROM leads) l",
    "SELECT current_setting('request.jwt.claims')::json ->> 'sub', count(*) FROM shifts",
    "VALUES (1), (2), (3)",
    "TABLE plans",
    "BEGIN",
    "BEGIN",
    "START TRANSACTION READ ONLY",
    "COMMIT",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE a",
    "SET statement_timeout = 12345",
    "SET LOCAL statement_timeout = 23456",
    "SHOW statement_timeout",
    "RESET statement_timeout",
    "SET application_name = 'talker'",
    "SHOW application_name",
    "SET DateStyle = 'SQL, DMY'",
    "SET TimeZone = 'Asia/Tokyo'",
    "SELECT '2026-03-04 05:06:07+00'::timestamptz, '01/02/2026'::date, count(*) FROM leads",
    "SELECT max(created_at) FROM leads",
    "DECLARE c CURSOR FOR SELECT id FROM leads ORDER BY id",
    "DECLARE h CURSOR WITH HOLD FOR SELECT id FROM calls ORDER BY id",
    "FETCH 2 FROM c",
    "FETCH ALL FROM h",
    "CLOSE c",
    "CLOSE ALL",
    "CREATE TEMP TABLE tt (a int)",
    "CREATE TEMP TABLE tt AS SELECT 1 AS a FROM leads",
    "INSERT INTO tt VALUES (1), (2)",
    "SELECT count(*) FROM tt",
    "DROP TABLE tt",
    "COPY (SELECT id FROM leads ORDER BY id LIMIT 3) TO STDOUT",
    "LISTEN jobs",
    "UNLISTEN *",
    "DEALLOCATE ALL",
    "SELECT lower(full_name) FROM leads WHERE full_name LIKE 'Lead 1%' ORDER BY 1",
];

/// What is in statements that fail before they run, or may.
const FAIL_EARLY: &[&str] = &["nosuch", "SELEC ", "tt"];

/// Those of SQL's own PREPARE: alone in their message. (Neither they nor Bind use what the other has prepared:
/// the proxy refuses that.)
const PREPARES: &[&str] = &[
    "PREPARE u (int) AS SELECT count(*) FROM leads WHERE score > $1",
    "EXECUTE u (3)",
    "DEALLOCATE u",
];

/// Those with values: how many, and what they may be.
const WITH_VALUES: &[(&str, &[&str])] = &[
    ("SELECT id FROM leads WHERE score = $1 ORDER BY id", &["3"]),
    ("SELECT $1::text, count(*) FROM leads", &["word"]),
    ("SELECT $1::int / $2::int, count(*) FROM leads", &["6", "0"]),
    (
        "SELECT id FROM calls WHERE seconds < $2 AND id > $1 ORDER BY id LIMIT 5",
        &["10", "30"],
    ),
    (
        "SELECT $1::timestamptz, count(*) FROM agents",
        &["2026-01-02 03:04:05+00"],
    ),
    (
        "SELECT a.id, $1::int FROM agents a LEFT JOIN campaigns c ON c.owner_id = a.id AND c.id = $1 ORDER BY 1",
        &["7"],
    ),
];

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
        if self.random.chance(18) {
            return self.write();
        }
        (*self.random.pick(TEXTS)).to_owned()
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
        if text == "DROP TABLE tt" {
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
