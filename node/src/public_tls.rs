//! The node's HTTPS identity: a key made at each start that never touches the disk, certified by the cluster's TLS
//! authority, and renewed long before the certificate ends.

use crate::authorities::{self, AuthorityFault};
use crate::config::Config;
use palisade_ca::{ClusterKey, ServerCertRequest, SubjectSpki, Window, X509Error, generate_tls_key, sign_server_cert};
use palisade_core::kv::Kv;
use palisade_core::record::AuthorityType;
use palisade_core::time::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::net::IpAddr;
use std::sync::{Arc, RwLock};

/// How long a server certificate lives. It is renewed when a third of that is left.
const LIFE_SECS: u64 = 7 * 24 * 3600;
/// Clocks may differ by so much.
const BACKDATE_SECS: u64 = 300;

/// The node's HTTPS identity cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PublicTlsError {
    /// The TLS authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    /// The certificate cannot be signed.
    #[error("the HTTPS certificate cannot be signed: {0}")]
    Sign(#[from] X509Error),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] palisade_ca::KeygenError),
    /// rustls refused it.
    #[error("the HTTPS certificate cannot be used: {0}")]
    Rustls(String),
}

/// Holds the certificate in use; connections that exist keep theirs when it is renewed.
#[derive(Debug)]
pub struct PublicTls {
    current: RwLock<(Arc<CertifiedKey>, Timestamp)>,
}

impl ResolvesServerCert for PublicTls {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().ok().map(|current| current.0.clone())
    }
}

fn certify(config: &Config, kv: &dyn Kv, key: &ClusterKey, now: Timestamp) -> Result<(Arc<CertifiedKey>, Timestamp), PublicTlsError> {
    let signer = authorities::open(kv, AuthorityType::Tls, key)?;
    let own = generate_tls_key()?;
    let mut dns_names = vec![config.name.to_string(), "localhost".to_owned()];
    let mut addresses: Vec<IpAddr> = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    match config.advertise.parse::<IpAddr>() {
        Ok(address) => addresses.push(address),
        Err(_) => dns_names.push(config.advertise.to_ascii_lowercase()),
    }
    if !config.web_listen.ip().is_unspecified() {
        addresses.push(config.web_listen.ip());
    }
    dns_names.sort();
    dns_names.dedup();
    dns_names.retain(|name| !name.is_empty() && name.parse::<IpAddr>().is_err());
    addresses.sort();
    addresses.dedup();
    let not_after = now.secs() + LIFE_SECS;
    let request = ServerCertRequest {
        public_key: SubjectSpki::from_der(&own.spki_der)?,
        dns_names,
        addresses,
        // Node certificates are not audited one by one: the serial only has to differ.
        serial: now.ms().max(1),
        window: Window { not_before: now.secs() - BACKDATE_SECS, not_after, ttl_max_secs: LIFE_SECS + BACKDATE_SECS },
    };
    let issued = sign_server_cert(&signer, &request)?;
    let authority = signer.public().certificate_pem.clone().unwrap_or_default();
    let authority = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(rustls_error)?;
    let private = PrivateKeyDer::from_pem_slice(own.private_pem.as_bytes()).map_err(rustls_error)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // The authority goes along, so that a client with nothing but a pin can find it.
    let certified = CertifiedKey::from_der(vec![issued.der, authority], private, &provider).map_err(rustls_error)?;
    Ok((Arc::new(certified), Timestamp::from_secs(not_after)))
}

fn rustls_error(error: impl std::fmt::Display) -> PublicTlsError {
    PublicTlsError::Rustls(error.to_string())
}

impl PublicTls {
    /// Makes a key and a certificate.
    pub fn new(config: &Config, kv: &dyn Kv, key: &ClusterKey, now: Timestamp) -> Result<Arc<Self>, PublicTlsError> {
        Ok(Arc::new(PublicTls { current: RwLock::new(certify(config, kv, key, now)?) }))
    }

    /// Makes new ones if the certificate nears its end; true if it did.
    pub fn renew_if_due(&self, config: &Config, kv: &dyn Kv, key: &ClusterKey, now: Timestamp) -> Result<bool, PublicTlsError> {
        let ends = self.current.read().map_err(rustls_error)?.1;
        if ends.since_ms(now) > LIFE_SECS * 1000 / 3 {
            return Ok(false);
        }
        let fresh = certify(config, kv, key, now)?;
        *self.current.write().map_err(rustls_error)? = fresh;
        Ok(true)
    }

    /// The server configuration: TLS 1.2 and 1.3, client certificates of the TLS authority welcome, none needed.
    pub fn server_config(self: &Arc<Self>, kv: &dyn Kv) -> Result<Arc<ServerConfig>, PublicTlsError> {
        let spec = authorities::public(kv, AuthorityType::Tls)?;
        let mut roots = RootCertStore::empty();
        let pem = spec.certificate.unwrap_or_default();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).map_err(rustls_error)?).map_err(rustls_error)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(rustls_error)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(rustls_error)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session would carry an identity whose certificate nobody looked at again.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }
}
