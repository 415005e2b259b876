//! Sealing: how a secret is stored where others may read the bytes.
//!
//! The trait is what the rest of the product sees. Today the cluster key in a file implements it; a passphrase,
//! a systemd credential or a PKCS#11 token can do so later without a change elsewhere.

use zeroize::Zeroizing;

/// Seals small secrets for storage in the log, a snapshot or a backup.
///
/// `context` says which object the secret belongs to. It is not stored: whoever opens must name the same object,
/// so a ciphertext that was moved to another object, version or cluster does not open.
pub trait Seal: Send + Sync {
    /// Encrypts `plain` for the object named by `context`.
    fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealError>;
    /// Decrypts what [`Seal::seal`] made for the same `context`.
    fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError>;
}

/// Why sealing or opening failed. Says nothing about the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// An empty context would let ciphertexts be swapped.
    #[error("a sealed object must be named: the context is empty")]
    NoContext,
    /// The secret is larger than anything we seal.
    #[error("{size} bytes are too many to seal (at most {max})")]
    TooLarge {
        /// Size asked for.
        size: usize,
        /// Size allowed.
        max: usize,
    },
    /// Shorter than its own header.
    #[error("the sealed bytes are truncated")]
    Truncated,
    /// Written by a newer release.
    #[error("sealed format {0} is unknown to this release")]
    UnknownVersion(u8),
    /// Sealed under another cluster key.
    #[error("sealed under key {found}, this node holds key {held}")]
    OtherKey {
        /// Id of the key in the header.
        found: String,
        /// Id of the key we hold.
        held: String,
    },
    /// Damaged, or of another object.
    #[error("the sealed bytes are damaged or belong to another object")]
    Refused,
    /// The cryptographic library failed, for instance for lack of randomness.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// The name of a sealed object: its path, its version and its cluster, joined so that no two objects share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealContext(String);

impl SealContext {
    /// Names the object at `path` (`cert_authority/user/...`) in `version` of its form, in cluster `cluster_id`.
    pub fn new(cluster_id: &str, path: &str, version: u32) -> Self {
        // Lengths first: without them `a` + `bc` and `ab` + `c` would be one name.
        Self(format!(
            "palisade/{}:{cluster_id}/{}:{path}/v{version}",
            cluster_id.len(),
            path.len()
        ))
    }

    /// The text given to [`Seal`].
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_of_different_objects_differ() {
        assert_ne!(SealContext::new("a", "bc", 1), SealContext::new("ab", "c", 1));
        assert_ne!(SealContext::new("a", "b", 1), SealContext::new("a", "b", 2));
    }
}
