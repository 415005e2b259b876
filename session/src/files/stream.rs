//! A program that copies by its standard input or output alone: `cat file`, `cat > file`, and rsync, of whose protocol
//! only the direction and the number of bytes are told.

use super::command::{Copy, Protocol};
use super::{InOrder, Transfer, shown};

#[derive(Debug)]
pub(super) struct Watch {
    path: String,
    to_user: bool,
    read: u64,
    written: u64,
    content: Option<InOrder>,
    pub(super) done: Vec<Transfer>,
}

impl Watch {
    pub(super) fn new(copy: &Copy) -> Self {
        Watch {
            path: shown(copy.path.as_bytes()),
            to_user: copy.to_user,
            read: 0,
            written: 0,
            content: (copy.protocol == Protocol::Program).then(InOrder::default),
            done: Vec::new(),
        }
    }

    pub(super) fn request(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        if let (false, Some(content)) = (self.to_user, &mut self.content) {
            content.update(bytes);
        }
    }

    pub(super) fn reply(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        if let (true, Some(content)) = (self.to_user, &mut self.content) {
            content.update(bytes);
        }
    }

    pub(super) fn end(&mut self, exit_status: Option<u32>) {
        let action = if self.to_user { "read" } else { "write" };
        let mut transfer = Transfer::new(action, std::mem::take(&mut self.path));
        // A program that reads a file may be sent bytes that it ignores, and the other way round; rsync talks both ways.
        if self.to_user || self.content.is_none() {
            transfer.read = self.read;
        }
        if !self.to_user || self.content.is_none() {
            transfer.written = self.written;
        }
        transfer.failed = match exit_status {
            Some(0) => None,
            Some(status) => Some(format!("exit status {status}")),
            None => Some("it did not end by itself".into()),
        };
        if transfer.failed.is_none() {
            transfer.sha256 = self.content.take().and_then(InOrder::finish);
        }
        self.done.push(transfer);
    }
}
