//! `pgwarden token inspect`: what a token says, and whether it is good. Without a key it says that
//! nothing was verified, so that nobody takes a readable token for a good one.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use pgwarden_config::settings::{Auth, JwtAlgorithm, JwtKey, KeyMaterial};
use pgwarden_config::{Environment, Secret, load_settings};
use serde_json::Value;

use crate::auth::{AuthError, Verifier};

use super::signing::algorithm;
use super::{Failure, input, output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The token; - (or nothing) reads it from standard input, where no other process sees it
    #[arg(default_value = "-", hide_default_value = true)]
    token: String,
    /// Verify with the keys, issuer and audience of this warden.toml
    #[arg(long, value_name = "FILE", conflicts_with_all = ["secret_env", "secret_file", "public_key_file"])]
    config: Option<PathBuf>,
    /// Verify with the secret in this environment variable
    #[arg(long, value_name = "NAME", conflicts_with_all = ["secret_file", "public_key_file"])]
    secret_env: Option<String>,
    /// Verify with the secret in this file
    #[arg(long, value_name = "FILE", conflicts_with = "public_key_file")]
    secret_file: Option<PathBuf>,
    /// Verify with this public key, PEM
    #[arg(long, value_name = "FILE")]
    public_key_file: Option<PathBuf>,
    /// The algorithm of the given key
    #[arg(long, default_value = "HS256", value_parser = algorithm)]
    algorithm: JwtAlgorithm,
}

/// What tokens may be as long as when no settings say it.
const TOKEN_BYTES: usize = 16 << 10;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let token = input::text_or_stdin(&arguments.token)?;
    let token = token.trim();
    let verifier = arguments.verifier()?;
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::usage(
            "not a token: a JWT has three parts with dots between",
        ));
    };
    let header = json(header, "header")?;
    let payload = json(payload, "payload")?;
    let now = SystemTime::now();
    let verdict = verifier.map(|it| it.verify(token.as_bytes(), now).map(|_| ()));
    output::write(&render(&header, &payload, now, verdict)?)?;
    match verdict {
        Some(Err(_)) => Err(Failure::Findings),
        Some(Ok(())) | None => Ok(()),
    }
}

fn render(
    header: &Value,
    payload: &Value,
    now: SystemTime,
    verdict: Option<Result<(), AuthError>>,
) -> Result<String, Failure> {
    let pretty = |value| {
        let text = serde_json::to_string_pretty(value);
        text.map_err(|error| Failure::Internal(error.to_string()))
    };
    let mut text = format!(
        "header: {}\npayload: {}\n",
        pretty(header)?,
        pretty(payload)?
    );
    if let Some(expiry) = expiry(payload, now) {
        text.push_str(&format!("{expiry}\n"));
    }
    text.push_str(&match verdict {
        None => {
            "verified: no, because no key was given: anybody may have written this\n".to_owned()
        }
        Some(Ok(())) => "verified: yes, signature and claims\n".to_owned(),
        Some(Err(error)) => format!("verified: no, {error}\n"),
    });
    Ok(text)
}

fn expiry(payload: &Value, now: SystemTime) -> Option<String> {
    let expires = UNIX_EPOCH.checked_add(Duration::from_secs(payload.get("exp")?.as_u64()?))?;
    Some(match expires.duration_since(now) {
        Ok(left) => format!("expires: in {}", in_words(left)),
        Err(error) => format!("expires: {} ago", in_words(error.duration())),
    })
}

fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=119 => format!("{seconds} seconds"),
        120..=7_199 => format!("{} minutes", seconds / 60),
        7_200..=172_799 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn json(part: &str, what: &str) -> Result<Value, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(part);
    let bytes =
        bytes.map_err(|_| Failure::usage(format!("the token's {what} is not base64url")))?;
    let value = serde_json::from_slice(&bytes);
    value.map_err(|_| Failure::usage(format!("the token's {what} is not JSON")))
}

impl Arguments {
    /// The same verifier that a listener has, with the keys that were named.
    fn verifier(&self) -> Result<Option<Verifier>, Failure> {
        let (auth, token_bytes) = match &self.config {
            Some(path) => {
                let settings = load_settings(path, &Environment::of_process())?;
                (settings.auth, settings.limits.token_bytes)
            }
            None => match self.material()? {
                Some(material) => (self.one_key(material), TOKEN_BYTES),
                None => return Ok(None),
            },
        };
        let verifier = Verifier::new(&auth, token_bytes);
        verifier
            .map(Some)
            .map_err(|error| Failure::usage(error.to_string()))
    }

    fn material(&self) -> Result<Option<KeyMaterial>, Failure> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!("{} can't be read: {error}", path.display()))
            })
        };
        if let Some(name) = &self.secret_env {
            let secret = std::env::var(name);
            let secret = secret.map_err(|_| {
                Failure::usage(format!("the environment variable {name} is not set"))
            })?;
            return Ok(Some(KeyMaterial::Secret(Secret::new(secret))));
        }
        if let Some(path) = &self.secret_file {
            let secret = read(path)?;
            let secret = secret.trim_end_matches(['\r', '\n']);
            return Ok(Some(KeyMaterial::Secret(Secret::new(secret))));
        }
        match &self.public_key_file {
            Some(path) => Ok(Some(KeyMaterial::PublicKeyPem(read(path)?))),
            None => Ok(None),
        }
    }

    fn one_key(&self, material: KeyMaterial) -> Auth {
        Auth {
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::ZERO,
            require_tls: true,
            keys: vec![JwtKey {
                id: None,
                algorithm: self.algorithm,
                material,
            }],
            jwks: None,
        }
    }
}
