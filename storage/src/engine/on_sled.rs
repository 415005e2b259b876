//! One sled database, opened and synced by the recipe that survives a power cut.
//!
//! What sled 0.34 does not do by itself, and this file does:
//! - `flush()` is no fsync on Linux: [`OnSled::sync`] adds our own `fdatasync` on the `db` file.
//! - Nodes of its tree above 128 KiB go to files in `blobs/` that are never synced: we keep values so small that
//!   it does not happen, and sync such files all the same if they appear.
//! - `conf`, new names and its own snapshot are not synced at creation: done after each open.
//! - At open it trusts what it reads, which after a mere process death may still be in the page cache only, and
//!   writes conclusions from it to a synced file: so everything is synced before the open, too.
//! - A damaged record makes it end its log there, silently. The `tip` file says how far we had got, so that a
//!   store that ends too early is noticed.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;

use crate::{
    error::{Damage, OpenError, ReadError, WriteError, is_no_space},
    files,
};

const TIP_MAGIC: &[u8; 8] = b"PALtip01";
const TIP_SLOT: u64 = 512;
/// Far longer than the step of any file system's clock.
const TICK: Duration = Duration::from_secs(2);

/// A database with its synced-ness in our hands.
pub(super) struct OnSled {
    dir: PathBuf,
    tree: sled::Tree,
    db: sled::Db,
    db_file: File,
    tip: Mutex<Tip>,
    blobs: Mutex<Blobs>,
    skip_fdatasync: bool,
}

/// What was seen in `blobs/`.
#[derive(Default)]
struct Blobs {
    synced: BTreeSet<OsString>,
    /// When the directory changed last, if it was looked at long enough afterwards.
    settled: Option<SystemTime>,
}

struct Tip {
    file: File,
    slot: u64,
    seq: u64,
}

impl OnSled {
    /// Opens the database in `dir` and its one tree; only a fresh one is created, so that a missing file is noticed.
    pub(super) fn open(
        dir: &Path,
        fresh: bool,
        cache: u64,
        skip_fdatasync: bool,
    ) -> Result<OnSled, OpenError> {
        let io_err = |e| OpenError::io(dir, e);
        for file in ["db", "conf"] {
            if !fresh && !dir.join(file).exists() {
                return Err(Damage::new(&dir.join(file), "the database", "the file is missing").into());
            }
        }
        files::make_dir(dir).map_err(io_err)?;
        if !skip_fdatasync {
            settle(dir).map_err(io_err)?;
        }
        let db = open_sled(dir, cache)?;
        let tree = guarded(dir, || db.open_tree("palisade")).map_err(|e| open_error(dir, e))?;
        guarded(dir, || db.flush()).map_err(|e| open_error(dir, e))?;
        let tip = if fresh {
            Tip::create(dir).map_err(io_err)?
        } else {
            Tip::open(dir)?
        };
        if !skip_fdatasync {
            settle(dir).map_err(io_err)?;
            files::sync_dir(&files::parent(dir)).map_err(io_err)?;
        }
        let db_file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(dir.join("db"))
            .map_err(io_err)?;
        Ok(OnSled {
            dir: dir.to_path_buf(),
            tree,
            db,
            db_file,
            tip: Mutex::new(tip),
            blobs: Mutex::new(Blobs::default()),
            skip_fdatasync,
        })
    }

    /// The highest sequence number known to have been durable, from the tip file.
    pub(super) fn tip(&self) -> u64 {
        self.tip.lock().seq
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, ReadError> {
        guarded(&self.dir, || self.tree.get(key)).map_err(|e| self.read_error(key, e))
    }

    pub(super) fn insert(&self, key: &[u8], value: Vec<u8>) -> Result<(), WriteError> {
        guarded(&self.dir, || self.tree.insert(key, value))
            .map(|_| ())
            .map_err(write_error)
    }

    pub(super) fn remove(&self, key: &[u8]) -> Result<(), WriteError> {
        guarded(&self.dir, || self.tree.remove(key))
            .map(|_| ())
            .map_err(write_error)
    }

    pub(super) fn apply(&self, batch: sled::Batch) -> Result<(), WriteError> {
        guarded(&self.dir, || self.tree.apply_batch(batch)).map_err(write_error)
    }

    /// Visits keys in `from..to` (unbounded if `to` is none), which is not empty, in order until `visit` returns false.
    pub(super) fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        let mut iter = match to {
            Some(to) => self.tree.range(from..to),
            None => self.tree.range(from..),
        };
        loop {
            let next = catch_unwind(AssertUnwindSafe(|| {
                if reverse { iter.next_back() } else { iter.next() }
            }));
            match next {
                Ok(Some(Ok((k, v)))) => {
                    if !visit(&k, &v)? {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Ok(Some(Err(e))) => return Err(self.read_error(from, e)),
                Err(_) => {
                    return Err(Damage::new(&self.dir, "a page of the tree", "it cannot be decoded").into());
                }
            }
        }
    }

    /// Makes everything written so far durable: sled's flush, then our own fdatasync; then notes in the tip file
    /// that the store has got as far as `seq`. Returns how long the fdatasync took. Any error is final.
    pub(super) fn sync(&self, seq: u64) -> Result<Duration, WriteError> {
        guarded(&self.dir, || self.db.flush()).map_err(write_error)?;
        self.sync_blobs().map_err(|e| failed("syncing blobs", &e))?;
        let start = Instant::now();
        if !self.skip_fdatasync {
            self.db_file.sync_data().map_err(|e| failed("fdatasync", &e))?;
        }
        let took = start.elapsed();
        self.tip
            .lock()
            .write(seq)
            .map_err(|e| failed("writing the tip file", &e))?;
        Ok(took)
    }

    /// Syncs blob files that are new. There are none unless a value slipped past our limits, so this is one look at
    /// the time when the directory last changed.
    fn sync_blobs(&self) -> io::Result<()> {
        let dir = self.dir.join("blobs");
        let mut blobs = self.blobs.lock();
        let changed = fs::metadata(&dir)?.modified()?;
        if blobs.settled == Some(changed) {
            return Ok(());
        }
        let looked = SystemTime::now();
        let mut seen = BTreeSet::new();
        let mut fresh = false;
        for entry in fs::read_dir(&dir)? {
            let name = entry?.file_name();
            if !blobs.synced.contains(&name) {
                fresh = true;
                if !self.skip_fdatasync {
                    files::sync_if_there(&dir.join(&name))?;
                }
            }
            seen.insert(name);
        }
        blobs.synced = seen;
        if fresh && !self.skip_fdatasync {
            files::sync_dir(&dir)?;
        }
        // A file that appears within one tick of the file system's clock leaves the time as it is.
        let quiet = looked.duration_since(changed).is_ok_and(|quiet| quiet > TICK);
        blobs.settled = quiet.then_some(changed);
        Ok(())
    }

    /// Bytes on disk.
    pub(super) fn size_on_disk(&self) -> u64 {
        files::disk_use(&self.dir)
    }

    fn read_error(&self, key: &[u8], e: sled::Error) -> ReadError {
        match e {
            sled::Error::Corruption { .. } => Damage::new(
                &self.dir,
                format!("the page of key {}", crate::error::escaped(key)),
                e.to_string(),
            )
            .into(),
            e => ReadError::Failed(e.to_string()),
        }
    }
}

impl Tip {
    fn create(dir: &Path) -> io::Result<Tip> {
        let path = dir.join("tip");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        file.write_all_at(&[0; 2 * TIP_SLOT as usize], 0)?;
        let mut tip = Tip {
            file,
            slot: 0,
            seq: 0,
        };
        tip.write(0)?;
        tip.write(0)?;
        tip.file.sync_all()?;
        Ok(tip)
    }

    fn open(dir: &Path) -> Result<Tip, OpenError> {
        let path = dir.join("tip");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => {
                    OpenError::from(Damage::new(&path, "the tip record", "the file is missing"))
                }
                _ => OpenError::io(&path, e),
            })?;
        let mut best = None;
        for slot in 0..2u64 {
            let mut buf = [0u8; 20];
            if file.read_exact_at(&mut buf, slot * TIP_SLOT).is_err() {
                continue;
            }
            let (body, crc) = buf.split_at(16);
            let seq = u64::from_be_bytes(body[8..].try_into().expect("eight bytes"));
            if &body[..8] == TIP_MAGIC
                && crc == crc32c::crc32c(body).to_be_bytes()
                && best.is_none_or(|(_, s)| seq >= s)
            {
                best = Some((slot, seq));
            }
        }
        // One torn slot is what a power cut leaves; both gone is damage.
        let (slot, seq) =
            best.ok_or_else(|| Damage::new(&path, "the tip record", "both copies have a bad checksum"))?;
        Ok(Tip {
            file,
            slot: slot ^ 1,
            seq,
        })
    }

    /// Not synced: it only has to survive what the page cache survives, and must never be ahead of the data.
    fn write(&mut self, seq: u64) -> io::Result<()> {
        let mut buf = [0u8; 20];
        buf[..8].copy_from_slice(TIP_MAGIC);
        buf[8..16].copy_from_slice(&seq.to_be_bytes());
        let crc = crc32c::crc32c(&buf[..16]);
        buf[16..].copy_from_slice(&crc.to_be_bytes());
        self.file.write_all_at(&buf, self.slot * TIP_SLOT)?;
        self.slot ^= 1;
        self.seq = seq;
        Ok(())
    }
}

/// Syncs all files of a closed or quiet database, and removes half-written snapshots of sled's own, which it would
/// take for real ones.
fn settle(dir: &Path) -> io::Result<()> {
    for sub in [dir.to_path_buf(), dir.join("blobs")] {
        let entries = match fs::read_dir(&sub) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_string_lossy().ends_with(".generating") {
                files::remove_all(&entry.path())?;
            } else if entry.file_type()?.is_file() {
                files::sync_if_there(&entry.path())?;
            }
        }
        files::sync_dir(&sub)?;
    }
    Ok(())
}

fn open_sled(dir: &Path, cache: u64) -> Result<sled::Db, OpenError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache)
            .flush_every_ms(None);
        match guarded(dir, || config.open()) {
            Ok(db) => return Ok(db),
            // Our own lock file keeps other processes out; what still holds sled's is the tail of an earlier handle
            // of this process, whose buffers are let go by another thread in a moment.
            Err(sled::Error::Io(e)) if e.to_string().contains("could not acquire lock") => {
                if Instant::now() > deadline {
                    return Err(OpenError::Locked { path: dir.join("db") });
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(e) => return Err(open_error(dir, e)),
        }
    }
}

/// Runs a call into sled; a panic in there (it asserts on damaged files) becomes a corruption error.
fn guarded<T>(dir: &Path, f: impl FnOnce() -> sled::Result<T>) -> sled::Result<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(r) => r,
        Err(p) => {
            let what = crate::panic_text(p.as_ref());
            tracing::error!(dir = %dir.display(), what, "the storage engine panicked");
            Err(sled::Error::ReportableBug(format!("the engine gave up: {what}")))
        }
    }
}

fn open_error(dir: &Path, e: sled::Error) -> OpenError {
    match e {
        sled::Error::Io(e) if is_no_space(&e) => OpenError::NoSpace {
            path: dir.to_path_buf(),
        },
        sled::Error::Io(e) if e.kind() == io::ErrorKind::PermissionDenied => OpenError::io(dir, e),
        e => Damage::new(dir, "the database", e.to_string()).into(),
    }
}

fn write_error(e: sled::Error) -> WriteError {
    WriteError::Failed(e.to_string())
}

fn failed(what: &str, e: &io::Error) -> WriteError {
    WriteError::Failed(format!("{what}: {e}"))
}
