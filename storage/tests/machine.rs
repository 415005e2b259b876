//! A log that is given its turns does in them what its thread would do by itself.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use palisade_storage::{Database, FreeSpace, LogOptions, LogRecord, LogStore, Machine, OnFull, Part};

/// A database in memory, which no crash ever hits.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>, AtomicU64);

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

#[test]
fn a_full_log_that_nobody_appends_to_notices_that_there_is_space_again() {
    let d = tempfile::tempdir().expect("tempdir");
    let free = Arc::new(AtomicU64::new(900 << 10));
    let opts = LogOptions {
        reserve: 1 << 20,
        on_full: OnFull::Wait,
        free_space: {
            let free = Arc::clone(&free);
            FreeSpace::from_fn(move || free.load(Ordering::SeqCst))
        },
        machine: Some(Arc::new(Memory::default())),
        ..LogOptions::default()
    };
    let log = LogStore::open(d.path(), opts).expect("open");
    let (tx, rx) = mpsc::channel();
    log.append(
        vec![LogRecord {
            index: 0,
            payload: b"queued when the disk was found full".to_vec(),
        }],
        Box::new(move |r| tx.send(r).expect("the test waits")),
    );
    while log.turn() {}
    assert_eq!(rx.try_recv().expect("answered"), Ok(()));
    assert!(log.sync_stats().no_space, "a caller is told to stop");
    log.turn();
    assert!(log.sync_stats().no_space, "there is no more space than before");
    free.store(1 << 30, Ordering::SeqCst);
    log.turn();
    assert!(!log.sync_stats().no_space, "it does not look by itself");
}
