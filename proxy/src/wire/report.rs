//! ErrorResponse: our own, and the server's read and written again.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use pgwarden_policy::Denial;

use super::answer;

/// What the server says of a statement that a cancel has ended.
pub const CANCELLED: &str = "canceling statement due to user request";

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement has failed.
    Error,
    /// The session ends.
    Fatal,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// An ErrorResponse of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    severity: Severity,
    sqlstate: &'static str,
    message: Cow<'static, str>,
    detail: Option<String>,
    hint: Option<Cow<'static, str>>,
    position: Option<u32>,
}

impl Report {
    /// A failed statement.
    pub fn error(sqlstate: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            severity: Severity::Error,
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
        }
    }

    /// The end of a session.
    pub fn fatal(sqlstate: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            severity: Severity::Fatal,
            ..Self::error(sqlstate, message)
        }
    }

    /// With a hint.
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, ending the session.
    pub fn into_fatal(self) -> Self {
        Self {
            severity: Severity::Fatal,
            ..self
        }
    }

    /// Its SQLSTATE.
    pub fn sqlstate(&self) -> &'static str {
        self.sqlstate
    }

    /// Appends it.
    pub fn write(&self, out: &mut BytesMut) {
        answer::message(out, b'E', |out| {
            put(out, b'S', self.severity.as_str());
            put(out, b'V', self.severity.as_str());
            put(out, b'C', self.sqlstate);
            put(out, b'M', &self.message);
            if let Some(detail) = &self.detail {
                put(out, b'D', detail);
            }
            if let Some(hint) = &self.hint {
                put(out, b'H', hint);
            }
            if let Some(position) = self.position {
                put(out, b'P', &position.to_string());
            }
            out.put_u8(0);
        });
    }
}

impl From<Denial> for Report {
    fn from(denial: Denial) -> Self {
        Self {
            detail: Some(denial.detail()),
            hint: Some(denial.help().into()),
            position: denial.position,
            ..Self::error(denial.sqlstate, denial.message)
        }
    }
}

fn put(out: &mut BytesMut, code: u8, value: &str) {
    out.put_u8(code);
    answer::string(out, value.as_bytes());
}

/// The fields of an ErrorResponse or NoticeResponse, in order.
pub fn fields(body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let parts = body.split(|byte| *byte == 0);
    parts.map_while(|part| part.split_first().map(|(code, value)| (*code, value)))
}

/// One field.
pub fn field(body: &[u8], wanted: u8) -> Option<&[u8]> {
    fields(body).find_map(|(code, value)| (code == wanted).then_some(value))
}

/// Appends an ErrorResponse or NoticeResponse with its fields changed: `change` gives the new
/// value of a field, or `None` to leave it out.
pub fn rewrite<'a>(
    out: &mut BytesMut,
    tag: u8,
    body: &'a [u8],
    mut change: impl FnMut(u8, &'a [u8]) -> Option<Cow<'a, [u8]>>,
) {
    answer::message(out, tag, |out| {
        for (code, value) in fields(body) {
            if let Some(value) = change(code, value) {
                out.put_u8(code);
                answer::string(out, &value);
            }
        }
        out.put_u8(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgwarden_policy::DenyReason;

    #[test]
    fn a_denial_carries_reason_table_hint_and_position() {
        let mut denial = Denial::new(DenyReason::ReadOnlyRelation, "no")
            .table("public.plans")
            .hint("Read it.");
        denial.position = Some(3);
        let mut out = BytesMut::new();
        Report::from(denial).write(&mut out);
        let body = out.get(5..).unwrap();
        let text =
            |code| field(body, code).map(|value| String::from_utf8_lossy(value).into_owned());
        assert_eq!(text(b'S').as_deref(), Some("ERROR"));
        assert_eq!(text(b'C').as_deref(), Some("42501"));
        assert_eq!(text(b'M').as_deref(), Some("pgwarden: no"));
        let detail = "reason=read_only_relation table=public.plans";
        assert_eq!(text(b'D').as_deref(), Some(detail));
        let hint = "Read it. See docs/deny/read_only_relation.";
        assert_eq!(text(b'H').as_deref(), Some(hint));
        assert_eq!(text(b'P').as_deref(), Some("3"));
    }

    #[test]
    fn fields_are_changed_and_left_out() {
        let mut out = BytesMut::new();
        rewrite(
            &mut out,
            b'E',
            b"SERROR\0Dsecret\0P9\0\0",
            |code, value| match code {
                b'D' => None,
                b'P' => Some(b"4".to_vec().into()),
                _ => Some(value.into()),
            },
        );
        assert_eq!(&out[..], b"E\0\0\0\x0fSERROR\0P4\0\0");
    }

    #[test]
    fn a_body_without_end_is_read_as_far_as_it_goes() {
        assert_eq!(field(b"Cabc", b'C'), Some(&b"abc"[..]));
        assert_eq!(field(b"", b'C'), None);
    }
}
