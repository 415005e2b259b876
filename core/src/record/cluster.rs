//! `token` and `node`: how the cluster grows and what it is made of.

use crate::name::{Name, NodeId};
use crate::record::Labels;
use crate::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};

/// A join token: single use. The secret itself is shown once and never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenSpec {
    /// SHA-256 of the secret, in hex.
    pub secret_sha256: String,
    /// For an agent: what it joins as. A token without this is for a node; neither passes for the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostToken>,
}

/// What the agent that uses a token may join as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostToken {
    /// The host's name; any free one if there is none. With a name, an agent may also take the place of the one that
    /// served the host before: its certificates are void from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The labels of the host's record. What the agent says of itself never overrules them.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub labels: Labels,
}

/// What the cluster does for its own upkeep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MaintenanceConfigSpec {
    /// A node that has been silent for this long is taken out, where three voters stay and none fewer may be lost.
    /// Without it none ever is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_node_after: Option<Ttl>,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeSpec {
    /// Its id in the Raft group.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub id: NodeId,
    /// Made anew with each data directory, so that an old copy of one cannot pass for the node.
    pub incarnation: String,
    /// Where other nodes reach it, `address:port`.
    pub peer_addr: String,
    /// Where people and programs reach its HTTPS API.
    pub web_addr: String,
    /// Where people reach its SSH proxy.
    pub ssh_addr: String,
    /// When it joined.
    pub joined: Timestamp,
}
