//! Ids of nodes that left, in memory: they are asked for with every message from another node.

use palisade_core::name::NodeId;
use palisade_core::state;
use palisade_raft::AppliedAt;
use palisade_storage::StateStore;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::OnceLock;
use tokio::sync::watch;

/// When the set may have changed last: the entry that changed members, and how often the state was replaced.
type At = (u64, u64);

/// What the state says of them, read again when members have changed.
pub(crate) struct Tombstones {
    state: StateStore,
    applied: OnceLock<watch::Receiver<AppliedAt>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    at: Option<At>,
    ids: BTreeSet<NodeId>,
}

impl Tombstones {
    pub(crate) fn new(state: StateStore) -> Self {
        Tombstones {
            state,
            applied: OnceLock::new(),
            known: Mutex::default(),
        }
    }

    /// From now on the state is read only when this says that members have changed.
    pub(crate) fn follow(&self, applied: watch::Receiver<AppliedAt>) {
        let _ = self.applied.set(applied);
    }

    /// Whether a node id belonged to a node that left.
    pub(crate) fn contains(&self, id: NodeId) -> bool {
        let now = self.applied.get().map(|applied| {
            let at = applied.borrow();
            (
                at.raised[state::NOTIFY_MEMBERS.trailing_zeros() as usize],
                at.replaced,
            )
        });
        let mut known = self.known.lock();
        if now.is_none() || known.at != now {
            match state::tombstones(&self.state) {
                Ok(ids) => *known = Known { at: now, ids },
                Err(error) => tracing::error!(%error, "the nodes that left cannot be read"),
            }
        }
        known.ids.contains(&id)
    }
}
