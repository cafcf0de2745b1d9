//! The hosts of a URL: `h1:5432,h2` in its authority, or the parameters `host` and `port`, and the
//! parameters that say which of them is wanted.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS>

use std::path::PathBuf;

use super::decode;
use crate::reader::Complaint;
use crate::settings::{Host, HostOrder, ServerAddress, TargetSession};
use crate::values::unknown_choice;

const DEFAULT_PORT: u16 = 5432;

const TARGETS: &[(&str, TargetSession)] = &[
    ("any", TargetSession::Any),
    ("read-write", TargetSession::ReadWrite),
    ("read-only", TargetSession::ReadOnly),
    ("primary", TargetSession::Primary),
    ("standby", TargetSession::Standby),
    ("prefer-standby", TargetSession::PreferStandby),
];

const ORDERS: &[(&str, HostOrder)] = &[
    ("disable", HostOrder::AsWritten),
    ("random", HostOrder::Random),
];

/// Hosts and ports as they are written, decoded; `None` is the default.
#[derive(Default)]
pub(super) struct Written {
    hosts: Vec<Option<String>>,
    ports: Vec<Option<String>>,
    /// `target_session_attrs`.
    pub(super) target: Option<String>,
    /// `load_balance_hosts`.
    pub(super) order: Option<String>,
}

/// What they mean.
pub(super) struct Hosts {
    pub(super) addresses: Vec<ServerAddress>,
    pub(super) target: TargetSession,
    pub(super) order: HostOrder,
}

impl Written {
    /// Takes the part of the authority behind the user.
    pub(super) fn take_addresses(&mut self, addresses: &str, complaints: &mut Vec<Complaint>) {
        for address in addresses.split(',') {
            let (host, port) = match address.strip_prefix('[') {
                Some(rest) => match rest.split_once(']') {
                    Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
                    None => {
                        complaints.push(Complaint::new("\"]\" is missing after the IPv6 address"));
                        return;
                    }
                },
                None => address.split_once(':').unwrap_or((address, "")),
            };
            self.hosts.push(decode(host, "the host", complaints));
            self.ports.push(decode(port, "the port", complaints));
        }
    }

    /// Takes the parameter `host`.
    pub(super) fn take_hosts(&mut self, value: &str, complaints: &mut Vec<Complaint>) {
        self.hosts = list(decode(value, "parameter \"host\"", complaints));
        if self.ports.iter().all(Option::is_none) {
            self.ports.clear();
        }
    }

    /// Takes the parameter `port`.
    pub(super) fn take_ports(&mut self, value: &str, complaints: &mut Vec<Complaint>) {
        self.ports = list(decode(value, "parameter \"port\"", complaints));
    }

    pub(super) fn resolve(self, complaints: &mut Vec<Complaint>) -> Hosts {
        let target = choice("target_session_attrs", self.target, TARGETS, complaints);
        let order = choice("load_balance_hosts", self.order, ORDERS, complaints);
        let (hosts, ports) = (self.hosts.len().max(1), self.ports.len());
        if ports > 1 && ports != hosts {
            let message = format!("{ports} ports can't be matched to {hosts} hosts");
            complaints.push(Complaint::new(message).help("write one port, or one for each host"));
        }
        let ports: Vec<u16> = self.ports.iter().map(|it| port(it, complaints)).collect();
        let addresses = (0..hosts).map(|at| ServerAddress {
            host: host(self.hosts.get(at).and_then(Option::as_deref)),
            // One port is that of all hosts.
            port: *ports.get(at).or(ports.first()).unwrap_or(&DEFAULT_PORT),
        });
        Hosts {
            addresses: addresses.collect(),
            target: target.unwrap_or(TargetSession::Any),
            order: order.unwrap_or(HostOrder::AsWritten),
        }
    }
}

fn list(written: Option<String>) -> Vec<Option<String>> {
    let written = written.unwrap_or_default();
    let one = |it: &str| (!it.is_empty()).then(|| it.to_owned());
    written.split(',').map(one).collect()
}

fn host(written: Option<&str>) -> Host {
    let host = written.unwrap_or("localhost");
    if host.starts_with('/') {
        Host::Unix(PathBuf::from(host))
    } else {
        Host::Tcp(host.to_owned())
    }
}

fn port(written: &Option<String>, complaints: &mut Vec<Complaint>) -> u16 {
    let Some(written) = written else {
        return DEFAULT_PORT;
    };
    match written.parse() {
        Ok(port) if port > 0 => port,
        Ok(_) | Err(_) => {
            let message = "the port must be a number from 1 to 65535";
            complaints.push(Complaint::new(message));
            DEFAULT_PORT
        }
    }
}

fn choice<T: Copy>(
    name: &str,
    written: Option<String>,
    choices: &[(&str, T)],
    complaints: &mut Vec<Complaint>,
) -> Option<T> {
    let written = written?;
    let found = choices.iter().find(|(it, _)| *it == written);
    if found.is_none() {
        let names: Vec<&str> = choices.iter().map(|(it, _)| *it).collect();
        let mut complaint = unknown_choice(&written, &names);
        complaint.message = format!("unknown {name}");
        complaints.push(complaint);
    }
    found.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::super::DatabaseUrl;
    use super::*;

    fn read(url: &str) -> DatabaseUrl {
        DatabaseUrl::parse(url).unwrap()
    }

    fn shown(url: &str) -> Vec<String> {
        let hosts = read(url).hosts;
        hosts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn several_hosts_are_read_as_libpq_does() {
        for (url, hosts) in [
            ("postgres://u@a:1,b:2/x", ["a:1", "b:2"]),
            ("postgres://u@a,b:2/x", ["a:5432", "b:2"]),
            ("postgres://u@[::1]:1,b/x", ["[::1]:1", "b:5432"]),
            ("postgres://u@/x?host=a,b&port=7", ["a:7", "b:7"]),
            ("postgres://u@/x?port=7,8&host=a,/run", ["a:7", "/run:8"]),
            ("postgres://u@/x?host=a,b", ["a:5432", "b:5432"]),
        ] {
            assert_eq!(shown(url), hosts, "{url}");
        }
    }

    #[test]
    fn the_wanted_session_is_read() {
        let url = read("postgres://u@a,b/x?target_session_attrs=read-write");
        assert_eq!(url.target, TargetSession::ReadWrite);
        assert_eq!(url.order, HostOrder::AsWritten);
        let url = read("postgres://u@a,b/x?load_balance_hosts=random");
        assert_eq!(
            (url.target, url.order),
            (TargetSession::Any, HostOrder::Random)
        );
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let complaints = |url: &str| {
            let complaints = DatabaseUrl::parse(url).unwrap_err();
            let said = complaints.into_iter().map(|it| it.message);
            said.collect::<Vec<_>>()
        };
        assert_eq!(
            complaints("postgres://u@/x?host=a,b,c&port=1,2"),
            ["2 ports can't be matched to 3 hosts"]
        );
        assert_eq!(
            complaints("postgres://u@a,b/x?target_session_attrs=master&load_balance_hosts=on"),
            ["unknown target_session_attrs", "unknown load_balance_hosts"]
        );
    }
}
