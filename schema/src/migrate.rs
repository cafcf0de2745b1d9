//! Brings a schema that knows no tenants to the tenancy model, in phases that are safe on a
//! production system: `expand` (columns, and triggers that fill them), `backfill`, `constrain`,
//! `enforce`, and at last `contract`.
//!
//! [`plan`] compares the database with the model and writes numbered files ([`StepFile`]) for
//! people to review; whatever is there already is left out. The files are all that is run later:
//! what was reviewed is what happens ([`apply`], [`status`], [`rollback`]). Which tables belong to tenants is said by the same policy
//! that the proxy enforces and `audit` reads; where a row's tenant comes from, by the migration's
//! own file.

mod batches;
mod error;
mod file;
mod index;
mod members;
mod model;
mod names;
mod partitions;
mod phase;
mod queries;
mod rollback;
mod run;
mod script;
mod session_function;
mod sources;
mod state;
mod status;
mod steps;
mod targets;
mod throttle;

use std::sync::Arc;

use pgwarden_policy::Policy;
use pgwarden_policy::engine::BindingProblem;
use pgwarden_policy::migration::Migration;
use tokio_postgres::Client;

use crate::Error;
use crate::audit;

pub use error::MigrateError;
pub use file::{StepFile, UnreadableStep};
pub use phase::Phase;
pub use rollback::rollback;
pub use run::{ApplyOptions, Event, Watcher, apply};
pub use status::{StepState, StepStatus, status};

/// What is planned with.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// The policy that says which tables are scoped. Without one it is guessed, and said so.
    pub policy: Option<Arc<Policy>>,
    /// The tenant's column, where there is no policy.
    pub tenant_column: Option<String>,
    /// Where tenants come from.
    pub migration: Migration,
    /// SQL of the application, whose lookups get indexes.
    pub scripts: Vec<audit::Script>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The steps, in their order.
    pub files: Vec<StepFile>,
    /// What was guessed, and what the plan leaves to people.
    pub notes: Vec<String>,
}

/// Plans the migration of the database that the client is connected to; reads only. The client
/// must not be in a transaction, and should not be used for anything else after an error. The
/// inner error is what the migration's file says and the database does not hold.
///
/// # Errors
/// When the connection breaks, or the server refuses to show its catalogue.
pub async fn plan(
    client: &Client,
    options: &PlanOptions,
) -> Result<Result<Plan, Vec<BindingProblem>>, Error> {
    let catalog = Arc::new(crate::read_catalog(client).await?);
    client.batch_execute(crate::BEGIN).await?;
    let asked = audit::Options {
        policy: options.policy.clone(),
        tenant_column: options.tenant_column.clone(),
        ..audit::Options::default()
    };
    let read = async {
        let facts = audit::read_model(client, &asked, &catalog).await?;
        let rows = model::read_rows(client).await?;
        let used = model::read_used_indexes(client).await?;
        let demanding = model::read_demanding(client).await?;
        let members = members::find(client, &facts, &options.migration).await?;
        let measured = model::Measured {
            rows,
            demanding,
            users_guessed: false,
        };
        Ok::<_, Error>((facts, used, members, measured))
    };
    let read = read.await;
    client.batch_execute("ROLLBACK").await?;
    let (mut facts, used, members, mut measured) = read?;
    let faulty = audit::guarantees::faulty_row_security(&facts);
    // The model takes the tenant from the verified claims, whatever policies do until now.
    facts.setting = None;
    let lookups = queries::lookups(&options.scripts, &facts);
    let (users, note) = members.unzip();
    let mut migration = options.migration.clone();
    measured.users_guessed = users.is_some();
    migration.users = migration.users.or(users);
    let model = model::Model::new(&facts, &migration, &measured);
    Ok(model.map(|model| {
        let model = model.with_lookups(lookups).with_faulty(faulty);
        let mut notes = facts.scoping.notes.clone();
        notes.extend(note);
        notes.extend(model.notes());
        notes.extend(model.used_without_tenant(&used));
        Plan {
            files: file::numbered(&steps::all(&model)),
            notes,
        }
    }))
}
