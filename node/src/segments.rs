//! Segments between nodes: a new one goes to a majority before it counts, a missing one comes from whoever has it.

use crate::consensus::NodeConsensus;
use bytes::Bytes;
use palisade_core::ports::Unavailable;
use palisade_raft::{SegmentBackend, SegmentFault};
use palisade_storage::{SegmentError, SegmentName, SegmentStore};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long another node may take to store or hand out a segment.
const PEER_FOR: Duration = Duration::from_secs(5);

/// The segments on this node's disk, as the other nodes reach them.
pub struct LocalSegments(pub Arc<SegmentStore>);

impl SegmentBackend for LocalSegments {
    fn put(&self, session: &str, seq: u64, data: Bytes) -> Result<String, SegmentFault> {
        let seq = u32::try_from(seq)
            .map_err(|_| SegmentFault::Refused("the sequence number is too large".into()))?;
        self.0
            .put(session, seq, &data)
            .map(|name| name.to_string())
            .map_err(segment_fault)
    }

    fn get(&self, name: &str) -> Result<Bytes, SegmentFault> {
        let name = SegmentName::parse(name).map_err(|e| SegmentFault::Refused(e.to_string()))?;
        self.0.get(&name).map(Bytes::from).map_err(segment_fault)
    }

    fn list(&self, session: &str) -> Result<Vec<String>, SegmentFault> {
        let names = if session.is_empty() {
            let sessions = self.0.sessions().map_err(segment_fault)?;
            let lists: Result<Vec<_>, _> = sessions.iter().map(|s| self.0.list(s)).collect();
            lists.map_err(segment_fault)?.concat()
        } else {
            self.0.list(session).map_err(segment_fault)?
        };
        Ok(names.iter().map(ToString::to_string).collect())
    }
}

fn segment_fault(error: SegmentError) -> SegmentFault {
    match error {
        SegmentError::NotFound(_) => SegmentFault::Missing,
        error => SegmentFault::Failed(error.to_string()),
    }
}

/// The segments of the cluster as one node reaches them: its own on the disk, the others' over the network.
pub struct Segments {
    consensus: Arc<NodeConsensus>,
    store: Arc<SegmentStore>,
}

impl Segments {
    /// On the node's own store.
    pub fn new(consensus: Arc<NodeConsensus>, store: Arc<SegmentStore>) -> Arc<Self> {
        Arc::new(Segments { consensus, store })
    }

    /// This node's own. Its calls block on the disk.
    pub fn store(&self) -> &SegmentStore {
        &self.store
    }

    fn others(&self) -> Vec<u64> {
        self.consensus.raft().peers().others()
    }

    /// Stores a segment; answers when a majority of the voters has it on disk. The other nodes get it when they can.
    /// `what` names it in the error.
    pub async fn ship(&self, group: &str, seq: u32, bytes: Bytes, what: &str) -> Result<(), Unavailable> {
        let status = self.consensus.raft().status();
        let (own, voters) = (status.id, status.voters());
        let needed = voters.len() / 2 + 1;
        let mut stores = JoinSet::new();
        let (store, name, local) = (self.store.clone(), group.to_owned(), bytes.clone());
        stores.spawn(async move {
            let stored = tokio::task::spawn_blocking(move || store.put(&name, seq, &local)).await;
            let outcome = stored
                .map_err(|e| e.to_string())
                .and_then(|r| r.map_err(|e| e.to_string()));
            (own, outcome.map(|_| ()))
        });
        for node in self.others() {
            let (consensus, name, bytes) = (self.consensus.clone(), group.to_owned(), bytes.clone());
            stores.spawn(async move {
                let peers = consensus.raft().peers();
                let sent = peers
                    .segment_put(node, &name, u64::from(seq), bytes, PEER_FOR)
                    .await;
                (node, sent.map(|_| ()).map_err(|e| e.to_string()))
            });
        }
        let (mut acks, mut why) = (BTreeSet::new(), String::new());
        while let Some(stored) = stores.join_next().await {
            match stored {
                Ok((node, Ok(()))) if voters.contains(&node) => {
                    acks.insert(node);
                }
                Ok((_, Ok(()))) => {}
                Ok((node, Err(e))) => why = format!("node {node}: {e}"),
                Err(e) => why = e.to_string(),
            }
            if acks.len() >= needed {
                // The rest goes on by itself: a segment on every node is worth more than on a majority.
                stores.detach_all();
                return Ok(());
            }
        }
        Err(Unavailable::NoQuorum(format!(
            "{} of {needed} nodes stored the {what} ({why})",
            acks.len()
        )))
    }

    /// What each other node holds of a group, and which nodes did not answer.
    pub async fn held_by_others(&self, group: &str) -> (Vec<(u64, Vec<SegmentName>)>, BTreeSet<u64>) {
        let mut asked = JoinSet::new();
        for node in self.others() {
            let (consensus, group) = (self.consensus.clone(), group.to_owned());
            asked.spawn(async move {
                let peers = consensus.raft().peers();
                (node, peers.segment_list(node, &group, PEER_FOR).await)
            });
        }
        let (mut held, mut silent) = (Vec::new(), BTreeSet::new());
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((node, Ok(names))) => {
                    let names = names.iter().filter_map(|name| SegmentName::parse(name).ok());
                    held.push((node, names.filter(|name| name.session() == group).collect()));
                }
                Ok((node, Err(_))) => {
                    silent.insert(node);
                }
                Err(_) => {}
            }
        }
        (held, silent)
    }

    /// A segment from another node.
    pub async fn fetch_from(&self, node: u64, name: &SegmentName) -> Result<Vec<u8>, Unavailable> {
        let peers = self.consensus.raft().peers();
        let bytes = peers.segment_get(node, &name.to_string(), PEER_FOR).await;
        bytes
            .map(|b| b.to_vec())
            .map_err(|e| Unavailable::NoQuorum(e.to_string()))
    }

    /// A segment from any other node that has it whole; otherwise what each of them said.
    pub async fn fetch(&self, name: &SegmentName) -> Result<Vec<u8>, String> {
        let mut said = Vec::new();
        for node in self.others() {
            match self.fetch_from(node, name).await {
                Ok(bytes) if sha256(&bytes) == *name.hash() => return Ok(bytes),
                Ok(_) => said.push(format!("node {node}: it has another content")),
                Err(why) => said.push(format!("node {node}: {why}")),
            }
        }
        if said.is_empty() {
            said.push("there is no other node".into());
        }
        Err(said.join("; "))
    }
}

/// SHA-256, which names a segment.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
