//! The Raft log and vote: one sled database, one committer thread, group commit.
//!
//! An append is visible to readers as soon as the call returns and durable when its callback fires. All writes,
//! votes included, go through one queue and reach the disk in that order, because an entry that is durable before
//! the vote of its term may be overwritten after it was committed.

mod committer;
mod compact;
mod load;
mod notes;
mod record;
mod view;

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::{
    engine::{Engine, EngineOptions},
    error::{Damage, OpenError, ReadError, WriteError},
    files::{self, DirLock, FreeSpace},
    generation::Generations,
    machine::{Machine, Part},
};
use committer::Stats;
pub(crate) use compact::needed as compaction_needed;
use view::{Front, Op};

/// The largest payload of one record.
pub const MAX_RECORD: usize = 8 << 20;

/// One entry of the log. What the payload means is the caller's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its index.
    pub index: u64,
    /// Its content, at most [`MAX_RECORD`] bytes.
    pub payload: Vec<u8>,
}

/// Called once, from the committer thread, in the order of submission, when the write is durable or has failed.
pub type Done = Box<dyn FnOnce(Result<(), WriteError>) + Send + 'static>;

/// Called once when the disk has failed and the process must stop.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Told how long a sync took.
pub type OnSync = Arc<dyn Fn(Duration) + Send + Sync>;

/// What an append meets when the disk is nearly full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// It is refused with [`WriteError::NoSpace`] and taken back from the readers' view.
    Refuse,
    /// It waits, unacknowledged, until there is space: for a caller to whom a failed append is fatal. Such a caller is
    /// expected to append no more once [`SyncStats::no_space`] says so; what is queued by then may use half of the
    /// reserve.
    Wait,
}

/// Bytes that a log keeps free on its disk, where its options do not say otherwise.
pub const LOG_RESERVE: u64 = 64 << 20;

/// How the log is opened.
#[derive(Clone)]
pub struct LogOptions {
    /// Bytes that must stay free on the disk; below it appends are not taken. Votes, truncation and purging
    /// may use the reserve.
    pub reserve: u64,
    /// What an append meets below the reserve.
    pub on_full: OnFull,
    /// Where free space is read from.
    pub free_space: FreeSpace,
    /// Called when a write or sync has failed for good.
    pub on_fatal: Option<OnFatal>,
    /// Told how long each sync took.
    pub on_sync: Option<OnSync>,
    /// The log must be there already: for a node that has been started before.
    pub must_exist: bool,
    /// sled's page cache, in bytes.
    pub cache: u64,
    /// Leaves out every fdatasync. Only there to show that the power-loss test can fail.
    #[doc(hidden)]
    pub skip_fdatasync: bool,
    /// What a simulation has in place of sled and the committer's thread.
    pub machine: Option<Arc<dyn Machine>>,
}

impl LogOptions {
    fn engine(&self, fresh: bool) -> EngineOptions<'_> {
        EngineOptions {
            fresh,
            cache: self.cache,
            skip_fdatasync: self.skip_fdatasync,
            machine: self.machine.as_deref(),
        }
    }
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            reserve: LOG_RESERVE,
            on_full: OnFull::Refuse,
            free_space: FreeSpace::of_the_disk(),
            on_fatal: None,
            on_sync: None,
            must_exist: false,
            cache: 16 << 20,
            skip_fdatasync: false,
            machine: None,
        }
    }
}

impl std::fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogOptions")
            .field("reserve", &self.reserve)
            .field("on_full", &self.on_full)
            .finish()
    }
}

/// How the disk has been doing.
#[derive(Debug, Clone, Default)]
pub struct SyncStats {
    /// fdatasync calls since the log was opened.
    pub count: u64,
    /// Median of the recent ones.
    pub p50: Duration,
    /// 99th percentile of the recent ones.
    pub p99: Duration,
    /// What failed, if something has.
    pub last_error: Option<String>,
    /// When the last one ended.
    pub last_completed: Option<Instant>,
    /// How long the group that is being written has been at it: a watchdog's question.
    pub in_progress: Option<Duration>,
    /// Writes that wait in the queue.
    pub queue: usize,
    /// Appends are being refused or held back because the disk is nearly full.
    pub no_space: bool,
}

/// The Raft log. Clones share one store; it is closed, and what is queued written, when the last one is dropped.
#[derive(Clone)]
pub struct LogStore {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    committer: Mutex<Committer>,
}

/// Who writes what is queued.
enum Committer {
    Thread(thread::JoinHandle<()>),
    /// Nobody by themselves: a simulation gives the turns.
    Turns(Box<committer::State>),
    Ended,
}

pub(crate) struct Shared {
    front: Mutex<Front>,
    wake: Condvar,
    engine: RwLock<Arc<Engine>>,
    stats: Mutex<Stats>,
    opts: LogOptions,
    generations: Generations,
    _lock: DirLock,
}

impl LogStore {
    /// Opens or creates the log in `dir`, verifies all of it and starts its committer. Damage of any kind is an
    /// error: entries are never silently missing.
    pub fn open(dir: &Path, opts: LogOptions) -> Result<LogStore, OpenError> {
        files::make_dir(dir).map_err(|e| OpenError::io(dir, e))?;
        let generations = Generations::new(dir, "log");
        let lock = DirLock::take(&generations.lock_path())?;
        let found = generations.find(opts.must_exist)?;
        let path = generations.dir(found.number);
        let started = Instant::now();
        let engine = Engine::open(&path, &opts.engine(found.fresh))?;
        let loaded = load::load(&engine)?;
        if found.fresh {
            generations.created()?;
        }
        tracing::debug!(dir = %path.display(), last = ?loaded.front.last, took = ?started.elapsed(), "log opened");
        let shared = Arc::new(Shared {
            front: Mutex::new(loaded.front),
            wake: Condvar::new(),
            engine: RwLock::new(Arc::new(engine)),
            stats: Mutex::new(Stats::default()),
            opts,
            generations,
            _lock: lock,
        });
        let mut state = committer::State::new(loaded.seq, found.number, &shared);
        let committer = if shared.opts.machine.is_some() {
            committer::prepare(&shared, &mut state)
                .map_err(|e| OpenError::io(dir, std::io::Error::other(e)))?;
            Committer::Turns(Box::new(state))
        } else {
            let thread = thread::Builder::new()
                .name("log-committer".to_owned())
                .spawn({
                    let shared = shared.clone();
                    move || committer::run(&shared, state)
                })
                .map_err(|e| OpenError::io(dir, e))?;
            Committer::Thread(thread)
        };
        Ok(LogStore {
            handle: Arc::new(Handle {
                shared,
                committer: Mutex::new(committer),
            }),
        })
    }

    /// One round of the committer, for a [`Machine`]: writes one group of what is queued, syncs, answers. Tells
    /// whether more is waiting.
    pub fn turn(&self) -> bool {
        self.handle.turn()
    }

    /// Appends records that follow the last one, and one another. Into an empty log that was never purged any
    /// first index is taken. Readers see them when this returns; `done` fires when they are durable.
    pub fn append(&self, records: Vec<LogRecord>, done: Done) {
        self.submit(done, |front, done| front.append(records, done));
    }

    /// Saves the vote, in the same queue as the log.
    pub fn save_vote(&self, vote: Vec<u8>, done: Done) {
        self.submit(done, |front, done| front.save_vote(vote, done));
    }

    /// The vote saved last.
    pub fn vote(&self) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.shared().front.lock().vote.clone())
    }

    /// Notes how far the log is committed; becomes durable with the next write or within a second.
    pub fn save_committed(&self, committed: Vec<u8>) {
        let mut front = self.shared().front.lock();
        if front.committed.as_ref() != Some(&committed) {
            front.committed = Some(committed);
            front.committed_dirty = true;
        }
    }

    /// What `save_committed` was given last.
    pub fn committed(&self) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.shared().front.lock().committed.clone())
    }

    /// Removes the entries from `index` on.
    pub fn truncate_from(&self, index: u64, done: Done) {
        self.submit(done, |front, done| front.truncate_from(index, done));
    }

    /// Removes the entries up to and including `index`, and remembers `marker`. The space is given back little by
    /// little afterwards.
    pub fn purge_upto(&self, index: u64, marker: Vec<u8>, done: Done) {
        self.submit(done, |front, done| front.purge_upto(index, marker, done));
    }

    /// The last purged index and the marker that was stored with it.
    pub fn purged(&self) -> Option<(u64, Vec<u8>)> {
        self.shared().front.lock().purged.clone()
    }

    /// Index of the first and the last entry, if there is any.
    pub fn bounds(&self) -> Option<(u64, u64)> {
        let front = self.shared().front.lock();
        front.last.map(|last| (front.first(), last))
    }

    /// The entries of `from..to_exclusive` that exist, in order, stopping after `max_bytes` of payload but never
    /// before the first. Checksums are verified; an entry that should be there and is not is an error.
    pub fn read(&self, from: u64, to_exclusive: u64, max_bytes: usize) -> Result<Vec<LogRecord>, ReadError> {
        let shared = self.shared();
        // A truncation or purge may take entries away between our look at the view and at the disk: look again.
        for _ in 0..64 {
            let (engine, plan) = {
                let front = shared.front.lock();
                (
                    shared.engine.read().clone(),
                    front.plan_read(from, to_exclusive, max_bytes),
                )
            };
            match plan.run(&engine, max_bytes) {
                Ok(records) => return Ok(records),
                Err(e) if shared.front.lock().epoch == plan.epoch => return Err(e),
                Err(_) => {}
            }
        }
        Err(ReadError::Failed(
            "the log kept changing while it was read".to_owned(),
        ))
    }

    /// The last entry.
    pub fn last(&self) -> Result<Option<LogRecord>, ReadError> {
        loop {
            let Some((_, last)) = self.bounds() else {
                return Ok(None);
            };
            if let Some(record) = self.read(last, last + 1, usize::MAX)?.pop() {
                return Ok(Some(record));
            }
        }
    }

    /// Keeps a note beside the log, for the next run of this process. It replaces the last one, and may be lost
    /// with the power.
    pub fn keep_notes(&self, note: &[u8]) -> std::io::Result<()> {
        notes::write(&self.shared().generations.notes_path(), note)
    }

    /// The note that was kept last, if it is whole.
    pub fn notes(&self) -> Option<Vec<u8>> {
        notes::read(&self.shared().generations.notes_path())
    }

    /// How the disk has been doing.
    pub fn sync_stats(&self) -> SyncStats {
        let shared = self.shared();
        let queue = shared.front.lock().queue.len();
        let mut stats = shared.stats.lock().snapshot(queue);
        if let Some(machine) = &shared.opts.machine {
            stats.in_progress = machine.waiting(Part::Log);
        }
        stats
    }

    /// Bytes the log takes on the disk.
    pub fn size_on_disk(&self) -> u64 {
        let engine = self.shared().engine.read().clone();
        engine.size_on_disk()
    }

    /// Rewrites the log into a new database if it takes more than six times (and 32 MiB above) what it holds.
    /// Writes wait meanwhile. Tells whether it did.
    pub fn compact_if_needed(&self) -> Result<bool, WriteError> {
        let (tx, rx) = std::sync::mpsc::channel();
        self.submit(Box::new(|_| {}), |front, _| {
            front.push(Op::Compact(tx));
            Ok(())
        });
        if self.shared().opts.machine.is_some() {
            while self.turn() {}
            // On a full disk it is still in the queue.
            return match rx.try_recv() {
                Ok(done) => done,
                Err(std::sync::mpsc::TryRecvError::Empty) => Ok(false),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => Err(WriteError::Closed),
            };
        }
        rx.recv().map_err(|_| WriteError::Closed)?
    }

    /// Closes the log after writing what is queued. Later calls are answered [`WriteError::Closed`].
    pub fn close(&self) {
        self.handle.close();
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    fn submit(&self, done: Done, f: impl FnOnce(&mut Front, Done) -> Result<(), (Done, WriteError)>) {
        let shared = self.shared();
        let mut front = shared.front.lock();
        let refused = match front.state_error() {
            Some(e) => Err((done, e)),
            None => f(&mut front, done),
        };
        // A refusal takes its place in the queue as well, so that callbacks keep their order.
        let late = match refused {
            Ok(()) => None,
            Err((done, e)) if front.state_error().is_none() => {
                front.push(Op::Refused(e, done));
                None
            }
            Err((done, e)) => Some((done, e)),
        };
        drop(front);
        shared.wake.notify_one();
        if let Some(machine) = &shared.opts.machine {
            machine.wake(Part::Log);
        }
        if let Some((done, e)) = late {
            done(Err(e));
        }
    }
}

impl std::fmt::Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let front = self.shared().front.lock();
        f.debug_struct("LogStore")
            .field("last", &front.last)
            .field("purged", &front.purged)
            .finish()
    }
}

impl Handle {
    fn close(&self) {
        self.shared.front.lock().closing = true;
        self.shared.wake.notify_all();
        while self.turn() {}
        let committer = std::mem::replace(&mut *self.committer.lock(), Committer::Ended);
        if let Committer::Thread(thread) = committer {
            // The last clone may be dropped inside a callback, which runs on that very thread.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("the log committer panicked");
            }
        }
    }

    fn turn(&self) -> bool {
        // Taken out meanwhile, so that a callback may drop the last clone.
        let taken = std::mem::replace(&mut *self.committer.lock(), Committer::Ended);
        let Committer::Turns(mut state) = taken else {
            *self.committer.lock() = taken;
            return false;
        };
        let more = committer::turn(&self.shared, &mut state);
        *self.committer.lock() = Committer::Turns(state);
        more
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) fn entry_damage(engine: &Engine, index: u64, why: impl Into<String>) -> Damage {
    Damage::new(engine.dir(), format!("log entry {index}"), why)
}
