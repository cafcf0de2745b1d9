//! Who a client is: a token goes in, an [`Identity`] comes out.
//!
//! Nothing else makes an identity, and nothing but the token's signed payload goes into it: no
//! user name, start-up parameter or setting. The text of a token is never logged, shown or kept.

mod access;
mod error;
mod json;
mod keys;
mod token;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgwarden_config::settings;
use serde_json::{Map, Value};

pub use access::Access;
pub use error::{AuthError, KeyError};
pub(crate) use keys::algorithm as jwt_algorithm;

use keys::Keys;

/// Checks tokens: the keys and what the claims must say.
#[derive(Debug)]
pub struct Verifier {
    keys: Keys,
    issuer: Option<String>,
    audience: Vec<String>,
    leeway: Duration,
    token_bytes: usize,
}

/// Who a client is, as a verified token says it. Only [`Verifier::verify`] makes one.
#[derive(Clone)]
pub struct Identity {
    claims: Map<String, Value>,
    text: String,
    expires_at: SystemTime,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Verifier {
    /// A verifier with the settings' keys.
    ///
    /// # Errors
    /// When a key can't be read or is too weak for its algorithm.
    pub fn new(auth: &settings::Auth, token_bytes: usize) -> Result<Self, KeyError> {
        Ok(Self {
            keys: Keys::new(&auth.keys)?,
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            leeway: auth.leeway,
            token_bytes,
        })
    }

    /// Verifies a token as of `now`.
    ///
    /// # Errors
    /// The cause, for the log; the client is told [`AuthError::refusal`].
    pub fn verify(&self, token: &[u8], now: SystemTime) -> Result<Identity, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > self.token_bytes {
            return Err(AuthError::TooLong);
        }
        let token = token::Token::split(token)?;
        let header = token.header()?;
        self.keys.verify(&token, &header)?;
        let claims = token.payload()?;
        let expires_at = self.check(&claims, now)?;
        let text = serde_json::to_string(&claims).map_err(|_| AuthError::Payload)?;
        Ok(Identity {
            claims,
            text,
            expires_at,
        })
    }

    /// Checks the registered claims; gives the moment from which the token is no longer good.
    fn check(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<SystemTime, AuthError> {
        let expires = time(claims, "exp")?.ok_or(AuthError::NoExpiry)?;
        let expires_at = expires.checked_add(self.leeway).ok_or(AuthError::BadTime)?;
        if now >= expires_at {
            return Err(AuthError::Expired);
        }
        let latest = now.checked_add(self.leeway).ok_or(AuthError::BadTime)?;
        if time(claims, "nbf")?.is_some_and(|not_before| not_before > latest) {
            return Err(AuthError::NotYetValid);
        }
        if time(claims, "iat")?.is_some_and(|issued| issued > latest) {
            return Err(AuthError::NotYetValid);
        }
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        Ok(expires_at)
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), AuthError> {
        match (&self.issuer, claims.get("iss")) {
            (None, _) => Ok(()),
            (Some(wanted), Some(Value::String(issuer))) if issuer == wanted => Ok(()),
            (Some(_), _) => Err(AuthError::Issuer),
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), AuthError> {
        if self.audience.is_empty() {
            return Ok(());
        }
        let wanted = |value: &Value| match value {
            Value::String(name) => self.audience.contains(name),
            _ => false,
        };
        let found = match claims.get("aud") {
            Some(Value::Array(names)) => names.iter().any(wanted),
            Some(name) => wanted(name),
            None => false,
        };
        if found {
            Ok(())
        } else {
            Err(AuthError::Audience)
        }
    }
}

/// A NumericDate (RFC 7519): seconds, of which a fraction is cut off.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<SystemTime>, AuthError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let Value::Number(number) = value else {
        return Err(AuthError::BadTime);
    };
    let seconds = match (number.as_u64(), number.as_f64()) {
        (Some(seconds), _) => Duration::from_secs(seconds),
        // A float in the range of dates that anybody means; NaN and infinity are not JSON.
        (None, Some(seconds)) if (0.0..1e12).contains(&seconds) => {
            Duration::try_from_secs_f64(seconds.trunc()).map_err(|_| AuthError::BadTime)?
        }
        (None, _) => return Err(AuthError::BadTime),
    };
    match UNIX_EPOCH.checked_add(seconds) {
        Some(time) => Ok(Some(time)),
        None => Err(AuthError::BadTime),
    }
}

impl Identity {
    /// The verified payload as JSON, for `request.jwt.claims`.
    pub fn claims_json(&self) -> &str {
        &self.text
    }

    /// From when on the session is refused: `exp` plus leeway.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// The `sub` claim, for the audit.
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub")?.as_str()
    }

    /// The `role` claim.
    pub fn role(&self) -> Option<&str> {
        self.claims.get("role")?.as_str()
    }
}
