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
use super::fences;
use super::scoping::{self, Scoping};
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
        for sources in texts.map(|it| self.sources(it)) {
            // Who the user is decides, too, where a table says whose members they are.
            let claim =
                |it: &Source| matches!(it, Source::Claim(path) if !sources::is_writable(path));
            claims += usize::from(sources.iter().any(claim));
            let named = sources.into_iter().filter_map(|it| match it {
                Source::Setting(name) if !sources::is_request(&name) => Some(name),
                Source::Setting(_) | Source::Claim(_) => None,
            });
            settings.extend(named);
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

    /// The relations of whatever schema: what shows a tenant's rows does so from anywhere.
    pub(crate) fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.snapshot.relations.iter()
    }

    /// Whether the policy looks at the tables of a schema.
    fn looks_at(&self, schema: &str) -> bool {
        let policy = &self.scoping.policy;
        let named = || policy.tables.iter().any(|it| it.name.schema == schema);
        policy.defaults.discover.iter().any(|it| it == schema) || named()
    }

    /// The tables in the schemas that the policy looks at.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Relation> {
        let tables = self.relations().filter(|it| it.is_table());
        tables.filter(|it| self.looks_at(&it.schema))
    }

    /// The tables in the application's other schemas.
    pub(crate) fn tables_elsewhere(&self) -> impl Iterator<Item = &Relation> {
        let tables = self.relations().filter(|it| it.is_table());
        tables.filter(|it| !self.looks_at(&it.schema) && !scoping::is_foreign(&it.schema))
    }

    /// The functions, but for those that a platform brings along.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Function> {
        let functions = self.snapshot.functions.iter();
        functions.filter(|it| self.looks_at(&it.schema) || !scoping::is_foreign(&it.schema))
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

    /// The policies that let rows through for roles that obey policies, unless restrictive ones
    /// keep the tenant for the same roles and commands anyway.
    pub(crate) fn permissive(&self) -> impl Iterator<Item = (&Relation, &RowPolicy)> {
        self.policies(|table, it| it.permissive && !fences::is_fenced(self, table, it))
    }

    /// The policies that decide which tenant's rows pass: those, and the restrictive ones that keep
    /// the tenant.
    pub(crate) fn deciding(&self) -> impl Iterator<Item = (&Relation, &RowPolicy)> {
        self.policies(|table, it| match it.permissive {
            true => !fences::is_fenced(self, table, it),
            false => fences::is_fence(self, table, it),
        })
    }

    fn policies<'a>(
        &'a self,
        asked: impl Fn(&Relation, &RowPolicy) -> bool + Copy + 'a,
    ) -> impl Iterator<Item = (&'a Relation, &'a RowPolicy)> {
        self.guarded().flat_map(move |table| {
            let policies = table.policies.iter().filter(move |it| asked(table, it));
            let binding =
                policies.filter(|it| !it.roles.iter().all(|role| self.is_above_rls(role)));
            binding.map(move |policy| (table, policy))
        })
    }

    /// Whether an expression compares the tenant's column of the table.
    pub(crate) fn restricts(&self, table: &Relation, text: &str) -> bool {
        let keys = self.keys(table.oid).unwrap_or_default();
        let columns: Vec<&str> = keys.iter().map(|key| key.column.as_str()).collect();
        let is_open = |name: &str| {
            let mut named = self.snapshot.relations.iter().filter(|it| it.name == name);
            named.any(|it| it.is_table() && !it.row_security)
        };
        Expression::parse(text)
            .is_none_or(|it| it.restricts(&columns, self.setting.as_deref(), is_open))
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

    /// Whether a function's value depends on the session that calls it.
    pub(crate) fn reads_session(&self, function: &Function) -> bool {
        sources::reads_session(function, &self.snapshot.functions)
    }

    /// The session's value for a key, as fixes write it.
    pub(crate) fn value_of(&self, key: &ScopeKey) -> String {
        if let Some(setting) = &self.setting {
            let (name, cast) = (setting.replace('\'', "''"), sql_type(key.value_type));
            return format!("(SELECT nullif(current_setting('{name}', true), '')::{cast})");
        }
        let path = array_of_path(&key.claim.0).replace('\'', "''");
        format!(
            "(SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb \
             #>> '{path}', '')::{})",
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
        let rule = rules.iter().find(|it| scoping::is_about(it, table))?;
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

/// A claim's path as an array of texts.
pub(crate) fn array_of_path(path: &[String]) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-');
    let element = |it: &String| match !it.is_empty() && it.chars().all(plain) {
        true => it.clone(),
        false => format!("\"{}\"", it.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    let elements: Vec<String> = path.iter().map(element).collect();
    format!("{{{}}}", elements.join(","))
}
