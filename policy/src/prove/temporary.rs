//! Temporary relations: what is made and dropped is temporary, and is named so.
//!
//! That a name means a temporary table rests on what the server has told of the session, and on what
//! the statements before it in the message make, in the order in which PostgreSQL looks names up, worked out here again. In the rewritten text such a
//! name stands with its schema (form I7), so a server that has no such table says so, instead of
//! taking a table of somebody's with the same name.

use pg_query::protobuf::{AlterTableType, ObjectType, ViewCheckOption};

use super::ddl::RESTRICT;
use super::{Gap, Step, Walk, need};
use crate::tree::{Node, Value};

const SCHEMA: &str = "pg_temp";

/// `OBJECT_TABLE` of the grammar.
const TABLE: i64 = ObjectType::ObjectTable as i64;
/// `OBJECT_INDEX`.
const INDEX: i64 = ObjectType::ObjectIndex as i64;
/// `OBJECT_VIEW`.
const VIEW: i64 = ObjectType::ObjectView as i64;
/// `OBJECT_SEQUENCE`.
const SEQUENCE: i64 = ObjectType::ObjectSequence as i64;
/// `OBJECT_TYPE`.
const TYPE: i64 = ObjectType::ObjectType as i64;
/// `OBJECT_COLUMN`.
const COLUMN: i64 = ObjectType::ObjectColumn as i64;

/// `NO_CHECK_OPTION`.
const NO_CHECK_OPTION: i64 = ViewCheckOption::NoCheckOption as i64;

/// What ALTER TABLE may do to a temporary table.
const ALONE: &[AlterTableType] = &[
    AlterTableType::AtAddColumn,
    AlterTableType::AtDropColumn,
    AlterTableType::AtAlterColumnType,
    AlterTableType::AtColumnDefault,
    AlterTableType::AtSetNotNull,
    AlterTableType::AtDropNotNull,
    AlterTableType::AtAddConstraint,
    AlterTableType::AtDropConstraint,
];

impl<'a> Walk<'a> {
    /// The schema in which an unqualified name of a relation is found.
    pub(super) fn means(&self, name: &str) -> Option<&'a str> {
        let path = self.claims.search_path;
        let numbered = |schema: &str| schema.starts_with("pg_temp_");
        let own = self.is_own(name).then_some(SCHEMA);
        if own.is_some() && !path.iter().any(|schema| numbered(schema)) {
            return own;
        }
        let known = |schema: &str| self.is_there(schema, name);
        let system = "pg_catalog";
        if !path.iter().any(|schema| schema == system) && known(system) {
            return Some(system);
        }
        path.iter().find_map(|schema| {
            if numbered(schema) {
                own
            } else {
                known(schema).then_some(schema.as_str())
            }
        })
    }

    /// Whether a temporary relation has this name.
    pub(super) fn is_own(&self, name: &str) -> bool {
        let told = self.claims.temporaries.find(name).is_some();
        self.made.contains(name) || told && !self.gone.contains(name)
    }

    /// A relation that was taken for a temporary one is one, and is sent as one.
    pub(super) fn temporary_is_named(&self, decided: &str, sent: &str) -> Step {
        if decided != SCHEMA {
            return need(
                !sent.starts_with(SCHEMA),
                "a relation became a temporary one",
            );
        }
        need(sent == SCHEMA, "a temporary relation is not named so")
    }

    /// Whether a name that is dropped means a temporary relation. With IF EXISTS a table need not be there; which
    /// indexes there are nobody knows.
    fn may_drop(&self, name: &str, kind: i64) -> bool {
        match self.means(name) {
            Some(schema) => schema == SCHEMA,
            None => kind != INDEX && !self.is_unsure(name),
        }
    }

    /// CREATE TABLE, CREATE SEQUENCE and INTO: what is new is temporary.
    pub(super) fn created(&mut self, original: &'a Node, rewritten: &'a Node, field: &str) -> Step {
        match (original.node(field), rewritten.node(field)) {
            (Some(table), Some(there)) => {
                let schema = there.text("schemaname");
                let temporary = match schema {
                    "" => there.text("relpersistence") == "t",
                    schema => schema == SCHEMA,
                };
                let may_last = matches!(original.kind, "CreateStmt" | "CreateSeqStmt");
                if !temporary && may_last && (self.claims.ddl || !self.claims.enforce) {
                    return self.lasting_made(original, rewritten, field);
                }
                self.pair(table, there);
                self.same(table, there)?;
                need(
                    !self.claims.enforce || temporary && there.text("catalogname").is_empty(),
                    "a table is made that is not temporary",
                )?;
                if temporary {
                    self.making = Some(there.text("relname"));
                }
            }
            _ => return Err(Gap("nothing is made")),
        }
        if self.claims.enforce && original.kind == "CreateStmt" {
            let bare = ["inh_relations", "partbound", "partspec", "of_typename"];
            let bare = bare
                .iter()
                .all(|name| *rewritten.field(name) == Value::Default);
            need(bare, "a temporary table is part of another")?;
        }
        self.fields(original, rewritten, &[field])
    }

    /// CREATE VIEW: it is temporary, and a fence where it reads what is scoped.
    pub(super) fn own_view(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        if !self.claims.enforce {
            return self.fields(original, rewritten, &[]);
        }
        let plain = *rewritten.field("options") == Value::Default
            && rewritten.int("with_check_option") == NO_CHECK_OPTION;
        need(plain, "a view has options")?;
        let queries = original.node("query").zip(rewritten.node("query"));
        let (_, sent) = queries.ok_or(Gap("a view has no query"))?;
        need(sent.kind == "SelectStmt", "a view is no query")?;
        let before = self.scoped;
        self.created(original, rewritten, "view")?;
        let fenced = sent.node("limit_offset").is_some();
        need(fenced || self.scoped == before, "a view is not a fence")
    }

    /// LIKE: the structure of a relation is read, not its rows.
    pub(super) fn structure(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        match (original.node("relation"), rewritten.node("relation")) {
            (Some(table), Some(there)) => {
                self.pair(table, there);
                self.relation(table, there)?;
            }
            _ => return Err(Gap("LIKE of nothing")),
        }
        self.fields(original, rewritten, &["relation"])
    }

    /// What a statement of maintenance works on is temporary.
    pub(super) fn own_relation(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        match (original.node("relation"), rewritten.node("relation")) {
            (Some(table), Some(there)) => self.own_table(table, there)?,
            _ => return Err(Gap("a statement lacks its table")),
        }
        self.fields(original, rewritten, &["relation"])
    }

    /// TRUNCATE: all of them are temporary, or no tenant's and nothing beside them is emptied.
    pub(super) fn own_relations(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let (before, after) = (original.list("relations"), rewritten.list("relations"));
        need(before.len() == after.len(), "a list has another length")?;
        let mut lasting = false;
        for pair in before.iter().zip(after) {
            match (pair.0.as_node(), pair.1.as_node()) {
                (Some(table), Some(there)) => {
                    self.own_table(table, there)?;
                    if self.claims.enforce && there.text("schemaname") != SCHEMA {
                        self.emptied(rewritten, there)?;
                        lasting = true;
                    }
                }
                _ => return Err(Gap("not a relation")),
            }
        }
        let restricted = lasting && rewritten.int("behavior") == RESTRICT;
        let apart: &[&str] = if restricted {
            &["relations", "behavior"]
        } else {
            &["relations"]
        };
        self.fields(original, rewritten, apart)
    }

    pub(super) fn own_table(&mut self, table: &'a Node, there: &'a Node) -> Step {
        if self.claims.ddl && there.text("schemaname") != SCHEMA {
            return self.lasting(table, there);
        }
        self.pair(table, there);
        self.relation(table, there)?;
        need(
            !self.claims.enforce || there.text("schemaname") == SCHEMA,
            "a relation is not temporary",
        )
    }

    /// Behind a statement: what it has made is there, what it has dropped is not.
    pub(super) fn turn_own(&mut self) {
        for name in self.going.drain(..) {
            self.made.remove(name);
            self.gone.insert(name);
        }
        self.made.extend(self.making.take());
    }

    /// ALTER TABLE and RENAME of a temporary table; of ALTER TABLE only what reaches no other object.
    pub(super) fn own_changed(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        for command in rewritten.list("cmds") {
            let kind = command.as_node().map(|command| command.int("subtype"));
            let alone = kind.is_some_and(|kind| ALONE.iter().any(|it| *it as i64 == kind));
            need(alone, "a temporary table becomes part of another")?;
        }
        self.own_relation(original, rewritten)?;
        if rewritten.int("rename_type") == TABLE {
            self.going.push(
                original
                    .node("relation")
                    .map_or("", |table| table.text("relname")),
            );
            self.making = Some(rewritten.text("newname"));
        }
        Ok(())
    }

    /// COMMENT: on a temporary table or a column of it.
    pub(super) fn commented(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        if !self.claims.enforce {
            return self.fields(original, rewritten, &[]);
        }
        let before = names(original.field("object"))?;
        let sent = names(rewritten.field("object"))?;
        let columns = match rewritten.int("objtype") {
            TABLE => 0,
            COLUMN => 1,
            _ => return Err(Gap("a comment on what is not temporary")),
        };
        if sent.first().is_some_and(|schema| *schema != SCHEMA) {
            return self.described((original, rewritten), (&before, &sent), columns);
        }
        let (Some((SCHEMA, sent)), Some(at)) = (
            sent.split_first().map(|(schema, sent)| (*schema, sent)),
            before.len().checked_sub(columns + 1),
        ) else {
            return Err(Gap("a comment on what is not temporary"));
        };
        let (schema, named) = before.split_at_checked(at).unwrap_or((&[], &[]));
        let table = named.first().copied().unwrap_or_default();
        let mine = match schema {
            [] => self.means(table) == Some(SCHEMA),
            [SCHEMA] => true,
            _ => false,
        };
        need(mine && named == sent, "a comment on another table")?;
        self.fields(original, rewritten, &["object"])
    }

    /// DROP TABLE of temporary tables, or with IF EXISTS of what does not exist.
    pub(super) fn dropped(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        if !self.claims.enforce {
            return self.fields(original, rewritten, &[]);
        }
        let kind = rewritten.int("remove_type");
        let own = matches!(kind, TABLE | INDEX | VIEW | SEQUENCE | TYPE);
        need(own, "not a table")?;
        if kind == TYPE {
            return self.types_dropped(original, rewritten);
        }
        let named = rewritten.list("objects").first().map(names).transpose()?;
        let temporary = named.is_some_and(|name| name.first() == Some(&SCHEMA));
        if self.claims.ddl && !temporary && kind == TABLE {
            return self.lasting_dropped(original, rewritten);
        }
        let (before, after) = (original.list("objects"), rewritten.list("objects"));
        need(before.len() == after.len(), "a list has another length")?;
        for (before, after) in before.iter().zip(after) {
            let sent = names(after)?;
            let [SCHEMA, sent] = sent.as_slice() else {
                return Err(Gap("a dropped table is not named as temporary"));
            };
            let mine = match names(before)?.as_slice() {
                [SCHEMA, name] => name == sent,
                [schema, name] if self.claims.ddl => {
                    let free = !schema.starts_with("pg_") && !self.is_own(name);
                    let absent = free && !self.may_be_there(schema, name);
                    let may = *rewritten.field("missing_ok") == Value::True;
                    name == sent && may && absent
                }
                [name] => name == sent && self.may_drop(name, kind),
                _ => false,
            };
            need(mine, "another table is dropped")?;
            self.going.push(sent);
        }
        self.fields(original, rewritten, &["objects"])
    }
}

/// The parts of a name in a list.
pub(super) fn names(value: &Value) -> Result<Vec<&str>, Gap> {
    let list = value.as_node().ok_or(Gap("not a name"))?.list("items");
    let parts: Option<Vec<&str>> = list.iter().map(Value::as_name).collect();
    parts.ok_or(Gap("not a name"))
}
