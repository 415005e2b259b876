//! The node's HTTPS identity: a key made at each start that never touches the disk, certified by the cluster's TLS
//! authority, and renewed long before the certificate ends.

use crate::config::Config;
use crate::web_tls::{WebTls, WebTlsFiles};
use palisade_ca::{
    Authorities, AuthorityFault, ServerCertRequest, SubjectSpki, Window, X509Error, generate_tls_key,
    sign_server_cert,
};
use palisade_core::kv::Kv;
use palisade_core::record::AuthorityType;
use palisade_core::time::Timestamp;
use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;

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
    /// What was signed does not read back.
    #[error("the HTTPS certificate cannot be used: {0}")]
    Malformed(String),
    /// The listener refuses it.
    #[error(transparent)]
    Use(#[from] palisade_web::TlsError),
}

fn certify(
    config: &Config,
    kv: &dyn Kv,
    authorities: &Authorities,
    now: Timestamp,
    operators: &Operators,
) -> Result<(Arc<ServerConfig>, Timestamp), PublicTlsError> {
    let signer = authorities.signer(kv, AuthorityType::Tls)?;
    let own = generate_tls_key()?;
    let mut dns_names = vec![config.name.to_string(), "localhost".to_owned()];
    let mut addresses: Vec<IpAddr> = vec![
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ];
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
    let our_names = dns_names.clone();
    let not_after = now.secs() + LIFE_SECS;
    let request = ServerCertRequest {
        public_key: SubjectSpki::from_der(&own.spki_der)?,
        dns_names,
        addresses,
        // Node certificates are not audited one by one: the serial only has to differ.
        serial: now.ms().max(1),
        window: Window {
            not_before: now.secs() - BACKDATE_SECS,
            not_after,
            ttl_max_secs: LIFE_SECS + BACKDATE_SECS,
        },
    };
    let issued = sign_server_cert(&signer, &request)?;
    let authority = signer.public().certificate_pem.clone().unwrap_or_default();
    let authority = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(malformed)?;
    let private = PrivateKeyDer::from_pem_slice(own.private_pem.as_bytes()).map_err(malformed)?;
    // The authority goes along, so that a client with nothing but a pin can find it.
    let mut server = palisade_web::tls_config(vec![issued.der, authority.clone()], private, &[authority])?;
    // A resumed session would carry an identity whose certificate nobody looked at again.
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
    server.time_provider = Arc::new(crate::clock::TlsTime);
    server.cert_resolver = Arc::new(ByName {
        ours: server.cert_resolver,
        our_names,
        theirs: operators.clone(),
    });
    Ok((Arc::new(server), Timestamp::from_secs(not_after)))
}

fn malformed(error: impl std::fmt::Display) -> PublicTlsError {
    PublicTlsError::Malformed(error.to_string())
}

/// The operator's own certificate, which may change while the node runs.
type Operators = Arc<RwLock<Option<Arc<WebTls>>>>;

/// Which certificate is shown: the cluster's own for its own names, and where no other fits.
#[derive(Debug)]
struct ByName {
    ours: Arc<dyn ResolvesServerCert>,
    our_names: Vec<String>,
    theirs: Operators,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name()
            && !self.our_names.iter().any(|own| own.eq_ignore_ascii_case(name))
            && let Some(theirs) = self.theirs.read().as_ref().and_then(|own| own.serves(name))
        {
            return Some(theirs);
        }
        self.ours.resolve(hello)
    }
}

/// The configuration in use; connections that exist keep theirs when it is renewed.
pub struct PublicTls {
    current: watch::Sender<Arc<ServerConfig>>,
    ends: Mutex<Timestamp>,
    files: Mutex<Option<WebTlsFiles>>,
    operators: Operators,
}

impl PublicTls {
    /// Makes a key and a certificate.
    pub fn new(
        config: &Config,
        kv: &dyn Kv,
        authorities: &Authorities,
        now: Timestamp,
    ) -> Result<Self, PublicTlsError> {
        let operators = Operators::default();
        let (server, ends) = certify(config, kv, authorities, now, &operators)?;
        let public = PublicTls {
            current: watch::Sender::new(server),
            ends: Mutex::new(ends),
            files: Mutex::new(config.web_tls.clone()),
            operators,
        };
        public.reload();
        Ok(public)
    }

    /// What the listener serves with.
    pub fn watch(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.current.subscribe()
    }

    /// Where the operator's own certificate lies from now on.
    pub fn reconfigure(&self, files: Option<WebTlsFiles>) {
        *self.files.lock() = files;
        self.reload();
    }

    /// Reads the operator's own certificate, if there is one. One that cannot be used changes nothing.
    pub fn reload(&self) {
        let files = self.files.lock().clone();
        match files.as_ref().map(WebTlsFiles::load).transpose() {
            Ok(loaded) => *self.operators.write() = loaded.map(Arc::new),
            Err(why) => tracing::error!(why, "the certificate of web_tls is not taken over"),
        }
    }

    /// The last moment of the operator's own certificate.
    pub fn operators_end(&self) -> Option<Timestamp> {
        self.operators.read().as_ref().map(|own| own.ends())
    }

    /// The last moment of the certificate in use.
    pub fn ends(&self) -> Timestamp {
        *self.ends.lock()
    }

    /// Makes new ones if the certificate nears its end; true if it did.
    pub fn renew_if_due(
        &self,
        config: &Config,
        kv: &dyn Kv,
        authorities: &Authorities,
        now: Timestamp,
    ) -> Result<bool, PublicTlsError> {
        if self.ends.lock().since_ms(now) > LIFE_SECS * 1000 / 3 {
            return Ok(false);
        }
        let (server, ends) = certify(config, kv, authorities, now, &self.operators)?;
        self.current.send_replace(server);
        *self.ends.lock() = ends;
        Ok(true)
    }
}
