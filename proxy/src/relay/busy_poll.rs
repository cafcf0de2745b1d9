//! Waiting awake for what will be there in a moment.
//!
//! To fall asleep and be woken takes longer than a short statement, twice for each: once for the client's
//! message and once for the server's answer. A session that is alone on its thread therefore looks again and again
//! for up to `limits.busy_poll` before it sleeps. Nobody pays for that but an idle core: as soon as another session
//! of the thread moves anything there is no looking again, and whose waits turn out longer hardly does it any more.
//!
//! The same thing is `busy-polling` in HAProxy and `SO_BUSY_POLL` in Linux; those look all the time.

use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;
use std::time::{Duration, Instant};

/// A session is alone on its thread when the last so many movements there were all its own.
const ALONE: u8 = 16;

/// After a look in vain so many waits are slept through, at most, before the next look.
const REST_MAX: u8 = 127;

thread_local! {
    /// Whose the last movement on this thread was, and how many before it were the same session's.
    static LAST: Cell<(u64, u8)> = const { Cell::new((0, 0)) };
}

/// Tells sessions apart.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// Who is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Client,
    Server,
}

/// How one session waits.
#[derive(Debug)]
pub(super) struct BusyPoll {
    /// For how long; zero for never.
    window: Duration,
    session: u64,
    look: Look,
    client: Habit,
    server: Habit,
}

/// The wait that is under way.
#[derive(Debug, Clone, Copy)]
enum Look {
    /// None.
    Idle,
    /// Looked through since then.
    Awake(Instant, Awaited),
    /// Slept through.
    Asleep,
}

/// What waits of one kind have come to.
#[derive(Debug, Default)]
struct Habit {
    /// So many more are slept through.
    rest: u8,
    /// So many will be after the next look in vain, and as many again.
    distrust: u8,
}

impl BusyPoll {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            session: SESSIONS.fetch_add(1, Ordering::Relaxed),
            look: Look::Idle,
            client: Habit::default(),
            server: Habit::default(),
        }
    }

    /// Something has come.
    pub(super) fn moved(&mut self) {
        if self.window.is_zero() {
            return;
        }
        let (last, moves) = LAST.get();
        let moves = if last == self.session { moves } else { 0 };
        LAST.set((self.session, moves.saturating_add(1)));
        if let Look::Awake(_, awaited) = std::mem::replace(&mut self.look, Look::Idle) {
            self.habit(awaited).paid();
        }
    }

    /// Nothing is there: the task is woken again at once if that is worth it, after the other tasks and sockets
    /// have had their turn.
    pub(super) fn wait(&mut self, awaited: Awaited, cx: &mut Context<'_>) {
        if !self.window.is_zero() && self.looks_again(awaited) {
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
    }

    fn looks_again(&mut self, awaited: Awaited) -> bool {
        let (last, moves) = LAST.get();
        if last != self.session || moves < ALONE {
            return false;
        }
        let rests = matches!(self.look, Look::Idle) && self.habit(awaited).rests();
        self.look = match self.look {
            Look::Awake(since, _) if since.elapsed() < self.window => return true,
            Look::Awake(_, awaited) => {
                self.habit(awaited).was_in_vain();
                Look::Asleep
            }
            Look::Idle if !rests => Look::Awake(Instant::now(), awaited),
            Look::Idle | Look::Asleep => Look::Asleep,
        };
        matches!(self.look, Look::Awake(..))
    }

    fn habit(&mut self, awaited: Awaited) -> &mut Habit {
        match awaited {
            Awaited::Client => &mut self.client,
            Awaited::Server => &mut self.server,
        }
    }
}

impl Habit {
    /// Whether this wait is one to sleep through.
    fn rests(&mut self) -> bool {
        let rests = self.rest > 0;
        self.rest = self.rest.saturating_sub(1);
        rests
    }

    fn paid(&mut self) {
        self.distrust = self.distrust.saturating_sub(1);
    }

    fn was_in_vain(&mut self) {
        self.distrust = self.distrust.saturating_mul(2).saturating_add(1);
        self.distrust = self.distrust.min(REST_MAX);
        self.rest = self.distrust;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_nanos(1);

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the task is woken again.
    fn looks(poll: &mut BusyPoll, awaited: Awaited) -> bool {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        poll.wait(awaited, &mut Context::from_waker(&waker));
        wakes.0.load(Ordering::Relaxed) > 0
    }

    fn alone(window: Duration) -> BusyPoll {
        let mut poll = BusyPoll::new(window);
        for _ in 0..ALONE {
            poll.moved();
        }
        poll
    }

    /// The number of a session's waits, of which each takes longer than its look, that are looked through.
    fn looks_in_vain(waits: usize) -> usize {
        let mut poll = alone(SHORT);
        let mut looked = 0;
        for _ in 0..waits {
            if looks(&mut poll, Awaited::Server) {
                looked += 1;
                while looks(&mut poll, Awaited::Server) {}
            }
            poll.moved();
        }
        looked
    }

    #[test]
    fn who_is_alone_looks_again_until_something_has_come() {
        let mut poll = alone(LONG);
        for _ in 0..1000 {
            assert!(looks(&mut poll, Awaited::Server));
        }
        poll.moved();
        assert!(looks(&mut poll, Awaited::Client));
    }

    #[test]
    fn who_is_new_or_not_alone_sleeps() {
        let mut new = BusyPoll::new(LONG);
        assert!(!looks(&mut new, Awaited::Client));
        let mut poll = alone(LONG);
        assert!(looks(&mut poll, Awaited::Server));
        new.moved();
        assert!(
            !looks(&mut poll, Awaited::Server),
            "another one has moved something"
        );
        for _ in 1..ALONE {
            poll.moved();
            assert!(!looks(&mut poll, Awaited::Server));
        }
        poll.moved();
        assert!(looks(&mut poll, Awaited::Server));
    }

    #[test]
    fn sessions_that_take_turns_never_look() {
        let mut both = [BusyPoll::new(LONG), BusyPoll::new(LONG)];
        for turn in 0..1000 {
            let poll = &mut both[turn % 2];
            poll.moved();
            assert!(!looks(poll, Awaited::Server));
        }
    }

    #[test]
    fn nothing_is_looked_for_when_it_is_off() {
        assert!(!looks(&mut alone(Duration::ZERO), Awaited::Server));
    }

    #[test]
    fn looks_in_vain_become_rare() {
        assert!(looks_in_vain(100) <= 7);
        assert!(looks_in_vain(100_000) <= 8 + 100_000 / usize::from(REST_MAX));
        assert!(
            looks_in_vain(100_000) > 100_000 / (usize::from(REST_MAX) + 2),
            "never given up"
        );
    }

    #[test]
    fn a_slow_server_does_not_keep_the_client_waiting() {
        let mut poll = alone(SHORT);
        for _ in 0..100 {
            while looks(&mut poll, Awaited::Server) {}
            poll.moved();
        }
        assert!(!looks(&mut poll, Awaited::Server));
        poll.moved();
        assert!(looks(&mut poll, Awaited::Client));
    }
}
