//! What the plan aims at: the tenants' table, the session's tenant, and the tables that belong to
//! tenants, each with what it already has.

use std::collections::HashMap;

use pgwarden_policy::catalog::Oid;
use pgwarden_policy::engine::BindingProblem;
use pgwarden_policy::migration::Migration;
use pgwarden_policy::rules::QualifiedName;
use pgwarden_policy::tenant::ValueType;
use tokio_postgres::Client;

use crate::Error;
use crate::audit::facts::{Facts, sql_type};
use crate::audit::lints::ident;
use crate::audit::snapshot::Relation;

use super::names::literal;
use super::sources::Origin;
use super::targets::{self, Target};

/// The default tenant of the model, by the type of ids.
const DEFAULT_UUID: &str = "a0000000-0000-0000-0000-000000000001";
const DEFAULT_BIGINT: &str = "1";
const DEFAULT_TEXT: &str = "default";

/// The first version in which SET NULL can leave columns alone.
pub(super) const SET_NULL_OF_COLUMNS: u32 = 150_000;

/// The table of the tenants.
#[derive(Debug)]
pub(super) struct Tenants<'a> {
    /// It, if it is there.
    pub(super) table: Option<&'a Relation>,
    /// Its schema and name, unquoted.
    pub(super) name: QualifiedName,
    /// Its name as SQL.
    pub(super) sql: String,
    /// Its key as SQL.
    pub(super) key: String,
    /// The default tenant as SQL.
    pub(super) default: String,
    /// The quarantine's tenant as SQL.
    pub(super) quarantine: Option<String>,
}

/// The aim.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) facts: &'a Facts,
    pub(super) tenants: Tenants<'a>,
    /// The type of tenants' ids, as SQL.
    pub(super) type_name: &'static str,
    /// The function that gives the session's tenant, as SQL.
    pub(super) function: String,
    /// Parents before their children.
    pub(super) targets: Vec<Target<'a>>,
    pub(super) batch_rows: usize,
    pub(super) server_version: u32,
    notes: Vec<String>,
}

impl<'a> Model<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        migration: &Migration,
        rows: HashMap<Oid, i64>,
        server_version: u32,
    ) -> Result<Self, Vec<BindingProblem>> {
        let policy = &facts.scoping.policy;
        let value_type = policy.tenant.value_type;
        let tenants = tenants(facts, migration)?;
        let (targets, notes) = targets::find(facts, migration, &tenants, &rows)?;
        let function = format!("auth_{}", policy.tenant.column);
        Ok(Self {
            facts,
            type_name: sql_type(value_type),
            function: format!("{}.{}", ident(&tenants.name.schema), ident(&function)),
            tenants,
            targets,
            batch_rows: migration.batch_rows,
            server_version,
            notes,
        })
    }

    /// What the plan leaves to people.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// The target that is this table.
    pub(super) fn target(&self, oid: Oid) -> Option<&Target<'a>> {
        self.targets.iter().find(|it| it.table.oid == oid)
    }

    /// Where users' tenants are: table and column as SQL.
    pub(super) fn user_tenants(&self) -> Vec<(String, String)> {
        let ways = self.targets.iter().flat_map(|it| &it.origins.ways);
        let users = ways.filter_map(|way| match way {
            Origin::User {
                mapping, tenant, ..
            } => Some((mapping.clone(), tenant.clone())),
            Origin::Parent { .. } => None,
        });
        users.collect()
    }

    /// The tenant's predicate of a table, evaluated once for a statement.
    pub(super) fn predicate(&self, column: &str) -> String {
        format!("{column} = (SELECT {}())", self.function)
    }
}

fn tenants<'a>(
    facts: &'a Facts,
    migration: &Migration,
) -> Result<Tenants<'a>, Vec<BindingProblem>> {
    let found = match &migration.tenants {
        Some(name) => facts
            .tables()
            .find(|it| it.schema == name.schema && it.name == name.name),
        None => facts.tenants().map(|it| it.0),
    };
    let known_key = facts
        .tenants()
        .filter(|it| found.map(|it| it.oid) == Some(it.0.oid));
    let primary = found.and_then(|it| it.constraints.iter().find(|it| it.kind == 'p'));
    let key = match (known_key, primary.map(|it| it.columns.as_slice())) {
        (Some((_, key)), _) => key.sql.clone(),
        (None, Some([only])) => ident(only),
        _ => "id".to_owned(),
    };
    let name = match (found, &migration.tenants) {
        (Some(it), _) => QualifiedName {
            schema: it.schema.clone(),
            name: it.name.clone(),
        },
        (None, Some(name)) => name.clone(),
        (None, None) => usual_name(facts),
    };
    let sql = format!("{}.{}", ident(&name.schema), ident(&name.name));
    let value_type = facts.scoping.policy.tenant.value_type;
    let default = migration.default_tenant.as_deref();
    let default = default.unwrap_or(usual_default(value_type));
    let quarantine = migration.quarantine.as_deref();
    Ok(Tenants {
        default: value(value_type, default, &name)?,
        quarantine: quarantine
            .map(|it| value(value_type, it, &name))
            .transpose()?,
        table: found,
        name,
        sql,
        key,
    })
}

fn usual_name(facts: &Facts) -> QualifiedName {
    let policy = &facts.scoping.policy;
    let column = &policy.tenant.column;
    let stem = column.trim_end_matches("_id").trim_end_matches("Id");
    let name = if stem == "org" { "organization" } else { stem };
    let schema = policy.defaults.discover.first();
    QualifiedName {
        schema: schema.map_or_else(|| "public".to_owned(), Clone::clone),
        name: format!("{name}s"),
    }
}

fn usual_default(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Uuid => DEFAULT_UUID,
        ValueType::Bigint => DEFAULT_BIGINT,
        ValueType::Text => DEFAULT_TEXT,
    }
}

/// A tenant's id as SQL.
fn value(
    value_type: ValueType,
    text: &str,
    tenants: &QualifiedName,
) -> Result<String, Vec<BindingProblem>> {
    let hexadecimal = |it: &char| it.is_ascii_hexdigit();
    let fits = match value_type {
        ValueType::Uuid => text.chars().filter(hexadecimal).count() == 32,
        ValueType::Bigint => text.parse::<i64>().is_ok(),
        ValueType::Text => true,
    };
    match fits {
        true => Ok(format!("{}::{}", literal(text), sql_type(value_type))),
        false => Err(vec![BindingProblem {
            object: tenants.to_string(),
            message: format!(
                "the tenant \"{text}\" is not of type {}",
                sql_type(value_type)
            ),
            suggestion: None,
        }]),
    }
}

/// How many rows tables have, as the planner estimates.
pub(super) async fn read_rows(client: &Client) -> Result<HashMap<Oid, i64>, Error> {
    let text = "SELECT oid, greatest(reltuples, 0)::int8 FROM pg_catalog.pg_class
                WHERE relkind IN ('r', 'p')";
    let rows = client.query(text, &[]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}
