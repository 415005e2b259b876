//! Notices what openraft does not tell: a core that ended, a disk that hangs.

use openraft::async_runtime::watch::WatchReceiver as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

use crate::members::best_voters;
use crate::shared::Shared;
use crate::types::Raft;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);
/// A disk that has not finished a sync for this long while writes wait is slow: others lead better.
const STALLED: Duration = Duration::from_secs(2);
/// After this long it is taken for dead. Far longer than a stall that storage gets over, which may well hold up all nodes
/// at once: they must not end all at once.
const DEAD: Duration = Duration::from_secs(20);
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
    let mut stalled = false;
    loop {
        // By the clock, not by every change of the metrics: those come with every write.
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        shared.lease.beat();
        let state = metrics.borrow_watched().running_state.clone();
        if let Err(e) = state {
            if !shared.stop.is_cancelled() {
                shared.fatal.fire(&format!("the Raft core has stopped: {e}"));
            }
            return;
        }
        look_at_disk(&shared, &raft, &mut stalled).await;
        if last_asked.elapsed() > FROZEN {
            last_asked = Instant::now();
            let asked = raft.with_raft_state(|_| ());
            // A full disk holds the core back on purpose: it goes on when there is space again.
            // One that panicked answers with an error, at once.
            let answered = matches!(tokio::time::timeout(FROZEN, asked).await, Ok(Ok(_)));
            if !answered && !shared.stop.is_cancelled() && !shared.no_space.load(Ordering::Relaxed) {
                shared.fatal.fire("the Raft core does not answer");
                return;
            }
        }
    }
}

/// Heartbeats do not pass by the disk, so a leader whose disk hangs would lead on. It hands over, and does not ask for
/// votes until the disk has caught up.
async fn look_at_disk(shared: &Shared, raft: &Raft, stalled: &mut bool) {
    let stats = shared.log.sync_stats();
    shared.no_space.store(stats.no_space, Ordering::Relaxed);
    if stats.no_space {
        return;
    }
    let waits = stats.in_progress.unwrap_or_default();
    if waits > DEAD {
        shared.fatal.fire("the disk has not finished a sync for 20 s");
    } else if waits > STALLED && !*stalled {
        *stalled = true;
        tracing::error!("the disk has not finished a sync for 2 s: this node does not lead until it has");
        raft.runtime_config().heartbeat(false);
        raft.runtime_config().elect(false);
        if shared.leader() == Some(shared.id())
            && let Some(next) = best_voters(raft, shared.id()).first()
        {
            // If this fails, the silence of the heartbeats has the others elect.
            let trigger = raft.trigger();
            let _ = tokio::time::timeout(LOOK, trigger.transfer_leader(*next)).await;
        }
    } else if waits <= STALLED && *stalled {
        *stalled = false;
        tracing::info!("the disk has caught up");
        raft.runtime_config().heartbeat(true);
        let may_lead = shared.past.gate().is_ok() && !shared.draining.load(Ordering::SeqCst);
        raft.runtime_config().elect(may_lead);
    }
}
