//! The operator's own certificate for HTTPS: for names of theirs, with an authority that browsers know.

use palisade_core::time::Timestamp;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use std::path::PathBuf;
use std::sync::Arc;

/// Where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebTlsFiles {
    /// The certificate and its chain, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct WebTls {
    certified: Arc<CertifiedKey>,
    ends: Timestamp,
}

impl WebTlsFiles {
    /// Reads both files. The error is for people, and holds nothing of what was read.
    pub fn load(&self) -> Result<WebTls, String> {
        let shown = self.certificate.display();
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|e| format!("{shown}: {e}"))?;
        let leaf = chain
            .first()
            .ok_or_else(|| format!("{shown}: it holds no certificate in PEM form"))?;
        let ends = palisade_ca::not_after(leaf).map_err(|e| format!("{shown}: {e}"))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| {
            format!(
                "{}: it holds no private key in PEM form that can be read: {e}",
                self.key.display()
            )
        })?;
        let key = any_supported_type(&key).map_err(|e| format!("{}: {e}", self.key.display()))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| {
            format!(
                "{shown} is not the certificate of the key in {}",
                self.key.display()
            )
        })?;
        Ok(WebTls {
            certified: Arc::new(certified),
            ends: Timestamp::from_secs(ends),
        })
    }
}

impl WebTls {
    /// The certificate, if it is for this name.
    pub fn serves(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = ServerName::try_from(name).ok()?;
        let leaf = ParsedCertificate::try_from(self.certified.cert.first()?).ok()?;
        verify_server_name(&leaf, &name).ok()?;
        Some(self.certified.clone())
    }

    /// Its last moment.
    pub const fn ends(&self) -> Timestamp {
        self.ends
    }
}
