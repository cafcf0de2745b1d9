//! The harness of the suites that need a real PostgreSQL, and the proxy in front of it.
//!
//! PostgreSQL's own row level security is the oracle: the same statement runs through the proxy on
//! tables without it and directly on tables with it, and the two answers must be equal, or the
//! proxy must have refused. `fixture` makes the databases, `wire` is a client with every frame in
//! its hands, `oracle` compares, `cases` reads the case files, `generator` writes statements.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unreachable
)]

pub mod audit;
pub mod cases;
pub mod certificates;
#[cfg(test)]
mod documents;
pub mod duel;
pub mod engine;
pub mod fixture;
pub mod frames;
pub mod generator;
pub mod http;
pub mod mutation;
pub mod oracle;
pub mod pair;
pub mod patience;
pub mod pipe;
pub mod pipelines;
pub mod pooled;
pub mod proxy;
pub mod random;
pub mod runner;
pub mod server;
pub mod shrink;
pub mod sockets;
pub mod watched;
pub mod wire;
pub mod world;
