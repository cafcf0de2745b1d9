//! Tenancy findings of a live database: what PostgreSQL itself does, or fails to do, to keep
//! tenants apart, under the same policy that the proxy enforces.
//!
//! One read-only transaction reads a snapshot (`snapshot`) and counts rows within bounds
//! (`counts`); `scoping` says which tables belong to tenants, as the engine itself resolves the
//! policy; each lint (`lints/`, one file, one page in `docs/lints/`) is a pure function of these
//! facts. What can't be counted is said, never taken for zero.

mod counts;
mod expectations;
pub(crate) mod expression;
pub(crate) mod facts;
mod fences;
mod finding;
pub(crate) mod guarantees;
pub(crate) mod lints;
pub(crate) mod references;
pub(crate) mod scoping;
pub(crate) mod snapshot;
pub(crate) mod sources;
mod suppression;

use std::sync::Arc;
use std::time::Duration;

use pgwarden_policy::Policy;
use tokio_postgres::Client;

use crate::Error;

pub use expectations::Script;
pub use finding::{Finding, Level, Place, Report};
pub use guarantees::{Assessment, Gap, Guarantees, guarantee_codes};
pub use suppression::Suppression;

use facts::Facts;
use finding::{Draft, Lint};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// The policy that says which tables are scoped. Without one it is guessed, and said so.
    pub policy: Option<Arc<Policy>>,
    /// The tenant's column, where there is no policy.
    pub tenant_column: Option<String>,
    /// The role that the proxy logs in with.
    pub proxy_role: Option<String>,
    /// SQL of the application, whose relations and columns must exist.
    pub scripts: Vec<Script>,
    /// Findings that somebody has accepted.
    pub suppressions: Vec<Suppression>,
    /// How long one query may run.
    pub query_time_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: None,
            tenant_column: None,
            proxy_role: None,
            scripts: Vec::new(),
            suppressions: Vec::new(),
            query_time_max: Duration::from_secs(10),
        }
    }
}

/// Audits the database that the client is connected to. The client must not be in a transaction,
/// and should not be used for anything else after an error.
///
/// # Errors
/// When the connection breaks, or the server refuses to show its catalogue.
pub async fn audit(client: &Client, options: &Options) -> Result<Report, Error> {
    let catalog = Arc::new(crate::read_catalog(client).await?);
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
         SET LOCAL search_path = ''; SET LOCAL row_security = off;
         SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = {}",
        options.query_time_max.as_millis()
    );
    let mut readings = 0..crate::READINGS_MAX;
    loop {
        client.batch_execute(&begin).await?;
        let read = read_facts(client, options, &catalog).await;
        client.batch_execute("ROLLBACK").await?;
        let again = read.as_ref().is_err_and(Error::is_of_ddl);
        if !again || readings.next().is_none() {
            return Ok(report(&read?, options));
        }
    }
}

/// The facts that need no count: the snapshot and how it is scoped. In the client's transaction.
pub(crate) async fn read_model(
    client: &Client,
    options: &Options,
    catalog: &Arc<pgwarden_policy::Catalog>,
) -> Result<Facts, Error> {
    let snapshot = Arc::new(snapshot::read(client).await?);
    let scoping = scoping::resolve(options, &snapshot, catalog);
    Ok(Facts::new(snapshot, scoping, options.proxy_role.clone()))
}

async fn read_facts(
    client: &Client,
    options: &Options,
    catalog: &Arc<pgwarden_policy::Catalog>,
) -> Result<Facts, Error> {
    let mut facts = read_model(client, options, catalog).await?;
    facts.counts = counts::read(client, &facts).await?;
    facts.missing = expectations::missing(&options.scripts, catalog, &facts.scoping.policy);
    Ok(facts)
}

fn report(facts: &Facts, options: &Options) -> Report {
    let mut findings = findings(facts, lints::ALL);
    findings.sort_by(|a, b| (a.level, a.code, &a.object).cmp(&(b.level, b.code, &b.object)));
    findings.dedup_by(|a, b| a.key == b.key);
    let mut notes = facts.scoping.notes.clone();
    notes.extend(facts.counts.notes.iter().cloned());
    notes.extend(setting_note(facts));
    suppression::apply(&options.suppressions, &mut findings, &mut notes);
    Report {
        scoped: facts.guarded().count(),
        tables: facts.tables().count(),
        findings,
        notes,
    }
}

/// That the proxy says who a session is in another place than the policies look.
fn setting_note(facts: &Facts) -> Option<String> {
    let setting = facts.setting.as_ref().filter(|_| facts.scoping.given)?;
    Some(format!(
        "policies take the tenant from the setting {setting}, but pgwarden sets request.jwt.claims alone: behind it \
         they show no rows until they read the claim {}",
        facts.scoping.policy.tenant.claim.0.join(".")
    ))
}

fn findings(facts: &Facts, lints: &[Lint]) -> Vec<Finding> {
    lints
        .iter()
        .flat_map(|lint| {
            let drafts: Vec<Draft> = (lint.check)(facts);
            drafts.into_iter().map(|it| it.of(lint.code, lint.level))
        })
        .collect()
}
