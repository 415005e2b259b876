//! Who may do what. One function decides about reaching a host ([`decide`]), one about the API
//! ([`decide_rule`]), one about another's live session ([`decide_join`]); all read the same [`View`], and only they can
//! make what acting requires: a [`Permit`] to dial a host and carry its channels, a [`RulePermit`] to touch a record, a
//! [`JoinPermit`] to take part in a session.
//!
//! Deny wins, nothing is allowed by default. Decisions are plain functions of what is asked, what is known and
//! what time it is; whoever holds a permit asks again when the policy changes.

mod join;

pub use join::{JoinAsk, JoinPermit, Moderation, decide_join};

use crate::kv::{Kv, KvFault};
use crate::name::{Login, Name, SessionId};
use crate::predicate::Context;
use crate::record::{
    AuthPreferenceSpec, Conditions, Grant, HostSpec, JoinMode, Labels, LockSpec, Record, RecordingConfigSpec,
    RecordingMode, RecordingSite, RoleSpec, UserSpec, Verb,
};
use crate::state;
use crate::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::OnceLock;

/// What is known about one user at one moment: read from the state, or made by a test.
#[derive(Debug, Clone)]
pub struct View {
    /// The user.
    pub user: Record<UserSpec>,
    /// Those of the user's roles that exist. A role that is named but missing grants nothing.
    pub roles: Vec<Record<RoleSpec>>,
    /// Every lock.
    pub locks: Vec<Record<LockSpec>>,
    /// The recording policy.
    pub recording: RecordingConfigSpec,
    /// The login policy.
    pub auth: AuthPreferenceSpec,
    /// The user's certificates up to this serial are void.
    pub certs_void_until: u64,
}

impl View {
    /// Reads what is known about a user; `None` if there is no such user.
    pub fn load(kv: &dyn Kv, user: &Name) -> Result<Option<View>, KvFault> {
        let Some(user) = state::record::<UserSpec>(kv, user)? else {
            return Ok(None);
        };
        let certs_void_until = state::certs_void_until(kv, &user.metadata.name)?;
        let mut roles = Vec::new();
        for name in &user.spec.roles {
            roles.extend(state::record::<RoleSpec>(kv, name)?);
        }
        Ok(Some(View {
            user,
            roles,
            locks: state::records::<LockSpec>(kv)?,
            recording: state::recording_config(kv)?,
            auth: state::auth_preference(kv)?,
            certs_void_until,
        }))
    }

    /// Refuses a certificate that was issued to an earlier user of this name, or before the password was reset.
    pub fn check_serial(&self, serial: u64) -> Result<(), Refusal> {
        if serial <= self.certs_void_until {
            return Err(Refusal::CertVoid);
        }
        Ok(())
    }

    fn live_roles(&self, now: Timestamp) -> impl Iterator<Item = &Record<RoleSpec>> {
        self.roles.iter().filter(move |role| !role.expired(now))
    }

    /// The lock that keeps this user out, whatever they do; with a login and host, also locks on those.
    pub fn lock(
        &self,
        login: Option<&Login>,
        host: Option<&Name>,
        now: Timestamp,
    ) -> Option<&Record<LockSpec>> {
        self.locks
            .iter()
            .filter(|lock| !lock.expired(now) && !lock.spec.target.is_empty())
            .find(|lock| {
                let target = &lock.spec.target;
                target
                    .user
                    .as_ref()
                    .is_none_or(|user| *user == self.user.metadata.name)
                    && target
                        .role
                        .as_ref()
                        .is_none_or(|role| self.user.spec.roles.contains(role))
                    && target.login.as_ref().is_none_or(|locked| Some(locked) == login)
                    && target.host.as_ref().is_none_or(|locked| Some(locked) == host)
            })
    }

    /// Options of all the user's roles merged by the table at [`Options`].
    pub fn options(&self, now: Timestamp) -> Options {
        Options::merge(self.live_roles(now).map(|r| &r.spec), &self.recording, &self.auth)
    }

    /// The principals of a certificate: every login that some role allows somewhere, or [`NO_LOGIN`] where none
    /// does. A certificate without principals is never issued: some servers take it for anybody's.
    pub fn cert_principals(&self, now: Timestamp) -> Vec<Login> {
        let all = self.principals(now);
        if all.is_empty() {
            Login::parse(NO_LOGIN).into_iter().collect()
        } else {
            all
        }
    }

    /// Every login that some role allows on some host.
    pub fn principals(&self, now: Timestamp) -> Vec<Login> {
        let expand = |conditions: &Conditions| self.logins(conditions);
        let mut all: Vec<Login> = self.live_roles(now).flat_map(|r| expand(&r.spec.allow)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The logins that some live role allows on this host, deny and locks taken into account.
    pub fn logins_on(&self, host: &Record<HostSpec>, now: Timestamp) -> Vec<Login> {
        self.reach(now).logins_on(host)
    }

    /// The same for many hosts at one moment.
    pub fn reach(&self, now: Timestamp) -> Reach<'_> {
        let expanded = |role: &Record<RoleSpec>| {
            let RoleSpec { allow, deny, .. } = &role.spec;
            (self.logins(allow), self.logins(deny))
        };
        Reach {
            view: self,
            now,
            principals: OnceLock::new(),
            roles: self
                .live_roles(now)
                .map(|role| {
                    let (allowed, denied) = expanded(role);
                    (&role.spec, allowed, denied)
                })
                .collect(),
        }
    }

    fn logins(&self, conditions: &Conditions) -> Vec<Login> {
        let traits = &self.user.spec.traits;
        let expanded = conditions
            .logins
            .iter()
            .flat_map(|template| template.expand(traits));
        expanded.filter_map(|login| Login::parse(&login).ok()).collect()
    }

    fn allows(&self, login: &Login, labels: &Labels, now: Timestamp) -> bool {
        self.reach(now).allows(login, labels)
    }
}

/// Which logins a user has on which hosts, at one moment. Templates of roles are expanded once, for all hosts.
#[derive(Debug, Clone)]
pub struct Reach<'a> {
    view: &'a View,
    now: Timestamp,
    /// Found when they are first asked for: a decision about one login needs none.
    principals: OnceLock<Vec<Login>>,
    /// Live roles, with the logins that they allow and that they deny.
    roles: Vec<(&'a RoleSpec, Vec<Login>, Vec<Login>)>,
}

impl Reach<'_> {
    /// The logins that some role allows on this host, deny and locks taken into account.
    pub fn logins_on(&self, host: &Record<HostSpec>) -> Vec<Login> {
        let may = |login: &&Login| {
            self.allows(login, &host.metadata.labels)
                && self
                    .view
                    .lock(Some(login), Some(&host.metadata.name), self.now)
                    .is_none()
        };
        let principals = self.principals.get_or_init(|| self.view.principals(self.now));
        principals.iter().filter(may).cloned().collect()
    }

    fn allows(&self, login: &Login, labels: &Labels) -> bool {
        // A deny names logins, labels or both; what it leaves out, it does not restrict to.
        let denied = self.roles.iter().any(|(role, _, denied)| {
            let deny = &role.deny;
            let by_login = denied.contains(login);
            match (deny.logins.is_empty(), deny.host_labels.is_empty()) {
                (true, true) => false,
                (false, true) => by_login,
                (true, false) => deny.host_labels.matches(labels),
                (false, false) => by_login && deny.host_labels.matches(labels),
            }
        });
        let allowed = |(role, allowed, _): &(&RoleSpec, Vec<Login>, Vec<Login>)| {
            allowed.contains(login) && role.allow.host_labels.matches(labels)
        };
        !denied && self.roles.iter().any(allowed)
    }
}

/// Options of several roles as one.
///
/// | option | over several roles | when no role says |
/// | --- | --- | --- |
/// | `max_session_ttl` | the shortest | `default_session_ttl` of the cluster |
/// | `client_idle_timeout` | the shortest that is not 0 | no limit |
/// | `disconnect_expired_cert` | yes if any says yes | no |
/// | `port_forwarding` | no if any says no | no |
/// | `forward_agent` | no if any says no | no |
/// | `x11_forwarding` | no if any says no | no |
/// | `file_copy` | no if any says no | yes |
/// | `max_sessions` | the smallest that is not 0 | no limit |
/// | `record_session` | `strict` if any says strict | the cluster's `session_recording_config` |
/// | `pin_source_ip` | yes if any says yes | no |
/// | `require_session_join` | each role's list has to be met, by any one on it | nobody is needed |
/// | its `on_leave` | `terminate` if any list that is not met any more says so | - |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The longest life of a certificate.
    pub max_session_ttl: Ttl,
    /// Ends silent sessions.
    pub client_idle_timeout: Option<Ttl>,
    /// Ends sessions with their certificate.
    pub disconnect_expired_cert: bool,
    /// Carries forwards.
    pub port_forwarding: bool,
    /// Carries the SSH agent.
    pub forward_agent: bool,
    /// Carries X11 from hosts that run an agent.
    pub x11_forwarding: bool,
    /// Lets files be copied: by SFTP, SCP and rsync alike.
    pub file_copy: bool,
    /// Limit of sessions at a time.
    pub max_sessions: Option<u32>,
    /// How sessions are recorded.
    pub record_session: RecordingMode,
    /// Pins certificates to an address.
    pub pin_source_ip: bool,
    /// Who has to join sessions.
    pub require_session_join: Moderation,
}

impl Options {
    fn merge<'a>(
        roles: impl Iterator<Item = &'a RoleSpec>,
        recording: &RecordingConfigSpec,
        auth: &AuthPreferenceSpec,
    ) -> Self {
        let roles: Vec<_> = roles.collect();
        let all: Vec<_> = roles.iter().map(|role| &role.options).collect();
        let any = |said: fn(&&crate::record::RoleOptions) -> Option<bool>| {
            all.iter().any(|o| said(o) == Some(true))
        };
        let none_refuses = |said: fn(&&crate::record::RoleOptions) -> Option<bool>| {
            any(said) && !all.iter().any(|o| said(o) == Some(false))
        };
        let shortest = |said: fn(&&crate::record::RoleOptions) -> Option<Ttl>| {
            all.iter().filter_map(said).filter(|ttl| !ttl.is_zero()).min()
        };
        let recorded = all.iter().filter_map(|o| o.record_session).max();
        Options {
            max_session_ttl: shortest(|o| o.max_session_ttl).unwrap_or(auth.default_session_ttl),
            client_idle_timeout: shortest(|o| o.client_idle_timeout),
            disconnect_expired_cert: any(|o| o.disconnect_expired_cert),
            port_forwarding: none_refuses(|o| o.port_forwarding),
            forward_agent: none_refuses(|o| o.forward_agent),
            x11_forwarding: none_refuses(|o| o.x11_forwarding),
            file_copy: !all.iter().any(|o| o.file_copy == Some(false)),
            max_sessions: all
                .iter()
                .filter_map(|o| o.max_sessions)
                .filter(|most| *most > 0)
                .min(),
            record_session: recorded.unwrap_or(recording.mode),
            pin_source_ip: any(|o| o.pin_source_ip),
            require_session_join: Moderation::of(roles.iter().copied()),
        }
    }
}

/// What a user wants on a host. Every SSH channel type and request has its ability; there is no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// To connect at all.
    Connect,
    /// A terminal, a shell.
    Shell,
    /// One command.
    Exec,
    /// The SFTP subsystem.
    Sftp,
    /// Any other subsystem.
    Subsystem,
    /// `-L`, `-D`: connections from the host outwards.
    LocalForward,
    /// `-R`: a listener on the host.
    RemoteForward,
    /// Sockets of the host, `-L` with paths.
    StreamLocal,
    /// The user's SSH agent on the host.
    AgentForward,
    /// X11 from the host.
    X11,
}

impl Ability {
    /// Every ability.
    pub const ALL: [Ability; 10] = [
        Ability::Connect,
        Ability::Shell,
        Ability::Exec,
        Ability::Sftp,
        Ability::Subsystem,
        Ability::LocalForward,
        Ability::RemoteForward,
        Ability::StreamLocal,
        Ability::AgentForward,
        Ability::X11,
    ];

    /// A word for refusals and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ability::Connect => "connect",
            Ability::Shell => "shell",
            Ability::Exec => "exec",
            Ability::Sftp => "sftp",
            Ability::Subsystem => "subsystem",
            Ability::LocalForward => "local port forwarding",
            Ability::RemoteForward => "remote port forwarding",
            Ability::StreamLocal => "socket forwarding",
            Ability::AgentForward => "agent forwarding",
            Ability::X11 => "x11 forwarding",
        }
    }
}

impl Ability {
    /// OpenSSH's extension that a certificate must carry for it, if there is one (PROTOCOL.certkeys).
    pub const fn extension(self) -> Option<&'static str> {
        match self {
            Ability::LocalForward | Ability::RemoteForward | Ability::StreamLocal => {
                Some("permit-port-forwarding")
            }
            Ability::AgentForward => Some("permit-agent-forwarding"),
            Ability::X11 => Some("permit-X11-forwarding"),
            Ability::Connect | Ability::Shell | Ability::Exec | Ability::Sftp | Ability::Subsystem => None,
        }
    }
}

/// What a checked certificate says about who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The logins it names.
    pub principals: Vec<Login>,
    /// Its serial: the index of the log entry that allowed it.
    pub serial: u64,
    /// Its last moment.
    pub valid_before: Timestamp,
    /// The address it is pinned to.
    pub source_address: Option<IpAddr>,
}

/// What is asked about a host.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// What the certificate says.
    pub credential: &'a Credential,
    /// Where the user comes from.
    pub client: Option<IpAddr>,
    /// The account on the host.
    pub login: &'a Login,
    /// The host.
    pub host: &'a Record<HostSpec>,
    /// What is wanted there.
    pub ability: Ability,
}

/// The right to dial one host as one login for one user. Only [`decide`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    user: Name,
    login: Login,
    host: Record<HostSpec>,
    ability: Ability,
    cert_ends: Timestamp,
    options: Options,
    exec_capture_bytes: u64,
}

impl Permit {
    /// Who.
    pub fn user(&self) -> &Name {
        &self.user
    }
    /// As which account.
    pub fn login(&self) -> &Login {
        &self.login
    }
    /// Where: the host's record, with its address and pinned key.
    pub fn host(&self) -> &Record<HostSpec> {
        &self.host
    }
    /// What for.
    pub fn ability(&self) -> Ability {
        self.ability
    }
    /// The user's options.
    pub fn options(&self) -> &Options {
        &self.options
    }
    /// When the session must end because its certificate does, if the role says so.
    pub fn ends(&self) -> Option<Timestamp> {
        self.options.disconnect_expired_cert.then_some(self.cert_ends)
    }
    /// How much of an exec without a terminal is recorded whole, per direction.
    pub fn exec_capture_bytes(&self) -> u64 {
        self.exec_capture_bytes
    }
}

/// Why something is refused. The text may be shown to the person refused: it tells nothing they may not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such user any more.
    #[error("user {0} does not exist")]
    NoUser(String),
    /// A lock.
    #[error("locked: {0}")]
    Locked(String),
    /// The certificate has run out.
    #[error("your certificate has expired: run `pal login`")]
    CertExpired,
    /// The certificate is older than the user's present credentials.
    #[error("your certificate is from before your password was set: run `pal login`")]
    CertVoid,
    /// The certificate is pinned to another address.
    #[error("your certificate works only from {0}: run `pal login` from here")]
    OtherAddress(IpAddr),
    /// The certificate does not name the login.
    #[error("your certificate does not allow login {0}: run `pal login` again if your roles changed")]
    NotAPrincipal(Login),
    /// No role allows the login on the host, or one denies it.
    #[error("none of your roles allows login {login} on {host}")]
    NotAllowed {
        /// The login.
        login: Login,
        /// The host.
        host: Name,
    },
    /// A role option is off.
    #[error("{0} is not allowed by your roles")]
    AbilityOff(&'static str),
    /// The user's sessions have to be joined by others, and this cannot be.
    #[error(
        "your roles want others in your sessions ({needs}): {what} is refused, only a shell in a terminal, on a host \
         with an agent that records it, can be joined"
    )]
    Unmoderated {
        /// Who is needed.
        needs: String,
        /// What was asked for.
        what: &'static str,
    },
    /// There is no such session, or no role allows to join it. The two look the same.
    #[error("there is no live session {session} that your roles let you join as {}", mode.as_str())]
    NotJoinable {
        /// The session.
        session: SessionId,
        /// As what.
        mode: JoinMode,
    },
    /// Nobody is their own moderator.
    #[error("you cannot moderate your own session")]
    OwnSession,
    /// No rule allows the verb on the resource.
    #[error("none of your roles allows {verb} on {resource}")]
    NoRule {
        /// The verb.
        verb: &'static str,
        /// The resource.
        resource: String,
    },
    /// An agent asked for what people do.
    #[error("an agent's certificate is for its tunnel and its own renewal")]
    AgentHere,
    /// Somebody who is no agent asked for what agents do.
    #[error("this is for agents alone, with the certificate that they joined by")]
    NotAnAgent,
    /// A change would give away more than the one who makes it holds.
    #[error("you cannot grant what you do not hold: {0}")]
    GrantAboveOwn(String),
}

/// What stands first in every decision about whoever holds a certificate: locks on them, on the account or on the host,
/// whether they still exist, and whether the certificate is of now and used from where it was made for.
fn check_holder(
    view: &View,
    credential: &Credential,
    client: Option<IpAddr>,
    login: &Login,
    host: &Name,
    now: Timestamp,
) -> Result<(), Refusal> {
    if let Some(lock) = view.lock(Some(login), Some(host), now) {
        return Err(Refusal::Locked(lock_text(lock)));
    }
    if view.user.expired(now) {
        return Err(Refusal::NoUser(view.user.metadata.name.to_string()));
    }
    view.check_serial(credential.serial)?;
    match (credential.source_address, client) {
        (Some(pinned), Some(client)) if pinned.to_canonical() != client.to_canonical() => {
            Err(Refusal::OtherAddress(pinned))
        }
        _ => Ok(()),
    }
}

/// Decides whether a user may do something on a host.
pub fn decide(ask: &Ask<'_>, view: &View, now: Timestamp) -> Result<Permit, Refusal> {
    let (login, host) = (ask.login, ask.host);
    check_holder(view, ask.credential, ask.client, login, &host.metadata.name, now)?;
    let options = view.options(now);
    // A running session asks again after its certificate ended; whether that matters is the role's choice.
    let expired = ask.credential.valid_before <= now;
    if expired && (ask.ability == Ability::Connect || options.disconnect_expired_cert) {
        return Err(Refusal::CertExpired);
    }
    if !ask.credential.principals.contains(login) {
        return Err(Refusal::NotAPrincipal(login.clone()));
    }
    if !view.allows(login, &host.metadata.labels, now) || host.expired(now) {
        return Err(Refusal::NotAllowed {
            login: login.clone(),
            host: host.metadata.name.clone(),
        });
    }
    let permitted = match ask.ability {
        Ability::Connect | Ability::Shell | Ability::Exec => true,
        Ability::Sftp => options.file_copy,
        Ability::LocalForward | Ability::RemoteForward | Ability::StreamLocal => options.port_forwarding,
        Ability::AgentForward => options.forward_agent,
        // A plain OpenSSH server is not asked for it: the relay at the nodes does not carry X11.
        Ability::X11 => options.x11_forwarding && host.spec.agent.is_some(),
        // Nothing records what an unknown subsystem does, so nothing carries it.
        Ability::Subsystem => false,
    };
    if !permitted {
        return Err(Refusal::AbilityOff(ask.ability.as_str()));
    }
    let needs = &options.require_session_join;
    // Others take part at the agent alone: where a node records, nobody could.
    let at_agent = RecordingSite::of(&host.spec, &view.recording) == RecordingSite::Node;
    let can_be_joined = matches!(ask.ability, Ability::Connect | Ability::Shell) && at_agent;
    if !needs.is_empty() && !can_be_joined {
        return Err(Refusal::Unmoderated {
            needs: needs.to_string(),
            what: ask.ability.as_str(),
        });
    }
    Ok(Permit {
        user: view.user.metadata.name.clone(),
        login: login.clone(),
        host: host.clone(),
        ability: ask.ability,
        cert_ends: ask.credential.valid_before,
        options,
        exec_capture_bytes: view.recording.exec_capture_bytes,
    })
}

/// One line about a lock, for those it keeps out.
pub fn lock_text(lock: &Record<LockSpec>) -> String {
    if lock.spec.message.is_empty() {
        lock.spec.target.shown()
    } else {
        lock.spec.message.clone()
    }
}

/// What is asked about a resource of the API.
#[derive(Debug, Clone, Copy)]
pub struct RuleAsk<'a> {
    /// What is to be done.
    pub verb: Verb,
    /// To what.
    pub resource: Grant,
    /// The record, where there is one: its name and labels.
    pub record: Option<(&'a str, &'a Labels)>,
}

/// The right to use a verb on a resource. Only [`decide_rule`] and [`local_operator`] make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePermit {
    actor: String,
    verb: Verb,
    resource: Grant,
}

impl RulePermit {
    /// Who.
    pub fn actor(&self) -> &str {
        &self.actor
    }
    /// What.
    pub fn verb(&self) -> Verb {
        self.verb
    }
    /// On what.
    pub fn resource(&self) -> Grant {
        self.resource
    }
}

/// Decides whether a user may use a verb on a resource.
pub fn decide_rule(ask: &RuleAsk<'_>, view: &View, now: Timestamp) -> Result<RulePermit, Refusal> {
    if let Some(lock) = view.lock(None, None, now) {
        return Err(Refusal::Locked(lock_text(lock)));
    }
    if view.user.expired(now) {
        return Err(Refusal::NoUser(view.user.metadata.name.to_string()));
    }
    let none = Labels::new();
    let (name, labels) = ask.record.unwrap_or(("", &none));
    let context = Context {
        user_name: view.user.metadata.name.as_str(),
        user_roles: &view.user.spec.roles,
        user_traits: &view.user.spec.traits,
        resource_kind: grant_word(ask.resource),
        resource_name: name,
        resource_labels: labels,
    };
    let covers = |conditions: &Conditions, denies: bool| {
        conditions.rules.iter().any(|rule| {
            (rule.resources.contains(&Grant::All) || rule.resources.contains(&ask.resource))
                && (rule.verbs.contains(&Verb::All) || rule.verbs.contains(&ask.verb))
                // A condition on the record cannot hold for a question without one, such as "list": an allow rule
                // with a condition then allows nothing by itself, a deny rule is asked again for each record.
                && rule.condition.as_ref().is_none_or(|c| if ask.record.is_none() { !denies && ask.verb == Verb::List } else { c.evaluate(&context) })
        })
    };
    let denied = view.live_roles(now).any(|r| covers(&r.spec.deny, true));
    let allowed = view.live_roles(now).any(|r| covers(&r.spec.allow, false));
    if denied || !allowed {
        let resource = if name.is_empty() {
            grant_word(ask.resource).to_owned()
        } else {
            format!("{} {name}", grant_word(ask.resource))
        };
        return Err(Refusal::NoRule {
            verb: ask.verb.as_str(),
            resource,
        });
    }
    Ok(RulePermit {
        actor: view.user.metadata.name.to_string(),
        verb: ask.verb,
        resource: ask.resource,
    })
}

/// The right of whoever may open the node's own control socket: the operating system has checked them.
pub fn local_operator(verb: Verb, resource: Grant) -> RulePermit {
    RulePermit {
        actor: LOCAL_OPERATOR.to_owned(),
        verb,
        resource,
    }
}

/// The principal of somebody who may log in to Palisade and to no host. Account names have no `@`.
pub const NO_LOGIN: &str = "no-login@palisade";

/// How the operator at a node's own control socket appears in the audit log. Not a valid user name.
pub const LOCAL_OPERATOR: &str = "local:operator";

/// Refuses a change of roles or users by which somebody would give away more than they hold: whoever may write
/// roles but does not hold `*` on `*` cannot write a role or grant one that does, nor logins, rules or rights to join
/// that they lack.
pub fn check_grant(granted: &RoleSpec, view: &View, now: Timestamp) -> Result<(), Refusal> {
    for rule in &granted.allow.rules {
        for &resource in &rule.resources {
            for &verb in &rule.verbs {
                let holds = view.live_roles(now).flat_map(|r| &r.spec.allow.rules).any(|own| {
                    own.condition.is_none()
                        && (own.resources.contains(&Grant::All) || own.resources.contains(&resource))
                        && (own.verbs.contains(&Verb::All) || own.verbs.contains(&verb))
                });
                if !holds {
                    return Err(Refusal::GrantAboveOwn(format!(
                        "{} on {}",
                        verb.as_str(),
                        grant_word(resource)
                    )));
                }
            }
        }
    }
    // Whoever holds everything may hand out any login.
    let holds_all = view.live_roles(now).flat_map(|r| &r.spec.allow.rules).any(|own| {
        own.condition.is_none() && own.resources.contains(&Grant::All) && own.verbs.contains(&Verb::All)
    });
    if !holds_all {
        let own: Vec<String> = view
            .live_roles(now)
            .flat_map(|r| &r.spec.allow.logins)
            .map(|t| t.to_string())
            .collect();
        if let Some(login) = granted
            .allow
            .logins
            .iter()
            .map(|t| t.to_string())
            .find(|login| !own.contains(login))
        {
            return Err(Refusal::GrantAboveOwn(format!("login {login}")));
        }
        join::check_grant(&granted.allow, view, now)?;
    }
    Ok(())
}

/// The word of a grant in YAML.
pub fn grant_word(grant: Grant) -> &'static str {
    match grant {
        Grant::All => "*",
        Grant::User => "user",
        Grant::Role => "role",
        Grant::Token => "token",
        Grant::Host => "host",
        Grant::Lock => "lock",
        Grant::CertAuthority => "cert_authority",
        Grant::AuthPreference => "cluster_auth_preference",
        Grant::RecordingConfig => "session_recording_config",
        Grant::Recording => "recording",
        Grant::Node => "node",
        Grant::MaintenanceConfig => "cluster_maintenance_config",
        Grant::Session => "session",
        Grant::Event => "event",
    }
}
