//! What a session may do with its own temporary relations: DROP, ALTER, RENAME, indexes, ANALYZE, COMMENT.
//!
//! Each is sent by its schema, `pg_temp.t`, so the server takes no other for it. What changes is followed for the
//! statements behind in the same message ([`made`](super::made)), and told by the server before the next one.
//! Nothing of them reaches another object: no foreign key, no inheritance, no CASCADE of a change.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, CommentStmt, DropBehavior, DropStmt,
    IndexElem, IndexStmt, ObjectType, RangeVar, RenameStmt, VacuumStmt,
};

use super::foreign_key::Home;
use super::names::{Item, Scope, strings};
use super::statement::{ddl, maintenance, refused};
use super::temporary::{NOWHERE, plain_storage, shown};
use super::{EntryId, Env, Judge, Named, refuse_reserved, unsupported};
use crate::deny::Denial;
use crate::plan::StatementKind;
use crate::rewrite::{self, string};
use crate::temporary::SCHEMA;

/// Operator classes of pg_catalog that applications ask for.
const OPERATOR_CLASSES: &[&str] = &[
    "array_ops",
    "bpchar_pattern_ops",
    "inet_ops",
    "jsonb_ops",
    "jsonb_path_ops",
    "text_ops",
    "text_pattern_ops",
    "tsvector_ops",
    "varchar_ops",
    "varchar_pattern_ops",
];

impl Judge<'_> {
    /// DROP TABLE, VIEW or SEQUENCE of temporary ones. What does not exist is asked for where temporary tables are,
    /// so that IF EXISTS finds nothing else.
    pub(super) fn drop_table(&mut self, drop: &mut DropStmt) -> Result<StatementKind, Denial> {
        match ObjectType::try_from(drop.remove_type).unwrap_or(ObjectType::Undefined) {
            ObjectType::ObjectTable if self.may_change() && self.drops_lasting(drop) => {
                return self.drop_lasting(drop);
            }
            ObjectType::ObjectTable | ObjectType::ObjectView | ObjectType::ObjectSequence => {}
            ObjectType::ObjectIndex => return self.drop_index(drop),
            ObjectType::ObjectType => return self.drop_type(drop),
            _ => return Err(ddl()),
        }
        for object in &mut drop.objects {
            let Some(NodeEnum::List(list)) = object.node.as_mut() else {
                return Err(unsupported("this kind of name"));
            };
            let name = match strings(&list.items)?.as_slice() {
                [name] => self.droppable("", name, drop.missing_ok)?,
                [SCHEMA, name] => (*name).to_owned(),
                [schema, name] if self.may_change() => {
                    self.droppable(schema, name, drop.missing_ok)?
                }
                _ => return Err(only_temporary("DROP TABLE")),
            };
            list.items = vec![rewrite::string(SCHEMA), rewrite::string(&name)];
            self.uses(shown(&name), true, "temporary".to_owned());
            self.drops(&name);
        }
        self.rewritten();
        self.changes();
        Ok(StatementKind::Utility)
    }

    /// DROP INDEX of temporary tables' indexes. Which others there are is not known.
    fn drop_index(&mut self, drop: &mut DropStmt) -> Result<StatementKind, Denial> {
        if drop.concurrent {
            return Err(unsupported("DROP INDEX CONCURRENTLY"));
        }
        for object in &mut drop.objects {
            let Some(NodeEnum::List(list)) = object.node.as_mut() else {
                return Err(unsupported("this kind of name"));
            };
            let name = match strings(&list.items)?.as_slice() {
                [name] => self.find_relation("", name),
                [SCHEMA, name] => self.find_relation(SCHEMA, name),
                _ => return Err(ddl()),
            };
            let found = name.ok().filter(|found| found.schema == SCHEMA);
            let name = found.ok_or_else(ddl)?.name.clone();
            list.items = vec![rewrite::string(SCHEMA), rewrite::string(&name)];
            self.uses(shown(&name), true, "temporary".to_owned());
            self.drops(&name);
        }
        self.rewritten();
        self.changes();
        Ok(StatementKind::Utility)
    }

    /// Whether the first table that is named is a lasting one.
    fn drops_lasting(&self, drop: &DropStmt) -> bool {
        let first = drop.objects.first().and_then(|object| object.node.as_ref());
        let Some(NodeEnum::List(list)) = first else {
            return false;
        };
        match strings(&list.items).as_deref() {
            Ok([name]) => {
                let found = self.find_relation("", name);
                found.is_ok_and(|relation| relation.schema != SCHEMA)
            }
            Ok([schema, name]) => {
                let absent = || self.is_absent(schema, name);
                *schema != SCHEMA && !(drop.missing_ok && absent())
            }
            _ => false,
        }
    }

    /// Whether nobody knows of such a relation, nothing in the message can have made it, and no temporary one has
    /// its name.
    fn is_absent(&self, schema: &str, name: &str) -> bool {
        !schema.starts_with("pg_")
            && self.temporaries.find(name).is_none()
            && self.fresh.refuse_unclear(name).is_ok()
            && self.find_relation(schema, name).is_err()
    }

    fn droppable(&self, schema: &str, name: &str, missing_ok: bool) -> Result<String, Denial> {
        match self.find_relation(schema, name) {
            Ok(relation) if relation.schema == SCHEMA => Ok(name.to_owned()),
            Ok(_) => Err(only_temporary("DROP TABLE")),
            Err(_) if missing_ok && self.is_absent(schema, name) => {
                self.findings.absent.set(true);
                Ok(name.to_owned())
            }
            Err(denial) => Err(denial),
        }
    }

    /// CREATE INDEX on a temporary table; its name is one more in the session's schema.
    pub(super) fn create_index(&mut self, index: &mut IndexStmt) -> Result<StatementKind, Denial> {
        let Some(range) = index.relation.as_mut() else {
            return Err(unsupported("CREATE INDEX without a table"));
        };
        let found = self.find_relation(&range.schemaname, &range.relname)?;
        let lasting = found.schema != SCHEMA && self.may_change();
        let table = if lasting {
            let schema = found.schema.clone();
            self.new_name(&schema, &index.idxname)?;
            self.unscoped_table(range, "CREATE INDEX")?
        } else {
            self.own_table(range, "CREATE INDEX")?
        };
        plain_storage(&index.options, &index.table_space, "")?;
        if index.concurrent && !lasting {
            return Err(unsupported("CREATE INDEX CONCURRENTLY")
                .hint("Leave CONCURRENTLY out: nobody else sees the table."));
        }
        let items = [Item::new(table)];
        let scope = Scope {
            items: &items,
            outer: None,
        };
        let before = self.findings.effects.len();
        let parts = index.index_params.iter_mut();
        for part in parts.chain(&mut index.index_including_params) {
            match part.node.as_mut() {
                Some(NodeEnum::IndexElem(element)) => self.index_element(element, &scope)?,
                _ => return Err(unsupported("this part of an index")),
            }
        }
        self.optional(index.where_clause.as_mut(), &scope, &Env::default())?;
        self.refuse_delayed_effects("CREATE INDEX", before)?;
        if !lasting {
            self.changes();
        }
        Ok(StatementKind::Utility)
    }

    fn index_element(&mut self, element: &mut IndexElem, scope: &Scope<'_>) -> Result<(), Denial> {
        self.operator_class(element)?;
        strings(&element.collation)?;
        self.optional(element.expr.as_mut(), scope, &Env::default())?;
        Ok(())
    }

    /// An operator class names functions: PostgreSQL's own is sent with its schema, so no other can be meant.
    fn operator_class(&mut self, element: &mut IndexElem) -> Result<(), Denial> {
        if !element.opclassopts.is_empty() {
            return Err(unsupported("an operator class with options"));
        }
        let qualified = match strings(&element.opclass)?.as_slice() {
            [] => return Ok(()),
            [name] if OPERATOR_CLASSES.contains(name) => false,
            ["pg_catalog", name] if OPERATOR_CLASSES.contains(name) => true,
            _ => {
                return Err(unsupported("this operator class")
                    .hint("Those of PostgreSQL itself for text, jsonb and arrays can be used."));
            }
        };
        if !qualified {
            element.opclass.insert(0, string("pg_catalog"));
            self.named = Named::Later;
        }
        Ok(())
    }

    /// ANALYZE of temporary tables.
    pub(super) fn analyze(&mut self, vacuum: &mut VacuumStmt) -> Result<StatementKind, Denial> {
        if vacuum.is_vacuumcmd || vacuum.rels.is_empty() || !vacuum.options.is_empty() {
            return Err(maintenance());
        }
        for relation in &mut vacuum.rels {
            let range = match relation.node.as_mut() {
                Some(NodeEnum::VacuumRelation(relation)) => relation.relation.as_mut(),
                _ => None,
            };
            match range {
                Some(range) => self.own_table(range, "ANALYZE")?,
                None => return Err(unsupported("this kind of name")),
            };
        }
        Ok(StatementKind::Utility)
    }

    /// A table that a statement of DDL or maintenance works on.
    pub(super) fn own_table(
        &mut self,
        range: &mut RangeVar,
        kind: &str,
    ) -> Result<EntryId, Denial> {
        let relation = self.find_relation(&range.schemaname, &range.relname)?;
        if relation.schema != SCHEMA || !range.catalogname.is_empty() {
            let denial =
                only_temporary(kind).table(format!("{}.{}", relation.schema, relation.name));
            return Err(match kind {
                "TRUNCATE" => denial.hint("It would empty the table for all tenants. Use DELETE."),
                _ => denial,
            });
        }
        self.relation_reference(range, true)
    }

    /// Whether a name means a temporary table.
    pub(super) fn is_own(&self, range: Option<&RangeVar>) -> bool {
        range.is_some_and(|range| {
            let found = self.find_relation(&range.schemaname, &range.relname);
            found.is_ok_and(|found| found.schema == SCHEMA)
        })
    }

    /// ALTER TABLE of a temporary table.
    pub(super) fn alter_own(
        &mut self,
        alter: &mut AlterTableStmt,
    ) -> Result<StatementKind, Denial> {
        let Some(range) = alter.relation.as_mut() else {
            return Err(unsupported("ALTER TABLE without a table"));
        };
        let table = self.own_table(range, "ALTER TABLE")?;
        let name = range.relname.clone();
        let before = self.findings.effects.len();
        for command in &mut alter.cmds {
            match command.node.as_mut() {
                Some(NodeEnum::AlterTableCmd(command)) => {
                    self.alter_own_by(command, table, &name)?;
                }
                _ => return Err(unsupported("this kind of ALTER TABLE")),
            }
        }
        self.refuse_delayed_effects("ALTER TABLE", before)?;
        self.changes();
        Ok(StatementKind::Utility)
    }

    fn alter_own_by(
        &mut self,
        command: &mut AlterTableCmd,
        table: EntryId,
        name: &str,
    ) -> Result<(), Denial> {
        if command.behavior == DropBehavior::DropCascade as i32 {
            return Err(unsupported("CASCADE").hint("Drop what depends on it first, by name."));
        }
        let kind = AlterTableType::try_from(command.subtype).unwrap_or(AlterTableType::Undefined);
        let definition = command.def.as_mut().and_then(|it| it.node.as_mut());
        match (kind, definition) {
            (AlterTableType::AtAddColumn, Some(NodeEnum::ColumnDef(column))) => {
                self.add_own_column(column, command.missing_ok, table, name)
            }
            (AlterTableType::AtAlterColumnType, Some(NodeEnum::ColumnDef(column))) => {
                self.retype_own_column(&command.name, column, table, name)
            }
            (AlterTableType::AtDropColumn, _) => {
                self.own_columns(table, name, |columns| {
                    columns.retain(|column| column.name != command.name);
                });
                Ok(())
            }
            (AlterTableType::AtAddConstraint, Some(NodeEnum::Constraint(constraint))) => {
                self.constraint(constraint, table, Home::Session)
            }
            (AlterTableType::AtColumnDefault, _) => self
                .optional(command.def.as_mut(), &NOWHERE, &Env::default())
                .map(drop),
            (
                AlterTableType::AtSetNotNull
                | AlterTableType::AtDropNotNull
                | AlterTableType::AtDropConstraint,
                _,
            ) => Ok(()),
            _ => Err(unsupported("this kind of ALTER TABLE")
                .hint("Make another temporary table, by CREATE TEMP TABLE … AS.")),
        }
    }

    fn add_own_column(
        &mut self,
        column: &mut ColumnDef,
        unless_there: bool,
        table: EntryId,
        name: &str,
    ) -> Result<(), Denial> {
        let new = self.new_column(column)?;
        let known = self.entry(table).map_or(&[][..], |entry| &entry.columns);
        let there = known.iter().any(|it| it.name == new.name);
        if !(there && unless_there) {
            self.own_columns(table, name, |columns| columns.push(new));
        }
        self.constraints(&mut column.constraints, table, Home::Session)
    }

    /// `ALTER COLUMN … TYPE … USING …`: the expression sees the session's own rows.
    fn retype_own_column(
        &mut self,
        name: &str,
        column: &mut ColumnDef,
        table: EntryId,
        of: &str,
    ) -> Result<(), Denial> {
        let new = self.new_column(column)?;
        let items = [Item::new(table)];
        let row = Scope {
            items: &items,
            outer: None,
        };
        let known = self.entry(table).map_or(&[][..], |entry| &entry.columns);
        let old = known.iter().find(|it| it.name == name).map(|it| it.ty);
        let given = match column.raw_default.as_mut() {
            Some(value) => self.expression(value, &row, &Env::default())?.ty,
            None => old.unwrap_or_default(),
        };
        self.allow_assignment(given, new.ty)?;
        self.own_columns(table, of, |columns| {
            let column = columns.iter_mut().find(|it| it.name == name);
            column.into_iter().for_each(|column| column.ty = new.ty);
        });
        Ok(())
    }

    /// RENAME of a temporary table, its columns or constraints.
    pub(super) fn rename_own(&mut self, rename: &mut RenameStmt) -> Result<StatementKind, Denial> {
        let Some(range) = rename.relation.as_mut() else {
            return Err(unsupported("RENAME of nothing"));
        };
        let table = self.own_table(range, "RENAME")?;
        let (name, newname) = (range.relname.clone(), rename.newname.clone());
        if rename.behavior == DropBehavior::DropCascade as i32 {
            return Err(unsupported("CASCADE"));
        }
        match ObjectType::try_from(rename.rename_type).unwrap_or(ObjectType::Undefined) {
            ObjectType::ObjectTable => {
                refuse_reserved(&newname)?;
                self.renames(&name, &newname);
            }
            ObjectType::ObjectColumn => {
                self.own_columns(table, &name, |columns| {
                    let column = columns.iter_mut().find(|it| it.name == rename.subname);
                    column
                        .into_iter()
                        .for_each(|it| it.name.clone_from(&newname));
                });
            }
            ObjectType::ObjectTabconstraint => {}
            _ => return Err(ddl()),
        }
        self.changes();
        Ok(StatementKind::Utility)
    }

    /// COMMENT ON a temporary table or one of its columns, or on a lasting one that may be changed.
    pub(super) fn comment(&mut self, comment: &mut CommentStmt) -> Result<StatementKind, Denial> {
        let columns = match ObjectType::try_from(comment.objtype).unwrap_or(ObjectType::Undefined) {
            ObjectType::ObjectTable => 0,
            ObjectType::ObjectColumn => 1,
            _ => return Err(ddl()),
        };
        let list = match comment.object.as_mut().and_then(|it| it.node.as_mut()) {
            Some(NodeEnum::List(list)) => list,
            _ => return Err(unsupported("this kind of name")),
        };
        let parts = strings(&list.items)?;
        let Some((table, behind)) = parts
            .len()
            .checked_sub(columns)
            .map(|at| parts.split_at(at))
        else {
            return Err(unsupported("this kind of name"));
        };
        let (schema, name) = match table {
            [name] => ("", *name),
            [schema, name] => (*schema, *name),
            _ => return Err(unsupported("a table name with a database")),
        };
        let found = self.find_relation(schema, name)?;
        let schema = found.schema.clone();
        let sent = [schema.as_str(), name].into_iter();
        let sent = sent.chain(behind.iter().copied());
        let sent = sent.map(rewrite::string).collect();
        if schema == SCHEMA {
            self.uses(shown(name), true, "temporary".to_owned());
        } else {
            self.described(&schema, name)?;
        }
        if list.items != sent {
            list.items = sent;
            self.rewritten();
        }
        Ok(StatementKind::Utility)
    }
}

fn only_temporary(kind: &str) -> Denial {
    refused(kind).hint("Only temporary tables can be changed.")
}
