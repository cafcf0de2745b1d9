//! The hosts of a database: in which order they are asked, and what is known of each.
//!
//! As with libpq, a connection goes to the first host that lets us in and whose role is the wanted
//! one (`target_session_attrs`). Beyond libpq, what was seen of a host is remembered: one that was
//! down or in another role is asked last; and where only the primary will do, the host that was
//! found to be it stays the first to be asked for as long as it is, so that a former primary that
//! comes back unaware is not written to. A host that will not do any more, or is down while another
//! will do, is *retired*: connections that were opened before go to nobody again.
//!
//! Roles are asked of each new connection, never assumed: what is remembered decides the order only.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgwarden_config::settings::{Database, HostOrder, ServerAddress, TargetSession};
use tokio::sync::watch;

use super::error::ConnectError;
use super::progress::Moment;
use super::role::Role;
use super::transport::Silent;

/// What was last seen of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nobody has looked yet.
    Nothing,
    /// It can't be reached.
    Down,
    /// It has this role.
    Up(Role),
}

impl Seen {
    /// For logs, metrics and readiness.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "unknown",
            Self::Down => "down",
            Self::Up(role) => role.as_str(),
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Down => 1,
            Self::Up(role) => 2 + u8::from(role.standby) + 2 * u8::from(role.read_only),
        }
    }

    fn of_code(code: u8) -> Self {
        let role = |bits: u8| Role {
            standby: bits & 1 != 0,
            read_only: bits & 2 != 0,
        };
        match code {
            0 => Self::Nothing,
            1 => Self::Down,
            up => Self::Up(role(up - 2)),
        }
    }
}

/// One host.
#[derive(Debug)]
pub struct Site {
    address: ServerAddress,
    seen: AtomicU8,
    /// How often it was retired.
    retired: AtomicU64,
    /// As of when it is current, where it is a standby that is read from.
    current: AtomicU64,
    /// Addresses of its name that did not answer.
    silent: Silent,
}

impl Site {
    fn new(address: ServerAddress) -> Arc<Self> {
        Arc::new(Self {
            address,
            seen: AtomicU8::new(Seen::Nothing.code()),
            retired: AtomicU64::new(0),
            current: AtomicU64::new(0),
            silent: Silent::default(),
        })
    }

    /// Where it is.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Addresses of its name that did not answer.
    pub(super) fn silent(&self) -> &Silent {
        &self.silent
    }

    /// What was last seen of it.
    pub fn seen(&self) -> Seen {
        Seen::of_code(self.seen.load(Ordering::Relaxed))
    }

    /// It is known to be current as of a moment.
    pub fn is_current_as_of(&self, moment: Moment) {
        self.current.fetch_max(moment.as_millis(), Ordering::AcqRel);
    }

    /// Whether it is current as of a moment, if there is one.
    fn is_current(&self, since: Option<Moment>) -> bool {
        since.is_none_or(|since| self.current.load(Ordering::Acquire) >= since.as_millis())
    }

    /// For a connection that is opened now.
    pub(super) fn mark(self: &Arc<Self>) -> Mark {
        Mark {
            retired: self.retired.load(Ordering::Acquire),
            site: Arc::clone(self),
        }
    }
}

/// The host of a connection, and when it was opened.
#[derive(Debug, Clone)]
pub struct Mark {
    site: Arc<Site>,
    retired: u64,
}

impl Mark {
    /// Whether the host is current as of a moment, if there is one.
    pub(crate) fn is_current(&self, since: Option<Moment>) -> bool {
        self.site.is_current(since)
    }

    pub(super) fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// Whether the host was retired since.
    pub(crate) fn is_retired(&self) -> bool {
        self.site.retired.load(Ordering::Acquire) != self.retired
    }
}

/// The hosts of one database.
#[derive(Debug)]
pub struct Hosts {
    sites: Vec<Arc<Site>>,
    target: TargetSession,
    order: HostOrder,
    /// Whoever has no connection to any of them can do without.
    dispensable: bool,
    /// Where only the primary will do: the host that was found to be it.
    primary: Mutex<Option<Arc<Site>>>,
    /// Tells that a host was retired.
    retirements: watch::Sender<()>,
}

impl Hosts {
    pub(super) fn new(settings: &Database) -> Self {
        let sites = settings.hosts.iter().cloned().map(Site::new);
        Self {
            sites: sites.collect(),
            target: settings.target,
            order: settings.order,
            dispensable: false,
            primary: Mutex::default(),
            retirements: watch::Sender::new(()),
        }
    }

    /// The same hosts again, to read from those that are standbys.
    pub(super) fn standbys(&self) -> Self {
        let sites = self.sites.iter().map(|site| site.address.clone());
        Self {
            sites: sites.map(Site::new).collect(),
            target: TargetSession::Standby,
            order: HostOrder::Random,
            dispensable: true,
            primary: Mutex::default(),
            retirements: watch::Sender::new(()),
        }
    }

    /// Whether a host that will do is current as of a moment.
    pub(crate) fn any_since(&self, since: Moment) -> bool {
        let does = |site: &Arc<Site>| self.fits(site.seen()) && site.is_current(Some(since));
        self.sites.iter().any(does)
    }

    /// Whether it is the primary that connections go to.
    pub(crate) fn is_primary(&self, site: &Arc<Site>) -> bool {
        let primary = self.primary();
        primary.as_ref().is_some_and(|it| Arc::ptr_eq(it, site))
    }

    /// All of them, as they were written.
    pub fn sites(&self) -> &[Arc<Site>] {
        &self.sites
    }

    /// Whether there is a choice.
    pub fn are_several(&self) -> bool {
        self.sites.len() > 1
    }

    /// The hosts that connections go to, as far as is known.
    pub fn serving(&self) -> Vec<Arc<Site>> {
        let primary = self.primary().clone();
        if let Some(primary) = primary {
            return vec![primary];
        }
        let fits = |site: &&Arc<Site>| self.fits(site.seen());
        self.sites.iter().filter(fits).cloned().collect()
    }

    /// Tells that connections were retired; `None` where there is no choice, hence none to wait for.
    pub(crate) fn retirements(&self) -> Option<watch::Receiver<()>> {
        self.are_several().then(|| self.retirements.subscribe())
    }

    /// Connects to the first host that will do. `connect` asks for the role where it is told to.
    pub(super) async fn first_fit<T, F>(
        &self,
        since: Option<Moment>,
        connect: impl Fn(Arc<Site>, bool) -> F,
    ) -> Result<T, ConnectError>
    where
        F: Future<Output = Result<(T, Option<Role>), ConnectError>>,
    {
        let mut failure = None;
        for target in self.passes() {
            let wants_role = *target != TargetSession::Any;
            for site in self.in_order()? {
                if !site.is_current(since) {
                    continue;
                }
                match connect(Arc::clone(&site), wants_role).await {
                    Ok((it, None)) => return Ok(it),
                    Ok((it, Some(role))) => {
                        self.saw(&site, Seen::Up(role));
                        if takes(*target, role) {
                            return Ok(it);
                        }
                        failure.get_or_insert(ConnectError::NoSuchRole(self.target));
                    }
                    Err(error) if error.is_passing() && self.are_several() => {
                        self.saw(&site, Seen::Down);
                        failure = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Err(failure.unwrap_or(ConnectError::NoSuchRole(self.target)))
    }

    /// What to look for, one after the other.
    fn passes(&self) -> &'static [TargetSession] {
        match self.target {
            TargetSession::Any => &[TargetSession::Any],
            TargetSession::ReadWrite => &[TargetSession::ReadWrite],
            TargetSession::ReadOnly => &[TargetSession::ReadOnly],
            TargetSession::Primary => &[TargetSession::Primary],
            TargetSession::Standby => &[TargetSession::Standby],
            TargetSession::PreferStandby => &[TargetSession::Standby, TargetSession::Any],
        }
    }

    /// The hosts in the order in which they are to be asked.
    fn in_order(&self) -> Result<Vec<Arc<Site>>, ConnectError> {
        let mut sites = self.sites.clone();
        if !self.are_several() {
            return Ok(sites);
        }
        if self.order == HostOrder::Random {
            shuffle(&mut sites)?;
        }
        let primary = self.primary().clone();
        // Stable: among equals the order stays.
        sites.sort_by_key(|site| match site.seen() {
            _ if primary.as_ref().is_some_and(|it| Arc::ptr_eq(it, site)) => 0,
            Seen::Nothing => 1,
            Seen::Up(role) if takes(self.target, role) => 1,
            Seen::Up(_) => 2,
            Seen::Down => 3,
        });
        Ok(sites)
    }

    /// Something was seen of a host.
    pub fn saw(&self, site: &Arc<Site>, seen: Seen) {
        if !self.are_several() {
            return;
        }
        let before = Seen::of_code(site.seen.swap(seen.code(), Ordering::Relaxed));
        if before != seen {
            tracing::info!(host = %site.address, was = before.as_str(), now = seen.as_str(), "a database host");
            let another = self.dispensable || self.sites.iter().any(|it| self.fits(it.seen()));
            if !self.fits(seen) && (seen != Seen::Down || another) {
                self.retire(site);
            }
        }
        if self.is_exclusive() {
            self.elect();
        }
    }

    /// Keeps the primary while it is one; else another takes its place, if there is any.
    fn elect(&self) {
        let mut primary = self.primary();
        if primary.as_ref().is_some_and(|it| self.fits(it.seen())) {
            return;
        }
        let Some(next) = self.sites.iter().find(|it| self.fits(it.seen())) else {
            return;
        };
        let former = primary.replace(Arc::clone(next));
        tracing::warn!(host = %next.address, "the database is served by this host now");
        if let Some(former) = former {
            self.retire(&former);
        }
    }

    fn retire(&self, site: &Site) {
        site.retired.fetch_add(1, Ordering::AcqRel);
        self.retirements.send_replace(());
    }

    /// Whether at most one host at a time will do.
    fn is_exclusive(&self) -> bool {
        matches!(
            self.target,
            TargetSession::ReadWrite | TargetSession::Primary
        )
    }

    fn fits(&self, seen: Seen) -> bool {
        match seen {
            Seen::Up(role) => takes(self.target, role),
            Seen::Nothing | Seen::Down => false,
        }
    }

    fn primary(&self) -> MutexGuard<'_, Option<Arc<Site>>> {
        self.primary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a host of a role will do.
fn takes(target: TargetSession, role: Role) -> bool {
    match target {
        TargetSession::Any | TargetSession::PreferStandby => true,
        TargetSession::ReadWrite => !role.standby && !role.read_only,
        TargetSession::ReadOnly => role.standby || role.read_only,
        TargetSession::Primary => !role.standby,
        TargetSession::Standby => role.standby,
    }
}

fn shuffle<T>(items: &mut [T]) -> Result<(), ConnectError> {
    // One byte for each is even enough: a list of hosts is short.
    let bytes = crate::random::bytes(items.len())?;
    for (last, byte) in (0..items.len()).rev().zip(bytes) {
        items.swap(last, usize::from(byte) % (last + 1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pgwarden_config::{Environment, read_database};

    use super::*;

    const PRIMARY: Role = Role {
        standby: false,
        read_only: false,
    };
    const STANDBY: Role = Role {
        standby: true,
        read_only: false,
    };

    fn hosts(target: &str) -> Hosts {
        let url = format!("postgres://u@a,b,c/x?target_session_attrs={target}");
        Hosts::new(&read_database(&url, &Environment::from_iter([])).unwrap())
    }

    fn names(sites: &[Arc<Site>]) -> String {
        let name = |site: &Arc<Site>| site.address.to_string().replace(":5432", "");
        sites.iter().map(name).collect()
    }

    #[test]
    fn what_was_seen_is_kept_as_it_was() {
        let mut all = vec![Seen::Nothing, Seen::Down];
        for (standby, read_only) in [(false, false), (true, false), (false, true), (true, true)] {
            all.push(Seen::Up(Role { standby, read_only }));
        }
        for seen in all {
            assert_eq!(Seen::of_code(seen.code()), seen);
        }
    }

    #[test]
    fn hosts_that_failed_are_asked_last() {
        let hosts = hosts("any");
        hosts.saw(&hosts.sites[0], Seen::Down);
        hosts.saw(&hosts.sites[2], Seen::Up(STANDBY));
        assert_eq!(names(&hosts.in_order().unwrap()), "bca");
        hosts.saw(&hosts.sites[0], Seen::Up(PRIMARY));
        assert_eq!(names(&hosts.in_order().unwrap()), "abc");
    }

    #[test]
    fn the_primary_stays_until_it_is_none() {
        let hosts = hosts("primary");
        let [a, b, _] = &hosts.sites[..] else {
            panic!("three hosts")
        };
        hosts.saw(b, Seen::Up(PRIMARY));
        let mark = b.mark();
        // A former primary that does not know of its successor.
        hosts.saw(a, Seen::Up(PRIMARY));
        assert_eq!(names(&hosts.serving()), "b");
        assert_eq!(names(&hosts.in_order().unwrap()), "bac");
        // It may only be slow: no other would do, so its connections stay.
        hosts.saw(a, Seen::Up(STANDBY));
        hosts.saw(b, Seen::Down);
        assert!(!mark.is_retired());
        assert_eq!(names(&hosts.serving()), "b");
        hosts.saw(a, Seen::Up(PRIMARY));
        assert!(mark.is_retired() && !a.mark().is_retired());
        assert_eq!(names(&hosts.serving()), "a");
    }

    #[test]
    fn a_host_in_another_role_is_retired() {
        let hosts = hosts("standby");
        let site = &hosts.sites[0];
        hosts.saw(site, Seen::Up(STANDBY));
        let mark = site.mark();
        hosts.saw(site, Seen::Up(STANDBY));
        assert!(!mark.is_retired());
        hosts.saw(site, Seen::Up(PRIMARY));
        assert!(mark.is_retired());
    }

    #[test]
    fn targets_are_those_of_libpq() {
        let read_only = Role {
            read_only: true,
            ..PRIMARY
        };
        for (target, takes_it) in [
            (TargetSession::Any, [true, true, true]),
            (TargetSession::ReadWrite, [true, false, false]),
            (TargetSession::ReadOnly, [false, true, true]),
            (TargetSession::Primary, [true, true, false]),
            (TargetSession::Standby, [false, false, true]),
        ] {
            let taken = [PRIMARY, read_only, STANDBY].map(|role| takes(target, role));
            assert_eq!(taken, takes_it, "{target:?}");
        }
    }
}
