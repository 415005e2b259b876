//! Mutual TLS 1.3 between nodes, and the identity that a peer certificate carries.

use std::fmt;
use std::sync::Arc;

use crate::hop;
use palisade_core::peer::PeerIdentity;
use parking_lot::RwLock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
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

/// Reads the identity in a certificate, which must carry exactly one. TLS has verified the certificate; this only
/// reads it.
pub(crate) fn identity_in(der: &[u8]) -> Option<PeerIdentity> {
    let (rest, cert) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let names = cert.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return None;
    };
    uri.parse().ok()
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
    pub(crate) fn client(&self, target: u64, alpn: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
        let tls = self.current.read().1.clone();
        let (cluster_id, roots) = (self.cluster_id.clone(), roots(&tls.authorities)?);
        let algorithms = self.provider.signature_verification_algorithms.all;
        // The certificate of one node of one cluster: names of machines mean nothing here.
        let verifier = server_verifier(Arc::clone(&self.provider), move |chain, _, now| {
            let cert = ParsedCertificate::try_from(chain.0)?;
            rustls::client::verify_server_cert_signed_by_trust_anchor(
                &cert, &roots, chain.1, now, algorithms,
            )?;
            match identity_in(chain.0) {
                Some(id) if id.cluster_id == cluster_id && id.node_id == target => Ok(()),
                _ => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
            }
        });
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(tls.cert_chain, tls.key.clone_key())?;
        config.alpn_protocols = vec![alpn.to_vec()];
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
    let own = tls.cert_chain.first().and_then(|cert| identity_in(cert));
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
    config.alpn_protocols = vec![hop::ALPN_RPC.to_vec(), hop::ALPN.to_vec()];
    // A resumed session would skip the certificate check: a removed node could come back with an old ticket.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.time_provider = Arc::clone(time);
    Ok(Arc::new(config))
}

/// What a server showed: its own certificate, and those that lead to an authority.
pub type Shown<'a> = (&'a CertificateDer<'a>, &'a [CertificateDer<'a>]);

/// A verifier for TLS 1.3 that believes what `check` does not refuse. `check` is given what the server showed, the name
/// that was dialled and the time; that the server holds the key of its certificate is verified by `provider`.
pub fn server_verifier<F>(provider: Arc<CryptoProvider>, check: F) -> Arc<dyn ServerCertVerifier>
where
    F: Fn(Shown<'_>, &ServerName<'_>, UnixTime) -> Result<(), Error> + Send + Sync + 'static,
{
    Arc::new(CheckedBy { provider, check })
}

struct CheckedBy<F> {
    provider: Arc<CryptoProvider>,
    check: F,
}

impl<F> fmt::Debug for CheckedBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckedBy")
    }
}

impl<F> ServerCertVerifier for CheckedBy<F>
where
    F: Fn(Shown<'_>, &ServerName<'_>, UnixTime) -> Result<(), Error> + Send + Sync,
{
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        (self.check)((end_entity, intermediates), server_name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["node-1.palisade.internal".into()]).expect("params");
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().expect("ascii")));
        params.subject_alt_names.extend(uris);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn a_certificate_is_a_nodes_if_it_carries_exactly_one_identity() {
        let (one, two) = ("palisade://c-1/node/12/7", "palisade://c-1/node/13/7");
        let good = certificate(&[one]);
        assert_eq!(identity_in(&good), one.parse().ok());
        let longer = [&good[..], &[0]].concat();
        for bad in [
            certificate(&[]),
            certificate(&[one, two]),
            certificate(&[one, "https://c-1/"]),
            certificate(&["palisade://c-1/user/alice/x"]),
            good[..good.len() - 1].to_vec(),
            longer,
            Vec::new(),
        ] {
            assert_eq!(identity_in(&bad), None);
        }
    }
}
