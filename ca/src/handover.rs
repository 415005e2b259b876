//! Handing the cluster key to a node that joins: sealed to a key the joiner made for this one reply.
//!
//! Who may join (token, pin) is decided elsewhere; this only makes sure that nobody but the joiner reads the reply,
//! not even one who later learns every long-lived key.

use crate::cluster_key::{ClusterKey, KEY_BYTES, aead_key, derive};
use aws_lc_rs::aead::{Aad, Nonce};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const PUBLIC_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const WRAPPED_BYTES: usize = 1 + PUBLIC_BYTES + KEY_BYTES + TAG_BYTES;

/// Why a cluster key could not be handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandoverError {
    /// Not an X25519 public key, or one that gives no secret.
    #[error("the other side's public key is not usable")]
    PublicKey,
    /// Not a wrapped cluster key.
    #[error("the wrapped cluster key has the wrong size")]
    WrongSize,
    /// Written by a newer release.
    #[error("wrapped key format {0} is unknown to this release")]
    UnknownVersion(u8),
    /// Damaged, or made for another joiner or another join.
    #[error("the wrapped cluster key is damaged or was not made for this join")]
    Refused,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// The joiner's half: made for one join, used up by [`JoinerKey::unwrap`].
pub struct JoinerKey {
    private: EphemeralPrivateKey,
    public: [u8; PUBLIC_BYTES],
}

impl JoinerKey {
    /// A key for one join.
    pub fn generate() -> Result<Self, HandoverError> {
        let (private, public) = ephemeral()?;
        Ok(Self { private, public })
    }

    /// What goes into the join request.
    pub fn public_key(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }

    /// Opens the reply. `context` must be what the other side named: cluster id and node id of this join.
    pub fn unwrap(self, wrapped: &[u8], context: &str) -> Result<ClusterKey, HandoverError> {
        let version = *wrapped.first().ok_or(HandoverError::WrongSize)?;
        if version != VERSION {
            return Err(HandoverError::UnknownVersion(version));
        }
        if wrapped.len() != WRAPPED_BYTES {
            return Err(HandoverError::WrongSize);
        }
        let (theirs, body) = wrapped[1..].split_at(PUBLIC_BYTES);
        let key = agree(self.private, theirs, theirs, &self.public, context)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let root = aead_key(&key)
            .ok_or(HandoverError::Crypto)?
            .open_in_place(nonce(), Aad::from([VERSION]), &mut plain)
            .map_err(|_| HandoverError::Refused)?;
        let mut held = Zeroizing::new([0; KEY_BYTES]);
        held.copy_from_slice(root);
        Ok(ClusterKey::from_root(held))
    }
}

impl std::fmt::Debug for JoinerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinerKey { .. }")
    }
}

impl ClusterKey {
    /// Wraps this key for the joiner whose request carried `joiner_public`. `context` names the join: cluster id and
    /// node id.
    pub fn wrap_for(&self, joiner_public: &[u8], context: &str) -> Result<Vec<u8>, HandoverError> {
        if joiner_public.len() != PUBLIC_BYTES {
            return Err(HandoverError::PublicKey);
        }
        let (private, public) = ephemeral()?;
        let key = agree(private, joiner_public, &public, joiner_public, context)?;
        let mut body = Zeroizing::new(self.root().to_vec());
        let tag = aead_key(&key)
            .ok_or(HandoverError::Crypto)?
            .seal_in_place_separate_tag(nonce(), Aad::from([VERSION]), &mut body)
            .map_err(|_| HandoverError::Crypto)?;
        Ok([&[VERSION], &public[..], &body, tag.as_ref()].concat())
    }
}

fn ephemeral() -> Result<(EphemeralPrivateKey, [u8; PUBLIC_BYTES]), HandoverError> {
    let private =
        EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| HandoverError::Crypto)?;
    let public = private.compute_public_key().map_err(|_| HandoverError::Crypto)?;
    let public = public.as_ref().try_into().map_err(|_| HandoverError::Crypto)?;
    Ok((private, public))
}

/// Both sides derive from the shared secret and from everything that was said.
fn agree(
    mine: EphemeralPrivateKey,
    theirs: &[u8],
    giver: &[u8],
    joiner: &[u8],
    context: &str,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, HandoverError> {
    agree_ephemeral(
        mine,
        UnparsedPublicKey::new(&X25519, theirs),
        HandoverError::PublicKey,
        |shared| {
            Ok(derive(
                shared,
                b"palisade join v1",
                &[giver, joiner, context.as_bytes()],
            ))
        },
    )
}

/// Each wrapping key is fresh and seals one message, so the nonce may be fixed.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_joiner_ends_with_the_same_key() {
        let key = ClusterKey::generate().unwrap();
        let joiner = JoinerKey::generate().unwrap();
        let wrapped = key.wrap_for(joiner.public_key(), "c/2").unwrap();
        assert_eq!(joiner.unwrap(&wrapped, "c/2").unwrap().id(), key.id());
    }

    #[test]
    fn another_joiner_another_context_and_every_flipped_bit_are_refused() {
        let key = ClusterKey::generate().unwrap();
        // Opening uses the joiner's key up, so each try needs its own.
        let wrapped = |joiner: &JoinerKey| key.wrap_for(joiner.public_key(), "c/2").unwrap();
        let bits = {
            let joiner = JoinerKey::generate().unwrap();
            wrapped(&joiner).len() * 8
        };
        for bit in 0..bits {
            let joiner = JoinerKey::generate().unwrap();
            let mut bad = wrapped(&joiner);
            bad[bit / 8] ^= 1 << (bit % 8);
            // X25519 ignores the top bit of a public key; the derivation does not.
            assert!(joiner.unwrap(&bad, "c/2").is_err(), "bit {bit}");
        }
        let joiner = JoinerKey::generate().unwrap();
        let reply = wrapped(&joiner);
        assert_eq!(
            JoinerKey::generate().unwrap().unwrap(&reply, "c/2").unwrap_err(),
            HandoverError::Refused
        );
        assert_eq!(joiner.unwrap(&reply, "c/3").unwrap_err(), HandoverError::Refused);
    }

    #[test]
    fn hostile_public_keys_and_replies_are_refused() {
        let key = ClusterKey::generate().unwrap();
        assert_eq!(
            key.wrap_for(&[0; 32], "c").unwrap_err(),
            HandoverError::PublicKey,
            "low order point"
        );
        assert_eq!(key.wrap_for(&[9; 31], "c").unwrap_err(), HandoverError::PublicKey);
        assert_eq!(
            JoinerKey::generate().unwrap().unwrap(&[], "c").unwrap_err(),
            HandoverError::WrongSize
        );
        assert_eq!(
            JoinerKey::generate().unwrap().unwrap(&[1; 9], "c").unwrap_err(),
            HandoverError::WrongSize
        );
        let refused = JoinerKey::generate().unwrap().unwrap(&[2; 81], "c").unwrap_err();
        assert_eq!(refused, HandoverError::UnknownVersion(2));
    }
}
