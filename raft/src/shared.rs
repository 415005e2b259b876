//! What every part of a running node needs of the others.

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use palisade_core::peer::PeerIdentity;
use palisade_storage::{LogStore, StateStore};
use tokio::time::Instant;

use crate::carrier::Way;
use crate::past::Past;
use crate::peers::Peers;
use crate::types::{Member, Raft};

/// Stops the process, once: the node room's hook behind a latch.
pub(crate) struct FatalHook {
    hook: Arc<dyn Fn(&str) + Send + Sync>,
    fired: AtomicBool,
}

impl FatalHook {
    pub(crate) fn new(hook: Arc<dyn Fn(&str) + Send + Sync>) -> Self {
        Self {
            hook,
            fired: AtomicBool::new(false),
        }
    }

    /// Only the first call reaches the hook.
    pub(crate) fn fire(&self, why: &str) {
        if !self.fired.swap(true, Ordering::SeqCst) {
            tracing::error!(why, "this node must stop");
            (self.hook)(why);
        }
    }

    pub(crate) fn fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }
}

/// A process that did not get round to look at the clock for so long stood still: stopped, or starved.
const STOOD_STILL: Duration = Duration::from_millis(600);
/// What it hears for so long after that may have been waiting for it.
const WAITING: Duration = Duration::from_millis(250);

/// When this node last knew of a leader that had a quorum behind it. Monotonic clock only.
#[derive(Default)]
pub(crate) struct LeaseClock(Mutex<Lease>);

#[derive(Default)]
struct Lease {
    last: Option<(u64, Instant)>,
    /// When the clock was last looked at.
    beat: Option<Instant>,
    /// After a standstill: what is heard until the one came no later than the other, as far as anybody knows.
    doubt: Option<(Instant, Instant)>,
}

impl Lease {
    fn beat(&mut self, now: Instant) {
        if let Some(before) = self.beat.replace(now)
            && now.saturating_duration_since(before) > STOOD_STILL
        {
            self.doubt = Some((now + WAITING, before));
        }
    }

    fn heard(&mut self, now: Instant, leader: u64, age: Duration) {
        self.beat(now);
        let came = match self.doubt {
            Some((until, before)) if now < until => before,
            _ => now,
        };
        let Some(at) = came.checked_sub(age) else { return };
        match self.last {
            Some((known, known_at)) if known == leader && known_at >= at => {}
            _ => self.last = Some((leader, at)),
        }
    }
}

impl LeaseClock {
    /// `leader` told us that a quorum had answered it `age` before. It told us just now, unless this process stood still:
    /// then it may have been at any time since.
    pub(crate) fn heard(&self, leader: u64, age: Duration) {
        self.0.lock().heard(Instant::now(), leader, age);
    }

    /// Called more often than a standstill is long.
    pub(crate) fn beat(&self) {
        self.0.lock().beat(Instant::now());
    }

    pub(crate) fn last(&self) -> Option<(u64, Instant)> {
        self.0.lock().last
    }
}

pub(crate) struct Shared {
    pub(crate) identity: PeerIdentity,
    pub(crate) way: Way,
    pub(crate) raft: OnceLock<Raft>,
    pub(crate) is_tombstoned: Arc<dyn Fn(u64) -> bool + Send + Sync>,
    pub(crate) fatal: Arc<FatalHook>,
    pub(crate) lease: LeaseClock,
    pub(crate) past: Past,
    pub(crate) peers: Peers,
    /// Who takes byte streams of other nodes.
    pub(crate) hops: crate::hop::Taker,
    pub(crate) log: LogStore,
    pub(crate) state: StateStore,
    pub(crate) draining: AtomicBool,
    /// The leader is being knocked at.
    pub(crate) suspecting: AtomicBool,
    /// The disk is nearly full; looked up now and then.
    pub(crate) no_space: AtomicBool,
    pub(crate) stop: CancellationToken,
}

impl Shared {
    pub(crate) fn id(&self) -> u64 {
        self.identity.node_id
    }

    pub(crate) fn raft(&self) -> Option<&Raft> {
        self.raft.get()
    }

    /// The leader that this node knows of now.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.raft()?.server_metrics().borrow_watched().current_leader
    }

    /// Waits until another leader than this one is known.
    pub(crate) async fn superseded(&self, leader: u64) {
        if let Some(raft) = self.raft() {
            let mut news = raft.server_metrics();
            loop {
                let now = news.borrow_and_update().current_leader;
                if now.is_some_and(|now| now != leader) {
                    return;
                }
                if news.changed().await.is_err() {
                    break;
                }
            }
        }
        std::future::pending().await
    }

    /// What the effective membership says of a node.
    pub(crate) fn member(&self, id: u64) -> Option<Member> {
        let membership = Arc::clone(&self.raft()?.server_metrics().borrow_watched().membership_config);
        membership.membership().get_node(&id).cloned()
    }

    /// All nodes of the effective membership.
    pub(crate) fn members(&self) -> BTreeMap<u64, Member> {
        let Some(raft) = self.raft() else {
            return BTreeMap::new();
        };
        let membership = Arc::clone(&raft.server_metrics().borrow_watched().membership_config);
        membership
            .nodes()
            .map(|(id, member)| (*id, member.clone()))
            .collect()
    }

    /// Time since a quorum last answered this node as leader.
    pub(crate) fn quorum_age(&self) -> Option<Duration> {
        // A voter that is alone is its own quorum, at any moment; openraft notes that only when something is written.
        let membership = Arc::clone(&self.raft()?.server_metrics().borrow_watched().membership_config);
        if self.leader() == Some(self.id()) && membership.membership().voter_ids().eq([self.id()]) {
            return Some(Duration::ZERO);
        }
        let acked = self.raft()?.data_metrics().borrow_watched().last_quorum_acked?;
        Some(acked.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_waited_for_a_process_that_stood_still_is_no_news() {
        let (mut lease, start) = (Lease::default(), Instant::now());
        lease.heard(start, 1, 10 * MS);
        lease.beat(start + 200 * MS);
        // Stopped for a minute; the heartbeat was sent right after it stopped.
        let back = start + 60_000 * MS;
        lease.heard(back, 1, 20 * MS);
        assert_eq!(lease.last, Some((1, start + 180 * MS)));
        lease.heard(back + 100 * MS, 1, 20 * MS);
        assert_eq!(lease.last, Some((1, start + 180 * MS)));
        lease.beat(back + 200 * MS);
        lease.heard(back + 300 * MS, 1, 20 * MS);
        assert_eq!(lease.last, Some((1, back + 280 * MS)));
    }
}
