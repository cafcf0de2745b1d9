//! Runs the printed commands and compares what they give: the demo, proven in CI.

use std::process::Output;

use tokio::process::Command;

use super::DemoError;
use super::showcase::{Expect, STEPS, Showcase, Step};
use super::tenants::{ACME, BOLT};

pub(super) async fn run(showcase: &Showcase, print: &impl Fn(&str)) -> Result<(), DemoError> {
    let mut failures = String::new();
    for step in STEPS {
        let mut command = Command::new("sh");
        command.arg("-c").arg(showcase.command(step));
        command.env("PSQLRC", "/dev/null").env("PSQL_PAGER", "");
        let output = command.env("LC_ALL", "C").output().await?;
        match compare(step, &output) {
            Ok(()) => print(&format!("ok      {}\n", step.title)),
            Err(why) => {
                print(&format!("FAILED  {}\n", step.title));
                failures += &format!("{}: {why}\n{}\n{}", step.title, step.sql, shown(&output));
            }
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(DemoError::Check(failures))
    }
}

fn compare(step: &Step, output: &Output) -> Result<(), String> {
    let text = shown(output);
    match step.expect {
        Expect::Refused(_) if output.status.success() => Err("it was not refused".to_owned()),
        Expect::Refused(reason) => {
            let expected = format!("reason={}", reason.code());
            if text.contains("ERROR:  pgwarden: ") && text.contains(&expected) {
                Ok(())
            } else {
                Err(format!("the error is not pgwarden's with {expected}"))
            }
        }
        Expect::Rows(_) if !output.status.success() => Err("it failed".to_owned()),
        Expect::Rows(parts) => {
            if let Some(part) = parts.iter().find(|part| !text.contains(*part)) {
                return Err(format!("{part:?} is missing"));
            }
            let other = if step.tenant.org == ACME.org {
                &BOLT
            } else {
                &ACME
            };
            match [other.org, other.name, other.user]
                .iter()
                .find(|it| text.contains(*it))
            {
                Some(leak) => Err(format!("{leak:?} of the other organisation is shown")),
                None => Ok(()),
            }
        }
    }
}

fn shown(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts.map(|part| String::from_utf8_lossy(part)).concat()
}
