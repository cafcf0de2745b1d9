//! What was found, and what was done.

use std::fmt::Write;

use serde::Serialize;

use super::decision::Decision;
use super::directory::Changed;

/// Users that are named, of each kind; all are counted.
const NAMED: usize = 20;

/// What a round found and did.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// How many users there are.
    pub(super) users: usize,
    /// Whose claim is right.
    right: usize,
    /// Whose claim was set.
    pub(super) set: usize,
    /// Whose claim is still to be set.
    pub(super) open: usize,
    /// Who has another organisation than the mapping says.
    other: Named,
    /// Of whom the mapping says nothing.
    unmapped: Named,
    /// Of whom it says several organisations.
    ambiguous: Named,
    /// Whose claim can't be set.
    failed: Named,
    #[serde(skip)]
    applied: bool,
    #[serde(skip)]
    stopped: bool,
}

/// Users of one kind.
#[derive(Debug, Default, Serialize)]
struct Named {
    count: usize,
    /// The first of them.
    users: Vec<String>,
}

impl Named {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.users.len() < NAMED {
            self.users.push(what());
        }
    }
}

impl Report {
    /// A user that is left as it is.
    pub(super) fn note(&mut self, user: &str, decision: Decision) {
        match decision {
            Decision::Right => self.right += 1,
            Decision::Set(_) => self.open += 1,
            Decision::Other { has, wanted } => self
                .other
                .add(|| format!("{user} is of {has}, not {wanted}")),
            Decision::Unmapped => self.unmapped.add(|| user.to_owned()),
            Decision::Ambiguous => self.ambiguous.add(|| user.to_owned()),
            Decision::Unfit(why) => self.failed.add(|| format!("{user}: {why}")),
        }
    }

    /// A user that was to be changed.
    pub(super) fn changed(&mut self, user: &str, outcome: Changed) {
        match outcome {
            Changed::Yes => self.set += 1,
            Changed::Meanwhile => self.open += 1,
            Changed::Refused(why) => self.failed.add(|| format!("{user}: {why}")),
        }
    }

    /// Nothing more was tried.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Makes a look after the work the report of both.
    pub(super) fn applied(&mut self, set: usize, work: &Self) {
        self.applied = true;
        self.set = set;
        self.stopped = work.stopped;
        for failed in &work.failed.users {
            if !self.failed.users.contains(failed) {
                self.failed.add(|| failed.clone());
            }
        }
    }

    /// Whether everybody has their organisation, or would have.
    pub(super) fn is_fine(&self) -> bool {
        let left = [&self.other, &self.unmapped, &self.ambiguous, &self.failed];
        left.iter().all(|it| it.count == 0) && (self.open == 0 || !self.applied)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let open = match self.applied {
            true => "still lack it",
            false => "would get it (with --apply)",
        };
        let counts = [
            (self.users, "users"),
            (self.right, "have their organisation"),
        ];
        let set = (self.set, "of them got it now");
        for (count, what) in counts.into_iter().chain([set, (self.open, open)]) {
            if count > 0 || what == "users" {
                // Writing to a String can't fail.
                let _ = writeln!(text, "{count:>10} {what}");
            }
        }
        for (named, what) in [
            (
                &self.other,
                "have another organisation, and were left alone (--overwrite moves them)",
            ),
            (&self.unmapped, "are of no organisation, by the mapping"),
            (&self.ambiguous, "are of several, by the mapping"),
            (&self.failed, "could not be set"),
        ] {
            if named.count > 0 {
                let _ = writeln!(text, "{:>10} {what}:", named.count);
            }
            for user in &named.users {
                let _ = writeln!(text, "             {user}");
            }
            if named.count > named.users.len() {
                let _ = writeln!(text, "             …");
            }
        }
        if self.stopped {
            text.push_str("it was stopped: too many in a row could not be set\n");
        }
        text
    }
}
