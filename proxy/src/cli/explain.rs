//! `pgwarden explain`: the verdict on one statement, and everything that led to it. Judges as a
//! session would, and sends nothing.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pgwarden_policy::rules::ClaimPath;
use pgwarden_policy::{Effect, Engine, Plan, Protocol, Request, Scratch, SessionFacts, Verdict};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::auth::{Access, AuthError};

use super::input::{self, CatalogSource};
use super::{Failure, output};

mod text;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The statement; - reads it from standard input
    sql: String,
    /// The token's claims, as JSON
    #[arg(long, value_name = "JSON")]
    claims: String,
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
    #[command(flatten)]
    catalog: CatalogSource,
    /// How the statement arrives: in a Query message, or in Parse with parameters
    #[arg(long, value_enum, default_value_t = ProtocolName::Simple)]
    protocol: ProtocolName,
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
    let mut question = Question::new(&arguments.claims, &sql)?;
    question.protocol = match arguments.protocol {
        ProtocolName::Simple => Protocol::Simple,
        ProtocolName::Extended => Protocol::Extended,
    };
    question.search_path.clone_from(&arguments.search_path);
    let loaded = input::policy(&arguments.policy)?;
    let engine = input::engine(&loaded, arguments.catalog.read()?)?;
    let explanation = question.answer(&engine);
    match arguments.format {
        Format::Text => output::write(&text::render(&explanation, &sql)),
        Format::Json => {
            let json = serde_json::to_string_pretty(&explanation)
                .map_err(|error| Failure::Internal(error.to_string()))?;
            output::write(&format!("{json}\n"))
        }
    }
}

/// What is asked: a statement of a session with these claims.
#[derive(Debug)]
pub(super) struct Question<'a> {
    claims: Map<String, Value>,
    sql: &'a str,
    protocol: Protocol,
    search_path: Vec<String>,
}

impl<'a> Question<'a> {
    /// A question about a simple query with the default search path.
    pub(super) fn new(claims: &str, sql: &'a str) -> Result<Self, Failure> {
        let claims = match serde_json::from_str(claims) {
            Ok(Value::Object(claims)) => claims,
            Ok(_) => return Err(Failure::usage("the claims are not a JSON object")),
            Err(error) => return Err(Failure::usage(format!("the claims are not JSON: {error}"))),
        };
        Ok(Self {
            claims,
            sql,
            protocol: Protocol::Simple,
            search_path: SessionFacts::default().search_path,
        })
    }

    /// The engine's answer.
    pub(super) fn answer(&self, engine: &Engine) -> Explanation {
        let access = match Access::of_claims(&self.claims, engine) {
            Ok(access) => access,
            Err(error) => return Explanation::Denied(Denied::at_login(error)),
        };
        let facts = SessionFacts {
            search_path: self.search_path.clone(),
            enforce: access.enforce,
        };
        let request = Request {
            text: self.sql,
            protocol: self.protocol,
            declared: &[],
            facts: &facts,
            values: &access.values,
        };
        match engine.judge(request, &mut Scratch::default()) {
            Ok(cleared) => Explanation::Cleared(Box::new(Cleared::new(
                cleared.text(),
                cleared.plan(),
                engine,
            ))),
            Err(denial) => Explanation::Denied(Denied::new(&denial)),
        }
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
    /// `pass`, `rewrite` or `deny`.
    pub(super) fn verdict(&self) -> &'static str {
        match self {
            Self::Cleared(cleared) => cleared.verdict,
            Self::Denied(denied) => denied.verdict,
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
    effects: Vec<String>,
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
    sqlstate: &'static str,
    pub(super) message: String,
    detail: Option<String>,
    hint: Option<String>,
    table: Option<String>,
    position: Option<u32>,
}

impl Cleared {
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
            effects: plan.effects.iter().map(effect).collect(),
            fingerprint: format!("{:016x}", plan.fingerprint),
            policy: engine.policy().revision.clone(),
        }
    }
}

impl Denied {
    fn new(denial: &pgwarden_policy::Denial) -> Self {
        Self {
            verdict: "deny",
            reason: denial.reason.code(),
            sqlstate: denial.sqlstate,
            message: denial.message.clone(),
            detail: Some(denial.detail()),
            hint: denial.hint.as_ref().map(ToString::to_string),
            table: denial.table.clone(),
            position: denial.position,
        }
    }

    /// Claims that give no session at all.
    fn at_login(error: AuthError) -> Self {
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
        Effect::SearchPath => "the search_path is asked for before the next statement".to_owned(),
        Effect::ClaimsLost => "the claims are set again before the next statement".to_owned(),
        Effect::DeallocateAll => "no prepared statement is left".to_owned(),
        Effect::Deallocate(name) => format!("the prepared statement {name:?} is gone"),
        Effect::Prepare(name) => format!("{name:?} stands for this statement"),
        Effect::Execute(name) => format!("what {name:?} stands for is run"),
        Effect::Hold(name) => format!("the cursor {name:?} outlives its transaction"),
        Effect::Fetch(name) => format!("the cursor {name:?} goes on"),
        Effect::Close(name) => format!("the cursor {name:?} is gone"),
        Effect::CloseAll => "no portal is left".to_owned(),
        Effect::Listen => "notifications are delivered".to_owned(),
    }
}
