//! Certificates for `localhost`, as files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pgwarden_config::settings::ListenerTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A certificate, and who has signed it.
#[derive(Debug)]
pub struct Certificates {
    /// The authority's own certificate.
    pub authority: PathBuf,
    /// What a listener shows.
    pub listener: ListenerTls,
}

/// Writes `server.crt` and `server.key`, signed by an authority that is new, and `<name>.pem`, the
/// authority.
pub fn certificates(directory: &Path, name: &str) -> Certificates {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let new_key = || KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, new_key()).expect("an authority");
    let key = new_key();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a good name");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let write = |file: &str, text: String| {
        let path = directory.join(file);
        fs::write(&path, text).expect("the directory takes files");
        path
    };
    let key = write("server.key", key.serialize_pem());
    // PostgreSQL wants it so.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    Certificates {
        authority: write(&format!("{name}.pem"), authority.pem()),
        listener: ListenerTls {
            certificate: write("server.crt", certificate.pem()),
            key,
            required: true,
        },
    }
}
