//! ErrorResponse and NoticeResponse: what the client may see of them, and in whose names.

use std::borrow::Cow;

use pgwarden_policy::rules::ErrorDetail;
use pgwarden_policy::{Denial, DenyReason, Protocol, Verdict};

use super::ahead::Ahead;
use super::detail::Shown;
use super::names::Names;
use super::parse::uses_temporary;
use super::queue::Expect;
use super::refusing::{IN_FAILED_TRANSACTION, RefusedAs};
use super::{Passed, Session, Skip, Stop};
use crate::wire::{Report, report};

/// What the rewritten ON CONFLICT raises when the conflicting row is another tenant's.
const FOREIGN_CONFLICT: &[u8] = b"pgwarden: conflicting row belongs to another tenant";
/// What the check of a written reference to a parent raises.
const FOREIGN_REFERENCE: &[u8] = b"pgwarden: reference to a row of another tenant";

/// What the rewritten INSERT raises when a row that it computes is another tenant's.
const FOREIGN_ROW: &[u8] = b"pgwarden: the row to insert belongs to another tenant";

/// What a computed channel raises that is not listed.
const UNLISTED_CHANNEL: &[u8] = b"pgwarden: channel is not listed in the policy";

/// How names on the server begin that the client never gave.
const OUR_PREFIX: &[u8] = b"pgwarden_";

impl Session {
    /// ErrorResponse.
    pub(super) fn error(&mut self, body: &[u8]) -> Result<Passed, Stop> {
        let severity = report::field(body, b'V').or_else(|| report::field(body, b'S'));
        if matches!(severity, Some(b"FATAL" | b"PANIC")) {
            if self.can_swap() {
                return Err(Stop::Lost);
            }
            // Whatever we owe, this session is over, and the client learns why from the server.
            report::rewrite(&mut self.to_client, b'E', body, |_, value| {
                Some(value.into())
            });
            return Err(Stop::ServerSaid);
        }
        let Some(front) = self.queue.front_mut() else {
            return self.error_of_nothing(body);
        };
        if front.expect.is_own() {
            return self.own_error(body);
        }
        if self.lookup_fails(body) || self.trial_fails(body) {
            return Ok(Passed::Done);
        }
        self.trial_succeeds();
        let Some(front) = self.queue.front_mut() else {
            return Err(Stop::desynchronised());
        };
        // It is not in force.
        front.token = None;
        if self.known.ahead == Ahead::Followed {
            // The claims are taken back with the transaction.
            self.known.lose();
        }
        let sqlstate = report::field(body, b'C').unwrap_or_default();
        if front.started.is_some() {
            front.sqlstate = Some(sqlstate.into());
        }
        // DDL has given a statement other columns.
        if sqlstate == b"0A000" && report::field(body, b'R') == Some(b"RevalidateCachedQuery") {
            self.prepared.distrust();
            if let Some(sharing) = &mut self.sharing {
                sharing.distrusts = !sharing.attached;
            }
        }
        match front.refused.take() {
            None => {
                if hints_at_change(sqlstate, body) {
                    self.judging.database().suspect_change();
                }
                self.relay_error(body, sqlstate);
            }
            Some(own) => {
                let refused_as = self.refused_report(&own, sqlstate);
                self.report_refused(*own, refused_as, body);
            }
        }
        self.fail_front();
        Ok(Passed::Done)
    }

    /// Between two messages of a pipeline the server may fail, too: a `statement_timeout` that is noticed late. It
    /// skips what follows up to the Sync.
    fn error_of_nothing(&mut self, body: &[u8]) -> Result<Passed, Stop> {
        if !self.pipeline_open {
            return Err(Stop::desynchronised());
        }
        self.known.lose();
        self.skip = Skip::Server;
        self.relay_fields(b'E', body, Shown::All);
        Ok(Passed::Done)
    }

    fn report_refused(&mut self, own: Report, refused_as: RefusedAs, body: &[u8]) {
        match refused_as {
            RefusedAs::Own => own.write(&mut self.to_client),
            RefusedAs::Server => {
                report::rewrite(&mut self.to_client, b'E', body, |code, value| {
                    (code != b'P').then(|| value.into())
                });
            }
            RefusedAs::InFailedTransaction => {
                let message = "current transaction is aborted, commands ignored until end of transaction block";
                Report::error(IN_FAILED_TRANSACTION, message).write(&mut self.to_client);
            }
        }
    }

    fn relay_error(&mut self, body: &[u8], sqlstate: &[u8]) {
        let message = report::field(body, b'M').unwrap_or_default();
        if let Some((reason, text)) = raised(sqlstate, message) {
            let mut denial = Denial::new(reason, text);
            if let Some(front) = self.queue.front_mut() {
                // Its line says that it was denied, and is written now.
                front.started = None;
                if let Some(plan) = &front.plan {
                    denial = denial.of(plan);
                }
            }
            self.proxy.metrics().denial(denial.reason);
            self.record_refused(&denial);
            Report::from(denial).write(&mut self.to_client);
            return;
        }
        let judging = &self.judging;
        let engine = judging.engine();
        let redacts = judging.access().enforce
            && engine.policy().defaults.error_detail == ErrorDetail::Redact;
        let shown = match redacts {
            true => Shown::of(engine, sqlstate, body),
            false => Shown::All,
        };
        self.relay_fields(b'E', body, shown);
    }

    /// NoticeResponse.
    pub(super) fn notice(&mut self, body: &[u8]) -> Result<Passed, Stop> {
        self.trial_succeeds();
        let front = self.queue.front();
        if front.is_some_and(|front| front.expect.is_own() || front.refused.is_some()) {
            return Ok(Passed::Done);
        }
        self.relay_fields(b'N', body, Shown::All);
        Ok(Passed::Done)
    }

    fn relay_fields(&mut self, tag: u8, body: &[u8], shown: Shown) {
        let position = self.client_position(body);
        let names = &self.names;
        report::rewrite(&mut self.to_client, tag, body, |code, value| match code {
            b'D' if shown != Shown::All => shown.detail(value),
            b'P' => position.map(|position| position.to_string().into_bytes().into()),
            b'M' | b'D' | b'H' if contains(value, OUR_PREFIX) => Some(in_their_names(value, names)),
            _ => Some(value.into()),
        });
    }

    /// Where in the client's own text the error is, if it is in any of it.
    fn client_position(&mut self, body: &[u8]) -> Option<u32> {
        let position = std::str::from_utf8(report::field(body, b'P')?).ok()?;
        let position = position.parse().ok()?;
        let front = self.queue.front()?;
        let judging = &mut self.judging;
        if let Some(statement) = &front.statement {
            if statement.rewritten.is_none() {
                return Some(position);
            }
            let (text, declared) = (&statement.text, &statement.declared);
            return judging.map_position(text, Protocol::Extended, declared, position);
        }
        let plan = front.plan.as_ref()?;
        let (number, text) = &self.last_query;
        let is_query = matches!(front.expect, Expect::Query | Expect::Spread);
        if is_query && *number == front.transaction {
            let kept = Some(text).filter(|text| !text.is_empty())?;
            return judging.map_position(kept, Protocol::Simple, &[], position);
        }
        // Only the text of the last Query is kept.
        let as_it_came = plan.verdict == Verdict::Pass && !uses_temporary(plan);
        as_it_came.then_some(position)
    }
}

/// Puts the client's names of statements in the place of ours.
fn in_their_names<'a>(text: &'a [u8], names: &Names) -> Cow<'a, [u8]> {
    let Ok(mut rest) = std::str::from_utf8(text) else {
        return text.into();
    };
    let prefix = "pgwarden_";
    let mut out = Vec::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once(prefix) {
        out.extend_from_slice(before.as_bytes());
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (number, behind) = after.split_at(digits);
        let ours = format!("{prefix}{number}");
        let theirs = names.client_name(&ours);
        out.extend_from_slice(theirs.unwrap_or(ours.as_bytes()));
        rest = behind;
    }
    out.extend_from_slice(rest.as_bytes());
    out.into()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether a statement that was judged by the catalogue may have failed because that is no longer
/// the server's: something has no such name, or a prepared statement no longer gives the same.
pub(super) fn hints_at_change(sqlstate: &[u8], body: &[u8]) -> bool {
    match sqlstate {
        // Undefined table, column, object, function, schema; wrong kind of object.
        b"42P01" | b"42703" | b"42704" | b"42883" | b"3F000" | b"42809" => true,
        b"0A000" => report::field(body, b'R') == Some(b"RevalidateCachedQuery"),
        _ => false,
    }
}

/// What it means when an expression that the rewriter added raises.
fn raised(sqlstate: &[u8], message: &[u8]) -> Option<(DenyReason, &'static str)> {
    if sqlstate != b"22P02" {
        return None;
    }
    let texts = [
        (
            FOREIGN_CONFLICT,
            DenyReason::ForeignTenantValue,
            "the row conflicts with a row that is not the session's own",
        ),
        (
            FOREIGN_REFERENCE,
            DenyReason::ForeignTenantValue,
            "the row refers to a parent that is not the session's own",
        ),
        (
            FOREIGN_ROW,
            DenyReason::ForeignTenantValue,
            "the row to insert is not the session's own",
        ),
        (
            UNLISTED_CHANNEL,
            DenyReason::ChannelDenied,
            "the channel is not listed in the policy",
        ),
    ];
    let mut texts = texts.into_iter();
    let found = texts.find(|(marker, ..)| contains(message, marker));
    found.map(|(_, reason, text)| (reason, text))
}
