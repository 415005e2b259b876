//! `role`: what its holders may do. Nothing is allowed that no role allows, and `deny` wins over every `allow`.

use crate::pattern::{LabelSelector, Pattern, Template};
use crate::predicate::Predicate;
use crate::record::{Kind, RecordingMode};
use crate::time::Ttl;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleSpec {
    /// Limits on what the role's holders do.
    #[serde(default)]
    pub options: RoleOptions,
    /// What is allowed.
    #[serde(default)]
    pub allow: Conditions,
    /// What is refused, whatever any role allows.
    #[serde(default, deserialize_with = "denying")]
    pub deny: Conditions,
}

/// A requirement is no permission, so there is none to take away: where it would be without effect it is refused.
fn denying<'de, D: Deserializer<'de>>(from: D) -> Result<Conditions, D::Error> {
    let deny = Conditions::deserialize(from)?;
    if deny.require_session_join.is_empty() {
        Ok(deny)
    } else {
        Err(D::Error::custom("require_session_join belongs under allow"))
    }
}

/// The conditions under which a role allows or denies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conditions {
    /// Accounts on hosts; may hold templates such as `{{internal.logins}}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<Template>,
    /// Which hosts, by their labels. An empty selector matches no host.
    #[serde(default, skip_serializing_if = "LabelSelector::is_empty")]
    pub host_labels: LabelSelector,
    /// What may be done with records over the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Whose live sessions may be joined, and as what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub join_sessions: Vec<JoinSessions>,
    /// Who must have joined the holders' own sessions for these to begin and to go on. One of the list is enough; of
    /// several roles each has its say. Only under `allow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require_session_join: Vec<RequireSessionJoin>,
}

/// As what somebody takes part in another's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JoinMode {
    /// Looks on.
    Observer,
    /// Looks on and may end the session.
    Moderator,
    /// Looks on and types as well.
    Peer,
}

impl JoinMode {
    /// Every mode.
    pub const ALL: [JoinMode; 3] = [JoinMode::Observer, JoinMode::Moderator, JoinMode::Peer];

    /// The word in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            JoinMode::Observer => "observer",
            JoinMode::Moderator => "moderator",
            JoinMode::Peer => "peer",
        }
    }
}

/// Whose live sessions may be joined, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinSessions {
    /// Those of users who hold a role whose name matches one of these.
    #[serde(deserialize_with = "at_least_one")]
    pub roles: Vec<Pattern>,
    /// As one of these.
    #[serde(deserialize_with = "at_least_one")]
    pub modes: Vec<JoinMode>,
}

/// Who must have joined a session for it to begin and to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RequireSessionJoin {
    /// As one of these.
    #[serde(deserialize_with = "at_least_one")]
    pub modes: Vec<JoinMode>,
    /// How many people, other than the session's owner.
    #[serde(default = "one")]
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1))]
    pub count: NonZeroU32,
    /// What becomes of a session that has begun when there are fewer.
    #[serde(default)]
    pub on_leave: OnLeave,
}

/// What becomes of a session when those whom it needs are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OnLeave {
    /// It takes no input and shows no output until they are back.
    Pause,
    /// It ends.
    #[default]
    Terminate,
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// A list that would mean nothing, or everything, if it were empty.
fn at_least_one<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let all = Vec::deserialize(from)?;
    if all.is_empty() {
        return Err(D::Error::custom("name at least one"));
    }
    Ok(all)
}

/// What may be done with which records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rule {
    /// Kinds of record, or `*`.
    pub resources: Vec<Grant>,
    /// What may be done, or `*`.
    pub verbs: Vec<Verb>,
    /// A condition on the record and the user.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Predicate>,
}

/// What a rule is about: a kind of record, everything, or one of the things that are not records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Grant {
    /// Every resource.
    #[serde(rename = "*")]
    All,
    /// Users, their invites and resets.
    #[serde(rename = "user")]
    User,
    /// Roles.
    #[serde(rename = "role")]
    Role,
    /// Join tokens.
    #[serde(rename = "token")]
    Token,
    /// Hosts.
    #[serde(rename = "host")]
    Host,
    /// Locks.
    #[serde(rename = "lock")]
    Lock,
    /// Certificate authorities; `create` on it also signs host certificates.
    #[serde(rename = "cert_authority")]
    CertAuthority,
    /// The login policy.
    #[serde(rename = "cluster_auth_preference")]
    AuthPreference,
    /// The recording policy.
    #[serde(rename = "session_recording_config")]
    RecordingConfig,
    /// Recordings: `list` shows rows, `read` plays.
    #[serde(rename = "recording")]
    Recording,
    /// Nodes: membership, leadership.
    #[serde(rename = "node")]
    Node,
    /// The upkeep policy.
    #[serde(rename = "cluster_maintenance_config")]
    MaintenanceConfig,
    /// Live sessions: `list`, and `delete` ends one.
    #[serde(rename = "session")]
    Session,
    /// The audit log.
    #[serde(rename = "event")]
    Event,
}

impl Grant {
    /// Each of them but [`Grant::All`].
    pub const EACH: [Grant; 13] = [
        Grant::User,
        Grant::Role,
        Grant::Token,
        Grant::Host,
        Grant::Lock,
        Grant::CertAuthority,
        Grant::AuthPreference,
        Grant::RecordingConfig,
        Grant::Recording,
        Grant::Node,
        Grant::MaintenanceConfig,
        Grant::Session,
        Grant::Event,
    ];
}

impl From<Kind> for Grant {
    fn from(kind: Kind) -> Grant {
        match kind {
            Kind::User => Grant::User,
            Kind::Role => Grant::Role,
            Kind::Token => Grant::Token,
            Kind::Host => Grant::Host,
            Kind::Lock => Grant::Lock,
            Kind::CertAuthority => Grant::CertAuthority,
            Kind::AuthPreference => Grant::AuthPreference,
            Kind::RecordingConfig => Grant::RecordingConfig,
            Kind::Recording => Grant::Recording,
            Kind::Node => Grant::Node,
            Kind::MaintenanceConfig => Grant::MaintenanceConfig,
        }
    }
}

/// What may be done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Verb {
    /// Everything.
    #[serde(rename = "*")]
    All,
    /// Make a new one.
    Create,
    /// See one whole.
    Read,
    /// See which there are.
    List,
    /// Change one.
    Update,
    /// Remove one.
    Delete,
}

impl Verb {
    /// The word in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::All => "*",
            Verb::Create => "create",
            Verb::Read => "read",
            Verb::List => "list",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

/// Limits. How they combine over several roles is the table at [`crate::access::Options`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleOptions {
    /// The longest life of a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_session_ttl: Option<Ttl>,
    /// A session without input or output for this long is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_idle_timeout: Option<Ttl>,
    /// Whether sessions end when their certificate does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect_expired_cert: Option<bool>,
    /// Whether `-L`, `-R` and `-D` are carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_forwarding: Option<bool>,
    /// Whether the user's SSH agent is carried to hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_agent: Option<bool>,
    /// Whether X11 is carried from hosts that run an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x11_forwarding: Option<bool>,
    /// Whether files may be copied, by SFTP, SCP and rsync alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_copy: Option<bool>,
    /// How many sessions one user may have at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// How this role's sessions are recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_session: Option<RecordingMode>,
    /// Whether a certificate works only from the address that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_source_ip: Option<bool>,
}
