//! Time-based codes (RFC 6238): six digits, 30 seconds, SHA-1, as every authenticator app has them.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const STEP_SECS: u64 = 30;
/// Bytes of a new secret.
pub(crate) const SECRET_BYTES: usize = 20;

/// The time step whose code this is, among the present one and one to either side; the newest if several match.
/// Anything but six ASCII digits is no code.
pub(crate) fn matching_step(secret: &[u8], code: &str, now_secs: u64) -> Option<u64> {
    if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let present = now_secs / STEP_SECS;
    let mut found = None;
    // Every step is looked at, so that the time tells nothing.
    for step in present.saturating_sub(1)..=present.saturating_add(1) {
        let right = code_of(secret, step);
        if bool::from(right.as_bytes().ct_eq(code.as_bytes())) {
            found = Some(step);
        }
    }
    found
}

/// The code of a step.
pub(crate) fn code_of(secret: &[u8], step: u64) -> Zeroizing<String> {
    let totp = totp_rs::Builder::new()
        .with_algorithm(totp_rs::Algorithm::SHA1)
        .with_digits(6)
        .with_step_duration(STEP_SECS)
        .with_secret(secret.to_vec())
        .build_noncompliant();
    Zeroizing::new(totp.generate(step.saturating_mul(STEP_SECS)).to_string())
}

/// The secret as people type it.
pub(crate) fn base32(secret: &[u8]) -> String {
    data_encoding::BASE32_NOPAD.encode(secret)
}

/// The address that authenticator apps read from a QR code. Names of ours need no escaping in it.
pub(crate) fn uri(cluster: &str, user: &str, secret: &[u8]) -> String {
    let secret = base32(secret);
    format!(
        "otpauth://totp/{cluster}:{user}?secret={secret}&issuer={cluster}&algorithm=SHA1&digits=6&period=30"
    )
}

/// The present code of a secret in base32: what an authenticator app shows. For tests.
#[cfg(feature = "testing")]
pub(crate) fn app_shows(secret_base32: &str, now_secs: u64) -> Option<String> {
    let secret = data_encoding::BASE32_NOPAD
        .decode(secret_base32.as_bytes())
        .ok()?;
    Some(code_of(&secret, now_secs / STEP_SECS).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC_SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, the last six digits.
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (2_000_000_000, "279037"),
        ] {
            assert_eq!(*code_of(RFC_SECRET, time / 30), code);
            assert_eq!(matching_step(RFC_SECRET, code, time), Some(time / 30));
        }
    }

    #[test]
    fn one_step_to_either_side_and_no_more() {
        let at = 1_111_111_109;
        let step = at / 30;
        let code = code_of(RFC_SECRET, step);
        for (when, found) in [(-60i64, None), (-30, Some(step)), (30, Some(step)), (60, None)] {
            assert_eq!(
                matching_step(RFC_SECRET, &code, at.saturating_add_signed(when)),
                found,
                "{when}"
            );
        }
    }

    #[test]
    fn other_spellings_of_a_code_are_no_code() {
        for code in [
            "",
            "28708",
            "2870820",
            " 87082",
            "287 082",
            "２８７０８２",
            "287082\n",
            "+87082",
            "0x7082",
        ] {
            assert_eq!(matching_step(RFC_SECRET, code, 59), None, "{code:?}");
        }
    }
}
