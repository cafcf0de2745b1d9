//! What an identity may do under a policy: its tenant, its other scope values and its role.

use pgwarden_policy::engine::Slot;
use pgwarden_policy::rules::{ClaimPath, Ddl, RoleTenant};
use pgwarden_policy::{Engine, ScopeValue, ScopeValues, ValueType};
use serde_json::{Map, Value};

use super::{AuthError, Identity};

/// What an identity may do under one policy. Made anew when the policy changes.
#[derive(Debug, Clone)]
pub struct Access {
    /// The values that scoped columns must equal.
    pub values: ScopeValues,
    /// Whether statements are judged; `false` is break glass.
    pub enforce: bool,
    /// What the role may do of DDL, where the policy says so of it.
    pub ddl: Option<Ddl>,
    /// Whether the role may lock tables, where the policy says so of it.
    pub lock: Option<bool>,
    /// The server role to SET ROLE to.
    pub set_role: Option<String>,
    /// Whether the tenant comes with a token for each transaction. Then the values are nobody's.
    pub per_transaction: bool,
}

impl Access {
    /// The same without any value: what a scope guards is denied.
    pub(crate) fn without_values(&self, engine: &Engine) -> Self {
        Self {
            values: ScopeValues::new(vec![None; engine.slots().len()]),
            ..self.clone()
        }
    }

    /// Whether a session that logged in with this one may go on with another.
    pub(crate) fn may_become(&self, other: &Self) -> bool {
        self.has_role_of(other) && (self.per_transaction || self.values == other.values)
    }

    /// Whether another access differs in nothing but its values.
    pub(crate) fn has_role_of(&self, other: &Self) -> bool {
        self.enforce == other.enforce
            && self.ddl == other.ddl
            && self.lock == other.lock
            && self.set_role == other.set_role
    }

    /// The tenant as text, for the audit.
    pub fn tenant(&self) -> Option<String> {
        Some(self.values.get(0)?.with_text(str::to_owned))
    }
}

impl Identity {
    /// What this identity may do under the engine's policy.
    ///
    /// # Errors
    /// When the token lacks the tenant, or has one of the wrong type. Break-glass roles, and those
    /// that bring a token for each transaction, need no tenant.
    pub fn access(&self, engine: &Engine) -> Result<Access, AuthError> {
        Access::of_claims(&self.claims, engine)
    }
}

impl Access {
    /// What these claims give under the engine's policy, whoever signed them or nobody: for
    /// `explain` and the policy's tests, which judge and send nothing.
    pub(crate) fn of_claims(
        claims: &Map<String, Value>,
        engine: &Engine,
    ) -> Result<Self, AuthError> {
        let rule = match claims.get("role") {
            None => None,
            Some(Value::String(name)) => engine.policy().role(name),
            Some(_) => return Err(AuthError::BadRole),
        };
        let enforce = rule.is_none_or(|rule| rule.enforce);
        if rule.is_some_and(|rule| rule.tenant == RoleTenant::PerTransaction) {
            return Ok(Self {
                values: ScopeValues::new(vec![None; engine.slots().len()]),
                enforce,
                ddl: rule.and_then(|rule| rule.ddl),
                lock: rule.and_then(|rule| rule.lock),
                set_role: rule.and_then(|rule| rule.set_role.clone()),
                per_transaction: true,
            });
        }
        let mut slots = engine.slots().iter();
        let mut values = Vec::with_capacity(engine.slots().len());
        if let Some(tenant) = slots.next() {
            values.push(scope_value(claims, tenant)?);
        }
        // Providers put all kinds of things into `sub`. Without a value that fits, the tables which
        // it scopes are denied; the others need not be.
        values.extend(slots.map(|slot| scope_value(claims, slot).unwrap_or_default()));
        if enforce && !matches!(values.first(), Some(Some(_))) {
            return Err(AuthError::NoTenant);
        }
        Ok(Self {
            values: ScopeValues::new(values),
            enforce,
            ddl: rule.and_then(|rule| rule.ddl),
            lock: rule.and_then(|rule| rule.lock),
            set_role: rule.and_then(|rule| rule.set_role.clone()),
            per_transaction: false,
        })
    }
}

/// The value of a slot: `None` when the token lacks the claim.
fn scope_value(claims: &Map<String, Value>, slot: &Slot) -> Result<Option<ScopeValue>, AuthError> {
    let Some(value) = lookup(claims, &slot.claim)? else {
        return Ok(None);
    };
    let value = match (slot.value_type, value) {
        (ValueType::Uuid, Value::String(text)) => uuid_value(text),
        (ValueType::Bigint, Value::Number(number)) => number.as_i64().map(ScopeValue::Bigint),
        (ValueType::Bigint, Value::String(text)) => bigint_value(text),
        (ValueType::Text, Value::String(text)) => text_value(text),
        _ => None,
    };
    let value = value.filter(|value| slot.admits(value));
    value.map(Some).ok_or(AuthError::BadTenant)
}

/// Walks a path through objects only. A missing member, or null at the end, is no value; anything
/// else in the way is of the wrong type.
fn lookup<'a>(
    claims: &'a Map<String, Value>,
    path: &ClaimPath,
) -> Result<Option<&'a Value>, AuthError> {
    let Some((last, parents)) = path.0.split_last() else {
        return Ok(None);
    };
    let mut object = claims;
    for name in parents {
        object = match object.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(inner)) => inner,
            Some(_) => return Err(AuthError::BadTenant),
        };
    }
    Ok(object.get(last).filter(|value| !value.is_null()))
}

/// The hyphenated form, in either case; not the other spellings that parsers take (braces, URN,
/// no hyphens, white space around it).
fn uuid_value(text: &str) -> Option<ScopeValue> {
    if text.len() != 36 {
        return None;
    }
    text.parse().ok().map(ScopeValue::Uuid)
}

/// The one way to write a number: no sign but a minus, no leading zero, no white space.
fn bigint_value(text: &str) -> Option<ScopeValue> {
    let value: i64 = text.parse().ok()?;
    (value.to_string() == text).then_some(ScopeValue::Bigint(value))
}

fn text_value(text: &str) -> Option<ScopeValue> {
    let usable = !text.is_empty() && !text.contains('\0');
    usable.then(|| ScopeValue::Text(text.into()))
}
