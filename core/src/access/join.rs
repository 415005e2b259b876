//! Taking part in another's live session: who may, and who has to.

use super::{Credential, Options, Refusal, View, check_holder};
use crate::name::{Login, Name, SessionId};
use crate::record::{Conditions, JoinMode, JoinSessions, OnLeave, RequireSessionJoin, RoleSpec};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What is asked about a session.
#[derive(Debug, Clone, Copy)]
pub struct JoinAsk<'a> {
    /// What the certificate of who wants to join says.
    pub credential: &'a Credential,
    /// Where they come from.
    pub client: Option<IpAddr>,
    /// The session.
    pub session: &'a SessionId,
    /// What is known about its owner.
    pub owner: &'a View,
    /// The account that it runs as.
    pub login: &'a Login,
    /// The host that it runs on.
    pub host: &'a Name,
    /// As what they want to join.
    pub mode: JoinMode,
    /// They are in it already: whether that outlives their certificate is their role's choice.
    pub again: bool,
}

/// The right of one user to take part in one session in one mode. Only [`decide_join`] makes it. It carries no login:
/// whoever joins gains nothing else on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinPermit {
    user: Name,
    session: SessionId,
    mode: JoinMode,
    ends: Option<Timestamp>,
}

impl JoinPermit {
    /// Who.
    pub fn user(&self) -> &Name {
        &self.user
    }
    /// Which session.
    pub fn session(&self) -> &SessionId {
        &self.session
    }
    /// As what.
    pub fn mode(&self) -> JoinMode {
        self.mode
    }
    /// When they must leave because their certificate ends, if the role says so.
    pub fn ends(&self) -> Option<Timestamp> {
        self.ends
    }
}

/// Decides whether a user may take part in another's session. Deny wins; nobody may by default, not even with access to
/// the same host.
pub fn decide_join(ask: &JoinAsk<'_>, view: &View, now: Timestamp) -> Result<JoinPermit, Refusal> {
    check_holder(view, ask.credential, ask.client, ask.login, ask.host, now)?;
    let options: Options = view.options(now);
    if ask.credential.valid_before <= now && (!ask.again || options.disconnect_expired_cert) {
        return Err(Refusal::CertExpired);
    }
    if !may_join(ask, view, now) {
        return Err(Refusal::NotJoinable {
            session: ask.session.clone(),
            mode: ask.mode,
        });
    }
    if ask.mode == JoinMode::Moderator && ask.owner.user.metadata.name == view.user.metadata.name {
        return Err(Refusal::OwnSession);
    }
    Ok(JoinPermit {
        user: view.user.metadata.name.clone(),
        session: ask.session.clone(),
        mode: ask.mode,
        ends: options
            .disconnect_expired_cert
            .then_some(ask.credential.valid_before),
    })
}

fn may_join(ask: &JoinAsk<'_>, view: &View, now: Timestamp) -> bool {
    let names = |all: &[JoinSessions], role: &Name| {
        all.iter().any(|one| {
            one.modes.contains(&ask.mode) && one.roles.iter().any(|pattern| pattern.matches(role.as_str()))
        })
    };
    // What is denied is denied by any name that the owner carries; what is allowed hangs on roles that exist.
    let owned = &ask.owner.user.spec.roles;
    let denied = view
        .live_roles(now)
        .any(|own| owned.iter().any(|role| names(&own.spec.deny.join_sessions, role)));
    let allowed = view.live_roles(now).any(|own| {
        let mut of_owner = ask.owner.live_roles(now);
        of_owner.any(|role| names(&own.spec.allow.join_sessions, &role.metadata.name))
    });
    !denied && allowed
}

/// Refuses to give away rights to join that the giver lacks: each mode must be held for the same pattern, or for all.
pub(super) fn check_grant(granted: &Conditions, view: &View, now: Timestamp) -> Result<(), Refusal> {
    for given in &granted.join_sessions {
        for pattern in &given.roles {
            for mode in &given.modes {
                let held = view
                    .live_roles(now)
                    .flat_map(|role| &role.spec.allow.join_sessions)
                    .any(|own| {
                        own.modes.contains(mode) && own.roles.iter().any(|p| p.is_any() || p == pattern)
                    });
                if !held {
                    return Err(Refusal::GrantAboveOwn(format!(
                        "joining sessions of {pattern} as {}",
                        mode.as_str()
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Who has to take part in a user's sessions: the lists of all their roles. Each list has to be met, by any one on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moderation(Vec<Vec<RequireSessionJoin>>);

impl Moderation {
    /// Of all the roles of a user.
    pub fn of<'a>(roles: impl Iterator<Item = &'a RoleSpec>) -> Self {
        let lists = roles.map(|role| role.allow.require_session_join.clone());
        Moderation(lists.filter(|list| !list.is_empty()).collect())
    }

    /// Whether nobody is needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether those who are here are enough; if not, what becomes of a session that has begun. `present` has one mode
    /// for each person other than the owner: who is there twice counts once.
    pub fn judge(&self, present: &[JoinMode]) -> Result<(), OnLeave> {
        let met = |one: &RequireSessionJoin| {
            let here = present.iter().filter(|mode| one.modes.contains(mode)).count();
            u32::try_from(here).unwrap_or(u32::MAX) >= one.count.get()
        };
        let unmet = self.0.iter().filter(|list| !list.iter().any(met));
        match unmet.flatten().map(|one| one.on_leave).max() {
            Some(on_leave) => Err(on_leave),
            None => Ok(()),
        }
    }
}

/// `1 moderator`, `1 moderator or 2 peer`, `1 moderator and 1 observer`.
impl fmt::Display for Moderation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, list) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(" and ")?;
            }
            for (n, one) in list.iter().enumerate() {
                if n > 0 {
                    f.write_str(" or ")?;
                }
                write!(f, "{}", one.count)?;
                for (n, mode) in one.modes.iter().enumerate() {
                    f.write_str(if n > 0 { "/" } else { " " })?;
                    f.write_str(mode.as_str())?;
                }
            }
        }
        Ok(())
    }
}
