//! The node-to-node service: every call is held against the caller's certificate first.

use openraft::async_runtime::watch::WatchReceiver as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, VoteRequest,
};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use crate::codec;
use crate::guard;
use crate::members::Members;
use crate::past;
use crate::propose::Proposer;
use crate::segments::{SegmentBackend, SegmentFault};
use crate::shared::Shared;
use crate::types::{Raft, TypeConfig};
use crate::wire;
use palisade_core::mutant::{self, Mutant};
use palisade_core::peer::PeerIdentity;

/// Answers `Call`s of one kind from other nodes.
pub type CallHandler = Arc<dyn Fn(u64, Bytes) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync>;

/// The handlers that the node registered.
#[derive(Default)]
pub(crate) struct Handlers(RwLock<HashMap<String, CallHandler>>);

impl Handlers {
    pub(crate) fn insert(&self, kind: &str, handler: CallHandler) {
        self.0.write().insert(kind.to_owned(), handler);
    }

    fn get(&self, kind: &str) -> Option<CallHandler> {
        self.0.read().get(kind).cloned()
    }
}

pub(crate) struct PeerService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) proposer: Arc<Proposer>,
    pub(crate) members: Arc<Members>,
    pub(crate) segments: Arc<dyn SegmentBackend>,
    pub(crate) handlers: Arc<Handlers>,
    pub(crate) incoming: Arc<tokio::sync::Mutex<()>>,
}

type Reply<T> = Result<Response<T>, Status>;

fn malformed(what: &str) -> Status {
    Status::invalid_argument(format!("malformed {what}"))
}

fn stopped(e: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this node's log is stopped: {e}"))
}

impl PeerService {
    fn raft(&self) -> Result<&Raft, Status> {
        self.shared
            .raft()
            .ok_or_else(|| Status::unavailable("this node is starting"))
    }

    fn enter<T>(
        &self,
        request: Request<T>,
        ids: impl Fn(&T) -> (u64, u64),
    ) -> Result<(PeerIdentity, T), Status> {
        let peer = guard::identity(&request)?;
        let body = request.into_inner();
        let (from, to) = ids(&body);
        guard::check(&self.shared, &peer, from, to)?;
        Ok((peer, body))
    }
}

/// Checks an append and turns it into openraft's form; takes note of the leader's lease.
fn append_from_wire(
    shared: &Shared,
    peer: &PeerIdentity,
    request: wire::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
    guard::check(shared, peer, request.from, request.to)?;
    let vote = request.vote.ok_or_else(|| malformed("append"))?.into_vote();
    guard::check_leader(peer, &vote)?;
    guard::check_term(shared, peer, &vote)?;
    let mut entries = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        entries.push(
            entry
                .into_entry()
                .map_err(|e| Status::invalid_argument(e.to_string()))?,
        );
    }
    // openraft asserts that entries follow one another; a peer must not be able to trip that.
    let mut next = request
        .prev
        .as_ref()
        .map_or(0, |prev| prev.index.saturating_add(1));
    for entry in &entries {
        if entry.log_id.index() != next {
            return Err(malformed("append: the entries do not follow one another"));
        }
        next = next.saturating_add(1);
    }
    let mut prev = wire::opt_log_id(request.prev);
    if mutant::active(Mutant::IgnorePrevious)
        && let Some(before) = &prev
        && let Ok(ours) = shared.log.read(before.index(), before.index() + 1, usize::MAX)
        && let Some(ours) = ours.first()
        && let Ok(ours) = codec::decode_entry(ours.index, &ours.payload)
    {
        prev = Some(ours.log_id);
    }
    if request.quorum_age > 0 {
        let known = shared
            .raft()
            .is_some_and(|raft| raft.server_metrics().borrow_watched().vote <= vote);
        if known {
            shared
                .lease
                .heard(peer.node_id, Duration::from_millis(request.quorum_age - 1));
        }
    }
    Ok(AppendEntriesRequest {
        vote,
        prev_log_id: prev,
        entries,
        leader_commit: wire::opt_log_id(request.commit),
    })
}

fn append_reply(result: StreamAppendResult<TypeConfig>) -> wire::AppendReply {
    match result {
        Ok(log_id) => wire::AppendReply {
            kind: 1,
            log_id: log_id.as_ref().map(Into::into),
            vote: None,
        },
        Err(StreamAppendError::Conflict(id)) => wire::AppendReply {
            kind: 2,
            log_id: Some((&id).into()),
            vote: None,
        },
        Err(StreamAppendError::HigherVote(vote)) => wire::AppendReply {
            kind: 3,
            log_id: None,
            vote: Some((&vote).into()),
        },
    }
}

#[tonic::async_trait]
impl wire::peer::peer_server::Peer for PeerService {
    type AppendStream = BoxStream<'static, Result<wire::AppendReply, Status>>;
    type SegmentGetStream = BoxStream<'static, Result<wire::SegmentPart, Status>>;

    async fn append(&self, request: Request<Streaming<wire::AppendRequest>>) -> Reply<Self::AppendStream> {
        let peer = guard::identity(&request)?;
        let raft = self.raft()?.clone();
        self.shared.past.opened().await?;
        let refused = Arc::new(Mutex::new(None::<Status>));
        let input = {
            let (shared, refused) = (Arc::clone(&self.shared), Arc::clone(&refused));
            let stop = shared.stop.clone();
            let ended = crate::suspect::Watched::new(Arc::clone(&shared), peer.node_id);
            request
                .into_inner()
                .take_until(stop.cancelled_owned())
                .scan((), move |(), message| {
                    let _ended = &ended;
                    let checked = message.and_then(|message| append_from_wire(&shared, &peer, message));
                    std::future::ready(match checked {
                        Ok(rpc) => Some(rpc),
                        Err(status) => {
                            *refused.lock() = Some(status);
                            None
                        }
                    })
                })
        };
        let replies = raft
            .stream_append(input)
            .map(|result| result.map(append_reply).map_err(stopped));
        // What was refused ends the stream with its reason instead of quietly.
        let last = futures::stream::once(async move { refused.lock().take() })
            .filter_map(|status| std::future::ready(status.map(Err)));
        Ok(Response::new(replies.chain(last).boxed()))
    }

    async fn heartbeat(&self, request: Request<wire::AppendRequest>) -> Reply<wire::AppendReply> {
        let peer = guard::identity(&request)?;
        let mut body = request.into_inner();
        let (known, durable) = (body.known.take(), body.durable);
        let quorum = body.quorum_age.checked_sub(1).map(Duration::from_millis);
        let rpc = append_from_wire(&self.shared, &peer, body)?;
        past::led(&self.shared, peer.node_id, wire::opt_log_id(known), quorum)?;
        self.shared
            .past
            .heard(peer.node_id, past::position(&rpc.vote, durable));
        let prev = rpc.prev_log_id;
        let last = rpc.entries.last().map(|entry| entry.log_id).or(prev);
        let reply = self.raft()?.append_entries(rpc).await.map_err(stopped)?;
        let result = match reply {
            AppendEntriesResponse::Success => Ok(last),
            AppendEntriesResponse::PartialSuccess(log_id) => Ok(log_id),
            AppendEntriesResponse::Conflict => match prev {
                Some(prev) => Err(StreamAppendError::Conflict(prev)),
                None => return Err(Status::internal("a conflict before the first entry")),
            },
            AppendEntriesResponse::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
        };
        Ok(Response::new(append_reply(result)))
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Reply<wire::VoteReply> {
        let (peer, body) = self.enter(request, |b| (b.from, b.to))?;
        let vote = body.vote.ok_or_else(|| malformed("vote request"))?.into_vote();
        guard::check_candidate(&self.shared, &peer, &vote)?;
        let last = if mutant::active(Mutant::GrantAnyVote) {
            Some(codec::log_id(u64::MAX, 0, u64::MAX))
        } else {
            wire::opt_log_id(body.last)
        };
        let rpc = VoteRequest {
            vote,
            last_log_id: last,
            leadership_transfer: body.transfer,
        };
        let raft = self.raft()?;
        if !body.pre {
            self.shared.past.heard(peer.node_id, past::position(&vote, 0));
        }
        self.shared.past.gate()?;
        let reply = if body.pre {
            raft.pre_vote(rpc).await
        } else {
            raft.vote(rpc).await
        }
        .map_err(stopped)?;
        Ok(Response::new(wire::VoteReply {
            vote: Some((&reply.vote).into()),
            granted: reply.vote_granted,
            last: reply.last_log_id.as_ref().map(Into::into),
        }))
    }

    async fn transfer(&self, request: Request<wire::TransferRequest>) -> Reply<wire::TransferReply> {
        let (peer, body) = self.enter(request, |b| (b.from, b.to))?;
        let vote = body
            .vote
            .ok_or_else(|| malformed("transfer request"))?
            .into_vote();
        guard::check_leader(&peer, &vote)?;
        self.shared.past.gate()?;
        let rpc = TransferLeaderRequest::new(vote, body.target, wire::opt_log_id(body.last));
        let reply = match self.raft()?.handle_transfer_leader(rpc).await.map_err(stopped)? {
            Ok(()) => wire::TransferReply {
                kind: 1,
                vote: None,
                last: None,
            },
            Err(TransferLeaderError::VoteChanged { actual, .. }) => wire::TransferReply {
                kind: 2,
                vote: Some((&actual).into()),
                last: None,
            },
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => wire::TransferReply {
                kind: 3,
                vote: None,
                last: actual.as_ref().map(Into::into),
            },
        };
        Ok(Response::new(reply))
    }

    async fn snapshot(&self, request: Request<Streaming<wire::SnapshotChunk>>) -> Reply<wire::SnapshotReply> {
        let peer = guard::identity(&request)?;
        let Ok(_one_at_a_time) = self.incoming.try_lock() else {
            return Err(Status::unavailable("another snapshot is being received"));
        };
        self.shared.past.opened().await?;
        let received = crate::incoming::receive(&self.shared, &peer, request.into_inner()).await?;
        let reply = self
            .raft()?
            .install_full_snapshot(received.vote, received.snapshot)
            .await
            .map_err(stopped)?;
        Ok(Response::new(wire::SnapshotReply {
            vote: Some((&reply.vote).into()),
        }))
    }

    async fn forward(&self, request: Request<wire::ForwardRequest>) -> Reply<wire::ForwardReply> {
        let (_, body) = self.enter(request, |b| (b.from, b.to))?;
        let limit = Duration::from_millis(body.deadline_ms.min(60_000));
        let results = self.proposer.serve(body.entries, Instant::now() + limit).await;
        Ok(Response::new(wire::ForwardReply { results }))
    }

    async fn read_index(&self, request: Request<wire::ReadIndexRequest>) -> Reply<wire::ReadIndexReply> {
        self.enter(request, |b| (b.from, b.to))?;
        Ok(Response::new(crate::read::serve_read_index(&self.shared).await))
    }

    async fn admin(&self, request: Request<wire::AdminRequest>) -> Reply<wire::AdminReply> {
        let (_, body) = self.enter(request, |b| (b.from, b.to))?;
        Ok(Response::new(self.members.serve(body).await))
    }

    async fn call(&self, request: Request<wire::CallRequest>) -> Reply<wire::CallReply> {
        let (peer, body) = self.enter(request, |b| (b.from, b.to))?;
        if body.kind == crate::suspect::CALL {
            let body = crate::suspect::answer(&self.shared, &body.body).await;
            return body
                .map(|body| Response::new(wire::CallReply { body }))
                .map_err(Status::failed_precondition);
        }
        if body.kind == past::CALL {
            let body = past::answer(&self.shared, peer.node_id);
            return Ok(Response::new(wire::CallReply { body }));
        }
        let handler = self
            .handlers
            .get(&body.kind)
            .ok_or_else(|| Status::unimplemented("no such call"))?;
        match handler(peer.node_id, body.body).await {
            Ok(body) => Ok(Response::new(wire::CallReply { body })),
            Err(why) => Err(Status::failed_precondition(why)),
        }
    }

    async fn segment_put(&self, request: Request<wire::SegmentPutRequest>) -> Reply<wire::SegmentPutReply> {
        let (_, body) = self.enter(request, |b| (b.from, b.to))?;
        let segments = Arc::clone(&self.segments);
        let name = blocking(move || segments.put(&body.session, body.seq, body.data)).await?;
        Ok(Response::new(wire::SegmentPutReply { name }))
    }

    async fn segment_get(&self, request: Request<wire::SegmentGetRequest>) -> Reply<Self::SegmentGetStream> {
        let (_, body) = self.enter(request, |b| (b.from, b.to))?;
        let segments = Arc::clone(&self.segments);
        let mut data = blocking(move || segments.get(&body.name)).await?;
        let parts = std::iter::from_fn(move || {
            let part = data.split_to(data.len().min(512 * 1024));
            (!part.is_empty()).then_some(Ok(wire::SegmentPart { data: part }))
        });
        Ok(Response::new(futures::stream::iter(parts).boxed()))
    }

    async fn segment_list(
        &self,
        request: Request<wire::SegmentListRequest>,
    ) -> Reply<wire::SegmentListReply> {
        let (_, body) = self.enter(request, |b| (b.from, b.to))?;
        let segments = Arc::clone(&self.segments);
        let names = blocking(move || segments.list(&body.session)).await?;
        Ok(Response::new(wire::SegmentListReply { names }))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SegmentFault> + Send + 'static,
) -> Result<T, Status> {
    match crate::runtime::blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(SegmentFault::Missing)) => Err(Status::not_found("no such segment")),
        Ok(Err(SegmentFault::Refused(why))) => Err(Status::invalid_argument(why)),
        Ok(Err(SegmentFault::Failed(why))) => Err(Status::resource_exhausted(why)),
        Err(e) => Err(Status::internal(e.to_string())),
    }
}
