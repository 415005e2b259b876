//! A leader whose process is gone is replaced at once instead of after its lease.
//!
//! When a process dies, its system closes its connections and refuses new ones, which the followers see within a
//! millisecond. A follower whose append stream breaks therefore knocks at the leader's port. Is it refused, and are
//! the followers that make a quorum refused as well, it campaigns the way it would after a transfer of leadership,
//! so that the voters do not wait for the end of the dead leader's lease. A leader that hangs or is cut off refuses
//! nothing: then the election timeout decides, as always.
//!
//! Raft's safety does not rest on this: the vote itself is an ordinary one. Reads do not either, because none goes by
//! the leader's lease alone.

use std::cmp::Ordering;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;

use crate::codec;
use crate::shared::Shared;
use crate::types::LogId;

/// The call by which a follower asks another whether the leader is gone for it as well.
pub(crate) const CALL: &str = "raft/gone";

const KNOCK: Duration = Duration::from_millis(150);
const AGAIN: Duration = Duration::from_millis(10);
const ASK: Duration = Duration::from_millis(300);
/// Between one candidate and the next, so that they do not compete.
const STAGGER: Duration = Duration::from_millis(60);

/// Whether the node at `addr` refuses connections, twice in a row.
async fn refuses(shared: &Shared, addr: &str) -> bool {
    for attempt in 0..2 {
        if attempt > 0 {
            tokio::time::sleep(AGAIN).await;
        }
        match tokio::time::timeout(KNOCK, shared.peers.knock(addr)).await {
            Ok(Err(e)) if e.kind() == ErrorKind::ConnectionRefused => {}
            _ => return false,
        }
    }
    true
}

async fn is_gone(shared: &Shared, leader: u64) -> bool {
    match (shared.leader(), shared.member(leader)) {
        (Some(now), Some(member)) if now == leader => refuses(shared, &member.addr).await,
        // Nobody's leader any more: no objection from here.
        (None, _) => true,
        _ => false,
    }
}

/// Answers another follower.
pub(crate) async fn answer(shared: &Shared, body: &[u8]) -> Result<Bytes, String> {
    let leader = body
        .try_into()
        .map(u64::from_le_bytes)
        .map_err(|_| "malformed".to_owned())?;
    if leader == shared.id() {
        return Err("this node is alive".to_owned());
    }
    if !is_gone(shared, leader).await {
        return Ok(Bytes::from_static(&[0]));
    }
    let mut yes = vec![1];
    if let Some(last) = last_log(shared) {
        yes.extend(codec::encode_log_id(&last));
    }
    Ok(Bytes::from(yes))
}

fn last_log(shared: &Shared) -> Option<LogId> {
    shared.raft()?.data_metrics().borrow_watched().last_log
}

/// The answer of a follower for which the leader is gone as well: its last log id.
fn agreement(answer: &[u8]) -> Option<Option<LogId>> {
    match answer.split_first() {
        Some((1, [])) => Some(None),
        Some((1, last)) => codec::decode_log_id(last).ok().map(Some),
        _ => None,
    }
}

/// Goes with an append stream; when that ends, however it does, its sender is looked at.
pub(crate) struct Watched {
    shared: Arc<Shared>,
    leader: u64,
}

impl Watched {
    pub(crate) fn new(shared: Arc<Shared>, leader: u64) -> Self {
        Self { shared, leader }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        stream_broke(&self.shared, self.leader);
    }
}

/// The append stream of `leader` is over.
fn stream_broke(shared: &Arc<Shared>, leader: u64) {
    if shared.stop.is_cancelled() || shared.leader() != Some(leader) {
        return;
    }
    if shared.suspecting.swap(true, atomic::Ordering::SeqCst) {
        return;
    }
    if tokio::runtime::Handle::try_current().is_err() {
        return;
    }
    let shared = Arc::clone(shared);
    crate::runtime::spawn(async move {
        check(&shared, leader).await;
        shared.suspecting.store(false, atomic::Ordering::SeqCst);
    });
}

async fn check(shared: &Shared, leader: u64) {
    let Some(raft) = shared.raft() else { return };
    let (vote, voters) = {
        let metrics = raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
        (metrics.vote, voters)
    };
    let own = shared.id();
    if !vote.committed || vote.leader_id.node_id != leader || !voters.contains(&own) {
        return;
    }
    if !is_gone(shared, leader).await {
        return;
    }
    let others: Vec<u64> = voters
        .iter()
        .copied()
        .filter(|id| *id != own && *id != leader)
        .collect();
    let mut answers: FuturesUnordered<_> = others
        .iter()
        .map(|id| async move {
            let asked = shared
                .peers
                .call(*id, CALL, Bytes::copy_from_slice(&leader.to_le_bytes()), ASK);
            (*id, asked.await.ok().and_then(|answer| agreement(&answer)))
        })
        .collect();
    let needed = voters.len() / 2 + 1;
    let (mut agreed, mut rank) = (1, 0u32);
    while agreed < needed {
        let Some((id, answer)) = answers.next().await else {
            return;
        };
        let Some(theirs) = answer else { continue };
        agreed += 1;
        match Ord::cmp(&theirs, &last_log(shared)) {
            // Whoever has the longer log must lead; a campaign of ours would only be in its way.
            Ordering::Greater => return,
            // Of two votes in one term the one of the higher id wins, so that one goes first.
            Ordering::Equal if id > own => rank += 1,
            Ordering::Equal | Ordering::Less => {}
        }
    }
    tokio::time::sleep(STAGGER * rank).await;
    if shared.leader() != Some(leader) || shared.draining.load(atomic::Ordering::SeqCst) {
        return;
    }
    tracing::info!(leader, "the leader's process is gone: campaigning at once");
    let last = last_log(shared);
    // Only acts if the vote still is the dead leader's.
    if let Err(e) = raft
        .handle_transfer_leader(TransferLeaderRequest::new(vote, own, last))
        .await
    {
        tracing::debug!(error = %e, "no campaign");
    }
}
