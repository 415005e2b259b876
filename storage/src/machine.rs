//! What the stores stand on where that is not the machine: a simulation brings its own disk, and gives the stores
//! their turns itself, in place of their threads. The product has none of it.

use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::kv::Pair;

/// Which store is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// [`LogStore`](crate::LogStore).
    Log,
    /// [`StateStore`](crate::StateStore).
    State,
}

/// Stands in for sled, the disk below it and the threads of the stores.
pub trait Machine: Send + Sync {
    /// The database in a directory; a fresh one is empty, whatever was there before.
    fn open(&self, dir: &Path, fresh: bool) -> io::Result<Arc<dyn Database>>;

    /// A store has something to write: it wants a turn ([`LogStore::turn`](crate::LogStore::turn),
    /// [`StateStore::turn`](crate::StateStore::turn)) once the simulated disk has got that far.
    fn wake(&self, part: Part);

    /// How long the write that the disk is busy with has been waiting.
    fn waiting(&self, part: Part) -> Option<Duration>;
}

/// One database of a [`Machine`]: what sled's tree is to the stores, with the same promises. Of what was not synced
/// a crash leaves a prefix of the calls of [`Database::apply`].
pub trait Database: Send + Sync {
    /// The value under a key.
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Makes changes, all or nothing; `None` removes.
    fn apply(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()>;

    /// Up to `limit` pairs of `from..to` (unbounded if `to` is none), in key order or from the end.
    fn range(&self, from: &[u8], to: Option<&[u8]>, reverse: bool, limit: usize) -> io::Result<Vec<Pair>>;

    /// Makes everything applied so far durable, and `seq` with it. Returns how long it took.
    fn sync(&self, seq: u64) -> io::Result<Duration>;

    /// What [`Database::sync`] was given last.
    fn tip(&self) -> u64;

    /// Bytes that it takes on the disk.
    fn size(&self) -> u64;
}

/// Databases in memory that no crash ever hits, and turns that nobody waits for: what is left is the stores' own work.
/// For measurements, and for tests of the turns.
#[derive(Debug, Default)]
pub struct Memory {
    content: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    tip: AtomicU64,
}

impl Machine for Memory {
    fn open(&self, _dir: &Path, _fresh: bool) -> io::Result<Arc<dyn Database>> {
        Ok(Arc::new(Self::default()))
    }

    fn wake(&self, _part: Part) {}

    fn waiting(&self, _part: Part) -> Option<Duration> {
        None
    }
}

impl Database for Memory {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.content.lock().get(key).cloned())
    }

    fn apply(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()> {
        let mut content = self.content.lock();
        for (key, value) in changes {
            match value {
                Some(value) => content.insert(key, value),
                None => content.remove(&key),
            };
        }
        Ok(())
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, reverse: bool, limit: usize) -> io::Result<Vec<Pair>> {
        Ok(range_of(&self.content.lock(), from, to, reverse, limit))
    }

    fn sync(&self, seq: u64) -> io::Result<Duration> {
        self.tip.store(seq, Ordering::SeqCst);
        Ok(Duration::ZERO)
    }

    fn tip(&self) -> u64 {
        self.tip.load(Ordering::SeqCst)
    }

    fn size(&self) -> u64 {
        let content = self.content.lock();
        content
            .iter()
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum()
    }
}

/// What [`Database::range`] finds in a map, for databases that are one.
pub fn range_of(
    map: &BTreeMap<Vec<u8>, Vec<u8>>,
    from: &[u8],
    to: Option<&[u8]>,
    reverse: bool,
    limit: usize,
) -> Vec<Pair> {
    let range = map.range::<[u8], _>((
        Bound::Included(from),
        to.map_or(Bound::Unbounded, Bound::Excluded),
    ));
    let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    if reverse {
        range.rev().take(limit).map(owned).collect()
    } else {
        range.take(limit).map(owned).collect()
    }
}
