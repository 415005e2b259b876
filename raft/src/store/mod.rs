//! openraft's storage traits on the storage room's stores.

mod log;
mod state;
pub(crate) mod stub;

use std::io;

pub(crate) use log::Log;
pub use state::{Applied, AppliedAt, Apply, Fault, LogPosition, NOTIFY_BITS};
pub(crate) use state::StateMachine;
pub use stub::{LogStore, StateStore};

use stub::{Incoming, SnapshotFile};

/// A snapshot: one of ours, or one that was received and is complete.
pub(crate) enum SnapshotData {
    Stored(SnapshotFile),
    Received(Incoming),
}

impl SnapshotData {
    pub(crate) fn reader(&self) -> io::Result<std::fs::File> {
        match self {
            Self::Stored(file) => std::fs::File::open(&file.path),
            Self::Received(_) => Err(io::Error::other("a received snapshot is installed before it is sent on")),
        }
    }
}
