//! What clients, nodes and agents say to each other around a connection to an agent's host. Values only: framing and
//! sockets are `session`'s.
//!
//! ```text
//! client --ClientHello--> node A --ToAgent::Connect--> agent      (through node B if only B holds the tunnel)
//! client <-ClientAnswer-- node A <--- Opened --------- agent      then bytes both ways
//! agent  --ToNode::{Start, End, Audit, Ship}--> node --Answer-->  one stream each
//! agent  --ToNode::Presence, Beat, Beat, ...--> node --BeatAck, ...-->  one stream for as long as the tunnel
//! ```

use crate::event::Event;
use crate::name::{Name, SessionId};
use crate::pass::{Joining, Pass};
use crate::record::{Completeness, HostSpec, JoinMode, Labels, Record, RecordingSpec};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// ALPN of a client's connection to a host.
pub const ALPN_CONNECT: &[u8] = b"palisade-connect/1";
/// ALPN of an agent's tunnel, over TCP and over QUIC.
pub const ALPN_TUNNEL: &[u8] = b"palisade-tunnel/1";
/// The largest message, except [`ToNode::Ship`].
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// The largest [`ToNode::Ship`]: a chunk of a recording and its header.
pub const SHIP_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The first message of a client that wants to reach a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// The host's name, or its address.
    pub host: String,
    /// Its port, as given to `ssh`.
    pub port: u16,
    /// The user's OpenSSH certificate, one line: what the agent will see as well.
    pub ssh_certificate: String,
    /// The connection's id, in hex: the same when it is resumed through another node.
    pub connection: String,
    /// Whether it is resumed.
    pub resumes: bool,
    /// Only asks how the host is reached: nothing is opened.
    #[serde(default)]
    pub asks_only: bool,
    /// The live session that is to be joined. The node finds its host: the one named here is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Joining>,
}

/// A node's answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientAnswer {
    /// The agent is there: bytes of the resumable stream follow.
    Agent,
    /// The session may be joined, and runs on this host: the same follows.
    Joins(Name),
    /// The host is a plain OpenSSH server: use the node's SSH port.
    Plain,
    /// No; the text is for the person.
    Refused(String),
    /// Not now, perhaps at another node.
    Unavailable(String),
}

/// The first message of a stream that a node opens to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAgent {
    /// A connection of a user. [`Opened`] is the answer, then bytes follow: of the resumable stream, or of SSH itself
    /// if `plain`.
    Connect {
        /// What was decided about it.
        pass: Box<Pass>,
        /// From `ssh -J`: no resumable stream.
        plain: bool,
    },
    /// Something changed for a connection; no answer but the end of the stream.
    Order(Order),
}

/// An agent's answer to [`ToAgent::Connect`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opened {
    /// Go on.
    Yes,
    /// No, for this reason.
    No(String),
}

/// What an agent is told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Ends a session.
    End {
        /// Which.
        session: SessionId,
        /// The user reads it.
        why: String,
    },
    /// The decision about a connection is another one now.
    Revise {
        /// Its id.
        connection: String,
        /// The new one.
        pass: Box<Pass>,
    },
    /// A connection is refused from now on: it ends.
    Refuse {
        /// Its id.
        connection: String,
        /// The user reads it.
        why: String,
    },
}

/// The first message of a stream that an agent opens to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToNode {
    /// The agent is here. [`Beat`]s follow, each answered by a [`BeatAck`].
    Presence(Hello),
    /// A chunk of a recording. [`Answer`] once a majority has it.
    Ship {
        /// Of which session.
        session: SessionId,
        /// Its place.
        seq: u32,
        /// The chunk.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// A session begins: nothing runs before the answer.
    Start {
        /// From the pass.
        #[serde(with = "bytes")]
        proof: Vec<u8>,
        /// The recording's row; the node sets who, where and since when from the proof and its own clock.
        row: Box<RecordingSpec>,
        /// The recording's data key, which the node seals. It travels inside the tunnel's TLS.
        #[serde(with = "bytes")]
        data_key: Vec<u8>,
        /// `session.exec` and the like.
        events: Vec<Event>,
    },
    /// A session ended.
    End {
        /// From the pass.
        #[serde(with = "bytes")]
        proof: Vec<u8>,
        /// What became of it.
        end: SessionEnd,
    },
    /// Things that happened in a connection.
    Audit {
        /// From the pass.
        #[serde(with = "bytes")]
        proof: Vec<u8>,
        /// They.
        events: Vec<Event>,
    },
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// Which.
    pub session: SessionId,
    /// How much its recording holds.
    pub completeness: Completeness,
    /// Chunks written.
    pub chunks: u32,
    /// Bytes of output.
    pub output_bytes: u64,
    /// Hex SHA-256 of the last chunk.
    pub last_chunk: String,
    /// `session.end` and what belongs to it.
    pub events: Vec<Event>,
}

/// A node's answer to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done and committed.
    Done,
    /// No; the text may be shown to the user.
    Refused(String),
    /// Not now: try another node, or again.
    Unavailable(String),
}

/// What an agent says of itself when its tunnel begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its program's version.
    pub version: String,
    /// Operating system, processor: `os`, `arch`, ...
    pub facts: Labels,
    /// Its own labels. The record's overrule them.
    pub labels: Labels,
    /// Other nodes that it holds a tunnel to, or will: so that a node can tell whether it is the only one.
    pub tunnels_wanted: u8,
}

/// One sign of life, with what changed since the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// New labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// All connections and their sessions, if they changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<LiveConnection>>,
}

/// A node's answer to a beat: which nodes there are, so that an agent finds a new one when its own is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatAck {
    /// HTTPS addresses of all nodes, if they changed since the last answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub web_addrs: Vec<String>,
    /// The node is stopping: take another.
    #[serde(default)]
    pub leaving: bool,
}

/// A connection that an agent serves now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConnection {
    /// From its pass.
    #[serde(with = "bytes")]
    pub proof: Vec<u8>,
    /// Its id.
    pub connection: String,
    /// Its sessions.
    pub sessions: Vec<HostSession>,
}

/// A session that an agent serves now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSession {
    /// Its id.
    pub session: SessionId,
    /// As which account.
    pub login: String,
    /// `interactive`, `exec`, `sftp`, `forward`.
    pub kind: String,
    /// Since when, by the agent's clock.
    pub started: Timestamp,
    /// Who is in it, the owner first.
    pub participants: Vec<Participant>,
}

/// Somebody who is in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Who.
    pub user: Name,
    /// As what they joined; `None` for the owner.
    pub joined: Option<JoinMode>,
}

/// What nodes know of an agent: in memory alone, shared between them, gone with the last node that holds a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPresence {
    /// The host.
    pub host: Name,
    /// The agent's id.
    pub agent: u64,
    /// Its own labels.
    pub labels: Labels,
    /// Its facts.
    pub facts: Labels,
    /// Its version.
    pub version: String,
    /// `quic` or `tls`.
    pub transport: String,
    /// Since when.
    pub since: Timestamp,
}

/// A host as decisions see it: with what its agent says of itself, which the record's own labels overrule.
pub fn with_presence(mut host: Record<HostSpec>, presence: Option<&AgentPresence>) -> Record<HostSpec> {
    let agent = host.spec.agent.as_ref().map(|agent| agent.id);
    if let Some(presence) = presence.filter(|presence| Some(presence.agent) == agent) {
        let mut labels = presence.labels.clone();
        labels.append(&mut host.metadata.labels);
        host.metadata.labels = labels;
    }
    host
}

/// Byte strings as MessagePack's own kind instead of lists of numbers.
mod bytes {
    use serde::de::{Deserializer, Error, SeqAccess, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }
        from.deserialize_byte_buf(Bytes)
    }
}
