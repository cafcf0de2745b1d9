//! Who may log in: no address may keep the others out.
//!
//! An address has a bounded number of connections that have not logged in yet
//! (`limits.handshakes_per_address`), so that half-open ones of one host don't fill the proxy; and a
//! bounded number of failed logins a minute (`limits.failed_logins_per_minute`), each of which costs a
//! TLS handshake and a signature's check. Who has logged in counts no more. An IPv6 address stands for
//! its /64, which is one host's. One short lock for each login, none for statements.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgwarden_config::settings::Limits;

/// Beyond the limit so many connections of an address are still spoken to, as beyond
/// `limits.client_connections`.
const EXTRA: usize = 16;

/// Addresses that are remembered, at most: a few megabytes.
const ADDRESSES_MAX: usize = 1 << 16;

/// How often addresses that are of no interest any more are looked for when there are too many.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The time that failed logins are counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// Addresses of which something is to be remembered.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// 0 for no limit.
    handshakes: usize,
    /// What a failed login costs of the minute; zero for no limit.
    cost: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    addresses: HashMap<IpAddr, Address>,
    swept: Option<Instant>,
}

#[derive(Debug, Default)]
struct Address {
    /// Connections that have not logged in yet.
    pending: usize,
    /// When its failed logins are forgotten.
    settled: Option<Instant>,
}

/// A connection that has not logged in yet; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Knock {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It may log in.
    Welcome(Option<Knock>),
    /// It is told to come later.
    TooMany(Knock),
    /// It is not even spoken to.
    Flood,
}

impl Crowd {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let failures = u32::try_from(limits.failed_logins_per_minute).unwrap_or(u32::MAX);
        Arc::new(Self {
            handshakes: limits.handshakes_per_address,
            cost: MINUTE.checked_div(failures).unwrap_or_default(),
            seen: Mutex::default(),
        })
    }

    /// A connection has come from an address.
    pub(crate) fn arrive(self: &Arc<Self>, address: IpAddr, now: Instant) -> Arrival {
        let address = host(address);
        let mut seen = self.seen();
        if !seen.has_room_for(address, now) {
            return Arrival::Welcome(None);
        }
        let known = seen.addresses.entry(address).or_default();
        let limit = match self.handshakes {
            0 => usize::MAX,
            limit => limit,
        };
        if known.pending >= limit.saturating_add(EXTRA) {
            return Arrival::Flood;
        }
        let too_many = known.pending >= limit || known.has_failed_too_often(now);
        known.pending += 1;
        let knock = Knock {
            crowd: Arc::clone(self),
            address,
        };
        match too_many {
            true => Arrival::TooMany(knock),
            false => Arrival::Welcome(Some(knock)),
        }
    }

    /// A login from an address has failed.
    pub(crate) fn fail(&self, address: IpAddr, now: Instant) {
        let address = host(address);
        let mut seen = self.seen();
        if self.cost.is_zero() || !seen.has_room_for(address, now) {
            return;
        }
        let known = seen.addresses.entry(address).or_default();
        let settled = known.settled.map_or(now, |settled| settled.max(now));
        // More is not remembered: who stops is let in again after a minute.
        known.settled = Some((settled + self.cost).min(now + MINUTE + self.cost));
    }

    fn leave(&self, address: IpAddr, now: Instant) {
        let mut seen = self.seen();
        if let Some(known) = seen.addresses.get_mut(&address) {
            known.pending = known.pending.saturating_sub(1);
            if known.is_forgotten(now) {
                seen.addresses.remove(&address);
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Whether something of an address can be remembered.
    fn has_room_for(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.addresses.len() < ADDRESSES_MAX || self.addresses.contains_key(&address) {
            return true;
        }
        if self.swept.is_none_or(|swept| now >= swept + SWEEP_EVERY) {
            self.swept = Some(now);
            self.addresses.retain(|_, known| !known.is_forgotten(now));
        }
        self.addresses.len() < ADDRESSES_MAX
    }
}

impl Address {
    fn has_failed_too_often(&self, now: Instant) -> bool {
        self.settled.is_some_and(|settled| settled > now + MINUTE)
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        self.pending == 0 && self.settled.is_none_or(|settled| settled <= now)
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        self.crowd.leave(self.address, Instant::now());
    }
}

/// What stands for the host behind an address.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(handshakes_per_address: usize, failed_logins_per_minute: usize) -> Arc<Crowd> {
        Crowd::new(&Limits {
            handshakes_per_address,
            failed_logins_per_minute,
            ..Limits::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn handshakes_are_limited_for_each_address() {
        let (crowd, now) = (crowd(2, 0), Instant::now());
        let one = address("10.0.0.1");
        let mut held: Vec<Arrival> = (0..2).map(|_| crowd.arrive(one, now)).collect();
        assert!(
            held.iter()
                .all(|it| matches!(it, Arrival::Welcome(Some(_))))
        );
        for _ in 0..EXTRA {
            let arrival = crowd.arrive(one, now);
            assert!(matches!(arrival, Arrival::TooMany(_)));
            held.push(arrival);
        }
        assert!(matches!(crowd.arrive(one, now), Arrival::Flood));
        let other = crowd.arrive(address("10.0.0.2"), now);
        assert!(matches!(other, Arrival::Welcome(Some(_))));
        // A mapped address is no other.
        let mapped = crowd.arrive(address("::ffff:10.0.0.1"), now);
        assert!(matches!(mapped, Arrival::Flood));
        drop((held, other));
        assert!(crowd.seen().addresses.is_empty());
    }

    #[test]
    fn failed_logins_are_limited_for_each_address_and_forgotten() {
        let (crowd, now) = (crowd(0, 60), Instant::now());
        let (one, same) = (address("2001:db8::1"), address("2001:db8::ffff:2"));
        let welcome = |address, now| matches!(crowd.arrive(address, now), Arrival::Welcome(_));
        for _ in 0..60 {
            assert!(welcome(one, now));
            crowd.fail(one, now);
        }
        assert!(welcome(one, now));
        for _ in 0..1000 {
            crowd.fail(one, now);
        }
        assert!(!welcome(one, now) && !welcome(same, now));
        assert!(welcome(address("2001:db8:0:1::1"), now));
        let later = now + Duration::from_secs(2);
        assert!(welcome(one, later));
        crowd.fail(one, later);
        crowd.fail(one, later);
        assert!(!welcome(one, later));
        assert!(welcome(one, later + MINUTE));
    }

    #[test]
    fn addresses_that_are_remembered_are_bounded() {
        let (crowd, now) = (crowd(1, 1), Instant::now());
        for number in 0..u32::try_from(ADDRESSES_MAX + 10).unwrap() {
            crowd.fail(IpAddr::V4(number.into()), now);
        }
        assert_eq!(crowd.seen().addresses.len(), ADDRESSES_MAX);
        let new = address("192.0.2.1");
        assert!(matches!(crowd.arrive(new, now), Arrival::Welcome(None)));
        let later = now + 3 * MINUTE;
        assert!(matches!(
            crowd.arrive(new, later),
            Arrival::Welcome(Some(_))
        ));
        assert!(crowd.seen().addresses.is_empty());
    }
}
