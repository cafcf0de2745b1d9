//! `pgwarden explain`: the verdict on one statement, and everything that led to it. Judges as a
//! session would, and sends nothing.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pgwarden_policy::plan::{TextCheck, TextPart};
use pgwarden_policy::rules::ClaimPath;
use pgwarden_policy::{Denial, Effect, Engine, Plan, Protocol, Verdict};
use serde::Serialize;

use crate::auth::AuthError;

use super::input::{self, CatalogSource};
use super::question::{self, Asker};
use super::{Failure, output};

mod text;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The statement; - reads it from standard input
    #[arg(allow_hyphen_values = true)]
    sql: String,
    /// The token's claims, as JSON
    #[arg(long, value_name = "JSON")]
    claims: String,
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
    #[command(flatten)]
    catalog: CatalogSource,
    /// How the statement arrives: in a Query message, or in Parse with parameters. By default, as
    /// it can: with parameters only in Parse
    #[arg(long, value_enum)]
    protocol: Option<ProtocolName>,
    /// The session's search_path, separated by commas
    #[arg(
        long,
        value_name = "SCHEMAS",
        value_delimiter = ',',
        default_value = "public"
    )]
    search_path: Vec<String>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProtocolName {
    Simple,
    Extended,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let sql = input::text_or_stdin(&arguments.sql)?;
    let claims = question::claims(&arguments.claims)?;
    let protocol = match arguments.protocol {
        Some(ProtocolName::Simple) => Protocol::Simple,
        Some(ProtocolName::Extended) => Protocol::Extended,
        None => question::protocol_of(&sql),
    };
    let loaded = input::policy(&arguments.policy)?;
    let engine = input::engine(&loaded, arguments.catalog.read(&arguments.policy)?)?;
    let mut asker = Asker::new(&engine, &claims, &arguments.search_path);
    let explanation = asker.ask(&sql, protocol);
    match arguments.format {
        Format::Text => output::write(&text::render(&explanation, &sql)),
        Format::Json => output::write_json(&explanation),
    }
}

/// An answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Explanation {
    /// The statement goes to the server.
    Cleared(Box<Cleared>),
    /// It does not.
    Denied(Denied),
}

impl Explanation {
    /// The answer that a verdict of the engine is.
    pub(super) fn of(
        verdict: Result<pgwarden_policy::Cleared<'_>, Denial>,
        engine: &Engine,
    ) -> Self {
        match verdict {
            Ok(cleared) => {
                let it = Cleared::new(cleared.text(), cleared.plan(), engine);
                Self::Cleared(Box::new(it))
            }
            Err(denial) => Self::Denied(Denied::new(&denial)),
        }
    }

    /// The answer to claims that give no session at all.
    pub(super) fn no_session(error: &AuthError) -> Self {
        Self::Denied(Denied::at_login(error))
    }

    /// `pass`, `rewrite` or `deny`.
    pub(super) fn verdict(&self) -> &'static str {
        match self {
            Self::Cleared(cleared) => cleared.verdict,
            Self::Denied(denied) => denied.verdict,
        }
    }

    /// The verdict with its reason, as in `deny, unknown_function (42501)`.
    pub(super) fn outcome(&self) -> String {
        match self {
            Self::Cleared(it) => it.verdict.to_owned(),
            Self::Denied(it) => format!("{}, {} ({})", it.verdict, it.reason, it.sqlstate),
        }
    }

    /// What led to the verdict, a line each.
    pub(super) fn why(&self) -> Vec<String> {
        match self {
            Self::Cleared(it) => it.notes().collect(),
            Self::Denied(it) => {
                let message = it.message.trim_start_matches("pgwarden: ").to_owned();
                let hint = it.hint.as_ref().map(|hint| format!("hint: {hint}"));
                std::iter::once(message).chain(hint).collect()
            }
        }
    }

    /// How much goes through: the more, the greater.
    pub(super) fn freedom(&self) -> u8 {
        match self {
            Self::Denied(_) => 0,
            Self::Cleared(it) if it.is_rewritten() => 1,
            Self::Cleared(_) => 2,
        }
    }

    /// Whether the other answer is the same but for the policy's revision.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Denied(one), Self::Denied(other)) => {
                one.reason == other.reason && one.message == other.message
            }
            (Self::Cleared(one), Self::Cleared(other)) => {
                one.sql == other.sql && one.notes().eq(other.notes())
            }
            (Self::Denied(_), Self::Cleared(_)) | (Self::Cleared(_), Self::Denied(_)) => false,
        }
    }

    /// The place in the statement that a denial is about, in characters from 1.
    pub(super) fn position(&self) -> Option<u32> {
        match self {
            Self::Cleared(_) => None,
            Self::Denied(denied) => denied.position,
        }
    }
}

/// A statement that goes to the server.
#[derive(Debug, Serialize)]
pub(super) struct Cleared {
    verdict: &'static str,
    kind: &'static str,
    statements: usize,
    sql: String,
    tables: Vec<Table>,
    hidden_parameters: Vec<HiddenParameter>,
    checks: Vec<Check>,
    text_checks: Vec<String>,
    effects: Vec<String>,
    /// `would_deny` or `would_rewrite`, with the reason, where that is only observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<String>,
    /// `holds`: a statement whose proof fails is denied instead.
    proof: &'static str,
    fingerprint: String,
    policy: String,
}

#[derive(Debug, Serialize)]
struct Table {
    name: String,
    access: &'static str,
    guard: String,
}

#[derive(Debug, Serialize)]
struct HiddenParameter {
    parameter: usize,
    claim: String,
    r#type: &'static str,
}

#[derive(Debug, Serialize)]
struct Check {
    parameter: u16,
    claim: String,
}

/// A statement that does not.
#[derive(Debug, Serialize)]
pub(super) struct Denied {
    verdict: &'static str,
    pub(super) reason: &'static str,
    pub(super) sqlstate: &'static str,
    pub(super) message: String,
    detail: Option<String>,
    pub(super) hint: Option<String>,
    table: Option<String>,
    position: Option<u32>,
}

impl Cleared {
    /// Whether anything was added.
    pub(super) fn is_rewritten(&self) -> bool {
        self.verdict == "rewrite"
    }

    /// The relations, the checks at Bind and the effects, a line each.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let tables = self.tables.iter().map(ToString::to_string);
        let checks = self.checks.iter().map(ToString::to_string);
        let checks = checks.chain(self.text_checks.iter().cloned());
        let effects = self.effects.iter().cloned();
        let observed = self.observed.iter().map(|what| format!("observed: {what}"));
        tables.chain(checks).chain(effects).chain(observed)
    }

    fn new(sql: &str, plan: &Plan, engine: &Engine) -> Self {
        let verdict = match plan.verdict {
            Verdict::Pass => "pass",
            Verdict::Rewrite => "rewrite",
        };
        let tables = plan.relations.iter().map(|used| Table {
            name: used.name.clone(),
            access: if used.write { "write" } else { "read" },
            guard: used.guard.clone(),
        });
        let first = usize::from(plan.parameters) + 1;
        let hidden = plan
            .hidden
            .iter()
            .enumerate()
            .map(|(at, slot)| HiddenParameter {
                parameter: first + at,
                claim: claim(engine, *slot),
                r#type: engine
                    .slots()
                    .get(*slot)
                    .map_or("", |slot| slot.value_type.pg_name()),
            });
        let checks = plan.checks.iter().map(|check| Check {
            parameter: check.parameter,
            claim: claim(engine, check.slot),
        });
        Self {
            verdict,
            kind: plan.kind.as_str(),
            statements: plan.statements,
            sql: sql.to_owned(),
            tables: tables.collect(),
            hidden_parameters: hidden.collect(),
            checks: checks.collect(),
            text_checks: plan.texts.iter().map(text_check).collect(),
            effects: plan.effects.iter().map(effect).collect(),
            observed: plan
                .observed
                .as_ref()
                .map(|observed| match observed.reason {
                    Some(reason) => format!("{}, {}", observed.verdict(), reason.code()),
                    None => observed.verdict().to_owned(),
                }),
            proof: "holds",
            fingerprint: format!("{:016x}", plan.fingerprint),
            policy: engine.policy().revision.clone(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            access,
            guard,
        } = self;
        write!(f, "{name} ({access}) guarded by {guard}")
    }
}

fn text_check(check: &TextCheck) -> String {
    let parameter = check.parameter;
    match &check.says {
        TextPart::Setting => format!("${parameter} must name a setting that may be read, at Bind"),
        TextPart::SettingValue(name) => {
            format!("${parameter} must suit the setting {name:?}, at Bind")
        }
        TextPart::Channel(_) => format!("${parameter} must name a listed channel, at Bind"),
        TextPart::Sequence(_) => format!("${parameter} must name a sequence, at Bind"),
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${} must equal {} at Bind", self.parameter, self.claim)
    }
}

impl Denied {
    fn new(denial: &Denial) -> Self {
        Self {
            verdict: "deny",
            reason: denial.reason.code(),
            sqlstate: denial.sqlstate,
            message: denial.message.clone(),
            detail: Some(denial.detail()),
            hint: Some(denial.help()),
            table: denial.table.clone(),
            position: denial.position,
        }
    }

    fn at_login(error: &AuthError) -> Self {
        Self {
            verdict: "deny",
            reason: error.code(),
            sqlstate: "28000",
            message: format!("pgwarden: no session with these claims: {error}"),
            detail: None,
            hint: None,
            table: None,
            position: None,
        }
    }
}

fn claim(engine: &Engine, slot: usize) -> String {
    let path = engine.slots().get(slot).map(|slot| &slot.claim);
    path.map_or_else(String::new, |ClaimPath(steps)| steps.join("."))
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::RollbackTo => "the transaction goes on".to_owned(),
        Effect::SearchPath => "the search_path is asked for before the next statement".to_owned(),
        Effect::Setting(name) => format!("the setting {name:?} may be another"),
        Effect::ClaimsLost => "the claims are set again before the next statement".to_owned(),
        Effect::DeallocateAll => "no prepared statement is left".to_owned(),
        Effect::Deallocate(name) => format!("the prepared statement {name:?} is gone"),
        Effect::Prepare(name) => format!("{name:?} stands for this statement"),
        Effect::Execute(name) => format!("what {name:?} stands for is run"),
        Effect::Declare {
            cursor,
            locks: None,
        } => format!("{cursor:?} is a cursor"),
        Effect::Declare {
            cursor,
            locks: Some(relation),
        } => format!("{cursor:?} is a cursor that locks rows of {relation}"),
        Effect::CurrentOf { cursor, relation } => {
            format!("it is refused unless the cursor {cursor:?} locks the rows of {relation}")
        }
        Effect::Hold(name) => format!("the cursor {name:?} outlives its transaction"),
        Effect::Fetch(name) => format!("the cursor {name:?} goes on"),
        Effect::Close(name) => format!("the cursor {name:?} is gone"),
        Effect::CloseAll => "no portal is left".to_owned(),
        Effect::Listen => "notifications are delivered".to_owned(),
        Effect::Unlisten => "fewer notifications are delivered, or none".to_owned(),
        Effect::Lock => "an advisory lock is held until it is undone".to_owned(),
        Effect::Unlock => "fewer advisory locks are held, or none".to_owned(),
        Effect::Temporaries => {
            "temporary tables are asked for before the next statement".to_owned()
        }
    }
}
