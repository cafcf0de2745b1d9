//! The role that the proxy logs in with is too powerful.
//!
//! Why: Whatever passes the proxy runs as this role: above row level security, or able to change
//! it, there is no second line.
//!
//! Fix: A role that owns nothing and may read and write only.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::snapshot::Role;
use crate::ident::ident;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "proxy_role",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let roles = &facts.snapshot.roles;
    let checked = roles.iter().filter(|role| match &facts.proxy_role {
        Some(name) => role.name == *name,
        None => is_application(facts, role),
    });
    checked.filter_map(|role| about(facts, role)).collect()
}

/// Roles that are meant to be above row level security.
const ADMINISTRATORS: &[&str] = &["postgres", "service_role", "supabase_admin"];

/// Without a name: a role that logs in and was given scoped tables.
fn is_application(facts: &Facts, role: &Role) -> bool {
    role.logs_in
        && !ADMINISTRATORS.contains(&role.name.as_str())
        && facts.guarded().any(|it| it.is_granted_to(&role.name))
}

fn about(facts: &Facts, role: &Role) -> Option<Draft> {
    let powers = powers(role);
    let owned = facts.guarded().find(|it| it.owner == role.name);
    let broken: Vec<&str> = facts
        .scoping
        .policy
        .roles
        .iter()
        .filter_map(|it| it.set_role.as_deref())
        .collect();
    let through = role.member_of.iter().find(|name| {
        !broken.contains(&name.as_str())
            && facts
                .snapshot
                .roles
                .iter()
                .any(|it| it.name == **name && !powers_of(it).is_empty())
    });
    if !powers.is_empty() {
        let why = format!("it has {}", powers.join(", "));
        let without = powers
            .iter()
            .map(|it| format!(" NO{it}"))
            .collect::<String>();
        return Some(
            Draft::new(role.name.clone(), why).fix(format!("ALTER ROLE {}{without};", role.sql)),
        );
    }
    if let Some(name) = through {
        let why = format!("it is a member of {name}, which is above row level security");
        return Some(Draft::new(role.name.clone(), why).fix(format!(
            "REVOKE {} FROM {};",
            ident(name),
            role.sql
        )));
    }
    let table = owned?;
    let why = format!(
        "it owns {}, so it can switch its policies off",
        table.full_name()
    );
    Some(Draft::new(role.name.clone(), why))
}

fn powers(role: &Role) -> Vec<&'static str> {
    let mut powers = powers_of(role);
    if role.creates_roles {
        powers.push("CREATEROLE");
    }
    powers
}

/// The attributes that lead past row level security.
fn powers_of(role: &Role) -> Vec<&'static str> {
    let held = [
        (role.superuser, "SUPERUSER"),
        (role.bypasses_rls, "BYPASSRLS"),
        (role.replicates, "REPLICATION"),
    ];
    held.into_iter().filter(|it| it.0).map(|it| it.1).collect()
}
