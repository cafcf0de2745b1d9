//! INSERT, UPDATE, DELETE, alone and in a CTE.

use super::tables::{TABLES, Table};
use super::{Generator, Kind, Relation};

impl Generator {
    /// A statement that writes.
    pub(crate) fn write(&mut self) -> String {
        if self.random.chance(15) {
            return self.write_in_cte();
        }
        if self.random.chance(15) {
            return self.merge();
        }
        if self.random.chance(8) {
            return self.insert_elsewhere();
        }
        if self.random.chance(6) {
            return self.two_writes();
        }
        match self.random.below(10) {
            0..4 => self.insert(),
            4..8 => self.update(),
            _ => self.delete(),
        }
        .0
    }

    fn write_in_cte(&mut self) -> String {
        let (body, table) = match self.random.below(10) {
            0..2 => self.insert(),
            2..7 => self.update(),
            _ => self.delete(),
        };
        let body = body
            .split(" RETURNING ")
            .next()
            .unwrap_or_default()
            .to_owned();
        let alias = "x";
        let target = body_target(&body);
        let names: Vec<_> = table
            .columns
            .iter()
            .map(|(name, _)| format!("{target}.{name}"))
            .collect();
        let scope = [Relation {
            alias: alias.to_owned(),
            columns: table.scope(),
        }];
        let value = self.expression(Kind::Int, &scope, 1);
        let filter = self.condition(&scope, 1);
        format!(
            "WITH x AS ({body} RETURNING {}) SELECT x.*, {value} FROM x WHERE {filter}",
            names.join(", ")
        )
    }

    /// Two tables are changed by one statement; neither change sees the other.
    fn two_writes(&mut self) -> String {
        let (one, first) = self.update();
        let (two, second) = loop {
            let (text, table) = self.delete();
            let related =
                |table: &Table| ["notes", "events", "knowledge"].map(|it| table.name.contains(it));
            // A child's rows are its parent's, and some keys cascade.
            if table.name != first.name && related(table) != related(first) {
                break (text, table);
            }
        };
        let columns = |table: &Table, body: &str| {
            let target = body_target(body);
            let names = table
                .columns
                .iter()
                .map(|(name, _)| format!("{target}.{name}"));
            names.collect::<Vec<_>>().join(", ")
        };
        let [one, two] = [(one, first), (two, second)].map(|(text, table)| {
            let body = text
                .split(" RETURNING ")
                .next()
                .unwrap_or_default()
                .to_owned();
            format!("{body} RETURNING {}", columns(table, &body))
        });
        format!("WITH x AS ({one}), y AS ({two}) SELECT (SELECT count(*) FROM x), y.* FROM y")
    }

    /// Into a table that is scoped by its parent, and into partitions.
    fn insert_elsewhere(&mut self) -> String {
        let id = 6000 + self.random.below(90);
        if self.random.chance(50) {
            let document = 1 + self.random.below(40);
            let content = self.literal(Kind::Text);
            let source = if self.random.chance(70) {
                format!("VALUES ({id}, {document}, {content})")
            } else {
                format!(
                    "SELECT 6100 + d.id, d.id, d.title FROM knowledge_base_documents d WHERE d.id <> {document}"
                )
            };
            return format!(
                "INSERT INTO knowledge_base_chunks (id, document_id, content) {source} RETURNING id, content"
            );
        }
        let name = *self
            .random
            .pick(&["events", "events", "events_2025", "events_2026"]);
        let year = [2025, 2026, 2026, 2027][self.random.below(4)];
        let kind = self.literal(Kind::Text);
        let org = match self.random.below(4) {
            0 => "DEFAULT".to_owned(),
            _ => format!("'{}'", self.tenant.org()),
        };
        format!(
            "INSERT INTO {name} (id, org_id, at, kind) VALUES ({id}, {org}, '{year}-03-0{}', {kind}) RETURNING *",
            1 + self.random.below(9)
        )
    }

    fn target(&mut self) -> &'static Table {
        loop {
            let table = self.random.pick(TABLES);
            if !table.free.is_empty() {
                return table;
            }
        }
    }

    fn insert(&mut self) -> (String, &'static Table) {
        let targets: Vec<_> = TABLES.iter().filter(|table| table.key.is_some()).collect();
        let table = *self.random.pick(&targets);
        let (key, tenant) = (table.key.unwrap(), table.tenant.unwrap());
        let with_tenant = self.random.chance(60);
        let mut columns = vec![key];
        if with_tenant {
            columns.push(tenant);
        }
        columns.extend(
            table
                .free
                .iter()
                .filter(|column| **column == "amount" || self.random.chance(70)),
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
                        format!("s.id + {}", [0, 6000][self.random.below(2)])
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
        if let Some(target) = table.conflict
            && self.random.chance(45)
        {
            text += &self.conflict(table, target);
        }
        text += &self.returning(table, table.name);
        (text, table)
    }

    fn conflict(&mut self, table: &'static Table, target: &str) -> String {
        if self.random.chance(35) {
            return format!(" ON CONFLICT ({target}) DO NOTHING");
        }
        let column = *self.random.pick(table.free);
        let scope = [Relation {
            alias: table.name.to_owned(),
            columns: table.scope(),
        }];
        let value = if self.random.chance(50) {
            format!("excluded.{column}")
        } else {
            self.expression(table.kind(column), &scope, 1)
        };
        let filter = if self.random.chance(40) {
            format!(" WHERE {}", self.condition(&scope, 1))
        } else {
            String::new()
        };
        format!(" ON CONFLICT ({target}) DO UPDATE SET {column} = {value}{filter}")
    }

    fn insert_value(&mut self, table: &'static Table, column: &str, next: usize) -> String {
        if Some(column) == table.key {
            return next.to_string();
        }
        if Some(column) == table.tenant {
            if self.random.chance(4) {
                self.hostile = true;
                return "'b0000000-0000-0000-0000-000000000002'".to_owned();
            }
            return match self.random.below(4) {
                0 => "DEFAULT".to_owned(),
                1 => format!("'{}'::uuid", self.tenant.org()),
                _ => format!("'{}'", self.tenant.org()),
            };
        }
        match table.kind(column) {
            Kind::Int if column == "amount" => self.random.below(50).to_string(),
            kind if self.random.chance(80) => self.literal(kind),
            kind => self.expression(kind, &[], 2),
        }
    }

    fn update(&mut self) -> (String, &'static Table) {
        let table = self.target();
        let (mention, alias) = self.mention(table);
        let scope = [Relation {
            alias: alias.clone(),
            columns: table.scope(),
        }];
        let mut set = Vec::new();
        let first = self.random.below(table.free.len());
        for column in table.free.iter().skip(first).take(1 + self.random.below(2)) {
            let value = self.expression(table.kind(column), &scope, 2);
            set.push(format!("{column} = {value}"));
        }
        if let Some(tenant) = table.tenant
            && self.random.chance(10)
        {
            let own = if self.random.chance(20) {
                self.hostile = true;
                "b0000000-0000-0000-0000-000000000002"
            } else if tenant == "user_id" {
                self.tenant.user()
            } else {
                self.tenant.org()
            };
            set.push(format!("{tenant} = '{own}'"));
        }
        let (from, all) = self.joined_target(&scope, "FROM");
        let filter = self.condition(&all, 2);
        let only = self.only(table);
        let mut text = format!(
            "UPDATE {only}{mention} SET {}{from} WHERE {filter}",
            set.join(", ")
        );
        text += &self.returning(table, &alias);
        (text, table)
    }

    fn delete(&mut self) -> (String, &'static Table) {
        let table = self.target();
        let (mention, alias) = self.mention(table);
        let scope = [Relation {
            alias: alias.clone(),
            columns: table.scope(),
        }];
        let (using, all) = self.joined_target(&scope, "USING");
        let filter = self.condition(&all, 2);
        let only = self.only(table);
        let mut text = format!("DELETE FROM {only}{mention}{using} WHERE {filter}");
        text += &self.returning(table, &alias);
        (text, table)
    }

    fn only(&mut self, table: &Table) -> &'static str {
        let often = if table.name == "notes" { 30 } else { 3 };
        if self.random.chance(often) {
            return "ONLY ";
        }
        ""
    }

    pub(super) fn mention(&mut self, table: &Table) -> (String, String) {
        if self.random.chance(40) {
            let alias = self.alias();
            return (format!("{} AS {alias}", table.name), alias);
        }
        (table.name.to_owned(), table.name.to_owned())
    }

    /// Sometimes another relation, tied to the target by an equality.
    fn joined_target(&mut self, target: &[Relation], word: &str) -> (String, Vec<Relation>) {
        if !self.random.chance(25) {
            return (String::new(), target.to_vec());
        }
        let table = self.readable();
        let alias = self.alias();
        let mut all = target.to_vec();
        all.push(Relation {
            alias: alias.clone(),
            columns: table.scope(),
        });
        (format!(" {word} public.{} AS {alias}", table.name), all)
    }

    fn returning(&mut self, table: &'static Table, alias: &str) -> String {
        if !self.random.chance(55) {
            return String::new();
        }
        let scope = [Relation {
            alias: alias.to_owned(),
            columns: table.scope(),
        }];
        if self.random.chance(30) {
            return format!(" RETURNING {alias}.*");
        }
        let kinds = [self.common_kind(), self.common_kind()];
        let values: Vec<_> = kinds
            .iter()
            .map(|kind| self.expression(*kind, &scope, 1))
            .collect();
        format!(" RETURNING {}", values.join(", "))
    }
}

/// How a statement's own text names its target.
fn body_target(body: &str) -> String {
    let rest = body
        .strip_prefix("UPDATE ")
        .or_else(|| body.strip_prefix("DELETE FROM "))
        .or_else(|| body.strip_prefix("INSERT INTO "))
        .map(|rest| rest.strip_prefix("ONLY ").unwrap_or(rest))
        .unwrap_or(body);
    let name = match rest.strip_prefix('"').and_then(|inside| inside.find('"')) {
        Some(end) => &rest[..end + 2],
        None => rest.split(' ').next().unwrap_or(rest),
    };
    match rest[name.len()..].strip_prefix(" AS ") {
        Some(after) => after.split(' ').next().unwrap_or(after).to_owned(),
        None => name.to_owned(),
    }
}
