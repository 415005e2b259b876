//! `token` and `node`: how the cluster grows and what it is made of.

use crate::name::NodeId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A join token: single use. The secret itself is shown once and never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenSpec {
    /// SHA-256 of the secret, in hex.
    pub secret_sha256: String,
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
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub joined: Timestamp,
}
