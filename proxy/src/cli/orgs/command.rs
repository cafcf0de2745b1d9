//! A command of the shell that is run for an organisation.
//!
//! It is the leader of a process group, so that all that it starts ends with it. The token reaches
//! it by its environment, never by its arguments, which every user of the machine can read; the
//! secrets of whoever runs pgwarden do not reach it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgwarden_config::Secret;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::progress;

/// Between the request to end and the end.
const GRACE: Duration = Duration::from_secs(5);

/// What is left of the output when the command has ended.
const REST: Duration = Duration::from_secs(1);

/// A longer line is told in pieces.
const LINE_BYTES: u64 = 8 * 1024;

/// A text of so many bytes is not part of another by chance.
const LONG: usize = 24;

/// A command, and the variables that it must not see.
#[derive(Debug)]
pub(super) struct Shell {
    command: String,
    concealed: HashSet<OsString>,
}

/// A command that runs.
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    output: Vec<JoinHandle<()>>,
    last: Arc<Mutex<String>>,
}

impl Shell {
    pub(super) fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
            concealed: HashSet::new(),
        }
    }

    /// Keeps the variables from it that hold one of these secrets, whatever they are called.
    pub(super) fn conceal(&mut self, secrets: &[String]) {
        let holds = |value: &OsString| {
            let value = value.to_string_lossy();
            secrets.iter().any(|secret| holds(&value, secret))
        };
        let variables = std::env::vars_os().filter(|(_, value)| holds(value));
        self.concealed = variables.map(|(name, _)| name).collect();
    }

    /// Starts it for an organisation.
    pub(super) fn start(
        &self,
        organisation: &str,
        token: &Secret,
        variables: Vec<(&'static str, String)>,
    ) -> Result<Process, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &self.command]);
        for name in &self.concealed {
            command.env_remove(name);
        }
        command
            .envs(variables)
            .env("PGWARDEN_ORG_ID", organisation)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| format!("the command can't be started: {error}"))?;
        let last = Arc::default();
        let mut output = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            output.push(relay(pipe, organisation, token, None));
        }
        if let Some(pipe) = child.stderr.take() {
            output.push(relay(pipe, organisation, token, Some(Arc::clone(&last))));
        }
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Process {
            child,
            group: group.and_then(Pid::from_raw),
            output,
            last,
        })
    }
}

impl Process {
    /// Waits for its end.
    pub(super) async fn wait(&mut self) -> Result<(), String> {
        let status = self.child.wait().await;
        let status = status.map_err(|error| format!("the command is lost: {error}"))?;
        self.drain().await;
        self.judge(status)
    }

    /// Ends it, and all that it has started.
    pub(super) async fn end(&mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait())
            .await
            .is_err()
        {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
        self.drain().await;
        // What the command left behind in its group.
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, signal);
        }
    }

    /// A process that the command left behind may keep the pipes open.
    async fn drain(&mut self) {
        for mut output in self.output.drain(..) {
            if tokio::time::timeout(REST, &mut output).await.is_err() {
                output.abort();
            }
        }
    }

    fn judge(&self, status: ExitStatus) -> Result<(), String> {
        if status.success() {
            return Ok(());
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_str() {
            "" => Err(status.to_string()),
            line => Err(format!("{status}: {line}")),
        }
    }
}

/// Whether a variable is a secret, or a URL with one. A short one is part of many a word.
fn holds(value: &str, secret: &str) -> bool {
    !secret.is_empty()
        && (value == secret
            || value.contains(&format!(":{secret}@"))
            || secret.len() >= LONG && value.contains(secret))
}

/// Tells each line behind the organisation, without the token; keeps the last one.
fn relay(
    pipe: impl AsyncRead + Unpin + Send + 'static,
    organisation: &str,
    token: &Secret,
    last: Option<Arc<Mutex<String>>>,
) -> JoinHandle<()> {
    let (organisation, token) = (organisation.to_owned(), token.clone());
    tokio::spawn(async move {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = (&mut pipe).take(LINE_BYTES);
            if !matches!(bounded.read_until(b'\n', &mut line).await, Ok(1..)) {
                return;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end().replace(token.expose(), "(token)");
            progress::tell(&format!("[{organisation}] {text}"));
            if let (Some(last), false) = (&last, text.is_empty()) {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = text;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn secrets_are_found_in_variables_and_paths_are_not() {
        let long = "0123456789abcdef0123456789abcdef";
        assert!(holds(long, long));
        assert!(holds(&format!("key={long}"), long));
        assert!(holds("postgres://u:postgres@h/d", "postgres"));
        assert!(!holds("/usr/lib/postgresql/bin", "postgres"));
        assert!(!holds("anything", ""));
    }
}
