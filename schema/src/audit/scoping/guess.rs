//! What nobody said: the tenant's column, its type, the claim and the table of the tenants.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use pgwarden_policy::catalog::Oid;
use pgwarden_policy::rules::{
    Access, ClaimPath, Ddl, Defaults, ErrorDetail, FunctionRules, MissingFilter, MissingValue,
    Mode, Policy, RequireRls, Scope, SecondReader, TenantRule,
};
use pgwarden_policy::tenant::ValueType;

use super::super::snapshot::{Relation, Snapshot};
use super::super::sources::{self, Source};

/// What applications call their tenants; the first wins a tie.
const TENANTS: &[&str] = &[
    "org",
    "organization",
    "organisation",
    "tenant",
    "account",
    "team",
    "workspace",
    "company",
    "shop",
    "merchant",
];

/// How a column names one of them.
const KEYS: &[&str] = &["_id", "id", "_uuid", "_slug", "_key", "_code"];

/// What no name fits: the model of this project.
const DEFAULT_COLUMN: &str = "org_id";

/// Schemas that a platform brings along.
const FOREIGN_SCHEMAS: &[&str] = &[
    "auth",
    "storage",
    "realtime",
    "_realtime",
    "extensions",
    "graphql",
    "graphql_public",
    "vault",
    "pgsodium",
    "pgbouncer",
    "supabase_functions",
    "supabase_migrations",
    "cron",
    "net",
    "pgwarden",
    "pgwarden_migrate",
];

/// A policy that says what the guess is.
pub(super) fn policy(
    column: Option<&str>,
    snapshot: &Snapshot,
    notes: &mut Vec<String>,
) -> Arc<Policy> {
    let tables: Vec<&Relation> = own_tables(snapshot).collect();
    let column = match column {
        Some(column) => column.to_owned(),
        None => {
            let column = most_used(&tables);
            notes.push(format!(
                "no policy was given: tables with a column {column} are taken for tenants' tables \
                 (--policy or --tenant-column say otherwise)"
            ));
            column
        }
    };
    let mut discover: Vec<String> = tables.iter().map(|it| it.schema.clone()).collect();
    discover.sort();
    discover.dedup();
    Arc::new(Policy {
        mode: Mode::Enforce,
        tenant: TenantRule {
            claim: claim(&column, snapshot),
            value_type: value_type(&column, &tables),
            column,
        },
        defaults: Defaults {
            discover,
            unlisted: Access::Deny,
            missing_filter: MissingFilter::Rewrite,
            missing_value: MissingValue::Fill,
            ddl: Ddl::Deny,
            explain: false,
            lock: false,
            error_detail: ErrorDetail::Redact,
            require_rls: RequireRls::Off,
            second_reader: SecondReader::WhenReadable,
        },
        tables: Vec::new(),
        functions: FunctionRules::default(),
        settings: Vec::new(),
        channels: Vec::new(),
        roles: Vec::new(),
        tests: Vec::new(),
        revision: String::new(),
    })
}

fn own_tables(snapshot: &Snapshot) -> impl Iterator<Item = &Relation> {
    let tables = snapshot.relations.iter().filter(|it| it.is_table());
    tables.filter(|it| !is_foreign(&it.schema))
}

/// Whether a platform brings a schema along.
pub(crate) fn is_foreign(schema: &str) -> bool {
    FOREIGN_SCHEMAS.contains(&schema)
}

fn most_used(tables: &[&Relation]) -> String {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    let columns = tables
        .iter()
        .filter(|it| !it.partition)
        .flat_map(|it| &it.columns);
    for column in columns.filter(|it| rank(&it.name).is_some()) {
        *uses.entry(&column.name).or_default() += 1;
    }
    let best = uses
        .into_iter()
        .max_by_key(|(name, uses)| (*uses, Reverse((rank(name), *name))));
    let best = best.map(|(name, _)| name).or_else(|| most_referred(tables));
    best.unwrap_or(DEFAULT_COLUMN).to_owned()
}

/// Words of columns that say who did something, whatever the tenant.
const PERSONS: &[&str] = &["user", "owner", "author", "_by", "member", "person"];

/// Where no name tells: the column by which a third of the tables, and more than one, refer to the
/// same table.
fn most_referred<'a>(tables: &[&'a Relation]) -> Option<&'a str> {
    let mut uses: HashMap<(Oid, &str), usize> = HashMap::new();
    for key in tables.iter().flat_map(|it| it.foreign_keys()) {
        if let [column] = key.columns.as_slice()
            && !PERSONS.iter().any(|it| column.to_lowercase().contains(it))
        {
            *uses.entry((key.target, column)).or_default() += 1;
        }
    }
    let most = uses
        .into_iter()
        .max_by_key(|((_, name), uses)| (*uses, Reverse(*name)));
    let often = |it: &((Oid, &str), usize)| it.1 > 1 && it.1 * 3 >= tables.len();
    most.filter(often).map(|((_, name), _)| name)
}

/// Which kind of tenant a column's name tells.
fn rank(column: &str) -> Option<(usize, usize)> {
    let name = column.to_lowercase();
    KEYS.iter().enumerate().find_map(|(key, suffix)| {
        let word = name.strip_suffix(suffix)?;
        let tenant = TENANTS.iter().position(|it| *it == word)?;
        Some((key, tenant))
    })
}

fn value_type(column: &str, tables: &[&Relation]) -> ValueType {
    let mut votes: HashMap<ValueType, usize> = HashMap::new();
    for found in tables.iter().filter_map(|it| it.column(column)) {
        if let Some(value_type) = type_of(found.type_oid) {
            *votes.entry(value_type).or_default() += 1;
        }
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
    most.map_or(ValueType::Uuid, |(value_type, _)| value_type)
}

/// The type of a claim that a column of this type compares with.
pub(crate) fn type_of(oid: Oid) -> Option<ValueType> {
    match oid {
        2950 => Some(ValueType::Uuid),
        20 | 21 | 23 => Some(ValueType::Bigint),
        25 | 1042 | 1043 | 19 => Some(ValueType::Text),
        _ => None,
    }
}

/// The claim that most policies of tenants' tables read, unless most of them ask whose member the
/// user is.
fn claim(column: &str, snapshot: &Snapshot) -> ClaimPath {
    let tables = snapshot.relations.iter();
    let tables = tables.filter(|it| it.column(column).is_some());
    let policies = tables.flat_map(|it| &it.policies);
    let texts = policies.flat_map(|it| [&it.using, &it.check]).flatten();
    let (mut votes, mut members): (HashMap<Vec<String>, usize>, usize) = (HashMap::new(), 0);
    for text in texts {
        let sources = sources::of_expression(text, &snapshot.functions);
        let claims: Vec<Vec<String>> = sources
            .into_iter()
            .filter_map(|it| match it {
                Source::Claim(path) => Some(path),
                Source::Setting(_) => None,
            })
            .collect();
        let tenants: Vec<&Vec<String>> = claims
            .iter()
            .filter(|it| sources::is_signed_tenant(it))
            .collect();
        let user = claims.iter().any(|it| it.as_slice() == ["sub"]);
        members += usize::from(user && tenants.is_empty());
        for path in tenants {
            *votes.entry(path.clone()).or_default() += 1;
        }
    }
    let most = votes
        .into_iter()
        .max_by(|a, b| (a.1, &b.0).cmp(&(b.1, &a.0)));
    let most = most.filter(|(_, votes)| *votes >= members);
    let usual = || vec!["app_metadata".to_owned(), column.to_owned()];
    ClaimPath(most.map_or_else(usual, |(path, _)| path))
}

/// The table whose rows are the tenants: what the policy scopes by its key, else what most of the
/// tenant's columns refer to, else what is named like it.
pub(super) fn tenants(policy: &Policy, snapshot: &Snapshot) -> Option<(Oid, String)> {
    listed(policy, snapshot)
        .or_else(|| referred(policy, snapshot))
        .or_else(|| named(policy, snapshot))
}

fn listed(policy: &Policy, snapshot: &Snapshot) -> Option<(Oid, String)> {
    policy.tables.iter().find_map(|rule| {
        let Scope::Keys(keys) = &rule.scope else {
            return None;
        };
        let key = keys
            .first()
            .filter(|key| key.claim == policy.tenant.claim)?;
        let relation = snapshot
            .relations
            .iter()
            .find(|it| super::is_about(rule, it))?;
        let is_key = |it: &super::super::snapshot::Constraint| {
            matches!(it.kind, 'p' | 'u') && it.columns == [key.column.clone()]
        };
        let fits = key.column != policy.tenant.column && relation.constraints.iter().any(is_key);
        fits.then(|| (relation.oid, key.column.clone()))
    })
}

fn referred(policy: &Policy, snapshot: &Snapshot) -> Option<(Oid, String)> {
    let mut votes: HashMap<(Oid, String), usize> = HashMap::new();
    for relation in snapshot.relations.iter().filter(|it| it.is_table()) {
        for key in relation.foreign_keys() {
            if let ([column], [target]) = (key.columns.as_slice(), key.target_columns.as_slice())
                && *column == policy.tenant.column
            {
                *votes.entry((key.target, target.clone())).or_default() += 1;
            }
        }
    }
    let most = votes
        .into_iter()
        .max_by_key(|(target, votes)| (*votes, target.0));
    most.map(|(target, _)| target)
}

fn named(policy: &Policy, snapshot: &Snapshot) -> Option<(Oid, String)> {
    let column = policy.tenant.column.trim_end_matches("Id").to_lowercase();
    let stem = column.trim_end_matches("_id");
    let long = if stem == "org" { "organization" } else { stem };
    let names = [format!("{long}s"), long.to_owned(), format!("{stem}s")];
    let named = |name: &String| own_tables(snapshot).find(|it| it.name.to_lowercase() == *name);
    let relation = names.iter().find_map(named)?;
    let key = relation.constraints.iter().find(|it| it.kind == 'p')?;
    match key.columns.as_slice() {
        [column] => Some((relation.oid, column.clone())),
        _ => None,
    }
}
