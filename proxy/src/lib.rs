//! The pgwarden process: sockets, tokens, files and signals around the engine of
//! `pgwarden-policy`.
//!
//! ```text
//!  server ─▶ listener ─▶ session ─▶ auth ─▶ database ─▶ pool ─▶ backend ─▶ PostgreSQL
//!                           │ relay: every statement through the engine of its database
//!                           └─ proxy: what all sessions share
//! ```

// A position in a text may lie within a character; tests know their texts.
#![cfg_attr(not(test), warn(clippy::string_slice))]

pub mod admin;
pub mod audit;
pub mod auth;
pub mod backend;
pub mod cli;
pub mod database;
pub mod demo;
pub mod listener;
pub mod log;
pub mod metrics;
mod peers;
pub mod pool;
pub mod proxy;
pub mod refusal;
pub mod server;
pub mod session;
pub mod tls;
pub mod wire;

mod descriptors;
mod frontend;
mod holdings;
mod random;
mod relay;
mod socket;
mod spares;
mod timestamp;
