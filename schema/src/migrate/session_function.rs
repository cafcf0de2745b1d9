//! The function that gives the session's tenant: the model's, or one of another name where that
//! name is taken by what reads something else.

use pgwarden_policy::rules::Policy;

use crate::audit::facts::{Facts, sql_type};
use crate::audit::snapshot::Function;
use crate::audit::sources::Source;
use crate::ident::ident;

/// The function.
#[derive(Debug)]
pub(super) struct SessionTenant {
    /// Its qualified name as SQL.
    pub(super) sql: String,
    /// What is to be done about it.
    pub(super) state: State,
}

/// Whether it is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It reads the policy's claim.
    Right,
    /// It reads something else, and is replaced; this was its definition.
    Wrong(String),
    /// There is none.
    Missing,
}

impl SessionTenant {
    pub(super) fn of(facts: &Facts, schema: &str) -> Self {
        let policy = &facts.scoping.policy;
        let usual = format!("auth_{}", policy.tenant.column);
        let sql = |name: &str| format!("{}.{}", ident(schema), ident(name));
        let functions = facts.snapshot.functions.iter();
        let mut named = functions.filter(|it| it.schema == schema && it.name == usual);
        let Some(function) = named.next() else {
            let (sql, state) = (sql(&usual), State::Missing);
            return Self { sql, state };
        };
        if is_right(facts, function) {
            let (sql, state) = (sql(&usual), State::Right);
            return Self { sql, state };
        }
        // It can only be replaced by what returns the same.
        let same = is_replaceable(function, policy) && named.next().is_none();
        match same {
            true => Self {
                sql: sql(&usual),
                state: State::Wrong(function.source.clone()),
            },
            false => {
                let name = format!("{usual}_of_claims");
                let there = facts.snapshot.functions.iter();
                let there = there
                    .filter(|it| it.schema == schema && it.name == name)
                    .any(|it| is_right(facts, it));
                Self {
                    sql: sql(&name),
                    state: if there { State::Right } else { State::Missing },
                }
            }
        }
    }
}

/// Whether it reads the policy's claim and nothing else.
fn is_right(facts: &Facts, function: &Function) -> bool {
    let call = format!("{}()", ident(&function.name));
    let sources = facts.sources(&call);
    let claim = &facts.scoping.policy.tenant.claim.0;
    !sources.is_empty()
        && sources
            .iter()
            .all(|it| matches!(it, Source::Claim(path) if path == claim))
}

fn is_replaceable(function: &Function, policy: &Policy) -> bool {
    let returns = format!("\n RETURNS {}\n", sql_type(policy.tenant.value_type));
    function.sql.ends_with("()") && function.source.contains(&returns)
}
