//! Palisade: the storage room.
//!
//! What a node keeps on its disk: the Raft log and vote ([`LogStore`]), the state machine and its snapshots
//! ([`StateStore`]), encrypted segments ([`SegmentStore`]) and who it is ([`Identity`]). It knows sled and files,
//! and neither Raft nor an async runtime: plain threads, and callbacks when something is durable.

mod doctor;
mod engine;
mod error;
mod files;
mod generation;
mod identity;
mod kv;
mod log;
mod machine;
mod segment;
mod state;

pub use doctor::{Finding, Report, check, set_aside};
pub use error::{Damage, OpenError, REPAIR_COMMAND, ReadError, WriteError, escaped};
pub use files::{DirLock, FreeSpace};
pub use identity::{Identity, IdentityError};
pub use kv::{Change, Kv, KvFault, Pair};
pub use log::{
    Done, LOG_RESERVE, LogOptions, LogRecord, LogStore, MAX_RECORD, OnFatal, OnFull, OnSync, SyncStats,
};
pub use machine::{Database, Machine, Memory, Part, range_of};
pub use segment::{
    AUDIT_PAGES, BadName, MAX_SEGMENT, SegmentError, SegmentName, SegmentOptions, SegmentStore,
};
pub use state::{
    IncomingSnapshot, MAX_KEY, MAX_VALUE, Markers, SnapshotContents, SnapshotError, SnapshotFault,
    SnapshotFile, StateOptions, StateStore,
};

/// What a panic said.
pub(crate) fn panic_text(p: &(dyn std::any::Any + Send)) -> String {
    p.downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| p.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
