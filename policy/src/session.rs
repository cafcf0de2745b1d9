//! The session facts that a verdict depends on.

use crate::rules::Ddl;
use crate::temporary::Temporaries;

/// How a statement arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// In a Query message: tenant values are written as literals.
    Simple,
    /// In a Parse message: tenant values are extra parameters after the client's own.
    Extended,
}

/// What the engine must know of the session. It enters the plan cache's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// The schemas of `search_path` that exist, in order, as the server's
    /// `current_schemas(false)` gives them: `pg_catalog` and `pg_temp` are implicit.
    pub search_path: Vec<String>,
    /// The session's temporary relations.
    pub temporaries: Temporaries,
    /// `false` for a break-glass role: statements are not scoped, but the identity guards stay.
    pub enforce: bool,
    /// What the session's role may do of DDL, where that is not what the policy says for all.
    pub ddl: Option<Ddl>,
    /// Whether the session's role may lock tables, where that is not what the policy says for all.
    pub lock: Option<bool>,
}

impl Default for SessionFacts {
    fn default() -> Self {
        Self {
            search_path: vec!["public".to_owned()],
            temporaries: Temporaries::default(),
            enforce: true,
            ddl: None,
            lock: None,
        }
    }
}
