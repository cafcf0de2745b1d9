//! There is no table of the tenants.
//!
//! Why: Without it nothing says which tenants exist: their columns can't have a foreign key, rows
//! of deleted tenants stay, and background jobs have no list to work through.
//!
//! Fix: Create it, and a foreign key from each tenant column.

use crate::audit::facts::{Facts, sql_type};
use crate::audit::finding::{Draft, Level, Lint};
use crate::ident::ident;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_table_missing",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let nothing = facts.tables().next().is_some() && facts.guarded().next().is_none();
    if nothing && !facts.scoping.given {
        return vec![nothing_scoped(facts)];
    }
    if facts.tenants().is_some() {
        return Vec::new();
    }
    let Some(first) = facts.tenant_columns().next() else {
        return Vec::new();
    };
    let column = &facts.scoping.policy.tenant.column;
    let stem = column.trim_end_matches("_id").trim_end_matches("Id");
    let name = if stem == "org" { "organization" } else { stem };
    let name = ident(&format!("{name}s"));
    let schema = ident(&first.table.schema);
    let why = format!(
        "{column} is the tenant's column (in {} and others), but no table holds the tenants",
        first.table.full_name()
    );
    let fix = format!(
        "CREATE TABLE {schema}.{name} (id {} PRIMARY KEY, name text, status text NOT NULL DEFAULT 'active' \
         CHECK (status IN ('active', 'inactive', 'suspended')), created_at timestamptz NOT NULL DEFAULT now(), \
         updated_at timestamptz NOT NULL DEFAULT now());",
        match sql_type(first.key.value_type) {
            "uuid" => "uuid DEFAULT gen_random_uuid()",
            other => other,
        }
    );
    vec![Draft::new(format!("{}.{name}", first.table.schema), why).fix(fix)]
}

/// Nobody said what the tenant's column is, and no table has one that is known.
fn nothing_scoped(facts: &Facts) -> Draft {
    let column = &facts.scoping.policy.tenant.column;
    let why = format!(
        "no table has a column {column} or another that is known to name the tenant: nothing keeps tenants \
         apart, or nothing was looked at (--tenant-column and --policy say what it is)"
    );
    Draft::new(column.clone(), why)
}
