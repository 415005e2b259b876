//! SFTP version 3 (draft-ietf-secsh-filexfer-02, with OpenSSH's extensions), looked at from the side.

use super::{FOLLOWED, InOrder, Transfer, shown};
use std::collections::HashMap;

/// Of one packet only this much is kept: enough for two paths.
const KEPT: usize = 9 << 10;

/// The longest handle that is followed; the protocol allows 256 bytes.
const HANDLE: usize = 256;

const DATA: u8 = 103;
const WRITE: u8 = 6;

/// Both directions of one SFTP session.
#[derive(Debug, Default)]
pub(super) struct Watch {
    up: Packets,
    down: Packets,
    /// Requests that were not answered yet.
    asked: HashMap<u32, Asked>,
    files: HashMap<Vec<u8>, File>,
    /// The file that the content passing by now belongs to.
    writing: Option<Vec<u8>>,
    reading: Option<Vec<u8>>,
    pub(super) done: Vec<Transfer>,
}

#[derive(Debug)]
enum Asked {
    /// The action that its flags announce, and the path.
    Open(&'static str, String),
    Read(Vec<u8>, u64),
    Write(Vec<u8>),
    Close(Vec<u8>),
    Change(Transfer),
}

#[derive(Debug)]
struct File {
    transfer: Transfer,
    read: InOrder,
    /// The end of the file was read.
    to_the_end: bool,
    written: InOrder,
}

impl File {
    fn finish(self) -> Transfer {
        let mut transfer = self.transfer;
        let content = if transfer.action == "write" {
            self.written
        } else if self.to_the_end || transfer.read > 0 {
            self.read
        } else {
            // Nothing of it passed: that it is empty is not known.
            return transfer;
        };
        if transfer.failed.is_none() {
            transfer.sha256 = content.finish();
        }
        transfer
    }
}

impl Watch {
    pub(super) fn request(&mut self, bytes: &[u8]) {
        let mut packets = std::mem::take(&mut self.up);
        packets.feed(bytes, &mut |piece| match piece {
            Piece::Head(packet) => {
                self.writing = None;
                // What is not understood is not followed.
                let _ = self.requested(packet);
            }
            Piece::Content(bytes) => {
                let file = self
                    .writing
                    .as_ref()
                    .and_then(|handle| self.files.get_mut(handle));
                if let Some(file) = file {
                    file.transfer.written += bytes.len() as u64;
                    file.written.update(bytes);
                }
            }
        });
        self.up = packets;
    }

    pub(super) fn reply(&mut self, bytes: &[u8]) {
        let mut packets = std::mem::take(&mut self.down);
        packets.feed(bytes, &mut |piece| match piece {
            Piece::Head(packet) => {
                self.reading = None;
                let _ = self.replied(packet);
            }
            Piece::Content(bytes) => {
                let file = self
                    .reading
                    .as_ref()
                    .and_then(|handle| self.files.get_mut(handle));
                if let Some(file) = file {
                    file.transfer.read += bytes.len() as u64;
                    file.read.update(bytes);
                }
            }
        });
        self.down = packets;
    }

    pub(super) fn end(&mut self) {
        let files = self.files.drain().map(|(_, file)| file.finish());
        self.done.extend(files);
    }

    fn ask(&mut self, id: u32, asked: Asked) {
        if self.asked.len() < FOLLOWED {
            self.asked.insert(id, asked);
        }
    }

    fn requested(&mut self, mut packet: &[u8]) -> Option<()> {
        let kind = take(&mut packet, 1)?[0];
        let id = number(&mut packet)?;
        match kind {
            // OPEN
            3 => {
                /// SSH_FXF_WRITE and SSH_FXF_APPEND.
                const WRITES: u32 = 2 | 4;
                let path = shown(string(&mut packet)?);
                let writes = number(&mut packet)? & WRITES != 0;
                self.ask(id, Asked::Open(if writes { "write" } else { "read" }, path));
            }
            // CLOSE
            4 => {
                let handle = string(&mut packet)?.to_vec();
                if self.files.contains_key(&handle) {
                    self.ask(id, Asked::Close(handle));
                }
            }
            // READ
            5 => {
                let handle = string(&mut packet)?.to_vec();
                let offset = long(&mut packet)?;
                if self.files.contains_key(&handle) {
                    self.ask(id, Asked::Read(handle, offset));
                }
            }
            WRITE => {
                let handle = string(&mut packet)?.to_vec();
                let offset = long(&mut packet)?;
                let file = self.files.get_mut(&handle)?;
                file.transfer.action = "write";
                file.written.at(offset);
                self.writing = Some(handle.clone());
                self.ask(id, Asked::Write(handle));
            }
            9 => self.change(id, "attributes", &mut packet, false)?,
            13 => self.change(id, "remove", &mut packet, false)?,
            14 => self.change(id, "mkdir", &mut packet, false)?,
            15 => self.change(id, "rmdir", &mut packet, false)?,
            18 => self.change(id, "rename", &mut packet, true)?,
            20 => self.change(id, "symlink", &mut packet, true)?,
            // EXTENDED
            200 => match string(&mut packet)? {
                b"posix-rename@openssh.com" => self.change(id, "rename", &mut packet, true)?,
                b"hardlink@openssh.com" => self.change(id, "link", &mut packet, true)?,
                // From one file of the host to another: the content does not pass.
                b"copy-data" => {
                    string(&mut packet)?;
                    take(&mut packet, 16)?;
                    let file = self.files.get_mut(string(&mut packet)?)?;
                    file.written.hash = None;
                }
                b"lsetstat@openssh.com" => self.change(id, "attributes", &mut packet, false)?,
                _ => {}
            },
            _ => {}
        }
        Some(())
    }

    fn change(&mut self, id: u32, action: &'static str, packet: &mut &[u8], two: bool) -> Option<()> {
        let mut path = shown(string(packet)?);
        if two {
            path = format!("{path} -> {}", shown(string(packet)?));
        }
        self.ask(id, Asked::Change(Transfer::new(action, path)));
        Some(())
    }

    fn replied(&mut self, mut packet: &[u8]) -> Option<()> {
        let kind = take(&mut packet, 1)?[0];
        let id = number(&mut packet)?;
        let asked = self.asked.remove(&id)?;
        match (kind, asked) {
            // STATUS
            (101, asked) => {
                let code = number(&mut packet)?;
                let text = string(&mut packet).map(shown).unwrap_or_default();
                let failed = (code != 0).then(|| {
                    if text.is_empty() {
                        format!("status {code}")
                    } else {
                        text
                    }
                });
                self.answered(asked, code, failed);
            }
            // HANDLE
            (102, Asked::Open(action, path)) => {
                let handle = string(&mut packet)?;
                if self.files.len() < FOLLOWED && handle.len() <= HANDLE {
                    let file = File {
                        transfer: Transfer::new(action, path),
                        read: InOrder::default(),
                        to_the_end: false,
                        written: InOrder::default(),
                    };
                    self.files.insert(handle.to_vec(), file);
                }
            }
            (DATA, Asked::Read(handle, offset)) => {
                self.files.get_mut(&handle)?.read.at(offset);
                self.reading = Some(handle);
            }
            _ => {}
        }
        Some(())
    }

    fn answered(&mut self, asked: Asked, code: u32, failed: Option<String>) {
        /// SSH_FX_EOF: the file has been read.
        const EOF: u32 = 1;
        match asked {
            Asked::Open(_, path) => {
                let mut transfer = Transfer::new("open", path);
                transfer.failed = failed;
                self.done.push(transfer);
            }
            Asked::Change(mut transfer) => {
                transfer.failed = failed;
                self.done.push(transfer);
            }
            Asked::Close(handle) => {
                if let Some(mut file) = self.files.remove(&handle) {
                    file.transfer.failed = file.transfer.failed.or(failed);
                    self.done.push(file.finish());
                }
            }
            Asked::Write(handle) | Asked::Read(handle, _) => {
                let Some(file) = self.files.get_mut(&handle) else {
                    return;
                };
                match failed {
                    Some(_) if code == EOF => file.to_the_end = true,
                    Some(reason) => {
                        file.transfer.failed.get_or_insert(reason);
                    }
                    None => {}
                }
            }
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(head)
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes, 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn long(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes, 8)?.try_into().ok().map(u64::from_be_bytes)
}

fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(number(bytes)?).ok()?;
    take(bytes, len)
}

/// What a stream of packets is cut into.
enum Piece<'a> {
    /// A packet, or its beginning.
    Head(&'a [u8]),
    /// Content of the file that the last head spoke of.
    Content(&'a [u8]),
}

/// Cuts a stream into packets. Of each the beginning is kept; file contents pass by.
#[derive(Debug, Default)]
struct Packets {
    kept: Vec<u8>,
    /// Bytes of the packet that are still to come; `None` while its length is read.
    left: Option<u32>,
    /// The head was given out; what follows is content, or of no interest.
    after: Option<After>,
}

#[derive(Debug, Clone, Copy)]
enum After {
    Content,
    Nothing,
}

impl Packets {
    fn feed(&mut self, mut bytes: &[u8], give: &mut dyn FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            let Some(left) = self.left else {
                let n = bytes.len().min(4 - self.kept.len());
                self.kept.extend_from_slice(&bytes[..n]);
                bytes = &bytes[n..];
                if let Ok(length) = <[u8; 4]>::try_from(&self.kept[..]) {
                    self.kept.clear();
                    self.after = None;
                    self.left = Some(u32::from_be_bytes(length)).filter(|length| *length > 0);
                }
                continue;
            };
            let whole = usize::try_from(left).unwrap_or(usize::MAX);
            let n = match self.after {
                Some(_) => bytes.len().min(whole),
                None => bytes.len().min(whole).min(self.wanted() - self.kept.len()),
            };
            let (piece, rest) = bytes.split_at(n);
            bytes = rest;
            // `n` is at most `left`.
            let left = left - u32::try_from(n).unwrap_or(left);
            match self.after {
                Some(After::Content) => give(Piece::Content(piece)),
                Some(After::Nothing) => {}
                None => {
                    self.kept.extend_from_slice(piece);
                    if left == 0 || self.kept.len() >= self.wanted() {
                        give(Piece::Head(&self.kept));
                        let content = matches!(self.kept.first(), Some(&(WRITE | DATA)));
                        self.after = Some(if content { After::Content } else { After::Nothing });
                    }
                }
            }
            self.left = Some(left).filter(|left| *left > 0);
            if left == 0 {
                self.kept.clear();
            }
        }
    }

    /// How long the head of the packet is, as far as is known by now. More than is kept, or the head is whole.
    fn wanted(&self) -> usize {
        /// Kind, id, length of a string.
        const FIXED: usize = 9;
        match self.kept.first() {
            None => 1,
            Some(&DATA) => FIXED,
            Some(&WRITE) => match self.kept.get(5..FIXED) {
                None => FIXED,
                Some(length) => {
                    let length = length.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
                    // Handle, offset, length of the content.
                    FIXED + length.min(HANDLE) + 12
                }
            },
            Some(_) => KEPT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Watch as Any;
    use proptest::prelude::*;

    fn packet(kind: u8, id: u32, rest: &[&[u8]]) -> Vec<u8> {
        let mut body = vec![kind];
        body.extend(id.to_be_bytes());
        rest.iter().for_each(|part| body.extend_from_slice(part));
        let mut all = u32::try_from(body.len()).expect("small").to_be_bytes().to_vec();
        all.extend(body);
        all
    }

    fn text(text: &[u8]) -> Vec<u8> {
        let mut all = u32::try_from(text.len()).expect("small").to_be_bytes().to_vec();
        all.extend_from_slice(text);
        all
    }

    fn status(id: u32, code: u32, why: &str) -> Vec<u8> {
        packet(101, id, &[&code.to_be_bytes(), &text(why.as_bytes()), &text(b"")])
    }

    enum Side {
        Up(Vec<u8>),
        Down(Vec<u8>),
    }
    use Side::{Down, Up};

    fn seen(conversation: &[Side], step: usize) -> Vec<Transfer> {
        let mut watch = Any::sftp();
        for side in conversation {
            match side {
                Up(bytes) => bytes.chunks(step).for_each(|piece| watch.request(piece)),
                Down(bytes) => bytes.chunks(step).for_each(|piece| watch.reply(piece)),
            }
        }
        watch.finish(None).0
    }

    fn at(offset: u64) -> [u8; 8] {
        offset.to_be_bytes()
    }

    fn sha(bytes: &[u8]) -> Option<String> {
        Some(hex::encode(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            bytes,
        )))
    }

    #[test]
    fn transfers_are_seen_however_the_stream_is_cut() {
        let data = vec![7; 40_000];
        let half = 20_000_u32.to_be_bytes();
        let conversation = [
            Up(packet(3, 1, &[&text(b"/etc/pass\nwd"), &[0; 8]])),
            Down(packet(102, 1, &[&text(b"h1")])),
            Up(packet(5, 2, &[&text(b"h1"), &at(0), &half])),
            Up(packet(5, 3, &[&text(b"h1"), &at(20_000), &half])),
            Down(packet(103, 2, &[&text(&data[..20_000])])),
            Down(packet(103, 3, &[&text(&data[..20_000])])),
            Up(packet(5, 4, &[&text(b"h1"), &at(40_000), &half])),
            Down(status(4, 1, "end of file")),
            Up(packet(4, 5, &[&text(b"h1")])),
            Down(status(5, 0, "")),
            Up(packet(3, 6, &[&text(b"/tmp/up"), &[0, 0, 0, 0x1a], &[0; 4]])),
            Down(packet(102, 6, &[&text(b"h2")])),
            Up(packet(6, 7, &[&text(b"h2"), &at(0), &text(&data)])),
            Down(status(7, 0, "")),
            Up(packet(4, 8, &[&text(b"h2")])),
            Down(status(8, 0, "")),
            Up(packet(13, 9, &[&text(b"/tmp/old")])),
            Down(status(9, 3, "Permission denied")),
            Up(packet(
                200,
                10,
                &[&text(b"posix-rename@openssh.com"), &text(b"a"), &text(b"b")],
            )),
            Down(status(10, 0, "")),
            Up(packet(3, 11, &[&text(b"/etc/shadow"), &[0; 8]])),
            Down(status(11, 3, "Permission denied")),
        ];
        for step in [1, 3, 1000, 1 << 20] {
            let seen = seen(&conversation, step);
            let of = |action| seen.iter().find(|t| t.action == action).cloned().expect(action);
            let read = of("read");
            assert_eq!(
                (
                    read.path.as_str(),
                    read.read,
                    read.written,
                    read.sha256,
                    read.failed
                ),
                ("/etc/pass\\nwd", 40_000, 0, sha(&data), None)
            );
            let write = of("write");
            assert_eq!(
                (write.path.as_str(), write.read, write.written, write.sha256),
                ("/tmp/up", 0, 40_000, sha(&data))
            );
            assert_eq!(of("remove").failed.as_deref(), Some("Permission denied"));
            assert_eq!(of("rename").path, "a -> b");
            assert_eq!(of("rename").failed, None);
            assert_eq!(of("open").path, "/etc/shadow");
        }
    }

    #[test]
    fn content_out_of_order_has_no_hash() {
        let conversation = [
            Up(packet(3, 1, &[&text(b"x"), &[0; 8]])),
            Down(packet(102, 1, &[&text(b"h")])),
            Up(packet(6, 2, &[&text(b"h"), &at(100), &text(b"abc")])),
            Up(packet(6, 3, &[&text(b"h"), &at(0), &text(b"def")])),
            Down([status(2, 0, ""), status(3, 4, "No space")].concat()),
            Up(packet(4, 4, &[&text(b"h")])),
            Down(status(4, 0, "")),
        ];
        let seen = seen(&conversation, 7);
        assert_eq!((seen[0].written, seen[0].sha256.clone()), (6, None));
        assert_eq!(seen[0].failed.as_deref(), Some("No space"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_no_harm(up in proptest::collection::vec(any::<u8>(), 0..4096), down in proptest::collection::vec(any::<u8>(), 0..4096), step in 1..4096_usize) {
            let mut watch = Watch::default();
            up.chunks(step).for_each(|piece| watch.request(piece));
            down.chunks(step).for_each(|piece| watch.reply(piece));
            prop_assert!(watch.files.len() <= FOLLOWED && watch.asked.len() <= FOLLOWED);
        }

        #[test]
        fn hostile_packets_do_no_harm(packets in proptest::collection::vec((any::<bool>(), 0..8_u8, 0..4_u32, proptest::collection::vec(any::<u8>(), 0..40)), 0..60)) {
            let mut watch = Watch::default();
            for (up, kind, id, body) in packets {
                if up {
                    watch.request(&packet(kind, id, &[&text(b"h"), &body]));
                } else {
                    watch.reply(&packet(100 + kind % 4, id, &[&text(b"h"), &body]));
                }
            }
            watch.end();
        }
    }
}
