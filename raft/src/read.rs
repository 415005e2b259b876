//! Linearizable reads, and the lease that decision reads go by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::watch;

use crate::peers::Lane;
use crate::shared::Shared;
use crate::store::AppliedAt;
use crate::wire::{ReadIndexReply, ReadIndexRequest};

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
    match tokio::time::timeout_at(deadline.into(), done).await {
        Ok(done) => done,
        Err(_) => Err(ReadError::Behind {
            applied: applied.borrow().index,
            needed: index,
        }),
    }
}

pub(crate) async fn barrier(
    shared: &Arc<Shared>,
    mut applied: watch::Receiver<AppliedAt>,
    deadline: Instant,
) -> Result<(), ReadError> {
    let mut hint = None;
    loop {
        if shared.stop.is_cancelled() {
            return Err(ReadError::Stopping);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ReadError::NoQuorum);
        }
        let reply = match hint.take().or_else(|| shared.leader()) {
            Some(leader) if leader == shared.id() => tokio::time::timeout(left, local_index(shared))
                .await
                .unwrap_or_default(),
            Some(leader) => match shared.member(leader) {
                Some(member) => {
                    let mut client = shared.peers.client(leader, &member.addr, Lane::Control);
                    let request = ReadIndexRequest {
                        from: shared.id(),
                        to: leader,
                    };
                    // A leader that does not answer for a second is asked again, or another one is.
                    let limit = left.min(Duration::from_secs(1));
                    crate::peers::within(leader, limit, client.read_index(request))
                        .await
                        .unwrap_or_default()
                }
                None => ReadIndexReply::default(),
            },
            None => ReadIndexReply::default(),
        };
        match reply {
            ReadIndexReply { kind: 1, index, .. } => {
                return wait_applied(&mut applied, index, deadline).await;
            }
            ReadIndexReply { kind: 2, leader, .. } if leader != 0 => hint = Some(leader),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(5).min(left)).await;
    }
}
