//! `[peers]`: the proxies behind one load balancer.

use crate::reader::{Complaint, Section};
use crate::settings::Peers;
use crate::values::{count, words};

use super::Reader;

/// The number must fit into the first byte of a cancel key, beside one bit.
const PEERS_MAX: usize = 127;

impl Reader<'_> {
    pub(super) fn peers(&mut self, root: &mut Section<'_>) -> Option<Peers> {
        let mut section = root.section(&mut self.report, "peers")?;
        let addresses = section.required(&mut self.report, "addresses", |node| {
            let addresses = words(node)?;
            match addresses.iter().all(|address| is_address(address)) {
                true if (1..=PEERS_MAX).contains(&addresses.len()) => Ok(addresses),
                true => Err(Complaint::new("expected 1 to 127 addresses")),
                false => Err(Complaint::new("expected hosts with ports")
                    .help("write [\"proxy1:6432\", \"10.0.0.2:6432\"]")),
            }
        });
        let number = section.required(&mut self.report, "number", |node| {
            Ok((count(node)?, &node.origin))
        });
        section.finish(&mut self.report);
        let (addresses, (number, origin)) = (addresses?, number?);
        match u8::try_from(number) {
            Ok(own) if number <= addresses.len() => Some(Peers {
                addresses,
                number: own,
            }),
            Ok(_) | Err(_) => {
                let message = format!("there are {} addresses", addresses.len());
                let help = "the number says which of them is this proxy's, from 1";
                self.complain(origin, Complaint::new(message).help(help));
                None
            }
        }
    }
}

/// Names are looked up when they are needed.
fn is_address(written: &str) -> bool {
    written.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}
