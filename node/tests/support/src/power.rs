//! Power cuts: takes back what the shim (`undo.c`) saw written and never saw synced.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

/// How much of what was not synced survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing does.
    All,
    /// Of each file the first few writes do, and a part of the next one.
    Prefix,
}

const WRITE: u64 = 1;
const TRUNCATE: u64 = 2;
const SYNCED: u64 = 3;
const BORN: u64 = 4;

struct Record {
    kind: u64,
    off: u64,
    old_size: u64,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Compiles the shim into a folder.
pub fn build_power_shim(dir: &Path) -> PathBuf {
    let source = dir.join("undo.c");
    fs::write(&source, include_str!("undo.c")).expect("the folder is writable");
    let out = dir.join("undo.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&out)
        .arg(source)
        .arg("-ldl")
        .status()
        .expect("a C compiler, cc, is needed for the power-loss test");
    assert!(status.success(), "undo.c does not compile");
    out
}

/// What to start a program under so that the shim notes what it does in a folder.
pub fn under_power_shim(dir: &Path, undo_log: &Path) -> [String; 2] {
    [
        format!("UNDO_DIR={}", dir.display()),
        format!("UNDO_LOG={}", undo_log.display()),
    ]
}

/// Writes of each file, by its inode, that were never synced, in the order of their numbers.
type Unsynced = BTreeMap<u64, Vec<(u64, Record)>>;

fn unsynced(log: &[u8]) -> Unsynced {
    let mut files = Unsynced::new();
    let mut at = 0;
    let mut number = 0u64;
    while let Some(head) = log.get(at..at + 48) {
        let h: Vec<u64> = head
            .chunks_exact(8)
            .map(|b| u64::from_ne_bytes(b.try_into().expect("eight")))
            .collect();
        let [kind, ino, off, len, old_size, old_len] = h[..] else {
            unreachable!("six numbers")
        };
        let new_len = if kind == WRITE { len as usize } else { 0 };
        let data = at + 48;
        let end = data + old_len as usize + new_len;
        if end > log.len() {
            break; // killed while it was noted, so it did not happen
        }
        match kind {
            BORN => drop(files.insert(ino, Vec::new())),
            // Everything noted before the sync began.
            SYNCED => files.entry(ino).or_default().retain(|(n, _)| *n >= off),
            _ => {
                let old = log[data..data + old_len as usize].to_vec();
                let new = log[data + old_len as usize..end].to_vec();
                files.entry(ino).or_default().push((
                    number,
                    Record {
                        kind,
                        off,
                        old_size,
                        old,
                        new,
                    },
                ));
            }
        }
        number += 1;
        at = end;
    }
    files
}

/// Forgets what was synced: the shim's log of a program that does not run becomes as long as what a power cut would take.
pub fn forget_synced(undo_log: &Path) {
    let log = fs::read(undo_log).unwrap_or_default();
    let mut all: Vec<(u64, u64, Record)> = Vec::new();
    for (ino, records) in unsynced(&log) {
        all.extend(records.into_iter().map(|(number, record)| (number, ino, record)));
    }
    all.sort_by_key(|(number, _, _)| *number);
    let mut kept = Vec::new();
    for (_, ino, record) in all {
        let Record {
            kind,
            off,
            old_size,
            old,
            new,
        } = record;
        for word in [kind, ino, off, new.len() as u64, old_size, old.len() as u64] {
            kept.extend(word.to_ne_bytes());
        }
        kept.extend(old);
        kept.extend(new);
    }
    fs::write(undo_log, kept).expect("the shim's log is writable");
}

/// The power goes, while nothing runs. Returns how many writes were taken back; `below` chooses numbers.
pub fn cut_power(dir: &Path, undo_log: &Path, loss: Loss, below: &mut dyn FnMut(u64) -> u64) -> usize {
    let log = fs::read(undo_log).unwrap_or_default();
    let files = unsynced(&log);
    let mut paths = HashMap::new();
    by_inode(dir, &mut paths);
    let mut undone = 0;
    for (ino, records) in files {
        let Some(path) = paths.get(&ino) else { continue };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .expect("a file of the store");
        let keep = match loss {
            Loss::All => 0,
            Loss::Prefix => below(records.len() as u64 + 1) as usize,
        };
        for (_, record) in records[keep..].iter().rev() {
            undo(&file, record);
            undone += 1;
        }
        // The write that was under way reached the disk in part.
        if let Some((_, record)) = records.get(keep)
            && loss == Loss::Prefix
            && record.kind == WRITE
        {
            let sectors = record.new.len() as u64 / 512;
            let part = (below(sectors + 1) * 512).min(record.new.len() as u64) as usize;
            file.write_all_at(&record.new[..part], record.off).expect("write");
        }
    }
    fs::remove_file(undo_log).ok();
    undone
}

fn undo(file: &File, record: &Record) {
    match record.kind {
        WRITE => {
            file.write_all_at(&record.old, record.off).expect("write");
            let size = file.metadata().expect("metadata").len();
            if size > record.old_size {
                file.set_len(record.old_size).expect("set_len");
            }
        }
        TRUNCATE => {
            file.set_len(record.old_size).expect("set_len");
            file.write_all_at(&record.old, record.off).expect("write");
        }
        other => panic!("unknown record {other}"),
    }
}

fn by_inode(dir: &Path, paths: &mut HashMap<u64, PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of the store") {
        let entry = entry.expect("entry");
        let meta = entry.metadata().expect("metadata");
        if meta.is_dir() {
            by_inode(&entry.path(), paths);
        } else {
            paths.insert(meta.ino(), entry.path());
        }
    }
}
