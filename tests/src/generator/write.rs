//! UPDATE and DELETE; and what writes, alone and in a CTE.

use super::second::{tenant_columns, with_schema};
use super::tables::{TABLES, Table};
use super::views::{WRITTEN, is_view};
use super::{Generator, Kind, Relation};

impl Generator {
    /// A statement that writes.
    pub(crate) fn write(&mut self) -> String {
        if self.second {
            return match self.random.below(10) {
                0..4 => self.second_insert(),
                4..7 => self.update().0,
                7 => self.delete().0,
                _ => self.merge(),
            };
        }
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
        if self.random.chance(8) {
            return self.computed_tenant();
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
        let (one, first) = loop {
            let (text, table) = self.update();
            if !is_view(table.name) {
                break (text, table);
            }
        };
        let (two, second) = loop {
            let (text, table) = self.delete();
            let related =
                |table: &Table| ["notes", "events", "knowledge"].map(|it| table.name.contains(it));
            // A child's rows are its parent's, and some keys cascade.
            if table.name != first.name && !is_view(table.name) && related(table) != related(first)
            {
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

    /// A table that rows can be changed in, or a view that they are changed through.
    fn target(&mut self) -> &'static Table {
        if self.second {
            return self.second_target();
        }
        if self.random.chance(15) {
            return self.random.pick(WRITTEN);
        }
        loop {
            let table = self.random.pick(TABLES);
            if !table.free.is_empty() {
                return table;
            }
        }
    }

    pub(super) fn update(&mut self) -> (String, &'static Table) {
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
            && self.random.chance(8)
        {
            let value = match self.random.below(12) {
                0 => "DEFAULT".to_owned(),
                1 => format!("{alias}.{tenant}"),
                _ => self.tenant_value(tenant),
            };
            set.push(format!("{tenant} = {value}"));
        }
        if let Some(second) = ["user_id", "region"]
            .into_iter()
            .find(|column| table.tenant != Some(*column) && tenant_columns(table).contains(column))
            && self.random.chance(10)
        {
            let value = self.tenant_value(second);
            set.push(format!("{second} = {value}"));
        }
        let set = self.assigned(set);
        let (from, all) = self.joined_target(&scope, "FROM");
        let filter = self.target_filter(table, &alias, &all);
        let only = self.only(table);
        let mut text = format!("UPDATE {only}{mention} SET {set}{from} WHERE {filter}");
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
        let filter = self.target_filter(table, &alias, &all);
        let only = self.only(table);
        let mut text = format!("DELETE FROM {only}{mention}{using} WHERE {filter}");
        text += &self.returning(table, &alias);
        (text, table)
    }

    /// `a = 1, b = 2`, or the same said at once.
    fn assigned(&mut self, set: Vec<String>) -> String {
        let pairs: Vec<_> = set.iter().filter_map(|one| one.split_once(" = ")).collect();
        if pairs.len() < 2 || pairs.len() < set.len() || !self.random.chance(25) {
            return set.join(", ");
        }
        let names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        let values: Vec<_> = pairs.iter().map(|(_, value)| *value).collect();
        let (names, values) = (names.join(", "), values.join(", "));
        let default = values.contains("DEFAULT");
        match self.random.below(3) {
            0 if !default => format!("({names}) = (SELECT {values})"),
            1 => format!("({names}) = ROW ({values})"),
            _ => format!("({names}) = ({values})"),
        }
    }

    /// The condition of UPDATE and DELETE: sometimes by the place of rows that a query finds.
    fn target_filter(&mut self, table: &Table, alias: &str, all: &[Relation]) -> String {
        let filter = self.condition(all, 2);
        let alone = ["call_logs", "calls", "shifts", "coupons"].contains(&table.name);
        if !alone || !self.random.chance(10) {
            return filter;
        }
        let other = self.alias();
        let scope = [Relation {
            alias: other.clone(),
            columns: table.scope(),
        }];
        let found = self.condition(&scope, 1);
        let query = format!(
            "SELECT {other}.ctid FROM {} {other} WHERE {found}",
            table.name
        );
        match self.random.below(2) {
            0 => format!("{alias}.ctid IN ({query}) AND {filter}"),
            _ => format!("{alias}.ctid = ANY (ARRAY({query})) AND {filter}"),
        }
    }

    fn only(&mut self, table: &Table) -> &'static str {
        if is_view(table.name) {
            return "";
        }
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
        let name = with_schema(table.name);
        (format!(" {word} {name} AS {alias}"), all)
    }

    pub(super) fn returning(&mut self, table: &'static Table, alias: &str) -> String {
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
        if self.major >= 18 && self.random.chance(3) {
            let column = self.random.pick(table.columns).0;
            return format!(" RETURNING WITH (OLD AS o, NEW AS n) o.{column}, n.{column}");
        }
        let kinds = [self.common_kind(), self.common_kind()];
        let depth = 1 + usize::from(self.random.chance(30));
        let mut values: Vec<_> = kinds
            .iter()
            .map(|kind| self.expression(*kind, &scope, depth))
            .collect();
        if self.random.chance(12) {
            values.push(self.returned(&scope));
        }
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
