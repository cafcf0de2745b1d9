//! The temporary views of a session, and what they were judged by.
//!
//! A temporary view keeps its query as it was rewritten when it was made. When the policy or the catalogue
//! has changed since, a table under it may have become a tenant's, so the view is refused until it is
//! made again. (Lasting views have their queries judged whenever they are read.)

use std::collections::HashMap;

use pgwarden_policy::temporary::Temporaries;

/// When each was made, counted in policies and catalogues that the session has seen.
#[derive(Debug, Default)]
pub(super) struct Views {
    made: HashMap<String, u64>,
    /// What the server has told last.
    told: Temporaries,
    /// When the statement was judged that made or dropped something last.
    last: u64,
    /// Policies and catalogues so far.
    seen: u64,
}

impl Views {
    /// The policy or the catalogue has changed. Gives what the session has now, if that is less.
    pub(super) fn rules_changed(&mut self) -> Option<Temporaries> {
        self.seen += 1;
        (!self.made.is_empty()).then(|| self.barred())
    }

    /// A statement that may make one was judged.
    pub(super) fn made(&mut self) {
        self.last = self.seen;
    }

    /// The server has told what there is; gives what of it may be read. Inside of a `transaction` a
    /// rollback may bring back what is not there.
    pub(super) fn told(&mut self, told: Temporaries, transaction: bool) -> Temporaries {
        let last = self.last;
        if !transaction {
            self.made
                .retain(|name, _| told.views().any(|view| view == name));
        }
        for view in told.views() {
            if !self.made.contains_key(view) {
                self.made.insert(view.to_owned(), last);
            }
        }
        self.told = told;
        self.barred()
    }

    fn barred(&self) -> Temporaries {
        let seen = self.seen;
        self.told.barring(|view| self.made.get(view) != Some(&seen))
    }
}
