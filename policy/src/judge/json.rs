//! The SQL/JSON constructors and query functions, and everything that is no expression at all.
//!
//! The grammar here is that of the newest server. To an older one `JSON_SCALAR(x)` calls a function of that
//! name, which could be anybody's: what a server does not know is refused.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    JsonAggConstructor, JsonBehavior, JsonKeyValue, JsonOutput, JsonValueExpr, Node,
};

use super::expression::Facts;
use super::names::{Scope, Ty};
use super::{Env, Judge, unsupported};
use crate::deny::Denial;

/// The first version that has the constructors.
const CONSTRUCTS: u32 = 160_000;

/// The first version that has the query functions.
const QUERIES: u32 = 170_000;

impl Judge<'_> {
    /// Refuses what is a word of the grammar only since a version that the server has not reached.
    pub(super) fn since(&self, version: u32, what: &str) -> Result<(), Denial> {
        if self.bound.catalog.parts().server_version_num >= version {
            return Ok(());
        }
        let before = format!("{what} on a server before version {}", version / 10_000);
        Err(unsupported(&before)
            .hint("If you mean a function of this name, call it with its schema."))
    }

    /// Judges a SQL/JSON expression; any other node is refused.
    pub(super) fn json(
        &mut self,
        node: &mut NodeEnum,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let facts = match node {
            NodeEnum::JsonObjectConstructor(json) => {
                self.since(CONSTRUCTS, "this constructor of JSON")?;
                self.json_output(json.output.as_ref())?;
                self.json_members(&mut json.exprs, scope, env)?
            }
            NodeEnum::JsonArrayConstructor(json) => {
                self.since(CONSTRUCTS, "this constructor of JSON")?;
                self.json_output(json.output.as_ref())?;
                self.json_members(&mut json.exprs, scope, env)?
            }
            NodeEnum::JsonArrayQueryConstructor(json) => {
                self.since(CONSTRUCTS, "this constructor of JSON")?;
                self.json_output(json.output.as_ref())?;
                let mark = self.entries.len();
                let Some(NodeEnum::SelectStmt(select)) =
                    json.query.as_mut().and_then(|query| query.node.as_mut())
                else {
                    return Err(unsupported("this form of JSON_ARRAY"));
                };
                let output = self.select(select, Some(scope), env)?;
                let reads = output
                    .reads
                    .into_iter()
                    .filter(|entry| *entry < mark)
                    .collect();
                Facts {
                    leaky: true,
                    reads,
                    ..Facts::default()
                }
            }
            NodeEnum::JsonObjectAgg(json) => {
                self.since(CONSTRUCTS, "this aggregate of JSON")?;
                self.allow_json(Ty::Unknown)?;
                let mut facts = self.json_pair(json.arg.as_deref_mut(), scope, env)?;
                let constructor = json.constructor.as_deref_mut();
                facts.absorb(&self.json_aggregate(constructor, scope, env)?);
                return Ok(Facts {
                    aggregate: true,
                    sealed: true,
                    ..facts
                });
            }
            NodeEnum::JsonArrayAgg(json) => {
                self.since(CONSTRUCTS, "this aggregate of JSON")?;
                self.allow_json(Ty::Unknown)?;
                let mut facts = self.json_value(json.arg.as_deref_mut(), scope, env)?;
                let constructor = json.constructor.as_deref_mut();
                facts.absorb(&self.json_aggregate(constructor, scope, env)?);
                return Ok(Facts {
                    aggregate: true,
                    sealed: true,
                    ..facts
                });
            }
            NodeEnum::JsonParseExpr(json) => {
                self.since(QUERIES, "this function of JSON")?;
                self.json_output(json.output.as_ref())?;
                self.json_value(json.expr.as_deref_mut(), scope, env)?
            }
            NodeEnum::JsonScalarExpr(json) => {
                self.since(QUERIES, "this function of JSON")?;
                self.json_output(json.output.as_ref())?;
                self.optional(json.expr.as_mut(), scope, env)?
            }
            NodeEnum::JsonSerializeExpr(json) => {
                self.since(QUERIES, "this function of JSON")?;
                self.json_output(json.output.as_ref())?;
                self.json_value(json.expr.as_deref_mut(), scope, env)?
            }
            NodeEnum::JsonIsPredicate(json) => self.optional(json.expr.as_mut(), scope, env)?,
            NodeEnum::JsonFuncExpr(json) => {
                self.since(QUERIES, "this function of JSON")?;
                self.json_output(json.output.as_ref())?;
                let mut facts = self.json_value(json.context_item.as_deref_mut(), scope, env)?;
                facts.absorb(&self.optional(json.pathspec.as_mut(), scope, env)?);
                facts.absorb(&self.json_members(&mut json.passing, scope, env)?);
                facts.absorb(&self.json_behavior(json.on_empty.as_deref_mut(), scope, env)?);
                facts.absorb(&self.json_behavior(json.on_error.as_deref_mut(), scope, env)?);
                facts
            }
            _ => return Err(unsupported("this kind of expression")),
        };
        self.allow_json(Ty::Unknown)?;
        let leaky = facts.leaky || !facts.reads.is_empty();
        Ok(Facts {
            leaky,
            ..super::expression::computed(facts)
        })
    }

    fn json_output(&self, output: Option<&JsonOutput>) -> Result<(), Denial> {
        if let Some(name) = output.and_then(|output| output.type_name.as_ref()) {
            self.type_name(name)?;
        }
        Ok(())
    }

    /// What stands around an aggregate's argument. It reads, too: columns of an outer query, which
    /// may not have admitted its rows yet.
    fn json_aggregate(
        &mut self,
        constructor: Option<&mut JsonAggConstructor>,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let Some(constructor) = constructor else {
            return Ok(Facts::default());
        };
        self.json_output(constructor.output.as_ref())?;
        let mut facts = self.truth(constructor.agg_filter.as_mut(), scope, env)?;
        facts.absorb(&self.sort(&mut constructor.agg_order, scope, env)?);
        if let Some(window) = constructor.over.as_mut() {
            facts.absorb(&self.window(window, scope, env)?);
        }
        Ok(facts)
    }

    /// Members of constructors and PASSING lists: pairs, values, named arguments.
    pub(super) fn json_members(
        &mut self,
        members: &mut [Node],
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let mut facts = Facts::default();
        for member in members {
            let found = match member.node.as_mut() {
                Some(NodeEnum::JsonKeyValue(pair)) => self.json_pair(Some(pair), scope, env)?,
                Some(NodeEnum::JsonValueExpr(value)) => self.json_value(Some(value), scope, env)?,
                Some(NodeEnum::JsonArgument(argument)) => {
                    self.json_value(argument.val.as_deref_mut(), scope, env)?
                }
                _ => self.expression(member, scope, env)?,
            };
            facts.absorb(&found);
        }
        Ok(facts)
    }

    fn json_pair(
        &mut self,
        pair: Option<&mut JsonKeyValue>,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let Some(pair) = pair else {
            return Ok(Facts::default());
        };
        let mut facts = self.optional(pair.key.as_mut(), scope, env)?;
        facts.absorb(&self.json_value(pair.value.as_deref_mut(), scope, env)?);
        Ok(facts)
    }

    pub(super) fn json_value(
        &mut self,
        value: Option<&mut JsonValueExpr>,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let Some(value) = value else {
            return Ok(Facts::default());
        };
        let mut facts = self.optional(value.raw_expr.as_mut(), scope, env)?;
        facts.absorb(&self.optional(value.formatted_expr.as_mut(), scope, env)?);
        Ok(facts)
    }

    pub(super) fn json_behavior(
        &mut self,
        behavior: Option<&mut JsonBehavior>,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        match behavior {
            Some(behavior) => self.optional(behavior.expr.as_mut(), scope, env),
            None => Ok(Facts::default()),
        }
    }
}
