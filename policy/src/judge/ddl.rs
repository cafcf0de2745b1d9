//! Lasting DDL, where the policy says `ddl = "unscoped"`: on tables that hold nothing of a tenant.
//!
//! What passes changes nothing that a verdict rests on, though other sessions, and this one's own
//! transaction, are judged by the catalogue of before until it is read again. A new name is nobody's yet,
//! in whatever schema, so it shadows nothing; a name that goes stood for one object only, so nothing
//! comes to light behind it. A table that is changed is one that the session may write and no tenant's,
//! gets no column that a scoped table has, and reaches no other object but by a foreign key to one like it
//! (`foreign_key.rs`): no inheritance, and what CASCADE would reach makes the server refuse, since RESTRICT is sent. Columns are not dropped or renamed: an outer query's column of the name would be read in
//! their place. Everything else is refused.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ConstrType, CreateEnumStmt, CreateSeqStmt,
    CreateStmt, DropBehavior, DropStmt, ObjectType, RangeVar, RenameStmt, TruncateStmt,
};

use super::foreign_key::Home;
use super::names::{Scope, strings};
use super::statement::{ddl, refused};
use super::temporary::{is_temporary, numbers_only};
use super::{EntryId, EntryKind, Env, Judge, Named, refuse_reserved, unsupported};
use crate::bind::Guard;
use crate::builtin::functions;
use crate::catalog::{Relation, RelationKind};
use crate::deny::Denial;
use crate::plan::StatementKind;
use crate::rules::{Access, Ddl};
use crate::temporary;

/// How a relation that a message makes is guarded, as its use is told.
pub(super) const NEW: &str = "new";

impl Judge<'_> {
    /// Whether the session may change what is not scoped.
    pub(super) fn may_change(&self) -> bool {
        let default = self.bound.policy.defaults.ddl;
        self.request.facts.ddl.unwrap_or(default) == Ddl::Unscoped
    }

    /// Judges CREATE TABLE of a lasting table.
    pub(super) fn create_lasting(
        &mut self,
        create: &mut CreateStmt,
    ) -> Result<StatementKind, Denial> {
        let Some(range) = create.relation.as_mut() else {
            return Err(unsupported("CREATE TABLE without a name"));
        };
        let schema = self.new_relation(range)?;
        if range.schemaname.is_empty() && self.fresh.knows_path() {
            range.schemaname.clone_from(&schema);
            self.named = self.named.max(Named::First);
        }
        let name = range.relname.clone();
        let mark = self.entries.len();
        let home = Home::Lasting(&schema, &name);
        let table = self.table_elements(create, name.clone(), home)?;
        for column in self.entry(table).map_or(&[][..], |it| &it.columns) {
            self.refuse_scoped_column(&column.name, false)?;
        }
        self.refuse_tenants_rows(mark)?;
        self.makes_lasting(create, &schema, table);
        Ok(StatementKind::Utility)
    }

    /// Judges CREATE SEQUENCE.
    pub(super) fn create_sequence(
        &mut self,
        create: &CreateSeqStmt,
    ) -> Result<StatementKind, Denial> {
        let Some(range) = create.sequence.as_ref() else {
            return Err(unsupported("CREATE SEQUENCE without a name"));
        };
        let temporary = is_temporary(range);
        let may = temporary || self.may_change();
        if !may || create.owner_id != 0 || create.for_identity {
            return Err(ddl());
        }
        if temporary {
            self.new_own(range, "CREATE SEQUENCE")?;
            numbers_only(&create.options)?;
            if create.if_not_exists && self.knows(Some(range)) {
                self.changes();
            } else {
                self.makes_sequence(&range.relname);
            }
            return Ok(StatementKind::Utility);
        }
        let schema = self.new_relation(range)?;
        numbers_only(&create.options)?;
        if !create.if_not_exists && (self.fresh.knows_path() || !range.schemaname.is_empty()) {
            self.fresh.makes_sequence(&schema, &range.relname);
        }
        Ok(StatementKind::Utility)
    }

    /// Judges `CREATE TYPE … AS ENUM`.
    pub(super) fn create_enum(&mut self, create: &CreateEnumStmt) -> Result<StatementKind, Denial> {
        if !self.may_change() {
            return Err(ddl());
        }
        let (schema, name) = match strings(&create.type_name)?.as_slice() {
            [name] => ("", *name),
            [schema, name] => (*schema, *name),
            _ => return Err(unsupported("a type name with a database")),
        };
        let place = self.new_name(schema, name)?;
        if self.fresh.knows_path() || !schema.is_empty() {
            self.fresh.makes_enum(&place, name);
        } else {
            self.fresh.takes(name);
        }
        Ok(StatementKind::Utility)
    }

    /// Judges ALTER TABLE.
    pub(super) fn alter_table(
        &mut self,
        alter: &mut AlterTableStmt,
    ) -> Result<StatementKind, Denial> {
        if alter.objtype != ObjectType::ObjectTable as i32 {
            return Err(ddl());
        }
        if self.is_own(alter.relation.as_ref()) {
            return self.alter_own(alter);
        }
        if !self.may_change() {
            return Err(ddl());
        }
        let Some(range) = alter.relation.as_mut() else {
            return Err(unsupported("ALTER TABLE without a table"));
        };
        let mark = self.entries.len();
        let table = self.unscoped_table(range, "ALTER TABLE")?;
        let (schema, name) = (range.schemaname.clone(), range.relname.clone());
        for command in &mut alter.cmds {
            match command.node.as_mut() {
                Some(NodeEnum::AlterTableCmd(command)) => {
                    self.alter_command(command, table, (&schema, &name))?;
                }
                _ => return Err(unsupported("this kind of ALTER TABLE")),
            }
        }
        self.refuse_tenants_rows(mark)?;
        Ok(StatementKind::Utility)
    }

    fn alter_command(
        &mut self,
        command: &mut AlterTableCmd,
        table: EntryId,
        of: (&str, &str),
    ) -> Result<(), Denial> {
        if command.behavior == DropBehavior::DropCascade as i32 {
            return Err(unsupported("CASCADE").hint("Drop what depends on it first, by name."));
        }
        let kind = AlterTableType::try_from(command.subtype).unwrap_or(AlterTableType::Undefined);
        let nowhere = Scope {
            items: &[],
            outer: None,
        };
        let home = Home::Lasting(of.0, of.1);
        let definition = command.def.as_mut().and_then(|it| it.node.as_mut());
        match (kind, definition) {
            (AlterTableType::AtAddColumn, Some(NodeEnum::ColumnDef(column))) => {
                self.refuse_scoped_column(&column.colname, true)?;
                let new = self.new_column(column)?;
                self.adds_column(of, column, new.ty);
                self.constraints(&mut column.constraints, table, home)
            }
            (AlterTableType::AtAddConstraint, Some(NodeEnum::Constraint(constraint))) => {
                self.constraint(constraint, table, home)
            }
            (AlterTableType::AtAddIdentity, Some(NodeEnum::Constraint(identity)))
                if identity.contype == ConstrType::ConstrIdentity as i32 =>
            {
                self.constraint(identity, table, home)
            }
            (AlterTableType::AtChangeOwner, _) => Err(unsupported("another owner of a table")
                .hint("Leave it out (pg_dump --no-owner): what a client makes is of the proxy's role.")),
            (AlterTableType::AtColumnDefault, _) => self
                .optional(command.def.as_mut(), &nowhere, &Env::default())
                .map(drop),
            (
                AlterTableType::AtSetNotNull
                | AlterTableType::AtDropNotNull
                | AlterTableType::AtDropConstraint,
                _,
            ) => Ok(()),
            _ => Err(unsupported("this kind of ALTER TABLE")),
        }
    }

    /// Judges `ALTER TABLE … RENAME TO`.
    pub(super) fn rename(&mut self, rename: &mut RenameStmt) -> Result<StatementKind, Denial> {
        if self.is_own(rename.relation.as_ref()) {
            return self.rename_own(rename);
        }
        if !self.may_change() || rename.rename_type != ObjectType::ObjectTable as i32 {
            return Err(ddl());
        }
        let Some(range) = rename.relation.as_mut() else {
            return Err(unsupported("RENAME of nothing"));
        };
        let relation = self.find_relation(&range.schemaname, &range.relname)?;
        let (schema, name) = (relation.schema.clone(), relation.name.clone());
        self.only_of_its_name(&name)?;
        self.unscoped_table(range, "RENAME")?;
        self.new_name(&schema, &rename.newname)?;
        self.fresh.renames(&schema, &name, &rename.newname);
        Ok(StatementKind::Utility)
    }

    /// Judges DROP TABLE of lasting tables.
    pub(super) fn drop_lasting(&mut self, drop: &mut DropStmt) -> Result<StatementKind, Denial> {
        self.restrict(&mut drop.behavior);
        for object in &drop.objects {
            let Some(NodeEnum::List(list)) = object.node.as_ref() else {
                return Err(unsupported("this kind of name"));
            };
            let (schema, name) = match strings(&list.items)?.as_slice() {
                [name] => (String::new(), (*name).to_owned()),
                [schema, name] => ((*schema).to_owned(), (*name).to_owned()),
                _ => return Err(unsupported("a table name with a database")),
            };
            let relation = self.find_relation(&schema, &name)?;
            self.unscoped(relation, "DROP TABLE")?;
            self.only_of_its_name(&name)?;
            let schema = relation.schema.clone();
            self.uses(format!("{schema}.{name}"), true, "global".to_owned());
            self.fresh.drops(&schema, &name);
        }
        Ok(StatementKind::Utility)
    }

    /// TRUNCATE of temporary tables, and of lasting ones that may be changed.
    pub(super) fn truncate(
        &mut self,
        truncate: &mut TruncateStmt,
    ) -> Result<StatementKind, Denial> {
        let mut lasting = false;
        for relation in &mut truncate.relations {
            let Some(NodeEnum::RangeVar(range)) = relation.node.as_mut() else {
                return Err(unsupported("this kind of name"));
            };
            let found = self.find_relation(&range.schemaname, &range.relname)?;
            if found.schema == temporary::SCHEMA || !self.may_change() {
                self.own_table(range, "TRUNCATE")?;
            } else if !range.catalogname.is_empty() {
                return Err(unsupported("a table name with a database"));
            } else {
                self.unscoped_table(range, "TRUNCATE")?;
                lasting = true;
            }
        }
        if lasting {
            self.restrict(&mut truncate.behavior);
        }
        Ok(StatementKind::Utility)
    }

    /// What lasts must not hold what was read of a tenant, or say who that was.
    fn refuse_tenants_rows(&self, mark: EntryId) -> Result<(), Denial> {
        let mut made = self.entries.iter().skip(mark);
        if made.any(|entry| matches!(entry.kind, EntryKind::Scoped { .. })) {
            return Err(unsupported("a scoped table in lasting DDL")
                .hint("Change it by a migration on a connection of its own to the database."));
        }
        Ok(())
    }

    /// The entry of a table that may be changed.
    pub(super) fn unscoped_table(
        &mut self,
        range: &mut RangeVar,
        kind: &str,
    ) -> Result<EntryId, Denial> {
        let relation = self.find_relation(&range.schemaname, &range.relname)?;
        self.unscoped(relation, kind)?;
        self.relation_reference(range, true)
    }

    /// A table that holds nothing of a tenant, that the session may write, and that stands alone.
    pub(super) fn unscoped(&self, relation: &Relation, kind: &str) -> Result<(), Denial> {
        let shown = format!("{}.{}", relation.schema, relation.name);
        let writable = match self.guarded(relation)?.guard {
            Guard::Global(Access::Write) => relation.schema != temporary::SCHEMA,
            Guard::Global(Access::Read | Access::Deny)
            | Guard::Keys(_)
            | Guard::System(_)
            | Guard::View(_)
            | Guard::Denied(..) => false,
        };
        let relations = &self.bound.catalog.parts().relations;
        let is_parent = relations
            .iter()
            .any(|it| it.parents.contains(&relation.oid));
        let alone = relation.kind == RelationKind::Table
            && relation.parents.is_empty()
            && relation.extension.is_none()
            && !is_parent;
        if writable && alone {
            return Ok(());
        }
        Err(refused(kind).table(shown).hint(
            "Only tables that hold nothing of a tenant and that clients may write can be changed.",
        ))
    }

    /// A relation that is made: its name is nobody's, so nothing is hidden by it.
    fn new_relation(&mut self, range: &RangeVar) -> Result<String, Denial> {
        if !range.catalogname.is_empty() || range.relpersistence == "t" {
            return Err(unsupported("this kind of name"));
        }
        let schema = self.new_name(&range.schemaname, &range.relname)?;
        self.uses(format!("{schema}.{}", range.relname), true, NEW.to_owned());
        self.fresh.takes(&range.relname);
        Ok(schema)
    }

    /// A name that no relation, type or function has, in whatever schema. Gives the schema.
    pub(super) fn new_name(&self, schema: &str, name: &str) -> Result<String, Denial> {
        refuse_reserved(name)?;
        let catalog = &self.bound.catalog;
        let path = &self.request.facts.search_path;
        let schema = match schema {
            "" => path.first().map_or("", String::as_str),
            schema => schema,
        };
        let own = schema.starts_with("pg_") || schema == "information_schema";
        if own || !catalog.parts().schemas.iter().any(|it| it == schema) {
            return Err(unsupported("a new object in this schema"));
        }
        let listed = &self.bound.policy.tables;
        let taken = self.fresh.named(catalog, name) > 0
            || listed.iter().any(|it| it.name.name == name)
            || self.fresh.is_enum(None, name)
            || self.temporaries.find(name).is_some()
            || catalog
                .types_named(name)
                .any(|ty| !self.fresh.is_gone(&ty.schema, name))
            || catalog.functions_named(name).next().is_some()
            || functions::class(name).is_some();
        if taken {
            return Err(unsupported("a new object whose name another one has")
                .hint("It could stand for the other, in whatever schema that is. Choose a name that is free."));
        }
        Ok(schema.to_owned())
    }

    /// What loses its name must be the only one that has it: else the name would stand for another.
    fn only_of_its_name(&self, name: &str) -> Result<(), Denial> {
        let of_that_name = self.fresh.named(&self.bound.catalog, name);
        if of_that_name > 1 || self.temporaries.find(name).is_some() {
            return Err(unsupported("DDL on a table whose name another one has"));
        }
        Ok(())
    }

    /// A table with the tenant column is scoped. A column that is added must not be mistaken for one of
    /// a scoped table either (`beside`).
    fn refuse_scoped_column(&self, name: &str, beside: bool) -> Result<(), Denial> {
        let scoped = |relation: &&Relation| match self.bound.guarded(relation) {
            Ok(guarded) => matches!(guarded.guard, Guard::Keys(_) | Guard::View(_)),
            Err(_) => false,
        };
        let mut relations = self.bound.catalog.parts().relations.iter();
        let is_tenant = name == self.bound.policy.tenant.column;
        if is_tenant || beside && relations.any(|it| it.column(name).is_some() && scoped(&it)) {
            return Err(unsupported("a column of this name").hint(
                "A table that holds something of a tenant is made by its owner, not by a client.",
            ));
        }
        Ok(())
    }
}
