//! What the database itself guarantees for scoped tables: the lints that matter to enforcement,
//! without counting rows. The proxy reads this beside its catalogue, asks it under each policy that
//! comes in force (`require_rls`), and so notices when a guarantee goes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use pgwarden_policy::catalog::{Catalog, Oid};
use pgwarden_policy::rules::Policy;
use tokio_postgres::Client;

use super::facts::Facts;
use super::finding::Finding;
use super::lints::{self, FENCE};
use super::snapshot::{self, Relation, Snapshot};
use super::{Options, findings, scoping};
use crate::Error;

/// What was read of a database. Whether it is enough is for a policy to say.
#[derive(Debug, Clone)]
pub struct Guarantees(Arc<Snapshot>);

/// A scoped table whose guarantee is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// `schema.table`.
    pub table: String,
    /// What it lacks, and the SQL that mends it.
    pub finding: Finding,
}

/// What a policy's scoped tables have and lack.
#[derive(Debug, Clone, Default)]
pub struct Assessment {
    /// The scoped tables.
    pub tables: BTreeSet<String>,
    /// What is missing.
    pub gaps: Vec<Gap>,
    /// The tables with row level security whose policies don't keep tenants apart, for the roles that
    /// run tenants' statements.
    pub doubted: HashSet<Oid>,
}

/// The codes that gaps can have.
pub fn guarantee_codes() -> impl Iterator<Item = &'static str> {
    lints::ENFORCEMENT.iter().map(|lint| lint.code)
}

impl Guarantees {
    /// Reads them in the client's transaction, whose `search_path` is empty.
    pub(crate) async fn read(client: &Client) -> Result<Self, Error> {
        Ok(Self(Arc::new(snapshot::read(client).await?)))
    }

    /// What they are worth under a policy; the catalogue is the one that was read with them.
    pub fn under(&self, policy: &Arc<Policy>, catalog: &Arc<Catalog>) -> Assessment {
        let options = Options {
            policy: Some(Arc::clone(policy)),
            ..Options::default()
        };
        let scoping = scoping::resolve(&options, &self.0, catalog);
        let facts = Facts::new(Arc::clone(&self.0), scoping, None);
        let found = findings(&facts, lints::ENFORCEMENT).into_iter();
        let acting = acting(&self.0, policy);
        let tables: HashMap<String, &Relation> =
            facts.guarded().map(|it| (it.full_name(), it)).collect();
        let mut assessment = Assessment {
            tables: tables.keys().cloned().collect(),
            ..Assessment::default()
        };
        for finding in found {
            let about = table_of(&tables, &finding.object);
            if let Some((_, table)) = about.filter(|_| FENCE.contains(&finding.code))
                && binds(&acting, table, &finding)
            {
                assessment.doubted.insert(table.oid);
            }
            let table = about.map_or(finding.object.as_str(), |(name, _)| name);
            assessment.gaps.push(Gap {
                table: table.to_owned(),
                finding,
            });
        }
        assessment
    }
}

/// The roles whose policies decide for tenants' statements: the login role, which reads this, those
/// that tokens stand for, and what they are members of.
fn acting(snapshot: &Snapshot, policy: &Policy) -> HashSet<String> {
    let set_roles = policy.roles.iter().filter(|it| it.enforce);
    let set_roles: Vec<&String> = set_roles.filter_map(|it| it.set_role.as_ref()).collect();
    let acting = snapshot.roles.iter();
    let acting = acting.filter(|it| it.ours || set_roles.contains(&&it.name));
    acting
        .flat_map(|it| it.acts_for.iter().chain([&it.name]).cloned())
        .collect()
}

/// Whether the policy that a finding is about binds one of these roles.
fn binds(acting: &HashSet<String>, table: &Relation, finding: &Finding) -> bool {
    let named = |name: &str| finding.object == format!("{}.{name}", table.full_name());
    let policy = table.policies.iter().find(|it| named(&it.name));
    policy.is_none_or(|it| {
        it.roles
            .iter()
            .any(|role| role == "PUBLIC" || acting.contains(role))
    })
}

/// The tables whose row level security the audit finds fault with, partitions that somebody may name
/// included: a migration changes no others.
pub(crate) fn faulty_row_security(facts: &Facts) -> HashSet<Oid> {
    let partitions = facts.open_partitions().map(|it| it.0);
    let tables = facts.guarded().chain(partitions);
    let tables: HashMap<String, &Relation> = tables.map(|it| (it.full_name(), it)).collect();
    let found = findings(facts, lints::ROW_SECURITY).into_iter();
    found
        .filter_map(|it| Some(table_of(&tables, &it.object)?.1.oid))
        .collect()
}

/// The table that an object is, or is something of.
fn table_of<'a>(
    tables: &'a HashMap<String, &'a Relation>,
    object: &str,
) -> Option<(&'a str, &'a Relation)> {
    let ends = object.match_indices('.').map(|(at, _)| at);
    let mut names = ends.chain([object.len()]).filter_map(|at| object.get(..at));
    names.find_map(|name| {
        tables
            .get_key_value(name)
            .map(|(name, table)| (name.as_str(), *table))
    })
}
