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

    /// Does something with the value in the protocol's text format, which takes no allocation.
    pub fn with_text<T>(&self, use_it: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Uuid(value) => {
                let mut buffer = uuid::Uuid::encode_buffer();
                use_it(value.hyphenated().encode_lower(&mut buffer))
            }
            Self::Bigint(value) => use_it(itoa::Buffer::new().format(*value)),
            Self::Text(value) => use_it(value),
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
    pub fn write_literal(&self, out: &mut String) {
        out.push('\'');
        self.with_text(|text| {
            for (number, part) in text.split('\'').enumerate() {
                if number > 0 {
                    out.push_str("''");
                }
                out.push_str(part);
            }
        });
        out.push('\'');
    }

    /// Whether a text that PostgreSQL would read as this type means this value. Every form that
    /// the type's input function accepts is read as it reads it; what it refuses never matches.
    pub fn matches_text(&self, text: &[u8]) -> bool {
        match self {
            Self::Uuid(value) => uuid_from_text(text).as_ref() == Some(value.as_bytes()),
            Self::Bigint(value) => bigint_from_text(text) == Some(*value),
            Self::Text(value) => value.as_bytes() == text,
        }
    }

    /// Whether a value in the protocol's binary format means this value. Integers may come in the
    /// width of `smallint`, `integer` or `bigint`.
    pub fn matches_binary(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Uuid(value) => value.as_bytes() == bytes,
            Self::Bigint(value) => bigint_from_binary(bytes) == Some(*value),
            Self::Text(value) => value.as_bytes() == bytes,
        }
    }
}

/// `uuid_in`: hexadecimal digits in either case, optionally in braces, with an optional hyphen
/// after each four digits. White space is not allowed.
fn uuid_from_text(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text.strip_prefix(b"{") {
        Some(inner) => inner.strip_suffix(b"}")?,
        None => text,
    };
    let mut value = [0; 16];
    for (at, byte) in value.iter_mut().enumerate() {
        let (high, low, after) = match rest {
            [high, low, after @ ..] => (hex_digit(*high)?, hex_digit(*low)?, after),
            _ => return None,
        };
        *byte = high << 4 | low;
        rest = match after {
            [b'-', after @ ..] if at % 2 == 1 && at < 15 => after,
            _ => after,
        };
    }
    rest.is_empty().then_some(value)
}

fn hex_digit(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// `int8in` as of PostgreSQL 15: white space around a decimal number with an optional sign. The
/// hexadecimal, octal, binary and underscore forms of PostgreSQL 16 do not match, which is safe.
fn bigint_from_text(text: &[u8]) -> Option<i64> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let start = text.iter().position(|byte| !is_space(byte))?;
    let end = text.iter().rposition(|byte| !is_space(byte))?;
    let number = std::str::from_utf8(text.get(start..=end)?).ok()?;
    // `i64::from_str` reads exactly what is left: one sign, then decimal digits.
    number.parse().ok()
}

fn bigint_from_binary(bytes: &[u8]) -> Option<i64> {
    if let Ok(wide) = bytes.try_into() {
        return Some(i64::from_be_bytes(wide));
    }
    if let Ok(plain) = bytes.try_into() {
        return Some(i32::from_be_bytes(plain).into());
    }
    bytes
        .try_into()
        .ok()
        .map(|short| i16::from_be_bytes(short).into())
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

    /// The slots in order, with their values.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Option<&ScopeValue>> {
        self.values.iter().map(Option::as_ref)
    }

    /// The value of a slot.
    pub fn get(&self, slot: usize) -> Option<&ScopeValue> {
        self.values.get(slot)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: uuid::Uuid = uuid::uuid!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");

    #[test]
    fn uuid_forms_are_those_of_uuid_in() {
        let value = ScopeValue::Uuid(ID);
        for same in [
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
        ] {
            assert!(value.matches_text(same.as_bytes()), "{same}");
        }
        for other in [
            "",
            " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 ",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0-eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
        ] {
            assert!(!value.matches_text(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn bigint_forms_are_those_of_int8in() {
        let value = ScopeValue::Bigint(42);
        for same in ["42", "+42", " 42", "42\t\n", "0042"] {
            assert!(value.matches_text(same.as_bytes()), "{same}");
        }
        for other in ["", " ", "-42", "4 2", "42.0", "4_2", "0x2a", "+-42", "42\0"] {
            assert!(!value.matches_text(other.as_bytes()), "{other}");
        }
        assert!(ScopeValue::Bigint(i64::MIN).matches_text(b"-9223372036854775808"));
    }

    #[test]
    fn binary_integers_match_in_each_width() {
        let value = ScopeValue::Bigint(-2);
        assert!(value.matches_binary(&(-2i16).to_be_bytes()));
        assert!(value.matches_binary(&(-2i32).to_be_bytes()));
        assert!(value.matches_binary(&(-2i64).to_be_bytes()));
        assert!(!value.matches_binary(&[0xfe]));
        assert!(!value.matches_binary(&2i64.to_be_bytes()));
    }
}
