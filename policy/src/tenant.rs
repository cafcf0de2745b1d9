//! Tenant values: what a signed claim gives and what a scoped column is compared with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of a tenant column and of the claim that scopes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// `uuid`.
    Uuid,
    /// `bigint`; `integer` and `smallint` columns are compared with it too.
    Bigint,
    /// `text` or `varchar`.
    Text,
}

impl ValueType {
    /// The type's name in pg_catalog.
    pub fn pg_name(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Bigint => "int8",
            Self::Text => "text",
        }
    }

    /// The type's oid (fixed in `pg_type.dat`).
    pub fn oid(self) -> u32 {
        match self {
            Self::Uuid => 2950,
            Self::Bigint => 20,
            Self::Text => 25,
        }
    }
}

/// One value of a scope: the organisation of a session, or its user.
///
/// `Debug` does not show the value: it may stand in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum ScopeValue {
    /// A UUID.
    Uuid(uuid::Uuid),
    /// A number.
    Bigint(i64),
    /// A text without NUL bytes.
    Text(Box<str>),
}

impl ScopeValue {
    /// The value's type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Uuid(_) => ValueType::Uuid,
            Self::Bigint(_) => ValueType::Bigint,
            Self::Text(_) => ValueType::Text,
        }
    }

    /// Appends the value in the protocol's text format.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Self::Uuid(value) => {
                let mut buffer = uuid::Uuid::encode_buffer();
                out.extend_from_slice(value.hyphenated().encode_lower(&mut buffer).as_bytes());
            }
            Self::Bigint(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Text(value) => out.extend_from_slice(value.as_bytes()),
        }
    }

    /// Appends the value in the protocol's binary format.
    pub fn write_binary(&self, out: &mut Vec<u8>) {
        match self {
            Self::Uuid(value) => out.extend_from_slice(value.as_bytes()),
            Self::Bigint(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Text(value) => out.extend_from_slice(value.as_bytes()),
        }
    }

    /// Appends the value as a quoted SQL literal without a cast
    /// (`standard_conforming_strings` is on in every session).
    pub fn write_literal(&self, out: &mut Vec<u8>) {
        out.push(b'\'');
        match self {
            Self::Text(value) => {
                for byte in value.bytes() {
                    if byte == b'\'' {
                        out.push(b'\'');
                    }
                    out.push(byte);
                }
            }
            Self::Uuid(_) | Self::Bigint(_) => self.write_text(out),
        }
        out.push(b'\'');
    }
}

impl fmt::Debug for ScopeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopeValue::{:?}(…)", self.value_type())
    }
}

/// The values of one session, by slot. Slot 0 is the tenant; further slots are the claims that the
/// policy scopes other tables by, in the order of [`crate::Engine::slots`]. A slot without a value
/// (the token lacks that claim) makes the statements that need it denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ScopeValues {
    values: Vec<Option<ScopeValue>>,
}

impl ScopeValues {
    /// Values in the order of the engine's slots.
    pub fn new(values: Vec<Option<ScopeValue>>) -> Self {
        Self { values }
    }

    /// The value of a slot.
    pub fn get(&self, slot: usize) -> Option<&ScopeValue> {
        self.values.get(slot)?.as_ref()
    }
}
