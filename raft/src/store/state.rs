//! The state machine: committed entries go through the application's apply, in batches, one write per batch.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use openraft::EntryPayload;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use palisade_core::kv::{Change, Kv, Overlay};
use palisade_core::mutant::{self, Mutant};
use palisade_storage::{IncomingSnapshot, SnapshotError, SnapshotFile, StateStore, WriteError};
use tokio::sync::watch;

use super::SnapshotData;
use crate::codec;
use crate::shared::FatalHook;
use crate::types::{LogId, Reply, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// How many kinds of notification there are.
pub const NOTIFY_BITS: usize = 32;

/// Where in the log an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    /// Its index.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
}

/// What applying one entry does.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The changes to make.
    pub changes: Vec<Change>,
    /// The answer for whoever proposed it.
    pub reply: Vec<u8>,
    /// Bits for those who watch the state; see [`AppliedAt::raised`].
    pub notify: u32,
}

/// An entry that must not be skipped cannot be applied. The node stops.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// The application: a pure function from state and entry to changes.
pub trait Apply: Send + Sync + 'static {
    /// Applies one committed entry to what `kv` shows.
    fn apply(&self, kv: &dyn Kv, at: LogPosition, entry: &[u8]) -> Result<Applied, Fault>;
}

/// How far this node has applied, and when each notification bit was last raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppliedAt {
    /// Index of the last applied entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// For each bit the index of the last entry that raised it. A watcher that remembers what it saw misses
    /// nothing, however many entries were applied meanwhile.
    pub raised: [u64; NOTIFY_BITS],
    /// Counts the snapshots that replaced the state as a whole; everything may have changed.
    pub replaced: u64,
}

/// openraft's view of a [`StateStore`].
pub(crate) struct StateMachine {
    store: StateStore,
    apply: Arc<dyn Apply>,
    applied: watch::Sender<AppliedAt>,
    fatal: Arc<FatalHook>,
    /// Something was applied since the start.
    resumed: AtomicBool,
}

fn other(e: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(e)
}

/// The last entry applied, and the membership as of it.
pub(crate) fn read_markers(store: &StateStore) -> io::Result<(Option<LogId>, StoredMembership)> {
    let (applied, membership) = store.applied().map_err(other)?;
    let applied = applied
        .map(|id| codec::decode_log_id(&id))
        .transpose()
        .map_err(other)?;
    let membership = membership
        .map(|m| codec::decode_stored_membership(&m))
        .transpose()
        .map_err(other)?;
    Ok((applied, membership.unwrap_or_default()))
}

/// How long to wait before the disk is tried again after it was found full.
const FULL: Duration = Duration::from_millis(200);

/// What a stored snapshot holds: the applied marker is the store's, the membership was given to it as meta.
fn describe(file: &SnapshotFile) -> io::Result<SnapshotMeta> {
    contents(file.applied.as_deref(), &file.meta)
}

/// Checks a received snapshot, and that it is the one that was announced. Once openraft has it, one that cannot be
/// installed stops the node.
pub(crate) fn verify_received(incoming: &mut IncomingSnapshot, announced: &SnapshotMeta) -> io::Result<()> {
    let found = incoming.verify().map_err(other)?;
    if contents(found.applied.as_deref(), &found.meta)? != *announced {
        return Err(io::Error::other("it is not the one that was announced"));
    }
    Ok(())
}

fn contents(applied: Option<&[u8]>, meta: &[u8]) -> io::Result<SnapshotMeta> {
    let last = applied.map(codec::decode_log_id).transpose().map_err(other)?;
    let membership = codec::decode_stored_membership(meta).map_err(other)?;
    Ok(SnapshotMeta {
        last_log_id: last,
        last_membership: membership,
    })
}

impl StateMachine {
    pub(crate) fn new(
        store: StateStore,
        apply: Arc<dyn Apply>,
        applied: watch::Sender<AppliedAt>,
        fatal: Arc<FatalHook>,
    ) -> io::Result<Self> {
        let (last, _) = read_markers(&store)?;
        let this = Self {
            store,
            apply,
            applied,
            fatal,
            resumed: AtomicBool::new(false),
        };
        this.publish(last, 0, false);
        Ok(this)
    }

    fn publish(&self, last: Option<LogId>, notify: u32, replaced: bool) {
        let Some(last) = last else { return };
        let (term, _, index) = codec::log_id_parts(&last);
        self.applied.send_modify(|at| {
            at.index = index;
            at.term = term;
            for (bit, raised) in at.raised.iter_mut().enumerate() {
                if replaced || notify & (1 << bit) != 0 {
                    *raised = index;
                }
            }
            at.replaced += u64::from(replaced);
        });
    }

    /// Whatever goes wrong here must end the process: an entry that one node skips is a fork of the state.
    fn fatal(&self, why: &str) -> io::Error {
        self.fatal.fire(why);
        io::Error::other(why.to_owned())
    }

    async fn apply_batch(&self, batch: Vec<EntryResponder<TypeConfig>>) -> Result<(), String> {
        let Some(done) = self.compute(batch)? else {
            return Ok(());
        };
        let marker = codec::encode_log_id(&done.last);
        // What the log took must be applied: a full disk is waited out, as the log does.
        loop {
            match self
                .store
                .apply(done.changes.clone(), marker.clone(), done.membership.clone())
            {
                Ok(()) => break,
                Err(WriteError::NoSpace { .. }) => tokio::time::sleep(FULL).await,
                Err(e) => return Err(format!("the state cannot be written: {e}")),
            }
        }
        self.publish(Some(done.last), done.notify, false);
        if done.replies.len() > 1 && mutant::active(Mutant::ApplyBackwards) {
            let (term, node, index) = codec::log_id_parts(&done.last);
            self.publish(Some(codec::log_id(term, node, index.saturating_sub(2))), 0, false);
        }
        for (responder, reply) in done.replies {
            responder.send(reply);
        }
        Ok(())
    }

    fn compute(&self, batch: Vec<EntryResponder<TypeConfig>>) -> Result<Option<Batch>, String> {
        let Some(last) = batch.last().map(|(entry, _)| entry.log_id) else {
            return Ok(None);
        };
        let mut overlay = Overlay::new(&self.store);
        let mut replies: Vec<(ApplyResponder<TypeConfig>, Reply)> = Vec::with_capacity(batch.len());
        let several = batch.len() > 1;
        let mut notify = 0;
        let mut membership = None;
        for (entry, responder) in batch {
            let (term, _, index) = codec::log_id_parts(&entry.log_id);
            let mut bytes = Vec::new();
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(command) => {
                    let at = LogPosition { index, term };
                    // A panic must not leave a half-dead core behind: it counts as a fault.
                    let applied = catch_unwind(AssertUnwindSafe(|| {
                        self.apply.apply(&overlay, at, &command.bytes)
                    }))
                    .map_err(|_| format!("applying log entry {index} panicked"))?
                    .map_err(|fault| format!("log entry {index} cannot be applied: {fault}"))?;
                    if mutant::active(Mutant::ApplyTwice) && !self.resumed.load(Ordering::Relaxed) {
                        let changes = applied.changes.clone();
                        changes.into_iter().for_each(|change| overlay.push(change));
                        let again = self.apply.apply(&overlay, at, &command.bytes);
                        let again = again.map_err(|fault| fault.to_string())?;
                        again.changes.into_iter().for_each(|change| overlay.push(change));
                    }
                    for change in applied.changes {
                        overlay.push(change);
                    }
                    notify |= applied.notify;
                    bytes = applied.reply;
                }
                EntryPayload::Membership(m) => {
                    membership = Some(StoredMembership::new(Some(entry.log_id), m));
                }
            }
            if let Some(responder) = responder {
                replies.push((
                    responder,
                    Reply {
                        bytes: Bytes::from(bytes),
                        index,
                    },
                ));
            }
        }
        self.resumed.store(true, Ordering::Relaxed);
        let mut changes = overlay.into_changes();
        if several && mutant::active(Mutant::LoseChange) {
            changes.pop();
        }
        let membership = match &membership {
            Some(m) => Some(codec::encode_stored_membership(m).map_err(|e| e.to_string())?),
            None => None,
        };
        Ok(Some(Batch {
            last,
            changes,
            membership,
            notify,
            replies,
        }))
    }
}

/// What a batch of entries comes to, ready to be written in one go.
struct Batch {
    last: LogId,
    changes: Vec<Change>,
    membership: Option<Vec<u8>>,
    notify: u32,
    replies: Vec<(ApplyResponder<TypeConfig>, Reply)>,
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        read_markers(&self.store)
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let mut batch = Vec::new();
        while let Some(item) = entries.try_next().await? {
            batch.push(item);
        }
        self.apply_batch(batch).await.map_err(|why| self.fatal(&why))
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            store: self.store.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let store = self.store.clone();
        let installed = crate::runtime::blocking(move || {
            let incoming = match snapshot {
                SnapshotData::Received(incoming) => incoming,
                SnapshotData::Stored(mut file) => {
                    let mut incoming = store.new_incoming()?;
                    io::copy(&mut file, incoming.file())?;
                    incoming
                }
            };
            store.install_snapshot(incoming)
        });
        let file = match installed.await.map_err(other)? {
            Ok(file) => file,
            Err(e) => return Err(self.fatal(&format!("the snapshot cannot be installed: {e}"))),
        };
        if describe(&file)? != *meta {
            return Err(self.fatal("the installed snapshot is not the one that was announced"));
        }
        self.publish(meta.last_log_id, 0, true);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let Some(file) = self.store.current_snapshot() else {
            return Ok(None);
        };
        let meta = describe(&file)?;
        Ok(Some(Snapshot {
            meta,
            snapshot: SnapshotData::stored(&file)?,
        }))
    }
}

/// Builds a snapshot beside running applies.
pub(crate) struct Builder {
    store: StateStore,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        loop {
            let store = self.store.clone();
            let built = crate::runtime::blocking(move || {
                let (_, before) = read_markers(&store)?;
                let meta = codec::encode_stored_membership(&before).map_err(other)?;
                let file = match store.build_snapshot(meta) {
                    Ok(file) => file,
                    Err(SnapshotError::Write(WriteError::NoSpace { .. })) => return Ok(None),
                    Err(e) => return Err(other(e)),
                };
                // Applying went on meanwhile. The store says itself how far the snapshot reaches; that the
                // membership given to it is the one of that point is only sure if it did not change at all.
                let (_, after) = read_markers(&store)?;
                Ok((before == after).then_some(file))
            });
            if let Some(file) = built.await.map_err(other)?? {
                let meta = describe(&file)?;
                return Ok(Snapshot {
                    meta,
                    snapshot: SnapshotData::stored(&file)?,
                });
            }
            tokio::time::sleep(FULL).await;
        }
    }
}
