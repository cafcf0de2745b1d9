//! Reading `policy.toml`.

use std::path::Path;
use std::sync::Arc;

use pgwarden_policy::rules::{
    Access, Ddl, Defaults, ErrorDetail, MissingFilter, MissingValue, Mode, Policy, RequireRls,
    SecondReader, TableRule, TenantRule,
};
use pgwarden_policy::tenant::ValueType;
use sha2::{Digest, Sha256};

use crate::diagnostic::{File, Problems};
use crate::document::{self, Node, Origin, Value};
use crate::reader::{Complaint, Report, Section};
use crate::values::{self, choice, text};

mod cases;
mod claim;
pub(crate) mod names;
mod roles;
pub(crate) mod source;
mod tables;

pub use source::PolicySource;

use source::Index;

/// The only version of the format.
const VERSION: i64 = 1;

const MODES: &[(&str, Mode)] = &[("enforce", Mode::Enforce), ("observe", Mode::Observe)];
const UNLISTED: &[(&str, Access)] = &[
    ("deny", Access::Deny),
    ("read", Access::Read),
    ("write", Access::Write),
];
const MISSING_FILTERS: &[(&str, MissingFilter)] = &[
    ("rewrite", MissingFilter::Rewrite),
    ("reject", MissingFilter::Reject),
];
const MISSING_VALUES: &[(&str, MissingValue)] = &[
    ("fill", MissingValue::Fill),
    ("reject", MissingValue::Reject),
];
const DDL: &[(&str, Ddl)] = &[("deny", Ddl::Deny), ("unscoped", Ddl::Unscoped)];
const ALLOWED: &[(&str, bool)] = &[("deny", false), ("allow", true)];
const ERROR_DETAILS: &[(&str, ErrorDetail)] = &[
    ("redact", ErrorDetail::Redact),
    ("forward", ErrorDetail::Forward),
];
const REQUIRE_RLS: &[(&str, RequireRls)] = &[
    ("off", RequireRls::Off),
    ("warn", RequireRls::Warn),
    ("enforce", RequireRls::Enforce),
];
const SECOND_READERS: &[(&str, SecondReader)] = &[
    ("off", SecondReader::Off),
    ("when_readable", SecondReader::WhenReadable),
    ("required", SecondReader::Required),
];

/// A policy and the file that it came from.
#[derive(Debug, Clone)]
pub struct LoadedPolicy {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Where its entries stand, for problems that only the catalogue shows.
    pub source: PolicySource,
}

/// Reads `policy.toml`.
///
/// # Errors
/// All problems of the file.
pub fn load_policy(path: &Path) -> Result<LoadedPolicy, Problems> {
    read_policy(&File::read(path)?)
}

/// The same from a text.
///
/// # Errors
/// All problems of the file.
pub fn read_policy(file: &Arc<File>) -> Result<LoadedPolicy, Problems> {
    let (root, syntax_errors) = document::parse(file);
    let mut reader = Reader {
        report: Report::new(file, syntax_errors),
        index: Index::default(),
    };
    let policy = match &root.value {
        Value::Table(table) => {
            let section = Section::new("", &root.origin, table);
            Some(reader.policy(section, revision(file.text())))
        }
        _ => None,
    };
    let policy = reader.report.finish(policy)?;
    Ok(LoadedPolicy {
        policy: Arc::new(policy),
        source: PolicySource::new(Arc::clone(file), reader.index),
    })
}

/// The first twelve digits of what `sha256sum policy.toml` prints.
fn revision(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What is gathered while reading.
struct Reader {
    report: Report,
    index: Index,
}

impl Reader {
    fn policy(&mut self, mut root: Section<'_>, revision: String) -> Policy {
        root.required(&mut self.report, "version", version);
        let mode = root.or(&mut self.report, "mode", choice(MODES), Mode::Enforce);
        let tenant = self.tenant(&mut root);
        let defaults = self.defaults(&mut root);
        let tables = self.tables(&mut root, &tenant);
        self.refuse_enforced_among_observed(mode, &tables);
        let functions = self.functions(&mut root);
        let settings = self.settings(&mut root);
        let channels = self.channels(&mut root);
        let roles = self.roles(&mut root);
        let tests = self.tests(&mut root);
        root.finish(&mut self.report);
        Policy {
            mode,
            tenant,
            defaults,
            tables,
            functions,
            settings,
            channels,
            roles,
            tests,
            revision,
        }
    }

    /// Where everything is observed, no table can be enforced: only the other way round.
    fn refuse_enforced_among_observed(&mut self, mode: Mode, tables: &[TableRule]) {
        let enforced = |table: &&TableRule| table.mode == Some(Mode::Enforce);
        for table in tables.iter().filter(enforced) {
            let place = self.index.get(&table.name.to_string());
            if let (Mode::Observe, Some(place)) = (mode, place) {
                let complaint = Complaint::new("a table can't be enforced where all are observed");
                self.report.complain(
                    &Origin::Span(place),
                    complaint.help(
                        "leave the policy's mode at \"enforce\", and observe the other tables",
                    ),
                );
            }
        }
    }

    fn tenant(&mut self, root: &mut Section<'_>) -> TenantRule {
        let mut tenant = TenantRule {
            claim: claim::default(),
            value_type: ValueType::Uuid,
            column: "org_id".to_owned(),
        };
        let report = &mut self.report;
        if let Some(mut section) = root.section(report, "tenant") {
            tenant.claim = section.or(report, "claim", claim::path, tenant.claim);
            tenant.value_type = section.or(report, "type", value_type, tenant.value_type);
            tenant.column = section.or(report, "column", names::column, tenant.column);
            section.finish(report);
        }
        tenant
    }

    fn defaults(&mut self, root: &mut Section<'_>) -> Defaults {
        let mut defaults = Defaults {
            discover: vec!["public".to_owned()],
            unlisted: Access::Deny,
            missing_filter: MissingFilter::Rewrite,
            missing_value: MissingValue::Fill,
            ddl: Ddl::Deny,
            explain: false,
            lock: false,
            error_detail: ErrorDetail::Redact,
            require_rls: RequireRls::Off,
            second_reader: SecondReader::WhenReadable,
        };
        let Some(mut section) = root.section(&mut self.report, "defaults") else {
            return defaults;
        };
        if let Some(entry) = section.take("discover") {
            defaults.discover = self.schemas(&entry.node);
        }
        let report = &mut self.report;
        let it = &mut defaults;
        it.unlisted = section.or(report, "unlisted", choice(UNLISTED), it.unlisted);
        it.missing_filter = section.or(
            report,
            "missing_filter",
            choice(MISSING_FILTERS),
            it.missing_filter,
        );
        it.missing_value = section.or(
            report,
            "missing_value",
            choice(MISSING_VALUES),
            it.missing_value,
        );
        it.ddl = section.or(report, "ddl", choice(DDL), it.ddl);
        it.explain = section.or(report, "explain", choice(ALLOWED), it.explain);
        it.lock = section.or(report, "lock", choice(ALLOWED), it.lock);
        it.error_detail = section.or(
            report,
            "error_detail",
            choice(ERROR_DETAILS),
            it.error_detail,
        );
        it.require_rls = section.or(report, "require_rls", choice(REQUIRE_RLS), it.require_rls);
        it.second_reader = section.or(
            report,
            "second_reader",
            choice(SECOND_READERS),
            it.second_reader,
        );
        section.finish(report);
        defaults
    }

    /// Reads a list item by item, each with its own place.
    fn list<T>(
        &mut self,
        node: &Node,
        mut read: impl FnMut(&Node) -> Result<T, Complaint>,
    ) -> Vec<(T, Origin)> {
        let items = match values::nodes(node) {
            Ok(items) => items,
            Err(complaint) => {
                self.report.complain(&node.origin, complaint);
                return Vec::new();
            }
        };
        let mut read_items = Vec::new();
        for item in items {
            match read(item) {
                Ok(value) => read_items.push((value, item.origin.clone())),
                Err(complaint) => self.report.complain(&item.origin, complaint),
            }
        }
        read_items
    }

    fn schemas(&mut self, node: &Node) -> Vec<String> {
        let mut schemas = Vec::new();
        for (schema, origin) in self.list(node, names::schema) {
            self.index.add(schema.clone(), &origin);
            schemas.push(schema);
        }
        schemas
    }
}

fn version(node: &Node) -> Result<(), Complaint> {
    match node.value {
        Value::Integer(VERSION) => Ok(()),
        Value::Integer(_) => {
            Err(Complaint::new("unknown version").help(format!("write {VERSION}")))
        }
        _ => Err(Complaint::new("expected an integer").help(format!("write {VERSION}"))),
    }
}

fn value_type(node: &Node) -> Result<ValueType, Complaint> {
    let written = text(node)?;
    match written.as_str() {
        "uuid" => Ok(ValueType::Uuid),
        "bigint" => Ok(ValueType::Bigint),
        "text" => Ok(ValueType::Text),
        "int" | "integer" | "int2" | "int4" | "int8" | "smallint" => {
            let complaint = Complaint::new(format!("unknown type \"{written}\""));
            Err(complaint.help("write \"bigint\": it is compared with all integer columns"))
        }
        "varchar" | "string" | "citext" | "char" | "bpchar" | "name" => {
            let complaint = Complaint::new(format!("unknown type \"{written}\""));
            Err(complaint.help("write \"text\""))
        }
        other => Err(values::unknown_choice(other, &["uuid", "bigint", "text"])),
    }
}
