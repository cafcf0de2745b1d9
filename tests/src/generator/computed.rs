//! UPDATEs that compute the tenant column: from a joined table, from a query, several columns at once.
//! Target and source are joined by their keys, so that no row is met twice; what a computation gives
//! for a foreign row never matters, and some give another organisation's value.

use super::tables::{TABLES, Table};
use super::{Generator, Kind, Relation};

/// Tables whose key is a number and whose tenant is the organisation.
const TARGETS: &[&str] = &[
    "notes",
    "call_logs",
    "calls",
    "knowledge_base_documents",
    "events_2026",
    "shifts",
    "\"Order Items\"",
];

/// Tables with the organisation's column and a number that no two rows share.
const SOURCES: &[&str] = &["knowledge_base_documents", "campaigns", "calls", "agents"];

impl Generator {
    pub(super) fn computed_tenant(&mut self) -> String {
        let target = named(self.random.pick::<&str>(TARGETS));
        let source = named(self.random.pick::<&str>(SOURCES));
        let key = target.key.expect("a target has one");
        let (mention, alias) = self.mention(target);
        let scope = [relation(&alias, target), relation("s", source)];
        let column = *self.random.pick(target.free);
        let filter = self.condition(&scope, 1);
        let rows = format!("{alias}.{key} = s.id");
        let text = match self.random.below(5) {
            0 => {
                let inner = self.condition(&scope[1..], 1);
                let value = self.typed(target.kind(column), &scope[1..], 1);
                let tenant = self.computed_organisation(&scope[1..]);
                let only = self.condition(&scope[..1], 1);
                format!(
                    "UPDATE {mention} SET ({column}, org_id) = (SELECT {value}, {tenant} FROM public.{} s WHERE {rows} AND {inner}) \
                     WHERE EXISTS (SELECT FROM public.{} s WHERE {rows} AND {inner}) AND {only}",
                    source.name, source.name
                )
            }
            1 => {
                let value = self.expression(target.kind(column), &scope, 1);
                let tenant = self.computed_organisation(&scope);
                format!(
                    "UPDATE {mention} SET (org_id, {column}) = ROW ({tenant}, {value}) FROM public.{} s WHERE {rows} AND {filter}",
                    source.name
                )
            }
            2 => {
                let tenant = self.computed_organisation(&scope[1..]);
                format!(
                    "UPDATE {mention} SET org_id = q.org FROM (SELECT s.id, {tenant} AS org FROM public.{} s) AS q WHERE q.id = {alias}.{key}",
                    source.name
                )
            }
            3 => {
                let only = self.condition(&scope[..1], 1);
                let tenant = self.computed_organisation(&scope[1..]);
                format!(
                    "UPDATE {mention} SET org_id = (SELECT {tenant} FROM public.{} s WHERE {rows}) WHERE {only}",
                    source.name
                )
            }
            _ => {
                let value = self.expression(target.kind(column), &scope, 1);
                let tenant = self.computed_organisation(&scope);
                format!(
                    "UPDATE {mention} SET {column} = {value}, org_id = {tenant} FROM public.{} s WHERE {rows} AND {filter}",
                    source.name
                )
            }
        };
        text + &self.returning(target, &alias)
    }

    /// A tenant's value that a row has, in one way or another; rarely somebody else's for some rows.
    fn computed_organisation(&mut self, scope: &[Relation]) -> String {
        let alias = scope.last().map_or("s", |it| &it.alias).to_owned();
        let own = format!("{alias}.org_id");
        match self.random.below(9) {
            0 => {
                let given = self.tenant_value("org_id");
                format!("coalesce({own}, {given})")
            }
            1 => {
                self.hostile = true;
                let condition = self.condition(scope, 1);
                let foreign = self.foreign("org_id");
                format!("CASE WHEN {condition} THEN {own} ELSE '{foreign}'::uuid END")
            }
            2 => format!("{own}::text::uuid"),
            3 => format!("(SELECT {own})"),
            4 => {
                let query = self.scalar_subquery(Kind::Int, scope, 1);
                format!("CASE WHEN {query} > 0 THEN {own} ELSE {own} END")
            }
            _ => own,
        }
    }
}

fn named(name: &str) -> &'static Table {
    let found = TABLES.iter().find(|table| table.name == name);
    found.expect("the table is in the list")
}

fn relation(alias: &str, table: &Table) -> Relation {
    Relation {
        alias: alias.to_owned(),
        columns: table.scope(),
    }
}
