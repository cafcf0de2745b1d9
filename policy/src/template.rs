//! The text that is sent for a shape, with holes for the client's literals and, in the simple
//! protocol, for the session's values.
//!
//! A hole exists only where the chain is whole: a literal token of the client's text, the constant
//! that the parser made of it, the constant that the proof paired with it in the rewritten text,
//! and a literal token of the same kind there. Everywhere else the literal is pinned. Filling
//! copies the client's bytes as they are.

use crate::deny::{Denial, DenyReason};
use crate::lookup::Prepared;
use crate::scan::{Literal, LiteralKind, Scan};
use crate::tenant::{ScopeValue, ScopeValues};

/// How the deparser writes a number's cast.
const CAST: &str = "::bigint";

/// What is sent for a shape.
#[derive(Debug)]
pub(crate) enum Template {
    /// The client's own text.
    AsSent,
    /// A rewritten text.
    Rewritten {
        /// The text without what stands in its holes.
        text: Box<str>,
        /// The holes, in order.
        holes: Box<[Hole]>,
        /// The same as a prepared statement, if it is a lookup.
        prepared: Option<Box<Prepared>>,
    },
}

/// A place to fill.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hole {
    /// The byte of the template's text before which it stands.
    at: usize,
    fill: Fill,
}

/// What fills a hole.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fill {
    /// A literal of the client's text.
    Literal(usize),
    /// A value of the session, as a quoted literal.
    Value(usize),
    /// A number of the session that something is compared with; the cast goes with it, since the
    /// server has less to look up for a bare number, and finds an operator for it in the same family.
    Compared(usize),
}

/// A constant that the proof found in both trees: its byte in the client's text and in the
/// rewritten one, and its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Constant {
    pub(crate) original: i32,
    pub(crate) rewritten: i32,
    pub(crate) kind: LiteralKind,
}

/// A template, and the literals that it could not make holes for.
pub(crate) struct Made {
    pub(crate) template: Template,
    pub(crate) unlinked: Vec<u32>,
    /// Where the holes were in the rewritten text.
    pub(crate) cuts: Vec<Cut>,
}

/// A part of the rewritten text that a hole takes the place of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    start: usize,
    end: usize,
    fill: Fill,
}

impl Cut {
    /// Where it begins in the rewritten text.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// What stands in the hole.
    pub(crate) fn fill(&self) -> Fill {
        self.fill
    }
}

/// The literal that a pinned place means, if it is one: everything else is in the key as it is.
pub(crate) fn pin(text: &str, scan: &Scan, location: i32) -> Option<u32> {
    let (start, _) = literal_start(text, location)?;
    u32::try_from(scan.literal_at(start)?).ok()
}

/// The byte of the rewritten text for a byte of the text that was sent.
pub(crate) fn unfill(
    cuts: &[Cut],
    literals: &[Literal],
    values: &ScopeValues,
    sent: usize,
) -> Option<usize> {
    // How far the text that was sent is ahead of the rewritten one.
    let (mut there, mut here) = (0, 0);
    for cut in cuts {
        let before = cut.start - here;
        if sent < there + before {
            break;
        }
        there += before;
        let filled = cut.fill.length(literals, values)?;
        if sent < there + filled {
            return Some(cut.start);
        }
        there += filled;
        here = cut.end;
    }
    Some(here + (sent - there))
}

impl Fill {
    fn length(self, literals: &[Literal], values: &ScopeValues) -> Option<usize> {
        match self {
            Self::Literal(index) => literals.get(index).map(|l| l.end - l.start),
            Self::Value(slot) | Self::Compared(slot) => {
                let mut literal = String::new();
                self.write(values.get(slot)?, &mut literal);
                Some(literal.len())
            }
        }
    }

    /// Appends a value of the session.
    fn write(self, value: &ScopeValue, out: &mut String) {
        match (self, value) {
            // A minus sign would be an operator.
            (Self::Compared(_), ScopeValue::Bigint(0..)) => {
                value.with_text(|text| out.push_str(text))
            }
            (Self::Compared(_), _) => {
                value.write_literal(out);
                out.push_str(CAST);
            }
            (Self::Literal(_) | Self::Value(_), _) => value.write_literal(out),
        }
    }
}

/// The literals of a text that is sent as it came which are not constants of its tree: their
/// values may have decided what the tree is.
pub(crate) fn unlinked(text: &str, scan: &Scan, constants: &[Constant]) -> Vec<u32> {
    let mut linked = vec![false; scan.literals.len()];
    for constant in constants {
        let literal = literal_of(text, scan, constant.original, constant.kind);
        if let Some(linked) = literal.and_then(|(index, _)| linked.get_mut(index)) {
            *linked = true;
        }
    }
    missing(&linked)
}

/// Makes the template of a rewritten text.
///
/// `own` is the number of the client's own parameters; in the simple protocol those behind it are
/// replaced by the values of the `hidden` slots, and `hidden` is `None` in the extended one.
pub(crate) fn make(
    original: (&str, &Scan),
    rewritten: (&str, &Scan),
    constants: &[Constant],
    own: u16,
    hidden: Option<&[usize]>,
) -> Result<Made, Denial> {
    let mut linked = vec![false; original.1.literals.len()];
    let mut cuts: Vec<Cut> = Vec::new();
    for constant in constants {
        let from = literal_of(original.0, original.1, constant.original, constant.kind);
        let to = literal_of(rewritten.0, rewritten.1, constant.rewritten, constant.kind);
        let (Some((index, minus)), Some((hole, minus_there))) = (from, to) else {
            continue;
        };
        let Some(literal) = rewritten.1.literals.get(hole) else {
            continue;
        };
        let once = linked.get(index) == Some(&false);
        if once && minus == minus_there && stands_alone(rewritten.0, literal.start, literal.end) {
            cuts.push(Cut {
                start: literal.start,
                end: literal.end,
                fill: Fill::Literal(index),
            });
            if let Some(linked) = linked.get_mut(index) {
                *linked = true;
            }
        }
    }
    if let Some(slots) = hidden {
        cut_values(rewritten, own, slots, &mut cuts)?;
    }
    cuts.sort_unstable_by_key(|cut| cut.start);
    Ok(Made {
        template: cut_out(rewritten.0, &cuts)?,
        unlinked: missing(&linked),
        cuts,
    })
}

impl Template {
    /// The text to send, written into `out` unless it is the client's own.
    pub(crate) fn fill<'s>(
        &self,
        request: &'s str,
        literals: &[Literal],
        values: &ScopeValues,
        out: &'s mut String,
    ) -> Result<&'s str, Denial> {
        let (text, holes) = match self {
            Self::AsSent => return Ok(request),
            Self::Rewritten { text, holes, .. } => (text, holes),
        };
        out.clear();
        let mut copied = 0;
        for hole in holes {
            out.push_str(text.get(copied..hole.at).ok_or_else(broken)?);
            copied = hole.at;
            match hole.fill {
                Fill::Literal(index) => {
                    let literal = literals.get(index).ok_or_else(broken)?;
                    out.push_str(request.get(literal.start..literal.end).ok_or_else(broken)?);
                }
                Fill::Value(slot) | Fill::Compared(slot) => {
                    let value = values.get(slot).ok_or_else(broken)?;
                    hole.fill.write(value, out);
                }
            }
        }
        out.push_str(text.get(copied..).ok_or_else(broken)?);
        Ok(out)
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::AsSent => 0,
            Self::Rewritten {
                text,
                holes,
                prepared,
            } => {
                let prepared = prepared.as_ref();
                let prepared = prepared.map_or(0, |it| size_of::<Prepared>() + it.heap_bytes());
                text.len() + size_of_val(&**holes) + prepared
            }
        }
    }

    /// The lookup that it is, if it is one.
    pub(crate) fn prepared(&self) -> Option<&Prepared> {
        match self {
            Self::AsSent => None,
            Self::Rewritten { prepared, .. } => prepared.as_deref(),
        }
    }

    /// It is a lookup.
    pub(crate) fn prepare(&mut self, lookup: Prepared) {
        if let Self::Rewritten { prepared, .. } = self {
            *prepared = Some(Box::new(lookup));
        }
    }
}

fn broken() -> Denial {
    Denial::new(
        DenyReason::ProofFailed,
        "statement could not be put together",
    )
}

fn missing(linked: &[bool]) -> Vec<u32> {
    let indexes = (0u32..).zip(linked);
    indexes
        .filter(|(_, linked)| !**linked)
        .map(|(index, _)| index)
        .collect()
}

/// The literal token that a constant was made of, and whether its minus sign is outside of it: the
/// parser takes `-5` for one constant, which begins at the sign.
fn literal_of(text: &str, scan: &Scan, location: i32, kind: LiteralKind) -> Option<(usize, bool)> {
    let (start, minus) = literal_start(text, location)?;
    let index = scan.literal_at(start)?;
    let like = scan.literals.get(index)?.kind.is_like(kind);
    like.then_some((index, minus))
}

fn literal_start(text: &str, location: i32) -> Option<(usize, bool)> {
    let location = usize::try_from(location).ok()?;
    if text.as_bytes().get(location)? != &b'-' {
        return Some((location, false));
    }
    let rest = text.get(location + 1..)?;
    let blank = rest.len() - rest.trim_start_matches(' ').len();
    Some((location + 1 + blank, true))
}

/// Whether another token of the same kind in that place would still be a token of its own.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let bytes = text.as_bytes();
    let before = start.checked_sub(1).and_then(|at| bytes.get(at));
    let neutral = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric();
    let before = before.is_none_or(|byte| {
        neutral(byte) && !matches!(byte, b'_' | b'$' | b'.' | b'\'' | b'"' | b'&')
    });
    let after = bytes.get(end);
    let after = after
        .is_none_or(|byte| neutral(byte) && !matches!(byte, b'_' | b'$' | b'.' | b'\'' | b'"'));
    before && after
}

/// Cuts out the hidden parameters. Each must be there: without its value it would reach the
/// server as a parameter that nobody binds.
fn cut_values(
    (text, scan): (&str, &Scan),
    own: u16,
    slots: &[usize],
    cuts: &mut Vec<Cut>,
) -> Result<(), Denial> {
    for (at, token) in scan.tokens.iter().enumerate() {
        if !crate::scan::is(token, pg_query::protobuf::Token::Param) {
            continue;
        }
        let (start, end) = crate::scan::range(token);
        let digits = text.get(start + 1..end).ok_or_else(broken)?;
        let number: usize = digits.parse().map_err(|_| broken())?;
        if let Some(behind) = number.checked_sub(usize::from(own) + 1) {
            let slot = slots.get(behind).ok_or_else(broken)?;
            if !stands_alone(text, start, end) {
                return Err(broken());
            }
            let cast = compared((text, scan), at);
            cuts.push(Cut {
                start,
                end: cast.unwrap_or(end),
                fill: match cast {
                    Some(_) => Fill::Compared(*slot),
                    None => Fill::Value(*slot),
                },
            });
        }
    }
    Ok(())
}

/// Where the cast of a parameter ends that is the number a column is compared with. (What is no column
/// may be of no type yet, and would take the number's.)
fn compared((text, scan): (&str, &Scan), at: usize) -> Option<usize> {
    const OPERATOR: &str = "OPERATOR(pg_catalog.=) ";
    const TOKENS: usize = 7;
    let (start, end) = crate::scan::range(scan.tokens.get(at)?);
    let column = scan.tokens.get(at.checked_sub(TOKENS)?)?;
    let before = crate::scan::is(column, pg_query::protobuf::Token::Ident)
        && text.get(..start)?.ends_with(OPERATOR);
    let behind = text.get(end..)?.strip_prefix(CAST)?.bytes().next();
    let ends = matches!(behind, None | Some(b' ' | b')'));
    (before && ends).then_some(end + CAST.len())
}

fn cut_out(text: &str, cuts: &[Cut]) -> Result<Template, Denial> {
    let mut kept = String::with_capacity(text.len());
    let mut holes = Vec::with_capacity(cuts.len());
    let mut copied = 0;
    for cut in cuts {
        kept.push_str(text.get(copied..cut.start).ok_or_else(broken)?);
        holes.push(Hole {
            at: kept.len(),
            fill: cut.fill,
        });
        copied = cut.end;
    }
    kept.push_str(text.get(copied..).ok_or_else(broken)?);
    Ok(Template::Rewritten {
        text: kept.into(),
        holes: holes.into(),
        prepared: None,
    })
}

/// The rewritten text with a parameter in each hole, numbered in their order.
pub(crate) fn number(text: &str, cuts: &[Cut]) -> Result<Box<str>, Denial> {
    let mut numbered = String::with_capacity(text.len());
    let mut copied = 0;
    for (cut, number) in cuts.iter().zip(1..) {
        numbered.push_str(text.get(copied..cut.start).ok_or_else(broken)?);
        numbered.push_str(&format!("${number}"));
        if matches!(cut.fill, Fill::Compared(_)) {
            numbered.push_str(CAST);
        }
        copied = cut.end;
    }
    numbered.push_str(text.get(copied..).ok_or_else(broken)?);
    Ok(numbered.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(rewritten: &str, value: ScopeValue) -> String {
        let original = "SELECT 1";
        let mut scans = [Scan::default(), Scan::default()];
        let [theirs, own] = &mut scans;
        theirs.read(original).unwrap();
        own.read(rewritten).unwrap();
        let made = make((original, theirs), (rewritten, own), &[], 0, Some(&[0])).unwrap();
        let values = ScopeValues::new(vec![Some(value)]);
        let mut out = String::new();
        let sent = made.template.fill(original, &[], &values, &mut out);
        let sent = sent.unwrap().to_owned();
        // Every byte of what was not cut out is found again.
        for (at, byte) in rewritten.bytes().enumerate() {
            let there = sent
                .bytes()
                .enumerate()
                .find(|(there, _)| unfill(&made.cuts, &[], &values, *there) == Some(at));
            let cut = made
                .cuts
                .iter()
                .any(|cut| (cut.start..cut.end).contains(&at));
            assert!(
                cut || there.is_some_and(|(_, found)| found == byte),
                "{sent}"
            );
        }
        sent
    }

    #[test]
    fn a_number_that_a_column_is_compared_with_is_bare() {
        let text = "SELECT a FROM t WHERE t.b OPERATOR(pg_catalog.=) $1::bigint AND c";
        let sent = |number| filled(text, ScopeValue::Bigint(number));
        let of = |value| format!("SELECT a FROM t WHERE t.b OPERATOR(pg_catalog.=) {value} AND c");
        assert_eq!(sent(7), of("7"));
        assert_eq!(sent(i64::MAX), of("9223372036854775807"));
        assert_eq!(sent(-7), of("'-7'::bigint"));
        let text = "SELECT CASE WHEN a.b OPERATOR(pg_catalog.=) $1::bigint THEN $1::bigint END";
        assert_eq!(
            filled(text, ScopeValue::Bigint(7)),
            "SELECT CASE WHEN a.b OPERATOR(pg_catalog.=) 7 THEN '7'::bigint END"
        );
    }

    #[test]
    fn what_is_of_no_type_is_compared_with_a_bigint() {
        for left in [
            "'99999999999'",
            "NULL",
            "(SELECT 'a')",
            "CASE WHEN a THEN 'b' END",
        ] {
            let text = format!("SELECT {left} OPERATOR(pg_catalog.=) $1::bigint");
            assert_eq!(
                filled(&text, ScopeValue::Bigint(7)),
                format!("SELECT {left} OPERATOR(pg_catalog.=) '7'::bigint")
            );
        }
        let id = uuid::Uuid::nil();
        assert_eq!(
            filled(
                "SELECT a.b OPERATOR(pg_catalog.=) $1::uuid",
                ScopeValue::Uuid(id)
            ),
            format!("SELECT a.b OPERATOR(pg_catalog.=) '{id}'::uuid")
        );
    }
}
