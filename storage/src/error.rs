//! What can go wrong with the store, said so that an operator knows which file it is and what to do.

use std::{fmt, io, path::Path, path::PathBuf};

/// The command that repairs a damaged store from its peers.
pub const REPAIR_COMMAND: &str = "palisade repair";

/// One damaged thing: where it is, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file or directory that holds the damaged thing.
    pub place: PathBuf,
    /// What inside it: a tree and key, an entry index, a slot.
    pub item: String,
    /// What is wrong with it.
    pub why: String,
}

impl Damage {
    /// Names a damaged thing.
    pub fn new(place: &Path, item: impl Into<String>, why: impl Into<String>) -> Damage {
        Damage {
            place: place.to_path_buf(),
            item: item.into(),
            why: why.into(),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in {} is damaged: {}",
            self.item,
            self.place.display(),
            self.why
        )
    }
}

/// Why a store could not be opened. A store that cannot be opened whole is not opened at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot open the store at {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has the directory open.
    #[error("the store at {} is in use by another process; stop it first", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Something that was stored is missing or changed.
    #[error("{0}; this node must not vote on it. Repair it from its peers: {REPAIR_COMMAND}")]
    Damaged(Damage),
    /// The store was written by a newer program.
    #[error("{} has format version {found}, this program knows up to {known}; start the newer version", path.display())]
    Version {
        /// What was read.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version this program reads.
        known: u32,
    },
    /// The store should be there (this node has joined before) and is not.
    #[error("the store at {} is missing, and this node has been started before; it never starts with silently missing data. Repair it from its peers: {REPAIR_COMMAND}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is no room to open the store.
    #[error("no space left to open the store at {}; free some and start again", path.display())]
    NoSpace {
        /// The directory.
        path: PathBuf,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> OpenError {
        if is_no_space(&source) {
            return OpenError::NoSpace {
                path: path.to_path_buf(),
            };
        }
        OpenError::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}

/// Why a write was not made durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The disk is (nearly) full: nothing was written, reads go on, writes work again once space is freed.
    #[error("the disk is full: {free} bytes free, {reserve} are kept in reserve")]
    NoSpace {
        /// Bytes free when the write was refused.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// Writing or syncing failed. Final: what is on the disk is not known any more, so this process must stop.
    #[error("the store failed and the node must stop: {0}")]
    Failed(String),
    /// A value or record is larger than the store takes.
    #[error("{what} is {len} bytes, the limit is {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// An append that would leave a hole in the log.
    #[error("log entry {got} does not follow: the next index is {expected}")]
    NotContiguous {
        /// The index that must come next.
        expected: u64,
        /// The index that was given.
        got: u64,
    },
    /// A purge that would move backwards, or another call that contradicts what is stored.
    #[error("{0}")]
    Refused(String),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// Why something stored could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is damaged. Never reported as absent.
    #[error("{0}; repair it from its peers: {REPAIR_COMMAND}")]
    Damaged(Damage),
    /// The engine could not read.
    #[error("cannot read the store: {0}")]
    Failed(String),
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> ReadError {
        ReadError::Damaged(damage)
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> OpenError {
        OpenError::Damaged(damage)
    }
}

pub(crate) fn is_no_space(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Bytes as an operator can read and type them: printable ASCII as it is, everything else as `\xNN`.
pub fn escaped(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for (i, &b) in bytes.iter().enumerate() {
        if i == 96 {
            let _ = write!(out, "... ({} bytes)", bytes.len());
            break;
        }
        if (0x21..0x7f).contains(&b) && b != b'\\' {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_without_control_characters() {
        assert_eq!(escaped(b"u/alice\x1b[0m\n"), "u/alice\\x1b[0m\\x0a");
        assert!(escaped(&[0u8; 500]).ends_with("(500 bytes)"));
    }

    #[test]
    fn damage_names_the_place_and_the_repair() {
        let text =
            OpenError::from(Damage::new(Path::new("/d/raft"), "log entry 7", "bad checksum")).to_string();
        assert!(
            text.contains("/d/raft") && text.contains("log entry 7") && text.contains(REPAIR_COMMAND),
            "{text}"
        );
    }
}
