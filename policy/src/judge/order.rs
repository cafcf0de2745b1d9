//! What rows are ordered by: ORDER BY, also of aggregates, and windows.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SortBy, WindowDef};

use super::expression::Facts;
use super::names::{Scope, Ty};
use super::operation::Operands;
use super::{Env, Judge, unsupported};
use crate::deny::Denial;
use crate::spelling;

impl Judge<'_> {
    /// ORDER BY items.
    pub(super) fn sort(
        &mut self,
        items: &mut [Node],
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let mut facts = Facts::default();
        for item in items {
            let Some(NodeEnum::SortBy(sort)) = item.node.as_mut() else {
                return Err(unsupported("this kind of ORDER BY"));
            };
            let sorted = self.optional(sort.node.as_mut(), scope, env)?;
            self.sort_operator(sort, sorted.ty)?;
            facts.absorb(&sorted);
        }
        Ok(facts)
    }

    /// `ORDER BY … USING <`.
    pub(super) fn sort_operator(&self, sort: &SortBy, ty: Ty) -> Result<(), Denial> {
        if sort.use_op.is_empty() {
            return Ok(());
        }
        self.operator(&sort.use_op, Operands::new(ty, ty)).map(drop)
    }

    /// An OVER clause or an item of WINDOW.
    pub(super) fn window(
        &mut self,
        window: &mut WindowDef,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        spelling::quote(&mut window.name);
        let mut facts = self.expressions(&mut window.partition_clause, scope, env)?;
        facts.absorb(&self.sort(&mut window.order_clause, scope, env)?);
        facts.absorb(&self.optional(window.start_offset.as_mut(), scope, env)?);
        facts.absorb(&self.optional(window.end_offset.as_mut(), scope, env)?);
        Ok(facts)
    }
}
