//! Connections to the other nodes: made when needed, kept, made anew after a failure.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rand::Rng as _;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

use crate::carrier::{PeerChannel, Way};
use crate::hop::{self, Hop};
use crate::shared::Shared;
use crate::types::{MAX_ENTRY, MAX_FRAME};
use crate::wire::{self, peer::peer_client::PeerClient};

/// How long a connection may take to be there, handshake included.
const CONNECT: Duration = Duration::from_millis(1000);
/// A connection with nothing to say is asked this often whether it still lives.
const KEEPALIVE: Duration = Duration::from_millis(1000);
/// And is given up when it does not answer for this long.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(2000);

/// Why a peer could not be asked, or what it answered instead.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// Membership does not know the node.
    #[error("node {0} is not a member of this cluster")]
    Unknown(u64),
    /// No connection, or it broke. Whether the other end acted is not known.
    #[error("node {node} cannot be reached: {why}")]
    Unreachable {
        /// The node.
        node: u64,
        /// What happened.
        why: String,
    },
    /// No answer within the time given.
    #[error("node {0} did not answer in time")]
    Timeout(u64),
    /// The other end refused.
    #[error("node {node} refused: {why}")]
    Refused {
        /// The node.
        node: u64,
        /// Its words.
        why: String,
    },
}

/// What a connection is used for: bulk data must not stand in the way of heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Entries, votes, proposals, small questions.
    Control,
    /// Heartbeats alone, so that a full control lane does not look like a dead leader.
    Heartbeat,
    /// Snapshots and segments.
    Bulk,
}

struct Pooled {
    addr: String,
    channel: PeerChannel,
}

/// The pool of connections of one node.
pub struct Peers {
    shared: OnceLock<Weak<Shared>>,
    pool: Mutex<HashMap<(u64, Lane), Pooled>>,
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self {
            shared: OnceLock::new(),
            pool: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn attach(&self, shared: &Arc<Shared>) {
        let _ = self.shared.set(Arc::downgrade(shared));
    }

    /// Forgets every connection, so that the next request uses a renewed certificate.
    pub(crate) fn reset(&self) {
        self.pool.lock().clear();
    }

    fn shared(&self) -> Option<Arc<Shared>> {
        self.shared.get()?.upgrade()
    }

    pub(crate) fn client(&self, node: u64, addr: &str, lane: Lane) -> PeerClient<PeerChannel> {
        let mut pool = self.pool.lock();
        let pooled = pool
            .entry((node, lane))
            .and_modify(|pooled| {
                if pooled.addr != addr {
                    *pooled = Pooled {
                        addr: addr.to_owned(),
                        channel: self.connect(node, addr),
                    };
                }
            })
            .or_insert_with(|| Pooled {
                addr: addr.to_owned(),
                channel: self.connect(node, addr),
            });
        PeerClient::new(pooled.channel.clone())
            .max_decoding_message_size(MAX_FRAME)
            .max_encoding_message_size(MAX_FRAME)
    }

    fn connect(&self, node: u64, addr: &str) -> PeerChannel {
        let shared = self.shared.get().cloned().unwrap_or_default();
        if let Some(shared) = shared.upgrade()
            && let Way::Carried(carrier) = &shared.way
        {
            return PeerChannel::Carried(carrier.channel(&shared.identity, node, addr));
        }
        let addr = addr.to_owned();
        let gate = Arc::new(Mutex::new(Gate::default()));
        let connector = service_fn(move |_: Uri| {
            let (shared, addr, gate) = (shared.clone(), addr.clone(), Arc::clone(&gate));
            async move {
                gate.lock().enter()?;
                let dialled = async {
                    let gone = || std::io::Error::other("this node has stopped");
                    dial(&*shared.upgrade().ok_or_else(gone)?, node, &addr, hop::ALPN_RPC).await
                };
                let result = match tokio::time::timeout(CONNECT, dialled).await {
                    Ok(result) => result,
                    Err(_) => Err(std::io::Error::new(
                        std::io::ErrorKind::TimedOut,
                        "no connection in time",
                    )),
                };
                gate.lock().leave(result.is_ok());
                result.map(TokioIo::new)
            }
        });
        // The name is for HTTP only: who is at the other end is decided by the certificate.
        let endpoint = Endpoint::from_static("http://palisade.node")
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024)
            .connect_with_connector_lazy(connector);
        PeerChannel::Tls(endpoint)
    }

    /// Whether something at `addr` proves to be this node, over a connection of its own.
    pub(crate) async fn proves(&self, node: u64, addr: &str) -> bool {
        let Some(shared) = self.shared() else { return false };
        if let Way::Carried(carrier) = &shared.way {
            let knock = tokio::time::timeout(CONNECT, carrier.knock(&shared.identity, addr));
            return matches!(knock.await, Ok(Ok(())));
        }
        let dialled = tokio::time::timeout(CONNECT, dial(&shared, node, addr, hop::ALPN_RPC)).await;
        matches!(dialled, Ok(Ok(_)))
    }

    /// Looks whether anything listens at `addr`.
    pub(crate) async fn knock(&self, addr: &str) -> std::io::Result<()> {
        if let Some(shared) = self.shared()
            && let Way::Carried(carrier) = &shared.way
        {
            return carrier.knock(&shared.identity, addr).await;
        }
        TcpStream::connect(addr).await.map(drop)
    }

    fn to(&self, node: u64, lane: Lane) -> Result<(PeerClient<PeerChannel>, u64), PeerError> {
        let shared = self.shared().ok_or(PeerError::Unknown(node))?;
        let member = shared.member(node).ok_or(PeerError::Unknown(node))?;
        Ok((self.client(node, &member.addr, lane), shared.id()))
    }

    /// The other nodes of the cluster.
    #[must_use]
    pub fn others(&self) -> Vec<u64> {
        let Some(shared) = self.shared() else {
            return Vec::new();
        };
        shared
            .members()
            .into_keys()
            .filter(|id| *id != shared.id())
            .collect()
    }

    /// Asks the handler that the other node registered for `kind`.
    pub async fn call(
        &self,
        node: u64,
        kind: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, PeerError> {
        let (mut client, from) = self.to(node, Lane::Control)?;
        let request = wire::CallRequest {
            from,
            to: node,
            kind: kind.to_owned(),
            body,
        };
        let reply = within(node, limit, client.call(request)).await?;
        Ok(reply.body)
    }

    /// A byte stream to another node, of its own connection: [`RaftNode::on_hop`](crate::RaftNode::on_hop) takes it
    /// there.
    pub async fn hop(&self, node: u64) -> Result<Hop, PeerError> {
        let shared = self.shared().ok_or(PeerError::Unknown(node))?;
        hop::open(&shared, node).await
    }

    /// Stores a segment at another node; when this returns it is on that node's disk. Returns its name there.
    pub async fn segment_put(
        &self,
        node: u64,
        session: &str,
        seq: u64,
        data: Bytes,
        limit: Duration,
    ) -> Result<String, PeerError> {
        if data.len() > MAX_FRAME - MAX_ENTRY {
            return Err(PeerError::Refused {
                node,
                why: "the segment is too big for one message".into(),
            });
        }
        let (mut client, from) = self.to(node, Lane::Bulk)?;
        let request = wire::SegmentPutRequest {
            from,
            to: node,
            session: session.to_owned(),
            seq,
            data,
        };
        Ok(within(node, limit, client.segment_put(request)).await?.name)
    }

    /// Fetches a segment by name from another node.
    pub async fn segment_get(&self, node: u64, name: &str, limit: Duration) -> Result<Bytes, PeerError> {
        let (mut client, from) = self.to(node, Lane::Bulk)?;
        let request = wire::SegmentGetRequest {
            from,
            to: node,
            name: name.to_owned(),
        };
        let fetch = async {
            let mut parts = client.segment_get(request).await?.into_inner();
            let mut out = Vec::new();
            while let Some(part) = parts.message().await? {
                if out.len() + part.data.len() > crate::segments::MAX_SEGMENT {
                    return Err(tonic::Status::out_of_range("the segment is too big"));
                }
                out.extend_from_slice(&part.data);
            }
            Ok(tonic::Response::new(out))
        };
        Ok(Bytes::from(within(node, limit, fetch).await?))
    }

    /// Names of the segments of a session that another node has.
    pub async fn segment_list(
        &self,
        node: u64,
        session: &str,
        limit: Duration,
    ) -> Result<Vec<String>, PeerError> {
        let (mut client, from) = self.to(node, Lane::Bulk)?;
        let request = wire::SegmentListRequest {
            from,
            to: node,
            session: session.to_owned(),
        };
        Ok(within(node, limit, client.segment_list(request)).await?.names)
    }
}

/// Runs a request with a limit and names the node in what goes wrong.
pub(crate) async fn within<T>(
    node: u64,
    limit: Duration,
    request: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, PeerError> {
    match tokio::time::timeout(limit, request).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) => Err(match status.code() {
            tonic::Code::Unavailable
            | tonic::Code::Unknown
            | tonic::Code::Cancelled
            | tonic::Code::Internal => PeerError::Unreachable {
                node,
                why: crate::network::status_text(&status),
            },
            tonic::Code::DeadlineExceeded => PeerError::Timeout(node),
            _ => PeerError::Refused {
                node,
                why: status.message().to_owned(),
            },
        }),
        Err(_) => Err(PeerError::Timeout(node)),
    }
}

pub(crate) async fn dial(
    shared: &Shared,
    node: u64,
    addr: &str,
    alpn: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let config = shared
        .way
        .tls()?
        .client(node, alpn)
        .map_err(std::io::Error::other)?;
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("palisade.node").map_err(std::io::Error::other)?;
    TlsConnector::from(config).connect(name, tcp).await
}

/// Keeps a dead peer from being dialled by every request: after a failure it is left alone for a short, random
/// while, in which requests fail at once.
#[derive(Default)]
struct Gate {
    failures: u32,
    closed_until: Option<Instant>,
}

impl Gate {
    fn enter(&mut self) -> std::io::Result<()> {
        match self.closed_until {
            Some(until) if Instant::now() < until => Err(std::io::Error::new(
                std::io::ErrorKind::NotConnected,
                "the node did not answer a moment ago",
            )),
            _ => Ok(()),
        }
    }

    fn leave(&mut self, connected: bool) {
        if connected {
            *self = Self::default();
            return;
        }
        let most = (20u64 << self.failures.min(4)).min(250);
        self.failures = self.failures.saturating_add(1);
        let pause = rand::rng().random_range(most / 2..=most);
        self.closed_until = Some(Instant::now() + Duration::from_millis(pause));
    }
}
