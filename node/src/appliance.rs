//! The node: every room built in order, and stopped in the reverse of it.
//!
//! A node that is in no cluster serves its control socket and waits for `palctl cluster init` or `join`. One that
//! is in a cluster opens its stores, takes part in the group, and serves as soon as its state holds the cluster's
//! authorities.

use crate::bootstrap;
use crate::clock::{self, Skew, now};
use crate::config::Config;
use crate::consensus::{CoreApply, NodeConsensus};
use crate::fitness::{self, Fitness};
use crate::home::{Home, HomeError};
use crate::housekeeping;
use crate::meter::Meter;
use crate::operations::NodeOperations;
use crate::otlp::{self, Target};
use crate::pages::NodePages;
use crate::public_tls::{PublicTls, PublicTlsError};
use crate::pulse::Pulse;
use crate::recordings::NodeRecordings;
use crate::segments::{LocalSegments, Segments};
use crate::sessions::NodeSessions;
use crate::supervisor;
use crate::terminals::{NodeTerminals, Ways};
use crate::tombstones::Tombstones;
use crate::tunnels::{self, PeerHops};
use palisade_ca::{Authorities, AuthorityFault, ClusterKey};
use palisade_core::api::{ClusterStatus, InitReply, InitRequest, JoinOrder};
use palisade_core::command::{Entry, Reply};
use palisade_core::name::{ClusterId, Name, SessionId};
use palisade_core::ports::{Bootstrap, OperationFailed, Operations as _, Pending};
use palisade_core::record::AuthorityType;
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_proxy::authorities::ClusterAuthorities;
use palisade_proxy::ssh::Proxy;
use palisade_proxy::tunnels::Tunnels;
use palisade_raft::{BootstrapError, RaftConfig, RaftNode, RaftStatus, Role, Timing};
use palisade_storage::{
    Identity, LogOptions, LogStore, OnFull, SegmentOptions, SegmentStore, StateOptions, StateStore,
};
use palisade_web::{Api, Front};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a node that stops waits for a successor and for what is in flight.
const DRAIN_FOR: Duration = Duration::from_secs(5);
/// How long the first entry of a new cluster may take.
const INIT_FOR: Duration = Duration::from_secs(20);
/// How long a joining node waits to become a voter before it says that it will go on in the background.
const JOIN_FOR: Duration = Duration::from_secs(60);
/// How long a node that has started may take to be fit to serve before it says that it serves all the same: without a
/// quorum it never is, and whoever starts the nodes one after another must not wait for that.
const READY_FOR: Duration = Duration::from_secs(20);

/// The node cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ApplianceError {
    /// A port is taken, or an address is not ours.
    #[error("{what} cannot listen on {addr}: {source}")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Where.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] palisade_web::ControlError),
    /// The data directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The cluster key.
    #[error("the cluster key {path}: {source}")]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: palisade_ca::ClusterKeyError,
    },
    /// A store.
    #[error("{0}")]
    Store(#[from] palisade_storage::OpenError),
    /// The group.
    #[error(transparent)]
    Raft(#[from] palisade_raft::StartError),
    /// An authority.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    /// The HTTPS identity.
    #[error(transparent)]
    Tls(#[from] PublicTlsError),
    /// Anything else about the cluster.
    #[error("{0}")]
    Cluster(String),
}

/// Since when this node has led, if it leads.
#[derive(Debug, Default)]
pub struct Leading(Mutex<Option<(u64, Instant)>>);

impl Leading {
    /// For how many milliseconds it has led in this term, counted from the first time it was asked; 0 if it does not.
    pub fn for_ms(&self, status: &RaftStatus) -> u64 {
        let mut since = self.0.lock();
        if status.role != Role::Leader {
            *since = None;
        } else if since.is_none_or(|(term, _)| term != status.term) {
            *since = Some((status.term, Instant::now()));
        }
        since.map_or(0, |(_, at)| millis(at.elapsed()))
    }
}

/// A node that is in a cluster.
pub struct Running {
    /// What is per node.
    pub config: Config,
    /// The data directory.
    pub home: Home,
    /// Who this node is.
    pub identity: Identity,
    /// The cluster's authorities.
    pub authorities: Arc<Authorities>,
    /// The replicated state.
    pub consensus: Arc<NodeConsensus>,
    /// Recordings.
    pub recordings: Arc<NodeRecordings>,
    /// Audit pages.
    pub pages: Arc<NodePages>,
    /// Live sessions.
    pub sessions: Arc<NodeSessions>,
    /// The HTTPS identity.
    pub public_tls: Arc<PublicTls>,
    /// Clocks.
    pub skew: Arc<Skew>,
    /// Since when this node leads.
    pub leading: Arc<Leading>,
    /// What operators ask for.
    pub(crate) operations: Arc<NodeOperations>,
    /// Whether this node is fit to lead.
    pub(crate) fitness: Fitness,
    /// Sessions at agents that no node hears of, and since when; kept by the leader.
    pub unheard: Mutex<BTreeMap<SessionId, Instant>>,
    /// When this process began to serve.
    pub started: Timestamp,
}

/// The group, before the state is known to hold what serving needs.
struct Group {
    consensus: Arc<NodeConsensus>,
    log: LogStore,
    segments: Arc<SegmentStore>,
    identity: Identity,
    key: Arc<ClusterKey>,
}

/// Listeners are bound before anything else: a taken port is found out before a store is opened.
struct Listeners {
    web: Option<TcpListener>,
    ssh: Option<TcpListener>,
    control: Option<UnixListener>,
}

/// The node.
pub struct Appliance {
    config: Config,
    home: Home,
    front: Arc<Front>,
    listeners: Mutex<Listeners>,
    group: tokio::sync::Mutex<Option<Arc<Group>>>,
    operations: Mutex<Option<Arc<NodeOperations>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    fatal: Arc<dyn Fn(&str) + Send + Sync>,
    telemetry: watch::Sender<Option<Target>>,
}

/// Ends a task with whoever started it.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the control socket can ask of a node before its cluster serves.
struct Handle(Weak<Appliance>);

impl Appliance {
    /// Binds the listeners and opens the data directory. Nothing is served yet.
    pub async fn new(
        config: Config,
        fatal: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Arc<Self>, ApplianceError> {
        let home = Home::open(&config.data_dir)?;
        let telemetry = watch::Sender::new(otlp::target(&config));
        let control = palisade_web::bind_control(&config.control_socket)?;
        let web = listen("web_listen", config.web_listen).await?;
        let ssh = listen("ssh_listen", config.ssh_listen).await?;
        // The Raft room listens here later; that it cannot is better known now than after the stores are opened.
        drop(listen("cluster_listen", config.cluster_listen).await?);
        let listeners = Mutex::new(Listeners {
            web: Some(web),
            ssh: Some(ssh),
            control: Some(control),
        });
        Ok(Arc::new_cyclic(|this: &Weak<Appliance>| Appliance {
            config,
            home,
            front: Front::new(Arc::new(Handle(this.clone()))),
            listeners,
            group: tokio::sync::Mutex::new(None),
            operations: Mutex::new(None),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            fatal,
            telemetry,
        }))
    }

    /// Takes over from a configuration what can be changed while the node runs.
    pub fn reconfigure(&self, config: &Config) {
        let target = otlp::target(config);
        self.telemetry.send_if_modified(|now| {
            let changed = *now != target;
            *now = target;
            changed
        });
        let operations = self.operations.lock().clone();
        if let Some(operations) = operations {
            operations.public_tls.reconfigure(config.web_tls.clone());
        }
    }

    /// Runs until `shutdown` is ready, then stops in order.
    pub async fn run(self: &Arc<Self>, shutdown: impl Future<Output = ()>) -> Result<(), ApplianceError> {
        let control = self.listeners.lock().control.take();
        if let Some(control) = control {
            self.tasks.spawn(palisade_web::serve_control(
                control,
                self.front.clone(),
                self.stop.clone(),
            ));
        }
        let watched = Arc::downgrade(self);
        let watch = supervisor::watch(move || {
            let node = watched.upgrade();
            async move {
                match node {
                    Some(node) => node.is_alive().await,
                    None => false,
                }
            }
        });
        let watch = AbortOnDrop(tokio::spawn(watch));
        if let Some(identity) = self.home.identity(self.config.name.as_str())? {
            let group = self.start_group(identity).await?;
            self.finish_init(&group).await?;
            let this = self.clone();
            self.tasks.spawn(async move {
                match this.serve(&group).await {
                    Ok(()) => this.announce().await,
                    Err(error) => (this.fatal)(&error.to_string()),
                }
            });
        } else {
            supervisor::ready("in no cluster yet: waits for `palctl cluster init` or `palctl cluster join`");
            tracing::info!(
                socket = %self.config.control_socket.display(),
                "this node is in no cluster yet: `palctl cluster init` makes one, `palctl cluster join` joins one"
            );
        }
        shutdown.await;
        supervisor::stopping("hands leadership over and ends what is open");
        self.stop_all().await;
        drop(watch);
        Ok(())
    }

    /// Whether the node does its work: its control socket answers, and the core of its group does. While the group is
    /// being opened there is nothing to ask yet; how long that may take is the service manager's time for a start.
    async fn is_alive(&self) -> bool {
        let group = self.group.try_lock().ok().and_then(|slot| slot.clone());
        let core = async {
            match group {
                Some(group) => group.consensus.raft().answers().await,
                None => true,
            }
        };
        // When it stops, the socket goes before the process does.
        self.stop.is_cancelled()
            || (core.await && supervisor::control_answers(&self.config.control_socket).await)
    }

    /// Says that the node serves, once it is fit to; so restarting one node after another never takes two at once.
    async fn announce(&self) {
        let operations = self.operations.lock().clone();
        let Some(operations) = operations else { return };
        let until = Instant::now() + READY_FOR;
        while let Err(why) = operations.ready(false) {
            if Instant::now() > until {
                tracing::warn!(why, "this node serves, and is not fit to yet");
                return supervisor::ready(&format!("serves, but: {why}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        supervisor::ready(&format!("serves cluster node {}", self.config.name));
    }

    async fn start_group(&self, mut identity: Identity) -> Result<Arc<Group>, ApplianceError> {
        let mut slot = self.group.lock().await;
        if let Some(group) = slot.as_ref() {
            return Ok(group.clone());
        }
        let path = self.home.cluster_key();
        let key = ClusterKey::from_file(&path).map_err(|source| ApplianceError::Key { path, source })?;
        let before = identity.complete;
        let on_fatal = Some(self.fatal.clone());
        let meter = Meter::new();
        let syncs = meter.clone();
        let options = LogOptions {
            on_full: OnFull::Wait,
            must_exist: before,
            on_fatal: on_fatal.clone(),
            on_sync: Some(Arc::new(move |took| syncs.sync(took))),
            ..LogOptions::default()
        };
        let log = LogStore::open(&self.home.dir().join("raft"), options)?;
        let options = StateOptions {
            must_exist: before,
            on_fatal,
            ..StateOptions::default()
        };
        let state = StateStore::open(self.home.dir(), options)?;
        let segments = Arc::new(SegmentStore::open(self.home.dir(), SegmentOptions::default())?);
        // From now on a missing store is a loss, not a beginning.
        identity.mark_complete(self.home.dir()).map_err(HomeError::from)?;
        let removed = Arc::new(Tombstones::new(state.clone()));
        let left = removed.clone();
        let raft_config = RaftConfig {
            advertise: self.config.advertised(self.config.cluster_listen.port()),
            timing: Timing {
                heartbeat_ms: millis(self.config.heartbeat),
                election_min_ms: millis(self.config.election.0),
                election_max_ms: millis(self.config.election.1),
            },
            snapshot_every: self.config.snapshot_every,
            is_tombstoned: Arc::new(move |id| left.contains(id)),
            time: Arc::new(clock::TlsTime),
            fatal: self.fatal.clone(),
            ..RaftConfig::new(
                identity.cluster.as_str(),
                identity.node,
                identity.incarnation,
                self.config.cluster_listen,
            )
        };
        let local = Arc::new(LocalSegments(segments.clone()));
        let tls = self.home.peer_tls()?;
        let apply = Arc::new(CoreApply::default());
        let raft =
            RaftNode::start(raft_config, tls, log.clone(), state.clone(), apply.clone(), local).await?;
        removed.follow(raft.applied_watch());
        let consensus = NodeConsensus::start(Arc::new(raft), state, &apply, meter);
        let group = Arc::new(Group {
            consensus,
            log,
            segments,
            identity,
            key: Arc::new(key),
        });
        *slot = Some(group.clone());
        Ok(group)
    }

    /// Commits the first entry of a new cluster, also when a crash came in between. The entry carries its own id:
    /// it has its effect once.
    async fn finish_init(&self, group: &Group) -> Result<(), ApplianceError> {
        let path = self.home.pending_init();
        let Ok(bytes) = std::fs::read(&path) else {
            return Ok(());
        };
        Entry::from_bytes(&bytes).map_err(|e| ApplianceError::Cluster(format!("{}: {e}", path.display())))?;
        let cluster_error = |e: &dyn std::fmt::Display| ApplianceError::Cluster(e.to_string());
        match group.consensus.raft().bootstrap().await {
            Ok(()) | Err(BootstrapError::NotEmpty) => {}
            Err(error) => return Err(cluster_error(&error)),
        }
        let until = Instant::now() + INIT_FOR;
        let reply = group
            .consensus
            .raft()
            .propose(bytes, until)
            .await
            .map_err(|e| cluster_error(&e))?;
        let reply = Reply::from_bytes(&reply.bytes).map_err(|e| cluster_error(&e))?;
        reply.done().map_err(|e| cluster_error(&e))?;
        std::fs::remove_file(&path).map_err(|e| cluster_error(&e))
    }

    /// Waits until the state holds the cluster, then serves.
    async fn serve(self: &Arc<Self>, group: &Arc<Group>) -> Result<(), ApplianceError> {
        let kv = group.consensus.store();
        let mut applied = group.consensus.raft().applied_watch();
        let mut told = false;
        while state::cluster(kv).map_err(AuthorityFault::from)?.is_none() {
            if !std::mem::replace(&mut told, true) {
                // It can do nothing more by itself.
                supervisor::ready("has joined: waits for the cluster's state");
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                changed = applied.changed() => if changed.is_err() { return Ok(()) },
            }
        }
        let (Some(web), Some(ssh)) = ({
            let mut listeners = self.listeners.lock();
            (listeners.web.take(), listeners.ssh.take())
        }) else {
            return Ok(());
        };
        let config = self.config.clone();
        let cluster_id = group.identity.cluster.as_str();
        let authorities = Arc::new(Authorities::new(group.key.clone()));
        let segments = Segments::new(group.consensus.clone(), group.segments.clone());
        let recordings = NodeRecordings::new(
            group.consensus.clone(),
            segments.clone(),
            group.key.clone(),
            cluster_id,
        );
        let cluster = ClusterId::parse(cluster_id).map_err(|e| ApplianceError::Cluster(e.to_string()))?;
        let pages = NodePages::new(group.consensus.clone(), segments, group.key.clone(), cluster);
        let user = authorities.signer(kv, AuthorityType::User)?;
        let host = authorities.signer(kv, AuthorityType::Host)?;
        let signers =
            ClusterAuthorities::new(user, host).map_err(|e| ApplianceError::Cluster(e.to_string()))?;
        let names = ssh_names(&config);
        let proxy_config = palisade_proxy::ssh::Config {
            names,
            ..Default::default()
        };
        let proxy = Proxy::new(
            group.consensus.clone(),
            Arc::new(signers),
            recordings.clone(),
            proxy_config,
        );
        let agents = Tunnels::new(
            &proxy,
            group.key.clone(),
            cluster_id,
            Arc::new(PeerHops(group.consensus.clone())),
            self.stop.clone(),
        );
        tunnels::start(&agents, &group.consensus, &self.front, &self.stop);
        let sessions = NodeSessions::start(group.consensus.clone(), proxy.live().clone(), agents.clone());
        let skew = Arc::new(Skew::default());
        // Before anything is signed or refused by the time.
        clock::listen(group.consensus.raft());
        clock::compare(group.consensus.raft(), &skew).await;
        let leading = Arc::new(Leading::default());
        let public_tls = Arc::new(PublicTls::new(&config, kv, &authorities, now())?);
        let pulse = Pulse::new();
        pulse.start(&group.consensus, &group.segments, config.audit_recent, &self.stop);
        let started = now();
        let operations = Arc::new(NodeOperations {
            leading: leading.clone(),
            consensus: group.consensus.clone(),
            key: group.key.clone(),
            authorities: authorities.clone(),
            log: group.log.clone(),
            segments: group.segments.clone(),
            pages: pages.clone(),
            recordings: recordings.clone(),
            sessions: sessions.clone(),
            skew: skew.clone(),
            home: self.home.clone(),
            public_tls: public_tls.clone(),
            pulse,
            started,
            config: config.clone(),
            bundle: self.home.dir().join(crate::bundle::FOLDER),
        });
        operations.listen();
        otlp::start(&operations, self.telemetry.subscribe(), &self.stop);
        *self.operations.lock() = Some(operations.clone());
        let tls = public_tls.watch();
        let running = Arc::new(Running {
            config,
            home: self.home.clone(),
            identity: group.identity.clone(),
            authorities,
            consensus: group.consensus.clone(),
            recordings: recordings.clone(),
            pages: pages.clone(),
            sessions: sessions.clone(),
            public_tls,
            skew,
            leading,
            operations: operations.clone(),
            fitness: Fitness::default(),
            unheard: Mutex::default(),
            started,
        });
        fitness::listen(&running);
        housekeeping::start(&running, &self.stop);
        let ways = Arc::new(Ways {
            consensus: group.consensus.clone(),
            pages: pages.clone(),
            tunnels: agents.clone(),
            proxy: proxy.clone(),
            name: self.config.name.to_string(),
            stop: self.stop.clone(),
        });
        self.front.set_api(Api {
            consensus: group.consensus.clone(),
            recordings,
            pages,
            terminals: Arc::new(NodeTerminals(ways)),
            sessions,
            operations,
            agents: agents.clone(),
            seal: group.key.clone(),
            config: palisade_web::Config::default(),
        });
        self.tasks.spawn(tunnels::serve_quic(
            agents.clone(),
            self.config.web_listen,
            running.public_tls.watch(),
            self.stop.clone(),
        ));
        self.tasks.spawn(palisade_web::serve_tls(
            web,
            tls,
            self.front.clone(),
            self.stop.clone(),
        ));
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { proxy.serve(ssh, stop.cancelled_owned()).await });
        tracing::info!(
            node.id = group.identity.node,
            web = %self.config.web_listen,
            ssh = %self.config.ssh_listen,
            "this node serves"
        );
        Ok(())
    }

    /// Leadership first, then what is in flight, then the group, then the disk.
    async fn stop_all(&self) {
        tracing::info!("stopping: leadership is handed over, open requests are answered");
        let group = self.group.lock().await.take();
        if let Some(group) = &group
            && let Err(error) = group.consensus.raft().drain(Instant::now() + DRAIN_FOR).await
        {
            tracing::warn!(error = %error, "leadership could not be handed over");
        }
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(DRAIN_FOR, self.tasks.wait()).await.is_err() {
            tracing::warn!("some requests did not end in time and are cut off");
        }
        if let Some(group) = group {
            group.consensus.raft().shutdown().await;
            if let Err(error) = group.consensus.store().sync() {
                tracing::warn!(error = %error, "the last sync of the state failed; the log has everything");
            }
        }
        let _ = std::fs::remove_file(&self.config.control_socket);
        tracing::info!("stopped");
    }

    async fn init(self: Arc<Self>, request: InitRequest) -> Result<InitReply, OperationFailed> {
        let failed = |e: ApplianceError| OperationFailed(e.to_string());
        let cluster = Name::parse(&request.cluster).map_err(|e| OperationFailed(e.to_string()))?;
        let existing = self.home.identity(self.config.name.as_str())?;
        let created = existing.is_none();
        let identity = match existing {
            Some(identity) => identity,
            None => bootstrap::make_cluster(&self.config, &self.home, &cluster)?,
        };
        let group = self.start_group(identity).await.map_err(failed)?;
        self.finish_init(&group).await.map_err(failed)?;
        self.serve(&group).await.map_err(failed)?;
        self.announce().await;
        let tls = palisade_ca::public_authority(group.consensus.store(), AuthorityType::Tls);
        let tls = tls.map_err(|e| OperationFailed(e.to_string()))?;
        Ok(InitReply {
            cluster_id: group.identity.cluster.clone(),
            ca_pin: tls.pin,
            created,
        })
    }

    async fn join(self: Arc<Self>, order: JoinOrder) -> Result<ClusterStatus, OperationFailed> {
        let failed = |e: ApplianceError| OperationFailed(e.to_string());
        let identity = match self.home.identity(self.config.name.as_str())? {
            Some(identity) if order.token.contains(identity.cluster.as_str()) => identity,
            Some(identity) => {
                let why = format!(
                    "this node is in cluster {} already: to move it, take it out there and empty its data directory",
                    identity.cluster
                );
                return Err(OperationFailed(why));
            }
            None => bootstrap::join_cluster(&self.config, &self.home, order).await?,
        };
        let id = identity.node;
        let group = self.start_group(identity).await.map_err(failed)?;
        let this = self.clone();
        let joined = async {
            this.serve(&group).await.map_err(failed)?;
            let mut applied = group.consensus.raft().applied_watch();
            while !group.consensus.raft().status().voters().contains(&id) {
                // Membership changes arrive as log entries.
                let _ = tokio::time::timeout(Duration::from_millis(100), applied.changed()).await;
            }
            Ok::<(), OperationFailed>(())
        };
        match tokio::time::timeout(JOIN_FOR, joined).await {
            Ok(done) => done?,
            Err(_) => {
                return Err(OperationFailed(
                    "this node has joined and is still catching up: `palctl cluster status` shows how far it is".into(),
                ));
            }
        }
        let operations = self.operations.lock().clone();
        match operations {
            Some(operations) => {
                self.announce().await;
                Ok(operations.cluster_status().await)
            }
            None => Err(stopping()),
        }
    }
}

impl Bootstrap for Handle {
    fn init(&self, request: InitRequest) -> Pending<'_, Result<InitReply, OperationFailed>> {
        let node = self.0.upgrade();
        Box::pin(async move { node.ok_or_else(stopping)?.init(request).await })
    }

    fn join(&self, order: JoinOrder) -> Pending<'_, Result<ClusterStatus, OperationFailed>> {
        let node = self.0.upgrade();
        Box::pin(async move { node.ok_or_else(stopping)?.join(order).await })
    }
}

fn stopping() -> OperationFailed {
    OperationFailed("this node is stopping".into())
}

async fn listen(what: &'static str, addr: std::net::SocketAddr) -> Result<TcpListener, ApplianceError> {
    let failed = |source| ApplianceError::Listen {
        what,
        addr: addr.to_string(),
        source,
    };
    TcpListener::bind(addr).await.map_err(failed)
}

/// The names under which people reach this node's SSH port.
fn ssh_names(config: &Config) -> Vec<String> {
    let mut names = vec![
        config.advertise.to_ascii_lowercase(),
        config.name.to_string(),
        "localhost".into(),
        "127.0.0.1".into(),
    ];
    if !config.ssh_listen.ip().is_unspecified() {
        names.push(config.ssh_listen.ip().to_string());
    }
    names.dedup();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    names
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
