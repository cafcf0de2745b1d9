//! The tenant column has another type than the tenant.
//!
//! Why: The comparison with the claim fails, or a cast that makes it work hides the index; pgwarden
//! denies the table.
//!
//! Fix: Change the column's type. Casts of values that are no tenants fail; find them first.

use crate::audit::facts::{Facts, TenantColumn, sql_type};
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::scoping::type_of;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_column_type",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns().filter_map(|it| {
        let referred = facts.tenants().map(|(_, id)| id);
        // A table may look like the tenants' own and be another.
        let referred = referred.filter(|id| type_of(id.type_oid) == Some(it.key.value_type));
        let claim = sql_type(it.key.value_type);
        let fits = type_of(it.column.type_oid) == Some(it.key.value_type);
        // int4 and varchar compare with bigint and text; only the tenants' own key is stricter.
        let wanted = match referred {
            Some(id) if type_of(id.type_oid) != type_of(it.column.type_oid) => &id.type_name,
            Some(_) | None if fits => return None,
            Some(_) | None => claim,
        };
        let why = format!(
            "the column is {}, but the tenant is {wanted}",
            it.column.type_name
        );
        Some(Draft::new(it.full_name(), why).fix(fix(facts, &it, wanted)))
    });
    columns.collect()
}

/// PostgreSQL keeps the type of a column that policies or triggers name: they step aside.
fn fix(facts: &Facts, it: &TenantColumn<'_>, wanted: &str) -> String {
    let (table, column) = (&it.table.sql, &it.column.sql);
    let policies = it.table.policies.iter().map(|it| &it.sql);
    let mut lines: Vec<String> = policies
        .map(|name| format!("DROP POLICY {name} ON {table};"))
        .collect();
    let triggers = || {
        let triggers = it.table.triggers.iter();
        triggers.filter(|trigger| trigger.columns.contains(&it.column.name))
    };
    lines.extend(triggers().map(|it| format!("DROP TRIGGER {} ON {table};", it.sql)));
    lines.push(format!(
        "ALTER TABLE {table} ALTER COLUMN {column} TYPE {wanted} USING {column}::text::{wanted};"
    ));
    lines.extend(triggers().map(|it| format!("{};", it.definition)));
    if !it.table.policies.is_empty() {
        lines.extend(facts.policy_sql(it.table));
    }
    lines.join("\n")
}
