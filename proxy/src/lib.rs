//! The pgwarden process: sockets, tokens, files and signals around the engine of
//! `pgwarden-policy`.
//!
//! ```text
//!  server ─▶ session ─▶ auth ─▶ pool ─▶ backend ─▶ PostgreSQL
//!               │ relay: every statement through the engine of its database
//!               └─ proxy: what all sessions share
//! ```

pub mod backend;
pub mod metrics;
pub mod refusal;
pub mod tls;

mod random;
