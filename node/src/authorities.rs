//! The cluster's authorities, opened on this node: their private keys come sealed out of the state, and leave this
//! module only as [`Signer`]s, which sign and do nothing else.

use palisade_ca::{AuthorityPublic, ClusterKey, Signer};
use palisade_core::kv::{Kv, KvFault};
use palisade_core::name::Name;
use palisade_core::record::{AuthorityType, CertAuthoritySpec};
use palisade_core::state;

/// An authority cannot be used on this node.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityFault {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] KvFault),
    /// It is not there: the cluster is not initialised, or this node has not caught up.
    #[error("there is no {0} authority on this node yet")]
    Missing(&'static str),
    /// Its private key does not open under this node's cluster key.
    #[error("the {0} authority does not open: {1}")]
    Sealed(&'static str, palisade_ca::OpenError),
}

/// The public half of an authority.
pub fn public(kv: &dyn Kv, authority: AuthorityType) -> Result<CertAuthoritySpec, AuthorityFault> {
    let word = authority.as_str();
    let name = Name::parse(word).map_err(|_| AuthorityFault::Missing(word))?;
    Ok(state::record::<CertAuthoritySpec>(kv, &name)?
        .ok_or(AuthorityFault::Missing(word))?
        .spec)
}

/// Opens an authority for signing.
pub fn open(kv: &dyn Kv, authority: AuthorityType, key: &ClusterKey) -> Result<Signer, AuthorityFault> {
    let word = authority.as_str();
    let spec = public(kv, authority)?;
    let cluster = state::cluster(kv)?.ok_or(AuthorityFault::Missing(word))?;
    let sealed = state::sealed_authority(kv, authority)?.ok_or(AuthorityFault::Missing(word))?;
    Signer::open(
        ca_type(authority),
        cluster.id.as_str(),
        &sealed.0,
        &ca_public(&spec),
        key,
    )
    .map_err(|e| AuthorityFault::Sealed(word, e))
}

/// The record's form of a new authority's public half.
pub fn spec_of(
    public: &AuthorityPublic,
    authority: AuthorityType,
    created: palisade_core::time::Timestamp,
) -> CertAuthoritySpec {
    CertAuthoritySpec {
        authority,
        ssh_public_key: public.ssh_public_key.clone(),
        certificate: public.certificate_pem.clone(),
        pin: public.pin.clone(),
        created,
    }
}

fn ca_public(spec: &CertAuthoritySpec) -> AuthorityPublic {
    AuthorityPublic {
        kind: ca_type(spec.authority),
        ssh_public_key: spec.ssh_public_key.clone(),
        certificate_pem: spec.certificate.clone(),
        pin: spec.pin.clone(),
    }
}

/// The `ca` room's word for an authority.
pub fn ca_type(authority: AuthorityType) -> palisade_ca::AuthorityType {
    match authority {
        AuthorityType::User => palisade_ca::AuthorityType::User,
        AuthorityType::Host => palisade_ca::AuthorityType::Host,
        AuthorityType::Tls => palisade_ca::AuthorityType::Tls,
        AuthorityType::Peer => palisade_ca::AuthorityType::Peer,
        AuthorityType::Audit => palisade_ca::AuthorityType::Audit,
    }
}
