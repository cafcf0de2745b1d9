//! Forced row level security with the tenant's policy.
//!
//! Only where the audit finds fault: what it takes for good is left alone. Policies that a table has
//! already stay, behind a restrictive one: permissive policies are joined by OR, and one that knows no
//! tenants would undo the tenant's.

use pgwarden_policy::rules::Scope;

use crate::audit::lints::reads_wrong_claim;
use crate::audit::snapshot::{Relation, RowPolicy};
use crate::audit::sources::Source;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::phase::Phase;
use crate::migrate::targets::slug;

/// The policies' names, and those where others have them.
const POLICY: [&str; 2] = ["tenant_isolation", "tenant_isolation_of_claims"];
const FENCE: [&str; 2] = ["tenant_fence", "tenant_fence_of_claims"];

pub(super) fn steps(model: &Model<'_>) -> Vec<Step> {
    let targets = model
        .targets
        .iter()
        .map(|it| (it.table, model.predicate(&it.sql)));
    // What the policy scopes by something else: the tenants themselves, tables of users.
    let others = model
        .facts
        .guarded()
        .filter(|it| model.target(it.oid).is_none());
    let others = others.filter_map(|it| Some((it, model.facts.predicate(it)?)));
    // A partition that somebody may name itself is guarded by its own policies only.
    let partitions = model.facts.open_partitions();
    let partitions = partitions
        .filter_map(|(it, root)| Some((it, model.predicate(&model.target(root.oid)?.sql))));
    let steps = targets
        .chain(others)
        .chain(partitions)
        .filter_map(|(table, predicate)| step(model, table, &predicate));
    steps.chain(made_tenants(model)).collect()
}

/// The policy of the tenants' own table, if that is made and the policy scopes it.
fn made_tenants(model: &Model<'_>) -> Option<Step> {
    let tenants = &model.tenants;
    let rules = &model.facts.scoping.policy.tables;
    let rule = rules.iter().find(|it| it.name == tenants.name)?;
    let scoped = matches!(rule.scope, Scope::Keys(_) | Scope::Discovered);
    if tenants.table.is_some() || !scoped {
        return None;
    }
    let (sql, predicate) = (&tenants.sql, model.predicate(&tenants.key));
    let [name, _] = POLICY;
    Some(written(
        &tenants.name.to_string(),
        &format!("{}_{}", tenants.name.schema, tenants.name.name),
        Vec::new(),
        &[
            format!(
                "CREATE POLICY {name} ON {sql}\n  USING ({predicate})\n  WITH CHECK ({predicate});"
            ),
            format!("ALTER TABLE {sql} ENABLE ROW LEVEL SECURITY;"),
            format!("ALTER TABLE {sql} FORCE ROW LEVEL SECURITY;"),
        ],
        &[
            format!("ALTER TABLE {sql} NO FORCE ROW LEVEL SECURITY;"),
            format!("ALTER TABLE {sql} DISABLE ROW LEVEL SECURITY;"),
            format!("DROP POLICY {name} ON {sql};"),
        ],
    ))
}

/// What a table's policies do already.
struct Guarded<'a> {
    model: &'a Model<'a>,
    table: &'a Relation,
}

impl Guarded<'_> {
    /// Whether a policy keeps rows to the tenant that the verified token names. One that asks whose
    /// member the user is shows all of a user's tenants at once.
    fn is_right(&self, policy: &RowPolicy) -> bool {
        let facts = self.model.facts;
        let target = self.model.target(self.table.oid);
        let there = target.is_none_or(|it| it.existing.is_some());
        let texts = [policy.using.as_deref(), policy.check.as_deref()];
        let mut texts = texts.into_iter().flatten();
        there
            && texts.all(|it| facts.restricts(self.table, it) && self.reads_claim(it))
            && reads_wrong_claim(facts, self.table, policy).is_none()
    }

    /// Whether an expression reads a claim that the table is scoped by; behind a parent there is none.
    fn reads_claim(&self, text: &str) -> bool {
        let facts = self.model.facts;
        let keys = facts.keys(self.table.oid).unwrap_or_default();
        let own = |it: &Source| matches!(it, Source::Claim(path) if keys.iter().any(|key| key.claim.0 == *path));
        keys.is_empty() || facts.sources(text).iter().any(own)
    }

    /// Whether a restrictive policy asks something else than the claims.
    fn narrows(&self, policy: &RowPolicy) -> bool {
        !policy.permissive && !self.is_right(policy)
    }

    fn binding(&self) -> impl Iterator<Item = &RowPolicy> {
        let facts = self.model.facts;
        let policies = self.table.policies.iter();
        policies.filter(|it| !it.roles.iter().all(|role| facts.is_above_rls(role)))
    }

    /// Whether rows come to the tenant at all.
    fn lets_in(&self) -> bool {
        self.binding().any(|it| it.permissive && self.is_right(it))
    }

    /// Whether nothing lets other tenants' rows through.
    fn is_tight(&self) -> bool {
        let fence = |it: &&RowPolicy| {
            !it.permissive && it.command == '*' && it.roles.iter().any(|it| it == "PUBLIC")
        };
        self.binding()
            .filter(|it| it.permissive)
            .all(|it| self.is_right(it))
            || self.binding().filter(fence).any(|it| self.is_right(it))
    }

    /// The first of these names that no policy has.
    fn free<'n>(&self, names: [&'n str; 2]) -> Option<&'n str> {
        let taken = |name: &str| self.table.policies.iter().any(|it| it.name == name);
        names.into_iter().find(|it| !taken(it))
    }
}

fn step(model: &Model<'_>, table: &Relation, predicate: &str) -> Option<Step> {
    let root = model.facts.root(table).unwrap_or(table);
    let there = model
        .target(root.oid)
        .is_none_or(|it| it.existing.is_some());
    if there && !model.faulty.contains(&table.oid) {
        return None;
    }
    let guarded = Guarded { model, table };
    let sql = &table.sql;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut create = |name: Option<&str>, kind: &str| {
        let Some(name) = name else { return };
        up.push(format!(
            "CREATE POLICY {name} ON {sql}{kind}\n  USING ({predicate})\n  WITH CHECK ({predicate});"
        ));
        down.push(format!("DROP POLICY {name} ON {sql};"));
    };
    if !guarded.lets_in() {
        create(guarded.free(POLICY), "");
    }
    if !guarded.is_tight() {
        create(guarded.free(FENCE), " AS RESTRICTIVE");
    }
    for (is, verb, undo) in [
        (table.row_security, "ENABLE", "DISABLE"),
        (table.forced, "FORCE", "NO FORCE"),
    ] {
        if !is {
            up.push(format!("ALTER TABLE {sql} {verb} ROW LEVEL SECURITY;"));
            down.push(format!("ALTER TABLE {sql} {undo} ROW LEVEL SECURITY;"));
        }
    }
    if up.is_empty() {
        return None;
    }
    down.reverse();
    let mut look_at = Vec::new();
    if let Some(other) = guarded.binding().find(|it| guarded.narrows(it)) {
        look_at.push(format!(
            "the restrictive policy {} stays: it has to let a tenant's rows through, too, in sessions with claims",
            other.sql
        ));
    }
    if guarded.binding().any(|it| it.permissive) {
        look_at.push(
            "the policies that were there stay, within the tenant; where they kept users apart, \
             a tenant's users see each other's rows from now on"
                .to_owned(),
        );
    }
    Some(written(
        &table.full_name(),
        &slug(table),
        look_at,
        &up,
        &down,
    ))
}

fn written(name: &str, slug: &str, look_at: Vec<String>, up: &[String], down: &[String]) -> Step {
    let always = "from now on sessions without claims see no rows, unless their role is above row level security";
    Step {
        phase: Phase::Enforce,
        slug: format!("{slug}_policy"),
        title: format!("sessions see their tenant's rows of {name} only"),
        run: Run::Transaction,
        lock: "ACCESS EXCLUSIVE on the table, for a moment".to_owned(),
        rows: 0,
        rate: 0,
        reversible: "yes".to_owned(),
        look_at: [always.to_owned()].into_iter().chain(look_at).collect(),
        up: up.join("\n"),
        verify: Vec::new(),
        down: down.join("\n"),
    }
}
