//! What happens in a session, and its form inside a chunk.
//!
//! The stored form is apart from [`Event`]: to change it is to raise the chunk version.

use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, in milliseconds since the session began.
    pub at_ms: u64,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// Bytes that the host sent to the person: a terminal's screen, or a command's standard output.
    Output(Vec<u8>),
    /// Bytes that a command without a terminal wrote to its standard error.
    ErrorOutput(Vec<u8>),
    /// Bytes that were sent to a command without a terminal.
    Input(Vec<u8>),
    /// How many bytes were typed into a terminal. What was typed is not kept: it may be a password.
    InputSize(u64),
    /// The terminal got this size.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// A remark of the node: a forward was opened, a watcher joined, the certificate ended.
    Note(String),
    /// A command was started.
    ExecStart {
        /// The command line.
        command: String,
    },
    /// The shell or command ended.
    Exit {
        /// Its exit status.
        status: u32,
    },
    /// All of one direction of a command without a terminal, including what was over the cap and not kept.
    Captured {
        /// Which direction.
        direction: Direction,
        /// How many bytes went by.
        size: u64,
        /// How many of them, from the first on, are in this recording.
        recorded: u64,
        /// SHA-256 of all of them.
        sha256: [u8; 32],
    },
}

/// A direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the host.
    Input,
    /// From the host.
    Output,
    /// From the host, standard error.
    ErrorOutput,
}

/// The stored form: `[milliseconds since the chunk's first event, kind]`.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredEvent(pub(super) u64, pub(super) StoredKind);

#[derive(Serialize, Deserialize)]
pub(super) enum StoredKind {
    #[serde(rename = "o")]
    Output(#[serde(with = "bin")] Vec<u8>),
    #[serde(rename = "e")]
    ErrorOutput(#[serde(with = "bin")] Vec<u8>),
    #[serde(rename = "i")]
    Input(#[serde(with = "bin")] Vec<u8>),
    #[serde(rename = "n")]
    InputSize(u64),
    #[serde(rename = "r")]
    Resize(u16, u16),
    #[serde(rename = "m")]
    Note(String),
    #[serde(rename = "x")]
    ExecStart(String),
    #[serde(rename = "q")]
    Exit(u32),
    #[serde(rename = "c")]
    Captured(StoredDirection, u64, u64, [u8; 32]),
}

#[derive(Serialize, Deserialize)]
pub(super) enum StoredDirection {
    #[serde(rename = "i")]
    Input,
    #[serde(rename = "o")]
    Output,
    #[serde(rename = "e")]
    ErrorOutput,
}

impl From<EventKind> for StoredKind {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Output(bytes) => Self::Output(bytes),
            EventKind::ErrorOutput(bytes) => Self::ErrorOutput(bytes),
            EventKind::Input(bytes) => Self::Input(bytes),
            EventKind::InputSize(size) => Self::InputSize(size),
            EventKind::Resize { cols, rows } => Self::Resize(cols, rows),
            EventKind::Note(text) => Self::Note(text),
            EventKind::ExecStart { command } => Self::ExecStart(command),
            EventKind::Exit { status } => Self::Exit(status),
            EventKind::Captured {
                direction,
                size,
                recorded,
                sha256,
            } => Self::Captured(direction.into(), size, recorded, sha256),
        }
    }
}

impl From<StoredKind> for EventKind {
    fn from(kind: StoredKind) -> Self {
        match kind {
            StoredKind::Output(bytes) => Self::Output(bytes),
            StoredKind::ErrorOutput(bytes) => Self::ErrorOutput(bytes),
            StoredKind::Input(bytes) => Self::Input(bytes),
            StoredKind::InputSize(size) => Self::InputSize(size),
            StoredKind::Resize(cols, rows) => Self::Resize { cols, rows },
            StoredKind::Note(text) => Self::Note(text),
            StoredKind::ExecStart(command) => Self::ExecStart { command },
            StoredKind::Exit(status) => Self::Exit { status },
            StoredKind::Captured(direction, size, recorded, sha256) => Self::Captured {
                direction: direction.into(),
                size,
                recorded,
                sha256,
            },
        }
    }
}

impl From<Direction> for StoredDirection {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Input => Self::Input,
            Direction::Output => Self::Output,
            Direction::ErrorOutput => Self::ErrorOutput,
        }
    }
}

impl From<StoredDirection> for Direction {
    fn from(direction: StoredDirection) -> Self {
        match direction {
            StoredDirection::Input => Self::Input,
            StoredDirection::Output => Self::Output,
            StoredDirection::ErrorOutput => Self::ErrorOutput,
        }
    }
}

/// Bytes as MessagePack `bin`; by default they would be an array of numbers.
mod bin {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
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
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}
