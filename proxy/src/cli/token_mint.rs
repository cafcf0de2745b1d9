//! `pgwarden token mint`: development tokens. Real ones come from an identity provider.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use pgwarden_config::settings::JwtAlgorithm;
use serde_json::{Map, Value};

use super::signing::{self, KeyArguments};
use super::{Failure, output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How it is signed: HS256, HS384, HS512, RS256…, PS256…, ES256, ES384, EdDSA
    #[arg(long, default_value = "HS256", value_parser = signing::algorithm)]
    algorithm: JwtAlgorithm,
    /// The `kid` of the header
    #[arg(long, value_name = "KID")]
    key_id: Option<String>,
    #[command(flatten)]
    key: KeyArguments,
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

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let claims = arguments.claims(SystemTime::now())?;
    let key = &arguments.key;
    let signer = key.signer(arguments.algorithm, arguments.key_id.clone())?;
    let token = signer.sign(&claims).map_err(Failure::Usage)?;
    output::write(&format!("{token}\n"))
}

impl Arguments {
    fn claims(&self, now: SystemTime) -> Result<Map<String, Value>, Failure> {
        let mut claims = signing::object(self.claims.as_deref())?;
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
            let path: Vec<String> = self.org_claim.split('.').map(str::to_owned).collect();
            if !signing::put(&mut claims, &path, Value::String(org.clone())) {
                return Err(Failure::usage(format!(
                    "--org-claim {} does not fit the other claims",
                    self.org_claim
                )));
            }
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = now.saturating_add(self.expires_in);
        claims.insert("iat".to_owned(), Value::from(now.as_secs()));
        claims.insert("exp".to_owned(), Value::from(expires.as_secs()));
        Ok(claims)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    pgwarden_config::parse_duration(text)
}
