//! The demo's two organisations, and the key that signs their tokens.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::random;

/// How long the demo's tokens are good.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// An organisation with one user.
#[derive(Debug)]
pub(super) struct Tenant {
    /// As `organizations.name` has it.
    pub(super) name: &'static str,
    /// As `organizations.id` has it.
    pub(super) org: &'static str,
    /// The user: the token's `sub`.
    pub(super) user: &'static str,
}

pub(super) const ACME: Tenant = Tenant {
    name: "Acme Calls",
    org: "a0000000-0000-0000-0000-000000000001",
    user: "0a000000-0000-0000-0000-00000000000a",
};

pub(super) const BOLT: Tenant = Tenant {
    name: "Bolt Dialers",
    org: "b0000000-0000-0000-0000-000000000002",
    user: "0b000000-0000-0000-0000-00000000000b",
};

/// A secret that nobody can guess.
pub(super) struct Key {
    secret: String,
}

impl Key {
    pub(super) fn random() -> io::Result<Self> {
        let secret = URL_SAFE_NO_PAD.encode(random::bytes(48)?);
        Ok(Self { secret })
    }

    /// The secret's text, for the file that the proxy reads.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// A token as an identity provider would give it to the tenant's user.
    pub(super) fn token(&self, tenant: &Tenant) -> io::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let claims = json!({
            "sub": tenant.user,
            "role": "authenticated",
            "app_metadata": {"org_id": tenant.org},
            "iat": now.as_secs(),
            "exp": now.saturating_add(LIFETIME).as_secs(),
        });
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
        signed.map_err(io::Error::other)
    }
}
