//! The pgwarden process.
