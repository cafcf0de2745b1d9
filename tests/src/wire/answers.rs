//! What the server says: messages, and what a test reads out of them.

use std::fmt;

/// One message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The type byte.
    pub tag: u8,
    /// What follows the length.
    pub body: Vec<u8>,
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

/// The same with the SQLSTATE for an error, such as `1[22P02]Z`.
pub fn tags_and_codes(messages: &[Message]) -> String {
    let shown = |message: &Message| match message.tag {
        b'E' => format!("[{}]", message.error().code()),
        tag => (tag as char).to_string(),
    };
    messages.iter().map(shown).collect()
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

    pub(super) fn parse(body: &[u8]) -> Self {
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

/// The columns of a RowDescription.
pub(super) fn columns(body: &[u8]) -> Vec<Column> {
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

/// The values of a DataRow.
pub(super) fn row(body: &[u8]) -> Vec<Value> {
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
