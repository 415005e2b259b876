//! The disk of one node: databases of which a crash leaves what was synced, and a prefix of the rest.
//!
//! Small files that are written whole and renamed (pointers, snapshots) are real ones in memory; what the stores promise
//! of them is tested where power cuts are (`storage/tests/crash.rs`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use palisade_storage::{Database, LogStore, Machine, Part, StateStore, range_of};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::rng::Rng;

type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// A disk with all that is on it, through all runs of the node's process.
pub(crate) struct Disk {
    faults: Arc<Mutex<Faults>>,
    databases: Mutex<BTreeMap<PathBuf, Arc<Base>>>,
    log: Notify,
    state: Notify,
    waiting: Mutex<Option<Instant>>,
    rng: Mutex<Rng>,
}

/// What is wrong with it.
#[derive(Default)]
struct Faults {
    /// Writes that are still taken, if their number is limited.
    writes_left: Option<u64>,
    /// The next sync fails.
    fail_sync: bool,
    /// A sync takes this much longer.
    slow: Duration,
    full: bool,
    /// It says that it is as good as full of what could be compacted.
    bloated: bool,
}

struct Base {
    faults: Arc<Mutex<Faults>>,
    content: Mutex<Stored>,
}

#[derive(Default)]
struct Stored {
    now: Content,
    synced: Content,
    pending: Vec<Changes>,
    tip: u64,
}

fn make(content: &mut Content, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => content.insert(key.clone(), value.clone()),
            None => content.remove(key),
        };
    }
}

fn gone() -> io::Error {
    io::Error::other("the disk is gone")
}

impl Disk {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            faults: Arc::default(),
            databases: Mutex::default(),
            log: Notify::new(),
            state: Notify::new(),
            waiting: Mutex::default(),
            rng: Mutex::new(rng),
        }
    }

    pub(crate) fn set_slow(&self, slow: Duration) {
        self.faults.lock().slow = slow;
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.faults.lock().full = full;
    }

    pub(crate) fn set_bloated(&self, bloated: bool) {
        self.faults.lock().bloated = bloated;
    }

    pub(crate) fn fail_next_sync(&self) {
        self.faults.lock().fail_sync = true;
    }

    /// From now on nothing is wrong with it. Tells whether a sync was still to fail: then none has.
    pub(crate) fn heal(&self) -> bool {
        let mut faults = self.faults.lock();
        let to_fail = faults.fail_sync;
        // A write that a dying machine is in the middle of stays torn.
        *faults = Faults {
            writes_left: faults.writes_left,
            ..Faults::default()
        };
        to_fail
    }

    /// Bytes free.
    pub(crate) fn free(&self) -> u64 {
        // Full enough that appends wait, and not so full that votes are refused.
        if self.faults.lock().full {
            24 << 20
        } else {
            1 << 40
        }
    }

    /// The machine dies in the middle of its next write: that gets as far as `writes`.
    pub(crate) fn tear(&self, writes: u64) {
        self.faults.lock().writes_left = Some(writes);
    }

    /// What the machine finds when it is started again. Returns how many writes were lost.
    pub(crate) fn crash(&self) -> usize {
        let mut faults = self.faults.lock();
        (faults.writes_left, faults.fail_sync) = (None, false);
        drop(faults);
        *self.waiting.lock() = None;
        let mut rng = self.rng.lock();
        let mut lost = 0;
        for base in self.databases.lock().values() {
            let mut stored = base.content.lock();
            let pending = std::mem::take(&mut stored.pending);
            let kept = usize::try_from(rng.below(pending.len() as u64 + 1)).unwrap_or(0);
            lost += pending.len() - kept;
            let mut content = std::mem::take(&mut stored.synced);
            for changes in pending.iter().take(kept) {
                make(&mut content, changes);
            }
            stored.now.clone_from(&content);
            stored.synced = content;
        }
        lost
    }

    /// Gives the log its turns for as long as the node lives.
    pub(crate) async fn drive_log(self: Arc<Self>, log: LogStore) {
        /// The committer's own patience with a marker that nothing takes along.
        const IDLE: Duration = Duration::from_millis(500);
        const FULL: Duration = Duration::from_millis(100);
        loop {
            let woken = tokio::time::timeout(IDLE, self.log.notified()).await.is_ok();
            if woken {
                *self.waiting.lock() = Some(Instant::now());
            }
            loop {
                if woken {
                    let latency = self.rng.lock().millis(0, 3);
                    tokio::time::sleep(latency).await;
                    // A stall that begins or ends meanwhile counts from here.
                    let slow = self.faults.lock().slow;
                    tokio::time::sleep(slow).await;
                }
                if !log.turn() {
                    break;
                }
            }
            *self.waiting.lock() = None;
            if log.sync_stats().queue > 0 {
                tokio::time::sleep(FULL).await;
                self.log.notify_one();
            }
        }
    }

    /// The same for the state.
    pub(crate) async fn drive_state(self: Arc<Self>, state: StateStore) {
        loop {
            self.state.notified().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            state.turn();
        }
    }
}

impl Machine for Disk {
    fn open(&self, dir: &Path, fresh: bool) -> io::Result<Arc<dyn Database>> {
        let mut databases = self.databases.lock();
        if fresh {
            databases.remove(dir);
        }
        let base = databases.entry(dir.to_path_buf()).or_insert_with(|| {
            Arc::new(Base {
                faults: Arc::clone(&self.faults),
                content: Mutex::default(),
            })
        });
        Ok(Arc::clone(base) as Arc<dyn Database>)
    }

    fn wake(&self, part: Part) {
        match part {
            Part::Log => self.log.notify_one(),
            Part::State => self.state.notify_one(),
        }
    }

    fn waiting(&self, part: Part) -> Option<Duration> {
        match part {
            Part::Log => self.waiting.lock().map(|since| since.elapsed()),
            Part::State => None,
        }
    }
}

impl Database for Base {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.content.lock().now.get(key).cloned())
    }

    fn apply(&self, changes: Changes) -> io::Result<()> {
        if let Some(left) = &mut self.faults.lock().writes_left {
            *left = left.checked_sub(1).ok_or_else(gone)?;
        }
        let mut stored = self.content.lock();
        make(&mut stored.now, &changes);
        stored.pending.push(changes);
        Ok(())
    }

    fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        limit: usize,
    ) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(range_of(&self.content.lock().now, from, to, reverse, limit))
    }

    fn sync(&self, seq: u64) -> io::Result<Duration> {
        let mut faults = self.faults.lock();
        if faults.writes_left.is_some() {
            return Err(gone());
        }
        if std::mem::take(&mut faults.fail_sync) {
            return Err(io::Error::from_raw_os_error(5));
        }
        drop(faults);
        let mut stored = self.content.lock();
        let pending = std::mem::take(&mut stored.pending);
        for changes in &pending {
            make(&mut stored.synced, changes);
        }
        stored.tip = seq;
        Ok(Duration::from_millis(1))
    }

    fn tip(&self) -> u64 {
        self.content.lock().tip
    }

    fn size(&self) -> u64 {
        let content = self.content.lock();
        let held: usize = content
            .now
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let held = held as u64;
        if self.faults.lock().bloated {
            held * 8 + (64 << 20)
        } else {
            held
        }
    }
}
