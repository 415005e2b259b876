//! Certificates of agents: an X.509 identity for the tunnel, told apart from a user's by having no common name.

use super::issue::{IssuedCert, SubjectSpki, Window, X509Error, finish, leaf};
use crate::signer::Signer;
use crate::text;
use palisade_core::name::Name;
use palisade_core::record::AuthorityType;
use rcgen::{DistinguishedName, ExtendedKeyUsagePurpose, SanType};
use std::fmt;
use x509_parser::extensions::GeneralName;

/// Who an agent is: `palisade://<cluster id>/host/<name>/<agent id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AgentIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The host that it serves.
    pub host: Name,
    /// The log index of the entry by which it joined.
    pub agent: u64,
}

/// An agent's certificate to be signed.
#[derive(Debug, Clone)]
pub struct AgentCertRequest {
    /// The key to certify.
    pub public_key: SubjectSpki,
    /// Whose key it is.
    pub identity: AgentIdentity,
    /// Unique in the cluster.
    pub serial: u64,
    /// When it is valid.
    pub window: Window,
}

impl AgentIdentity {
    /// Reads the identity from a certificate that TLS has verified; `None` if it is not that of an agent.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        if !rest.is_empty() || certificate.subject().iter_common_name().next().is_some() {
            return None;
        }
        let names = certificate.subject_alternative_name().ok()??;
        let mut all = names.value.general_names.iter();
        let (Some(GeneralName::URI(uri)), None) = (all.next(), all.next()) else {
            return None;
        };
        let rest = uri.strip_prefix("palisade://")?;
        let (cluster_id, rest) = rest.split_once("/host/")?;
        let (host, agent) = rest.split_once('/')?;
        text::identifier(cluster_id).ok()?;
        let plain = !agent.is_empty() && agent.bytes().all(|b| b.is_ascii_digit()) && !agent.starts_with('0');
        Some(AgentIdentity {
            cluster_id: cluster_id.to_owned(),
            host: Name::parse(host).ok()?,
            agent: plain.then(|| agent.parse().ok()).flatten()?,
        })
    }
}

impl fmt::Display for AgentIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "palisade://{}/host/{}/{}",
            self.cluster_id, self.host, self.agent
        )
    }
}

/// Signs an agent's identity, by the TLS authority.
pub fn sign_agent_cert(signer: &Signer, request: &AgentCertRequest) -> Result<IssuedCert, X509Error> {
    if request.identity.cluster_id != signer.cluster_id() {
        return Err(X509Error::OtherCluster);
    }
    let uri = request.identity.to_string();
    let names = vec![SanType::URI(
        uri.as_str().try_into().map_err(|_| X509Error::Library)?,
    )];
    let params = leaf(
        DistinguishedName::new(),
        names,
        vec![ExtendedKeyUsagePurpose::ClientAuth],
    );
    finish(
        signer,
        AuthorityType::Tls,
        params,
        &request.public_key,
        request.serial,
        request.window,
    )
}
