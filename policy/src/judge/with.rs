//! WITH: common table expressions, their scope and their fences.

use pg_query::NodeEnum;
use pg_query::protobuf::{CommonTableExpr, CteMaterialize, SelectStmt, WithClause};

use super::names::{Column, Item, Scope, strings};
use super::output::{Output, combine};
use super::{Cte, CteId, Env, Judge, refuse_reserved, unsupported};
use crate::deny::Denial;
use crate::{rewrite, tree};

impl Judge<'_> {
    /// WITH: each expression sees those before it; with RECURSIVE all see all.
    pub(super) fn with<'e>(
        &mut self,
        clause: Option<&mut WithClause>,
        outer: Option<&Scope<'_>>,
        env: &'e Env<'e>,
    ) -> Result<Env<'e>, Denial> {
        let mut inner = Env {
            ctes: Vec::new(),
            outer: Some(env),
        };
        let Some(clause) = clause else {
            return Ok(inner);
        };
        if clause.recursive {
            for node in &clause.ctes {
                let Some(NodeEnum::CommonTableExpr(cte)) = node.node.as_ref() else {
                    continue;
                };
                let id = self.add_cte(Cte {
                    columns: Vec::new(),
                    open: true,
                    risky: true,
                    sealed: true,
                    place: i32::MAX,
                });
                inner.ctes.push((cte.ctename.clone(), id));
            }
        }
        for node in &mut clause.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = node.node.as_mut() else {
                return Err(unsupported("this kind of WITH"));
            };
            refuse_reserved(&cte.ctename)?;
            let added = self.added_columns(cte)?;
            let names: Vec<String> = strings(&cte.aliascolnames)?
                .into_iter()
                .map(str::to_owned)
                .collect();
            let place = tree::anchor_of(&cte.ctequery);
            let known = clause.recursive.then(|| inner.find(&cte.ctename)).flatten();
            let Some(query) = cte.ctequery.as_mut().and_then(|query| query.node.as_mut()) else {
                return Err(unsupported("an empty WITH"));
            };
            let modifying = !matches!(query, NodeEnum::SelectStmt(_));
            let output = match (known, &mut *query) {
                (Some(id), NodeEnum::SelectStmt(select)) if select.larg.is_some() => {
                    self.recursive(select, (id, &added), &names, outer, &inner)?
                }
                _ => self.query(query, outer, &inner)?,
            };
            let materialized = cte.ctematerialized == CteMaterialize::Always as i32;
            let mut columns = output.columns;
            name_columns(&mut columns, &names);
            columns.extend(added);
            let sealed = modifying || materialized || known.is_some() || output.sealed;
            if sealed {
                for column in &mut columns {
                    column.sealed = true;
                }
            }
            let made = Cte {
                columns,
                open: output.open,
                risky: output.risky,
                sealed,
                place,
            };
            match known.and_then(|id| self.ctes.get_mut(id)) {
                Some(place) => *place = made,
                None => {
                    let id = self.add_cte(made);
                    inner.ctes.push((cte.ctename.clone(), id));
                }
            }
        }
        Ok(inner)
    }

    /// `non-recursive UNION recursive`: the first side gives the columns that the second sees.
    fn recursive(
        &mut self,
        select: &mut SelectStmt,
        (id, added): (CteId, &[Column]),
        names: &[String],
        outer: Option<&Scope<'_>>,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let mut with = select.with_clause.take();
        let inner = self.with(with.as_mut(), outer, env)?;
        let (Some(larg), Some(rarg)) = (select.larg.as_mut(), select.rarg.as_mut()) else {
            return Err(unsupported("a set operation with one side"));
        };
        let left = self.select(larg, outer, &inner)?;
        let mut columns: Vec<Column> = left
            .columns
            .iter()
            .map(|c| Column {
                plain: true,
                tenant: None,
                ..c.clone()
            })
            .collect();
        name_columns(&mut columns, names);
        columns.extend_from_slice(added);
        if let Some(place) = self.ctes.get_mut(id) {
            place.columns = columns;
            place.open = left.open;
        }
        let right = self.select(rarg, outer, &inner)?;
        let mut output = combine(left, right);
        let label = self.output_scope(&output);
        let items = [Item::new(label)];
        let labels = Scope {
            items: &items,
            outer,
        };
        output.absorb(&self.sort_by(&mut select.sort_clause, &labels, &labels, &inner)?);
        output.absorb(&self.limits(select, outer, &inner)?);
        if !select.locking_clause.is_empty() {
            return Err(unsupported("FOR UPDATE with a set operation"));
        }
        self.fence_ctes(with.as_mut(), &inner);
        select.with_clause = with;
        Ok(output)
    }

    /// The columns that SEARCH and CYCLE add, in their order.
    fn added_columns(&mut self, cte: &mut CommonTableExpr) -> Result<Vec<Column>, Denial> {
        let mut added = Vec::new();
        let mut add = |name: &str| {
            refuse_reserved(name)?;
            added.push(Column {
                unstarred: true,
                ..Column::opaque(name)
            });
            Ok::<(), Denial>(())
        };
        if let Some(search) = cte.search_clause.as_ref() {
            strings(&search.search_col_list)?;
            add(&search.search_seq_column)?;
        }
        let Some(cycle) = cte.cycle_clause.as_mut() else {
            return Ok(added);
        };
        strings(&cycle.cycle_col_list)?;
        add(&cycle.cycle_mark_column)?;
        add(&cycle.cycle_path_column)?;
        let (nothing, env) = (
            Scope {
                items: &[],
                outer: None,
            },
            Env::default(),
        );
        for value in [&mut cycle.cycle_mark_value, &mut cycle.cycle_mark_default] {
            self.optional(value.as_mut(), &nothing, &env)?;
        }
        Ok(added)
    }

    fn add_cte(&mut self, cte: Cte) -> CteId {
        self.ctes.push(cte);
        self.ctes.len() - 1
    }

    /// Makes the CTEs of a WITH that need it fences. They are not materialised for that: the server leaves out columns
    /// that nobody reads, where the client lets it.
    pub(super) fn fence_ctes(&mut self, clause: Option<&mut WithClause>, env: &Env<'_>) {
        let Some(clause) = clause else { return };
        for node in &mut clause.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = node.node.as_mut() else {
                continue;
            };
            let id = env
                .ctes
                .iter()
                .find(|(name, _)| *name == cte.ctename)
                .map(|(_, id)| *id);
            let wanted = id.is_some_and(|id| {
                self.fenced_ctes.contains(&id) && self.cte(id).is_some_and(|cte| !cte.sealed)
            });
            let query = cte.ctequery.as_mut().and_then(|query| query.node.as_mut());
            if let (true, Some(NodeEnum::SelectStmt(select))) = (wanted, query) {
                let zero = || Box::new(rewrite::integer(0));
                select.limit_offset.get_or_insert_with(zero);
                self.rewritten();
            }
        }
    }
}

fn name_columns(columns: &mut Vec<Column>, names: &[String]) {
    for (at, name) in names.iter().enumerate() {
        match columns.get_mut(at) {
            Some(column) => column.name.clone_from(name),
            None => columns.push(Column::opaque(name)),
        }
    }
}
