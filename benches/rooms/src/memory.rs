//! A database in memory and no threads: what is left of an append is the store's own work, and the same each time.

use palisade_storage::{Database, Machine, Part};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>, AtomicU64);

impl Memory {
    fn content(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        Ok(self.content().get(key).cloned())
    }

    fn apply(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()> {
        let mut content = self.content();
        for (key, value) in changes {
            match value {
                Some(value) => content.insert(key, value),
                None => content.remove(&key),
            };
        }
        Ok(())
    }

    fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        limit: usize,
    ) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let content = self.content();
        let mut pairs: Vec<_> = content
            .range(from.to_vec()..)
            .take_while(|(key, _)| to.is_none_or(|to| key.as_slice() < to))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if reverse {
            pairs.reverse();
        }
        pairs.truncate(limit);
        Ok(pairs)
    }

    fn sync(&self, seq: u64) -> io::Result<Duration> {
        self.1.store(seq, Ordering::SeqCst);
        Ok(Duration::ZERO)
    }

    fn tip(&self) -> u64 {
        self.1.load(Ordering::SeqCst)
    }

    fn size(&self) -> u64 {
        0
    }
}
