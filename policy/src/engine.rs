//! The one decision function.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::deny::{Denial, DenyReason};
use crate::plan::Plan;
use crate::rules::{ClaimPath, Policy};
use crate::session::{Protocol, SessionFacts};
use crate::tenant::{ScopeValues, ValueType};

/// Bounds of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest statement text, in bytes.
    pub statement_bytes: usize,
    /// The plan cache's size, in bytes; 0 turns it off.
    pub plan_cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_bytes: 1 << 20,
            plan_cache_bytes: 64 << 20,
        }
    }
}

/// A claim that scopes tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Where it stands in the token.
    pub claim: ClaimPath,
    /// Its type.
    pub value_type: ValueType,
}

/// Something in the policy that does not fit the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingProblem {
    /// The policy's table (or function) that it is about.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// A name that is near, if one is.
    pub suggestion: Option<String>,
}

/// A policy bound to a catalogue, with its plan cache. Made anew when either changes.
#[derive(Debug)]
pub struct Engine {
    policy: Arc<Policy>,
    catalog: Arc<Catalog>,
    limits: Limits,
    slots: Vec<Slot>,
}

/// A statement to judge.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The text as the client sent it.
    pub text: &'a str,
    /// How it came.
    pub protocol: Protocol,
    /// The parameter types that a Parse message declares; 0 is unspecified.
    pub declared: &'a [u32],
    /// The session.
    pub facts: &'a SessionFacts,
    /// The session's scope values.
    pub values: &'a ScopeValues,
}

/// Buffers that are reused from one verdict to the next.
#[derive(Debug, Default)]
pub struct Scratch {}

/// A statement that the engine let through: the only thing that a backend connection sends.
/// Nobody but the engine can make one.
#[derive(Debug)]
pub struct Cleared<'a> {
    text: &'a str,
    plan: Arc<Plan>,
}

impl<'a> Cleared<'a> {
    /// The text to send.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The plan behind it.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }
}

impl Engine {
    /// Binds a policy to a catalogue, or says everything that does not fit.
    pub fn new(
        policy: Arc<Policy>,
        catalog: Arc<Catalog>,
        limits: Limits,
    ) -> Result<Self, Vec<BindingProblem>> {
        let slots = vec![Slot {
            claim: policy.tenant.claim.clone(),
            value_type: policy.tenant.value_type,
        }];
        Ok(Self {
            policy,
            catalog,
            limits,
            slots,
        })
    }

    /// The claims whose values [`ScopeValues`] holds, by slot. Slot 0 is the tenant.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The catalogue.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Judges a text: all statements in it, together.
    ///
    /// # Errors
    /// A [`Denial`], with its SQLSTATE.
    pub fn judge<'s>(
        &self,
        request: Request<'s>,
        _scratch: &'s mut Scratch,
    ) -> Result<Cleared<'s>, Denial> {
        let _ = (self.limits, request);
        Err(Denial::new(
            DenyReason::UnsupportedStatement,
            "statement is not supported yet",
        ))
    }
}
