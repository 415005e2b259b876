//! What proves a local user, as it is kept.

use crate::command::{InvitePurpose, Sealed};
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
        }
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
