//! PAUSE and RESUME of a database, for whoever restarts, upgrades or moves its server.
//!
//! A paused database has no connection to its server, neither a client's nor pgwarden's own, and its
//! clients wait. It is resumed once the server has told its catalogue: whatever was changed meanwhile,
//! no statement is judged by what was true before.

use super::Database;
use crate::backend::ConnectError;

/// Whether clients get server connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// They do.
    Running,
    /// They do not, and some still have one: transactions end, or sessions in session mode.
    Pausing,
    /// Nobody has one.
    Paused,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
        }
    }
}

impl Database {
    /// Whether clients get server connections.
    pub(crate) fn state(&self) -> State {
        let connections = self.pools().map(|pool| {
            let connections = pool.occupancy();
            connections.active + connections.idle
        });
        match (self.pool.is_paused(), connections.sum()) {
            (false, _) => State::Running,
            (true, 0) => State::Paused,
            (true, _) => State::Pausing,
        }
    }

    /// Hands out no server connection from now on. Returns at once.
    pub(crate) fn pause(&self) {
        if !self.pool.is_paused() {
            tracing::info!(database = self.name, "paused by an operator");
        }
        for pool in self.pools() {
            pool.pause();
        }
    }

    /// Waits until a paused database has no connection to its server. False when it was resumed
    /// before that.
    pub(crate) async fn paused(&self) -> bool {
        self.watcher.lock().await.rest();
        for follower in &self.followers {
            follower.rest().await;
        }
        for pool in self.pools() {
            if !pool.emptied().await {
                return false;
            }
        }
        true
    }

    /// Goes on, if the server can be asked for its catalogue.
    ///
    /// # Errors
    /// Why it can't; the database stays paused.
    pub(crate) async fn resume(&self) -> Result<(), ConnectError> {
        let mut watcher = self.watcher.lock().await;
        if !self.pool.is_paused() {
            return Ok(());
        }
        watcher.ask(self).await?;
        for pool in self.pools() {
            pool.resume();
        }
        tracing::info!(database = self.name, "resumed by an operator");
        Ok(())
    }
}
