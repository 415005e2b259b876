//! The old protocol of `scp`: lines that announce files and directories, contents, and one byte of answer to each.
//!
//! ```text
//! sender:   C0644 5 name \n   (waits)   hello \0   (waits)   E \n
//! receiver: \0                ...       \0         ...         or \1 reason \n
//! ```

use super::command::Copy;
use super::{InOrder, Transfer, shown};

/// The longest line that is read. A name may have 255 bytes.
const LINE: usize = 4096;

/// Directories inside each other that are followed.
const DEPTH: usize = 256;

#[derive(Debug)]
pub(super) struct Watch {
    /// The host sends.
    to_user: bool,
    target: String,
    into_directory: bool,
    sent: Sent,
    line: Vec<u8>,
    directories: Vec<String>,
    /// The file that is announced or passes by.
    file: Option<File>,
    /// An answer that is a reason, as far as it has come.
    complaint: Option<Vec<u8>>,
    pub(super) done: Vec<Transfer>,
}

#[derive(Debug)]
struct File {
    transfer: Transfer,
    left: u64,
    content: InOrder,
}

/// What the sender sends next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Line,
    /// A file was announced; whether its content follows is the receiver's choice.
    Announced,
    Content,
    /// The sender's own word on the content: one byte, or a reason.
    Verdict,
    /// Everything was sent; the receiver's answer is awaited.
    Awaited,
}

impl Watch {
    pub(super) fn new(copy: &Copy) -> Self {
        Watch {
            to_user: copy.to_user,
            target: shown(copy.path.as_bytes()),
            into_directory: copy.into_directory,
            sent: Sent::Line,
            line: Vec::new(),
            directories: Vec::new(),
            file: None,
            complaint: None,
            done: Vec::new(),
        }
    }

    pub(super) fn request(&mut self, bytes: &[u8]) {
        if self.to_user {
            self.received(bytes);
        } else {
            self.sent(bytes);
        }
    }

    pub(super) fn reply(&mut self, bytes: &[u8]) {
        if self.to_user {
            self.sent(bytes);
        } else {
            self.received(bytes);
        }
    }

    pub(super) fn end(&mut self) {
        let left = self.file.as_ref().map(|file| file.left);
        self.over(
            left.filter(|left| *left > 0)
                .map(|left| format!("{left} bytes did not come")),
        );
    }

    fn sent(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            match self.sent {
                Sent::Line | Sent::Announced | Sent::Awaited => {
                    bytes = &bytes[1..];
                    if first != b'\n' {
                        if self.line.len() < LINE {
                            self.line.push(first);
                        }
                        continue;
                    }
                    let line = std::mem::take(&mut self.line);
                    // The receiver did not want the file, or its answer was not seen.
                    self.over(None);
                    self.sent = Sent::Line;
                    let _ = self.announced(&line);
                }
                Sent::Content => {
                    let Some(file) = &mut self.file else {
                        self.sent = Sent::Line;
                        continue;
                    };
                    let n = bytes.len().min(usize::try_from(file.left).unwrap_or(usize::MAX));
                    file.content.update(&bytes[..n]);
                    let count = if self.to_user {
                        &mut file.transfer.read
                    } else {
                        &mut file.transfer.written
                    };
                    *count += n as u64;
                    file.left -= n as u64;
                    bytes = &bytes[n..];
                    if file.left == 0 {
                        self.sent = Sent::Verdict;
                    }
                }
                Sent::Verdict => {
                    bytes = &bytes[1..];
                    if first != 0
                        && let Some(file) = &mut self.file
                    {
                        // A reason follows as a line.
                        file.transfer.failed = Some("the sender could not read all of it".into());
                    }
                    self.sent = Sent::Awaited;
                }
            }
        }
    }

    fn announced(&mut self, line: &[u8]) -> Option<()> {
        let (&kind, rest) = line.split_first()?;
        match kind {
            b'C' | b'D' => {
                let mut fields = rest.splitn(3, |b| *b == b' ');
                let _mode = fields.next()?;
                let size: u64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
                let name = shown(fields.next()?);
                if kind == b'D' {
                    if self.directories.len() < DEPTH {
                        self.directories.push(name);
                    }
                    return Some(());
                }
                let action = if self.to_user { "read" } else { "write" };
                self.file = Some(File {
                    transfer: Transfer::new(action, self.path(&name)),
                    left: size,
                    content: InOrder::default(),
                });
                self.sent = Sent::Announced;
            }
            b'E' => {
                self.directories.pop();
            }
            _ => {}
        }
        Some(())
    }

    fn received(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match (&mut self.complaint, byte) {
                (Some(reason), b'\n') => {
                    let reason = shown(reason);
                    self.complaint = None;
                    self.over(Some(reason));
                    self.sent = Sent::Line;
                }
                (Some(reason), byte) if reason.len() < LINE => reason.push(byte),
                (Some(_), _) => {}
                (None, 0) => match (self.sent, &self.file) {
                    (Sent::Announced, Some(file)) => {
                        self.sent = if file.left == 0 {
                            Sent::Verdict
                        } else {
                            Sent::Content
                        };
                    }
                    (Sent::Awaited, _) => {
                        self.over(None);
                        self.sent = Sent::Line;
                    }
                    _ => {}
                },
                (None, _) => self.complaint = Some(Vec::new()),
            }
        }
    }

    fn over(&mut self, failed: Option<String>) {
        let Some(file) = self.file.take() else { return };
        let mut transfer = file.transfer;
        transfer.failed = transfer.failed.or(failed);
        if transfer.failed.is_none() {
            transfer.sha256 = file.content.finish();
        }
        self.done.push(transfer);
    }

    /// Where the file is on the host, as far as the protocol says.
    fn path(&self, name: &str) -> String {
        let inside = self
            .directories
            .iter()
            .map(String::as_str)
            .chain([name])
            .collect::<Vec<_>>()
            .join("/");
        let (parent, last) = match self.target.rsplit_once('/') {
            Some((parent, last)) => (Some(parent), last),
            None => (None, self.target.as_str()),
        };
        if self.to_user {
            return match parent {
                Some(parent) => format!("{parent}/{inside}"),
                None => inside,
            };
        }
        let directory = self.into_directory || matches!(last, "" | "." | "..");
        if directory {
            format!("{}/{inside}", self.target.trim_end_matches('/'))
        } else {
            self.target.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::copied_by;
    use super::*;
    use proptest::prelude::*;

    fn watch(command: &str) -> Watch {
        Watch::new(&copied_by(command).expect("a copy"))
    }

    fn sha(bytes: &[u8]) -> Option<String> {
        Some(hex::encode(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            bytes,
        )))
    }

    #[test]
    fn an_upload_of_a_tree_is_seen_file_by_file() {
        for step in [1, 4, 1000] {
            let mut watch = watch("scp -r -p -d -t /srv/in");
            let conversation: &[(&[u8], &[u8])] = &[
                (b"", b"\0"),
                (b"T1 0 1 0\n", b"\0"),
                (b"D0755 0 tree\n", b"\0"),
                (b"C0644 5 a b\n", b"\0"),
                (b"hello\0", b"\0"),
                (b"C0644 0 empty\n", b"\0"),
                (b"\0", b"\0"),
                (b"C0644 9 denied\n", b"\x01scp: denied: Permission denied\n"),
                (b"E\n", b"\0"),
            ];
            for (sent, answered) in conversation {
                sent.chunks(step).for_each(|piece| watch.request(piece));
                answered.chunks(step).for_each(|piece| watch.reply(piece));
            }
            watch.end();
            let seen: Vec<_> = watch
                .done
                .iter()
                .map(|t| {
                    (
                        t.action,
                        t.path.as_str(),
                        t.written,
                        t.sha256.clone(),
                        t.failed.as_deref(),
                    )
                })
                .collect();
            assert_eq!(
                seen,
                [
                    ("write", "/srv/in/tree/a b", 5, sha(b"hello"), None),
                    ("write", "/srv/in/tree/empty", 0, sha(b""), None),
                    (
                        "write",
                        "/srv/in/tree/denied",
                        0,
                        None,
                        Some("scp: denied: Permission denied")
                    ),
                ]
            );
        }
    }

    #[test]
    fn a_download_that_breaks_off_is_not_called_whole() {
        let mut watch = watch("scp -f /etc/hosts");
        watch.request(b"\0");
        watch.reply(b"C0644 10 hosts\n");
        watch.request(b"\0");
        watch.reply(b"half!");
        watch.end();
        let file = &watch.done[0];
        assert_eq!(
            (file.path.as_str(), file.read, &file.sha256),
            ("/etc/hosts", 5, &None)
        );
        assert_eq!(file.failed.as_deref(), Some("5 bytes did not come"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_no_harm(pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(prop_oneof![Just(b'C'), Just(b'D'), Just(b' '), Just(b'\n'), Just(b'1'), Just(0), any::<u8>()], 0..60)), 0..60)) {
            let mut watch = watch("scp -t x");
            for (up, bytes) in pieces {
                if up { watch.request(&bytes) } else { watch.reply(&bytes) }
            }
            watch.end();
            prop_assert!(watch.line.len() <= LINE && watch.directories.len() <= DEPTH);
        }
    }
}
