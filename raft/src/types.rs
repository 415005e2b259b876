//! The openraft types of this cluster. Nothing outside this room sees them.

use std::fmt;

use bytes::Bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

openraft::declare_raft_types!(
    /// The type configuration of a Palisade cluster.
    pub(crate) TypeConfig:
        D = Entry,
        R = Reply,
        Node = Member,
        AsyncRuntime = crate::runtime::Runtime,
);

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type RaftEntry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, crate::store::SnapshotData>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::store::StateMachine>;

/// The biggest entry that the log accepts.
pub const MAX_ENTRY: usize = 1024 * 1024;
/// The biggest message that a node accepts from another.
pub const MAX_FRAME: usize = 8 * 1024 * 1024;

/// What membership says of one node, besides its id.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// `host:port` of its node-to-node listener.
    pub addr: String,
    /// The nonce that its data directory was created with; its certificate carries the same. Empty: not known yet.
    pub incarnation: String,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.addr, self.incarnation)
    }
}

/// One command of the application, opaque to this room. Debug output shows its size only: commands carry sealed secrets.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// The encoded command.
    pub(crate) bytes: Bytes,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry of {} bytes", self.bytes.len())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry of {} bytes", self.bytes.len())
    }
}

/// What applying an entry answered.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// The encoded answer of the application.
    pub bytes: Bytes,
    /// Index of the log entry that the answer belongs to.
    pub index: u64,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reply of {} bytes at {}", self.bytes.len(), self.index)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, v: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(v))
    }

    fn visit_byte_buf<E>(self, v: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes::from(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bytes, A::Error> {
        let mut out = Vec::new();
        while let Some(byte) = seq.next_element::<u8>()? {
            if out.len() >= MAX_ENTRY {
                return Err(A::Error::custom("entry is too big"));
            }
            out.push(byte);
        }
        Ok(Bytes::from(out))
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self {
            bytes: d.deserialize_byte_buf(BytesVisitor)?,
        })
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self {
            bytes: d.deserialize_byte_buf(BytesVisitor)?,
            index: 0,
        })
    }
}
