//! INSERT: rows and queries, with a list of columns and without, into tables and through views.

use super::from::columns;
use super::tables::{TABLES, Table};
use super::views::WRITTEN;
use super::{Generator, Kind, Relation};
use crate::fixture::looks_at_conflicts_first;

impl Generator {
    pub(super) fn insert(&mut self) -> (String, &'static Table) {
        let table = self.insert_target();
        let (key, tenant) = (table.key.unwrap(), table.tenant.unwrap());
        if self.random.chance(6) {
            return self.insert_all(table, key, tenant);
        }
        let with_tenant = self.random.chance(60);
        let mut columns = vec![key];
        if with_tenant {
            columns.push(tenant);
        }
        columns.extend(
            table
                .free
                .iter()
                .filter(|column| table.needs(column) || self.random.chance(70)),
        );
        let text = if self.random.chance(65) {
            let mut next = if self.random.chance(30) {
                1 + self.random.below(60)
            } else {
                6000
            };
            let rows: Vec<_> = (0..=self.random.below(3))
                .map(|_| {
                    next += 1;
                    let values: Vec<_> = columns
                        .iter()
                        .map(|column| self.insert_value(table, column, next))
                        .collect();
                    format!("({})", values.join(", "))
                })
                .collect();
            format!("VALUES {}", rows.join(", "))
        } else {
            let source = self
                .random
                .pick(&["notes", "knowledge_base_documents", "campaigns"]);
            let source = TABLES.iter().find(|table| table.name == *source).unwrap();
            let scope = [Relation {
                alias: "s".to_owned(),
                columns: source.scope(),
            }];
            let values: Vec<_> = columns
                .iter()
                .map(|column| {
                    if *column == key {
                        let shift = [0, 6000][self.random.below(2)];
                        key_value(table, &format!("s.id + {shift}"))
                    } else if *column == tenant {
                        "s.org_id".to_owned()
                    } else {
                        self.expression(table.kind(column), &scope, 1)
                    }
                })
                .collect();
            let filter = self.condition(&scope, 2);
            format!(
                "SELECT {} FROM public.{} s WHERE {filter}",
                values.join(", "),
                source.name
            )
        };
        let mut text = format!("INSERT INTO {} ({}) {text}", table.name, columns.join(", "));
        if table.conflict.is_some() && self.random.chance(45) {
            text += &self.conflict(table);
        }
        text += &self.returning(table, table.name);
        (text, table)
    }

    pub(super) fn conflict(&mut self, table: &'static Table) -> String {
        let target = table.conflict.unwrap_or_default();
        if self.random.chance(35) {
            let target = match self.random.below(3) {
                0 => String::new(),
                _ => format!(" ({target})"),
            };
            return format!(" ON CONFLICT{target} DO NOTHING");
        }
        let column = *self.random.pick(table.free);
        let scope = [Relation {
            alias: table.name.to_owned(),
            columns: table.scope(),
        }];
        let value = if self.random.chance(50) {
            format!("excluded.{column}")
        } else {
            let depth = 1 + usize::from(self.random.chance(20));
            self.expression(table.kind(column), &scope, depth)
        };
        let filtered = self.random.chance(40).then(|| self.condition(&scope, 1));
        let filter = match filtered {
            Some(condition) if !looks_at_conflicts_first() => format!(" WHERE {condition}"),
            _ => String::new(),
        };
        let mut set = format!("{column} = {value}");
        if let Some(tenant) = table.tenant
            && self.random.chance(10)
        {
            let value = match self.random.below(3) {
                0 => self.tenant_value(tenant),
                _ => format!("excluded.{tenant}"),
            };
            set = format!("{set}, {tenant} = {value}");
        }
        format!(" ON CONFLICT ({target}) DO UPDATE SET {set}{filter}")
    }

    fn insert_value(&mut self, table: &'static Table, column: &'static str, next: usize) -> String {
        if Some(column) == table.key {
            return key_value(table, &next.to_string());
        }
        if Some(column) == table.tenant {
            return match self.random.below(5) {
                0 => "DEFAULT".to_owned(),
                _ => self.tenant_value(column),
            };
        }
        match table.kind(column) {
            Kind::Int if column == "amount" => self.random.below(50).to_string(),
            kind if self.random.chance(80) || table.needs(column) => self.literal(kind),
            kind => self.expression(kind, &[], 2),
        }
    }

    /// A table that statements may insert into, or a view of one.
    fn insert_target(&mut self) -> &'static Table {
        let tables = if self.random.chance(20) {
            WRITTEN
        } else {
            TABLES
        };
        let targets: Vec<&'static Table> = tables.iter().filter(|it| it.key.is_some()).collect();
        let at = self.random.below(targets.len());
        targets[at]
    }

    /// Without a list of columns, where all of them are known; else a row of nothing but defaults.
    fn insert_all(
        &mut self,
        table: &'static Table,
        key: &'static str,
        tenant: &'static str,
    ) -> (String, &'static Table) {
        if ![
            "notes",
            "\"Order Items\"",
            "knowledge_base_documents",
            "shifts",
        ]
        .contains(&table.name)
        {
            let Some(leads) = TABLES.iter().find(|it| it.name == "leads") else {
                return self.insert();
            };
            let returning = self.returning(leads, leads.name);
            return (
                format!("INSERT INTO leads DEFAULT VALUES{returning}"),
                leads,
            );
        }
        let next = 6000 + self.random.below(60);
        let values: Vec<_> = table
            .columns
            .iter()
            .map(|(name, kind)| match *name {
                name if name == key || name == tenant => self.insert_value(table, name, next),
                "user_id" => self.tenant_value("user_id"),
                _ => self.literal(*kind),
            })
            .collect();
        let mut text = format!("INSERT INTO {} VALUES ({})", table.name, values.join(", "));
        text += &self.returning(table, table.name);
        (text, table)
    }

    /// Into a table (or a view of one) that is scoped by its parent, into partitions, and where the
    /// key is the server's to give.
    pub(super) fn insert_elsewhere(&mut self) -> String {
        let id = 6000 + self.random.below(90);
        if self.random.chance(20) {
            let amount = self.random.below(50);
            let (columns, system) =
                [("", ""), ("id, ", " OVERRIDING SYSTEM VALUE")][self.random.below(2)];
            let key = if columns.is_empty() {
                String::new()
            } else {
                format!("{id}, ")
            };
            let org = self.tenant_value("org_id");
            return format!(
                "INSERT INTO payments ({columns}org_id, amount){system} VALUES ({key}{org}, {amount}) RETURNING id, amount"
            );
        }
        if self.random.chance(50) {
            return self.insert_child(id);
        }
        if self.random.chance(25) {
            return self.insert_behind(id);
        }
        let name = *self.random.pick(&[
            "events",
            "event_kinds",
            "events_2025",
            "events_2026",
            "events_of_2026",
        ]);
        let year = [2025, 2026, 2026, 2027][self.random.below(4)];
        let kind = self.literal(Kind::Text);
        let org = match self.random.below(4) {
            0 => "DEFAULT".to_owned(),
            _ => self.tenant_value("org_id"),
        };
        format!(
            "INSERT INTO {name} (id, org_id, at, kind) VALUES ({id}, {org}, '{year}-03-0{}', {kind}) RETURNING *",
            1 + self.random.below(9)
        )
    }

    /// Rows of a `*` behind the tenant column, as libraries send them.
    fn insert_behind(&mut self, id: usize) -> String {
        let org = self.tenant_value("org_id");
        let [one, two] = [Kind::Text, Kind::Text].map(|kind| self.literal(kind));
        let next = id + 1;
        let filter = self.condition(
            &[Relation {
                alias: "v".to_owned(),
                columns: columns(&["id".into(), "txt".into()], &[Kind::Int, Kind::Text]),
            }],
            1,
        );
        let rows = match self.random.below(3) {
            0 => format!("unnest(ARRAY[{id}, {next}], ARRAY[{one}, {two}]::text[]) AS v (id, txt)"),
            1 => format!("(VALUES ({id}, {one}::text), ({next}, {two})) AS v (id, txt)"),
            _ => format!("(SELECT n.id + {id}, n.txt FROM notes n) AS v (id, txt)"),
        };
        let star = *self.random.pick(&["*", "v.*"]);
        format!(
            "INSERT INTO notes (org_id, id, txt) SELECT {org}, {star} FROM {rows} WHERE {filter} ON CONFLICT (id) DO NOTHING RETURNING id, txt"
        )
    }
}

/// A key of the table's type, made of a number.
fn key_value(table: &Table, number: &str) -> String {
    match table.key.map(|key| table.kind(key)) {
        Some(Kind::Uuid) => format!("md5('k' || ({number}))::uuid"),
        Some(Kind::Text) => format!("'K' || ({number})"),
        _ => number.to_owned(),
    }
}
