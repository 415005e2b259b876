//! The state machine: committed entries go through the application's apply, in batches, one write per batch.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use openraft::EntryPayload;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use palisade_core::kv::{Change, Kv, Overlay};
use tokio::sync::watch;

use super::SnapshotData;
use super::stub::StateStore;
use crate::codec;
use crate::shared::Shared;
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
    shared: Arc<Shared>,
    membership: StoredMembership,
}

fn other(e: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(e)
}

fn read_applied(store: &StateStore) -> io::Result<Option<LogId>> {
    store.applied().map_err(other)?.map(|id| codec::decode_log_id(&id).map_err(other)).transpose()
}

fn read_membership(store: &StateStore) -> io::Result<StoredMembership> {
    match store.membership().map_err(other)? {
        Some(bytes) => codec::decode_stored_membership(&bytes).map_err(other),
        None => Ok(StoredMembership::default()),
    }
}

impl StateMachine {
    pub(crate) fn new(
        store: StateStore,
        apply: Arc<dyn Apply>,
        applied: watch::Sender<AppliedAt>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let membership = read_membership(&store)?;
        let this = Self { store, apply, applied, shared, membership };
        this.publish(read_applied(&this.store)?, 0, false);
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
        self.shared.fatal.fire(why);
        io::Error::other(why.to_owned())
    }

    fn apply_batch(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> Result<(), String> {
        let Some(last) = batch.last().map(|(entry, _)| entry.log_id) else { return Ok(()) };
        let mut overlay = Overlay::new(&self.store);
        let mut replies: Vec<(ApplyResponder<TypeConfig>, Reply)> = Vec::with_capacity(batch.len());
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
                    let applied =
                        catch_unwind(AssertUnwindSafe(|| self.apply.apply(&overlay, at, &command.bytes)))
                            .map_err(|_| format!("applying log entry {index} panicked"))?
                            .map_err(|fault| format!("log entry {index} cannot be applied: {fault}"))?;
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
                replies.push((responder, Reply { bytes: Bytes::from(bytes), index }));
            }
        }
        let changes = overlay.into_changes();
        let stored = match &membership {
            Some(m) => Some(codec::encode_stored_membership(m).map_err(|e| e.to_string())?),
            None => None,
        };
        self.store
            .apply(changes, codec::encode_log_id(&last), stored)
            .map_err(|e| format!("the state cannot be written: {e}"))?;
        if let Some(m) = membership {
            self.membership = m;
        }
        self.publish(Some(last), notify, false);
        for (responder, reply) in replies {
            responder.send(reply);
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((read_applied(&self.store)?, read_membership(&self.store)?))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let mut batch = Vec::new();
        while let Some(item) = entries.try_next().await? {
            batch.push(item);
        }
        self.apply_batch(batch).map_err(|why| self.fatal(&why))
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { store: self.store.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let encoded = codec::encode_snapshot_meta(meta).map_err(other)?;
        let store = self.store.clone();
        let installed = tokio::task::spawn_blocking(move || match snapshot {
            SnapshotData::Received(incoming) => store.install_snapshot(&incoming.path, encoded),
            SnapshotData::Stored(file) => store.install_snapshot(&file.path, encoded),
        })
        .await
        .map_err(other)?;
        if let Err(e) = installed {
            return Err(self.fatal(&format!("the snapshot cannot be installed: {e}")));
        }
        self.membership = read_membership(&self.store)?;
        let applied = read_applied(&self.store)?;
        if applied != meta.last_log_id {
            return Err(self.fatal("the installed snapshot is not the one that was announced"));
        }
        self.publish(applied, 0, true);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let Some(file) = self.store.current_snapshot().map_err(other)? else { return Ok(None) };
        let meta = codec::decode_snapshot_meta(&file.meta).map_err(other)?;
        Ok(Some(Snapshot { meta, snapshot: SnapshotData::Stored(file) }))
    }
}

/// Builds a snapshot beside running applies.
pub(crate) struct Builder {
    store: StateStore,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let store = self.store.clone();
        let built = tokio::task::spawn_blocking(move || {
            let meta = SnapshotMeta {
                last_log_id: read_applied(&store)?,
                last_membership: read_membership(&store)?,
            };
            let encoded = codec::encode_snapshot_meta(&meta).map_err(other)?;
            let file = store.build_snapshot(encoded).map_err(other)?;
            Ok::<_, io::Error>((meta, file))
        });
        let (meta, file) = built.await.map_err(other)??;
        Ok(Snapshot { meta, snapshot: SnapshotData::Stored(file) })
    }
}
