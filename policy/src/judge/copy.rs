//! COPY: from and to the client only. A scoped table is read as PostgreSQL itself reads it under
//! row level security: as a query over its columns, which is judged like any other.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    ColumnRef, CopyStmt, LimitOption, Node, RangeVar, SelectStmt, SetOperation,
};

use super::names::{self, Env, Item, Scope};
use super::statement::refused;
use super::{EntryId, EntryKind, Judge, copy_options, unsupported};
use crate::bind::Guard;
use crate::catalog::{Relation, RelationKind};
use crate::copy::{Fill, KeyColumn, Rows};
use crate::deny::{Denial, DenyReason};
use crate::plan::StatementKind;
use crate::rewrite;

impl Judge<'_> {
    /// Judges a COPY.
    pub(super) fn copy(&mut self, copy: &mut CopyStmt) -> Result<StatementKind, Denial> {
        if copy.is_program || !copy.filename.is_empty() {
            return Err(Denial::new(
                DenyReason::UnsupportedStatement,
                "COPY with a file or program of the server is not allowed",
            )
            .hint("Use COPY … FROM STDIN or TO STDOUT."));
        }
        copy_options::check(&copy.options)?;
        if !copy.is_from {
            self.read_as_query(copy)?;
        }
        if let Some(query) = copy.query.as_mut().and_then(|query| query.node.as_mut()) {
            self.query(query, None, &Env::default())?;
        }
        if copy.where_clause.is_some() && !copy.is_from {
            return Err(unsupported("COPY TO … WHERE"));
        }
        if let Some(relation) = copy.relation.as_mut() {
            let id = self.copied_relation(relation, copy.is_from)?;
            names::strings(&copy.attlist)?;
            // It sees the client's own rows, each checked before.
            let items = [Item::new(id)];
            let row = Scope {
                items: &items,
                outer: None,
            };
            self.optional(copy.where_clause.as_mut(), &row, &Env::default())?;
            self.written_rows(copy, id)?;
        }
        Ok(StatementKind::Copy)
    }

    /// A relation that is copied as it is: global, or under a role that nothing is enforced for.
    fn copied_relation(&mut self, relation: &mut RangeVar, write: bool) -> Result<EntryId, Denial> {
        let id = self.relation_reference(relation, write)?;
        let entry = self.entry(id);
        // COPY reads all columns, those of system relations that show statistics included.
        if matches!(
            entry.and_then(|entry| entry.schema.as_deref()),
            Some("pg_catalog" | "information_schema") | None
        ) {
            return Err(refused("COPY of a system relation")
                .hint("Use COPY (SELECT …) TO STDOUT with the columns you need."));
        }
        Ok(id)
    }

    /// COPY FROM into a scoped table: the columns are written out, and the rows are to be checked.
    fn written_rows(&mut self, copy: &mut CopyStmt, id: EntryId) -> Result<(), Denial> {
        let Some(EntryKind::Scoped { keys, table, .. }) = self.entry(id).map(|entry| &entry.kind)
        else {
            return Ok(());
        };
        let (keys, table) = (keys.clone(), table.clone());
        if self.findings.statements != 1 {
            return Err(unsupported("COPY FROM among other statements")
                .hint("Send it in a message of its own."));
        }
        let Some(range) = copy.relation.as_ref() else {
            return Err(unsupported("COPY FROM without a table"));
        };
        let relation = self.find_relation(&range.schemaname, &range.relname)?;
        if relation.kind != RelationKind::Table && relation.kind != RelationKind::PartitionedTable {
            return Err(refused("COPY FROM into this kind of relation"));
        }
        let named = names::strings(&copy.attlist)?;
        let mut columns: Vec<String> = column_names(relation, &named)?
            .into_iter()
            .map(str::to_owned)
            .collect();
        let written = columns.len();
        let types: Vec<Option<u32>> = keys
            .iter()
            .map(|key| {
                let column = relation.column(&key.column)?;
                // A domain is sent as the type under it.
                Some(self.bound.catalog.base_type(column.type_oid))
            })
            .collect();
        let mut fills = Vec::new();
        let mut places = Vec::with_capacity(keys.len());
        for (key, type_oid) in keys.iter().zip(types) {
            if key.via.is_some() {
                return Err(
                    unsupported("COPY FROM into a table that is reached through a parent")
                        .table(table)
                        .hint("Write INSERT."),
                );
            }
            if self.request.values.get(key.slot).is_none() {
                let text = "the token lacks the claim that scopes this table";
                return Err(Denial::new(DenyReason::MissingClaim, text).table(&table));
            }
            let given = columns.iter().position(|name| *name == key.column);
            match (given, type_oid) {
                (Some(column), _) => places.push(KeyColumn {
                    column,
                    slot: key.slot,
                }),
                (None, Some(type_oid)) if self.may_fill(id, key, &table).is_ok() => {
                    columns.push(key.column.clone());
                    fills.push(Fill {
                        slot: key.slot,
                        type_oid,
                    });
                }
                (None, _) => {
                    let text = format!("COPY FROM must list column \"{}\"", key.column);
                    return Err(Denial::new(DenyReason::MissingValue, text).table(&table));
                }
            }
        }
        self.findings.rows = Some(Rows {
            table,
            format: copy_options::format(&copy.options)?,
            columns: written,
            keys: places,
            fills,
        });
        copy.attlist = columns.iter().map(|name| rewrite::string(name)).collect();
        self.rewritten();
        Ok(())
    }

    /// `COPY t (a, b) TO` of a scoped table becomes `COPY (SELECT a, b FROM t) TO`.
    fn read_as_query(&mut self, copy: &mut CopyStmt) -> Result<(), Denial> {
        let Some(range) = copy.relation.as_ref().filter(|_| copy.query.is_none()) else {
            return Ok(());
        };
        if !range.catalogname.is_empty() {
            return Err(unsupported("a table name with a database")
                .hint("Leave the name of the database out."));
        }
        let relation = self.find_relation(&range.schemaname, &range.relname)?;
        match self.guarded(relation)?.guard {
            Guard::Keys(_) => {}
            Guard::View(_) => {
                return Err(refused("COPY of a view").hint("Use COPY (SELECT …) TO STDOUT."));
            }
            Guard::Global(_) | Guard::System(_) | Guard::Denied(..) => return Ok(()),
        }
        if relation.kind == RelationKind::PartitionedTable {
            // PostgreSQL refuses it; under row level security it asks ONLY the root, and writes no row.
            return Err(refused("COPY of a partitioned table")
                .hint("Use COPY (SELECT …) TO STDOUT, or copy the partitions one by one."));
        }
        if relation.kind != RelationKind::Table {
            return Err(refused("COPY of what is not an ordinary table")
                .hint("Use COPY (SELECT …) TO STDOUT."));
        }
        let columns = column_names(relation, &names::strings(&copy.attlist)?)?;
        let columns = columns.into_iter().map(column_target).collect();
        let Some(mut range) = copy.relation.take() else {
            return Ok(());
        };
        // COPY writes the table's own rows, not those of tables that inherit from it.
        range.inh = false;
        let select = SelectStmt {
            target_list: columns,
            from_clause: vec![rewrite::node(NodeEnum::RangeVar(range))],
            limit_option: LimitOption::Default as i32,
            op: SetOperation::SetopNone as i32,
            ..SelectStmt::default()
        };
        copy.attlist.clear();
        copy.query = Some(Box::new(rewrite::node(NodeEnum::SelectStmt(Box::new(
            select,
        )))));
        Ok(())
    }
}

/// The columns named, or all that are stored.
fn column_names<'n>(relation: &'n Relation, named: &[&'n str]) -> Result<Vec<&'n str>, Denial> {
    for (at, name) in named.iter().enumerate() {
        let column = relation
            .column(name)
            .ok_or_else(|| names::unknown_column(name))?;
        if column.generated {
            return Err(
                unsupported("COPY of a generated column").hint("Use COPY (SELECT …) TO STDOUT.")
            );
        }
        if named.iter().take(at).any(|earlier| earlier == name) {
            return Err(Denial {
                sqlstate: "42701",
                message: format!("column \"{name}\" specified more than once"),
                ..Denial::new(DenyReason::AmbiguousColumn, "")
            });
        }
    }
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let stored = relation.columns.iter().filter(|column| !column.generated);
    Ok(stored.map(|column| column.name.as_str()).collect())
}

fn column_target(name: &str) -> Node {
    rewrite::target(rewrite::node(NodeEnum::ColumnRef(ColumnRef {
        fields: vec![rewrite::string(name)],
        location: -1,
    })))
}
