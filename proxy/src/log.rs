//! The process's own log, on standard error.

use std::io::{self, IsTerminal};

use pgwarden_config::settings::{Log, LogFormat};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Keeps the log's thread alive; dropping it writes what still waits.
#[derive(Debug)]
#[must_use = "lines that wait are lost without it"]
pub struct LogGuard {
    _worker: WorkerGuard,
}

/// The second reader's parser shows the tokens that it reads, clients' literals among them, from
/// `debug` on. They are in no log but of who asks for one of its modules by name.
const TELLS_STATEMENTS: &str = "sqlparser=off";

/// Installs the log. A second call in one process (tests) changes nothing.
///
/// Lines are written by a thread of their own: a standard error that nobody reads makes lines
/// lost, never sessions wait.
///
/// # Errors
/// When the filter can't be read.
pub fn install(settings: &Log) -> Result<LogGuard, String> {
    let filter =
        EnvFilter::try_new(&settings.filter).map_err(|error| format!("log.filter: {error}"))?;
    let quiet = TELLS_STATEMENTS
        .parse()
        .map_err(|error| format!("log.filter: {error}"))?;
    let filter = filter.add_directive(quiet);
    let colours = io::stderr().is_terminal();
    let (writer, worker) = tracing_appender::non_blocking(io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colours)
        .with_target(false);
    let _ = match settings.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(LogGuard { _worker: worker })
}

/// Says where a task panicked, and not what with: a panic's text can quote what was being worked
/// on.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(at) => tracing::error!(file = at.file(), line = at.line(), "a task panicked"),
        None => tracing::error!("a task panicked"),
    }));
}
