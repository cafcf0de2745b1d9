//! A PostgreSQL client made by hand: blocking, every frame under the test's control.
//!
//! It shares no code with the proxy on purpose. Each client can carry *markers*: byte strings of
//! another tenant. The moment one of them arrives from the server, whatever the message (row,
//! error, notice), the client panics: a leak needs no assertion to be found.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// One message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The type byte.
    pub tag: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

/// A column of a RowDescription.
#[derive(Clone, PartialEq, Eq)]
pub struct Column {
    /// The name.
    pub name: String,
    /// The table's oid and the column's number in it, or zeros.
    pub origin: (u32, u16),
    /// Type oid, length and modifier.
    pub kind: (u32, i16, i32),
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.kind.0)?;
        if self.kind.2 != -1 {
            write!(f, "({})", self.kind.2)?;
        }
        if self.origin != (0, 0) {
            write!(f, "@{}.{}", self.origin.0, self.origin.1)?;
        }
        Ok(())
    }
}

/// A value of a row; NULL is `None`.
pub type Value = Option<Vec<u8>>;

/// What one statement gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultSet {
    /// The columns, if it gives rows.
    pub columns: Option<Vec<Column>>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
    /// The command tag; `None` when suspended or when an error came first.
    pub tag: Option<String>,
}

/// An ErrorResponse or NoticeResponse.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ServerError {
    /// The fields, as sent.
    pub fields: Vec<(u8, String)>,
}

impl ServerError {
    /// A field, or nothing.
    pub fn field(&self, name: u8) -> &str {
        let found = self.fields.iter().find(|(field, _)| *field == name);
        found.map_or("", |(_, text)| text)
    }

    /// SQLSTATE.
    pub fn code(&self) -> &str {
        self.field(b'C')
    }

    /// The primary message.
    pub fn message(&self) -> &str {
        self.field(b'M')
    }

    /// `reason=…` of a denial's DETAIL.
    pub fn reason(&self) -> Option<&str> {
        if !self.message().starts_with("pgwarden: ") {
            return None;
        }
        let rest = self.field(b'D').strip_prefix("reason=")?;
        rest.split_whitespace().next()
    }

    fn parse(body: &[u8]) -> Self {
        let mut fields = Vec::new();
        let mut rest = body;
        while let Some((&name, after)) = rest.split_first() {
            if name == 0 {
                break;
            }
            let end = after
                .iter()
                .position(|byte| *byte == 0)
                .expect("terminated field");
            fields.push((name, String::from_utf8_lossy(&after[..end]).into_owned()));
            rest = &after[end + 1..];
        }
        Self { fields }
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.field(b'S'),
            self.code(),
            self.message()
        )?;
        for (name, label) in [(b'D', "detail"), (b'H', "hint"), (b'P', "position")] {
            if !self.field(name).is_empty() {
                write!(f, " [{label} {}]", self.field(name))?;
            }
        }
        Ok(())
    }
}

/// Everything up to a ReadyForQuery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// One for each statement that gave something.
    pub results: Vec<ResultSet>,
    /// The error that ended it.
    pub error: Option<ServerError>,
    /// What COPY TO gave, a message for each row.
    pub copied: Vec<Vec<u8>>,
    /// Notices on the way.
    pub notices: Vec<ServerError>,
    /// The status byte of ReadyForQuery; 0 when the connection ended instead.
    pub status: u8,
}

impl Reply {
    /// The first result's first value as text.
    pub fn value(&self) -> Option<String> {
        let value = self.results.first()?.rows.first()?.first()?.as_ref()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The SQLSTATE of the error, or nothing.
    pub fn code(&self) -> &str {
        self.error.as_ref().map_or("", ServerError::code)
    }

    /// The reason of a denial.
    pub fn denied(&self) -> Option<&str> {
        self.error.as_ref()?.reason()
    }

    /// Panics unless it went well.
    pub fn ok(self) -> Self {
        if let Some(error) = &self.error {
            panic!("unexpected error: {error:?}");
        }
        self
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    at: usize,
    markers: Vec<Vec<u8>>,
    /// A read has waited in vain.
    pub timed_out: bool,
    /// ParameterStatus values as they came.
    pub parameters: Vec<(String, String)>,
    /// BackendKeyData: process id and key.
    pub key: (u32, Vec<u8>),
}

/// How long an answer is waited for: `PGWARDEN_PATIENCE` seconds, for machines that are busy.
fn patience() -> Duration {
    let given = std::env::var("PGWARDEN_PATIENCE").ok();
    Duration::from_secs(given.and_then(|it| it.parse().ok()).unwrap_or(20))
}

impl Client {
    /// Only the socket: nothing is sent.
    pub fn raw(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience()))?;
        Ok(Self {
            stream,
            input: Vec::new(),
            at: 0,
            markers: Vec::new(),
            timed_out: false,
            parameters: Vec::new(),
            key: (0, Vec::new()),
        })
    }

    /// Logs in, with a cleartext password if one is asked for.
    pub fn connect(
        address: SocketAddr,
        user: &str,
        database: &str,
        parameters: &[(&str, &str)],
        password: Option<&str>,
    ) -> Result<Self, ServerError> {
        let mut client = Self::raw(address).map_err(lost)?;
        let mut all = vec![("user", user), ("database", database)];
        all.extend_from_slice(parameters);
        client.send_startup(&all);
        client.log_in(password)?;
        Ok(client)
    }

    /// Sends a StartupMessage of protocol 3.0.
    pub fn send_startup(&mut self, parameters: &[(&str, &str)]) {
        self.send_startup_of(0, parameters);
    }

    /// Sends a StartupMessage of protocol 3 with a minor version.
    pub fn send_startup_of(&mut self, minor: u32, parameters: &[(&str, &str)]) {
        let mut body = (3 << 16 | minor).to_be_bytes().to_vec();
        for (name, value) in parameters {
            push_text(&mut body, name);
            push_text(&mut body, value);
        }
        body.push(0);
        let mut frame = u32::try_from(body.len() + 4)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        frame.append(&mut body);
        self.send_bytes(&frame);
    }

    /// Follows the dialogue after a StartupMessage up to the first ReadyForQuery.
    pub fn log_in(&mut self, password: Option<&str>) -> Result<(), ServerError> {
        loop {
            let message = self.read().map_err(lost)?;
            match message.tag {
                b'R' => match message.body[..4] {
                    [0, 0, 0, 0] => {}
                    [0, 0, 0, 3] => {
                        let mut body = Vec::new();
                        push_text(&mut body, password.unwrap_or_default());
                        self.send(b'p', &body);
                    }
                    _ => panic!("unexpected authentication request {:?}", message.body),
                },
                b'S' => self.note_parameter(&message.body),
                b'K' => {
                    let pid = u32::from_be_bytes(message.body[..4].try_into().unwrap());
                    self.key = (pid, message.body[4..].to_vec());
                }
                // NegotiateProtocolVersion: the server knows less than was asked for.
                b'N' | b'v' => {}
                b'E' => return Err(ServerError::parse(&message.body)),
                b'Z' => return Ok(()),
                other => panic!("unexpected message {:?} at start-up", other as char),
            }
        }
    }

    /// From now on these byte strings must never arrive.
    pub fn forbid(&mut self, markers: &[&str]) {
        self.markers = markers.iter().map(|m| m.as_bytes().to_vec()).collect();
    }

    /// Changes how long a read waits.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).unwrap();
    }

    /// The last value of a reported parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self
            .parameters
            .iter()
            .rev()
            .find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Sends bytes as they are. A closed socket is no failure here: reading shows it.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a message with an honest length.
    pub fn send(&mut self, tag: u8, body: &[u8]) {
        self.send_bytes(&frame(tag, body));
    }

    /// Closes our half.
    pub fn close_write(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next message.
    pub fn read(&mut self) -> io::Result<Message> {
        self.fill(5)?;
        let tag = self.input[self.at];
        let length = u32::from_be_bytes(self.input[self.at + 1..self.at + 5].try_into().unwrap());
        let length = usize::try_from(length).unwrap() + 1;
        self.fill(length)?;
        let body = self.input[self.at + 5..self.at + length].to_vec();
        self.at += length;
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        }
        for marker in &self.markers {
            let found = body
                .windows(marker.len())
                .any(|part| part == marker.as_slice());
            assert!(
                !found,
                "LEAK: {:?} arrived in {:?}: {}",
                String::from_utf8_lossy(marker),
                tag as char,
                String::from_utf8_lossy(&body)
            );
        }
        Ok(Message { tag, body })
    }

    /// The next raw byte (the answer to an SSLRequest).
    pub fn read_byte(&mut self) -> io::Result<u8> {
        self.fill(1)?;
        self.at += 1;
        Ok(self.input[self.at - 1])
    }

    /// Reads until the socket closes; the messages on the way.
    pub fn read_to_end(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Ok(message) = self.read() {
            messages.push(message);
        }
        messages
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let mut chunk = [0_u8; 16384];
        while self.input.len() - self.at < wanted {
            let got = match self.stream.read(&mut chunk) {
                Ok(got) => got,
                Err(error) => {
                    self.timed_out |= error.kind() == io::ErrorKind::WouldBlock;
                    return Err(error);
                }
            };
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.extend_from_slice(&chunk[..got]);
        }
        Ok(())
    }

    /// Reads up to ReadyForQuery, or to the connection's end.
    pub fn reply(&mut self) -> Reply {
        self.reply_to(None)
    }

    /// The same, and answers COPY FROM with data. In the extended protocol the Sync that came before
    /// them was for nothing: another one is needed.
    fn reply_to(&mut self, data: Option<(&[u8], bool)>) -> Reply {
        let mut reply = Reply::default();
        let mut current = ResultSet::default();
        loop {
            let Ok(message) = self.read() else {
                return reply;
            };
            match message.tag {
                b'T' => current.columns = Some(columns(&message.body)),
                b'D' => current.rows.push(row(&message.body)),
                b'C' => {
                    let tag = String::from_utf8_lossy(&message.body[..message.body.len() - 1]);
                    current.tag = Some(tag.into_owned());
                    reply.results.push(std::mem::take(&mut current));
                }
                b'I' | b's' => reply.results.push(std::mem::take(&mut current)),
                b'E' => {
                    if reply.error.is_none() {
                        reply.error = Some(ServerError::parse(&message.body));
                    }
                    current = ResultSet::default();
                }
                b'N' => reply.notices.push(ServerError::parse(&message.body)),
                b'S' => self.note_parameter(&message.body),
                b'Z' => {
                    reply.status = message.body[0];
                    return reply;
                }
                b'd' => reply.copied.push(message.body),
                // ParseComplete, BindComplete, CloseComplete, NoData, ParameterDescription, notifications, COPY.
                b'1' | b'2' | b'3' | b'n' | b't' | b'A' | b'c' | b'H' => {}
                b'G' => match data {
                    Some((data, sync)) => {
                        self.send(b'd', data);
                        self.send(b'c', b"");
                        if sync {
                            self.send(b'S', b"");
                        }
                    }
                    None => self.send(b'f', b"the suites send no data\0"),
                },
                other => panic!("unexpected message {:?}", other as char),
            }
        }
    }

    fn note_parameter(&mut self, body: &[u8]) {
        let text = String::from_utf8_lossy(body).into_owned();
        let mut parts = text.split('\0').map(str::to_owned);
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            self.parameters.push((name, value));
        }
    }

    /// Sends a Query message without waiting.
    pub fn send_query(&mut self, sql: &str) {
        let mut body = Vec::with_capacity(sql.len() + 1);
        push_text(&mut body, sql);
        self.send(b'Q', &body);
    }

    /// The simple protocol.
    pub fn query(&mut self, sql: &str) -> Reply {
        self.send_query(sql);
        self.reply()
    }

    /// The simple protocol, with the rows of a COPY FROM.
    pub fn query_with(&mut self, sql: &str, data: &[u8]) -> Reply {
        self.send_query(sql);
        self.reply_to(Some((data, false)))
    }

    /// The extended protocol, with the rows of a COPY FROM.
    pub fn extended_with(&mut self, sql: &str, data: &[u8]) -> Reply {
        self.send_extended(sql, &[]);
        self.reply_to(Some((data, true)))
    }

    /// Sends Parse, Bind, Describe, Execute, Sync (unnamed, text format) without waiting.
    pub fn send_extended(&mut self, sql: &str, values: &[Option<&str>]) {
        let mut bytes = frame(b'P', &parse_body("", sql, &[]));
        let values: Vec<_> = values
            .iter()
            .map(|value| value.map(str::as_bytes))
            .collect();
        bytes.extend(frame(b'B', &bind_body("", "", &[], &values, &[])));
        bytes.extend(frame(b'D', b"P\0"));
        bytes.extend(frame(b'E', b"\0\0\0\0\0"));
        bytes.extend(frame(b'S', b""));
        self.send_bytes(&bytes);
    }

    /// The extended protocol, with values in text format.
    pub fn extended(&mut self, sql: &str, values: &[Option<&str>]) -> Reply {
        self.send_extended(sql, values);
        self.reply()
    }

    /// Reads replies until a Sync's ReadyForQuery and returns the messages themselves.
    pub fn messages(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Ok(message) = self.read() {
            let last = message.tag == b'Z';
            messages.push(message);
            if last {
                break;
            }
        }
        messages
    }
}

/// Sends a CancelRequest and waits for the end of its connection. Where nobody listens, none goes.
pub fn cancel(address: SocketAddr, key: &(u32, Vec<u8>)) {
    if let Some(mut client) = ask_to_cancel(address, key) {
        client.read_to_end();
    }
}

/// Sends a CancelRequest, and gives its connection; `None` where nobody listens.
pub fn ask_to_cancel(address: SocketAddr, (pid, secret): &(u32, Vec<u8>)) -> Option<Client> {
    let mut client = Client::raw(address).ok()?;
    let length = u32::try_from(12 + secret.len()).unwrap();
    let head = [length, 80_877_102, *pid].map(u32::to_be_bytes).concat();
    client.send_bytes(&[&head[..], secret].concat());
    Some(client)
}

impl Drop for Client {
    fn drop(&mut self) {
        self.send(b'X', b"");
    }
}

impl Message {
    /// The error or notice in it.
    pub fn error(&self) -> ServerError {
        ServerError::parse(&self.body)
    }
}

/// The type bytes of messages as a text, such as `12nZ`.
pub fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| message.tag as char).collect()
}

fn lost(_: io::Error) -> ServerError {
    ServerError {
        fields: vec![(b'S', "LOST".to_owned()), (b'C', "-----".to_owned())],
    }
}

/// Appends a NUL-terminated text.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// A message with an honest length.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The body of a Parse message.
pub fn parse_body(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, name);
    push_text(&mut body, sql);
    body.extend(u16::try_from(types.len()).unwrap().to_be_bytes());
    for kind in types {
        body.extend(kind.to_be_bytes());
    }
    body
}

/// The body of a Bind message.
pub fn bind_body(
    portal: &str,
    statement: &str,
    formats: &[u16],
    values: &[Option<&[u8]>],
    results: &[u16],
) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, portal);
    push_text(&mut body, statement);
    body.extend(u16::try_from(formats.len()).unwrap().to_be_bytes());
    for format in formats {
        body.extend(format.to_be_bytes());
    }
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(bytes) => {
                body.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
                body.extend_from_slice(bytes);
            }
        }
    }
    body.extend(u16::try_from(results.len()).unwrap().to_be_bytes());
    for format in results {
        body.extend(format.to_be_bytes());
    }
    body
}

/// The body of an Execute message.
pub fn execute_body(portal: &str, limit: u32) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, portal);
    body.extend(limit.to_be_bytes());
    body
}

/// The body of a Describe or Close message: `S` or `P` and a name.
pub fn target_body(kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    push_text(&mut body, name);
    body
}

fn columns(body: &[u8]) -> Vec<Column> {
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|byte| *byte == 0)
            .expect("terminated name");
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        let fixed = &rest[end + 1..end + 19];
        let u32_at = |at: usize| u32::from_be_bytes(fixed[at..at + 4].try_into().unwrap());
        let u16_at = |at: usize| u16::from_be_bytes(fixed[at..at + 2].try_into().unwrap());
        columns.push(Column {
            name,
            origin: (u32_at(0), u16_at(4)),
            kind: (
                u32_at(6),
                u16_at(10).cast_signed(),
                u32_at(12).cast_signed(),
            ),
        });
        rest = &rest[end + 19..];
    }
    columns
}

fn row(body: &[u8]) -> Vec<Value> {
    let mut rest = &body[2..];
    let mut values = Vec::new();
    while !rest.is_empty() {
        let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        values.push(usize::try_from(length).ok().map(|length| {
            let (value, after) = rest.split_at(length);
            rest = after;
            value.to_vec()
        }));
    }
    values
}
