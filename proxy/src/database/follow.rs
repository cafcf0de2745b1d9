//! Following the hosts of a database that has several: a task for each asks it, by a connection of
//! its own, what it is.
//!
//! So a primary that has moved is known although nobody connects at the moment, and what still
//! stands on a host that will not do any more is closed. A host that does not answer in time is
//! down. While the database is paused nobody is asked.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;

use super::Database;
use crate::backend::{Hosts, Moment, Seen, Sentry, Site};

/// How often each host is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A host that takes longer to answer is down.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Who asks one host.
#[derive(Debug)]
pub(super) struct Follower {
    /// Its place in the list.
    at: usize,
    site: Arc<Site>,
    sentry: Mutex<Sentry>,
}

/// One for each host, where there are several.
pub(super) fn all(hosts: &Hosts) -> Vec<Arc<Follower>> {
    if !hosts.are_several() {
        return Vec::new();
    }
    let follower = |(at, site): (usize, &Arc<Site>)| Follower {
        at,
        site: Arc::clone(site),
        sentry: Mutex::default(),
    };
    hosts
        .sites()
        .iter()
        .enumerate()
        .map(follower)
        .map(Arc::new)
        .collect()
}

/// Starts the tasks; they end when the database is gone.
pub(super) fn spawn(database: &Arc<Database>) {
    let replicas = database.replicas.as_ref();
    let every = replicas.map_or(ASK_EVERY, |replicas| replicas.ask_every());
    for follower in &database.followers {
        let (database, follower) = (Arc::downgrade(database), Arc::clone(follower));
        tokio::spawn(async move { follower.follow(database, every).await });
    }
}

impl Follower {
    async fn follow(&self, database: Weak<Database>, every: Duration) {
        loop {
            let Some(database) = database.upgrade() else {
                return;
            };
            self.look(&database).await;
            drop(database);
            tokio::time::sleep(every).await;
        }
    }

    async fn look(&self, database: &Database) {
        let mut sentry = self.sentry.lock().await;
        if database.pool.is_paused() {
            return;
        }
        let moment = Moment::now();
        let asked = sentry.ask(&database.upstream, &self.site);
        let (seen, position) = match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Ok(sighting)) => (Seen::Up(sighting.role), sighting.position),
            Ok(Err(error)) if !error.is_passing() => {
                let host = self.site.address();
                tracing::warn!(%host, %error, "can't ask a database host");
                return;
            }
            Ok(Err(_)) | Err(_) => (Seen::Down, None),
        };
        let hosts = database.upstream.hosts();
        hosts.saw(&self.site, seen);
        let Some(replicas) = &database.replicas else {
            return;
        };
        if let (true, Some(position)) = (hosts.is_primary(&self.site), position) {
            replicas.note_primary(moment, position);
        }
        replicas.note(self.at, seen, position);
    }

    /// Closes its connection.
    pub(super) async fn rest(&self) {
        *self.sentry.lock().await = Sentry::default();
    }
}
