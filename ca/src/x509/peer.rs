//! Certificates between nodes.

use super::issue::{IssuedCert, SubjectSpki, Window, X509Error, finish, leaf};
use crate::signer::Signer;
use crate::text;
use palisade_core::peer::PeerIdentity;
use palisade_core::record::AuthorityType;
use rcgen::{DistinguishedName, DnType, ExtendedKeyUsagePurpose, SanType};

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
        SanType::DnsName(ia5(format!("node-{}.palisade.internal", identity.node_id))?),
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
