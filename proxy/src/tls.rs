//! TLS on both sides: what clients are shown, and how the server is checked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgwarden_config::settings::{ListenerTls, RootCertificates, SslMode};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::TlsAcceptor;

/// What clients and servers agree on by ALPN.
pub const ALPN: &[u8] = b"postgresql";

/// Why a certificate or key can't be used.
#[derive(Debug)]
pub struct TlsError {
    path: Option<PathBuf>,
    why: String,
}

impl TlsError {
    fn at(path: &Path, why: impl fmt::Display) -> Self {
        Self {
            path: Some(path.to_owned()),
            why: why.to_string(),
        }
    }

    fn plain(why: impl fmt::Display) -> Self {
        Self {
            path: None,
            why: why.to_string(),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for TlsError {}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What a listener shows its clients.
///
/// # Errors
/// When the certificate or the key can't be read, or don't belong together.
pub fn acceptor(settings: &ListenerTls) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&settings.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|error| TlsError::at(&settings.key, error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::plain)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::at(&settings.certificate, error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| TlsError::at(path, error))?;
    if chain.is_empty() {
        return Err(TlsError::at(path, "no certificate in it"));
    }
    Ok(chain)
}

/// How the server is checked; `None` where TLS is never used.
///
/// # Errors
/// When the root certificates can't be read.
pub fn client_config(
    mode: SslMode,
    roots: Option<&RootCertificates>,
) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let verifier: Arc<dyn ServerCertVerifier> = match (mode, roots) {
        (SslMode::Disable, _) => return Ok(None),
        (SslMode::Allow | SslMode::Prefer | SslMode::Require, _) => Arc::new(AnyCertificate {
            provider: provider(),
        }),
        (SslMode::VerifyCa, Some(roots)) => Arc::new(KnownCertificate::new(roots, false)?),
        (SslMode::VerifyFull, Some(roots)) => Arc::new(KnownCertificate::new(roots, true)?),
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            return Err(TlsError::plain("this sslmode needs sslrootcert"));
        }
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::plain)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Some(Arc::new(config)))
}

/// `require` and weaker: encryption without a check of who the server is, as libpq has it.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// `verify-ca` and `verify-full`.
///
/// A certificate that stands in the root file itself is trusted as it is: PostgreSQL's manual makes
/// self-signed server certificates with CA rights, which libpq accepts and webpki does not. Its
/// name is checked all the same under `verify-full`.
#[derive(Debug)]
struct KnownCertificate {
    webpki: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
}

impl KnownCertificate {
    fn new(roots: &RootCertificates, check_name: bool) -> Result<Self, TlsError> {
        let certificates = match roots {
            RootCertificates::File(path) => certificates(path)?,
            RootCertificates::System => rustls_native_certs::load_native_certs().certs,
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
            .build()
            .map_err(TlsError::plain)?;
        let pinned = match roots {
            RootCertificates::File(_) => certificates,
            RootCertificates::System => Vec::new(),
        };
        Ok(Self {
            webpki,
            pinned,
            check_name,
        })
    }

    fn verify_pinned(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.check_name {
            let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
            rustls::client::verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for KnownCertificate {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned == certificate) {
            return self.verify_pinned(certificate, name);
        }
        let webpki = &self.webpki;
        match webpki.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The chain is checked before the name: with this error it was good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_name => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
