//! Which files pass through a session: by SFTP, SCP, rsync, or a command that reads or writes one.
//!
//! A watch looks on. It changes nothing, holds nothing back, and what it does not understand it ignores: the bytes come
//! from both sides and may be anything. Its memory is bounded.

pub mod client;
mod command;
mod scp;
mod sftp;
mod stream;

use aws_lc_rs::digest::{Context, SHA256};

pub use command::{Copy, Protocol, copied_by};

/// Files and unanswered requests that are followed at a time. A client that has more open loses the overview, no more.
const FOLLOWED: usize = 1024;

/// One file that was read, written or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// `read`, `write`, `remove`, `rename`, ...
    pub action: &'static str,
    /// The path as the client named it, control characters escaped.
    pub path: String,
    /// Bytes to the user.
    pub read: u64,
    /// Bytes from the user.
    pub written: u64,
    /// Hex SHA-256 of the content, where it passed in order and whole.
    pub sha256: Option<String>,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

impl Transfer {
    fn new(action: &'static str, path: String) -> Self {
        Transfer {
            action,
            path,
            read: 0,
            written: 0,
            sha256: None,
            failed: None,
        }
    }
}

/// What all transfers of a session come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files that were read.
    pub files_read: u64,
    /// Files that were written.
    pub files_written: u64,
    /// Other changes: renames, removals, directories.
    pub changes: u64,
    /// What failed.
    pub failed: u64,
    /// Bytes to the user.
    pub bytes_read: u64,
    /// Bytes from the user.
    pub bytes_written: u64,
}

impl Summary {
    fn add(&mut self, transfer: &Transfer) {
        self.bytes_read += transfer.read;
        self.bytes_written += transfer.written;
        let count = match transfer.action {
            _ if transfer.failed.is_some() => &mut self.failed,
            "read" => &mut self.files_read,
            "write" => &mut self.files_written,
            _ => &mut self.changes,
        };
        *count += 1;
    }
}

/// Both directions of one session that transfers files.
#[derive(Debug)]
pub struct Watch {
    by: By,
    summary: Summary,
}

#[derive(Debug)]
enum By {
    Sftp(Box<sftp::Watch>),
    Scp(Box<scp::Watch>),
    Stream(Box<stream::Watch>),
}

impl Watch {
    /// Of an SFTP subsystem.
    pub fn sftp() -> Self {
        Watch {
            by: By::Sftp(Box::default()),
            summary: Summary::default(),
        }
    }

    /// Of a command that copies files.
    pub fn copy(copy: &Copy) -> Self {
        let by = match copy.protocol {
            Protocol::Sftp => By::Sftp(Box::default()),
            Protocol::Scp => By::Scp(Box::new(scp::Watch::new(copy))),
            Protocol::Rsync | Protocol::Program => By::Stream(Box::new(stream::Watch::new(copy))),
        };
        Watch {
            by,
            summary: Summary::default(),
        }
    }

    /// Bytes from the user.
    pub fn request(&mut self, bytes: &[u8]) {
        match &mut self.by {
            By::Sftp(watch) => watch.request(bytes),
            By::Scp(watch) => watch.request(bytes),
            By::Stream(watch) => watch.request(bytes),
        }
    }

    /// Bytes to the user.
    pub fn reply(&mut self, bytes: &[u8]) {
        match &mut self.by {
            By::Sftp(watch) => watch.reply(bytes),
            By::Scp(watch) => watch.reply(bytes),
            By::Stream(watch) => watch.reply(bytes),
        }
    }

    fn done_list(&mut self) -> &mut Vec<Transfer> {
        match &mut self.by {
            By::Sftp(watch) => &mut watch.done,
            By::Scp(watch) => &mut watch.done,
            By::Stream(watch) => &mut watch.done,
        }
    }

    /// How much waits to be fetched by [`Watch::done`].
    pub fn waiting(&self) -> usize {
        match &self.by {
            By::Sftp(watch) => watch.done.len(),
            By::Scp(watch) => watch.done.len(),
            By::Stream(watch) => watch.done.len(),
        }
    }

    /// What has been finished since the last call.
    pub fn done(&mut self) -> Vec<Transfer> {
        let done = std::mem::take(self.done_list());
        done.iter().for_each(|transfer| self.summary.add(transfer));
        done
    }

    /// The rest, and what the whole session comes to. Files that were never closed count as transferred; a program
    /// that failed is said to have.
    pub fn finish(mut self, exit_status: Option<u32>) -> (Vec<Transfer>, Summary) {
        match &mut self.by {
            By::Sftp(watch) => watch.end(),
            By::Scp(watch) => watch.end(),
            By::Stream(watch) => watch.end(exit_status),
        }
        let rest = self.done();
        (rest, self.summary)
    }
}

/// The hash of content that passes in order; none once a piece was missing or came twice.
struct InOrder {
    next: u64,
    hash: Option<Context>,
}

impl std::fmt::Debug for InOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InOrder")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Default for InOrder {
    fn default() -> Self {
        InOrder {
            next: 0,
            hash: Some(Context::new(&SHA256)),
        }
    }
}

impl InOrder {
    /// A piece that belongs at `offset` begins.
    fn at(&mut self, offset: u64) {
        if offset != self.next {
            self.hash = None;
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.next = self.next.saturating_add(bytes.len() as u64);
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }

    fn finish(self) -> Option<String> {
        self.hash.map(|hash| hex::encode(hash.finish()))
    }
}

/// A path or message as it may be written down: cut, control characters escaped.
fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .take(1024)
        .flat_map(char::escape_debug)
        .collect()
}
