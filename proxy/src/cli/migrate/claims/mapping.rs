//! Who is of which organisation.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pgwarden_policy::migration::UserMapping;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::Failure;

/// Who is of which organisation, all in memory: some hundred bytes for each user.
#[derive(Debug)]
pub(super) struct Mapping {
    /// `None` is a user of several.
    of: HashMap<String, Option<String>>,
    default: Option<String>,
}

/// What the mapping says of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// This organisation.
    One(&'a str),
    /// Different ones.
    Several,
    /// Nothing.
    None,
}

/// The question for the mapping's table.
pub(super) fn question(table: &UserMapping) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!(
        "SELECT {}, {} FROM {}.{}",
        quoted(&table.user),
        quoted(&table.tenant),
        quoted(&table.table.schema),
        quoted(&table.table.name)
    )
}

impl Mapping {
    pub(super) fn with_default(default: Option<String>) -> Self {
        Self {
            of: HashMap::new(),
            default,
        }
    }

    /// Whether it says nothing of anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty() && self.default.is_none()
    }

    /// Adds what a query says, which may only read.
    pub(super) async fn read(&mut self, client: &Client, query: &str) -> Result<(), Failure> {
        let failed = |error: tokio_postgres::Error| {
            let error = pgwarden_schema::Error::from(error);
            Failure::usage(format!("the mapping can't be read: {error}"))
        };
        let begin = "BEGIN READ ONLY";
        client.batch_execute(begin).await.map_err(failed)?;
        let rows = client.simple_query(query).await;
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
        for message in rows.map_err(failed)? {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            match (row.try_get(0), row.try_get(1)) {
                (Ok(Some(user)), Ok(Some(organisation))) => self.add(user, organisation),
                (Ok(_), Ok(_)) => {}
                (Err(_), _) | (_, Err(_)) => {
                    return Err(Failure::usage(
                        "the mapping has one column; it takes two: user and organisation",
                    ));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, user: &str, organisation: &str) {
        match self.of.entry(user.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(Some(organisation.to_owned()));
            }
            Entry::Occupied(mut entry) => {
                if entry.get().as_deref() != Some(organisation) {
                    entry.insert(None);
                }
            }
        }
    }

    pub(super) fn of(&self, user: &str) -> Wanted<'_> {
        match (self.of.get(user), &self.default) {
            (Some(Some(organisation)), _) => Wanted::One(organisation),
            (Some(None), _) => Wanted::Several,
            (None, Some(default)) => Wanted::One(default),
            (None, None) => Wanted::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_of_two_is_of_neither() {
        let mut mapping = Mapping::with_default(Some("d".to_owned()));
        for (user, organisation) in [("u", "a"), ("v", "a"), ("v", "b"), ("v", "a"), ("u", "a")] {
            mapping.add(user, organisation);
        }
        assert_eq!(mapping.of("u"), Wanted::One("a"));
        assert_eq!(mapping.of("v"), Wanted::Several);
        assert_eq!(mapping.of("w"), Wanted::One("d"));
    }
}
