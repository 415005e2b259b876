//! Notices what openraft does not tell: a core that ended, a disk that hangs.

use openraft::async_runtime::watch::WatchReceiver as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::shared::Shared;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);
/// A disk that has not finished a sync for this long while writes wait is stuck.
const STALLED: Duration = Duration::from_secs(2);
/// A core that does not answer for this long is frozen.
const FROZEN: Duration = Duration::from_secs(10);

/// Runs until the node stops; what it finds goes to the fatal hook within a second.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let Some(raft) = shared.raft().cloned() else {
        return;
    };
    let metrics = raft.metrics();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_asked = Instant::now();
    loop {
        // By the clock, not by every change of the metrics: those come with every write.
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let state = metrics.borrow_watched().running_state.clone();
        if let Err(e) = state {
            if !shared.stop.is_cancelled() {
                shared.fatal.fire(&format!("the Raft core has stopped: {e}"));
            }
            return;
        }
        look_at_disk(&shared);
        if last_asked.elapsed() > FROZEN {
            last_asked = Instant::now();
            let asked = raft.with_raft_state(|_| ());
            // A full disk holds the core back on purpose: it goes on when there is space again.
            let answered = tokio::time::timeout(FROZEN, asked).await.is_ok();
            if !answered && !shared.stop.is_cancelled() && !shared.no_space.load(Ordering::Relaxed) {
                shared.fatal.fire("the Raft core does not answer");
                return;
            }
        }
    }
}

/// Heartbeats do not pass by the disk, so a leader whose disk hangs would lead on and commit nothing.
fn look_at_disk(shared: &Shared) {
    let stats = shared.log.sync_stats();
    shared.no_space.store(stats.no_space, Ordering::Relaxed);
    if stats.no_space {
        return;
    }
    if stats.in_progress.is_some_and(|busy| busy > STALLED) {
        if let Some(raft) = shared.raft() {
            raft.runtime_config().heartbeat(false);
            raft.runtime_config().elect(false);
        }
        shared.fatal.fire("the disk has not finished a sync for 2 s");
    }
}
