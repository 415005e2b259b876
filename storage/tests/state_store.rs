//! What the state store promises: all or nothing, whole snapshots or none, damage named and never taken for absence.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use palisade_storage::{Change, FreeSpace, Kv, OpenError, StateOptions, StateStore, WriteError};

fn open(dir: &Path) -> StateStore {
    StateStore::open(dir, StateOptions::default()).expect("open")
}

fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Change {
    Change::Put {
        key: key.as_ref().to_vec(),
        value: value.as_ref().to_vec(),
    }
}

fn delete(key: &str) -> Change {
    Change::Delete { key: key.into() }
}

fn apply(s: &StateStore, changes: Vec<Change>, applied: u64) {
    s.apply(changes, applied.to_be_bytes().to_vec(), None)
        .expect("apply");
}

fn all(s: &StateStore) -> BTreeMap<Vec<u8>, Vec<u8>> {
    s.scan(b"", None, usize::MAX, false)
        .expect("scan")
        .into_iter()
        .collect()
}

fn fill(s: &StateStore, n: u32) {
    for chunk in (0..n).collect::<Vec<_>>().chunks(64) {
        let puts = chunk
            .iter()
            .map(|i| put(format!("k{i:06}"), vec![*i as u8; 50 + (*i as usize % 7) * 300]))
            .collect();
        apply(s, puts, u64::from(chunk[0]) + 1);
    }
}

#[test]
fn changes_and_markers_come_back_after_reopening() {
    let d = tempfile::tempdir().expect("tempdir");
    let s = open(d.path());
    assert_eq!(s.applied().expect("applied"), (None, None));
    apply(&s, vec![put("a", "1"), put("b", "2"), put("a", "3")], 1);
    s.apply(
        vec![delete("b"), put("c", "")],
        b"two".to_vec(),
        Some(vec![9; 20_000]),
    )
    .expect("apply");
    apply(&s, vec![put("large", vec![5; 60 << 10])], 3);
    apply(&s, vec![put("large", vec![6; 30_000])], 4);
    drop(s);
    let s = open(d.path());
    assert_eq!(
        s.applied().expect("applied"),
        (Some(4u64.to_be_bytes().to_vec()), Some(vec![9; 20_000]))
    );
    assert_eq!(s.get(b"a").expect("get"), Some(b"3".to_vec()));
    assert_eq!(s.get(b"b").expect("get"), None);
    assert_eq!(s.get(b"large").expect("get"), Some(vec![6; 30_000]));
    let keys = |from: &str, to: Option<&str>, limit, reverse| {
        s.scan(from.as_bytes(), to.map(str::as_bytes), limit, reverse)
            .expect("scan")
            .into_iter()
            .map(|(k, _)| String::from_utf8(k).expect("text"))
            .collect::<Vec<_>>()
    };
    assert_eq!(keys("", None, 10, false), ["a", "c", "large"]);
    assert_eq!(keys("", None, 2, true), ["large", "c"]);
    assert_eq!(keys("b", Some("large"), 10, true), ["c"]);
    assert_eq!(keys("x", Some("a"), 10, false), [""; 0]);
}

#[test]
fn too_large_values_are_refused_and_change_nothing() {
    let d = tempfile::tempdir().expect("tempdir");
    let s = open(d.path());
    let r = s.apply(
        vec![put("a", "1"), put("b", vec![0; (60 << 10) + 1])],
        vec![1],
        None,
    );
    assert!(matches!(r, Err(WriteError::TooLarge { .. })));
    assert_eq!(s.get(b"a").expect("get"), None);
    assert_eq!(s.applied().expect("applied"), (None, None));
}

#[test]
fn a_full_disk_refuses_changes_keeps_reading_and_recovers() {
    let d = tempfile::tempdir().expect("tempdir");
    let free = Arc::new(AtomicU64::new(1 << 30));
    let probe = free.clone();
    let opts = StateOptions {
        free_space: FreeSpace::from_fn(move || probe.load(Ordering::SeqCst)),
        ..StateOptions::default()
    };
    let s = StateStore::open(d.path(), opts).expect("open");
    apply(&s, vec![put("a", "1")], 1);
    free.store(1 << 20, Ordering::SeqCst);
    assert!(matches!(
        s.apply(vec![put("b", "2")], vec![2], None),
        Err(WriteError::NoSpace { .. })
    ));
    assert_eq!(all(&s).len(), 1);
    free.store(1 << 30, Ordering::SeqCst);
    apply(&s, vec![put("b", "2")], 2);
    assert_eq!(all(&s).len(), 2);
}

#[test]
fn a_snapshot_installed_elsewhere_is_the_same_state() {
    let d = tempfile::tempdir().expect("tempdir");
    let (a, b) = (open(&d.path().join("a")), open(&d.path().join("b")));
    fill(&a, 2000);
    a.apply(
        vec![put("large", vec![3; 50_000])],
        b"applied".to_vec(),
        Some(b"members".to_vec()),
    )
    .expect("apply");
    let snap = a.build_snapshot(b"meta".to_vec()).expect("build");
    assert_eq!(a.current_snapshot().as_ref(), Some(&snap));
    fill(&b, 10);
    apply(&b, vec![put("only in b", "x")], 5);
    let mut bytes = Vec::new();
    snap.open().expect("open").read_to_end(&mut bytes).expect("read");
    let mut incoming = b.new_incoming().expect("incoming");
    incoming.write_all(&bytes).expect("write");
    let installed = b.install_snapshot(incoming).expect("install");
    assert_eq!((installed.meta, installed.len), (b"meta".to_vec(), snap.len));
    assert_eq!(all(&b), all(&a));
    assert_eq!(
        b.applied().expect("applied"),
        (Some(b"applied".to_vec()), Some(b"members".to_vec()))
    );
    apply(&b, vec![put("after", "1")], 9);
    drop(b);
    let b = open(&d.path().join("b"));
    assert_eq!(b.get(b"after").expect("get"), Some(b"1".to_vec()));
    assert_eq!(all(&b).len(), all(&a).len() + 1);
    assert_eq!(b.current_snapshot().map(|s| s.meta), Some(b"meta".to_vec()));
    // A snapshot of the same state is the same bytes, wherever it is made.
    let c = open(&d.path().join("c"));
    let mut incoming = c.new_incoming().expect("incoming");
    incoming.write_all(&bytes).expect("write");
    c.install_snapshot(incoming).expect("install");
    let again = c.build_snapshot(b"meta".to_vec()).expect("build");
    assert_eq!(std::fs::read(again.path).expect("read"), bytes);
}

#[test]
fn a_spoilt_snapshot_is_refused_and_the_old_state_stays() {
    let d = tempfile::tempdir().expect("tempdir");
    let a = open(&d.path().join("a"));
    fill(&a, 3000);
    let snap = a.build_snapshot(b"meta".to_vec()).expect("build");
    let good = std::fs::read(&snap.path).expect("read");
    let b = open(&d.path().join("b"));
    fill(&b, 10);
    let before = all(&b);
    let mut spoilt: Vec<Vec<u8>> = vec![
        Vec::new(),
        good[..10].to_vec(),
        good[..good.len() / 2].to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"x"].concat(),
        b"\x7fELF not a snapshot at all, but long enough to be one".to_vec(),
    ];
    for at in [20, 100, good.len() / 2, good.len() - 10] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        spoilt.push(bad);
    }
    for (i, bytes) in spoilt.iter().enumerate() {
        let mut incoming = b.new_incoming().expect("incoming");
        incoming.write_all(bytes).expect("write");
        assert!(b.install_snapshot(incoming).is_err(), "spoilt snapshot {i}");
        assert_eq!(all(&b), before, "spoilt snapshot {i}");
    }
    assert!(b.current_snapshot().is_none());
    assert_eq!(
        std::fs::read_dir(d.path().join("b/snap")).expect("dir").count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn a_snapshot_is_of_one_moment_while_changes_go_on() {
    let d = tempfile::tempdir().expect("tempdir");
    let a = open(&d.path().join("a"));
    // All values are equal at every moment.
    let keys: Vec<String> = (0..2000).map(|i| format!("k{i:05}")).collect();
    let set = |n: u64| {
        let value = n.to_be_bytes();
        a.apply(
            keys.iter()
                .map(|k| put(k, value))
                .chain([put(format!("x{n:05}"), value)])
                .collect(),
            value.to_vec(),
            None,
        )
        .expect("apply");
    };
    set(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 1;
            while !stop.load(Ordering::SeqCst) {
                set(n);
                n += 1;
            }
        });
        for i in 0..6 {
            let snap = a.build_snapshot(Vec::new()).expect("build");
            let b = open(&d.path().join(format!("b{i}")));
            let mut incoming = b.new_incoming().expect("incoming");
            std::io::copy(&mut snap.open().expect("open"), &mut incoming).expect("copy");
            b.install_snapshot(incoming).expect("install");
            let applied = b.applied().expect("applied").0.expect("applied");
            let state = all(&b);
            let n = u64::from_be_bytes(applied.clone().try_into().expect("8 bytes"));
            assert_eq!(state.len() as u64, 2000 + n + 1);
            assert!(
                state
                    .iter()
                    .filter(|(k, _)| k.starts_with(b"k"))
                    .all(|(_, v)| *v == applied),
                "snapshot {i}"
            );
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn only_the_newest_snapshot_is_kept_and_leftovers_are_removed() {
    let d = tempfile::tempdir().expect("tempdir");
    let s = open(d.path());
    fill(&s, 10);
    for i in 0..3u8 {
        s.build_snapshot(vec![i]).expect("build");
    }
    let snap = d.path().join("snap");
    assert_eq!(std::fs::read_dir(&snap).expect("dir").count(), 1);
    std::fs::write(snap.join("tmp"), b"half").expect("write");
    std::fs::write(snap.join("incoming-0"), b"half").expect("write");
    drop(s);
    let s = open(d.path());
    assert_eq!(std::fs::read_dir(&snap).expect("dir").count(), 1);
    assert_eq!(s.current_snapshot().map(|s| s.meta), Some(vec![2]));
}

#[test]
fn a_state_of_another_process_or_a_missing_one_is_not_opened() {
    let d = tempfile::tempdir().expect("tempdir");
    let s = open(d.path());
    assert!(matches!(
        StateStore::open(d.path(), StateOptions::default()),
        Err(OpenError::Locked { .. })
    ));
    drop(s);
    let opts = StateOptions {
        must_exist: true,
        ..StateOptions::default()
    };
    drop(StateStore::open(d.path(), opts.clone()).expect("it exists"));
    assert!(matches!(
        StateStore::open(&d.path().join("other"), opts),
        Err(OpenError::Missing { .. })
    ));
}

/// A sync that was under way looked for the files of the database that an install had just replaced and removed, and
/// the node stopped.
#[test]
fn installs_do_not_disturb_syncs() {
    let d = tempfile::tempdir().expect("tempdir");
    let store = open(&d.path().join("a"));
    fill(&store, 10);
    let mut bytes = Vec::new();
    let snapshot = store.build_snapshot(b"meta".to_vec()).expect("build");
    snapshot
        .open()
        .expect("open")
        .read_to_end(&mut bytes)
        .expect("read");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                fill(&store, 500);
                store.sync()?;
            }
            store.sync()
        });
        for _ in 0..100 {
            let mut incoming = store.new_incoming().expect("incoming");
            incoming.write_all(&bytes).expect("write");
            if let Err(e) = store.install_snapshot(incoming) {
                stop.store(true, Ordering::SeqCst);
                panic!("{e}");
            }
        }
        stop.store(true, Ordering::SeqCst);
        let synced = syncing.join().expect("no panic");
        synced.expect("a sync never fails for an install");
    });
}
