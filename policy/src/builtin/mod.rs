//! What the engine knows of PostgreSQL itself: functions, settings and system relations, by name.
//! A name that is not listed is unknown, hence denied; a new server version adds nothing by itself.

pub(crate) mod functions;
pub(crate) mod operators;
pub(crate) mod results;
pub mod settings;
pub(crate) mod system;
