//! What can only be seen over time: how long something has waited without any progress. One task looks every second.

use crate::consensus::NodeConsensus;
use palisade_core::state;
use palisade_storage::SegmentStore;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is tried whether a segment can be stored.
const TRY_EVERY: Duration = Duration::from_secs(5);
/// So many events above the usual are a backlog: several pages that should have been sealed.
const BACKLOG: u64 = 4 * 1024;

/// Something that should make progress while work waits.
#[derive(Debug, Clone, Copy)]
struct Progress {
    value: u64,
    since: Instant,
}

impl Progress {
    fn new(now: Instant) -> Self {
        Progress { value: 0, since: now }
    }

    /// Notes how far it is, and whether anything waits.
    fn note(&mut self, value: u64, waits: bool, now: Instant) {
        if !waits || value != self.value {
            *self = Progress { value, since: now };
        }
    }

    fn waits(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// For how long nothing was committed although something waits.
    pub(crate) commit_waits: Duration,
    /// For how long no head was signed although events wait.
    pub(crate) head_waits: Duration,
    /// For how long no page was sealed although enough events wait.
    pub(crate) sealing_waits: Duration,
    /// Whether segments can be stored.
    pub(crate) segments: Result<(), String>,
}

#[derive(Debug)]
struct Inner {
    looked: Instant,
    commit: Progress,
    head: Progress,
    sealing: Progress,
    segments: Result<(), String>,
    trying: Option<Instant>,
}

/// What the last looks found.
#[derive(Debug)]
pub(crate) struct Pulse(Mutex<Inner>);

impl Pulse {
    /// Before the first look.
    pub(crate) fn new() -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Pulse(Mutex::new(Inner {
            looked: now,
            commit: Progress::new(now),
            head: Progress::new(now),
            sealing: Progress::new(now),
            segments: Ok(()),
            trying: None,
        })))
    }

    /// What was seen, up to now.
    pub(crate) fn seen(&self) -> Seen {
        let inner = self.0.lock();
        // A wait goes on between two looks only if there was one at the last.
        let at = inner.looked;
        let segments = match inner.trying {
            Some(began) if began.elapsed() > TRY_EVERY => Err(format!(
                "the disk has not answered for {} s",
                began.elapsed().as_secs()
            )),
            _ => inner.segments.clone(),
        };
        Seen {
            commit_waits: inner.commit.waits(at),
            head_waits: inner.head.waits(at),
            sealing_waits: inner.sealing.waits(at),
            segments,
        }
    }

    /// Looks every second until `stop`. `recent` is how many audit events stay in the state.
    pub(crate) fn start(
        self: &Arc<Self>,
        consensus: &Arc<NodeConsensus>,
        segments: &Arc<SegmentStore>,
        recent: u64,
        stop: &CancellationToken,
    ) {
        let (this, consensus, segments) = (self.clone(), consensus.clone(), segments.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut tried: Option<Instant> = None;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                this.look(&consensus, recent);
                if tried.is_none_or(|at| at.elapsed() >= TRY_EVERY) && this.0.lock().trying.is_none() {
                    tried = Some(Instant::now());
                    this.0.lock().trying = tried;
                    let (this, segments) = (this.clone(), segments.clone());
                    // Not waited for: the disk may hang.
                    tokio::task::spawn_blocking(move || {
                        let could = segments.try_write().map_err(|e| e.to_string());
                        let mut inner = this.0.lock();
                        inner.segments = could;
                        inner.trying = None;
                    });
                }
            }
        });
    }

    fn look(&self, consensus: &NodeConsensus, recent: u64) {
        let status = consensus.raft().status();
        let kv = consensus.store();
        let events = state::audit_frontier(kv).map_or(0, |frontier| frontier.size());
        // The event of a signed head is itself the first one after it.
        let covered = state::last_head(kv)
            .ok()
            .flatten()
            .map_or(0, |head| head.size + 1);
        let sealed = state::sealed_until(kv).unwrap_or(0);
        let now = Instant::now();
        let mut inner = self.0.lock();
        inner.looked = now;
        inner
            .commit
            .note(status.committed, status.last_log > status.committed, now);
        inner.head.note(covered, events > covered, now);
        let backlog = events.saturating_sub(sealed) > recent.saturating_add(BACKLOG);
        inner.sealing.note(sealed, backlog, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_without_progress_counts() {
        let began = Instant::now();
        let at = |secs: u64| began + Duration::from_secs(secs);
        let mut progress = Progress::new(began);
        progress.note(5, false, at(1));
        assert_eq!(progress.waits(at(1)), Duration::ZERO);
        progress.note(5, true, at(4));
        assert_eq!(
            progress.waits(at(4)),
            Duration::from_secs(3),
            "since it last did not wait"
        );
        progress.note(6, true, at(9));
        assert_eq!(progress.waits(at(9)), Duration::ZERO, "it got on");
        progress.note(6, true, at(20));
        assert_eq!(progress.waits(at(20)), Duration::from_secs(11));
        progress.note(6, false, at(21));
        assert_eq!(progress.waits(at(21)), Duration::ZERO);
    }
}
