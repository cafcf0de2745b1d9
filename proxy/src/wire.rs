//! Bytes to messages and back: the PostgreSQL protocol, version 3, without sockets.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>
//!
//! Everything that a client sends is hostile until shown otherwise: a reader that meets a length,
//! count or string that does not fit says [`Malformed`], and nothing here panics or allocates by a
//! length that it has not seen the bytes of.

pub mod answer;
pub mod client;
pub mod frame;
pub mod report;
pub mod startup;

mod reader;

pub use reader::{Malformed, Reader};
pub use report::{Report, Severity};
