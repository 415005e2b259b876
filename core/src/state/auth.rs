//! What proves a local user, as it is kept.

use crate::command::{InvitePurpose, RecoveryUse, Sealed};
use crate::name::Name;
use crate::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};

/// Password, second factor and failures of one user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAuth {
    /// The argon2id hash in PHC form; empty until an invite was used.
    pub password_hash: String,
    /// The TOTP secret, sealed.
    pub totp: Sealed,
    /// The last time step whose code was used; no code of it or before works again.
    pub last_totp_step: u64,
    /// Raised by every reset: a login checked against older credentials is void.
    pub generation: u64,
    /// Recent failures.
    pub failures: Vec<Timestamp>,
    /// Nobody logs in as this user before.
    pub locked_until: Timestamp,
    /// Which set of recovery codes counts; 0 as long as none was made. The codes themselves are made of the TOTP secret
    /// and this number, and kept nowhere.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recovery_set: u32,
    /// Which codes of the set were used: a bit each.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recovery_used: u32,
}

/// Recovery codes in a set.
pub const RECOVERY_CODES: u32 = 10;

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl std::fmt::Debug for LocalAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalAuth")
            .field("generation", &self.generation)
            .field("failures", &self.failures.len())
            .field("locked_until", &self.locked_until)
            .finish_non_exhaustive()
    }
}

impl LocalAuth {
    pub(super) fn empty() -> Self {
        LocalAuth {
            password_hash: String::new(),
            totp: Sealed(Vec::new()),
            last_totp_step: 0,
            generation: 0,
            failures: Vec::new(),
            locked_until: Timestamp::ZERO,
            recovery_set: 0,
            recovery_used: 0,
        }
    }

    /// Recovery codes that still work.
    pub fn recovery_left(&self) -> u32 {
        match self.recovery_set {
            0 => 0,
            _ => RECOVERY_CODES.saturating_sub(self.recovery_used.count_ones()),
        }
    }

    /// Uses a recovery code up; false if it is none that works.
    pub(super) fn use_recovery(&mut self, code: RecoveryUse) -> bool {
        let bit = 1u32.checked_shl(code.index).unwrap_or(0);
        let good = code.set == self.recovery_set && code.set > 0 && code.index < RECOVERY_CODES;
        if !good || self.recovery_used & bit != 0 {
            return false;
        }
        self.recovery_used |= bit;
        true
    }

    /// Counts a failure; true if it is the one that locks the user out.
    pub(super) fn fail(&mut self, now: Timestamp, most: u32, window: Ttl) -> bool {
        self.failures.retain(|at| now.since_ms(*at) < window.ms());
        self.failures.push(now);
        let locks = self.failures.len() >= most as usize;
        if locks {
            self.failures.clear();
            self.locked_until = now.plus_ms(window.ms());
        }
        locks
    }
}

/// An open invite or reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// For whom.
    pub user: Name,
    /// Why.
    pub purpose: InvitePurpose,
    /// The TOTP secret it will set, sealed.
    pub totp: Sealed,
    /// When it runs out.
    pub expires: Timestamp,
}
