//! The function that gives the session's tenant: the claim of the verified token, or NULL.

use crate::audit::facts::array_of_path;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::literal;
use crate::migrate::phase::Phase;
use crate::migrate::session_function::State;

/// Roles that a platform gives its tokens.
const ROLES: [&str; 2] = ["authenticated", "service_role"];

pub(super) fn step(model: &Model<'_>) -> Option<Step> {
    let function = &model.function.sql;
    let (create, down, reversible) = match &model.function.state {
        State::Right => return None,
        State::Missing => ("CREATE", format!("DROP FUNCTION {function}();"), "yes"),
        State::Wrong(definition) => (
            "CREATE OR REPLACE",
            format!("{};", definition.trim_end()),
            "yes; it reads something else until then, which `pgwarden audit` finds",
        ),
    };
    let path = array_of_path(&model.facts.scoping.policy.tenant.claim.0);
    let path = literal(&path);
    let mut up = format!(
        "{create} FUNCTION {function}() RETURNS {} LANGUAGE sql STABLE AS $$\n  \
         SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb #>> {path}, '')::{}\n$$;\n",
        model.type_name, model.type_name
    );
    for role in ROLES {
        if model.facts.snapshot.roles.iter().any(|it| it.name == role) {
            up += &format!("GRANT EXECUTE ON FUNCTION {function}() TO {role};\n");
        }
    }
    Some(Step {
        phase: Phase::Expand,
        slug: "session_tenant".to_owned(),
        title: format!("{function}(): the session's tenant"),
        run: Run::Transaction,
        lock: "none that others hold".to_owned(),
        rows: 0,
        rate: 0,
        reversible: reversible.to_owned(),
        look_at: vec!["the claim is the one that policy.toml names".to_owned()],
        up,
        verify: Vec::new(),
        down,
    })
}
