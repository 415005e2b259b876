//! Passkeys: the public halves of credentials that a user's devices hold (Web Authentication, Level 3).

use super::apply::{Run, Verdict};
use super::{keys, read};
use crate::command::{LoginProof, RefusedCommand};
use crate::event::{Event, EventKind};
use crate::kv::{Kv, KvFault};
use crate::name::Name;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Passkeys that one user may keep.
pub const PASSKEYS_MAX: usize = 10;
/// How long a challenge may be answered.
pub const PASSKEY_CHALLENGE_MS: u64 = 5 * 60_000;
/// The longest credential that is kept.
const CREDENTIAL_MAX: usize = 3072;

/// The passkeys of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkeys {
    /// The user in them: 32 hex digits, random.
    pub handle: String,
    /// They, oldest first.
    pub keys: Vec<Passkey>,
}

/// One passkey.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// Hex SHA-256 of the credential's id.
    pub id: String,
    /// What the user calls it.
    pub name: String,
    /// Since when.
    pub created: Timestamp,
    /// When it last opened a session.
    pub used: Option<Timestamp>,
    /// When the challenge of its last login was made: an older one, or the same, is not taken again.
    pub last_issued: Timestamp,
    /// The credential, as the library that checks it writes it.
    pub credential: Vec<u8>,
}

impl std::fmt::Debug for Passkey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passkey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A user's passkeys.
pub fn passkeys(kv: &dyn Kv, user: &Name) -> Result<Passkeys, KvFault> {
    Ok(read(kv, "passkeys", &keys::passkeys(user))?.unwrap_or_default())
}

/// Whose handle this is.
pub fn handle_owner(kv: &dyn Kv, handle: &str) -> Result<Option<Name>, KvFault> {
    read(kv, "passkey handle", &keys::passkey_handle(handle))
}

impl Run<'_> {
    pub(super) fn add_passkey(
        &mut self,
        user: &Name,
        session: &str,
        handle: String,
        passkey: Passkey,
    ) -> Result<Verdict, KvFault> {
        if let Err(why) = self.confirmed(user, session)? {
            return Ok(Err(why));
        }
        let taken: Option<Name> = read(&self.state, "credential", &keys::passkey_credential(&passkey.id))?;
        if taken.is_some() {
            return Ok(Err(RefusedCommand::Invalid(
                "this passkey is kept already".into(),
            )));
        }
        let mut all = passkeys(&self.state, user)?;
        if all.keys.len() >= PASSKEYS_MAX || passkey.credential.len() > CREDENTIAL_MAX {
            let why = format!("a user keeps {PASSKEYS_MAX} passkeys at most: remove one first");
            return Ok(Err(RefusedCommand::Invalid(why)));
        }
        if all.handle.is_empty() {
            all.handle = handle;
        } else if all.handle != handle {
            // Made for a handle that is the user's no more, after a reset in between.
            return Ok(Err(RefusedCommand::NotConfirmed));
        }
        self.put(keys::passkey_credential(&passkey.id), user);
        self.put(keys::passkey_handle(&all.handle), user);
        self.event(
            Event::new(EventKind::PasskeyAdd)
                .user(user.as_str())
                .target(format!("user/{user}"))
                .with("name", &passkey.name),
        );
        all.keys.push(Passkey {
            created: self.now,
            ..passkey
        });
        self.put(keys::passkeys(user), &all);
        Ok(Ok(()))
    }

    pub(super) fn remove_passkey(
        &mut self,
        user: &Name,
        session: &str,
        id: &str,
    ) -> Result<Verdict, KvFault> {
        if let Err(why) = self.confirmed(user, session)? {
            return Ok(Err(why));
        }
        let mut all = passkeys(&self.state, user)?;
        let Some(at) = all.keys.iter().position(|key| key.id == id) else {
            return Ok(Err(RefusedCommand::Invalid(
                "you have no such passkey (any more)".into(),
            )));
        };
        let gone = all.keys.remove(at);
        self.state.delete(keys::passkey_credential(&gone.id));
        self.put(keys::passkeys(user), &all);
        self.event(
            Event::new(EventKind::PasskeyRemove)
                .user(user.as_str())
                .target(format!("user/{user}"))
                .with("name", &gone.name),
        );
        Ok(Ok(()))
    }

    /// The user's passkeys once this one was used for a login; why not, for the audit log, if it may not be.
    pub(super) fn use_passkey(
        &self,
        user: &Name,
        proof: &LoginProof,
    ) -> Result<Result<Option<Passkeys>, &'static str>, KvFault> {
        let LoginProof::Passkey {
            id,
            issued,
            credential,
            with_password,
        } = proof
        else {
            return Ok(Ok(None));
        };
        let policy = super::auth_preference(&self.state)?;
        if !policy.passkeys {
            return Ok(Err("passkeys are switched off"));
        }
        if !policy.passwordless && !with_password {
            return Ok(Err("a passkey counts beside the password alone"));
        }
        let mut all = passkeys(&self.state, user)?;
        let Some(key) = all.keys.iter_mut().find(|key| key.id == *id) else {
            return Ok(Err("there is no such passkey"));
        };
        if *issued <= key.last_issued || self.now.since_ms(*issued) > PASSKEY_CHALLENGE_MS {
            return Ok(Err("the passkey's answer was used before, or came too late"));
        }
        if credential.len() > CREDENTIAL_MAX {
            return Ok(Err("the passkey is too large"));
        }
        (key.last_issued, key.used) = (*issued, Some(self.now));
        key.credential.clone_from(credential);
        Ok(Ok(Some(all)))
    }

    /// Forgets a user's passkeys: they were reset, or removed.
    pub(super) fn forget_passkeys(&mut self, user: &Name) -> Result<(), KvFault> {
        let all = passkeys(&self.state, user)?;
        if all.handle.is_empty() {
            return Ok(());
        }
        for key in &all.keys {
            self.state.delete(keys::passkey_credential(&key.id));
        }
        self.state.delete(keys::passkey_handle(&all.handle));
        self.state.delete(keys::passkeys(user));
        Ok(())
    }
}
