//! Asking the engine as a session would, with claims that nobody signed. Nothing is sent.

use pgwarden_policy::rules::ClaimPath;
use pgwarden_policy::temporary::Temporaries;
use pgwarden_policy::{Engine, Protocol, Request, Scratch, SessionFacts, ValueType, script};
use serde_json::{Map, Value, json};

use crate::auth::{Access, AuthError};

use super::Failure;
use super::explain::Explanation;

/// Reads claims that were given as JSON.
pub(super) fn claims(text: &str) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_str(text) {
        Ok(Value::Object(claims)) => Ok(claims),
        Ok(_) => Err(Failure::usage("the claims are not a JSON object")),
        Err(error) => Err(Failure::usage(format!("the claims are not JSON: {error}"))),
    }
}

/// Claims that give every value a policy asks for: those of a tenant that does not exist.
pub(super) fn made_up_claims(engine: &Engine) -> Map<String, Value> {
    let mut claims = Map::new();
    for slot in engine.slots() {
        let value = match slot.value_type {
            ValueType::Uuid => json!("00000000-0000-4000-8000-000000000000"),
            ValueType::Bigint => json!(0),
            ValueType::Text => json!("somebody"),
        };
        let ClaimPath(steps) = &slot.claim;
        insert(&mut claims, steps, value);
    }
    claims
}

fn insert(object: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            object.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = object
                .entry(first.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// How a text arrives if nobody says: with parameters, it can only be in a Parse message.
pub(super) fn protocol_of(sql: &str) -> Protocol {
    if script::has_parameters(sql) {
        Protocol::Extended
    } else {
        Protocol::Simple
    }
}

/// A session that asks.
pub(super) struct Asker<'a> {
    engine: &'a Engine,
    access: Result<Access, AuthError>,
    facts: SessionFacts,
    scratch: Scratch,
}

impl<'a> Asker<'a> {
    /// A session with these claims.
    pub(super) fn new(
        engine: &'a Engine,
        claims: &Map<String, Value>,
        search_path: &[String],
    ) -> Self {
        let access = Access::of_claims(claims, engine);
        let facts = SessionFacts {
            search_path: search_path.to_vec(),
            temporaries: Temporaries::default(),
            enforce: access.as_ref().is_ok_and(|access| access.enforce),
            ddl: access.as_ref().ok().and_then(|access| access.ddl),
            lock: access.as_ref().ok().and_then(|access| access.lock),
        };
        Self {
            engine,
            access,
            facts,
            scratch: Scratch::default(),
        }
    }

    /// The engine's answer about a statement.
    pub(super) fn ask(&mut self, sql: &str, protocol: Protocol) -> Explanation {
        let access = match &self.access {
            Ok(access) => access,
            Err(error) => return Explanation::no_session(error),
        };
        let request = Request {
            text: sql,
            protocol,
            declared: &[],
            facts: &self.facts,
            values: &access.values,
        };
        Explanation::of(self.engine.judge(request, &mut self.scratch), self.engine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_share_their_beginnings() {
        let mut claims = Map::new();
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        insert(&mut claims, &path("app_metadata.org_id"), json!("x"));
        insert(&mut claims, &path("app_metadata.team"), json!(1));
        insert(&mut claims, &path("sub"), json!("y"));
        let expected = json!({"app_metadata": {"org_id": "x", "team": 1}, "sub": "y"});
        assert_eq!(Value::Object(claims), expected);
    }
}
