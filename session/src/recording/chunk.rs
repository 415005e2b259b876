//! The form of a chunk: a clear header, then a sealed body.
//!
//! ```text
//! 0   magic "PALREC"        6
//! 6   version               1
//! 7   flags (bit 0: last)   1
//! 8   session id           16
//! 24  seq                   8   from 0
//! 32  first at_ms           8
//! 40  last at_ms            8   what the chunk covers: no event of a later chunk is earlier
//! 48  wall clock ms         8   of the first at_ms
//! 56  previous chunk's hash 32  zero in the first
//! 88  AES-256-GCM of ( SHA-256 of the plain text 32 | zstd of the plain text ), then its tag 16
//! ```
//! Numbers are big-endian. The header is the associated data, so that no bit of it can change. The hash of the
//! plain text is inside the seal: outside, it would let anybody test guesses of what a short chunk says.

use std::fmt;

/// Largest plain text of a chunk, enforced on both sides.
pub const PLAIN_BYTES_MAX: usize = 4 << 20;
/// Largest chunk: incompressible plain text and what is around it.
pub const CHUNK_BYTES_MAX: usize = PLAIN_BYTES_MAX + (PLAIN_BYTES_MAX >> 7) + 1024;

pub(super) const MAGIC: &[u8; 6] = b"PALREC";
pub(super) const VERSION: u8 = 1;
pub(super) const FLAG_LAST: u8 = 1;
pub(super) const HEADER_BYTES: usize = 88;
pub(super) const HASH_BYTES: usize = 32;
pub(super) const TAG_BYTES: usize = 16;
/// No terminal does this much in a second; it bounds what a small body can grow to in memory.
pub(super) const EVENTS_MAX: usize = 1 << 16;

/// SHA-256 over all bytes of a chunk.
pub type ChunkHash = [u8; 32];

/// The id of a session, 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

impl From<&palisade_core::name::SessionId> for SessionId {
    fn from(id: &palisade_core::name::SessionId) -> Self {
        let mut bytes = [0; 16];
        let digits = id
            .as_str()
            .bytes()
            .filter_map(|byte| char::from(byte).to_digit(16));
        for (nth, digit) in digits.take(32).enumerate() {
            // A digit is below 16.
            bytes[nth / 2] = bytes[nth / 2] << 4 | digit as u8;
        }
        Self(bytes)
    }
}

/// A chunk ready to be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its place, from 0.
    pub seq: u64,
    /// All of it.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`: its name in storage, and what the next chunk refers to.
    pub hash: ChunkHash,
    /// The time up to which the recording is covered once this chunk is stored, in ms since the session began.
    pub covers_ms: u64,
    /// Whether the session ended with it.
    pub last: bool,
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("seq", &self.seq)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// What stands before the sealed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whether the session ended with this chunk.
    pub last: bool,
    /// The session.
    pub session: SessionId,
    /// The place of this chunk, from 0.
    pub seq: u64,
    /// When its first event happened.
    pub first_at_ms: u64,
    /// Up to when it covers the session.
    pub last_at_ms: u64,
    /// Wall clock of `first_at_ms`, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Hash of the chunk before.
    pub prev_hash: ChunkHash,
}

/// A chunk that cannot be used, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkError {
    /// Its number, as far as that can be read.
    pub seq: Option<u64>,
    /// What is wrong.
    pub fault: ChunkFault,
}

/// What is wrong with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFault {
    /// Shorter than a header and an empty body.
    #[error("is truncated")]
    Truncated,
    /// Larger than any chunk.
    #[error("is larger than any chunk may be")]
    TooLarge,
    /// No chunk at all.
    #[error("is not a chunk of a recording")]
    NotAChunk,
    /// Written by a newer release.
    #[error("has format {0}, which is unknown to this release")]
    UnknownVersion(u8),
    /// A flag that this version does not have.
    #[error("has unknown flags")]
    UnknownFlags,
    /// Of another session.
    #[error("belongs to another session")]
    OtherSession,
    /// The seal does not open: damaged, changed, or of another key.
    #[error("is damaged: its seal does not open")]
    Damaged,
    /// What was sealed does not decompress within the bound.
    #[error("does not decompress, or to more than is allowed")]
    Decompress,
    /// The plain text is not the one that was sealed.
    #[error("does not have the content it was sealed with")]
    Content,
    /// The events cannot be read.
    #[error("holds something that is not an event")]
    Events,
    /// More events than a chunk may hold.
    #[error("holds too many events")]
    TooManyEvents,
    /// An event outside the time of its chunk, or before the one before it.
    #[error("holds events out of order")]
    Times,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "chunk {seq} {}", self.fault),
            None => write!(f, "a chunk {}", self.fault),
        }
    }
}

impl std::error::Error for ChunkError {}

impl Header {
    pub(super) fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..6].copy_from_slice(MAGIC);
        out[6] = VERSION;
        out[7] = if self.last { FLAG_LAST } else { 0 };
        out[8..24].copy_from_slice(&self.session.0);
        out[24..32].copy_from_slice(&self.seq.to_be_bytes());
        out[32..40].copy_from_slice(&self.first_at_ms.to_be_bytes());
        out[40..48].copy_from_slice(&self.last_at_ms.to_be_bytes());
        out[48..56].copy_from_slice(&self.wall_ms.to_be_bytes());
        out[56..].copy_from_slice(&self.prev_hash);
        out
    }

    /// Reads the header of a chunk. Nothing vouches for it until the body has been opened with the key: good for
    /// listing and placing chunks, not for believing them.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChunkError> {
        let unnamed = |fault| ChunkError { seq: None, fault };
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(unnamed(ChunkFault::Truncated))?;
        if !header.starts_with(MAGIC) {
            return Err(unnamed(ChunkFault::NotAChunk));
        }
        if header[6] != VERSION {
            return Err(unnamed(ChunkFault::UnknownVersion(header[6])));
        }
        let seq = number(header, 24);
        let fault = |fault| ChunkError {
            seq: Some(seq),
            fault,
        };
        if header[7] & !FLAG_LAST != 0 {
            return Err(fault(ChunkFault::UnknownFlags));
        }
        if bytes.len() < HEADER_BYTES + HASH_BYTES + TAG_BYTES {
            return Err(fault(ChunkFault::Truncated));
        }
        if bytes.len() > CHUNK_BYTES_MAX {
            return Err(fault(ChunkFault::TooLarge));
        }
        let mut session = SessionId([0; 16]);
        session.0.copy_from_slice(&header[8..24]);
        let mut prev_hash = [0; 32];
        prev_hash.copy_from_slice(&header[56..]);
        Ok(Self {
            last: header[7] & FLAG_LAST != 0,
            session,
            seq,
            first_at_ms: number(header, 32),
            last_at_ms: number(header, 40),
            wall_ms: number(header, 48),
            prev_hash,
        })
    }
}

fn number(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    u64::from_be_bytes(bytes)
}

/// The hash by which a chunk is named and chained.
pub fn chunk_hash(bytes: &[u8]) -> ChunkHash {
    sha256(bytes)
}

pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_as_they_were_written() {
        let header = Header {
            last: true,
            session: SessionId([3; 16]),
            seq: 5,
            first_at_ms: 6,
            last_at_ms: 7,
            wall_ms: 8,
            prev_hash: [9; 32],
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend([0; 48]);
        assert_eq!(Header::parse(&bytes).unwrap(), header);
    }

    #[test]
    fn the_id_is_that_of_the_session() {
        let id = palisade_core::name::SessionId::parse("0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a").unwrap();
        let bytes = [
            0x0c, 0x9a, 0x4c, 0x9e, 0x5c, 0x5c, 0x4f, 0x6e, 0x9c, 0x7a, 0x1f, 0x2e, 0x3d, 0x4c, 0x5b, 0x6a,
        ];
        assert_eq!(SessionId::from(&id), SessionId(bytes));
    }

    #[test]
    fn errors_name_the_chunk() {
        let error = ChunkError {
            seq: Some(4),
            fault: ChunkFault::Damaged,
        };
        assert_eq!(error.to_string(), "chunk 4 is damaged: its seal does not open");
    }
}
