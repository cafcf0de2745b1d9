//! A policy takes the tenant from the wrong place.
//!
//! Why: Users write `user_metadata`, headers and query parameters themselves, so they choose their
//! tenant; a claim that tokens don't hold is NULL, and the application sees nothing.
//!
//! Fix: Read the claim that policy.toml names.

use super::{alter_policy_sql, policy_name};
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::snapshot::{Relation, RowPolicy};
use crate::audit::sources::{self, Source};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "policy_wrong_claim",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let found = facts.deciding().filter_map(|(table, policy)| {
        // What does not look at the tenant takes it from nowhere.
        let texts = [policy.using.as_deref(), policy.check.as_deref()];
        let mut texts = texts.into_iter().flatten();
        let why =
            why(facts, table, policy).filter(|_| texts.any(|it| facts.restricts(table, it)))?;
        let draft = Draft::new(policy_name(table, policy), why);
        Some(alter_policy_sql(facts, table, policy, draft))
    });
    found.collect()
}

pub(super) fn why(facts: &Facts, table: &Relation, policy: &RowPolicy) -> Option<String> {
    let texts = [policy.using.as_deref(), policy.check.as_deref()];
    let mut texts = texts.into_iter().flatten();
    texts.find_map(|it| wrong(facts, table, &facts.sources(it)))
}

fn wrong(facts: &Facts, table: &Relation, sources: &[Source]) -> Option<String> {
    let tenant = &facts.scoping.policy.tenant.claim;
    let keys = facts.keys(table.oid).unwrap_or_default();
    let expected =
        |path: &Vec<String>| path == &tenant.0 || keys.iter().any(|key| key.claim.0 == *path);
    let wanted = tenant.0.join(".");
    // Beside the tenant's own claim another signed one is a further condition.
    let right = sources
        .iter()
        .any(|it| matches!(it, Source::Claim(path) if *path == tenant.0));
    sources.iter().find_map(|source| match source {
        Source::Claim(path) if sources::is_writable(path) => Some(format!(
            "it reads {}, which users write themselves, instead of {wanted}",
            path.join(".")
        )),
        Source::Claim(path) if sources::is_signed_tenant(path) && !expected(path) => {
            let deviates = facts.setting.is_none() && !right;
            deviates.then(|| format!("it reads the claim {}, not {wanted}", path.join(".")))
        }
        Source::Claim(_) => None,
        Source::Setting(name) if sources::is_request(name) => Some(format!(
            "it reads {name}, which clients write themselves, instead of {wanted}"
        )),
        Source::Setting(name) => (facts.setting.as_ref() != Some(name)).then(|| {
            format!("it reads the setting {name}, which any session can set, instead of {wanted}")
        }),
    })
}
