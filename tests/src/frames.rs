//! Frame scripts: the same frames to the proxy and to PostgreSQL, the same messages back.

use crate::fixture::{Arena, Tenant};
use crate::proxy::session;
use crate::wire::{Client, Message, bind_body, execute_body, frame, parse_body, target_body};

/// Frames to send in one write.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// How many ReadyForQuery messages they ask for.
    ready: usize,
}

impl Frames {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Any frame.
    pub fn raw(mut self, tag: u8, body: &[u8]) -> Self {
        self.bytes.extend(frame(tag, body));
        self.ready += usize::from(tag == b'Q' || tag == b'S');
        self
    }

    /// Query.
    pub fn query(self, sql: &str) -> Self {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.raw(b'Q', &body)
    }

    /// Parse.
    pub fn parse(self, name: &str, sql: &str) -> Self {
        self.raw(b'P', &parse_body(name, sql, &[]))
    }

    /// Parse with declared types.
    pub fn parse_typed(self, name: &str, sql: &str, types: &[u32]) -> Self {
        self.raw(b'P', &parse_body(name, sql, types))
    }

    /// Bind with text values.
    pub fn bind(self, portal: &str, statement: &str, values: &[&str]) -> Self {
        let values: Vec<_> = values.iter().map(|value| Some(value.as_bytes())).collect();
        self.raw(b'B', &bind_body(portal, statement, &[], &values, &[]))
    }

    /// Bind with everything.
    pub fn bind_with(
        self,
        portal: &str,
        statement: &str,
        formats: &[u16],
        values: &[Option<&[u8]>],
        results: &[u16],
    ) -> Self {
        self.raw(
            b'B',
            &bind_body(portal, statement, formats, values, results),
        )
    }

    /// Describe or Close: `D` or `C`, `S` or `P`, and a name.
    pub fn target(self, tag: u8, kind: u8, name: &str) -> Self {
        self.raw(tag, &target_body(kind, name))
    }

    /// Execute.
    pub fn execute(self, portal: &str, limit: u32) -> Self {
        self.raw(b'E', &execute_body(portal, limit))
    }

    /// Sync.
    pub fn sync(self) -> Self {
        self.raw(b'S', b"")
    }

    /// Parse, Bind, Describe, Execute, all unnamed.
    pub fn run(self, sql: &str, values: &[&str]) -> Self {
        self.parse("", sql)
            .bind("", "", values)
            .target(b'D', b'P', "")
            .execute("", 0)
    }

    /// These and then others.
    pub fn and(mut self, then: &Self) -> Self {
        self.bytes.extend(&then.bytes);
        self.ready += then.ready;
        self
    }

    /// What is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends them and reads up to the last ReadyForQuery.
    pub fn exchange(&self, client: &mut Client) -> Vec<Message> {
        client.send_bytes(&self.bytes);
        let mut messages = Vec::new();
        for _ in 0..self.ready {
            messages.extend(client.messages());
        }
        messages
    }
}

/// Two sessions of one tenant: through the proxy, and on the oracle.
#[derive(Debug)]
pub struct Twins {
    /// The databases.
    pub arena: Arena,
    /// Through the proxy.
    pub proxied: Client,
    /// Straight to PostgreSQL with row level security.
    pub direct: Client,
}

impl Twins {
    /// Sessions of organisation a.
    pub fn new() -> Self {
        let arena = Arena::take();
        Self {
            proxied: session(&arena.plain(), Tenant::A),
            direct: arena.oracle_session(Tenant::A),
            arena,
        }
    }

    /// Sends the frames both ways; the messages must be the same. Returns them.
    pub fn same(&mut self, frames: &Frames) -> Vec<Message> {
        let ours = frames.exchange(&mut self.proxied);
        let theirs = frames.exchange(&mut self.direct);
        let (mine, wanted) = (shown(&ours), shown(&theirs));
        assert_eq!(
            mine, wanted,
            "through the proxy (left) and directly (right)"
        );
        ours
    }

    /// Sends the frames through the proxy only.
    pub fn proxied(&mut self, frames: &Frames) -> Vec<Message> {
        frames.exchange(&mut self.proxied)
    }
}

impl Default for Twins {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        // Whatever stands open would hold locks on what is to be put back.
        for client in [&mut self.proxied, &mut self.direct] {
            client.send(b'X', b"");
            client.read_to_end();
        }
        if !std::thread::panicking() {
            self.arena.restore();
        }
    }
}

/// Messages as text: rows sorted within their result, errors by SQLSTATE and position.
pub fn shown(messages: &[Message]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rows_from = None;
    for message in messages {
        let line = match message.tag {
            b'E' | b'N' => {
                let error = message.error();
                format!(
                    "{} {} at {}",
                    message.tag as char,
                    error.code(),
                    error.field(b'P')
                )
            }
            tag => format!("{} {}", tag as char, message.body.escape_ascii()),
        };
        if message.tag == b'D' {
            rows_from.get_or_insert(lines.len());
        } else if let Some(from) = rows_from.take() {
            lines[from..].sort();
        }
        lines.push(line);
    }
    lines
}
