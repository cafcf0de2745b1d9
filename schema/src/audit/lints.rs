//! The lints: one file each, whose doc comment is its page in `docs/lints/`. What several of them
//! ask or write stands here.

use super::facts::{Facts, TenantColumn};
use super::finding::{Draft, Lint};
use super::snapshot::{Constraint, Index, Relation, RowPolicy};
use crate::ident::ident;

pub(crate) use belonging::{guards_itself_from_all, is_of_users_alone, member_column};

mod belonging;
mod claims_function_immutable;
mod foreign_key_without_tenant;
mod foreign_table;
mod function_search_path;
mod grant_to_public;
mod guard;
mod immutability_trigger_coverage;
mod immutability_trigger_disabled;
mod immutability_trigger_missing;
mod materialized_view;
mod no_policy;
mod policy_always_true;
mod policy_entry_unknown;
mod policy_for_public;
mod policy_ignores_tenant;
mod policy_no_with_check;
mod policy_not_wrapped;
mod policy_wrong_claim;
mod proxy_role;
mod publication;
mod rls_disabled;
mod rls_not_forced;
mod rows_of_two_tenants;
mod rows_of_unknown_tenant;
mod rows_without_tenant;
mod security_definer_function;
mod sequence_exposed;
mod sql_unknown_column;
mod sql_unknown_relation;
mod tenant_column_missing;
mod tenant_column_no_foreign_key;
mod tenant_column_no_index;
mod tenant_column_nullable;
mod tenant_column_type;
mod tenant_foreign_key_no_cascade;
mod tenant_foreign_key_not_valid;
mod tenant_foreign_key_target;
mod tenant_index_not_leading;
mod tenant_table_missing;
mod unique_without_tenant;
mod unlisted_table;
mod view_without_invoker;

/// All of them, in the order of the index.
pub(super) const ALL: &[Lint] = &[
    tenant_table_missing::LINT,
    tenant_column_missing::LINT,
    tenant_column_nullable::LINT,
    tenant_column_type::LINT,
    tenant_column_no_foreign_key::LINT,
    tenant_foreign_key_target::LINT,
    tenant_foreign_key_no_cascade::LINT,
    tenant_foreign_key_not_valid::LINT,
    tenant_column_no_index::LINT,
    tenant_index_not_leading::LINT,
    immutability_trigger_missing::LINT,
    immutability_trigger_disabled::LINT,
    immutability_trigger_coverage::LINT,
    rls_disabled::LINT,
    rls_not_forced::LINT,
    no_policy::LINT,
    policy_always_true::LINT,
    policy_ignores_tenant::LINT,
    policy_wrong_claim::LINT,
    policy_not_wrapped::LINT,
    policy_for_public::LINT,
    policy_no_with_check::LINT,
    rows_without_tenant::LINT,
    rows_of_unknown_tenant::LINT,
    rows_of_two_tenants::LINT,
    foreign_key_without_tenant::LINT,
    unique_without_tenant::LINT,
    view_without_invoker::LINT,
    materialized_view::LINT,
    security_definer_function::LINT,
    function_search_path::LINT,
    claims_function_immutable::LINT,
    grant_to_public::LINT,
    sequence_exposed::LINT,
    publication::LINT,
    foreign_table::LINT,
    proxy_role::LINT,
    unlisted_table::LINT,
    policy_entry_unknown::LINT,
    sql_unknown_relation::LINT,
    sql_unknown_column::LINT,
];

/// Those that decide whether a table guards itself.
pub(super) const ENFORCEMENT: &[Lint] = &[
    tenant_column_missing::LINT,
    tenant_column_nullable::LINT,
    tenant_column_type::LINT,
    rls_disabled::LINT,
    rls_not_forced::LINT,
    no_policy::LINT,
    policy_always_true::LINT,
    policy_ignores_tenant::LINT,
    policy_wrong_claim::LINT,
];

/// Those that say a table's row level security has to change.
pub(super) const ROW_SECURITY: &[Lint] = &[
    rls_disabled::LINT,
    rls_not_forced::LINT,
    no_policy::LINT,
    policy_always_true::LINT,
    policy_ignores_tenant::LINT,
    policy_wrong_claim::LINT,
    policy_for_public::LINT,
];

/// Those that find policies which don't keep tenants apart.
pub(super) const FENCE: &[&str] = &[
    policy_always_true::LINT.code,
    policy_ignores_tenant::LINT.code,
    policy_wrong_claim::LINT.code,
];

/// A foreign key between scoped tables that leaves the tenant out.
pub(super) struct Link<'a> {
    pub(super) child: TenantColumn<'a>,
    pub(super) parent: TenantColumn<'a>,
    pub(super) key: &'a Constraint,
}

impl Link<'_> {
    /// The key, as findings name it.
    fn object(&self) -> String {
        format!("{}.{}", self.child.table.full_name(), self.key.name)
    }
}

/// The foreign keys that let a row refer to another tenant's row. A second key beside it, with the
/// tenant, closes the gap.
pub(super) fn links_without_tenant(facts: &Facts) -> impl Iterator<Item = Link<'_>> {
    facts.tenant_columns().flat_map(move |child| {
        child.table.foreign_keys().filter_map(move |key| {
            let parent = facts.relation(key.target)?;
            let parent = facts.tenant_column(parent)?;
            let open = !facts.is_tenants(parent.table.oid)
                && !key.columns.contains(&child.column.name)
                && !child.table.foreign_keys().any(|other| {
                    other.target == key.target
                        && other.columns.contains(&child.column.name)
                        && key.columns.iter().all(|it| other.columns.contains(it))
                });
            open.then_some(Link { child, parent, key })
        })
    })
}

/// A policy, as findings name it.
fn policy_name(table: &Relation, policy: &RowPolicy) -> String {
    format!("{}.{}", table.full_name(), policy.name)
}

/// The finding with the policy rewritten to the tenant's predicate, where the table has one.
fn alter_policy_sql(facts: &Facts, table: &Relation, policy: &RowPolicy, draft: Draft) -> Draft {
    let Some(predicate) = facts.predicate(table) else {
        return draft;
    };
    let using = match policy.command {
        'a' => String::new(),
        _ => format!(" USING ({predicate})"),
    };
    let check = match policy.command {
        'r' | 'd' => String::new(),
        _ => format!(" WITH CHECK ({predicate})"),
    };
    draft.fix(format!(
        "ALTER POLICY {} ON {}{using}{check};",
        policy.sql, table.sql
    ))
}

/// The foreign key that the model wants, in place of another.
fn tenant_key_sql(facts: &Facts, it: TenantColumn<'_>, old: Option<&str>) -> Option<String> {
    let (tenants, id) = facts.tenants()?;
    let (table, column) = (&it.table.sql, &it.column.sql);
    let base = format!("{}_{}_fkey", it.table.name, it.column.name);
    let taken = |name: &str| it.table.constraints.iter().any(|key| key.name == name);
    let name = match taken(&base) {
        true => ident(&format!("{base}_tenant")),
        false => ident(&base),
    };
    let dropped = old.map_or_else(String::new, |old| format!("DROP CONSTRAINT {old}, "));
    Some(format!(
        "ALTER TABLE {table} {dropped}ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {} ({}) \
         ON DELETE CASCADE NOT VALID;\nALTER TABLE {table} VALIDATE CONSTRAINT {name};",
        tenants.sql, id.sql
    ))
}

/// Whether an index finds rows of a tenant by these columns: it leads with the tenant and them, or is
/// unique in some of them.
pub(crate) fn serves(index: &Index, tenant: &str, columns: &[String]) -> bool {
    let names: Vec<&str> = index.columns.iter().flatten().map(String::as_str).collect();
    let plain = index.valid && !index.partial && names.len() == index.columns.len();
    let unique = || {
        let known = |it: &&str| *it == tenant || columns.iter().any(|name| name == it);
        index.unique && names.iter().all(known)
    };
    let leading = || {
        let wanted = [tenant]
            .into_iter()
            .chain(columns.iter().map(String::as_str));
        names.len() > columns.len() && wanted.zip(&names).all(|(wanted, name)| wanted == *name)
    };
    plain && (unique() || leading())
}

/// Whether a column refers to a tenant's row.
pub(crate) fn links_to_tenants(facts: &Facts, table: &Relation, column: &str) -> bool {
    let tenants = |oid| facts.is_scoped(oid) && !facts.is_tenants(oid);
    let mut keys = table.foreign_keys();
    keys.any(|it| tenants(it.target) && it.columns.iter().any(|name| name == column))
        || super::references::named_references(facts, table, |it| tenants(it.oid))
            .iter()
            .any(|it| it.column.name == column)
}

/// Whether an index leads with the tenant's column.
pub(crate) fn has_tenant_index(it: &TenantColumn<'_>) -> bool {
    IndexUse::of(it) == IndexUse::Leading
}

/// Why a policy takes the tenant from the wrong place, if it does.
pub(crate) fn reads_wrong_claim(
    facts: &Facts,
    table: &Relation,
    policy: &RowPolicy,
) -> Option<String> {
    policy_wrong_claim::why(facts, table, policy)
}

/// Whether a trigger keeps the row's tenant.
pub(crate) fn keeps_tenant(facts: &Facts, it: &TenantColumn<'_>) -> bool {
    matches!(guard::Guard::of(facts, it), guard::Guard::Effective)
}

/// What indexes do for the filter by tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IndexUse {
    None,
    Behind,
    Leading,
}

impl IndexUse {
    fn of(it: &TenantColumn<'_>) -> Self {
        let indexes = it
            .table
            .indexes
            .iter()
            .filter(|index| index.valid && !index.partial);
        let place = |columns: &[Option<String>]| {
            columns
                .iter()
                .position(|name| name.as_ref() == Some(&it.column.name))
        };
        match indexes.filter_map(|index| place(&index.columns)).min() {
            None => Self::None,
            Some(0) => Self::Leading,
            Some(_) => Self::Behind,
        }
    }
}

fn tenant_index_sql(it: &TenantColumn<'_>) -> String {
    // A partitioned table's indexes can't be built concurrently.
    let how = if it.table.kind == 'p' {
        ""
    } else {
        "CONCURRENTLY "
    };
    format!("CREATE INDEX {how}ON {} ({});", it.table.sql, it.column.sql)
}

fn is_everybody(role: &str) -> bool {
    matches!(role, "PUBLIC" | "anon")
}

/// Takes from PUBLIC and anon what they have.
fn revoke_sql(relation: &Relation, what: &str) -> Option<String> {
    let mut roles: Vec<&str> = relation
        .grants
        .iter()
        .map(|it| it.grantee.as_str())
        .collect();
    roles.retain(|it| is_everybody(it));
    roles.dedup();
    let from = (!roles.is_empty()).then(|| roles.join(", "))?;
    Some(format!(
        "REVOKE ALL ON {what} {} FROM {from};",
        relation.sql
    ))
}

#[cfg(test)]
mod pages;
