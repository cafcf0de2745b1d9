//! Waiting, after DDL of the client's own, until the catalogue was read: what it has made is known to
//! its next statement, as it would be to the server.

use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::session::Session;

/// Should the server not tell by then, the next statement is judged by the catalogue that there is.
const CATCH_UP_TIME: Duration = Duration::from_secs(5);

/// The reading of the catalogue that a session waits for; it gives what was caught up with.
pub(super) type CatchUp = Pin<Box<dyn Future<Output = Instant> + Send>>;

/// What the session has to wait for, if there is something.
pub(super) fn begun(session: &Session) -> Option<CatchUp> {
    let (committed, database) = session.unread_ddl()?;
    Some(Box::pin(async move {
        let reading = database.catch_up(committed);
        let _ = tokio::time::timeout(CATCH_UP_TIME, reading).await;
        committed
    }))
}

/// The end of the wait.
pub(super) async fn ended(catch_up: &mut Option<CatchUp>) -> Instant {
    match catch_up {
        Some(catch_up) => catch_up.await,
        None => std::future::pending().await,
    }
}
