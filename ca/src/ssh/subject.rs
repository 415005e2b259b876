//! Public keys that may be certified.

use ssh_key::public::KeyData;
use ssh_key::{Fingerprint, HashAlg, PublicKey};

const LINE_BYTES_MAX: usize = 16 * 1024;
const RSA_BITS_MIN: usize = 3072;
const RSA_BITS_MAX: usize = 16384;

/// A public key that is strong enough and is a key: a value of this type may be certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectKey(PublicKey);

/// Why a public key is not certified, nor accepted in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubjectKeyError {
    /// Longer than any key.
    #[error("the public key line is longer than 16 KiB")]
    TooLong,
    /// Not one line of an OpenSSH public key.
    #[error("not an OpenSSH public key line")]
    Malformed,
    /// A certificate where a key is expected.
    #[error("this is a certificate, a plain public key is needed")]
    Certificate,
    /// DSA, in any size.
    #[error("DSA keys are not accepted: make a new key with `ssh-keygen -t ed25519`")]
    Dsa,
    /// RSA below 3072 bits.
    #[error(
        "RSA keys under {RSA_BITS_MIN} bits are not accepted (this one has {bits}): `ssh-keygen -t ed25519`"
    )]
    RsaTooShort {
        /// Size of this one.
        bits: usize,
    },
    /// RSA with a nonsensical size or exponent.
    #[error("the RSA key has a size or exponent that no sound key has")]
    RsaUnsound,
    /// An algorithm we do not know.
    #[error("the key's algorithm is not supported: `ssh-keygen -t ed25519`")]
    Algorithm,
}

impl SubjectKey {
    /// Parses an OpenSSH public key line.
    pub fn parse(line: &str) -> Result<Self, SubjectKeyError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(SubjectKeyError::TooLong);
        }
        let line = line.trim();
        if line.chars().any(char::is_control) {
            return Err(SubjectKeyError::Malformed);
        }
        if line
            .split(' ')
            .next()
            .is_some_and(|name| name.ends_with("-cert-v01@openssh.com"))
        {
            return Err(SubjectKeyError::Certificate);
        }
        let key = PublicKey::from_openssh(line).map_err(|e| match e {
            ssh_key::Error::AlgorithmUnknown => SubjectKeyError::Algorithm,
            _ => SubjectKeyError::Malformed,
        })?;
        Self::from_public_key(&key)
    }

    /// Takes a key that is already parsed. The comment is dropped: it is the caller's text, not ours to vouch for.
    pub fn from_public_key(key: &PublicKey) -> Result<Self, SubjectKeyError> {
        check_key(key.key_data())?;
        Ok(Self(PublicKey::new(key.key_data().clone(), "")))
    }

    /// The key.
    pub fn public_key(&self) -> &PublicKey {
        &self.0
    }

    /// `SHA256:...`, as OpenSSH shows it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint(HashAlg::Sha256)
    }
}

/// The rule for every key, the certified one and the one that certifies.
pub(crate) fn check_key(key: &KeyData) -> Result<(), SubjectKeyError> {
    match key {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) | KeyData::SkEcdsaSha2NistP256(_) | KeyData::SkEd25519(_) => {
            Ok(())
        }
        KeyData::Rsa(rsa) => {
            let modulus = rsa.n().as_positive_bytes().ok_or(SubjectKeyError::RsaUnsound)?;
            let exponent = rsa.e().as_positive_bytes().ok_or(SubjectKeyError::RsaUnsound)?;
            // Counted here: the library rounds up to whole bytes.
            let bits = modulus.len() * 8 - modulus.first().map_or(0, |b| b.leading_zeros() as usize);
            if bits < RSA_BITS_MIN {
                return Err(SubjectKeyError::RsaTooShort { bits });
            }
            let odd = |n: &[u8]| n.last().is_some_and(|b| b & 1 == 1);
            if bits > RSA_BITS_MAX || !odd(modulus) || !odd(exponent) || exponent == [1] || exponent.len() > 8
            {
                return Err(SubjectKeyError::RsaUnsound);
            }
            Ok(())
        }
        KeyData::Dsa(_) => Err(SubjectKeyError::Dsa),
        KeyData::Certificate(_) => Err(SubjectKeyError::Certificate),
        // Opaque keys, and whatever a later version of the library adds.
        _ => Err(SubjectKeyError::Algorithm),
    }
}
