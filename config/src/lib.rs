//! The two files that people edit: `warden.toml` (operations) and `policy.toml` (the security
//! team's).
//!
//! What is written and what is used are two things: a file is parsed into a tree whose every node
//! knows its place, the tree is read into [`Settings`] or [`pgwarden_policy::Policy`], and every
//! problem met on the way is gathered, so that one run shows all mistakes. Unknown keys, and known
//! keys whose feature is not built, are problems; nothing is ignored.

pub mod secret;
pub mod settings;

pub use secret::Secret;
pub use settings::Settings;
