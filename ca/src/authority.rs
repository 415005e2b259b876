//! The authorities of a cluster and how they come into being: made once, at first start, and sealed at birth.

use crate::hex;
use crate::seal::{Seal, SealContext, SealError};
use crate::signer::{self, P256Key};
use crate::text::{self, TextError};
use crate::x509;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use palisade_core::record::{AuthorityType, CertAuthoritySpec};
use palisade_core::time::Timestamp;
use rcgen::PublicKeyData as _;
use ssh_key::public::{Ed25519PublicKey, KeyData};

/// Whether an authority is an X.509 one; the others hold an Ed25519 key.
pub(crate) fn is_x509(kind: AuthorityType) -> bool {
    match kind {
        AuthorityType::Tls | AuthorityType::Peer => true,
        AuthorityType::User | AuthorityType::Host | AuthorityType::Audit => false,
    }
}

/// The half of an authority that everybody may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityPublic {
    /// What it vouches for.
    pub kind: AuthorityType,
    /// The public key as an OpenSSH line; user, host and audit authorities.
    pub ssh_public_key: Option<String>,
    /// The self-signed certificate; TLS and peer authorities.
    pub certificate_pem: Option<String>,
    /// `sha256:` and the hash of the DER SubjectPublicKeyInfo, in hexadecimal.
    pub pin: String,
}

impl AuthorityPublic {
    /// From the authority's record.
    pub fn of(spec: &CertAuthoritySpec) -> Self {
        AuthorityPublic {
            kind: spec.authority,
            ssh_public_key: spec.ssh_public_key.clone(),
            certificate_pem: spec.certificate.clone(),
            pin: spec.pin.clone(),
        }
    }

    /// As the authority's record says it.
    pub fn to_spec(&self, created: Timestamp) -> CertAuthoritySpec {
        CertAuthoritySpec {
            authority: self.kind,
            ssh_public_key: self.ssh_public_key.clone(),
            certificate: self.certificate_pem.clone(),
            pin: self.pin.clone(),
            created,
        }
    }
}

/// An authority as it enters the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuthority {
    /// For everybody.
    pub public: AuthorityPublic,
    /// The private key, sealed for this authority of this cluster.
    pub sealed_private: Vec<u8>,
}

/// Why an authority could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The cluster's name cannot be in a certificate.
    #[error("the cluster name {0}")]
    ClusterName(#[source] TextError),
    /// The cluster's id cannot be in a certificate.
    #[error("the cluster id {0}")]
    ClusterId(#[source] TextError),
    /// The time is outside what a certificate can say.
    #[error("the time is outside what a certificate can say")]
    Time,
    /// The private key could not be sealed.
    #[error("the new private key could not be sealed")]
    Seal(#[from] SealError),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// Where the private key of an authority is sealed to: its kind, its own public key, its cluster.
pub(crate) fn seal_context(cluster_id: &str, kind: AuthorityType, pin: &str) -> SealContext {
    SealContext::new(cluster_id, &format!("cert_authority/{kind}/{pin}"), 1)
}

/// Makes an authority. `now` is in seconds since 1970.
pub fn create_authority(
    kind: AuthorityType,
    cluster_name: &str,
    cluster_id: &str,
    seal: &dyn Seal,
    now: u64,
) -> Result<NewAuthority, AuthorityError> {
    text::host_name(cluster_name).map_err(AuthorityError::ClusterName)?;
    text::identifier(cluster_id).map_err(AuthorityError::ClusterId)?;
    let random = SystemRandom::new();
    // Both documents wipe themselves.
    let (public, private) = if is_x509(kind) {
        let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| AuthorityError::Crypto)?;
        let key = P256Key::open(private.as_ref()).ok_or(AuthorityError::Crypto)?;
        let mut serial = [0; 16];
        random.fill(&mut serial).map_err(|_| AuthorityError::Crypto)?;
        let pin = x509::pin_of_spki(&key.subject_public_key_info());
        let certificate = x509::self_signed_authority(kind, cluster_name, &key, serial, now)?;
        let public = AuthorityPublic {
            kind,
            ssh_public_key: None,
            certificate_pem: Some(certificate),
            pin,
        };
        (public, private)
    } else {
        let private = Ed25519KeyPair::generate_pkcs8v1(&random).map_err(|_| AuthorityError::Crypto)?;
        let key = signer::open_ed25519(private.as_ref()).ok_or(AuthorityError::Crypto)?;
        (ed25519_public(kind, cluster_name, &key)?, private)
    };
    let context = seal_context(cluster_id, kind, &public.pin);
    let sealed_private = seal.seal(context.as_str(), private.as_ref())?;
    Ok(NewAuthority {
        public,
        sealed_private,
    })
}

fn ed25519_public(
    kind: AuthorityType,
    cluster_name: &str,
    key: &Ed25519KeyPair,
) -> Result<AuthorityPublic, AuthorityError> {
    let bytes = key.public_key().as_ref();
    let data = KeyData::Ed25519(Ed25519PublicKey::try_from(bytes).map_err(|_| AuthorityError::Crypto)?);
    let line = ssh_key::PublicKey::new(data, format!("{cluster_name}-{kind}-ca"))
        .to_openssh()
        .map_err(|_| AuthorityError::Crypto)?;
    Ok(AuthorityPublic {
        kind,
        ssh_public_key: Some(line),
        certificate_pem: None,
        pin: x509::pin_of_spki(&signer::ed25519_spki(bytes)),
    })
}

/// `sha256:` and the hash in hexadecimal: how pins and fingerprints are shown everywhere.
pub(crate) fn show_sha256(data: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
    format!("sha256:{}", hex::encode(digest.as_ref()))
}
