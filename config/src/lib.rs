//! The two files that people edit: `warden.toml` (operations) and `policy.toml` (the security
//! team's).
//!
//! What is written and what is used are two things: a file is parsed into a tree whose every node
//! knows its place, the tree is read into [`Settings`] or [`pgwarden_policy::Policy`], and every
//! problem met on the way is gathered, so that one run shows all mistakes. Unknown keys, and known
//! keys whose feature is not built, are problems; nothing is ignored.

// A position in a text may lie within a character; tests know their texts.
#![cfg_attr(not(test), warn(clippy::string_slice))]

pub mod diagnostic;
pub mod environment;
pub mod secret;
pub mod settings;

mod database_url;
mod document;
mod migration_file;
mod policy_file;
mod reader;
mod suggest;
mod suppressions;
mod unsupported;
mod values;
mod warden;

pub use diagnostic::{File, Place, Problem, Problems};
pub use environment::Environment;
pub use migration_file::{LoadedMigration, load_migration, read_migration};
pub use policy_file::{LoadedPolicy, PolicySource, load_policy, read_policy};
pub use secret::Secret;
pub use settings::Settings;
pub use suppressions::{Suppression, read_suppressions};
pub use values::parse_duration;
pub use warden::{load_settings, read_database, read_settings};
