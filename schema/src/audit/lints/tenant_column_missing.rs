//! A table that holds rows of tenants has no tenant column.
//!
//! Why: Nothing can tell whose a row is. pgwarden denies the table, and row level security has no
//! column to compare.
//!
//! Fix: Add the column, fill it through the table's parent or its user, make it NOT NULL; or list
//! the table in policy.toml with `via`, `scope = "global"` or a column of its own.

use pgwarden_policy::rules::{Scope, TableRule};

use super::belonging::belonging;
use crate::audit::facts::{Facts, sql_type};
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::scoping::is_about;
use crate::audit::snapshot::Relation;
use crate::ident::ident;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_column_missing",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let listed = facts.scoping.misfits.iter().filter_map(|rule| {
        let table = facts.tables().find(|it| is_about(rule, it))?;
        let wanted = wanted(facts, rule)?;
        let missing = table.column(wanted).is_none();
        missing.then(|| draft(facts, table, "the policy scopes it by this column"))
    });
    let found = belonging(facts);
    let unlisted = facts.tables().filter_map(|table| {
        let belonging = found.get(&table.oid)?;
        let draft = draft(facts, table, &belonging.why);
        Some(draft.level(belonging.level))
    });
    listed.chain(unlisted).collect()
}

/// The tenant's column, where a rule asks for it.
fn wanted<'a>(facts: &'a Facts, rule: &'a TableRule) -> Option<&'a str> {
    let column = facts.scoping.policy.tenant.column.as_str();
    match &rule.scope {
        Scope::Discovered => Some(column),
        Scope::Keys(keys) => keys.iter().any(|it| it.column == column).then_some(column),
        Scope::Via { .. } | Scope::Global(_) => None,
    }
}

fn draft(facts: &Facts, table: &Relation, why: &str) -> Draft {
    let tenant = &facts.scoping.policy.tenant;
    let why = format!("the table has no column {}, but {why}", tenant.column);
    let references = facts.tenants().map_or_else(String::new, |(tenants, id)| {
        format!(" REFERENCES {} ({}) ON DELETE CASCADE", tenants.sql, id.sql)
    });
    Draft::new(table.full_name(), why).fix(format!(
        "ALTER TABLE {} ADD COLUMN {} {}{references};",
        table.sql,
        ident(&tenant.column),
        sql_type(tenant.value_type)
    ))
}
