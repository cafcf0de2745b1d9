//! RETURNING, and the row before and after that PostgreSQL 18 has there.
//!
//! What it names is there only for rows that were written, which the tenant's predicate admitted and
//! WITH CHECK let through: `old` and `new` have nothing to guard, and subqueries need no predicate over the
//! rows around, as little as those over groups (`groups.rs`). It would be wrong, too: where MERGE changes what no row of its source
//! matches, the tenant column of the source is NULL.

use pg_query::NodeEnum;
use pg_query::protobuf::{ReturningClause, ReturningOption, ReturningOptionKind};

use super::names::{Column, Item, SYSTEM_COLUMNS, Scope};
use super::output::Output;
use super::{Entry, EntryId, EntryKind, Env, Judge, refuse_reserved, unsupported};
use crate::deny::Denial;

/// The first version whose RETURNING tells the row before and after.
const TELLS_BOTH: u32 = 180_000;

impl Judge<'_> {
    /// Judges RETURNING of a write to `target`.
    pub(super) fn returning(
        &mut self,
        clause: Option<&mut ReturningClause>,
        target: EntryId,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let Some(clause) = clause else {
            return Ok(Output::default());
        };
        let mut items = scope.items.to_vec();
        if self.bound.catalog.parts().server_version_num >= TELLS_BOTH {
            for (option, default) in [
                (ReturningOptionKind::ReturningOptionOld, "old"),
                (ReturningOptionKind::ReturningOptionNew, "new"),
            ] {
                let name = chosen_name(clause, option)?;
                // A relation of that name comes first, unless another is chosen.
                if name.is_some() || self.find_item(None, default, &level(scope)).is_none() {
                    items.push(self.version_of(target, name.unwrap_or(default)));
                }
            }
        } else if !clause.options.is_empty() {
            return Err(unsupported("RETURNING WITH (OLD AS, NEW AS)"));
        }
        let scope = Scope {
            items: &items,
            outer: scope.outer,
        };
        let written: Vec<EntryId> = items.iter().map(|item| item.entry).collect();
        self.targets_over(&mut clause.exprs, &written, &scope, env)
    }

    /// The row before or after: its columns are named by its name only, and `*` has none of them.
    fn version_of(&mut self, target: EntryId, name: &str) -> Item {
        let columns = self.entry(target).map(|entry| entry.columns.clone());
        let mut columns: Vec<Column> = columns.unwrap_or_default();
        columns.iter_mut().for_each(|column| column.tenant = None);
        let named = columns.iter().map(|column| column.name.clone());
        let system = SYSTEM_COLUMNS.iter().map(|name| (*name).to_owned());
        let merged = named.chain(system).collect();
        let entry = self.add_entry(Entry {
            name: name.to_owned(),
            schema: None,
            columns,
            open: false,
            kind: EntryKind::Free { writable: true },
        });
        Item { entry, merged }
    }
}

/// The name that `WITH (OLD AS …)` chooses.
fn chosen_name(
    clause: &ReturningClause,
    wanted: ReturningOptionKind,
) -> Result<Option<&str>, Denial> {
    let mut chosen = None;
    for option in &clause.options {
        let Some(NodeEnum::ReturningOption(ReturningOption { option, value, .. })) =
            option.node.as_ref()
        else {
            return Err(unsupported("this option of RETURNING"));
        };
        refuse_reserved(value)?;
        if *option == wanted as i32 {
            chosen = Some(value.as_str());
        }
    }
    Ok(chosen)
}

fn level<'s>(scope: &Scope<'s>) -> Scope<'s> {
    Scope {
        items: scope.items,
        outer: None,
    }
}
