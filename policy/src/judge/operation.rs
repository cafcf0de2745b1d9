//! Operators: which one is called, and whether it compares without a leak.
//!
//! The server chooses by the operands' types, among all operators of a name that it finds in the
//! search_path; BETWEEN, IN, CASE, NULLIF, USING and their kind look operators up by name, too. One that
//! somebody wrote is judged wherever it could be chosen; only where pg_catalog has one for just
//! these types, and stands first, it can't be.

use std::slice::from_ref;

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, AExpr, AExprKind, Node, a_const};

use super::alternatives::Alternatives;
use super::compare;
use super::expression::{Facts, computed};
use super::names::{Scope, TEXT, Ty, strings};
use super::{Env, Judge, unsupported};
use crate::builtin::operators;
use crate::catalog::{Catalog, Oid, Operator};
use crate::deny::{Denial, DenyReason};

/// The types that an operator is chosen by; a prefix operator has no left one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operands {
    pub(super) left: Option<Ty>,
    pub(super) right: Ty,
}

impl Operands {
    pub(super) fn new(left: Ty, right: Ty) -> Self {
        Self {
            left: Some(left),
            right,
        }
    }
}

/// The types of a judged operand.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// One value.
    One(Ty),
    /// The columns of a row.
    Row(Vec<Ty>),
    /// The items of a list.
    Items(Vec<Shape>),
    /// ARRAY[]: its type, and its elements.
    Array(Ty, Vec<Shape>),
}

impl Shape {
    /// The type as a whole.
    pub(super) fn ty(&self) -> Ty {
        match self {
            Self::One(ty) | Self::Array(ty, _) => *ty,
            Self::Row(_) | Self::Items(_) => Ty::Unknown,
        }
    }

    /// The types that a row, or a single value, is compared by.
    pub(super) fn columns(&self) -> Vec<Ty> {
        match self {
            Self::Row(types) => types.clone(),
            Self::One(_) | Self::Items(_) | Self::Array(..) => vec![self.ty()],
        }
    }
}

/// The type that pg_catalog's operator gives for operands of these types. Of a domain it takes the type under it: none
/// of pg_catalog's is for a domain.
fn calculated(catalog: &Catalog, kind: AExprKind, expr: &AExpr, types: &[Ty]) -> Option<Ty> {
    let (_, name) = operator_name(&expr.name).ok()?;
    let oid = |ty: &Ty| match ty {
        Ty::Known(oid) => Some(Some(catalog.base_type(*oid))),
        Ty::Adaptable => Some(None),
        Ty::Unknown | Ty::Builtin => None,
    };
    let (left, right) = match types {
        [right] => (Some(0), oid(right)?),
        [left, right] => (oid(left)?, oid(right)?),
        _ => return None,
    };
    let result = operators::result(name, left, right);
    result
        .filter(|_| kind == AExprKind::AexprOp && right.or(left) != Some(0))
        .map(Ty::Known)
}

impl Judge<'_> {
    pub(super) fn operation(
        &mut self,
        expr: &mut AExpr,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        self.operation_by_sides(expr, scope, env)
            .map(|(facts, _)| facts)
    }

    /// Judges an operation, and tells the facts of each side, too.
    pub(super) fn operation_by_sides(
        &mut self,
        expr: &mut AExpr,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(Facts, [Facts; 2]), Denial> {
        let kind = AExprKind::try_from(expr.kind).unwrap_or(AExprKind::Undefined);
        if kind == AExprKind::AexprNullif {
            let value = expr.lexpr.as_deref().map_or(&[][..], from_ref);
            self.refuse_rows_of_views(value, scope)?;
        }
        let mut judged = |node: Option<&mut Box<Node>>| {
            let Some(node) = node else {
                return Ok((Facts::default(), None));
            };
            let (operand, shape) = self.operand(node, scope, env)?;
            let ty = operand.ty;
            Ok((operand, Some((ty, shape))))
        };
        let (on_left, left) = judged(expr.lexpr.as_mut())?;
        let (on_right, right) = judged(expr.rexpr.as_mut())?;
        let mut facts = Facts::default();
        facts.absorb(&on_left);
        facts.absorb(&on_right);
        let types = [&left, &right].into_iter().flatten().map(|(ty, _)| *ty);
        let types: Vec<Ty> = types.collect();
        let (left, right) = (left.map(|it| it.1), right.map(|it| it.1));
        let Some(right) = right else {
            return Err(unsupported("an operator behind its operand"));
        };
        let own = self.operators_of(kind, expr, &self.operands(kind, left.as_ref(), &right))?;
        let compares = own && self.is_comparison(kind, expr);
        let safe = compares
            && left
                .as_ref()
                .is_some_and(|left| self.compares_safely(kind, left, &right));
        let facts = if safe { computed(facts) } else { facts.risky() };
        let ty = if own && compares && kind != AExprKind::AexprNullif {
            Ty::Known(16)
        } else if own {
            let calculated = calculated(&self.bound.catalog, kind, expr, &types);
            calculated.unwrap_or_else(|| self.type_made(kind, &types))
        } else {
            Ty::Unknown
        };
        Ok((Facts { ty, ..facts }, [on_left, on_right]))
    }

    /// Judges an operand, and tells the types of what it consists of.
    pub(super) fn operand(
        &mut self,
        node: &mut Node,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(Facts, Shape), Denial> {
        let items = match node.node.as_mut() {
            Some(NodeEnum::RowExpr(row)) => {
                let mut facts = Facts::default();
                let mut types = Vec::with_capacity(row.args.len());
                for arg in &mut row.args {
                    let column = self.expression(arg, scope, env)?;
                    facts.absorb(&column);
                    types.push(column.ty);
                }
                return Ok((facts, Shape::Row(types)));
            }
            Some(NodeEnum::List(list)) => &mut list.items,
            Some(NodeEnum::AArrayExpr(array)) => &mut array.elements,
            _ => {
                let facts = self.expression(node, scope, env)?;
                let ty = facts.ty;
                return Ok((facts, Shape::One(ty)));
            }
        };
        let mut alternatives = Alternatives::default();
        let mut shapes = Vec::with_capacity(items.len());
        for item in items {
            let (facts, shape) = self.operand(item, scope, env)?;
            alternatives.add(facts);
            shapes.push(shape);
        }
        let is_array = matches!(node.node, Some(NodeEnum::AArrayExpr(_)));
        let types: Vec<Ty> = shapes.iter().map(Shape::ty).collect();
        let ty = self.computed_type(&types);
        let (facts, shape) = match is_array {
            true => (alternatives.facts(), Shape::Array(ty, shapes)),
            false => (alternatives.parts(), Shape::Items(shapes)),
        };
        Ok((Facts { ty, ..facts }, shape))
    }

    /// Judges the operators of an expression. Says whether all are pg_catalog's own.
    fn operators_of(
        &self,
        kind: AExprKind,
        expr: &AExpr,
        operands: &[Operands],
    ) -> Result<bool, Denial> {
        let mut own = true;
        match kind {
            // BETWEEN's own name is no operator's.
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => {
                for name in ["<", ">", "<=", ">="] {
                    own &= self.comparison(name, operands)?;
                }
            }
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
                let (schema, operator) = operator_name(&expr.name)?;
                for operands in operands {
                    own &= self.operator_named(schema, operator, *operands)?;
                }
            }
            AExprKind::Undefined => return Err(unsupported("this kind of operator")),
        }
        Ok(own)
    }

    fn is_comparison(&self, kind: AExprKind, expr: &AExpr) -> bool {
        matches!(
            kind,
            AExprKind::AexprBetween
                | AExprKind::AexprNotBetween
                | AExprKind::AexprBetweenSym
                | AExprKind::AexprNotBetweenSym
        ) || operator_name(&expr.name).is_ok_and(|(_, name)| compare::is_comparison(name))
    }

    /// Judges an operator's name. Says whether it is a comparison of pg_catalog's own.
    pub(super) fn operator(&self, name: &[Node], operands: Operands) -> Result<bool, Denial> {
        let (schema, operator) = operator_name(name)?;
        let own = self.operator_named(schema, operator, operands)?;
        Ok(own && compare::is_comparison(operator))
    }

    /// Judges a comparison that the server looks up without being given its schema. Says whether it is
    /// pg_catalog's own for all of these operands.
    pub(super) fn comparison(&self, name: &str, operands: &[Operands]) -> Result<bool, Denial> {
        let mut own = true;
        for operands in operands {
            own &= self.operator_named(None, name, *operands)?;
        }
        Ok(own)
    }

    fn operator_named(
        &self,
        schema: Option<&str>,
        operator: &str,
        operands: Operands,
    ) -> Result<bool, Denial> {
        let mut own = true;
        let named = self.bound.catalog.operators_named(operator);
        for user in named.filter(|user| self.may_be_chosen(user, schema, operands)) {
            own = false;
            let types = [user.left, user.right].map(Ty::Known);
            let types = types.get(usize::from(user.left == 0)..);
            self.function_called(Some(&user.function_schema), &user.function, types)
                .map_err(|_| {
                    Denial::new(
                        DenyReason::UnknownOperator,
                        format!(
                            "operator \"{operator}\" of schema \"{}\" is not allowed",
                            user.schema
                        ),
                    )
                })?;
        }
        if own && schema.is_some_and(|schema| schema != "pg_catalog") {
            return Err(Denial::new(
                DenyReason::UnknownOperator,
                format!("operator \"{operator}\" is not known"),
            ));
        }
        Ok(own)
    }

    /// Whether the server may choose this operator.
    fn may_be_chosen(&self, user: &Operator, schema: Option<&str>, operands: Operands) -> bool {
        let fits = match operands.left {
            None => user.left == 0,
            Some(left) => user.left != 0 && self.converts(left, user.left),
        };
        if !fits || !self.converts(operands.right, user.right) {
            return false;
        }
        let path = &self.request.facts.search_path;
        let Some(at) = path.iter().position(|schema| *schema == user.schema) else {
            return schema == Some(user.schema.as_str());
        };
        if let Some(schema) = schema {
            return schema == user.schema;
        }
        // Of two for the same types the first in the path is found; pg_catalog comes first unless it
        // is named.
        let system = path.iter().position(|schema| schema == "pg_catalog");
        let hidden = system.is_none_or(|system| system < at);
        let server = self.bound.catalog.parts().server_version_num;
        let exists = |(left, right)| operators::exists(&user.name, left, right, server);
        let own = (user.left, user.right);
        if hidden && exists(own) {
            return false;
        }
        let Some(types) = exact_types(operands) else {
            return true;
        };
        let catalog = &self.bound.catalog;
        let bases = (catalog.base_type(types.0), catalog.base_type(types.1));
        own == types || own == bases || !exists(bases)
    }

    /// The types of each pair of operands that an operator is looked up for: IN compares with each
    /// element, BETWEEN with each bound, a row column by column.
    fn operands(&self, kind: AExprKind, left: Option<&Shape>, right: &Shape) -> Vec<Operands> {
        let with = |right: Ty| Operands {
            left: left.map(Shape::ty),
            right,
        };
        match (left, right) {
            (Some(Shape::Row(lefts)), Shape::Row(rights)) if lefts.len() == rights.len() => {
                let pairs = lefts.iter().zip(rights);
                pairs
                    .map(|(it, other)| Operands::new(*it, *other))
                    .collect()
            }
            (_, Shape::Array(_, items)) if is_any(kind) => vec![with(one_type(items))],
            (_, _) if is_any(kind) => {
                vec![with(compare::element(&self.bound.catalog, right.ty()))]
            }
            // The server may compare with all of them as values of one type.
            (Some(Shape::One(_)), Shape::Items(items)) if kind == AExprKind::AexprIn => {
                vec![with(one_type(items))]
            }
            (_, Shape::Items(items)) => {
                let items = items.iter();
                items.flat_map(|it| self.operands(kind, left, it)).collect()
            }
            (_, Shape::One(_) | Shape::Row(_) | Shape::Array(..)) => vec![with(right.ty())],
        }
    }

    /// Whether comparing these can neither raise an error nor show a value.
    fn compares_safely(&self, kind: AExprKind, left: &Shape, right: &Shape) -> bool {
        let catalog = &self.bound.catalog;
        match (left, right) {
            (Shape::Row(lefts), Shape::Row(rights)) => {
                let mut pairs = lefts.iter().zip(rights);
                lefts.len() == rights.len()
                    && pairs.all(|(left, right)| compare::leakproof(catalog, *left, *right))
            }
            (_, Shape::Array(_, items)) if is_any(kind) => {
                let mut items = items.iter();
                items.all(|item| compare::leakproof(catalog, left.ty(), item.ty()))
            }
            (_, _) if is_any(kind) => {
                compare::leakproof(catalog, left.ty(), compare::element(catalog, right.ty()))
            }
            (_, Shape::Items(items)) => {
                let mut items = items.iter();
                items.all(|item| self.compares_safely(kind, left, item))
            }
            _ => compare::leakproof(catalog, left.ty(), right.ty()),
        }
    }

    /// The type of what an operator of pg_catalog's makes of values of these types: of a domain never the domain
    /// again.
    fn type_made(&self, kind: AExprKind, types: &[Ty]) -> Ty {
        if kind != AExprKind::AexprOp {
            return self.computed_type(types);
        }
        let under: Vec<Ty> = types.iter().map(|ty| self.under_domains(*ty)).collect();
        self.computed_type(&under)
    }

    /// The type of what pg_catalog's own functions and operators make of values of these types. Only
    /// of a type of somebody's own they make one again.
    pub(super) fn computed_type(&self, types: &[Ty]) -> Ty {
        let builtin = |ty: &Ty| match ty {
            Ty::Known(oid) => self.is_builtin(*oid),
            Ty::Adaptable | Ty::Builtin => true,
            Ty::Unknown => false,
        };
        if types.iter().all(builtin) {
            Ty::Builtin
        } else {
            Ty::Unknown
        }
    }
}

fn operator_name(name: &[Node]) -> Result<(Option<&str>, &str), Denial> {
    match strings(name)?.as_slice() {
        [operator] => Ok((None, *operator)),
        [schema, operator] => Ok((Some(*schema), *operator)),
        _ => Err(unsupported("an operator name with a database")
            .hint("Leave the name of the database out.")),
    }
}

fn is_any(kind: AExprKind) -> bool {
    matches!(kind, AExprKind::AexprOpAny | AExprKind::AexprOpAll)
}

/// The type that all of these have, if it is one.
fn one_type(items: &[Shape]) -> Ty {
    let mut one = Ty::Adaptable;
    for item in items {
        one = match (one, item.ty()) {
            (known, Ty::Adaptable) => known,
            (Ty::Adaptable, ty) => ty,
            (known, ty) if known == ty => known,
            (Ty::Known(_) | Ty::Builtin, Ty::Builtin) => Ty::Builtin,
            _ => return Ty::Unknown,
        }
    }
    one
}

/// The types that an operator would have to have to fit just these operands: an untyped literal takes
/// the type of the other operand.
fn exact_types(operands: Operands) -> Option<(Oid, Oid)> {
    match (operands.left, operands.right) {
        (None, Ty::Known(right)) => Some((0, right)),
        (Some(Ty::Known(left)), Ty::Known(right)) => Some((left, right)),
        (Some(Ty::Known(ty)), Ty::Adaptable) | (Some(Ty::Adaptable), Ty::Known(ty)) => {
            Some((ty, ty))
        }
        // Between themselves, untyped literals become text.
        (Some(Ty::Adaptable), Ty::Adaptable) => Some((TEXT, TEXT)),
        (None | Some(Ty::Unknown | Ty::Builtin), _) | (_, Ty::Unknown | Ty::Builtin) => None,
    }
}

pub(super) fn constant_type(constant: &AConst) -> Ty {
    match constant.val.as_ref() {
        Some(a_const::Val::Ival(_)) => Ty::Known(23),
        Some(a_const::Val::Fval(float)) => {
            // An integer too large for int4 scans as a float: PostgreSQL makes it int8 if it fits, and
            // the least of int4 only with its minus sign is one.
            if float.fval.parse::<i32>().is_ok() {
                Ty::Known(23)
            } else if float.fval.parse::<i64>().is_ok() {
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
