//! Writing: events go in, chunks come out.

use super::chunk::{
    Chunk, ChunkHash, EVENTS_MAX, HASH_BYTES, HEADER_BYTES, Header, PLAIN_BYTES_MAX, SessionId, TAG_BYTES,
    sha256,
};
use super::event::{Event, EventKind, StoredEvent};
use super::key::{DataKey, nonce};
use aws_lc_rs::aead::Aad;

/// A chunk is due when it holds this much.
pub const CUT_AFTER_BYTES: usize = 256 << 10;
/// A chunk is due when its first event is this old: what a node's death may cost.
pub const CUT_AFTER_MS: u64 = 1000;

/// Longest run of bytes in one event; longer ones are split.
const RUN_BYTES_MAX: usize = 32 << 10;
/// Longest text of one event; SSH itself carries no longer command.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// Most bytes pushed at once; SSH itself carries no longer packet.
const PUSH_BYTES_MAX: usize = 1 << 20;
const LEVEL: i32 = 1;

/// Turns the events of one session into chunks. It reads no clock: ask [`ChunkWriter::is_due`] after each event and
/// every so often, and cut.
///
/// One writer writes one session from its start: the nonces are the chunk numbers, so a second writer with the same
/// key must never exist.
pub struct ChunkWriter {
    session: SessionId,
    key: DataKey,
    seq: u64,
    prev_hash: ChunkHash,
    plain: Vec<u8>,
    count: usize,
    first: Option<First>,
    last_at_ms: u64,
    ended: bool,
}

struct First {
    at_ms: u64,
    wall_ms: u64,
}

/// Why an event is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The chunk must be cut first; then the same event is taken.
    #[error("the chunk is full: cut it and push again")]
    Full,
    /// More at once than any session brings.
    #[error("an event holds more than {PUSH_BYTES_MAX} bytes, or a text of more than {TEXT_BYTES_MAX}")]
    TooLong,
    /// The recording has ended.
    #[error("the recording has ended")]
    Ended,
    /// The event could not be encoded.
    #[error("the event could not be encoded")]
    Encode,
}

/// Why no chunk came out. The events stay where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// Compression failed.
    #[error("the chunk could not be compressed")]
    Compress,
    /// Encryption failed.
    #[error("the chunk could not be encrypted")]
    Encrypt,
    /// The recording has ended.
    #[error("the recording has ended")]
    Ended,
}

impl ChunkWriter {
    /// A writer for a session that begins now, with a key that no other session has.
    pub fn new(session: SessionId, key: DataKey) -> Self {
        Self {
            session,
            key,
            seq: 0,
            prev_hash: [0; 32],
            plain: Vec::new(),
            count: 0,
            first: None,
            last_at_ms: 0,
            ended: false,
        }
    }

    /// Takes an event; `wall_ms` is the wall clock, in milliseconds since 1970. An event whose time lies before
    /// what is already written is moved up to it.
    pub fn push(&mut self, event: Event, wall_ms: u64) -> Result<(), PushError> {
        if self.ended {
            return Err(PushError::Ended);
        }
        let (size, runs) = match &event.kind {
            EventKind::Output(bytes) | EventKind::ErrorOutput(bytes) | EventKind::Input(bytes) => {
                if bytes.len() > PUSH_BYTES_MAX {
                    return Err(PushError::TooLong);
                }
                (bytes.len(), bytes.len().div_ceil(RUN_BYTES_MAX))
            }
            EventKind::Note(text) | EventKind::ExecStart { command: text } => {
                if text.len() > TEXT_BYTES_MAX {
                    return Err(PushError::TooLong);
                }
                (text.len(), 1)
            }
            EventKind::InputSize(_)
            | EventKind::Resize { .. }
            | EventKind::Exit { .. }
            | EventKind::Captured { .. } => (0, 1),
        };
        // 256 is well over what stands around the bytes of one event.
        if self.plain.len() + size + 256 * runs.max(1) > PLAIN_BYTES_MAX || self.count + runs > EVENTS_MAX {
            return Err(PushError::Full);
        }
        let at_ms = event.at_ms.max(self.last_at_ms);
        match event.kind {
            EventKind::Output(bytes) => self.append_runs(bytes, at_ms, wall_ms, EventKind::Output),
            EventKind::ErrorOutput(bytes) => self.append_runs(bytes, at_ms, wall_ms, EventKind::ErrorOutput),
            EventKind::Input(bytes) => self.append_runs(bytes, at_ms, wall_ms, EventKind::Input),
            kind => self.append(kind, at_ms, wall_ms),
        }
    }

    /// Whether the chunk should be cut at `now_ms` (milliseconds since the session began).
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.first.as_ref().is_some_and(|first| {
            self.plain.len() >= CUT_AFTER_BYTES || now_ms.saturating_sub(first.at_ms) >= CUT_AFTER_MS
        })
    }

    /// Bytes of events that are not in a chunk yet.
    pub fn pending_bytes(&self) -> usize {
        self.plain.len()
    }

    /// Makes a chunk of what has been pushed since the last one; none if that is nothing. `now_ms` is in milliseconds
    /// since the session began.
    pub fn cut(&mut self, now_ms: u64) -> Result<Option<Chunk>, CutError> {
        if self.ended {
            return Err(CutError::Ended);
        }
        let Some(First { at_ms, wall_ms }) = self.first else {
            return Ok(None);
        };
        self.make(at_ms, wall_ms, now_ms, false).map(Some)
    }

    /// Makes the last chunk, which says that the session ended here. Nothing can be pushed afterwards.
    pub fn finish(&mut self, now_ms: u64, wall_ms: u64) -> Result<Chunk, CutError> {
        if self.ended {
            return Err(CutError::Ended);
        }
        let now_ms = now_ms.max(self.last_at_ms);
        let First { at_ms, wall_ms } = self.first.take().unwrap_or(First {
            at_ms: now_ms,
            wall_ms,
        });
        let made = self.make(at_ms, wall_ms, now_ms, true);
        match &made {
            Ok(_) => self.ended = true,
            // As it was: the caller may try again.
            Err(_) if self.count > 0 => self.first = Some(First { at_ms, wall_ms }),
            Err(_) => {}
        }
        made
    }

    fn append_runs(
        &mut self,
        bytes: Vec<u8>,
        at_ms: u64,
        wall_ms: u64,
        kind: fn(Vec<u8>) -> EventKind,
    ) -> Result<(), PushError> {
        bytes
            .chunks(RUN_BYTES_MAX)
            .try_for_each(|run| self.append(kind(run.to_vec()), at_ms, wall_ms))
    }

    fn append(&mut self, kind: EventKind, at_ms: u64, wall_ms: u64) -> Result<(), PushError> {
        let first = self.first.get_or_insert(First { at_ms, wall_ms });
        let size = self.plain.len();
        let stored = StoredEvent(at_ms.saturating_sub(first.at_ms), kind.into());
        if rmp_serde::encode::write(&mut self.plain, &stored).is_err() {
            self.plain.truncate(size);
            return Err(PushError::Encode);
        }
        self.count += 1;
        self.last_at_ms = at_ms;
        Ok(())
    }

    fn make(&mut self, first_at_ms: u64, wall_ms: u64, now_ms: u64, last: bool) -> Result<Chunk, CutError> {
        let header = Header {
            last,
            session: self.session,
            seq: self.seq,
            first_at_ms,
            last_at_ms: self.last_at_ms.max(now_ms),
            wall_ms,
            prev_hash: self.prev_hash,
        };
        let packed = zstd::bulk::compress(&self.plain, LEVEL).map_err(|_| CutError::Compress)?;
        let head = header.to_bytes();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + HASH_BYTES + packed.len() + TAG_BYTES);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&sha256(&self.plain));
        bytes.extend_from_slice(&packed);
        let tag = self
            .key
            .aead()
            .seal_in_place_separate_tag(nonce(self.seq), Aad::from(head), &mut bytes[HEADER_BYTES..])
            .map_err(|_| CutError::Encrypt)?;
        bytes.extend_from_slice(tag.as_ref());
        let hash = sha256(&bytes);
        // Nothing can fail any more: the number is used up and the next chunk begins. The buffer is given back, an
        // idle session keeps nothing.
        self.seq += 1;
        self.prev_hash = hash;
        self.plain = Vec::new();
        self.count = 0;
        self.first = None;
        self.last_at_ms = header.last_at_ms;
        Ok(Chunk {
            seq: header.seq,
            bytes,
            hash,
            covers_ms: header.last_at_ms,
            last,
        })
    }
}

impl std::fmt::Debug for ChunkWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkWriter")
            .field("session", &self.session)
            .field("seq", &self.seq)
            .field("pending", &self.plain.len())
            .finish_non_exhaustive()
    }
}
