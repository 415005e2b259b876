//! The ports in memory: the real state machine over a map.

use palisade_core::command::{Actor, Command, Entry, Reply};
use palisade_core::event::{Event, EventKind};
use palisade_core::kv::{Kv, MemoryKv};
use palisade_core::name::{NodeId, RequestId, SessionId};
use palisade_core::ports::{Consensus, Pending, Unavailable};
use palisade_core::record::{AnyRecord, Completeness, RecordingMode};
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_proxy::ports::{Recorded, Recorders, RecordingSink};
use palisade_session::ssh::relay::Chunk;
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
    palisade_core::record::parse_records(yaml).map_err(|e| panic!("{e}\n{yaml}")).unwrap().remove(0)
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
        let command = Command::PutRecord { record: Box::new(record), expect: palisade_core::command::Expect::Any };
        let reply = self.apply(Actor { name: "test".into(), addr: String::new() }, self.new_id(), command);
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }

    fn apply(&self, actor: Actor, id: RequestId, command: Command) -> Reply {
        let carried = match &command {
            Command::Audit { events } | Command::StartSession { events, .. } | Command::EndSession { events, .. } => {
                events.clone()
            }
            _ => Vec::new(),
        };
        let entry = Entry { id, now: self.now(), node: 1, actor, command };
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

    pub fn events_of(&self, kind: EventKind) -> Vec<Event> {
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
    fn propose(&self, actor: Actor, id: RequestId, command: Command) -> Pending<'_, Result<Reply, Unavailable>> {
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
        if self.no_quorum.load(Ordering::Relaxed) { Err(Unavailable::NoQuorum("test".into())) } else { Ok(()) }
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

#[derive(Debug, Clone, Default)]
pub struct Tape {
    pub output: Vec<u8>,
    pub input_bytes: u64,
    pub sizes: Vec<(u32, u32)>,
    pub finished: bool,
}

#[derive(Default)]
pub struct MemoryRecorders {
    pub tapes: Arc<Mutex<HashMap<String, Tape>>>,
    /// Bytes of output that are kept per tape; the rest is only counted by the session.
    pub fail: AtomicBool,
}

impl MemoryRecorders {
    pub fn all(&self) -> Vec<Tape> {
        self.tapes.lock().unwrap().values().cloned().collect()
    }
}

struct Sink {
    id: String,
    tapes: Arc<Mutex<HashMap<String, Tape>>>,
}

impl Sink {
    fn with(&self, change: impl FnOnce(&mut Tape)) {
        change(self.tapes.lock().unwrap().entry(self.id.clone()).or_default());
    }
}

impl RecordingSink for Sink {
    fn resize(&mut self, _: Timestamp, columns: u32, rows: u32) {
        self.with(|tape| tape.sizes.push((columns, rows)));
    }
    fn input(&mut self, _: Timestamp, bytes: u64) {
        self.with(|tape| tape.input_bytes += bytes);
    }
    fn output<'a>(&'a mut self, _: Timestamp, data: &'a [Chunk]) -> Pending<'a, Result<(), Unavailable>> {
        self.with(|tape| data.iter().for_each(|chunk| tape.output.extend_from_slice(&chunk.data)));
        Box::pin(std::future::ready(Ok(())))
    }
    fn finish(self: Box<Self>) -> Pending<'static, Recorded> {
        let mut output_bytes = 0;
        self.with(|tape| {
            tape.finished = true;
            output_bytes = tape.output.len() as u64;
        });
        Box::pin(std::future::ready(Recorded {
            completeness: Completeness::Complete,
            chunks: 1,
            output_bytes,
            last_chunk: String::new(),
        }))
    }
}

impl Recorders for MemoryRecorders {
    fn begin(&self, session: &SessionId, _: RecordingMode) -> Result<(Box<dyn RecordingSink>, String), Unavailable> {
        if self.fail.load(Ordering::Relaxed) {
            return Err(Unavailable::Overloaded("test".into()));
        }
        let sink = Sink { id: session.to_string(), tapes: Arc::clone(&self.tapes) };
        sink.with(|_| {});
        Ok((Box::new(sink), String::new()))
    }
}
