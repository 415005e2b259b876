//! Proposals from any node: to the local log if this node leads, forwarded otherwise, tried again across a change of
//! leader until the deadline.
//!
//! Trying again is safe because an entry carries its own request id and is applied once, however often it is in the
//! log. So an unknown outcome is retried like a refusal; it only matters when time runs out.

use openraft::async_runtime::watch::WatchReceiver as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use openraft::errors::{ClientWriteError, RaftError};
use palisade_core::mutant::{self, Mutant};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::peers::Lane;
use crate::shared::Shared;
use crate::types::{Entry, MAX_ENTRY, Reply};
use crate::wire::{ForwardRequest, ForwardResult};

/// Proposals at this node that have no answer yet; more wait for a place.
const PENDING: usize = 8192;
/// Proposals in one forwarded message.
const BATCH: usize = 256;
/// Bytes in one forwarded message.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Forwarded messages on the way at once: few, so that they fill up under load.
const FORWARDS: usize = 8;
/// Without a leader for this long, a proposal is answered instead of kept waiting for its deadline.
/// Raised where elections take longer.
const LEADERLESS: Duration = Duration::from_millis(2500);
/// An attempt that took this long had a leader to talk to.
const LONG: Duration = Duration::from_millis(500);

/// Why a proposal has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No leader with a quorum was found in time. Nothing was changed.
    #[error("the cluster has no quorum")]
    NoQuorum,
    /// Time ran out after the entry had been sent: whether it takes effect is not known. Propose it again.
    #[error("no answer in time; whether the change took effect is not known")]
    Timeout,
    /// The entry is bigger than the log accepts.
    #[error("an entry of {0} bytes is over the limit of {MAX_ENTRY}")]
    TooLarge(usize),
    /// Too many proposals are waiting at this node.
    #[error("too many changes are waiting")]
    Overloaded,
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,
    /// The disk of the leader is full.
    #[error("refused: {0}")]
    Refused(String),
}

/// What became of one attempt.
enum Attempt {
    Done(Reply),
    /// Not tried: somebody else leads, perhaps this one.
    Elsewhere(Option<u64>),
    /// May or may not take effect.
    Unknown,
    Refused(String),
}

struct Pending {
    entry: Bytes,
    leader: u64,
    deadline: Instant,
    answer: oneshot::Sender<Attempt>,
}

pub(crate) struct Proposer {
    shared: Arc<Shared>,
    slots: Semaphore,
    forwards: mpsc::Sender<Pending>,
    in_flight: AtomicUsize,
    leaderless: Duration,
}

struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Proposer {
    pub(crate) fn start(shared: Arc<Shared>, election_max: Duration) -> Arc<Self> {
        let (forwards, queue) = mpsc::channel(PENDING);
        crate::runtime::spawn(forward_loop(Arc::clone(&shared), queue));
        Arc::new(Self {
            shared,
            slots: Semaphore::new(PENDING),
            forwards,
            in_flight: AtomicUsize::new(0),
            leaderless: LEADERLESS.max(election_max * 4),
        })
    }

    /// Proposals and forwarded proposals without an answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        InFlight(&self.in_flight)
    }

    pub(crate) async fn propose(&self, entry: Vec<u8>, deadline: Instant) -> Result<Reply, ProposeError> {
        if entry.len() > MAX_ENTRY {
            return Err(ProposeError::TooLarge(entry.len()));
        }
        if self.shared.stop.is_cancelled() {
            return Err(ProposeError::Stopping);
        }
        let _in_flight = self.enter();
        let _slot = match tokio::time::timeout_at(deadline, self.slots.acquire()).await {
            Ok(Ok(slot)) => slot,
            Ok(Err(_)) => return Err(ProposeError::Stopping),
            Err(_) => return Err(ProposeError::Overloaded),
        };
        let entry = Bytes::from(entry);
        let mut sent = false;
        let mut hint = None;
        let mut leaderless: Option<Instant> = None;
        loop {
            if self.shared.stop.is_cancelled() || self.shared.fatal.fired() {
                return Err(if sent {
                    ProposeError::Timeout
                } else {
                    ProposeError::Stopping
                });
            }
            if Instant::now() >= deadline {
                return Err(if sent {
                    ProposeError::Timeout
                } else {
                    ProposeError::NoQuorum
                });
            }
            let started = Instant::now();
            let attempt = match hint.take().or_else(|| self.shared.leader()) {
                Some(leader) => {
                    let attempt = self.attempt(leader, &entry, deadline).await;
                    if matches!(attempt, Attempt::Unknown | Attempt::Done(_)) {
                        sent = true;
                    }
                    attempt
                }
                None => Attempt::Elsewhere(None),
            };
            match attempt {
                Attempt::Done(reply) => return Ok(reply),
                Attempt::Unknown if mutant::active(Mutant::AnswerUnknown) => {
                    let bytes = Bytes::new();
                    let index = crate::past::last_index(&self.shared.log);
                    return Ok(Reply { bytes, index });
                }
                // An earlier attempt may still take effect, whatever is said to this one.
                Attempt::Refused(_) if sent => return Err(ProposeError::Timeout),
                Attempt::Refused(why) => return Err(ProposeError::Refused(why)),
                Attempt::Elsewhere(Some(leader)) if leaderless.is_none() => {
                    hint = Some(leader);
                    leaderless = Some(Instant::now());
                    continue;
                }
                Attempt::Unknown if started.elapsed() > LONG => leaderless = None,
                Attempt::Elsewhere(_) | Attempt::Unknown => {}
            }
            let since = *leaderless.get_or_insert_with(Instant::now);
            if since.elapsed() > self.leaderless {
                return Err(if sent {
                    ProposeError::Timeout
                } else {
                    ProposeError::NoQuorum
                });
            }
            self.await_news(deadline).await;
        }
    }

    /// Waits until the leader changes, or a little while.
    async fn await_news(&self, deadline: Instant) {
        let pause = Duration::from_millis(10).min(deadline.saturating_duration_since(Instant::now()));
        let Some(raft) = self.shared.raft() else {
            return tokio::time::sleep(pause).await;
        };
        let mut news = raft.server_metrics();
        // A receiver that was just made holds everything for news, and whoever waits by it never waits.
        news.borrow_and_update();
        if let Ok(Err(_)) = tokio::time::timeout(pause, news.changed()).await {
            // The core has ended, and will never have any.
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, leader: u64, entry: &Bytes, deadline: Instant) -> Attempt {
        if leader == self.shared.id() {
            return match tokio::time::timeout_at(deadline, self.write(entry.clone())).await {
                Ok(attempt) => attempt,
                Err(_) => Attempt::Unknown,
            };
        }
        let (answer, answered) = oneshot::channel();
        let pending = Pending {
            entry: entry.clone(),
            leader,
            deadline,
            answer,
        };
        if self.forwards.send(pending).await.is_err() {
            return Attempt::Elsewhere(None);
        }
        // When another leader is known, there is no use in waiting for the old one.
        let changed = async {
            self.shared.superseded(leader).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        };
        tokio::select! {
            attempt = answered => attempt.unwrap_or(Attempt::Unknown),
            () = changed => Attempt::Unknown,
            () = tokio::time::sleep_until(deadline) => Attempt::Unknown,
        }
    }

    /// One proposal into the local log.
    async fn write(&self, entry: Bytes) -> Attempt {
        let Some(raft) = self.shared.raft() else {
            return Attempt::Elsewhere(None);
        };
        if self.shared.no_space.load(Ordering::Relaxed) {
            return Attempt::Refused("the disk of the leader is full".into());
        }
        match raft.client_write(Entry { bytes: entry }).await {
            Ok(done) => Attempt::Done(done.data),
            Err(RaftError::APIError(e)) => refusal(&e),
            Err(RaftError::Fatal(_)) => Attempt::Unknown,
        }
    }

    /// Proposals that another node forwarded to this one.
    pub(crate) async fn serve(&self, entries: Vec<Bytes>, deadline: Instant) -> Vec<ForwardResult> {
        let _in_flight = self.enter();
        let count = entries.len();
        let mut results = Vec::with_capacity(count);
        let all = |attempt: fn() -> Attempt| (0..count).map(|_| to_wire(attempt())).collect();
        let Some(raft) = self.shared.raft() else {
            return all(|| Attempt::Elsewhere(None));
        };
        if entries.iter().any(|entry| entry.len() > MAX_ENTRY) {
            return all(|| Attempt::Refused("an entry is too big".into()));
        }
        if self.shared.no_space.load(Ordering::Relaxed) {
            return all(|| Attempt::Refused("the disk of the leader is full".into()));
        }
        let entries = entries.into_iter().map(|bytes| Entry { bytes });
        let Ok(mut written) = raft.client_write_many(entries).await else {
            return all(|| Attempt::Unknown);
        };
        while results.len() < count {
            let next = tokio::time::timeout_at(deadline, written.next()).await;
            results.push(to_wire(match next {
                Ok(Some(Ok(Ok(done)))) => Attempt::Done(done.response),
                Ok(Some(Ok(Err(e)))) => refusal(&e),
                Ok(Some(Err(_)) | None) | Err(_) => Attempt::Unknown,
            }));
        }
        results
    }
}

fn refusal(e: &ClientWriteError<crate::types::TypeConfig>) -> Attempt {
    match e {
        ClientWriteError::ForwardToLeader(forward) => Attempt::Elsewhere(forward.leader_id),
        _ => Attempt::Unknown,
    }
}

fn to_wire(attempt: Attempt) -> ForwardResult {
    match attempt {
        Attempt::Done(reply) => ForwardResult {
            kind: 1,
            index: reply.index,
            body: reply.bytes,
            leader: 0,
        },
        Attempt::Elsewhere(leader) => ForwardResult {
            kind: 2,
            leader: leader.unwrap_or(0),
            ..Default::default()
        },
        Attempt::Unknown => ForwardResult {
            kind: 3,
            ..Default::default()
        },
        Attempt::Refused(why) => ForwardResult {
            kind: 4,
            body: Bytes::from(why),
            ..Default::default()
        },
    }
}

fn from_wire(result: ForwardResult) -> Attempt {
    match result.kind {
        1 => Attempt::Done(Reply {
            bytes: result.body,
            index: result.index,
        }),
        2 => Attempt::Elsewhere((result.leader != 0).then_some(result.leader)),
        4 => Attempt::Refused(String::from_utf8_lossy(&result.body).into_owned()),
        _ => Attempt::Unknown,
    }
}

/// Sends what is waiting in batches to the leader.
async fn forward_loop(shared: Arc<Shared>, mut queue: mpsc::Receiver<Pending>) {
    let slots = Arc::new(Semaphore::new(FORWARDS));
    let mut held: Option<Pending> = None;
    loop {
        let first = match held.take() {
            Some(first) => first,
            None => tokio::select! {
                () = shared.stop.cancelled() => return,
                next = queue.recv() => match next {
                    Some(first) => first,
                    None => return,
                },
            },
        };
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        // Whoever is ready to propose as well gets into the same message.
        tokio::task::yield_now().await;
        let (leader, mut bytes) = (first.leader, first.entry.len());
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Ok(next) = queue.try_recv() else { break };
            if next.leader != leader || bytes + next.entry.len() > BATCH_BYTES {
                held = Some(next);
                break;
            }
            bytes += next.entry.len();
            batch.push(next);
        }
        let shared = Arc::clone(&shared);
        crate::runtime::spawn(async move {
            forward(&shared, leader, batch).await;
            drop(slot);
        });
    }
}

async fn forward(shared: &Shared, leader: u64, batch: Vec<Pending>) {
    let now = Instant::now();
    let limit = batch
        .iter()
        .map(|p| p.deadline)
        .max()
        .unwrap_or(now)
        .saturating_duration_since(now);
    let results = match shared.member(leader) {
        None => Vec::new(),
        Some(member) => {
            let request = ForwardRequest {
                from: shared.id(),
                to: leader,
                entries: batch.iter().map(|p| p.entry.clone()).collect(),
                deadline_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            };
            let mut client = shared.peers.client(leader, &member.addr, Lane::Control);
            match crate::peers::within(leader, limit, client.forward(request)).await {
                Ok(reply) => reply.results,
                Err(e) => {
                    tracing::debug!(error = %e, "forwarding failed");
                    Vec::new()
                }
            }
        }
    };
    let mut results = results.into_iter();
    for pending in batch {
        let attempt = results.next().map_or(Attempt::Unknown, from_wire);
        let _ = pending.answer.send(attempt);
    }
}
