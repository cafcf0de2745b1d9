//! MERGE. Source and target are joined by keys, so that no row is met twice: which of two sources
//! wins would be the plan's choice.

use super::tables::{TABLES, Table};
use super::{Column, Generator, Kind, Relation};

impl Generator {
    pub(crate) fn merge(&mut self) -> String {
        let targets: Vec<_> = TABLES.iter().filter(|table| table.key.is_some()).collect();
        let table = *self.random.pick(&targets);
        let key = table.key.expect("it has one");
        let (mention, alias) = self.mention(table);
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
        let mut merge = format!("MERGE INTO {mention} USING {text} ON {on}");
        for _ in 0..=self.random.below(3) {
            merge += &if self.random.chance(55) {
                self.when_matched(table, &both)
            } else {
                self.when_not_matched(table, &source)
            };
        }
        merge
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
        let names = ["notes", "knowledge_base_documents", "campaigns"];
        let name = *self.random.pick(&names);
        let table = TABLES.iter().find(|table| table.name == name);
        let columns = table.expect("it is in the list").scope();
        let relation = Relation {
            alias: "s".to_owned(),
            columns,
        };
        let text = if self.random.chance(50) {
            format!("public.{name} AS s")
        } else {
            let filter = self.condition(std::slice::from_ref(&relation), 1);
            format!("(SELECT * FROM public.{name} AS s WHERE {filter}) AS s")
        };
        (text, relation)
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
                if self.random.chance(10) {
                    let hostile = self.random.chance(30);
                    self.hostile |= hostile;
                    let org = if hostile {
                        "b0000000-0000-0000-0000-000000000002"
                    } else {
                        self.tenant.org()
                    };
                    let tenant = table.tenant.expect("it has one");
                    set += &format!(", {tenant} = '{org}'");
                }
                format!("UPDATE SET {set}")
            }
        };
        format!(" WHEN MATCHED{condition} THEN {action}")
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
                0 | 1 => format!("'{}'", self.tenant.org()),
                _ => "DEFAULT".to_owned(),
            });
        }
        for column in table.free {
            if *column == "amount" || self.random.chance(60) {
                columns.push(column);
                values.push(self.expression(table.kind(column), scope, 1));
            }
        }
        format!(
            " WHEN NOT MATCHED{condition} THEN INSERT ({}) VALUES ({})",
            columns.join(", "),
            values.join(", ")
        )
    }
}
