//! COPY: from and to the client only. A scoped table is read as PostgreSQL itself reads it under
//! row level security: as a query over its columns, which is judged like any other.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    ColumnRef, CopyStmt, LimitOption, Node, RangeVar, SelectStmt, SetOperation,
};

use super::names::{self, Env};
use super::statement::refused;
use super::{EntryKind, Judge, unsupported};
use crate::bind::Guard;
use crate::catalog::{Relation, RelationKind};
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
        copy_options(&copy.options)?;
        if !copy.is_from {
            self.read_as_query(copy)?;
        }
        if let Some(query) = copy.query.as_mut().and_then(|query| query.node.as_mut()) {
            self.query(query, None, &Env::default())?;
        }
        if let Some(relation) = copy.relation.as_mut() {
            self.copied_relation(relation, copy.is_from)?;
            if copy.where_clause.is_some() {
                return Err(unsupported("COPY FROM … WHERE"));
            }
            names::strings(&copy.attlist)?;
        }
        Ok(StatementKind::Copy)
    }

    /// A relation that is copied as it is: global, or under a role that nothing is enforced for.
    fn copied_relation(&mut self, relation: &mut RangeVar, write: bool) -> Result<(), Denial> {
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
        match entry.map(|entry| &entry.kind) {
            Some(EntryKind::Scoped { .. }) => {
                Err(refused("COPY FROM into a scoped table").hint("Use INSERT."))
            }
            _ => Ok(()),
        }
    }

    /// `COPY t (a, b) TO` of a scoped table becomes `COPY (SELECT a, b FROM t) TO`.
    fn read_as_query(&mut self, copy: &mut CopyStmt) -> Result<(), Denial> {
        let Some(range) = copy.relation.as_ref().filter(|_| copy.query.is_none()) else {
            return Ok(());
        };
        if !range.catalogname.is_empty() {
            return Err(unsupported("a table name with a database"));
        }
        let relation = self.find_relation(&range.schemaname, &range.relname)?;
        if !matches!(self.bound.guarded(relation)?.guard, Guard::Keys(_)) {
            return Ok(());
        }
        if relation.kind != RelationKind::Table {
            return Err(refused("COPY of what is not an ordinary table")
                .hint("Use COPY (SELECT …) TO STDOUT."));
        }
        let columns = copied_columns(relation, &names::strings(&copy.attlist)?)?;
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

/// The select list: the columns named, or all that are stored.
fn copied_columns(relation: &Relation, named: &[&str]) -> Result<Vec<Node>, Denial> {
    let target = |name: &str| {
        rewrite::target(rewrite::node(NodeEnum::ColumnRef(ColumnRef {
            fields: vec![rewrite::string(name)],
            location: -1,
        })))
    };
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
        return Ok(named.iter().map(|name| target(name)).collect());
    }
    let stored = relation.columns.iter().filter(|column| !column.generated);
    Ok(stored.map(|column| target(&column.name)).collect())
}

fn copy_options(options: &[Node]) -> Result<(), Denial> {
    for option in options {
        let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else {
            return Err(unsupported("this COPY option"));
        };
        if option.defname == "encoding" {
            return Err(unsupported("COPY with an encoding"));
        }
    }
    Ok(())
}
