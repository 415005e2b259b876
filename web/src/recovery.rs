//! Recovery codes: each stands once for a code of the authenticator. They are made of the authenticator's secret and the
//! number of their set, and kept nowhere; the state keeps which of the set were used.

use palisade_core::state::RECOVERY_CODES;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Characters of a code: 50 bits.
const LENGTH: usize = 10;

fn code_of(secret: &[u8], set: u32, index: u32) -> Zeroizing<String> {
    let mut hash = Sha256::new();
    hash.update(b"palisade recovery code 1\0");
    hash.update((secret.len() as u64).to_be_bytes());
    hash.update(secret);
    hash.update(set.to_be_bytes());
    hash.update(index.to_be_bytes());
    let text = Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&hash.finalize()));
    Zeroizing::new(text[..LENGTH].to_ascii_lowercase())
}

/// All codes of a set, as people write them down: two groups of five.
pub(crate) fn codes(secret: &[u8], set: u32) -> Vec<String> {
    let grouped = |index| {
        let code = code_of(secret, set, index);
        let (one, two) = code.split_at(LENGTH / 2);
        format!("{one}-{two}")
    };
    (0..RECOVERY_CODES).map(grouped).collect()
}

/// Which code of the set this is, however it is grouped and in whichever case. Whether it was used is not looked at.
pub(crate) fn matching(secret: &[u8], set: u32, code: &str) -> Option<u32> {
    let bare = code.chars().filter(|c| !matches!(c, '-' | ' '));
    let bare = Zeroizing::new(bare.take(LENGTH + 1).collect::<String>().to_ascii_lowercase());
    if set == 0 || bare.len() != LENGTH {
        return None;
    }
    let mut found = None;
    // Every code is looked at, so that the time tells nothing.
    for index in 0..RECOVERY_CODES {
        if bool::from(code_of(secret, set, index).as_bytes().ct_eq(bare.as_bytes())) {
            found = Some(index);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_found_however_they_are_typed() {
        let secret = [7; 20];
        let all = codes(&secret, 1);
        assert_eq!(all.len(), RECOVERY_CODES as usize);
        for (index, code) in (0u32..).zip(&all) {
            assert_eq!(code.len(), LENGTH + 1, "{code}");
            for typed in [
                code.clone(),
                code.replace('-', ""),
                code.to_uppercase(),
                code.replace('-', " "),
            ] {
                assert_eq!(matching(&secret, 1, &typed), Some(index), "{typed}");
            }
        }
    }

    #[test]
    fn no_set_and_no_secret_shares_a_code_with_another() {
        let mut all = BTreeSet::new();
        for secret in [[7; 20], [8; 20]] {
            for set in 1..4 {
                all.extend(codes(&secret, set));
            }
        }
        assert_eq!(all.len(), 6 * RECOVERY_CODES as usize);
        let code = &codes(&[7; 20], 1)[0];
        assert_eq!(matching(&[7; 20], 2, code), None);
        assert_eq!(
            matching(&[7; 20], 0, &codes(&[7; 20], 0)[0]),
            None,
            "no set was made"
        );
    }

    #[test]
    fn what_is_no_code_is_none() {
        for code in [
            "",
            "-",
            "aaaaa",
            "123456",
            "aaaaa-aaaaaa",
            "ａａａａａ-ａａａａａ",
            &"a".repeat(10_000),
        ] {
            assert_eq!(matching(&[7; 20], 1, code), None, "{code:?}");
        }
    }
}
