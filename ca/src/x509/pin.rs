//! Pins: trust at first contact, by the hash of an authority's public key.

use super::issue::X509Error;
use crate::authority::show_sha256;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

const CHAIN_MAX: usize = 8;

/// Why a server is not the one that was pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The pin is not of the form `sha256:<64 hexadecimal digits>`.
    #[error("the pin is malformed: it reads sha256: and 64 hexadecimal digits")]
    Malformed,
    /// No certificate of the chain has the pinned key.
    #[error(
        "the server's authority is not the pinned one: it may be another cluster, or somebody in between"
    )]
    OtherAuthority,
    /// The pinned authority is in the chain but did not sign the server's certificate.
    #[error("the server's certificate is not signed by the pinned authority")]
    NotSigned,
    /// By this machine's clock, the server's certificate does not hold.
    #[error(
        "by this machine's clock the server's certificate {0}: one of the two clocks is wrong, set both by NTP"
    )]
    Clock(&'static str),
}

/// The pin of a DER SubjectPublicKeyInfo.
pub fn pin_of_spki(spki_der: &[u8]) -> String {
    show_sha256(spki_der)
}

/// The pin of the key in a certificate.
pub fn pin_of_certificate(der: &[u8]) -> Result<String, X509Error> {
    let (rest, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| X509Error::MalformedCertificate)?;
    if !rest.is_empty() {
        return Err(X509Error::MalformedCertificate);
    }
    Ok(pin_of_spki(certificate.public_key().raw))
}

/// Checks that the chain a server presented (its own certificate first) leads to the pinned authority at `now`
/// (seconds since 1970), and returns that authority's certificate: from now on it is the trust root.
///
/// The pinned certificate merely being in the chain proves nothing, everybody has it: the server's certificate must
/// verify against it.
pub fn check_pin(
    chain: &[CertificateDer<'_>],
    pin: &str,
    now: u64,
) -> Result<CertificateDer<'static>, PinError> {
    let digits = pin.strip_prefix("sha256:").ok_or(PinError::Malformed)?;
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(PinError::Malformed);
    }
    let (own, others) = chain.split_first().ok_or(PinError::OtherAuthority)?;
    let authority = others
        .iter()
        .take(CHAIN_MAX)
        .find(|der| pin_of_certificate(der).is_ok_and(|found| found.eq_ignore_ascii_case(pin)))
        .ok_or(PinError::OtherAuthority)?;
    let anchor = anchor_from_trusted_cert(authority).map_err(|_| PinError::NotSigned)?;
    let server = EndEntityCert::try_from(own).map_err(|_| PinError::NotSigned)?;
    server
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &[anchor],
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(now)),
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(|e| match e {
            webpki::Error::CertNotValidYet { .. } => PinError::Clock("is not valid yet"),
            webpki::Error::CertExpired { .. } => PinError::Clock("has run out"),
            _ => PinError::NotSigned,
        })?;
    Ok(authority.clone().into_owned())
}
