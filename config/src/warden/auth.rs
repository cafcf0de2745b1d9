//! `[auth]`: which tokens are believed.

use std::time::Duration;

use crate::document::{Entry, Node, Origin};
use crate::reader::{Complaint, Section};
use crate::secret::Secret;
use crate::settings::{Auth, HMAC_SECRET_BYTES_MIN, Jwks, JwtAlgorithm, JwtKey, KeyMaterial};
use crate::suggest;
use crate::values::{boolean, duration, text, word, words};

use super::Reader;

/// Clocks of servers that keep time differ by less.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
/// A larger one would let expired tokens live on.
const LEEWAY_MAX: Duration = Duration::from_secs(10 * 60);

impl Reader<'_> {
    pub(super) fn auth(&mut self, root: &mut Section<'_>) -> Option<Auth> {
        let Some(mut section) = root.section(&mut self.report, "auth") else {
            let complaint = Complaint::new("there is no [[auth.key]]")
                .help("without a key no token can be verified: write [[auth.key]]");
            self.report.missing(root.origin(), complaint);
            return None;
        };
        let issuer = section.optional(&mut self.report, "issuer", word);
        let audience = section.or(&mut self.report, "audience", words, Vec::new());
        let leeway = section.or(&mut self.report, "leeway", leeway, DEFAULT_LEEWAY);
        let require_tls = section.or(&mut self.report, "require_tls", boolean, true);
        let keys = self.keys(&mut section);
        let jwks = section.section(&mut self.report, "jwks");
        let jwks = jwks.and_then(|section| self.jwks(section));
        section.finish(&mut self.report);
        Some(Auth {
            issuer,
            audience,
            leeway,
            require_tls,
            keys,
            jwks,
        })
    }

    fn keys(&mut self, auth: &mut Section<'_>) -> Vec<JwtKey> {
        let has_jwks = auth.take("jwks").is_some();
        let sections = auth.sections(&mut self.report, "key");
        if sections.is_empty() && !has_jwks {
            let complaint = Complaint::new("there is no [[auth.key]]")
                .help("without a key no token can be verified: write [[auth.key]]");
            self.report.missing(auth.origin(), complaint);
        }
        let mut keys: Vec<JwtKey> = Vec::new();
        for section in sections {
            let origin = section.origin().clone();
            let Some(key) = self.key(section) else {
                continue;
            };
            if key.id.is_some() && keys.iter().any(|other| other.id == key.id) {
                let complaint = Complaint::new("two keys have this id")
                    .help("a token's kid must select one key");
                self.complain(&origin, complaint);
            }
            keys.push(key);
        }
        keys
    }

    fn key(&mut self, mut section: Section<'_>) -> Option<JwtKey> {
        let id = section.optional(&mut self.report, "id", word);
        let algorithm = section.required(&mut self.report, "algorithm", algorithm);
        let origin = section.origin().clone();
        let secret = self.secret(&mut section, "secret_env", "secret_file");
        let public_key = section.take("public_key_file");
        section.finish(&mut self.report);
        let algorithm = algorithm?;
        let name = algorithm.name();
        let material = match (algorithm.is_symmetric(), secret, public_key) {
            (true, Some((named_at, secret)), None) => self.hmac_secret(&named_at, secret?),
            (false, None, Some(entry)) => self.public_key(entry),
            (true, _, Some(entry)) => {
                // Otherwise whoever reads the public key could sign tokens with it.
                let complaint = Complaint::new(format!("{name} has a secret, not a public key"))
                    .help("write secret_env or secret_file");
                self.complain(&entry.origin, complaint);
                None
            }
            (false, Some((named_at, _)), _) => {
                let complaint = Complaint::new(format!("{name} has a public key, not a secret"))
                    .help("write public_key_file");
                self.complain(&named_at, complaint);
                None
            }
            (true, None, None) => {
                let complaint = Complaint::new(format!("the secret of this {name} key is missing"))
                    .help("write secret_env or secret_file");
                self.report.missing(&origin, complaint);
                None
            }
            (false, None, None) => {
                let message = format!("the public key of this {name} key is missing");
                let complaint = Complaint::new(message).help("write public_key_file");
                self.report.missing(&origin, complaint);
                None
            }
        };
        Some(JwtKey {
            id,
            algorithm,
            material: material?,
        })
    }

    fn hmac_secret(&mut self, named_at: &Origin, secret: Secret) -> Option<KeyMaterial> {
        if secret.expose().len() < HMAC_SECRET_BYTES_MIN {
            let message = format!("the secret is shorter than {HMAC_SECRET_BYTES_MIN} bytes");
            let help = "make one with: openssl rand -base64 48";
            self.complain(named_at, Complaint::new(message).help(help));
            return None;
        }
        Some(KeyMaterial::Secret(secret))
    }

    fn public_key(&mut self, entry: &Entry) -> Option<KeyMaterial> {
        let pem = self.read_file(&entry.node).and_then(check_pem);
        pem.map(KeyMaterial::PublicKeyPem)
            .map_err(|complaint| self.complain(&entry.node.origin, complaint))
            .ok()
    }

    fn jwks(&mut self, mut section: Section<'_>) -> Option<Jwks> {
        let url = section.optional(&mut self.report, "url", word);
        let file = section.optional(&mut self.report, "file", word);
        let origin = section.origin().clone();
        section.finish(&mut self.report);
        match (url, file) {
            (Some(url), None) => Some(Jwks::Url(url)),
            (None, Some(file)) => Some(Jwks::File(self.path(&file))),
            (Some(_), Some(_)) => {
                let complaint = Complaint::new("both url and file are given");
                self.complain(&origin, complaint.help("leave one of them out"));
                None
            }
            (None, None) => {
                let complaint = Complaint::new("neither url nor file is given");
                self.report.missing(&origin, complaint);
                None
            }
        }
    }
}

fn check_pem(pem: String) -> Result<String, Complaint> {
    if pem.contains("PRIVATE KEY-----") {
        return Err(Complaint::new("the file holds a private key").help(
            "pgwarden verifies tokens and must not be able to sign them: \
                   write the public key's file",
        ));
    }
    if !pem.contains("-----BEGIN ") {
        return Err(Complaint::new("the file holds no PEM text")
            .help("a public key in PEM starts with -----BEGIN PUBLIC KEY-----"));
    }
    Ok(pem)
}

fn leeway(node: &Node) -> Result<Duration, Complaint> {
    match duration(node)? {
        leeway if leeway > LEEWAY_MAX => Err(Complaint::new("a leeway above 10m is not a leeway")),
        leeway => Ok(leeway),
    }
}

fn algorithm(node: &Node) -> Result<JwtAlgorithm, Complaint> {
    let written = text(node)?;
    let mut all = JwtAlgorithm::ALL.iter();
    if let Some(found) = all.find(|algorithm| algorithm.name() == written) {
        return Ok(*found);
    }
    let names: Vec<&str> = JwtAlgorithm::ALL.iter().map(|it| it.name()).collect();
    let help = suggest::did_you_mean(&written, names.iter().copied());
    let help = help.unwrap_or_else(|| format!("write {}", suggest::one_of(&names)));
    Err(Complaint::new(format!("unknown algorithm \"{written}\"")).help(help))
}
