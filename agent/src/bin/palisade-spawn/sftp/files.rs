//! What is done for each request.

use super::attrs::{self, Attrs};
use super::listing::Names;
use super::wire::{Answer, Reader, Short};
use super::{CONTENT, PACKET};
use rustix::fs::{CWD, RenameFlags, StatVfs, StatVfsMountFlags, fstatvfs, renameat_with, statvfs};
use rustix::io::Errno;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// Files and directories that may be open at a time.
const HANDLES: usize = 512;

/// Names in one answer.
const NAMES: usize = 128;

const VERSION: u32 = 3;

/// Kinds of requests and answers.
mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const READ: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const LSTAT: u8 = 7;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const SETSTAT: u8 = 9;
    pub(super) const FSETSTAT: u8 = 10;
    pub(super) const OPENDIR: u8 = 11;
    pub(super) const READDIR: u8 = 12;
    pub(super) const REMOVE: u8 = 13;
    pub(super) const MKDIR: u8 = 14;
    pub(super) const RMDIR: u8 = 15;
    pub(super) const REALPATH: u8 = 16;
    pub(super) const STAT: u8 = 17;
    pub(super) const RENAME: u8 = 18;
    pub(super) const READLINK: u8 = 19;
    pub(super) const SYMLINK: u8 = 20;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

/// Extensions and their versions, as OpenSSH names them.
const EXTENSIONS: &[(&[u8], &[u8])] = &[
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"hardlink@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
    (b"lsetstat@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
    (b"expand-path@openssh.com", b"1"),
    (b"copy-data", b"1"),
];

/// Why a request fails.
#[derive(Debug)]
enum Failed {
    Io(io::Error),
    /// The end of a file or of a directory.
    End,
    Malformed,
    Unsupported,
    NoHandle,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Io(error)
    }
}

impl From<Errno> for Failed {
    fn from(error: Errno) -> Self {
        Failed::Io(error.into())
    }
}

impl From<Short> for Failed {
    fn from(_: Short) -> Self {
        Failed::Malformed
    }
}

#[derive(Debug)]
enum Open {
    File {
        file: File,
        append: bool,
    },
    Directory {
        path: PathBuf,
        left: fs::ReadDir,
        dots: u8,
    },
}

/// One client's files.
#[derive(Debug)]
pub(super) struct Server {
    home: PathBuf,
    open: Vec<Option<Open>>,
    names: Names,
}

impl Server {
    pub(super) fn new(home: PathBuf) -> Self {
        Server {
            home,
            open: Vec::new(),
            names: Names::default(),
        }
    }

    /// Answers one packet.
    pub(super) fn answer(&mut self, packet: &[u8], out: &mut Vec<u8>) {
        let mut request = Reader(packet);
        let (Ok(kind), Ok(id)) = (request.byte(), request.number()) else {
            return;
        };
        if kind == kind::INIT {
            // What stands in the place of an id is the client's version.
            let mut answer = Answer::new(out, kind::VERSION, VERSION);
            for (name, version) in EXTENSIONS {
                answer = answer.string(name).string(version);
            }
            return answer.end();
        }
        let (code, text) = match self.done(kind, id, &mut request, out) {
            Ok(true) => return,
            Ok(false) => (0, String::new()),
            Err(Failed::End) => (1, "end of file".to_owned()),
            Err(Failed::Io(error)) => (code(&error), plain(&error)),
            Err(Failed::Malformed) => (5, "the request is malformed".to_owned()),
            Err(Failed::Unsupported) => (8, "this server does not do that".to_owned()),
            Err(Failed::NoHandle) => (4, "there is no such handle".to_owned()),
        };
        Answer::new(out, kind::STATUS, id)
            .number(code)
            .string(text.as_bytes())
            .string(b"")
            .end();
    }

    /// True if it has written its answer, false if a word that it was done is due.
    fn done(
        &mut self,
        kind: u8,
        id: u32,
        request: &mut Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Failed> {
        match kind {
            kind::READ => return self.read(id, request, out).map(|()| true),
            kind::WRITE => self.write(request)?,
            kind::OPEN => {
                let open = open(request)?;
                return self.handle(id, open, out);
            }
            kind::OPENDIR => {
                let path = request.path()?;
                let left = fs::read_dir(&path)?;
                return self.handle(id, Open::Directory { path, left, dots: 0 }, out);
            }
            kind::CLOSE => {
                let at = slot(request)?;
                let open = self
                    .open
                    .get_mut(at)
                    .and_then(Option::take)
                    .ok_or(Failed::NoHandle)?;
                drop(open);
            }
            kind::READDIR => return self.list(id, request, out).map(|()| true),
            kind::STAT => return stat(id, &fs::metadata(request.path()?)?, out),
            kind::LSTAT => return stat(id, &fs::symlink_metadata(request.path()?)?, out),
            kind::FSTAT => {
                let (file, _) = self.file(request)?;
                return stat(id, &file.metadata()?, out);
            }
            kind::SETSTAT => {
                let path = request.path()?;
                Attrs::read(request)?.set(&path, true)?;
            }
            kind::FSETSTAT => {
                let (file, _) = self.file(request)?;
                Attrs::read(request)?.set_open(file)?;
            }
            kind::REMOVE => {
                let path = request.path()?;
                // Some systems let root unlink a directory.
                if fs::symlink_metadata(&path)?.is_dir() {
                    return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
                }
                fs::remove_file(path)?;
            }
            kind::MKDIR => {
                let path = request.path()?;
                let mode = Attrs::read(request)?.mode.unwrap_or(0o777);
                fs::DirBuilder::new().mode(mode).create(path)?;
            }
            kind::RMDIR => fs::remove_dir(request.path()?)?,
            kind::REALPATH => {
                let path = real(&request.path()?)?;
                return Ok(name(id, &path, out));
            }
            kind::RENAME => rename(&request.path()?, &request.path()?)?,
            kind::READLINK => {
                let path = fs::read_link(request.path()?)?;
                return Ok(name(id, &path, out));
            }
            // In the order that OpenSSH made customary, which is not that of the draft.
            kind::SYMLINK => symlink(request.path()?, request.path()?)?,
            kind::EXTENDED => return self.extended(id, request, out),
            _ => return Err(Failed::Unsupported),
        }
        Ok(false)
    }

    fn extended(&mut self, id: u32, request: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<bool, Failed> {
        match request.string()? {
            b"posix-rename@openssh.com" => fs::rename(request.path()?, request.path()?)?,
            b"hardlink@openssh.com" => fs::hard_link(request.path()?, request.path()?)?,
            b"fsync@openssh.com" => self.file(request)?.0.sync_all()?,
            b"lsetstat@openssh.com" => {
                let path = request.path()?;
                Attrs::read(request)?.set(&path, false)?;
            }
            b"statvfs@openssh.com" => return Ok(space(id, &statvfs(request.path()?)?, out)),
            b"fstatvfs@openssh.com" => {
                let (file, _) = self.file(request)?;
                return Ok(space(id, &fstatvfs(file)?, out));
            }
            b"limits@openssh.com" => {
                let answer = Answer::new(out, kind::EXTENDED_REPLY, id);
                let sizes = [PACKET, CONTENT, CONTENT, HANDLES];
                let written = sizes
                    .iter()
                    .fold(answer, |answer, size| answer.long(*size as u64));
                written.end();
                return Ok(true);
            }
            b"expand-path@openssh.com" => {
                let path = self.expand(&request.path()?)?;
                return Ok(name(id, &real(&path)?, out));
            }
            b"copy-data" => self.copy(request)?,
            _ => return Err(Failed::Unsupported),
        }
        Ok(false)
    }

    fn handle(&mut self, id: u32, open: Open, out: &mut Vec<u8>) -> Result<bool, Failed> {
        let free = self.open.iter().position(Option::is_none);
        let at = match free {
            Some(at) => at,
            None if self.open.len() < HANDLES => {
                self.open.push(None);
                self.open.len() - 1
            }
            None => return Err(Errno::MFILE.into()),
        };
        self.open[at] = Some(open);
        let number = u32::try_from(at).unwrap_or(u32::MAX).to_be_bytes();
        Answer::new(out, kind::HANDLE, id).string(&number).end();
        Ok(true)
    }

    fn file(&self, request: &mut Reader<'_>) -> Result<(&File, bool), Failed> {
        let at = slot(request)?;
        match self.open.get(at) {
            Some(Some(Open::File { file, append })) => Ok((file, *append)),
            _ => Err(Failed::NoHandle),
        }
    }

    fn read(&mut self, id: u32, request: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Failed> {
        let (file, _) = self.file(request)?;
        let (offset, length) = (request.long()?, request.number()?);
        let most = usize::try_from(length).unwrap_or(usize::MAX).min(CONTENT);
        if most == 0 {
            Answer::new(out, kind::DATA, id).string(b"").end();
            return Ok(());
        }
        let answer = Answer::new(out, kind::DATA, id).filled(most, |to| {
            loop {
                match file.read_at(to, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => return read,
                }
            }
        })?;
        answer.ok_or(Failed::End)?.end();
        Ok(())
    }

    fn write(&mut self, request: &mut Reader<'_>) -> Result<(), Failed> {
        let (file, append) = self.file(request)?;
        let offset = request.long()?;
        let content = request.string()?;
        if append {
            // Where the end is the kernel knows, at the moment of writing.
            let mut file = file;
            io::Write::write_all(&mut file, content)?;
        } else {
            file.write_all_at(content, offset)?;
        }
        Ok(())
    }

    fn list(&mut self, id: u32, request: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Failed> {
        let at = slot(request)?;
        let Some(Some(Open::Directory { path, left, dots })) = self.open.get_mut(at) else {
            return Err(Failed::NoHandle);
        };
        let mut names: Vec<(Vec<u8>, Metadata)> = Vec::new();
        while *dots < 2 {
            let dot = if *dots == 0 { "." } else { ".." };
            *dots += 1;
            if let Ok(metadata) = fs::symlink_metadata(path.join(dot)) {
                names.push((dot.into(), metadata));
            }
        }
        while names.len() < NAMES
            && let Some(entry) = left.next()
        {
            let entry = entry?;
            // What is gone by now is left out.
            if let Ok(metadata) = entry.metadata() {
                names.push((entry.file_name().as_bytes().to_vec(), metadata));
            }
        }
        if names.is_empty() {
            return Err(Failed::End);
        }
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let mut answer = Answer::new(out, kind::NAME, id).number(count);
        for (name, metadata) in &names {
            let line = self.names.line(name, metadata);
            answer = answer.string(name).string(&line).raw(&attrs::bytes(metadata));
        }
        answer.end();
        Ok(())
    }

    /// From one open file to another, without the content crossing the network.
    fn copy(&mut self, request: &mut Reader<'_>) -> Result<(), Failed> {
        let (from, _) = self.file(request)?;
        let (mut read_at, length) = (request.long()?, request.long()?);
        let (to, append) = self.file(request)?;
        let mut write_at = request.long()?;
        if append {
            return Err(Failed::Unsupported);
        }
        // 0 is all there is.
        let mut left = if length == 0 { u64::MAX } else { length };
        let mut piece = vec![0; CONTENT];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let n = from.read_at(&mut piece[..most], read_at)?;
            if n == 0 {
                break;
            }
            to.write_all_at(&piece[..n], write_at)?;
            (read_at, write_at, left) = (read_at + n as u64, write_at + n as u64, left - n as u64);
        }
        Ok(())
    }

    /// `~` and `~name` at the beginning, as a shell takes them.
    fn expand(&self, path: &Path) -> Result<PathBuf, Failed> {
        let mut parts = path.components();
        let Some(Component::Normal(first)) = parts.next() else {
            return Ok(path.to_owned());
        };
        let Some(name) = first.as_bytes().strip_prefix(b"~") else {
            return Ok(self.home.join(path));
        };
        let home = if name.is_empty() {
            self.home.clone()
        } else {
            let name = String::from_utf8_lossy(name);
            let user = nix::unistd::User::from_name(&name).ok().flatten();
            user.ok_or(io::Error::from(io::ErrorKind::NotFound))?.dir
        };
        Ok(home.join(parts.as_path()))
    }
}

fn slot(request: &mut Reader<'_>) -> Result<usize, Failed> {
    let handle: [u8; 4] = request.string()?.try_into().map_err(|_| Failed::NoHandle)?;
    usize::try_from(u32::from_be_bytes(handle)).map_err(|_| Failed::NoHandle)
}

fn open(request: &mut Reader<'_>) -> Result<Open, Failed> {
    let path = request.path()?;
    let flags = request.number()?;
    let attrs = Attrs::read(request)?;
    let has = |flag: u32| flags & flag != 0;
    let (read, write, append) = (has(1), has(2), has(4));
    let (create, truncate, exclusive) = (has(8), has(0x10), has(0x20));
    let mut options = OpenOptions::new();
    options.read(read || !(write || append));
    if append {
        options.append(true);
    } else {
        options.write(write);
    }
    if write || append {
        options
            .create(create && !exclusive)
            .create_new(create && exclusive);
        options.truncate(truncate && !append);
    }
    options.mode(attrs.mode.unwrap_or(0o666));
    let file = options.open(&path)?;
    if truncate && append {
        file.set_len(0)?;
    }
    Ok(Open::File { file, append })
}

/// Without taking the place of anything.
fn rename(from: &Path, to: &Path) -> Result<(), Failed> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(Errno::EXIST.into());
            }
            Ok(fs::rename(from, to)?)
        }
        done => Ok(done?),
    }
}

/// The path without links and dots. Its last part need not exist.
fn real(path: &Path) -> Result<PathBuf, Failed> {
    match fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                let parent = if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                };
                Ok(fs::canonicalize(parent)?.join(name))
            }
            _ => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn stat(id: u32, metadata: &Metadata, out: &mut Vec<u8>) -> Result<bool, Failed> {
    Answer::new(out, kind::ATTRS, id)
        .raw(&attrs::bytes(metadata))
        .end();
    Ok(true)
}

fn name(id: u32, path: &Path, out: &mut Vec<u8>) -> bool {
    let bytes = path.as_os_str().as_bytes();
    Answer::new(out, kind::NAME, id)
        .number(1)
        .string(bytes)
        .string(bytes)
        // No attributes.
        .number(0)
        .end();
    true
}

fn space(id: u32, of: &StatVfs, out: &mut Vec<u8>) -> bool {
    let flag = |flag, bit| if of.f_flag.contains(flag) { bit } else { 0 };
    let flags = flag(StatVfsMountFlags::RDONLY, 1) | flag(StatVfsMountFlags::NOSUID, 2);
    let numbers = [
        of.f_bsize,
        of.f_frsize,
        of.f_blocks,
        of.f_bfree,
        of.f_bavail,
        of.f_files,
        of.f_ffree,
        of.f_favail,
        of.f_fsid,
        flags,
        of.f_namemax,
    ];
    let answer = Answer::new(out, kind::EXTENDED_REPLY, id);
    numbers
        .iter()
        .fold(answer, |answer, number| answer.long(*number))
        .end();
    true
}

fn code(error: &io::Error) -> u32 {
    match error.kind() {
        io::ErrorKind::NotFound => 2,
        io::ErrorKind::PermissionDenied => 3,
        _ => 4,
    }
}

/// The error without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(server: &mut Server, kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let mut packet = vec![kind];
        packet.extend(7_u32.to_be_bytes());
        parts.iter().for_each(|part| packet.extend_from_slice(part));
        let mut out = Vec::new();
        server.answer(&packet, &mut out);
        assert_eq!(
            out.len(),
            4 + u32::from_be_bytes(out[..4].try_into().expect("four")) as usize
        );
        out.split_off(4)
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        [
            &u32::try_from(bytes.len()).expect("small").to_be_bytes()[..],
            bytes,
        ]
        .concat()
    }

    fn status(answer: &[u8]) -> u32 {
        assert_eq!(answer[0], kind::STATUS, "{answer:?}");
        u32::from_be_bytes(answer[5..9].try_into().expect("four"))
    }

    #[test]
    fn a_file_is_written_read_and_renamed() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut server = Server::new(dir.path().into());
        let path = |name: &str| text(dir.path().join(name).as_os_str().as_bytes());
        let none = 0_u32.to_be_bytes();
        let opened = ask(
            &mut server,
            kind::OPEN,
            &[&path("a"), &0x1a_u32.to_be_bytes(), &none],
        );
        assert_eq!(opened[0], kind::HANDLE);
        let handle = opened[5..].to_vec();
        let wrote = ask(
            &mut server,
            kind::WRITE,
            &[&handle, &3_u64.to_be_bytes(), &text(b"lo")],
        );
        assert_eq!(status(&wrote), 0);
        assert_eq!(status(&ask(&mut server, kind::CLOSE, &[&handle])), 0);
        assert_eq!(
            status(&ask(&mut server, kind::CLOSE, &[&handle])),
            4,
            "closed twice"
        );
        assert_eq!(std::fs::read(dir.path().join("a")).expect("read"), b"\0\0\0lo");
        std::fs::write(dir.path().join("b"), b"b").expect("written");
        assert_eq!(
            status(&ask(&mut server, kind::RENAME, &[&path("a"), &path("b")])),
            4
        );
        let posix = text(b"posix-rename@openssh.com");
        assert_eq!(
            status(&ask(
                &mut server,
                kind::EXTENDED,
                &[&posix, &path("a"), &path("b")]
            )),
            0
        );
        let opened = ask(
            &mut server,
            kind::OPEN,
            &[&path("b"), &1_u32.to_be_bytes(), &none],
        );
        let handle = opened[5..].to_vec();
        let read = |server: &mut Server, at: u64| {
            ask(
                server,
                kind::READ,
                &[&handle, &at.to_be_bytes(), &100_u32.to_be_bytes()],
            )
        };
        let data = read(&mut server, 3);
        assert_eq!((data[0], &data[5..]), (kind::DATA, &text(b"lo")[..]));
        assert_eq!(status(&read(&mut server, 5)), 1);
        assert_eq!(
            status(&ask(
                &mut server,
                kind::OPEN,
                &[&path("gone"), &1_u32.to_be_bytes(), &none]
            )),
            2
        );
    }

    proptest! {
        #[test]
        fn any_packet_is_answered_or_left(kind in 4..=8_u8, body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut server = Server::new("/nowhere".into());
            let packet = [&[kind][..], &body].concat();
            let mut out = Vec::new();
            server.answer(&packet, &mut out);
            prop_assert!(out.is_empty() || out.len() >= 9);
        }
    }
}
