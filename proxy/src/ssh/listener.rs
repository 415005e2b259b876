//! The listener: takes connections, bounds them, and ends them in order.

use crate::ports::Authorities;
use crate::ssh::auth::Door;
use crate::ssh::inner;
use crate::ssh::lanes::Lanes;
use crate::ssh::limits::Limits;
use crate::ssh::live::{Live, Stop};
use crate::ssh::node::{Config, HostIdentities, Node};
use crate::ssh::outer::Outer;
use palisade_core::ports::{Consensus, Recordings};
use palisade_session::ssh::config;
use palisade_session::ssh::russh;
use palisade_session::ssh::stream::{Egress, Transport};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// What everybody reads whose connection ends with the node.
const STOPPING: &str = "this node is stopping: connect again, another node will take you";

/// How long sessions get to read why they end when the node stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long the ends of sessions may take to be written when the node stops.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The SSH proxy of one node.
#[derive(Clone)]
pub struct Proxy {
    node: Arc<Node>,
}

impl Proxy {
    /// A proxy over the node's ports, which are used on the runtime that this is called on. Nothing is served until
    /// [`Proxy::serve`].
    pub fn new(
        consensus: Arc<dyn Consensus>,
        authorities: Arc<dyn Authorities>,
        recordings: Arc<dyn Recordings>,
        config: Config,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let limits = Limits::new(
            config.unauthenticated_per_address,
            config.unauthenticated,
            config.connections,
        );
        Proxy {
            node: Arc::new(Node {
                consensus,
                authorities,
                recordings,
                config,
                limits,
                live: Arc::default(),
                identities: HostIdentities::default(),
                tunnels: OnceLock::new(),
                tasks: TaskTracker::new(),
                lanes: Lanes::start(cores),
                home: Handle::current(),
            }),
        }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Sessions that run here now: to list and to end.
    pub fn live(&self) -> &Arc<Live> {
        &self.node.live
    }

    /// Serves one connection of somebody at `peer` that did not come through the port, as [`Proxy::serve`] does, until it
    /// ends or `shutdown` is ready. The stream must belong to no runtime: it is served on a thread of the proxy's own.
    pub async fn serve_one<S>(&self, stream: S, peer: SocketAddr, shutdown: impl Future<Output = ()> + Send)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(place) = self.node.limits.connection() else {
            return;
        };
        let stop = Stop::default();
        let (lane, busy) = self.node.lanes.pick();
        let serve = connection(Arc::clone(&self.node), stream, peer, stop.clone());
        let mut serving = JoinSet::new();
        serving.spawn_on(serve, &lane);
        tokio::select! {
            _ = serving.join_next() => {}
            () = shutdown => {
                stop.stop(STOPPING);
                let _ = tokio::time::timeout(FAREWELL, serving.join_next()).await;
            }
        }
        drop((place, busy));
    }

    /// Serves until `shutdown` is ready; then tells every session why it ends, and ends it.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        tokio::pin!(shutdown);
        let stop = Stop::default();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                taken = listener.accept() => match taken {
                    Ok((stream, peer)) => {
                        let Some(place) = self.node.limits.connection() else { continue };
                        let (lane, busy) = self.node.lanes.pick();
                        let (node, stop) = (Arc::clone(&self.node), stop.clone());
                        let serve = async move {
                            match here(stream) {
                                Ok(stream) => connection(node, stream, peer, stop).await,
                                Err(error) => tracing::debug!(client.addr = %peer, error = %error, "connection lost before it began"),
                            }
                            drop((place, busy));
                        };
                        connections.spawn_on(serve, &lane);
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: others finish, so this passes.
                        tracing::warn!(error = %error, "an SSH connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        drop(listener);
        stop.stop(STOPPING);
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, ended).await.is_err() {
            connections.shutdown().await;
        }
        // Ends of sessions are written before the node goes on stopping; they need its log.
        self.node.tasks.close();
        if tokio::time::timeout(LAST_WORDS, self.node.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.node.tasks.len(),
                "sessions were cut off before their end was written"
            );
        }
        self.node.tasks.reopen();
    }
}

async fn connection<S>(node: Arc<Node>, stream: S, peer: SocketAddr, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(waiting) = node.limits.unauthenticated(peer.ip()) else {
        tracing::debug!(client.addr = %peer, "too many unauthenticated connections");
        return;
    };
    let identity = node.host_identity(&node.config.names).await;
    let (key, certificate) = match identity {
        Ok(identity) => identity,
        Err(error) => {
            tracing::error!(error = %error, "no host certificate for this node's own SSH port");
            return;
        }
    };
    let door = Door::new(Arc::clone(&node), peer, Some(waiting));
    let passed = door.passed();
    let (transport, back) = Transport::lending(stream);
    let egress = transport.egress();
    let handler = Outer::new(Arc::clone(&node), door, Arc::clone(&egress), stop.clone());
    let way = handler.way();
    run(
        config::server(key, certificate),
        transport,
        handler,
        egress,
        passed,
        node.config.login_grace,
        &stop,
    )
    .await;
    let asked = way.lock().take();
    if let Some((who, host)) = asked
        && let Some(stream) = back.stream().await
    {
        let serve = inner::serve(Arc::clone(&node), who, host, stream, stop);
        // Tracked with those that come through channels: a stopping node waits for their ends to be written.
        let _ = node.tasks.spawn(serve).await;
    }
}

/// Moves a stream to the runtime of the lane that this runs on.
fn here(stream: TcpStream) -> std::io::Result<TcpStream> {
    let stream = TcpStream::from_std(stream.into_std()?)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Runs one served connection to its end, within the login grace until somebody has authenticated.
pub(crate) async fn run<S, H>(
    config: russh::server::Config,
    transport: Transport<S>,
    handler: H,
    egress: Arc<Egress>,
    passed: Arc<AtomicBool>,
    grace: Duration,
    stop: &Stop,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: russh::server::Handler<Error = russh::Error> + Send + 'static,
{
    let kill = KillOnDrop(egress);
    let deadline = tokio::time::sleep(grace);
    tokio::pin!(deadline);
    let started = tokio::select! {
        started = russh::server::run_stream(Arc::new(config), transport, handler) => started,
        () = &mut deadline => return,
    };
    let Ok(mut session) = started else { return };
    let mut in_time = false;
    loop {
        tokio::select! {
            ended = &mut session => {
                if let Err(error) = ended {
                    tracing::debug!(error = %error, "SSH connection ended");
                }
                return;
            }
            () = &mut deadline, if !in_time => {
                if !passed.load(Ordering::SeqCst) {
                    return;
                }
                in_time = true;
            }
            reason = stop.stopped() => {
                // Whoever has something to say to the user says it before this.
                tokio::time::sleep(Duration::from_millis(300)).await;
                let goodbye = session.handle();
                let said = goodbye.disconnect(russh::Disconnect::ByApplication, reason, "en".into());
                let _ = tokio::time::timeout(Duration::from_millis(200), said).await;
                let _ = tokio::time::timeout(Duration::from_millis(500), &mut session).await;
                drop(kill);
                return;
            }
        }
    }
}

/// Breaks the transport when the connection's task is over, however it ended.
struct KillOnDrop(Arc<Egress>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}
