//! Functions: what a call may run.
//!
//! Where a name exists in pg_catalog and in a schema of the search_path, the server's overload resolution
//! may choose any that the arguments can be given to ([`coercion`](super::coercion)), so all of these
//! must be allowed. PostgreSQL's own are judged by name alone.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, a_const};

use super::names::{Ty, strings};
use super::{Judge, unsupported};
use crate::builtin::functions::{self, Class};
use crate::builtin::settings;
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
    pub(super) fn function(&mut self, call: &FuncCall, given: &[Ty]) -> Result<Called, Denial> {
        let parts = strings(&call.funcname)?;
        let (schema, name) = match parts.as_slice() {
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            _ => return Err(unsupported("a function name with a database")),
        };
        let arguments = have_places(call).then_some(given);
        let called = self.function_called(schema, name, arguments)?;
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
            self.checked_call(name, call)?;
        }
        let aggregate = called.aggregate || call.agg_star || call.over.is_some();
        Ok(Called {
            aggregate,
            ..called
        })
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

    /// Judges a function by name, and by the types of its arguments where they are known.
    pub(super) fn function_called(
        &self,
        schema: Option<&str>,
        name: &str,
        arguments: Option<&[Ty]>,
    ) -> Result<Called, Denial> {
        let builtin = match schema {
            None | Some("pg_catalog") => functions::class(name),
            Some(_) => None,
        };
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
        let listed = functions::is_shared_lock(name) && rules.allow.iter().any(named);
        if class == Class::Denied && !listed || rules.deny.contains(&qualified) {
            return Err(denied(name));
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
    fn checked_call(&mut self, name: &str, call: &FuncCall) -> Result<(), Denial> {
        match name {
            "set_config" => self.set_config(call),
            "ts_rewrite" if call.args.len() == 2 => Err(denied(name)
                .hint("The form with a query runs SQL; use the one with three arguments.")),
            "ts_rewrite" => Ok(()),
            "nextval" => self.sequence(name, call),
            "currval" => self
                .last_value(name)
                .and_then(|()| self.sequence(name, call)),
            "lastval" => self.last_value(name),
            "current_setting" => self.current_setting(call),
            "pg_notify" => self.notify_call(call),
            _ => Err(denied(name)),
        }
    }

    fn set_config(&mut self, call: &FuncCall) -> Result<(), Denial> {
        let name = self.literal_of_setting(call.args.first())?;
        let value = match settings::is_judged_by_value(&name) {
            true => Some(self.literal_of_setting(call.args.get(1))?),
            false => None,
        };
        let effect = settings::check(&self.bound.policy, &name, value.as_deref())?;
        self.findings.effects.extend(effect);
        self.sets(&name);
        Ok(())
    }

    /// An argument of set_config that the verdict depends on.
    fn literal_of_setting(&mut self, argument: Option<&Node>) -> Result<String, Denial> {
        let literal = argument.and_then(|argument| self.pinned_text(argument));
        literal.ok_or_else(|| {
            let text =
                "set_config needs the setting's name, and a value that matters, as a literal";
            Denial::new(DenyReason::IdentityGuard, text).hint("Use SET, or write them as literals.")
        })
    }

    /// The same for a break-glass role, which may call it in a select list for all but its identity.
    pub(super) fn sets_unguarded(&mut self, call: &FuncCall) -> Result<(), Denial> {
        let name = self.literal_of_setting(call.args.first())?;
        if settings::is_identity(&name) {
            return Err(settings::identity(&name));
        }
        if settings::is_judged_by_value(&name) {
            let value = self.literal_of_setting(call.args.get(1))?;
            settings::check_reading(&name, Some(&value))?;
        }
        self.sets(&name);
        if name.eq_ignore_ascii_case("search_path") {
            self.findings.effects.push(Effect::SearchPath);
        }
        Ok(())
    }

    /// Reading a setting needs its name: some applications keep their signing keys in settings.
    fn current_setting(&mut self, call: &FuncCall) -> Result<(), Denial> {
        let name = call.args.first().and_then(|arg| self.pinned_text(arg));
        let Some(name) = name else {
            return Err(denied("current_setting").hint("Write the setting's name as a literal."));
        };
        settings::check_read(&name)
    }

    /// What the server connection took from sequences last. Where other sessions use it in between,
    /// that may be theirs.
    fn last_value(&self, function: &str) -> Result<(), Denial> {
        if self.request.facts.shared {
            let hint = "In transaction mode the server connection is not the session's own: use RETURNING.";
            return Err(denied(function).hint(hint));
        }
        Ok(())
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

    /// A sequence that belongs to a table which the client may write: `nextval('t_id_seq')`. The
    /// snapshot does not tell the owner, so the schema must be one that the policy discovers.
    fn sequence(&mut self, function: &str, call: &FuncCall) -> Result<(), Denial> {
        let name = call.args.first().and_then(|arg| self.pinned_text(arg));
        let Some(name) = name else {
            return Err(denied(function).hint("Write the sequence's name as a literal."));
        };
        let (schema, name) = match name.split_once('.') {
            Some((schema, name)) => (schema.to_owned(), name.to_owned()),
            None => (String::new(), name),
        };
        let schema = schema.trim_matches('"');
        let relation = self.find_relation(schema, name.trim_matches('"'))?;
        let known = relation.kind == crate::catalog::RelationKind::Sequence
            && self
                .bound
                .policy
                .defaults
                .discover
                .contains(&relation.schema);
        if known { Ok(()) } else { Err(denied(function)) }
    }

    /// The text of a string literal, perhaps cast, whose value becomes part of the verdict.
    pub(super) fn pinned_text(&mut self, node: &Node) -> Option<String> {
        match node.node.as_ref()? {
            NodeEnum::AConst(constant) => {
                let Some(a_const::Val::Sval(text)) = constant.val.as_ref() else {
                    return None;
                };
                self.pin(constant.location);
                Some(text.sval.clone())
            }
            // A length would cut the text, another type would read it in its own way.
            NodeEnum::TypeCast(cast) => {
                let to = cast.type_name.as_ref()?;
                let name = strings(&to.names).ok()?.last().copied()?;
                let plain = matches!(name, "text" | "varchar" | "regclass")
                    && to.typmods.is_empty()
                    && to.array_bounds.is_empty();
                self.pinned_text(cast.arg.as_deref().filter(|_| plain)?)
            }
            _ => None,
        }
    }
}

/// Whether the arguments of a call go to those of the function one by one.
fn have_places(call: &FuncCall) -> bool {
    let named = |node: &Node| matches!(node.node, Some(NodeEnum::NamedArgExpr(_)));
    !call.func_variadic && !call.agg_within_group && !call.args.iter().any(named)
}

fn denied(name: &str) -> Denial {
    Denial::new(
        DenyReason::FunctionDenied,
        format!("function \"{name}\" is not allowed"),
    )
}
