//! Temporary tables that are made: CREATE, AS and INTO.
//!
//! A temporary table belongs to its session, so it may hold whatever the session may read. What it
//! is made from is judged like any query; what it runs later (defaults, checks, generated columns)
//! is judged when it is made. Which tables there are then, the server tells (`temporary`). What becomes of them
//! later is judged by [`own`](super::own), lasting tables by [`ddl`](super::ddl).

use pg_query::NodeEnum;
use pg_query::protobuf::{
    ColumnDef, ConstrType, Constraint, CreateStmt, CreateTableAsStmt, IntoClause, Node, ObjectType,
    RangeVar, SelectStmt, TableLikeClause, TypeName,
};

use super::foreign_key::Home;
use super::names::{Column, Item, Scope, Ty, strings};
use super::statement::refused;
use super::{Entry, EntryId, EntryKind, Env, Judge, refuse_reserved, unsupported};
use crate::bind::Guard;
use crate::deny::{Denial, DenyReason};
use crate::plan::StatementKind;
use crate::rules::Access;
use crate::temporary::{MOST, SCHEMA};

/// Nothing can be named.
pub(super) const NOWHERE: Scope<'static> = Scope {
    items: &[],
    outer: None,
};

/// Options of an identity column's sequence that are numbers.
const SEQUENCE_OPTIONS: &[&str] = &[
    "start",
    "increment",
    "minvalue",
    "maxvalue",
    "cache",
    "cycle",
];

impl Judge<'_> {
    /// Judges a SELECT at the top, where it may have INTO.
    pub(super) fn select_into(&mut self, select: &mut SelectStmt) -> Result<StatementKind, Denial> {
        let Some(into) = leftmost(select).into_clause.take() else {
            self.select(select, None, &Env::default())?;
            return Ok(StatementKind::Select);
        };
        self.table_of_into(&into)?;
        let output = self.select(select, None, &Env::default())?;
        self.makes_of(&into, &output);
        leftmost(select).into_clause = Some(into);
        Ok(StatementKind::Utility)
    }

    /// Judges `CREATE TEMP TABLE t AS query`.
    pub(super) fn create_table_as(
        &mut self,
        create: &mut CreateTableAsStmt,
    ) -> Result<StatementKind, Denial> {
        let Some(into) = create.into.as_deref() else {
            return Err(unsupported("CREATE TABLE AS without a name"));
        };
        if create.objtype != ObjectType::ObjectTable as i32 {
            return Err(refused("CREATE MATERIALIZED VIEW").hint("It would keep rows for everybody. CREATE TEMP TABLE … AS keeps them for the session."));
        }
        self.table_of_into(into)?;
        let output = match create.query.as_mut().and_then(|query| query.node.as_mut()) {
            Some(NodeEnum::SelectStmt(select)) => self.select(select, None, &Env::default())?,
            _ => return Err(unsupported("CREATE TABLE AS EXECUTE").hint("Write the query itself.")),
        };
        if create.if_not_exists && self.knows(into.rel.as_ref()) {
            self.changes();
        } else {
            self.makes_of(into, &output);
        }
        Ok(StatementKind::Utility)
    }

    fn table_of_into(&mut self, into: &IntoClause) -> Result<(), Denial> {
        let Some(range) = into.rel.as_ref() else {
            return Err(unsupported("INTO nothing"));
        };
        plain_storage(&into.options, &into.table_space_name, &into.access_method)?;
        self.new_own(range, "CREATE TABLE")
    }

    /// Judges CREATE TABLE.
    pub(super) fn create_table(
        &mut self,
        create: &mut CreateStmt,
    ) -> Result<StatementKind, Denial> {
        let Some(range) = create.relation.as_ref() else {
            return Err(unsupported("CREATE TABLE without a name"));
        };
        if !is_temporary(range) && self.may_change() {
            return self.create_lasting(create);
        }
        self.new_own(range, "CREATE TABLE")?;
        let name = range.relname.clone();
        let exists = create.if_not_exists && self.knows(Some(range));
        let table = self.table_elements(create, name.clone(), Home::Session)?;
        if exists {
            self.changes();
        } else {
            self.makes_from(&name, table, &create.table_elts);
        }
        Ok(StatementKind::Utility)
    }

    /// The columns and constraints of a new table.
    pub(super) fn table_elements(
        &mut self,
        create: &mut CreateStmt,
        name: String,
        home: Home<'_>,
    ) -> Result<EntryId, Denial> {
        let part = !create.inh_relations.is_empty()
            || create.partbound.is_some()
            || create.partspec.is_some()
            || create.of_typename.is_some();
        if part {
            return Err(unsupported("a new table with INHERITS, PARTITION or OF")
                .hint("Write its columns, or LIKE."));
        }
        let CreateStmt {
            options,
            tablespacename,
            access_method,
            ..
        } = create;
        plain_storage(options, tablespacename, access_method)?;
        let before = self.findings.effects.len();
        let columns = self.new_columns(&mut create.table_elts)?;
        let table = self.add_entry(Entry {
            name,
            schema: None,
            columns,
            open: false,
            kind: EntryKind::Free { writable: true },
        });
        for element in &mut create.table_elts {
            match element.node.as_mut() {
                Some(NodeEnum::ColumnDef(column)) => {
                    self.constraints(&mut column.constraints, table, home)?;
                }
                Some(NodeEnum::Constraint(constraint)) => {
                    self.constraint(constraint, table, home)?
                }
                _ => {}
            }
        }
        // They run with every INSERT, when nobody looks for what they do to the session.
        self.refuse_delayed_effects("CREATE TABLE", before)?;
        Ok(table)
    }

    /// A relation that is made must be temporary.
    pub(super) fn new_own(&mut self, range: &RangeVar, kind: &str) -> Result<(), Denial> {
        if !is_temporary(range) || !range.catalogname.is_empty() {
            return Err(refused(kind).hint("A temporary table can be made."));
        }
        refuse_reserved(&range.relname)?;
        if self.temporaries.len() >= MOST {
            return Err(Denial::new(
                DenyReason::TooComplex,
                "the session has too many temporary tables",
            )
            .hint("Drop those that are not needed any more."));
        }
        self.uses(shown(&range.relname), true, "temporary".to_owned());
        Ok(())
    }

    /// The columns of a new table, as its checks and generated columns can name them.
    fn new_columns(&mut self, elements: &mut [Node]) -> Result<Vec<Column>, Denial> {
        let mut columns = Vec::with_capacity(elements.len());
        for element in elements {
            match element.node.as_mut() {
                Some(NodeEnum::ColumnDef(column)) => columns.push(self.new_column(column)?),
                Some(NodeEnum::TableLikeClause(like)) => columns.extend(self.like(like)?),
                Some(NodeEnum::Constraint(_)) => {}
                _ => return Err(unsupported("this part of a table")),
            }
        }
        Ok(columns)
    }

    pub(super) fn new_column(&mut self, column: &ColumnDef) -> Result<Column, Denial> {
        let Some(name) = column.type_name.as_ref() else {
            return Err(unsupported("a column without a type"));
        };
        if name.setof || !column.fdwoptions.is_empty() {
            return Err(unsupported("this kind of column"));
        }
        if let Some(collation) = column.coll_clause.as_deref() {
            strings(&collation.collname)?;
        }
        let ty = match serial(name) {
            Some(ty) => ty,
            None => self.type_name(name)?,
        };
        Ok(Column {
            ty,
            ..Column::opaque(&column.colname)
        })
    }

    /// LIKE reads no rows. The defaults and checks that it may copy run where an INSERT into the
    /// other table runs them too, so copying them needs a table that the session may write.
    fn like(&mut self, like: &mut TableLikeClause) -> Result<Vec<Column>, Denial> {
        let Some(range) = like.relation.as_mut() else {
            return Err(unsupported("LIKE of nothing"));
        };
        let id = self.relation_reference(range, false)?;
        let relation = self.find_relation(&range.schemaname, &range.relname)?;
        let writable = match self.guarded(relation)?.guard {
            Guard::Keys(_) | Guard::Global(Access::Write) => true,
            Guard::Global(Access::Read | Access::Deny)
            | Guard::System(_)
            | Guard::View(_)
            | Guard::Denied(..) => false,
        };
        if like.options != 0 && !writable {
            return Err(unsupported(
                "LIKE … INCLUDING of a table that can't be written",
            ));
        }
        let entry = self.entry(id);
        Ok(entry.map(|entry| entry.columns.clone()).unwrap_or_default())
    }

    pub(super) fn constraints(
        &mut self,
        nodes: &mut [Node],
        table: EntryId,
        home: Home<'_>,
    ) -> Result<(), Denial> {
        for node in nodes {
            match node.node.as_mut() {
                Some(NodeEnum::Constraint(constraint)) => {
                    self.constraint(constraint, table, home)?
                }
                _ => return Err(unsupported("this constraint")),
            }
        }
        Ok(())
    }

    pub(super) fn constraint(
        &mut self,
        constraint: &mut Constraint,
        table: EntryId,
        home: Home<'_>,
    ) -> Result<(), Denial> {
        let items = [Item::new(table)];
        let row = Scope {
            items: &items,
            outer: None,
        };
        let kind = ConstrType::try_from(constraint.contype).unwrap_or(ConstrType::Undefined);
        let scope = match kind {
            ConstrType::ConstrNull
            | ConstrType::ConstrNotnull
            | ConstrType::ConstrAttrDeferrable
            | ConstrType::ConstrAttrNotDeferrable
            | ConstrType::ConstrAttrDeferred
            | ConstrType::ConstrAttrImmediate
            | ConstrType::ConstrAttrEnforced
            | ConstrType::ConstrAttrNotEnforced
            | ConstrType::ConstrDefault => NOWHERE,
            ConstrType::ConstrGenerated | ConstrType::ConstrCheck => row,
            ConstrType::ConstrIdentity => return self.identity(&constraint.options, home),
            ConstrType::ConstrPrimary | ConstrType::ConstrUnique => {
                let plain = constraint.without_overlaps || !constraint.indexspace.is_empty();
                if plain || !constraint.options.is_empty() {
                    return Err(unsupported("this kind of key"));
                }
                NOWHERE
            }
            ConstrType::ConstrForeign => return self.foreign_key(constraint, table, home),
            ConstrType::ConstrExclusion | ConstrType::Undefined => {
                return Err(unsupported("this kind of constraint"));
            }
        };
        if constraint.pktable.is_some() || constraint.where_clause.is_some() {
            return Err(unsupported("this kind of constraint"));
        }
        self.optional(constraint.raw_expr.as_mut(), &scope, &Env::default())?;
        Ok(())
    }
}

impl Judge<'_> {
    /// The sequence of an identity column: numbers, and for a lasting table a name that is nobody's.
    fn identity(&mut self, options: &[Node], home: Home<'_>) -> Result<(), Denial> {
        let mut others = Vec::with_capacity(options.len());
        for option in options {
            let named = sequence_name(option);
            match (named.as_deref(), home) {
                (Some([name]), Home::Lasting(schema, _)) => self.new_sequence(schema, name)?,
                (Some([of, name]), Home::Lasting(schema, _)) if *of == schema => {
                    self.new_sequence(schema, name)?;
                }
                _ => others.push(option.clone()),
            }
        }
        numbers_only(&others)
    }

    fn new_sequence(&mut self, schema: &str, name: &str) -> Result<(), Denial> {
        self.new_name(schema, name)?;
        self.fresh.takes(name);
        Ok(())
    }
}

/// The name that an option gives to the sequence of an identity column.
fn sequence_name(option: &Node) -> Option<Vec<&str>> {
    let Some(NodeEnum::DefElem(element)) = option.node.as_ref() else {
        return None;
    };
    let named = element.arg.as_deref().and_then(|arg| arg.node.as_ref());
    match (element.defname.as_str(), named) {
        ("sequence_name", Some(NodeEnum::List(list))) => strings(&list.items).ok(),
        _ => None,
    }
}

pub(super) fn is_temporary(range: &RangeVar) -> bool {
    match range.schemaname.as_str() {
        "" => range.relpersistence == "t",
        schema => schema == SCHEMA,
    }
}

/// The SELECT that INTO stands in: the first of a set operation.
fn leftmost(select: &mut SelectStmt) -> &mut SelectStmt {
    match select.larg {
        Some(ref mut left) => leftmost(left),
        None => select,
    }
}

pub(super) fn plain_storage(
    options: &[Node],
    tablespace: &str,
    access_method: &str,
) -> Result<(), Denial> {
    if options.is_empty() && tablespace.is_empty() && access_method.is_empty() {
        return Ok(());
    }
    Err(unsupported("WITH, USING or TABLESPACE here").hint("Leave it out."))
}

/// `serial` and its like are no types, but a column's way to say more.
fn serial(name: &TypeName) -> Option<Ty> {
    let parts = strings(&name.names).ok()?;
    let [part] = parts.as_slice() else {
        return None;
    };
    match *part {
        "smallserial" | "serial2" => Some(Ty::Known(21)),
        "serial" | "serial4" => Some(Ty::Known(23)),
        "bigserial" | "serial8" => Some(Ty::Known(20)),
        _ => None,
    }
}

/// Options of a sequence that name nothing.
pub(super) fn numbers_only(options: &[Node]) -> Result<(), Denial> {
    let number = |option: &Node| match option.node.as_ref() {
        Some(NodeEnum::DefElem(element)) => {
            let value = element.arg.as_deref().and_then(|arg| arg.node.as_ref());
            SEQUENCE_OPTIONS.contains(&element.defname.as_str())
                && matches!(
                    value,
                    None | Some(NodeEnum::Integer(_) | NodeEnum::Float(_) | NodeEnum::Boolean(_))
                )
        }
        _ => false,
    };
    if options.iter().all(number) {
        return Ok(());
    }
    Err(unsupported("this option of an identity column"))
}

pub(super) fn shown(name: &str) -> String {
    format!("{SCHEMA}.{name}")
}
