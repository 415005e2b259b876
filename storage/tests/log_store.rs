//! What the Raft log promises: order, contiguity, nothing silently missing.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use palisade_storage::{FreeSpace, LogOptions, LogRecord, LogStore, OnFull, OpenError, WriteError};

fn rec(index: u64) -> LogRecord {
    LogRecord {
        index,
        payload: format!("entry {index}").into_bytes(),
    }
}

fn recs(range: std::ops::RangeInclusive<u64>) -> Vec<LogRecord> {
    range.map(rec).collect()
}

fn open(dir: &Path) -> LogStore {
    LogStore::open(dir, LogOptions::default()).expect("open")
}

fn wait(f: impl FnOnce(palisade_storage::Done)) -> Result<(), WriteError> {
    let (tx, rx) = mpsc::channel();
    f(Box::new(move |r| tx.send(r).expect("the test waits")));
    rx.recv_timeout(Duration::from_secs(30)).expect("answered")
}

fn append(log: &LogStore, records: Vec<LogRecord>) {
    wait(|done| log.append(records, done)).expect("append");
}

fn indexes(log: &LogStore, from: u64, to: u64) -> Vec<u64> {
    log.read(from, to, usize::MAX)
        .expect("read")
        .into_iter()
        .map(|r| r.index)
        .collect()
}

#[test]
fn what_was_acknowledged_is_there_after_reopening() {
    let d = tempfile::tempdir().expect("tempdir");
    let dir = d.path().join("raft");
    let log = open(&dir);
    assert_eq!(log.last().expect("last"), None);
    assert_eq!(log.vote().expect("vote"), None);
    append(&log, recs(0..=9));
    wait(|done| log.save_vote(b"vote 1".to_vec(), done)).expect("vote");
    wait(|done| log.save_vote(b"vote 2".to_vec(), done)).expect("vote");
    log.save_committed(b"c7".to_vec());
    let big = LogRecord {
        index: 10,
        payload: vec![7; 3 << 20],
    };
    append(&log, vec![big.clone()]);
    drop(log);

    let log = open(&dir);
    assert_eq!(indexes(&log, 0, 100), (0..=10).collect::<Vec<_>>());
    assert_eq!(log.last().expect("last"), Some(big));
    assert_eq!(log.vote().expect("vote").as_deref(), Some(&b"vote 2"[..]));
    assert_eq!(log.committed().expect("committed").as_deref(), Some(&b"c7"[..]));
    append(&log, recs(11..=12));
    assert_eq!(indexes(&log, 9, 12), [9, 10, 11]);
}

#[test]
fn appends_are_visible_before_they_are_durable_and_answered_in_order() {
    let d = tempfile::tempdir().expect("tempdir");
    let log = open(&d.path().join("raft"));
    let order = Arc::new(Mutex::new(Vec::new()));
    let (tx, rx) = mpsc::channel();
    for i in 0..500u64 {
        let (order, tx) = (order.clone(), tx.clone());
        let done: palisade_storage::Done = Box::new(move |r| {
            r.expect("durable");
            order.lock().expect("order").push(i);
            tx.send(()).expect("the test waits");
        });
        if i % 50 == 7 {
            log.save_vote(vec![1; 20], done);
        } else {
            let next = log.bounds().map_or(0, |(_, last)| last + 1);
            log.append(vec![rec(next)], done);
            assert_eq!(indexes(&log, next, next + 1), [next]);
        }
    }
    for _ in 0..500 {
        rx.recv_timeout(Duration::from_secs(30)).expect("answered");
    }
    assert_eq!(*order.lock().expect("order"), (0..500).collect::<Vec<_>>());
    assert!(log.sync_stats().count < 500, "writes were grouped");
}

#[test]
fn truncated_entries_are_replaced_and_purged_ones_stay_gone() {
    let d = tempfile::tempdir().expect("tempdir");
    let dir = d.path().join("raft");
    let log = open(&dir);
    append(&log, recs(0..=20));
    wait(|done| log.truncate_from(15, done)).expect("truncate");
    assert_eq!(log.bounds(), Some((0, 14)));
    append(
        &log,
        vec![LogRecord {
            index: 15,
            payload: b"new 15".to_vec(),
        }],
    );
    wait(|done| log.purge_upto(9, b"marker 9".to_vec(), done)).expect("purge");
    assert_eq!(indexes(&log, 0, 100), [10, 11, 12, 13, 14, 15]);
    drop(log);
    let log = open(&dir);
    assert_eq!(log.purged(), Some((9, b"marker 9".to_vec())));
    assert_eq!(indexes(&log, 0, 100), [10, 11, 12, 13, 14, 15]);
    assert_eq!(
        log.last().expect("last").map(|r| r.payload),
        Some(b"new 15".to_vec())
    );
    // beyond the end, as after a snapshot was installed
    wait(|done| log.purge_upto(99, b"marker 99".to_vec(), done)).expect("purge");
    assert_eq!(log.bounds(), None);
    assert_eq!(
        wait(|done| log.append(recs(101..=101), done)),
        Err(WriteError::NotContiguous {
            expected: 100,
            got: 101
        })
    );
    append(&log, recs(100..=101));
    drop(log);
    assert_eq!(indexes(&open(&dir), 0, 1000), [100, 101]);
}

#[test]
fn truncation_and_new_entries_in_one_group_end_in_the_new_ones() {
    let d = tempfile::tempdir().expect("tempdir");
    let dir = d.path().join("raft");
    let log = open(&dir);
    for round in 0..40u64 {
        log.append(
            vec![
                LogRecord {
                    index: 0,
                    payload: vec![1; 10_000],
                },
                rec(1),
                rec(2),
            ],
            Box::new(|_| {}),
        );
        log.truncate_from(1, Box::new(|_| {}));
        log.append(
            vec![LogRecord {
                index: 1,
                payload: vec![round as u8; 9000],
            }],
            Box::new(|_| {}),
        );
        log.truncate_from(0, Box::new(|_| {}));
    }
    append(
        &log,
        vec![LogRecord {
            index: 0,
            payload: b"the end".to_vec(),
        }],
    );
    drop(log);
    let log = open(&dir);
    assert_eq!(log.bounds(), Some((0, 0)));
    assert_eq!(
        log.last().expect("last").map(|r| r.payload),
        Some(b"the end".to_vec())
    );
}

#[test]
fn a_hole_is_refused_and_leaves_nothing_behind() {
    let d = tempfile::tempdir().expect("tempdir");
    let log = open(&d.path().join("raft"));
    append(&log, recs(3..=4));
    for bad in [vec![rec(6)], vec![rec(5), rec(7)], vec![rec(4)]] {
        assert!(matches!(
            wait(|done| log.append(bad, done)),
            Err(WriteError::NotContiguous { .. })
        ));
    }
    let huge = LogRecord {
        index: 5,
        payload: vec![0; palisade_storage::MAX_RECORD + 1],
    };
    assert!(matches!(
        wait(|done| log.append(vec![huge], done)),
        Err(WriteError::TooLarge { .. })
    ));
    assert_eq!(log.bounds(), Some((3, 4)));
}

#[test]
fn reading_stops_at_the_size_limit_but_gives_at_least_one() {
    let d = tempfile::tempdir().expect("tempdir");
    let dir = d.path().join("raft");
    let log = open(&dir);
    append(
        &log,
        (0..10)
            .map(|index| LogRecord {
                index,
                payload: vec![0; 1000],
            })
            .collect(),
    );
    for log in [log, { open_again(&dir) }] {
        assert_eq!(log.read(2, 9, 1).expect("read").len(), 1);
        assert_eq!(log.read(2, 9, 2500).expect("read").len(), 2);
        assert_eq!(log.read(2, 9, usize::MAX).expect("read").len(), 7);
        assert_eq!(log.read(9, 9, usize::MAX).expect("read").len(), 0);
        drop(log);
    }
}

/// A second store with the same content, read from the disk.
fn open_again(dir: &Path) -> LogStore {
    let copy = dir.with_extension("copy");
    std::fs::create_dir(&copy).expect("mkdir");
    copy_dir(dir, &copy);
    open(&copy)
}

fn copy_dir(from: &Path, to: &Path) {
    for e in std::fs::read_dir(from).expect("dir") {
        let e = e.expect("entry");
        let target = to.join(e.file_name());
        if e.file_type().expect("type").is_dir() {
            std::fs::create_dir(&target).expect("mkdir");
            copy_dir(&e.path(), &target);
        } else {
            std::fs::copy(e.path(), target).expect("copy");
        }
    }
}

#[test]
fn a_second_process_cannot_open_the_directory() {
    let d = tempfile::tempdir().expect("tempdir");
    let log = open(d.path());
    assert!(matches!(
        LogStore::open(d.path(), LogOptions::default()),
        Err(OpenError::Locked { .. })
    ));
    drop(log);
    open(d.path());
}

#[test]
fn a_log_that_must_be_there_and_is_not_is_refused() {
    let d = tempfile::tempdir().expect("tempdir");
    let opts = LogOptions {
        must_exist: true,
        ..LogOptions::default()
    };
    assert!(matches!(
        LogStore::open(d.path(), opts),
        Err(OpenError::Missing { .. })
    ));
}

fn small_disk(free: &Arc<AtomicU64>, on_full: OnFull) -> LogOptions {
    let free = free.clone();
    LogOptions {
        reserve: 1 << 20,
        on_full,
        free_space: FreeSpace::from_fn(move || free.load(Ordering::SeqCst)),
        ..LogOptions::default()
    }
}

#[test]
fn a_full_disk_refuses_appends_keeps_reading_and_recovers() {
    let d = tempfile::tempdir().expect("tempdir");
    let free = Arc::new(AtomicU64::new(1 << 30));
    let log = LogStore::open(d.path(), small_disk(&free, OnFull::Refuse)).expect("open");
    append(&log, recs(0..=9));
    free.store(1 << 19, Ordering::SeqCst);
    assert!(matches!(
        wait(|done| log.append(recs(10..=12), done)),
        Err(WriteError::NoSpace { .. })
    ));
    assert_eq!(log.bounds(), Some((0, 9)), "what was refused is not shown");
    assert_eq!(indexes(&log, 0, 100).len(), 10);
    assert!(log.sync_stats().no_space);
    wait(|done| log.save_vote(b"in the reserve".to_vec(), done)).expect("votes may use the reserve");
    wait(|done| log.purge_upto(3, b"m".to_vec(), done)).expect("purging gives space back");
    free.store(0, Ordering::SeqCst);
    assert!(matches!(
        wait(|done| log.save_vote(b"lost".to_vec(), done)),
        Err(WriteError::NoSpace { .. })
    ));
    assert_eq!(log.vote().expect("vote").as_deref(), Some(&b"in the reserve"[..]));
    free.store(1 << 30, Ordering::SeqCst);
    append(&log, recs(10..=11));
    assert_eq!(indexes(&log, 0, 100), (4..=11).collect::<Vec<_>>());
    assert!(!log.sync_stats().no_space);
    drop(log);
    assert_eq!(
        open(d.path()).vote().expect("vote").as_deref(),
        Some(&b"in the reserve"[..])
    );
}

#[test]
fn a_waiting_log_acknowledges_once_there_is_space() {
    let d = tempfile::tempdir().expect("tempdir");
    let free = Arc::new(AtomicU64::new(0));
    let log = LogStore::open(d.path(), small_disk(&free, OnFull::Wait)).expect("open");
    let (tx, rx) = mpsc::channel();
    log.append(
        recs(0..=0),
        Box::new(move |r| tx.send(r).expect("the test waits")),
    );
    assert!(
        rx.recv_timeout(Duration::from_millis(300)).is_err(),
        "not acknowledged"
    );
    assert_eq!(indexes(&log, 0, 10), [0], "still readable");
    free.store(1 << 30, Ordering::SeqCst);
    assert_eq!(
        rx.recv_timeout(Duration::from_secs(10)).expect("answered"),
        Ok(())
    );
}

/// What a leader needs to let another lead: a vote after appends that were queued when the disk was found full.
#[test]
fn a_waiting_log_writes_what_is_queued_and_a_vote_from_its_reserve() {
    let d = tempfile::tempdir().expect("tempdir");
    let free = Arc::new(AtomicU64::new(900 << 10));
    let log = LogStore::open(d.path(), small_disk(&free, OnFull::Wait)).expect("open");
    append(&log, recs(0..=3));
    assert!(log.sync_stats().no_space, "a caller is told to stop");
    wait(|done| log.save_vote(b"another leads".to_vec(), done)).expect("votes may use the reserve");
    // Nobody appends any more, and yet it notices that there is room again.
    free.store(1 << 30, Ordering::SeqCst);
    let began = std::time::Instant::now();
    while log.sync_stats().no_space {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "it does not look by itself"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_committed_marker_alone_becomes_durable() {
    let d = tempfile::tempdir().expect("tempdir");
    let log = open(d.path());
    append(&log, recs(0..=0));
    log.save_committed(b"lazy".to_vec());
    drop(log);
    assert_eq!(
        open(d.path()).committed().expect("committed").as_deref(),
        Some(&b"lazy"[..])
    );
}
