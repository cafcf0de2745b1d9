//! `WHERE CURRENT OF`: a cursor that locks the rows of one table in their order, some steps with it, and
//! what changes the row that it stands on.

use super::script::Script;
use super::tables::{TABLES, Table};
use super::{Generator, Relation};

/// Tables with a key of numbers that cursors can follow.
const TABLES_WITH_ORDER: &[&str] = &["notes", "call_logs", "calls", "shifts", "events_2026"];

impl Script {
    pub(super) fn at_cursor(&mut self) {
        if !self.open {
            self.begin();
        }
        let name = format!("cursor_{}", self.number());
        let table = *self.generator.random.pick(TABLES_WITH_ORDER);
        let table = TABLES.iter().find(|it| it.name == table);
        let table = table.expect("the table is in the list");
        let query = self.generator.lockable(table);
        self.plain(format!("DECLARE {name} CURSOR FOR {query}"));
        for _ in 0..=self.generator.random.below(3) {
            self.plain(format!("FETCH NEXT FROM {name}"));
            if self.generator.random.chance(70) {
                self.generator.hostile = false;
                let sql = self.generator.at_row(table, &name);
                let hostile = self.generator.hostile;
                self.step(sql, true);
                self.mark(hostile);
            }
        }
    }
}

impl Generator {
    fn lockable(&mut self, table: &Table) -> String {
        let scope = [Relation {
            alias: "t".to_owned(),
            columns: table.scope(),
        }];
        let filter = match self.random.below(3) {
            0 => self.condition(&scope, 1),
            1 => format!("t.id > {}", self.random.below(20)),
            _ => "true".to_owned(),
        };
        let strength = *self
            .random
            .pick(&["UPDATE", "UPDATE", "NO KEY UPDATE", "SHARE"]);
        format!(
            "SELECT t.id FROM {} t WHERE {filter} ORDER BY t.id FOR {strength}",
            table.name
        )
    }

    fn at_row(&mut self, table: &'static Table, cursor: &str) -> String {
        let returning = self.returning(table, table.name);
        if self.random.chance(25) {
            return format!(
                "DELETE FROM {} WHERE CURRENT OF {cursor}{returning}",
                table.name
            );
        }
        let scope = [Relation {
            alias: table.name.to_owned(),
            columns: table.scope(),
        }];
        let column = *self.random.pick(table.free);
        let value = self.expression(table.kind(column), &scope, 1);
        let mut set = format!("{column} = {value}");
        if let Some(tenant) = table.tenant
            && self.random.chance(15)
        {
            let value = self.tenant_value(tenant);
            set += &format!(", {tenant} = {value}");
        }
        format!(
            "UPDATE {} SET {set} WHERE CURRENT OF {cursor}{returning}",
            table.name
        )
    }
}
