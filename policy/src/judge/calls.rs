//! Functions: what a call may run.
//!
//! Where a name exists in pg_catalog and in a schema of the search_path, the server's overload resolution
//! may choose any that the arguments can be given to ([`coercion`](super::coercion)), so all of these
//! must be allowed. PostgreSQL's own are judged by name alone.

use pg_query::NodeEnum;
use pg_query::protobuf::{CoercionForm, FuncCall, Node};

use super::names::{Ty, strings};
use super::{Judge, unsupported};
use crate::builtin::functions::{self, Class};
use crate::catalog::{Function, Oid};
use crate::deny::{Denial, DenyReason};
use crate::plan::Effect;
use crate::rules::{ArgumentType, FunctionRule, QualifiedName};

/// What the rest of the judgement must know of a function.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Called {
    pub(super) leakproof: bool,
    /// An aggregate or window function: it runs on rows that passed WHERE.
    pub(super) aggregate: bool,
    /// One of pg_catalog's, and no other that could be meant.
    pub(super) own: bool,
}

impl Judge<'_> {
    /// Judges the function of a call, its name and whatever of its arguments matters.
    pub(super) fn function(&mut self, call: &mut FuncCall, given: &[Ty]) -> Result<Called, Denial> {
        let parts = strings(&call.funcname)?;
        let (schema, name) = match parts.as_slice() {
            [name] => (None, *name),
            ["pg_catalog", name] => (self.schema_of_word(name, call)?, *name),
            [schema, name] => (Some(*schema), *name),
            _ => {
                return Err(unsupported("a function name with a database")
                    .hint("Leave the name of the database out."));
            }
        };
        let arguments = have_places(call).then_some(given);
        let called = self.all_meant(schema, name, arguments)?;
        if functions::class_in(schema, name).is_some() {
            self.note_lock(name);
        }
        if let [_] = call.args.as_slice() {
            self.type_called(schema, name)?;
        }
        if name.contains("json") {
            for ty in given {
                self.allow_json(*ty)?;
            }
        }
        if schema.is_none_or(|schema| schema == "pg_catalog")
            && functions::class(name) == Some(Class::Checked)
        {
            let name = name.to_owned();
            self.checked_call(&name, call, given)?;
        }
        let aggregate = called.aggregate || call.agg_star || call.over.is_some();
        Ok(Called {
            aggregate,
            ..called
        })
    }

    /// The grammar gives words of its own the schema pg_catalog. To a server that does not know them
    /// yet they are a column, or a function that is looked up in the path.
    fn schema_of_word(&self, name: &str, call: &FuncCall) -> Result<Option<&'static str>, Denial> {
        const WORDS_SINCE: u32 = 160_000;
        match name {
            "system_user" if call.funcformat == CoercionForm::CoerceSqlSyntax as i32 => {
                self.since(WORDS_SINCE, "SYSTEM_USER")?;
            }
            "json_object" if self.since(WORDS_SINCE, name).is_err() => return Ok(None),
            _ => {}
        }
        Ok(Some("pg_catalog"))
    }

    /// `name(value)` is a cast where that is a type's name and no function takes just this type.
    fn type_called(&self, schema: Option<&str>, name: &str) -> Result<(), Denial> {
        match self.find_type(schema, name) {
            Some(ty) if ty.schema != "pg_catalog" => self.allow_type(ty, name, 0),
            _ => Ok(()),
        }
    }

    /// Judges a function by name alone: all overloads of it.
    pub(super) fn function_named(
        &self,
        schema: Option<&str>,
        name: &str,
    ) -> Result<Called, Denial> {
        self.function_called(schema, name, None)
    }

    /// Judges a function that something else than a call of its name runs (an operator, a cast), by its
    /// types where they are known. A lock that outlives the transaction must be called by its name.
    pub(super) fn function_called(
        &self,
        schema: Option<&str>,
        name: &str,
        arguments: Option<&[Ty]>,
    ) -> Result<Called, Denial> {
        if functions::is_session_lock(name) {
            return Err(denied(name));
        }
        self.all_meant(schema, name, arguments)
    }

    /// Notes what a call does to the advisory locks of the session.
    fn note_lock(&mut self, name: &str) {
        if functions::is_session_lock(name) {
            self.findings.effects.push(Effect::Lock);
        } else if functions::is_unlock(name) {
            self.findings.effects.push(Effect::Unlock);
        }
    }

    /// Judges all functions that a name and the types of the arguments could mean.
    fn all_meant(
        &self,
        schema: Option<&str>,
        name: &str,
        arguments: Option<&[Ty]>,
    ) -> Result<Called, Denial> {
        let builtin = functions::class_in(schema, name);
        let path = &self.request.facts.search_path;
        let visible = |function: &&Function| match schema {
            Some(schema) => function.schema == schema,
            None => path.contains(&function.schema),
        };
        let taking = |function: &&Function| {
            arguments.is_none_or(|arguments| self.takes(function, arguments))
        };
        let named = self.bound.catalog.functions_named(name);
        let users: Vec<&Function> = named.filter(visible).filter(taking).collect();
        if builtin.is_none() && users.is_empty() {
            return Err(Denial::new(
                DenyReason::UnknownFunction,
                format!("function \"{name}\" is not known"),
            ));
        }
        let mut called = Called {
            leakproof: true,
            aggregate: true,
            own: users.is_empty(),
        };
        if let Some(class) = builtin {
            if functions::is_random(name) {
                self.findings.random.set(true);
            }
            if !functions::answers_anywhere(name) {
                self.findings.primary_only.set(true);
            }
            let found = self.builtin_call(name, class)?;
            called.leakproof &= found.leakproof;
            called.aggregate &= found.aggregate;
        }
        for function in users {
            self.user_call(function)?;
            called.leakproof = false;
            called.aggregate &= function.kind == crate::catalog::FunctionKind::Aggregate;
        }
        Ok(called)
    }

    fn builtin_call(&self, name: &str, class: Class) -> Result<Called, Denial> {
        let qualified = QualifiedName {
            schema: "pg_catalog".to_owned(),
            name: name.to_owned(),
        };
        let rules = &self.bound.policy.functions;
        let named = |rule: &FunctionRule| rule.arguments.is_none() && rule.name == qualified;
        let listed = functions::is_lock(name) && rules.allow.iter().any(named);
        if class == Class::Denied && !listed || rules.deny.contains(&qualified) {
            let denial = denied(name);
            return Err(match functions::advice(name) {
                Some(advice) => denial.hint(advice),
                None => denial,
            });
        }
        Ok(Called {
            leakproof: class == Class::Leakproof,
            aggregate: class == Class::Aggregate,
            own: true,
        })
    }

    fn user_call(&self, function: &Function) -> Result<(), Denial> {
        let qualified = QualifiedName {
            schema: function.schema.clone(),
            name: function.name.clone(),
        };
        let rules = &self.bound.policy.functions;
        let by_extension = function
            .extension
            .as_ref()
            .is_some_and(|extension| rules.extensions.contains(extension))
            && !functions::runs_sql(&function.name);
        let listed = |rule: &FunctionRule| {
            let arguments = rule.arguments.as_deref();
            rule.name == qualified && arguments.is_none_or(|it| self.has_signature(function, it))
        };
        let allowed = rules.allow.iter().any(listed) || by_extension;
        if rules.deny.contains(&qualified) || !allowed {
            return Err(denied(&qualified.to_string()).hint(
                "A user-defined function runs without the tenant's predicates; the security team \
                 can list it under [functions] in policy.toml.",
            ));
        }
        self.findings.calls_users.set(true);
        if function.volatility == 'v' {
            self.findings.primary_only.set(true);
        }
        Ok(())
    }

    fn has_signature(&self, function: &Function, written: &[ArgumentType]) -> bool {
        let catalog = &self.bound.catalog;
        let is = |oid: Oid, written: &ArgumentType| {
            let found = catalog.type_by_oid(oid).and_then(|ty| match written.array {
                true => catalog.type_by_oid(ty.element),
                false => Some(ty),
            });
            found.is_some_and(|ty| ty.schema == written.name.schema && ty.name == written.name.name)
        };
        let arguments = &function.arguments;
        arguments.len() == written.len()
            && arguments.iter().zip(written).all(|(oid, it)| is(*oid, it))
    }

    /// Whether `row.name` could call a function of that name.
    pub(super) fn may_be_function(&self, name: &str) -> bool {
        functions::class(name).is_some_and(|class| class == Class::Denied)
            || self.bound.catalog.functions_named(name).next().is_some()
    }

    /// Functions whose arguments decide.
    fn checked_call(
        &mut self,
        name: &str,
        call: &mut FuncCall,
        given: &[Ty],
    ) -> Result<(), Denial> {
        match name {
            "set_config" => self.set_config(call),
            "ts_rewrite" if call.args.len() == 2 => Err(denied(name)
                .hint("The form with a query runs SQL; use the one with three arguments.")),
            "ts_rewrite" => Ok(()),
            "nextval" => self.next_value(call),
            "currval" => self.current_value(call),
            "lastval" => {
                self.findings.last_value = true;
                Ok(())
            }
            "current_setting" => self.current_setting(call),
            "pg_notify" => self.notify_call(call, given),
            _ => Err(denied(name)),
        }
    }

    /// Whether a call may give several rows.
    pub(super) fn returns_set(&self, call: &FuncCall) -> bool {
        let Some(name) = strings(&call.funcname)
            .ok()
            .and_then(|parts| parts.last().copied())
        else {
            return true;
        };
        let mut users = self.bound.catalog.functions_named(name);
        functions::returns_set(name) || users.any(|function| function.returns_set)
    }
}

/// Whether the arguments of a call go to those of the function one by one.
pub(super) fn have_places(call: &FuncCall) -> bool {
    let named = |node: &Node| matches!(node.node, Some(NodeEnum::NamedArgExpr(_)));
    !call.func_variadic && !call.agg_within_group && !call.args.iter().any(named)
}

pub(super) fn denied(name: &str) -> Denial {
    Denial::new(
        DenyReason::FunctionDenied,
        format!("function \"{name}\" is not allowed"),
    )
}
