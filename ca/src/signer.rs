//! An authority at work: its private key opened, in memory that is wiped, behind a type that only signs.

use crate::authority::{AuthorityPublic, is_x509, seal_context};
use crate::seal::{Seal, SealError};
use crate::x509;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use palisade_core::record::AuthorityType;
use rcgen::{Issuer, PublicKeyData, SigningKey};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use ssh_key::public::{Ed25519PublicKey, KeyData};
use std::fmt;

/// The opened private key of one authority. Cannot be cloned, printed or turned back into bytes; the key itself lives
/// in the cryptographic library, which wipes it.
pub struct Signer {
    public: AuthorityPublic,
    cluster_id: String,
    key: Key,
}

enum Key {
    Ed25519(Ed25519KeyPair),
    // Boxed: an issuer is many times the size of the other.
    X509(Box<Issuer<'static, P256Key>>),
}

/// Why an authority could not be put to work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The private key did not open.
    #[error("the private key of the {kind} authority does not open")]
    Seal {
        /// Which authority.
        kind: AuthorityType,
        /// The cause.
        #[source]
        source: SealError,
    },
    /// The record is of another kind of authority.
    #[error("asked for the {asked} authority, the record is of the {found} authority")]
    OtherKind {
        /// Kind asked for.
        asked: AuthorityType,
        /// Kind of the record.
        found: AuthorityType,
    },
    /// The public half does not belong to the private half.
    #[error("the public and the private half of the {0} authority do not belong together")]
    Mismatch(AuthorityType),
    /// What was sealed is no private key.
    #[error("the sealed private key of the {0} authority is malformed")]
    Malformed(AuthorityType),
}

impl Signer {
    /// Opens the private key of an authority.
    pub fn open(
        kind: AuthorityType,
        cluster_id: &str,
        sealed_private: &[u8],
        public: &AuthorityPublic,
        seal: &dyn Seal,
    ) -> Result<Self, OpenError> {
        if public.kind != kind {
            return Err(OpenError::OtherKind {
                asked: kind,
                found: public.kind,
            });
        }
        let context = seal_context(cluster_id, kind, &public.pin);
        let private = seal
            .open(context.as_str(), sealed_private)
            .map_err(|source| OpenError::Seal { kind, source })?;
        let key = if is_x509(kind) {
            let key = P256Key::open(&private).ok_or(OpenError::Malformed(kind))?;
            let pem = public
                .certificate_pem
                .as_deref()
                .ok_or(OpenError::Mismatch(kind))?;
            let certificate =
                CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| OpenError::Mismatch(kind))?;
            let pin = x509::pin_of_certificate(&certificate).map_err(|_| OpenError::Mismatch(kind))?;
            if pin != public.pin || pin != x509::pin_of_spki(&key.subject_public_key_info()) {
                return Err(OpenError::Mismatch(kind));
            }
            let issuer =
                Issuer::from_ca_cert_der(&certificate, key).map_err(|_| OpenError::Mismatch(kind))?;
            Key::X509(Box::new(issuer))
        } else {
            let key = open_ed25519(&private).ok_or(OpenError::Malformed(kind))?;
            let line = public
                .ssh_public_key
                .as_deref()
                .ok_or(OpenError::Mismatch(kind))?;
            let line = ssh_key::PublicKey::from_openssh(line).map_err(|_| OpenError::Mismatch(kind))?;
            let ours = key.public_key().as_ref();
            let same = line
                .key_data()
                .ed25519()
                .is_some_and(|theirs| theirs.as_ref() == ours);
            if !same || public.pin != x509::pin_of_spki(&ed25519_spki(ours)) {
                return Err(OpenError::Mismatch(kind));
            }
            Key::Ed25519(key)
        };
        Ok(Self {
            public: public.clone(),
            cluster_id: cluster_id.to_owned(),
            key,
        })
    }

    /// What this authority vouches for.
    pub fn kind(&self) -> AuthorityType {
        self.public.kind
    }

    /// The public half.
    pub fn public(&self) -> &AuthorityPublic {
        &self.public
    }

    /// The cluster this authority belongs to.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub(crate) fn ed25519(&self) -> Option<&Ed25519KeyPair> {
        match &self.key {
            Key::Ed25519(key) => Some(key),
            Key::X509(_) => None,
        }
    }

    pub(crate) fn issuer(&self) -> Option<&Issuer<'static, P256Key>> {
        match &self.key {
            Key::X509(issuer) => Some(issuer),
            Key::Ed25519(_) => None,
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("kind", &self.public.kind)
            .field("pin", &self.public.pin)
            .finish_non_exhaustive()
    }
}

/// Signs SSH certificates with a key held by the cryptographic library.
pub(crate) struct SshSigner<'a>(pub(crate) &'a Ed25519KeyPair);

impl signature::Signer<ssh_key::Signature> for SshSigner<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<ssh_key::Signature, signature::Error> {
        let signature = self.0.try_sign(message).map_err(|_| signature::Error::new())?;
        ssh_key::Signature::new(ssh_key::Algorithm::Ed25519, signature.as_ref())
            .map_err(signature::Error::from_source)
    }
}

impl From<&SshSigner<'_>> for KeyData {
    fn from(signer: &SshSigner<'_>) -> Self {
        let bytes: [u8; 32] = signer
            .0
            .public_key()
            .as_ref()
            .try_into()
            .expect("an Ed25519 public key has 32 bytes");
        Self::Ed25519(Ed25519PublicKey(bytes))
    }
}

/// A P-256 key as the certificate library wants it, without the copy of the private key that its own type keeps.
pub(crate) struct P256Key(EcdsaKeyPair);

impl P256Key {
    pub(crate) fn open(pkcs8: &[u8]) -> Option<Self> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)
            .ok()
            .map(Self)
    }
}

impl PublicKeyData for P256Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for P256Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}

struct RawPublic<'a>(&'a [u8], &'static rcgen::SignatureAlgorithm);

impl PublicKeyData for RawPublic<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.1
    }
}

pub(crate) fn open_ed25519(pkcs8: &[u8]) -> Option<Ed25519KeyPair> {
    // The "maybe unchecked" form takes version 1 documents, which carry no public half to compare with; the caller
    // compares with the record.
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()
}

pub(crate) fn ed25519_spki(public: &[u8]) -> Vec<u8> {
    RawPublic(public, &rcgen::PKCS_ED25519).subject_public_key_info()
}

pub(crate) fn p256_spki(pair: &EcdsaKeyPair) -> Vec<u8> {
    RawPublic(pair.public_key().as_ref(), &rcgen::PKCS_ECDSA_P256_SHA256).subject_public_key_info()
}
