//! What every part of a running node needs of the others.

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use palisade_core::peer::PeerIdentity;
use palisade_storage::{LogStore, StateStore};

use crate::past::Past;
use crate::peers::Peers;
use crate::tls::TlsState;
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

/// When this node last knew of a leader that had a quorum behind it. Monotonic clock only.
#[derive(Default)]
pub(crate) struct LeaseClock {
    last: Mutex<Option<(u64, Instant)>>,
}

impl LeaseClock {
    /// `leader` told us just now that a quorum answered it `age` ago.
    pub(crate) fn heard(&self, leader: u64, age: Duration) {
        let Some(at) = Instant::now().checked_sub(age) else {
            return;
        };
        let mut last = self.last.lock();
        match *last {
            Some((known, known_at)) if known == leader && known_at >= at => {}
            _ => *last = Some((leader, at)),
        }
    }

    pub(crate) fn last(&self) -> Option<(u64, Instant)> {
        *self.last.lock()
    }
}

pub(crate) struct Shared {
    pub(crate) identity: PeerIdentity,
    pub(crate) tls: TlsState,
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
