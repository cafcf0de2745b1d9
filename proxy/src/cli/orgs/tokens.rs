//! A token for each organisation: minted with the key that the proxy verifies, or exchanged by a
//! command of the operator's.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use pgwarden_config::settings::{JwtAlgorithm, KeyMaterial, Settings};
use pgwarden_config::{Secret, parse_duration};
use pgwarden_policy::rules::ClaimPath;
use pgwarden_policy::{Policy, ValueType};
use pgwarden_schema::organisations::Organisation;
use serde_json::{Map, Value};

use super::Failure;
use super::signing::{self, KeyArguments, Signer};

/// The variable whose secret signs, where nothing else is said.
const SECRET_VARIABLE: &str = "PGWARDEN_JWT_SECRET";

/// How long a token is good for a job without a time-out.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// And longer than the time-out of one with it.
const MARGIN: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// A command of the shell that prints the token of PGWARDEN_ORG_ID, as an identity provider gives it
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["secret_env", "secret_file", "private_key_file"])]
    token_command: Option<String>,
    #[command(flatten)]
    key: KeyArguments,
    /// How it is signed
    #[arg(long, default_value = "HS256", value_parser = signing::algorithm)]
    algorithm: JwtAlgorithm,
    /// The `kid` of the header
    #[arg(long, value_name = "KID")]
    key_id: Option<String>,
    /// The `role` claim
    #[arg(long)]
    role: Option<String>,
    /// The `sub` claim
    #[arg(long)]
    sub: Option<String>,
    /// Further claims, as a JSON object; the options above win
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// How long a token is good; by default a minute more than --timeout, or an hour
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    token_lifetime: Option<Duration>,
}

/// Where tokens come from.
#[derive(Debug)]
pub(super) enum Tokens {
    /// They are signed here.
    Minted(Box<Mint>),
    /// A command gives them.
    Exchanged(String),
}

/// What is in every token.
#[derive(Debug)]
pub(super) struct Mint {
    signer: Signer,
    claims: Map<String, Value>,
    tenant: ClaimPath,
    value_type: ValueType,
    lifetime: Duration,
}

impl Tokens {
    pub(super) fn new(
        arguments: &TokenArguments,
        settings: Option<&Settings>,
        policy: &Policy,
        timeout: Option<Duration>,
    ) -> Result<Self, Failure> {
        if let Some(command) = &arguments.token_command {
            return Ok(Self::Exchanged(command.clone()));
        }
        let usual = timeout.map_or(LIFETIME, |timeout| timeout.saturating_add(MARGIN));
        Ok(Self::Minted(Box::new(Mint {
            signer: arguments.signer(settings)?,
            claims: arguments.claims(settings)?,
            tenant: policy.tenant.claim.clone(),
            value_type: policy.tenant.value_type,
            lifetime: arguments.token_lifetime.unwrap_or(usual),
        })))
    }

    /// The secret that signs them, to be kept from others.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Self::Minted(mint) => mint.signer.secret(),
            Self::Exchanged(_) => None,
        }
    }

    /// The organisation's token. An error is what came in between.
    pub(super) async fn of(&self, organisation: &Organisation) -> Result<Secret, String> {
        match self {
            Self::Minted(mint) => mint.token(organisation, SystemTime::now()),
            Self::Exchanged(command) => exchange(command, organisation).await,
        }
    }
}

impl TokenArguments {
    /// The key that is given, else the first of the settings that can sign, else the variable's.
    fn signer(&self, settings: Option<&Settings>) -> Result<Signer, Failure> {
        if self.key.is_given() {
            return self.key.signer(self.algorithm, self.key_id.clone());
        }
        let keys = settings
            .map(|it| it.auth.keys.as_slice())
            .unwrap_or_default();
        let symmetric = keys.iter().find_map(|key| match &key.material {
            KeyMaterial::Secret(secret) => Some((key, secret)),
            KeyMaterial::PublicKeyPem(_) => None,
        });
        if let Some((key, secret)) = symmetric {
            return Signer::of_secret(secret.expose(), key.algorithm, key.id.clone());
        }
        match std::env::var(SECRET_VARIABLE) {
            Ok(secret) => Signer::of_secret(&secret, self.algorithm, self.key_id.clone()),
            Err(_) => Err(Failure::usage(format!(
                "nothing signs tokens: give --secret-env, --secret-file, --private-key-file or \
                 --token-command, or set {SECRET_VARIABLE}"
            ))),
        }
    }

    fn claims(&self, settings: Option<&Settings>) -> Result<Map<String, Value>, Failure> {
        let mut claims = signing::object(self.claims.as_deref())?;
        let auth = settings.map(|it| &it.auth);
        let issuer = auth.and_then(|it| it.issuer.clone());
        let audience = auth.and_then(|it| it.audience.first().cloned());
        let usual = [("iss", issuer), ("aud", audience)];
        for (name, value) in usual {
            if let (Some(value), false) = (value, claims.contains_key(name)) {
                claims.insert(name.to_owned(), Value::String(value));
            }
        }
        for (name, value) in [("role", &self.role), ("sub", &self.sub)] {
            if let Some(value) = value {
                claims.insert(name.to_owned(), Value::String(value.clone()));
            }
        }
        Ok(claims)
    }
}

impl Mint {
    fn token(&self, organisation: &Organisation, now: SystemTime) -> Result<Secret, String> {
        let mut claims = self.claims.clone();
        let tenant = match self.value_type {
            ValueType::Bigint => match organisation.id.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => return Err("its id is not the number that the policy wants".to_owned()),
            },
            ValueType::Uuid | ValueType::Text => Value::String(organisation.id.clone()),
        };
        if !signing::put(&mut claims, &self.tenant.0, tenant) {
            return Err("the tenant's claim does not fit the other claims".to_owned());
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = now.saturating_add(self.lifetime);
        claims.insert("iat".to_owned(), Value::from(now.as_secs()));
        claims.insert("exp".to_owned(), Value::from(expires.as_secs()));
        let signed = self.signer.sign(&claims);
        signed.map(Secret::new)
    }
}

/// What the command prints. It keeps the process's environment: it may need a key of its own.
async fn exchange(command: &str, organisation: &Organisation) -> Result<Secret, String> {
    let output = tokio::process::Command::new("/bin/sh")
        .args(["-c", command])
        .env("PGWARDEN_ORG_ID", &organisation.id)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("--token-command can't be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("--token-command: {}", output.status));
    }
    let token = String::from_utf8(output.stdout).unwrap_or_default();
    match token.trim() {
        "" => Err("--token-command printed no token".to_owned()),
        token => Ok(Secret::new(token)),
    }
}
