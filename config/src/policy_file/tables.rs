//! `[[table]]`: how single tables are guarded.

use pgwarden_policy::rules::{
    Access, ClaimPath, MissingFilter, MissingValue, Mode, QualifiedName, Scope, ScopeKey,
    TableRule, TenantRule,
};
use pgwarden_policy::tenant::ValueType;

use crate::document::{Entry, Origin};
use crate::reader::{Complaint, Section};
use crate::values::choice;

use super::{MISSING_FILTERS, MISSING_VALUES, MODES, Reader, claim, names, value_type};

const SCOPES: &[(&str, ())] = &[("global", ())];
const ACCESSES: &[(&str, Access)] = &[("read", Access::Read), ("write", Access::Write)];

/// An entry as it is written.
struct Written {
    names: Vec<(QualifiedName, Origin)>,
    column: Option<String>,
    claim: Option<ClaimPath>,
    value_type: Option<ValueType>,
    also: Vec<ScopeKey>,
    via: Option<Scope>,
    global: bool,
    access: Option<Access>,
    missing_filter: Option<MissingFilter>,
    missing_value: Option<MissingValue>,
    mode: Option<Mode>,
}

impl Reader {
    pub(super) fn tables(&mut self, root: &mut Section<'_>, tenant: &TenantRule) -> Vec<TableRule> {
        let mut tables: Vec<TableRule> = Vec::new();
        for section in root.sections(&mut self.report, "table") {
            let written = self.table(section, tenant);
            let scope = written.scope(tenant);
            for (name, origin) in written.names {
                let known = self.index.get(&format!("{name}"));
                if let Some(first) = known.filter(|_| tables.iter().any(|it| it.name == name)) {
                    self.twice("table", &name.to_string(), &origin, first);
                    continue;
                }
                self.index.add(name.to_string(), &origin);
                tables.push(TableRule {
                    name,
                    scope: scope.clone(),
                    missing_filter: written.missing_filter,
                    missing_value: written.missing_value,
                    mode: written.mode,
                });
            }
        }
        tables
    }

    /// Complains about a name that was used before.
    pub(super) fn twice(
        &mut self,
        what: &str,
        name: &str,
        origin: &Origin,
        first: std::ops::Range<usize>,
    ) {
        let line = self.report.line(&Origin::Span(first));
        let message = match line {
            Some(line) => format!("{what} {name} is listed twice, first in line {line}"),
            None => format!("{what} {name} is listed twice"),
        };
        self.report.complain(
            origin,
            Complaint::new(message).help("merge the two entries"),
        );
    }

    fn table(&mut self, mut section: Section<'_>, tenant: &TenantRule) -> Written {
        let names = self.table_names(&mut section);
        self.refuse_conflicts(&mut section);
        let also = self.also(&mut section, tenant);
        let via = section.section(&mut self.report, "via");
        let report = &mut self.report;
        let written = Written {
            names,
            column: section.optional(report, "column", names::column),
            claim: section.optional(report, "claim", claim::path),
            value_type: section.optional(report, "type", value_type),
            global: section.optional(report, "scope", choice(SCOPES)).is_some(),
            access: section.optional(report, "access", choice(ACCESSES)),
            missing_filter: section.optional(report, "missing_filter", choice(MISSING_FILTERS)),
            missing_value: section.optional(report, "missing_value", choice(MISSING_VALUES)),
            mode: section.optional(report, "mode", choice(MODES)),
            also,
            via: None,
        };
        section.finish(report);
        let via = via.and_then(|via| self.via(via));
        Written { via, ..written }
    }

    fn table_names(&mut self, section: &mut Section<'_>) -> Vec<(QualifiedName, Origin)> {
        let name = section.take("name");
        let several = section.take("names");
        match (name, several) {
            (Some(_), Some(several)) => {
                let complaint = Complaint::new("both name and names are given");
                let complaint = complaint.help("write names = [\"schema.table\", …] alone");
                self.report.complain(&several.origin, complaint);
                Vec::new()
            }
            (Some(name), None) => match names::qualified(&name.node) {
                Ok(read) => vec![(read, name.node.origin.clone())],
                Err(complaint) => {
                    self.report.complain(&name.node.origin, complaint);
                    Vec::new()
                }
            },
            (None, Some(several)) => self.list(&several.node, names::qualified),
            (None, None) => {
                let complaint = Complaint::new("key \"name\" is missing in [[table]]");
                let complaint = complaint.help("write name = \"schema.table\"");
                self.report.missing(section.origin(), complaint);
                Vec::new()
            }
        }
    }

    /// Keys that say different things about one table.
    fn refuse_conflicts(&mut self, section: &mut Section<'_>) {
        let rules: [(&'static str, &[&'static str]); 2] = [
            (
                "scope",
                &[
                    "column",
                    "claim",
                    "type",
                    "also",
                    "via",
                    "missing_filter",
                    "missing_value",
                ],
            ),
            ("via", &["column", "claim", "type", "also"]),
        ];
        for (key, others) in rules {
            if section.take(key).is_none() {
                continue;
            }
            let clashing: Vec<&Entry> = others
                .iter()
                .filter_map(|other| section.take(other))
                .collect();
            for other in clashing {
                let message = format!("\"{}\" can't stand beside \"{key}\"", other.key);
                let why = match key {
                    "scope" => "a global table has no tenant: leave one of them out",
                    _ => "a table is scoped by its own column or through its parent",
                };
                self.report
                    .complain(&other.origin, Complaint::new(message).help(why));
            }
        }
        let needs: [(&'static str, &'static str, &'static str); 3] = [
            ("access", "scope", "write scope = \"global\" too"),
            (
                "claim",
                "column",
                "write the column that holds this claim's value",
            ),
            ("type", "column", "write the column that has this type"),
        ];
        for (key, needed, help) in needs {
            let (Some(entry), None) = (section.take(key), section.take(needed)) else {
                continue;
            };
            let elsewhere = section.take("scope").is_some() || section.take("via").is_some();
            if !elsewhere {
                let message = format!("\"{key}\" needs \"{needed}\"");
                self.report
                    .complain(&entry.origin, Complaint::new(message).help(help));
            }
        }
    }

    /// Further columns that must match, each with its claim. A column is named once.
    fn also(&mut self, section: &mut Section<'_>, tenant: &TenantRule) -> Vec<ScopeKey> {
        let first = section.take("column");
        let first = first.and_then(|entry| names::column(&entry.node).ok());
        let mut taken = vec![first.unwrap_or_else(|| tenant.column.clone())];
        let mut keys = Vec::new();
        for mut also in section.sections(&mut self.report, "also") {
            let written = also.take("column").map(|entry| entry.node.origin.clone());
            let report = &mut self.report;
            let column = also.required(report, "column", names::column);
            let claim = also.required(report, "claim", claim::path);
            let value_type = also.or(report, "type", value_type, tenant.value_type);
            also.finish(report);
            let (Some(column), Some(claim), Some(written)) = (column, claim, written) else {
                continue;
            };
            if taken.contains(&column) {
                let message = format!("column \"{column}\" scopes the table already");
                let complaint =
                    Complaint::new(message).help("name another column, or leave it out");
                self.report.complain(&written, complaint);
                continue;
            }
            taken.push(column.clone());
            keys.push(ScopeKey {
                column,
                claim,
                value_type,
            });
        }
        keys
    }

    fn via(&mut self, mut section: Section<'_>) -> Option<Scope> {
        let report = &mut self.report;
        let column = section.required(report, "column", names::column);
        let parent = section.required(report, "table", names::qualified);
        let key = section.required(report, "key", names::column);
        section.finish(report);
        Some(Scope::Via {
            column: column?,
            parent: parent?,
            key: key?,
        })
    }
}

impl Written {
    fn scope(&self, tenant: &TenantRule) -> Scope {
        if self.global {
            return Scope::Global(self.access.unwrap_or(Access::Read));
        }
        if let Some(via) = &self.via {
            return via.clone();
        }
        if self.column.is_none() && self.also.is_empty() {
            return Scope::Discovered;
        }
        let own = ScopeKey {
            column: self.column.as_ref().unwrap_or(&tenant.column).clone(),
            claim: self.claim.as_ref().unwrap_or(&tenant.claim).clone(),
            value_type: self.value_type.unwrap_or(tenant.value_type),
        };
        Scope::Keys([own].into_iter().chain(self.also.clone()).collect())
    }
}
