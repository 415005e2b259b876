//! openraft's network over the peer connections.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use crate::carrier::PeerChannel;
use crate::past;
use crate::peers::Lane;
use crate::shared::Shared;
use crate::store::SnapshotData;
use crate::types::{Member, Snapshot, TypeConfig, Vote};
use crate::wire::{self, peer::peer_client::PeerClient};

type C = TypeConfig;
type RpcResult<T> = Result<T, RPCError<C>>;

/// Data bytes in one snapshot message.
const SNAPSHOT_CHUNK: usize = 512 * 1024;

pub(crate) struct Factory {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Link {
    shared: Arc<Shared>,
    target: u64,
    addr: String,
    lane: Lane,
}

impl Factory {
    fn link(&self, target: u64, node: &Member, lane: Lane) -> Link {
        Link {
            shared: Arc::clone(&self.shared),
            target,
            addr: node.addr.clone(),
            lane,
        }
    }
}

impl RaftNetworkFactory<C> for Factory {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &Member) -> Link {
        self.link(target, node, Lane::Control)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Link {
        self.link(target, node, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> Link {
        self.link(target, node, Lane::Bulk)
    }
}

/// A status as one line, with the cause that tonic hides behind "transport error".
pub(crate) fn status_text(status: &tonic::Status) -> String {
    use std::error::Error as _;
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn rpc_error(status: &tonic::Status) -> RPCError<C> {
    let text = status_text(status);
    match status.code() {
        tonic::Code::Unavailable | tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => {
            RPCError::Unreachable(Unreachable::from_string(text))
        }
        _ => RPCError::Network(NetworkError::from_string(text)),
    }
}

fn malformed(what: &str) -> RPCError<C> {
    RPCError::Network(NetworkError::from_string(format!("malformed {what}")))
}

fn vote_of(vote: Option<wire::WireVote>, what: &str) -> RpcResult<Vote> {
    vote.map(wire::WireVote::into_vote).ok_or_else(|| malformed(what))
}

impl Link {
    fn client(&self) -> PeerClient<PeerChannel> {
        self.shared.peers.client(self.target, &self.addr, self.lane)
    }

    async fn ask<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> RpcResult<T> {
        match tokio::time::timeout(limit, request).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(rpc_error(&status)),
            Err(_) => Err(RPCError::Network(NetworkError::from_string(format!(
                "node {} did not answer within {limit:?}",
                self.target
            )))),
        }
    }
}

/// The wire form of an append, stamped with how fresh the sender's quorum is.
fn append_to_wire(
    shared: &Shared,
    target: u64,
    rpc: &AppendEntriesRequest<C>,
) -> Option<wire::AppendRequest> {
    let mut entries = Vec::with_capacity(rpc.entries.len());
    for entry in &rpc.entries {
        match wire::WireEntry::encode_entry(entry) {
            Ok(entry) => entries.push(entry),
            Err(e) => {
                tracing::error!(error = %e, "an entry of the log cannot be encoded");
                return None;
            }
        }
    }
    let quorum_age = shared.quorum_age().map_or(0, |age| {
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX - 1) + 1
    });
    Some(wire::AppendRequest {
        from: shared.id(),
        to: target,
        vote: Some((&rpc.vote).into()),
        prev: rpc.prev_log_id.as_ref().map(Into::into),
        entries,
        commit: rpc.leader_commit.as_ref().map(Into::into),
        quorum_age,
        known: None,
        durable: 0,
    })
}

fn stream_result(reply: wire::AppendReply) -> RpcResult<StreamAppendResult<C>> {
    match reply.kind {
        1 => Ok(Ok(wire::opt_log_id(reply.log_id))),
        2 => {
            let id = reply.log_id.ok_or_else(|| malformed("append reply"))?;
            Ok(Err(StreamAppendError::Conflict(id.into_log_id())))
        }
        3 => Ok(Err(StreamAppendError::HigherVote(vote_of(
            reply.vote,
            "append reply",
        )?))),
        _ => Err(malformed("append reply")),
    }
}

/// The requests of one append stream. Ends, and lets go of what it reads from, as soon as the other half is dropped.
struct Requests<S> {
    input: Option<S>,
    done: oneshot::Receiver<()>,
}

impl<S: Stream + Unpin> Stream for Requests<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if self.done.poll_unpin(cx).is_ready() {
            self.input = None;
        }
        let Some(input) = self.input.as_mut() else {
            return Poll::Ready(None);
        };
        let item = std::task::ready!(input.poll_next_unpin(cx));
        if item.is_none() {
            self.input = None;
        }
        Poll::Ready(item)
    }
}

impl RaftNetworkV2<C> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<C>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<C>> {
        let mut request =
            append_to_wire(&self.shared, self.target, &rpc).ok_or_else(|| malformed("entry"))?;
        request.known = past::known(&self.shared, self.target).as_ref().map(Into::into);
        request.durable = past::following(&self.shared, self.shared.id()).map_or(0, |at| at.index());
        let mut client = self.client();
        let reply = self.ask(option.hard_ttl(), client.heartbeat(request)).await?;
        Ok(match stream_result(reply)? {
            Ok(log_id) => AppendEntriesResponse::PartialSuccess(log_id),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> futures::future::BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<C>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<C>> + Send + Unpin + 'static,
    {
        if self.lane == Lane::Heartbeat {
            return stream_append_sequential(self, input, option);
        }
        async move {
            let (alive, done) = oneshot::channel::<()>();
            let (shared, target) = (Arc::clone(&self.shared), self.target);
            let requests = Requests {
                input: Some(input),
                done,
            }
            .map(move |rpc| append_to_wire(&shared, target, &rpc))
            .take_while(|request| std::future::ready(request.is_some()))
            .filter_map(std::future::ready);
            let mut client = self.client();
            let replies = client
                .append(requests)
                .await
                .map_err(|status| rpc_error(&status))?
                .into_inner();
            let replies = replies.map(move |reply| {
                // Dropped with this stream, which ends the requests.
                let _alive = &alive;
                reply.map_err(|status| rpc_error(&status)).and_then(stream_result)
            });
            Ok(replies.boxed())
        }
        .boxed()
    }

    async fn vote(&mut self, rpc: VoteRequest<C>, option: RPCOption) -> RpcResult<VoteResponse<C>> {
        self.ask_vote(rpc, false, option).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<C>, option: RPCOption) -> RpcResult<VoteResponse<C>> {
        self.ask_vote(rpc, true, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<C>, StreamingError<C>> {
        let meta = crate::codec::encode_snapshot_meta(&snapshot.meta)
            .map_err(|e| StreamingError::Network(NetworkError::from_string(e)))?;
        let (from, to) = (self.shared.id(), self.target);
        let (tx, rx) = tokio::sync::mpsc::channel(4);
        let data = snapshot.snapshot;
        let wire_vote = wire::WireVote::from(&vote);
        // When reading fails the stream ends without its last message, and the other end refuses what it got.
        crate::runtime::spawn(async move {
            if let Err(e) = send_chunks(data, from, to, wire_vote, Bytes::from(meta), &tx).await {
                tracing::error!(error = %e, to, "the snapshot cannot be read");
            }
        });
        let mut client = self.client();
        let requests = tokio_stream::wrappers::ReceiverStream::new(rx);
        let send = self.ask(option.hard_ttl(), client.snapshot(requests));
        let outcome = tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            reply = send => reply.map_err(StreamingError::from),
        };
        let vote = vote_of(outcome?.vote, "snapshot reply")?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<C>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<C>> {
        let request = wire::TransferRequest {
            from: self.shared.id(),
            to: self.target,
            vote: Some(req.from_leader().into()),
            target: *req.to_node_id(),
            last: req.last_log_id().map(Into::into),
        };
        let mut client = self.client();
        let reply = self
            .ask(
                option.hard_ttl().max(Duration::from_secs(1)),
                client.transfer(request),
            )
            .await?;
        match reply.kind {
            1 => Ok(Ok(())),
            2 => Ok(Err(TransferLeaderError::VoteChanged {
                expected: *req.from_leader(),
                actual: vote_of(reply.vote, "transfer reply")?,
            })),
            3 => Ok(Err(TransferLeaderError::LogNotFlushed {
                expected: req.last_log_id().copied(),
                actual: wire::opt_log_id(reply.last),
            })),
            _ => Err(malformed("transfer reply")),
        }
    }
}

impl Link {
    async fn ask_vote(
        &self,
        rpc: VoteRequest<C>,
        pre: bool,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<C>> {
        let request = wire::VoteRequest {
            from: self.shared.id(),
            to: self.target,
            vote: Some((&rpc.vote).into()),
            last: rpc.last_log_id.as_ref().map(Into::into),
            transfer: rpc.leadership_transfer,
            pre,
        };
        let mut client = self.client();
        let reply = self.ask(option.hard_ttl(), client.vote(request)).await?;
        let vote = vote_of(reply.vote, "vote reply")?;
        if reply.granted && !pre {
            self.shared.past.heard(self.target, past::position(&vote, 0));
        }
        Ok(VoteResponse {
            vote,
            vote_granted: reply.granted,
            last_log_id: wire::opt_log_id(reply.last),
        })
    }
}

/// Reads the snapshot and sends it piece by piece, the hash of all of it in the last.
async fn send_chunks(
    data: SnapshotData,
    from: u64,
    to: u64,
    vote: wire::WireVote,
    meta: Bytes,
    tx: &tokio::sync::mpsc::Sender<wire::SnapshotChunk>,
) -> std::io::Result<()> {
    use std::io::Read as _;
    let mut file = Some(data.into_reader()?);
    let mut hash = Sha256::new();
    let mut offset = 0u64;
    let first = wire::SnapshotChunk {
        from,
        to,
        vote: Some(vote),
        meta,
        ..Default::default()
    };
    if tx.send(first).await.is_err() {
        return Ok(());
    }
    loop {
        let Some(mut reading) = file.take() else { break };
        let read = crate::runtime::blocking(move || {
            let mut buf = Vec::with_capacity(SNAPSHOT_CHUNK);
            (&mut reading).take(SNAPSHOT_CHUNK as u64).read_to_end(&mut buf)?;
            Ok::<_, std::io::Error>((reading, buf))
        });
        let (reading, buf) = read.await.map_err(std::io::Error::other)??;
        if buf.is_empty() {
            break;
        }
        file = Some(reading);
        hash.update(&buf);
        let len = buf.len() as u64;
        let chunk = wire::SnapshotChunk {
            from,
            to,
            offset,
            data: Bytes::from(buf),
            ..Default::default()
        };
        // Nobody listens any more: the transfer was given up, and that is told elsewhere.
        if tx.send(chunk).await.is_err() {
            return Ok(());
        }
        offset += len;
    }
    let sha256 = Bytes::copy_from_slice(&hash.finalize());
    let last = wire::SnapshotChunk {
        from,
        to,
        offset,
        end: true,
        sha256,
        ..Default::default()
    };
    let _ = tx.send(last).await;
    Ok(())
}
