//! A log that is given its turns does in them what its thread would do by itself.

use palisade_storage::{FreeSpace, LogOptions, LogRecord, LogStore, Memory, OnFull};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

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
