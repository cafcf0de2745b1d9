//! Start-up parameters: what a client may set before its first statement.
//!
//! They pass the same list as SET. `role`, `session_authorization`, `replication` and the claims
//! never reach the server, in whatever spelling.

use pgwarden_policy::builtin::settings;
use pgwarden_policy::{Denial, Policy};

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
#[derive(Debug)]
pub(crate) enum StartupError {
    /// There is no user.
    NoUser,
    /// It asks for replication.
    Replication,
    /// A switch in `options` that sets nothing.
    Switch(String),
    /// A setting that clients may not change, or not to this value.
    Setting(Denial),
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
            Self::Setting(denial) => Report::from(denial.clone()).into_fatal(),
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

    /// The settings for the server's start-up packet, if the policy allows them all. Of several
    /// values of one the last alone counts, and reaches the server.
    pub(crate) fn allowed(&self, policy: &Policy) -> Result<StartupParameters, StartupError> {
        let mut wanted = StartupParameters::new();
        for (name, value) in &self.settings {
            let lower = name.to_ascii_lowercase();
            wanted.retain(|(known, _)| *known != lower);
            wanted.push((lower, value.clone()));
        }
        for (name, value) in &wanted {
            settings::check(policy, name, Some(value)).map_err(StartupError::Setting)?;
        }
        wanted.retain(|(name, _)| !FIXED.contains(&name.as_str()));
        Ok(wanted)
    }
}

/// Every server connection has them as the engine needs them; a client may only say the same.
const FIXED: [&str; 2] = ["client_encoding", "standard_conforming_strings"];

fn is_off(value: &str) -> bool {
    let off = ["off", "false", "no", "0"];
    off.iter().any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(parameters: &[(&str, &str)]) -> Result<Requested, StartupError> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Requested::new(parameters.iter().map(owned).collect())
    }

    #[test]
    fn the_database_is_the_user_unless_it_is_named() {
        assert_eq!(requested(&[("user", "a")]).unwrap().database, "a");
        let named = requested(&[("user", "a"), ("database", "b")]).unwrap();
        assert_eq!(named.database, "b");
        assert!(matches!(
            requested(&[("database", "b")]),
            Err(StartupError::NoUser)
        ));
    }

    #[test]
    fn replication_is_refused_unless_it_is_off() {
        for value in ["database", "true", "1", "maybe"] {
            let asked = requested(&[("user", "a"), ("replication", value)]);
            assert!(matches!(asked, Err(StartupError::Replication)), "{value}");
        }
        assert!(requested(&[("user", "a"), ("replication", "off")]).is_ok());
    }

    #[test]
    fn a_parameter_wins_over_a_switch() {
        let asked = requested(&[
            ("user", "a"),
            ("application_name", "parameter"),
            ("options", "-c application_name=switch"),
        ]);
        assert_eq!(asked.unwrap().application.as_deref(), Some("parameter"));
    }
}
