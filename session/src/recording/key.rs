//! The key of one recording.

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::fmt;
use zeroize::Zeroizing;

/// A key that encrypts the chunks of one session and nothing else. Whoever keeps it seals it first; deleting the
/// sealed key deletes the recording. Does not print, does not clone, wipes itself.
pub struct DataKey(Zeroizing<[u8; 32]>);

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataKeyError {
    /// The system gave no randomness.
    #[error("the system gave no randomness for a recording's key")]
    Random,
    /// Not the size of a key.
    #[error("a recording's key has 32 bytes, not {0}")]
    Size(usize),
}

impl DataKey {
    /// A key for a new session.
    pub fn generate() -> Result<Self, DataKeyError> {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(key.as_mut())
            .map_err(|_| DataKeyError::Random)?;
        Ok(Self(key))
    }

    /// A key that was kept.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DataKeyError> {
        if bytes.len() != 32 {
            return Err(DataKeyError::Size(bytes.len()));
        }
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// The key itself, for sealing.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn aead(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, self.0.as_ref()).expect("AES-256 takes any 32 bytes");
        LessSafeKey::new(key)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey { .. }")
    }
}

/// Unique because a key writes one session and a session uses each number once.
pub(super) fn nonce(seq: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&seq.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_key_bytes() {
        assert_eq!(
            format!("{:?}", DataKey::from_bytes(&[7; 32]).unwrap()),
            "DataKey { .. }"
        );
    }

    #[test]
    fn wrong_sizes_are_refused() {
        for size in [0, 31, 33] {
            assert_eq!(
                DataKey::from_bytes(&vec![0; size]).unwrap_err(),
                DataKeyError::Size(size)
            );
        }
    }
}
