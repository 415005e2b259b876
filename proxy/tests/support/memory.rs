//! The ports in memory: the real state machine over a map.

use palisade_core::access::RulePermit;
use palisade_core::command::{Actor, Command, Entry, Reply};
use palisade_core::event::Event;
use palisade_core::kv::{Kv, MemoryKv};
use palisade_core::name::{NodeId, RequestId, SessionId};
use palisade_core::ports::{
    ByteSource, Consensus, Pending, PlayFormat, Recordings, SearchOrder, SearchedPart, Unavailable,
};
use palisade_core::record::AnyRecord;
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_session::recording::{DataKey, EventKind, Playback};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

pub struct MemoryConsensus {
    kv: Mutex<(u64, Arc<MemoryKv>)>,
    events: Mutex<Vec<Event>>,
    policy: watch::Sender<u64>,
    pub shift_ms: AtomicI64,
    pub no_quorum: AtomicBool,
    pub commit_delay_ms: AtomicU64,
}

pub fn read_record(yaml: &str) -> AnyRecord {
    palisade_core::record::parse_records(yaml)
        .map_err(|e| panic!("{e}\n{yaml}"))
        .unwrap()
        .remove(0)
}

impl MemoryConsensus {
    pub fn new() -> Self {
        MemoryConsensus {
            kv: Mutex::new((1, Arc::default())),
            events: Mutex::default(),
            policy: watch::Sender::new(1),
            shift_ms: AtomicI64::new(0),
            no_quorum: AtomicBool::new(false),
            commit_delay_ms: AtomicU64::new(0),
        }
    }

    pub fn put(&self, record: AnyRecord) {
        let command = Command::PutRecord {
            record: Box::new(record),
            expect: palisade_core::command::Expect::Any,
        };
        let reply = self.apply(
            Actor {
                name: "test".into(),
                addr: String::new(),
            },
            self.new_id(),
            command,
        );
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }

    fn apply(&self, actor: Actor, id: RequestId, command: Command) -> Reply {
        let carried = match &command {
            Command::Audit { events }
            | Command::StartSession { events, .. }
            | Command::EndSession { events, .. } => events.clone(),
            _ => Vec::new(),
        };
        let entry = Entry {
            id,
            now: self.now(),
            node: 1,
            actor,
            command,
        };
        let mut locked = self.kv.lock().unwrap();
        locked.0 += 1;
        let applied = state::apply(&*locked.1, locked.0, &entry.to_bytes()).unwrap();
        Arc::make_mut(&mut locked.1).commit(applied.changes);
        if matches!(applied.reply, Reply::Done { .. }) {
            self.events.lock().unwrap().extend(carried);
        }
        let policy = applied.notify & state::NOTIFY_POLICY != 0;
        drop(locked);
        if policy {
            self.policy.send_modify(|v| *v += 1);
        }
        applied.reply
    }

    /// The events that were proposed and committed, in order.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub fn events_of(&self, kind: palisade_core::event::EventKind) -> Vec<Event> {
        self.events().into_iter().filter(|e| e.event == kind).collect()
    }
}

impl Consensus for MemoryConsensus {
    fn node_id(&self) -> NodeId {
        1
    }
    fn now(&self) -> Timestamp {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        Timestamp::from_ms((real + self.shift_ms.load(Ordering::Relaxed)) as u64)
    }
    fn kv(&self) -> Arc<dyn Kv> {
        self.kv.lock().unwrap().1.clone()
    }
    fn new_id(&self) -> RequestId {
        RequestId::parse(&uuid::Uuid::new_v4().to_string()).unwrap()
    }
    fn propose(
        &self,
        actor: Actor,
        id: RequestId,
        command: Command,
    ) -> Pending<'_, Result<Reply, Unavailable>> {
        Box::pin(async move {
            let delay = self.commit_delay_ms.load(Ordering::Relaxed);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            if self.no_quorum.load(Ordering::Relaxed) {
                return Err(Unavailable::NoQuorum("test".into()));
            }
            Ok(self.apply(actor, id, command))
        })
    }
    fn barrier(&self) -> Pending<'_, Result<(), Unavailable>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn may_decide(&self) -> Result<(), Unavailable> {
        if self.no_quorum.load(Ordering::Relaxed) {
            Err(Unavailable::NoQuorum("test".into()))
        } else {
            Ok(())
        }
    }
    fn policy_version(&self) -> u64 {
        *self.policy.borrow()
    }
    fn policy_changed(&self, seen: u64) -> Pending<'static, u64> {
        let mut changes = self.policy.subscribe();
        Box::pin(async move {
            let now = changes.wait_for(|now| *now != seen).await.map(|now| *now);
            match now {
                Ok(now) => now,
                Err(_) => std::future::pending().await,
            }
        })
    }
}

/// What was recorded of one session, read back by the code that plays recordings.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    pub output: Vec<u8>,
    pub error_output: Vec<u8>,
    pub input_bytes: u64,
    pub sizes: Vec<(u16, u16)>,
    pub command: String,
    pub notes: Vec<String>,
    pub captured: Vec<(u64, u64)>,
    pub finished: bool,
}

type Chunks = HashMap<String, (Vec<u8>, Vec<Vec<u8>>)>;

#[derive(Default)]
pub struct MemoryRecordings {
    chunks: Mutex<Chunks>,
    /// No majority answers.
    pub fail: AtomicBool,
}

impl MemoryRecordings {
    pub fn all(&self) -> Vec<Tape> {
        let chunks = self.chunks.lock().unwrap();
        chunks
            .iter()
            .map(|(id, (key, chunks))| tape(id, key, chunks))
            .collect()
    }
}

fn tape(id: &str, key: &[u8], chunks: &[Vec<u8>]) -> Tape {
    let session = palisade_session::recording::SessionId(uuid::Uuid::parse_str(id).unwrap().into_bytes());
    let key = DataKey::from_bytes(key).unwrap();
    let mut playback = Playback::new(session, &key, chunks.iter().cloned());
    let mut tape = Tape::default();
    for played in playback.by_ref() {
        match played.event.kind {
            EventKind::Output(bytes) => tape.output.extend(bytes),
            EventKind::ErrorOutput(bytes) => tape.error_output.extend(bytes),
            EventKind::Input(bytes) => tape.input_bytes += bytes.len() as u64,
            EventKind::InputSize(size) => tape.input_bytes += size,
            EventKind::Resize { cols, rows } => tape.sizes.push((cols, rows)),
            EventKind::ExecStart { command } => tape.command = command,
            EventKind::Note(text) => tape.notes.push(text),
            EventKind::Captured { size, recorded, .. } => tape.captured.push((size, recorded)),
            EventKind::Exit { .. } => {}
        }
    }
    tape.finished = matches!(
        playback.completeness(),
        Some(palisade_session::recording::Completeness::Complete { .. })
    );
    tape
}

impl Recordings for MemoryRecordings {
    fn seal_key(&self, session: &SessionId, key: &[u8]) -> Result<Vec<u8>, Unavailable> {
        self.chunks
            .lock()
            .unwrap()
            .insert(session.to_string(), (key.to_vec(), Vec::new()));
        Ok(b"sealed".to_vec())
    }
    fn ship<'a>(
        &'a self,
        session: &'a SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Pending<'a, Result<(), Unavailable>> {
        Box::pin(async move {
            if self.fail.load(Ordering::Relaxed) {
                return Err(Unavailable::NoQuorum("test".into()));
            }
            let mut chunks = self.chunks.lock().unwrap();
            let (_, shipped) = chunks.get_mut(session.as_str()).unwrap();
            assert_eq!(shipped.len(), seq as usize, "chunks come in order");
            shipped.push(bytes);
            Ok(())
        })
    }
    fn play<'a>(
        &'a self,
        _: &'a SessionId,
        _: PlayFormat,
    ) -> Pending<'a, Result<Box<dyn ByteSource>, Unavailable>> {
        Box::pin(std::future::ready(Err(Unavailable::Fault(
            "not played here".into(),
        ))))
    }
    fn search<'a>(
        &'a self,
        _: &'a RulePermit,
        _: SearchOrder,
    ) -> Pending<'a, Result<SearchedPart, Unavailable>> {
        Box::pin(std::future::ready(Err(Unavailable::Fault(
            "not searched here".into(),
        ))))
    }
    fn masked(&self, text: &str) -> Result<String, Unavailable> {
        Ok(text.to_owned())
    }
}
