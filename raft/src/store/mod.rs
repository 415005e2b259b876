//! openraft's storage traits on the storage room's stores.

mod log;
mod state;
#[cfg(test)]
mod suite;

use std::fs::File;
use std::io;

use palisade_storage::{IncomingSnapshot, SnapshotFile};

pub(crate) use log::Log;
pub use state::{Applied, AppliedAt, Apply, Fault, LogPosition, NOTIFY_BITS};
pub(crate) use state::{StateMachine, read_markers, verify_received};

/// A snapshot: one of ours, or one that was received and is complete.
pub(crate) enum SnapshotData {
    Stored(File),
    Received(IncomingSnapshot),
}

impl SnapshotData {
    /// Opened at once: the file is replaced when there is a newer one.
    pub(crate) fn stored(file: &SnapshotFile) -> io::Result<Self> {
        Ok(Self::Stored(file.open()?))
    }

    pub(crate) fn into_reader(self) -> io::Result<File> {
        match self {
            Self::Stored(file) => Ok(file),
            Self::Received(_) => Err(io::Error::other(
                "a received snapshot is installed before it is sent on",
            )),
        }
    }
}
