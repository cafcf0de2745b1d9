//! COPY: tables and queries out, own and foreign rows in.

use super::script::Script;
use super::tables::{TABLES, Table};
use super::{Generator, Kind};

/// What COPY FROM is sent. Under row level security PostgreSQL knows no COPY FROM: there an INSERT
/// says the same.
#[derive(Debug, Clone)]
pub struct Copied {
    /// The rows.
    pub data: Vec<u8>,
    /// The INSERT.
    pub insert: String,
}

const OPTIONS: &[&str] = &[
    "",
    "",
    " (FORMAT csv, HEADER)",
    " (FORMAT csv, NULL '-', FORCE_QUOTE *)",
    " (FORMAT text, DELIMITER '|', NULL 'none')",
    " (FORMAT binary)",
];

/// How rows come in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Csv,
}

impl Script {
    pub(super) fn copy_to(&mut self) {
        let options = *self.generator.random.pick(OPTIONS);
        if self.generator.random.chance(12) {
            return self.copy_written(options);
        }
        let source = match self.generator.random.below(3) {
            0 => format!("({})", self.generator.ordered()),
            _ => self.generator.copied_table(),
        };
        self.plain(format!("COPY {source} TO STDOUT{options}"));
    }

    /// What a statement that writes gives back.
    fn copy_written(&mut self, options: &str) {
        self.generator.hostile = false;
        let sql = loop {
            let sql = self.generator.write();
            if sql.contains(" RETURNING ") && !sql.starts_with("MERGE") {
                break sql;
            }
            self.generator.hostile = false;
        };
        self.step(format!("COPY ({sql}) TO STDOUT{options}"), true);
        self.mark(self.generator.hostile);
    }

    pub(super) fn copy_from(&mut self) {
        self.generator.hostile = false;
        let targets: Vec<_> = TABLES.iter().filter(|table| table.key.is_some()).collect();
        let table = *self.generator.random.pick(&targets);
        let format = *self.generator.random.pick(&[Format::Text, Format::Csv]);
        let columns = self.generator.copied_columns(table);
        let rows = self.generator.copied_rows(table, &columns);
        let list = columns.join(", ");
        let option = match format {
            Format::Text => "",
            Format::Csv => " (FORMAT csv)",
        };
        let sql = format!("COPY {} ({list}) FROM STDIN{option}", table.name);
        let copied = Copied {
            data: lines(&rows, format).into_bytes(),
            insert: format!(
                "INSERT INTO {} ({list}) VALUES {}",
                table.name,
                values(&rows)
            ),
        };
        self.step(sql, true);
        let hostile = self.generator.hostile;
        if let Some(step) = self.steps.last_mut() {
            step.hostile = hostile;
            step.copied = Some(copied);
        }
    }
}

impl Generator {
    /// A table to be read whole, with its columns or without.
    fn copied_table(&mut self) -> String {
        if !self.temporaries.is_empty() && self.random.chance(20) {
            return self.random.pick(&self.temporaries).alias.clone();
        }
        let table = self.random.pick(TABLES);
        // What PostgreSQL does with generated columns depends on its version.
        let stored = |name: &str| (table.name, name) != ("cold_call_logs", "total");
        if stored("total") && self.random.chance(50) {
            return table.name.to_owned();
        }
        let names: Vec<_> = table
            .columns
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| stored(name))
            .collect();
        let first = self.random.below(names.len());
        let rotated: Vec<_> = (0..names.len().min(3))
            .map(|at| names[(first + at) % names.len()])
            .collect();
        format!("{} ({})", table.name, rotated.join(", "))
    }

    fn copied_columns(&mut self, table: &'static Table) -> Vec<&'static str> {
        let mut columns: Vec<&'static str> = table.key.into_iter().collect();
        columns.extend(table.tenant);
        for column in table.free {
            if table.needs(column) || self.random.chance(70) {
                columns.push(column);
            }
        }
        let turn = self.random.below(columns.len());
        columns.rotate_left(turn);
        columns
    }

    fn copied_rows(&mut self, table: &Table, columns: &[&str]) -> Vec<Vec<Option<String>>> {
        let mut key = if self.random.chance(15) {
            1 + self.random.below(60)
        } else {
            6000
        };
        let foreign = self.random.chance(20);
        self.hostile = foreign;
        let count = 1 + self.random.below(5);
        let guilty = self.random.below(count);
        (0..count)
            .map(|row| {
                key += 1;
                columns
                    .iter()
                    .map(|column| {
                        if Some(*column) == table.key {
                            return Some(key.to_string());
                        }
                        if Some(*column) == table.tenant {
                            let own = !(foreign && row == guilty);
                            return self.copied_tenant(own);
                        }
                        self.datum(table.kind(column), table.needs(column))
                    })
                    .collect()
            })
            .collect()
    }

    fn copied_tenant(&mut self, own: bool) -> Option<String> {
        if own {
            let org = self.tenant.org();
            return Some(if self.random.chance(10) {
                org.to_uppercase()
            } else {
                org.to_owned()
            });
        }
        let others = [
            Some("c0000000-0000-0000-0000-000000000009"),
            Some("d0000000-0000-0000-0000-000000000004"),
            None,
        ];
        self.random.pick(&others).map(str::to_owned)
    }

    /// A value as a text.
    pub(super) fn datum(&mut self, kind: Kind, needed: bool) -> Option<String> {
        if !needed && self.random.chance(12) {
            return None;
        }
        let number = self.random.below(40);
        Some(match kind {
            Kind::Int => number.to_string(),
            Kind::Numeric => format!("{number}.25"),
            Kind::Bool => ["t", "false"][number % 2].to_owned(),
            Kind::Date => format!("2026-02-{}", 10 + number % 18),
            Kind::Time => format!("2026-02-03 04:00:{}+00", 10 + number),
            Kind::Json => format!("{{\"n\": {number}}}"),
            Kind::Tags => format!("{{t{number},x}}"),
            Kind::Status => "ringing".to_owned(),
            Kind::Uuid => format!("e0000000-0000-0000-0000-0000000000{}", 10 + number),
            Kind::Text => {
                let texts = [
                    "plain",
                    "",
                    "it's",
                    "a,b",
                    "tab\there",
                    "line\nbreak",
                    "back\\slash",
                    "quo\"te",
                    "\\.",
                    "NULL",
                    "ä 漢",
                    "return\rhere",
                ];
                (*self.random.pick(&texts)).to_owned()
            }
        })
    }
}

fn lines(rows: &[Vec<Option<String>>], format: Format) -> String {
    let mut out = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| field(cell, format)).collect();
        out += &cells.join(if format == Format::Csv { "," } else { "\t" });
        out.push('\n');
    }
    out
}

fn field(cell: &Option<String>, format: Format) -> String {
    match (cell, format) {
        (None, Format::Text) => "\\N".to_owned(),
        (None, Format::Csv) => String::new(),
        (Some(text), Format::Text) => text
            .replace('\\', "\\\\")
            .replace('\t', "\\t")
            .replace('\n', "\\n")
            .replace('\r', "\\r"),
        (Some(text), Format::Csv) => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}

fn values(rows: &[Vec<Option<String>>]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let cells: Vec<_> = row
                .iter()
                .map(|cell| match cell {
                    None => "NULL".to_owned(),
                    Some(text) => format!("'{}'", text.replace('\'', "''")),
                })
                .collect();
            format!("({})", cells.join(", "))
        })
        .collect();
    rows.join(", ")
}
