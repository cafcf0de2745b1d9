//! Whose rows a session reads now: its login's, or those of a token that it was given since.
//!
//! A role whose tenant is `per_transaction` logs in without one. What `SET` gives stays until the
//! next, what `SET LOCAL` gives until the transaction ends; neither is a setting of the server, so
//! a rollback (also one to a savepoint) leaves it as it is. Within a transaction the tenant does not
//! change once a statement has run under one: portals and cursors would go on with the former's rows.
//! A token that expires leaves nobody in its place, not whoever was before. Pinned sessions can
//! only be renewed: same tenant, user and role.

use std::sync::Arc;
use std::time::SystemTime;

use pgwarden_policy::{Engine, ScopeValues};

use super::given::Given;
use crate::auth::{Access, AuthError, Identity};

/// Why a session can't change to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is expired, or gives no access.
    NotValid,
    /// It would change the server role, or whether statements are judged.
    AnotherRole,
    /// The session has one tenant.
    Pinned,
    /// The transaction has another tenant already.
    AnotherTenant,
}

/// What a token would be to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The login's own again, with a later end.
    Renewal,
    /// A tenant's.
    Tenant,
}

/// Who was given at one level.
#[derive(Debug, Default)]
enum Level {
    #[default]
    Nobody,
    Token(Arc<Identity>),
    /// A token that is no longer good.
    Expired,
}

/// The tokens of a session.
#[derive(Debug)]
pub(super) struct Tenancy {
    login: Arc<Identity>,
    login_access: Access,
    session: Level,
    transaction: Level,
    /// The values under which statements have run in this transaction.
    used: Option<ScopeValues>,
}

impl Tenancy {
    pub(super) fn new(login: Identity, engine: &Engine) -> Result<Self, AuthError> {
        Ok(Self {
            login_access: login.access(engine)?,
            login: Arc::new(login),
            session: Level::Nobody,
            transaction: Level::Nobody,
            used: None,
        })
    }

    /// The identity that the session began with, renewed or not.
    pub(super) fn login(&self) -> &Arc<Identity> {
        &self.login
    }

    /// Whether the tenant may be another in the next transaction.
    pub(super) fn floats(&self) -> bool {
        self.login_access.per_transaction
    }

    /// Whose claims are in force.
    pub(super) fn in_force(&self) -> &Arc<Identity> {
        match self.level() {
            Level::Token(identity) => identity,
            Level::Nobody | Level::Expired => &self.login,
        }
    }

    /// Whether a token was given that is no longer good.
    pub(super) fn is_expired(&self) -> bool {
        matches!(self.level(), Level::Expired)
    }

    fn level(&self) -> &Level {
        match &self.transaction {
            Level::Nobody => &self.session,
            level => level,
        }
    }

    /// Takes tokens that are no longer good out of force. Gives whether there was one.
    pub(super) fn expire(&mut self, now: SystemTime) -> bool {
        let mut expired = false;
        for level in [&mut self.session, &mut self.transaction] {
            if matches!(level, Level::Token(identity) if identity.expires_at() <= now) {
                *level = Level::Expired;
                expired = true;
            }
        }
        expired
    }

    /// The access of who is in force. The policy may be another than before.
    ///
    /// # Errors
    /// When the login has no access any more.
    pub(super) fn access(&mut self, engine: &Engine) -> Result<Access, AuthError> {
        self.login_access = self.login.access(engine)?;
        Ok(match self.level() {
            Level::Nobody => self.login_access.clone(),
            Level::Expired => self.login_access.without_values(engine),
            Level::Token(identity) => match identity.access(engine) {
                Ok(access) if self.login_access.may_become(&access) => access,
                Ok(_) | Err(_) => self.login_access.without_values(engine),
            },
        })
    }

    /// What a token would be to the session now.
    pub(super) fn check(&self, identity: &Identity, engine: &Engine) -> Result<Use, Refusal> {
        if identity.expires_at() <= SystemTime::now() {
            return Err(Refusal::NotValid);
        }
        let access = identity.access(engine).map_err(|_| Refusal::NotValid)?;
        let login = &self.login_access;
        if !login.has_role_of(&access) {
            return Err(Refusal::AnotherRole);
        }
        let same_user =
            identity.subject() == self.login.subject() && identity.role() == self.login.role();
        if same_user && access.values == login.values {
            return Ok(Use::Renewal);
        }
        if !login.per_transaction || access.per_transaction {
            return Err(Refusal::Pinned);
        }
        match &self.used {
            Some(used) if *used != access.values => Err(Refusal::AnotherTenant),
            _ => Ok(Use::Tenant),
        }
    }

    /// Puts a token in force.
    pub(super) fn adopt(&mut self, given: &Given, usage: Use) {
        let token = Level::Token(Arc::clone(&given.identity));
        if given.local {
            self.transaction = token;
            return;
        }
        self.transaction = Level::Nobody;
        self.session = match usage {
            Use::Tenant => token,
            Use::Renewal => {
                self.login = Arc::clone(&given.identity);
                Level::Nobody
            }
        };
    }

    /// Leaves nobody where a token can't be put in force.
    pub(super) fn lose(&mut self, given: &Given) {
        let level = match given.local {
            true => &mut self.transaction,
            false => &mut self.session,
        };
        *level = Level::Expired;
    }

    /// A statement is run under these values.
    pub(super) fn note_use(&mut self, access: &Access) {
        if self.floats() && self.used.is_none() && access.values.get(0).is_some() {
            self.used = Some(access.values.clone());
        }
    }

    /// Gives whether others are in force now.
    pub(super) fn end_transaction(&mut self) -> bool {
        self.used = None;
        !matches!(std::mem::take(&mut self.transaction), Level::Nobody)
    }
}
