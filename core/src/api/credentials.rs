//! What proves a user beside the password, as they see and change it.

use super::{Deserialize, Serialize};

wire_types! {
    /// What a user has beside the password.
    #[derive(Debug)]
    pub struct SecondFactors {
        /// Whether an authenticator's codes are asked for.
        pub totp: bool,
        /// Recovery codes that still work.
        pub recovery_left: u32,
        /// Recovery codes in a new set.
        pub recovery_of: u32,
        /// Whether passkeys are taken.
        pub passkeys: bool,
        /// Whether a passkey is enough without the password.
        pub passwordless: bool,
    }

    /// Codes that each stand once for the authenticator's. They are shown when they are made, and never again.
    pub struct RecoveryCodes {
        /// They: ten characters each, in two groups.
        pub codes: Vec<String>,
    }

    /// A new authenticator, before it has proved itself.
    pub struct TotpChallenge {
        /// Given back with a code of the new secret, within ten minutes.
        pub id: String,
        /// The secret in base32, for typing.
        pub totp_secret: String,
        /// The `otpauth://` address, for a QR code.
        pub totp_uri: String,
    }

    /// Proves a new authenticator.
    pub struct NewTotp {
        /// Of the challenge.
        pub id: String,
        /// A code that the authenticator shows.
        pub code: String,
    }
}

// These are secrets, or open something.
impl std::fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecoveryCodes({})", self.codes.len())
    }
}

impl std::fmt::Debug for TotpChallenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpChallenge { .. }")
    }
}

impl std::fmt::Debug for NewTotp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewTotp { .. }")
    }
}
