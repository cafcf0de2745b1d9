//! Coercion: which values are taken for another type unasked, and what that runs.
//!
//! An operator or function is chosen by what its operands can be converted to, and the conversion may
//! itself call a function that somebody wrote (`CREATE CAST … AS IMPLICIT`). Where a type is not known it
//! may be any, so every answer here errs on the side of what is judged.

use pg_query::protobuf::Node;

use super::expression::Facts;
use super::names::{Scope, Ty};
use super::{Env, Judge};
use crate::catalog::{CastContext, Function, FunctionName, Oid, TypeKind};
use crate::deny::{Denial, DenyReason};

/// How deep types are made of others (domains over arrays of domains …); beyond, they may be anything.
const DEPTH_MAX: usize = 16;

/// `oid` of boolean.
pub(super) const BOOL: Oid = 16;

/// `oid`s of int4 and int8.
const NUMBERS: [Oid; 2] = [23, 20];

impl Judge<'_> {
    /// Judges an expression that must be true or false: a value of another type is cast as if it were
    /// stored.
    pub(super) fn truth(
        &mut self,
        node: Option<&mut Box<Node>>,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        self.given_as(node, scope, env, &[BOOL])
    }

    /// The same of a number: LIMIT, a subscript.
    pub(super) fn number(
        &mut self,
        node: Option<&mut Box<Node>>,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        self.given_as(node, scope, env, &NUMBERS)
    }

    fn given_as(
        &mut self,
        node: Option<&mut Box<Node>>,
        scope: &Scope<'_>,
        env: &Env<'_>,
        wanted: &[Oid],
    ) -> Result<Facts, Denial> {
        let Some(node) = node else {
            return Ok(Facts::default());
        };
        let facts = self.expression(node, scope, env)?;
        for ty in wanted {
            self.allow_assignment(facts.ty, Ty::Known(*ty))?;
        }
        Ok(facts)
    }

    /// Whether a value of this type may be given where that one is wanted.
    pub(super) fn converts(&self, from: Ty, to: Oid) -> bool {
        match from {
            Ty::Unknown | Ty::Adaptable => true,
            Ty::Builtin => self.builtin_converts(to),
            Ty::Known(from) => self.converts_type(from, to, 0),
        }
    }

    /// Whether some type of pg_catalog converts.
    fn builtin_converts(&self, to: Oid) -> bool {
        let catalog = &self.bound.catalog;
        let Some(target) = catalog.type_by_oid(to) else {
            return true;
        };
        let mut casts = catalog.parts().casts.iter();
        target.schema == "pg_catalog"
            || target.kind == TypeKind::Pseudo
            || target.kind == TypeKind::Domain
            || target.element != 0
            || casts.any(|cast| {
                cast.context == CastContext::Implicit
                    && cast.target == to
                    && self.is_builtin(cast.source)
            })
    }

    fn converts_type(&self, from: Oid, to: Oid, depth: usize) -> bool {
        let catalog = &self.bound.catalog;
        let (Some(source), Some(target)) = (catalog.type_by_oid(from), catalog.type_by_oid(to))
        else {
            return true;
        };
        if from == to || depth > DEPTH_MAX || target.kind == TypeKind::Pseudo {
            return true;
        }
        if source.kind == TypeKind::Domain {
            return self.converts_type(source.base, to, depth + 1);
        }
        if target.kind == TypeKind::Domain {
            return self.converts_type(from, target.base, depth + 1);
        }
        match source.kind {
            // Where the server reads a type of its own from a string, `unknown`.
            TypeKind::Pseudo => true,
            // A row of a child is taken for one of its parent.
            TypeKind::Composite if target.kind == TypeKind::Composite => true,
            _ if source.element != 0 && target.element != 0 => {
                self.converts_type(source.element, target.element, depth + 1)
                    || catalog.has_implicit_cast(from, to)
            }
            _ => catalog.has_implicit_cast(from, to),
        }
    }

    /// Whether a function takes these arguments.
    pub(super) fn takes(&self, function: &Function, arguments: &[Ty]) -> bool {
        use crate::catalog::FunctionKind::Procedure;
        let wanted = function.arguments.len();
        let needed = wanted.saturating_sub(usize::from(function.defaults));
        let given = arguments.len();
        // CALL also gives places for what comes out of a procedure.
        if function.kind == Procedure || function.variadic && given + 1 >= needed {
            return true;
        }
        (needed..=wanted).contains(&given)
            && arguments
                .iter()
                .zip(&function.arguments)
                .all(|(from, to)| self.converts(*from, *to))
    }

    /// Judges the casts that may be applied, unasked, to a value that something computes with.
    pub(super) fn allow_operand(&self, from: Ty) -> Result<(), Denial> {
        for (cast, function) in self.bound.catalog.calling_casts() {
            if cast.context != CastContext::Implicit || cast.extension.is_some() {
                continue;
            }
            if self.may_hold(from, cast.source) {
                self.allow_cast_function(function)?;
            }
        }
        Ok(())
    }

    /// Whether a value of this type may be one of that, or hold one.
    fn may_hold(&self, whole: Ty, part: Oid) -> bool {
        match whole {
            Ty::Known(whole) => self.is_made_of(whole, part, 0),
            Ty::Builtin => self.is_builtin(part),
            Ty::Unknown => true,
            Ty::Adaptable => false,
        }
    }

    /// Judges the casts that may bring two values to one type (VALUES, UNION).
    pub(super) fn unify(&self, left: Ty, right: Ty) -> Result<(), Denial> {
        if left == right && matches!(left, Ty::Known(_) | Ty::Adaptable) {
            return Ok(());
        }
        self.allow_operand(left)?;
        self.allow_operand(right)
    }

    /// Judges the casts that JSON is made by: each type may bring one of its own.
    pub(super) fn allow_json(&self, from: Ty) -> Result<(), Denial> {
        const JSON: [Oid; 2] = [114, 3802];
        for (cast, function) in self.bound.catalog.calling_casts() {
            let holds = |from: Oid| {
                let found = self.bound.catalog.type_by_oid(from);
                found.is_none_or(|ty| ty.kind == TypeKind::Composite)
                    || self.is_made_of(from, cast.source, 0)
            };
            let meant = match from {
                Ty::Known(from) => holds(from),
                Ty::Builtin | Ty::Unknown | Ty::Adaptable => self.may_hold(from, cast.source),
            };
            if meant && cast.extension.is_none() && JSON.contains(&cast.target) {
                self.allow_cast_function(function)?;
            }
        }
        Ok(())
    }

    /// Judges the casts that may be applied where a value is stored in a column.
    pub(super) fn allow_assignment(&self, from: Ty, to: Ty) -> Result<(), Denial> {
        if from == to && matches!(from, Ty::Known(_)) {
            return Ok(());
        }
        for (cast, function) in self.bound.catalog.calling_casts() {
            if cast.context == CastContext::Explicit || cast.extension.is_some() {
                continue;
            }
            let stored = match to {
                Ty::Known(to) => self.is_made_of(to, cast.target, 0),
                Ty::Unknown | Ty::Builtin | Ty::Adaptable => true,
            };
            if stored && self.may_hold(from, cast.source) {
                self.allow_cast_function(function)?;
            }
        }
        Ok(())
    }

    /// Judges what comparing values of a type calls, whatever compares them.
    pub(super) fn allow_comparison(&self, ty: Ty) -> Result<(), Denial> {
        let Ty::Known(oid) = ty else { return Ok(()) };
        let found = self.bound.catalog.type_by_oid(oid);
        for function in found.map_or(&[][..], |ty| &ty.compared_by) {
            self.function_named(Some(&function.schema), &function.name)
                .map_err(|_| {
                    Denial::new(
                        DenyReason::FunctionDenied,
                        format!(
                            "values of this type are compared by function \"{}.{}\", which is not allowed",
                            function.schema, function.name
                        ),
                    )
                })?;
        }
        Ok(())
    }

    /// Whether a value of a type is one of another, or holds one.
    pub(super) fn is_made_of(&self, whole: Oid, part: Oid, depth: usize) -> bool {
        let Some(ty) = self.bound.catalog.type_by_oid(whole) else {
            return true;
        };
        if whole == part || depth > DEPTH_MAX {
            return true;
        }
        match ty.kind {
            TypeKind::Domain => self.is_made_of(ty.base, part, depth + 1),
            TypeKind::Base if ty.element != 0 => self.is_made_of(ty.element, part, depth + 1),
            // The snapshot does not tell the columns of all row types.
            TypeKind::Composite => self
                .bound
                .catalog
                .type_by_oid(part)
                .is_some_and(|part| part.kind == TypeKind::Composite),
            TypeKind::Base
            | TypeKind::Enum
            | TypeKind::Range
            | TypeKind::Multirange
            | TypeKind::Pseudo => false,
        }
    }

    /// Whether it is one of pg_catalog's; one that the snapshot lacks is taken for one.
    pub(super) fn is_builtin(&self, oid: Oid) -> bool {
        let found = self.bound.catalog.type_by_oid(oid);
        found.is_none_or(|ty| ty.schema == "pg_catalog")
    }

    pub(super) fn allow_cast_function(&self, function: &FunctionName) -> Result<(), Denial> {
        self.function_named(Some(&function.schema), &function.name)
            .map(drop)
            .map_err(|_| {
                Denial::new(
                    DenyReason::FunctionDenied,
                    format!(
                        "a cast may call function \"{}.{}\", which is not allowed",
                        function.schema, function.name
                    ),
                )
                .hint("The security team can list it under [functions] in policy.toml.")
            })
    }
}
