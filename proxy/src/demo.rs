//! `pgwarden demo`: everything in one process, nothing left behind.
//!
//! A throwaway PostgreSQL with two organisations of a call centre, a random key, one token for
//! each organisation, and the proxy in front, configured by files as in production. Prints
//! commands to paste, and runs until a signal ends it.

mod account;
mod binaries;
mod check;
mod database;
pub mod port;
pub mod postgres;
mod showcase;
mod tenants;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use pgwarden_config::{Environment, load_policy, load_settings};

use crate::log;
use crate::proxy::StartError;
use crate::server::{self, Inputs, Signals};
use postgres::{LaunchError, Postgres};
use showcase::Showcase;
use tenants::Key;

/// The policy of the demo, as it is shown to people.
pub const POLICY: &str = include_str!("demo/policy.toml");

/// Creates the demo's tables in an empty database. The role `pgwarden` must exist.
pub const SCHEMA_SQL: &str = include_str!("demo/schema.sql");

const SETTINGS: &str = include_str!("demo/warden.toml");

/// Threads that its sessions run on.
const THREADS: usize = 2;

/// Leads of each organisation; the other tables follow.
const SCALE: u32 = 1000;

/// Where clients connect unless something is there already.
const PREFERRED_ADDRESS: &str = "127.0.0.1:6432";

/// Fills the demo's tables. `scale` is the number of leads of each organisation.
pub fn data_sql(scale: u32) -> String {
    format!(
        "SET demo.scale = '{scale}';\n{}",
        include_str!("demo/data.sql")
    )
}

/// What the demo is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients connect; without it port 6432 of loopback, or any free one.
    pub listen: Option<SocketAddr>,
    /// Run the commands that would be printed, compare what they give, and end.
    pub check: bool,
}

/// Why the demo ends early.
#[derive(Debug)]
pub enum DemoError {
    /// There is no PostgreSQL.
    Launch(LaunchError),
    /// The demo's database can't be filled.
    Database(tokio_postgres::Error),
    /// The proxy does not start.
    Start(StartError),
    /// A file can't be written, or a process not be run.
    Io(io::Error),
    /// A printed command does not do what it should; the text to show.
    Check(String),
}

impl From<LaunchError> for DemoError {
    fn from(error: LaunchError) -> Self {
        Self::Launch(error)
    }
}

impl From<tokio_postgres::Error> for DemoError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StartError> for DemoError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs the demo until a signal ends it. `print` shows a text on standard output.
///
/// # Errors
/// See [`DemoError`].
pub fn run(options: &Options, print: impl Fn(&str)) -> Result<(), DemoError> {
    let server = Postgres::start(database::let_in)?;
    let runtime = server::runtime(THREADS)?;
    let ran = runtime.block_on(async {
        let signals = Signals::new()?;
        let password = database::fill(&server, SCALE).await?;
        let key = Key::random()?;
        let config = write_files(&server, &password, &key, options.listen)?;
        let load = move || read(&config);
        let inputs = load().map_err(StartError::Settings)?;
        let _log = log::install(&inputs.settings.log).map_err(StartError::Settings)?;
        log::install_panic_hook();
        let running = server::start(inputs).await?;
        let showcase = Showcase::new(&server, &running, &key)?;
        if options.check {
            let checked = check::run(&showcase, &print).await;
            running.shut_down(std::future::ready(())).await;
            return checked;
        }
        print(&showcase.text());
        signals.obey(&running, &load).await;
        Ok(())
    });
    runtime.shutdown_background();
    drop(server);
    ran
}

/// The environment has no say in the demo's files.
fn read(config: &Path) -> Result<Inputs, String> {
    let environment: Environment = std::iter::empty::<(String, String)>().collect();
    let settings = load_settings(config, &environment).map_err(|it| it.to_string())?;
    let policy = load_policy(&settings.policy_file).map_err(|it| it.to_string())?;
    Ok(Inputs { settings, policy })
}

/// Writes the two files and the secrets; gives the path of `warden.toml`.
fn write_files(
    server: &Postgres,
    password: &str,
    key: &Key,
    listen: Option<SocketAddr>,
) -> io::Result<PathBuf> {
    let settings = SETTINGS
        .replace("@listen@", &listen_address(listen))
        .replace("@port@", &server.address().port().to_string());
    server.write_file("database.password", password)?;
    server.write_file("jwt.secret", key.secret())?;
    server.write_file("policy.toml", POLICY)?;
    server.write_file("warden.toml", &settings)
}

fn listen_address(wished: Option<SocketAddr>) -> String {
    match wished {
        Some(address) => address.to_string(),
        None if TcpListener::bind(PREFERRED_ADDRESS).is_ok() => PREFERRED_ADDRESS.to_owned(),
        None => "127.0.0.1:0".to_owned(),
    }
}
