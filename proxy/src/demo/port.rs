//! A port for a server that is started in a moment, and perhaps again later.
//!
//! Port 0 gives one of those that the kernel hands out to everybody who names none, connections that
//! go out among them: before the server binds it, or while it is restarted, another may have it. So
//! one outside of these is taken, where there are some.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::random;

/// Where the ports begin that are chosen from: most services listen below.
const FIRST: u16 = 10_000;

/// So many ports there must be to choose from.
const CHOICE_MIN: u16 = 1_000;

/// So many are tried.
const TRIES: u32 = 64;

/// An address of loopback that nobody listens at.
///
/// # Errors
/// When there is none.
pub fn free_address() -> io::Result<SocketAddr> {
    if let Some(choice) = choice() {
        for _ in 0..TRIES {
            let bytes = random::bytes(2)?;
            let number = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u16::from(*byte));
            if let Ok(address) = bind(FIRST.saturating_add(number % choice)) {
                return Ok(address);
            }
        }
    }
    bind(0)
}

fn bind(port: u16) -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()
}

/// How many ports there are to choose from, on a Linux that says what it hands out.
fn choice() -> Option<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let first: u16 = range.split_whitespace().next()?.parse().ok()?;
    first
        .checked_sub(FIRST)
        .filter(|choice| *choice >= CHOICE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_it_unasked() {
        let address = free_address().unwrap();
        assert!(address.ip().is_loopback());
        if let Some(choice) = choice() {
            assert!((FIRST..FIRST + choice).contains(&address.port()));
        }
        TcpListener::bind(address).unwrap();
    }
}
