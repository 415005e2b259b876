//! One recording being made: events in, chunks out to a majority of nodes. The same at a node and at an agent.
//!
//! Events go into the writer at once; one task cuts chunks when they are due (a second or 256 KiB, or when strict
//! mode waits) and ships them in order. What is not acknowledged yet is bounded: output waits for room.

use crate::recording::{self, CUT_AFTER_BYTES, Chunk, ChunkWriter, DataKey, Event, EventKind, PushError};
use palisade_core::name::SessionId;
use palisade_core::ports::{Pending, Unavailable};
use palisade_core::record::{Completeness, RecordingMode};
use palisade_core::time::Timestamp;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long best-effort output waits for room before it goes on unacknowledged.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// How long strict output waits for a majority before the session ends.
const STRICT_WAIT: Duration = Duration::from_secs(60);

/// How much best effort keeps in memory while no majority answers. What comes after that is not recorded.
const BACKLOG_BYTES_MAX: usize = 4 << 20;

/// How long the end of a recording is shipped for.
const END_WAIT: Duration = Duration::from_secs(60);

/// Between two tries to ship a chunk.
const RETRY: Duration = Duration::from_millis(200);

/// Where chunks go: at a node to the others, at an agent to the nodes.
pub trait Ship: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Stores one encrypted chunk; answers when it is as safe as it has to be.
    fn ship<'a>(
        &'a self,
        session: &'a SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Pending<'a, Result<(), Unavailable>>;
}

/// How a recording ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// How much of the session it holds.
    pub completeness: Completeness,
    /// Chunks that were shipped.
    pub chunks: u32,
    /// Hex SHA-256 of the last chunk that was shipped.
    pub last_chunk: String,
}

/// A recording being made.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    strict: bool,
    task: Mutex<Option<JoinHandle<Recorded>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

struct Shared {
    ship: Arc<dyn Ship>,
    session: SessionId,
    born: Instant,
    state: Mutex<State>,
    /// Something for the task to do.
    work: Notify,
    /// Something was acknowledged.
    acknowledged: Notify,
    /// Output has waited for room in vain: until something is acknowledged again it does not wait.
    stalled: AtomicBool,
}

struct State {
    writer: ChunkWriter,
    backlog: VecDeque<Chunk>,
    backlog_bytes: usize,
    /// Chunks that have been cut, and that a majority has.
    cut: u64,
    shipped: u64,
    last_hash: Option<[u8; 32]>,
    /// Somebody waits for what is in the writer now.
    flush: bool,
    ending: bool,
    ended: bool,
    /// Output that was not recorded.
    lost_bytes: u64,
}

impl Recorder {
    /// Begins. Nothing is shipped before something is recorded. Chunks are made and shipped on `home`.
    pub fn begin(
        ship: Arc<dyn Ship>,
        session: &SessionId,
        mode: RecordingMode,
        key: DataKey,
        home: &Handle,
    ) -> Self {
        let id = recording::SessionId(uuid_bytes(session));
        let shared = Arc::new(Shared {
            ship,
            session: session.clone(),
            born: Instant::now(),
            state: Mutex::new(State {
                writer: ChunkWriter::new(id, key),
                backlog: VecDeque::new(),
                backlog_bytes: 0,
                cut: 0,
                shipped: 0,
                last_hash: None,
                flush: false,
                ending: false,
                ended: false,
                lost_bytes: 0,
            }),
            work: Notify::new(),
            acknowledged: Notify::new(),
            stalled: AtomicBool::new(false),
        });
        let task = home.spawn(Arc::clone(&shared).ship());
        Recorder {
            shared,
            strict: mode == RecordingMode::Strict,
            task: Mutex::new(Some(task)),
        }
    }

    /// Records something that nobody waits for.
    pub fn note(&self, kind: EventKind) {
        self.shared.push(kind);
    }

    /// Records output. Ready when it may be shown.
    pub async fn output(&self, kinds: impl Iterator<Item = EventKind>) -> Result<(), Unavailable> {
        if !self.strict {
            // What is in flight has to get out of the way first, for as long as that is not a nuisance.
            if !self.shared.stalled.load(Ordering::Relaxed)
                && tokio::time::timeout(ROOM_WAIT, self.shared.room()).await.is_err()
            {
                self.shared.stalled.store(true, Ordering::Relaxed);
            }
            kinds.for_each(|kind| self.shared.push(kind));
            return Ok(());
        }
        let mut any = false;
        for kind in kinds {
            any = true;
            self.shared.push(kind);
        }
        if !any {
            return Ok(());
        }
        let waited = tokio::time::timeout(STRICT_WAIT, self.shared.durable()).await;
        waited.map_err(|_| Unavailable::NoQuorum("no majority of nodes stores the recording".into()))
    }

    /// Ships the rest and says how complete the recording is. Once.
    pub async fn finish(&self) -> Recorded {
        let failed = || Recorded {
            completeness: Completeness::Interrupted("the recorder failed".into()),
            chunks: 0,
            last_chunk: String::new(),
        };
        let Some(task) = self.task.lock().take() else {
            return failed();
        };
        self.shared.state.lock().ending = true;
        self.shared.work.notify_one();
        task.await.unwrap_or_else(|_| failed())
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn push(&self, kind: EventKind) {
        let event = Event {
            at_ms: self.now_ms(),
            kind,
        };
        let wall_ms = self.ship.now().ms();
        let mut state = self.state.lock();
        if state.backlog_bytes > BACKLOG_BYTES_MAX {
            state.lost_bytes += size(&event.kind);
            return;
        }
        let was_empty = state.writer.pending_bytes() == 0;
        let mut pushed = state.writer.push(event.clone(), wall_ms);
        if pushed == Err(PushError::Full) {
            state.cut(event.at_ms);
            pushed = state.writer.push(event.clone(), wall_ms);
        }
        if pushed.is_err() {
            state.lost_bytes += size(&event.kind);
        }
        // The task sleeps while there is nothing, and until a chunk is due otherwise.
        if was_empty || state.writer.pending_bytes() >= CUT_AFTER_BYTES {
            self.work.notify_one();
        }
    }

    /// Waits until less than a chunk's worth is unacknowledged.
    async fn room(&self) {
        loop {
            let acknowledged = self.acknowledged.notified();
            {
                let state = self.state.lock();
                if state.writer.pending_bytes() + state.backlog_bytes < CUT_AFTER_BYTES || state.ended {
                    return;
                }
            }
            acknowledged.await;
        }
    }

    /// Waits until a majority has everything recorded so far.
    async fn durable(&self) {
        let wanted = {
            let mut state = self.state.lock();
            let pending = state.writer.pending_bytes() > 0;
            state.flush |= pending;
            state.cut + u64::from(pending)
        };
        self.work.notify_one();
        loop {
            let acknowledged = self.acknowledged.notified();
            if self.state.lock().shipped >= wanted {
                return;
            }
            acknowledged.await;
        }
    }

    /// The task: cuts and ships until the recording has ended.
    async fn ship(self: Arc<Self>) -> Recorded {
        let mut deadline = None;
        loop {
            match self.next() {
                Next::Ship(seq, bytes) => {
                    let seq = u32::try_from(seq).unwrap_or(u32::MAX);
                    if self.ship.ship(&self.session, seq, bytes).await.is_ok() {
                        self.shipped();
                        continue;
                    }
                    let ending = self.state.lock().ending;
                    let until = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + END_WAIT);
                    if !ending {
                        deadline = None;
                    } else if tokio::time::Instant::now() > until {
                        return self.over(false);
                    }
                    tokio::time::sleep(RETRY).await;
                }
                Next::Wait(None) => self.work.notified().await,
                Next::Wait(Some(due)) => {
                    let _ = tokio::time::timeout(due, self.work.notified()).await;
                }
                Next::Over => return self.over(true),
            }
        }
    }

    fn next(&self) -> Next {
        let now = self.now_ms();
        let wall_ms = self.ship.now().ms();
        let mut state = self.state.lock();
        if state.backlog.is_empty() {
            if state.ending && !state.ended {
                state.ended = true;
                if state.lost_bytes > 0 {
                    let lost = format!("{} bytes of output could not be recorded", state.lost_bytes);
                    let _ = state.writer.push(
                        Event {
                            at_ms: now,
                            kind: EventKind::Note(lost),
                        },
                        wall_ms,
                    );
                }
                match state.writer.finish(now, wall_ms) {
                    Ok(chunk) => state.queue(chunk),
                    Err(error) => {
                        tracing::error!(error = %error, "the last chunk of a recording could not be made")
                    }
                }
            } else if state.flush || state.writer.is_due(now) {
                state.flush = false;
                state.cut(now);
            }
        }
        if let Some(chunk) = state.backlog.front() {
            return Next::Ship(chunk.seq, chunk.bytes.clone());
        }
        if state.ended {
            return Next::Over;
        }
        let pending = state.writer.pending_bytes() > 0;
        Next::Wait(pending.then_some(Duration::from_millis(100)))
    }

    fn shipped(&self) {
        let mut state = self.state.lock();
        if let Some(chunk) = state.backlog.pop_front() {
            state.backlog_bytes -= chunk.bytes.len();
            state.shipped += 1;
            state.last_hash = Some(chunk.hash);
        }
        drop(state);
        self.stalled.store(false, Ordering::Relaxed);
        self.acknowledged.notify_waiters();
    }

    fn over(&self, all: bool) -> Recorded {
        let mut state = self.state.lock();
        state.ended = true;
        let completeness = match (all, state.lost_bytes) {
            (true, 0) => Completeness::Complete,
            (true, lost) => {
                Completeness::Interrupted(format!("{lost} bytes of output could not be recorded"))
            }
            (false, _) => Completeness::Interrupted("the end did not reach a majority of nodes".into()),
        };
        let chunks = u32::try_from(state.shipped).unwrap_or(u32::MAX);
        let last_chunk = state.last_hash.map(hex::encode).unwrap_or_default();
        drop(state);
        self.acknowledged.notify_waiters();
        Recorded {
            completeness,
            chunks,
            last_chunk,
        }
    }
}

enum Next {
    Ship(u64, Vec<u8>),
    Wait(Option<Duration>),
    Over,
}

impl State {
    fn cut(&mut self, now_ms: u64) {
        match self.writer.cut(now_ms) {
            Ok(Some(chunk)) => self.queue(chunk),
            Ok(None) => {}
            Err(error) => tracing::error!(error = %error, "a chunk of a recording could not be made"),
        }
    }

    fn queue(&mut self, chunk: Chunk) {
        self.cut += 1;
        self.backlog_bytes += chunk.bytes.len();
        self.backlog.push_back(chunk);
    }
}

fn size(kind: &EventKind) -> u64 {
    match kind {
        EventKind::Output(bytes) | EventKind::ErrorOutput(bytes) | EventKind::Input(bytes) => {
            bytes.len() as u64
        }
        _ => 0,
    }
}

fn uuid_bytes(session: &SessionId) -> [u8; 16] {
    // A session id is a UUID by its type.
    uuid::Uuid::parse_str(session.as_str())
        .map(uuid::Uuid::into_bytes)
        .unwrap_or_default()
}
