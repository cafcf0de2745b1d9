//! Lasting DDL: what is made has a name that nobody has, what is changed or dropped is no tenant's.

use super::fresh::is_plain;
use super::temporary::names;
use super::{Gap, Step, Walk, need};
use crate::catalog::TypeKind;
use crate::tree::{Node, Value};

/// `DROP_RESTRICT` of the grammar.
pub(super) const RESTRICT: i64 = pg_query::protobuf::DropBehavior::DropRestrict as i64;

impl<'a> Walk<'a> {
    /// A relation that is made lastingly hides no other, and nothing hides it.
    pub(super) fn lasting_made(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        field: &str,
    ) -> Step {
        if !self.claims.enforce {
            return self.fields(original, rewritten, &[]);
        }
        match (original.node(field), rewritten.node(field)) {
            (Some(name), Some(there)) => {
                self.pair(name, there);
                self.named_where_it_is_made(name, there)?;
                need(self.claims.ddl, "lasting DDL is not allowed")?;
                let made = there.text("relname");
                need(self.relations_named(made) == 0, "a new name is not new")?;
                self.makes_lasting(there, is_plain(rewritten));
            }
            _ => return Err(Gap("nothing is made")),
        }
        self.fields(original, rewritten, &[field])
    }

    /// A constraint: a foreign key refers to no tenant's table, or to the one that is being made.
    pub(super) fn constraint(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let tables = original.node("pktable").zip(rewritten.node("pktable"));
        let Some((name, there)) = tables.filter(|(_, there)| self.is_being_made(there)) else {
            return self.fields(original, rewritten, &[]);
        };
        self.pair(name, there);
        self.named_where_it_is_made(name, there)?;
        self.fields(original, rewritten, &["pktable"])
    }

    /// CREATE INDEX: the table may be changed, and each operator class is one of pg_catalog.
    pub(super) fn index(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        match (original.node("relation"), rewritten.node("relation")) {
            (Some(table), Some(there)) => self.own_table(table, there)?,
            _ => return Err(Gap("an index lacks its table")),
        }
        let (before, after) = (
            original.list("index_params"),
            rewritten.list("index_params"),
        );
        need(before.len() == after.len(), "an index has other parts")?;
        for (before, after) in before.iter().zip(after) {
            match (before.as_node(), after.as_node()) {
                (Some(before), Some(after)) => self.indexed(before, after)?,
                _ => return Err(Gap("not a part of an index")),
            }
        }
        self.fields(original, rewritten, &["relation", "index_params"])
    }

    fn indexed(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        need(original.kind == rewritten.kind, "nodes differ")?;
        self.pair(original, rewritten);
        let class = |part: &'a Node| -> Option<Vec<&'a str>> {
            part.list("opclass").iter().map(Value::as_name).collect()
        };
        let proven = match (class(original).as_deref(), class(rewritten).as_deref()) {
            (Some([]), Some([])) => true,
            (Some([written]), Some(["pg_catalog", sent])) => written == sent,
            (Some(["pg_catalog", written]), Some(["pg_catalog", sent])) => written == sent,
            _ => !self.claims.enforce && original.field("opclass") == rewritten.field("opclass"),
        };
        need(proven, "an operator class is not pg_catalog's")?;
        self.fields(original, rewritten, &["opclass"])
    }

    /// A new name, in the schema that the client wrote or the first of the path.
    fn named_where_it_is_made(&mut self, name: &'a Node, there: &'a Node) -> Step {
        let (written, sent) = (name.text("schemaname"), there.text("schemaname"));
        let first = self.claims.search_path.first().map(String::as_str);
        let found = written.is_empty() && Some(sent) == first && !sent.starts_with("pg_");
        need(sent == written || found, "a new name is in another schema")?;
        self.fields(name, there, &["schemaname"])
    }

    /// ALTER TABLE, RENAME.
    pub(super) fn lasting_changed(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        if !self.claims.enforce {
            return self.fields(original, rewritten, &[]);
        }
        let there = rewritten.node("relation");
        if there.is_some_and(|there| there.text("schemaname") == "pg_temp") {
            return self.own_changed(original, rewritten);
        }
        match (original.node("relation"), there) {
            (Some(table), Some(there)) => self.lasting(table, there)?,
            _ => return Err(Gap("a statement lacks its table")),
        }
        let renamed = rewritten.text("newname");
        need(self.relations_named(renamed) == 0, "a new name is not new")?;
        if let Some(there) = there.filter(|_| rewritten.kind == "RenameStmt") {
            let name = there.text("relname");
            let schema = self.schema_of(there.text("schemaname"), name);
            let schema = schema.ok_or(Gap("a renamed table is not known"))?;
            self.renames_lasting(schema, name, renamed);
        }
        self.fields(original, rewritten, &["relation"])
    }

    /// A relation that is changed lastingly is no tenant's.
    pub(super) fn lasting(&mut self, table: &'a Node, there: &'a Node) -> Step {
        self.pair(table, there);
        let keys = self.relation(table, there)?;
        need(self.claims.ddl, "lasting DDL is not allowed")?;
        need(keys.is_empty(), "a scoped relation is changed")
    }

    /// TRUNCATE of a lasting table: it has no children, and what refers to it is not emptied, too.
    pub(super) fn emptied(&self, truncate: &'a Node, table: &'a Node) -> Step {
        need(truncate.int("behavior") == RESTRICT, "more is emptied")?;
        let catalog = self.claims.catalog;
        let name = table.text("relname");
        let schema = self.schema_of(table.text("schemaname"), name);
        if schema.is_some_and(|schema| self.is_made(schema, name)) {
            return Ok(());
        }
        let found = schema.and_then(|schema| catalog.relation(schema, name));
        let known = found.ok_or(Gap("an emptied table is not known"))?;
        let mut all = catalog.parts().relations.iter();
        let has_child = all.any(|it| it.parents.contains(&known.oid));
        need(!has_child, "an emptied table has children")
    }

    /// DROP TABLE of lasting tables: as it came, and each name is one table's only.
    pub(super) fn lasting_dropped(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        need(self.claims.ddl, "lasting DDL is not allowed")?;
        need(rewritten.int("behavior") == RESTRICT, "more is dropped")?;
        for object in rewritten.list("objects") {
            let (schema, name) = match names(object)?.as_slice() {
                [name] => (self.means(name), *name),
                [schema, name] => (Some(*schema), *name),
                _ => return Err(Gap("not a name")),
            };
            let schema = schema.ok_or(Gap("a dropped table is not known"))?;
            need(self.is_there(schema, name), "a dropped table is not known")?;
            let made = self.is_made(schema, name);
            let found = self.claims.catalog.relation(schema, name);
            let single = made || found.is_some_and(|known| known.parents.is_empty());
            let used = format!("{schema}.{name}");
            let uses = &self.claims.findings.relations;
            let claimed = uses
                .iter()
                .any(|it| it.name == used && (made || it.guard == "global"));
            let alone = single && self.relations_named(name) == 1;
            need(claimed && alone, "a dropped table is not one of its own")?;
            self.drops_lasting(schema, name);
        }
        // CASCADE may have become RESTRICT.
        self.fields(original, rewritten, &["behavior"])
    }

    /// DROP TYPE: each is an enum, the only one of its name, or with IF EXISTS nothing that is known.
    pub(super) fn types_dropped(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        need(self.claims.ddl, "lasting DDL is not allowed")?;
        need(rewritten.int("behavior") == RESTRICT, "more is dropped")?;
        let (before, after) = (original.list("objects"), rewritten.list("objects"));
        need(before.len() == after.len(), "a list has another length")?;
        let may_miss = *rewritten.field("missing_ok") == Value::True;
        for pair in before.iter().zip(after) {
            let (Some(before), Some(after)) = (pair.0.as_node(), pair.1.as_node()) else {
                return Err(Gap("not a type"));
            };
            need(after.kind == "TypeName", "not a type")?;
            self.pair(before, after);
            self.fields(before, after, &["names"])?;
            self.type_dropped(before, after, may_miss)?;
        }
        self.fields(original, rewritten, &["objects", "behavior"])
    }

    fn type_dropped(&mut self, before: &'a Node, after: &'a Node, may_miss: bool) -> Step {
        let parts = |ty: &'a Node| -> Option<Vec<&'a str>> {
            ty.list("names").iter().map(Value::as_name).collect()
        };
        let not_a_name = Gap("not a type's name");
        let (written, sent) = parts(before).zip(parts(after)).ok_or(not_a_name)?;
        let name = sent.last().copied().unwrap_or_default();
        need(written.last() == Some(&name), "another type is dropped")?;
        need(self.relations_named(name) == 0, "a type is a table's rows")?;
        let catalog = self.claims.catalog;
        let mut known = catalog.types_named(name);
        let dropped = match (known.next(), known.next()) {
            (None, _) => may_miss && sent.len() == 2 && sent.first() == Some(&"pg_temp"),
            (Some(found), None) => {
                let there = match sent.as_slice() {
                    [_] => self.claims.search_path.contains(&found.schema),
                    [schema, _] => *schema == found.schema,
                    _ => false,
                };
                there && written == sent && found.kind == TypeKind::Enum
            }
            _ => false,
        };
        need(dropped, "a type is dropped that is no enum alone")?;
        self.doubts_name(name);
        Ok(())
    }

    fn schema_of(&self, written: &'a str, name: &str) -> Option<&'a str> {
        match written {
            "" => self.means(name),
            schema => Some(schema),
        }
    }
}
