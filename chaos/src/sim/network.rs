//! The network between the nodes of a run: requests and streams as gRPC encodes them, lost, late, doubled, out of order or cut off.
//!
//! It behaves as TCP does. A stream keeps its order, and what it loses comes late; one that gets nothing through for some
//! seconds breaks, at both ends. A process that dies resets its connections and refuses new ones; a machine that loses
//! power answers nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use palisade_core::peer::PeerIdentity;
use palisade_raft::{
    CarriedChannel, CarriedRequest, CarriedResponse, CarriedService, Carrier, inspect, spawn_kept,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service as _, StdError};

use super::life::Life;
use super::rng::Rng;
use super::watch::{Event, Watch, Who};

/// A connection that gets nothing through for so long is given up: the keepalive of the real one.
const DEAD: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);

/// One direction between two nodes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    pub(crate) cut: bool,
    /// Of a thousand requests.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// More than the usual milliseconds, at most.
    pub(crate) late: u64,
}

pub(crate) struct Network {
    inner: Mutex<Inner>,
    watch: Arc<Watch>,
}

struct Inner {
    rng: Rng,
    lines: BTreeMap<(u64, u64), Line>,
    servers: BTreeMap<String, Server>,
    /// Machines without power.
    dark: BTreeSet<u64>,
    heard: BTreeMap<u64, Instant>,
    /// Addresses to nodes, of all that ever were.
    names: BTreeMap<String, u64>,
}

#[derive(Clone)]
struct Server {
    who: Who,
    life: Arc<Life>,
    service: CarriedService,
}

enum Fate {
    Lost,
    Arrives {
        after: Duration,
        again: Option<Duration>,
    },
}

fn broken(what: &str) -> StdError {
    Box::new(Status::unavailable(what.to_owned()))
}

impl Network {
    pub(crate) fn new(rng: Rng, watch: Arc<Watch>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                rng,
                lines: BTreeMap::new(),
                servers: BTreeMap::new(),
                dark: BTreeSet::new(),
                heard: BTreeMap::new(),
                names: BTreeMap::new(),
            }),
            watch,
        }
    }

    /// Changes one direction.
    pub(crate) fn line(&self, from: u64, to: u64, change: impl FnOnce(&mut Line)) {
        change(self.inner.lock().lines.entry((from, to)).or_default());
    }

    /// Everything is as it should be again.
    pub(crate) fn heal(&self) {
        self.inner.lock().lines.clear();
    }

    /// A node does not listen any more; without power its machine does not even say so.
    pub(crate) fn gone(&self, node: u64, dark: bool) {
        let mut inner = self.inner.lock();
        inner.servers.retain(|_, server| server.who.node != node);
        if dark {
            inner.dark.insert(node);
        }
    }

    pub(crate) fn powered(&self, node: u64) {
        self.inner.lock().dark.remove(&node);
    }

    /// For how long nothing has reached a node.
    pub(crate) fn silent(&self, node: u64) -> Option<Duration> {
        self.inner.lock().heard.get(&node).map(Instant::elapsed)
    }

    fn heard(&self, node: u64) {
        self.inner.lock().heard.insert(node, Instant::now());
    }

    fn cut(&self, from: u64, to: u64) -> bool {
        let inner = self.inner.lock();
        inner.dark.contains(&to)
            || inner.dark.contains(&from)
            || inner.lines.get(&(from, to)).is_some_and(|line| line.cut)
    }

    fn late(&self, from: u64, to: u64) -> Duration {
        let mut inner = self.inner.lock();
        let line = inner.lines.get(&(from, to)).copied().unwrap_or_default();
        let mut after = inner.rng.range(1, 3);
        if line.late > 0 {
            after += inner.rng.below(line.late + 1);
        }
        Duration::from_millis(after)
    }

    fn fate(&self, from: u64, to: u64) -> Fate {
        if self.cut(from, to) {
            return Fate::Lost;
        }
        let after = self.late(from, to);
        let mut inner = self.inner.lock();
        let line = inner.lines.get(&(from, to)).copied().unwrap_or_default();
        if line.lost > 0 && inner.rng.permille(line.lost) {
            return Fate::Lost;
        }
        let again = (line.doubled > 0 && inner.rng.permille(line.doubled)).then(|| inner.rng.millis(1, 60));
        Fate::Arrives { after, again }
    }

    /// Takes one message across; an error if it does not get there.
    async fn cross(&self, from: u64, to: u64) -> Result<Option<Duration>, StdError> {
        match self.fate(from, to) {
            Fate::Lost => {
                tokio::time::sleep(DEAD).await;
                Err(broken("no answer"))
            }
            Fate::Arrives { after, again } => {
                tokio::time::sleep(after).await;
                Ok(again)
            }
        }
    }

    /// The process that listens at an address, or its refusal.
    async fn server(&self, from: u64, to: u64, addr: &str) -> Result<Server, StdError> {
        let server = self.inner.lock().servers.get(addr).cloned();
        match server {
            Some(server) => Ok(server),
            None => {
                self.cross(to, from).await?;
                Err(broken("connection refused"))
            }
        }
    }
}

/// The network as one run of a node's process has it.
pub(crate) struct Port {
    pub(crate) network: Arc<Network>,
    pub(crate) life: Arc<Life>,
    pub(crate) who: Who,
}

impl Carrier for Port {
    fn serve(&self, node: &PeerIdentity, addr: &str, service: CarriedService) {
        let mut inner = self.network.inner.lock();
        inner.names.insert(addr.to_owned(), node.node_id);
        let server = Server {
            who: self.who,
            life: Arc::clone(&self.life),
            service,
        };
        inner.servers.insert(addr.to_owned(), server);
    }

    fn channel(&self, node: &PeerIdentity, to: u64, addr: &str) -> CarriedChannel {
        let wire = Wire {
            network: Arc::clone(&self.network),
            life: Arc::clone(&self.life),
            who: self.who,
            identity: node.clone(),
            to,
            addr: addr.to_owned(),
        };
        CarriedChannel::new(tower::service_fn(move |request| wire.clone().call(request)))
    }

    fn knock(&self, node: &PeerIdentity, addr: &str) -> BoxFuture<'static, io::Result<()>> {
        let (network, addr, from) = (Arc::clone(&self.network), addr.to_owned(), node.node_id);
        async move {
            let to = network.inner.lock().names.get(&addr).copied();
            let silence = || io::Error::from(io::ErrorKind::TimedOut);
            let Some(to) = to else { return Err(silence()) };
            network.cross(from, to).await.map_err(|_| silence())?;
            let listens = network.inner.lock().servers.contains_key(&addr);
            network.cross(to, from).await.map_err(|_| silence())?;
            if listens {
                Ok(())
            } else {
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        }
        .boxed()
    }
}

/// What one node sends to another by.
#[derive(Clone)]
struct Wire {
    network: Arc<Network>,
    life: Arc<Life>,
    who: Who,
    identity: PeerIdentity,
    to: u64,
    addr: String,
}

impl Wire {
    async fn call(self, request: CarriedRequest) -> Result<CarriedResponse, StdError> {
        let streamed = matches!(
            request.uri().path().rsplit('/').next(),
            Some("Append" | "Snapshot")
        );
        if streamed {
            self.stream(request).await
        } else {
            self.ask(request).await
        }
    }

    fn from(&self) -> u64 {
        self.who.node
    }

    /// One message there, one back.
    async fn ask(self, request: CarriedRequest) -> Result<CarriedResponse, StdError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let kind = head.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let asked = Asked::of(&kind, &body);
        if let Asked::Append(vote) = asked {
            self.network.watch.tell(&Event::Leads { who: self.who, vote });
        }
        let again = self.network.cross(self.from(), self.to).await?;
        let server = self.network.server(self.from(), self.to, &self.addr).await?;
        let request = || {
            let mut request = tonic::codegen::http::Request::new(Body::new(Full::new(body.clone())));
            request.headers_mut().clone_from(&head.headers);
            request.method_mut().clone_from(&head.method);
            request.uri_mut().clone_from(&head.uri);
            request.extensions_mut().insert(self.identity.clone());
            request
        };
        self.network.heard(self.to);
        if let Some(again) = again {
            let (mut service, request) = (server.service.clone(), request());
            let (network, to) = (Arc::clone(&self.network), self.to);
            spawn_kept(Arc::clone(&server.life) as Arc<_>, async move {
                tokio::time::sleep(again).await;
                network.heard(to);
                let _ = service.call(request).await;
            });
        }
        let (answer, answered) = oneshot::channel();
        let (mut service, request) = (server.service.clone(), request());
        let (watch, who) = (Arc::clone(&self.network.watch), server.who);
        spawn_kept(Arc::clone(&server.life) as Arc<_>, async move {
            let Ok(response) = service.call(request).await;
            let (head, body) = response.into_parts();
            let Ok(body) = body.collect().await else { return };
            let trailers = body.trailers().cloned();
            let bytes = body.to_bytes();
            asked.answered(&watch, who, &bytes);
            let body = Full::new(bytes).with_trailers(std::future::ready(trailers.map(Ok)));
            let _ = answer.send(CarriedResponse::from_parts(head, Body::new(body)));
        });
        // It holds the files of its node open.
        drop(server);
        let answer = answered.await;
        self.network.cross(self.to, self.from()).await?;
        self.network.heard(self.from());
        answer.map_err(|_| broken("connection reset"))
    }

    /// Messages in order, both ways.
    async fn stream(self, request: CarriedRequest) -> Result<CarriedResponse, StdError> {
        self.network.cross(self.from(), self.to).await?;
        let server = self.network.server(self.from(), self.to, &self.addr).await?;
        let (mut head, body) = request.into_parts();
        head.extensions.insert(self.identity.clone());
        let (there, back) = (self.pipe(self.from(), self.to), self.pipe(self.to, self.from()));
        let (sends, received) = mpsc::channel(64);
        spawn_kept(Arc::clone(&self.life) as Arc<_>, there.clone().pump(body, sends));
        let request = CarriedRequest::from_parts(head, there.body(received));
        let (answer, answered) = oneshot::channel();
        let mut service = server.service.clone();
        let answering = back.clone();
        spawn_kept(Arc::clone(&server.life) as Arc<_>, async move {
            let Ok(response) = service.call(request).await;
            let (head, body) = response.into_parts();
            let (sends, received) = mpsc::channel(64);
            let response = CarriedResponse::from_parts(head, answering.clone().body(received));
            if answer.send(response).is_ok() {
                answering.pump(body, sends).await;
            }
        });
        // It holds the files of its node open.
        drop(server);
        let answer = answered.await;
        self.network.cross(self.to, self.from()).await?;
        answer.map_err(|_| broken("connection reset"))
    }

    fn pipe(&self, from: u64, to: u64) -> Pipe {
        Pipe {
            network: Arc::clone(&self.network),
            from,
            to,
        }
    }
}

/// What a request was, as far as the checkers care.
#[derive(Clone, Copy)]
enum Asked {
    Vote(inspect::VoteFor),
    Append(inspect::VoteFor),
    Other,
}

/// Behind the head of a gRPC message.
fn message(body: &[u8]) -> &[u8] {
    body.get(5..).unwrap_or_default()
}

impl Asked {
    fn of(kind: &str, body: &[u8]) -> Self {
        match kind {
            "Vote" => match inspect::vote_request(message(body)) {
                Some((vote, false)) => Asked::Vote(vote),
                _ => Asked::Other,
            },
            "Heartbeat" => {
                inspect::append(message(body)).map_or(Asked::Other, |(vote, _)| Asked::Append(vote))
            }
            _ => Asked::Other,
        }
    }

    fn answered(self, watch: &Watch, who: Who, body: &[u8]) {
        match self {
            Asked::Vote(vote) if inspect::vote_granted(message(body)) == Some(true) => {
                watch.tell(&Event::Granted { who, vote });
            }
            Asked::Append(vote) if inspect::append_taken(message(body)) == Some(true) => {
                watch.tell(&Event::Follows { who, vote });
            }
            Asked::Vote(_) | Asked::Append(_) | Asked::Other => {}
        }
    }
}

enum Item {
    Frame(Instant, Frame<Bytes>),
    End(Instant),
}

/// One direction of a stream.
#[derive(Clone)]
struct Pipe {
    network: Arc<Network>,
    from: u64,
    to: u64,
}

impl Pipe {
    /// Waits until something gets through; false if that takes too long.
    async fn clear(&self) -> bool {
        let began = Instant::now();
        while self.network.cut(self.from, self.to) {
            if began.elapsed() > DEAD {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    /// Sends what comes; runs as a task of the sender. If it is dropped, the other end finds the connection reset.
    async fn pump(self, mut body: Body, sends: mpsc::Sender<Item>) {
        let mut last = Instant::now();
        let mut cut_for = 0;
        loop {
            let next = tokio::select! {
                biased;
                next = body.frame() => next,
                () = sends.closed() => return,
                () = tokio::time::sleep(Duration::from_millis(500)) => {
                    let cut = self.network.cut(self.from, self.to) || self.network.cut(self.to, self.from);
                    cut_for = if cut { cut_for + 1 } else { 0 };
                    if cut_for > 6 {
                        return;
                    }
                    continue;
                }
            };
            if !self.clear().await {
                return;
            }
            // In order, whatever the delays.
            last = last.max(Instant::now() + self.network.late(self.from, self.to));
            let item = match next {
                Some(Ok(frame)) => Item::Frame(last, frame),
                Some(Err(_)) => return,
                None => Item::End(last),
            };
            let end = matches!(item, Item::End(_));
            if sends.send(item).await.is_err() || end {
                return;
            }
        }
    }

    /// The other end of [`Pipe::pump`].
    fn body(self, received: mpsc::Receiver<Item>) -> Body {
        Body::new(StreamBody::new(self.frames(received)))
    }

    fn frames(
        self,
        received: mpsc::Receiver<Item>,
    ) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send {
        futures::stream::unfold(Some((self, received)), |state| async move {
            let (pipe, mut received) = state?;
            match received.recv().await {
                Some(Item::Frame(at, frame)) => {
                    tokio::time::sleep_until(at).await;
                    pipe.network.heard(pipe.to);
                    Some((Ok(frame), Some((pipe, received))))
                }
                Some(Item::End(at)) => {
                    tokio::time::sleep_until(at).await;
                    None
                }
                None => {
                    // The reset has to get here, too.
                    if !pipe.clear().await {
                        return Some((Err(Status::unavailable("no sign of life")), None));
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    Some((Err(Status::unavailable("connection reset")), None))
                }
            }
        })
    }
}
