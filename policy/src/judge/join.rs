//! Joins: which side an outer join may extend, and the columns that USING and NATURAL merge.

use pg_query::NodeEnum;
use pg_query::protobuf::{JoinExpr, JoinType};

use super::barrier::Clause;
use super::from::Level;
use super::names::{Column, Item, Scope, Ty, strings};
use super::operation::Operands;
use super::{Entry, EntryId, EntryKind, Env, Judge, refuse_reserved, unsupported};
use super::{compare, full_join};
use crate::deny::Denial;
use crate::spelling;
use crate::{rewrite, tree};

impl Judge<'_> {
    pub(super) fn join(
        &mut self,
        join: &mut JoinExpr,
        level: &mut Level,
        left: &[Item],
        outer: Option<&Scope<'_>>,
        env: &Env<'_>,
        in_where: bool,
    ) -> Result<Vec<Item>, Denial> {
        let kind = JoinType::try_from(join.jointype).unwrap_or(JoinType::Undefined);
        let (keep_left, keep_right) = match kind {
            JoinType::JoinInner => (true, true),
            JoinType::JoinLeft => (true, false),
            JoinType::JoinRight => (false, true),
            JoinType::JoinFull => (false, false),
            _ => return Err(unsupported("this kind of join")),
        };
        level.outer_joined |= !(keep_left && keep_right);
        let visible = in_where && join.alias.is_none();
        let begins = match join.alias {
            Some(_) => tree::anchor_of(&*join),
            None => -1,
        };
        let reads = level.reads.len();
        let (Some(larg), Some(rarg)) = (join.larg.as_mut(), join.rarg.as_mut()) else {
            return Err(unsupported("a join with one side"));
        };
        let mut lefts = self.range_item(larg, level, left, outer, env, visible && keep_left)?;
        let mut seen = left.to_vec();
        seen.extend(lefts.iter().cloned());
        let mut rights = self.range_item(rarg, level, &seen, outer, env, visible && keep_right)?;
        let shared = self.shared_columns(join, &lefts, &rights)?;
        let narrowed = narrowed(kind, &lefts, &rights);
        let mut items = Vec::new();
        let mut columns = Vec::new();
        let mut merged_entries = Vec::new();
        if !shared.is_empty() {
            let merged = self.merge_columns(&shared, &mut lefts, &mut rights)?;
            self.note_merged(merged.entry, &narrowed);
            let merged_columns = self.entry(merged.entry).map(|it| it.columns.clone());
            columns = merged_columns.unwrap_or_default();
            merged_entries = self.merged_of(merged.entry);
            items.push(merged);
        }
        if let Some(alias) = join.join_using_alias.as_mut() {
            refuse_reserved(&alias.aliasname)?;
            let kind = EntryKind::Merged(merged_entries);
            let name = alias.aliasname.clone();
            spelling::quote(&mut alias.aliasname);
            let entry = Entry {
                name,
                schema: None,
                columns,
                open: false,
                kind,
            };
            let hidden = Item {
                entry: self.add_entry(entry),
                merged: shared.clone(),
            };
            items.push(hidden);
        }
        items.append(&mut lefts);
        items.append(&mut rights);
        let scope = Scope {
            items: &items,
            outer,
        };
        let clause = match kind {
            JoinType::JoinFull => Clause::Full {
                joinable: full_join::has_equality(join.quals.as_deref_mut()),
            },
            _ => Clause::On(&narrowed),
        };
        let condition = self.quals(&mut join.quals, &scope, env, clause)?;
        level.depends.extend(condition.reads);
        match join.alias.as_ref() {
            None => Ok(items),
            Some(alias) => {
                let mut read = level.reads.iter().skip(reads);
                let beside = read.any(|id| left.iter().any(|item| item.entry == *id));
                let item = self.join_alias(alias, &items, (begins, beside), level)?;
                Ok(vec![item])
            }
        }
    }

    /// The columns that USING or NATURAL joins by.
    fn shared_columns(
        &self,
        join: &JoinExpr,
        lefts: &[Item],
        rights: &[Item],
    ) -> Result<Vec<String>, Denial> {
        if !join.is_natural {
            return Ok(strings(&join.using_clause)?
                .into_iter()
                .map(str::to_owned)
                .collect());
        }
        let (left, open_left) = self.star(
            None,
            &Scope {
                items: lefts,
                outer: None,
            },
        )?;
        let (right, open_right) = self.star(
            None,
            &Scope {
                items: rights,
                outer: None,
            },
        )?;
        if open_left || open_right {
            return Err(unsupported(
                "NATURAL JOIN with a function whose columns are not known",
            ));
        }
        let names = left.into_iter().map(|column| column.name);
        Ok(names
            .filter(|name| right.iter().any(|column| column.name == *name))
            .collect())
    }

    /// Merges the shared columns; their comparison must not leak, as no barrier fits there.
    fn merge_columns(
        &mut self,
        shared: &[String],
        lefts: &mut [Item],
        rights: &mut [Item],
    ) -> Result<Item, Denial> {
        let mut merged = Vec::new();
        let mut columns = Vec::new();
        for name in shared {
            let left = self.merged_side(name, lefts)?;
            let right = self.merged_side(name, rights)?;
            let plain = left.plain && right.plain;
            let operands = Operands::new(left.ty, right.ty);
            let own = self.comparison("=", &[operands])?;
            self.unify(left.ty, right.ty)?;
            let safe = plain && own && compare::leakproof(&self.bound.catalog, left.ty, right.ty);
            let mut entries = left.entries;
            entries.extend(right.entries);
            if !safe {
                self.refuse_unsafe_merge(name, &entries)?;
            }
            let ty = if left.ty == right.ty {
                left.ty
            } else {
                Ty::Unknown
            };
            columns.push(Column {
                ty,
                plain,
                ..Column::opaque(name)
            });
            merged.push((name.clone(), entries));
        }
        for item in lefts.iter_mut().chain(rights.iter_mut()) {
            item.merged.extend(shared.iter().cloned());
        }
        let kind = EntryKind::Merged(merged);
        let entry = Entry {
            name: String::new(),
            schema: None,
            columns,
            open: false,
            kind,
        };
        Ok(Item::new(self.add_entry(entry)))
    }

    /// The entries that reading each of the merged columns reads.
    fn merged_of(&self, id: EntryId) -> Vec<(String, Vec<EntryId>)> {
        match self.entry(id).map(|entry| &entry.kind) {
            Some(EntryKind::Merged(merged)) => merged.clone(),
            _ => Vec::new(),
        }
    }

    fn merged_side(&self, name: &str, items: &[Item]) -> Result<super::names::Reading, Denial> {
        let field = rewrite::column(&[name]);
        match field.node.as_ref() {
            Some(NodeEnum::ColumnRef(reference)) => {
                self.resolve(reference, &Scope { items, outer: None })
            }
            _ => Err(unsupported("this kind of USING")),
        }
    }

    fn refuse_unsafe_merge(&mut self, name: &str, entries: &[EntryId]) -> Result<(), Denial> {
        for id in entries {
            match self.entry(*id).map(|entry| &entry.kind) {
                Some(EntryKind::Derived {
                    risky: true,
                    sealed: false,
                }) => {
                    self.fenced.insert(*id);
                }
                Some(EntryKind::Cte { cte }) => {
                    let cte = *cte;
                    self.fenced_ctes.insert(cte);
                }
                Some(EntryKind::Join { .. }) => self.fence_join(*id)?,
                Some(EntryKind::Scoped { .. } | EntryKind::Merged(_)) => {
                    return Err(unsupported(&format!(
                        "a join USING column \"{name}\", whose comparison may raise an error,"
                    ))
                    .hint("Write the condition with ON."));
                }
                Some(EntryKind::Derived { .. } | EntryKind::Free { .. }) | None => {}
            }
        }
        Ok(())
    }
}

/// The relations whose rows the condition of a join may leave out.
fn narrowed(kind: JoinType, lefts: &[Item], rights: &[Item]) -> Vec<EntryId> {
    let entries = |items: &[Item]| items.iter().map(|item| item.entry).collect::<Vec<_>>();
    match kind {
        JoinType::JoinInner => [entries(lefts), entries(rights)].concat(),
        JoinType::JoinLeft => entries(rights),
        JoinType::JoinRight => entries(lefts),
        _ => Vec::new(),
    }
}
