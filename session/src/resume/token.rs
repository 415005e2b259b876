//! Who may go on with a connection: whoever holds the secret that both ends agreed on when it began.
//!
//! The secret comes of X25519 (RFC 7748) and HKDF-SHA256 (RFC 5869). A resumption carries HMAC-SHA256 over the
//! connection, the number of the attempt and the offset, so that no part of it can be changed or used again by the
//! nodes between the two ends.

use super::Error;
use aws_lc_rs::{agreement, constant_time, hkdf, hmac, rand};
use std::fmt;
use zeroize::Zeroizing;

/// Length of a token, in bytes.
pub(crate) const TOKEN_LEN: usize = 32;

/// The name of a connection: 16 random bytes, drawn by the client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// Draws one.
    ///
    /// # Errors
    /// [`Error::Crypto`] if the system has no randomness.
    pub fn random() -> Result<Self, Error> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| Error::Crypto)?;
        Ok(Id(id))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One end's half of the key agreement, for one use.
pub(crate) struct Ephemeral {
    private: agreement::EphemeralPrivateKey,
    public: [u8; 32],
}

impl Ephemeral {
    /// Draws one.
    ///
    /// # Errors
    /// [`Error::Crypto`] if the system has no randomness.
    pub(crate) fn random() -> Result<Self, Error> {
        let private =
            agreement::EphemeralPrivateKey::generate(&agreement::X25519, &rand::SystemRandom::new())
                .map_err(|_| Error::Crypto)?;
        let public = private.compute_public_key().map_err(|_| Error::Crypto)?;
        let public = public.as_ref().try_into().map_err(|_| Error::Crypto)?;
        Ok(Ephemeral { private, public })
    }

    /// What the other end is told.
    pub(crate) fn public(&self) -> [u8; 32] {
        self.public
    }
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ephemeral")
    }
}

/// Which end made a token: an end does not accept its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Agent,
}

/// What the two ends share.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

impl Secret {
    /// Agrees on the secret of connection `id`. Both ends get the same from each other's public half.
    pub(crate) fn agree(side: Side, own: Ephemeral, peer: &[u8; 32], id: Id) -> Result<Self, Error> {
        let (client, agent) = match side {
            Side::Client => (own.public, *peer),
            Side::Agent => (*peer, own.public),
        };
        let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, peer);
        agreement::agree_ephemeral(own.private, peer, Error::Key, |shared| {
            let mut secret = Zeroizing::new([0; 32]);
            hkdf::Salt::new(hkdf::HKDF_SHA256, b"palisade resumable stream 1")
                .extract(shared)
                .expand(&[&id.0, &client, &agent], Length)
                .and_then(|okm| okm.fill(&mut secret[..]))
                .map_err(|_| Error::Crypto)?;
            Ok(Secret(secret))
        })
    }

    /// The token for an attempt.
    pub(crate) fn token(&self, side: Side, id: Id, attempt: u64, offset: u64) -> [u8; TOKEN_LEN] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]);
        let mut message = [0u8; 1 + 16 + 8 + 8];
        message[0] = match side {
            Side::Client => 1,
            Side::Agent => 2,
        };
        message[1..17].copy_from_slice(&id.0);
        message[17..25].copy_from_slice(&attempt.to_be_bytes());
        message[25..].copy_from_slice(&offset.to_be_bytes());
        let mut token = [0; TOKEN_LEN];
        token.copy_from_slice(hmac::sign(&key, &message).as_ref());
        token
    }

    /// Whether a token is that of the other end, without telling by time how much of it is right.
    pub(crate) fn proves(
        &self,
        side: Side,
        id: Id,
        attempt: u64,
        offset: u64,
        token: &[u8; TOKEN_LEN],
    ) -> bool {
        constant_time::verify_slices_are_equal(&self.token(side, id, attempt, offset), token).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: Id) -> (Secret, Secret) {
        let (a, b) = (Ephemeral::random().unwrap(), Ephemeral::random().unwrap());
        let (pa, pb) = (a.public(), b.public());
        (
            Secret::agree(Side::Client, a, &pb, id).unwrap(),
            Secret::agree(Side::Agent, b, &pa, id).unwrap(),
        )
    }

    #[test]
    fn a_token_proves_its_own_attempt_and_nothing_else() {
        let id = Id([7; 16]);
        let (client, agent) = pair(id);
        let token = client.token(Side::Client, id, 1, 500);
        assert!(agent.proves(Side::Client, id, 1, 500, &token));
        assert!(!agent.proves(Side::Client, id, 2, 500, &token));
        assert!(!agent.proves(Side::Client, id, 1, 501, &token));
        assert!(!agent.proves(Side::Agent, id, 1, 500, &token));
        assert!(!agent.proves(Side::Client, Id([8; 16]), 1, 500, &token));
        let (_, stranger) = pair(id);
        assert!(!stranger.proves(Side::Client, id, 1, 500, &token));
    }

    #[test]
    fn a_public_half_without_entropy_is_refused() {
        let own = Ephemeral::random().unwrap();
        assert!(matches!(
            Secret::agree(Side::Agent, own, &[0; 32], Id([1; 16])),
            Err(Error::Key)
        ));
    }

    #[test]
    fn secrets_do_not_print() {
        let (client, _) = pair(Id([1; 16]));
        assert_eq!(format!("{client:?}"), "Secret");
    }
}
