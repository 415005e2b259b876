//! Certificates between nodes: the identity in them, written and read.

use super::issue::{IssuedCert, SubjectSpki, Window, X509Error, finish, leaf};
use crate::signer::Signer;
use crate::text;
use palisade_core::record::AuthorityType;
use rcgen::{DistinguishedName, DnType, ExtendedKeyUsagePurpose, SanType};
use std::fmt;
use std::str::FromStr;
use x509_parser::extensions::GeneralName;

/// Who a node is to its peers: `palisade://<cluster id>/node/<node id>/<incarnation>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The node's id, from 1.
    pub node_id: u64,
    /// Which life of the cluster: raised by a disaster restore, so that nodes of the old life are refused.
    pub incarnation: u64,
}

/// A peer certificate to be signed.
#[derive(Debug, Clone)]
pub struct PeerCertRequest {
    /// The key to certify.
    pub public_key: SubjectSpki,
    /// Whose key it is.
    pub identity: PeerIdentity,
    /// Unique in the cluster.
    pub serial: u64,
    /// When it is valid.
    pub window: Window,
}

/// Why a certificate is not that of a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerIdentityError {
    /// What was presented is no certificate.
    #[error("not a DER certificate")]
    MalformedCertificate,
    /// None, or several: which one would count?
    #[error("the certificate does not carry exactly one node identity")]
    NotOne,
    /// Not of the form that we write.
    #[error("the node identity is malformed")]
    Malformed,
}

impl PeerIdentity {
    /// The name under which a node verifies this peer's TLS certificate.
    pub fn tls_name(&self) -> String {
        format!("node-{}.palisade.internal", self.node_id)
    }

    /// Reads the identity from a certificate. TLS has verified the certificate against the peer authority; this only
    /// reads it.
    pub fn from_certificate(der: &[u8]) -> Result<Self, PeerIdentityError> {
        let (rest, certificate) =
            x509_parser::parse_x509_certificate(der).map_err(|_| PeerIdentityError::MalformedCertificate)?;
        if !rest.is_empty() {
            return Err(PeerIdentityError::MalformedCertificate);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| PeerIdentityError::MalformedCertificate)?
            .ok_or(PeerIdentityError::NotOne)?;
        let mut uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err(PeerIdentityError::NotOne);
        };
        uri.parse()
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "palisade://{}/node/{}/{}",
            self.cluster_id, self.node_id, self.incarnation
        )
    }
}

impl FromStr for PeerIdentity {
    type Err = PeerIdentityError;

    fn from_str(uri: &str) -> Result<Self, PeerIdentityError> {
        let malformed = PeerIdentityError::Malformed;
        let rest = uri.strip_prefix("palisade://").ok_or(malformed.clone())?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [cluster_id, "node", node_id, incarnation] = parts[..] else {
            return Err(malformed);
        };
        let number = |text: &str| text.parse().map_err(|_| PeerIdentityError::Malformed);
        let identity = Self {
            cluster_id: cluster_id.to_owned(),
            node_id: number(node_id)?,
            incarnation: number(incarnation)?,
        };
        // One spelling only: no `+1`, no `01`.
        if identity.node_id == 0 || text::identifier(cluster_id).is_err() || identity.to_string() != uri {
            return Err(malformed);
        }
        Ok(identity)
    }
}

/// Signs the certificate that one node shows to the others.
pub fn sign_peer_cert(signer: &Signer, request: &PeerCertRequest) -> Result<IssuedCert, X509Error> {
    let identity = &request.identity;
    text::identifier(&identity.cluster_id).map_err(X509Error::ClusterId)?;
    if identity.node_id == 0 {
        return Err(X509Error::NodeId);
    }
    if identity.cluster_id != signer.cluster_id() {
        return Err(X509Error::OtherCluster);
    }
    let ia5 = |text: String| text.try_into().map_err(|_| X509Error::Library);
    let names = vec![
        SanType::URI(ia5(identity.to_string())?),
        SanType::DnsName(ia5(identity.tls_name())?),
    ];
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("node-{}", identity.node_id));
    let usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let params = leaf(name, names, usages);
    finish(
        signer,
        AuthorityType::Peer,
        params,
        &request.public_key,
        request.serial,
        request.window,
    )
}
