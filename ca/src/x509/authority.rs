//! The self-signed certificate of an X.509 authority.

use super::issue::date;
use crate::authority::AuthorityError;
use crate::signer::P256Key;
use palisade_core::record::AuthorityType;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, SerialNumber,
};

/// Clocks of nodes and clients differ a little; an authority must not be "not valid yet" to any of them.
const BACKDATE_SECS: u64 = 24 * 3600;
/// Authorities end by rotation. Ten years is the bound for a cluster that nobody rotates.
const LIFETIME_SECS: u64 = 3652 * 24 * 3600;

pub(crate) fn self_signed_authority(
    kind: AuthorityType,
    cluster_name: &str,
    key: &P256Key,
    mut serial: [u8; 16],
    now: u64,
) -> Result<String, AuthorityError> {
    // Positive, and never zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    let end = now.checked_add(LIFETIME_SECS).ok_or(AuthorityError::Time)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, cluster_name);
    name.push(DnType::CommonName, format!("Palisade {kind} authority"));
    let mut params = CertificateParams::default();
    params.not_before = date(now.saturating_sub(BACKDATE_SECS)).ok_or(AuthorityError::Time)?;
    params.not_after = date(end).ok_or(AuthorityError::Time)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = name;
    // It signs leaf certificates only.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .self_signed(key)
        .map(|certificate| certificate.pem())
        .map_err(|_| AuthorityError::Crypto)
}
