//! The condition of a FULL JOIN.
//!
//! The server joins so only by an equality whose sides are each of one relation's side, so no barrier fits around
//! it. It stands around each side instead: `CASE WHEN <predicate> THEN <side> END`. On a row of
//! another tenant, which never gets into the join, that is NULL, of which an equality computes nothing.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, Node};

use super::coercion::BOOL;
use super::expression::Facts;
use super::names::{Scope, Ty, strings};
use super::{Env, Judge, unsupported};
use crate::deny::Denial;
use crate::rewrite;

/// The equality that a conjunct is, if a barrier may stand around its sides: not of rows, which the server
/// compares column by column.
pub(super) fn equality(conjunct: &mut Node) -> Option<&mut AExpr> {
    let Some(NodeEnum::AExpr(expr)) = conjunct.node.as_mut() else {
        return None;
    };
    let is_row = |side: &Node| matches!(side.node, Some(NodeEnum::RowExpr(_)));
    let plain = |side: Option<&Node>| side.is_some_and(|side| !is_row(side));
    let equal = expr.kind == AExprKind::AexprOp as i32
        && matches!(
            strings(&expr.name).as_deref(),
            Ok(["="] | ["pg_catalog", "="])
        );
    (equal && plain(expr.lexpr.as_deref()) && plain(expr.rexpr.as_deref())).then_some(expr)
}

/// Whether a condition has such an equality among its conjuncts.
pub(super) fn has_equality(condition: Option<&mut Node>) -> bool {
    let Some(condition) = condition else {
        return false;
    };
    match condition.node.as_mut() {
        Some(NodeEnum::BoolExpr(expr)) if expr.boolop == BoolExprType::AndExpr as i32 => {
            expr.args.iter_mut().any(|part| has_equality(Some(part)))
        }
        _ => equality(condition).is_some(),
    }
}

/// What would be left is nothing that the server could join by.
pub(super) fn not_joinable() -> Denial {
    unsupported("a FULL JOIN by a condition that may raise an error and is no equality of two values")
        .hint("Write the equalities one by one, with AND, each of one value of the left and one of the right.")
}

impl Judge<'_> {
    /// Judges an equality that a FULL JOIN may be made by.
    pub(super) fn full_join_equality(
        &mut self,
        expr: &mut AExpr,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let begin =
            |judge: &Self, side: Option<&Node>| side.and_then(|it| judge.place_before_views(it));
        let begins = [
            begin(self, expr.lexpr.as_deref()),
            begin(self, expr.rexpr.as_deref()),
        ];
        let (facts, sides) = self.operation_by_sides(expr, scope, env)?;
        self.allow_assignment(facts.ty, Ty::Known(BOOL))?;
        if !facts.leaky {
            return Ok(facts);
        }
        let operands = [expr.lexpr.as_deref_mut(), expr.rexpr.as_deref_mut()];
        for ((operand, side), begins) in operands.into_iter().zip(&sides).zip(begins) {
            if let Some(operand) = operand {
                self.hold_side(operand, side, begins, scope)?;
            }
        }
        Ok(facts)
    }

    /// Puts a barrier around a side that reads a tenant's rows.
    fn hold_side(
        &mut self,
        operand: &mut Node,
        side: &Facts,
        begins: Option<i32>,
        scope: &Scope<'_>,
    ) -> Result<(), Denial> {
        let predicates = self.admissions(&side.reads, scope)?;
        if let Some(admitted) = rewrite::and(predicates) {
            let guarded = rewrite::take(operand);
            self.hold(begins, &guarded, self.admitting(&side.reads));
            *operand = rewrite::case_or_null(admitted, guarded);
            self.rewritten();
        }
        Ok(())
    }
}
