//! Reading `migrate.toml`: what `pgwarden migrate plan` can't see in the database or the policy.
//!
//! It is a file of its own, because the proxy never needs it and it goes away with the migration.
//! What only the database shows (an unknown table) is reported at the line that names it, as for
//! the policy.

use std::path::Path;
use std::sync::Arc;

use pgwarden_policy::migration::{
    Migration, Orphans, ParentLink, TableMigration, Unknown, UserMapping,
};
use pgwarden_policy::rules::QualifiedName;

use crate::PolicySource;
use crate::diagnostic::{File, Problems};
use crate::document::{self, Node, Value};
use crate::policy_file::names;
use crate::policy_file::source::Index;
use crate::reader::{Complaint, Report, Section};
use crate::values::{choice, count, nodes, word, words};

const ORPHANS: &[(&str, Orphans)] = &[
    ("default", Orphans::Default),
    ("quarantine", Orphans::Quarantine),
];

const UNKNOWN: &[(&str, Unknown)] = &[
    ("stop", Unknown::Stop),
    ("default", Unknown::Rehome(Orphans::Default)),
    ("quarantine", Unknown::Rehome(Orphans::Quarantine)),
];

/// The only version of the format.
const VERSION: i64 = 1;

/// The file's content, and where its entries stand.
#[derive(Debug, Clone)]
pub struct LoadedMigration {
    /// The content.
    pub migration: Migration,
    /// Where its tables are named.
    pub source: PolicySource,
}

/// Reads `migrate.toml`.
///
/// # Errors
/// All problems of the file.
pub fn load_migration(path: &Path) -> Result<LoadedMigration, Problems> {
    read_migration(&File::read(path)?)
}

/// The same from a text.
///
/// # Errors
/// All problems of the file.
pub fn read_migration(file: &Arc<File>) -> Result<LoadedMigration, Problems> {
    let (root, syntax_errors) = document::parse(file);
    let mut reader = Reader {
        report: Report::new(file, syntax_errors),
        index: Index::default(),
    };
    let migration = match &root.value {
        Value::Table(table) => Some(reader.migration(Section::new("", &root.origin, table))),
        _ => None,
    };
    let migration = reader.report.finish(migration)?;
    Ok(LoadedMigration {
        migration,
        source: PolicySource::new(Arc::clone(file), reader.index),
    })
}

/// What is gathered while reading.
struct Reader {
    report: Report,
    index: Index,
}

impl Reader {
    fn migration(&mut self, mut root: Section<'_>) -> Migration {
        let mut migration = Migration::default();
        root.required(&mut self.report, "version", version);
        self.tenants(&mut root, &mut migration);
        self.users(&mut root, &mut migration);
        let report = &mut self.report;
        migration.orphans = root.or(report, "orphans", choice(ORPHANS), migration.orphans);
        migration.unknown = root.or(report, "unknown", choice(UNKNOWN), migration.unknown);
        migration.batch_rows = root.or(report, "batch_rows", count, migration.batch_rows);
        let max = migration.rewrite_rows_max;
        migration.rewrite_rows_max = root.or(report, "rewrite_rows_max", count, max);
        migration.exclude = self.exclude(&mut root);
        migration.tables = self.tables(&mut root);
        self.quarantine_needs_a_tenant(&root, &migration);
        root.finish(&mut self.report);
        migration
    }

    fn tenants(&mut self, root: &mut Section<'_>, migration: &mut Migration) {
        let Some(mut section) = root.section(&mut self.report, "tenants") else {
            return;
        };
        migration.tenants = self.named(&mut section, "table", false);
        let report = &mut self.report;
        migration.default_tenant = section.optional(report, "default", word);
        migration.quarantine = section.optional(report, "quarantine", word);
        section.finish(report);
    }

    fn users(&mut self, root: &mut Section<'_>, migration: &mut Migration) {
        let Some(mut section) = root.section(&mut self.report, "users") else {
            return;
        };
        let table = self.named(&mut section, "table", true);
        let report = &mut self.report;
        let user = section.or(report, "user", names::column, "user_id".to_owned());
        let tenant = section.required(report, "tenant", names::column);
        let own = section.or(report, "column", names::column, "user_id".to_owned());
        section.finish(report);
        migration.user_column = own;
        if let (Some(table), Some(tenant)) = (table, tenant) {
            migration.users = Some(UserMapping {
                table,
                user,
                tenant,
            });
        }
    }

    /// A table's name, whose place is remembered.
    fn named(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        required: bool,
    ) -> Option<QualifiedName> {
        let place = section.take(key).map(|entry| entry.node.origin.clone());
        let name = match required {
            true => section.required(&mut self.report, key, names::qualified),
            false => section.optional(&mut self.report, key, names::qualified),
        }?;
        if let Some(place) = place {
            self.index.add(name.to_string(), &place);
        }
        Some(name)
    }

    fn exclude(&mut self, root: &mut Section<'_>) -> Vec<QualifiedName> {
        let Some(entry) = root.take("exclude") else {
            return Vec::new();
        };
        let items = match nodes(&entry.node) {
            Ok(items) => items,
            Err(complaint) => {
                self.report.complain(&entry.node.origin, complaint);
                return Vec::new();
            }
        };
        let mut excluded = Vec::new();
        for item in items {
            match names::qualified(item) {
                Ok(name) => {
                    self.index.add(name.to_string(), &item.origin);
                    excluded.push(name);
                }
                Err(complaint) => self.report.complain(&item.origin, complaint),
            }
        }
        excluded
    }

    fn tables(&mut self, root: &mut Section<'_>) -> Vec<TableMigration> {
        let sections = root.sections(&mut self.report, "table");
        let mut tables: Vec<TableMigration> = Vec::new();
        for section in sections {
            let origin = section.origin().clone();
            let Some(table) = self.table(section) else {
                continue;
            };
            if tables.iter().any(|it| it.name == table.name) {
                let complaint = Complaint::new(format!("table {} is listed twice", table.name));
                self.report
                    .complain_about_key(&origin, complaint.help("merge the two entries"));
            }
            tables.push(table);
        }
        tables
    }

    fn table(&mut self, mut section: Section<'_>) -> Option<TableMigration> {
        let name = self.named(&mut section, "name", true);
        let parent = section.section(&mut self.report, "parent");
        let parent = parent.and_then(|it| self.parent(it));
        let report = &mut self.report;
        let user = section.optional(report, "user", names::column);
        let orphans = section.optional(report, "orphans", choice(ORPHANS));
        let unknown = section.optional(report, "unknown", choice(UNKNOWN));
        let hold = section.optional(report, "hold", words);
        section.finish(report);
        Some(TableMigration {
            name: name?,
            user,
            parent,
            orphans,
            unknown,
            hold,
        })
    }

    fn parent(&mut self, mut section: Section<'_>) -> Option<ParentLink> {
        let table = self.named(&mut section, "table", true);
        let report = &mut self.report;
        let column = section.required(report, "column", names::column);
        let key = section.or(report, "key", names::column, "id".to_owned());
        section.finish(report);
        Some(ParentLink {
            column: column?,
            table: table?,
            key,
        })
    }

    fn quarantine_needs_a_tenant(&mut self, root: &Section<'_>, migration: &Migration) {
        let unknown = Unknown::Rehome(Orphans::Quarantine);
        let wanted = |it: &TableMigration| {
            it.orphans == Some(Orphans::Quarantine) || it.unknown == Some(unknown)
        };
        let wanted = migration.orphans == Orphans::Quarantine
            || migration.unknown == unknown
            || migration.tables.iter().any(wanted);
        if wanted && migration.quarantine.is_none() {
            let complaint = Complaint::new("orphans go to a quarantine that has no tenant");
            let complaint = complaint.help("write quarantine = \"<id>\" in [tenants]");
            self.report.missing(root.origin(), complaint);
        }
    }
}

fn version(node: &Node) -> Result<(), Complaint> {
    match node.value {
        Value::Integer(VERSION) => Ok(()),
        _ => Err(Complaint::new("unknown version").help(format!("write {VERSION}"))),
    }
}
