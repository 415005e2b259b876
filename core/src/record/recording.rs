//! `recording` and `session_recording_config`.

use crate::name::{Login, Name, NodeId, SessionId};
use crate::pattern::Mask;
use crate::record::HostSpec;
use crate::time::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// When output may reach the user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RecordingMode {
    /// At once; at most the last second of the recording is at risk when a node dies.
    #[default]
    BestEffort,
    /// Only once a majority of nodes has it on disk.
    Strict,
}

/// Where sessions at hosts with an agent are recorded. The words are Teleport's, where a node is what we call a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RecordingSite {
    /// Where the session runs: by the host's agent. SSH runs end to end, and the session outlives the node that carries it.
    #[default]
    Node,
    /// At the node that carries it: the user's SSH ends there, as for plain OpenSSH servers, and so does the session.
    Proxy,
}

impl RecordingSite {
    /// Where a session at this host is recorded. A plain OpenSSH server records nothing.
    pub fn of(host: &HostSpec, config: &RecordingConfigSpec) -> Self {
        match &host.agent {
            None => RecordingSite::Proxy,
            Some(_) => host.site.unwrap_or(config.site),
        }
    }
}

/// How sessions are recorded where no role says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordingConfigSpec {
    /// The mode.
    #[serde(default)]
    pub mode: RecordingMode,
    /// Where, at hosts with an agent whose record does not say otherwise.
    #[serde(default)]
    pub site: RecordingSite,
    /// How many bytes of each direction of an exec without a terminal are kept whole; beyond that, size and hash.
    #[serde(default = "default_cap")]
    pub exec_capture_bytes: u64,
    /// What is masked in copies that leave the cluster: downloads as asciicast, and what a link shows. What is kept, and
    /// what is played inside the cluster, stays as it was. At most 32 rules.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "redact_rules"
    )]
    pub redact: Vec<RedactRule>,
}

/// Rules of [`RecordingConfigSpec::redact`]: each is tried on every line that leaves.
pub const REDACT_RULES_MAX: usize = 32;

/// What is masked, and what that is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RedactRule {
    /// The name under which a copy says how much was masked.
    pub name: Name,
    /// A regular expression that may match anywhere in a line as it was seen.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub pattern: Mask,
}

/// The rules, few enough and each of a name of its own. Read one by one, so that a fault has its place.
fn redact_rules<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<RedactRule>, D::Error> {
    struct Rules;
    impl<'de> serde::de::Visitor<'de> for Rules {
        type Value = Vec<RedactRule>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of rules")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut rules: Vec<RedactRule> = Vec::new();
            while let Some(rule) = items.next_element::<RedactRule>()? {
                if rules.len() == REDACT_RULES_MAX {
                    return Err(A::Error::custom(format!("at most {REDACT_RULES_MAX} rules")));
                }
                if rules.iter().any(|other| other.name == rule.name) {
                    return Err(A::Error::custom(format!("two rules are named {}", rule.name)));
                }
                rules.push(rule);
            }
            Ok(rules)
        }
    }
    d.deserialize_seq(Rules)
}

fn default_cap() -> u64 {
    1024 * 1024
}

impl Default for RecordingConfigSpec {
    fn default() -> Self {
        RecordingConfigSpec {
            mode: RecordingMode::BestEffort,
            site: RecordingSite::Node,
            exec_capture_bytes: default_cap(),
            redact: Vec::new(),
        }
    }
}

/// What kind of session was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SessionKind {
    /// With a terminal.
    Interactive,
    /// One command without a terminal.
    Exec,
    /// File transfer by the SFTP subsystem.
    Sftp,
    /// Forwarded connections alone.
    Forward,
}

/// How much of a session its recording holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Completeness {
    /// The session still runs.
    Live,
    /// Everything is there.
    Complete,
    /// The session was cut off; the text says what may be missing.
    Interrupted(String),
}

/// The index row of one recording, written when the session starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordingSpec {
    /// The session; also the record's name.
    pub session: SessionId,
    /// What kind.
    pub session_kind: SessionKind,
    /// Who.
    pub user: Name,
    /// As which account.
    pub login: Login,
    /// On which host.
    pub host: Name,
    /// Which node carries and records it; for a session that its agent records, the one that committed its start.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub node: NodeId,
    /// Whether the host's agent records it: then it outlives the nodes that carry it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_agent: bool,
    /// Where the user came from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_addr: String,
    /// The command of an exec.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// The mode it was recorded in.
    pub mode: RecordingMode,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How much is there.
    pub completeness: Completeness,
    /// How many chunks, once ended; those of a live session are found by looking.
    #[serde(default)]
    pub chunks: u32,
    /// Bytes of output.
    #[serde(default)]
    pub output_bytes: u64,
    /// Hex SHA-256 of the last chunk, which chains all of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_chunk: String,
    /// The recording's data key, sealed, in hex. It opens only under the cluster key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sealed_key: String,
}
