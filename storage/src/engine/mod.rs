//! The database under a store: sled by our recipe, or what a simulation gives instead.

mod on_sled;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    error::{OpenError, ReadError, WriteError},
    files,
    machine::{Database, Machine},
};
use on_sled::OnSled;

/// Chunks and inline values stay below this, so that a full leaf (20 items at worst) stays below sled's blob limit.
pub(crate) const SMALL: usize = 4096;
/// Pairs taken from a given database in one go.
const STEP: usize = 64;

/// A database with its synced-ness in our hands.
pub(crate) struct Engine {
    dir: PathBuf,
    base: Base,
}

enum Base {
    Sled(Box<OnSled>),
    Given(Arc<dyn Database>),
}

/// How a database is opened.
pub(crate) struct EngineOptions<'a> {
    /// It is made anew; otherwise a missing file is damage.
    pub(crate) fresh: bool,
    /// sled's page cache, in bytes.
    pub(crate) cache: u64,
    /// Leaves out every fdatasync.
    pub(crate) skip_fdatasync: bool,
    /// What stands in for sled.
    pub(crate) machine: Option<&'a dyn Machine>,
}

/// Changes that are made all together or not at all; of two with one key the later counts.
#[derive(Default)]
pub(crate) struct Batch(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Batch {
    pub(crate) fn insert(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push((key.into(), Some(value.into())));
    }

    pub(crate) fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.0.push((key.into(), None));
    }

    fn into_sled(self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (key, value) in self.0 {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }
}

fn unreadable(e: &io::Error) -> ReadError {
    ReadError::Failed(e.to_string())
}

fn unwritable(e: &io::Error) -> WriteError {
    WriteError::Failed(e.to_string())
}

impl Engine {
    /// Opens the database in `dir` and its one tree; only a fresh one is created, so that a missing file is noticed.
    pub(crate) fn open(dir: &Path, how: &EngineOptions<'_>) -> Result<Engine, OpenError> {
        let base = match how.machine {
            None => Base::Sled(Box::new(OnSled::open(
                dir,
                how.fresh,
                how.cache,
                how.skip_fdatasync,
            )?)),
            Some(machine) => {
                let io_err = |e| OpenError::io(dir, e);
                files::make_dir(dir).map_err(io_err)?;
                Base::Given(machine.open(dir, how.fresh).map_err(io_err)?)
            }
        };
        Ok(Engine {
            dir: dir.to_path_buf(),
            base,
        })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The highest sequence number known to have been durable.
    pub(crate) fn tip(&self) -> u64 {
        match &self.base {
            Base::Sled(sled) => sled.tip(),
            Base::Given(given) => given.tip(),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, ReadError> {
        match &self.base {
            Base::Sled(sled) => sled.get(key),
            Base::Given(given) => {
                let value = given.get(key).map_err(|e| unreadable(&e))?;
                Ok(value.map(sled::IVec::from))
            }
        }
    }

    pub(crate) fn insert(&self, key: &[u8], value: Vec<u8>) -> Result<(), WriteError> {
        match &self.base {
            Base::Sled(sled) => sled.insert(key, value),
            Base::Given(given) => given
                .apply(vec![(key.to_vec(), Some(value))])
                .map_err(|e| unwritable(&e)),
        }
    }

    pub(crate) fn remove(&self, key: &[u8]) -> Result<(), WriteError> {
        match &self.base {
            Base::Sled(sled) => sled.remove(key),
            Base::Given(given) => given
                .apply(vec![(key.to_vec(), None)])
                .map_err(|e| unwritable(&e)),
        }
    }

    pub(crate) fn apply(&self, batch: Batch) -> Result<(), WriteError> {
        match &self.base {
            Base::Sled(sled) => sled.apply(batch.into_sled()),
            Base::Given(given) => given.apply(batch.0).map_err(|e| unwritable(&e)),
        }
    }

    /// Visits keys in `from..to` (unbounded if `to` is none) in order until `visit` returns false.
    pub(crate) fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let given = match &self.base {
            Base::Sled(sled) => return sled.scan(from, to, reverse, visit),
            Base::Given(given) => given,
        };
        let (mut from, mut to) = (from.to_vec(), to.map(<[u8]>::to_vec));
        loop {
            let pairs = given
                .range(&from, to.as_deref(), reverse, STEP)
                .map_err(|e| unreadable(&e))?;
            for (key, value) in &pairs {
                if !visit(key, value)? {
                    return Ok(());
                }
            }
            match pairs.into_iter().nth(STEP - 1) {
                None => return Ok(()),
                Some((last, _)) if reverse => to = Some(last),
                Some((mut last, _)) => {
                    last.push(0);
                    from = last;
                }
            }
        }
    }

    /// Makes everything written so far durable and notes that the store has got as far as `seq`. Returns how long
    /// the sync took. Any error is final.
    pub(crate) fn sync(&self, seq: u64) -> Result<Duration, WriteError> {
        match &self.base {
            Base::Sled(sled) => sled.sync(seq),
            Base::Given(given) => given.sync(seq).map_err(|e| unwritable(&e)),
        }
    }

    /// Bytes on disk.
    pub(crate) fn size_on_disk(&self) -> u64 {
        match &self.base {
            Base::Sled(sled) => sled.size_on_disk(),
            Base::Given(given) => given.size(),
        }
    }
}
