//! Restrictive policies that keep the tenant: PostgreSQL joins them by AND, so what permissive ones
//! let through beside them does no harm, for the roles and commands that they are for.

use super::facts::Facts;
use super::snapshot::{Relation, RowPolicy};

/// `polcmd` of the commands that `*` stands for.
const COMMANDS: [char; 4] = ['r', 'a', 'w', 'd'];

/// Whether a restrictive policy keeps the tenant for some command.
pub(super) fn is_fence(facts: &Facts, table: &Relation, policy: &RowPolicy) -> bool {
    !policy.permissive && commands(policy).any(|it| keeps(facts, table, policy, it))
}

/// Whether each command that a policy is for has a fence for each role that it is for.
pub(super) fn is_fenced(facts: &Facts, table: &Relation, policy: &RowPolicy) -> bool {
    commands(policy).all(|command| {
        let fences = table.policies.iter().filter(|it| {
            !it.permissive
                && commands(it).any(|it| it == command)
                && keeps(facts, table, it, command)
        });
        let fences: Vec<&RowPolicy> = fences.collect();
        let bound = |role: &String| {
            let named = |it: &&RowPolicy| it.roles.iter().any(|it| it == role || it == "PUBLIC");
            fences.iter().any(named) || facts.is_above_rls(role)
        };
        policy.roles.iter().all(bound)
    })
}

fn commands(policy: &RowPolicy) -> impl Iterator<Item = char> + use<> {
    let command = policy.command;
    let asked = move |it: &char| command == '*' || command == *it;
    COMMANDS.into_iter().filter(asked)
}

/// Whether a policy compares the tenant in what PostgreSQL asks it for a command.
fn keeps(facts: &Facts, table: &Relation, policy: &RowPolicy, command: char) -> bool {
    let restricts = |text: Option<&str>| text.is_some_and(|it| facts.restricts(table, it));
    let using = policy.using.as_deref();
    let written = || restricts(policy.check.as_deref().or(using));
    match command {
        'r' | 'd' => restricts(using),
        'a' => written(),
        _ => restricts(using) && written(),
    }
}
