//! The process's own log, on standard error.

use std::io::{self, IsTerminal};

use pgwarden_config::settings::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Installs the log. A second call in one process (tests) changes nothing.
///
/// # Errors
/// When the filter can't be read.
pub fn install(settings: &Log) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&settings.filter).map_err(|error| format!("log.filter: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    let _ = match settings.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Says where a task panicked, and not what with: a panic's text can quote what was being worked
/// on.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(at) => tracing::error!(file = at.file(), line = at.line(), "a task panicked"),
        None => tracing::error!("a task panicked"),
    }));
}
