//! A SECURITY DEFINER function touches scoped tables and does not ask who calls it.
//!
//! Why: It runs as its owner, whom policies may not bind, and whoever may call it gets what it
//! returns for every tenant.
//!
//! Fix: Make it SECURITY INVOKER; or have it compare the caller's tenant, and take EXECUTE from
//! those who need not call it.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::snapshot::Relation;
use crate::audit::sources;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "security_definer_function",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let functions = facts
        .functions()
        .filter(|it| it.security_definer && !it.trigger)
        // Those above row level security see every row as it is.
        .filter(|it| !it.callers.iter().all(|role| facts.is_above_rls(role)));
    functions
        .filter(|it| facts.sources(sources::body(&it.source)).is_empty())
        .filter_map(|it| {
            let tokens = sources::words(sources::body(&it.source));
            let named = |table: &&Relation| {
                let bare = |token: &&str| token.trim_matches('"') == table.name;
                tokens.iter().any(bare)
            };
            let table = facts.guarded().find(named)?;
            let why = format!(
                "it touches {} with the rights of {}, for {}",
                table.full_name(),
                it.owner,
                it.callers.join(", ")
            );
            let fix = format!("ALTER ROUTINE {} SECURITY INVOKER;", it.sql);
            Some(Draft::new(it.sql.clone(), why).fix(fix))
        })
        .collect()
}
