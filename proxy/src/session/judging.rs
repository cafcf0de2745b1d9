//! The session's side of the engine: whose statements are judged, under which policy, with which
//! facts.

use std::sync::Arc;
use std::time::SystemTime;

use pgwarden_policy::temporary::Temporaries;
use pgwarden_policy::{
    Catalog, Cleared, Denial, DenyReason, Engine, Plan, Protocol, Request, Scratch, SessionFacts,
};

use super::given::Given;
use super::names::{Basis, Statement};
pub(super) use super::tenancy::Refusal;
use super::tenancy::{Tenancy, Use};
use super::views::Views;
use crate::auth::{Access, AuthError, Identity};
use crate::database::Database;

/// The verdict on a text of this length may take milliseconds.
const LONG_TEXT_BYTES: usize = 4 << 10;

/// What a session's verdicts depend on.
pub(super) struct Judging {
    database: Arc<Database>,
    tenancy: Tenancy,
    /// The database's engine, as the session has last seen it.
    shared: Arc<Engine>,
    /// The engine in use: the same, or one that knows what the open transaction has made.
    engine: Arc<Engine>,
    access: Access,
    facts: SessionFacts,
    basis: Basis,
    views: Views,
    /// The state of the database's catalogue in which the facts were asked for.
    generation: u64,
    scratch: Scratch,
}

/// Whether the facts that were asked for still hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Facts {
    Hold,
    /// Schemas may have come, gone, or been granted since.
    Stale,
    /// The policy gives another server role, or none: the one in force is not the session's.
    AnotherRole,
}

impl Judging {
    /// Binds an identity to a database.
    ///
    /// # Errors
    /// When the token gives no access to it.
    pub(super) fn new(database: Arc<Database>, identity: Identity) -> Result<Self, AuthError> {
        let generation = database.generation();
        let engine = Arc::clone(&database.engine());
        let mut tenancy = Tenancy::new(identity, &engine)?;
        let access = tenancy.access(&engine)?;
        let facts = SessionFacts {
            search_path: Vec::new(),
            temporaries: Temporaries::default(),
            enforce: access.enforce,
            ddl: access.ddl,
            lock: access.lock,
        };
        Ok(Self {
            database,
            tenancy,
            shared: Arc::clone(&engine),
            engine,
            access,
            facts,
            basis: Basis::default(),
            views: Views::default(),
            generation,
            scratch: Scratch::default(),
        })
    }

    /// The policy or the catalogue may have been changed since the last statement. What was known of the
    /// open transaction is not, then.
    ///
    /// # Errors
    /// When the token gives no access any more.
    pub(super) fn refresh(&mut self) -> Result<Facts, AuthError> {
        let current = self.database.engine();
        let mut another_role = false;
        if !Arc::ptr_eq(&current, &self.shared) {
            let engine = Arc::clone(&current);
            let access = self.tenancy.access(&engine)?;
            another_role = access.set_role != self.access.set_role;
            self.access = access;
            self.facts.enforce = self.access.enforce;
            self.facts.ddl = self.access.ddl;
            self.facts.lock = self.access.lock;
            self.shared = Arc::clone(&engine);
            self.engine = engine;
            self.basis.engine += 1;
            if let Some(temporaries) = self.views.rules_changed() {
                self.facts.temporaries = temporaries;
                self.basis.path += 1;
            }
        }
        // Counted before the engine is replaced, so it is looked at afterwards.
        let generation = self.database.generation();
        let former = std::mem::replace(&mut self.generation, generation);
        Ok(if another_role {
            Facts::AnotherRole
        } else if former == generation {
            Facts::Hold
        } else {
            Facts::Stale
        })
    }

    /// Whether neither the policy nor the catalogue was changed since the last statement.
    pub(super) fn is_current(&self) -> bool {
        self.generation == self.database.generation()
            && Arc::ptr_eq(&self.database.engine(), &self.shared)
    }

    /// Whether statements are judged by what only the open transaction sees.
    pub(super) fn is_passing(&self) -> bool {
        !Arc::ptr_eq(&self.engine, &self.shared)
    }

    /// From now on statements are judged by the catalogue as the open transaction sees it.
    pub(super) fn pass(&mut self, catalog: Catalog) {
        let engine = beside_all(|| self.database.passing(&self.shared, catalog));
        self.engine = Arc::new(engine);
        self.rebase();
    }

    /// From now on they are judged by the database's again.
    pub(super) fn leave_passing(&mut self) {
        if self.is_passing() {
            self.engine = Arc::clone(&self.shared);
            self.rebase();
        }
    }

    /// The state of the catalogue in which the facts were asked for.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The database.
    pub(super) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Whose claims are in force.
    pub(super) fn identity(&self) -> &Identity {
        self.tenancy.in_force()
    }

    /// The identity that the session stands and falls with.
    pub(super) fn login(&self) -> &Identity {
        self.tenancy.login()
    }

    /// Whether the tenant may be another in the next transaction.
    pub(super) fn floats(&self) -> bool {
        self.tenancy.floats()
    }

    /// What a token would be to the session now.
    pub(super) fn check_token(&self, identity: &Identity) -> Result<Use, Refusal> {
        self.tenancy.check(identity, &self.engine)
    }

    /// Puts a token in force that was checked when it was sent on.
    pub(super) fn adopt(&mut self, given: &Given) {
        match self.check_token(&given.identity) {
            Ok(usage) => self.tenancy.adopt(given, usage),
            // The policy has changed meanwhile: the client must not go on as somebody else.
            Err(_) => self.tenancy.lose(given),
        }
        self.rebase();
    }

    /// A statement is run with the values in force.
    pub(super) fn note_use(&mut self) {
        self.tenancy.note_use(&self.access);
    }

    /// Gives whether others are in force now.
    pub(super) fn end_transaction(&mut self) -> bool {
        let changed = self.tenancy.end_transaction();
        if changed {
            self.rebase();
        }
        changed
    }

    /// Takes tokens out of force that are no longer good. Gives whether there was one.
    pub(super) fn expire(&mut self) -> bool {
        let expired = self.tenancy.expire(SystemTime::now());
        if expired {
            self.rebase();
        }
        expired
    }

    /// Others are in force, or another engine: what was judged before was judged for those only.
    fn rebase(&mut self) {
        self.basis.engine += 1;
        self.access = match self.tenancy.access(&self.engine) {
            Ok(access) => access,
            Err(_) => self.access.without_values(&self.engine),
        };
    }

    /// Says what is missing where there is no tenant because no token was given.
    pub(super) fn explain(&self, denial: Denial) -> Denial {
        let expired = self.tenancy.is_expired();
        if denial.reason != DenyReason::MissingClaim || !(self.floats() || expired) {
            return denial;
        }
        let text = if expired {
            "the token has expired"
        } else {
            "no token was given for this transaction"
        };
        let mut own = Denial::new(DenyReason::TokenRequired, text)
            .hint("Send SET LOCAL pgwarden.token = '<token>' first.");
        if expired {
            own.sqlstate = "28000";
        }
        own.table = denial.table;
        own.position = denial.position;
        own.kind = denial.kind;
        own.fingerprint = denial.fingerprint;
        own
    }

    /// What the identity may do.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// The engine in use.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What verdicts are based on now.
    pub(super) fn basis(&self) -> Basis {
        self.basis
    }

    /// The server has told the effective `search_path`.
    pub(super) fn set_search_path(&mut self, search_path: &[String]) {
        if self.facts.search_path != search_path {
            self.facts.search_path = search_path.to_vec();
            self.basis.path += 1;
        }
    }

    /// A statement that may make temporary relations is on its way.
    pub(super) fn note_temporaries(&mut self) {
        self.views.made();
    }

    /// The server has told the session's temporary relations, inside of a `transaction` or outside.
    pub(super) fn set_temporaries(&mut self, told: Temporaries, transaction: bool) {
        let temporaries = self.views.told(told, transaction);
        if self.facts.temporaries != temporaries {
            self.facts.temporaries = temporaries;
            self.basis.path += 1;
        }
    }

    /// The session's temporary relations.
    pub(super) fn temporaries(&self) -> &Temporaries {
        &self.facts.temporaries
    }

    /// Judges a text.
    ///
    /// # Errors
    /// The denial.
    pub(super) fn judge<'s>(
        &'s mut self,
        text: &'s str,
        protocol: Protocol,
        declared: &'s [u32],
    ) -> Result<Cleared<'s>, Denial> {
        let request = Request {
            text,
            protocol,
            declared,
            facts: &self.facts,
            values: &self.access.values,
        };
        let (engine, scratch) = (&self.engine, &mut self.scratch);
        let verdict = beside_others(text, || engine.judge(request, scratch));
        let reason = match &verdict {
            Ok(cleared) => cleared.plan().observed.as_ref().and_then(|it| it.reason),
            Err(denial) => Some(denial.reason),
        };
        if reason.is_some_and(is_of_unknown) {
            self.database.suspect_change();
        }
        verdict
    }

    /// The position in the client's text of a position in the text that the server has.
    pub(super) fn map_position(
        &mut self,
        text: &str,
        protocol: Protocol,
        declared: &[u32],
        position: u32,
    ) -> Option<u32> {
        let request = Request {
            text,
            protocol,
            declared,
            facts: &self.facts,
            values: &self.access.values,
        };
        let engine = Arc::clone(&self.engine);
        let scratch = &mut self.scratch;
        beside_others(text, || engine.map_position(&request, scratch, position))
    }

    /// The plan of a prepared statement as of now. When the policy, the catalogue or the search
    /// path has changed since it was prepared, it is judged again; the server keeps the text of
    /// then, so any other outcome is a denial.
    ///
    /// # Errors
    /// The denial.
    pub(super) fn plan_of(&mut self, statement: &Statement) -> Result<Arc<Plan>, Denial> {
        if statement.basis == self.basis {
            return Ok(Arc::clone(&statement.plan));
        }
        // Only a Query holds several, of which one was PREPARE.
        let protocol = if statement.plan.statements > 1 {
            Protocol::Simple
        } else {
            Protocol::Extended
        };
        let now = self.judge(&statement.text, protocol, &statement.declared)?;
        let plan = now.plan();
        if now.text() == statement.sent() && plan.hidden == statement.plan.hidden {
            return Ok(Arc::clone(plan));
        }
        Err(Denial::new(
            DenyReason::UnsupportedConstruct,
            "the statement was prepared under another policy or search_path",
        )
        .hint("Prepare it again."))
    }
}

/// Whether a denial is about something that the catalogue does not hold, or no more.
fn is_of_unknown(reason: DenyReason) -> bool {
    matches!(
        reason,
        DenyReason::UnknownRelation
            | DenyReason::UnknownFunction
            | DenyReason::UnknownOperator
            | DenyReason::UnknownType
            | DenyReason::UnfitRelation
            | DenyReason::AmbiguousColumn
    )
}

/// While a long text is judged, the sessions that share the thread go on, on another.
fn beside_others<T>(text: &str, judge: impl FnOnce() -> T) -> T {
    if text.len() < LONG_TEXT_BYTES {
        judge()
    } else {
        beside_all(judge)
    }
}

fn beside_all<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
