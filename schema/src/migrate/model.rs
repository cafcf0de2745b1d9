//! What the plan aims at: the tenants' table, the session's tenant, and the tables that belong to
//! tenants, each with what it already has.

use std::collections::{HashMap, HashSet};

use pgwarden_policy::catalog::Oid;
use pgwarden_policy::engine::BindingProblem;
use pgwarden_policy::migration::Migration;
use pgwarden_policy::rules::QualifiedName;
use pgwarden_policy::tenant::ValueType;
use tokio_postgres::Client;

use crate::Error;
use crate::audit::facts::{Facts, sql_type};
use crate::audit::lints::links_to_tenants;
use crate::audit::scoping::type_of;
use crate::audit::snapshot::{Relation, Trigger};
use crate::ident::ident;

use super::names::{joined, literal};
use super::queries::Lookup;
use super::session_function::SessionTenant;
use super::sources::Origin;
use super::targets::{self, Target};

/// The default tenant of the model, by the type of ids.
const DEFAULT_UUID: &str = "a0000000-0000-0000-0000-000000000001";
const DEFAULT_BIGINT: &str = "1";
const DEFAULT_TEXT: &str = "default";

/// The first version in which SET NULL can leave columns alone.
pub(super) const SET_NULL_OF_COLUMNS: u32 = 150_000;

/// The first version whose views can run with the rights of who asks.
pub(super) const SECURITY_INVOKER: u32 = 150_000;

/// What was read beside the facts.
#[derive(Debug)]
pub(super) struct Measured {
    /// Estimated, by table.
    pub(super) rows: HashMap<Oid, i64>,
    /// Tables that ask more of a row than a key and a name.
    pub(super) demanding: HashSet<Oid>,
    /// Whether the mapping leaves open where users' tenants are, and a table says so.
    pub(super) users_guessed: bool,
}

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
    /// The key's type as SQL, which the tenant's columns get.
    pub(super) key_type: String,
    /// The default tenant as SQL, if there is one.
    pub(super) default: Option<String>,
    /// The quarantine's tenant as SQL.
    pub(super) quarantine: Option<String>,
}

/// The aim.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) facts: &'a Facts,
    pub(super) tenants: Tenants<'a>,
    /// The type of the session's tenant, as SQL.
    pub(super) type_name: &'static str,
    /// The function that gives the session's tenant.
    pub(super) function: SessionTenant,
    /// Parents before their children.
    pub(super) targets: Vec<Target<'a>>,
    pub(super) batch_rows: usize,
    pub(super) server_version: u32,
    /// The tables that are there with the tenant's column, and whose row level security has faults.
    pub(super) faulty: HashSet<Oid>,
    /// What the application looks rows up by.
    pub(super) lookups: Vec<Lookup>,
    notes: Vec<String>,
}

impl<'a> Model<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        migration: &Migration,
        measured: &Measured,
    ) -> Result<Self, Vec<BindingProblem>> {
        let policy = &facts.scoping.policy;
        let value_type = policy.tenant.value_type;
        let tenants = tenants(facts, migration, &measured.demanding)?;
        let (targets, notes) = targets::find(facts, migration, &tenants, measured)?;
        Ok(Self {
            facts,
            type_name: sql_type(value_type),
            function: SessionTenant::of(facts, &tenants.name.schema),
            tenants,
            targets,
            batch_rows: migration.batch_rows,
            server_version: facts.snapshot.server_version,
            faulty: HashSet::new(),
            lookups: Vec::new(),
            notes,
        })
    }

    pub(super) fn with_faulty(self, faulty: HashSet<Oid>) -> Self {
        Self { faulty, ..self }
    }

    pub(super) fn with_lookups(self, lookups: Vec<Lookup>) -> Self {
        Self { lookups, ..self }
    }

    /// Indexes that are used and leave the tenant out: with it in front they may serve better, which
    /// only those can say who know the queries.
    pub(super) fn used_without_tenant(&self, used: &HashMap<(Oid, String), i64>) -> Vec<String> {
        let all = self.targets.iter().flat_map(|target| {
            let indexes = target.table.indexes.iter();
            let plain = indexes.filter(|it| it.valid && !it.unique && !it.partial);
            plain.filter_map(move |index| {
                let times = used.get(&(target.table.oid, index.name.clone()))?;
                let names: Vec<&String> = index.columns.iter().flatten().collect();
                let first = names.first()?;
                let whole = names.len() == index.columns.len();
                let apart = names.contains(&&target.column)
                    || links_to_tenants(self.facts, target.table, first);
                (whole && !apart).then(|| {
                    let names = names.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ");
                    format!(
                        "{} was used {times} times: ({}, {names}) may serve tenants better (--sql plans such indexes)",
                        index.sql, target.column
                    )
                })
            })
        });
        all.collect()
    }

    /// What the plan leaves to people.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// The target that is this table.
    pub(super) fn target(&self, oid: Oid) -> Option<&Target<'a>> {
        self.targets.iter().find(|it| it.table.oid == oid)
    }

    /// A name for a new index of a schema: the wished one, unless something else has it. What a
    /// broken run left invalid is made again under its name.
    pub(super) fn index_name(&self, schema: &str, wished: String) -> String {
        let relations = self.facts.snapshot.relations.iter();
        let taken = relations.filter(|it| it.schema == schema).any(|it| {
            it.name == wished
                || it
                    .indexes
                    .iter()
                    .any(|index| index.valid && index.name == wished)
        });
        match taken {
            true => joined(&[&wished, "tenant"]),
            false => wished,
        }
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
        format!("{column} = (SELECT {}())", self.function.sql)
    }
}

fn tenants<'a>(
    facts: &'a Facts,
    migration: &Migration,
    demanding: &HashSet<Oid>,
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
    let key_column = found.and_then(|it| it.columns.iter().find(|it| it.sql == key));
    let key_type = key_column.map_or(sql_type(value_type), |it| it.type_name.as_str());
    if let Some(column) = key_column
        && type_of(column.type_oid) != Some(value_type)
    {
        let wanted = sql_type(value_type);
        return Err(problem(
            &name,
            format!(
                "its key {key} is {key_type}, but the policy's tenant is {wanted}, and only people can change a key: give it \
                 and the columns that refer to it that type before (ALTER TABLE … ALTER COLUMN … TYPE …)"
            ),
        ));
    }
    let typed = |text: &str| value(value_type, text, key_type, &name);
    let default = migration.default_tenant.as_deref();
    let default = default.or_else(|| usual_default(value_type, found, &key, demanding));
    Ok(Tenants {
        default: default.map(typed).transpose()?,
        quarantine: migration.quarantine.as_deref().map(typed).transpose()?,
        key_type: key_type.to_owned(),
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

/// The model's default tenant. In a table of tenants that is there already, a number or a word may
/// be somebody's, a row may need more than a name, and the application may do things when one comes:
/// then only people can name one.
fn usual_default(
    value_type: ValueType,
    found: Option<&Relation>,
    key: &str,
    demanding: &HashSet<Oid>,
) -> Option<&'static str> {
    let needs_more = |table: &Relation| {
        let mut columns = table.columns.iter();
        let demands =
            columns.any(|it| it.not_null && !it.has_default && it.sql != key && it.name != "name");
        demands || demanding.contains(&table.oid) || table.triggers.iter().any(acts_on_new_rows)
    };
    match (value_type, found) {
        (ValueType::Uuid, Some(table)) => (!needs_more(table)).then_some(DEFAULT_UUID),
        (ValueType::Uuid, None) => Some(DEFAULT_UUID),
        (ValueType::Bigint, None) => Some(DEFAULT_BIGINT),
        (ValueType::Text, None) => Some(DEFAULT_TEXT),
        (ValueType::Bigint | ValueType::Text, Some(_)) => None,
    }
}

/// Whether a trigger fires after an INSERT, where applications do more than mend the row.
fn acts_on_new_rows(trigger: &Trigger) -> bool {
    const BEFORE: i32 = 2;
    const INSERT: i32 = 4;
    trigger.kind & INSERT != 0 && trigger.kind & BEFORE == 0 && trigger.enabled != 'D'
}

fn problem(name: &QualifiedName, message: String) -> Vec<BindingProblem> {
    vec![BindingProblem {
        object: name.to_string(),
        message,
        suggestion: None,
    }]
}

/// A tenant's id as SQL.
fn value(
    value_type: ValueType,
    text: &str,
    type_name: &str,
    tenants: &QualifiedName,
) -> Result<String, Vec<BindingProblem>> {
    let hexadecimal = |it: &char| it.is_ascii_hexdigit();
    let fits = match value_type {
        ValueType::Uuid => text.chars().filter(hexadecimal).count() == 32,
        ValueType::Bigint => text.parse::<i64>().is_ok(),
        ValueType::Text => true,
    };
    match fits {
        true => Ok(format!("{}::{type_name}", literal(text))),
        false => Err(problem(
            tenants,
            format!("the tenant \"{text}\" is not of type {type_name}"),
        )),
    }
}

/// How often indexes were used, where they were, by table and name.
pub(super) async fn read_used_indexes(
    client: &Client,
) -> Result<HashMap<(Oid, String), i64>, Error> {
    let text = "SELECT relid, indexrelname::text, idx_scan FROM pg_catalog.pg_stat_user_indexes WHERE idx_scan > 0";
    let rows = client.query(text, &[]).await?;
    rows.iter()
        .map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?)))
        .collect()
}

/// The tables in which a row with a key and a name alone may be refused: a CHECK asks for a column
/// without a default, or one that may not be NULL has a default that depends on the session.
pub(super) async fn read_demanding(client: &Client) -> Result<HashSet<Oid>, Error> {
    let text = r"SELECT k.conrelid FROM pg_catalog.pg_constraint k, unnest(k.conkey) u(num)
                  JOIN pg_catalog.pg_attribute a ON a.attnum = u.num
                WHERE k.contype = 'c' AND a.attrelid = k.conrelid AND NOT a.atthasdef
                UNION
                SELECT d.adrelid FROM pg_catalog.pg_attrdef d
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                WHERE a.attnotnull AND a.attgenerated = '' AND pg_catalog.pg_get_expr(d.adbin, d.adrelid)
                  ~ '\(' AND pg_catalog.pg_get_expr(d.adbin, d.adrelid)
                  !~ '^\(*([a-z_]+\.)?(now|clock_timestamp|statement_timestamp|timezone|gen_random_uuid|uuid_generate_v[14]m?c?|nextval)\('";
    let rows = client.query(text, &[]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// How many rows tables have, as the planner estimates; of those that it has never looked at, by their
/// size.
pub(super) async fn read_rows(client: &Client) -> Result<HashMap<Oid, i64>, Error> {
    let text = "SELECT oid, CASE WHEN reltuples > 0 OR relkind = 'p' THEN greatest(reltuples, 0)
                  ELSE pg_catalog.pg_relation_size(oid) / 100 END::int8
                FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p')";
    let rows = client.query(text, &[]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}
