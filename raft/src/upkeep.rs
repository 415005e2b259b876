//! Keeps the stores small: decides when a snapshot is due, which lets the log be purged, and gives disk back.

use openraft::async_runtime::watch::WatchReceiver as _;
use std::sync::Arc;
use std::time::Duration;

use palisade_storage::{SnapshotError, WriteError};

use crate::shared::Shared;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes of snapshot that one entry may cost. A snapshot holds the whole state: made at a fixed distance, the cost of
/// each entry would grow with everything written before.
const SNAPSHOT_BYTES: u64 = 2048;

/// Entries from one snapshot to the next, at least `every`.
fn distance(every: u64, snapshot_len: u64) -> u64 {
    every.max(snapshot_len / SNAPSHOT_BYTES)
}

/// Runs until the node stops.
pub(crate) async fn keep(shared: Arc<Shared>, every: u64) {
    let Some(raft) = shared.raft().cloned() else {
        return;
    };
    let metrics = raft.metrics();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut compacted_after = None;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let (snapshot, applied) = {
            let m = metrics.borrow_watched();
            (
                m.snapshot.map(|id| id.index()),
                m.last_applied.map(|id| id.index()),
            )
        };
        let len = shared.state.current_snapshot().map_or(0, |file| file.len);
        let since = applied.unwrap_or(0).saturating_sub(snapshot.unwrap_or(0));
        if since >= distance(every, len) && raft.trigger().snapshot().await.is_err() {
            // The core has ended; the watchdog says so.
            return;
        }
        // What a snapshot lets go of is purged after it: the space of the one before can be given back now.
        if compacted_after != Some(snapshot) {
            compacted_after = Some(snapshot);
            give_back(&shared).await;
        }
    }
}

/// Compacts both stores if they take far more than they hold.
async fn give_back(shared: &Shared) {
    let (log, state) = (shared.log.clone(), shared.state.clone());
    let compacted = crate::runtime::blocking(move || {
        let log = log.compact_if_needed();
        (log, state.compact_if_needed())
    });
    let Ok((log, state)) = compacted.await else {
        return;
    };
    match log {
        Ok(_) | Err(WriteError::Closed | WriteError::NoSpace { .. }) => {}
        Err(error) => tracing::warn!(%error, "the log was not compacted"),
    }
    match state {
        Ok(_) | Err(SnapshotError::Write(WriteError::NoSpace { .. })) => {}
        Err(error) => tracing::warn!(%error, "the state was not compacted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_snapshots_for_each_entry_does_not_grow_with_the_state() {
        let (mut entries, mut written, mut since) = (0u64, 0u64, 0u64);
        let mut len = 0;
        while entries < 2_000_000 {
            entries += 1000;
            since += 1000;
            if since >= distance(20_000, len) {
                len = entries * 700;
                written += len;
                since = 0;
            }
        }
        assert!(written / entries < 2 * SNAPSHOT_BYTES, "{}", written / entries);
    }
}
