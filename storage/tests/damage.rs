//! Damage is named, and never taken for absence.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use palisade_storage::{
    Change, Identity, Kv, LogOptions, LogRecord, LogStore, Pair, REPAIR_COMMAND, StateOptions, StateStore,
    check, set_aside,
};

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("mkdir");
    for e in fs::read_dir(from).expect("dir") {
        let e = e.expect("entry");
        let target = to.join(e.file_name());
        if e.file_type().expect("type").is_dir() {
            copy_dir(&e.path(), &target);
        } else {
            fs::copy(e.path(), target).expect("copy");
        }
    }
}

fn wait(f: impl FnOnce(palisade_storage::Done)) {
    let (tx, rx) = mpsc::channel();
    f(Box::new(move |r| tx.send(r).expect("the test waits")));
    rx.recv_timeout(Duration::from_secs(30))
        .expect("answered")
        .expect("durable");
}

fn make_log(dir: &Path) {
    let log = LogStore::open(dir, LogOptions::default()).expect("open");
    for i in 0..60u64 {
        wait(|done| {
            log.append(
                vec![LogRecord {
                    index: i,
                    payload: vec![i as u8; 400],
                }],
                done,
            )
        });
        if i % 10 == 0 {
            wait(|done| log.save_vote(vec![i as u8; 16], done));
        }
    }
    wait(|done| log.purge_upto(5, b"marker".to_vec(), done));
}

type Content = (Vec<LogRecord>, Option<Vec<u8>>, Option<(u64, Vec<u8>)>);

fn read_log(dir: &Path) -> Result<Content, String> {
    let log = LogStore::open(dir, LogOptions::default()).map_err(|e| e.to_string())?;
    let entries = log.read(0, u64::MAX, usize::MAX).map_err(|e| e.to_string())?;
    Ok((entries, log.vote().map_err(|e| e.to_string())?, log.purged()))
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("read");
    bytes[at] ^= 0x40;
    fs::write(path, bytes).expect("write");
}

#[test]
fn no_flipped_byte_in_the_log_goes_unnoticed() {
    let d = tempfile::tempdir().expect("tempdir");
    let good = d.path().join("good");
    make_log(&good);
    let expected = read_log(&good).expect("whole");
    let db = |dir: &Path| dir.join("log-1/db");
    let used = fs::read(db(&good)).expect("read");
    let len = used.iter().rposition(|b| *b != 0).expect("data");
    let mut noticed = 0;
    for i in 0..60usize {
        let bad = d.path().join(format!("bad-{i}"));
        copy_dir(&good, &bad);
        flip(&db(&bad), len * i / 60);
        match read_log(&bad) {
            Ok(found) => assert_eq!(found, expected, "byte {}", len * i / 60),
            Err(e) => {
                assert!(e.contains("log-1"), "it says where: {e}");
                noticed += 1;
                // A second start must not take the damage for the end of the log either.
                assert!(
                    read_log(&bad).map_or(true, |found| found == expected),
                    "byte {}",
                    len * i / 60
                );
            }
        }
        fs::remove_dir_all(&bad).expect("rm");
    }
    assert!(noticed > 5, "{noticed} of 60: the flips did not reach live data");
}

#[test]
fn a_missing_file_of_the_log_is_named() {
    let d = tempfile::tempdir().expect("tempdir");
    let good = d.path().join("good");
    make_log(&good);
    for file in ["log.current", "log-1/db", "log-1/tip", "log-1"] {
        let bad = d.path().join("bad");
        copy_dir(&good, &bad);
        let path = bad.join(file);
        if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        }
        .expect("rm");
        let e = read_log(&bad).expect_err(file);
        assert!(
            e.contains(&d.path().join("bad").display().to_string()) && e.contains(REPAIR_COMMAND),
            "{file}: {e}"
        );
        fs::remove_dir_all(&bad).expect("rm");
    }
}

fn make_state(dir: &Path) {
    let s = StateStore::open(dir, StateOptions::default()).expect("open");
    for i in 0..200u64 {
        let put = Change::Put {
            key: format!("user/{i:04}").into_bytes(),
            value: vec![i as u8; 300],
        };
        s.apply(vec![put], i.to_be_bytes().to_vec(), None).expect("apply");
    }
    s.sync().expect("sync");
}

fn read_state(dir: &Path) -> Result<Vec<Pair>, String> {
    let s = StateStore::open(dir, StateOptions::default()).map_err(|e| e.to_string())?;
    s.applied().map_err(|e| e.to_string())?;
    s.scan(b"", None, usize::MAX, false).map_err(|e| e.to_string())
}

#[test]
fn no_flipped_byte_in_the_state_goes_unnoticed() {
    let d = tempfile::tempdir().expect("tempdir");
    let good = d.path().join("good");
    make_state(&good);
    let expected = read_state(&good).expect("whole");
    let used = fs::read(good.join("sm-1/db")).expect("read");
    let len = used.iter().rposition(|b| *b != 0).expect("data");
    let mut noticed = 0;
    for i in 0..40usize {
        let bad = d.path().join(format!("bad-{i}"));
        copy_dir(&good, &bad);
        flip(&bad.join("sm-1/db"), len * i / 40);
        match read_state(&bad) {
            Ok(found) => assert!(found == expected, "byte {}", len * i / 40),
            Err(e) => {
                assert!(e.contains("sm-1"), "it says where: {e}");
                noticed += 1;
            }
        }
        fs::remove_dir_all(&bad).expect("rm");
    }
    assert!(noticed > 3, "{noticed} of 40: the flips did not reach live data");
}

fn node(dir: &Path) -> PathBuf {
    let mut id = Identity::create(dir, "c1", 3, "n3", 9).expect("identity");
    make_log(&dir.join("raft"));
    make_state(dir);
    id.mark_complete(dir).expect("complete");
    dir.to_path_buf()
}

#[test]
fn the_doctor_says_what_is_damaged_and_what_repairs_it() {
    let d = tempfile::tempdir().expect("tempdir");
    let data = node(&d.path().join("data"));
    let report = check(&data);
    assert!(report.is_healthy(), "{report}");
    fs::remove_dir_all(data.join("raft/log-1")).expect("rm");
    let report = check(&data).to_string();
    assert!(
        report.contains("raft/log-1") && report.contains(&format!("repair: {REPAIR_COMMAND}")),
        "{report}"
    );
    fs::remove_dir_all(data.join("raft")).expect("rm");
    let report = check(&data).to_string();
    assert!(
        report.contains("is missing, and this node has been started before"),
        "{report}"
    );
    let aside = set_aside(&data).expect("set aside");
    assert!(aside.join("sm.current").exists() && aside.join("identity.json").exists());
    assert_eq!(Identity::load(&data).expect("as new"), None);
    node(&data);
    assert!(check(&data).is_healthy());
}
