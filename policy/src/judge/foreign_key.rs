//! Foreign keys that a client makes: between lasting tables that hold nothing of a tenant.
//!
//! A check of a foreign key runs past all guards, and tells whether a row is there. So what is referred to must be open
//! to the session as the table itself is, and may be that table. A temporary table refers to nothing.

use pg_query::protobuf::{Constraint, RangeVar};

use super::{EntryId, Judge, Named, unsupported};
use crate::deny::Denial;
use crate::rules::Access;
use crate::{bind::Guard, catalog::CastContext};

/// The table that constraints are written for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Home<'n> {
    /// A temporary one.
    Session,
    /// A lasting one, of this schema and name.
    Lasting(&'n str, &'n str),
}

impl Judge<'_> {
    /// Judges a foreign key of a table whose columns the entry has.
    pub(super) fn foreign_key(
        &mut self,
        constraint: &mut Constraint,
        table: EntryId,
        home: Home<'_>,
    ) -> Result<(), Denial> {
        let Home::Lasting(schema, name) = home else {
            return Err(unsupported("a foreign key of a temporary table").hint("Leave it out."));
        };
        if constraint.fk_with_period || constraint.pk_with_period {
            return Err(unsupported("a foreign key with PERIOD"));
        }
        let Some(range) = constraint.pktable.as_mut() else {
            return Err(unsupported("a foreign key without a table"));
        };
        let own =
            range.relname == name && (range.schemaname.is_empty() || range.schemaname == schema);
        let referred = match own {
            true => self.refers_to_itself(range, schema, table)?,
            false => self.referred(range)?,
        };
        self.compares_by_known_code(&[table, referred])
    }

    /// A table may refer to itself while it is being made, when its name means nothing yet.
    fn refers_to_itself(
        &mut self,
        range: &mut RangeVar,
        schema: &str,
        table: EntryId,
    ) -> Result<EntryId, Denial> {
        if self.find_relation(schema, &range.relname).is_ok() {
            return self.referred(range);
        }
        if range.schemaname.is_empty() {
            if !self.fresh.knows_path() {
                return Err(unsupported(
                    "a table that refers to itself without its schema here",
                ));
            }
            schema.clone_into(&mut range.schemaname);
            self.named = self.named.max(Named::First);
        }
        Ok(table)
    }

    fn referred(&mut self, range: &mut RangeVar) -> Result<EntryId, Denial> {
        let relation = self.find_relation(&range.schemaname, &range.relname)?;
        let open = matches!(
            self.guarded(relation)?.guard,
            Guard::Global(Access::Read | Access::Write)
        );
        if !open {
            return Err(unsupported("a foreign key to what may be a tenant's")
                .table(format!("{}.{}", relation.schema, relation.name))
                .hint("Leave it out: its check would find rows of all tenants."));
        }
        self.unscoped_table(range, "FOREIGN KEY")
    }

    /// The server compares the columns of both sides, and converts the one to the other's type.
    fn compares_by_known_code(&self, sides: &[EntryId]) -> Result<(), Denial> {
        for (cast, function) in self.bound.catalog.calling_casts() {
            if cast.extension.is_none() && cast.context == CastContext::Implicit {
                self.allow_cast_function(function)?;
            }
        }
        let entries = sides.iter().filter_map(|side| self.entry(*side));
        let mut columns = entries.flat_map(|entry| &entry.columns);
        columns.try_for_each(|column| self.allow_comparison(column.ty))
    }
}
