//! What a checker reads in the messages and logs of a node: who leads, who votes for whom, which entry is which.
//! Nothing here can change anything.

use prost::Message as _;

use crate::{codec, wire};

/// A vote: its term, and the node that it is for.
pub type VoteFor = (u64, u64);

/// A log id: term, leader, index.
pub type EntryId = (u64, u64, u64);

/// Term and leader of a stored log entry.
#[must_use]
pub fn entry(index: u64, payload: &[u8]) -> Option<EntryId> {
    let entry = codec::decode_entry(index, payload).ok()?;
    Some(codec::log_id_parts(&entry.log_id))
}

/// The command in a stored log entry, if it is one.
#[must_use]
pub fn command(index: u64, payload: &[u8]) -> Option<bytes::Bytes> {
    match codec::decode_entry(index, payload).ok()?.payload {
        openraft::EntryPayload::Normal(entry) => Some(entry.bytes),
        _ => None,
    }
}

/// A stored log id.
#[must_use]
pub fn log_id(bytes: &[u8]) -> Option<EntryId> {
    codec::decode_log_id(bytes)
        .ok()
        .map(|id| codec::log_id_parts(&id))
}

/// A stored vote, and whether its candidate has won.
#[must_use]
pub fn vote(bytes: &[u8]) -> Option<(VoteFor, bool)> {
    let vote = codec::decode_vote(bytes).ok()?;
    Some(((vote.leader_id.term, vote.leader_id.node_id), vote.committed))
}

/// A request for votes: for whom, and whether it only asks what the answer would be.
#[must_use]
pub fn vote_request(message: &[u8]) -> Option<(VoteFor, bool)> {
    let request = wire::VoteRequest::decode(message).ok()?;
    let vote = request.vote?;
    Some(((vote.term, vote.node), request.pre))
}

/// Whether a vote was granted.
#[must_use]
pub fn vote_granted(message: &[u8]) -> Option<bool> {
    wire::VoteReply::decode(message).ok().map(|reply| reply.granted)
}

/// Whose append or heartbeat it is, and how many entries are in it.
#[must_use]
pub fn append(message: &[u8]) -> Option<(VoteFor, usize)> {
    let request = wire::AppendRequest::decode(message).ok()?;
    let vote = request.vote?;
    Some(((vote.term, vote.node), request.entries.len()))
}

/// Whether an append was taken.
#[must_use]
pub fn append_taken(message: &[u8]) -> Option<bool> {
    wire::AppendReply::decode(message)
        .ok()
        .map(|reply| reply.kind == 1)
}
