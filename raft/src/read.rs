//! Linearizable reads, and the lease that decision reads go by.

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{LinearizableReadError, RaftError};
use palisade_core::mutant::{self, Mutant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::peers::Lane;
use crate::shared::Shared;
use crate::store::AppliedAt;
use crate::wire::{ReadIndexReply, ReadIndexRequest};

/// A leader that does not answer for this long is asked again, or another one is.
const ROUND: Duration = Duration::from_secs(1);

/// A linearizable read could not be had in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader with a quorum confirmed it.
    #[error("the cluster has no quorum")]
    NoQuorum,
    /// This node has not applied far enough yet.
    #[error("this node is behind: it has applied {applied} of {needed}")]
    Behind {
        /// What it has applied.
        applied: u64,
        /// What it needs.
        needed: u64,
    },
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// When this node last knew of a leader with a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseView {
    /// That leader.
    pub leader: u64,
    /// How long ago the quorum answered it, at most, in milliseconds of the monotonic clock.
    pub age_ms: u64,
}

/// This node has never heard of a leader with a quorum since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this node has not heard of a leader with a quorum")]
pub struct LeaseLost;

pub(crate) fn lease(shared: &Shared) -> Result<LeaseView, LeaseLost> {
    if shared.leader() == Some(shared.id())
        && let Some(age) = shared.quorum_age()
    {
        shared.lease.heard(shared.id(), age);
    }
    let (leader, at) = shared.lease.last().ok_or(LeaseLost)?;
    if mutant::active(Mutant::StaleLease) && shared.leader() == Some(shared.id()) {
        return Ok(LeaseView { leader, age_ms: 0 });
    }
    Ok(LeaseView {
        leader,
        age_ms: u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// The read index of this node as leader.
async fn local_index(shared: &Shared) -> ReadIndexReply {
    let Some(raft) = shared.raft() else {
        return ReadIndexReply {
            kind: 2,
            ..Default::default()
        };
    };
    if mutant::active(Mutant::ReadWithoutQuorum) {
        let applied = raft.data_metrics().borrow_watched().last_applied;
        return ReadIndexReply {
            kind: 1,
            index: applied.map_or(0, |id| id.index()),
            leader: 0,
        };
    }
    match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
        Ok(ready) => ReadIndexReply {
            kind: 1,
            index: ready.read_log_id().index(),
            leader: 0,
        },
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => ReadIndexReply {
            kind: 2,
            index: 0,
            leader: forward.leader_id.unwrap_or(0),
        },
        Err(_) => ReadIndexReply {
            kind: 3,
            ..Default::default()
        },
    }
}

pub(crate) async fn serve_read_index(shared: &Shared) -> ReadIndexReply {
    local_index(shared).await
}

/// Waits until this node has applied `index`.
pub(crate) async fn wait_applied(
    applied: &mut watch::Receiver<AppliedAt>,
    index: u64,
    deadline: Instant,
) -> Result<(), ReadError> {
    let done = async {
        applied
            .wait_for(|at| at.index >= index)
            .await
            .map(|_| ())
            .map_err(|_| ReadError::Stopping)
    };
    match tokio::time::timeout_at(deadline, done).await {
        Ok(done) => done,
        Err(_) => Err(ReadError::Behind {
            applied: applied.borrow().index,
            needed: index,
        }),
    }
}

/// Reads that wait for an index, at most; more wait for a place.
const WAITING: usize = 8192;

/// Somebody who wants to know an index that is at least as new as the moment they asked.
type Asker = oneshot::Sender<u64>;

/// Asks for read indices, one for all who wait: an index is good for everybody who asked before the round began.
pub(crate) struct Barriers {
    shared: Arc<Shared>,
    askers: mpsc::Sender<Asker>,
}

impl Barriers {
    pub(crate) fn start(shared: Arc<Shared>) -> Self {
        let (askers, queue) = mpsc::channel(WAITING);
        crate::runtime::spawn(rounds(Arc::clone(&shared), queue));
        Self { shared, askers }
    }

    /// Waits until this node's state has everything that was acknowledged anywhere before the call.
    pub(crate) async fn pass(
        &self,
        mut applied: watch::Receiver<AppliedAt>,
        deadline: Instant,
    ) -> Result<(), ReadError> {
        let (asker, answer) = oneshot::channel();
        let index = async {
            self.askers.send(asker).await.ok()?;
            answer.await.ok()
        };
        let index = tokio::select! {
            index = index => index.ok_or(ReadError::Stopping)?,
            () = self.shared.stop.cancelled() => return Err(ReadError::Stopping),
            () = tokio::time::sleep_until(deadline) => return Err(ReadError::NoQuorum),
        };
        wait_applied(&mut applied, index, deadline).await
    }
}

async fn rounds(shared: Arc<Shared>, mut queue: mpsc::Receiver<Asker>) {
    let mut waiting: Vec<Asker> = Vec::new();
    let mut hint = None;
    loop {
        if waiting.is_empty() {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                asker = queue.recv() => match asker {
                    Some(asker) => waiting.push(asker),
                    None => return,
                },
            }
        }
        // Whoever is ready to read as well shares the round.
        tokio::task::yield_now().await;
        while let Ok(asker) = queue.try_recv() {
            waiting.push(asker);
        }
        let reply = tokio::select! {
            () = shared.stop.cancelled() => return,
            reply = ask(&shared, hint.take()) => reply,
        };
        match reply {
            ReadIndexReply { kind: 1, index, .. } => {
                for asker in waiting.drain(..) {
                    // Who has given up does not mind.
                    let _ = asker.send(index);
                }
                continue;
            }
            ReadIndexReply { kind: 2, leader, .. } if leader != 0 => hint = Some(leader),
            _ => {}
        }
        waiting.retain(|asker| !asker.is_closed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks the leader once: this node, or the one that is believed to lead.
async fn ask(shared: &Shared, hint: Option<u64>) -> ReadIndexReply {
    let Some(leader) = hint.or_else(|| shared.leader()) else {
        return ReadIndexReply::default();
    };
    if leader == shared.id() {
        return tokio::time::timeout(ROUND, local_index(shared))
            .await
            .unwrap_or_default();
    }
    let Some(member) = shared.member(leader) else {
        return ReadIndexReply::default();
    };
    let mut client = shared.peers.client(leader, &member.addr, Lane::Control);
    let request = ReadIndexRequest {
        from: shared.id(),
        to: leader,
    };
    tokio::select! {
        reply = crate::peers::within(leader, ROUND, client.read_index(request)) => reply.unwrap_or_default(),
        () = shared.superseded(leader) => ReadIndexReply::default(),
    }
}
