//! A PostgreSQL client made by hand: blocking, every frame under the test's control.
//!
//! It shares no code with the proxy on purpose. Each client can carry *markers*: byte strings of
//! another tenant. The moment one of them arrives from the server, whatever the message (row,
//! error, notice), the client panics: a leak needs no assertion to be found.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::time::Duration;

mod answers;
mod requests;
mod socket;

pub use answers::{Column, Message, Reply, ResultSet, ServerError, Value, tags, tags_and_codes};
pub use requests::{bind_body, execute_body, frame, parse_body, push_text, target_body};

use crate::patience::patience;
use answers::{columns, row};
use socket::Socket;

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: Socket,
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

impl Client {
    /// Only the socket: nothing is sent.
    pub fn raw(address: SocketAddr) -> io::Result<Self> {
        Self::on(Socket::plain(address)?)
    }

    /// The same with TLS, by a certificate for `localhost` of this authority.
    pub fn raw_over_tls(address: SocketAddr, authority: &Path) -> io::Result<Self> {
        Self::on(Socket::tls(address, authority)?)
    }

    fn on(stream: Socket) -> io::Result<Self> {
        stream.tcp().set_read_timeout(Some(patience()))?;
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
        let client = Self::raw(address).map_err(lost)?;
        client.start(user, database, parameters, password)
    }

    /// Logs in on a socket that nothing was sent to.
    pub fn start(
        mut self,
        user: &str,
        database: &str,
        parameters: &[(&str, &str)],
        password: Option<&str>,
    ) -> Result<Self, ServerError> {
        let mut all = vec![("user", user), ("database", database)];
        all.extend_from_slice(parameters);
        self.send_startup(&all);
        self.log_in(password)?;
        Ok(self)
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
        self.stream.tcp().set_read_timeout(Some(timeout)).unwrap();
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

    /// Our end of the socket.
    pub fn own_address(&self) -> SocketAddr {
        let address = self.stream.tcp().local_addr();
        address.expect("a connected socket has one")
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
        let _ = self.stream.tcp().shutdown(Shutdown::Write);
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
                // Whoever was stopped for a while is told so where a read has a time-out.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
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

fn lost(_: io::Error) -> ServerError {
    ServerError {
        fields: vec![(b'S', "LOST".to_owned()), (b'C', "-----".to_owned())],
    }
}
