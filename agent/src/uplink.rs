//! What the agent needs of its cluster. The tunnel implements it; tests do so in memory.

use palisade_core::event::Event;
use palisade_core::name::SessionId;
use palisade_core::ports::{Pending, Unavailable};
use palisade_core::record::RecordingSpec;
use palisade_core::time::Timestamp;
use palisade_core::tunnel::SessionEnd;
use palisade_session::recording::DataKey;

/// Why the cluster did not write something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// It may not be written: the session's limit is reached, the proof is not good. Trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// No node answers, or there is no quorum. Later it may be written.
    #[error("the cluster cannot be reached: {0}")]
    Unavailable(String),
}

/// The cluster as an agent sees it. `proof` is that of the pass for which something is written: see
/// [`Pass::proof`](palisade_core::pass::Pass::proof).
pub trait Uplink: Send + Sync + 'static {
    /// The wall clock. Everything that is decided or written takes the time from here.
    fn now(&self) -> Timestamp;

    /// Commits the start of a session: its recording's row and its events. The node seals the data key into the row,
    /// and refuses when the user has as many sessions as they may.
    fn start<'a>(
        &'a self,
        proof: &'a [u8],
        row: RecordingSpec,
        max_sessions: Option<u32>,
        key: &'a DataKey,
        events: Vec<Event>,
    ) -> Pending<'a, Result<(), Declined>>;

    /// Commits the end of a session.
    fn end<'a>(&'a self, proof: &'a [u8], end: SessionEnd) -> Pending<'a, Result<(), Declined>>;

    /// Commits events.
    fn audit<'a>(&'a self, proof: &'a [u8], events: Vec<Event>) -> Pending<'a, Result<(), Declined>>;

    /// Stores one chunk of a recording; answers when a majority of nodes has it on disk. Chunks come in order; one whose
    /// answer was lost comes again with the same number and the same bytes.
    fn ship<'a>(
        &'a self,
        session: &'a SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Pending<'a, Result<(), Unavailable>>;
}
