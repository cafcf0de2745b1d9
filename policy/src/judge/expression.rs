//! Expressions: every node is known, and what reading it could leak is worked out on the way.

use std::slice::from_ref;

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node};

use super::alternatives::Alternatives;
use super::coercion::BOOL;
use super::names::{Scope, Ty};
use super::operation::{Operands, constant_type};
use super::result::{Given, value_function};
use super::{EntryId, Env, Judge, unsupported};
use crate::builtin::functions;
use crate::deny::Denial;
use crate::spelling;

/// What is known of a judged expression.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) ty: Ty,
    /// Evaluating it on a row may raise an error or call what isn't leakproof.
    pub(super) leaky: bool,
    /// The FROM items whose rows it depends on.
    pub(super) reads: Vec<EntryId>,
    /// An aggregate or window function is inside.
    pub(super) aggregate: bool,
    /// Everything that it reads exists only after filtering.
    pub(super) sealed: bool,
    /// It is the tenant column of a guarded relation, for this slot.
    pub(super) tenant: Option<usize>,
}

impl Facts {
    /// A value that depends on no row.
    fn constant(ty: Ty) -> Self {
        Self {
            ty,
            ..Self::default()
        }
    }

    /// Adds what another expression reads and leaks.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.leaky |= other.leaky;
        self.aggregate |= other.aggregate;
        for entry in &other.reads {
            if !self.reads.contains(entry) {
                self.reads.push(*entry);
            }
        }
    }

    /// The facts of something that computes from these and may fail.
    pub(super) fn risky(mut self) -> Self {
        self.leaky |= !self.reads.is_empty();
        self.ty = Ty::Unknown;
        self.tenant = None;
        self
    }
}

impl Judge<'_> {
    /// Judges an optional expression.
    pub(super) fn optional(
        &mut self,
        node: Option<&mut Box<Node>>,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        match node {
            Some(node) => self.expression(node, scope, env),
            None => Ok(Facts::default()),
        }
    }

    /// Judges a list of expressions and adds up their facts.
    pub(super) fn expressions(
        &mut self,
        nodes: &mut [Node],
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let mut all = Facts::default();
        for node in nodes {
            let facts = self.expression(node, scope, env)?;
            all.absorb(&facts);
        }
        Ok(all)
    }

    /// Expressions that PostgreSQL brings to one type: COALESCE, ARRAY[].
    fn alternatives(
        &mut self,
        nodes: &mut [Node],
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        self.refuse_rows_of_views(nodes, scope)?;
        let mut alternatives = Alternatives::default();
        for node in nodes {
            alternatives.add(self.expression(node, scope, env)?);
        }
        let ty = self.brought_to(&alternatives.types);
        Ok(Facts {
            ty,
            ..alternatives.facts()
        })
    }

    /// ARRAY[].
    fn array(
        &mut self,
        elements: &mut [Node],
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        self.refuse_rows_of_views(elements, scope)?;
        let mut alternatives = Alternatives::default();
        for element in elements {
            alternatives.add(self.expression(element, scope, env)?);
        }
        let array = self.array_type(&alternatives.types);
        let ty = array.map_or_else(|| self.computed_type(&alternatives.types), Ty::Known);
        Ok(Facts {
            ty,
            ..alternatives.facts()
        })
    }

    /// Judges an expression whose value something computes with.
    pub(super) fn expression(
        &mut self,
        node: &mut Node,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let facts = self.kept(node, scope, env)?;
        // What a row or list consists of was judged one by one.
        if !matches!(node.node, Some(NodeEnum::RowExpr(_) | NodeEnum::List(_))) {
            self.allow_operand(facts.ty)?;
        }
        Ok(facts)
    }

    /// Judges an expression whose value is kept as it is: shown, or sorted by.
    pub(super) fn kept(
        &mut self,
        node: &mut Node,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let Some(inner) = node.node.as_mut() else {
            return Err(unsupported("an empty expression"));
        };
        match inner {
            NodeEnum::AConst(constant) => Ok(Facts::constant(constant_type(constant))),
            NodeEnum::ParamRef(parameter) => self.parameter(parameter.number),
            NodeEnum::ColumnRef(reference) => {
                let read = self.resolve(reference, scope)?;
                Ok(Facts {
                    ty: read.ty,
                    leaky: !read.plain && !read.entries.is_empty(),
                    sealed: read.sealed,
                    tenant: read.tenant,
                    reads: read.entries,
                    aggregate: false,
                })
            }
            NodeEnum::AExpr(expr) => self.operation(expr, scope, env),
            NodeEnum::BoolExpr(expr) => {
                let mut facts = Facts::default();
                for arg in &mut expr.args {
                    let part = self.expression(arg, scope, env)?;
                    self.allow_assignment(part.ty, Ty::Known(BOOL))?;
                    facts.absorb(&part);
                }
                facts.ty = Ty::Known(BOOL);
                Ok(facts)
            }
            NodeEnum::NullTest(test) => self.test(test.arg.as_mut(), scope, env),
            NodeEnum::BooleanTest(test) => self.test(test.arg.as_mut(), scope, env),
            NodeEnum::FuncCall(call) => self.call(call, scope, env),
            NodeEnum::SubLink(link) => self.sublink(link, scope, env),
            NodeEnum::TypeCast(cast) => {
                let to = cast
                    .type_name
                    .as_ref()
                    .ok_or_else(|| unsupported("a cast to nothing"))?;
                let to = self.type_name(to)?;
                let facts = self.optional(cast.arg.as_mut(), scope, env)?;
                self.allow_cast(facts.ty, to)?;
                spelling::spell_out(cast);
                // A type modifier computes: `numeric(3,1)` refuses a number that is too large.
                let bare = cast
                    .type_name
                    .as_ref()
                    .is_some_and(|name| name.typmods.is_empty());
                let harmless = bare && facts.ty == to && matches!(to, Ty::Known(_));
                let tenant = facts.tenant.filter(|_| harmless);
                let facts = if harmless { facts } else { facts.risky() };
                Ok(Facts {
                    ty: to,
                    tenant,
                    ..facts
                })
            }
            NodeEnum::CollateClause(collate) => {
                super::names::strings(&collate.collname)?;
                let facts = self.optional(collate.arg.as_mut(), scope, env)?;
                Ok(Facts {
                    tenant: None,
                    ..facts
                })
            }
            NodeEnum::CaseExpr(case) => {
                let mut facts = self.optional(case.arg.as_mut(), scope, env)?;
                let arg = case.arg.is_some().then_some(facts.ty);
                let mut alternatives = Alternatives::default();
                for when in &mut case.args {
                    let Some(NodeEnum::CaseWhen(when)) = when.node.as_mut() else {
                        return Err(unsupported("this form of CASE"));
                    };
                    let tested = self.optional(when.expr.as_mut(), scope, env)?;
                    match arg {
                        Some(arg) => {
                            self.comparison("=", &[Operands::new(arg, tested.ty)])?;
                        }
                        None => self.allow_assignment(tested.ty, Ty::Known(BOOL))?,
                    }
                    facts.absorb(&tested);
                    let result = when.result.as_deref().map_or(&[][..], from_ref);
                    self.refuse_rows_of_views(result, scope)?;
                    alternatives.add(self.optional(when.result.as_mut(), scope, env)?);
                }
                if let Some(otherwise) = case.defresult.as_mut() {
                    self.refuse_rows_of_views(from_ref(otherwise), scope)?;
                    alternatives.add(self.expression(otherwise, scope, env)?);
                }
                let ty = self.brought_to(&alternatives.types);
                facts.absorb(&alternatives.facts());
                let facts = if arg.is_some() {
                    facts.risky()
                } else {
                    computed(facts)
                };
                Ok(Facts { ty, ..facts })
            }
            NodeEnum::CoalesceExpr(expr) => self.alternatives(&mut expr.args, scope, env),
            NodeEnum::MinMaxExpr(expr) => {
                let facts = self.alternatives(&mut expr.args, scope, env)?;
                let ty = facts.ty;
                Ok(Facts {
                    ty,
                    ..facts.risky()
                })
            }
            NodeEnum::RowExpr(row) => Ok(computed(self.expressions(&mut row.args, scope, env)?)),
            NodeEnum::AArrayExpr(array) => self.array(&mut array.elements, scope, env),
            NodeEnum::List(list) => Ok(computed(self.expressions(&mut list.items, scope, env)?)),
            NodeEnum::AIndirection(indirection) => {
                let mut facts = self.optional(indirection.arg.as_mut(), scope, env)?;
                let whole = self.computed_type(&[facts.ty]);
                facts.absorb(&self.indirection(&mut indirection.indirection, scope, env)?);
                Ok(Facts {
                    ty: whole,
                    ..facts.risky()
                })
            }
            NodeEnum::NamedArgExpr(argument) => {
                spelling::quote(&mut argument.name);
                let facts = self.optional(argument.arg.as_mut(), scope, env)?;
                let ty = facts.ty;
                Ok(Facts {
                    ty,
                    ..computed(facts)
                })
            }
            NodeEnum::GroupingFunc(grouping) => {
                self.expressions(&mut grouping.args, scope, env)?;
                Ok(Facts {
                    sealed: true,
                    ..Facts::default()
                })
            }
            // current_user, current_date and their kind.
            NodeEnum::SqlvalueFunction(value) => Ok(Facts::constant(value_function(value))),
            NodeEnum::XmlExpr(xml) => {
                let mut facts = self.expressions(&mut xml.named_args, scope, env)?;
                facts.absorb(&self.expressions(&mut xml.args, scope, env)?);
                Ok(Facts {
                    ty: Ty::Builtin,
                    ..facts.risky()
                })
            }
            NodeEnum::XmlSerialize(xml) => {
                if let Some(to) = xml.type_name.as_ref() {
                    self.type_name(to)?;
                }
                let facts = self.optional(xml.expr.as_mut(), scope, env)?;
                Ok(Facts {
                    ty: Ty::Builtin,
                    ..facts.risky()
                })
            }
            NodeEnum::ResTarget(target) => {
                // XMLELEMENT's attributes and XMLFOREST's members are named this way.
                self.indirection(&mut target.indirection, scope, env)?;
                self.optional(target.val.as_mut(), scope, env)
            }
            NodeEnum::MergeSupportFunc(_) if self.merging => Ok(Facts::constant(Ty::Known(25))),
            NodeEnum::SetToDefault(_) => Err(unsupported("DEFAULT in this place")),
            NodeEnum::CurrentOfExpr(_) => Err(unsupported("CURRENT OF in this place")),
            other => self.json(other, scope, env),
        }
    }

    pub(super) fn parameter(&self, number: i32) -> Result<Facts, Denial> {
        let within = u16::try_from(number).is_ok_and(|n| n > 0 && n <= self.parameters);
        if !within {
            return Err(unsupported("this parameter number"));
        }
        let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if let Some(declared) = self.prepared_types.get(at) {
            return Ok(Facts::constant(*declared));
        }
        Ok(Facts::constant(match self.request.declared.get(at) {
            None | Some(0 | 705) => Ty::Adaptable,
            Some(oid) => Ty::Known(*oid),
        }))
    }

    fn test(
        &mut self,
        arg: Option<&mut Box<Node>>,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let facts = self.optional(arg, scope, env)?;
        Ok(Facts {
            ty: Ty::Known(BOOL),
            ..computed(facts)
        })
    }

    /// `.field`, `[subscript]`, `[from:to]`, `.*`.
    pub(super) fn indirection(
        &mut self,
        steps: &mut [Node],
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let mut facts = Facts::default();
        for step in steps {
            match step.node.as_mut() {
                Some(NodeEnum::String(name)) => {
                    // `(row).name` calls a function of that name if there is no such field.
                    if self.may_be_function(&name.sval) {
                        self.function_named(None, &name.sval)?;
                    }
                    if functions::class(&name.sval) == Some(functions::Class::Checked) {
                        return Err(unsupported("a call of this function as a field"));
                    }
                }
                Some(NodeEnum::AStar(_)) => {}
                Some(NodeEnum::AIndices(indices)) => {
                    facts.absorb(&self.number(indices.lidx.as_mut(), scope, env)?);
                    facts.absorb(&self.number(indices.uidx.as_mut(), scope, env)?);
                }
                _ => return Err(unsupported("this kind of subscript")),
            }
        }
        Ok(facts)
    }

    fn call(
        &mut self,
        call: &mut FuncCall,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        self.call_of(call, scope, env).map(|(facts, _)| facts)
    }

    /// Judges a call, and tells what is called.
    pub(super) fn call_of(
        &mut self,
        call: &mut FuncCall,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(Facts, Given), Denial> {
        self.refuse_rows_given(call, scope)?;
        let mut facts = Facts::default();
        let mut given = Vec::with_capacity(call.args.len());
        for arg in &mut call.args {
            let argument = self.expression(arg, scope, env)?;
            facts.absorb(&argument);
            given.push(argument.ty);
        }
        let called = self.function(call, &given)?;
        let given = Given::by(call, called.own, given);
        let ty = self.type_given(&given);
        facts.absorb(&self.sort(&mut call.agg_order, scope, env)?);
        facts.absorb(&self.truth(call.agg_filter.as_mut(), scope, env)?);
        if let Some(window) = call.over.as_mut() {
            facts.absorb(&self.window(window, scope, env)?);
        }
        if called.aggregate {
            // Runs on rows that passed; only what an outer query's rows feed into it stays.
            // An aggregate over columns of an outer query belongs to that one: it does not keep a
            // HAVING condition of this query from being moved into WHERE.
            let own = |entry: &EntryId| scope.items.iter().any(|item| item.entry == *entry);
            let aggregate = call.agg_star || facts.reads.iter().any(own);
            if !aggregate && call.over.is_none() {
                self.forget_aggregated(&mut facts, scope);
            }
            let facts = Facts {
                ty,
                aggregate,
                sealed: true,
                reads: facts.reads,
                leaky: facts.leaky,
                ..Facts::default()
            };
            return Ok((facts, given));
        }
        let leaky = facts.leaky || (!called.leakproof && !facts.reads.is_empty());
        let facts = Facts {
            ty,
            leaky,
            ..computed(facts)
        };
        Ok((facts, given))
    }

    /// An aggregate of an outer query is one value for all rows of a group there, made when that query
    /// has admitted and grouped them: it reads none of them any more, and a barrier could not name
    /// their columns. Whose aggregate it is shows only where every column that a query in between
    /// has counts as read.
    fn forget_aggregated(&self, facts: &mut Facts, scope: &Scope<'_>) {
        let mut level = Some(scope);
        while let Some(current) = level {
            let own = |entry: &EntryId| current.items.iter().any(|item| item.entry == *entry);
            if facts.reads.iter().any(own) {
                facts.reads.retain(|entry| !own(entry));
                return;
            }
            let unseen = |entry: &super::Entry| entry.columns.iter().any(|column| column.sealed);
            let mut entries = current.items.iter().filter_map(|it| self.entry(it.entry));
            if entries.any(unseen) {
                return;
            }
            level = current.outer;
        }
    }
}

/// The facts of something that merely combines its parts.
pub(super) fn computed(facts: Facts) -> Facts {
    Facts {
        ty: Ty::Unknown,
        tenant: None,
        ..facts
    }
}
