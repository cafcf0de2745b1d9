//! The rows of COPY FROM STDIN into a scoped table: every row holds the session's own values before
//! its end goes on to the server.
//!
//! [`Rows`] is the part of a plan that says how the rows are written and where the keys stand;
//! [`Guard`] reads the data as it comes, cut anywhere, in bounded memory. [`Checked`] is what the
//! server may see: nothing else makes one. Whatever PostgreSQL may read in another way than this
//! reader is refused, and a refusal ends the whole COPY.

mod binary;
mod fill;
mod lines;

use crate::deny::{Denial, DenyReason};
use crate::plan::Plan;
use crate::tenant::{ScopeValue, ScopeValues};

/// How the rows of a COPY FROM are written, and what they must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// `schema.table`.
    pub table: String,
    /// The format.
    pub format: Format,
    /// How many columns the client writes.
    pub columns: usize,
    /// The keys among them.
    pub keys: Vec<KeyColumn>,
    /// The keys behind them, which the client left out.
    pub fills: Vec<Fill>,
}

/// A key that every row is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Whose value it holds.
    pub slot: usize,
    /// The oid of its column's type, which the binary format depends on.
    pub type_oid: u32,
}

/// A key among the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its place in the rows, from 0.
    pub column: usize,
    /// Whose value it holds.
    pub slot: usize,
}

/// The format of a COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// `text`.
    Text(Style),
    /// `csv`.
    Csv(Style),
    /// `binary`.
    Binary,
}

/// The options of the formats that have lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    /// DELIMITER.
    pub delimiter: u8,
    /// QUOTE, which is also ESCAPE; csv only.
    pub quote: u8,
    /// NULL.
    pub null: Box<[u8]>,
    /// Whether the first line is no row.
    pub header: bool,
}

/// Data that was checked.
#[derive(Debug)]
pub struct Checked<'a>(&'a [u8]);

impl Checked<'_> {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0
    }
}

/// Checks and fills the data of one COPY; by default, of none that needs it.
#[derive(Debug, Default)]
pub struct Guard(Option<Scoped>);

#[derive(Debug)]
struct Scoped {
    table: String,
    reader: Reader,
    /// Whether rows get more than the client wrote.
    fills: bool,
    /// The data as the server is to see it, where they do.
    filled: Vec<u8>,
}

#[derive(Debug)]
enum Reader {
    Lines(lines::Lines),
    Binary(binary::Binary),
}

impl Guard {
    /// The guard of a plan's COPY.
    ///
    /// # Errors
    /// When the session lacks a value that the rows must hold.
    pub fn new(plan: &Plan, values: &ScopeValues) -> Result<Self, Denial> {
        let Some(rows) = &plan.rows else {
            return Ok(Self(None));
        };
        let mut keys = Vec::with_capacity(rows.keys.len());
        for key in &rows.keys {
            let Some(value) = values.get(key.slot) else {
                let text = "the token lacks the claim that scopes the table";
                return Err(Denial::new(DenyReason::MissingClaim, text).table(&rows.table));
            };
            keys.push((key.column, value.clone()));
        }
        let mut fills = Vec::with_capacity(rows.fills.len());
        for fill in &rows.fills {
            let Some(value) = values.get(fill.slot) else {
                let text = "the token lacks the claim that scopes the table";
                return Err(Denial::new(DenyReason::MissingClaim, text).table(&rows.table));
            };
            fills.push((value, fill.type_oid));
        }
        let row_end = fill::row_end(&rows.format, &fills).map_err(|bad| bad.denial(&rows.table))?;
        let reader = match &rows.format {
            Format::Text(style) => Reader::Lines(lines::Lines::text(style, keys, row_end)),
            Format::Csv(style) => Reader::Lines(lines::Lines::csv(style, keys, row_end)),
            Format::Binary => {
                let added = fills.len();
                Reader::Binary(binary::Binary::new(rows.columns, keys, (added, row_end)))
            }
        };
        Ok(Self(Some(Scoped {
            table: rows.table.clone(),
            reader,
            fills: !fills.is_empty(),
            filled: Vec::new(),
        })))
    }

    /// Checks the next piece of the data, and fills its rows.
    ///
    /// # Errors
    /// A row may hold a value that is not the session's. Nothing of the piece may go on, and the
    /// COPY must be failed.
    pub fn take<'d>(&'d mut self, data: &'d [u8]) -> Result<Checked<'d>, Denial> {
        let Some(scoped) = &mut self.0 else {
            return Ok(Checked(data));
        };
        scoped.filled.clear();
        let taken = match &mut scoped.reader {
            Reader::Lines(lines) => lines.take(data, &mut scoped.filled),
            Reader::Binary(binary) => binary.take(data, &mut scoped.filled),
        };
        taken.map_err(|bad| bad.denial(&scoped.table))?;
        Ok(Checked(if scoped.fills { &scoped.filled } else { data }))
    }

    /// Checks that the data ends where it may; gives what the last row still lacks.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn finish(&mut self) -> Result<Checked<'_>, Denial> {
        let Some(scoped) = &mut self.0 else {
            return Ok(Checked(&[]));
        };
        scoped.filled.clear();
        let ended = match &mut scoped.reader {
            Reader::Lines(lines) => lines.finish(&mut scoped.filled),
            Reader::Binary(binary) => binary.finish(),
        };
        ended.map_err(|bad| bad.denial(&scoped.table))?;
        Ok(Checked(&scoped.filled))
    }
}

/// A row that must not be stored.
#[derive(Debug, PartialEq, Eq)]
struct Bad {
    /// Its line; of binary data its number.
    line: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// A key is not the session's value.
    Foreign,
    /// The server may read it in another way.
    Unclear(&'static str),
}

impl Bad {
    fn denial(&self, table: &str) -> Denial {
        let line = self.line;
        let denial = match self.what {
            What::Foreign => Denial::new(
                DenyReason::ForeignTenantValue,
                format!("COPY line {line} holds a value of the tenant column that is not the session's own"),
            )
            .hint("Nothing was stored. Write the value of the token's claim in every row."),
            What::Unclear(what) => Denial::new(
                DenyReason::UnprovenTenantValue,
                format!("COPY line {line} can't be checked: {what}"),
            ),
        };
        denial.table(table)
    }
}

/// The keys that rows must hold, by column.
type Keys = Vec<(usize, ScopeValue)>;

/// More bytes than any spelling of a value that could match.
const SLACK: usize = 64;

/// Adds a piece to a key's bytes; `false` when there are too many for the value.
fn gather(value: &mut Vec<u8>, piece: &[u8], own: &ScopeValue) -> bool {
    let most = match own {
        ScopeValue::Text(text) => text.len(),
        ScopeValue::Uuid(_) | ScopeValue::Bigint(_) => SLACK,
    };
    value.extend_from_slice(piece.get(..piece.len().min(most + 1)).unwrap_or(piece));
    value.len() <= most
}
