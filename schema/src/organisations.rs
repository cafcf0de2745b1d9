//! The organisations of a database, for work that is done for each of them.

use std::sync::Arc;

use pgwarden_policy::Policy;
use pgwarden_policy::rules::Scope;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::Error;
use crate::audit;
use crate::audit::facts::Facts;
use crate::audit::scoping::is_about;
use crate::audit::snapshot::{Column, Relation};

/// The column that says whether an organisation is active, and what it says, unless told otherwise.
const ACTIVE: (&str, &str) = ("status", "active");

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// Its key, as text.
    pub id: String,
    /// Its name, if its table has one.
    pub name: Option<String>,
}

impl Organisation {
    /// One that is known by its key alone.
    pub fn named(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: None,
        }
    }
}

/// Which are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The policy, which says what scopes tenants' tables.
    pub policy: Arc<Policy>,
    /// Their table, `schema.name` or a name of `public`; without it, as the audit finds it.
    pub table: Option<String>,
    /// The column that says which are active, and its value.
    pub active: Option<(String, String)>,
}

/// Reads them, in the order of their keys. The client as for [`crate::read_catalog`]; its role must
/// see all of them. The inner error is what the database lacks for that.
///
/// # Errors
/// When the connection breaks, or the server refuses to show its catalogue.
pub async fn read(
    client: &Client,
    wanted: &Wanted,
) -> Result<Result<Vec<Organisation>, String>, Error> {
    let catalog = Arc::new(crate::read_catalog(client).await?);
    // A role that policies bind would see some of them, and nobody would notice.
    let begin = format!("{}; SET LOCAL row_security = off", crate::BEGIN);
    client.batch_execute(&begin).await?;
    let options = audit::Options {
        policy: Some(Arc::clone(&wanted.policy)),
        ..audit::Options::default()
    };
    let read = async {
        let facts = audit::read_model(client, &options, &catalog).await?;
        match question(&facts, wanted) {
            Ok(question) => question.ask(client).await,
            Err(why) => Ok(Err(why)),
        }
    };
    let read = read.await;
    client.batch_execute("ROLLBACK").await?;
    read
}

struct Question {
    table: String,
    sql: String,
    value: Option<String>,
}

fn question(facts: &Facts, wanted: &Wanted) -> Result<Question, String> {
    let (table, key) = table(facts, wanted)?;
    let active = match &wanted.active {
        Some((column, value)) => {
            let found = table.column(column);
            let missing = || format!("{} has no column {column:?}", table.full_name());
            Some((found.ok_or_else(missing)?, value.clone()))
        }
        None => table.column(ACTIVE.0).map(|it| (it, ACTIVE.1.to_owned())),
    };
    let name = match table.column("name") {
        Some(column) => format!("{}::pg_catalog.text", column.sql),
        None => "NULL::pg_catalog.text".to_owned(),
    };
    let filter = match &active {
        Some((column, _)) => {
            format!(
                " WHERE {}::pg_catalog.text OPERATOR(pg_catalog.=) $1::pg_catalog.text",
                column.sql
            )
        }
        None => String::new(),
    };
    Ok(Question {
        sql: format!(
            "SELECT {0}::pg_catalog.text, {name} FROM {1}{filter} ORDER BY {0}",
            key.sql, table.sql
        ),
        table: table.full_name(),
        value: active.map(|(_, value)| value),
    })
}

/// The organisations' table and its key.
fn table<'a>(facts: &'a Facts, wanted: &Wanted) -> Result<(&'a Relation, &'a Column), String> {
    let Some(name) = &wanted.table else {
        let found = facts.tenants();
        return found.ok_or_else(|| {
            "no table of organisations is to be seen; give its name, or list it in the policy with \
             its key as the column"
                .to_owned()
        });
    };
    let qualified = match name.contains('.') {
        true => name.clone(),
        false => format!("public.{name}"),
    };
    let mut relations = facts.snapshot.relations.iter();
    let table = relations.find(|it| it.full_name() == qualified);
    let table = table.ok_or_else(|| format!("there is no table {qualified:?}"))?;
    let key = key_of(facts, table);
    let key = key.ok_or_else(|| format!("the table {qualified:?} has no key of one column"))?;
    Ok((table, key))
}

/// The column that the policy scopes it by, else its primary key.
fn key_of<'a>(facts: &Facts, table: &'a Relation) -> Option<&'a Column> {
    let policy = &facts.scoping.policy;
    let listed = policy.tables.iter().find(|rule| is_about(rule, table));
    let by_policy = listed.and_then(|rule| match &rule.scope {
        Scope::Keys(keys) => keys.iter().find(|key| key.claim == policy.tenant.claim),
        Scope::Discovered | Scope::Via { .. } | Scope::Global(_) => None,
    });
    if let Some(key) = by_policy {
        return table.column(&key.column);
    }
    let primary = table.constraints.iter().find(|it| it.kind == 'p')?;
    match primary.columns.as_slice() {
        [only] => table.column(only),
        _ => None,
    }
}

impl Question {
    async fn ask(&self, client: &Client) -> Result<Result<Vec<Organisation>, String>, Error> {
        let asked = match &self.value {
            Some(value) => client.query(&self.sql, &[value]).await,
            None => client.query(&self.sql, &[]).await,
        };
        let rows = match asked {
            Ok(rows) => rows,
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                let why = Error::from(error);
                return Ok(Err(format!(
                    "{} can't be read whole: {why}; use a role that may read it and is not bound by \
                     row level security",
                    self.table
                )));
            }
            Err(error) => return Err(error.into()),
        };
        let read = rows.iter().map(|row| {
            Ok(Organisation {
                id: row.try_get(0)?,
                name: row.try_get(1)?,
            })
        });
        read.collect::<Result<_, Error>>().map(Ok)
    }
}
