//! How much of a command without a terminal is kept: all of it up to a cap, then its size and hash.

use super::event::{Direction, EventKind};
use aws_lc_rs::digest::{Context, SHA256};

/// The cap in each direction unless the cluster's configuration says otherwise.
pub const CAPTURE_BYTES_MAX: u64 = 1 << 20;

/// One direction of a command without a terminal.
pub struct CappedCapture {
    direction: Direction,
    cap: u64,
    size: u64,
    hash: Context,
}

impl CappedCapture {
    /// Keeps the first `cap` bytes.
    pub fn new(direction: Direction, cap: u64) -> Self {
        Self {
            direction,
            cap,
            size: 0,
            hash: Context::new(&SHA256),
        }
    }

    /// Counts `bytes` and returns the part of them that is to be recorded: the beginning, or nothing.
    pub fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        self.hash.update(bytes);
        let room = usize::try_from(self.cap.saturating_sub(self.size)).unwrap_or(usize::MAX);
        self.size = self.size.saturating_add(bytes.len() as u64);
        &bytes[..bytes.len().min(room)]
    }

    /// The event that records `bytes`, if there is anything to record.
    pub fn event(&mut self, bytes: &[u8]) -> Option<EventKind> {
        let kept = self.take(bytes).to_vec();
        if kept.is_empty() {
            return None;
        }
        Some(match self.direction {
            Direction::Input => EventKind::Input(kept),
            Direction::Output => EventKind::Output(kept),
            Direction::ErrorOutput => EventKind::ErrorOutput(kept),
        })
    }

    /// Whether bytes went by that were not kept.
    pub fn is_over_cap(&self) -> bool {
        self.size > self.cap
    }

    /// The final event: size and hash of everything, kept or not.
    pub fn finish(self) -> EventKind {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.hash.finish().as_ref());
        EventKind::Captured {
            direction: self.direction,
            size: self.size,
            recorded: self.size.min(self.cap),
            sha256,
        }
    }
}

impl std::fmt::Debug for CappedCapture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CappedCapture")
            .field("direction", &self.direction)
            .field("cap", &self.cap)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::chunk::sha256;

    #[test]
    fn the_beginning_is_kept_and_all_is_hashed() {
        let mut capture = CappedCapture::new(Direction::Output, 5);
        assert_eq!(capture.event(b"abc"), Some(EventKind::Output(b"abc".to_vec())));
        assert!(!capture.is_over_cap());
        assert_eq!(capture.event(b"defg"), Some(EventKind::Output(b"de".to_vec())));
        assert!(capture.is_over_cap());
        assert_eq!(capture.event(b"hij"), None);
        assert_eq!(
            capture.finish(),
            EventKind::Captured {
                direction: Direction::Output,
                size: 10,
                recorded: 5,
                sha256: sha256(b"abcdefghij"),
            }
        );
    }

    #[test]
    fn exactly_the_cap_is_kept_whole() {
        let mut capture = CappedCapture::new(Direction::Input, 3);
        assert_eq!(capture.take(b"abc"), b"abc");
        assert!(!capture.is_over_cap());
        assert_eq!(capture.event(b""), None);
        let sha256 = sha256(b"abc");
        assert_eq!(
            capture.finish(),
            EventKind::Captured {
                direction: Direction::Input,
                size: 3,
                recorded: 3,
                sha256
            }
        );
    }
}
