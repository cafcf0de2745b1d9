//! Which columns the application's SQL looks rows up by, beside the tenant that each statement gets:
//! a composite index serves such a statement where the tenant's own would read all of a tenant's rows.
//!
//! Only what is plain is read: columns of tables that a query names itself, in the conditions that
//! all of its rows meet, compared with something; the first column that is compared otherwise, or
//! that rows are sorted by, ends the index.

use pgwarden_policy::script::{self, PartKind};
use serde_json::Value;

use crate::audit::Script;
use crate::audit::expression::{fields, names, visit};
use crate::audit::facts::Facts;
use crate::audit::snapshot::Relation;

/// No index gets more columns behind the tenant.
const COLUMNS_MAX: usize = 3;

/// `AND_EXPR` of `BoolExprType`.
const AND: i64 = 1;

/// A table and the columns that a statement looks its rows up by, in an index's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lookup {
    pub(super) table: pgwarden_policy::catalog::Oid,
    pub(super) columns: Vec<String>,
    /// Where: file and line.
    pub(super) place: String,
}

/// The lookups of all statements, each once.
pub(super) fn lookups(scripts: &[Script], facts: &Facts) -> Vec<Lookup> {
    let mut found: Vec<Lookup> = Vec::new();
    for script in scripts {
        let parts = script::split(&script.text).into_iter();
        for part in parts.filter(|it| it.kind == PartKind::Statement) {
            let text = script.text.get(part.range.clone()).unwrap_or_default();
            let before = script.text.get(..part.range.start).unwrap_or_default();
            let tree = pgwarden_policy::parse(text).ok();
            let Some(tree) = tree.and_then(|it| serde_json::to_value(&it).ok()) else {
                continue;
            };
            let place = format!("{}:{}", script.name, before.matches('\n').count() + 1);
            visit(&tree, &mut |kind, fields| {
                if matches!(kind, "SelectStmt" | "UpdateStmt" | "DeleteStmt") {
                    for (table, columns) in Query::of(facts, fields).lookups() {
                        let known = |it: &Lookup| it.table == table && it.columns == columns;
                        if !found.iter().any(known) {
                            let place = place.clone();
                            found.push(Lookup {
                                table,
                                columns,
                                place,
                            });
                        }
                    }
                }
            });
        }
    }
    found
}

/// One level of a statement.
struct Query<'a> {
    /// Its tables, by the names that it gives them.
    tables: Vec<(String, &'a Relation)>,
    /// Columns that are compared with one value.
    equal: Vec<(usize, String)>,
    /// Columns that are compared otherwise, then those that rows are sorted by.
    ordered: Vec<(usize, String)>,
}

impl<'a> Query<'a> {
    fn of(facts: &'a Facts, statement: &Value) -> Self {
        let mut query = Self {
            tables: Vec::new(),
            equal: Vec::new(),
            ordered: Vec::new(),
        };
        let from = statement.get("from_clause").and_then(Value::as_array);
        for item in from.into_iter().flatten() {
            query.table(facts, item);
        }
        if let Some(range) = statement.get("relation").filter(|it| it.is_object()) {
            query.range(facts, range);
        }
        if let Some(condition) = statement.get("where_clause") {
            query.condition(condition);
        }
        let sorted = statement.get("sort_clause").and_then(Value::as_array);
        for item in sorted.into_iter().flatten() {
            let column = fields(item, "SortBy").and_then(|it| it.get("node"));
            let Some(column) = column.and_then(|it| query.column(it)) else {
                break;
            };
            query.ordered.push(column);
        }
        query
    }

    fn table(&mut self, facts: &'a Facts, item: &Value) {
        if let Some(range) = fields(item, "RangeVar") {
            self.range(facts, range);
        } else if let Some(join) = fields(item, "JoinExpr") {
            for side in ["larg", "rarg"].into_iter().filter_map(|it| join.get(it)) {
                self.table(facts, side);
            }
        }
    }

    fn range(&mut self, facts: &'a Facts, range: &Value) {
        let text = |name: &str| range.get(name).and_then(Value::as_str).unwrap_or_default();
        let (schema, name) = (text("schemaname"), text("relname"));
        let mut tables = facts.tables();
        let table = tables.find(|it| it.name == name && (schema.is_empty() || it.schema == schema));
        let alias = range.pointer("/alias/aliasname").and_then(Value::as_str);
        if let Some(table) = table {
            self.tables.push((alias.unwrap_or(name).to_owned(), table));
        }
    }

    /// What every row meets.
    fn condition(&mut self, value: &Value) {
        if let Some(all) = fields(value, "BoolExpr") {
            let is_and = all.get("boolop").and_then(Value::as_i64) == Some(AND);
            let parts = all.get("args").and_then(Value::as_array).filter(|_| is_and);
            for part in parts.into_iter().flatten() {
                self.condition(part);
            }
            return;
        }
        let Some(compared) = fields(value, "AExpr") else {
            return;
        };
        let (left, right) = (compared.get("lexpr"), compared.get("rexpr"));
        let operator = names(compared, "name");
        let (Some(left), Some(right)) = (left, right) else {
            return;
        };
        for (side, other) in [(left, right), (right, left)] {
            // A column of another table is a join, which has its keys.
            let alone = fields(other, "ColumnRef").is_none();
            match (self.column(side).filter(|_| alone), operator.as_slice()) {
                (Some(column), ["="]) => self.equal.push(column),
                (Some(column), ["<" | "<=" | ">" | ">=" | "BETWEEN"]) => self.ordered.push(column),
                _ => {}
            }
        }
    }

    /// The column of one of the tables that an expression is.
    fn column(&self, value: &Value) -> Option<(usize, String)> {
        let reference = fields(value, "ColumnRef")?;
        let mut tables = self.tables.iter();
        match names(reference, "fields").as_slice() {
            [.., table, column] => {
                let at = tables.position(|it| it.0 == *table)?;
                Some((at, (*column).to_owned()))
            }
            [column] => {
                let at = tables.position(|it| it.1.column(column).is_some())?;
                Some((at, (*column).to_owned()))
            }
            [] => None,
        }
    }

    fn lookups(&self) -> Vec<(pgwarden_policy::catalog::Oid, Vec<String>)> {
        let each = self.tables.iter().enumerate();
        let found = each.map(|(at, (_, table))| {
            let of = |list: &[(usize, String)]| -> Vec<String> {
                let own = list.iter().filter(|it| it.0 == at);
                own.map(|it| it.1.clone()).collect()
            };
            let mut columns = of(&self.equal);
            let last = of(&self.ordered).into_iter().next();
            columns.extend(last.filter(|it| !columns.contains(it)));
            columns.retain(|it| table.column(it).is_some());
            columns.dedup();
            columns.truncate(COLUMNS_MAX);
            (table.oid, columns)
        });
        found.filter(|it| !it.1.is_empty()).collect()
    }
}
