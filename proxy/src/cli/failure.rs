//! How a command ends when it does not end well.

use std::process::ExitCode;

use pgwarden_config::Problems;

use crate::proxy::StartError;

/// Why a command ends, and with which status.
#[derive(Debug)]
pub(super) enum Failure {
    /// Findings or a failed check (1). What was found has been shown.
    Findings,
    /// Usage or configuration (2).
    Usage(String),
    /// No connection (3).
    Connect(String),
    /// Our own fault (70).
    Internal(String),
}

impl Failure {
    /// Something that can't be done with what was given.
    pub(super) fn usage(why: impl Into<String>) -> Self {
        Self::Usage(why.into())
    }

    /// Shows it and gives the status.
    pub(super) fn report(self) -> ExitCode {
        let (status, why) = match self {
            Self::Findings => (1, None),
            Self::Usage(why) => (2, Some(why)),
            Self::Connect(why) => (3, Some(why)),
            Self::Internal(why) => (super::INTERNAL, Some(why)),
        };
        if let Some(why) = why {
            eprintln!("{}", why.trim_end());
        }
        ExitCode::from(status)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Usage(problems.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Connect { .. } => Self::Connect(error.to_string()),
            StartError::Settings(_) | StartError::Policy { .. } => Self::Usage(error.to_string()),
        }
    }
}
