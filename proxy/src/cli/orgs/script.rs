//! SQL that is run in an organisation's session.

use std::path::Path;

use pgwarden_policy::script::{PartKind, controls_transaction, has_parameters, split};
use tokio_postgres::Client;

use super::{Failure, input};

/// A file of SQL, cut into statements.
#[derive(Debug)]
pub(super) struct Script {
    statements: Vec<Statement>,
    /// Whether all of them make one transaction.
    transaction: bool,
}

#[derive(Debug)]
struct Statement {
    sql: String,
    /// Its first line in the file, from 1.
    line: usize,
}

impl Script {
    /// Reads a file, and refuses what could not be run for anybody.
    pub(super) fn read(path: &Path, transaction: bool) -> Result<Self, Failure> {
        let (name, text) = input::file_or_stdin(path)?;
        Self::of(&text, transaction)
            .map_err(|(line, why)| Failure::usage(format!("{name}:{line}: {why}")))
    }

    fn of(text: &str, transaction: bool) -> Result<Self, (usize, &'static str)> {
        let mut statements = Vec::new();
        for part in split(text) {
            let before = text.get(..part.range.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let sql = text.get(part.range).unwrap_or_default();
            match part.kind {
                PartKind::MetaCommand => {
                    return Err((line, "a command of psql; use --each with psql"));
                }
                PartKind::CopyData => {
                    return Err((line, "data of COPY; use --each with psql"));
                }
                PartKind::Statement if has_parameters(sql) => {
                    return Err((line, "a parameter, which nobody gives a value"));
                }
                PartKind::Statement if transaction && controls_transaction(sql) => {
                    let why = "the file is run in one transaction, which it must not begin or end; \
                               give --no-transaction";
                    return Err((line, why));
                }
                PartKind::Statement => statements.push(Statement {
                    sql: sql.to_owned(),
                    line,
                }),
            }
        }
        match statements.is_empty() {
            true => Err((1, "there is no statement")),
            false => Ok(Self {
                statements,
                transaction,
            }),
        }
    }

    /// Runs it in a session. Gives how many rows came or were written.
    pub(super) async fn run(&self, client: &Client) -> Result<u64, String> {
        if self.transaction {
            let begun = client.batch_execute("BEGIN").await;
            begun.map_err(|error| described(&error))?;
        }
        let mut rows = 0;
        for statement in &self.statements {
            // Rows are counted as they come, and not kept.
            let done = client.execute(statement.sql.as_str(), &[]).await;
            rows +=
                done.map_err(|error| format!("line {}: {}", statement.line, described(&error)))?;
        }
        if self.transaction {
            client.batch_execute("COMMIT").await.map_err(|error| {
                let unknown = match error.is_closed() {
                    true => "; whether it was committed is not known",
                    false => "",
                };
                format!("at COMMIT: {}{unknown}", described(&error))
            })?;
        }
        Ok(rows)
    }
}

/// What the server or the proxy said, on one line.
fn described(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        return error.to_string();
    };
    let mut text = format!("{} {}: {}", db.severity(), db.code().code(), db.message());
    for (what, more) in [("detail", db.detail()), ("hint", db.hint())] {
        if let Some(more) = more {
            text.push_str(&format!("; {what}: {more}"));
        }
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, transaction: bool) -> Option<usize> {
        Script::of(text, transaction).err().map(|(line, _)| line)
    }

    #[test]
    fn statements_know_their_lines() {
        let script = Script::of("-- a\nSELECT 1;\n\n  UPDATE t\n SET a = 1", true);
        let lines = script.map(|it| it.statements.iter().map(|it| it.line).collect::<Vec<_>>());
        assert_eq!(lines, Ok(vec![2, 4]));
    }

    #[test]
    fn what_could_not_be_run_is_refused() {
        assert_eq!(refused("SELECT 1;\n\\d", true), Some(2));
        assert_eq!(refused("COPY t FROM stdin;\n1\n\\.\n", true), Some(2));
        assert_eq!(refused("SELECT $1", true), Some(1));
        assert_eq!(refused(" -- nothing", true), Some(1));
        assert_eq!(refused("SELECT 1;\nCOMMIT", true), Some(2));
        assert_eq!(refused("SELECT 1;\nCOMMIT", false), None);
    }
}
