//! The check that sshd makes of a certificate, made by us: the SSH library only verifies the signature against the
//! key that the certificate itself carries.

use super::names::StandardExtension;
use super::subject::{SubjectKeyError, check_key};
use crate::network::SourceNetwork;
use crate::text;
use ssh_key::certificate::CertType;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Certificate, Fingerprint, HashAlg, PublicKey};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A user certificate that was found good. Whether its holder may do what is asked is decided elsewhere; whether the
/// holder has the private key is for the SSH handshake to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedUserCert {
    /// Its id in logs.
    pub key_id: String,
    /// Its number.
    pub serial: u64,
    /// The logins it opens; never empty.
    pub principals: Vec<String>,
    /// First second of validity.
    pub valid_after: u64,
    /// First second after validity: sessions end then.
    pub valid_before: u64,
    /// Where it may be used from; empty is everywhere.
    pub source_networks: Vec<SourceNetwork>,
    /// All extensions, name to value.
    pub extensions: BTreeMap<String, String>,
    /// The certified key.
    pub public_key: KeyData,
    /// The authority that signed.
    pub authority: Fingerprint,
}

/// A host certificate that was found good for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedHostCert {
    /// Its id in logs.
    pub key_id: String,
    /// Its number.
    pub serial: u64,
    /// First second after validity.
    pub valid_before: u64,
    /// The certified key.
    pub public_key: KeyData,
    /// The authority that signed.
    pub authority: Fingerprint,
}

/// Why a certificate is not accepted. None of the certificate's own text is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertRefusal {
    /// A host certificate where a user certificate is needed.
    #[error("this is a host certificate, a user certificate is needed")]
    HostCertAsUser,
    /// A user certificate where a host certificate is needed.
    #[error("this is a user certificate, a host certificate is needed")]
    UserCertAsHost,
    /// A certificate that claims to be an authority.
    #[error("the certificate is signed by another certificate, not by an authority's key")]
    NestedAuthority,
    /// The authority's key is of a kind that is not accepted.
    #[error("the authority's key is not accepted: {0}")]
    AuthorityKey(#[source] SubjectKeyError),
    /// The certified key is of a kind that is not accepted.
    #[error("the certified key is not accepted: {0}")]
    Key(#[source] SubjectKeyError),
    /// Signed with SHA-1, or with an algorithm that is not the authority's.
    #[error("the signature's algorithm is not accepted")]
    SignatureAlgorithm,
    /// Signed by a key that is not trusted here.
    #[error("the authority that signed is not trusted here")]
    UnknownAuthority,
    /// The window is empty.
    #[error("the certificate is valid at no time")]
    EmptyWindow,
    /// Valid for ever, or past what clocks can say.
    #[error("the certificate has no bounded lifetime")]
    Unbounded,
    /// Its time has not come.
    #[error("the certificate is not valid yet (from {valid_after})")]
    NotYetValid {
        /// First second of validity.
        valid_after: u64,
    },
    /// Its time is over.
    #[error("the certificate has expired (at {valid_before})")]
    Expired {
        /// First second after validity.
        valid_before: u64,
    },
    /// Changed after it was signed, or never signed by this authority.
    #[error("the signature does not verify")]
    Signature,
    /// It names nobody, which to OpenSSH means everybody.
    #[error("the certificate names no principal")]
    NoPrincipals,
    /// A principal holds what no principal may hold.
    #[error("a principal of the certificate is malformed")]
    MalformedPrincipal,
    /// The key id holds what must not reach a log.
    #[error("the key id of the certificate is malformed")]
    MalformedKeyId,
    /// A restriction we do not know: it may not be ignored.
    #[error("the certificate carries a critical option that is not known here")]
    UnknownCriticalOption,
    /// The `source-address` option is malformed.
    #[error("the source-address option of the certificate is malformed")]
    MalformedSourceAddress,
    /// The certificate speaks for other hosts.
    #[error("the certificate does not name this host")]
    OtherHost,
}

impl CheckedUserCert {
    /// Whether it may be used from `address`.
    pub fn allows_source(&self, address: IpAddr) -> bool {
        self.source_networks.is_empty()
            || self
                .source_networks
                .iter()
                .any(|network| network.contains(address))
    }

    /// Whether it carries `extension`.
    pub fn permits(&self, extension: StandardExtension) -> bool {
        self.extensions.contains_key(extension.as_str())
    }
}

/// Checks a user certificate against the user authorities of this cluster at `now` (seconds since 1970).
pub fn check_user_cert(
    certificate: &Certificate,
    trusted: &[PublicKey],
    now: u64,
) -> Result<CheckedUserCert, CertRefusal> {
    if certificate.cert_type() != CertType::User {
        return Err(CertRefusal::HostCertAsUser);
    }
    let authority = check_signed(certificate, trusted, now)?;
    let principals = certificate.valid_principals();
    if principals.iter().any(|name| text::principal(name).is_err()) {
        return Err(CertRefusal::MalformedPrincipal);
    }
    let mut source_networks = Vec::new();
    for (name, value) in certificate.critical_options().iter() {
        if name != "source-address" {
            return Err(CertRefusal::UnknownCriticalOption);
        }
        source_networks =
            SourceNetwork::parse_list(value).map_err(|_| CertRefusal::MalformedSourceAddress)?;
    }
    Ok(CheckedUserCert {
        key_id: certificate.key_id().to_owned(),
        serial: certificate.serial(),
        principals: principals.to_vec(),
        valid_after: certificate.valid_after(),
        valid_before: certificate.valid_before(),
        source_networks,
        extensions: certificate.extensions().0.clone(),
        public_key: certificate.public_key().clone(),
        authority,
    })
}

/// Checks a host certificate for the host that was dialled as `host`, against the host authorities of this cluster.
pub fn check_host_cert(
    certificate: &Certificate,
    trusted: &[PublicKey],
    host: &str,
    now: u64,
) -> Result<CheckedHostCert, CertRefusal> {
    if certificate.cert_type() != CertType::Host {
        return Err(CertRefusal::UserCertAsHost);
    }
    let authority = check_signed(certificate, trusted, now)?;
    let names = certificate.valid_principals();
    if names.iter().any(|name| text::host_name(name).is_err()) {
        return Err(CertRefusal::MalformedPrincipal);
    }
    if !certificate.critical_options().is_empty() {
        return Err(CertRefusal::UnknownCriticalOption);
    }
    if !names.iter().any(|name| name.eq_ignore_ascii_case(host)) {
        return Err(CertRefusal::OtherHost);
    }
    Ok(CheckedHostCert {
        key_id: certificate.key_id().to_owned(),
        serial: certificate.serial(),
        valid_before: certificate.valid_before(),
        public_key: certificate.public_key().clone(),
        authority,
    })
}

/// Parses the public key lines of authorities, refusing any that may not be one.
pub fn parse_trusted_keys<'a>(
    lines: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<PublicKey>, SubjectKeyError> {
    lines
        .into_iter()
        .map(|line| super::SubjectKey::parse(line).map(|key| key.public_key().clone()))
        .collect()
}

/// What both kinds share: keys, trust, time, signature.
fn check_signed(
    certificate: &Certificate,
    trusted: &[PublicKey],
    now: u64,
) -> Result<Fingerprint, CertRefusal> {
    let authority = certificate.signature_key();
    if matches!(authority, KeyData::Certificate(_)) {
        return Err(CertRefusal::NestedAuthority);
    }
    check_key(authority).map_err(CertRefusal::AuthorityKey)?;
    check_key(certificate.public_key()).map_err(CertRefusal::Key)?;
    check_algorithm(authority, &certificate.signature().algorithm())?;
    if !trusted.iter().any(|key| key.key_data() == authority) {
        return Err(CertRefusal::UnknownAuthority);
    }
    let (after, before) = (certificate.valid_after(), certificate.valid_before());
    if before > i64::MAX as u64 {
        return Err(CertRefusal::Unbounded);
    }
    if before <= after {
        return Err(CertRefusal::EmptyWindow);
    }
    if now < after {
        return Err(CertRefusal::NotYetValid { valid_after: after });
    }
    if now >= before {
        return Err(CertRefusal::Expired { valid_before: before });
    }
    let fingerprint = authority.fingerprint(HashAlg::Sha256);
    // Trust and time are settled: what can still fail here is the signature.
    certificate
        .validate_at(now, [&fingerprint])
        .map_err(|_| CertRefusal::Signature)?;
    if certificate.valid_principals().is_empty() {
        return Err(CertRefusal::NoPrincipals);
    }
    text::key_id(certificate.key_id()).map_err(|_| CertRefusal::MalformedKeyId)?;
    Ok(fingerprint)
}

fn check_algorithm(authority: &KeyData, signature: &Algorithm) -> Result<(), CertRefusal> {
    let fits = match (authority, signature) {
        // No hash means SHA-1.
        (KeyData::Rsa(_), Algorithm::Rsa { hash }) => hash.is_some(),
        (KeyData::Rsa(_), _) => false,
        (key, algorithm) => key.algorithm() == *algorithm,
    };
    if fits {
        Ok(())
    } else {
        Err(CertRefusal::SignatureAlgorithm)
    }
}
