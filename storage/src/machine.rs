//! What the stores stand on where that is not the machine: a simulation brings its own disk, and gives the stores
//! their turns itself, in place of their threads. The product has none of it.

use std::{io, path::Path, sync::Arc, time::Duration};

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

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
