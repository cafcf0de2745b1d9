//! Users behind GoTrue's admin API.
//!
//! `GET /admin/users?page=&per_page=` gives them, `PUT /admin/users/{id}` changes what it names of one:
//! the members of `app_metadata` that are not named stay.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Failure;
use super::decision::{Change, Claim, User};
use super::directory::Changed;
use super::http::{Answer, Errand, Patience, Runner, Site};

/// The API and where the reading stands.
pub(super) struct GoTrue {
    runner: Runner,
    claim: Claim,
    page: usize,
    /// The first user of the last page, by which a server is known that gives one page for ever.
    first: Option<String>,
    total: i64,
}

#[derive(Deserialize)]
struct Listed {
    users: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    id: String,
    #[serde(default)]
    app_metadata: Value,
}

impl GoTrue {
    pub(super) fn new(site: Site, patience: Patience, claim: Claim) -> Self {
        Self {
            runner: Runner::new(site, patience),
            claim,
            page: 0,
            first: None,
            total: 0,
        }
    }

    pub(super) fn rewind(&mut self) {
        self.page = 0;
        self.first = None;
    }

    pub(super) fn total(&self) -> i64 {
        self.total
    }

    /// The next page. A server may give fewer than it is asked for, so only none at all is the end.
    pub(super) async fn page(&mut self, size: u16) -> Result<Vec<User>, Failure> {
        let path = format!("/admin/users?page={}&per_page={size}", self.page + 1);
        let answer = self.runner.run(&Errand::get(path)).await;
        let answer =
            answer.map_err(|why| Failure::Connect(format!("users can't be listed: {why}")))?;
        refused_key(&answer)?;
        if answer.status != 200 {
            let why = format!("users can't be listed: {}", answer.described());
            return Err(Failure::Connect(why));
        }
        let listed: Listed = serde_json::from_slice(&answer.body).map_err(|error| {
            Failure::Connect(format!("the list of users can't be read: {error}"))
        })?;
        let first = listed.users.first().map(|it| it.id.clone());
        if first.is_some() && first == self.first {
            let why = "the API gives the same users for every page";
            return Err(Failure::Connect(why.to_owned()));
        }
        self.page += 1;
        self.first = first;
        self.total = answer.total.unwrap_or(self.total);
        let users = listed.users.into_iter().map(|it| User {
            member: it
                .app_metadata
                .get(self.claim.key())
                .cloned()
                .unwrap_or(Value::Null),
            id: it.id,
        });
        Ok(users.collect())
    }

    pub(super) async fn change(&mut self, changes: &[Change]) -> Result<Vec<Changed>, Failure> {
        let mut outcomes = Vec::new();
        for change in changes {
            outcomes.push(self.put(change).await?);
        }
        Ok(outcomes)
    }

    async fn put(&mut self, change: &Change) -> Result<Changed, Failure> {
        // Not a place that somebody could choose by an id.
        if !change
            .user
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'-')
        {
            return Ok(Changed::Refused("not an id".to_owned()));
        }
        let body = json!({ "app_metadata": { self.claim.key(): change.member } });
        let errand = Errand::put(format!("/admin/users/{}", change.user), body.to_string());
        let answer = match self.runner.run(&errand).await {
            Ok(answer) => answer,
            Err(why) => return Ok(Changed::Refused(why)),
        };
        refused_key(&answer)?;
        Ok(match answer.status {
            200..=299 => Changed::Yes,
            404 => Changed::Meanwhile,
            _ => Changed::Refused(answer.described()),
        })
    }
}

/// A key that is not taken for one request is not taken for any.
fn refused_key(answer: &Answer) -> Result<(), Failure> {
    match answer.status {
        401 | 403 => Err(Failure::usage(format!(
            "the API does not take the service key: {}",
            answer.described()
        ))),
        _ => Ok(()),
    }
}
