//! The `pgwarden` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgwarden::cli::main()
}
