//! The facts that lints ask: the snapshot, how it is scoped, and what was counted.

use std::collections::HashSet;
use std::sync::Arc;

use pgwarden_policy::catalog::Oid;
use pgwarden_policy::rules::{Scope, ScopeKey};
use pgwarden_policy::scopes::RelationScope;
use pgwarden_policy::tenant::ValueType;

use super::counts::Counts;
use super::expectations::Missing;
use super::expression::Expression;
use super::scoping::Scoping;
use super::snapshot::{Column, Constraint, Function, Relation, RowPolicy, Snapshot};
use super::sources::{self, Source};

/// All that is known.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) scoping: Scoping,
    pub(crate) counts: Counts,
    pub(crate) proxy_role: Option<String>,
    /// What the application's SQL expects in vain.
    pub(crate) missing: Vec<Missing>,
    /// The setting that most policies read instead of claims.
    pub(crate) setting: Option<String>,
}

/// A table with the tenant's column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TenantColumn<'a> {
    pub(crate) table: &'a Relation,
    pub(crate) column: &'a Column,
    pub(crate) key: &'a ScopeKey,
}

impl<'a> TenantColumn<'a> {
    /// Its name, as findings show it.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.table.full_name(), self.column.name)
    }

    /// The foreign keys that consist of the column alone.
    pub(crate) fn foreign_keys(&self) -> impl Iterator<Item = &'a Constraint> + use<'a> {
        let column = &self.column.name;
        let keys = self.table.foreign_keys();
        keys.filter(move |it| matches!(it.columns.as_slice(), [only] if only == column))
    }
}

impl Facts {
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        scoping: Scoping,
        proxy_role: Option<String>,
    ) -> Self {
        let mut facts = Self {
            snapshot,
            scoping,
            counts: Counts::default(),
            proxy_role,
            missing: Vec::new(),
            setting: None,
        };
        facts.setting = facts.most_read_setting();
        facts
    }

    /// The setting that holds the tenant, where policies that read one outnumber those that read
    /// claims.
    fn most_read_setting(&self) -> Option<String> {
        let texts = self.guarded().flat_map(|it| &it.policies);
        let texts = texts.filter_map(|it| it.using.as_deref().or(it.check.as_deref()));
        let (mut claims, mut settings) = (0_usize, Vec::new());
        for source in texts.flat_map(|it| self.sources(it)) {
            match source {
                Source::Claim(path) => claims += usize::from(sources::is_signed_tenant(&path)),
                Source::Setting(name) if sources::is_request(&name) => {}
                Source::Setting(name) => settings.push(name),
            }
        }
        settings.sort();
        let most = settings.chunk_by(|a, b| a == b).max_by_key(|it| it.len())?;
        most.first().filter(|_| most.len() > claims).cloned()
    }

    pub(crate) fn relation(&self, oid: Oid) -> Option<&Relation> {
        self.snapshot.relations.iter().find(|it| it.oid == oid)
    }

    pub(crate) fn function(&self, oid: Oid) -> Option<&Function> {
        self.snapshot.functions.iter().find(|it| it.oid == oid)
    }

    /// The relations in the schemas that the policy looks at.
    pub(crate) fn relations(&self) -> impl Iterator<Item = &Relation> {
        let policy = &self.scoping.policy;
        self.snapshot.relations.iter().filter(|it| {
            policy.defaults.discover.contains(&it.schema)
                || policy
                    .tables
                    .iter()
                    .any(|rule| rule.name.schema == it.schema)
        })
    }

    /// The tables among them.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Relation> {
        self.relations().filter(|it| it.is_table())
    }

    /// The functions in these schemas.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Function> {
        let policy = &self.scoping.policy;
        let functions = self.snapshot.functions.iter();
        functions.filter(|it| policy.defaults.discover.contains(&it.schema))
    }

    /// The keys of a scoped table; empty when it is reached through its parent.
    pub(crate) fn keys(&self, oid: Oid) -> Option<&[ScopeKey]> {
        match self.scoping.scopes.get(&oid)? {
            RelationScope::Keys(keys) => Some(keys),
            RelationScope::Via => Some(&[]),
            RelationScope::Global | RelationScope::Denied => None,
        }
    }

    /// Whether a relation holds rows of tenants.
    pub(crate) fn is_scoped(&self, oid: Oid) -> bool {
        self.keys(oid).is_some()
    }

    /// The table that a partition belongs to in the end, or the table itself.
    pub(crate) fn root<'a>(&'a self, table: &'a Relation) -> Option<&'a Relation> {
        let mut root = table;
        // Partitions have one parent each, and no circles.
        while root.partition {
            root = self.relation(*root.parents.first()?)?;
        }
        Some(root)
    }

    /// The partitions that somebody else than the owner may name, with the tables that they belong
    /// to: wherever they are, only their own policies guard them then.
    pub(crate) fn open_partitions(&self) -> impl Iterator<Item = (&Relation, &Relation)> {
        let tables = self.snapshot.relations.iter();
        let partitions = tables.filter(|it| it.is_table() && it.partition && !it.grants.is_empty());
        partitions.filter_map(|it| Some((it, self.root(it)?)))
    }

    /// Whether it is the table of the tenants.
    pub(crate) fn is_tenants(&self, oid: Oid) -> bool {
        self.scoping.tenants.as_ref().is_some_and(|it| it.0 == oid)
    }

    /// The scoped tables; partitions go with their parent.
    pub(crate) fn guarded(&self) -> impl Iterator<Item = &Relation> {
        let tables = self.snapshot.relations.iter().filter(|it| it.is_table());
        tables.filter(|it| !it.partition && self.is_scoped(it.oid))
    }

    /// The columns that hold the tenant, in tables other than the tenants' own.
    pub(crate) fn tenant_columns(&self) -> impl Iterator<Item = TenantColumn<'_>> {
        let tables = self.guarded().filter(|it| !self.is_tenants(it.oid));
        tables.filter_map(|table| self.tenant_column(table))
    }

    /// The column of a table that holds the tenant.
    pub(crate) fn tenant_column<'a>(&'a self, table: &'a Relation) -> Option<TenantColumn<'a>> {
        let keys = self.keys(table.oid)?;
        let claim = &self.scoping.policy.tenant.claim;
        let key = keys.iter().find(|key| key.claim == *claim)?;
        let column = table.column(&key.column)?;
        Some(TenantColumn { table, column, key })
    }

    /// The table of the tenants and its key.
    pub(crate) fn tenants(&self) -> Option<(&Relation, &Column)> {
        let (oid, key) = self.scoping.tenants.as_ref()?;
        let relation = self.relation(*oid)?;
        Some((relation, relation.column(key)?))
    }

    /// The scoped tables that a relation shows, through views on views.
    pub(crate) fn shown_by(&self, view: &Relation) -> Vec<&Relation> {
        let mut seen = HashSet::new();
        let mut queue = view.depends_on.clone();
        let mut shown = Vec::new();
        while let Some(oid) = queue.pop() {
            if !seen.insert(oid) {
                continue;
            }
            let Some(relation) = self.relation(oid) else {
                continue;
            };
            if self.is_scoped(oid) {
                shown.push(relation);
            }
            queue.extend(&relation.depends_on);
        }
        shown.sort_by_key(|it| it.full_name());
        shown
    }

    /// The policies that let rows through for roles that obey policies, unless a restrictive one
    /// keeps the tenant for all commands anyway.
    pub(crate) fn permissive(&self) -> impl Iterator<Item = (&Relation, &RowPolicy)> {
        self.guarded().flat_map(move |table| {
            let fenced = table.policies.iter().any(|it| self.fences(table, it));
            let policies = table.policies.iter().filter(move |it| {
                it.permissive && !fenced && !it.roles.iter().all(|role| self.is_above_rls(role))
            });
            policies.map(move |policy| (table, policy))
        })
    }

    fn fences(&self, table: &Relation, policy: &RowPolicy) -> bool {
        !policy.permissive
            && policy.command == '*'
            && policy.roles.iter().any(|it| it == "PUBLIC")
            && policy
                .using
                .as_deref()
                .is_some_and(|it| self.restricts(table, it))
    }

    /// Whether an expression compares the tenant's column of the table.
    pub(crate) fn restricts(&self, table: &Relation, text: &str) -> bool {
        let keys = self.keys(table.oid).unwrap_or_default();
        let columns: Vec<&str> = keys.iter().map(|key| key.column.as_str()).collect();
        let is_open = |name: &str| {
            let mut named = self.snapshot.relations.iter().filter(|it| it.name == name);
            named.any(|it| it.is_table() && !it.row_security)
        };
        Expression::parse(text).is_none_or(|it| it.restricts(&columns, is_open))
    }

    /// Whether policies don't bind a role anyway.
    pub(crate) fn is_above_rls(&self, role: &str) -> bool {
        let role = self.snapshot.roles.iter().find(|it| it.name == role);
        role.is_some_and(|it| it.bypasses_rls || it.superuser)
    }

    /// Whether a function's or policy's text asks who the session is.
    pub(crate) fn sources(&self, text: &str) -> Vec<Source> {
        sources::of_expression(text, &self.snapshot.functions)
    }

    /// The session's value for a key, as fixes write it.
    pub(crate) fn value_of(&self, key: &ScopeKey) -> String {
        if let Some(setting) = &self.setting {
            let (name, cast) = (setting.replace('\'', "''"), sql_type(key.value_type));
            return format!("(SELECT nullif(current_setting('{name}', true), '')::{cast})");
        }
        let path = key.claim.0.join(",");
        format!(
            "(SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb \
             #>> '{{{path}}}', '')::{})",
            sql_type(key.value_type)
        )
    }

    /// The predicate of a scoped table, as fixes write it.
    pub(crate) fn predicate(&self, table: &Relation) -> Option<String> {
        let root = self.root(table)?;
        let keys = self.keys(root.oid)?;
        if keys.is_empty() {
            return self.predicate_via(root);
        }
        let parts = keys.iter().filter_map(|key| {
            let column = table.column(&key.column)?;
            Some(format!("{} = {}", column.sql, self.value_of(key)))
        });
        Some(parts.collect::<Vec<_>>().join(" AND "))
    }

    /// The same for a table behind a parent, whose own policies say which of its rows are seen.
    fn predicate_via(&self, table: &Relation) -> Option<String> {
        let rules = &self.scoping.policy.tables;
        let rule = rules
            .iter()
            .find(|it| super::scoping::is_about(it, table))?;
        let Scope::Via {
            column,
            parent,
            key,
        } = &rule.scope
        else {
            return None;
        };
        let mut relations = self.snapshot.relations.iter();
        let parent = relations.find(|it| it.schema == parent.schema && it.name == parent.name)?;
        Some(format!(
            "EXISTS (SELECT FROM {} p WHERE p.{} = {}.{})",
            parent.sql,
            parent.column(key)?.sql,
            table.sql,
            table.column(column)?.sql
        ))
    }

    /// The policy that the model wants on a table.
    pub(crate) fn policy_sql(&self, table: &Relation) -> Option<String> {
        let predicate = self.predicate(table)?;
        Some(format!(
            "CREATE POLICY tenant_isolation ON {} USING ({predicate}) WITH CHECK ({predicate});",
            table.sql
        ))
    }
}

/// The type's name in SQL.
pub(crate) fn sql_type(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Uuid => "uuid",
        ValueType::Bigint => "bigint",
        ValueType::Text => "text",
    }
}
