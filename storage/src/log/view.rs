//! What readers see: the log as it will be once everything queued is written, and the queue itself.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, mpsc::Sender},
};

use super::{Done, LogRecord, MAX_RECORD, entry_damage, record};
use crate::{
    engine::Engine,
    error::{ReadError, WriteError},
};

/// Payload bytes of durable entries that stay in memory for the readers that follow the tail.
const KEEP: usize = 4 << 20;
/// What an entry costs in memory beside its payload, roughly.
const OVERHEAD: usize = 96;
/// Votes and markers are small by nature.
const MAX_MARKER: usize = 2048;

/// A write that waits for the committer.
pub(crate) enum Op {
    Append(Vec<(u64, Arc<Vec<u8>>)>, Done),
    Vote(Vec<u8>, Done),
    Truncate(u64, Done),
    Purge(u64, Vec<u8>, Done),
    Refused(WriteError, Done),
    Compact(Sender<Result<bool, WriteError>>),
}

impl Op {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Op::Append(records, _) => records.iter().map(|(_, p)| p.len() + OVERHEAD).sum(),
            _ => OVERHEAD,
        }
    }

    pub(crate) fn entries(&self) -> usize {
        match self {
            Op::Append(records, _) => records.len(),
            _ => 1,
        }
    }
}

pub(crate) struct Tail {
    payload: Arc<Vec<u8>>,
    durable: bool,
}

/// The view and the queue, under one lock so that they always agree.
#[derive(Default)]
pub(crate) struct Front {
    pub(crate) queue: VecDeque<Op>,
    /// First index the log may hold; set by the first append and by purging.
    pub(crate) base: Option<u64>,
    pub(crate) purged: Option<(u64, Vec<u8>)>,
    pub(crate) last: Option<u64>,
    pub(crate) vote: Option<Vec<u8>>,
    pub(crate) committed: Option<Vec<u8>>,
    pub(crate) committed_dirty: bool,
    /// Changes whenever entries are taken away.
    pub(crate) epoch: u64,
    pub(crate) closing: bool,
    pub(crate) failed: Option<String>,
    pub(crate) tail: BTreeMap<u64, Tail>,
    pub(crate) kept: usize,
}

impl Front {
    pub(crate) fn push(&mut self, op: Op) {
        self.queue.push_back(op);
    }

    pub(crate) fn state_error(&self) -> Option<WriteError> {
        match &self.failed {
            Some(why) => Some(WriteError::Failed(why.clone())),
            None if self.closing => Some(WriteError::Closed),
            None => None,
        }
    }

    /// First index the log holds or would hold.
    pub(crate) fn first(&self) -> u64 {
        let after_purge = self.purged.as_ref().map_or(0, |(p, _)| p + 1);
        after_purge.max(self.base.unwrap_or(0))
    }

    /// The index the next append must have, if that is settled.
    fn next(&self) -> Option<u64> {
        match (self.last, &self.purged) {
            (Some(last), _) => Some(last + 1),
            (None, Some((purged, _))) => Some(purged + 1),
            (None, None) => None,
        }
    }

    pub(crate) fn append(&mut self, records: Vec<LogRecord>, done: Done) -> Result<(), (Done, WriteError)> {
        let mut next = self.next();
        for r in &records {
            if let Some(expected) = next.filter(|n| *n != r.index) {
                return Err((
                    done,
                    WriteError::NotContiguous {
                        expected,
                        got: r.index,
                    },
                ));
            }
            if r.payload.len() > MAX_RECORD {
                let e = WriteError::TooLarge {
                    what: "a log record",
                    len: r.payload.len(),
                    max: MAX_RECORD,
                };
                return Err((done, e));
            }
            next = Some(r.index.saturating_add(1));
        }
        if self.last.is_none()
            && let Some(first) = records.first()
        {
            self.base = Some(first.index);
        }
        let mut op = Vec::with_capacity(records.len());
        for r in records {
            let payload = Arc::new(r.payload);
            self.last = Some(r.index);
            self.kept += payload.len() + OVERHEAD;
            self.tail.insert(
                r.index,
                Tail {
                    payload: payload.clone(),
                    durable: false,
                },
            );
            op.push((r.index, payload));
        }
        self.push(Op::Append(op, done));
        Ok(())
    }

    pub(crate) fn save_vote(&mut self, vote: Vec<u8>, done: Done) -> Result<(), (Done, WriteError)> {
        if let Err(e) = small("a vote", &vote) {
            return Err((done, e));
        }
        self.vote = Some(vote.clone());
        self.push(Op::Vote(vote, done));
        Ok(())
    }

    pub(crate) fn truncate_from(&mut self, index: u64, done: Done) -> Result<(), (Done, WriteError)> {
        if let Some((purged, _)) = &self.purged
            && index <= *purged
        {
            let e = WriteError::Refused(format!("cannot truncate from {index}: purged up to {purged}"));
            return Err((done, e));
        }
        self.cut(index);
        self.push(Op::Truncate(index, done));
        Ok(())
    }

    pub(crate) fn purge_upto(
        &mut self,
        index: u64,
        marker: Vec<u8>,
        done: Done,
    ) -> Result<(), (Done, WriteError)> {
        if let Err(e) = small("a purge marker", &marker) {
            return Err((done, e));
        }
        if let Some((purged, _)) = &self.purged
            && index < *purged
        {
            let e = WriteError::Refused(format!(
                "cannot purge up to {index}: already purged up to {purged}"
            ));
            return Err((done, e));
        }
        self.epoch += 1;
        self.purged = Some((index, marker.clone()));
        let keep = self.tail.split_off(&index.saturating_add(1));
        let gone = std::mem::replace(&mut self.tail, keep);
        self.forget(gone);
        self.last = self.last.filter(|last| *last > index);
        self.push(Op::Purge(index, marker, done));
        Ok(())
    }

    /// Takes the entries from `index` on out of the view.
    pub(crate) fn cut(&mut self, index: u64) {
        self.epoch += 1;
        let gone = self.tail.split_off(&index);
        self.forget(gone);
        if let Some(last) = self.last
            && last >= index
        {
            self.last = index.checked_sub(1).filter(|l| *l >= self.first());
        }
    }

    fn forget(&mut self, gone: BTreeMap<u64, Tail>) {
        self.kept -= gone.values().map(|t| t.payload.len() + OVERHEAD).sum::<usize>();
    }

    /// Entries that were written are durable now; the oldest durable ones make room.
    pub(crate) fn durable(&mut self, written: &[(u64, Arc<Vec<u8>>)]) {
        for (index, payload) in written {
            if let Some(t) = self.tail.get_mut(index)
                && Arc::ptr_eq(&t.payload, payload)
            {
                t.durable = true;
            }
        }
        while self.kept > KEEP {
            match self.tail.first_entry() {
                Some(e) if e.get().durable => {
                    self.kept -= e.remove().payload.len() + OVERHEAD;
                }
                _ => break,
            }
        }
    }

    /// Everything queued has been answered and the disk ends at `last`: so does the view.
    pub(crate) fn fall_back(&mut self, last: Option<u64>, base: Option<u64>) {
        self.epoch += 1;
        self.last = last;
        self.base = base;
        let gone = match last {
            Some(last) => self.tail.split_off(&(last + 1)),
            None => std::mem::take(&mut self.tail),
        };
        self.forget(gone);
    }

    /// What a read has to fetch.
    pub(crate) fn plan_read(&self, from: u64, to: u64, max_bytes: usize) -> ReadPlan {
        let from = from.max(self.first());
        let to = self.last.map_or(0, |l| to.min(l + 1));
        let mut plan = ReadPlan {
            epoch: self.epoch,
            from,
            disk_to: to,
            tail: Vec::new(),
        };
        if from >= to {
            plan.disk_to = from;
            return plan;
        }
        let mut bytes = 0usize;
        // The tail in memory has no holes and reaches to the last entry.
        for (index, t) in self.tail.range(from..to) {
            if plan.tail.is_empty() {
                plan.disk_to = *index;
            }
            bytes = bytes.saturating_add(t.payload.len());
            if !plan.tail.is_empty() && bytes > max_bytes {
                break;
            }
            plan.tail.push((*index, t.payload.clone()));
        }
        plan
    }
}

fn small(what: &'static str, bytes: &[u8]) -> Result<(), WriteError> {
    if bytes.len() > MAX_MARKER {
        return Err(WriteError::TooLarge {
            what,
            len: bytes.len(),
            max: MAX_MARKER,
        });
    }
    Ok(())
}

/// A read, decided under the lock and run without it.
pub(crate) struct ReadPlan {
    pub(crate) epoch: u64,
    from: u64,
    /// Entries before this one are on the disk, the rest in `tail`.
    disk_to: u64,
    tail: Vec<(u64, Arc<Vec<u8>>)>,
}

impl ReadPlan {
    pub(crate) fn run(&self, engine: &Engine, max_bytes: usize) -> Result<Vec<LogRecord>, ReadError> {
        let mut out = Vec::new();
        let mut bytes = 0usize;
        if self.from < self.disk_to {
            let complete = read_disk(engine, self.from, self.disk_to, max_bytes, &mut out, &mut bytes)?;
            if !complete {
                return Ok(out);
            }
        }
        for (index, payload) in &self.tail {
            bytes = bytes.saturating_add(payload.len());
            if !out.is_empty() && bytes > max_bytes {
                break;
            }
            out.push(LogRecord {
                index: *index,
                payload: payload.to_vec(),
            });
        }
        Ok(out)
    }
}

/// Reads `from..to` from the disk; false if it stopped at the size limit.
fn read_disk(
    engine: &Engine,
    from: u64,
    to: u64,
    max_bytes: usize,
    out: &mut Vec<LogRecord>,
    bytes: &mut usize,
) -> Result<bool, ReadError> {
    let mut assembly = Assembly::new(from);
    let mut full = false;
    engine.scan(
        &record::entry_key(from, 0),
        Some(&record::entry_key(to, 0)),
        false,
        |key, value| {
            if let Some(r) = assembly.add(engine, key, value)? {
                *bytes = bytes.saturating_add(r.payload.len());
                if !out.is_empty() && *bytes > max_bytes {
                    full = true;
                    return Ok(false);
                }
                out.push(r);
            }
            Ok(true)
        },
    )?;
    if full {
        return Ok(false);
    }
    assembly.finish(engine, to)?;
    Ok(true)
}

/// Puts chunks together to entries, and insists that none is missing.
pub(crate) struct Assembly {
    next: u64,
    chunk: u16,
    payload: Vec<u8>,
    /// Highest running number seen.
    pub(crate) seq: u64,
    /// The `committed` with the highest running number seen.
    pub(crate) rider: Option<(u64, Vec<u8>)>,
}

impl Assembly {
    pub(crate) fn new(next: u64) -> Assembly {
        Assembly {
            next,
            chunk: 0,
            payload: Vec::new(),
            seq: 0,
            rider: None,
        }
    }

    /// Takes the next chunk; gives the entry that it completes.
    pub(crate) fn add(
        &mut self,
        engine: &Engine,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<LogRecord>, ReadError> {
        let Some((index, chunk)) = record::parse_entry_key(key) else {
            return Err(entry_damage(
                engine,
                self.next,
                format!("unexpected key {}", crate::escaped(key)),
            )
            .into());
        };
        if (index, chunk) != (self.next, self.chunk) {
            let missing = if self.chunk > 0 {
                format!("chunk {} is missing", self.chunk)
            } else {
                "it is missing".into()
            };
            return Err(entry_damage(engine, self.next, missing).into());
        }
        let c = record::decode_chunk(index, chunk, value).map_err(|why| entry_damage(engine, index, why))?;
        self.seq = self.seq.max(c.seq);
        if !c.rider.is_empty() && self.rider.as_ref().is_none_or(|(seq, _)| *seq < c.seq) {
            self.rider = Some((c.seq, c.rider.to_vec()));
        }
        self.payload.extend_from_slice(c.payload);
        if self.payload.len() > MAX_RECORD {
            return Err(entry_damage(engine, index, "it is too large").into());
        }
        self.chunk += 1;
        if self.chunk < c.count {
            return Ok(None);
        }
        self.chunk = 0;
        self.next += 1;
        Ok(Some(LogRecord {
            index,
            payload: std::mem::take(&mut self.payload),
        }))
    }

    /// All chunks have been given: they must end exactly before `to`.
    pub(crate) fn finish(&self, engine: &Engine, to: u64) -> Result<(), ReadError> {
        if self.next < to || self.chunk > 0 {
            return Err(entry_damage(engine, self.next, "it is missing or cut short").into());
        }
        Ok(())
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn mid_entry(&self) -> bool {
        self.chunk > 0
    }
}
