//! Changes of who belongs to the cluster, one at a time, made by the leader for whoever asks.

use openraft::async_runtime::watch::WatchReceiver as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use tokio::time::Instant;

use crate::peers::Lane;
use crate::shared::Shared;
use crate::types::{Member, Raft};
use crate::wire::{AdminReply, AdminRequest};

const ADD: u32 = 1;
const PROMOTE: u32 = 2;
const REMOVE: u32 = 3;
const TRANSFER: u32 = 4;
const SET_ADDR: u32 = 5;

/// A learner this close behind the leader may become a voter.
const CLOSE: u64 = 100;

/// A change of membership was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// No leader with a quorum was found in time.
    #[error("the cluster has no quorum")]
    NoQuorum,
    /// It was not finished in time; look at the status.
    #[error("not finished in time; see the cluster status")]
    Timeout,
    /// It makes no sense, or not now.
    #[error("refused: {0}")]
    Refused(String),
}

enum Outcome {
    Done,
    Elsewhere(Option<u64>),
    Refused(String),
    Timeout,
}

pub(crate) struct Members {
    shared: Arc<Shared>,
    one_at_a_time: tokio::sync::Mutex<()>,
    /// How long a learner must stay close before it is promoted.
    steady: Duration,
}

impl Members {
    pub(crate) fn new(shared: Arc<Shared>, steady: Duration) -> Self {
        Self {
            shared,
            one_at_a_time: tokio::sync::Mutex::new(()),
            steady,
        }
    }

    pub(crate) async fn add_learner(
        &self,
        id: u64,
        member: Member,
        deadline: Instant,
    ) -> Result<(), MemberError> {
        if id == 0 {
            return Err(MemberError::Refused("node ids begin at 1".into()));
        }
        let request = AdminRequest {
            op: ADD,
            node: id,
            addr: member.addr,
            incarnation: member.incarnation,
            ..Default::default()
        };
        self.run(request, deadline).await
    }

    pub(crate) async fn promote(&self, id: u64, deadline: Instant) -> Result<(), MemberError> {
        self.run(
            AdminRequest {
                op: PROMOTE,
                node: id,
                ..Default::default()
            },
            deadline,
        )
        .await
    }

    pub(crate) async fn remove(&self, id: u64, deadline: Instant) -> Result<(), MemberError> {
        self.run(
            AdminRequest {
                op: REMOVE,
                node: id,
                ..Default::default()
            },
            deadline,
        )
        .await
    }

    pub(crate) async fn transfer(&self, to: Option<u64>, deadline: Instant) -> Result<(), MemberError> {
        self.run(
            AdminRequest {
                op: TRANSFER,
                node: to.unwrap_or(0),
                ..Default::default()
            },
            deadline,
        )
        .await
    }

    pub(crate) async fn set_addr(&self, id: u64, addr: String, deadline: Instant) -> Result<(), MemberError> {
        self.run(
            AdminRequest {
                op: SET_ADDR,
                node: id,
                addr,
                ..Default::default()
            },
            deadline,
        )
        .await
    }

    /// Has the leader do it, whoever that is.
    async fn run(&self, request: AdminRequest, deadline: Instant) -> Result<(), MemberError> {
        let mut hint = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(MemberError::NoQuorum);
            }
            let outcome = match hint.take().or_else(|| self.shared.leader()) {
                None => Outcome::Elsewhere(None),
                Some(leader) if leader == self.shared.id() => self.lead(&request, deadline).await,
                Some(leader) => self.ask(leader, &request, left).await,
            };
            match outcome {
                Outcome::Done => return Ok(()),
                Outcome::Refused(why) => return Err(MemberError::Refused(why)),
                Outcome::Timeout => return Err(MemberError::Timeout),
                Outcome::Elsewhere(leader) => hint = leader,
            }
            tokio::time::sleep(Duration::from_millis(20).min(left)).await;
        }
    }

    async fn ask(&self, leader: u64, request: &AdminRequest, left: Duration) -> Outcome {
        let Some(member) = self.shared.member(leader) else {
            return Outcome::Elsewhere(None);
        };
        let request = AdminRequest {
            from: self.shared.id(),
            to: leader,
            deadline_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            ..request.clone()
        };
        let mut client = self.shared.peers.client(leader, &member.addr, Lane::Control);
        match crate::peers::within(leader, left, client.admin(request)).await {
            Ok(AdminReply { kind: 1, .. }) => Outcome::Done,
            Ok(AdminReply { kind: 3, why, .. }) => Outcome::Refused(why),
            Ok(AdminReply { kind: 4, .. }) => Outcome::Timeout,
            Ok(AdminReply { leader, .. }) => Outcome::Elsewhere((leader != 0).then_some(leader)),
            // Every operation may be repeated, so a broken connection is no more than a reason to ask again.
            Err(_) => Outcome::Elsewhere(None),
        }
    }

    pub(crate) async fn serve(&self, request: AdminRequest) -> AdminReply {
        let deadline = Instant::now() + Duration::from_millis(request.deadline_ms.min(120_000));
        match self.lead(&request, deadline).await {
            Outcome::Done => AdminReply {
                kind: 1,
                ..Default::default()
            },
            Outcome::Elsewhere(leader) => AdminReply {
                kind: 2,
                leader: leader.unwrap_or(0),
                ..Default::default()
            },
            Outcome::Refused(why) => AdminReply {
                kind: 3,
                why,
                ..Default::default()
            },
            Outcome::Timeout => AdminReply {
                kind: 4,
                ..Default::default()
            },
        }
    }

    /// Does it as the leader.
    async fn lead(&self, request: &AdminRequest, deadline: Instant) -> Outcome {
        let Some(raft) = self.shared.raft() else {
            return Outcome::Elsewhere(None);
        };
        let Ok(_turn) = tokio::time::timeout_at(deadline, self.one_at_a_time.lock()).await else {
            return Outcome::Timeout;
        };
        let leader = self.shared.leader();
        if leader != Some(self.shared.id()) {
            return Outcome::Elsewhere(leader);
        }
        let work = async {
            // A change of a membership that a former leader left in transition would drop the first half of it in its
            // first step, and this leader may be in no other: openraft does not stand the second step then.
            if request.op != TRANSFER && is_joint(raft) {
                let ended = end_joint(raft).await;
                if !matches!(ended, Outcome::Done) {
                    return ended;
                }
            }
            if request.op != TRANSFER && self.shared.member(self.shared.id()).is_none() {
                return Outcome::Elsewhere(None);
            }
            match request.op {
                ADD => self.lead_add(raft, request).await,
                PROMOTE => self.lead_promote(raft, request.node).await,
                REMOVE => self.lead_remove(raft, request.node, deadline).await,
                TRANSFER => self.lead_transfer(raft, request.node, deadline).await,
                SET_ADDR => self.lead_set_addr(raft, request).await,
                _ => Outcome::Refused("unknown operation".into()),
            }
        };
        tokio::time::timeout_at(deadline, work)
            .await
            .unwrap_or(Outcome::Timeout)
    }

    async fn lead_add(&self, raft: &Raft, request: &AdminRequest) -> Outcome {
        let id = request.node;
        if (self.shared.is_tombstoned)(id) {
            return Outcome::Refused(format!("node id {id} was used before; ids are never used again"));
        }
        let member = Member {
            addr: request.addr.clone(),
            incarnation: request.incarnation.clone(),
        };
        match self.shared.member(id) {
            Some(known) if known == member => return Outcome::Done,
            Some(_) => return Outcome::Refused(format!("node id {id} belongs to another node")),
            None => {}
        }
        change(
            raft,
            ChangeMembers::AddNodes(BTreeMap::from([(id, member)])),
            true,
        )
        .await
    }

    async fn lead_set_addr(&self, raft: &Raft, request: &AdminRequest) -> Outcome {
        let Some(known) = self.shared.member(request.node) else {
            return Outcome::Refused(format!("node {} is not a member", request.node));
        };
        if known.addr == request.addr {
            return Outcome::Done;
        }
        let member = Member {
            addr: request.addr.clone(),
            ..known
        };
        change(
            raft,
            ChangeMembers::SetNodes(BTreeMap::from([(request.node, member)])),
            true,
        )
        .await
    }

    async fn lead_promote(&self, raft: &Raft, id: u64) -> Outcome {
        let mut close_since: Option<Instant> = None;
        let mut news = raft.data_metrics();
        loop {
            let membership = Arc::clone(&raft.server_metrics().borrow_watched().membership_config);
            let membership = membership.membership();
            if membership.get_node(&id).is_none() {
                return Outcome::Refused(format!("node {id} is not a member"));
            }
            if membership.voter_ids().any(|voter| voter == id) && membership.get_joint_config().len() == 1 {
                return Outcome::Done;
            }
            let lag = {
                let data = news.borrow_and_update();
                let last = data.last_log.map_or(0, |id| id.index());
                let Some(replication) = &data.replication else {
                    return Outcome::Elsewhere(None);
                };
                replication
                    .get(&id)
                    .and_then(|matched| *matched)
                    .map(|matched| last.saturating_sub(matched.index()))
            };
            if lag.is_some_and(|lag| lag < CLOSE) {
                if close_since.get_or_insert_with(Instant::now).elapsed() >= self.steady {
                    return change(raft, ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await;
                }
            } else {
                close_since = None;
            }
            let _ = tokio::time::timeout(Duration::from_millis(50), news.changed()).await;
        }
    }

    async fn lead_remove(&self, raft: &Raft, id: u64, deadline: Instant) -> Outcome {
        let membership = Arc::clone(&raft.server_metrics().borrow_watched().membership_config);
        let voters: BTreeSet<u64> = membership.membership().voter_ids().collect();
        if membership.membership().get_node(&id).is_none() {
            return Outcome::Done;
        }
        if voters.len() == 1 && voters.contains(&id) {
            return Outcome::Refused("the last voter cannot be removed".into());
        }
        if id == self.shared.id() {
            // Leadership first, then the new leader removes us: nobody waits for an election.
            return match self.lead_transfer(raft, 0, deadline).await {
                Outcome::Done => Outcome::Elsewhere(self.shared.leader()),
                other => other,
            };
        }
        let changes = if voters.contains(&id) {
            ChangeMembers::RemoveVoters(BTreeSet::from([id]))
        } else {
            ChangeMembers::RemoveNodes(BTreeSet::from([id]))
        };
        change(raft, changes, false).await
    }

    async fn lead_transfer(&self, raft: &Raft, to: u64, deadline: Instant) -> Outcome {
        let own = self.shared.id();
        if to == own {
            return Outcome::Done;
        }
        let mut tried = 0u32;
        loop {
            let candidates = best_voters(raft, own);
            let target = if to == 0 {
                candidates
                    .get(usize::try_from(tried).unwrap_or(0) % candidates.len().max(1))
                    .copied()
            } else {
                candidates.iter().copied().find(|id| *id == to)
            };
            let Some(target) = target else {
                return Outcome::Refused("there is no other voter that could lead".into());
            };
            if raft.trigger().transfer_leader(target).await.is_err() {
                return Outcome::Refused("the log of this node is stopped".into());
            }
            let limit = deadline.min(Instant::now() + Duration::from_millis(700));
            let mut news = raft.server_metrics();
            let moved = async {
                while news
                    .borrow_and_update()
                    .current_leader
                    .is_none_or(|leader| leader == own)
                {
                    news.changed().await?;
                }
                Ok::<_, openraft::async_runtime::watch::RecvError>(())
            };
            match tokio::time::timeout_at(limit, moved).await {
                Ok(Ok(())) => return Outcome::Done,
                Ok(Err(_)) => return Outcome::Refused("the log of this node is stopped".into()),
                Err(_) if Instant::now() >= deadline => return Outcome::Timeout,
                Err(_) => tried += 1,
            }
        }
    }
}

/// The other voters, the one with the longest log first.
pub(crate) fn best_voters(raft: &Raft, own: u64) -> Vec<u64> {
    let membership = Arc::clone(&raft.server_metrics().borrow_watched().membership_config);
    let replication = raft
        .data_metrics()
        .borrow_watched()
        .replication
        .clone()
        .unwrap_or_default();
    let mut voters: Vec<u64> = membership
        .membership()
        .voter_ids()
        .filter(|id| *id != own)
        .collect();
    voters.sort_by_key(|id| std::cmp::Reverse(replication.get(id).copied().flatten()));
    voters
}

/// One change, both steps of it where it needs two.
async fn change(raft: &Raft, changes: ChangeMembers<u64, Member>, retain: bool) -> Outcome {
    match raft.change_membership(changes, retain).await {
        Ok(_) => Outcome::Done,
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            Outcome::Elsewhere(forward.leader_id)
        }
        Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Outcome::Elsewhere(None),
        // Another change is under way, perhaps one that a former leader left half done.
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
        ))) => Outcome::Elsewhere(None),
        Err(RaftError::APIError(e)) => Outcome::Refused(e.to_string()),
        Err(RaftError::Fatal(e)) => Outcome::Refused(e.to_string()),
    }
}

/// Whether a change of the membership is between its two steps.
fn is_joint(raft: &Raft) -> bool {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.membership().get_joint_config().len() > 1
}

/// The second step alone.
async fn end_joint(raft: &Raft) -> Outcome {
    change(raft, ChangeMembers::AddVoterIds(BTreeSet::new()), false).await
}

/// Ends a joint membership that a leader left behind when it died between the two steps.
pub(crate) async fn finish_joint(members: Arc<Members>) {
    let shared = Arc::clone(&members.shared);
    let mut joint_since: Option<Instant> = None;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        let Some(raft) = shared.raft() else { continue };
        if !is_joint(raft) || shared.leader() != Some(shared.id()) {
            joint_since = None;
            continue;
        }
        let since = *joint_since.get_or_insert_with(Instant::now);
        if since.elapsed() < Duration::from_secs(2) {
            continue;
        }
        if since.elapsed() > Duration::from_secs(30) {
            tracing::error!("the membership has been in transition for more than 30 seconds");
        }
        if let Ok(_turn) = members.one_at_a_time.try_lock()
            && let Outcome::Refused(why) = end_joint(raft).await
        {
            tracing::warn!(why, "the membership is still in transition");
        }
    }
}
