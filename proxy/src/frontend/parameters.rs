//! Start-up parameters: what a client may set before its first statement.
//!
//! They pass the same list as SET. `role`, `session_authorization`, `replication` and the claims
//! never reach the server, in whatever spelling.

use pgwarden_policy::Policy;

use super::options;
use crate::backend::StartupParameters;
use crate::wire::Report;

/// What a start-up packet asks for.
#[derive(Debug)]
pub(crate) struct Requested {
    /// The user; it decides nothing.
    pub(crate) user: String,
    /// The database.
    pub(crate) database: String,
    /// `application_name`, for the audit.
    pub(crate) application: Option<String>,
    /// Settings in the order in which PostgreSQL applies them, not yet allowed.
    settings: Vec<(String, String)>,
}

/// Why a start-up packet is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StartupError {
    /// There is no user.
    NoUser,
    /// It asks for replication.
    Replication,
    /// A switch in `options` that sets nothing.
    Switch(String),
    /// A setting that clients may not change.
    Setting(String),
    /// A setting's value that sessions can't have.
    Value(String),
}

impl StartupError {
    /// What the client is told.
    pub(crate) fn report(&self) -> Report {
        match self {
            Self::NoUser => Report::fatal(
                "28000",
                "no PostgreSQL user name specified in startup packet",
            ),
            Self::Replication => Report::fatal(
                "0A000",
                "pgwarden: replication connections are not supported",
            ),
            Self::Switch(switch) => Report::fatal(
                "42501",
                format!("pgwarden: the start-up option {switch:?} is not allowed"),
            )
            .hint("Only \"-c name=value\" and \"--name=value\" are."),
            Self::Setting(name) => Report::fatal(
                "42501",
                format!("pgwarden: the start-up parameter {name:?} is not allowed"),
            )
            .hint("Leave it out, or add it to [settings] allow in the policy."),
            Self::Value(name) => Report::fatal(
                "0A000",
                format!("pgwarden: this value of the start-up parameter {name:?} is not supported"),
            )
            .hint("client_encoding must be UTF8 and standard_conforming_strings must be on."),
        }
    }
}

impl Requested {
    /// Sorts the parameters out.
    pub(crate) fn new(parameters: Vec<(String, String)>) -> Result<Self, StartupError> {
        let mut user = None;
        let mut database = None;
        let mut switches = Vec::new();
        let mut named = Vec::new();
        for (name, value) in parameters {
            match name.as_str() {
                "user" => user = Some(value),
                "database" => database = Some(value),
                "options" => {
                    switches.extend(options::settings(&value).map_err(StartupError::Switch)?);
                }
                "replication" if is_off(&value) => {}
                "replication" => return Err(StartupError::Replication),
                name if name.starts_with("_pq_.") => {}
                _ => named.push((name, value)),
            }
        }
        let user = user
            .filter(|user| !user.is_empty())
            .ok_or(StartupError::NoUser)?;
        let database = database.filter(|name| !name.is_empty());
        // PostgreSQL obeys the switches first, so that a parameter of the same name wins.
        switches.append(&mut named);
        let is_application =
            |(name, _): &&(String, String)| name.eq_ignore_ascii_case("application_name");
        let application = switches.iter().rev().find(is_application);
        Ok(Self {
            application: application.map(|(_, value)| value.clone()),
            database: database.unwrap_or_else(|| user.clone()),
            user,
            settings: switches,
        })
    }

    /// The settings for the server's start-up packet, if the policy allows them all.
    pub(crate) fn allowed(&self, policy: &Policy) -> Result<StartupParameters, StartupError> {
        let mut allowed = StartupParameters::new();
        for (name, value) in &self.settings {
            let lower = name.to_ascii_lowercase();
            match lower.as_str() {
                "client_encoding" if is_utf8(value) => continue,
                "standard_conforming_strings" if is_on(value) => continue,
                "client_encoding" | "standard_conforming_strings" => {
                    return Err(StartupError::Value(lower));
                }
                _ if is_identity(&lower) => return Err(StartupError::Setting(lower)),
                _ if BUILT_IN.contains(&lower.as_str()) => {}
                _ if policy
                    .settings
                    .iter()
                    .any(|it| it.eq_ignore_ascii_case(name)) => {}
                _ => return Err(StartupError::Setting(lower)),
            }
            allowed.retain(|(known, _)| *known != lower);
            allowed.push((lower, value.clone()));
        }
        Ok(allowed)
    }
}

/// What drivers send on their own, and what can't change what a statement reads.
const BUILT_IN: [&str; 19] = [
    "application_name",
    "bytea_output",
    "client_min_messages",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "search_path",
    "statement_timeout",
    "timezone",
    "transaction_timeout",
    "xmlbinary",
];

/// Whatever a policy says, these are not for clients.
fn is_identity(name: &str) -> bool {
    matches!(
        name,
        "role" | "session_authorization" | "is_superuser" | "row_security" | "replication"
    ) || name.starts_with("request.")
        || name.starts_with("pgwarden.")
}

/// PostgreSQL compares the letters and digits of an encoding's name only. (asyncpg sends the name
/// in quotes.)
fn is_utf8(value: &str) -> bool {
    let letters = value.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|it| it.to_ascii_lowercase()).collect();
    matches!(name.as_str(), "utf8" | "unicode")
}

fn is_on(value: &str) -> bool {
    let on = ["on", "true", "yes", "1"];
    on.iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn is_off(value: &str) -> bool {
    let off = ["off", "false", "no", "0"];
    off.iter().any(|word| value.eq_ignore_ascii_case(word))
}
