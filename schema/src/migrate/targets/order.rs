//! The order of the targets: by name, parents before their children.
//!
//! Where tables refer to each other in a circle, it is entered at one whose rows get their tenant
//! from elsewhere, so that the others get theirs from it; else at its first name.

use std::collections::{HashMap, HashSet};

use pgwarden_policy::catalog::Oid;

use super::Finder;
use crate::audit::snapshot::Relation;

/// Each target's parents.
type Parents<'a> = HashMap<Oid, Vec<&'a Relation>>;

impl<'a> Finder<'a, '_> {
    /// The chosen tables.
    pub(super) fn ordered(&self) -> Vec<&'a Relation> {
        let chosen = self.facts.tables();
        let chosen = chosen.filter(|it| self.columns.contains_key(&it.oid));
        let chosen: Vec<&Relation> = chosen.collect();
        let mut parents: Parents<'a> = HashMap::new();
        for table in &chosen {
            parents.insert(table.oid, self.chosen_parents(table));
        }
        for table in &chosen {
            if let Some(outside) = self.outside(table, &parents) {
                parents.insert(table.oid, outside);
            }
        }
        let mut ordered = Vec::new();
        let mut seen = HashSet::new();
        for table in chosen {
            visit(table, &parents, &mut seen, &mut ordered);
        }
        ordered
    }

    fn chosen_parents(&self, table: &'a Relation) -> Vec<&'a Relation> {
        let referred = self.parents(table).into_iter().map(|it| it.0);
        let inherited = table
            .parents
            .iter()
            .filter_map(|it| self.facts.relation(*it));
        referred
            .rev()
            .chain(inherited)
            .filter(|it| self.columns.contains_key(&it.oid))
            .collect()
    }

    /// The parents that don't lead back to the table, if its rows need no others.
    fn outside(&self, table: &Relation, parents: &Parents<'a>) -> Option<Vec<&'a Relation>> {
        let all = parents.get(&table.oid)?;
        let back = |it: &&&Relation| leads_to(it, table, parents);
        let outside: Vec<&Relation> = all.iter().filter(|it| !back(it)).copied().collect();
        let suffices = !outside.is_empty() || self.has_own(table);
        (outside.len() < all.len() && suffices).then_some(outside)
    }

    /// Whether rows have a tenant already, or a user who says so.
    fn has_own(&self, table: &Relation) -> bool {
        let column = self.columns.get(&table.oid);
        let user = self.entry(table).and_then(|it| it.user.as_deref());
        let user = user.unwrap_or(&self.migration.user_column);
        column.is_some_and(|it| table.column(it).is_some())
            || (self.migration.users.is_some() && table.column(user).is_some())
    }
}

/// Whether a table's parents, or theirs, are another.
fn leads_to(from: &Relation, to: &Relation, parents: &Parents<'_>) -> bool {
    let mut seen = HashSet::new();
    let mut stack = vec![from.oid];
    while let Some(oid) = stack.pop() {
        if oid == to.oid {
            return true;
        }
        if seen.insert(oid) {
            stack.extend(parents.get(&oid).into_iter().flatten().map(|it| it.oid));
        }
    }
    false
}

fn visit<'a>(
    table: &'a Relation,
    parents: &Parents<'a>,
    seen: &mut HashSet<Oid>,
    ordered: &mut Vec<&'a Relation>,
) {
    // A stack of its own: a chain of references may be long.
    let mut stack = vec![(table, false)];
    while let Some((table, finished)) = stack.pop() {
        if finished {
            ordered.push(table);
        } else if seen.insert(table.oid) {
            stack.push((table, true));
            let before = parents.get(&table.oid).into_iter().flatten();
            let before = before.filter(|it| !seen.contains(&it.oid));
            stack.extend(before.map(|it| (*it, false)));
        }
    }
}
