//! Signing tokens with a key that somebody gives: development tokens, and those of jobs. Others come
//! from an identity provider.

use std::path::{Path, PathBuf};

use clap::Args;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pgwarden_config::settings::{HMAC_SECRET_BYTES_MIN, JwtAlgorithm};
use serde_json::{Map, Value};

use super::Failure;
use crate::auth;

/// What signs.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(super) struct KeyArguments {
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

/// A key and the header of what it signs.
pub(super) struct Signer {
    header: Header,
    key: EncodingKey,
    secret: Option<String>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl KeyArguments {
    /// Whether there is one.
    pub(super) fn is_given(&self) -> bool {
        self.secret_env.is_some() || self.secret_file.is_some() || self.private_key_file.is_some()
    }

    /// Reads the key.
    pub(super) fn signer(
        &self,
        algorithm: JwtAlgorithm,
        key_id: Option<String>,
    ) -> Result<Signer, Failure> {
        let secret = match (&self.secret_env, &self.secret_file, &self.private_key_file) {
            (Some(name), _, _) => std::env::var(name).map_err(|_| {
                Failure::usage(format!("the environment variable {name} is not set"))
            })?,
            (None, Some(path), _) => read(path)?.trim_end_matches(['\r', '\n']).to_owned(),
            (None, None, Some(path)) => {
                return Ok(Signer {
                    header: header(algorithm, key_id),
                    key: private_key(path, algorithm)?,
                    secret: None,
                });
            }
            (None, None, None) => {
                return Err(Failure::usage(
                    "give --secret-env, --secret-file or --private-key-file",
                ));
            }
        };
        Signer::of_secret(&secret, algorithm, key_id)
    }
}

impl Signer {
    /// With the secret of an HMAC.
    pub(super) fn of_secret(
        secret: &str,
        algorithm: JwtAlgorithm,
        key_id: Option<String>,
    ) -> Result<Self, Failure> {
        if !algorithm.is_symmetric() {
            let message = format!("{} needs --private-key-file", algorithm.name());
            return Err(Failure::usage(message));
        }
        if secret.len() < HMAC_SECRET_BYTES_MIN {
            return Err(Failure::usage(format!(
                "the secret is shorter than {HMAC_SECRET_BYTES_MIN} bytes; pgwarden would not take it"
            )));
        }
        Ok(Self {
            header: header(algorithm, key_id),
            key: EncodingKey::from_secret(secret.as_bytes()),
            secret: Some(secret.to_owned()),
        })
    }

    /// A token with these claims.
    pub(super) fn sign(&self, claims: &Map<String, Value>) -> Result<String, String> {
        jsonwebtoken::encode(&self.header, claims, &self.key)
            .map_err(|error| format!("can't sign with this key: {error}"))
    }

    /// The secret, to be kept from others.
    pub(super) fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }
}

fn header(algorithm: JwtAlgorithm, key_id: Option<String>) -> Header {
    let algorithm: Algorithm = auth::jwt_algorithm(algorithm);
    let mut header = Header::new(algorithm);
    header.kid = key_id;
    header
}

/// The claims that an option gives as JSON.
pub(super) fn object(text: Option<&str>) -> Result<Map<String, Value>, Failure> {
    match text.map(serde_json::from_str) {
        None => Ok(Map::new()),
        Some(Ok(Value::Object(claims))) => Ok(claims),
        Some(Ok(_)) => Err(Failure::usage("--claims is not a JSON object")),
        Some(Err(error)) => Err(Failure::usage(format!("--claims: {error}"))),
    }
}

/// Writes a value at a path; false where something else is in its way.
pub(super) fn put(claims: &mut Map<String, Value>, path: &[String], value: Value) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    let mut object = claims;
    for step in parents {
        let inner = object
            .entry(step.as_str())
            .or_insert_with(|| Value::Object(Map::new()));
        match inner.as_object_mut() {
            Some(inner) => object = inner,
            None => return false,
        }
    }
    object.insert(last.clone(), value);
    true
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
