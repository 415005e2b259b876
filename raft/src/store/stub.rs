//! Memory stand-in for the storage room while it is being built.
#![allow(missing_docs)]
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_core::kv::{Change, Kv, KvFault, MemoryKv, Pair};
use parking_lot::{Mutex, RwLock};

#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct WriteError(pub String);
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);
#[derive(Debug, Clone)]
pub struct LogRecord {
    pub index: u64,
    pub payload: Vec<u8>,
}
pub type Done = Box<dyn FnOnce(Result<(), WriteError>) + Send + 'static>;
#[derive(Debug, Clone, Default)]
pub struct SyncStats {
    pub in_progress: Option<Duration>,
    pub last_completed: Option<Instant>,
    pub queue: usize,
    pub no_space: bool,
    pub p99: Duration,
}
#[derive(Default)]
struct LogInner {
    map: BTreeMap<u64, Vec<u8>>,
    vote: Option<Vec<u8>>,
    committed: Option<Vec<u8>>,
    purged: Option<(u64, Vec<u8>)>,
}
#[derive(Clone, Default)]
pub struct LogStore(Arc<Mutex<LogInner>>);
impl LogStore {
    pub fn append(&self, records: Vec<LogRecord>, done: Done) {
        self.0.lock().map.extend(records.into_iter().map(|r| (r.index, r.payload)));
        done(Ok(()));
    }
    pub fn save_vote(&self, vote: Vec<u8>, done: Done) {
        self.0.lock().vote = Some(vote);
        done(Ok(()));
    }
    pub fn vote(&self) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.0.lock().vote.clone())
    }
    pub fn save_committed(&self, c: Vec<u8>) {
        self.0.lock().committed = Some(c);
    }
    pub fn committed(&self) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.0.lock().committed.clone())
    }
    pub fn truncate_from(&self, index: u64, done: Done) {
        self.0.lock().map.split_off(&index);
        done(Ok(()));
    }
    pub fn purge_upto(&self, index: u64, marker: Vec<u8>, done: Done) {
        let mut i = self.0.lock();
        i.map = i.map.split_off(&(index + 1));
        i.purged = Some((index, marker));
        drop(i);
        done(Ok(()));
    }
    pub fn purged(&self) -> Option<(u64, Vec<u8>)> {
        self.0.lock().purged.clone()
    }
    pub fn read(&self, from: u64, to: u64, max: usize) -> Result<Vec<LogRecord>, ReadError> {
        let mut out = Vec::new();
        let mut n = 0;
        if from >= to {
            return Ok(out);
        }
        for (k, v) in self.0.lock().map.range(from..to) {
            out.push(LogRecord { index: *k, payload: v.clone() });
            n += v.len();
            if n >= max {
                break;
            }
        }
        Ok(out)
    }
    pub fn last(&self) -> Result<Option<LogRecord>, ReadError> {
        Ok(self.0.lock().map.last_key_value().map(|(k, v)| LogRecord { index: *k, payload: v.clone() }))
    }
    pub fn sync_stats(&self) -> SyncStats {
        SyncStats::default()
    }
}
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    pub path: PathBuf,
    pub len: u64,
    pub meta: Vec<u8>,
}
#[derive(Default)]
struct StateInner {
    kv: MemoryKv,
    applied: Option<Vec<u8>>,
    membership: Option<Vec<u8>>,
    snap: Option<SnapshotFile>,
    n: u64,
}
#[derive(Clone)]
pub struct StateStore {
    inner: Arc<RwLock<StateInner>>,
    dir: PathBuf,
}
type Dump = (BTreeMap<Vec<u8>, Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);
pub struct Incoming {
    pub file: std::fs::File,
    pub path: PathBuf,
}
impl Incoming {
    pub fn write(&mut self, b: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(b).map_err(|e| WriteError(e.to_string()))
    }
}
impl StateStore {
    pub fn new(dir: &Path) -> Self {
        Self { inner: Arc::default(), dir: dir.to_owned() }
    }
    pub fn apply(&self, c: Vec<Change>, applied: Vec<u8>, m: Option<Vec<u8>>) -> Result<(), WriteError> {
        let mut i = self.inner.write();
        i.kv.commit(c);
        i.applied = Some(applied);
        if m.is_some() {
            i.membership = m;
        }
        Ok(())
    }
    pub fn applied(&self) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.inner.read().applied.clone())
    }
    pub fn membership(&self) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.inner.read().membership.clone())
    }
    pub fn build_snapshot(&self, meta: Vec<u8>) -> Result<SnapshotFile, WriteError> {
        let mut i = self.inner.write();
        i.n += 1;
        let path = self.dir.join(format!("snap-{}", i.n));
        let d: Dump = (i.kv.0.clone(), i.applied.clone(), i.membership.clone());
        let bytes = rmp_serde::to_vec(&d).map_err(|e| WriteError(e.to_string()))?;
        std::fs::write(&path, &bytes).map_err(|e| WriteError(e.to_string()))?;
        let s = SnapshotFile { path, len: bytes.len() as u64, meta };
        i.snap = Some(s.clone());
        Ok(s)
    }
    pub fn current_snapshot(&self) -> Result<Option<SnapshotFile>, ReadError> {
        Ok(self.inner.read().snap.clone())
    }
    pub fn new_incoming(&self) -> Result<Incoming, WriteError> {
        let path = self.dir.join("incoming");
        let file = std::fs::File::create(&path).map_err(|e| WriteError(e.to_string()))?;
        Ok(Incoming { file, path })
    }
    pub fn install_snapshot(&self, inc: &Path, meta: Vec<u8>) -> Result<(), WriteError> {
        let bytes = std::fs::read(inc).map_err(|e| WriteError(e.to_string()))?;
        let d: Dump = rmp_serde::from_slice(&bytes).map_err(|e| WriteError(e.to_string()))?;
        let mut i = self.inner.write();
        i.kv.0 = d.0;
        i.applied = d.1;
        i.membership = d.2;
        i.n += 1;
        let path = self.dir.join(format!("snap-{}", i.n));
        if inc != path {
            std::fs::copy(inc, &path).map_err(|e| WriteError(e.to_string()))?;
        }
        i.snap = Some(SnapshotFile { path, len: bytes.len() as u64, meta });
        Ok(())
    }
}
impl Kv for StateStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvFault> {
        self.inner.read().kv.get(key)
    }
    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<Pair>, KvFault> {
        self.inner.read().kv.scan(from, to, limit, reverse)
    }
}
