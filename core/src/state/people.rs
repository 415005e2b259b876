//! People: invites, logins, and what a login uses up.

use super::apply::{NOTIFY_POLICY, Run, Verdict, not_found};
use super::{Invite, LocalAuth, Passkeys, keys};
use crate::command::{CertPurpose, CertTerms, LoginProof, RefusedCommand};
use crate::event::{Event, EventKind};
use crate::kv::KvFault;
use crate::name::Name;
use crate::record::{Kind, UserSpec};
use crate::state;

/// What a user has to prove themselves with, once a login has used it.
pub(super) struct Proven {
    auth: LocalAuth,
    passkeys: Option<Passkeys>,
}

impl Run<'_> {
    /// No certificate that was issued to this user before this entry is good any more.
    pub(super) fn void_certs(&mut self, user: &Name) {
        let index = self.index;
        self.put(keys::void_until(user), &index);
    }

    pub(super) fn void_invite(&mut self, user: &Name) -> Result<(), KvFault> {
        if let Some(older) = super::read::<String>(&self.state, "invited", &keys::invited(user))? {
            self.state.delete(keys::invite(&older));
        }
        self.state.delete(keys::invited(user));
        Ok(())
    }

    pub(super) fn create_invite(
        &mut self,
        user: &Name,
        token_sha256: &str,
        invite: Invite,
    ) -> Result<Verdict, KvFault> {
        if state::record::<UserSpec>(&self.state, user)?.is_none() {
            return Ok(Err(not_found(Kind::User, user.as_str())));
        }
        self.void_invite(user)?;
        self.event(
            Event::new(EventKind::InviteCreate)
                .target(format!("user/{user}"))
                .with("expires", invite.expires),
        );
        self.put(keys::invite(token_sha256), &invite);
        self.put(keys::invited(user), &token_sha256);
        Ok(Ok(()))
    }

    pub(super) fn accept_invite(
        &mut self,
        token_sha256: &str,
        password_hash: String,
        totp_step: u64,
    ) -> Result<Verdict, KvFault> {
        let Some(invite) = state::invite(&self.state, token_sha256)?.filter(|i| i.expires > self.now) else {
            self.event(Event::new(EventKind::InviteRefused).message("the token is wrong, used or expired"));
            return Ok(Err(RefusedCommand::BadToken));
        };
        let before = state::local_auth(&self.state, &invite.user)?.unwrap_or_else(LocalAuth::empty);
        let auth = LocalAuth {
            password_hash,
            totp: invite.totp,
            last_totp_step: totp_step,
            generation: before.generation + 1,
            // The page of the invite showed this set.
            recovery_set: 1,
            ..LocalAuth::empty()
        };
        self.void_invite(&invite.user)?;
        self.put(keys::auth(&invite.user), &auth);
        // Whoever held the old credentials may hold certificates too; sessions under them are decided again.
        self.void_certs(&invite.user);
        self.end_browsers(&invite.user, None)?;
        self.forget_passkeys(&invite.user)?;
        self.notify |= NOTIFY_POLICY;
        self.event(
            Event::new(EventKind::InviteAccept)
                .user(invite.user.as_str())
                .target(format!("user/{}", invite.user)),
        );
        Ok(Ok(()))
    }

    pub(super) fn login(
        &mut self,
        user: &Name,
        proof: &LoginProof,
        generation: u64,
        terms: &CertTerms,
    ) -> Result<Verdict, KvFault> {
        let proven = match self.check_login(user, proof, generation)? {
            Ok(proven) => proven,
            Err(why) => return Ok(Err(why)),
        };
        if terms.subject != *user || terms.purpose != CertPurpose::Login {
            let why = "the certificate is for somebody else";
            return Ok(Err(self.login_refused(user, why, RefusedCommand::BadLogin)));
        }
        if let Err(why) = self.check_terms(terms)? {
            return Ok(Err(self.login_refused(user, &why.to_string(), why.clone())));
        }
        self.logged_in(user, &proven, proof);
        self.issued(terms);
        Ok(Ok(()))
    }

    /// Writes why a login was refused, and gives the answer.
    pub(super) fn login_refused(
        &mut self,
        user: &Name,
        why: &str,
        verdict: RefusedCommand,
    ) -> RefusedCommand {
        let event = Event::new(EventKind::LoginRefused);
        self.event(event.user(user.as_str()).message(why));
        verdict
    }

    /// Whether a login still holds at this place in the log; gives the credentials as they are once it is used up.
    pub(super) fn check_login(
        &mut self,
        user: &Name,
        proof: &LoginProof,
        generation: u64,
    ) -> Result<Result<Proven, RefusedCommand>, KvFault> {
        let Some(mut auth) = state::local_auth(&self.state, user)? else {
            return Ok(Err(self.login_refused(
                user,
                "there is no such user",
                RefusedCommand::BadLogin,
            )));
        };
        if auth.locked_until > self.now {
            let until = auth.locked_until;
            return Ok(Err(self.login_refused(
                user,
                "locked out after too many failures",
                RefusedCommand::LockedOut { until },
            )));
        }
        if auth.generation != generation {
            return Ok(Err(self.login_refused(
                user,
                "the credentials were reset meanwhile",
                RefusedCommand::BadLogin,
            )));
        }
        if let LoginProof::Password {
            totp_step: Some(step),
        } = proof
        {
            if *step <= auth.last_totp_step {
                self.login_failed(user.as_str(), "the code was used before")?;
                return Ok(Err(RefusedCommand::BadLogin));
            }
            auth.last_totp_step = *step;
        }
        if let LoginProof::Recovery(code) = proof
            && !auth.use_recovery(*code)
        {
            self.login_failed(
                user.as_str(),
                "the recovery code was used before, or is of an older set",
            )?;
            return Ok(Err(RefusedCommand::BadLogin));
        }
        let passkeys = match self.use_passkey(user, proof)? {
            Ok(passkeys) => passkeys,
            Err(why) => return Ok(Err(self.login_refused(user, why, RefusedCommand::BadLogin))),
        };
        auth.failures.clear();
        Ok(Ok(Proven { auth, passkeys }))
    }

    /// Writes that what proved a login is used up.
    pub(super) fn used_up(&mut self, user: &Name, proven: &Proven) {
        self.put(keys::auth(user), &proven.auth);
        if let Some(passkeys) = &proven.passkeys {
            self.put(keys::passkeys(user), passkeys);
        }
    }

    /// Writes a login that is done.
    pub(super) fn logged_in(&mut self, user: &Name, proven: &Proven, proof: &LoginProof) {
        self.used_up(user, proven);
        let mut event = Event::new(EventKind::Login)
            .user(user.as_str())
            .with("method", proof.method());
        if let LoginProof::Recovery(_) = proof {
            event = event.with("recovery_codes_left", proven.auth.recovery_left());
        }
        self.event(event);
    }

    pub(super) fn login_failed(&mut self, user: &str, reason: &str) -> Result<(), KvFault> {
        self.event(Event::new(EventKind::LoginRefused).user(user).message(reason));
        let Ok(name) = Name::parse(user) else {
            return Ok(());
        };
        let Some(mut auth) = state::local_auth(&self.state, &name)? else {
            return Ok(());
        };
        if auth.locked_until > self.now {
            return Ok(());
        }
        let policy = state::auth_preference(&self.state)?;
        if auth.fail(self.now, policy.max_failures, policy.lockout_window) {
            self.event(
                Event::new(EventKind::LoginLockout)
                    .user(user)
                    .with("until", auth.locked_until),
            );
        }
        self.put(keys::auth(&name), &auth);
        Ok(())
    }
}
