//! An answer that ends a connection before it became a session.

use std::borrow::Cow;

use bytes::Bytes;

/// What a client is told when it can't have a session. Nothing in it is secret: causes that a
/// client must not see go to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Our own words.
    Own {
        /// Five characters.
        sqlstate: &'static str,
        /// The primary message.
        message: Cow<'static, str>,
    },
    /// The server's own ErrorResponse, a whole frame, to be relayed as it came.
    Server(Bytes),
}

impl Refusal {
    /// A refusal in our own words.
    pub fn new(sqlstate: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Own {
            sqlstate,
            message: message.into(),
        }
    }
}
