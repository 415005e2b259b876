//! Whether this node still has what it told the others.
//!
//! A data directory that was put back from an old copy has forgotten votes that it gave and entries that it
//! acknowledged: its node could vote twice, or help elect a leader that lacks what was committed. Its own disk cannot
//! tell. So every node keeps in mind how far it knows each other one to have been, its [`Past`], and a node that has
//! just started neither votes nor takes entries before it was held against that: by a leader, whose heartbeat says
//! what it knows, or, where there is none, by enough others for a quorum. One that has less than it once told stops.
//!
//! How far a node was is a log id: the leader (term and node) of its newest vote, and the last entry that it is known
//! to have had under that leader; 0 if none is. A log loses entries only to a newer leader, so of one node these only
//! grow.
//!
//! A leader's word is enough. If it led before the copy was made it knows how far we followed; if it leads since, a
//! quorum elected it and holds everything committed, without what we have forgotten.

use openraft::async_runtime::watch::WatchReceiver as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use palisade_storage::LogStore;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use crate::codec;
use crate::guard::REMOVED;
use crate::peers::PeerError;
use crate::shared::Shared;
use crate::types::{LogId, Vote};

/// The call by which a node that has just started asks another how far that knows it to have been.
pub(crate) const CALL: &str = "raft/past";

/// How long a node may take to answer.
const ASK: Duration = Duration::from_secs(1);
/// Between two rounds of questions.
const AGAIN: Duration = Duration::from_millis(100);
/// The same once this node takes part and only asks those that were away.
const LATER: Duration = Duration::from_secs(2);
/// With a quorum of answers, how long the others are waited for.
const GRACE: Duration = Duration::from_secs(2);
/// A leader that a quorum answered this lately leads.
const FRESH: Duration = Duration::from_secs(1);
/// How often what is known of others is written down.
const KEEP: Duration = Duration::from_secs(1);
/// Without a leader for so long, a node asks why.
const ALONE: Duration = Duration::from_secs(4);
/// How long a message that came before this node takes part waits for that.
const WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It neither votes nor takes entries.
    Asking,
    /// A quorum has nothing against it; those that were away are still asked.
    Open,
    /// A leader has nothing against it.
    Led,
}

/// How far the nodes are known to have been.
pub(crate) struct Past {
    /// This node, when it started.
    start: LogId,
    others: Mutex<Others>,
    stage: watch::Sender<Stage>,
}

#[derive(Default)]
struct Others {
    known: BTreeMap<u64, LogId>,
    /// Not written down yet.
    changed: bool,
}

/// How far a node with this vote and this last entry is.
pub(crate) fn position(vote: &Vote, last: u64) -> LogId {
    codec::log_id(vote.leader_id.term, vote.leader_id.node_id, last)
}

impl Past {
    /// `vote` and `last` are what this node starts with; `None` for a new node, which has promised nothing.
    pub(crate) fn new(log: &LogStore, vote: Option<Vote>, last: u64) -> Self {
        let stage = if vote.is_some() {
            Stage::Asking
        } else {
            Stage::Open
        };
        let known = log.notes().map(|bytes| decode(&bytes)).unwrap_or_default();
        Self {
            start: vote.map_or_else(|| codec::log_id(0, 0, last), |vote| position(&vote, last)),
            others: Mutex::new(Others {
                known,
                changed: false,
            }),
            stage: watch::Sender::new(stage),
        }
    }

    /// Another node has let us know that it is this far, and has it on its disk.
    pub(crate) fn heard(&self, node: u64, position: LogId) {
        let mut others = self.others.lock();
        let known = others.known.entry(node).or_insert(position);
        if *known < position {
            *known = position;
        }
        others.changed = true;
    }

    fn of(&self, node: u64) -> Option<LogId> {
        self.others.lock().known.get(&node).copied()
    }

    /// Whether this node takes part.
    fn is_open(&self) -> bool {
        *self.stage.borrow() != Stage::Asking
    }

    /// Refuses while this node does not take part yet.
    pub(crate) fn gate(&self) -> Result<(), Status> {
        if self.is_open() { Ok(()) } else { Err(not_yet()) }
    }

    /// Waits until this node takes part; a heartbeat is seldom far.
    pub(crate) async fn opened(&self) -> Result<(), Status> {
        let mut stage = self.stage.subscribe();
        let open = stage.wait_for(|s| *s != Stage::Asking);
        if matches!(tokio::time::timeout(WAIT, open).await, Ok(Ok(_))) {
            Ok(())
        } else {
            Err(not_yet())
        }
    }
}

fn not_yet() -> Status {
    Status::unavailable("this node is asking the others how far it was")
}

/// What this node knows of another: what it heard, and, if it leads, how far the other one follows.
pub(crate) fn known(shared: &Shared, node: u64) -> Option<LogId> {
    shared.past.of(node).max(following(shared, node))
}

/// How far a node follows this one, if this one leads. Itself: how much of its own log is on its disk.
pub(crate) fn following(shared: &Shared, node: u64) -> Option<LogId> {
    let raft = shared.raft()?;
    let vote = raft.server_metrics().borrow_watched().vote;
    if !vote.committed || vote.leader_id.node_id != shared.id() {
        return None;
    }
    let matched = *raft
        .data_metrics()
        .borrow_watched()
        .replication
        .as_ref()?
        .get(&node)?;
    Some(position(&vote, matched?.index()))
}

/// A leader's heartbeat says how far it knows this node to have been, and how long ago a quorum answered it. One that
/// was cut off and does not know that another one leads has no quorum.
pub(crate) fn led(
    shared: &Shared,
    leader: u64,
    claimed: Option<LogId>,
    quorum: Option<Duration>,
) -> Result<(), Status> {
    if *shared.past.stage.borrow() == Stage::Led {
        return Ok(());
    }
    hold(shared, leader, claimed)?;
    if quorum.is_some_and(|age| age < FRESH) {
        open(shared, Stage::Led);
    }
    shared.past.gate()
}

/// Compares what another node knows of this one with what there was when it started, and stops it if that is less.
fn hold(shared: &Shared, by: u64, claimed: Option<LogId>) -> Result<(), Status> {
    let start = shared.past.start;
    let Some(claimed) = claimed.filter(|claimed| *claimed > start) else {
        return Ok(());
    };
    // Known since: this run of the process has told it.
    if shared.past.is_open() && told_since(shared, &claimed) {
        return Ok(());
    }
    let words = |at: &LogId| {
        let (term, _, index) = codec::log_id_parts(at);
        format!("entry {index} in term {term}")
    };
    shared.fatal.fire(&format!(
        "the data directory of this node is an old copy: it ends at {}, and node {by} knows it to have been at {}. It \
         must not vote. To put it back from the others: `palctl cluster leave` for this node on another one, here \
         `palisade repair --set-aside`, then start it and join it anew with a fresh token",
        words(&start),
        words(&claimed)
    ));
    Err(Status::failed_precondition(
        "this node has lost what it acknowledged",
    ))
}

/// Whether this node, as it is now, has reached a position.
fn told_since(shared: &Shared, claimed: &LogId) -> bool {
    let vote = shared.log.vote().ok().flatten();
    let Some(vote) = vote.and_then(|vote| codec::decode_vote(&vote).ok()) else {
        return false;
    };
    position(&vote, last_index(&shared.log)) >= *claimed
}

/// Index of the last entry that the log has or had.
pub(crate) fn last_index(log: &LogStore) -> u64 {
    let purged = log.purged().map_or(0, |(index, _)| index);
    log.bounds().map_or(purged, |(_, last)| last.max(purged))
}

fn open(shared: &Shared, stage: Stage) {
    if shared.past.stage.send_replace(stage) != Stage::Asking {
        return;
    }
    // A node that is handing over must not take leadership back.
    if let Some(raft) = shared.raft()
        && !shared.draining.load(Ordering::SeqCst)
    {
        raft.runtime_config().elect(true);
    }
}

/// Answers a node that has just started.
pub(crate) fn answer(shared: &Shared, asking: u64) -> Bytes {
    known(shared, asking).map_or_else(Bytes::new, |at| codec::encode_log_id(&at).into())
}

/// Asks the others, until a leader has spoken or all have answered.
pub(crate) async fn ask(shared: Arc<Shared>) {
    let began = Instant::now();
    let mut answered = BTreeSet::from([shared.id()]);
    let mut stage = shared.past.stage.subscribe();
    loop {
        let missing: Vec<u64> = shared
            .members()
            .into_keys()
            .filter(|id| !answered.contains(id))
            .collect();
        let mut asked: FuturesUnordered<_> = missing
            .iter()
            .map(|id| {
                let shared = &shared;
                async move { (*id, shared.peers.call(*id, CALL, Bytes::new(), ASK).await) }
            })
            .collect();
        loop {
            let next = tokio::select! {
                () = shared.stop.cancelled() => return,
                () = until_led(&mut stage) => return,
                next = asked.next() => next,
            };
            let Some((id, answer)) = next else { break };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    if was_removed(&shared, id, &error) {
                        return;
                    }
                    continue;
                }
            };
            // Empty: it knows nothing of us.
            let claimed = codec::decode_log_id(&answer).ok();
            if hold(&shared, id, claimed).is_err() {
                return;
            }
            answered.insert(id);
        }
        drop(asked);
        let all = shared.members().keys().all(|id| answered.contains(id));
        if is_quorum(&shared, &answered) && (all || began.elapsed() >= GRACE) {
            open(&shared, Stage::Open);
            if all {
                return;
            }
        }
        let pause = if shared.past.is_open() { LATER } else { AGAIN };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = until_led(&mut stage) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Whether the answer says that this node was taken out of the cluster; then it stops.
fn was_removed(shared: &Shared, by: u64, answer: &PeerError) -> bool {
    let removed = matches!(answer, PeerError::Refused { why, .. } if why == REMOVED);
    if removed {
        shared.fatal.fire(&format!(
            "this node was taken out of the cluster, says node {by}. To use the machine as a node again: `palisade repair \
             --set-aside`, then start it and join it anew with a fresh token"
        ));
    }
    removed
}

/// A node that hears of no leader for long asks whether it was taken out meanwhile: nobody else tells it.
pub(crate) async fn notice_removal(shared: Arc<Shared>) {
    let mut alone_since = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(LATER) => {}
        }
        if shared.leader().is_some() {
            alone_since = Instant::now();
        }
        if alone_since.elapsed() < ALONE {
            continue;
        }
        for id in shared.members().into_keys().filter(|id| *id != shared.id()) {
            if let Err(error) = shared.peers.call(id, CALL, Bytes::new(), ASK).await
                && was_removed(&shared, id, &error)
            {
                return;
            }
        }
    }
}

async fn until_led(stage: &mut watch::Receiver<Stage>) {
    let _ = stage.wait_for(|s| *s == Stage::Led).await;
}

/// Whether these nodes make a quorum of the voters; of both sets of them, while the membership is in transition. We
/// need not be one of them: a change that made us a voter, and that we have not heard of, may wait for our vote.
fn is_quorum(shared: &Shared, nodes: &BTreeSet<u64>) -> bool {
    let Some(raft) = shared.raft() else { return false };
    let membership = Arc::clone(&raft.server_metrics().borrow_watched().membership_config);
    let configs = membership.membership().get_joint_config();
    !configs.is_empty()
        && configs
            .iter()
            .all(|voters| voters.intersection(nodes).count() > voters.len() / 2)
}

/// Writes down what is known of the others, so that it outlives this process. Not synced: a power cut that takes all
/// nodes at once takes the last seconds of it.
pub(crate) async fn keep(shared: Arc<Shared>) {
    while !shared.stop.is_cancelled() {
        // A last time at the end.
        let _ = tokio::time::timeout(KEEP, shared.stop.cancelled()).await;
        for id in shared.members().into_keys() {
            if let Some(at) = following(&shared, id)
                && id != shared.id()
                && shared.past.of(id) < Some(at)
            {
                shared.past.heard(id, at);
            }
        }
        let bytes = {
            let mut others = shared.past.others.lock();
            std::mem::take(&mut others.changed).then(|| encode(&others.known))
        };
        let Some(bytes) = bytes else { continue };
        let log = shared.log.clone();
        let written = crate::runtime::blocking(move || log.keep_notes(&bytes)).await;
        if let Ok(Err(e)) = written {
            tracing::debug!(error = %e, "what is known of the other nodes was not written down");
        }
    }
}

fn encode(known: &BTreeMap<u64, LogId>) -> Vec<u8> {
    let mut out = Vec::new();
    for (node, at) in known {
        out.extend(node.to_le_bytes());
        out.extend(codec::encode_log_id(at));
    }
    out
}

/// What cannot be read is not known.
fn decode(bytes: &[u8]) -> BTreeMap<u64, LogId> {
    let mut known = BTreeMap::new();
    let mut rest = bytes;
    while let Some((node, more)) = rest.split_first_chunk::<8>() {
        let Some((at, more)) = more.split_at_checked(codec::LOG_ID_LEN) else {
            break;
        };
        let Ok(at) = codec::decode_log_id(at) else { break };
        known.insert(u64::from_le_bytes(*node), at);
        rest = more;
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_back_and_a_torn_tail_is_not_invented() {
        let known = BTreeMap::from([(1, codec::log_id(3, 2, 9)), (7, codec::log_id(4, 1, 0))]);
        let bytes = encode(&known);
        assert_eq!(decode(&bytes), known);
        let torn = decode(&bytes[..bytes.len() - 1]);
        assert_eq!(torn, BTreeMap::from([(1, codec::log_id(3, 2, 9))]));
        assert!(decode(b"x").is_empty());
    }

    #[test]
    fn a_newer_vote_excuses_a_shorter_log_and_an_older_one_does_not() {
        let at = |term, last| position(&Vote::new_committed(term, 1), last);
        assert!(at(5, 90) > at(4, 100));
        assert!(at(4, 90) < at(4, 100));
        assert!(at(3, 200) < at(4, 100));
    }
}
