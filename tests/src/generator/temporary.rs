//! Temporary tables: made empty or from a query, filled from scoped tables, changed, dropped, and undone
//! by rollbacks. Some take the name of a scoped table. Temporary views show what their queries do, whatever
//! is asked of them; temporary sequences count.

use super::from::columns;
use super::message::is_lasting;
use super::script::Script;
use super::tables::TABLES;
use super::{Column, Generator, Kind, Relation};

impl Script {
    pub(super) fn make_temporary(&mut self) {
        match self.generator.random.below(8) {
            0 => self.make_empty(),
            1 => self.make_shadow(),
            2 => self.select_into(),
            3 | 4 => self.make_view(),
            5 => self.make_sequence(),
            _ => self.make_as(),
        }
    }

    fn make_view(&mut self) {
        let (_, names, kinds, query) = self.temporary_query();
        let name = format!("{VIEW}{}", self.number());
        self.plain(format!(
            "CREATE TEMP VIEW {name} ({}) AS {query}",
            names.join(", ")
        ));
        self.keep(name, &names, &kinds);
    }

    fn make_sequence(&mut self) {
        let name = format!("temp_counter_{}", self.number());
        let start = self.generator.random.below(9) + 1;
        self.plain(format!("CREATE TEMP SEQUENCE {name} START {start}"));
        self.sequences.push(name);
    }

    /// Takes a number of a temporary sequence, or asks for the last one.
    pub(super) fn count(&mut self) {
        let Some(name) = self.sequences.last().cloned() else {
            return self.make_sequence();
        };
        let random = &mut self.generator.random;
        let call = match random.below(6) {
            0 => format!("currval('{name}')"),
            1 => format!("setval('{name}', {})", random.below(90) + 1),
            2 => format!("nextval('{name}'::regclass)"),
            _ => format!("nextval('{name}')"),
        };
        let (sql, writes) = match random.below(8) {
            0 => (format!("SELECT last_value, is_called FROM {name}"), false),
            1 => (format!("DROP SEQUENCE {name}"), false),
            2 => (
                format!(
                    "INSERT INTO notes (id, txt) VALUES (8000 + {call}, 'counted') RETURNING *"
                ),
                true,
            ),
            _ => (format!("SELECT {call}"), false),
        };
        self.step(sql, writes);
    }

    fn make_empty(&mut self) {
        let name = format!("temp_{}", self.number());
        let drop = if self.open {
            ["", "", " ON COMMIT DROP", " ON COMMIT DELETE ROWS"][self.generator.random.below(4)]
        } else {
            ""
        };
        self.plain(format!(
            "CREATE TEMP TABLE {name} (id int, org_id uuid, name text DEFAULT 'none'){drop}"
        ));
        let names = ["id", "org_id", "name"].map(str::to_owned);
        self.keep(name, &names, &[Kind::Int, Kind::Uuid, Kind::Text]);
    }

    /// A table that stands before a scoped one of the same columns.
    fn make_shadow(&mut self) {
        let scoped = *self
            .generator
            .random
            .pick(&["notes", "knowledge_base_documents"]);
        let table = TABLES.iter().find(|table| table.name == scoped);
        let table = table.expect("it is in the list");
        let rows = self.generator.condition(
            &[Relation {
                alias: "s".to_owned(),
                columns: table.scope(),
            }],
            1,
        );
        self.plain(format!(
            "CREATE TEMP TABLE {scoped} AS SELECT * FROM public.{scoped} AS s WHERE {rows}"
        ));
    }

    fn make_as(&mut self) {
        let (name, names, kinds, query) = self.temporary_query();
        let exists = if self.generator.random.chance(15) {
            "IF NOT EXISTS "
        } else {
            ""
        };
        let data = if self.generator.random.chance(8) {
            " WITH NO DATA"
        } else {
            ""
        };
        self.plain(format!(
            "CREATE TEMP TABLE {exists}{name} ({}) AS {query}{data}",
            names.join(", ")
        ));
        self.keep(name, &names, &kinds);
    }

    fn select_into(&mut self) {
        let (name, names, kinds, query) = self.temporary_query();
        self.plain(format!(
            "SELECT * INTO TEMP {name} FROM ({query}) AS q ({})",
            names.join(", ")
        ));
        self.keep(name, &names, &kinds);
    }

    fn temporary_query(&mut self) -> (String, Vec<String>, Vec<Kind>, String) {
        let name = format!("temp_{}", self.number());
        let generator = &mut self.generator;
        let kinds: Vec<_> = (0..=generator.random.below(3))
            .map(|_| generator.common_kind())
            .collect();
        let names: Vec<_> = (0..kinds.len()).map(|at| format!("c{at}")).collect();
        let query = generator.subquery(&kinds, &[], 2);
        (name, names, kinds, query)
    }

    fn keep(&mut self, name: String, names: &[String], kinds: &[Kind]) {
        self.generator.temporaries.push(Relation {
            alias: name,
            columns: columns(names, kinds),
        });
    }

    /// Something that changes a temporary table.
    pub(super) fn change_temporary(&mut self) {
        if self.generator.temporaries.is_empty() {
            return self.make_temporary();
        }
        let at = self
            .generator
            .random
            .below(self.generator.temporaries.len());
        if self.generator.temporaries[at].alias.starts_with(VIEW) {
            return self.change_view(at);
        }
        if is_lasting(&self.generator.temporaries[at]) {
            return self.change_lasting(at);
        }
        // Whether a cursor's plan uses a table that its query names is the server's choice.
        if self.cursors.is_empty() && self.generator.random.chance(12) {
            let name = self.generator.temporaries.remove(at).alias;
            return self.plain(format!("DROP TABLE {name}"));
        }
        let table = self.generator.temporaries[at].clone();
        if self.generator.random.chance(20) {
            let sql = self.generator.write_from(&table.alias, &table);
            return self.step(sql, true);
        }
        let sql = self.generator.temporary_write(&table);
        self.plain(sql);
    }

    /// A temporary view is dropped, or scoped tables are changed after what it shows.
    fn change_view(&mut self, at: usize) {
        if self.cursors.is_empty() && self.generator.random.chance(20) {
            let name = self.generator.temporaries.remove(at).alias;
            return self.plain(format!("DROP VIEW {name}"));
        }
        let view = self.generator.temporaries[at].clone();
        let sql = self.generator.write_from(&view.alias, &view);
        self.step(sql, true);
    }
}

/// What the names of temporary views begin with.
const VIEW: &str = "temp_view_";

impl Generator {
    /// A scoped table is changed after what a made one holds, which stands in FROM so.
    pub(super) fn write_from(&mut self, source: &str, table: &Relation) -> String {
        let name = &table.alias;
        let number = |it: &&Column| it.kind == Kind::Int;
        let key = table.columns.iter().find(number).map(|it| it.name.clone());
        let Some(key) = key else {
            return format!("DELETE FROM notes USING {source} WHERE notes.txt = {name}::text");
        };
        let scope = [
            Relation {
                alias: "n".to_owned(),
                columns: columns(&["id".into(), "txt".into()], &[Kind::Int, Kind::Text]),
            },
            table.clone(),
        ];
        let filter = self.condition(&scope, 1);
        let ways = if self.major >= 15 { 4 } else { 3 };
        match self.random.below(ways) {
            0 => format!(
                "INSERT INTO notes (id, txt) SELECT DISTINCT 6000 + {key}, 'from' FROM {source} WHERE {key} IS NOT NULL ON CONFLICT DO NOTHING RETURNING *"
            ),
            1 => format!(
                "UPDATE notes AS n SET txt = 'from' FROM {source} WHERE n.id = {name}.{key} AND {filter} RETURNING n.*"
            ),
            2 => format!(
                "DELETE FROM notes AS n USING {source} WHERE n.id = {name}.{key} AND {filter} RETURNING n.id"
            ),
            _ => format!(
                "MERGE INTO notes AS n USING (SELECT DISTINCT {key} AS id FROM {source} WHERE {key} IS NOT NULL) AS s ON n.id = s.id WHEN MATCHED THEN UPDATE SET txt = 'from' WHEN NOT MATCHED THEN INSERT (id, txt) VALUES (s.id + 6000, 'new')"
            ),
        }
    }

    pub(super) fn temporary_write(&mut self, table: &Relation) -> String {
        let name = &table.alias;
        let scope = std::slice::from_ref(table);
        let names: Vec<_> = table.columns.iter().map(|it| it.name.clone()).collect();
        let kinds: Vec<_> = table.columns.iter().map(|it| it.kind).collect();
        match self.random.below(5) {
            0 | 1 => {
                let query = self.subquery(&kinds, &[], 1);
                format!("INSERT INTO {name} ({}) {query}", names.join(", "))
            }
            2 => {
                let values: Vec<_> = kinds.iter().map(|kind| self.literal(*kind)).collect();
                format!(
                    "INSERT INTO {name} VALUES ({}) RETURNING *",
                    values.join(", ")
                )
            }
            3 => {
                let column = self.random.pick(&table.columns).clone();
                let value = self.expression(column.kind, scope, 2);
                let filter = self.condition(scope, 2);
                format!(
                    "UPDATE {name} SET {} = {value} WHERE {filter} RETURNING *",
                    column.name
                )
            }
            _ => format!("DELETE FROM {name} WHERE {}", self.condition(scope, 2)),
        }
    }
}
