//! The lasting tables that a message makes, changes and drops, for the statements behind in the same message.
//!
//! Behind a plain CREATE TABLE the table is there, it is this transaction's own, and it has the columns of its
//! text; behind a DROP nothing has the name, since nothing else had it. It is guarded as a table that the policy
//! has never heard of. What is not known so well (IF NOT EXISTS may have found another's table, LIKE copies what the
//! snapshot says, the end of a transaction may have undone it) is *unclear*: its name is refused up to the
//! end of the message, in whatever schema it is looked up. Of an enum only the name is known, of a sequence that it gives
//! numbers: neither is found as a relation. What is made is sent with its schema, so it stands where the
//! statements behind look for it, or the message fails.

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnDef, CreateStmt, RangeVar, TransactionStmtKind};

use super::names::{Ty, strings};
use super::relation::made_in_this_message;
use super::{EntryId, Judge, made};
use crate::bind::Guarded;
use crate::catalog::{Catalog, NO_NUMBER, Oid, Relation};
use crate::deny::Denial;
use crate::temporary::{self, Kind, Temporary};

/// What a message has done to lasting relations so far.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    made: Vec<Relation>,
    /// Schema and name of what was there and is no more.
    gone: Vec<(String, String)>,
    /// Enums that were made: schema and name. They have no number yet, and nobody's code knows them.
    enums: Vec<(String, String)>,
    /// Sequences that were made, of which nothing but numbers is taken.
    sequences: Vec<(String, String)>,
    /// Names of which only the server could tell what they mean.
    unclear: Vec<String>,
    /// A transaction has ended or gone back, and a `SET LOCAL search_path` with it.
    turned: bool,
}

impl Fresh {
    /// What a name means in a schema.
    pub(super) fn find<'a>(
        &'a self,
        catalog: &'a Catalog,
        schema: &str,
        name: &str,
    ) -> Option<&'a Relation> {
        let known = || catalog.relation(schema, name);
        self.made(schema, name)
            .or_else(|| (!self.is_gone(schema, name)).then(known).flatten())
    }

    fn made(&self, schema: &str, name: &str) -> Option<&Relation> {
        let mut made = self.made.iter();
        made.find(|it| it.name == name && it.schema == schema)
    }

    /// Whether the path is still the one that the session told of.
    pub(super) fn knows_path(&self) -> bool {
        !self.turned
    }

    pub(super) fn is_made(&self, schema: &str, name: &str) -> bool {
        self.made(schema, name).is_some()
    }

    pub(super) fn is_gone(&self, schema: &str, name: &str) -> bool {
        let mut gone = self.gone.iter();
        gone.any(|(of, it)| it == name && of == schema)
    }

    /// Whether a type's name may mean the rows of what the message has made or dropped.
    pub(super) fn shadows_type(&self, name: &str) -> bool {
        let made = self.made.iter().map(|it| &it.name);
        let gone = self.gone.iter().map(|(_, name)| name);
        let mut names = made.chain(gone).chain(&self.unclear);
        names.any(|of| temporary::may_name_rows(name, of))
    }

    /// An enum is there, under a name that was nobody's in whatever schema.
    pub(super) fn makes_enum(&mut self, schema: &str, name: &str) {
        self.enums.push((schema.to_owned(), name.to_owned()));
    }

    /// A sequence is there, under a name that was nobody's in whatever schema.
    pub(super) fn makes_sequence(&mut self, schema: &str, name: &str) {
        self.sequences.push((schema.to_owned(), name.to_owned()));
    }

    /// The schema of the sequence that a name means, if the message has made it.
    pub(super) fn sequence(&self, schema: Option<&str>, name: &str) -> Option<&str> {
        let mut made = self.sequences.iter();
        let found = made.find(|(of, it)| it == name && schema.is_none_or(|schema| schema == of));
        found.map(|(schema, _)| schema.as_str())
    }

    /// Whether a name means an enum that the message has made. Without a schema it can mean nothing else.
    pub(super) fn is_enum(&self, schema: Option<&str>, name: &str) -> bool {
        let mut enums = self.enums.iter();
        enums.any(|(of, it)| it == name && schema.is_none_or(|schema| schema == of))
    }

    /// Refuses what only the server could tell.
    pub(super) fn refuse_unclear(&self, name: &str) -> Result<(), Denial> {
        match self.unclear.iter().any(|it| it == name) {
            true => Err(made_in_this_message(name)),
            false => Ok(()),
        }
    }

    /// How many relations have this name, in whatever schema.
    pub(super) fn named(&self, catalog: &Catalog, name: &str) -> usize {
        let known = catalog.parts().relations.iter();
        let known = known.filter(|it| it.name == name && !self.is_gone(&it.schema, name));
        let unclear = self.unclear.iter().filter(|it| *it == name);
        let made = self.made.iter().filter(|it| it.name == name);
        known.count() + unclear.count() + made.count()
    }

    /// A name that is taken now, by what is not known.
    pub(super) fn takes(&mut self, name: &str) {
        self.unclear.push(name.to_owned());
    }

    fn makes(&mut self, relation: Relation) {
        self.unclear.retain(|it| *it != relation.name);
        self.made.push(relation);
    }

    /// The relation is no more.
    pub(super) fn drops(&mut self, schema: &str, name: &str) {
        self.made
            .retain(|it| it.name != name || it.schema != schema);
        self.gone.push((schema.to_owned(), name.to_owned()));
    }

    /// The relation has another name, which was nobody's.
    pub(super) fn renames(&mut self, schema: &str, name: &str, to: &str) {
        let made = self.made(schema, name).cloned();
        self.drops(schema, name);
        match made {
            Some(made) => self.makes(Relation {
                name: to.to_owned(),
                ..made
            }),
            None => self.takes(to),
        }
    }

    /// Nobody knows any more what was done.
    fn doubts(&mut self) {
        self.turned = true;
        let made = self.made.drain(..).map(|it| it.name);
        // Their names are unclear already.
        self.sequences.clear();
        let gone = self.gone.drain(..).chain(self.enums.drain(..));
        self.unclear.extend(made.chain(gone.map(|(_, name)| name)));
    }

    /// A made relation, to be changed.
    fn change(&mut self, schema: &str, name: &str) -> Option<&mut Relation> {
        let mut made = self.made.iter_mut();
        made.find(|it| it.name == name && it.schema == schema)
    }
}

impl Judge<'_> {
    /// How a relation is guarded, one of the message's own included.
    pub(super) fn guarded<'a>(&'a self, relation: &'a Relation) -> Result<&'a Guarded, Denial> {
        match self.fresh.made(&relation.schema, &relation.name) {
            Some(_) => self.bound.stranger(relation),
            None => self.bound.guarded(relation),
        }
    }

    /// A table is there for the statements that follow, if its columns are known.
    pub(super) fn makes_lasting(&mut self, create: &CreateStmt, schema: &str, table: EntryId) {
        let plain = |range: &&RangeVar| !create.if_not_exists && !range.schemaname.is_empty();
        let Some(range) = create.relation.as_ref().filter(plain) else {
            return;
        };
        let entry = self.entry(table);
        let number = |definition: &ColumnDef, ty| self.lasting_number(definition, ty);
        let columns = entry.and_then(|it| made::told(&it.columns, &create.table_elts, number));
        let Some(columns) = columns else {
            return;
        };
        let made = temporary::relation(Temporary {
            name: range.relname.clone(),
            kind: Kind::Table,
            columns,
        });
        self.fresh.makes(Relation {
            schema: schema.to_owned(),
            unlogged: range.relpersistence == "u",
            ..made
        });
    }

    /// A lasting table of the message's own has one more column; any other's are as the catalogue has them.
    pub(super) fn adds_column(&mut self, of: (&str, &str), definition: &ColumnDef, ty: Ty) {
        let (schema, name) = of;
        let column = &definition.colname;
        let number = self.lasting_number(definition, ty);
        let Some(relation) = self.fresh.change(schema, name) else {
            return;
        };
        if relation.column(column).is_some() {
            return;
        }
        match number {
            Some(oid) => {
                let generated = made::is_generated(definition);
                temporary::add_column(relation, (column.clone(), oid, generated));
            }
            None => {
                self.fresh.drops(schema, name);
                self.fresh.takes(name);
            }
        }
    }

    /// A column's type, where it is known: an enum of the message's own has no number yet.
    fn lasting_number(&self, definition: &ColumnDef, ty: Ty) -> Option<Oid> {
        let name = definition.type_name.as_ref()?;
        match self.is_made_enum(&strings(&name.names).ok()?) {
            true => Some(NO_NUMBER),
            false => made::known(ty),
        }
    }

    /// Whether a type's name means an enum that the message has made.
    pub(super) fn is_made_enum(&self, parts: &[&str]) -> bool {
        match parts {
            [name] => {
                let shadowed = self.temporaries.shadows_type(name) || self.fresh.shadows_type(name);
                !shadowed && self.fresh.is_enum(None, name)
            }
            [schema, name] => self.fresh.is_enum(Some(schema), name),
            _ => false,
        }
    }

    /// Behind the end of a transaction, and behind ROLLBACK TO, what the message has done may be undone; a
    /// procedure may do what it likes.
    pub(super) fn doubt_fresh(&mut self, after: &NodeEnum) {
        if may_undo(after) || matches!(after, NodeEnum::CallStmt(_)) {
            self.fresh.doubts();
        }
    }
}

/// Whether a statement may undo what those before it did.
pub(super) fn may_undo(statement: &NodeEnum) -> bool {
    match statement {
        NodeEnum::TransactionStmt(transaction) => !matches!(
            TransactionStmtKind::try_from(transaction.kind),
            Ok(TransactionStmtKind::TransStmtBegin
                | TransactionStmtKind::TransStmtStart
                | TransactionStmtKind::TransStmtSavepoint
                | TransactionStmtKind::TransStmtRelease)
        ),
        NodeEnum::DiscardStmt(_) => true,
        _ => false,
    }
}
