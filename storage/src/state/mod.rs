//! The state machine's data: one sled database apart from the log's, written without a sync for each entry,
//! because what a power cut takes from it is applied again from the log.
//!
//! That holds as long as the log still has it, so a snapshot is only finished after the state was synced: the log
//! is purged up to a snapshot, never further.

mod format;
mod install;
mod snapshot;
mod value;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::{
    OnFatal,
    engine::{Batch, Engine, EngineOptions},
    error::{Damage, OpenError, ReadError, WriteError, escaped},
    files::{self, DirLock, FreeSpace},
    generation::Generations,
    kv::{Change, Kv, KvFault, Pair},
    machine::{Machine, Part},
};
pub use format::SnapshotFault;
pub use snapshot::{IncomingSnapshot, SnapshotContents, SnapshotError, SnapshotFile};
use value::{DATA, META};
pub use value::{MAX_KEY, MAX_VALUE};

const APPLIED: &[u8] = b"applied";
const MEMBERSHIP: &[u8] = b"membership";

/// The applied marker and the membership, as far as there are any.
pub type Markers = (Option<Vec<u8>>, Option<Vec<u8>>);

/// How the state is opened.
#[derive(Clone)]
pub struct StateOptions {
    /// Bytes that must stay free on the disk. Less than the log's reserve, so that what the log took can be applied.
    pub reserve: u64,
    /// Where free space is read from.
    pub free_space: FreeSpace,
    /// Called when a write or sync has failed for good.
    pub on_fatal: Option<OnFatal>,
    /// The state must be there already: for a node that has been started before.
    pub must_exist: bool,
    /// sled's page cache, in bytes.
    pub cache: u64,
    /// How often what was applied is synced.
    pub sync_every: Duration,
    /// Leaves out every fdatasync. Only there to show that the power-loss test can fail.
    #[doc(hidden)]
    pub skip_fdatasync: bool,
    /// What a simulation has in place of sled and the syncing thread.
    pub machine: Option<Arc<dyn Machine>>,
}

impl StateOptions {
    fn engine(&self, fresh: bool) -> EngineOptions<'_> {
        EngineOptions {
            fresh,
            cache: self.cache,
            skip_fdatasync: self.skip_fdatasync,
            machine: self.machine.as_deref(),
        }
    }
}

impl Default for StateOptions {
    fn default() -> StateOptions {
        StateOptions {
            reserve: 16 << 20,
            free_space: FreeSpace::of_the_disk(),
            on_fatal: None,
            must_exist: false,
            cache: 32 << 20,
            sync_every: Duration::from_millis(500),
            skip_fdatasync: false,
            machine: None,
        }
    }
}

impl std::fmt::Debug for StateOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateOptions")
            .field("reserve", &self.reserve)
            .finish_non_exhaustive()
    }
}

/// The state machine's data. Clones share one store.
#[derive(Clone)]
pub struct StateStore {
    inner: Arc<Inner>,
    _closer: Arc<Closer>,
}

struct Inner {
    live: RwLock<Live>,
    data_dir: PathBuf,
    generations: Generations,
    opts: StateOptions,
    /// One sync at a time, so that the tip file only moves forward.
    syncing: Mutex<()>,
    /// One snapshot, installation or compaction at a time.
    maintenance: Mutex<()>,
    current: Mutex<Option<SnapshotFile>>,
    ticker: Mutex<Ticker>,
    wake: Condvar,
    failed: Mutex<Option<String>>,
    _lock: DirLock,
}

#[derive(Default)]
struct Ticker {
    dirty: bool,
    closing: bool,
}

/// The database in force.
struct Live {
    engine: Arc<Engine>,
    number: u64,
    seq: u64,
    /// Some values may be stored in parts: only then what is replaced must be looked at.
    parts: bool,
    export: Option<Export>,
}

/// A snapshot in the making: keys below `cursor` have been written out, and of the others that changed since it
/// was begun the old value is kept.
#[derive(Default)]
struct Export {
    cursor: Vec<u8>,
    old: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// Ends the syncing thread when the last handle goes.
struct Closer {
    inner: Weak<Inner>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl StateStore {
    /// Opens or creates the state in `data_dir`: directories `sm-<n>` and `snap`, pointer `sm.current`.
    pub fn open(data_dir: &Path, opts: StateOptions) -> Result<StateStore, OpenError> {
        let io_err = |e| OpenError::io(data_dir, e);
        files::make_dir(data_dir).map_err(io_err)?;
        let generations = Generations::new(data_dir, "sm");
        let lock = DirLock::take(&generations.lock_path())?;
        let found = generations.find(opts.must_exist)?;
        let dir = generations.dir(found.number);
        let engine = Engine::open(&dir, &opts.engine(found.fresh))?;
        let seq = read_seq(&engine).map_err(|e| match e {
            ReadError::Damaged(d) => OpenError::from(d),
            ReadError::Failed(why) => Damage::new(&dir, "the applied marker", why).into(),
        })?;
        if seq < engine.tip() {
            let why = format!(
                "it ends at write {seq}, and {} had been made durable",
                engine.tip()
            );
            return Err(Damage::new(&dir, "the end of the state", why).into());
        }
        if found.fresh {
            generations.created()?;
        }
        let live = Live::new(engine, found.number, seq).map_err(|e| match e {
            ReadError::Damaged(d) => OpenError::from(d),
            ReadError::Failed(why) => Damage::new(&dir, "the parts of values", why).into(),
        })?;
        let current = snapshot::find_current(data_dir).map_err(io_err)?;
        let inner = Arc::new(Inner {
            live: RwLock::new(live),
            data_dir: data_dir.to_path_buf(),
            generations,
            opts,
            syncing: Mutex::new(()),
            maintenance: Mutex::new(()),
            current: Mutex::new(current),
            ticker: Mutex::new(Ticker::default()),
            wake: Condvar::new(),
            failed: Mutex::new(None),
            _lock: lock,
        });
        let thread = if inner.opts.machine.is_some() {
            None
        } else {
            let ticking = inner.clone();
            let thread = thread::Builder::new()
                .name("state-sync".to_owned())
                .spawn(move || ticking.tick())
                .map_err(io_err)?;
            Some(thread)
        };
        let closer = Arc::new(Closer {
            inner: Arc::downgrade(&inner),
            thread: Mutex::new(thread),
        });
        Ok(StateStore {
            inner,
            _closer: closer,
        })
    }

    /// Applies changes, the applied marker and, if given, the membership, all or nothing. Not synced by itself.
    pub fn apply(
        &self,
        changes: Vec<Change>,
        applied: Vec<u8>,
        membership: Option<Vec<u8>>,
    ) -> Result<(), WriteError> {
        let inner = &self.inner;
        inner.check()?;
        let mut last: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let mut bytes = 0u64;
        for change in changes {
            let (key, value) = match change {
                Change::Put { key, value } => (key, Some(value)),
                Change::Delete { key } => (key, None),
            };
            value::check_size(&key, value.as_deref().unwrap_or_default())?;
            bytes += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
            last.insert(key, value);
        }
        value::check_size(APPLIED, &applied)?;
        value::check_size(MEMBERSHIP, membership.as_deref().unwrap_or_default())?;
        let mut live = inner.live.write();
        let free = inner.opts.free_space.at(live.engine.dir());
        if free < inner.opts.reserve.saturating_add(2 * bytes) {
            return Err(WriteError::NoSpace {
                free,
                reserve: inner.opts.reserve,
            });
        }
        let result = write(&mut live, last, &applied, membership);
        drop(live);
        match result {
            Ok(()) => {
                let mut ticker = inner.ticker.lock();
                if !std::mem::replace(&mut ticker.dirty, true) {
                    inner.wake.notify_one();
                    if let Some(machine) = &inner.opts.machine {
                        machine.wake(Part::State);
                    }
                }
                Ok(())
            }
            Err(e) => Err(inner.fail(e)),
        }
    }

    /// The applied marker and the membership stored with or before it.
    pub fn applied(&self) -> Result<Markers, ReadError> {
        let live = self.inner.live.read();
        live.markers()
    }

    /// What the syncing thread does each time, for a [`Machine`].
    pub fn turn(&self) {
        if self.inner.ticker.lock().dirty {
            // A failure has been told to whom it concerns.
            let _ = self.inner.sync();
        }
    }

    /// Makes everything applied so far durable.
    pub fn sync(&self) -> Result<(), WriteError> {
        self.inner.sync()
    }

    /// Reads every value: how many there are, and which are damaged.
    pub fn verify(&self) -> (u64, Vec<(Vec<u8>, ReadError)>) {
        let live = self.inner.live.read();
        let (mut count, mut damaged) = (0, Vec::new());
        let scanned = live
            .engine
            .scan(&[DATA], Some(&[DATA + 1]), false, |head, stored| {
                count += 1;
                if let Err(e) = value::load(&live.engine, head, stored) {
                    damaged.push((head[1..].to_vec(), e));
                }
                Ok(true)
            });
        if let Err(e) = scanned {
            damaged.push((Vec::new(), e));
        }
        (count, damaged)
    }

    /// Bytes the state takes on the disk, without snapshots.
    pub fn size_on_disk(&self) -> u64 {
        let engine = self.inner.live.read().engine.clone();
        engine.size_on_disk()
    }
}

fn write(
    live: &mut Live,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    applied: &[u8],
    membership: Option<Vec<u8>>,
) -> Result<(), WriteError> {
    let read_failed = |e: ReadError| WriteError::Failed(e.to_string());
    let engine = live.engine.clone();
    if let Some(export) = &mut live.export {
        for key in changes.keys() {
            if *key >= export.cursor && !export.old.contains_key(key) {
                let old = value::get(&engine, DATA, key).map_err(read_failed)?;
                export.old.insert(key.clone(), old);
            }
        }
    }
    let mut batch = Batch::default();
    let mut id = live.seq;
    let (parts, mut some_in_parts) = (live.parts, live.parts);
    let mut set = |space: u8, key: &[u8], new: Option<&[u8]>| {
        let head = value::head_key(space, key);
        if parts {
            value::remove_parts(&engine, &mut batch, &head)?;
        }
        match new {
            Some(new) => {
                id += 1;
                some_in_parts |= value::in_parts(new.len());
                value::put(&mut batch, head, new, id);
            }
            None => batch.remove(head),
        }
        Ok(())
    };
    for (key, new) in &changes {
        set(DATA, key, new.as_deref()).map_err(read_failed)?;
    }
    if let Some(membership) = &membership {
        set(META, MEMBERSHIP, Some(membership)).map_err(read_failed)?;
    }
    // The running number stands before the marker: it names parts, and tells whether the end of the store is lost.
    let seq = id + 1;
    let mut marker = seq.to_be_bytes().to_vec();
    marker.extend_from_slice(applied);
    value::put(&mut batch, value::head_key(META, APPLIED), &marker, seq);
    live.parts = some_in_parts;
    engine.apply(batch)?;
    live.seq = seq;
    Ok(())
}

fn applied_marker(engine: &Engine) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
    let Some(marker) = value::get(engine, META, APPLIED)? else {
        return Ok(None);
    };
    match marker.split_first_chunk::<8>() {
        Some((seq, applied)) => Ok(Some((u64::from_be_bytes(*seq), applied.to_vec()))),
        None => Err(Damage::new(engine.dir(), "the applied marker", "it is cut short").into()),
    }
}

fn read_seq(engine: &Engine) -> Result<u64, ReadError> {
    Ok(applied_marker(engine)?.map_or(0, |(seq, _)| seq))
}

impl Live {
    fn new(engine: Engine, number: u64, seq: u64) -> Result<Live, ReadError> {
        Ok(Live {
            parts: value::any_parts(&engine)?,
            engine: Arc::new(engine),
            number,
            seq,
            export: None,
        })
    }

    fn markers(&self) -> Result<Markers, ReadError> {
        let applied = applied_marker(&self.engine)?.map(|(_, applied)| applied);
        Ok((applied, value::get(&self.engine, META, MEMBERSHIP)?))
    }

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, ReadError> {
        let mut out = Vec::new();
        if limit == 0 {
            return Ok(out);
        }
        let start = value::head_key(DATA, from);
        let end = to.map_or(vec![DATA + 1], |to| value::head_key(DATA, to));
        self.engine.scan(&start, Some(&end), reverse, |head, stored| {
            out.push((head[1..].to_vec(), value::load(&self.engine, head, stored)?));
            Ok(out.len() < limit)
        })?;
        Ok(out)
    }
}

impl Inner {
    fn check(&self) -> Result<(), WriteError> {
        match &*self.failed.lock() {
            Some(why) => Err(WriteError::Failed(why.clone())),
            None => Ok(()),
        }
    }

    /// A failed write is final: what the engine holds and what the disk holds may differ from here on.
    fn fail(&self, e: WriteError) -> WriteError {
        let mut failed = self.failed.lock();
        let first = failed.is_none();
        let why = e.to_string();
        failed.get_or_insert_with(|| why.clone());
        drop(failed);
        if first {
            tracing::error!(why, "the state cannot be written; this node must stop");
            if let Some(on_fatal) = &self.opts.on_fatal {
                on_fatal(&why);
            }
        }
        e
    }

    fn sync(&self) -> Result<(), WriteError> {
        self.check()?;
        let _one = self.syncing.lock();
        self.ticker.lock().dirty = false;
        let (engine, seq) = {
            let live = self.live.read();
            (live.engine.clone(), live.seq)
        };
        engine.sync(seq).map(|_| ()).map_err(|e| self.fail(e))
    }

    fn tick(&self) {
        loop {
            let mut ticker = self.ticker.lock();
            while !ticker.dirty && !ticker.closing {
                self.wake.wait(&mut ticker);
            }
            if !ticker.closing {
                self.wake.wait_for(&mut ticker, self.opts.sync_every);
            }
            let (dirty, closing) = (ticker.dirty, ticker.closing);
            drop(ticker);
            if dirty && self.sync().is_err() {
                return;
            }
            if closing {
                return;
            }
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else { return };
        inner.ticker.lock().closing = true;
        inner.wake.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the state's syncing thread panicked");
        }
    }
}

impl std::fmt::Debug for StateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateStore")
            .field("generation", &self.inner.live.read().number)
            .finish_non_exhaustive()
    }
}

fn fault(key: &[u8], e: &ReadError) -> KvFault {
    KvFault {
        key: escaped(key),
        why: e.to_string(),
    }
}

impl Kv for StateStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvFault> {
        let live = self.inner.live.read();
        value::get(&live.engine, DATA, key).map_err(|e| fault(key, &e))
    }

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, KvFault> {
        let live = self.inner.live.read();
        live.scan(from, to, limit, reverse).map_err(|e| fault(from, &e))
    }
}
