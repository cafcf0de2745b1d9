//! Messages: several statements at once, as migration tools send them. They make lasting tables and temporary
//! relations, fill them from tenants' rows, change, rename, drop and make them anew, and read them beside scoped
//! ones; now and then a savepoint is gone back to, behind which only the server knows what is there.

use super::from::columns;
use super::script::Script;
use super::{Column, Generator, Kind, Relation, Statement};
use crate::fixture::Tenant;

/// Where the tables stand that clients may make.
const SCHEMA: &str = "made.";

impl Generator {
    /// Message number `index` of a seed's sequence, for a policy that lets tables be made.
    pub fn message(seed: u64, index: u64, tenant: Tenant) -> Statement {
        let mut script = Script::new(Self::new(seed, index, tenant), false);
        let length = 3 + script.generator.random.below(6);
        script.make_lasting();
        while script.steps.len() < length {
            script.next_of_message();
        }
        let texts: Vec<_> = script.steps.iter().map(|step| step.sql.as_str()).collect();
        Statement {
            sql: texts.join("; "),
            writes: true,
            hostile: script.steps.iter().any(|step| step.hostile),
        }
    }
}

/// Whether a relation is one that lasts.
pub(super) fn is_lasting(relation: &Relation) -> bool {
    relation.alias.starts_with(SCHEMA)
}

impl Script {
    fn next_of_message(&mut self) {
        match self.generator.random.below(20) {
            0..2 => self.make_lasting(),
            2..4 => self.make_temporary(),
            4..10 => self.change_temporary(),
            10 => self.count(),
            11 if self.generator.random.chance(30) => self.go_back(),
            12..14 => self.write(),
            _ => {
                let sql = self.generator.top_select();
                self.plain(sql);
            }
        }
    }

    fn go_back(&mut self) {
        let name = format!("savepoint_{}", self.number());
        let end = *self.generator.random.pick(&["ROLLBACK TO", "RELEASE"]);
        self.plain(format!("SAVEPOINT {name}"));
        self.change_temporary();
        self.plain(format!("{end} {name}"));
    }

    fn make_lasting(&mut self) {
        let name = format!("{SCHEMA}stock_{}", self.number());
        if self.generator.random.chance(15) {
            self.plain(format!("DROP TABLE IF EXISTS {name}"));
        }
        self.make_lasting_as(name);
    }

    fn make_lasting_as(&mut self, name: String) {
        let generator = &mut self.generator;
        let kinds: Vec<_> = (0..=generator.random.below(4))
            .map(|_| generator.common_kind())
            .collect();
        let names: Vec<_> = (0..kinds.len()).map(|at| format!("c{at}")).collect();
        let mut elements = Vec::with_capacity(names.len());
        for (name, kind) in names.iter().zip(&kinds) {
            let definition = self.generator.column_definition(*kind);
            let definition = self.own_type(*kind, definition);
            elements.push(format!("{name} {definition}"));
        }
        let unlogged = ["", "", "", "UNLOGGED "][self.generator.random.below(4)];
        self.plain(format!(
            "CREATE {unlogged}TABLE {name} ({})",
            elements.join(", ")
        ));
        self.generator.temporaries.push(Relation {
            alias: name,
            columns: columns(&names, &kinds),
        });
    }

    /// Something that changes a table that lasts, number `at` of the made ones.
    pub(super) fn change_lasting(&mut self, at: usize) {
        let table = self.generator.temporaries[at].clone();
        let name = &table.alias;
        match self.generator.random.below(18) {
            0..5 => {
                let sql = self.generator.filled(&table);
                self.plain(sql);
            }
            5..8 => {
                let sql = self.generator.temporary_write(&table);
                self.plain(sql);
            }
            8 => self.add_column(at),
            9 => {
                let sql = self.generator.index(&table);
                self.plain(sql);
            }
            10 => {
                let to = format!("stock_{}", self.number());
                self.plain(format!("ALTER TABLE {name} RENAME TO {to}"));
                self.generator.temporaries[at].alias = format!("{SCHEMA}{to}");
            }
            11 => {
                self.generator.temporaries.remove(at);
                self.plain(format!("DROP TABLE {name}"));
                if self.generator.random.chance(60) {
                    self.make_lasting_as(name.clone());
                }
            }
            12 => self.plain(format!("TRUNCATE {name}")),
            13..15 => self.refer(&table),
            _ => {
                let alias = self.generator.alias();
                let source = format!("{name} AS {alias}");
                let sql = self
                    .generator
                    .write_from(&source, &Relation { alias, ..table });
                self.step(sql, true);
            }
        }
    }

    /// A foreign key, mostly to the table itself; a tenant's is refused.
    fn refer(&mut self, table: &Relation) {
        let name = &table.alias;
        let column = self.generator.random.pick(&table.columns).name.clone();
        if self.generator.random.chance(10) {
            return self.plain(format!(
                "ALTER TABLE {name} ADD FOREIGN KEY ({column}) REFERENCES public.leads"
            ));
        }
        let ends = ["", " ON DELETE CASCADE", " DEFERRABLE INITIALLY DEFERRED"];
        let end = ends[self.generator.random.below(3)];
        self.plain(format!("ALTER TABLE {name} ADD UNIQUE ({column})"));
        self.plain(format!(
            "ALTER TABLE {name} ADD FOREIGN KEY ({column}) REFERENCES {name} ({column}){end}"
        ));
    }

    /// The type of a column: now and then an enum of the message's own, with the labels of the schema's.
    fn own_type(&mut self, kind: Kind, definition: String) -> String {
        if kind != Kind::Status || self.generator.random.chance(50) {
            return definition;
        }
        let name = format!("{SCHEMA}state_{}", self.number());
        self.plain(format!(
            "CREATE TYPE {name} AS ENUM ('queued', 'ringing', 'answered', 'failed')"
        ));
        definition.replace("public.call_status", &name)
    }

    fn add_column(&mut self, at: usize) {
        let kind = self.generator.common_kind();
        let definition = self.generator.column_definition(kind);
        let column = format!("a{}", self.number());
        let table = &mut self.generator.temporaries[at];
        let sql = format!(
            "ALTER TABLE {} ADD COLUMN {column} {definition}",
            table.alias
        );
        table.columns.extend(columns(&[column], &[kind]));
        self.plain(sql);
    }
}

impl Generator {
    fn column_definition(&mut self, kind: Kind) -> String {
        let types: &[&str] = match kind {
            Kind::Int => &["int", "bigint", "smallint", "public.small"],
            Kind::Numeric => &["numeric", "numeric(12,2)", "double precision"],
            Kind::Text => &["text", "varchar", "varchar(300)"],
            Kind::Bool => &["boolean"],
            Kind::Uuid => &["uuid", "public.org_ref"],
            Kind::Time => &["timestamptz"],
            Kind::Date => &["date"],
            Kind::Json => &["jsonb"],
            Kind::Tags => &["text[]"],
            Kind::Status => &["public.call_status"],
        };
        let ty = *self.random.pick(types);
        match self.random.below(12) {
            0 => format!("{ty} DEFAULT {}", self.literal(kind)),
            1 => format!("{ty} NOT NULL DEFAULT {}", self.literal(kind)),
            _ => ty.to_owned(),
        }
    }

    /// The table gets the rows of a query over tenants' tables.
    fn filled(&mut self, table: &Relation) -> String {
        let name = &table.alias;
        let kinds: Vec<_> = table.columns.iter().map(|it| it.kind).collect();
        let names: Vec<_> = table.columns.iter().map(|it| it.name.as_str()).collect();
        let query = self.subquery(&kinds, &[], 2);
        format!("INSERT INTO {name} ({}) {query}", names.join(", "))
    }

    fn index(&mut self, table: &Relation) -> String {
        let column: Column = self.random.pick(&table.columns).clone();
        let name = &column.name;
        let on = match column.kind {
            Kind::Text if self.random.chance(50) => format!("lower({name})"),
            Kind::Int if self.random.chance(50) => format!("{name} DESC NULLS LAST"),
            _ => name.clone(),
        };
        let filter = match self.random.below(3) {
            0 => format!(" WHERE {name} IS NOT NULL"),
            _ => String::new(),
        };
        format!("CREATE INDEX ON {} ({on}){filter}", table.alias)
    }
}
