//! Takes back what the shim (`powerloss/undo.c`) saw written and never saw synced.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

use super::plan::Plan;

/// How much of what was not synced survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
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

/// Compiles the shim; none if there is no C compiler.
pub(crate) fn build_shim(dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("powerloss/undo.c");
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

/// The power goes. Returns how many writes were taken back.
pub(crate) fn cut(dir: &Path, undo_log: &Path, loss: Loss, r: &mut Plan) -> usize {
    let log = fs::read(undo_log).unwrap_or_default();
    let mut files: BTreeMap<u64, Vec<(u64, Record)>> = BTreeMap::new();
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
            Loss::Prefix => r.below(records.len() as u64 + 1) as usize,
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
            let part = (r.below(sectors + 1) * 512).min(record.new.len() as u64) as usize;
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
