//! Mutual TLS 1.3 between nodes, and the identity that a peer certificate carries.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The certificate, its key and the authority of the peers.
#[derive(Clone)]
pub struct PeerTls {
    /// This node's certificate first, then what leads to the authority.
    pub cert_chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// The authorities whose peer certificates are accepted.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls")
            .field("certificates", &self.cert_chain.len())
            .finish_non_exhaustive()
    }
}

/// Who a peer certificate says its holder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The node's id.
    pub node_id: u64,
    /// The nonce of the node's data directory.
    pub incarnation: String,
}

impl PeerIdentity {
    /// The URI that the certificate carries as its subject alternative name.
    #[must_use]
    pub fn uri(&self) -> String {
        format!(
            "palisade://{}/node/{}/{}",
            self.cluster_id, self.node_id, self.incarnation
        )
    }

    /// Reads the URI; anything but the exact form is refused.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("palisade://")?.split('/');
        let (cluster, kind, id, incarnation) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let plain = |s: &str| {
            !s.is_empty()
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        if kind != "node" || parts.next().is_some() || !plain(cluster) || !plain(incarnation) {
            return None;
        }
        let node_id: u64 = id.parse().ok()?;
        // One id has one spelling: "+1" and "01" parse as well.
        (node_id.to_string() == id).then(|| Self {
            cluster_id: cluster.to_owned(),
            node_id,
            incarnation: incarnation.to_owned(),
        })
    }

    /// Reads it from a certificate, which must carry exactly one such URI.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (rest, cert) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let names = cert.subject_alternative_name().ok()??;
        let mut found = None;
        for name in &names.value.general_names {
            if let GeneralName::URI(uri) = name
                && uri.starts_with("palisade://")
            {
                if found.is_some() {
                    return None;
                }
                found = Some(Self::parse(uri)?);
            }
        }
        found
    }
}

/// The certificates given cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls refused them.
    #[error("the peer certificate or authority cannot be used: {0}")]
    Rustls(#[from] Error),
    /// No authority at all.
    #[error("no usable peer authority: {0}")]
    Authority(String),
    /// The certificate is not one of this node.
    #[error("the peer certificate is not that of node {node_id} of cluster {cluster_id}")]
    NotOurs {
        /// The cluster that was expected.
        cluster_id: String,
        /// The node that was expected.
        node_id: u64,
    },
}

/// Both directions' configuration; replaced as a whole when the certificate is renewed.
pub(crate) struct TlsState {
    cluster_id: String,
    current: RwLock<(Arc<ServerConfig>, PeerTls)>,
    provider: Arc<CryptoProvider>,
    time: Arc<dyn TimeProvider>,
}

impl TlsState {
    pub(crate) fn new(
        identity: &PeerIdentity,
        tls: PeerTls,
        time: Arc<dyn TimeProvider>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = server_config(&provider, &time, identity, &tls)?;
        Ok(Self {
            cluster_id: identity.cluster_id.clone(),
            current: RwLock::new((server, tls)),
            provider,
            time,
        })
    }

    /// Takes a renewed certificate; connections that exist keep the old one.
    pub(crate) fn replace(&self, identity: &PeerIdentity, tls: PeerTls) -> Result<(), TlsError> {
        let server = server_config(&self.provider, &self.time, identity, &tls)?;
        *self.current.write() = (server, tls);
        Ok(())
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().0)
    }

    /// A client configuration that accepts exactly one node at the other end.
    pub(crate) fn client(&self, target: u64) -> Result<Arc<ClientConfig>, TlsError> {
        let tls = self.current.read().1.clone();
        let verifier = NodeVerifier {
            cluster_id: self.cluster_id.clone(),
            node_id: target,
            roots: roots(&tls.authorities)?,
            provider: Arc::clone(&self.provider),
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(tls.cert_chain, tls.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_early_data = false;
        config.time_provider = Arc::clone(&self.time);
        Ok(Arc::new(config))
    }
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    if roots.is_empty() {
        Err(TlsError::Authority("none given".into()))
    } else {
        Ok(roots)
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    time: &Arc<dyn TimeProvider>,
    identity: &PeerIdentity,
    tls: &PeerTls,
) -> Result<Arc<ServerConfig>, TlsError> {
    let own = tls
        .cert_chain
        .first()
        .and_then(|cert| PeerIdentity::of_certificate(cert));
    if own.as_ref() != Some(identity) {
        return Err(TlsError::NotOurs {
            cluster_id: identity.cluster_id.clone(),
            node_id: identity.node_id,
        });
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&tls.authorities)?), Arc::clone(provider))
            .build()
            .map_err(|e| TlsError::Authority(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(tls.cert_chain.clone(), tls.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the certificate check: a removed node could come back with an old ticket.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.time_provider = Arc::clone(time);
    Ok(Arc::new(config))
}

/// Accepts the certificate of one node of one cluster: names of machines mean nothing here.
struct NodeVerifier {
    cluster_id: String,
    node_id: u64,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for NodeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeVerifier({})", self.node_id)
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let cert = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &cert,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        match PeerIdentity::of_certificate(end_entity) {
            Some(id) if id.cluster_id == self.cluster_id && id.node_id == self.node_id => {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken between nodes".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_of_the_uri_is_an_identity() {
        let id = PeerIdentity {
            cluster_id: "c-1".into(),
            node_id: 12,
            incarnation: "ab12".into(),
        };
        assert_eq!(PeerIdentity::parse(&id.uri()), Some(id));
        for bad in [
            "",
            "palisade://c/node/1",
            "palisade://c/node/1/",
            "palisade://c/node/1/x/y",
            "palisade:///node/1/x",
            "palisade://c/user/1/x",
            "palisade://c/node/+1/x",
            "palisade://c/node/01/x",
            "palisade://c/node/-1/x",
            "palisade://c/node/18446744073709551616/x",
            "palisade://c d/node/1/x",
            "https://c/node/1/x",
        ] {
            assert_eq!(PeerIdentity::parse(bad), None, "{bad}");
        }
    }
}
