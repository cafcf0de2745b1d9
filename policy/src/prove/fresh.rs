//! What the statements of a message have done to lasting relations, for those behind: worked out here again, from the
//! rewritten tree alone.
//!
//! A table is there behind the CREATE TABLE that is sent with its schema and lists its columns; what was dropped or
//! renamed is not. Of all else that is made, and of everything behind the end of a transaction, ROLLBACK TO or
//! CALL, nothing is believed: its name means nothing.

use std::collections::HashSet;

use pg_query::protobuf::TransactionStmtKind;

use super::{Step, Walk, need};
use crate::tree::{Node, Value};

/// Statements behind which what was made and dropped is as it was.
const KEEPING: &[TransactionStmtKind] = &[
    TransactionStmtKind::TransStmtBegin,
    TransactionStmtKind::TransStmtStart,
    TransactionStmtKind::TransStmtSavepoint,
    TransactionStmtKind::TransStmtRelease,
];

/// A relation's schema and name.
type Named<'a> = (&'a str, &'a str);

#[derive(Default)]
pub(super) struct Fresh<'a> {
    made: HashSet<Named<'a>>,
    gone: HashSet<Named<'a>>,
    unsure: HashSet<&'a str>,
    /// The table that the statement makes that is walked.
    making: Option<Named<'a>>,
    /// What the statement that is walked does.
    turning: Vec<Turn<'a>>,
}

enum Turn<'a> {
    Make(Named<'a>),
    Drop(Named<'a>),
    Doubt(&'a str),
}

impl<'a> Walk<'a> {
    /// Whether a relation is known to be in a schema now.
    pub(super) fn is_there(&self, schema: &str, name: &str) -> bool {
        !self.fresh.unsure.contains(name) && self.is_known(schema, name)
    }

    /// Whether a relation could be in a schema now, by all that is known.
    pub(super) fn may_be_there(&self, schema: &str, name: &str) -> bool {
        self.fresh.unsure.contains(name) || self.is_known(schema, name)
    }

    fn is_known(&self, schema: &str, name: &str) -> bool {
        let known = self.claims.catalog.relation(schema, name).is_some();
        self.is_made(schema, name) || known && !self.fresh.gone.contains(&(schema, name))
    }

    /// Whether the message has made this table, so that nobody else has anything in it.
    pub(super) fn is_made(&self, schema: &str, name: &str) -> bool {
        self.fresh.made.contains(&(schema, name))
    }

    /// Whether nobody can say what a name means behind what the message has done.
    pub(super) fn is_unsure(&self, name: &str) -> bool {
        self.fresh.unsure.contains(name)
    }

    /// How many relations have this name.
    pub(super) fn relations_named(&self, name: &str) -> usize {
        let known = self.claims.catalog.parts().relations.iter();
        let known = known
            .filter(|it| it.name == name && !self.fresh.gone.contains(&(it.schema.as_str(), name)));
        let made = self.fresh.made.iter().filter(|(_, it)| *it == name);
        known.count()
            + made.count()
            + usize::from(self.fresh.unsure.contains(name))
            + usize::from(self.is_own(name))
    }

    /// The statement makes a relation; `plainly` a table of which everything is written.
    pub(super) fn makes_lasting(&mut self, there: &'a Node, plainly: bool) {
        let (schema, name) = (there.text("schemaname"), there.text("relname"));
        self.fresh.making = Some((schema, name));
        self.fresh
            .turning
            .push(match plainly && !schema.is_empty() {
                true => Turn::Make((schema, name)),
                false => Turn::Doubt(name),
            });
    }

    /// Whether a name means the table that the statement makes. Nothing else has it, in whatever schema.
    pub(super) fn is_being_made(&self, there: &Node) -> bool {
        let (schema, name) = (there.text("schemaname"), there.text("relname"));
        self.fresh
            .making
            .is_some_and(|making| making.1 == name && (schema.is_empty() || making.0 == schema))
    }

    /// The statement drops a relation.
    pub(super) fn drops_lasting(&mut self, schema: &'a str, name: &'a str) {
        self.fresh.turning.push(Turn::Drop((schema, name)));
    }

    /// Nobody can say what a name means behind the statement.
    pub(super) fn doubts_name(&mut self, name: &'a str) {
        self.fresh.turning.push(Turn::Doubt(name));
    }

    /// The statement gives a relation another name.
    pub(super) fn renames_lasting(&mut self, schema: &'a str, name: &'a str, to: &'a str) {
        let made = self.is_made(schema, name);
        self.drops_lasting(schema, name);
        self.fresh.turning.push(match made {
            true => Turn::Make((schema, to)),
            false => Turn::Doubt(to),
        });
    }

    /// Behind a statement.
    pub(super) fn turn_lasting(&mut self, statement: &'a Node) {
        let fresh = &mut self.fresh;
        fresh.making = None;
        for turn in fresh.turning.drain(..) {
            match turn {
                Turn::Make(named) => {
                    fresh.made.insert(named);
                }
                Turn::Drop(named) => {
                    fresh.made.remove(&named);
                    fresh.gone.insert(named);
                }
                Turn::Doubt(name) => {
                    fresh.unsure.insert(name);
                }
            }
        }
        if statement.node("stmt").is_none_or(undoes) {
            let made = fresh.made.drain();
            let names = made.chain(fresh.gone.drain()).map(|(_, name)| name);
            fresh.unsure.extend(names);
        }
    }

    /// A relation that is no temporary one is there, and nobody's where the message has made it.
    pub(super) fn lasting_is_there(&self, schema: &str, name: &str, scoped: bool) -> Step {
        if schema == "pg_temp" {
            return Ok(());
        }
        need(self.is_there(schema, name), "a relation is not there")?;
        let made = self.is_made(schema, name);
        need(
            !(made && scoped),
            "a table that is made just now is a tenant's",
        )?;
        need(
            !(made && self.in_view),
            "a view reads what is made just now",
        )
    }
}

/// A CREATE TABLE that has its columns in its text, and makes the table or fails.
pub(super) fn is_plain(create: &Node) -> bool {
    let bare = [
        "if_not_exists",
        "inh_relations",
        "partbound",
        "partspec",
        "of_typename",
    ];
    let listed = |element: &Value| {
        let element = element.as_node();
        element.is_some_and(|it| matches!(it.kind, "ColumnDef" | "Constraint"))
    };
    create.kind == "CreateStmt"
        && bare
            .iter()
            .all(|name| *create.field(name) == Value::Default)
        && create.list("table_elts").iter().all(listed)
}

fn undoes(statement: &Node) -> bool {
    match statement.kind {
        "TransactionStmt" => {
            let kind = statement.int("kind");
            !KEEPING.iter().any(|it| *it as i64 == kind)
        }
        "DiscardStmt" | "CallStmt" => true,
        _ => false,
    }
}
