//! `pgwarden migrate status`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pgwarden_schema::migrate::{Phase, StepState, StepStatus, status};

use super::{Failure, folder, input, output, stopped};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The database: postgres://user@host:5432/database (the password also from PGPASSWORD)
    #[arg(long, value_name = "URL")]
    dsn: String,
    /// The folder with the files
    #[arg(long, value_name = "FOLDER", default_value = "migration")]
    plan: PathBuf,
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
    let files = folder::read(&arguments.plan)?;
    let steps = input::on_server(&arguments.dsn, async |client| {
        Ok(status(client, &files).await)
    })?;
    let steps = steps.map_err(|error| stopped(&error))?;
    match arguments.format {
        Format::Text => output::write(&render(&steps)),
        Format::Json => output::write_json(&steps),
    }
}

fn render(steps: &[StepStatus]) -> String {
    let mut text = String::new();
    for step in steps {
        let state = match step.state {
            StepState::Open => "open",
            StepState::Begun => "begun",
            StepState::Done => "done",
            StepState::Changed => "changed",
        };
        let rows = match step.rows {
            0 => String::new(),
            rows => format!(" ({rows} rows)"),
        };
        // Writing to a String can't fail.
        let _ = writeln!(text, "{state:<8} {}{rows}", step.name);
    }
    text.push('\n');
    for phase in Phase::ALL {
        let of = steps.iter().filter(|it| it.phase == phase);
        let done = of.clone().filter(|it| it.state == StepState::Done).count();
        let _ = writeln!(text, "{:<10} {done:>4} of {}", phase.name(), of.count());
    }
    text
}
