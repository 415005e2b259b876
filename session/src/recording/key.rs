//! The key of one recording.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::fmt;
use zeroize::Zeroizing;

/// A key that encrypts the chunks of one session, or one file, and nothing else. Whoever keeps it seals it first; deleting the
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

/// Bytes that were not sealed with this key and header, or were changed since.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("damaged: its seal does not open")]
pub struct NotSealed;

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

    /// Encrypts the only thing that this key ever encrypts; `header` is vouched for and stays clear.
    pub fn seal_only(&self, header: &[u8], mut plain: Vec<u8>) -> Result<Vec<u8>, NotSealed> {
        self.aead()
            .seal_in_place_append_tag(nonce(0), Aad::from(header), &mut plain)
            .map_err(|_| NotSealed)?;
        Ok(plain)
    }

    /// Decrypts what [`DataKey::seal_only`] made, with the same header.
    pub fn open_only(&self, header: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotSealed> {
        let mut plain = sealed.to_vec();
        let opened = self.aead().open_in_place(nonce(0), Aad::from(header), &mut plain);
        let size = opened.map_err(|_| NotSealed)?.len();
        plain.truncate(size);
        Ok(plain)
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
    fn what_was_sealed_opens_with_the_same_key_and_header_only() {
        let key = DataKey::from_bytes(&[7; 32]).unwrap();
        let sealed = key.seal_only(b"header", b"plain".to_vec()).unwrap();
        assert_eq!(key.open_only(b"header", &sealed), Ok(b"plain".to_vec()));
        assert_eq!(key.open_only(b"another", &sealed), Err(NotSealed));
        let other = DataKey::from_bytes(&[8; 32]).unwrap();
        assert_eq!(other.open_only(b"header", &sealed), Err(NotSealed));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open_only(b"header", &changed), Err(NotSealed));
            assert_eq!(key.open_only(b"header", &sealed[..at]), Err(NotSealed));
        }
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
