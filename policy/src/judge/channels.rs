//! LISTEN, UNLISTEN and NOTIFY: channels that the policy lists.
//!
//! A channel belongs to the database: whoever listens, of whatever tenant, receives what anybody
//! sends. So there is none before the security team has listed it.

use pg_query::protobuf::{FuncCall, ListenStmt, NotifyStmt, UnlistenStmt};

use super::Judge;
use super::settings::PLAIN;
use crate::deny::{Denial, DenyReason};
use crate::plan::{self, Effect, StatementKind, TextPart};

impl Judge<'_> {
    /// Judges LISTEN.
    pub(super) fn listen(&mut self, listen: &ListenStmt) -> Result<StatementKind, Denial> {
        self.channel(&listen.conditionname)?;
        self.findings.effects.push(Effect::Listen);
        Ok(StatementKind::Utility)
    }

    /// UNLISTEN of one channel or all: hearing less is always allowed.
    pub(super) fn unlisten(&mut self, _: &UnlistenStmt) -> Result<StatementKind, Denial> {
        self.findings.effects.push(Effect::Unlisten);
        Ok(StatementKind::Utility)
    }

    /// Judges NOTIFY.
    pub(super) fn notify(&mut self, notify: &NotifyStmt) -> Result<StatementKind, Denial> {
        self.channel(&notify.conditionname)?;
        Ok(StatementKind::Utility)
    }

    /// `pg_notify('channel', …)`: the channel must be a literal, or a parameter that Bind checks.
    pub(super) fn notify_call(&mut self, call: &FuncCall) -> Result<(), Denial> {
        let named = call.args.first();
        if let Some(parameter) = named.and_then(|arg| self.text_parameter(arg, &PLAIN)) {
            let listed = self.bound.policy.channels.iter().cloned().collect();
            self.check_text(parameter, TextPart::Channel(listed));
            return Ok(());
        }
        match named.and_then(|arg| self.pinned_text(arg)) {
            Some(name) => self.channel(&name),
            None => Err(Denial::new(
                DenyReason::ChannelDenied,
                "pg_notify needs the channel as a literal or a parameter",
            )
            .hint("Write the channel's name as a literal or a parameter by itself.")),
        }
    }

    fn channel(&self, name: &str) -> Result<(), Denial> {
        let listed = &self.bound.policy.channels;
        if listed.iter().any(|channel| channel == name) {
            return Ok(());
        }
        Err(plan::unlisted_channel(&format!("channel \"{name}\"")))
    }
}
