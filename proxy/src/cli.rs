//! The command line: one file per command.
//!
//! Results go to standard output, everything else to standard error. Exit status: 0 fine; 1
//! findings or a failed check; 2 usage or configuration; 3 can't connect; 70 internal.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::server;

mod audit;
mod catalog;
mod check;
mod demo;
mod explain;
mod failure;
mod input;
mod migrate;
mod orgs;
mod output;
mod place;
mod policy_check;
mod policy_diff;
mod policy_test;
mod question;
mod sarif;
mod serve;
mod signing;
mod token_inspect;
mod token_mint;
mod version;

use failure::Failure;

/// sysexits.h: EX_SOFTWARE.
const INTERNAL: u8 = 70;

/// A tenant-enforcing PostgreSQL proxy.
#[derive(Debug, Parser)]
#[command(name = "pgwarden", version, disable_help_subcommand = true)]
#[command(after_help = "Exit status: 0 fine; 1 findings or a failed check; \
    2 usage or configuration; 3 can't connect; 70 internal.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Serve(serve::Arguments),
    /// Try it: a throwaway PostgreSQL with two organisations, the proxy, commands to paste.
    Demo(demo::Arguments),
    /// Check and test a policy.
    #[command(subcommand)]
    Policy(Policy),
    /// Show what becomes of one statement, and why.
    Explain(explain::Arguments),
    /// Judge files of SQL, for CI.
    Check(check::Arguments),
    /// Find what a live database lacks to keep tenants apart.
    Audit(audit::Arguments),
    /// Bring a live database to the tenancy model, in phases.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Do work for each organisation, in a session of its own.
    #[command(subcommand)]
    Orgs(orgs::Command),
    /// Write the catalogue snapshot of a database, which offline commands read.
    Catalog(catalog::Arguments),
    /// Make and look at development tokens.
    #[command(subcommand)]
    Token(Token),
    /// Show the version.
    Version,
}

#[derive(Debug, Subcommand)]
enum Policy {
    /// Validate a policy, against a live database with --dsn.
    Check(policy_check::Arguments),
    /// Run the policy's own test cases.
    Test(policy_test::Arguments),
    /// Show which verdicts a new policy changes.
    Diff(policy_diff::Arguments),
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Make a signed token.
    Mint(token_mint::Arguments),
    /// Show what a token says, and whether it is good.
    Inspect(token_inspect::Arguments),
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    // Usage errors end the process here, with status 2.
    let arguments = Arguments::parse();
    guarded(move || run(arguments.command))
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Policy(Policy::Check(arguments)) => policy_check::run(&arguments),
        Command::Policy(Policy::Test(arguments)) => policy_test::run(&arguments),
        Command::Policy(Policy::Diff(arguments)) => policy_diff::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Migrate(command) => migrate::run(&command),
        Command::Orgs(command) => orgs::run(&command),
        Command::Catalog(arguments) => catalog::run(&arguments),
        Command::Token(Token::Mint(arguments)) => token_mint::run(&arguments),
        Command::Token(Token::Inspect(arguments)) => token_inspect::run(&arguments),
        Command::Version => version::run(),
    }
}

/// Runs a command on a thread that has the stack for the parser, and turns what comes of it into
/// an exit status. A panic is an internal error, not a signal.
fn guarded(command: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> ExitCode {
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(at) => eprintln!("pgwarden: internal error at {}:{}", at.file(), at.line()),
        None => eprintln!("pgwarden: internal error"),
    }));
    let thread = std::thread::Builder::new()
        .name("pgwarden".to_owned())
        .stack_size(server::STACK_BYTES)
        .spawn(command);
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(failure))) => failure.report(),
        Ok(Err(_)) => ExitCode::from(INTERNAL),
        Err(error) => {
            eprintln!("pgwarden: can't start a thread: {error}");
            ExitCode::from(INTERNAL)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_panic_is_an_internal_error() {
        let status = guarded(|| panic!("must not be shown"));
        assert_eq!(
            format!("{status:?}"),
            format!("{:?}", ExitCode::from(INTERNAL))
        );
    }
}
