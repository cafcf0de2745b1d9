//! Subqueries in expressions: what they read of the query around, and what their test compares.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SubLink, SubLinkType};

use super::compare;
use super::expression::{Facts, computed};
use super::names::{Scope, Ty};
use super::operation::Operands;
use super::output::Output;
use super::{EntryId, Env, Judge, unsupported};
use crate::deny::Denial;
use crate::{rewrite, tree};

/// Makes a query that has no OFFSET a fence.
fn fence(query: Option<&mut Box<Node>>) {
    if let Some(NodeEnum::SelectStmt(select)) = query.and_then(|query| query.node.as_mut()) {
        let zero = || Box::new(rewrite::integer(0));
        select.limit_offset.get_or_insert_with(zero);
    }
}

impl Judge<'_> {
    /// Judges a subquery, but for what its place in a query with GROUP BY makes of it (`groups.rs`).
    pub(super) fn subquery(
        &mut self,
        link: &mut SubLink,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let kind = SubLinkType::try_from(link.sub_link_type).unwrap_or(SubLinkType::Undefined);
        match kind {
            SubLinkType::AnySublink
            | SubLinkType::AllSublink
            | SubLinkType::ExistsSublink
            | SubLinkType::ExprSublink
            | SubLinkType::ArraySublink => {}
            SubLinkType::Undefined
            | SubLinkType::RowcompareSublink
            | SubLinkType::MultiexprSublink
            | SubLinkType::CteSublink => return Err(unsupported("this kind of subquery")),
        }
        let (mut facts, tests) = match link.testexpr.as_mut() {
            Some(test) => {
                let (facts, shape) = self.operand(test, scope, env)?;
                (facts, shape.columns())
            }
            None => (Facts::default(), Vec::new()),
        };
        let mark = self.entries.len();
        let Some(NodeEnum::SelectStmt(select)) =
            link.subselect.as_mut().and_then(|node| node.node.as_mut())
        else {
            return Err(unsupported("this kind of subquery"));
        };
        let place = self.place_before_views(&*select);
        let mut output = self.select(select, Some(scope), env)?;
        for column in &mut output.columns {
            column.ty = column.ty.behind_border();
        }
        // The planner may compare what the subquery computes inside of it: a fence keeps it out.
        let computes = output
            .columns
            .iter()
            .any(|column| !column.plain && !column.sealed);
        let tested = matches!(kind, SubLinkType::AnySublink | SubLinkType::AllSublink);
        if tested && output.risky && !output.sealed && computes {
            let place = place.unwrap_or_else(|| tree::anchor_of(&link.subselect));
            self.findings.places.fences.push(place);
            fence(link.subselect.as_mut());
            self.rewritten();
        }
        let outer: Vec<EntryId> = output
            .reads
            .iter()
            .copied()
            .filter(|entry| *entry < mark)
            .collect();
        // What is computed inside depends on rows outside only through correlation.
        let inside = Facts {
            leaky: output.leaky && !outer.is_empty(),
            reads: outer,
            ..Facts::default()
        };
        facts.absorb(&inside);
        if matches!(kind, SubLinkType::AnySublink | SubLinkType::AllSublink) {
            let compares = self.tested(link, &tests, &output)?;
            let catalog = &self.bound.catalog;
            let safe = compares
                && tests.len() == output.columns.len()
                && tests
                    .iter()
                    .zip(&output.columns)
                    .all(|(test, column)| compare::leakproof(catalog, *test, column.ty));
            if !safe {
                facts = facts.risky();
            }
            return Ok(Facts {
                ty: Ty::Known(16),
                ..computed(facts)
            });
        }
        let ty = match (kind, output.columns.as_slice()) {
            (SubLinkType::ExistsSublink, _) => Ty::Known(16),
            (SubLinkType::ExprSublink, [only]) => only.ty,
            _ => Ty::Unknown,
        };
        // A subquery of one row that gives two is an error: it must not depend on a foreign row.
        if kind == SubLinkType::ExprSublink && !output.single_row {
            let outer = output.depends.iter().filter(|entry| **entry < mark);
            facts.absorb(&Facts {
                reads: outer.copied().collect(),
                ..Facts::default()
            });
            facts = facts.risky();
        }
        Ok(Facts {
            ty,
            ..computed(facts)
        })
    }

    /// The operator that compares each value with its column; without a name it is `=`.
    fn tested(&self, link: &SubLink, tests: &[Ty], output: &Output) -> Result<bool, Denial> {
        let paired = tests.len() == output.columns.len() && !output.open;
        let columns = output.columns.iter().map(|column| column.ty);
        let operands: Vec<Operands> = match paired {
            true => tests
                .iter()
                .zip(columns)
                .map(|(test, column)| Operands::new(*test, column))
                .collect(),
            false => vec![Operands::new(Ty::Unknown, Ty::Unknown)],
        };
        for column in &output.columns {
            self.allow_operand(column.ty)?;
        }
        if link.oper_name.is_empty() {
            return self.comparison("=", &operands);
        }
        let mut own = true;
        for operands in operands {
            own &= self.operator(&link.oper_name, operands)?;
        }
        Ok(own)
    }
}
