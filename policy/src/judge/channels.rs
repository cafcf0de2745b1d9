//! LISTEN, UNLISTEN and NOTIFY: channels that the policy lists.
//!
//! A channel belongs to the database: whoever listens, of whatever tenant, receives what anybody
//! sends. So there is none before the security team has listed it.

use pg_query::protobuf::{FuncCall, ListenStmt, NotifyStmt, UnlistenStmt};

use super::Judge;
use crate::deny::{Denial, DenyReason};
use crate::plan::{Effect, StatementKind};

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

    /// `pg_notify('channel', …)`: the channel must be a literal.
    pub(super) fn notify_call(&mut self, call: &FuncCall) -> Result<(), Denial> {
        let name = call.args.first().and_then(|arg| self.pinned_text(arg));
        match name {
            Some(name) => self.channel(&name),
            None => Err(Denial::new(
                DenyReason::ChannelDenied,
                "pg_notify needs the channel as a literal",
            )),
        }
    }

    fn channel(&self, name: &str) -> Result<(), Denial> {
        let listed = &self.bound.policy.channels;
        if listed.iter().any(|channel| channel == name) {
            return Ok(());
        }
        Err(Denial::new(
            DenyReason::ChannelDenied,
            format!("channel \"{name}\" is not listed in the policy"),
        )
        .hint(
            "Its notifications would reach every tenant. The policy can list it under [channels].",
        ))
    }
}
