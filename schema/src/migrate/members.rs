//! Which table says what tenant a user belongs to, where the mapping doesn't: one whose key is a user
//! and a tenant, if there are users and none has several. Users of several are above tenants, and say nothing.

use pgwarden_policy::migration::{Migration, UserMapping};
use pgwarden_policy::rules::QualifiedName;
use tokio_postgres::Client;

use crate::Error;
use crate::audit::facts::Facts;
use crate::audit::lints::member_column;
use crate::ident::ident;

/// The mapping's users, or the only table that may stand for them, with a note that says so.
pub(super) async fn find(
    client: &Client,
    facts: &Facts,
    migration: &Migration,
) -> Result<Option<(UserMapping, String)>, Error> {
    if migration.users.is_some() {
        return Ok(None);
    }
    let mut tables = facts
        .tenant_columns()
        .filter_map(|it| Some((it, member_column(&it)?)));
    let (Some((it, user)), None) = (tables.next(), tables.next()) else {
        return Ok(None);
    };
    let (table, tenant) = (it.table, &it.column.sql);
    let several = format!(
        "SELECT EXISTS (SELECT FROM {0} GROUP BY {1} HAVING count(DISTINCT {tenant}) > 1) OR NOT EXISTS (SELECT FROM {0})",
        table.sql,
        ident(&user)
    );
    if client.query_one(&several, &[]).await?.try_get(0)? {
        return Ok(None);
    }
    let note = format!(
        "what tenant a user belongs to is taken from {} ({user}): [users] in the mapping says otherwise",
        table.full_name()
    );
    let mapping = UserMapping {
        table: QualifiedName {
            schema: table.schema.clone(),
            name: table.name.clone(),
        },
        user,
        tenant: it.column.name.clone(),
    };
    Ok(Some((mapping, note)))
}
