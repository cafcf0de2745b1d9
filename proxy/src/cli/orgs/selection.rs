//! Which organisations: those that are active in the database, or those that are named.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use pgwarden_config::Settings;
use pgwarden_policy::Policy;
use pgwarden_schema::organisations::{Organisation, Wanted, read};

use super::report::Report;
use super::{Failure, input};

#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Where organisations are read, past the proxy, by a role that may see them all; without it the
    /// database of --config
    #[arg(long, value_name = "URL")]
    dsn: Option<String>,
    /// Their table; without it the one that the policy scopes by its own key, or that others refer to
    #[arg(long, value_name = "TABLE")]
    organizations: Option<String>,
    /// Which are active; by default status=active where there is such a column
    #[arg(long, value_name = "COLUMN=VALUE")]
    active: Option<String>,
    /// These organisations, without asking the database
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with_all = ["dsn", "only", "organizations", "active"])]
    orgs: Vec<String>,
    /// Of the active ones, only these
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    only: Vec<String>,
    /// All but these
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    except: Vec<String>,
    /// Those that are not done by this file of --report
    #[arg(long, value_name = "FILE")]
    only_failed: Option<PathBuf>,
}

impl Selection {
    /// The URL that is read by.
    pub(super) fn dsn(&self) -> Option<&str> {
        self.dsn.as_deref()
    }

    /// The organisations, in the order of their ids, each once.
    pub(super) fn organisations(
        &self,
        settings: Option<&Settings>,
        database: &str,
        policy: &Arc<Policy>,
    ) -> Result<Vec<Organisation>, Failure> {
        let mut all = match self.orgs.as_slice() {
            [] => self.read(settings, database, policy)?,
            named => named.iter().map(|id| Organisation::named(id)).collect(),
        };
        if !self.only.is_empty() {
            known(&all, &self.only)?;
            all.retain(|it| self.only.contains(&it.id));
        }
        all.retain(|it| !self.except.contains(&it.id));
        if let Some(path) = &self.only_failed {
            let left = left_by(path)?;
            all.retain(|it| left.contains(&it.id));
        }
        let mut seen = HashSet::new();
        all.retain(|it| seen.insert(it.id.clone()));
        Ok(all)
    }

    fn read(
        &self,
        settings: Option<&Settings>,
        database: &str,
        policy: &Arc<Policy>,
    ) -> Result<Vec<Organisation>, Failure> {
        let wanted = Wanted {
            policy: Arc::clone(policy),
            table: self.organizations.clone(),
            active: self.active.as_deref().map(pair).transpose()?,
        };
        let ask = async |client: &tokio_postgres::Client| read(client, &wanted).await;
        let found = match (&self.dsn, settings) {
            (Some(dsn), _) => input::on_server(dsn, ask),
            (None, Some(settings)) => {
                let at = settings.databases.get(database).ok_or_else(|| {
                    Failure::usage(format!("--config has no database {database:?}; give --dsn"))
                })?;
                input::on_database(at, database, ask)
            }
            (None, None) => return Err(Failure::usage("give --dsn, --orgs or --config")),
        };
        found?.map_err(Failure::Usage)
    }
}

/// `column=value`.
fn pair(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok((column.to_owned(), value.to_owned())),
        Some(_) | None => Err(Failure::usage("--active is written as column=value")),
    }
}

/// A name that fits nobody is a mistake, not an empty choice.
fn known(all: &[Organisation], named: &[String]) -> Result<(), Failure> {
    let is_known = |id: &&String| all.iter().any(|it| it.id == **id);
    match named.iter().find(|id| !is_known(id)) {
        Some(id) => Err(Failure::usage(format!(
            "--only: there is no active organisation {id:?}"
        ))),
        None => Ok(()),
    }
}

/// The organisations of a report that are not done.
fn left_by(path: &Path) -> Result<HashSet<String>, Failure> {
    let unreadable = |why: String| Failure::usage(format!("{} {why}", path.display()));
    let text =
        std::fs::read(path).map_err(|error| unreadable(format!("can't be read: {error}")))?;
    let report: Report = serde_json::from_slice(&text)
        .map_err(|error| unreadable(format!("is no report of pgwarden orgs run: {error}")))?;
    Ok(report.left().map(str::to_owned).collect())
}
