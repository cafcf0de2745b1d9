//! What is known of the hosts of databases that name several.

use super::{head, line};

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    /// The database, as clients name it.
    pub database: String,
    /// The host and its port.
    pub host: String,
    /// What was last seen of it.
    pub state: &'static str,
    /// Whether connections go to it.
    pub serves: bool,
}

impl HostState {
    fn labels(&self) -> String {
        let (database, host) = (escaped(&self.database), escaped(&self.host));
        format!("database=\"{database}\",host=\"{host}\"")
    }
}

pub(super) fn render(out: &mut String, hosts: &[HostState]) {
    let name = "pgwarden_database_hosts";
    let help = "What databases' hosts were last seen to be, where there are several.";
    head(out, name, "gauge", help);
    for host in hosts {
        let (labels, state) = (host.labels(), host.state);
        line(out, format_args!("{name}{{{labels},state=\"{state}\"}} 1"));
    }
    let name = "pgwarden_database_host_serves";
    head(
        out,
        name,
        "gauge",
        "Whether server connections go to the host.",
    );
    for host in hosts {
        let (labels, serves) = (host.labels(), u8::from(host.serves));
        line(out, format_args!("{name}{{{labels}}} {serves}"));
    }
}

/// A label's value: a wildcard database is named by its clients.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_their_label() {
        let host = HostState {
            database: "a\"} 1\nb\\".to_owned(),
            host: "h:1".to_owned(),
            state: "primary",
            serves: true,
        };
        let mut out = String::new();
        render(&mut out, &[host]);
        let labels = r#"{database="a\"} 1\nb\\",host="h:1"} 1"#;
        assert!(out.contains(&format!("pgwarden_database_host_serves{labels}\n")));
    }
}
