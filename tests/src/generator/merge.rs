//! MERGE. Source and target are joined by keys, so that no row is met twice: which of two sources
//! wins would be the plan's choice.

use super::second::with_schema;
use super::tables::{TABLES, Table};
use super::{Column, Generator, Kind, Relation};

/// What a source is made of, in each world.
const OF_FIRST: &[&str] = &[
    "notes",
    "knowledge_base_documents",
    "campaigns",
    "events_2026",
    "shifts",
];
const OF_SECOND: &[&str] = &["products", "sales.orders", "sales.returns", "desk"];

impl Generator {
    pub(crate) fn merge(&mut self) -> String {
        if self.major < 15 {
            return self.update().0;
        }
        let merged = |table: &&Table| {
            let number = table.key.is_some_and(|key| table.kind(key) == Kind::Int);
            table.key.is_some() && table.tenant.is_some() && (number || !self.second)
        };
        let targets: Vec<_> = self.tables().iter().filter(merged).collect();
        let table = *self.random.pick(&targets);
        let key = table.key.expect("it has one");
        let (mention, alias) = self.mention(table);
        let only = match table.name {
            "notes" if self.random.chance(20) => "ONLY ",
            _ => "",
        };
        let target = Relation {
            alias: alias.clone(),
            columns: table.scope(),
        };
        let (text, source) = self.merge_source();
        let both = [target, source.clone()];
        let mut on = format!("{alias}.{key} = {}.id", source.alias);
        if self.random.chance(40) {
            on = format!("{on} AND {}", self.condition(&both, 1));
        } else if self.random.chance(15) {
            on = format!("{} AND {on}", self.condition(&both[..1], 1));
        }
        let with = self.merge_with(&source);
        let text = if with.is_empty() {
            text
        } else {
            "source AS s".to_owned()
        };
        let mut merge = format!("{with}MERGE INTO {only}{mention} USING {text} ON {on}");
        let mut closed = Vec::new();
        for _ in 0..=self.random.below(3) {
            let clause = match self.random.below(10) {
                0..6 => self.when_matched(table, &both),
                6 if self.major >= 17 => self.when_not_matched_by_source(table, &both[..1]),
                _ => self.when_not_matched(table, &source),
            };
            // Nothing may follow a clause without a condition that would be asked after it.
            let (kind, _) = clause.split_once(" THEN ").unwrap_or_default();
            let (kind, conditional) = match kind.split_once(" AND ") {
                Some((kind, _)) => (kind.to_owned(), true),
                None => (kind.to_owned(), false),
            };
            let kind = kind.replace(" BY TARGET", "");
            if closed.contains(&kind) {
                continue;
            }
            if !conditional {
                closed.push(kind);
            }
            merge += &clause;
        }
        if self.major >= 17 && self.random.chance(40) {
            let kind = self.common_kind();
            let value = self.expression(kind, &both[..1], 1);
            merge += &format!(" RETURNING merge_action(), {alias}.{key}, {value}");
        }
        merge
    }

    /// The source as a CTE, if it has the columns of a table.
    fn merge_with(&mut self, source: &Relation) -> String {
        if !self.random.chance(20) || source.columns.len() < 2 {
            return String::new();
        }
        let table = self.tables().iter().find(|table| {
            table.scope().len() == source.columns.len()
                && table
                    .scope()
                    .iter()
                    .zip(&source.columns)
                    .all(|(one, two)| one.name == two.name)
        });
        let Some(table) = table else {
            return String::new();
        };
        let filter = self.condition(std::slice::from_ref(source), 1);
        format!(
            "WITH source AS (SELECT * FROM {} AS s WHERE {filter}) ",
            with_schema(table.name)
        )
    }

    fn when_not_matched_by_source(&mut self, table: &'static Table, target: &[Relation]) -> String {
        let condition = self.merge_condition(target);
        let action = match self.random.below(4) {
            0 => "DO NOTHING".to_owned(),
            1 => "DELETE".to_owned(),
            _ => {
                let column = *self.random.pick(table.free);
                let value = self.expression(table.kind(column), target, 1);
                format!("UPDATE SET {column} = {value}")
            }
        };
        format!(" WHEN NOT MATCHED BY SOURCE{condition} THEN {action}")
    }

    /// VALUES, a table, or a query; its key is called `id`.
    fn merge_source(&mut self) -> (String, Relation) {
        if self.random.chance(35) {
            let first = 1 + self.random.below(60);
            let rows: Vec<_> = (0..=self.random.below(6))
                .map(|n| format!("({})", if n % 3 == 2 { 6000 + n } else { first + n }))
                .collect();
            let columns = vec![Column {
                name: "id".to_owned(),
                kind: Kind::Int,
                bomb: None,
            }];
            let text = format!("(VALUES {}) AS s(id)", rows.join(", "));
            let alias = "s".to_owned();
            return (text, Relation { alias, columns });
        }
        if !self.second && self.random.chance(15) {
            return self.merge_join();
        }
        let names = if self.second { OF_SECOND } else { OF_FIRST };
        let name = *self.random.pick(names);
        let table = self.tables().iter().find(|table| table.name == name);
        let columns = table.expect("it is in the list").scope();
        let relation = Relation {
            alias: "s".to_owned(),
            columns,
        };
        let name = with_schema(name);
        let text = if self.random.chance(50) {
            format!("{name} AS s")
        } else {
            let filter = self.condition(std::slice::from_ref(&relation), 1);
            format!("(SELECT * FROM {name} AS s WHERE {filter}) AS s")
        };
        (text, relation)
    }

    /// A join, grouped so that no key comes twice.
    fn merge_join(&mut self) -> (String, Relation) {
        let other = self.table();
        let documents = TABLES
            .iter()
            .find(|table| table.name == "knowledge_base_documents");
        let left = [Relation {
            alias: "d".to_owned(),
            columns: documents.expect("it is in the list").scope(),
        }];
        let link = self.equality(&left, &other.scope);
        let link = link.unwrap_or_else(|| "true".to_owned());
        let word = *self.random.pick(&["JOIN", "LEFT JOIN"]);
        let filter = self.condition(&left, 1);
        let text = format!(
            "(SELECT d.id, max(d.title) AS title, count(*)::int AS n FROM knowledge_base_documents d {word} {} ON {link} WHERE {filter} GROUP BY d.id) AS s",
            other.text
        );
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            bomb: None,
        };
        let columns = vec![
            column("id", Kind::Int),
            column("title", Kind::Text),
            column("n", Kind::Int),
        ];
        let alias = "s".to_owned();
        (text, Relation { alias, columns })
    }

    fn merge_condition(&mut self, scope: &[Relation]) -> String {
        if self.random.chance(50) {
            return String::new();
        }
        format!(" AND {}", self.condition(scope, 1))
    }

    fn when_matched(&mut self, table: &'static Table, both: &[Relation]) -> String {
        let condition = self.merge_condition(both);
        let action = match self.random.below(6) {
            0 => "DO NOTHING".to_owned(),
            1 => "DELETE".to_owned(),
            _ => {
                let column = *self.random.pick(table.free);
                let value = self.expression(table.kind(column), both, 1);
                let mut set = format!("{column} = {value}");
                let tenant = table.tenant.expect("it has one");
                match self.random.below(20) {
                    0 | 1 => {
                        let value = self.tenant_value(tenant);
                        set += &format!(", {tenant} = {value}");
                    }
                    2 => {
                        let given = self.merged_tenant(tenant, both);
                        set += &format!(", {tenant} = {given}");
                    }
                    3 => {
                        let given = self.merged_tenant(tenant, both);
                        set = format!("({column}, {tenant}) = ROW ({value}, {given})");
                    }
                    _ => {}
                }
                if self.random.chance(15) {
                    let column = *self.random.pick(table.free);
                    if !set.starts_with(&format!("{column} =")) && !set.contains(',') {
                        let query = self.scalar_subquery(table.kind(column), both, 1);
                        set += &format!(", {column} = {query}");
                    }
                }
                format!("UPDATE SET {set}")
            }
        };
        format!(" WHEN MATCHED{condition} THEN {action}")
    }

    /// The tenant's value out of the source, if it has the column, or out of the target.
    fn merged_tenant(&mut self, tenant: &str, both: &[Relation]) -> String {
        let has = both
            .iter()
            .filter(|it| it.columns.iter().any(|column| column.name == tenant));
        let of: Vec<_> = has.map(|it| format!("{}.{tenant}", it.alias)).collect();
        self.random.pick(&of).clone()
    }

    fn when_not_matched(&mut self, table: &'static Table, source: &Relation) -> String {
        let scope = std::slice::from_ref(source);
        let condition = self.merge_condition(scope);
        if self.random.chance(15) {
            return format!(" WHEN NOT MATCHED{condition} THEN DO NOTHING");
        }
        let key = table.key.expect("it has one");
        let tenant = table.tenant.expect("it has one");
        let mut columns = vec![key];
        let mut values = vec![format!("s.id + {}", [0, 6000][self.random.below(2)])];
        if self.random.chance(40) {
            columns.push(tenant);
            let known = source.columns.iter().any(|column| column.name == tenant);
            values.push(match self.random.below(3) {
                0 if known => format!("s.{tenant}"),
                0 | 1 => self.tenant_value(tenant),
                _ => "DEFAULT".to_owned(),
            });
        }
        for column in table.free {
            if table.needs(column) || self.random.chance(60) {
                columns.push(column);
                values.push(self.expression(table.kind(column), scope, 1));
            }
        }
        let by = match self.random.below(8) {
            0 if self.major >= 17 => " BY TARGET",
            _ => "",
        };
        let overriding = *self
            .random
            .pick(&["", "", "", "", "", " OVERRIDING USER VALUE"]);
        format!(
            " WHEN NOT MATCHED{by}{condition} THEN INSERT ({}){overriding} VALUES ({})",
            columns.join(", "),
            values.join(", ")
        )
    }
}
