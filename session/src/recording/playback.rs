//! Reading a whole recording: chunks in order, each checked against the one before.

use super::chunk::{ChunkError, ChunkFault, ChunkHash, SessionId, sha256};
use super::event::Event;
use super::key::DataKey;
use super::reader::ChunkReader;
use std::fmt;

/// Takes the chunks of one recording in order and gives their events, each chunk checked against the one before. For
/// whoever fetches chunks by waiting for them; [`Playback`] is the same over an iterator.
pub struct Chain<'a> {
    reader: ChunkReader<'a>,
    /// What the next chunk must be.
    seq: u64,
    prev_hash: ChunkHash,
    covers_ms: u64,
    ended: bool,
    stopped: Option<Stop>,
}

/// The events of a recording, from its chunks in order. Ends at the first chunk that is missing or wrong: what was
/// yielded until then is proven, and [`Playback::completeness`] says how it ended.
pub struct Playback<'a, I> {
    chain: Chain<'a>,
    chunks: I,
    events: std::vec::IntoIter<Played>,
    outcome: Option<Completeness>,
}

/// An event and when it happened by the clock on the wall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// The event.
    pub event: Event,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
}

/// How a recording ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// Every chunk is there, from the first to the one that says it is the last.
    Complete {
        /// How many.
        chunks: u64,
    },
    /// Everything before chunk `seq` is there and proven.
    StopsAt {
        /// The first chunk that is not there, or wrong.
        seq: u64,
        /// Why it stops.
        why: Stop,
    },
}

/// Why a recording stops before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// There is no further chunk and none said that it was the last: the session runs still, or was cut off.
    #[error("the session did not end, or its end was not recorded")]
    NotEnded,
    /// Another chunk stands where this one belongs.
    #[error("chunk {found} stands in its place")]
    Missing {
        /// What stands there.
        found: u64,
    },
    /// The chunk is sound but follows another one than the one before it.
    #[error("it does not follow the chunk before it")]
    Fork,
    /// The chunk begins before the one before it ended.
    #[error("its time goes back")]
    TimeGoesBack,
    /// Chunks follow the one that says it is the last.
    #[error("the recording goes on after its end")]
    AfterEnd,
    /// The chunk cannot be used.
    #[error("it {0}")]
    Chunk(#[source] ChunkFault),
}

impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete { .. } => f.write_str("complete"),
            Self::StopsAt { seq, why } => write!(f, "stops at chunk {seq}: {why}"),
        }
    }
}

impl<'a> Chain<'a> {
    /// A chain that begins with chunk 0 of `session`.
    pub fn new(session: SessionId, key: &'a DataKey) -> Self {
        let reader = ChunkReader::new(session, key);
        Self {
            reader,
            seq: 0,
            prev_hash: [0; 32],
            covers_ms: 0,
            ended: false,
            stopped: None,
        }
    }

    /// A chain that begins with chunk `seq`, which must follow the chunk with the hash `prev_hash`: for whoever proved
    /// what is before, or trusts who did.
    pub fn from_chunk(session: SessionId, key: &'a DataKey, seq: u64, prev_hash: ChunkHash) -> Self {
        Self {
            seq,
            prev_hash,
            ..Self::new(session, key)
        }
    }

    /// The number of the chunk that comes next.
    pub fn next_seq(&self) -> u64 {
        self.seq
    }

    /// Up to when the chunks so far cover the session, in milliseconds since it began.
    pub fn covers_ms(&self) -> u64 {
        self.covers_ms
    }

    /// Whether the last chunk has been taken.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes the next chunk. After an error nothing more is taken: what follows a gap is not proven.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Played>, Stop> {
        let taken = match &self.stopped {
            Some(stop) => Err(stop.clone()),
            None => self.take(bytes),
        };
        taken.inspect_err(|stop| self.stopped = Some(stop.clone()))
    }

    /// How the recording ended, when there are no more chunks.
    pub fn finish(&self) -> Completeness {
        match &self.stopped {
            Some(why) => Completeness::StopsAt {
                seq: self.seq,
                why: why.clone(),
            },
            None if self.ended => Completeness::Complete { chunks: self.seq },
            None => Completeness::StopsAt {
                seq: self.seq,
                why: Stop::NotEnded,
            },
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Played>, Stop> {
        if self.ended {
            return Err(Stop::AfterEnd);
        }
        let (header, events) = self
            .reader
            .decode(bytes)
            .map_err(|ChunkError { fault, .. }| Stop::Chunk(fault))?;
        if header.seq != self.seq {
            return Err(Stop::Missing { found: header.seq });
        }
        if header.prev_hash != self.prev_hash {
            return Err(Stop::Fork);
        }
        if header.first_at_ms < self.covers_ms {
            return Err(Stop::TimeGoesBack);
        }
        self.seq += 1;
        self.prev_hash = sha256(bytes);
        self.covers_ms = header.last_at_ms;
        self.ended = header.last;
        let played = |event: Event| {
            let since = event.at_ms.saturating_sub(header.first_at_ms);
            Played {
                event,
                wall_ms: header.wall_ms.saturating_add(since),
            }
        };
        Ok(events.into_iter().map(played).collect())
    }
}

impl<'a, I> Playback<'a, I> {
    /// Reads `chunks`, all of one session in order.
    pub fn new(session: SessionId, key: &'a DataKey, chunks: I) -> Self {
        Self {
            chain: Chain::new(session, key),
            chunks,
            events: Vec::new().into_iter(),
            outcome: None,
        }
    }

    /// How the recording ended; none while there is more to read.
    pub fn completeness(&self) -> Option<&Completeness> {
        self.outcome.as_ref()
    }

    /// Up to when the chunks read so far cover the session, in milliseconds since it began.
    pub fn covers_ms(&self) -> u64 {
        self.chain.covers_ms()
    }
}

impl<I> Iterator for Playback<'_, I>
where
    I: Iterator,
    I::Item: AsRef<[u8]>,
{
    type Item = Played;

    fn next(&mut self) -> Option<Played> {
        while self.outcome.is_none() {
            if let Some(played) = self.events.next() {
                return Some(played);
            }
            match self.chunks.next().map(|bytes| self.chain.feed(bytes.as_ref())) {
                Some(Ok(events)) => self.events = events.into_iter(),
                Some(Err(_)) | None => self.outcome = Some(self.chain.finish()),
            }
        }
        None
    }
}
