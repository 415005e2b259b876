//! The [`Consensus`] port on the real thing: openraft's group and the state on disk.

use crate::clock::now;
use crate::host_table::HostTable;
use crate::meter::Meter;
use palisade_core::command::{Actor, Command, Entry, Reply};
use palisade_core::hosts::Hosts;
use palisade_core::kv::{Kv, KvFault};
use palisade_core::name::{NodeId, RequestId};
use palisade_core::ports::{Consensus, Pending, Unavailable};
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_raft::{Applied, AppliedAt, Apply, Fault, LeaseView, LogPosition, ProposeError, RaftNode};
use palisade_storage::StateStore;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a change may take before its outcome is called unknown: several elections fit.
const PROPOSE_FOR: Duration = Duration::from_secs(8);
/// How long a linearizable read waits for a leader.
const BARRIER_FOR: Duration = Duration::from_secs(5);
/// A node that has not heard from a leader with a quorum for this long stops granting new access.
pub const DECIDE_GRACE: Duration = Duration::from_secs(10);

/// A fresh random request id.
pub fn new_request_id() -> RequestId {
    RequestId::parse(&uuid::Uuid::new_v4().to_string()).expect("a UUID prints in lower case with hyphens")
}

/// `core`'s state machine, as the Raft room calls it.
#[derive(Default)]
pub struct CoreApply {
    hosts: Arc<HostTable>,
}

impl Apply for CoreApply {
    fn apply(&self, kv: &dyn Kv, at: LogPosition, entry: &[u8]) -> Result<Applied, Fault> {
        let applied = state::apply(kv, at.index, entry).map_err(|e| Fault(e.to_string()))?;
        self.hosts.note(at.index, &applied.changes);
        Ok(Applied {
            changes: applied.changes,
            reply: applied.reply.to_bytes(),
            notify: applied.notify,
        })
    }
}

/// The port.
pub struct NodeConsensus {
    raft: Arc<RaftNode>,
    state: StateStore,
    hosts: Arc<HostTable>,
    policy: watch::Receiver<u64>,
    meter: Meter,
}

impl NodeConsensus {
    /// On a running group, which applies by `apply`; counts in `meter`. Starts the task that counts policy changes, which
    /// ends with the group.
    pub fn start(raft: Arc<RaftNode>, state: StateStore, apply: &CoreApply, meter: Meter) -> Arc<Self> {
        let (sender, policy) = watch::channel(0u64);
        let mut applied = raft.applied_watch();
        tokio::spawn(async move {
            let raised = |at: &AppliedAt| {
                (
                    at.raised[state::NOTIFY_POLICY.trailing_zeros() as usize],
                    at.replaced,
                )
            };
            let mut seen = raised(&applied.borrow());
            while applied.changed().await.is_ok() {
                let now = raised(&applied.borrow_and_update());
                if now != seen {
                    seen = now;
                    sender.send_modify(|version| *version += 1);
                }
            }
        });
        Arc::new(NodeConsensus {
            raft,
            state,
            hosts: Arc::clone(&apply.hosts),
            policy,
            meter,
        })
    }

    /// What this node counts.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The group.
    pub fn raft(&self) -> &Arc<RaftNode> {
        &self.raft
    }

    /// The state on disk.
    pub fn store(&self) -> &StateStore {
        &self.state
    }

    /// Proposes for this node itself, with a fresh request id.
    pub async fn propose_own(&self, command: Command) -> Result<Reply, Unavailable> {
        self.propose(Actor::node(self.node_id()), new_request_id(), command)
            .await
    }
}

impl Consensus for NodeConsensus {
    fn node_id(&self) -> NodeId {
        self.raft.status().id
    }

    fn now(&self) -> Timestamp {
        now()
    }

    fn kv(&self) -> Arc<dyn Kv> {
        Arc::new(self.state.clone())
    }

    fn hosts(&self) -> Result<Arc<Hosts>, KvFault> {
        // What was published is stored: the position first, then the rows.
        let at = *self.raft.applied_watch().borrow();
        self.hosts.get(&self.state, at)
    }

    fn new_id(&self) -> RequestId {
        new_request_id()
    }

    fn propose(
        &self,
        actor: Actor,
        id: RequestId,
        command: Command,
    ) -> Pending<'_, Result<Reply, Unavailable>> {
        let (word, mark, began) = (command.word(), Meter::mark(&command), Instant::now());
        let entry = Entry {
            id,
            now: now(),
            node: self.node_id(),
            actor,
            command,
        };
        Box::pin(async move {
            let reply = self
                .raft
                .propose(entry.to_bytes(), Instant::now() + PROPOSE_FOR)
                .await
                .map_err(unavailable)
                .and_then(|reply| {
                    Reply::from_bytes(&reply.bytes).map_err(|e| Unavailable::Fault(e.to_string()))
                });
            self.meter.proposed(word, mark, &reply, began.elapsed());
            reply
        })
    }

    fn barrier(&self) -> Pending<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            let read = self.raft.read_barrier(Instant::now() + BARRIER_FOR).await;
            read.map_err(|e| Unavailable::NoQuorum(e.to_string()))
        })
    }

    fn may_decide(&self) -> Result<(), Unavailable> {
        let fresh = |lease: &LeaseView| lease.age_ms <= DECIDE_GRACE.as_millis() as u64;
        match self.raft.lease() {
            Ok(lease) if fresh(&lease) => Ok(()),
            Ok(lease) => Err(Unavailable::NoQuorum(format!(
                "this node last heard from a leader with a quorum {} s ago and grants nothing new after {} s",
                lease.age_ms / 1000,
                DECIDE_GRACE.as_secs()
            ))),
            Err(lost) => Err(Unavailable::NoQuorum(lost.to_string())),
        }
    }

    fn policy_version(&self) -> u64 {
        *self.policy.borrow()
    }

    fn policy_changed(&self, seen: u64) -> Pending<'static, u64> {
        let mut policy = self.policy.clone();
        Box::pin(async move {
            let changed = policy
                .wait_for(|version| *version != seen)
                .await
                .map(|version| *version)
                .ok();
            match changed {
                Some(version) => version,
                // The node is stopping: nothing will change any more, and whoever waits is stopped as well.
                None => std::future::pending().await,
            }
        })
    }
}

fn unavailable(error: ProposeError) -> Unavailable {
    match error {
        ProposeError::NoQuorum => {
            Unavailable::NoQuorum("no leader was found in time; nothing was changed".into())
        }
        ProposeError::Stopping => Unavailable::NoQuorum("this node is stopping; nothing was changed".into()),
        ProposeError::Timeout => Unavailable::Unknown("the cluster did not answer in time".into()),
        ProposeError::TooLarge(_) | ProposeError::Overloaded | ProposeError::Refused(_) => {
            Unavailable::Overloaded(error.to_string())
        }
    }
}
