//! What several commands read: a policy, a catalogue, a text from standard input.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use pgwarden_config::{Environment, LoadedPolicy, load_policy, settings};
use pgwarden_policy::engine::Limits;
use pgwarden_policy::{Catalog, Engine};
use pgwarden_schema::Reading;
use tokio_postgres::Client;

use crate::backend::{self, Upstream};
use crate::server;

use super::Failure;

/// Where the catalogue comes from.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct CatalogSource {
    /// A snapshot that `pgwarden catalog` wrote; by default catalog.json beside the policy
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// A live database: postgres://user@host:5432/database (the password also from PGPASSWORD)
    #[arg(long, value_name = "URL")]
    dsn: Option<String>,
}

impl CatalogSource {
    /// Reads it. Where nobody says which, it stands beside the policy.
    pub(super) fn read(&self, policy: &Path) -> Result<Arc<Catalog>, Failure> {
        let catalog = match (&self.catalog, &self.dsn) {
            (Some(path), _) => from_file(path),
            (None, Some(dsn)) => from_server(dsn),
            (None, None) => beside(policy),
        };
        catalog.map(Arc::new)
    }
}

/// Binds a policy to a catalogue.
pub(super) fn engine(loaded: &LoadedPolicy, catalog: Arc<Catalog>) -> Result<Engine, Failure> {
    let policy = Arc::clone(&loaded.policy);
    let engine = Engine::new(policy, catalog, Limits::default());
    engine.map_err(|problems| loaded.source.locate_all(&problems).into())
}

/// Reads a policy.
pub(super) fn policy(path: &Path) -> Result<LoadedPolicy, Failure> {
    Ok(load_policy(path)?)
}

fn beside(policy: &Path) -> Result<Catalog, Failure> {
    let path = policy.with_file_name("catalog.json");
    if !path.exists() {
        let name = path.display();
        return Err(Failure::usage(format!(
            "give --catalog or --dsn, or write {name} with \"pgwarden catalog --dsn URL > {name}\""
        )));
    }
    from_file(&path)
}

fn from_file(path: &Path) -> Result<Catalog, Failure> {
    let name = path.display();
    let text = std::fs::read(path)
        .map_err(|error| Failure::usage(format!("{name} can't be read: {error}")))?;
    pgwarden_schema::read_snapshot(&text).map_err(|error| Failure::usage(format!("{name} {error}")))
}

/// Reads the catalogue of a live database.
pub(super) fn from_server(dsn: &str) -> Result<Catalog, Failure> {
    on_server(dsn, async |client| {
        pgwarden_schema::read_catalog(client).await
    })
}

/// Reads the catalogue of a live database, with what the database does by itself.
pub(super) fn reading(dsn: &str) -> Result<Reading, Failure> {
    let read = on_server(dsn, async |client| {
        pgwarden_schema::read_changed(client, None).await
    })?;
    read.ok_or_else(|| Failure::Internal("the database gave no catalogue".to_owned()))
}

/// Asks a live database something.
pub(super) fn on_server<T>(
    dsn: &str,
    ask: impl AsyncFnOnce(&Client) -> Result<T, pgwarden_schema::Error>,
) -> Result<T, Failure> {
    let database = pgwarden_config::read_database(dsn, &Environment::of_process())
        .map_err(|problems| Failure::usage(format!("--dsn: {}", problems.join("\n--dsn: "))))?;
    // The URL's user stands in for a database that it does not name, as in libpq.
    on_database(&database, &database.user, ask)
}

/// Asks a database something, as the settings have it for clients that ask for `requested`.
pub(super) fn on_database<T>(
    database: &settings::Database,
    requested: &str,
    ask: impl AsyncFnOnce(&Client) -> Result<T, pgwarden_schema::Error>,
) -> Result<T, Failure> {
    let runtime = server::runtime(1)
        .map_err(|error| Failure::Internal(format!("can't start the runtime: {error}")))?;
    runtime.block_on(connected(database, requested, ask))
}

async fn connected<T>(
    database: &settings::Database,
    requested: &str,
    ask: impl AsyncFnOnce(&Client) -> Result<T, pgwarden_schema::Error>,
) -> Result<T, Failure> {
    let upstream = Upstream::new(database, requested);
    let upstream = Arc::new(upstream.map_err(|error| Failure::usage(format!("--dsn: {error}")))?);
    let failed =
        |why: String| Failure::Connect(format!("can't read the catalogue of {upstream}: {why}"));
    let connected = backend::connect_control(&upstream).await;
    let (client, _) = connected.map_err(|error| failed(error.to_string()))?;
    let answer = ask(&client).await;
    answer.map_err(|error| failed(error.to_string()))
}

/// Texts with the names that messages show: of files, or of standard input for `-` or none.
pub(super) fn files_or_stdin(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    if paths.is_empty() {
        return Ok(vec![stdin()?]);
    }
    paths.iter().map(|path| file_or_stdin(path)).collect()
}

/// A text with the name that messages show.
pub(super) fn file_or_stdin(path: &Path) -> Result<(String, String), Failure> {
    if path.to_str() == Some("-") {
        return stdin();
    }
    let name = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::usage(format!("{name} can't be read: {error}")))?;
    Ok((name.clone(), text_of(&name, bytes)?))
}

fn stdin() -> Result<(String, String), Failure> {
    Ok(("<stdin>".to_owned(), text_or_stdin("-")?))
}

/// A text that is an argument, or standard input for `-`.
pub(super) fn text_or_stdin(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("standard input can't be read: {error}")))?;
    text_of("standard input", bytes)
}

/// The text of a file. Some editors begin one with a byte order mark, which psql skips, too.
fn text_of(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        Failure::usage(format!("{name} is not UTF-8: byte {at} can't be read"))
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}
