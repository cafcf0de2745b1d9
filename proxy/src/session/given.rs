//! `SET [LOCAL] pgwarden.token = '<token>'`: a client shows another token on an open connection.
//!
//! The statement is recognised here and never goes further: the engine judges, and the server runs,
//! a stand-in without the token, so that order, tag and transaction state are the server's own. One
//! form is taken, by itself in its message; whatever else begins like it is refused without being
//! looked at, and what is written altogether otherwise the engine refuses.

use std::sync::Arc;

use pgwarden_policy::{Denial, DenyReason};

use super::Session;
use super::judging::Refusal;
use crate::auth::Identity;

const LOCAL: &str = "SET LOCAL pgwarden.token = ''";
const SESSION: &str = "SET pgwarden.token = ''";

/// A token that was shown on an open connection, verified.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) identity: Arc<Identity>,
    /// For this transaction only.
    pub(super) local: bool,
}

impl Given {
    /// What is judged and sent for it.
    pub(super) fn stand_in(&self) -> &'static str {
        if self.local { LOCAL } else { SESSION }
    }
}

/// What a statement that gives a token says.
#[derive(Debug, PartialEq, Eq)]
enum Written<'t> {
    Token { token: &'t str, local: bool },
    Malformed,
}

impl Session {
    /// The token that a text gives, if it is such a statement.
    ///
    /// # Errors
    /// A token that is not good, or not one that the session may change to.
    pub(super) fn given(&self, text: &str) -> Result<Option<Arc<Given>>, Denial> {
        let Some(written) = read(text) else {
            return Ok(None);
        };
        let Written::Token { token, local } = written else {
            let denial = refused("the token can't be read");
            return Err(denial.hint(
                "Send SET LOCAL pgwarden.token = '<token>' as a statement of its own, with a plain literal.",
            ));
        };
        let identity = self.proxy.authenticate(token.as_bytes()).map_err(|error| {
            self.proxy.metrics().auth(error.outcome());
            tracing::info!(session = self.who.session, cause = %error, "a token was refused");
            refused("the token is not valid")
        })?;
        let given = Given {
            identity: Arc::new(identity),
            local,
        };
        self.check_given(&given)?;
        Ok(Some(Arc::new(given)))
    }

    /// Whether the session may change to it now.
    pub(super) fn check_given(&self, given: &Given) -> Result<(), Denial> {
        self.judging
            .check_token(&given.identity)
            .map(|_| ())
            .map_err(|why| match why {
                Refusal::NotValid => refused("the token gives no access to this database now"),
                Refusal::AnotherRole => identity_guard("the token has another server role"),
                Refusal::Pinned => identity_guard("the session's tenant can't change")
                    .hint("A new token of the same tenant and user renews the session."),
                Refusal::AnotherTenant => {
                    identity_guard("the transaction has used another tenant's token")
                        .hint("Begin a new transaction for each tenant.")
                }
            })
    }

    /// The server has confirmed the statement that gave a token.
    pub(super) fn adopt(&mut self, given: &Given) {
        self.judging.adopt(given);
        self.identity_changed();
    }

    /// The transaction has ended: what was given for it is gone.
    pub(super) fn end_tenant(&mut self) {
        self.cursors.clear();
        if self.judging.end_transaction() {
            self.identity_changed();
        }
    }

    /// Others are in force now: the server connection does not carry their claims yet.
    pub(super) fn identity_changed(&mut self) {
        self.known.lose();
        self.renew_expiry();
        let judging = &self.judging;
        let identity = judging.identity();
        let who = &*self.who;
        self.who = Arc::new(crate::audit::Session {
            org: judging.access().tenant(),
            sub: identity.subject().map(str::to_owned),
            role: identity.role().map(str::to_owned),
            ..who.clone()
        });
        if let Some(sharing) = &mut self.sharing {
            let role = judging.access().set_role.as_deref();
            let settings = sharing.setup.settings.clone();
            sharing.setup = crate::pool::Setup::new(identity.claims_json(), role, settings);
        }
    }
}

fn refused(why: &str) -> Denial {
    Denial::new(DenyReason::TokenRefused, why)
}

fn identity_guard(why: &str) -> Denial {
    Denial::new(DenyReason::IdentityGuard, why)
}

/// Reads the one form. The text is not sent, so nobody can read it otherwise.
fn read(text: &str) -> Option<Written<'_>> {
    let rest = word(text.trim_start(), "set")?;
    let (rest, local) = match word(rest, "local") {
        Some(rest) => (rest, true),
        None => (word(rest, "session").unwrap_or(rest), false),
    };
    let name = rest.get(.."pgwarden.token".len())?;
    if !name.eq_ignore_ascii_case("pgwarden.token") {
        return None;
    }
    let rest = rest.get(name.len()..)?;
    if rest.starts_with(|next: char| next.is_alphanumeric() || next == '_' || next == '$') {
        return None;
    }
    let token = value(rest.trim_start()).map(|token| Written::Token { token, local });
    Some(token.unwrap_or(Written::Malformed))
}

/// `= '<token>'` or `TO '<token>'`, and nothing behind it.
fn value(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix('=').or_else(|| {
        let to = rest.get(..2)?.eq_ignore_ascii_case("to");
        to.then(|| rest.get(2..)).flatten()
    })?;
    let (token, behind) = rest.trim_start().strip_prefix('\'')?.split_once('\'')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let end = behind.trim_end();
    let alone = end.is_empty() || end.trim_start() == ";";
    (alone && token.bytes().all(plain)).then_some(token)
}

/// What follows a keyword and the white space behind it.
fn word<'t>(text: &'t str, keyword: &str) -> Option<&'t str> {
    let begins = text.get(..keyword.len())?.eq_ignore_ascii_case(keyword);
    let rest = text.get(keyword.len()..).filter(|_| begins)?;
    let behind = rest.trim_start();
    (behind.len() < rest.len()).then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_is_read() {
        let token = |token, local| Some(Written::Token { token, local });
        assert_eq!(
            read("SET LOCAL pgwarden.token = 'a.b-c_D'"),
            token("a.b-c_D", true)
        );
        assert_eq!(
            read(" set\tSession PGWARDEN.token TO'a' ; "),
            token("a", false)
        );
        assert_eq!(read("SET pgwarden.token='a';"), token("a", false));
        assert_eq!(read("SET pgwarden.token = ''"), token("", false));
        for other in [
            "SELECT 1",
            "SET",
            "SETpgwarden.token = 'a'",
            "SET pgwarden.tokens = 'a'",
            "SET x = 'pgwarden.token'",
            "RESET pgwarden.token",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn what_only_begins_like_it_is_not_looked_at() {
        for malformed in [
            "SET pgwarden.token = 'a'; SELECT 1",
            "SET pgwarden.token = 'a' 'b'",
            "SET pgwarden.token = E'a'",
            "SET pgwarden.token = $$a$$",
            "SET pgwarden.token = \"a\"",
            "SET pgwarden.token TO DEFAULT",
            "SET LOCAL pgwarden.token = 'a' -- x",
            "SET LOCAL pgwarden.token = 'a\u{e4}'",
            "SET LOCAL pgwarden.token 'a'",
            "SET LOCAL pgwarden.token",
        ] {
            assert_eq!(read(malformed), Some(Written::Malformed), "{malformed}");
        }
    }
}
