//! `[[role]]`, `[functions]`, `[settings]` and `[channels]`: what a token's role changes, and what
//! tenants may call, set and listen to.

use pgwarden_policy::rules::{FunctionRule, FunctionRules, RoleRule, RoleTenant};

use crate::document::{Entry, Node, Origin};
use crate::reader::{Complaint, Section};
use crate::values::{choice, word};

use super::{ALLOWED, DDL, Reader, names};

const TENANTS: &[(&str, RoleTenant)] = &[
    ("pinned", RoleTenant::Pinned),
    ("per_transaction", RoleTenant::PerTransaction),
];
const ENFORCEMENTS: &[(&str, bool)] = &[("on", true), ("off", false)];

/// Settings that are, or decide, who the session is and how its text is read. No policy can hand
/// them out.
const NEVER_ALLOWED: &[&str] = &[
    "role",
    "session_authorization",
    "client_encoding",
    "standard_conforming_strings",
    "backslash_quote",
    "row_security",
];
/// The same for everything below these names.
const NEVER_ALLOWED_BELOW: &[&str] = &["request.", "pgwarden."];

/// `NAMEDATALEN` less one.
const CHANNEL_BYTES: usize = 63;

impl Reader {
    pub(super) fn functions(&mut self, root: &mut Section<'_>) -> FunctionRules {
        let Some(mut section) = root.section(&mut self.report, "functions") else {
            return FunctionRules::default();
        };
        let allow = section.take("allow");
        let extensions = section.take("extensions");
        let deny = section.take("deny");
        section.finish(&mut self.report);
        let rules = FunctionRules {
            allow: self.functions_of(allow, names::allowed_function),
            extensions: self.labels(extensions),
            deny: self.functions_of(deny, names::qualified),
        };
        let denied = |rule: &&FunctionRule| rules.deny.contains(&rule.name);
        for name in rules.allow.iter().filter(denied) {
            let origin = deny.or(allow).map(|entry| entry.origin.clone());
            let complaint = Complaint::new(format!("function {name} is both allowed and denied"));
            if let Some(origin) = origin {
                self.report
                    .complain(&origin, complaint.help("leave one of them out"));
            }
        }
        rules
    }

    fn functions_of<T: ToString>(
        &mut self,
        entry: Option<&Entry>,
        read: fn(&Node) -> Result<T, Complaint>,
    ) -> Vec<T> {
        let Some(entry) = entry else {
            return Vec::new();
        };
        let read = self.list(&entry.node, read);
        self.indexed(read)
    }

    fn labels(&mut self, entry: Option<&Entry>) -> Vec<String> {
        let Some(entry) = entry else {
            return Vec::new();
        };
        let read = self.list(&entry.node, word);
        self.indexed(read)
    }

    fn indexed<T: ToString>(&mut self, read: Vec<(T, Origin)>) -> Vec<T> {
        let mut values = Vec::new();
        for (value, origin) in read {
            self.index.add(value.to_string(), &origin);
            values.push(value);
        }
        values
    }

    pub(super) fn settings(&mut self, root: &mut Section<'_>) -> Vec<String> {
        let Some(mut section) = root.section(&mut self.report, "settings") else {
            return Vec::new();
        };
        let allow = section.take("allow");
        section.finish(&mut self.report);
        let Some(entry) = allow else {
            return Vec::new();
        };
        let read = self.list(&entry.node, setting);
        read.into_iter().map(|(name, _)| name).collect()
    }

    pub(super) fn channels(&mut self, root: &mut Section<'_>) -> Vec<String> {
        let Some(mut section) = root.section(&mut self.report, "channels") else {
            return Vec::new();
        };
        let allow = section.take("allow");
        section.finish(&mut self.report);
        let Some(entry) = allow else {
            return Vec::new();
        };
        let read = self.list(&entry.node, channel);
        read.into_iter().map(|(name, _)| name).collect()
    }

    pub(super) fn roles(&mut self, root: &mut Section<'_>) -> Vec<RoleRule> {
        let mut roles: Vec<RoleRule> = Vec::new();
        for mut section in root.sections(&mut self.report, "role") {
            let report = &mut self.report;
            let name = section.required(report, "name", |node| {
                Ok((word(node)?, node.origin.clone()))
            });
            let tenant = section.or(report, "tenant", choice(TENANTS), RoleTenant::Pinned);
            let enforce = section.or(report, "enforcement", choice(ENFORCEMENTS), true);
            let set_role = section.optional(report, "set_role", names::role);
            let ddl = section.optional(report, "ddl", choice(DDL));
            let lock = section.optional(report, "lock", choice(ALLOWED));
            section.finish(report);
            let Some((name, origin)) = name else {
                continue;
            };
            if roles.iter().any(|role| role.name == name) {
                let complaint = Complaint::new(format!("role \"{name}\" is listed twice"));
                self.report
                    .complain(&origin, complaint.help("merge the two entries"));
            }
            roles.push(RoleRule {
                name,
                tenant,
                enforce,
                set_role,
                ddl,
                lock,
            });
        }
        roles
    }
}

fn setting(node: &Node) -> Result<String, Complaint> {
    let name = word(node)?;
    let folded = name.to_ascii_lowercase();
    let below = NEVER_ALLOWED_BELOW
        .iter()
        .any(|prefix| folded.starts_with(prefix));
    if below || NEVER_ALLOWED.contains(&folded.as_str()) {
        return Err(Complaint::new(format!("setting {name} can't be allowed"))
            .help("it decides who the session is or how its text is read; leave it out"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if !name.chars().all(plain) {
        return Err(Complaint::new("not the name of a setting"));
    }
    Ok(name)
}

/// The name of a channel, as LISTEN folds it: `LISTEN Jobs` listens to `jobs`.
fn channel(node: &Node) -> Result<String, Complaint> {
    let name = word(node)?;
    if name == "*" {
        let complaint = Complaint::new("channels are listed one by one");
        return Err(complaint.help("write their names; what is sent reaches every tenant"));
    }
    if name.len() > CHANNEL_BYTES {
        let complaint = Complaint::new(format!(
            "a channel's name has {CHANNEL_BYTES} bytes at most"
        ));
        return Err(complaint.help("write the name as PostgreSQL shortens it"));
    }
    Ok(name)
}
