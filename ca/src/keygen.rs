//! Fresh keys for the caller's own use: a node's TLS key, the key of one connection to a host.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use std::fmt;
use zeroize::Zeroizing;

/// Why no key could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeygenError {
    /// The cryptographic library failed, for instance for lack of randomness.
    #[error("the cryptographic library made no key")]
    Crypto,
}

/// A P-256 key for TLS, with the public half in the form a certificate request takes.
pub struct TlsKey {
    /// The private key as PKCS#8 PEM. Wipes itself.
    pub private_pem: Zeroizing<String>,
    /// The public key as DER SubjectPublicKeyInfo.
    pub spki_der: Vec<u8>,
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey { .. }")
    }
}

/// A new P-256 key for TLS.
pub fn generate_tls_key() -> Result<TlsKey, KeygenError> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map_err(|_| KeygenError::Crypto)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref())
        .map_err(|_| KeygenError::Crypto)?;
    let spki_der = crate::signer::p256_spki(&pair);
    Ok(TlsKey {
        private_pem: pem("PRIVATE KEY", document.as_ref()),
        spki_der,
    })
}

/// A new Ed25519 key for SSH, from the system's randomness.
pub fn generate_ssh_key() -> Result<ssh_key::PrivateKey, KeygenError> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemRandom::new()
        .fill(seed.as_mut())
        .map_err(|_| KeygenError::Crypto)?;
    ssh_key::PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "")
        .map_err(|_| KeygenError::Crypto)
}

/// PEM with the text in wiped memory only.
fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Reserved whole: growing would leave unwiped copies behind.
    let mut out = Zeroizing::new(String::with_capacity(der.len() * 2 + 2 * label.len() + 64));
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for digit in 0..4 {
                if digit <= three.len() {
                    out.push(char::from(ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize]));
                } else {
                    out.push('=');
                }
            }
        }
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tls_key_is_pem_that_others_read() {
        let key = generate_tls_key().unwrap();
        let pair = rcgen::KeyPair::from_pem(&key.private_pem).unwrap();
        use rcgen::PublicKeyData as _;
        assert_eq!(pair.subject_public_key_info(), key.spki_der);
        assert_eq!(format!("{key:?}"), "TlsKey { .. }");
    }

    #[test]
    fn pem_agrees_with_a_known_answer_at_every_remainder() {
        assert_eq!(*pem("X", b"a"), "-----BEGIN X-----\nYQ==\n-----END X-----\n");
        assert_eq!(*pem("X", b"ab"), "-----BEGIN X-----\nYWI=\n-----END X-----\n");
        assert_eq!(*pem("X", b"abc"), "-----BEGIN X-----\nYWJj\n-----END X-----\n");
    }

    #[test]
    fn ssh_keys_differ_and_do_not_print() {
        let (one, two) = (generate_ssh_key().unwrap(), generate_ssh_key().unwrap());
        assert_ne!(one.public_key(), two.public_key());
        assert!(!format!("{one:?}").contains("private: Ed25519PrivateKey("));
    }
}
