//! What the kernel holds of a TCP connection: where bytes are that nobody has read yet.

use std::net::SocketAddr;
use std::time::Duration;

/// Bytes that one end of a connection on loopback has written and the other has not read.
pub fn under_way(from: SocketAddr, to: SocketAddr) -> usize {
    let (unacknowledged, _) = queues(from, to).unwrap_or_default();
    let (_, unread) = queues(to, from).unwrap_or_default();
    unacknowledged + unread
}

/// The same, when there is something and it does not change any more.
pub fn settled(from: SocketAddr, to: SocketAddr) -> usize {
    let mut before = 0;
    for _ in 0..1000 {
        let now = under_way(from, to);
        if now > 0 && now == before {
            return now;
        }
        before = now;
        std::thread::sleep(Duration::from_millis(40));
    }
    panic!("nothing is under way");
}

/// What waits to be sent, or for its receipt; and what has come and was not read.
fn queues(local: SocketAddr, remote: SocketAddr) -> Option<(usize, usize)> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("this is Linux");
    let (local, remote) = (place(local), place(remote));
    let line = table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let found = words.next() == Some(&local) && words.next() == Some(&remote);
        found.then(|| words.nth(1)).flatten()
    })?;
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    let (sending, received) = line.split_once(':')?;
    Some((number(sending)?, number(received)?))
}

/// An address as the table has it.
fn place(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else {
        panic!("only addresses of loopback are looked up");
    };
    let ip = u32::from_le_bytes(address.ip().octets());
    format!("{ip:08X}:{:04X}", address.port())
}
