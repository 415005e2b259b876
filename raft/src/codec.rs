//! What stands on disk: log payloads, log ids, votes and memberships, each with a version in front.
//!
//! A byte that does not decode is an error, never a default: the caller stops the node.

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId as _;

use crate::types::{Entry, LeaderId, LogId, Membership, RaftEntry, StoredMembership, Vote};

const V1: u8 = 1;
const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// A stored or received value that cannot be what this program wrote.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Written by a later version.
    #[error("{what} has format version {found}, this program knows {V1}")]
    Version {
        /// The kind of value.
        what: &'static str,
        /// The version found.
        found: u8,
    },
    /// Too short, too long or of an unknown kind.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// The kind of value.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

fn damaged(what: &'static str, why: impl ToString) -> DecodeError {
    DecodeError::Damaged {
        what,
        why: why.to_string(),
    }
}

struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn versioned(what: &'static str, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match bytes.split_first() {
            Some((&V1, rest)) => Ok(Self { what, rest }),
            Some((&found, _)) => Err(DecodeError::Version { what, found }),
            None => Err(damaged(what, "empty")),
        }
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or_else(|| damaged(self.what, "too short"))?;
        self.rest = rest;
        Ok(*first)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        let (first, rest) = self
            .rest
            .split_first_chunk::<8>()
            .ok_or_else(|| damaged(self.what, "too short"))?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*first))
    }

    fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(damaged(self.what, "bytes left over"))
        }
    }
}

/// A log id from its parts.
pub(crate) fn log_id(term: u64, node: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, node).to_committed(), index)
}

/// The parts of a log id: term, leader, index.
pub(crate) fn log_id_parts(id: &LogId) -> (u64, u64, u64) {
    let leader = id.committed_leader_id();
    (leader.term, leader.node_id, id.index())
}

/// Bytes of an encoded log id.
pub(crate) const LOG_ID_LEN: usize = 25;

pub(crate) fn encode_log_id(id: &LogId) -> Vec<u8> {
    let (term, node, index) = log_id_parts(id);
    let mut out = Vec::with_capacity(LOG_ID_LEN);
    out.push(V1);
    out.extend_from_slice(&term.to_le_bytes());
    out.extend_from_slice(&node.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<LogId, DecodeError> {
    let mut r = Reader::versioned("log id", bytes)?;
    let (term, node, index) = (r.u64()?, r.u64()?, r.u64()?);
    r.end()?;
    Ok(log_id(term, node, index))
}

pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut out = Vec::with_capacity(18);
    out.push(V1);
    out.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    out.extend_from_slice(&vote.leader_id.node_id.to_le_bytes());
    out.push(u8::from(vote.committed));
    out
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, DecodeError> {
    let mut r = Reader::versioned("vote", bytes)?;
    let (term, node, committed) = (r.u64()?, r.u64()?, r.u8()?);
    r.end()?;
    match committed {
        0 => Ok(Vote::new(term, node)),
        1 => Ok(Vote::new_committed(term, node)),
        other => Err(damaged("vote", format!("flag {other}"))),
    }
}

/// Kind byte and body of a payload, as both the disk and the wire carry it.
pub(crate) fn encode_payload(
    payload: &EntryPayload<Entry, u64, crate::types::Member>,
) -> Result<(u8, Bytes), DecodeError> {
    Ok(match payload {
        EntryPayload::Blank => (BLANK, Bytes::new()),
        EntryPayload::Normal(entry) => (NORMAL, entry.bytes.clone()),
        EntryPayload::Membership(m) => {
            let body = rmp_serde::to_vec_named(m).map_err(|e| damaged("membership", e))?;
            (MEMBERSHIP, Bytes::from(body))
        }
    })
}

pub(crate) fn decode_payload(
    kind: u8,
    body: Bytes,
) -> Result<EntryPayload<Entry, u64, crate::types::Member>, DecodeError> {
    match kind {
        BLANK if body.is_empty() => Ok(EntryPayload::Blank),
        BLANK => Err(damaged("log entry", "a blank entry has a body")),
        NORMAL => Ok(EntryPayload::Normal(Entry { bytes: body })),
        MEMBERSHIP => {
            let m: Membership = rmp_serde::from_slice(&body).map_err(|e| damaged("membership", e))?;
            Ok(EntryPayload::Membership(m))
        }
        other => Err(damaged("log entry", format!("unknown kind {other}"))),
    }
}

/// The stored form of an entry; its index is the key.
pub(crate) fn encode_entry(entry: &RaftEntry) -> Result<Vec<u8>, DecodeError> {
    let (kind, body) = encode_payload(&entry.payload)?;
    let (term, node, _) = log_id_parts(&entry.log_id);
    let mut out = Vec::with_capacity(18 + body.len());
    out.push(V1);
    out.push(kind);
    out.extend_from_slice(&term.to_le_bytes());
    out.extend_from_slice(&node.to_le_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

pub(crate) fn decode_entry(index: u64, bytes: &[u8]) -> Result<RaftEntry, DecodeError> {
    let mut r = Reader::versioned("log entry", bytes)?;
    let (kind, term, node) = (r.u8()?, r.u64()?, r.u64()?);
    let payload = decode_payload(kind, Bytes::copy_from_slice(r.rest))?;
    Ok(RaftEntry {
        log_id: log_id(term, node, index),
        payload,
    })
}

pub(crate) fn encode_stored_membership(m: &StoredMembership) -> Result<Vec<u8>, DecodeError> {
    let mut out = vec![V1];
    rmp_serde::encode::write_named(&mut out, m).map_err(|e| damaged("membership", e))?;
    Ok(out)
}

pub(crate) fn decode_stored_membership(bytes: &[u8]) -> Result<StoredMembership, DecodeError> {
    let r = Reader::versioned("membership", bytes)?;
    rmp_serde::from_slice(r.rest).map_err(|e| damaged("membership", e))
}

pub(crate) fn encode_snapshot_meta(m: &crate::types::SnapshotMeta) -> Result<Vec<u8>, DecodeError> {
    let mut out = vec![V1];
    rmp_serde::encode::write_named(&mut out, m).map_err(|e| damaged("snapshot meta", e))?;
    Ok(out)
}

pub(crate) fn decode_snapshot_meta(bytes: &[u8]) -> Result<crate::types::SnapshotMeta, DecodeError> {
    let r = Reader::versioned("snapshot meta", bytes)?;
    rmp_serde::from_slice(r.rest).map_err(|e| damaged("snapshot meta", e))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::types::{Member, SnapshotMeta};

    fn membership() -> Membership {
        let nodes: BTreeMap<u64, Member> = [(
            7,
            Member {
                addr: "a:1".into(),
                incarnation: "x".into(),
            },
        )]
        .into_iter()
        .collect();
        Membership::new(vec![BTreeSet::from([7])], nodes).expect("one voter, one node")
    }

    #[test]
    fn every_kind_of_entry_comes_back() {
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Entry {
                bytes: Bytes::from_static(b"abc"),
            }),
            EntryPayload::Membership(membership()),
        ] {
            let entry = RaftEntry {
                log_id: log_id(3, 2, 9),
                payload,
            };
            let back = decode_entry(9, &encode_entry(&entry).expect("encodes")).expect("decodes");
            assert_eq!(entry, back);
        }
    }

    #[test]
    fn garbage_and_later_versions_are_refused() {
        assert!(decode_entry(1, &[]).is_err());
        assert!(decode_entry(1, &[V1]).is_err());
        assert!(matches!(
            decode_entry(1, &[9, 0]),
            Err(DecodeError::Version { found: 9, .. })
        ));
        assert!(decode_vote(&[V1, 0, 0]).is_err());
        let mut vote = encode_vote(&Vote::new_committed(4, 2));
        assert_eq!(decode_vote(&vote).expect("own vote"), Vote::new_committed(4, 2));
        vote.push(0);
        assert!(decode_vote(&vote).is_err());
        let mut unknown = encode_entry(&RaftEntry {
            log_id: log_id(1, 1, 1),
            payload: EntryPayload::Blank,
        })
        .expect("encodes");
        unknown[1] = 77;
        assert!(decode_entry(1, &unknown).is_err());
    }

    #[test]
    fn metas_come_back() {
        let stored = StoredMembership::new(Some(log_id(1, 7, 1)), membership());
        let back = decode_stored_membership(&encode_stored_membership(&stored).expect("encodes"));
        assert_eq!(stored, back.expect("decodes"));
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(2, 7, 5)),
            last_membership: stored,
        };
        let back = decode_snapshot_meta(&encode_snapshot_meta(&meta).expect("encodes"));
        assert_eq!(meta, back.expect("decodes"));
        assert_eq!(
            decode_log_id(&encode_log_id(&log_id(2, 3, 4))).expect("decodes"),
            log_id(2, 3, 4)
        );
    }
}
