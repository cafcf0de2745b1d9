//! The catalogue snapshot.
