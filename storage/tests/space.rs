//! Space is given back: what is written and removed again ten times over does not pile up.

use std::{path::Path, sync::mpsc, time::Duration};

use palisade_storage::{Change, Kv, LogOptions, LogRecord, LogStore, StateOptions, StateStore};

const MIB: u64 = 1 << 20;

fn wait(f: impl FnOnce(palisade_storage::Done)) {
    let (tx, rx) = mpsc::channel();
    f(Box::new(move |r| tx.send(r).expect("the test waits")));
    rx.recv_timeout(Duration::from_secs(60))
        .expect("answered")
        .expect("durable");
}

#[test]
fn a_log_that_is_purged_stays_small() {
    let d = tempfile::tempdir().expect("tempdir");
    let log = LogStore::open(d.path(), LogOptions::default()).expect("open");
    let (live, size) = (2000u64, 512usize);
    let mut most = 0;
    for round in 0..11u64 {
        for batch in 0..20 {
            let from = round * live + batch * 100;
            wait(|done| {
                log.append(
                    (from..from + 100)
                        .map(|index| LogRecord {
                            index,
                            payload: vec![7; size],
                        })
                        .collect(),
                    done,
                )
            });
        }
        if round > 0 {
            wait(|done| log.purge_upto(round * live - 1, b"m".to_vec(), done));
        }
        most = most.max(log.size_on_disk());
    }
    println!(
        "log: {} KiB live, at most {} KiB on disk",
        live * size as u64 / 1024,
        most / 1024
    );
    assert!(most < 12 * MIB, "{most} bytes on disk for 1 MiB");
    assert_eq!(log.bounds(), Some((10 * live, 11 * live - 1)));
}

fn churn(s: &StateStore, round: u64) {
    for chunk in 0..40u64 {
        let puts = (0..100)
            .map(|i| Change::Put {
                key: format!("k{:06}", chunk * 100 + i).into_bytes(),
                value: vec![round as u8; 500],
            })
            .collect();
        s.apply(puts, round.to_be_bytes().to_vec(), None).expect("apply");
    }
    s.sync().expect("sync");
}

fn open(dir: &Path) -> StateStore {
    StateStore::open(dir, StateOptions::default()).expect("open")
}

#[test]
fn a_state_that_is_rewritten_stays_small() {
    let d = tempfile::tempdir().expect("tempdir");
    let s = open(d.path());
    let mut most = 0;
    for round in 0..11 {
        churn(&s, round);
        most = most.max(s.size_on_disk());
    }
    println!("state: 2000 KiB live, at most {} KiB on disk", most / 1024);
    assert!(most < 24 * MIB, "{most} bytes on disk for 2 MiB");
}

#[test]
fn compaction_gives_back_what_the_engine_keeps() {
    let d = tempfile::tempdir().expect("tempdir");
    let s = open(&d.path().join("state"));
    let log = LogStore::open(&d.path().join("raft"), LogOptions::default()).expect("open");
    assert!(
        !s.compact_if_needed().expect("state") && !log.compact_if_needed().expect("log"),
        "nothing to do"
    );
    for round in 0..50u64 {
        let puts = (0..50)
            .map(|i| Change::Put {
                key: format!("{round:04}/{i:04}").into_bytes(),
                value: vec![3; 20_000],
            })
            .collect();
        s.apply(puts, vec![1], Some(b"members".to_vec())).expect("apply");
        wait(|done| {
            log.append(
                vec![LogRecord {
                    index: round,
                    payload: vec![1; 1 << 20],
                }],
                done,
            )
        });
    }
    for round in 0..50u64 {
        let deletes = (0..50)
            .filter(|i| (round, *i) != (7, 7))
            .map(|i| Change::Delete {
                key: format!("{round:04}/{i:04}").into_bytes(),
            })
            .collect();
        s.apply(deletes, vec![2], None).expect("apply");
    }
    s.sync().expect("sync");
    wait(|done| log.purge_upto(48, b"marker".to_vec(), done));
    let before = (s.size_on_disk(), log.size_on_disk());
    let did = (
        s.compact_if_needed().expect("state"),
        log.compact_if_needed().expect("log"),
    );
    let after = (s.size_on_disk(), log.size_on_disk());
    println!("state and log: {before:?} bytes before, {after:?} after, compacted: {did:?}");
    assert!(after.0 < 36 * MIB && after.1 < 40 * MIB, "{after:?}");
    assert_eq!(
        s.scan(b"", None, 10, false).expect("scan"),
        [(b"0007/0007".to_vec(), vec![3; 20_000])]
    );
    assert_eq!(log.bounds(), Some((49, 49)));
    s.apply(Vec::new(), vec![3], None).expect("apply");
    wait(|done| {
        log.append(
            vec![LogRecord {
                index: 50,
                payload: b"next".to_vec(),
            }],
            done,
        )
    });
    drop((s, log));
    let (s, log) = (
        open(&d.path().join("state")),
        LogStore::open(&d.path().join("raft"), LogOptions::default()),
    );
    assert_eq!(
        s.applied().expect("applied"),
        (Some(vec![3]), Some(b"members".to_vec()))
    );
    assert_eq!(s.scan(b"", None, 10, false).expect("scan").len(), 1);
    let log = log.expect("open");
    assert_eq!(
        (log.bounds(), log.purged()),
        (Some((49, 50)), Some((48, b"marker".to_vec())))
    );
}
