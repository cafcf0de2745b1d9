//! Operators: which one is called, and whether it compares without a leak.

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, AExpr, AExprKind, Node, a_const};

use super::compare;
use super::expression::{Facts, computed};
use super::names::{Scope, Ty};
use super::{Env, Judge, unsupported};
use crate::deny::Denial;

impl Judge<'_> {
    pub(super) fn operation(
        &mut self,
        expr: &mut AExpr,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let kind = AExprKind::try_from(expr.kind).unwrap_or(AExprKind::Undefined);
        // LIKE and BETWEEN carry names such as `~~` and `BETWEEN`; only true operators are looked up.
        let comparison = match kind {
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => Some("<"),
            AExprKind::AexprOp
            | AExprKind::AexprOpAny
            | AExprKind::AexprOpAll
            | AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprNullif
            | AExprKind::AexprIn
            | AExprKind::AexprLike
            | AExprKind::AexprIlike
            | AExprKind::AexprSimilar => {
                let operands = self.operand_types(expr, scope);
                self.operator(&expr.name, operands)?
            }
            AExprKind::Undefined => return Err(unsupported("this kind of operator")),
        };
        let compares = comparison.is_some();
        let safe = compares && self.safe_operands(kind, expr, scope)?;
        let mut facts = self.optional(expr.lexpr.as_mut(), scope, env)?;
        facts.absorb(&self.optional(expr.rexpr.as_mut(), scope, env)?);
        let mut facts = if safe { computed(facts) } else { facts.risky() };
        if compares && kind != AExprKind::AexprNullif {
            facts.ty = Ty::Known(16);
        }
        Ok(facts)
    }

    /// The types that an operator is chosen by.
    fn operand_types(&self, expr: &AExpr, scope: &Scope<'_>) -> (Ty, Ty) {
        let right = match expr.rexpr.as_deref().map(|node| (node, node.node.as_ref())) {
            None => Ty::Adaptable,
            // IN compares with each element; BETWEEN with each bound.
            Some((_, Some(NodeEnum::List(list)))) => {
                let mut types = list.items.iter().map(|item| self.static_type(item, scope));
                let first = types.next().unwrap_or_default();
                let same = types.all(|ty| ty == first || ty == Ty::Adaptable);
                if same { first } else { Ty::Unknown }
            }
            Some((node, _)) => self.static_type(node, scope),
        };
        let left = expr.lexpr.as_deref();
        (
            left.map_or(Ty::Adaptable, |node| self.static_type(node, scope)),
            right,
        )
    }

    /// Whether a comparison's operands have types that compare without a leak. The
    /// judgement proper follows.
    fn safe_operands(
        &self,
        kind: AExprKind,
        expr: &AExpr,
        scope: &Scope<'_>,
    ) -> Result<bool, Denial> {
        let (Some(left), Some(right)) = (expr.lexpr.as_deref(), expr.rexpr.as_deref()) else {
            return Ok(false);
        };
        if let (Some(NodeEnum::RowExpr(left)), Some(NodeEnum::RowExpr(right))) =
            (left.node.as_ref(), right.node.as_ref())
        {
            let pairs = left.args.iter().zip(&right.args);
            let mut safe = left.args.len() == right.args.len();
            for (left, right) in pairs {
                safe &= self.safe_pair(left, right, scope);
            }
            return Ok(safe);
        }
        Ok(match (kind, right.node.as_ref()) {
            (_, Some(NodeEnum::List(list))) => list
                .items
                .iter()
                .all(|item| self.safe_pair(left, item, scope)),
            (AExprKind::AexprOpAny | AExprKind::AexprOpAll, Some(NodeEnum::AArrayExpr(array))) => {
                array
                    .elements
                    .iter()
                    .all(|item| self.safe_pair(left, item, scope))
            }
            (AExprKind::AexprOpAny | AExprKind::AexprOpAll, _) => {
                let catalog = std::sync::Arc::clone(&self.bound.catalog);
                let array = self.static_type(right, scope);
                let element = compare::element(&catalog, array);
                compare::leakproof(&catalog, self.static_type(left, scope), element)
            }
            _ => self.safe_pair(left, right, scope),
        })
    }

    fn safe_pair(&self, left: &Node, right: &Node, scope: &Scope<'_>) -> bool {
        let (left, right) = (
            self.static_type(left, scope),
            self.static_type(right, scope),
        );
        compare::leakproof(&self.bound.catalog, left, right)
    }

    /// The type of a simple expression, without judging it.
    pub(super) fn static_type(&self, node: &Node, scope: &Scope<'_>) -> Ty {
        match node.node.as_ref() {
            Some(NodeEnum::AConst(constant)) => constant_type(constant),
            Some(NodeEnum::ParamRef(parameter)) => self
                .parameter(parameter.number)
                .map_or(Ty::Unknown, |facts| facts.ty),
            Some(NodeEnum::ColumnRef(reference)) => self
                .resolve(reference, scope)
                .map_or(Ty::Unknown, |read| read.ty),
            Some(NodeEnum::TypeCast(cast)) => {
                let to = cast.type_name.as_ref();
                to.and_then(|to| self.type_name(to).ok())
                    .unwrap_or(Ty::Unknown)
            }
            Some(NodeEnum::CollateClause(collate)) => collate
                .arg
                .as_deref()
                .map_or(Ty::Unknown, |arg| self.static_type(arg, scope)),
            _ => Ty::Unknown,
        }
    }
}

pub(super) fn constant_type(constant: &AConst) -> Ty {
    match constant.val.as_ref() {
        Some(a_const::Val::Ival(_)) => Ty::Known(23),
        Some(a_const::Val::Fval(float)) => {
            // An integer too large for int4 scans as a float: PostgreSQL makes it int8 if it fits.
            if float.fval.parse::<i64>().is_ok() {
                Ty::Known(20)
            } else {
                Ty::Known(1700)
            }
        }
        Some(a_const::Val::Boolval(_)) => Ty::Known(16),
        Some(a_const::Val::Sval(_)) | None => Ty::Adaptable,
        Some(a_const::Val::Bsval(_)) => Ty::Unknown,
    }
}
