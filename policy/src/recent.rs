//! What a session has sent of late: the same text again, or the same but for its integers and plain
//! strings, needs neither the scanner nor the cache.
//!
//! A text is laid beside a remembered one. Where they differ, a literal must stand in both: decimal
//! digits for decimal digits that fit 32 bits, or a quoted string without quotes, backslashes and NUL for a
//! quoted string. What stands before it was scanned alike, so the scanner is in the same state at
//! its first byte; its end is where the digits or the string end, since the byte behind it is the
//! same as in the remembered text, where it ended the literal too. So the two have the same tokens
//! but for the literals' bytes, hence the same shape. A verdict that has read literals is only taken
//! for the very same text, and the same values of the session.

use std::sync::Arc;

use crate::cache::Judged;
use crate::engine::Request;
use crate::scan::{Literal, LiteralKind};
use crate::tenant::ScopeValues;

/// So many texts are remembered.
const TEXTS: usize = 4;

/// A longer text is not: sessions that wait cost little.
const TEXT_BYTES_MAX: usize = 600;

/// Nor is one of more literals.
const LITERALS_MAX: usize = 16;

/// Where all places are taken, one in so many texts that were not there takes the oldest's: who goes
/// round among more texts than there are places pays little for it.
const TURN: usize = 4;

/// So many digits fit 32 bits.
const DIGITS_MAX: usize = 9;

/// A verdict, and whether it has read literals.
pub(crate) struct Known {
    pub(crate) judged: Arc<Judged>,
    reads: bool,
}

impl Known {
    pub(crate) fn of(judged: Arc<Judged>, reads: bool) -> Self {
        Self { judged, reads }
    }
}

/// The texts, with their verdicts.
#[derive(Default)]
pub(crate) struct Recent {
    texts: Vec<Remembered>,
    /// Counts those that were not there.
    missed: usize,
    /// Where the oldest stands.
    oldest: usize,
}

#[derive(Default)]
struct Remembered {
    /// The number of the engine that has judged it.
    engine: u64,
    /// All of the shape's key but the text.
    circumstances: Vec<u8>,
    text: String,
    literals: Vec<Literal>,
    /// The session's values, if the verdict has read literals.
    values: Option<ScopeValues>,
    judged: Option<Arc<Judged>>,
}

impl Recent {
    /// The verdict on a text, if it is known; then `literals` are the text's.
    pub(crate) fn find(
        &self,
        engine: u64,
        circumstances: &[u8],
        request: &Request<'_>,
        literals: &mut Vec<Literal>,
    ) -> Option<&Arc<Judged>> {
        if request.text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let found = self.texts.iter().find(|it| {
            it.engine == engine
                && it.circumstances == circumstances
                && it.stands_for(request, literals)
        })?;
        found.judged.as_ref()
    }

    /// A verdict was found or made elsewhere.
    pub(crate) fn remember(
        &mut self,
        engine: u64,
        circumstances: &[u8],
        request: &Request<'_>,
        literals: &[Literal],
        known: &Known,
    ) {
        if request.text.len() > TEXT_BYTES_MAX || literals.len() > LITERALS_MAX {
            return;
        }
        if self.texts.len() < TEXTS {
            self.oldest = self.texts.len();
            self.texts.reserve_exact(1);
            self.texts.push(Remembered::default());
        } else {
            self.missed += 1;
            if !self.missed.is_multiple_of(TURN) {
                return;
            }
        }
        let Some(place) = self.texts.get_mut(self.oldest) else {
            return;
        };
        place.engine = engine;
        place.circumstances.clear();
        place.circumstances.extend_from_slice(circumstances);
        place.text.clear();
        place.text.push_str(request.text);
        place.literals.clear();
        place.literals.extend_from_slice(literals);
        place.values = known.reads.then(|| request.values.clone());
        place.judged = Some(Arc::clone(&known.judged));
        self.oldest = (self.oldest + 1) % TEXTS;
    }
}

impl Remembered {
    fn stands_for(&self, request: &Request<'_>, literals: &mut Vec<Literal>) -> bool {
        if let Some(values) = &self.values {
            if self.text != request.text || values != request.values {
                return false;
            }
            literals.clear();
            literals.extend_from_slice(&self.literals);
            return true;
        }
        lay_beside(&self.text, &self.literals, request.text, literals)
    }
}

/// Whether two texts are the same but for literals that may stand for each other. Writes where those
/// of the second are.
fn lay_beside(known: &str, theirs: &[Literal], text: &str, literals: &mut Vec<Literal>) -> bool {
    literals.clear();
    let (known, text) = (known.as_bytes(), text.as_bytes());
    // How far each was read.
    let (mut there, mut here) = (0, 0);
    for literal in theirs {
        let (Some(before), Some(written)) = (
            known.get(there..literal.start),
            known.get(literal.start..literal.end),
        ) else {
            return false;
        };
        let Some(rest) = text.get(here..).and_then(|rest| rest.strip_prefix(before)) else {
            return false;
        };
        let Some(length) = like(literal.kind, written, rest) else {
            return false;
        };
        let start = here + before.len();
        literals.push(Literal {
            start,
            end: start + length,
            kind: literal.kind,
        });
        (there, here) = (literal.end, start + length);
    }
    known.get(there..) == text.get(here..)
}

/// The length of the literal at the beginning of a text, if it may stand for one that is known.
fn like(kind: LiteralKind, known: &[u8], text: &[u8]) -> Option<usize> {
    let length = match kind {
        LiteralKind::Integer => {
            let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            return (1..=DIGITS_MAX).contains(&digits).then_some(digits);
        }
        LiteralKind::Text | LiteralKind::Wide | LiteralKind::Number => {
            text.starts_with(known).then_some(known.len())
        }
    };
    let quoted = kind == LiteralKind::Text && known.first() == Some(&b'\'');
    length.or_else(|| quoted.then(|| plain_string(text)).flatten())
}

/// The length of the quoted string at the beginning of a text, up to the first quote in it.
fn plain_string(text: &[u8]) -> Option<usize> {
    let inside = text.strip_prefix(b"'")?;
    let length = inside
        .iter()
        .position(|byte| matches!(byte, b'\'' | b'\\' | 0))?;
    (inside.get(length) == Some(&b'\'')).then_some(length + 2)
}

#[cfg(test)]
mod tests;
