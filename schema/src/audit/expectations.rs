//! What the application's SQL expects of the database: relations and columns that don't exist.
//!
//! Only what is certain is told. A column is looked up where its relation is named, or where a
//! statement has only one; names that the statement itself makes (CTEs, aliases of subselects) are
//! left alone, and so are relations that the scripts create.

use std::collections::{HashMap, HashSet};

use pgwarden_policy::Catalog;
use pgwarden_policy::catalog::Relation;
use pgwarden_policy::rules::Policy;
use pgwarden_policy::script::{self, PartKind};
use serde_json::Value;

use super::expression::{names, visit};
use super::finding::Place;

/// A file of SQL.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its name, as messages show it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Something that does not exist.
#[derive(Debug)]
pub(crate) struct Missing {
    /// The relation, qualified where the text qualifies it.
    pub(crate) relation: String,
    /// The column, where the relation exists.
    pub(crate) column: Option<String>,
    pub(crate) place: Place,
}

/// Columns that every table has.
const SYSTEM: &[&str] = &["ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"];

/// What the scripts expect in vain.
pub(crate) fn missing(scripts: &[Script], catalog: &Catalog, policy: &Policy) -> Vec<Missing> {
    let mut statements = Vec::new();
    for script in scripts {
        let parts = script::split(&script.text);
        for part in parts.iter().filter(|it| it.kind == PartKind::Statement) {
            let text = script.text.get(part.range.clone()).unwrap_or_default();
            let before = script.text.get(..part.range.start).unwrap_or_default();
            let tree = pgwarden_policy::parse(text).ok();
            if let Some(tree) = tree.and_then(|it| serde_json::to_value(&it).ok()) {
                let place = Place {
                    file: script.name.clone(),
                    line: before.matches('\n').count() + 1,
                };
                statements.push((Names::of(&tree), place, tree));
            }
        }
    }
    let created = statements.iter().flat_map(|it| it.0.created.iter());
    let created: HashSet<String> = created.cloned().collect();
    let reader = Reader {
        catalog,
        policy,
        created: &created,
    };
    statements
        .iter()
        .flat_map(|(names, place, tree)| reader.read(names, place, tree))
        .collect()
}

/// The names of one statement.
#[derive(Default)]
struct Names {
    /// Schema, name and alias of each relation.
    relations: Vec<(String, String, String)>,
    /// What is no relation of the database, though it looks like one.
    made: HashSet<String>,
    created: Vec<String>,
}

impl Names {
    fn of(tree: &Value) -> Self {
        let mut names = Self::default();
        visit(tree, &mut |kind, fields| match kind {
            "RangeVar" => {
                let name = text(fields, "relname");
                let alias = fields.pointer("/alias/aliasname").and_then(Value::as_str);
                let alias = alias.unwrap_or(&name).to_owned();
                names
                    .relations
                    .push((text(fields, "schemaname"), name, alias));
            }
            "CommonTableExpr" => {
                names.made.insert(text(fields, "ctename"));
            }
            "RangeSubselect" | "RangeFunction" | "RangeTableFunc" | "JoinExpr" | "JsonTable" => {
                let alias = fields.pointer("/alias/aliasname").and_then(Value::as_str);
                names.made.insert(alias.unwrap_or_default().to_owned());
            }
            "CreateStmt" => names.created.extend(relation_name(fields.get("relation"))),
            "ViewStmt" => names.created.extend(relation_name(fields.get("view"))),
            "CreateTableAsStmt" => names
                .created
                .extend(relation_name(fields.pointer("/into/rel"))),
            _ => {}
        });
        names
    }
}

fn relation_name(range: Option<&Value>) -> Option<String> {
    range.map(|it| text(it, "relname"))
}

fn text(fields: &Value, name: &str) -> String {
    let text = fields.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

struct Reader<'a> {
    catalog: &'a Catalog,
    policy: &'a Policy,
    created: &'a HashSet<String>,
}

impl Reader<'_> {
    fn read(&self, names: &Names, place: &Place, tree: &Value) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut known: HashMap<&str, Option<&Relation>> = HashMap::new();
        for (schema, name, alias) in &names.relations {
            if (schema.is_empty() && names.made.contains(name)) || self.created.contains(name) {
                known.insert(alias, None);
                continue;
            }
            match self.find(schema, name) {
                Some(relation) => {
                    let entry = known.entry(alias).or_insert(Some(relation));
                    if entry.is_some_and(|it| it.oid != relation.oid) {
                        *entry = None;
                    }
                }
                None => {
                    known.insert(alias, None);
                    let relation = match schema.as_str() {
                        "" => name.clone(),
                        schema => format!("{schema}.{name}"),
                    };
                    missing.push(Missing {
                        relation,
                        column: None,
                        place: place.clone(),
                    });
                }
            }
        }
        for (relation, column) in columns(names, &known, tree) {
            let exists = relation.column(&column).is_some() || SYSTEM.contains(&column.as_str());
            if !exists {
                missing.push(Missing {
                    relation: format!("{}.{}", relation.schema, relation.name),
                    column: Some(column),
                    place: place.clone(),
                });
            }
        }
        missing
    }

    fn find(&self, schema: &str, name: &str) -> Option<&Relation> {
        if !schema.is_empty() {
            return self.catalog.relation(schema, name);
        }
        let first = ["pg_catalog", "public"].into_iter();
        let path = first.chain(self.policy.defaults.discover.iter().map(String::as_str));
        let mut found = path.filter_map(|schema| self.catalog.relation(schema, name));
        found.next()
    }
}

/// The columns whose relation is certain.
fn columns<'r>(
    names_of: &Names,
    known: &HashMap<&str, Option<&'r Relation>>,
    tree: &Value,
) -> Vec<(&'r Relation, String)> {
    let only = match (names_of.relations.as_slice(), names_of.made.is_empty()) {
        ([(_, _, alias)], true) => known.get(alias.as_str()).copied().flatten(),
        _ => None,
    };
    let mut found = Vec::new();
    let mut outputs = HashSet::new();
    let mut loose = Vec::new();
    visit(tree, &mut |kind, fields| match kind {
        "ColumnRef" => match names(fields, "fields").as_slice() {
            [.., table, column] if !names_of.made.contains(*table) => {
                let relation = known.get(table).copied().flatten();
                found.extend(relation.map(|it| (it, (*column).to_owned())));
            }
            [column] => loose.push((*column).to_owned()),
            _ => {}
        },
        "SelectStmt" => outputs.extend(targets(fields, "target_list")),
        "InsertStmt" => found.extend(written(known, fields, targets(fields, "cols"))),
        "UpdateStmt" => found.extend(written(known, fields, targets(fields, "target_list"))),
        _ => {}
    });
    if let Some(only) = only {
        let names: HashSet<&String> = names_of.relations.iter().map(|it| &it.2).collect();
        let loose = loose.into_iter();
        let loose = loose.filter(|it| !outputs.contains(it) && !names.contains(it));
        found.extend(loose.map(|it| (only, it)));
    }
    found
}

fn written<'r>(
    known: &HashMap<&str, Option<&'r Relation>>,
    fields: &Value,
    columns: Vec<String>,
) -> Vec<(&'r Relation, String)> {
    let relation = fields.get("relation");
    let alias = relation.map(|it| {
        let alias = it.pointer("/alias/aliasname").and_then(Value::as_str);
        alias.map_or_else(|| text(it, "relname"), str::to_owned)
    });
    let relation = alias.and_then(|it| known.get(it.as_str()).copied().flatten());
    relation.map_or_else(Vec::new, |it| {
        columns.into_iter().map(|name| (it, name)).collect()
    })
}

/// The names of a list of targets.
fn targets(fields: &Value, name: &str) -> Vec<String> {
    let list = fields
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let names = list.map(|it| {
        it.pointer("/node/ResTarget")
            .map_or_else(String::new, |it| text(it, "name"))
    });
    names.filter(|it| !it.is_empty()).collect()
}
