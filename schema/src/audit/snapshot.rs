//! What the audit knows of a database: its own reading of the catalogue, wider than the engine's
//! (constraints, indexes, triggers, policies, grants, roles), in one shape for all lints.
//!
//! The server makes one JSON document of each object (`snapshot/*.sql`), so that the queries and
//! these structs can be compared line by line. What belongs to PostgreSQL or to an extension is
//! left out.

use pgwarden_policy::catalog::Oid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Client;

use crate::Error;

/// Everything that was read.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// `server_version_num`.
    pub(crate) server_version: u32,
    pub(crate) relations: Vec<Relation>,
    pub(crate) functions: Vec<Function>,
    pub(crate) publications: Vec<Publication>,
    pub(crate) roles: Vec<Role>,
}

/// A table, view, sequence….
#[derive(Debug, Deserialize)]
pub(crate) struct Relation {
    pub(crate) oid: Oid,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// The qualified name as SQL.
    pub(crate) sql: String,
    /// `pg_class.relkind`.
    pub(crate) kind: char,
    pub(crate) owner: String,
    pub(crate) row_security: bool,
    pub(crate) forced: bool,
    pub(crate) partition: bool,
    /// `relreplident`: `d` is the primary key, `n` nothing.
    pub(crate) replica_identity: char,
    pub(crate) security_invoker: bool,
    /// What others than the owner may do, with the table or with single columns of it.
    pub(crate) grants: Vec<Grant>,
    pub(crate) columns: Vec<Column>,
    pub(crate) parents: Vec<Oid>,
    /// For views: what their query names.
    pub(crate) depends_on: Vec<Oid>,
    /// For sequences: the table.
    pub(crate) owned_by: Option<Oid>,
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) indexes: Vec<Index>,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) policies: Vec<RowPolicy>,
}

/// A privilege of somebody.
#[derive(Debug, Deserialize)]
pub(crate) struct Grant {
    pub(crate) grantee: String,
    pub(crate) privilege: String,
}

/// A column.
#[derive(Debug, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) sql: String,
    /// Of a domain the type under it.
    pub(crate) type_oid: Oid,
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) not_null: bool,
    pub(crate) has_default: bool,
}

/// A foreign (`f`), primary (`p`) or unique (`u`) key.
#[derive(Debug, Deserialize)]
pub(crate) struct Constraint {
    pub(crate) name: String,
    pub(crate) sql: String,
    pub(crate) kind: char,
    pub(crate) validated: bool,
    pub(crate) columns: Vec<String>,
    /// The referenced table, or 0.
    pub(crate) target: Oid,
    pub(crate) target_columns: Vec<String>,
    /// All of it as SQL, but for its name.
    pub(crate) definition: String,
    /// `confdeltype`: `c` is CASCADE.
    pub(crate) on_delete: char,
    /// `confupdtype`.
    pub(crate) on_update: char,
    pub(crate) deferrable: bool,
    pub(crate) deferred: bool,
}

/// An index.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) sql: String,
    pub(crate) unique: bool,
    pub(crate) primary: bool,
    pub(crate) valid: bool,
    pub(crate) partial: bool,
    /// `None` for an expression.
    pub(crate) columns: Vec<Option<String>>,
    pub(crate) definition: String,
    pub(crate) of_constraint: bool,
}

/// A trigger.
#[derive(Debug, Deserialize)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    pub(crate) sql: String,
    /// `tgenabled`: `D` is disabled, `R` fires on replicas only.
    pub(crate) enabled: char,
    /// `tgtype`.
    pub(crate) kind: i32,
    /// Of `UPDATE OF`; empty means all.
    pub(crate) columns: Vec<String>,
    pub(crate) function: Oid,
    pub(crate) arguments: String,
    pub(crate) definition: String,
}

/// A policy of row level security.
#[derive(Debug, Deserialize)]
pub(crate) struct RowPolicy {
    pub(crate) name: String,
    pub(crate) sql: String,
    pub(crate) permissive: bool,
    /// `polcmd`: `*`, `r`, `a`, `w` or `d`.
    pub(crate) command: char,
    pub(crate) roles: Vec<String>,
    pub(crate) using: Option<String>,
    pub(crate) check: Option<String>,
}

/// A function or procedure.
#[derive(Debug, Deserialize)]
pub(crate) struct Function {
    pub(crate) oid: Oid,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    /// Name and arguments as SQL.
    pub(crate) sql: String,
    pub(crate) security_definer: bool,
    /// Says of itself that its value depends on its arguments alone.
    pub(crate) immutable: bool,
    pub(crate) trigger: bool,
    pub(crate) fixed_search_path: bool,
    /// The whole definition.
    pub(crate) source: String,
    /// Who else than the owner may call it.
    pub(crate) callers: Vec<String>,
}

/// A publication.
#[derive(Debug, Deserialize)]
pub(crate) struct Publication {
    pub(crate) name: String,
    pub(crate) sql: String,
    pub(crate) all_tables: bool,
    /// Whether it sends what an UPDATE changes.
    pub(crate) updates: bool,
    pub(crate) tables: Vec<Oid>,
    /// Those that are named, not only their schemas.
    pub(crate) named: Vec<Oid>,
}

/// A role.
#[derive(Debug, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) sql: String,
    pub(crate) superuser: bool,
    pub(crate) bypasses_rls: bool,
    pub(crate) creates_roles: bool,
    pub(crate) replicates: bool,
    pub(crate) logs_in: bool,
    pub(crate) member_of: Vec<String>,
    /// Those of them whose policies bind it, too.
    pub(crate) acts_for: Vec<String>,
    /// Whether it is the one that reads this.
    pub(crate) ours: bool,
}

/// Reads it all, in the client's transaction.
pub(crate) async fn read(client: &Client) -> Result<Snapshot, Error> {
    Ok(Snapshot {
        server_version: crate::read_version(client).await?,
        relations: documents(client, include_str!("snapshot/relations.sql")).await?,
        functions: documents(client, include_str!("snapshot/functions.sql")).await?,
        publications: documents(client, include_str!("snapshot/publications.sql")).await?,
        roles: documents(client, include_str!("snapshot/roles.sql")).await?,
    })
}

async fn documents<T: DeserializeOwned>(client: &Client, sql: &str) -> Result<Vec<T>, Error> {
    let rows = client.query(sql, &[]).await?;
    rows.iter()
        .map(|row| serde_json::from_str(row.try_get(0)?).map_err(Error::Document))
        .collect()
}

impl Relation {
    /// Its name without quotes, as findings show it.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Whether rows are stored in it (or its partitions).
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.kind, 'r' | 'p')
    }

    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub(crate) fn foreign_keys(&self) -> impl Iterator<Item = &Constraint> {
        self.constraints.iter().filter(|it| it.kind == 'f')
    }

    /// The roles that hold any privilege on it.
    pub(crate) fn is_granted_to(&self, name: &str) -> bool {
        self.grants.iter().any(|grant| grant.grantee == name)
    }
}
