//! The migration's own file, resolved: how rows of a schema that knows no tenants get theirs.
//! `config/` builds it, `schema/` plans with it. Which tables belong to tenants is the policy's.

use crate::rules::QualifiedName;

/// What becomes of rows that neither a user nor a parent gives a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphans {
    /// They get the default tenant.
    Default,
    /// They get the quarantine's tenant, which no user has, and are listed.
    Quarantine,
}

/// What becomes of rows whose tenant does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The migration stops at them.
    Stop,
    /// They get a tenant as rows without one do, and are listed with the one that they named.
    Rehome(Orphans),
}

/// The table that says which tenant a user belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserMapping {
    /// The table.
    pub table: QualifiedName,
    /// Its column with the user.
    pub user: String,
    /// Its column with the tenant.
    pub tenant: String,
}

/// A row's parent, whose tenant it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentLink {
    /// The referencing column.
    pub column: String,
    /// The parent.
    pub table: QualifiedName,
    /// The parent's referenced column.
    pub key: String,
}

/// What is particular about one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMigration {
    /// The table.
    pub name: QualifiedName,
    /// Its column with the user.
    pub user: Option<String>,
    /// Its parent.
    pub parent: Option<ParentLink>,
    /// Overrides the default.
    pub orphans: Option<Orphans>,
    /// The same.
    pub unknown: Option<Unknown>,
    /// Triggers that must not fire during its backfill; without it all that the backfill would fire.
    pub hold: Option<Vec<String>>,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The table of the tenants, if not the one that the policy or the schema shows.
    pub tenants: Option<QualifiedName>,
    /// The default tenant's id.
    pub default_tenant: Option<String>,
    /// The quarantine's tenant.
    pub quarantine: Option<String>,
    /// Where users' tenants are found.
    pub users: Option<UserMapping>,
    /// The column that most tables name the user by.
    pub user_column: String,
    /// Rows without anybody.
    pub orphans: Orphans,
    /// Rows of a tenant that does not exist.
    pub unknown: Unknown,
    /// Rows of one batch.
    pub batch_rows: usize,
    /// No table with more rows is rewritten, which nobody can read or write meanwhile.
    pub rewrite_rows_max: usize,
    /// Tables that stay as they are.
    pub exclude: Vec<QualifiedName>,
    /// Particular tables.
    pub tables: Vec<TableMigration>,
}

/// Rows of one batch, unless the file says otherwise.
const BATCH_ROWS: usize = 5_000;

/// Some seconds.
const REWRITE_ROWS_MAX: usize = 1_000_000;

impl Default for Migration {
    fn default() -> Self {
        Self {
            tenants: None,
            default_tenant: None,
            quarantine: None,
            users: None,
            user_column: "user_id".to_owned(),
            orphans: Orphans::Default,
            unknown: Unknown::Stop,
            batch_rows: BATCH_ROWS,
            rewrite_rows_max: REWRITE_ROWS_MAX,
            exclude: Vec::new(),
            tables: Vec::new(),
        }
    }
}

impl Migration {
    /// What is said about a table.
    pub fn table(&self, schema: &str, name: &str) -> Option<&TableMigration> {
        let is = |it: &&TableMigration| it.name.schema == schema && it.name.name == name;
        self.tables.iter().find(is)
    }

    /// Whether a table stays as it is.
    pub fn excludes(&self, schema: &str, name: &str) -> bool {
        let is = |it: &QualifiedName| it.schema == schema && it.name == name;
        self.exclude.iter().any(is)
    }
}
