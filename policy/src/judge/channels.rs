//! LISTEN, UNLISTEN and NOTIFY: channels that the policy lists.
//!
//! A channel belongs to the database: whoever listens, of whatever tenant, receives what anybody
//! sends. So there is none before the security team has listed it. One that is computed is looked up in
//! the list when the statement runs (form I13).

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, ListenStmt, Node, NotifyStmt, UnlistenStmt};

use super::calls::have_places;
use super::names::{Ty, strings};
use super::settings::{PLAIN, TEXTS};
use super::{Judge, unsupported};
use crate::deny::{Denial, DenyReason};
use crate::plan::{self, Effect, StatementKind, TextPart};
use crate::rewrite;
use crate::rules::Mode;

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

    /// `pg_notify('channel', …)`: a literal is looked up at once, a parameter by Bind, and what is computed
    /// when it runs.
    pub(super) fn notify_call(&mut self, call: &mut FuncCall, given: &[Ty]) -> Result<(), Denial> {
        let named = call.args.first();
        if let Some(parameter) = named.and_then(|arg| self.text_parameter(arg, &PLAIN)) {
            let listed = self.bound.policy.channels.iter().cloned().collect();
            self.check_text(parameter, TextPart::Channel(listed));
            return Ok(());
        }
        match named.and_then(|arg| self.pinned_text(arg)) {
            Some(name) => self.channel(&name),
            None => self.computed_channel(call, given),
        }
    }

    fn computed_channel(&mut self, call: &mut FuncCall, given: &[Ty]) -> Result<(), Denial> {
        let policy = &self.bound.policy;
        let is_text = match given.first() {
            Some(Ty::Known(oid)) => TEXTS.contains(oid),
            // What else it may give (arrays, JSON) has no text that is a channel's name.
            Some(Ty::Unknown | Ty::Builtin) => call.args.first().is_some_and(concatenates),
            Some(Ty::Adaptable) | None => false,
        };
        let places = have_places(call);
        // Where nothing is rewritten nothing would look it up.
        let can_look = is_text && places && policy.mode == Mode::Enforce;
        let Some(name) = call.args.first_mut().filter(|_| can_look) else {
            return Err(Denial::new(
                DenyReason::ChannelDenied,
                "pg_notify needs the channel as a literal, a parameter, or a text",
            )
            .hint("Write the channel's name as a literal or a parameter by itself, or cast what computes it to text."));
        };
        if policy.channels.is_empty() {
            return Err(plan::unlisted_channel("a computed channel"));
        }
        if name.node.as_ref().is_some_and(|it| self.may_be_set(it)) {
            return Err(unsupported("a channel for each of several rows")
                .hint("Put the function that gives rows into FROM."));
        }
        *name = rewrite::listed(&policy.channels, rewrite::take(name));
        self.rewritten();
        Ok(())
    }

    fn channel(&self, name: &str) -> Result<(), Denial> {
        let listed = &self.bound.policy.channels;
        if listed.iter().any(|channel| channel == name) {
            return Ok(());
        }
        Err(plan::unlisted_channel(&format!("channel \"{name}\"")))
    }
}

fn concatenates(node: &Node) -> bool {
    match node.node.as_ref() {
        Some(NodeEnum::AExpr(expr)) => strings(&expr.name).is_ok_and(|name| name == ["||"]),
        _ => false,
    }
}
