//! Sessions of browsers: who is logged in where, kept by the cluster, so that any node knows them and any node ends them.

use super::apply::{Run, Verdict};
use super::{keys, read};
use crate::access::{View, lock_text};
use crate::command::{LoginProof, NewBrowserSession, RefusedCommand, Sealed};
use crate::event::{Event, EventKind};
use crate::kv::{Kv, KvFault, prefix_end};
use crate::name::Name;
use crate::state::NOTIFY_POLICY;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Sessions in browsers that one user may have: a further login ends the oldest.
pub const BROWSER_SESSIONS_MAX: usize = 20;
/// For how long a confirmation lets somebody change credentials.
pub const CONFIRMED_MS: u64 = 5 * 60_000;

/// A browser's session, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserSession {
    /// Whose.
    pub user: Name,
    /// What was said when it began.
    pub session: NewBrowserSession,
    /// The index of the entry that made it: void when the user's certificates up to it are.
    pub serial: u64,
    /// When it began.
    pub created: Timestamp,
    /// When it was last noticed to be used; a little behind.
    pub seen: Timestamp,
    /// When whoever sits there last proved who they are.
    pub confirmed: Timestamp,
    /// Where the login came from.
    pub addr: String,
}

/// The session with this id, also one that has ended by time or by a reset: whoever asks looks at both.
pub fn browser_session(kv: &dyn Kv, id: &str) -> Result<Option<BrowserSession>, KvFault> {
    read(kv, "browser session", &keys::browser(id))
}

/// All sessions of a user, oldest first.
pub fn browser_sessions(kv: &dyn Kv, user: &Name) -> Result<Vec<BrowserSession>, KvFault> {
    let prefix = keys::browsers(user);
    let mut all = Vec::new();
    for (key, _) in kv.scan(&prefix, prefix_end(&prefix).as_deref(), usize::MAX, false)? {
        all.extend(browser_session(kv, &keys::browser_id(&key)?)?);
    }
    all.sort_by_key(|session| session.serial);
    Ok(all)
}

impl Run<'_> {
    pub(super) fn browser_login(
        &mut self,
        user: &Name,
        proof: &LoginProof,
        generation: u64,
        session: NewBrowserSession,
    ) -> Result<Verdict, KvFault> {
        let proven = match self.check_login(user, proof, generation)? {
            Ok(proven) => proven,
            Err(why) => return Ok(Err(why)),
        };
        if let Err(why) = self.may_sit(user, session.expires)? {
            return Ok(Err(self.login_refused(user, &why.to_string(), why.clone())));
        }
        if browser_session(&self.state, &session.id)?.is_some() {
            let why = "the session's id is taken";
            return Ok(Err(self.login_refused(user, why, RefusedCommand::BadLogin)));
        }
        let mut before = browser_sessions(&self.state, user)?;
        before.retain(|old| {
            let ended = old.session.expires <= self.now;
            if ended {
                self.remove_browser(old);
            }
            !ended
        });
        let most = before.len().saturating_sub(BROWSER_SESSIONS_MAX - 1);
        for oldest in &before[..most] {
            self.remove_browser(oldest);
        }
        let kept = BrowserSession {
            user: user.clone(),
            serial: self.index,
            created: self.now,
            seen: self.now,
            confirmed: self.now,
            addr: self.actor_addr().to_owned(),
            session,
        };
        let id = kept.session.id.clone();
        self.put(keys::browser(&id), &kept);
        self.put(keys::browser_of(user, &id), &());
        self.logged_in(user, &proven, proof);
        Ok(Ok(()))
    }

    /// Whether a user may have a session until then, at this place in the log.
    fn may_sit(&self, user: &Name, expires: Timestamp) -> Result<Verdict, KvFault> {
        let Some(view) = View::load(&self.state, user)?.filter(|view| !view.user.expired(self.now)) else {
            return Ok(Err(RefusedCommand::BadLogin));
        };
        if let Some(lock) = view.lock(None, None, self.now) {
            return Ok(Err(RefusedCommand::Locked(lock_text(lock))));
        }
        if expires <= self.now || expires.since_ms(self.now) > view.options(self.now).max_session_ttl.ms() {
            let why = "the session would last longer than the user's roles allow";
            return Ok(Err(RefusedCommand::Invalid(why.into())));
        }
        Ok(Ok(()))
    }

    /// The user's session with this id, if it still is one.
    pub(super) fn browser(
        &self,
        user: &Name,
        id: &str,
    ) -> Result<Result<BrowserSession, RefusedCommand>, KvFault> {
        let void = super::certs_void_until(&self.state, user)?;
        let found = browser_session(&self.state, id)?
            .filter(|found| found.user == *user && found.session.expires > self.now && found.serial > void);
        Ok(found.ok_or(RefusedCommand::NoSession))
    }

    /// The same, if whoever sits there proved a short time ago who they are.
    pub(super) fn confirmed(
        &self,
        user: &Name,
        id: &str,
    ) -> Result<Result<BrowserSession, RefusedCommand>, KvFault> {
        let found = self.browser(user, id)?;
        Ok(found.and_then(|session| {
            let late = self.now.since_ms(session.confirmed) > CONFIRMED_MS;
            if late {
                Err(RefusedCommand::NotConfirmed)
            } else {
                Ok(session)
            }
        }))
    }

    pub(super) fn browser_confirm(
        &mut self,
        user: &Name,
        id: &str,
        proof: &LoginProof,
        generation: u64,
    ) -> Result<Verdict, KvFault> {
        let mut session = match self.browser(user, id)? {
            Ok(session) => session,
            Err(why) => return Ok(Err(why)),
        };
        let proven = match self.check_login(user, proof, generation)? {
            Ok(proven) => proven,
            Err(why) => return Ok(Err(why)),
        };
        self.used_up(user, &proven);
        (session.confirmed, session.seen) = (self.now, self.now);
        self.put(keys::browser(id), &session);
        let event = Event::new(EventKind::LoginConfirm).user(user.as_str());
        self.event(event.with("method", proof.method()));
        Ok(Ok(()))
    }

    pub(super) fn new_recovery(&mut self, user: &Name, id: &str, set: u32) -> Result<Verdict, KvFault> {
        if let Err(why) = self.confirmed(user, id)? {
            return Ok(Err(why));
        }
        let Some(mut auth) = super::local_auth(&self.state, user)? else {
            return Ok(Err(RefusedCommand::BadLogin));
        };
        if set != auth.recovery_set.saturating_add(1) {
            let why = "somebody made other recovery codes meanwhile: try again";
            return Ok(Err(RefusedCommand::Invalid(why.into())));
        }
        (auth.recovery_set, auth.recovery_used) = (set, 0);
        self.put(keys::auth(user), &auth);
        self.event(
            Event::new(EventKind::RecoveryNew)
                .user(user.as_str())
                .target(format!("user/{user}")),
        );
        Ok(Ok(()))
    }

    pub(super) fn set_totp(
        &mut self,
        user: &Name,
        id: &str,
        totp: Sealed,
        totp_step: u64,
        generation: u64,
    ) -> Result<Verdict, KvFault> {
        if let Err(why) = self.confirmed(user, id)? {
            return Ok(Err(why));
        }
        let Some(mut auth) =
            super::local_auth(&self.state, user)?.filter(|auth| auth.generation == generation)
        else {
            return Ok(Err(RefusedCommand::BadLogin));
        };
        (auth.totp, auth.last_totp_step) = (totp, totp_step);
        // A login that was checked against the old secret is void; so are the codes that were made of it.
        auth.generation += 1;
        (auth.recovery_set, auth.recovery_used) = (1, 0);
        self.put(keys::auth(user), &auth);
        self.event(
            Event::new(EventKind::TotpChange)
                .user(user.as_str())
                .target(format!("user/{user}")),
        );
        Ok(Ok(()))
    }

    pub(super) fn browser_seen(&mut self, user: &Name, id: &str) -> Result<Verdict, KvFault> {
        let mut session = match self.browser(user, id)? {
            Ok(session) => session,
            Err(why) => return Ok(Err(why)),
        };
        session.seen = session.seen.max(self.now);
        self.put(keys::browser(id), &session);
        Ok(Ok(()))
    }

    pub(super) fn browser_logout(&mut self, user: &Name, id: &str) -> Result<Verdict, KvFault> {
        let session = match self.browser(user, id)? {
            Ok(session) => session,
            Err(why) => return Ok(Err(why)),
        };
        self.remove_browser(&session);
        self.event(
            Event::new(EventKind::Logout)
                .user(user.as_str())
                .with("session_from", &session.addr)
                .with("since", session.created),
        );
        // What runs under it is decided again.
        self.notify |= NOTIFY_POLICY;
        Ok(Ok(()))
    }

    pub(super) fn set_password(
        &mut self,
        user: &Name,
        id: &str,
        password_hash: String,
        generation: u64,
    ) -> Result<Verdict, KvFault> {
        let mut session = match self.confirmed(user, id)? {
            Ok(session) => session,
            Err(why) => return Ok(Err(why)),
        };
        let Some(mut auth) =
            super::local_auth(&self.state, user)?.filter(|auth| auth.generation == generation)
        else {
            return Ok(Err(RefusedCommand::BadLogin));
        };
        auth.password_hash = password_hash;
        auth.generation += 1;
        self.put(keys::auth(user), &auth);
        // Whoever knew the old password may hold certificates and sessions.
        self.void_certs(user);
        self.end_browsers(user, Some(id))?;
        // Not one that is void: it stays, with this entry's number.
        session.serial = self.index + 1;
        self.put(keys::browser(id), &session);
        self.notify |= NOTIFY_POLICY;
        self.event(
            Event::new(EventKind::PasswordChange)
                .user(user.as_str())
                .target(format!("user/{user}")),
        );
        Ok(Ok(()))
    }

    /// Ends all sessions of a user, but for one.
    pub(super) fn end_browsers(&mut self, user: &Name, but: Option<&str>) -> Result<(), KvFault> {
        for session in browser_sessions(&self.state, user)? {
            if Some(session.session.id.as_str()) != but {
                self.remove_browser(&session);
            }
        }
        Ok(())
    }

    fn remove_browser(&mut self, session: &BrowserSession) {
        let id = &session.session.id;
        self.state.delete(keys::browser(id));
        self.state.delete(keys::browser_of(&session.user, id));
    }
}
