//! The log and the vote.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use palisade_core::mutant::{self, Mutant};
use palisade_storage::{Done, LogRecord, LogStore, WriteError};
use tokio::sync::oneshot;

use crate::codec;
use crate::types::{LogId, RaftEntry, TypeConfig, Vote};

/// Payload bytes read for one append message; with one entry more at most, it stays below the frame limit.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// openraft's view of a [`LogStore`]; clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    store: LogStore,
}

fn other(e: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(e)
}

impl Log {
    pub(crate) fn new(store: LogStore) -> Self {
        Self { store }
    }

    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<RaftEntry>> {
        let records = self.store.read(from, to, max_bytes).map_err(other)?;
        records
            .iter()
            .map(|record| codec::decode_entry(record.index, &record.payload).map_err(other))
            .collect()
    }

    /// Submits a write and waits until it is on the disk.
    async fn durable(&self, submit: impl FnOnce(Done)) -> io::Result<()> {
        let (tx, rx) = oneshot::channel::<Result<(), WriteError>>();
        submit(Box::new(move |result| {
            let _ = tx.send(result);
        }));
        rx.await
            .map_err(|_| io::Error::other("the log was closed before the write was done"))?
            .map_err(other)
    }
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(from) => from.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(to) => to.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        self.read(start, end, READ_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.store
            .vote()
            .map_err(other)?
            .map(|vote| codec::decode_vote(&vote).map_err(other))
            .transpose()
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let purged = match self.store.purged() {
            Some((_, marker)) => Some(codec::decode_log_id(&marker).map_err(other)?),
            None => None,
        };
        let last = match self.store.last().map_err(other)? {
            Some(record) => Some(
                codec::decode_entry(record.index, &record.payload)
                    .map_err(other)?
                    .log_id,
            ),
            None => purged,
        };
        Ok(LogState {
            last_purged_log_id: purged,
            last_log_id: last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        if !vote.committed && mutant::active(Mutant::SkipVote) {
            return Ok(());
        }
        let vote = codec::encode_vote(vote);
        self.durable(|done| self.store.save_vote(vote, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.store.save_committed(codec::encode_log_id(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let committed = self.store.committed().map_err(other)?;
        committed
            .map(|id| codec::decode_log_id(&id).map_err(other))
            .transpose()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let mut records = Vec::new();
        for entry in entries {
            let payload = codec::encode_entry(&entry).map_err(other)?;
            records.push(LogRecord {
                index: entry.log_id.index(),
                payload,
            });
        }
        self.store.append(
            records,
            Box::new(move |result| callback.io_completed(result.map_err(other))),
        );
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = last_log_id.map_or(0, |id| id.index() + 1);
        self.durable(|done| self.store.truncate_from(from, done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let marker = codec::encode_log_id(&log_id);
        self.durable(|done| self.store.purge_upto(log_id.index(), marker, done))
            .await
    }
}
