//! Recordings: how a session is written down in independent, encrypted chunks, and read back.
//!
//! ```text
//! Event -> ChunkWriter -> chunk bytes ...stored by others... -> ChunkReader -> Playback -> Player | cast | search
//! ```
//!
//! Nothing here does I/O or reads a clock. Whoever records says what time it is and ships the chunks; whoever plays
//! fetches them and waits. Chunk bytes are hostile until their key has vouched for them: reading never panics and
//! its memory is bounded.

mod capture;
mod cast;
mod chunk;
mod event;
mod key;
mod line;
mod playback;
mod player;
mod reader;
mod redact;
mod safe;
mod search;
mod shown;
mod utf8;
mod vt;
mod writer;

pub use capture::{CAPTURE_BYTES_MAX, CappedCapture};
pub use cast::{CastHeader, CastWriter, write_asciicast};
pub use chunk::{
    CHUNK_BYTES_MAX, Chunk, ChunkError, ChunkFault, ChunkHash, Header, PLAIN_BYTES_MAX, SessionId, chunk_hash,
};
pub use event::{Direction, Event, EventKind};
pub use key::{DataKey, DataKeyError, NotSealed};
pub use line::{LineError, event_line, read_line};
pub use playback::{Chain, Completeness, Playback, Played, Stop};
pub use player::{PlayError, PlayOptions, Player, Show, Step};
pub use reader::ChunkReader;
pub use redact::{Masks, Redactor};
pub use safe::SafeOutput;
pub use search::{Match, Query, QueryError, Search, search};
pub use writer::{CUT_AFTER_BYTES, CUT_AFTER_MS, ChunkWriter, CutError, PushError};
