//! What the files may say one day but no code obeys yet. Such a key is refused at start: a policy
//! that is read and not obeyed would be worse than none.
//!
//! This is the only list. Who builds a feature deletes its line.

use crate::document::{Node, Origin, Value};
use crate::reader::{Complaint, Report};

/// One thing that is not built.
#[derive(Debug)]
pub(crate) struct Unsupported {
    /// The key's path; arrays of tables don't count, `*` is any name.
    path: &'static str,
    /// The value that is not built; `None` is the key as such.
    value: Option<&'static str>,
    /// What to do instead.
    help: &'static str,
}

/// Of `warden.toml`.
pub(crate) const WARDEN: &[Unsupported] = &[
    Unsupported {
        path: "listen.auth",
        value: Some("oauthbearer"),
        help: "write \"password\": the token is the password",
    },
    Unsupported {
        path: "auth.jwks",
        value: None,
        help: "give the keys as [[auth.key]]",
    },
];

/// Parameters of a database's URL that libpq knows and pgwarden does not obey.
pub(crate) const URL_PARAMETERS: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "options",
    "passfile",
    "require_auth",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "tcp_user_timeout",
];

/// Refuses what is not built, all of it.
pub(crate) fn refuse(root: &Node, table: &'static [Unsupported], report: &mut Report) {
    for unsupported in table {
        let steps: Vec<&str> = unsupported.path.split('.').collect();
        find(root, &root.origin, &steps, &mut |origin, node| {
            if unsupported.matches(node) {
                let place = match unsupported.value {
                    Some(_) => &node.origin,
                    None => origin,
                };
                report.complain(place, unsupported.complaint());
            }
        });
    }
}

impl Unsupported {
    fn matches(&self, node: &Node) -> bool {
        match (self.value, &node.value) {
            (None, _) => true,
            (Some(value), Value::Text(text) | Value::Untyped(text)) => value == text,
            (Some(_), _) => false,
        }
    }

    fn complaint(&self) -> Complaint {
        let key = self.path.rsplit('.').next().unwrap_or(self.path);
        let what = match self.value {
            Some(value) => format!("{key} = \"{value}\" is not supported yet"),
            None => format!("\"{key}\" is not supported yet"),
        };
        Complaint::new(what).help(self.help)
    }
}

/// Calls `found` with the key's place and the value of every node that the path leads to.
fn find(node: &Node, key: &Origin, path: &[&str], found: &mut dyn FnMut(&Origin, &Node)) {
    match (&node.value, path) {
        (Value::Array(items), [_, ..]) => {
            for item in items {
                find(item, key, path, found);
            }
        }
        (_, []) => found(key, node),
        (Value::Table(table), [step, rest @ ..]) => {
            let wanted = |name: &str| *step == "*" || *step == name;
            for entry in table.entries.iter().filter(|entry| wanted(&entry.key)) {
                find(&entry.node, &entry.origin, rest, found);
            }
        }
        (_, [_, ..]) => {}
    }
}
