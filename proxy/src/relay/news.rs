//! What all sessions are told: how far a shutdown has come, and that a server's host was retired.

use tokio::sync::watch;

use super::rarely::Rarely;
use crate::proxy::Drain;

/// A piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// The shutdown has begun, or gone on.
    Drain(Drain),
    /// A host was retired.
    Retired,
}

/// Where a session hears of it.
pub(super) struct Newsfeed {
    next: Rarely<(News, Sources)>,
}

/// Where it comes from.
struct Sources {
    drain: watch::Receiver<Drain>,
    retirements: Retirements,
}

/// Of the hosts that are written to, and of those that are only read from; `None` where there is no
/// choice.
pub(super) type Retirements = [Option<watch::Receiver<()>>; 2];

impl Newsfeed {
    /// Tells what comes after now.
    pub(super) fn new(drain: watch::Receiver<Drain>, retirements: Retirements) -> Self {
        let sources = Sources { drain, retirements };
        Self {
            next: Rarely::new(sources.next()),
        }
    }

    /// Nothing is lost when it is dropped before it is ready.
    pub(super) async fn next(&mut self) -> News {
        let (news, sources) = (&mut self.next).await;
        self.next = Rarely::new(sources.next());
        news
    }
}

impl Sources {
    async fn next(mut self) -> (News, Self) {
        let [of_all, of_standbys] = &mut self.retirements;
        let news = tokio::select! {
            changed = self.drain.changed() => match changed {
                Ok(()) => News::Drain(*self.drain.borrow_and_update()),
                Err(_) => News::Drain(Drain::Closing),
            },
            () = retirement(of_all) => News::Retired,
            () = retirement(of_standbys) => News::Retired,
        };
        (news, self)
    }
}

async fn retirement(retirements: &mut Option<watch::Receiver<()>>) {
    if let Some(told) = retirements
        && told.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
