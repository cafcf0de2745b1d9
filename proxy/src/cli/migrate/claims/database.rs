//! Users in a table, as Supabase keeps them: `auth.users (id, raw_app_meta_data jsonb)`.
//!
//! A page is read without locks and written by one statement that changes only users which still
//! are what was read, and only the claim's member of their metadata.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Failure;
use super::decision::{Change, Claim, User};
use super::directory::Changed;

/// Nobody waits longer behind a page's write than this, nor it behind anybody.
const SETTINGS: &str = "SET lock_timeout = '10s'; SET statement_timeout = '60s'";

/// How often a page's write is tried, and the rest between.
const ATTEMPTS: u32 = 10;
const REST: Duration = Duration::from_millis(500);

/// The table and where the reading stands.
pub(super) struct Table<'a> {
    client: &'a Client,
    /// Its name as SQL.
    name: String,
    /// The type of its key.
    key_type: String,
    /// The claim's member of the metadata.
    member: String,
    after: Option<String>,
}

impl<'a> Table<'a> {
    /// Looks whether it is what it is taken for.
    pub(super) async fn open(
        client: &'a Client,
        name: &str,
        claim: &Claim,
    ) -> Result<Self, Failure> {
        let columns = "SELECT c.oid::pg_catalog.regclass::pg_catalog.text, \
                pg_catalog.format_type(k.atttypid, NULL), pg_catalog.format_type(m.atttypid, NULL) \
            FROM pg_catalog.pg_class AS c \
            LEFT JOIN pg_catalog.pg_attribute AS k ON k.attrelid = c.oid AND k.attname = 'id' \
            LEFT JOIN pg_catalog.pg_attribute AS m ON m.attrelid = c.oid AND m.attname = 'raw_app_meta_data' \
            WHERE c.oid = pg_catalog.to_regclass($1)";
        let found = client.query_opt(columns, &[&name]).await.map_err(failed)?;
        let missing = || Failure::usage(format!("there is no table {name}"));
        let row = found.ok_or_else(missing)?;
        let key_type: Option<String> = row.try_get(1).map_err(failed)?;
        let metadata: Option<String> = row.try_get(2).map_err(failed)?;
        let (Some(key_type), Some("jsonb")) = (key_type, metadata.as_deref()) else {
            return Err(Failure::usage(format!(
                "{name} has no columns id and raw_app_meta_data jsonb"
            )));
        };
        client.batch_execute(SETTINGS).await.map_err(failed)?;
        Ok(Self {
            client,
            name: row.try_get(0).map_err(failed)?,
            key_type,
            member: claim.key().to_owned(),
            after: None,
        })
    }

    pub(super) fn rewind(&mut self) {
        self.after = None;
    }

    pub(super) async fn estimate(&self) -> Result<i64, Failure> {
        let rows = "SELECT greatest(reltuples, 0)::pg_catalog.int8 FROM pg_catalog.pg_class \
            WHERE oid = pg_catalog.to_regclass($1)";
        let row = self.client.query_one(rows, &[&self.name]).await;
        row.and_then(|row| row.try_get(0)).map_err(failed)
    }

    pub(super) async fn page(&mut self, size: u16) -> Result<Vec<User>, Failure> {
        let (name, key_type) = (&self.name, &self.key_type);
        let query = format!(
            "SELECT id::pg_catalog.text, (raw_app_meta_data -> $2::pg_catalog.text)::pg_catalog.text \
             FROM {name} WHERE $1::pg_catalog.text IS NULL OR id > $1::pg_catalog.text::{key_type} \
             ORDER BY id LIMIT {size}"
        );
        let rows = self
            .client
            .query(&query, &[&self.after, &self.member])
            .await;
        let mut users = Vec::new();
        for row in rows.map_err(failed)? {
            let member: Option<&str> = row.try_get(1).map_err(failed)?;
            let member = serde_json::from_str(member.unwrap_or("null"));
            users.push(User {
                id: row.try_get(0).map_err(failed)?,
                member: member.map_err(|error| Failure::Internal(error.to_string()))?,
            });
        }
        if let Some(last) = users.last() {
            self.after = Some(last.id.clone());
        }
        Ok(users)
    }

    pub(super) async fn change(&self, changes: &[Change]) -> Result<Vec<Changed>, Failure> {
        let (name, key_type) = (&self.name, &self.key_type);
        let text = |of: fn(&Change) -> &Value| -> Vec<String> {
            changes.iter().map(|it| of(it).to_string()).collect()
        };
        let users: Vec<&str> = changes.iter().map(|it| it.user.as_str()).collect();
        let update = format!(
            "UPDATE {name} AS u SET raw_app_meta_data = \
                 CASE WHEN pg_catalog.jsonb_typeof(u.raw_app_meta_data) = 'object' \
                      THEN u.raw_app_meta_data ELSE '{{}}' END \
                 || pg_catalog.jsonb_build_object($4::pg_catalog.text, c.member::pg_catalog.jsonb) \
             FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]), \
                 pg_catalog.unnest($3::pg_catalog.text[])) AS c (id, was, member) \
             WHERE u.id = c.id::{key_type} \
               AND coalesce(u.raw_app_meta_data -> $4::pg_catalog.text, 'null') = c.was::pg_catalog.jsonb \
             RETURNING u.id::pg_catalog.text"
        );
        let (was, is) = (text(|it| &it.was), text(|it| &it.member));
        let written = self.written(&update, &users, &was, &is).await?;
        Ok(changes
            .iter()
            .map(|it| match written.contains(&it.user) {
                true => Changed::Yes,
                false => Changed::Meanwhile,
            })
            .collect())
    }

    /// The users that a statement has written. What stood in its way for a moment may be gone the
    /// next time.
    async fn written(
        &self,
        update: &str,
        users: &[&str],
        was: &[String],
        is: &[String],
    ) -> Result<HashSet<String>, Failure> {
        let mut attempt = 1;
        loop {
            let written = self
                .client
                .query(update, &[&users, &was, &is, &self.member])
                .await;
            match written {
                Ok(rows) => {
                    let users = rows.iter().map(|row| row.try_get(0));
                    return users.collect::<Result<_, _>>().map_err(failed);
                }
                Err(error) if attempt < ATTEMPTS && may_pass(&error) => attempt += 1,
                Err(error) => return Err(failed(error)),
            }
            tokio::time::sleep(REST).await;
        }
    }
}

fn may_pass(error: &tokio_postgres::Error) -> bool {
    let passing = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    error.code().is_some_and(|code| passing.contains(code))
}

fn failed(error: tokio_postgres::Error) -> Failure {
    let error = pgwarden_schema::Error::from(error);
    Failure::Connect(format!("the users can't be read or written: {error}"))
}
