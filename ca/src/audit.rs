//! Signed heads of the audit log: what an auditor keeps, to prove later that nothing before it was changed.

use crate::authority::AuthorityPublic;
use crate::signer::Signer;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use palisade_core::record::AuthorityType;
use ssh_key::PublicKey;

/// No other signature of ours begins like this.
const DOMAIN: &[u8] = b"palisade audit head v1\0";

/// The state of the audit log at one moment, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// How many events the log held.
    pub tree_size: u64,
    /// The Merkle root over them.
    pub root: [u8; 32],
    /// When it was signed, in milliseconds since 1970.
    pub time_ms: u64,
    /// Ed25519 over the fields above and the cluster's id.
    pub signature: [u8; 64],
}

/// Why a head is not signed or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Only the audit authority signs heads.
    #[error("audit heads are signed by the audit authority, not by the {0} authority")]
    WrongAuthority(AuthorityType),
    /// The record of the authority holds no usable key.
    #[error("the audit authority's public key is malformed")]
    PublicKey,
    /// Not signed by this authority for this cluster, or changed since.
    #[error("the signature of the audit head does not verify")]
    Signature,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// Signs the head of the audit log of the signer's cluster.
pub fn sign_head(
    signer: &Signer,
    tree_size: u64,
    root: [u8; 32],
    time_ms: u64,
) -> Result<SignedHead, HeadError> {
    if signer.kind() != AuthorityType::Audit {
        return Err(HeadError::WrongAuthority(signer.kind()));
    }
    let key = signer.ed25519().ok_or(HeadError::PublicKey)?;
    let message = canonical(signer.cluster_id(), tree_size, &root, time_ms);
    let signature = key.try_sign(&message).map_err(|_| HeadError::Crypto)?;
    let signature = signature.as_ref().try_into().map_err(|_| HeadError::Crypto)?;
    Ok(SignedHead {
        tree_size,
        root,
        time_ms,
        signature,
    })
}

/// Verifies a head. Needs public data only, so that it can be done offline.
pub fn verify_head(public: &AuthorityPublic, cluster_id: &str, head: &SignedHead) -> Result<(), HeadError> {
    if public.kind != AuthorityType::Audit {
        return Err(HeadError::WrongAuthority(public.kind));
    }
    let line = public.ssh_public_key.as_deref().ok_or(HeadError::PublicKey)?;
    let key = PublicKey::from_openssh(line).map_err(|_| HeadError::PublicKey)?;
    let key = key.key_data().ed25519().ok_or(HeadError::PublicKey)?;
    UnparsedPublicKey::new(&ED25519, key.0)
        .verify(
            &canonical(cluster_id, head.tree_size, &head.root, head.time_ms),
            &head.signature,
        )
        .map_err(|_| HeadError::Signature)
}

/// domain | length of the cluster id (4) | cluster id | tree size (8) | root (32) | time (8), numbers big-endian
fn canonical(cluster_id: &str, tree_size: u64, root: &[u8; 32], time_ms: u64) -> Vec<u8> {
    let length = u32::try_from(cluster_id.len()).unwrap_or(u32::MAX);
    [
        DOMAIN,
        &length.to_be_bytes(),
        cluster_id.as_bytes(),
        &tree_size.to_be_bytes(),
        root,
        &time_ms.to_be_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_bytes_are_fixed_for_good() {
        let message = canonical("c1", 2, &[3; 32], 4);
        let mut expected = b"palisade audit head v1\0\0\0\0\x02c1\0\0\0\0\0\0\0\x02".to_vec();
        expected.extend([3; 32]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 4]);
        assert_eq!(message, expected);
    }
}
