//! `pgwarden demo`.

use std::net::SocketAddr;

use clap::Args;

use crate::demo::{self, DemoError, Options};

use super::{Failure, output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where clients connect [default: 127.0.0.1:6432, or a free port if that is taken]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Run the commands that would be printed, compare what they give, and end
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = Options {
        listen: arguments.listen,
        check: arguments.check,
    };
    // Who closes standard output early still has the demo.
    let print = |text: &str| drop(output::write(text));
    Ok(demo::run(&options, print)?)
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        use crate::demo::postgres::LaunchError;
        match error {
            DemoError::Launch(LaunchError::Missing(why)) => Self::Usage(why),
            DemoError::Launch(error) => Self::Internal(error.to_string()),
            DemoError::Database(error) => match error.as_db_error() {
                Some(db) => Self::Internal(format!("can't fill the database: {}", db.message())),
                None => Self::Internal(format!("can't fill the database: {error}")),
            },
            DemoError::Start(error) => error.into(),
            DemoError::Io(error) => Self::Internal(error.to_string()),
            DemoError::Check(why) => {
                eprintln!("{why}");
                Self::Findings
            }
        }
    }
}
