//! Bringing a used server connection back to what it was after its start-up.
//!
//! Nothing of one session may be seen by the next: not its transaction, settings, role, prepared
//! statements, cursors, temporary tables, LISTENs, advisory locks, sequence values or random numbers. The answers
//! are verified; a connection that answers anything else is closed, not reused.

use std::io;
use std::time::Duration;

use super::Backend;
use super::frames::{Frame, next_frame};

/// A reset that takes longer counts as failed.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// One statement for each Query, with the tag that it must answer: `DISCARD ALL` can't stand in a
/// transaction, hence not among other statements.
const STEPS: [(&str, &str); 5] = [
    // Ends any transaction, a failed one too; outside of one it is only a warning.
    ("ROLLBACK", "ROLLBACK"),
    // Also resets the role, which RESET ALL inside DISCARD ALL does not.
    ("RESET SESSION AUTHORIZATION", "RESET"),
    ("DISCARD ALL", "DISCARD ALL"),
    (RESEED, "SELECT 1"),
    (VERIFY, "SELECT 1"),
];

/// DISCARD leaves the seed of random numbers: who has set it, or seen some of them, would know the next
/// session's. This one comes from the system's own source (63 bits of it).
pub(crate) const RESEED: &str = "SELECT pg_catalog.setseed((\
    pg_catalog.hashtextextended(pg_catalog.gen_random_uuid()::pg_catalog.text, 0) \
    OPERATOR(pg_catalog./) 9223372036854775808.0)::pg_catalog.float8)";

/// Divides by zero, hence fails, unless the connection is as new.
const VERIFY: &str = "SELECT 1 OPERATOR(pg_catalog./) (CASE WHEN \
    current_user OPERATOR(pg_catalog.=) session_user AND \
    COALESCE(pg_catalog.current_setting('request.jwt.claims', true), '') \
    OPERATOR(pg_catalog.=) '' THEN 1 ELSE 0 END)";

impl Backend {
    /// Resets the session on the server.
    ///
    /// # Errors
    /// When an answer is not the expected one, or does not come: the connection must be closed.
    pub(crate) async fn reset(&mut self) -> io::Result<()> {
        match tokio::time::timeout(RESET_TIMEOUT, self.run_reset()).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn run_reset(&mut self) -> io::Result<()> {
        if !self.inbox.is_empty() || self.has_output() {
            return Err(unclean());
        }
        for (statement, _) in STEPS {
            self.outbox.own_query(statement);
        }
        self.flush().await?;
        for (_, tag) in STEPS {
            self.expect(tag).await?;
        }
        if self.inbox.is_empty() {
            Ok(())
        } else {
            Err(unclean())
        }
    }

    /// Reads the answer to one Query: the tag, then ReadyForQuery outside of a transaction.
    async fn expect(&mut self, tag: &str) -> io::Result<()> {
        let mut complete = false;
        loop {
            let frame = self.next().await?;
            match frame.tag {
                // What the last session's end sets off: warnings, settings that go back,
                // notifications that were on their way, the rows of the verification.
                b'N' | b'S' | b'A' | b'T' | b'D' => {}
                b'C' => complete = frame.body().strip_suffix(&[0]) == Some(tag.as_bytes()),
                b'Z' if complete && frame.body() == b"I" => return Ok(()),
                _ => return Err(unclean()),
            }
        }
    }

    async fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = next_frame(&mut self.inbox)? {
                return Ok(frame);
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether an idle connection is still as it was left: open, and without a word from the
    /// server since (a server that goes down says 57P01).
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        self.inbox.is_empty() && self.poll_fill(&mut cx).is_pending()
    }
}

fn unclean() -> io::Error {
    io::Error::other("the server connection did not come back clean")
}
