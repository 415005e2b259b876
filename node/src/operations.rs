//! The [`Operations`] port: what operators do with the cluster itself, and how it is doing.

use crate::bundle;
use crate::clock::{self, Skew, now};
use crate::consensus::NodeConsensus;
use crate::metrics;
use crate::pages::NodePages;
use crate::sessions::NodeSessions;
use bytes::Bytes;
use palisade_ca::{Authorities, ClusterKey, PeerCertRequest, SubjectSpki, Window, sign_peer_cert};
use palisade_core::api::{ClusterStatus, JoinReply, JoinRequest, NodeStatus};
use palisade_core::command::Command;
use palisade_core::name::Name;
use palisade_core::peer::PeerIdentity;
use palisade_core::ports::{ByteSource, Consensus as _, OperationFailed, Operations, Pending};
use palisade_core::record::{AuthorityType, HostAddr, NodeSpec, Record, TokenSpec};
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_raft::{RaftStatus, Role};
use palisade_storage::{LogStore, SegmentStore};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long a peer certificate lives; each node renews its own.
pub const PEER_LIFE_SECS: u64 = 90 * 24 * 3600;
/// How far certificates are backdated, for clocks that differ.
const BACKDATE_SECS: u64 = 300;
/// A node whose clock is further off than this is not let in.
const JOIN_SKEW_MS: u64 = 30_000;
/// How long a member tries to reach a node that wants to join.
const REACH_FOR: Duration = Duration::from_secs(3);
/// A node that was not heard from for this long counts as gone.
const GONE_MS: u64 = 2_000;
/// How far behind a node may be and still be called ready.
const READY_LAG: u64 = 5_000;
/// What nodes ask the leader.
const SEEN: &str = "cluster.seen";

/// What the leader sees of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Seen {
    lag: Option<u64>,
    last_contact_ms: Option<u64>,
}

/// The port.
pub struct NodeOperations {
    pub(crate) consensus: Arc<NodeConsensus>,
    pub(crate) key: Arc<ClusterKey>,
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) log: LogStore,
    pub(crate) segments: Arc<SegmentStore>,
    pub(crate) pages: Arc<NodePages>,
    pub(crate) sessions: Arc<NodeSessions>,
    pub(crate) skew: Arc<Skew>,
    /// The folder of the offline bundle.
    pub(crate) bundle: PathBuf,
}

fn failed(error: impl std::fmt::Display) -> OperationFailed {
    OperationFailed(error.to_string())
}

/// Whether the node that wants to join can be reached by the others: it listens while it asks. One that cannot would
/// have used its token up, and would stay a member that never answers.
async fn reach(peer_addr: &str) -> Result<(), OperationFailed> {
    let why = match tokio::time::timeout(REACH_FOR, TcpStream::connect(peer_addr)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", REACH_FOR.as_secs()),
    };
    Err(failed(format!(
        "this member cannot reach the joining node at {peer_addr}: {why}. Open that port between the nodes, or correct `advertise` in the joining node's configuration; the token is still good"
    )))
}

fn seen(status: &RaftStatus) -> BTreeMap<u64, Seen> {
    let one = |(id, peer): (&u64, &palisade_raft::PeerStatus)| {
        let own = *id == status.id;
        (
            *id,
            Seen {
                lag: peer.lag,
                last_contact_ms: if own { Some(0) } else { peer.last_contact_ms },
            },
        )
    };
    status.nodes.iter().map(one).collect()
}

impl NodeOperations {
    /// Answers the other nodes' questions about what this node sees as leader.
    pub fn listen(self: &Arc<Self>) {
        let raft = self.consensus.raft().clone();
        let asked = Arc::downgrade(&raft);
        raft.on_call(SEEN, move |_, _| {
            let answer = asked.upgrade().map(|raft| seen(&raft.status()));
            let bytes = serde_json::to_vec(&answer.unwrap_or_default())
                .map(Bytes::from)
                .map_err(|e| e.to_string());
            Box::pin(async move { bytes })
        });
    }

    async fn leaders_view(&self, status: &RaftStatus) -> BTreeMap<u64, Seen> {
        match status.leader {
            Some(leader) if leader == status.id => seen(status),
            Some(leader) => {
                let asked = self.consensus.raft().peers().call(
                    leader,
                    SEEN,
                    Bytes::new(),
                    Duration::from_millis(500),
                );
                asked
                    .await
                    .ok()
                    .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                    .unwrap_or_default()
            }
            None => BTreeMap::new(),
        }
    }

    async fn admit(&self, request: JoinRequest, addr: String) -> Result<JoinReply, OperationFailed> {
        let kv = self.consensus.store();
        let cluster = state::cluster(kv)
            .map_err(failed)?
            .ok_or_else(|| failed("this node is in no cluster"))?;
        if request.cluster_id != cluster.id.as_str() {
            return Err(failed(format!(
                "the token is for another cluster than {}",
                cluster.name
            )));
        }
        let skew = request.now.since_ms(now()).max(now().since_ms(request.now));
        if skew > JOIN_SKEW_MS {
            return Err(failed(format!(
                "the joining node's clock differs by {} s from this one's: set both by NTP, then join again",
                skew / 1000
            )));
        }
        if request.version != env!("CARGO_PKG_VERSION") {
            return Err(failed(format!(
                "the joining node runs version {} and this one {}: install the same",
                request.version,
                env!("CARGO_PKG_VERSION")
            )));
        }
        for addr in [&request.peer_addr, &request.web_addr, &request.ssh_addr] {
            HostAddr::parse(addr).map_err(failed)?;
        }
        let incarnation: u64 = request
            .incarnation
            .parse()
            .map_err(|_| failed("the incarnation is not a number"))?;
        let spki = SubjectSpki::from_pem(&request.peer_public_key).map_err(failed)?;
        let wrap_key = hex::decode(&request.wrap_public_key).map_err(failed)?;
        let signer = self.authorities.signer(kv, AuthorityType::Peer).map_err(failed)?;
        let name = Name::parse(&request.name).map_err(failed)?;
        let token = Name::parse(&request.token).map_err(failed)?;
        let secret_sha256 = hex::encode(Sha256::digest(request.secret.as_bytes()));
        // Nobody without a good token has this node dial an address; what is refused is refused by the log, below.
        self.consensus.barrier().await.map_err(failed)?;
        let known = state::record::<TokenSpec>(kv, &token).map_err(failed)?;
        let good = known.is_some_and(|t| {
            t.spec.secret_sha256 == secret_sha256 && t.spec.host.is_none() && !t.expired(now())
        });
        if good && state::record::<NodeSpec>(kv, &name).map_err(failed)?.is_none() {
            reach(&request.peer_addr).await?;
        }
        let spec = NodeSpec {
            id: 0,
            incarnation: request.incarnation.clone(),
            peer_addr: request.peer_addr.clone(),
            web_addr: request.web_addr.clone(),
            ssh_addr: request.ssh_addr.clone(),
            joined: Timestamp::ZERO,
        };
        let command = Command::JoinNode {
            token,
            secret_sha256,
            node: Box::new(Record::new(name, spec)),
        };
        let actor = palisade_core::command::Actor {
            name: format!("node {}", request.name),
            addr,
        };
        let reply = self
            .consensus
            .propose(actor, self.consensus.new_id(), command)
            .await
            .map_err(failed)?;
        let node_id = reply.done().map_err(failed)?;
        let (certificate, authority) = sign_peer(&signer, node_id, incarnation, &spki, now())?;
        let context = wrap_context(cluster.id.as_str(), node_id);
        let wrapped = self.key.wrap_for(&wrap_key, &context).map_err(failed)?;
        let members = self.consensus.raft().status().nodes;
        Ok(JoinReply {
            node_id,
            cluster: cluster.name.to_string(),
            cluster_id: cluster.id.to_string(),
            peer_certificate: certificate,
            peer_authorities: vec![authority],
            wrapped_cluster_key: hex::encode(wrapped),
            members: members
                .iter()
                .map(|(id, peer)| format!("{id}={}", peer.addr))
                .collect(),
        })
    }

    async fn remove(&self, node: &Name) -> Result<(), OperationFailed> {
        self.consensus.barrier().await.map_err(failed)?;
        let record = state::record::<NodeSpec>(self.consensus.store(), node).map_err(failed)?;
        let id = record
            .ok_or_else(|| {
                failed(format!(
                    "there is no node {node}: `palctl cluster status` lists them"
                ))
            })?
            .spec
            .id;
        let status = self.consensus.raft().status();
        if status.nodes.len() == 1 {
            return Err(failed(
                "this is the only node: a cluster is not left by its last node",
            ));
        }
        if status.leader == Some(id) {
            let until = Instant::now() + Duration::from_secs(5);
            self.consensus
                .raft()
                .transfer_leader(None, until)
                .await
                .map_err(failed)?;
        }
        // The leader takes it out of the membership when it sees that its record is gone.
        self.consensus
            .propose_own(Command::RemoveNode { id })
            .await
            .map_err(failed)?
            .done()
            .map_err(failed)?;
        Ok(())
    }

    async fn status(&self) -> ClusterStatus {
        let raft = self.consensus.raft();
        let status = raft.status();
        let kv = self.consensus.store();
        let cluster = state::cluster(kv).ok().flatten();
        let records = state::records::<NodeSpec>(kv).unwrap_or_default();
        let leaders = self.leaders_view(&status).await;
        let quorum = self
            .consensus
            .raft()
            .lease()
            .is_ok_and(|lease| lease.age_ms < GONE_MS);
        let nodes: Vec<NodeStatus> = records
            .iter()
            .map(|record| {
                let (id, spec) = (record.spec.id, &record.spec);
                let member = status.nodes.get(&id);
                let seen = leaders.get(&id);
                let reachable =
                    id == status.id || seen.is_some_and(|s| s.last_contact_ms.is_some_and(|ms| ms < GONE_MS));
                let voter = member.is_some_and(|m| m.voter);
                let role = match (status.leader == Some(id), voter) {
                    (true, _) => "leader",
                    (false, true) => "follower",
                    (false, false) if member.is_some() => "learner",
                    (false, false) => "joining",
                };
                NodeStatus {
                    id,
                    name: record.metadata.name.to_string(),
                    role: role.to_owned(),
                    voter,
                    peer_addr: spec.peer_addr.clone(),
                    web_addr: spec.web_addr.clone(),
                    ssh_addr: spec.ssh_addr.clone(),
                    lag: seen.and_then(|s| s.lag),
                    last_contact_ms: seen.and_then(|s| s.last_contact_ms),
                    reachable,
                }
            })
            .collect();
        let voters = nodes.iter().filter(|n| n.voter).count();
        let answering = nodes.iter().filter(|n| n.voter && n.reachable).count();
        let needed = voters / 2 + 1;
        let stats = self.log.sync_stats();
        let mut report = ClusterStatus {
            cluster: cluster.as_ref().map(|c| c.name.to_string()).unwrap_or_default(),
            cluster_id: cluster.map(|c| c.id.to_string()).unwrap_or_default(),
            ca_pin: palisade_ca::public_authority(kv, AuthorityType::Tls)
                .map(|spec| spec.pin)
                .unwrap_or_default(),
            node: status.id,
            leader: status.leader,
            term: status.term,
            last_index: status.last_log,
            applied_index: status.applied,
            quorum,
            failure_tolerance: if quorum {
                answering.saturating_sub(needed) as u64
            } else {
                0
            },
            disk_free_bytes: self.segments.free_bytes(),
            fsync_p99_us: u64::try_from(stats.p99.as_micros()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            nodes,
            advice: Vec::new(),
        };
        report.advice = advice(&report, stats.no_space, self.skew.worst_ms());
        report
    }
}

/// The next action, in words.
fn advice(status: &ClusterStatus, no_space: bool, skew_ms: u64) -> Vec<String> {
    let mut advice = Vec::new();
    if !status.quorum {
        advice.push(
            "there is no quorum: start the nodes that are down; running sessions go on, new ones are refused"
                .into(),
        );
    }
    for node in status.nodes.iter().filter(|n| status.quorum && !n.reachable) {
        advice.push(format!(
            "node {} does not answer: start it, or take it out with `palctl cluster leave {}`",
            node.name, node.name
        ));
    }
    for node in status
        .nodes
        .iter()
        .filter(|n| n.role == "learner" || n.role == "joining")
    {
        advice.push(format!(
            "node {} is catching up and does not vote yet: wait",
            node.name
        ));
    }
    match status.nodes.iter().filter(|n| n.voter).count() {
        1 => advice.push("one voter survives no failure: join two more nodes".into()),
        2 | 4 => advice.push(
            "an even number of voters survives no more failures than one fewer: join one more node".into(),
        ),
        _ => {}
    }
    if skew_ms > clock::WARN_MS {
        advice.push(format!(
            "the clocks of two nodes differ by {} s: set them by NTP",
            skew_ms / 1000
        ));
    }
    if no_space {
        advice.push(
            "this node's disk is nearly full and takes no changes: free some space, it recovers by itself"
                .into(),
        );
    }
    advice
}

/// What the cluster key is wrapped for: this node of this cluster.
pub fn wrap_context(cluster_id: &str, node_id: u64) -> String {
    format!("{cluster_id}/{node_id}")
}

/// Signs a peer certificate: it and its authority, in PEM.
pub fn sign_peer(
    signer: &palisade_ca::Signer,
    node_id: u64,
    incarnation: u64,
    public_key: &SubjectSpki,
    at: Timestamp,
) -> Result<(String, String), OperationFailed> {
    let request = PeerCertRequest {
        public_key: public_key.clone(),
        identity: PeerIdentity {
            cluster_id: signer.cluster_id().to_owned(),
            node_id,
            incarnation,
        },
        serial: at.ms().max(1),
        window: Window {
            not_before: at.secs().saturating_sub(BACKDATE_SECS),
            not_after: at.secs() + PEER_LIFE_SECS,
            ttl_max_secs: PEER_LIFE_SECS + BACKDATE_SECS,
        },
    };
    let issued = sign_peer_cert(signer, &request).map_err(failed)?;
    Ok((
        issued.pem,
        signer.public().certificate_pem.clone().unwrap_or_default(),
    ))
}

impl Operations for NodeOperations {
    fn status(&self) -> Pending<'_, ClusterStatus> {
        Box::pin(self.status())
    }

    fn admit<'a>(
        &'a self,
        request: JoinRequest,
        addr: String,
    ) -> Pending<'a, Result<JoinReply, OperationFailed>> {
        Box::pin(self.admit(request, addr))
    }

    fn remove<'a>(&'a self, node: &'a Name) -> Pending<'a, Result<(), OperationFailed>> {
        Box::pin(self.remove(node))
    }

    fn transfer<'a>(&'a self, to: Option<&'a Name>) -> Pending<'a, Result<(), OperationFailed>> {
        Box::pin(async move {
            let id = match to {
                None => None,
                Some(name) => {
                    let record = state::record::<NodeSpec>(self.consensus.store(), name).map_err(failed)?;
                    Some(
                        record
                            .ok_or_else(|| failed(format!("there is no node {name}")))?
                            .spec
                            .id,
                    )
                }
            };
            self.consensus
                .raft()
                .transfer_leader(id, Instant::now() + Duration::from_secs(5))
                .await
                .map_err(failed)
        })
    }

    fn bundle_file<'a>(
        &'a self,
        name: &'a str,
    ) -> Pending<'a, Result<Option<Box<dyn ByteSource>>, OperationFailed>> {
        Box::pin(async move { bundle::open(&self.bundle, name).await.map_err(failed) })
    }

    fn metrics(&self) -> String {
        metrics::text(self)
    }

    fn ready(&self) -> Result<(), String> {
        self.consensus.may_decide().map_err(|e| e.to_string())?;
        let status = self.consensus.raft().status();
        let lag = status.committed.saturating_sub(status.applied);
        if lag > READY_LAG {
            return Err(format!("this node is {lag} entries behind"));
        }
        if status.role == Role::Stopped || status.draining {
            return Err("this node is stopping".into());
        }
        let stats = self.log.sync_stats();
        if stats.no_space {
            return Err("the disk is full: neither changes nor audit events can be written".into());
        }
        stats
            .last_error
            .map_or(Ok(()), |error| Err(format!("the disk failed: {error}")))
    }
}
