//! What a node keeps of segments, as this room sees it.

use bytes::Bytes;

/// The biggest segment that is fetched from a peer.
pub const MAX_SEGMENT: usize = 64 * 1024 * 1024;

/// A segment operation failed at this node.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SegmentFault {
    /// It is not there.
    #[error("no such segment")]
    Missing,
    /// The name, session or data is not acceptable.
    #[error("refused: {0}")]
    Refused(String),
    /// The disk did not do it.
    #[error("the segment store failed: {0}")]
    Failed(String),
}

/// The segments of this node, asked for by its peers. Calls block on the disk; they run on blocking threads.
pub trait SegmentBackend: Send + Sync + 'static {
    /// Stores a segment; when it returns the data is on the disk. Answers the segment's name.
    fn put(&self, session: &str, seq: u64, data: Bytes) -> Result<String, SegmentFault>;
    /// Reads a segment by name.
    fn get(&self, name: &str) -> Result<Bytes, SegmentFault>;
    /// Names of the segments of a session, or of all when `session` is empty.
    fn list(&self, session: &str) -> Result<Vec<String>, SegmentFault>;
}

/// For a node without segments.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoSegments;

impl SegmentBackend for NoSegments {
    fn put(&self, _session: &str, _seq: u64, _data: Bytes) -> Result<String, SegmentFault> {
        Err(SegmentFault::Refused("this node keeps no segments".into()))
    }

    fn get(&self, _name: &str) -> Result<Bytes, SegmentFault> {
        Err(SegmentFault::Missing)
    }

    fn list(&self, _session: &str) -> Result<Vec<String>, SegmentFault> {
        Ok(Vec::new())
    }
}
