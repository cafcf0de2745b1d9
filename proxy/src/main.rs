//! The `pgwarden` command.
fn main() {}
