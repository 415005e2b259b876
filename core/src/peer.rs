//! Who a node is to the other nodes: the name in its peer certificate.

use crate::name::NodeId;
use std::fmt;
use std::str::FromStr;

/// Bytes that a cluster's id may have.
const CLUSTER_ID_MAX: usize = 64;

/// A node, as its peer certificate names it: `palisade://<cluster id>/node/<node id>/<incarnation>`, the one URI among
/// its alternative names. The `ca` room writes it, the `raft` room reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The node's id, from 1.
    pub node_id: NodeId,
    /// The number that was drawn when the node's data directory was made.
    pub incarnation: u64,
}

/// A text is not the name of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node identity is malformed")]
pub struct MalformedPeer;

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "palisade://{}/node/{}/{}",
            self.cluster_id, self.node_id, self.incarnation
        )
    }
}

impl FromStr for PeerIdentity {
    type Err = MalformedPeer;

    fn from_str(uri: &str) -> Result<Self, MalformedPeer> {
        let rest = uri.strip_prefix("palisade://").ok_or(MalformedPeer)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [cluster_id, "node", node_id, incarnation] = parts[..] else {
            return Err(MalformedPeer);
        };
        let number = |text: &str| text.parse().map_err(|_| MalformedPeer);
        let identity = Self {
            cluster_id: cluster_id.to_owned(),
            node_id: number(node_id)?,
            incarnation: number(incarnation)?,
        };
        let plain = (1..=CLUSTER_ID_MAX).contains(&cluster_id.len())
            && !cluster_id.starts_with('-')
            && cluster_id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        // One spelling only: no `+1`, no `01`.
        if !plain || identity.node_id == 0 || identity.to_string() != uri {
            return Err(MalformedPeer);
        }
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_identities_have_one_spelling() {
        let good = "palisade://c0ffee/node/3/1";
        assert_eq!(good.parse::<PeerIdentity>().expect("one").to_string(), good);
        for bad in [
            "",
            "palisade://c0ffee/node/03/1",
            "palisade://c0ffee/node/+3/1",
            "palisade://c0ffee/node/-3/1",
            "palisade://c0ffee/node/0/1",
            "palisade://c0ffee/node/3",
            "palisade://c0ffee/node/3/",
            "palisade://c0ffee/node/3/1/",
            "palisade://c0ffee/node/3/1/2",
            "palisade://c0ffee/node/3/x",
            "palisade://c0ffee/node/3/-1",
            "palisade://c0ffee/host/3/1",
            "palisade:///node/3/1",
            "https://c0ffee/node/3/1",
            "palisade://c0 ffee/node/3/1",
            "palisade://-c/node/3/1",
            "palisade://c0ffee/node/99999999999999999999/1",
        ] {
            assert_eq!(bad.parse::<PeerIdentity>(), Err(MalformedPeer), "{bad}");
        }
        let long = format!("palisade://{}/node/3/1", "c".repeat(65));
        assert!(long.parse::<PeerIdentity>().is_err());
    }
}
