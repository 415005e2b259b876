//! Looks on while files are transferred by SFTP, to say which ones and how much of them. It changes nothing, holds
//! nothing back, and what it does not understand it ignores: the bytes come from both sides and may be anything.

use std::collections::HashMap;

/// Of one packet only this much is kept: enough for two paths.
const KEPT: usize = 9 << 10;

/// Open files and unanswered requests that are followed. A client that has more open loses the overview, no more.
const FOLLOWED: usize = 1024;

/// One file that was read, written or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// `read`, `write`, `remove`, `rename`, ...
    pub(crate) action: &'static str,
    /// The path as the client named it, control characters escaped.
    pub(crate) path: String,
    /// Bytes to the user.
    pub(crate) read: u64,
    /// Bytes from the user.
    pub(crate) written: u64,
}

/// Both directions of one SFTP session.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    requests: Packets,
    replies: Packets,
    opening: HashMap<u32, String>,
    reading: HashMap<u32, Vec<u8>>,
    files: HashMap<Vec<u8>, Transfer>,
    done: Vec<Transfer>,
}

impl Watch {
    /// Bytes from the user.
    pub(crate) fn request(&mut self, bytes: &[u8]) {
        let mut packets = std::mem::take(&mut self.requests);
        packets.feed(bytes, |packet| {
            // What is not understood is not followed.
            let _ = self.requested(packet);
        });
        self.requests = packets;
    }

    /// Bytes to the user.
    pub(crate) fn reply(&mut self, bytes: &[u8]) {
        let mut packets = std::mem::take(&mut self.replies);
        packets.feed(bytes, |packet| {
            let _ = self.replied(packet);
        });
        self.replies = packets;
    }

    /// What has been finished since the last call.
    pub(crate) fn done(&mut self) -> Vec<Transfer> {
        std::mem::take(&mut self.done)
    }

    /// How much waits to be fetched by [`Watch::done`].
    pub(crate) fn waiting(&self) -> usize {
        self.done.len()
    }

    /// Files that were never closed count as transferred when the session ends.
    pub(crate) fn finish(mut self) -> Vec<Transfer> {
        self.done.extend(self.files.into_values());
        self.done
    }

    fn requested(&mut self, mut packet: &[u8]) -> Option<()> {
        let kind = take(&mut packet, 1)?[0];
        let id = number(&mut packet)?;
        match kind {
            // OPEN
            3 if self.opening.len() < FOLLOWED => {
                let path = shown(string(&mut packet)?);
                self.opening.insert(id, path);
            }
            // CLOSE
            4 => {
                let file = self.files.remove(string(&mut packet)?)?;
                self.done.push(file);
            }
            // READ
            5 if self.reading.len() < FOLLOWED => {
                let handle = string(&mut packet)?;
                if self.files.contains_key(handle) {
                    self.reading.insert(id, handle.to_vec());
                }
            }
            // WRITE
            6 => {
                let file = self.files.get_mut(string(&mut packet)?)?;
                take(&mut packet, 8)?;
                file.written += u64::from(number(&mut packet)?);
                file.action = "write";
            }
            13 => self.changed("remove", string(&mut packet)?, None),
            14 => self.changed("mkdir", string(&mut packet)?, None),
            15 => self.changed("rmdir", string(&mut packet)?, None),
            18 => {
                let from = string(&mut packet)?;
                self.changed("rename", from, Some(string(&mut packet)?));
            }
            // EXTENDED
            200 => {
                let name = string(&mut packet)?;
                if name == b"posix-rename@openssh.com" {
                    let from = string(&mut packet)?;
                    self.changed("rename", from, Some(string(&mut packet)?));
                }
            }
            _ => {}
        }
        Some(())
    }

    fn replied(&mut self, mut packet: &[u8]) -> Option<()> {
        let kind = take(&mut packet, 1)?[0];
        let id = number(&mut packet)?;
        match kind {
            // STATUS
            101 => {
                self.opening.remove(&id);
                self.reading.remove(&id);
            }
            // HANDLE
            102 => {
                let path = self.opening.remove(&id)?;
                let handle = string(&mut packet)?;
                if self.files.len() < FOLLOWED && handle.len() <= 256 {
                    let file = Transfer {
                        action: "read",
                        path,
                        read: 0,
                        written: 0,
                    };
                    self.files.insert(handle.to_vec(), file);
                }
            }
            // DATA
            103 => {
                let handle = self.reading.remove(&id)?;
                self.files.get_mut(&handle)?.read += u64::from(number(&mut packet)?);
            }
            _ => {}
        }
        Some(())
    }

    fn changed(&mut self, action: &'static str, path: &[u8], to: Option<&[u8]>) {
        let to = to.map(|to| format!(" -> {}", shown(to))).unwrap_or_default();
        self.done.push(Transfer {
            action,
            path: shown(path) + &to,
            read: 0,
            written: 0,
        });
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path)
        .chars()
        .take(1024)
        .flat_map(char::escape_debug)
        .collect()
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(head)
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes, 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(number(bytes)?).ok()?;
    take(bytes, len)
}

/// Cuts a stream into packets, keeping the beginning of each.
#[derive(Debug, Default)]
struct Packets {
    kept: Vec<u8>,
    /// Bytes of the packet that are still to come; `None` while its length is read.
    left: Option<u32>,
}

impl Packets {
    fn feed(&mut self, mut bytes: &[u8], mut whole: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let Some(left) = &mut self.left else {
                let n = bytes.len().min(4 - self.kept.len());
                self.kept.extend_from_slice(&bytes[..n]);
                bytes = &bytes[n..];
                if let Ok(length) = <[u8; 4]>::try_from(&self.kept[..]) {
                    self.left = Some(u32::from_be_bytes(length));
                    self.kept.clear();
                }
                continue;
            };
            let n = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            let room = KEPT.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&bytes[..n.min(room)]);
            // `n` is at most `left`.
            *left -= u32::try_from(n).unwrap_or(*left);
            bytes = &bytes[n..];
            if *left == 0 {
                whole(&self.kept);
                self.left = None;
                self.kept.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn conversation() -> (Vec<u8>, Vec<u8>) {
        let data = vec![7; 40_000];
        let up = [
            packet(3, 1, &[&text(b"/etc/pass\nwd"), &[0; 8]]),
            packet(5, 2, &[&text(b"h1"), &[0; 8], &40_000_u32.to_be_bytes()]),
            packet(4, 3, &[&text(b"h1")]),
            packet(3, 4, &[&text(b"/tmp/up"), &[0; 8]]),
            packet(6, 5, &[&text(b"h2"), &[0; 8], &text(&data)]),
            packet(4, 6, &[&text(b"h2")]),
            packet(13, 7, &[&text(b"/tmp/old")]),
            packet(
                200,
                8,
                &[&text(b"posix-rename@openssh.com"), &text(b"a"), &text(b"b")],
            ),
        ];
        let down = [
            packet(102, 1, &[&text(b"h1")]),
            packet(103, 2, &[&text(&data)]),
            packet(102, 4, &[&text(b"h2")]),
        ];
        (up.concat(), down.concat())
    }

    fn watch(up: &[u8], down: &[u8], step: usize) -> Vec<Transfer> {
        // Replies come after the requests that they answer, here as early as possible.
        let mut watch = Watch::default();
        let mut sent = 0;
        for (n, part) in split(up).into_iter().enumerate() {
            part.chunks(step).for_each(|piece| watch.request(piece));
            let replies = split(down);
            let due = match n {
                0 => 1,
                1 => 2,
                3 => 3,
                _ => sent,
            };
            for reply in &replies[sent.min(due)..due] {
                reply.chunks(step).for_each(|piece| watch.reply(piece));
            }
            sent = sent.max(due);
        }
        watch.finish()
    }

    fn split(stream: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut rest = stream;
        while rest.len() >= 4 {
            let len = u32::from_be_bytes(rest[..4].try_into().expect("four")) as usize;
            all.push(rest[..4 + len].to_vec());
            rest = &rest[4 + len..];
        }
        all
    }

    #[test]
    fn transfers_are_seen_however_the_stream_is_cut() {
        let (up, down) = conversation();
        for step in [1, 3, 1000, 1 << 20] {
            let seen = watch(&up, &down, step);
            let of = |action| seen.iter().find(|t| t.action == action).cloned();
            let read = of("read").expect("a read");
            assert_eq!(
                (read.path.as_str(), read.read, read.written),
                ("/etc/pass\\nwd", 40_000, 0)
            );
            let write = of("write").expect("a write");
            assert_eq!(
                (write.path.as_str(), write.read, write.written),
                ("/tmp/up", 0, 40_000)
            );
            assert_eq!(of("remove").map(|t| t.path), Some("/tmp/old".into()));
            assert_eq!(of("rename").map(|t| t.path), Some("a -> b".into()));
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_no_harm(up in proptest::collection::vec(any::<u8>(), 0..4096), down in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let mut watch = Watch::default();
            watch.request(&up);
            watch.reply(&down);
            prop_assert!(watch.files.len() <= FOLLOWED);
            drop(watch.finish());
        }
    }
}
