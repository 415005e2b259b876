//! What the nodes have not taken yet waits on disk: chunks of recordings, and what is to be written about sessions.
//!
//! One file a session: `PSP` and a version, then frames of `length, CRC-32C, kind, content`, each as one appended write.
//! Files are shipped in the order of their frames and independently of each other; one that is damaged is set aside under
//! a name that says so.

use crate::uplink::{Declined, Uplink};
use palisade_core::event::{Event, EventKind};
use palisade_core::name::SessionId;
use palisade_core::ports::{Pending, Unavailable};
use palisade_core::record::{Completeness, RecordingMode};
use palisade_core::time::Timestamp;
use palisade_core::tunnel::SessionEnd;
use palisade_core::wire;
use palisade_session::recorder::Ship;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How files begin; the last byte is the version of the format.
const HEAD: &[u8; 4] = b"PSP\x01";

/// How a file is called: the session, then this.
const ENDING: &str = "spool";

/// The largest frame that is read: a chunk with its frame, and room to spare.
const FRAME_MAX: u32 = 4 << 20;

/// How long the nodes may take for one thing before it waits on disk.
const WAIT: Duration = Duration::from_secs(3);

/// Between two tries to reach them.
const RETRY: Duration = Duration::from_secs(1);

/// The version of what is written about sessions.
const WORDS_VERSION: u8 = 1;

/// Everything that waits.
pub(crate) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    bytes: AtomicU64,
    uplink: Arc<dyn Uplink>,
    waiting: Mutex<HashMap<SessionId, Arc<tokio::sync::Mutex<Waiting>>>>,
    work: Notify,
}

/// What waits of one session.
#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    /// Where the first frame begins that is not shipped; 0 if there is no file.
    at: u64,
    /// The file was left behind by an earlier run of the agent: nobody adds to it.
    left_behind: bool,
    /// Of the session itself.
    proof: Vec<u8>,
    /// Of somebody else, whom the events that follow in the file are about.
    other: Option<Vec<u8>>,
    chunks: u32,
    last_chunk: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Frame {
    Proof(Vec<u8>),
    Chunk(u32, Vec<u8>),
    Audit(Vec<Event>),
    End(Box<SessionEnd>),
}

/// Why a file cannot be read on.
#[derive(Debug)]
enum Stuck {
    /// There is nothing after this.
    AtEnd,
    /// The last frame is not whole: it was being written.
    Torn,
    Damaged(&'static str),
    Io(io::Error),
}

impl Frame {
    fn to_bytes(&self) -> Vec<u8> {
        let (kind, content) = match self {
            Frame::Proof(proof) => (1, proof.clone()),
            Frame::Chunk(seq, bytes) => (2, [&seq.to_be_bytes()[..], bytes].concat()),
            Frame::Audit(events) => (3, wire::encode(WORDS_VERSION, events)),
            Frame::End(end) => (4, wire::encode(WORDS_VERSION, end)),
        };
        let mut body = vec![kind];
        body.extend(content);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        [
            &length.to_be_bytes()[..],
            &crc32c::crc32c(&body).to_be_bytes(),
            &body,
        ]
        .concat()
    }

    /// Reads one frame, and where the next begins.
    fn read(file: &mut File, at: u64) -> Result<(Frame, u64), Stuck> {
        file.seek(SeekFrom::Start(at)).map_err(Stuck::Io)?;
        let mut head = [0; 8];
        let got = fill(file, &mut head).map_err(Stuck::Io)?;
        match got {
            0 => return Err(Stuck::AtEnd),
            8 => {}
            _ => return Err(Stuck::Torn),
        }
        let number = |four: &[u8]| four.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b));
        let (length, sum) = (number(&head[..4]), number(&head[4..]));
        if length == 0 || length > FRAME_MAX {
            return Err(Stuck::Damaged("a frame has an impossible length"));
        }
        let mut body = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        if fill(file, &mut body).map_err(Stuck::Io)? < body.len() {
            return Err(Stuck::Torn);
        }
        if crc32c::crc32c(&body) != sum {
            return Err(Stuck::Damaged("a checksum is wrong"));
        }
        let malformed = || Stuck::Damaged("a frame is malformed");
        let content = &body[1..];
        let frame = match body[0] {
            1 => Frame::Proof(content.to_vec()),
            2 => {
                let (seq, bytes) = content.split_at_checked(4).ok_or_else(malformed)?;
                Frame::Chunk(number(seq), bytes.to_vec())
            }
            3 => {
                Frame::Audit(wire::decode("spooled events", WORDS_VERSION, content).map_err(|_| malformed())?)
            }
            4 => Frame::End(Box::new(
                wire::decode("spooled end of a session", WORDS_VERSION, content).map_err(|_| malformed())?,
            )),
            _ => return Err(malformed()),
        };
        Ok((frame, at + 8 + u64::from(length)))
    }
}

fn fill(file: &mut File, to: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < to.len() {
        match file.read(&mut to[got..])? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

impl Spool {
    /// The spool in a directory. What an earlier run left there is shipped. Needs a runtime.
    pub(crate) fn open(dir: PathBuf, bytes_max: u64, uplink: Arc<dyn Uplink>) -> Arc<Spool> {
        let spool = Arc::new(Spool {
            dir,
            bytes_max,
            bytes: AtomicU64::new(0),
            uplink,
            waiting: Mutex::default(),
            work: Notify::new(),
        });
        spool.find_left_behind();
        let weak = Arc::downgrade(&spool);
        tokio::spawn(async move {
            while let Some(spool) = weak.upgrade() {
                let open = spool.ship_all().await;
                let wait = if open { RETRY } else { Duration::from_secs(60) };
                // The spool ends with its server, within this wait.
                let _ = timeout(wait, spool.work.notified()).await;
            }
        });
        spool
    }

    fn find_left_behind(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            let (Some(ENDING), Ok(session)) =
                (path.extension().and_then(|e| e.to_str()), SessionId::parse(name))
            else {
                continue;
            };
            let size = entry.metadata().map_or(0, |m| m.len());
            self.bytes.fetch_add(size, Ordering::Relaxed);
            let waiting = Waiting {
                path,
                at: HEAD.len() as u64,
                left_behind: true,
                proof: Vec::new(),
                other: None,
                chunks: 0,
                last_chunk: String::new(),
            };
            self.waiting
                .lock()
                .insert(session, Arc::new(tokio::sync::Mutex::new(waiting)));
        }
    }

    /// For what one session has to say.
    pub(crate) fn writer(
        self: &Arc<Self>,
        session: &SessionId,
        proof: &[u8],
        mode: RecordingMode,
    ) -> Arc<Writer> {
        let waiting = Waiting {
            path: self.dir.join(format!("{session}.{ENDING}")),
            at: 0,
            left_behind: false,
            proof: proof.to_vec(),
            other: None,
            chunks: 0,
            last_chunk: String::new(),
        };
        let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
        self.waiting.lock().insert(session.clone(), Arc::clone(&waiting));
        Arc::new(Writer {
            spool: Arc::clone(self),
            session: session.clone(),
            proof: proof.to_vec(),
            strict: mode == RecordingMode::Strict,
            waiting: Some(waiting),
        })
    }

    /// For a session that a node records: it has nothing to say from here.
    pub(crate) fn silent(self: &Arc<Self>, session: &SessionId) -> Arc<Writer> {
        Arc::new(Writer {
            spool: Arc::clone(self),
            session: session.clone(),
            proof: Vec::new(),
            strict: false,
            waiting: None,
        })
    }

    /// Ships what waits, as far as the nodes take it. True if something is left.
    async fn ship_all(&self) -> bool {
        let all: Vec<_> = {
            let waiting = self.waiting.lock();
            waiting
                .iter()
                .map(|(id, one)| (id.clone(), Arc::clone(one)))
                .collect()
        };
        let mut left = false;
        for (session, one) in all {
            let mut waiting = one.lock().await;
            if waiting.at > 0 {
                left |= !self.ship_one(&session, &mut waiting).await;
            }
        }
        left
    }

    /// True if nothing of this session is left.
    async fn ship_one(&self, session: &SessionId, waiting: &mut Waiting) -> bool {
        loop {
            let path = waiting.path.clone();
            let at = waiting.at;
            let read = tokio::task::spawn_blocking(move || {
                let mut file = File::open(&path).map_err(Stuck::Io)?;
                if at == HEAD.len() as u64 {
                    let mut head = [0; HEAD.len()];
                    if fill(&mut file, &mut head).map_err(Stuck::Io)? < head.len() {
                        return Err(Stuck::Torn);
                    }
                    if &head != HEAD {
                        return Err(Stuck::Damaged(
                            "it does not begin as a spool file of this version",
                        ));
                    }
                }
                Frame::read(&mut file, at)
            });
            let taken = match read.await {
                Ok(Ok((frame, next))) => match self.deliver(session, waiting, frame).await {
                    Ok(()) => {
                        waiting.at = next;
                        continue;
                    }
                    Err(()) => return false,
                },
                Ok(Err(stuck)) => stuck,
                Err(_) => return false,
            };
            match taken {
                Stuck::AtEnd | Stuck::Torn if !waiting.left_behind => {}
                Stuck::AtEnd | Stuck::Torn => {
                    let why = "the agent on the host was cut off; what it had not written down is lost";
                    if self.interrupted(session, waiting, why).await.is_err() {
                        return false;
                    }
                }
                Stuck::Damaged(what) => {
                    let aside = waiting.path.with_extension("damaged");
                    tracing::error!(file = %waiting.path.display(), aside = %aside.display(), what, "a spool file is damaged and was set aside");
                    let why = format!(
                        "recordings that waited on the host are damaged: {what}; see {}",
                        aside.display()
                    );
                    if self.interrupted(session, waiting, &why).await.is_err() {
                        return false;
                    }
                    if let Err(error) = fs::rename(&waiting.path, &aside) {
                        tracing::error!(file = %waiting.path.display(), error = %error, "it could not be set aside");
                    }
                }
                Stuck::Io(error) => {
                    tracing::error!(file = %waiting.path.display(), error = %error, "a spool file cannot be read");
                    return false;
                }
            }
            self.remove(session, waiting);
            return true;
        }
    }

    /// Everything of the file is with the nodes.
    fn remove(&self, session: &SessionId, waiting: &mut Waiting) {
        let size = fs::metadata(&waiting.path).map_or(0, |m| m.len());
        // After damage the file is elsewhere by now.
        let _ = fs::remove_file(&waiting.path);
        self.bytes
            .fetch_sub(size.min(self.bytes.load(Ordering::Relaxed)), Ordering::Relaxed);
        waiting.at = 0;
        if waiting.left_behind {
            self.waiting.lock().remove(session);
        }
    }

    /// Gives one frame to the nodes. `Err` if they do not take it now.
    async fn deliver(&self, session: &SessionId, waiting: &mut Waiting, frame: Frame) -> Result<(), ()> {
        match frame {
            Frame::Proof(proof) => {
                // The first one is the session's own; it comes again after those of others.
                if waiting.proof.is_empty() {
                    waiting.proof = proof;
                } else {
                    waiting.other = Some(proof).filter(|other| *other != waiting.proof);
                }
                Ok(())
            }
            Frame::Chunk(seq, bytes) => {
                let hash = hex::encode(palisade_session::recording::chunk_hash(&bytes));
                let shipped = timeout(WAIT, self.uplink.ship(session, seq, bytes)).await;
                shipped.map_err(drop)?.map_err(drop)?;
                waiting.chunks = seq.saturating_add(1);
                waiting.last_chunk = hash;
                Ok(())
            }
            Frame::Audit(events) => {
                let proof = waiting.other.as_ref().unwrap_or(&waiting.proof);
                self.written(session, timeout(WAIT, self.uplink.audit(proof, events)).await)
            }
            Frame::End(end) => {
                waiting.left_behind = true;
                let done = self.written(
                    session,
                    timeout(WAIT, self.uplink.end(&waiting.proof, *end)).await,
                );
                // The end has been written: what is torn after it has no meaning.
                if done.is_ok() {
                    waiting.proof.clear();
                }
                done
            }
        }
    }

    /// A refusal stays one: it is said here, and does not keep the rest.
    fn written(
        &self,
        session: &SessionId,
        result: Result<Result<(), Declined>, tokio::time::error::Elapsed>,
    ) -> Result<(), ()> {
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Declined::Refused(reason))) => {
                tracing::error!(session = %session, reason, "the cluster refuses what is to be written about a session");
                Ok(())
            }
            Ok(Err(Declined::Unavailable(_))) | Err(_) => Err(()),
        }
    }

    /// Writes the end of a session that has none of its own.
    async fn interrupted(&self, session: &SessionId, waiting: &Waiting, why: &str) -> Result<(), ()> {
        if waiting.proof.is_empty() {
            return Ok(());
        }
        let event = Event::new(EventKind::SessionInterrupted)
            .session(session.as_str())
            .message(why);
        let end = SessionEnd {
            session: session.clone(),
            completeness: Completeness::Interrupted(why.to_owned()),
            chunks: waiting.chunks,
            output_bytes: 0,
            last_chunk: waiting.last_chunk.clone(),
            events: vec![event],
        };
        self.written(session, timeout(WAIT, self.uplink.end(&waiting.proof, end)).await)
    }

    /// Adds a frame to a session's file, making it if need be.
    async fn append(&self, waiting: &mut Waiting, frame: &Frame) -> io::Result<()> {
        self.append_all(waiting, std::slice::from_ref(frame)).await
    }

    /// Adds frames as one write.
    async fn append_all(&self, waiting: &mut Waiting, frames: &[Frame]) -> io::Result<()> {
        let mut bytes = Vec::new();
        if waiting.at == 0 {
            bytes.extend_from_slice(HEAD);
            bytes.extend(Frame::Proof(waiting.proof.clone()).to_bytes());
        }
        frames.iter().for_each(|frame| bytes.extend(frame.to_bytes()));
        let size = bytes.len() as u64;
        if self.bytes.fetch_add(size, Ordering::Relaxed) + size > self.bytes_max {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the spool is full"));
        }
        let (path, new) = (waiting.path.clone(), waiting.at == 0);
        let wrote = tokio::task::spawn_blocking(move || add(&path, &bytes, new)).await;
        match wrote.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())) {
            Ok(()) => {
                if new {
                    waiting.at = HEAD.len() as u64;
                }
                self.work.notify_one();
                Ok(())
            }
            Err(error) => {
                self.bytes.fetch_sub(size, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

fn add(path: &Path, bytes: &[u8], new: bool) -> io::Result<()> {
    if new && let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut file = OpenOptions::new()
        .append(true)
        .create(new)
        .mode(0o600)
        .open(path)?;
    let before = file.metadata()?.len();
    let done = file.write_all(bytes).and_then(|()| file.sync_data());
    if done.is_err() {
        // Half a frame would end the file for whoever reads it.
        let _ = file.set_len(before);
    }
    done
}

/// What one session has to say to the cluster, in order: at once, or by way of the disk.
pub(crate) struct Writer {
    spool: Arc<Spool>,
    session: SessionId,
    proof: Vec<u8>,
    strict: bool,
    /// `None` where a node records the session.
    waiting: Option<Arc<tokio::sync::Mutex<Waiting>>>,
}

impl Ship for Writer {
    fn now(&self) -> Timestamp {
        self.spool.uplink.now()
    }

    fn ship<'a>(
        &'a self,
        session: &'a SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Pending<'a, Result<(), Unavailable>> {
        Box::pin(async move {
            let Some(waiting) = &self.waiting else {
                return Ok(());
            };
            if self.strict {
                // What only this host has is not safe.
                return self.spool.uplink.ship(session, seq, bytes).await;
            }
            let mut waiting = waiting.lock().await;
            if waiting.at == 0 {
                let shipped = timeout(WAIT, self.spool.uplink.ship(session, seq, bytes.clone())).await;
                if let Ok(Ok(())) = shipped {
                    return Ok(());
                }
            }
            let spooled = self.spool.append(&mut waiting, &Frame::Chunk(seq, bytes)).await;
            spooled.map_err(|error| {
                Unavailable::Overloaded(format!("the recording cannot wait on the host: {error}"))
            })
        })
    }
}

impl Writer {
    /// Writes events of a session that goes on.
    pub(crate) fn audit(self: &Arc<Self>, events: Vec<Event>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let Some(waiting) = &this.waiting else { return };
            let mut waiting = waiting.lock().await;
            if waiting.at == 0 {
                let written = timeout(WAIT, this.spool.uplink.audit(&this.proof, events.clone())).await;
                if this.spool.written(&this.session, written).is_ok() {
                    return;
                }
            }
            if let Err(error) = this.spool.append(&mut waiting, &Frame::Audit(events)).await {
                tracing::error!(session = %this.session, error = %error, "audit events were lost");
            }
        });
    }

    /// Writes events about somebody who took part in the session, under the proof of their own pass. Ready when they are
    /// written, or wait on disk.
    pub(crate) async fn audit_as(&self, proof: Vec<u8>, events: Vec<Event>) {
        // What a node records nobody joins, and the node writes its events.
        let Some(waiting) = &self.waiting else { return };
        let mut waiting = waiting.lock().await;
        // Once the session's own end is written, nothing else goes into its file.
        let closed = waiting.left_behind;
        if waiting.at == 0 || closed {
            let written = timeout(WAIT, self.spool.uplink.audit(&proof, events.clone())).await;
            if self.spool.written(&self.session, written).is_ok() {
                return;
            }
        }
        let frames = [
            Frame::Proof(proof),
            Frame::Audit(events),
            Frame::Proof(self.proof.clone()),
        ];
        let added = match closed {
            true => Err(io::Error::other("the session has ended")),
            false => self.spool.append_all(&mut waiting, &frames).await,
        };
        if let Err(error) = added {
            tracing::error!(session = %self.session, error = %error, "audit events were lost");
        }
    }

    /// Writes the end.
    pub(crate) async fn end(&self, end: SessionEnd) {
        let Some(waiting) = &self.waiting else { return };
        let mut waiting = waiting.lock().await;
        if waiting.at == 0 {
            let written = timeout(WAIT, self.spool.uplink.end(&self.proof, end.clone())).await;
            if self.spool.written(&self.session, written).is_ok() {
                waiting.left_behind = true;
                drop(waiting);
                self.spool.waiting.lock().remove(&self.session);
                return;
            }
        }
        if let Err(error) = self.spool.append(&mut waiting, &Frame::End(Box::new(end))).await {
            tracing::error!(session = %self.session, error = %error, "the end of a session was not written");
        }
        // Nobody adds to it any more.
        waiting.left_behind = true;
    }
}
