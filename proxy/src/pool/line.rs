//! A line: a server connection on which several sessions wait for short reads, in order.
//!
//! A session in transaction mode holds its server connection for a transaction. Where that is one
//! read whose messages are all there, nothing but the answer is missing once it is sent: the
//! connection becomes a line, on which the session rides to its answer. Others *with the same
//! setup* (claims, role, settings) and start-up parameters may send theirs right behind it, without
//! waiting for it, and read their answers in the same order. So the server finds its next statement
//! already there, and what several sessions send and get at once costs one call of the system.
//!
//! What keeps a session from noticing, and others from being held up:
//!
//! - Each read is a transaction of its own, ended by its own Sync or Query, which neither writes, nor
//!   locks, nor changes anything of the server's session, nor runs somebody's code, and finds all
//!   prepared that it needs. So what came before it, or failed, makes no difference to it.
//! - Nobody boards behind what is not known to be short ([`Paces`]), nor behind more than
//!   `multiplex_wait` of it.
//! - When the front takes longer than [`PATIENCE`] (a lock, a slow client, a lost connection), those
//!   behind it leave: they send the same again on another connection, and the line's answers to
//!   them are read and dropped.
//! - A cancel reaches the server when its session is at the front and all others have left; such a
//!   connection is not used again.
//! - Nobody boards for longer than [`TURN`] while somebody waits for a connection, nor when the
//!   connection is to be closed or the pool is paused.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use pgwarden_config::settings::PoolMode;
use tokio::sync::Notify;

use super::paces::Paces;
use super::ride::Ride;
use super::{Lease, Pool, SWEEP_EVERY};
use crate::backend::{Claim, Shared};

/// So many sessions wait on a line, at most.
const RIDERS_MAX: usize = 16;

/// The front has this long before those behind it leave.
const PATIENCE: Duration = Duration::from_millis(5);

/// So many lines are looked at for one to board.
const LOOKED_AT_MAX: usize = 16;

/// So often no line has a rider behind another before nobody looks any more.
const QUIET_LOOKS: u32 = 100;

/// Where somebody waits for a server connection, nobody boards a line for longer than this.
const TURN: Duration = Duration::from_millis(1);

/// A statement whose time is not known: nobody boards behind it.
const UNKNOWN: u32 = u32::MAX;

/// A server connection that sessions share.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// The connection; none while the line is not in use.
    pub(super) lease: Option<Lease>,
    /// Those that wait, the front first.
    pub(super) riders: VecDeque<Rider>,
    /// The number of the front.
    pub(super) front: u64,
    /// Since when it is the front.
    pub(super) since: Option<Instant>,
    /// Since when it is a line.
    launched: Option<Instant>,
    /// How long all of them take, in µs.
    load: u32,
    /// Nobody boards any more, and who is not at the front leaves.
    pub(super) closed: bool,
    /// The server is gone.
    pub(super) lost: bool,
    /// The server was asked to cancel.
    pub(super) cancelled: bool,
}

#[derive(Debug)]
pub(super) struct Rider {
    pub(super) waker: Option<Waker>,
    load: u32,
    /// Its session has left; the answer is dropped.
    pub(super) gone: bool,
}

impl Rider {
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The lines of a pool.
#[derive(Debug)]
pub(super) struct Lines {
    all: Mutex<Vec<Arc<Line>>>,
    /// So many lines there are before a session boards one.
    width: usize,
    /// The statements before a session's own take no longer than this, as far as is known, in µs.
    wait: u32,
    /// How long statements take.
    pub(super) paces: Paces,
    /// Somebody has boarded since the lines were last found to have no followers.
    boarded: AtomicBool,
    look: Notify,
}

impl Lines {
    /// None yet. Nobody is to wait for longer than `wait` for those before; 0 for no lines at all.
    pub(super) fn new(wait: Duration) -> Self {
        Self {
            all: Mutex::default(),
            width: std::thread::available_parallelism().map_or(1, NonZero::get),
            wait: u32::try_from(wait.as_micros()).unwrap_or(UNKNOWN - 1),
            paces: Paces::default(),
            boarded: AtomicBool::new(false),
            look: Notify::new(),
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Line>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks after all of them. Gives whether any has followers.
    fn look_after(&self) -> bool {
        let now = Instant::now();
        let followed = |line: &Arc<Line>| line.look_after(now);
        self.all().iter().filter(|line| followed(line)).count() > 0
    }

    /// It is no line any more.
    pub(super) fn remove(&self, line: &Arc<Line>) {
        self.all().retain(|other| !Arc::ptr_eq(line, other));
    }
}

impl Line {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the front's followers go, if it takes too long. Gives whether it has any.
    pub(super) fn look_after(&self, now: Instant) -> bool {
        let mut state = self.state();
        let late = |since: Instant| now.saturating_duration_since(since) > PATIENCE;
        let followed = state.riders.len() > 1;
        if followed && state.since.is_some_and(late) {
            state.close();
        }
        followed
    }
}

impl State {
    /// Where a rider stands, if its answer has not been read.
    pub(super) fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.front)?).ok()
    }

    /// Nobody boards any more; all but the front leave.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for rider in self.riders.iter_mut().skip(1) {
            rider.wake();
        }
    }

    /// The server is gone: all leave.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.close();
        if let Some(front) = self.riders.front_mut() {
            front.wake();
        }
    }

    /// Whether one more can wait for its answer here.
    fn admits(&self, pool: &Pool, now: Instant) -> bool {
        let late = |since: Instant| now.saturating_duration_since(since) > PATIENCE;
        let old = |since: Instant| now.saturating_duration_since(since) > TURN;
        let open = !self.closed && !self.lost && !self.since.is_some_and(late);
        let wanted = pool.waiting.value() > 0 && self.launched.is_some_and(old);
        open && !wanted
            && self.load <= pool.lines.wait
            && self.riders.len() < RIDERS_MAX
            && self
                .lease
                .as_ref()
                .is_some_and(|lease| pool.may_stay(&lease.held))
    }

    fn push(&mut self, load: u32) -> u64 {
        let place = u64::try_from(self.riders.len()).unwrap_or(u64::MAX);
        self.load = self.load.saturating_add(load);
        self.riders.push_back(Rider {
            waker: None,
            load,
            gone: false,
        });
        self.front.saturating_add(place)
    }

    /// The front's answer is complete.
    pub(super) fn pass_on(&mut self, now: Instant) {
        let load = self.riders.pop_front().map_or(0, |rider| rider.load);
        self.load = if load == UNKNOWN {
            let loads = self.riders.iter().map(|rider| rider.load);
            loads.fold(0, u32::saturating_add)
        } else {
            self.load.saturating_sub(load)
        };
        self.front = self.front.saturating_add(1);
        self.since = Some(now);
    }
}

impl Shared for Line {
    fn claim(&self, number: u64) -> Claim {
        let mut state = self.state();
        if state.place(number).is_none() || state.lost {
            return Claim::Over;
        }
        state.close();
        let others = state.riders.iter().skip(1).any(|rider| !rider.gone);
        if number != state.front || others {
            return Claim::Wait;
        }
        state.cancelled = true;
        let lease = state.lease.as_ref();
        lease.map_or(Claim::Over, |lease| {
            Claim::Aim(lease.cancel_target().clone())
        })
    }
}

impl Pool {
    /// Whether sessions may wait on each other's server connections.
    pub(crate) fn has_lines(&self) -> bool {
        self.lines.wait > 0 && self.settings.mode == PoolMode::Transaction
    }

    /// From now on, until no line has more than one rider for a while, the lines are looked after.
    fn look_after_lines(&self) {
        if !self.lines.boarded.swap(true, Ordering::Relaxed) {
            self.lines.look.notify_one();
        }
    }

    /// Looks after the lines until the pool is gone.
    pub(crate) fn spawn_inspector(self: &Arc<Self>) {
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut quiet = 0;
            loop {
                tokio::time::sleep(PATIENCE).await;
                let Some(pool) = pool.upgrade() else {
                    return;
                };
                quiet = if pool.lines.look_after() {
                    0
                } else {
                    quiet + 1
                };
                if quiet > QUIET_LOOKS {
                    pool.lines.boarded.store(false, Ordering::Relaxed);
                    // Who has boarded before that wakes nobody: only a look behind it shows them.
                    if pool.lines.look_after() {
                        pool.lines.boarded.store(true, Ordering::Relaxed);
                        continue;
                    }
                    let woken = pool.lines.look.notified();
                    let _ = tokio::time::timeout(SWEEP_EVERY, woken).await;
                }
            }
        });
    }

    /// Turns a server connection into a line, on which a session rides that has put a read of this
    /// shape into its outbox.
    pub(crate) fn launch(self: &Arc<Self>, mut lease: Lease, shape: u64) -> Ride {
        let line = lease.held.line.take().unwrap_or_default();
        let mut state = line.state();
        state.since = Some(Instant::now());
        state.launched = state.since;
        state.lease = Some(lease);
        let number = state.push(self.lines.paces.of(shape).unwrap_or(UNKNOWN));
        drop(state);
        let mut lines = self.lines.all();
        let alone = lines.is_empty();
        lines.push(Arc::clone(&line));
        drop(lines);
        let ride = Ride::new(line, self, number, shape, true);
        if alone { ride.at_once() } else { ride }
    }

    /// Whether there may be a line to board.
    pub(crate) fn may_board(&self, at_any_rate: bool) -> bool {
        let least = if at_any_rate { 1 } else { self.lines.width };
        self.lines.all().len() >= least && !self.pause.is_on()
    }

    /// Lets a session ride on a line that carries its setup, with a read of this shape that needs
    /// this statement prepared, if any. `send` puts it into the outbox; when it gives false, it has
    /// not, and the ride is off.
    pub(crate) fn board(
        self: &Arc<Self>,
        at_any_rate: bool,
        shape: u64,
        fits: impl Fn(&mut Lease) -> bool,
        send: impl FnOnce(&mut Lease) -> bool,
    ) -> Option<Ride> {
        let load = self
            .lines
            .paces
            .of(shape)
            .filter(|load| *load <= self.lines.wait)?;
        if self.pause.is_on() {
            return None;
        }
        let line = self.best_line(at_any_rate, &fits)?;
        let mut state = line.state();
        if !state.admits(self, Instant::now()) {
            return None;
        }
        // Since it was looked at, another session may have launched it anew.
        let lease = state.lease.as_mut()?;
        if !fits(lease) {
            return None;
        }
        let sends = !lease.has_output();
        if !send(lease) {
            return None;
        }
        let number = state.push(load);
        drop(state);
        self.metrics.multiplexed.increment();
        self.look_after_lines();
        Some(Ride::new(line, self, number, shape, sends))
    }

    /// The line with the shortest wait.
    fn best_line(
        &self,
        at_any_rate: bool,
        fits: &impl Fn(&mut Lease) -> bool,
    ) -> Option<Arc<Line>> {
        let lines = self.lines.all();
        if lines.len() < self.lines.width && !at_any_rate {
            return None;
        }
        let now = Instant::now();
        let mut best: Option<(u32, &Arc<Line>)> = None;
        for line in lines.iter().take(LOOKED_AT_MAX) {
            let mut state = line.state();
            let better = best.is_none_or(|(load, _)| state.load < load);
            if better && state.admits(self, now) && state.lease.as_mut().is_some_and(fits) {
                best = Some((state.load, line));
            }
        }
        best.map(|(_, line)| Arc::clone(line))
    }
}
