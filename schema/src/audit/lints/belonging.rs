//! Whether a table without the tenant's column seems to hold rows of tenants.

use std::collections::HashMap;

use pgwarden_policy::catalog::Oid;

use super::guard;
use crate::audit::expression::Expression;
use crate::audit::facts::{Facts, TenantColumn};
use crate::audit::finding::Level;
use crate::audit::references::named_references;
use crate::audit::scoping::is_about;
use crate::audit::snapshot::Relation;

/// Why it does.
pub(super) struct Belonging {
    pub(super) why: String,
    /// A note where it may be meant as it is.
    pub(super) level: Level,
}

/// The tables of which nobody has said anything, and that seem to: whoever refers to one of them
/// does, too.
pub(super) fn belonging(facts: &Facts) -> HashMap<Oid, Belonging> {
    let left = || facts.tables().filter(|it| !is_settled(facts, it));
    let own = left().filter_map(|it| Some((it.oid, of_its_own(facts, it)?)));
    let mut found: HashMap<Oid, Belonging> = own.collect();
    loop {
        let next = left().filter_map(|it| {
            let known = found.get(&it.oid).map(|it| it.level);
            let new = through(facts, it, &found).filter(|_| known != Some(Level::Error))?;
            // What is more certain comes first.
            known
                .is_none_or(|it| new.level < it)
                .then_some((it.oid, new))
        });
        let next: Vec<(Oid, Belonging)> = next.collect();
        if next.is_empty() {
            return found;
        }
        found.extend(next);
    }
}

fn of_its_own(facts: &Facts, table: &Relation) -> Option<Belonging> {
    let tenants_rows = |it: &Relation| facts.is_scoped(it.oid) && !facts.is_tenants(it.oid);
    let parent = || refers(facts, table, tenants_rows).map(|it| it.0);
    if let Some(why) = parent().or_else(|| by_trigger(facts, table)) {
        let level = Level::Error;
        return Some(Belonging { why, level });
    }
    by_user(facts, table).or_else(|| by_lock(table))
}

/// It refers to one that does, and is no more certain than that.
fn through(facts: &Facts, table: &Relation, found: &HashMap<Oid, Belonging>) -> Option<Belonging> {
    let other = |it: &Relation| it.oid != table.oid;
    let certain = |it: &Relation| {
        found
            .get(&it.oid)
            .is_some_and(|it| it.level == Level::Error)
    };
    let parent = refers(facts, table, |it| other(it) && certain(it))
        .or_else(|| refers(facts, table, |it| other(it) && found.contains_key(&it.oid)));
    let (why, parent) = parent?;
    let level = found.get(&parent)?.level;
    Some(Belonging { why, level })
}

fn is_settled(facts: &Facts, table: &Relation) -> bool {
    let policy = &facts.scoping.policy;
    table.partition
        || facts.is_scoped(table.oid)
        || facts.is_tenants(table.oid)
        || table.column(&policy.tenant.column).is_some()
        || policy.tables.iter().any(|it| is_about(it, table))
        || guards_itself(table)
}

/// The first such table that it refers to, by a key or by a column's name.
fn refers(
    facts: &Facts,
    table: &Relation,
    wanted: impl Fn(&Relation) -> bool,
) -> Option<(String, Oid)> {
    let mut keys = table.foreign_keys();
    let key = keys.find_map(|key| {
        let parent = facts.relation(key.target).filter(|it| wanted(it))?;
        let (columns, name) = (key.columns.join(", "), parent.full_name());
        Some((format!("{columns} refers to {name}"), parent.oid))
    });
    let named = || {
        let found = named_references(facts, table, &wanted);
        let it = found.first()?;
        let (column, name) = (&it.column.name, it.parent.full_name());
        Some((format!("{column} seems to refer to {name}"), it.parent.oid))
    };
    key.or_else(named)
}

/// A trigger that was there for the column is left.
fn by_trigger(facts: &Facts, table: &Relation) -> Option<String> {
    let column = &facts.scoping.policy.tenant.column;
    let trigger = table.triggers.iter().find(|it| {
        let function = facts.function(it.function);
        function.is_some_and(|it| guard::reads_old(it, column))
    })?;
    Some(format!("its trigger {} reads that column", trigger.name))
}

/// Its rows belong to users. Where users are above tenants, it may be theirs alone.
fn by_user(facts: &Facts, table: &Relation) -> Option<Belonging> {
    let column = ["user_id", "userId", "UserId"]
        .into_iter()
        .find_map(|it| table.column(it))?;
    if is_of_users_alone(facts, table) {
        return None;
    }
    let above = users_are_above(facts);
    Some(Belonging {
        why: format!("{} says that its rows belong to users", column.name),
        level: if above { Level::Note } else { Level::Error },
    })
}

/// Row level security is forced on it, which is done to tables of tenants, and no policy is left.
fn by_lock(table: &Relation) -> Option<Belonging> {
    let locked = table.row_security && table.forced && table.policies.is_empty();
    locked.then(|| Belonging {
        why: "row level security is forced on it without a policy".to_owned(),
        level: Level::Note,
    })
}

/// Whether a user may belong to several tenants.
fn users_are_above(facts: &Facts) -> bool {
    let mut columns = facts.tenant_columns();
    columns.any(|it| member_column(&it).is_some())
}

/// Whether a table's rows are about users who may belong to several tenants, whichever they are.
pub(crate) fn is_of_users_alone(facts: &Facts, table: &Relation) -> bool {
    is_of_a_person(&table.name) && users_are_above(facts)
}

/// Words of tables that are about who somebody is, whatever tenants that person works for.
const PERSONAL: &[&str] = &[
    "account",
    "admin",
    "auth",
    "authenticator",
    "authtoken",
    "credential",
    "device",
    "group",
    "identity",
    "login",
    "mfa",
    "oauth",
    "otp",
    "passkey",
    "permission",
    "preference",
    "profile",
    "session",
    "setting",
    "socialaccount",
    "token",
    "totp",
    "webauthn",
];

fn is_of_a_person(table: &str) -> bool {
    words(table)
        .iter()
        .any(|it| PERSONAL.contains(&it.as_str()))
}

/// The words of a name in snake or camel case, in the singular.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (lower && letter.is_uppercase()) {
            words.push(String::new());
        }
        lower = letter.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    let singular = |it: String| match (it.strip_suffix("ies"), it.strip_suffix('s')) {
        (Some(stem), _) => format!("{stem}y"),
        (None, Some(stem)) => stem.to_owned(),
        (None, None) => it,
    };
    words.into_iter().map(singular).collect()
}

/// The users' column of a table that says which users belong to which tenants.
pub(crate) fn member_column(it: &TenantColumn<'_>) -> Option<String> {
    let indexes = it
        .table
        .indexes
        .iter()
        .filter(|index| index.unique && !index.partial);
    let mut pairs = indexes.filter(|index| index.columns.len() == 2);
    pairs.find_map(|index| {
        let others = index
            .columns
            .iter()
            .flatten()
            .filter(|name| **name != it.column.name);
        match others.collect::<Vec<_>>().as_slice() {
            [only] if only.starts_with("user") && !is_of_a_name(only) => Some((*only).clone()),
            _ => None,
        }
    })
}

/// Whether a column says what a user is called: another tenant's user may be called the same.
fn is_of_a_name(column: &str) -> bool {
    let column = column.to_lowercase();
    ["name", "email", "login"]
        .iter()
        .any(|it| column.contains(it))
}

/// The same for everybody, the table's owner included: then nothing has to be done.
pub(crate) fn guards_itself_from_all(table: &Relation) -> bool {
    table.forced && guards_itself(table)
}

/// Whether row level security already keeps the rows apart by something else.
fn guards_itself(table: &Relation) -> bool {
    table.row_security
        && !table.policies.is_empty()
        && table.policies.iter().all(|it| {
            let texts = [it.using.as_deref(), it.check.as_deref()];
            let mut parsed = texts.into_iter().flatten().filter_map(Expression::parse);
            parsed.all(|it| it.restricts(&[], None, |_| false))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_people_are_known_by_their_words() {
        for name in [
            "sessions",
            "django_admin_log",
            "authtoken_token",
            "UserSettings",
            "oauth_access_tokens",
            "identities",
        ] {
            assert!(is_of_a_person(name), "{name}");
        }
        for name in [
            "authors",
            "devising",
            "tokenized",
            "user_credits",
            "groupings",
        ] {
            assert!(!is_of_a_person(name), "{name}");
        }
    }
}
