//! The [`Operations`] port: what operators do with the cluster itself, and how it is doing.

use crate::appliance::Leading;
use crate::bundle;
use crate::clock::{Skew, now};
use crate::config::Config;
use crate::consensus::NodeConsensus;
use crate::health;
use crate::home::Home;
use crate::metrics;
use crate::pages::NodePages;
use crate::public_tls::PublicTls;
use crate::pulse::Pulse;
use crate::recordings::NodeRecordings;
use crate::sessions::NodeSessions;
use crate::support;
use palisade_ca::{Authorities, ClusterKey, PeerCertRequest, SubjectSpki, Window, sign_peer_cert};
use palisade_core::api::{ClusterStatus, JoinReply, JoinRequest, Replacement, SupportBundle};
use palisade_core::command::{Actor, Command};
use palisade_core::name::Name;
use palisade_core::peer::PeerIdentity;
use palisade_core::ports::{ByteSource, Consensus as _, OperationFailed, Operations, Pending};
use palisade_core::record::{AuthorityType, HostAddr, NodeSpec, Record, TokenSpec};
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_storage::{LogStore, SegmentStore};
use sha2::{Digest as _, Sha256};
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

/// The port.
pub struct NodeOperations {
    pub(crate) consensus: Arc<NodeConsensus>,
    pub(crate) key: Arc<ClusterKey>,
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) log: LogStore,
    pub(crate) segments: Arc<SegmentStore>,
    pub(crate) pages: Arc<NodePages>,
    pub(crate) recordings: Arc<NodeRecordings>,
    pub(crate) sessions: Arc<NodeSessions>,
    pub(crate) skew: Arc<Skew>,
    pub(crate) leading: Arc<Leading>,
    pub(crate) home: Home,
    pub(crate) public_tls: Arc<PublicTls>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) started: Timestamp,
    pub(crate) config: Config,
    /// The folder of the offline bundle.
    pub(crate) bundle: PathBuf,
}

pub(crate) fn failed(error: impl std::fmt::Display) -> OperationFailed {
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

impl NodeOperations {
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
        let actor = Actor {
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
        Box::pin(self.cluster_status())
    }

    fn admit<'a>(
        &'a self,
        request: JoinRequest,
        addr: String,
    ) -> Pending<'a, Result<JoinReply, OperationFailed>> {
        Box::pin(self.admit(request, addr))
    }

    fn remove<'a>(&'a self, actor: Actor, node: &'a Name) -> Pending<'a, Result<(), OperationFailed>> {
        Box::pin(self.remove(actor, node))
    }

    fn replace<'a>(
        &'a self,
        actor: Actor,
        request: &'a Replacement,
    ) -> Pending<'a, Result<(), OperationFailed>> {
        Box::pin(self.replace(actor, request))
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

    fn support(&self) -> Pending<'_, SupportBundle> {
        Box::pin(support::bundle(self))
    }

    fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.consensus.meter().request(method, route, status, took);
    }

    fn ready(&self, write: bool) -> Result<(), String> {
        let decide = if write {
            health::ready_to_write
        } else {
            health::ready
        };
        decide(&self.signs())
    }
}
