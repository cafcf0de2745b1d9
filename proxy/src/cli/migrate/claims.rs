//! `pgwarden migrate claims`: every user's `app_metadata` says which organisation the user is of, so
//! that tokens do.
//!
//! Users are where they are kept: in the database (`auth.users` of Supabase), or behind the admin API
//! of GoTrue. Both are gone through page by page, and `decision` says what becomes of each user; who
//! has an organisation already is never moved to another unless that is asked for. What is done
//! is seen in the users themselves, so a run that was killed is simply run again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use pgwarden_config::{load_migration, parse_duration};
use pgwarden_policy::ValueType;
use pgwarden_policy::migration::Migration;
use pgwarden_policy::rules::ClaimPath;
use tokio_postgres::Client;

use super::progress::Progress;
use super::{Failure, input, output};
use crate::server;

mod database;
mod decision;
mod directory;
mod gotrue;
mod http;
mod mapping;
mod report;
mod walk;

use database::Table;
use decision::Claim;
use directory::Directory;
use gotrue::GoTrue;
use http::{Patience, Site};
use mapping::Mapping;
use report::Report;
use walk::Walk;

#[derive(Debug, Args)]
#[command(after_help = "\
Without --apply nothing is changed: it shows what would be. Which organisation a user is of is said by
the [users] table of --mapping, by --query, and for all others by --default. With --apply users are
looked at once more when all is done. It can be killed at any moment, and run again.

Exit status: 0 everybody has, or would have, their organisation; 1 somebody has not; 2 usage or
configuration; 3 can't connect.")]
pub(crate) struct Arguments {
    /// The database of users and mapping: postgres://user@host:5432/database (the password also from PGPASSWORD)
    #[arg(long, value_name = "URL", required_unless_present = "gotrue")]
    dsn: Option<String>,
    /// The table of users there, with the columns id and raw_app_meta_data
    #[arg(long, value_name = "TABLE", default_value = "auth.users")]
    users: String,
    /// Users are behind GoTrue's API at this address: https://project.supabase.co/auth/v1
    #[arg(long, value_name = "URL")]
    gotrue: Option<String>,
    /// The environment variable with the service key of the API
    #[arg(long, value_name = "NAME", default_value = "SUPABASE_SERVICE_ROLE_KEY")]
    service_key_env: String,
    /// The certificate that the API's is checked against, PEM, in place of the machine's
    #[arg(long, value_name = "FILE", requires = "gotrue")]
    ca_file: Option<PathBuf>,
    /// How many requests a second the API gets, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How long a request may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s")]
    timeout: Duration,
    /// The policy, whose tenant.claim is set; without it app_metadata.org_id
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The file of `migrate plan`, whose users.table says who is of which organisation
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// A query whose first column is the user and whose second the organisation
    #[arg(long, value_name = "SQL", requires = "dsn")]
    query: Option<String>,
    /// The organisation of users that nothing else says one for
    #[arg(long, value_name = "ID")]
    default: Option<String>,
    /// Change it; without this it is only shown
    #[arg(long)]
    apply: bool,
    /// Move users that have another organisation, too
    #[arg(long)]
    overwrite: bool,
    /// How many users at once
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let claim = arguments.claim()?;
    let migration = arguments.migration()?;
    let gotrue = arguments.gotrue(&claim)?;
    let work = async |client: Option<&Client>| {
        let mapping = arguments.read_mapping(client, &migration).await?;
        let directory = match (gotrue, client) {
            (Some(gotrue), _) => Directory::GoTrue(Box::new(gotrue)),
            (None, Some(client)) => {
                let table = Table::open(client, &arguments.users, &claim).await?;
                Directory::Database(table)
            }
            (None, None) => return Err(Failure::usage("give --dsn or --gotrue")),
        };
        let walk = Walk {
            claim: &claim,
            mapping: &mapping,
            apply: arguments.apply,
            overwrite: arguments.overwrite,
            page: arguments.batch,
        };
        walk.run(directory, &mut Progress::new()).await
    };
    let report = match &arguments.dsn {
        Some(dsn) => input::on_server(dsn, async |client| Ok(work(Some(client)).await))??,
        None => {
            let runtime = server::runtime(1)
                .map_err(|error| Failure::Internal(format!("can't start the runtime: {error}")))?;
            runtime.block_on(work(None))?
        }
    };
    show(arguments.format, &report)?;
    match report.is_fine() {
        true => Ok(()),
        false => Err(Failure::Findings),
    }
}

fn show(format: Format, report: &Report) -> Result<(), Failure> {
    match format {
        Format::Text => output::write(&report.text()),
        Format::Json => output::write_json(report),
    }
}

impl Arguments {
    /// What is set, as the policy has it.
    fn claim(&self) -> Result<Claim, Failure> {
        let (path, value_type) = match &self.policy {
            Some(path) => {
                let policy = Arc::clone(&input::policy(path)?.policy);
                (policy.tenant.claim.clone(), policy.tenant.value_type)
            }
            None => {
                let path = ["app_metadata", "org_id"].map(str::to_owned);
                (ClaimPath(path.to_vec()), ValueType::Uuid)
            }
        };
        Claim::of(&path, value_type).map_err(Failure::Usage)
    }

    fn migration(&self) -> Result<Migration, Failure> {
        let loaded = self.mapping.as_deref().map(load_migration).transpose()?;
        Ok(loaded.map(|it| it.migration).unwrap_or_default())
    }

    async fn read_mapping(
        &self,
        client: Option<&Client>,
        migration: &Migration,
    ) -> Result<Mapping, Failure> {
        let default = self.default.clone();
        let default = default.or_else(|| migration.default_tenant.clone());
        let mut mapping = Mapping::with_default(default);
        let asked = [
            migration.users.as_ref().map(mapping::question),
            self.query.clone(),
        ];
        for query in asked.into_iter().flatten() {
            let client = client.ok_or_else(|| Failure::usage("the mapping needs --dsn"))?;
            mapping.read(client, &query).await?;
        }
        match mapping.is_empty() {
            true => Err(Failure::usage(
                "nothing says who is of which organisation: give --mapping, --query or --default",
            )),
            false => Ok(mapping),
        }
    }

    fn gotrue(&self, claim: &Claim) -> Result<Option<GoTrue>, Failure> {
        let Some(url) = &self.gotrue else {
            return Ok(None);
        };
        let name = &self.service_key_env;
        let key = std::env::var(name)
            .map_err(|_| Failure::usage(format!("the environment variable {name} is not set")))?;
        let site = Site::new(url, &key, self.ca_file.as_deref()).map_err(Failure::Usage)?;
        let patience = Patience {
            timeout: self.timeout,
            rate: self.rate,
        };
        Ok(Some(GoTrue::new(site, patience, claim.clone())))
    }
}
