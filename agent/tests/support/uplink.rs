//! The cluster in memory.

use palisade_agent::{Declined, Uplink};
use palisade_core::event::{Event, EventKind};
use palisade_core::name::SessionId;
use palisade_core::pass::Claims;
use palisade_core::ports::{Pending, Unavailable};
use palisade_core::record::{Completeness, RecordingSpec};
use palisade_core::time::Timestamp;
use palisade_core::tunnel::SessionEnd;
use palisade_session::recording::{self, DataKey, EventKind as Seen, Playback};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Default)]
pub struct MemoryUplink {
    pub events: Mutex<Vec<Event>>,
    pub sessions: Mutex<HashMap<String, Session>>,
    /// No node can be reached.
    pub away: AtomicBool,
    pub shift_ms: AtomicI64,
}

#[derive(Clone)]
pub struct Session {
    pub row: RecordingSpec,
    key: Vec<u8>,
    pub chunks: Vec<Vec<u8>>,
    pub end: Option<SessionEnd>,
}

/// What was recorded of one session, read back by the code that plays recordings.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    pub output: Vec<u8>,
    pub error_output: Vec<u8>,
    pub sizes: Vec<(u16, u16)>,
    pub notes: Vec<String>,
    pub finished: bool,
}

impl MemoryUplink {
    pub fn of(&self, kind: EventKind) -> Vec<Event> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|e| e.event == kind).cloned().collect()
    }

    /// The only session, once it has ended.
    pub fn ended(&self) -> Option<Session> {
        let sessions = self.sessions.lock().unwrap();
        sessions.values().find(|s| s.end.is_some()).cloned()
    }

    fn reach(&self) -> Result<(), Declined> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Declined::Unavailable("test".into()));
        }
        Ok(())
    }

    fn write(&self, events: Vec<Event>) {
        self.events.lock().unwrap().extend(events);
    }
}

fn sealed(proof: &[u8]) {
    assert!(proof.starts_with(b"sealed "), "written without the pass's proof");
}

impl Session {
    pub fn tape(&self) -> Tape {
        let id = uuid::Uuid::parse_str(self.row.session.as_str())
            .unwrap()
            .into_bytes();
        let key = DataKey::from_bytes(&self.key).unwrap();
        let mut playback = Playback::new(recording::SessionId(id), &key, self.chunks.iter().cloned());
        let mut tape = Tape::default();
        for played in playback.by_ref() {
            match played.event.kind {
                Seen::Output(bytes) => tape.output.extend(bytes),
                Seen::ErrorOutput(bytes) => tape.error_output.extend(bytes),
                Seen::Resize { cols, rows } => tape.sizes.push((cols, rows)),
                Seen::Note(text) => tape.notes.push(text),
                _ => {}
            }
        }
        tape.finished = matches!(
            playback.completeness(),
            Some(recording::Completeness::Complete { .. })
        );
        tape
    }

    pub fn completeness(&self) -> Completeness {
        self.end.as_ref().unwrap().completeness.clone()
    }
}

impl Uplink for MemoryUplink {
    fn now(&self) -> Timestamp {
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let ms = i64::try_from(ms).unwrap() + self.shift_ms.load(Ordering::SeqCst);
        Timestamp::ZERO.plus_ms(u64::try_from(ms).unwrap())
    }

    fn start<'a>(
        &'a self,
        proof: &'a [u8],
        row: RecordingSpec,
        max_sessions: Option<u32>,
        key: &'a DataKey,
        events: Vec<Event>,
    ) -> Pending<'a, Result<(), Declined>> {
        Box::pin(async move {
            self.reach()?;
            sealed(proof);
            let mut sessions = self.sessions.lock().unwrap();
            let running = sessions.values().filter(|s| s.end.is_none()).count();
            if max_sessions.is_some_and(|most| running >= usize::try_from(most).unwrap()) {
                return Err(Declined::Refused(format!("you have {running} sessions already")));
            }
            let session = Session {
                key: key.expose().to_vec(),
                chunks: Vec::new(),
                end: None,
                row: row.clone(),
            };
            assert!(sessions.insert(row.session.to_string(), session).is_none());
            drop(sessions);
            self.write(events);
            Ok(())
        })
    }

    fn end<'a>(&'a self, proof: &'a [u8], end: SessionEnd) -> Pending<'a, Result<(), Declined>> {
        Box::pin(async move {
            self.reach()?;
            sealed(proof);
            self.write(end.events.clone());
            let mut sessions = self.sessions.lock().unwrap();
            let session = sessions.get_mut(end.session.as_str()).unwrap();
            assert!(session.end.is_none(), "a session ends once");
            session.end = Some(end);
            Ok(())
        })
    }

    fn audit<'a>(&'a self, proof: &'a [u8], events: Vec<Event>) -> Pending<'a, Result<(), Declined>> {
        Box::pin(async move {
            self.reach()?;
            sealed(proof);
            // A node writes whom the proof names, whatever an agent says.
            let claims = Claims::from_bytes(&proof[b"sealed ".len()..]).unwrap();
            let others = |event: &&Event| !event.user.is_empty() && event.user != claims.user.as_str();
            let wrong = events.iter().find(others);
            assert!(wrong.is_none(), "by {}'s proof: {wrong:?}", claims.user);
            self.write(events);
            Ok(())
        })
    }

    fn ship<'a>(
        &'a self,
        session: &'a SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Pending<'a, Result<(), Unavailable>> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(Unavailable::NoQuorum("test".into()));
            }
            let mut sessions = self.sessions.lock().unwrap();
            let Some(session) = sessions.get_mut(session.as_str()) else {
                return Err(Unavailable::Fault("no such session".into()));
            };
            let seq = usize::try_from(seq).unwrap();
            match session.chunks.get(seq) {
                Some(before) => assert!(*before == bytes, "a chunk that comes again is the same"),
                None => {
                    assert_eq!(session.chunks.len(), seq, "chunks come in order");
                    session.chunks.push(bytes);
                }
            }
            Ok(())
        })
    }
}
