//! A pass: what a node decided about one connection to an agent's host, in the words that the agent needs.
//!
//! An agent holds no roles and asks no cluster state. The node that takes a user's connection decides about every
//! login and ability at once ([`Pass::decide`]), or about the one session that they want to join ([`Pass::to_join`]), and
//! sends the outcome along with the bytes. An agent believes a pass
//! because it came through its own tunnel, whose far end proved to be a node of its cluster. What the agent later
//! writes for the connection (the session's start, its events) it accompanies with the pass's `proof`: the
//! [`Claims`] sealed under the cluster key, so that any node can check them and no agent can write a session of
//! somebody who never came.

use crate::access::{self, Ability, Ask, Credential, JoinPermit, Moderation, Permit, Refusal, View};
use crate::name::{Login, Name, SessionId};
use crate::record::{HostSpec, JoinMode, Record, RecordingMode, RecordingSite};
use crate::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};

/// The version byte of sealed claims.
pub const CLAIMS_VERSION: u8 = 1;

/// The SSH user name of a connection that joins a session. It is no account: such a connection has none.
pub const JOIN_LOGIN: &str = "join@palisade";

/// Who came, to where: what a node checked, and what it takes to decide again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The connection's id, in hex; drawn by the client.
    pub connection: String,
    /// The host's name.
    pub host: Name,
    /// The agent's id: see [`HostAgent::id`](crate::record::HostAgent::id).
    pub agent: u64,
    /// The user.
    pub user: Name,
    /// What the user's certificate says.
    pub credential: Credential,
    /// The OpenSSH extensions in it, such as `permit-pty`.
    pub extensions: Vec<String>,
    /// Where the user comes from, `address:port`.
    pub client_addr: String,
    /// When the node decided.
    pub issued: Timestamp,
    /// The session that they come to join, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Joining>,
}

/// A session that somebody joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// Which.
    pub session: SessionId,
    /// As what.
    pub mode: JoinMode,
}

/// What a user may do as one login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginPass {
    /// The account on the host.
    pub login: Login,
    /// What they may do as this account. What is not listed is refused.
    pub abilities: Vec<Ability>,
    /// Ends silent sessions.
    pub client_idle_timeout: Option<Ttl>,
    /// When sessions end because the certificate does, if the role says so.
    pub ends: Option<Timestamp>,
    /// How many sessions the user may have at a time, over all hosts.
    pub max_sessions: Option<u32>,
    /// How sessions are recorded.
    pub record_session: RecordingMode,
    /// How much of an exec without a terminal is recorded whole, per direction, in bytes.
    pub exec_capture_bytes: u64,
    /// Who has to join a session for it to begin and to go on.
    #[serde(default, skip_serializing_if = "Moderation::is_empty")]
    pub require_session_join: Moderation,
}

/// What somebody may do who joins a session: be in it, as one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinPass {
    /// Which session, and as what.
    pub joining: Joining,
    /// When they must leave because their certificate ends, if the role says so.
    pub ends: Option<Timestamp>,
}

/// The decision about one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    claims: Claims,
    logins: Vec<LoginPass>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    join: Option<JoinPass>,
    proof: Vec<u8>,
    #[serde(default)]
    site: RecordingSite,
}

impl Pass {
    /// Decides for every login of the certificate and every ability. `seal` turns claims into the proof. Refused if
    /// no login may connect; the reason is that of the first login.
    pub fn decide(
        claims: Claims,
        host: &Record<HostSpec>,
        view: &View,
        now: Timestamp,
        seal: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<Pass, Refusal> {
        Pass::decide_as(Ability::Connect, claims, host, view, now, seal)
    }

    /// Decides anew about a connection that runs: it may outlive its certificate where the role says so.
    pub fn decide_again(
        claims: Claims,
        host: &Record<HostSpec>,
        view: &View,
        now: Timestamp,
        seal: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<Pass, Refusal> {
        Pass::decide_as(Ability::Shell, claims, host, view, now, seal)
    }

    /// For somebody who joins a session: the permit becomes the pass. It has no login.
    pub fn to_join(claims: Claims, permit: &JoinPermit, seal: impl FnOnce(&[u8]) -> Vec<u8>) -> Pass {
        let joining = Joining {
            session: permit.session().clone(),
            mode: permit.mode(),
        };
        let claims = Claims {
            user: permit.user().clone(),
            join: Some(joining.clone()),
            ..claims
        };
        let proof = seal(&claims.to_bytes());
        Pass {
            claims,
            logins: Vec::new(),
            join: Some(JoinPass {
                joining,
                ends: permit.ends(),
            }),
            proof,
            site: RecordingSite::Node,
        }
    }

    fn decide_as(
        least: Ability,
        claims: Claims,
        host: &Record<HostSpec>,
        view: &View,
        now: Timestamp,
        seal: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<Pass, Refusal> {
        if let Some(Joining { session, mode }) = claims.join {
            return Err(Refusal::NotJoinable { session, mode });
        }
        let mut logins = Vec::new();
        let mut why = None;
        for login in &claims.credential.principals {
            match login_pass(least, &claims, host, view, login, now) {
                Ok(pass) => logins.push(pass),
                Err(refusal) => why = why.or(Some(refusal)),
            }
        }
        if logins.is_empty() {
            return Err(why.unwrap_or_else(|| Refusal::NoUser(claims.user.to_string())));
        }
        let proof = seal(&claims.to_bytes());
        Ok(Pass {
            claims,
            logins,
            join: None,
            proof,
            site: RecordingSite::Node,
        })
    }

    /// The same for a connection that the node itself makes for the user: it records what happens there, and the agent
    /// does not.
    pub fn recorded_at_the_node(mut self) -> Self {
        self.site = RecordingSite::Proxy;
        self
    }

    /// Who records the connection: the agent (`node`), or the node that made it (`proxy`).
    pub fn site(&self) -> RecordingSite {
        self.site
    }

    /// Who came.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What they may do as a login; `None` if they may not be that login here.
    pub fn login(&self, login: &str) -> Option<&LoginPass> {
        self.logins.iter().find(|pass| pass.login.as_str() == login)
    }

    /// Every login they may use here.
    pub fn logins(&self) -> &[LoginPass] {
        &self.logins
    }

    /// The session that they join, if that is what they come for: then there is no login.
    pub fn join(&self) -> Option<&JoinPass> {
        self.join.as_ref()
    }

    /// Whether both allow the same.
    pub fn allows_the_same_as(&self, other: &Pass) -> bool {
        self.logins == other.logins && self.join == other.join
    }

    /// Given back to a node with everything that is written for this connection.
    pub fn proof(&self) -> &[u8] {
        &self.proof
    }
}

fn login_pass(
    least: Ability,
    claims: &Claims,
    host: &Record<HostSpec>,
    view: &View,
    login: &Login,
    now: Timestamp,
) -> Result<LoginPass, Refusal> {
    let decide = |ability: Ability| {
        let ask = Ask {
            credential: &claims.credential,
            client: client_ip(&claims.client_addr),
            login,
            host,
            ability,
        };
        access::decide(&ask, view, now)
    };
    let permit: Permit = decide(least)?;
    let carried = |ability: &Ability| {
        ability
            .extension()
            .is_none_or(|needed| claims.extensions.iter().any(|e| e == needed))
    };
    let abilities = Ability::ALL.into_iter().filter(carried);
    Ok(LoginPass {
        login: login.clone(),
        abilities: abilities.filter(|ability| decide(*ability).is_ok()).collect(),
        client_idle_timeout: permit.options().client_idle_timeout,
        ends: permit.ends(),
        max_sessions: permit.options().max_sessions,
        record_session: permit.options().record_session,
        exec_capture_bytes: permit.exec_capture_bytes(),
        require_session_join: permit.options().require_session_join.clone(),
    })
}

fn client_ip(addr: &str) -> Option<std::net::IpAddr> {
    addr.parse::<std::net::SocketAddr>().ok().map(|addr| addr.ip())
}

impl Claims {
    /// The bytes that are sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::wire::encode(CLAIMS_VERSION, self)
    }

    /// Reads the bytes that a seal held.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, crate::wire::WireError> {
        crate::wire::decode("claims of a connection", CLAIMS_VERSION, bytes)
    }
}
