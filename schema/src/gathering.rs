//! The one question for a catalogue, and how its answer is put together.
//!
//! One statement, hence one snapshot; each row is one object as JSON, so that whoever carries them
//! (a connection of pgwarden's own, or a client's inside of its transaction) needs to know no
//! columns. It must be asked where nothing but `pg_catalog` is found by name.

use std::sync::LazyLock;

use pgwarden_policy::Catalog;
use pgwarden_policy::catalog::{Cast, CatalogParts, Function, Operator, Relation, Type};
use serde::Deserialize;

use crate::error::Error;
use crate::{functions, relations, types};

/// The first version whose catalogues have everything that is asked for.
const SERVER_VERSION_MIN: u32 = 130_000;

/// The first version that may read a text otherwise than the engine's grammar does.
const SERVER_VERSION_UNREAD: u32 = 190_000;

const VERSION: &str = "SELECT pg_catalog.json_build_object('version', \
    pg_catalog.current_setting('server_version_num')::pg_catalog.int8)::pg_catalog.text";

/// Other sessions' temporary schemas can't be used by anybody else, and come and go.
const SCHEMAS: &str = "SELECT pg_catalog.json_build_object('schema', nspname)::pg_catalog.text \
    FROM pg_catalog.pg_namespace WHERE NOT nspname ~ '^pg_(toast_)?temp_'";

/// The kinds of objects, as [`Row`] calls them, and the queries that tell them.
const OBJECTS: &[(&str, &str)] = &[
    ("relation", relations::QUERY),
    ("type", types::QUERY),
    ("function", functions::QUERY),
    ("operator", functions::OPERATORS),
    ("cast", functions::CASTS),
];

/// The question; each row of the answer is for [`Gathering::add`].
pub(crate) fn question() -> &'static str {
    static QUESTION: LazyLock<String> = LazyLock::new(|| question_where("true"));
    &QUESTION
}

/// The same, of which only the version is told unless a condition holds.
pub(crate) fn question_where(condition: &str) -> String {
    let objects = OBJECTS.iter().map(|(kind, query)| {
        format!(
            "SELECT pg_catalog.json_build_object('{kind}', pg_catalog.row_to_json(it))::pg_catalog.text
             FROM ({query}) AS it WHERE {condition}"
        )
    });
    let mut parts = vec![VERSION.to_owned(), format!("{SCHEMAS} AND {condition}")];
    parts.extend(objects);
    parts.join(" UNION ALL ")
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Row {
    Version(u32),
    Schema(String),
    Relation(Relation),
    Type(Type),
    Function(Function),
    Operator(Operator),
    Cast(Cast),
}

/// What was told so far.
#[derive(Debug, Default)]
pub(crate) struct Gathering(CatalogParts);

impl Gathering {
    /// A row of the answer.
    ///
    /// # Errors
    /// When it is not what was asked for.
    pub(crate) fn add(&mut self, row: &[u8]) -> Result<(), Error> {
        let parts = &mut self.0;
        match serde_json::from_slice(row).map_err(Error::Document)? {
            Row::Version(number) => parts.server_version_num = number,
            Row::Schema(name) => parts.schemas.push(name),
            Row::Relation(relation) => parts.relations.push(relation),
            Row::Type(ty) => parts.types.push(ty),
            Row::Function(function) => parts.functions.push(function),
            Row::Operator(operator) => parts.operators.push(operator),
            Row::Cast(cast) => parts.casts.push(cast),
        }
        Ok(())
    }

    /// Whether the objects were told.
    pub(crate) fn has_objects(&self) -> bool {
        !self.0.relations.is_empty()
    }

    /// The catalogue. The same objects give the same, in whatever order they came.
    ///
    /// # Errors
    /// When the server is older than PostgreSQL 13, or newer than 18.
    pub(crate) fn finish(self) -> Result<Catalog, Error> {
        let mut parts = self.0;
        if parts.server_version_num < SERVER_VERSION_MIN {
            return Err(Error::TooOld(parts.server_version_num));
        }
        if parts.server_version_num >= SERVER_VERSION_UNREAD {
            return Err(Error::TooNew(parts.server_version_num));
        }
        sort(&mut parts);
        Ok(Catalog::new(parts))
    }
}

/// By name; oids, which differ from one copy of a database to the next, decide last. Columns stay
/// in the table's order and parents in that of inheritance: they mean something.
pub(crate) fn sort(parts: &mut CatalogParts) {
    parts.schemas.sort();
    parts
        .relations
        .sort_by(|a, b| (&a.schema, &a.name, a.oid).cmp(&(&b.schema, &b.name, b.oid)));
    parts
        .types
        .sort_by(|a, b| (&a.schema, &a.name, a.oid).cmp(&(&b.schema, &b.name, b.oid)));
    parts.functions.sort_by(|a, b| {
        (&a.schema, &a.name, &a.arguments).cmp(&(&b.schema, &b.name, &b.arguments))
    });
    parts.operators.sort_by(|a, b| {
        (&a.schema, &a.name, a.left, a.right).cmp(&(&b.schema, &b.name, b.left, b.right))
    });
    parts.casts.sort_by_key(|cast| (cast.source, cast.target));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn gathered(rows: &[&str]) -> Result<Catalog, Error> {
        let mut gathering = Gathering::default();
        for row in rows {
            gathering.add(row.as_bytes())?;
        }
        gathering.finish()
    }

    #[test]
    fn rows_come_in_any_order() {
        let rows = [
            r#"{"version": 150018}"#,
            r#"{"schema": "public"}"#,
            r#"{"schema": "app"}"#,
        ];
        let there = gathered(&rows).unwrap();
        let [version, public, app] = rows;
        let back = gathered(&[app, public, version]).unwrap();
        assert_eq!(there.parts(), back.parts());
        assert_eq!(there.parts().schemas, ["app", "public"]);
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let version = r#"{"version": 150018}"#;
        for row in ["", "{}", r#"{"role": "x"}"#, r#"{"relation": {"oid": 1}}"#] {
            assert!(matches!(gathered(&[version, row]), Err(Error::Document(_))));
        }
        assert!(matches!(gathered(&[]), Err(Error::TooOld(0))));
        let newer = gathered(&[r#"{"version": 190000}"#]);
        assert!(matches!(newer, Err(Error::TooNew(190_000))));
    }
}
