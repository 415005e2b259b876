//! The messages between nodes, and the service generated for them by `build.rs`.
//!
//! Every message names its sender and its receiver: the server holds `from` against the peer certificate and `to`
//! against itself. Field numbers are never reused; a field that is added later reads as its default from older nodes.

use bytes::Bytes;
use prost::Message;

use crate::codec::{self, DecodeError};
use crate::types::{LogId, RaftEntry, Vote};

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    unused_qualifications,
    reason = "generated code"
)]
pub(crate) mod peer {
    include!(concat!(env!("OUT_DIR"), "/palisade.v1.Peer.rs"));
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $ty:ty => [$($prost:tt)*]),* $(,)? })*) => {
        $($(#[$doc])* #[derive(Clone, PartialEq, Message)]
        pub(crate) struct $name { $($(#[$field_doc])* #[prost($($prost)*)] pub(crate) $field: $ty,)* })*
    };
}

messages! {
    WireLogId {
        term: u64 => [uint64, tag = "1"],
        node: u64 => [uint64, tag = "2"],
        index: u64 => [uint64, tag = "3"],
    }
    WireVote {
        term: u64 => [uint64, tag = "1"],
        node: u64 => [uint64, tag = "2"],
        committed: bool => [bool, tag = "3"],
    }
    WireEntry {
        term: u64 => [uint64, tag = "1"],
        node: u64 => [uint64, tag = "2"],
        index: u64 => [uint64, tag = "3"],
        kind: u32 => [uint32, tag = "4"],
        body: Bytes => [bytes = "bytes", tag = "5"],
    }
    AppendRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        vote: Option<WireVote> => [message, optional, tag = "3"],
        prev: Option<WireLogId> => [message, optional, tag = "4"],
        entries: Vec<WireEntry> => [message, repeated, tag = "5"],
        commit: Option<WireLogId> => [message, optional, tag = "6"],
        /// Milliseconds since a quorum last answered the sender, plus one; 0 when it does not know.
        quorum_age: u64 => [uint64, tag = "7"],
        /// In heartbeats: how far the sender knows the receiver to have been. See `past`.
        known: Option<WireLogId> => [message, optional, tag = "8"],
        /// In heartbeats: the last entry that the sender has on its disk; 0 when it does not know.
        durable: u64 => [uint64, tag = "9"],
    }
    /// `kind`: 1 stored up to `log_id`, 2 conflict at `log_id`, 3 a higher `vote` is known.
    AppendReply {
        kind: u32 => [uint32, tag = "1"],
        log_id: Option<WireLogId> => [message, optional, tag = "2"],
        vote: Option<WireVote> => [message, optional, tag = "3"],
    }
    VoteRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        vote: Option<WireVote> => [message, optional, tag = "3"],
        last: Option<WireLogId> => [message, optional, tag = "4"],
        transfer: bool => [bool, tag = "5"],
        pre: bool => [bool, tag = "6"],
    }
    VoteReply {
        vote: Option<WireVote> => [message, optional, tag = "1"],
        granted: bool => [bool, tag = "2"],
        last: Option<WireLogId> => [message, optional, tag = "3"],
    }
    TransferRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        vote: Option<WireVote> => [message, optional, tag = "3"],
        target: u64 => [uint64, tag = "4"],
        last: Option<WireLogId> => [message, optional, tag = "5"],
    }
    /// `kind`: 1 accepted, 2 the vote has changed, 3 the log is not flushed that far.
    TransferReply {
        kind: u32 => [uint32, tag = "1"],
        vote: Option<WireVote> => [message, optional, tag = "2"],
        last: Option<WireLogId> => [message, optional, tag = "3"],
    }
    /// The first carries `meta` and `vote`, the last has `end` set with the hash and length of all the data.
    SnapshotChunk {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        vote: Option<WireVote> => [message, optional, tag = "3"],
        meta: Bytes => [bytes = "bytes", tag = "4"],
        offset: u64 => [uint64, tag = "5"],
        data: Bytes => [bytes = "bytes", tag = "6"],
        end: bool => [bool, tag = "7"],
        sha256: Bytes => [bytes = "bytes", tag = "8"],
    }
    SnapshotReply {
        vote: Option<WireVote> => [message, optional, tag = "1"],
    }
    ForwardRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        entries: Vec<Bytes> => [bytes = "bytes", repeated, tag = "3"],
        deadline_ms: u64 => [uint64, tag = "4"],
    }
    /// `kind`: 1 applied at `index` with `body`, 2 not the leader (`leader`, or 0), 3 outcome unknown, 4 refused: `body`.
    ForwardResult {
        kind: u32 => [uint32, tag = "1"],
        index: u64 => [uint64, tag = "2"],
        body: Bytes => [bytes = "bytes", tag = "3"],
        leader: u64 => [uint64, tag = "4"],
    }
    ForwardReply {
        results: Vec<ForwardResult> => [message, repeated, tag = "1"],
    }
    ReadIndexRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
    }
    /// `kind`: 1 wait for `index`, 2 not the leader (`leader`, or 0), 3 no quorum.
    ReadIndexReply {
        kind: u32 => [uint32, tag = "1"],
        index: u64 => [uint64, tag = "2"],
        leader: u64 => [uint64, tag = "3"],
    }
    /// `op`: 1 add learner, 2 promote, 3 remove, 4 transfer leadership (`node` 0: to anybody), 5 set address.
    AdminRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        op: u32 => [uint32, tag = "3"],
        node: u64 => [uint64, tag = "4"],
        addr: String => [string, tag = "5"],
        incarnation: String => [string, tag = "6"],
        deadline_ms: u64 => [uint64, tag = "7"],
    }
    /// `kind`: 1 done, 2 not the leader (`leader`, or 0), 3 refused, 4 timed out.
    AdminReply {
        kind: u32 => [uint32, tag = "1"],
        leader: u64 => [uint64, tag = "2"],
        why: String => [string, tag = "3"],
    }
    CallRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        kind: String => [string, tag = "3"],
        body: Bytes => [bytes = "bytes", tag = "4"],
    }
    CallReply {
        body: Bytes => [bytes = "bytes", tag = "1"],
    }
    SegmentPutRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        session: String => [string, tag = "3"],
        seq: u64 => [uint64, tag = "4"],
        data: Bytes => [bytes = "bytes", tag = "5"],
    }
    SegmentPutReply {
        name: String => [string, tag = "1"],
    }
    SegmentGetRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        name: String => [string, tag = "3"],
    }
    SegmentPart {
        data: Bytes => [bytes = "bytes", tag = "1"],
    }
    SegmentListRequest {
        from: u64 => [uint64, tag = "1"],
        to: u64 => [uint64, tag = "2"],
        session: String => [string, tag = "3"],
    }
    SegmentListReply {
        names: Vec<String> => [string, repeated, tag = "1"],
    }
}

impl From<&LogId> for WireLogId {
    fn from(id: &LogId) -> Self {
        let (term, node, index) = codec::log_id_parts(id);
        Self { term, node, index }
    }
}

impl WireLogId {
    pub(crate) fn into_log_id(self) -> LogId {
        codec::log_id(self.term, self.node, self.index)
    }
}

impl From<&Vote> for WireVote {
    fn from(vote: &Vote) -> Self {
        Self {
            term: vote.leader_id.term,
            node: vote.leader_id.node_id,
            committed: vote.committed,
        }
    }
}

impl WireVote {
    pub(crate) fn into_vote(self) -> Vote {
        if self.committed {
            Vote::new_committed(self.term, self.node)
        } else {
            Vote::new(self.term, self.node)
        }
    }
}

/// The log id of an optional field.
pub(crate) fn opt_log_id(id: Option<WireLogId>) -> Option<LogId> {
    id.map(WireLogId::into_log_id)
}

impl WireEntry {
    pub(crate) fn encode_entry(entry: &RaftEntry) -> Result<Self, DecodeError> {
        let (kind, body) = codec::encode_payload(&entry.payload)?;
        let (term, node, index) = codec::log_id_parts(&entry.log_id);
        Ok(Self {
            term,
            node,
            index,
            kind: u32::from(kind),
            body,
        })
    }

    pub(crate) fn into_entry(self) -> Result<RaftEntry, DecodeError> {
        let kind = u8::try_from(self.kind).map_err(|_| DecodeError::Damaged {
            what: "log entry",
            why: format!("unknown kind {}", self.kind),
        })?;
        if self.body.len() > crate::types::MAX_ENTRY {
            return Err(DecodeError::Damaged {
                what: "log entry",
                why: "too big".into(),
            });
        }
        let payload = codec::decode_payload(kind, self.body)?;
        Ok(RaftEntry {
            log_id: codec::log_id(self.term, self.node, self.index),
            payload,
        })
    }
}
