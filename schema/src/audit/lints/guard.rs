//! The trigger that keeps a row's tenant: whether there is one, and whether it does.

use crate::audit::facts::{Facts, TenantColumn};
use crate::audit::snapshot::{Function, Trigger};
use crate::audit::sources;
use crate::ident::ident;

/// `tgtype` of a trigger that fires for each updated row.
const ROW_UPDATE: i32 = 1 | 16;
/// The same for one that fires before: only that can put the old value back.
const BEFORE: i32 = 2;

/// What guards a tenant column.
pub(super) enum Guard<'a> {
    Effective,
    Missing,
    Disabled(&'a Trigger),
    Uncovered(&'a Trigger),
}

impl<'a> Guard<'a> {
    pub(super) fn of(facts: &Facts, it: &TenantColumn<'a>) -> Self {
        let triggers = || {
            it.table
                .triggers
                .iter()
                .filter(|trigger| guards(facts, it, trigger))
        };
        let covers = |trigger: &&Trigger| {
            trigger.kind & ROW_UPDATE == ROW_UPDATE
                && (trigger.kind & BEFORE != 0 || raises(facts, trigger))
                && (trigger.columns.is_empty() || trigger.columns.contains(&it.column.name))
        };
        let fires = |trigger: &&Trigger| matches!(trigger.enabled, 'O' | 'A');
        if triggers().any(|it| covers(&it) && fires(&it)) {
            return Self::Effective;
        }
        match (triggers().find(covers), triggers().next()) {
            (Some(trigger), _) => Self::Disabled(trigger),
            (None, Some(trigger)) => Self::Uncovered(trigger),
            (None, None) => Self::Missing,
        }
    }

    /// The trigger's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Effective | Self::Missing => "",
            Self::Disabled(trigger) | Self::Uncovered(trigger) => &trigger.name,
        }
    }

    /// What makes it effective.
    pub(super) fn sql(&self, facts: &Facts, it: &TenantColumn<'_>) -> String {
        let (table, column) = (&it.table.sql, &it.column.sql);
        let create = |name: &str, function: &str| {
            format!(
                "CREATE TRIGGER {name} BEFORE UPDATE OF {column} ON {table} \
                 FOR EACH ROW EXECUTE FUNCTION {function}();"
            )
        };
        let own = format!("prevent_{}_change", it.column.name);
        let function = format!("{}.{}", ident(&it.table.schema), ident(&own));
        let created = || {
            format!(
                "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$\n\
                 BEGIN\n  IF NEW.{column} IS DISTINCT FROM OLD.{column} THEN\n    \
                 RAISE EXCEPTION 'the tenant of a row can''t be changed' USING ERRCODE = '42501';\n  \
                 END IF;\n  RETURN NEW;\nEND $$;\n"
            )
        };
        match self {
            Self::Effective => String::new(),
            Self::Missing => created() + &create(&ident(&own), &function),
            Self::Disabled(trigger) => {
                format!("ALTER TABLE {table} ENABLE TRIGGER {};", trigger.sql)
            }
            Self::Uncovered(trigger) => {
                let called = facts.function(trigger.function);
                let called = called.map(|it| format!("{}.{}", ident(&it.schema), ident(&it.name)));
                format!(
                    "DROP TRIGGER {} ON {table};\n{}",
                    trigger.sql,
                    create(&trigger.sql, &called.unwrap_or(function))
                )
            }
        }
    }
}

/// Whether a trigger is meant to keep the tenant: its function or its condition compares the column, or
/// the function puts the old value back, is told the column's name, or refuses whatever it is called for.
fn guards(facts: &Facts, it: &TenantColumn<'_>, trigger: &Trigger) -> bool {
    let Some(function) = facts.function(trigger.function) else {
        return false;
    };
    let body = lower(sources::body(&function.source));
    let condition = lower(&trigger.definition);
    let column = it.column.name.to_lowercase();
    let old = |tokens: &[String]| names_old(tokens, &column);
    let told = trigger.arguments.split("\\000").any(|it| it == column);
    let has = |word: &str| body.iter().any(|it| it == word);
    let refuses = has("raise") && !has("if") && trigger.columns == [it.column.name.clone()];
    let acts = has("raise") || has(":=");
    (old(&body) || old(&condition) || told || refuses) && acts
}

/// Whether a trigger can refuse, for which it is never too late.
fn raises(facts: &Facts, trigger: &Trigger) -> bool {
    let function = facts.function(trigger.function);
    function.is_some_and(|it| {
        lower(sources::body(&it.source))
            .iter()
            .any(|it| it == "raise")
    })
}

/// Whether a function looks at the old value of a column.
pub(super) fn reads_old(function: &Function, column: &str) -> bool {
    names_old(
        &lower(sources::body(&function.source)),
        &column.to_lowercase(),
    )
}

fn lower(text: &str) -> Vec<String> {
    let tokens = sources::tokens(text).into_iter();
    tokens.map(str::to_lowercase).collect()
}

fn names_old(tokens: &[String], column: &str) -> bool {
    tokens.windows(3).any(|it| {
        matches!(it, [row, dot, name] if row == "old" && dot == "." && name.trim_matches('"') == column)
    })
}
