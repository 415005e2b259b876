//! Signing X.509 certificates for users and for the nodes' public ports.

use crate::signer::Signer;
use crate::text::{self, TextError};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey};
use palisade_core::record::AuthorityType;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use std::net::IpAddr;
use time::OffsetDateTime;

const SPKI_BYTES_MAX: usize = 1024;
const NAMES_MAX: usize = 64;

/// A public key that may be certified: P-256 or Ed25519, and a valid point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectSpki(SubjectPublicKeyInfo);

/// When a certificate is valid, in seconds since 1970, and how long the policy allows it to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First second of validity.
    pub not_before: u64,
    /// Last second of validity.
    pub not_after: u64,
    /// Longest window the policy allows, backdating included.
    pub ttl_max_secs: u64,
}

/// A user's client certificate to be signed.
#[derive(Debug, Clone)]
pub struct ClientCertRequest {
    /// The key to certify.
    pub public_key: SubjectSpki,
    /// Becomes the common name.
    pub user: String,
    /// Unique in the cluster.
    pub serial: u64,
    /// When it is valid.
    pub window: Window,
}

/// A node's server certificate to be signed.
#[derive(Debug, Clone)]
pub struct ServerCertRequest {
    /// The key to certify.
    pub public_key: SubjectSpki,
    /// Names that clients dial.
    pub dns_names: Vec<String>,
    /// Addresses that clients dial.
    pub addresses: Vec<IpAddr>,
    /// Unique in the cluster.
    pub serial: u64,
    /// When it is valid.
    pub window: Window,
}

/// A signed certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCert {
    /// As PEM.
    pub pem: String,
    /// As DER.
    pub der: CertificateDer<'static>,
}

/// Why an X.509 certificate is not signed or not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// Signing with the wrong authority would make the wrong promise.
    #[error("this certificate is signed by the {needed} authority, not by the {found} authority")]
    WrongAuthority {
        /// The authority that signs this kind.
        needed: AuthorityType,
        /// The one that was given.
        found: AuthorityType,
    },
    /// Not a public key.
    #[error("not a DER or PEM SubjectPublicKeyInfo")]
    MalformedKey,
    /// A kind of key we do not certify.
    #[error("only P-256 and Ed25519 keys are certified")]
    KeyAlgorithm,
    /// The window is refused.
    #[error("the certificate's window is refused")]
    Window(#[source] crate::IssueError),
    /// Without a serial it cannot be audited nor revoked.
    #[error("the serial is zero")]
    NoSerial,
    /// The user's name cannot be in a certificate.
    #[error("the user name {0}")]
    User(#[source] TextError),
    /// A host name cannot be in a certificate.
    #[error("a DNS name {0}")]
    DnsName(#[source] TextError),
    /// A server certificate without names is of no use, one with hundreds is a mistake.
    #[error("a server certificate names between 1 and {NAMES_MAX} names and addresses")]
    Names,
    /// The cluster id cannot be in a certificate.
    #[error("the cluster id {0}")]
    ClusterId(#[source] TextError),
    /// Node ids begin at 1.
    #[error("node ids begin at 1")]
    NodeId,
    /// A peer certificate for another cluster than the authority's.
    #[error("the peer certificate names another cluster than its authority's")]
    OtherCluster,
    /// What was presented is no certificate.
    #[error("not a DER certificate")]
    MalformedCertificate,
    /// A certificate without exactly one common name.
    #[error("the certificate does not name exactly one user")]
    NoUser,
    /// The library refused or failed.
    #[error("the certificate library failed")]
    Library,
}

impl SubjectSpki {
    /// From DER.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        if der.len() > SPKI_BYTES_MAX {
            return Err(X509Error::MalformedKey);
        }
        let key = SubjectPublicKeyInfo::from_der(der).map_err(|e| match e {
            rcgen::Error::UnsupportedSignatureAlgorithm => X509Error::KeyAlgorithm,
            _ => X509Error::MalformedKey,
        })?;
        // Parsing proves that the point lies on the curve.
        let parsed = if key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 {
            ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.der_bytes())
        } else if key.algorithm() == &rcgen::PKCS_ED25519 {
            ParsedPublicKey::new(&ED25519, key.der_bytes())
        } else {
            return Err(X509Error::KeyAlgorithm);
        };
        parsed.map_err(|_| X509Error::MalformedKey)?;
        Ok(Self(key))
    }

    /// As DER.
    pub fn der(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// From PEM (`PUBLIC KEY`).
    pub fn from_pem(pem: &str) -> Result<Self, X509Error> {
        use rustls_pki_types::pem::PemObject as _;
        let der = rustls_pki_types::SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| X509Error::MalformedKey)?;
        Self::from_der(&der)
    }
}

/// Signs a user's client certificate: the user's name as common name, and nothing else about the user.
pub fn sign_client_cert(signer: &Signer, request: &ClientCertRequest) -> Result<IssuedCert, X509Error> {
    text::principal(&request.user).map_err(X509Error::User)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, request.user.as_str());
    let params = leaf(name, Vec::new(), vec![ExtendedKeyUsagePurpose::ClientAuth]);
    finish(
        signer,
        AuthorityType::Tls,
        params,
        &request.public_key,
        request.serial,
        request.window,
    )
}

/// Signs a node's server certificate.
pub fn sign_server_cert(signer: &Signer, request: &ServerCertRequest) -> Result<IssuedCert, X509Error> {
    let count = request.dns_names.len() + request.addresses.len();
    if count == 0 || count > NAMES_MAX {
        return Err(X509Error::Names);
    }
    let mut names = Vec::with_capacity(count);
    for name in &request.dns_names {
        text::host_name(name).map_err(X509Error::DnsName)?;
        // An address in the place of a name is not matched by clients.
        if name.contains(':') || name.parse::<IpAddr>().is_ok() {
            return Err(X509Error::DnsName(TextError::Character { at: 0 }));
        }
        names.push(SanType::DnsName(
            name.as_str().try_into().map_err(|_| X509Error::Library)?,
        ));
    }
    names.extend(
        request
            .addresses
            .iter()
            .map(|address| SanType::IpAddress(address.to_canonical())),
    );
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "Palisade node");
    let params = leaf(name, names, vec![ExtendedKeyUsagePurpose::ServerAuth]);
    finish(
        signer,
        AuthorityType::Tls,
        params,
        &request.public_key,
        request.serial,
        request.window,
    )
}

/// The last second of a certificate's validity, in seconds since 1970.
pub fn not_after(der: &[u8]) -> Result<u64, X509Error> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| X509Error::MalformedCertificate)?;
    u64::try_from(certificate.validity().not_after.timestamp()).map_err(|_| X509Error::MalformedCertificate)
}

/// The user named by a client certificate. The caller has verified the certificate; this only reads it.
pub fn client_cert_user(der: &[u8]) -> Result<String, X509Error> {
    let (rest, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| X509Error::MalformedCertificate)?;
    if !rest.is_empty() {
        return Err(X509Error::MalformedCertificate);
    }
    let mut names = certificate.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(X509Error::NoUser);
    };
    let user = name.as_str().map_err(|_| X509Error::NoUser)?;
    text::principal(user).map_err(X509Error::User)?;
    Ok(user.to_owned())
}

pub(super) fn leaf(
    name: DistinguishedName,
    names: Vec<SanType>,
    usages: Vec<ExtendedKeyUsagePurpose>,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages;
    params.use_authority_key_identifier_extension = true;
    params
}

pub(super) fn finish(
    signer: &Signer,
    needed: AuthorityType,
    mut params: CertificateParams,
    public_key: &SubjectSpki,
    serial: u64,
    window: Window,
) -> Result<IssuedCert, X509Error> {
    if signer.kind() != needed {
        return Err(X509Error::WrongAuthority {
            needed,
            found: signer.kind(),
        });
    }
    if serial == 0 {
        return Err(X509Error::NoSerial);
    }
    crate::ssh::check_window(window.not_before, window.not_after, window.ttl_max_secs)
        .map_err(X509Error::Window)?;
    params.not_before = date(window.not_before).ok_or(X509Error::Library)?;
    params.not_after = date(window.not_after).ok_or(X509Error::Library)?;
    params.serial_number = Some(SerialNumber::from(serial));
    let issuer = signer.issuer().ok_or(X509Error::Library)?;
    let certificate = params
        .signed_by(&public_key.0, issuer)
        .map_err(|_| X509Error::Library)?;
    Ok(IssuedCert {
        pem: certificate.pem(),
        der: certificate.der().clone(),
    })
}

pub(super) fn date(seconds: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
}
