//! One node of the group, put together.

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::{Config, ServerState, SnapshotPolicy};
use palisade_core::peer::PeerIdentity;
use palisade_storage::{LogStore, StateStore};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::carrier::{CarriedService, Carrier, Way};
use crate::codec;
use crate::hop::HopHandler;
use crate::members::{MemberError, Members, finish_joint};
use crate::network::Factory;
use crate::past::{self, Past};
use crate::peers::Peers;
use crate::propose::{ProposeError, Proposer};
use crate::read::{self, Barriers, LeaseLost, LeaseView, ReadError};
use crate::segments::{NoSegments, SegmentBackend};
use crate::server::{CallHandler, Handlers, PeerService};
use crate::shared::{FatalHook, LeaseClock, Shared};
use crate::store::{AppliedAt, Apply, Log, StateMachine, read_markers};
use crate::tls::{PeerTls, TlsError, TlsState};
use crate::types::{MAX_FRAME, Member, Raft, Reply};
use crate::wire::peer::peer_server::PeerServer;

/// Heartbeats and elections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// The least time a follower waits beyond the leader's lease before it campaigns.
    pub election_min_ms: u64,
    /// The most; this is the leader's lease as well.
    pub election_max_ms: u64,
}

impl Default for Timing {
    /// For nodes on one LAN.
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_min_ms: 200,
            election_max_ms: 400,
        }
    }
}

impl Timing {
    /// For nodes further apart, or slow disks.
    #[must_use]
    pub fn wide() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 500,
            election_max_ms: 1000,
        }
    }
}

/// How a node takes part.
#[derive(Clone)]
pub struct RaftConfig {
    /// The cluster; every peer certificate must be of it.
    pub cluster_id: String,
    /// This node's id: given by the log once, never used for another.
    pub node_id: u64,
    /// The nonce of this node's data directory.
    pub incarnation: u64,
    /// Where to listen for the other nodes.
    pub listen: SocketAddr,
    /// The address the other nodes reach it at; empty: the one it listens on.
    pub advertise: String,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// Entries between two snapshots; more of them as the snapshots grow.
    pub snapshot_every: u64,
    /// Entries kept in the log although a snapshot has them, so that a node that was away briefly needs no snapshot.
    pub keep_logs: u64,
    /// How long a learner must stay close behind before it becomes a voter.
    pub promote_after: Duration,
    /// Whether a node id was removed, and so must never be heard again. Asked for every message: keep it in memory.
    pub is_tombstoned: Arc<dyn Fn(u64) -> bool + Send + Sync>,
    /// What time it is, for the certificates of peers.
    pub time: Arc<dyn rustls::time_provider::TimeProvider>,
    /// Called once, with the reason, when the process must stop.
    pub fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

impl RaftConfig {
    /// The usual settings; nothing is tombstoned, and a fatal error aborts the process.
    #[must_use]
    pub fn new(cluster_id: &str, node_id: u64, incarnation: u64, listen: SocketAddr) -> Self {
        Self {
            cluster_id: cluster_id.to_owned(),
            node_id,
            incarnation,
            listen,
            advertise: String::new(),
            timing: Timing::default(),
            snapshot_every: 20_000,
            keep_logs: 5_000,
            promote_after: Duration::from_secs(1),
            is_tombstoned: Arc::new(|_| false),
            time: Arc::new(rustls::time_provider::DefaultTimeProvider),
            fatal: Arc::new(|_| std::process::abort()),
        }
    }
}

impl RaftConfig {
    /// Who the node is to the others.
    fn identity(&self) -> PeerIdentity {
        PeerIdentity {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id,
            incarnation: self.incarnation,
        }
    }
}

impl fmt::Debug for RaftConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftConfig")
            .field("cluster_id", &self.cluster_id)
            .field("node_id", &self.node_id)
            .field("listen", &self.listen)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

/// The node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificates are no good.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The settings contradict each other.
    #[error("the Raft settings are not usable: {0}")]
    Config(String),
    /// What is stored does not fit together. Repair the node from its peers.
    #[error("the stored log or state is damaged: {0}")]
    Damaged(String),
    /// A copy of the data directory is in use elsewhere.
    #[error(
        "another process, at {0}, runs as this node: its data directory was copied. Stop one of the two, and give the other machine a data directory of its own"
    )]
    Twin(String),
}

/// A cluster could not be founded here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// This node has a log, a vote or a state already.
    #[error("this node already belongs to a cluster")]
    NotEmpty,
    /// Raft refused.
    #[error("the cluster cannot be founded: {0}")]
    Failed(String),
}

/// What this node is in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Receives the log, does not vote.
    Learner,
    /// Votes.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Has stopped.
    Stopped,
}

/// One node, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its node-to-node address.
    pub addr: String,
    /// The nonce of its data directory.
    pub incarnation: String,
    /// Whether it votes.
    pub voter: bool,
    /// Entries that it lacks; known to the leader only.
    pub lag: Option<u64>,
    /// Milliseconds since it last answered; known to the leader only.
    pub last_contact_ms: Option<u64>,
}

/// How this node and its group are doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// This node.
    pub id: u64,
    /// What it is.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// The leader that it knows of.
    pub leader: Option<u64>,
    /// Last entry in its log.
    pub last_log: u64,
    /// Last entry that it knows to be committed.
    pub committed: u64,
    /// Last entry applied.
    pub applied: u64,
    /// Last entry in its newest snapshot.
    pub snapshot: u64,
    /// Last entry dropped from the log.
    pub purged: u64,
    /// Whether membership is between two configurations.
    pub joint: bool,
    /// Milliseconds since a quorum answered; at the leader only.
    pub quorum_age_ms: Option<u64>,
    /// Whether it is handing over before it stops.
    pub draining: bool,
    /// All nodes of the effective membership, itself included.
    pub nodes: BTreeMap<u64, PeerStatus>,
}

impl RaftStatus {
    /// Ids of the voters.
    #[must_use]
    pub fn voters(&self) -> Vec<u64> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.voter)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Ids of the learners.
    #[must_use]
    pub fn learners(&self) -> Vec<u64> {
        self.nodes
            .iter()
            .filter(|(_, node)| !node.voter)
            .map(|(id, _)| *id)
            .collect()
    }
}

/// A running node.
pub struct RaftNode {
    shared: Arc<Shared>,
    raft: Raft,
    proposer: Arc<Proposer>,
    barriers: Barriers,
    members: Arc<Members>,
    handlers: Arc<Handlers>,
    applied: watch::Receiver<AppliedAt>,
    local_addr: SocketAddr,
    advertise: String,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What a node is put together from.
struct Parts {
    log: LogStore,
    state: StateStore,
    past: Past,
    apply: Arc<dyn Apply>,
    segments: Arc<dyn SegmentBackend>,
}

fn openraft_config(cfg: &RaftConfig) -> Result<Arc<Config>, StartError> {
    let timing = cfg.timing;
    let config = Config {
        cluster_name: cfg.cluster_id.clone(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: timing.election_min_ms,
        election_timeout_max: timing.election_max_ms,
        // Snapshots take as long as they take: the sender notices a dead connection by itself.
        install_snapshot_timeout: 10 * 60 * 1000,
        max_payload_entries: 1024,
        max_append_entries: Some(1024),
        // When one is due depends on how large they are: upkeep decides.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: cfg.keep_logs,
        replication_lag_threshold: cfg.snapshot_every.saturating_mul(2),
        purge_batch_size: 64,
        api_batch_capacity: 512,
        // The followers' disks work while ours does.
        broadcast_submitted_on_append: Some(true),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        // A leader that hears only a minority falls silent, so that those who can elect another.
        quorum_loss_probe_interval: Some(timing.election_max_ms * 2 + 100),
        backoff: "20ms 40ms 80ms ...500ms".to_owned(),
        ..Config::default()
    };
    config
        .validate()
        .map(Arc::new)
        .map_err(|e| StartError::Config(e.to_string()))
}

impl RaftNode {
    /// Starts the node: verifies what is stored, listens, and takes part from then on.
    pub async fn start(
        cfg: RaftConfig,
        tls: PeerTls,
        log: LogStore,
        state: StateStore,
        apply: Arc<dyn Apply>,
        segments: Arc<dyn SegmentBackend>,
    ) -> Result<Self, StartError> {
        // Before anything is listened on: what is stored decides whether this node may.
        let past = check_stored(&log, &state)?;
        let listen_error = |source| StartError::Listen {
            addr: cfg.listen,
            source,
        };
        let listener = TcpListener::bind(cfg.listen).await.map_err(listen_error)?;
        let local_addr = listener.local_addr().map_err(listen_error)?;
        let tls = TlsState::new(&cfg.identity(), tls, Arc::clone(&cfg.time))?;
        let parts = Parts {
            log,
            state,
            past,
            apply,
            segments,
        };
        Self::assemble(cfg, Way::Tls(tls), Some(listener), local_addr, parts).await
    }

    /// The same in a simulation, whose network takes the place of TLS and TCP.
    pub async fn start_carried(
        cfg: RaftConfig,
        carrier: Arc<dyn Carrier>,
        log: LogStore,
        state: StateStore,
        apply: Arc<dyn Apply>,
    ) -> Result<Self, StartError> {
        let past = check_stored(&log, &state)?;
        let local_addr = cfg.listen;
        let parts = Parts {
            log,
            state,
            past,
            apply,
            segments: Arc::new(NoSegments),
        };
        Self::assemble(cfg, Way::Carried(carrier), None, local_addr, parts).await
    }

    async fn assemble(
        cfg: RaftConfig,
        way: Way,
        listener: Option<TcpListener>,
        local_addr: SocketAddr,
        parts: Parts,
    ) -> Result<Self, StartError> {
        let Parts {
            log,
            state,
            past,
            apply,
            segments,
        } = parts;
        if cfg.node_id == 0 {
            return Err(StartError::Config("node ids begin at 1".into()));
        }
        let config = openraft_config(&cfg)?;
        let shared = Arc::new(Shared {
            way,
            identity: cfg.identity(),
            raft: OnceLock::new(),
            is_tombstoned: Arc::clone(&cfg.is_tombstoned),
            fatal: Arc::new(FatalHook::new(Arc::clone(&cfg.fatal))),
            lease: LeaseClock::default(),
            past,
            peers: Peers::new(),
            hops: crate::hop::Taker::default(),
            log: log.clone(),
            state: state.clone(),
            draining: AtomicBool::new(false),
            suspecting: AtomicBool::new(false),
            no_space: AtomicBool::new(false),
            stop: CancellationToken::new(),
        });
        shared.peers.attach(&shared);
        let advertise = if cfg.advertise.is_empty() {
            local_addr.to_string()
        } else {
            cfg.advertise.clone()
        };
        refuse_twin(&shared, &advertise).await?;
        let (applied_tx, applied) = watch::channel(AppliedAt::default());
        let machine = StateMachine::new(state, apply, applied_tx, Arc::clone(&shared.fatal))
            .map_err(|e| StartError::Damaged(e.to_string()))?;
        let factory = Factory {
            shared: Arc::clone(&shared),
        };
        let raft = openraft::Raft::build(cfg.node_id, config, factory, Log::new(log), machine)
            .await
            .map_err(|e| StartError::Damaged(e.to_string()))?;
        let _ = shared.raft.set(raft.clone());
        let proposer = Proposer::start(
            Arc::clone(&shared),
            Duration::from_millis(cfg.timing.election_max_ms),
        );
        let barriers = Barriers::start(Arc::clone(&shared));
        let members = Arc::new(Members::new(Arc::clone(&shared), cfg.promote_after));
        let handlers = Arc::new(Handlers::default());
        let service = PeerService {
            shared: Arc::clone(&shared),
            proposer: Arc::clone(&proposer),
            members: Arc::clone(&members),
            segments,
            handlers: Arc::clone(&handlers),
            incoming: Arc::new(tokio::sync::Mutex::new(())),
        };
        // Until it is known that this node has not forgotten anything; see `past`.
        raft.runtime_config().elect(shared.past.gate().is_ok());
        raft.run();
        let service = PeerServer::new(service)
            .max_decoding_message_size(MAX_FRAME)
            .max_encoding_message_size(MAX_FRAME);
        let mut tasks = vec![
            crate::runtime::spawn(past::ask(Arc::clone(&shared))),
            crate::runtime::spawn(past::keep(Arc::clone(&shared))),
            crate::runtime::spawn(past::notice_removal(Arc::clone(&shared))),
            crate::runtime::spawn(crate::watchdog::watch(Arc::clone(&shared))),
            crate::runtime::spawn(crate::upkeep::keep(Arc::clone(&shared), cfg.snapshot_every)),
            crate::runtime::spawn(finish_joint(Arc::clone(&members))),
        ];
        match (&shared.way, listener) {
            (Way::Carried(carrier), _) => {
                carrier.serve(&shared.identity, &advertise, CarriedService::new(service));
            }
            (Way::Tls(_), listener) => tasks.extend(
                listener.map(|listener| crate::runtime::spawn(serve(Arc::clone(&shared), listener, service))),
            ),
        }
        Ok(Self {
            shared,
            raft,
            proposer,
            barriers,
            members,
            handlers,
            applied,
            local_addr,
            advertise,
            tasks: Mutex::new(tasks),
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Founds a cluster with this node as its only voter. Refused if anything is stored here.
    pub async fn bootstrap(&self) -> Result<(), BootstrapError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        if metrics.last_log_index.is_some()
            || metrics.last_applied.is_some()
            || metrics.vote.leader_id.term != 0
            || metrics.membership_config.nodes().next().is_some()
        {
            return Err(BootstrapError::NotEmpty);
        }
        let member = Member {
            addr: self.advertise.clone(),
            incarnation: self.shared.identity.incarnation.to_string(),
        };
        let nodes = BTreeMap::from([(self.shared.id(), member)]);
        self.raft
            .initialize(nodes)
            .await
            .map_err(|e| BootstrapError::Failed(e.to_string()))
    }

    /// Has the cluster commit and apply an entry, whichever node leads. The entry must carry its own request id: it
    /// is sent again after a failover, and apply must change nothing twice.
    pub async fn propose(&self, entry: Vec<u8>, deadline: Instant) -> Result<Reply, ProposeError> {
        self.proposer.propose(entry, deadline.into()).await
    }

    /// After this, reads of this node's state see everything that was acknowledged anywhere before the call.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<(), ReadError> {
        self.barriers.pass(self.applied.clone(), deadline.into()).await
    }

    /// Waits until this node has applied an entry, such as the one a [`Reply`] names.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), ReadError> {
        read::wait_applied(&mut self.applied.clone(), index, deadline.into()).await
    }

    /// How fresh this node's knowledge of a leader with a quorum is. The caller decides what is fresh enough.
    pub fn lease(&self) -> Result<LeaseView, LeaseLost> {
        read::lease(&self.shared)
    }

    /// How far this node has applied, and what was raised meanwhile.
    #[must_use]
    pub fn applied_watch(&self) -> watch::Receiver<AppliedAt> {
        self.applied.clone()
    }

    /// Adds a node that receives the log and does not vote. The id must be a new one.
    pub async fn add_learner(
        &self,
        id: u64,
        addr: &str,
        incarnation: &str,
        deadline: Instant,
    ) -> Result<(), MemberError> {
        let member = Member {
            addr: addr.to_owned(),
            incarnation: incarnation.to_owned(),
        };
        self.members.add_learner(id, member, deadline.into()).await
    }

    /// Makes a learner a voter once it has kept close behind the leader for a while.
    pub async fn promote(&self, id: u64, deadline: Instant) -> Result<(), MemberError> {
        self.members.promote(id, deadline.into()).await
    }

    /// Removes a node; if it leads, it hands over first.
    pub async fn remove(&self, id: u64, deadline: Instant) -> Result<(), MemberError> {
        self.members.remove(id, deadline.into()).await
    }

    /// Leaves the cluster for good.
    pub async fn leave(&self, deadline: Instant) -> Result<(), MemberError> {
        self.members.remove(self.shared.id(), deadline.into()).await
    }

    /// Tells the cluster that a node moved to another address.
    pub async fn set_addr(&self, id: u64, addr: &str, deadline: Instant) -> Result<(), MemberError> {
        self.members.set_addr(id, addr.to_owned(), deadline.into()).await
    }

    /// Hands leadership to a voter, or to the one best suited.
    pub async fn transfer_leader(&self, to: Option<u64>, deadline: Instant) -> Result<(), MemberError> {
        self.members.transfer(to, deadline.into()).await
    }

    /// The connections to the other nodes.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.shared.peers
    }

    /// Registers what answers [`Peers::call`]s of a kind; the handler is told who asks.
    pub fn on_call<F>(&self, kind: &str, handler: F)
    where
        F: Fn(u64, Bytes) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync + 'static,
    {
        let handler: CallHandler = Arc::new(handler);
        self.handlers.insert(kind, handler);
    }

    /// Registers what takes the byte streams that other nodes open; only the first one counts.
    pub fn on_hop(&self, handler: HopHandler) {
        self.shared.hops.set(handler);
    }

    /// Takes a renewed peer certificate into use for new connections, and makes the outgoing ones anew.
    pub fn renew_tls(&self, tls: PeerTls) -> Result<(), TlsError> {
        if let Way::Tls(ours) = &self.shared.way {
            ours.replace(&self.shared.identity, tls)?;
        }
        self.shared.peers.reset();
        Ok(())
    }

    /// Waits until the core of the group has done a piece of work; `false` if it has ended. A full disk holds the core
    /// back on purpose, and is no reason to call it dead.
    pub async fn answers(&self) -> bool {
        self.shared.no_space.load(Ordering::Relaxed) || self.raft.with_raft_state(|_| ()).await.is_ok()
    }

    /// How this node and its group are doing.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let m = self.raft.metrics().borrow_watched().clone();
        let index = |id: &Option<crate::types::LogId>| id.as_ref().map_or(0, |id| id.index());
        let last_log = m.last_log_index.unwrap_or(0);
        let membership = m.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let role = match m.state {
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        };
        let nodes = membership.nodes().map(|(id, member)| {
            let matched = m
                .replication
                .as_ref()
                .and_then(|r| r.get(id))
                .and_then(|matched| *matched);
            let contact = m.heartbeat.as_ref().and_then(|h| h.get(id)).and_then(|at| *at);
            let status = PeerStatus {
                addr: member.addr.clone(),
                incarnation: member.incarnation.clone(),
                voter: voters.contains(id),
                lag: m
                    .replication
                    .as_ref()
                    .map(|_| last_log.saturating_sub(index(&matched))),
                last_contact_ms: contact.map(|at| millis(at.elapsed())),
            };
            (*id, status)
        });
        RaftStatus {
            id: m.id,
            role,
            term: m.current_term,
            leader: m.current_leader,
            last_log,
            committed: index(&m.local_committed),
            applied: self.applied.borrow().index,
            snapshot: index(&m.snapshot),
            purged: index(&m.purged),
            joint: membership.get_joint_config().len() > 1,
            quorum_age_ms: m.last_quorum_acked.map(|at| millis(at.elapsed())),
            draining: self.shared.draining.load(Ordering::SeqCst),
            nodes: nodes.collect(),
        }
    }

    /// Builds a snapshot now and drops what the log need not keep any more.
    pub async fn snapshot_now(&self) -> Result<(), ProposeError> {
        self.raft
            .trigger()
            .snapshot()
            .await
            .map_err(|_| ProposeError::Stopping)
    }

    /// Prepares a planned stop: hands leadership over and does not take it back; proposals go on through this node
    /// until [`RaftNode::shutdown`]. Returns when what was in flight is answered, or at the deadline.
    pub async fn drain(&self, deadline: Instant) -> Result<(), MemberError> {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.raft.runtime_config().elect(false);
        let status = self.status();
        if status.role == Role::Leader && status.voters().len() > 1 {
            self.members.transfer(None, deadline.into()).await?;
        }
        let deadline = tokio::time::Instant::from(deadline);
        while self.proposer.in_flight() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Stops the node. The stores are closed when their last handles are dropped.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        if let Err(e) = self.raft.shutdown().await {
            tracing::warn!(error = %e, "the Raft core did not stop cleanly");
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for mut task in tasks {
            if tokio::time::timeout(Duration::from_secs(1), &mut task)
                .await
                .is_err()
            {
                task.abort();
            }
        }
        self.shared.peers.reset();
    }
}

impl fmt::Debug for RaftNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftNode")
            .field("id", &self.shared.id())
            .field("addr", &self.local_addr)
            .finish()
    }
}

/// Looks whether another process runs as this node where the others reach it. Our own listener does not answer yet.
async fn refuse_twin(shared: &Shared, advertise: &str) -> Result<(), StartError> {
    let (_, membership) = read_markers(&shared.state).map_err(|e| StartError::Damaged(e.to_string()))?;
    match membership.membership().get_node(&shared.id()) {
        Some(known) if known.addr != advertise && shared.peers.proves(shared.id(), &known.addr).await => {
            Err(StartError::Twin(known.addr.clone()))
        }
        _ => Ok(()),
    }
}

/// What must hold of any log and state that belong together; openraft trusts it. Returns how far they go.
fn check_stored(log: &LogStore, state: &StateStore) -> Result<Past, StartError> {
    let damaged = |e: &dyn fmt::Display| StartError::Damaged(e.to_string());
    let (applied, _) = state.applied().map_err(|e| damaged(&e))?;
    let applied = applied
        .map(|id| codec::decode_log_id(&id))
        .transpose()
        .map_err(|e| damaged(&e))?;
    let applied = applied.map_or(0, |id| id.index());
    let snapshot = match state.current_snapshot().and_then(|file| file.applied) {
        Some(id) => codec::decode_log_id(&id).map_err(|e| damaged(&e))?.index(),
        None => 0,
    };
    if let Some((purged, _)) = log.purged()
        && purged > applied.max(snapshot)
    {
        return Err(damaged(&format!(
            "the log begins behind {purged}, the state reaches to {applied} only"
        )));
    }
    // A quorum may have had entries, and this node have applied them, that its own disk did not take any more. openraft
    // then lets go of the log up to the state, and relies on a snapshot that reaches as far.
    if past::last_index(log) < applied && snapshot < applied {
        let (_, membership) = read_markers(state).map_err(|e| damaged(&e))?;
        let meta = codec::encode_stored_membership(&membership).map_err(|e| damaged(&e))?;
        state.build_snapshot(meta).map_err(|e| damaged(&e))?;
    }
    let vote = log.vote().map_err(|e| damaged(&e))?;
    if vote.is_none() && (log.bounds().is_some() || applied > 0) {
        return Err(damaged(&"the vote is missing although there is a log or a state"));
    }
    let vote = vote
        .map(|vote| codec::decode_vote(&vote))
        .transpose()
        .map_err(|e| damaged(&e))?;
    let last = past::last_index(log).max(applied).max(snapshot);
    Ok(Past::new(log, vote, last))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn serve(shared: Arc<Shared>, listener: TcpListener, service: PeerServer<PeerService>) {
    let (tx, rx) = mpsc::channel(16);
    let accept = crate::runtime::spawn(crate::listen::accept(Arc::clone(&shared), listener, tx));
    let stop = shared.stop.clone();
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
        .max_concurrent_streams(1024)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .add_service(service)
        .serve_with_incoming_shutdown(
            tokio_stream::wrappers::ReceiverStream::new(rx),
            stop.cancelled_owned(),
        );
    // Streams of other nodes do not end by themselves; what has not ended shortly after the stop is cut.
    let cut = async {
        shared.stop.cancelled().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    tokio::select! {
        served = server => if let Err(e) = served {
            tracing::error!(error = %e, "the node-to-node server ended");
        },
        () = cut => {}
    }
    accept.abort();
}
