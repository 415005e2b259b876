//! SFTP version 3 as its user: one file to read or to write, as fast as the way allows and in little memory.
//!
//! Several requests are under way at a time, each for the next piece of the file, so that a long way costs speed only once.

use crate::ssh::user::{Hearing, NotBegun, Said, Speaking, reason};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// The piece of a file that one request is for: what every server takes.
const PIECE: u32 = 32 << 10;

/// Requests that are under way at a time: their pieces are what one transfer holds in memory.
const UNDER_WAY: usize = 24;

/// The largest packet that is taken.
const PACKET: usize = 256 << 10;

/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(60);

/// Of a server's own words this much is shown.
const SHOWN: usize = 300;

const VERSION: u32 = 3;
const SPACE: &str = "fstatvfs@openssh.com";

mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const READ: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const STAT: u8 = 17;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;

const READS: u32 = 1;
const WRITES: u32 = 2;
const CREATES: u32 = 8;
const EMPTIES: u32 = 16;

const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
const KIND_OF_FILE: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// Why a file was not read or written whole. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Copying files is refused, or the host serves none.
    #[error("{0}")]
    Refused(String),
    /// There is no such file, or no such folder to write it to.
    #[error("there is no {0} on the host")]
    NotFound(String),
    /// The account on the host may not.
    #[error("permission denied on the host: {0}")]
    Denied(String),
    /// It is a folder.
    #[error("{0} is a folder")]
    Folder(String),
    /// The host has no room for it.
    #[error("there is no space left on the host for {0}")]
    Full(String),
    /// The server cannot.
    #[error("the host cannot do this with {path}: {why}")]
    Failed {
        /// The file.
        path: String,
        /// The server's words.
        why: String,
    },
    /// The way to the server broke, or it fell silent.
    #[error("the connection to the host was lost")]
    Lost,
    /// It does not speak the protocol.
    #[error("the host's SFTP server answers what makes no sense")]
    Nonsense,
}

impl From<NotBegun> for FileError {
    fn from(why: NotBegun) -> Self {
        match why {
            NotBegun::Refused(why) => FileError::Refused(why),
            NotBegun::Lost => FileError::Lost,
        }
    }
}

/// A conversation with an SFTP server.
#[derive(Debug)]
struct Server {
    hearing: Hearing,
    speaking: Speaking,
    heard: BytesMut,
    next: u32,
    /// The server can say how much room there is.
    tells_space: bool,
    /// The file, as people read it.
    path: String,
}

/// An answer, without its id.
#[derive(Debug)]
struct Answer {
    kind: u8,
    body: Bytes,
}

impl Answer {
    fn u32(&mut self) -> Result<u32, FileError> {
        self.body.try_get_u32().map_err(|_| FileError::Nonsense)
    }

    fn u64(&mut self) -> Result<u64, FileError> {
        self.body.try_get_u64().map_err(|_| FileError::Nonsense)
    }

    fn string(&mut self) -> Result<Bytes, FileError> {
        let length = self.u32()? as usize;
        if length > self.body.len() {
            return Err(FileError::Nonsense);
        }
        Ok(self.body.split_to(length))
    }
}

/// What a server says of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Attrs {
    size: Option<u64>,
    mode: Option<u32>,
}

impl Attrs {
    fn read(answer: &mut Answer) -> Result<Self, FileError> {
        let flags = answer.u32()?;
        let mut attrs = Attrs::default();
        if flags & HAS_SIZE != 0 {
            attrs.size = Some(answer.u64()?);
        }
        if flags & HAS_OWNER != 0 {
            answer.u64()?;
        }
        if flags & HAS_MODE != 0 {
            attrs.mode = Some(answer.u32()?);
        }
        Ok(attrs)
    }

    fn is(self, kind: u32) -> bool {
        self.mode.is_some_and(|mode| mode & KIND_OF_FILE == kind)
    }
}

/// A request's body.
struct Body(BytesMut);

impl Body {
    fn new() -> Self {
        Body(BytesMut::new())
    }

    fn string(mut self, bytes: &[u8]) -> Self {
        // Names and pieces are bounded by their makers.
        self.0.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.put_slice(bytes);
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.put_u32(number);
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.put_u64(number);
        self
    }
}

impl Server {
    async fn begin(hearing: Hearing, speaking: Speaking, path: &str) -> Result<Self, FileError> {
        let mut server = Server {
            hearing,
            speaking,
            heard: BytesMut::new(),
            next: 0,
            tells_space: false,
            path: shown(path.as_bytes()),
        };
        let mut hello = BytesMut::new();
        hello.put_u32(5);
        hello.put_u8(kind::INIT);
        hello.put_u32(VERSION);
        if !server.speaking.send(hello.freeze()).await {
            return Err(server.refused(None).await);
        }
        let mut answer = server.packet().await?;
        if answer.kind != kind::VERSION || answer.u32()? != VERSION {
            return Err(FileError::Nonsense);
        }
        while answer.body.has_remaining() {
            let (name, _) = (answer.string()?, answer.string()?);
            server.tells_space |= name == SPACE.as_bytes();
        }
        Ok(server)
    }

    /// Why the channel ended: a host that grants SFTP may still say why there is none.
    async fn refused(&mut self, words: Option<Bytes>) -> FileError {
        let mut said = words.map(|words| reason(&words));
        let ended = async {
            loop {
                match self.hearing.next(PACKET).await {
                    Said::Words(words) => said = said.take().or_else(|| Some(reason(&words))),
                    Said::End => return,
                    Said::Output(_) | Said::Status(_) | Said::Signal(_) => {}
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), ended).await;
        match said.filter(|said| !said.is_empty()) {
            Some(said) => FileError::Refused(said),
            None => FileError::Lost,
        }
    }

    async fn send(&mut self, kind: u8, body: Body) -> Result<u32, FileError> {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let mut packet = BytesMut::with_capacity(body.0.len() + 9);
        let length = u32::try_from(body.0.len() + 5).map_err(|_| FileError::Nonsense)?;
        packet.put_u32(length);
        packet.put_u8(kind);
        packet.put_u32(id);
        packet.put_slice(&body.0);
        let sending = self.speaking.send(packet.freeze());
        match tokio::time::timeout(ANSWER, sending).await {
            Ok(true) => Ok(id),
            Ok(false) => Err(self.refused(None).await),
            Err(_) => Err(FileError::Lost),
        }
    }

    /// The next packet. May be given up at any time.
    async fn packet(&mut self) -> Result<Answer, FileError> {
        loop {
            if self.heard.len() >= 4 {
                let length = u32::from_be_bytes([self.heard[0], self.heard[1], self.heard[2], self.heard[3]]);
                let length = length as usize;
                if length == 0 || length > PACKET {
                    return Err(FileError::Nonsense);
                }
                if self.heard.len() >= 4 + length {
                    self.heard.advance(4);
                    let mut body = self.heard.split_to(length).freeze();
                    let kind = body.get_u8();
                    return Ok(Answer { kind, body });
                }
            }
            match tokio::time::timeout(ANSWER, self.hearing.next(PACKET)).await {
                Ok(Said::Output(bytes)) => self.heard.extend_from_slice(&bytes),
                Ok(Said::Words(words)) => return Err(self.refused(Some(words)).await),
                Ok(Said::Status(_) | Said::Signal(_) | Said::End) => return Err(self.refused(None).await),
                Err(_) => return Err(FileError::Lost),
            }
        }
    }

    async fn answer(&mut self) -> Result<(u32, Answer), FileError> {
        let mut answer = self.packet().await?;
        let id = answer.u32()?;
        Ok((id, answer))
    }

    /// Asks while nothing else is under way.
    async fn ask(&mut self, kind: u8, body: Body) -> Result<Answer, FileError> {
        let asked = self.send(kind, body).await?;
        let (id, answer) = self.answer().await?;
        if id == asked {
            Ok(answer)
        } else {
            Err(FileError::Nonsense)
        }
    }

    /// What a status that is not a success says.
    fn status(&self, mut answer: Answer) -> Result<FileError, FileError> {
        if answer.kind != kind::STATUS {
            return Err(FileError::Nonsense);
        }
        let path = self.path.clone();
        Ok(match answer.u32()? {
            NO_SUCH_FILE => FileError::NotFound(path),
            PERMISSION_DENIED => FileError::Denied(path),
            code => {
                let said = answer.string().unwrap_or_default();
                let why = match said.is_empty() {
                    true => format!("error {code}"),
                    false => shown(&said[..said.len().min(SHOWN)]),
                };
                FileError::Failed { path, why }
            }
        })
    }

    async fn open(&mut self, path: &str, flags: u32) -> Result<Bytes, FileError> {
        let body = Body::new().string(path.as_bytes()).u32(flags).u32(0);
        let mut answer = self.ask(kind::OPEN, body).await?;
        if answer.kind == kind::HANDLE {
            return answer.string();
        }
        Err(self.status(answer)?)
    }

    async fn attrs(&mut self, kind: u8, of: &[u8]) -> Result<Attrs, FileError> {
        let mut answer = self.ask(kind, Body::new().string(of)).await?;
        if answer.kind == kind::ATTRS {
            return Attrs::read(&mut answer);
        }
        Err(self.status(answer)?)
    }

    async fn close(&mut self, handle: &[u8]) -> Result<(), FileError> {
        let answer = self.ask(kind::CLOSE, Body::new().string(handle)).await?;
        if answer.kind == kind::STATUS && answer.clone_code() == Some(OK) {
            return Ok(());
        }
        Err(self.status(answer)?)
    }

    /// Whether the file system behind a handle is full, as far as the server tells.
    async fn is_full(&mut self, handle: &[u8]) -> bool {
        if !self.tells_space {
            return false;
        }
        let body = Body::new().string(SPACE.as_bytes()).string(handle);
        let Ok(mut answer) = self.ask(kind::EXTENDED, body).await else {
            return false;
        };
        if answer.kind != kind::EXTENDED_REPLY {
            return false;
        }
        // The fifth number is that of the blocks that are free for everybody.
        let mut numbers = [0; 5];
        for number in &mut numbers {
            match answer.u64() {
                Ok(said) => *number = said,
                Err(_) => return false,
            }
        }
        let [block, fragment, .., free] = numbers;
        let unit = if fragment == 0 { block } else { fragment };
        free.saturating_mul(unit) < u64::from(PIECE)
    }
}

impl Answer {
    /// The code of a status, without taking it.
    fn clone_code(&self) -> Option<u32> {
        let code = self.body.get(..4)?;
        Some(u32::from_be_bytes([code[0], code[1], code[2], code[3]]))
    }
}

/// A name as people read it: no control characters, not too long.
fn shown(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(SHOWN).collect();
    text.escape_debug().to_string()
}

/// A file that is being read.
#[derive(Debug)]
pub struct Reading {
    server: Server,
    handle: Bytes,
    /// How long it was when it was opened, where that is known: no more is read.
    size: Option<u64>,
    /// Up to where was asked.
    asked: u64,
    /// What was asked for, in order: id, offset, length.
    under_way: VecDeque<(u32, u64, u32)>,
    /// Answers that came out of order.
    early: HashMap<u32, Answer>,
    ended: bool,
}

impl Reading {
    /// Opens a file over a channel of the SFTP subsystem.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn open((hearing, speaking): (Hearing, Speaking), path: &str) -> Result<Self, FileError> {
        let mut server = Server::begin(hearing, speaking, path).await?;
        let handle = server.open(path, READS).await?;
        let attrs = server.attrs(kind::FSTAT, &handle).await?;
        if attrs.is(FOLDER) {
            return Err(FileError::Folder(server.path));
        }
        // Files that the kernel makes up say that they are empty.
        let size = attrs.size.filter(|size| *size > 0 && attrs.is(REGULAR));
        Ok(Reading {
            server,
            handle,
            size,
            asked: 0,
            under_way: VecDeque::new(),
            early: HashMap::new(),
            ended: false,
        })
    }

    /// Its length, where that is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// Why the rest cannot be read. A file that became shorter since it was opened is not whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        self.ask_ahead().await?;
        let Some(&(id, offset, length)) = self.under_way.front() else {
            if !std::mem::replace(&mut self.ended, true) {
                // So that the server's record of the transfer ends before the connection does.
                let handle = self.handle.clone();
                self.server.close(&handle).await?;
            }
            return Ok(None);
        };
        let mut answer = loop {
            if let Some(answer) = self.early.remove(&id) {
                break answer;
            }
            let (other, answer) = self.server.answer().await?;
            if other == id {
                break answer;
            }
            if !self.under_way.iter().any(|(id, ..)| *id == other) {
                return Err(FileError::Nonsense);
            }
            self.early.insert(other, answer);
        };
        self.under_way.pop_front();
        if answer.kind == kind::DATA {
            let bytes = answer.string()?;
            let got = u32::try_from(bytes.len()).map_err(|_| FileError::Nonsense)?;
            if got == 0 || got > length {
                return Err(FileError::Nonsense);
            }
            if got < length {
                // The rest of this piece comes before what was asked for behind it.
                let (at, rest) = (offset + u64::from(got), length - got);
                let id = self.ask_for(at, rest).await?;
                self.under_way.push_front((id, at, rest));
            }
            return Ok(Some(bytes));
        }
        if answer.kind == kind::STATUS && answer.clone_code() == Some(EOF) {
            return self.at_the_end(offset).await;
        }
        Err(self.server.status(answer)?)
    }

    /// The server says that there is nothing at this offset.
    async fn at_the_end(&mut self, offset: u64) -> Result<Option<Bytes>, FileError> {
        if self.size.is_some_and(|size| offset < size) {
            let path = self.server.path.clone();
            let why = "it became shorter while it was read".to_owned();
            return Err(FileError::Failed { path, why });
        }
        // What was asked for behind the end is answered alike.
        while let Some((id, ..)) = self.under_way.pop_front() {
            if self.early.remove(&id).is_none() {
                self.server.answer().await?;
            }
        }
        self.size = Some(offset);
        self.ended = true;
        let handle = self.handle.clone();
        self.server.close(&handle).await?;
        Ok(None)
    }

    async fn ask_ahead(&mut self) -> Result<(), FileError> {
        while !self.ended && self.under_way.len() < UNDER_WAY {
            let left = self
                .size
                .map_or(u64::from(PIECE), |size| size.saturating_sub(self.asked));
            let length = u32::try_from(left).unwrap_or(PIECE).min(PIECE);
            if length == 0 {
                break;
            }
            let at = self.asked;
            let id = self.ask_for(at, length).await?;
            self.under_way.push_back((id, at, length));
            self.asked += u64::from(length);
        }
        Ok(())
    }

    async fn ask_for(&mut self, at: u64, length: u32) -> Result<u32, FileError> {
        let body = Body::new().string(&self.handle).u64(at).u32(length);
        self.server.send(kind::READ, body).await
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct Writing {
    server: Server,
    handle: Bytes,
    at: u64,
    /// Writes that were not answered.
    under_way: usize,
}

impl Writing {
    /// Opens a file over a channel of the SFTP subsystem: makes it, or empties it.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub async fn open((hearing, speaking): (Hearing, Speaking), path: &str) -> Result<Self, FileError> {
        let mut server = Server::begin(hearing, speaking, path).await?;
        let opened = server.open(path, WRITES | CREATES | EMPTIES).await;
        let handle = match opened {
            Ok(handle) => handle,
            Err(failed @ FileError::Failed { .. }) => {
                // Servers have no word for it.
                let is_folder = server.attrs(kind::STAT, path.as_bytes()).await;
                return Err(match is_folder {
                    Ok(attrs) if attrs.is(FOLDER) => FileError::Folder(server.path),
                    _ => failed,
                });
            }
            Err(other) => return Err(other),
        };
        Ok(Writing {
            server,
            handle,
            at: 0,
            under_way: 0,
        })
    }

    /// Writes what comes next.
    ///
    /// # Errors
    /// Why it, or what came before it, could not be written.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), FileError> {
        while !bytes.is_empty() {
            while self.under_way >= UNDER_WAY {
                self.written().await?;
            }
            let piece = bytes.split_to(bytes.len().min(PIECE as usize));
            let body = Body::new().string(&self.handle).u64(self.at).string(&piece);
            self.server.send(kind::WRITE, body).await?;
            self.under_way += 1;
            self.at += piece.len() as u64;
        }
        Ok(())
    }

    /// Waits for the answer to one write.
    async fn written(&mut self) -> Result<(), FileError> {
        let (_, answer) = self.server.answer().await?;
        self.under_way -= 1;
        if answer.kind == kind::STATUS && answer.clone_code() == Some(OK) {
            return Ok(());
        }
        let failed = self.server.status(answer)?;
        while self.under_way > 0 {
            self.server.answer().await?;
            self.under_way -= 1;
        }
        let handle = self.handle.clone();
        if matches!(failed, FileError::Failed { .. }) && self.server.is_full(&handle).await {
            return Err(FileError::Full(self.server.path.clone()));
        }
        Err(failed)
    }

    /// Ends the file: ready when the server has all of it.
    ///
    /// # Errors
    /// Why it is not whole.
    pub async fn finish(mut self) -> Result<(), FileError> {
        while self.under_way > 0 {
            self.written().await?;
        }
        let handle = self.handle.clone();
        self.server.close(&handle).await?;
        self.server.speaking.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u8, body: Body) -> Answer {
        Answer {
            kind,
            body: body.0.freeze(),
        }
    }

    #[test]
    fn attributes_are_read_and_hostile_answers_are_nonsense() {
        let body = Body::new()
            .u32(HAS_SIZE | HAS_OWNER | HAS_MODE)
            .u64(7)
            .u64(0)
            .u32(REGULAR | 0o644);
        let attrs = Attrs::read(&mut answer(kind::ATTRS, body)).expect("attributes");
        assert_eq!(attrs.size, Some(7));
        assert!(attrs.is(REGULAR) && !attrs.is(FOLDER));
        let cut = Body::new().u32(HAS_SIZE).u32(7);
        assert_eq!(
            Attrs::read(&mut answer(kind::ATTRS, cut)),
            Err(FileError::Nonsense)
        );
        let long = Body::new().u32(u32::MAX);
        assert_eq!(answer(kind::HANDLE, long).string(), Err(FileError::Nonsense));
    }

    #[test]
    fn names_are_shown_without_control_characters() {
        assert_eq!(shown(b"a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert!(shown(&[b'x'; 5000]).len() <= SHOWN);
    }
}
