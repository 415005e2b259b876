//! Agents at this node and at the others, and the ways to them.
//!
//! ```text
//! agent ==tunnel==> agent.rs (presence, sessions, recordings of one agent)
//! client --link--> connect.rs (decides, makes the pass) --> way.rs (our own tunnel, or a hop to a node that has one)
//! watch.rs (decides again when the policy changes, tells agents)      shared.rs (presence of other nodes' agents)
//! ```
//!
//! Presence lives in memory: no heartbeat becomes a log entry. A node that falls silent takes what it said with it.

mod agent;
mod connect;
mod shared;
mod watch;
mod way;

pub use connect::ClientLink;
pub use shared::{Heard, Listener, PRESENCE_EVERY, Share};
pub use way::{HopStream, Hops};
pub(crate) use way::{Spliced, splice};

use crate::ssh::Proxy;
use crate::ssh::node::Node;
use palisade_ca::{Seal, SealContext};
use palisade_core::api::{LiveSession, SessionParticipant};
use palisade_core::name::{Name, NodeId, SessionId};
use palisade_core::pass::Claims;
use palisade_core::ports::{Agents, Unavailable};
use palisade_core::tunnel::{AgentPresence, HostSession, LiveConnection, Order};
use palisade_session::tunnel::Tunnel;
use parking_lot::Mutex;
use shared::Others;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

/// An agent that was not heard from for this long is gone, whatever its connection says.
const AGENT_GONE: Duration = Duration::from_millis(3000);

/// All tunnels of one node.
pub struct Tunnels {
    pub(crate) node: Arc<Node>,
    seal: Arc<dyn Seal>,
    cluster_id: String,
    hops: Arc<dyn Hops>,
    held: Mutex<BTreeMap<Name, Arc<Held>>>,
    others: Mutex<Others>,
    /// Counts changes of what this node holds, for those who tell the other nodes.
    changes: channel::Sender<u64>,
    next: AtomicU64,
    /// What agents are told of the nodes, and when it was read.
    web_addrs: Mutex<Option<(Instant, Arc<Vec<String>>)>>,
    stop: CancellationToken,
}

/// One agent's tunnel at this node.
pub(crate) struct Held {
    /// Told apart from the tunnel that takes its place.
    number: u64,
    tunnel: Tunnel,
    /// Shared with what the other nodes were told.
    presence: Mutex<Arc<AgentPresence>>,
    connections: Mutex<Vec<Live>>,
    last_beat: Mutex<Instant>,
}

/// A connection that an agent serves, as this node knows it.
#[derive(Clone)]
pub(crate) struct Live {
    claims: Arc<Claims>,
    sessions: Vec<HostSession>,
}

impl Tunnels {
    /// On the proxy's ports. `seal` proves claims; `hops` reaches the other nodes.
    pub fn new(
        proxy: &Proxy,
        seal: Arc<dyn Seal>,
        cluster_id: &str,
        hops: Arc<dyn Hops>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let tunnels = Arc::new(Tunnels {
            node: Arc::clone(proxy.node()),
            seal,
            cluster_id: cluster_id.to_owned(),
            hops,
            held: Mutex::default(),
            others: Mutex::default(),
            changes: channel::Sender::new(0),
            next: AtomicU64::new(1),
            web_addrs: Mutex::default(),
            stop,
        });
        let _ = tunnels.node.tunnels.set(Arc::downgrade(&tunnels));
        watch::start(&tunnels);
        tunnels
    }

    fn context(&self) -> SealContext {
        SealContext::new(
            &self.cluster_id,
            "claims",
            u32::from(palisade_core::pass::CLAIMS_VERSION),
        )
    }

    /// The claims that a proof holds, if a node of this cluster made it.
    fn claims(&self, proof: &[u8]) -> Result<Claims, String> {
        let opened = self
            .seal
            .open(self.context().as_str(), proof)
            .map_err(|e| e.to_string())?;
        Claims::from_bytes(&opened).map_err(|e| e.to_string())
    }

    fn held(&self, host: &Name) -> Option<Arc<Held>> {
        self.held.lock().get(host).cloned()
    }

    fn all_held(&self) -> Vec<Arc<Held>> {
        self.held.lock().values().cloned().collect()
    }

    /// Agents whose tunnel ends at this node.
    pub fn held_here(&self) -> usize {
        self.held.lock().len()
    }

    fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    /// Takes a tunnel in; the one that the host had here before is closed.
    fn add(&self, presence: AgentPresence, tunnel: Tunnel) -> Arc<Held> {
        let presence = Arc::new(presence);
        let held = Arc::new(Held {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            tunnel,
            presence: Mutex::new(Arc::clone(&presence)),
            connections: Mutex::default(),
            last_beat: Mutex::new(Instant::now()),
        });
        let before = self.held.lock().insert(presence.host.clone(), Arc::clone(&held));
        if let Some(before) = before {
            // What runs through it may end by itself: an agent that found a better way has both for a while.
            tokio::spawn(before.tunnel.clone().retire());
        }
        self.changed();
        held
    }

    fn remove(&self, held: &Held) {
        let host = held.presence.lock().host.clone();
        let mut all = self.held.lock();
        if all.get(&host).is_some_and(|now| now.number == held.number) {
            all.remove(&host);
            drop(all);
            self.changed();
        }
    }

    /// Sessions of the agents whose tunnels are here.
    pub fn sessions(&self) -> Vec<LiveSession> {
        let mut all = Vec::new();
        for held in self.all_held() {
            let presence = held.presence.lock().clone();
            for live in held.connections.lock().iter() {
                all.extend(
                    live.sessions
                        .iter()
                        .map(|session| self.row(&presence, live, session)),
                );
            }
        }
        all
    }

    fn row(&self, presence: &AgentPresence, live: &Live, session: &HostSession) -> LiveSession {
        LiveSession {
            session: session.session.to_string(),
            user: live.claims.user.to_string(),
            login: session.login.clone(),
            host: presence.host.to_string(),
            client_addr: live.claims.client_addr.clone(),
            node: self.node.consensus.node_id(),
            kind: session.kind.clone(),
            started: session.started,
            participants: session
                .participants
                .iter()
                .map(|one| SessionParticipant {
                    user: one.user.to_string(),
                    mode: one.joined.map_or("owner", |mode| mode.as_str()).to_owned(),
                })
                .collect(),
        }
    }

    /// Has an agent whose tunnel is here end a session; false if none here serves it.
    pub fn end(&self, session: &SessionId, why: &str) -> bool {
        let serves = |held: &Arc<Held>| {
            let connections = held.connections.lock();
            connections
                .iter()
                .any(|live| live.sessions.iter().any(|s| s.session == *session))
        };
        let Some(held) = self.all_held().into_iter().find(serves) else {
            return false;
        };
        let order = Order::End {
            session: session.clone(),
            why: why.to_owned(),
        };
        self.node.tasks.spawn(async move {
            if let Err(error) = agent::order(&held.tunnel, order).await {
                tracing::warn!(error = %error, "an agent could not be told to end a session");
            }
        });
        true
    }

    /// Whether the node is stopping.
    pub(crate) fn stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Closes every tunnel, after telling the agents to go elsewhere.
    pub fn close(&self) {
        for held in self.all_held() {
            held.tunnel.close();
        }
    }
}

impl Agents for Tunnels {
    fn agent(&self, host: &Name) -> Option<AgentPresence> {
        if let Some(held) = self.held(host) {
            return Some((**held.presence.lock()).clone());
        }
        self.others
            .lock()
            .find(host)
            .map(|(_, presence)| presence.clone())
    }
}

/// A connection as the agent tells of it, with its proof opened; one whose proof does not open is not believed.
fn opened(tunnels: &Tunnels, presence: &AgentPresence, told: Vec<LiveConnection>) -> Vec<Live> {
    let mut all = Vec::new();
    for connection in told {
        match tunnels.claims(&connection.proof) {
            Ok(claims) if claims.host == presence.host && claims.agent == presence.agent => all.push(Live {
                claims: Arc::new(claims),
                sessions: connection.sessions,
            }),
            _ => tracing::warn!(host = %presence.host, "an agent tells of a connection that no node let in"),
        }
    }
    all
}

/// Which node, other than this one, holds a tunnel to the host.
pub(crate) fn elsewhere(tunnels: &Tunnels, host: &Name) -> Vec<NodeId> {
    tunnels.others.lock().nodes_of(host)
}

/// For those who answer to people: the cluster cannot be asked right now.
pub(crate) fn unavailable(error: &Unavailable) -> String {
    error.to_string()
}
