//! The agent's connection to its cluster: tunnels to two nodes at a time, each dialled from here, so that the host
//! needs no open port.
//!
//! ```text
//! Keeper 1 --Dialler--> node A: presence, and streams both ways
//! Keeper 2 --Dialler--> node B: the same; whatever is asked of the cluster goes by either
//! ```

mod ask;
mod incoming;
mod keeper;

use crate::server::Server;
use crate::uplink::{Declined, Uplink};
use palisade_core::event::Event;
use palisade_core::name::{Name, SessionId};
use palisade_core::pass::Pass;
use palisade_core::ports::{Pending, Unavailable};
use palisade_core::record::{Labels, RecordingSpec};
use palisade_core::time::Timestamp;
use palisade_core::tunnel::{Hello, SessionEnd, ToNode};
use palisade_session::recording::DataKey;
use palisade_session::resume::{self, Acceptor};
use palisade_session::tunnel::{Dialler, Limits, Tunnel};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tunnels that an agent keeps: one more than it needs.
const TUNNELS: usize = 2;
/// Connections that may be resumed, in all.
const CONNECTIONS_MAX: usize = 4096;

/// What the link needs to know.
pub struct LinkConfig {
    /// The host's name.
    pub host: Name,
    /// The agent's id.
    pub agent: u64,
    /// HTTPS addresses of nodes, `name:port`. The link replaces them by what nodes tell.
    pub nodes: watch::Sender<Vec<String>>,
    /// Makes the TLS configuration for each dial: the agent's certificate, and whom it believes.
    pub tls: Arc<dyn Fn() -> io::Result<rustls::ClientConfig> + Send + Sync>,
    /// The host's own labels, as they are now.
    pub labels: watch::Receiver<Labels>,
    /// Operating system, processor.
    pub facts: Labels,
    /// The program's version.
    pub version: String,
    /// How long a connection without a link waits for one.
    pub grace: Duration,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
}

/// By the id of the resumable stream.
type Links = Arc<Mutex<HashMap<resume::Id, watch::Sender<bool>>>>;

fn tell_link(links: &Links, id: resume::Id, linked: bool) {
    if let Some(one) = links.lock().get(&id) {
        one.send_replace(linked);
    }
}

/// The link of one agent.
pub struct Link {
    config: LinkConfig,
    dialler: Dialler,
    server: OnceLock<Weak<Server>>,
    acceptor: Acceptor<Pass>,
    /// Tunnels that work now, by the address that each was dialled at.
    tunnels: Mutex<BTreeMap<String, Tunnel>>,
    /// Whether the clients of resumable connections can be reached now.
    links: Links,
    /// Passes of connections that are served now, by their id.
    passes: Mutex<BTreeMap<String, Pass>>,
    /// Counts changes of what is served, for the beats.
    changes: watch::Sender<u64>,
    /// How many tunnels work, for those who wait for one.
    up: watch::Sender<usize>,
}

impl Link {
    /// A link that does nothing yet.
    ///
    /// # Errors
    /// There is no UDP port to be had.
    pub fn new(config: LinkConfig) -> io::Result<Arc<Self>> {
        let dialler = Dialler::new(Arc::clone(&config.tls), Limits::default())?;
        let resumable = resume::Config {
            grace: config.grace,
            ..resume::Config::default()
        };
        let links = Links::default();
        let observed = links.clone();
        let observer = Arc::new(move |id, event| match event {
            resume::Event::Lost(_) => tell_link(&observed, id, false),
            resume::Event::Resumed => tell_link(&observed, id, true),
            resume::Event::Ended => drop(observed.lock().remove(&id)),
        });
        Ok(Arc::new(Link {
            dialler,
            server: OnceLock::new(),
            acceptor: Acceptor::new(resumable, CONNECTIONS_MAX, Some(observer)),
            links,
            tunnels: Mutex::default(),
            passes: Mutex::default(),
            changes: watch::Sender::new(0),
            up: watch::Sender::new(0),
            config,
        }))
    }

    /// Keeps tunnels up and serves what comes through them, until `stop`.
    pub async fn run(self: &Arc<Self>, server: &Arc<Server>, stop: CancellationToken) {
        let _ = self.server.set(Arc::downgrade(server));
        let keepers = (0..TUNNELS).map(|number| Arc::clone(self).keep(number, stop.clone()));
        futures::future::join_all(keepers).await;
        self.dialler.close().await;
    }

    /// How many tunnels work now.
    pub fn up(&self) -> watch::Receiver<usize> {
        self.up.subscribe()
    }

    fn server(&self) -> Option<Arc<Server>> {
        self.server.get()?.upgrade()
    }

    fn hello(&self) -> Hello {
        Hello {
            version: self.config.version.clone(),
            facts: self.config.facts.clone(),
            labels: self.config.labels.borrow().clone(),
            tunnels_wanted: TUNNELS as u8,
        }
    }

    fn add(&self, addr: &str, tunnel: &Tunnel) -> Option<Tunnel> {
        let mut tunnels = self.tunnels.lock();
        let before = tunnels.insert(addr.to_owned(), tunnel.clone());
        self.up.send_replace(tunnels.len());
        before
    }

    fn remove(&self, addr: &str) {
        let mut tunnels = self.tunnels.lock();
        if tunnels.get(addr).is_some_and(Tunnel::is_closed) {
            tunnels.remove(addr);
        }
        self.up.send_replace(tunnels.len());
    }

    fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }
}

fn declined(why: ask::NoAnswer) -> Declined {
    match why {
        ask::NoAnswer::Refused(why) => Declined::Refused(why),
        ask::NoAnswer::Unavailable(why) => Declined::Unavailable(why),
    }
}

impl Uplink for Link {
    fn now(&self) -> Timestamp {
        (self.config.clock)()
    }

    fn start<'a>(
        &'a self,
        proof: &'a [u8],
        row: RecordingSpec,
        _: Option<u32>,
        key: &'a DataKey,
        events: Vec<Event>,
    ) -> Pending<'a, Result<(), Declined>> {
        let request = ToNode::Start {
            proof: proof.to_vec(),
            row: Box::new(row),
            data_key: key.expose().to_vec(),
            events,
        };
        Box::pin(async move { self.ask(&request).await.map_err(declined) })
    }

    fn end<'a>(&'a self, proof: &'a [u8], end: SessionEnd) -> Pending<'a, Result<(), Declined>> {
        let request = ToNode::End {
            proof: proof.to_vec(),
            end,
        };
        Box::pin(async move { self.ask(&request).await.map_err(declined) })
    }

    fn audit<'a>(&'a self, proof: &'a [u8], events: Vec<Event>) -> Pending<'a, Result<(), Declined>> {
        let request = ToNode::Audit {
            proof: proof.to_vec(),
            events,
        };
        Box::pin(async move { self.ask(&request).await.map_err(declined) })
    }

    fn ship<'a>(
        &'a self,
        session: &'a SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Pending<'a, Result<(), Unavailable>> {
        let request = ToNode::Ship {
            session: session.clone(),
            seq,
            bytes,
        };
        Box::pin(async move {
            self.ask(&request).await.map_err(|why| match why {
                ask::NoAnswer::Refused(why) => Unavailable::Fault(why),
                ask::NoAnswer::Unavailable(why) => Unavailable::NoQuorum(why),
            })
        })
    }
}
