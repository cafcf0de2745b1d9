//! `pgwarden token mint`: development tokens. Real ones come from an identity provider.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use jsonwebtoken::{EncodingKey, Header};
use pgwarden_config::settings::{HMAC_SECRET_BYTES_MIN, JwtAlgorithm};
use serde_json::{Map, Value};

use crate::auth;

use super::{Failure, output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How it is signed: HS256, HS384, HS512, RS256…, PS256…, ES256, ES384, EdDSA
    #[arg(long, default_value = "HS256", value_parser = algorithm)]
    algorithm: JwtAlgorithm,
    /// The `kid` of the header
    #[arg(long, value_name = "KID")]
    key_id: Option<String>,
    #[command(flatten)]
    key: Key,
    /// The tenant, written to the claim of --org-claim
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// Where the tenant goes: the policy's tenant.claim
    #[arg(long, value_name = "PATH", default_value = "app_metadata.org_id")]
    org_claim: String,
    /// The `sub` claim
    #[arg(long)]
    sub: Option<String>,
    /// The `role` claim
    #[arg(long)]
    role: Option<String>,
    /// The `iss` claim
    #[arg(long = "iss", visible_alias = "issuer")]
    issuer: Option<String>,
    /// The `aud` claim
    #[arg(long = "aud", visible_alias = "audience")]
    audience: Option<String>,
    /// How long it is good
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    expires_in: Duration,
    /// Further claims, as a JSON object; the options above win
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
}

/// What signs.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Key {
    /// The environment variable that holds the secret
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// The file that holds the secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The private key, PEM (PKCS #8)
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let claims = arguments.claims(SystemTime::now())?;
    let mut header = Header::new(auth::jwt_algorithm(arguments.algorithm));
    header.kid.clone_from(&arguments.key_id);
    let key = arguments.key.read(arguments.algorithm)?;
    let token = jsonwebtoken::encode(&header, &claims, &key)
        .map_err(|error| Failure::usage(format!("can't sign with this key: {error}")))?;
    output::write(&format!("{token}\n"))
}

impl Arguments {
    fn claims(&self, now: SystemTime) -> Result<Map<String, Value>, Failure> {
        let mut claims = match self.claims.as_deref().map(serde_json::from_str) {
            None => Map::new(),
            Some(Ok(Value::Object(claims))) => claims,
            Some(Ok(_)) => return Err(Failure::usage("--claims is not a JSON object")),
            Some(Err(error)) => return Err(Failure::usage(format!("--claims: {error}"))),
        };
        let named = [
            ("sub", &self.sub),
            ("role", &self.role),
            ("iss", &self.issuer),
            ("aud", &self.audience),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                claims.insert(name.to_owned(), Value::String(value.clone()));
            }
        }
        if let Some(org) = &self.org {
            put(&mut claims, &self.org_claim, org)?;
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = now.saturating_add(self.expires_in);
        claims.insert("iat".to_owned(), Value::from(now.as_secs()));
        claims.insert("exp".to_owned(), Value::from(expires.as_secs()));
        Ok(claims)
    }
}

/// Writes a text at a dotted path.
fn put(claims: &mut Map<String, Value>, path: &str, text: &str) -> Result<(), Failure> {
    let wrong = || Failure::usage(format!("--org-claim {path} does not fit the other claims"));
    let mut object = claims;
    let (parents, last) = match path.rsplit_once('.') {
        Some((parents, last)) => (parents.split('.').collect(), last),
        None => (Vec::new(), path),
    };
    for step in parents {
        let inner = object
            .entry(step)
            .or_insert_with(|| Value::Object(Map::new()));
        object = inner.as_object_mut().ok_or_else(wrong)?;
    }
    object.insert(last.to_owned(), Value::String(text.to_owned()));
    Ok(())
}

impl Key {
    fn read(&self, algorithm: JwtAlgorithm) -> Result<EncodingKey, Failure> {
        let secret = match (&self.secret_env, &self.secret_file, &self.private_key_file) {
            (Some(name), _, _) => std::env::var(name).map_err(|_| {
                Failure::usage(format!("the environment variable {name} is not set"))
            })?,
            (None, Some(path), _) => read(path)?.trim_end_matches(['\r', '\n']).to_owned(),
            (None, None, Some(path)) => return private_key(path, algorithm),
            (None, None, None) => return Err(Failure::usage("give a key")),
        };
        if !algorithm.is_symmetric() {
            let message = format!("{} needs --private-key-file", algorithm.name());
            return Err(Failure::usage(message));
        }
        if secret.len() < HMAC_SECRET_BYTES_MIN {
            return Err(Failure::usage(format!(
                "the secret is shorter than {} bytes; pgwarden would not take it",
                HMAC_SECRET_BYTES_MIN
            )));
        }
        Ok(EncodingKey::from_secret(secret.as_bytes()))
    }
}

fn private_key(path: &Path, algorithm: JwtAlgorithm) -> Result<EncodingKey, Failure> {
    let pem = read(path)?;
    let pem = pem.as_bytes();
    let key = match algorithm {
        JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512 => {
            let message = format!("{} needs --secret-env or --secret-file", algorithm.name());
            return Err(Failure::usage(message));
        }
        JwtAlgorithm::Rs256
        | JwtAlgorithm::Rs384
        | JwtAlgorithm::Rs512
        | JwtAlgorithm::Ps256
        | JwtAlgorithm::Ps384
        | JwtAlgorithm::Ps512 => EncodingKey::from_rsa_pem(pem),
        JwtAlgorithm::Es256 | JwtAlgorithm::Es384 => EncodingKey::from_ec_pem(pem),
        JwtAlgorithm::EdDsa => EncodingKey::from_ed_pem(pem),
    };
    key.map_err(|_| {
        let name = algorithm.name();
        Failure::usage(format!(
            "{} is not a private key in PEM for {name}",
            path.display()
        ))
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| Failure::usage(format!("{} can't be read: {error}", path.display())))
}

pub(super) fn algorithm(name: &str) -> Result<JwtAlgorithm, String> {
    let mut all = JwtAlgorithm::ALL.iter();
    match all.find(|algorithm| algorithm.name() == name) {
        Some(algorithm) => Ok(*algorithm),
        None => {
            let names: Vec<&str> = JwtAlgorithm::ALL.iter().map(|it| it.name()).collect();
            Err(format!("known are {}", names.join(", ")))
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    pgwarden_config::parse_duration(text)
}
