//! Why a token was refused, and why a key can't be used.

use std::fmt;

use crate::metrics::AuthOutcome;
use crate::refusal::Refusal;

/// Why a token was refused. The cause is for the log; none of the variants holds anything of the
/// token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// No token.
    Missing,
    /// Longer than `limits.token_bytes`.
    TooLong,
    /// Not three base64url parts.
    Malformed,
    /// The header is not a JSON object of known shape, or names a key twice.
    Header,
    /// The header's `alg` is none, unknown, or not that of any of our keys.
    Algorithm,
    /// The header's `crit` asks for an extension; none is known.
    CriticalExtension,
    /// The header brings its own key (`jwk`, `jku`, `x5u`, `x5c`).
    EmbeddedKey,
    /// No key has the header's `kid`.
    UnknownKey,
    /// The signature is missing or wrong.
    Signature,
    /// The payload is not a JSON object, names a claim twice, is nested too deeply, or holds a
    /// number or text that would not arrive as it was signed.
    Payload,
    /// `exp` is missing.
    NoExpiry,
    /// `exp`, `nbf` or `iat` is not a time.
    BadTime,
    /// `exp` has passed.
    Expired,
    /// `nbf` or `iat` lies in the future.
    NotYetValid,
    /// `iss` is not ours.
    Issuer,
    /// `aud` does not name us.
    Audience,
    /// The tenant's claim is missing, null or empty.
    NoTenant,
    /// The tenant's claim has the wrong type.
    BadTenant,
    /// The `role` claim is not a text.
    BadRole,
}

impl AuthError {
    fn is_about_tenant(self) -> bool {
        match self {
            Self::NoTenant | Self::BadTenant | Self::BadRole => true,
            Self::Missing
            | Self::TooLong
            | Self::Malformed
            | Self::Header
            | Self::Algorithm
            | Self::CriticalExtension
            | Self::EmbeddedKey
            | Self::UnknownKey
            | Self::Signature
            | Self::Payload
            | Self::NoExpiry
            | Self::BadTime
            | Self::Expired
            | Self::NotYetValid
            | Self::Issuer
            | Self::Audience => false,
        }
    }

    /// What the client is told: one wording for all that is wrong with a token, so that nobody
    /// learns which part of a forgery was right.
    pub fn refusal(self) -> Refusal {
        if self.is_about_tenant() {
            Refusal::new(
                "28000",
                "pgwarden: the token gives no access to this database",
            )
        } else {
            Refusal::new("28P01", "pgwarden: token authentication failed")
        }
    }

    /// The metric's label.
    pub fn outcome(self) -> AuthOutcome {
        if self.is_about_tenant() {
            AuthOutcome::NoTenant
        } else {
            AuthOutcome::BadToken
        }
    }

    /// A word for the audit's `reason`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::TooLong => "token_too_long",
            Self::Malformed => "token_malformed",
            Self::Header => "token_header",
            Self::Algorithm => "token_algorithm",
            Self::CriticalExtension => "token_critical_extension",
            Self::EmbeddedKey => "token_embedded_key",
            Self::UnknownKey => "token_unknown_key",
            Self::Signature => "token_signature",
            Self::Payload => "token_payload",
            Self::NoExpiry => "token_without_expiry",
            Self::BadTime => "token_bad_time",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::NoTenant => "tenant_missing",
            Self::BadTenant => "tenant_type",
            Self::BadRole => "role_type",
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no token",
            Self::TooLong => "the token is longer than limits.token_bytes",
            Self::Malformed => "the token is not three base64url parts",
            Self::Header => "the token's header is not one that a JWT has",
            Self::Algorithm => "no key of ours has the token's algorithm",
            Self::CriticalExtension => "the token demands an extension",
            Self::EmbeddedKey => "the token brings its own key",
            Self::UnknownKey => "no key of ours has the token's kid",
            Self::Signature => "the token's signature is wrong",
            Self::Payload => "the token's payload is not one that can be relied on",
            Self::NoExpiry => "the token has no exp",
            Self::BadTime => "exp, nbf or iat is not a time",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Issuer => "the token's iss is not auth.issuer",
            Self::Audience => "the token's aud is not in auth.audience",
            Self::NoTenant => "the token has no tenant",
            Self::BadTenant => "the token's tenant has the wrong type",
            Self::BadRole => "the token's role is not a text",
        })
    }
}

impl std::error::Error for AuthError {}

/// Why a key can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    /// The key's place in `[[auth.key]]`, from 1.
    pub position: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "auth.key number {}: {}", self.position, self.why)
    }
}

impl std::error::Error for KeyError {}
