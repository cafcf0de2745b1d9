//! A statement's shape: its text with the literals taken out, and all else that the verdict may
//! depend on.
//!
//! Equal keys mean equal verdicts, so a key leaves nothing to a hash: it is compared whole. It
//! holds the protocol, the session's facts, which slots have a value, the declared types, and the
//! text with a mark of two bytes (which no UTF-8 text holds) in place of each literal. A variant's
//! key adds what the verdict read beyond that: the pinned literals, and with them the session's
//! values, since a pinned literal may have been compared with those.

use crate::engine::Request;
use crate::rules::Ddl;
use crate::scan::{Literal, LiteralKind, Scan};
use crate::session::Protocol;
use crate::tenant::ScopeValues;

/// No byte of a UTF-8 text.
const MARK: u8 = 0xff;

/// Writes the key of a text's shape, up to the text.
pub(crate) fn write_circumstances(key: &mut Vec<u8>, request: &Request<'_>) {
    key.clear();
    key.push(match request.protocol {
        Protocol::Simple => b's',
        Protocol::Extended => b'x',
    });
    key.push(u8::from(request.facts.enforce));
    key.push(match request.facts.ddl {
        None => 0,
        Some(Ddl::Deny) => 1,
        Some(Ddl::Unscoped) => 2,
    });
    key.push(request.facts.lock.map_or(2, u8::from));
    write_count(key, request.values.iter().count());
    key.extend(request.values.iter().map(|value| u8::from(value.is_some())));
    write_count(key, request.facts.search_path.len());
    for schema in &request.facts.search_path {
        write_bytes(key, schema.as_bytes());
    }
    write_bytes(key, request.facts.temporaries.key());
    write_count(key, request.declared.len());
    for oid in request.declared {
        key.extend_from_slice(&oid.to_le_bytes());
    }
}

/// Turns a shape's key into that of one of its variants.
pub(crate) fn add_pins(key: &mut Vec<u8>, request: &Request<'_>, scan: &Scan, pins: &[u32]) {
    key.extend_from_slice(&[MARK, b'p']);
    write_count(key, pins.len());
    for pin in pins {
        key.extend_from_slice(&pin.to_le_bytes());
        write_bytes(key, literal_bytes(request.text, scan, *pin));
    }
    write_values(key, request.values);
}

/// Ends the key of a text's shape.
pub(crate) fn write_text(key: &mut Vec<u8>, text: &[u8], literals: &[Literal]) {
    let mut copied = 0;
    for literal in literals {
        key.extend_from_slice(text.get(copied..literal.start).unwrap_or_default());
        key.extend_from_slice(&[
            MARK,
            match literal.kind {
                LiteralKind::Integer => b'i',
                LiteralKind::Wide => b'w',
                LiteralKind::Number => b'n',
                LiteralKind::Text => b't',
            },
        ]);
        copied = literal.end;
    }
    key.extend_from_slice(text.get(copied..).unwrap_or_default());
}

fn write_values(key: &mut Vec<u8>, values: &ScopeValues) {
    for value in values.iter() {
        match value {
            None => key.push(0),
            Some(value) => {
                key.push(1);
                value.with_text(|text| write_bytes(key, text.as_bytes()));
            }
        }
    }
}

fn literal_bytes<'a>(text: &'a str, scan: &Scan, index: u32) -> &'a [u8] {
    let literal = usize::try_from(index)
        .ok()
        .and_then(|at| scan.literals.get(at));
    let range = literal.map_or(0..0, |literal| literal.start..literal.end);
    text.as_bytes().get(range).unwrap_or_default()
}

fn write_bytes(key: &mut Vec<u8>, bytes: &[u8]) {
    write_count(key, bytes.len());
    key.extend_from_slice(bytes);
}

fn write_count(key: &mut Vec<u8>, count: usize) {
    key.extend_from_slice(&count.to_le_bytes());
}

/// A stable number of a shape, the same in every process (FNV-1a).
pub(crate) fn fingerprint(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
