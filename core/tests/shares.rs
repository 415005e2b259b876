//! Links to recordings in the log: what makes one, what ends one, and that each leaves its event.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use palisade_core::command::{Actor, Command, Entry, Expect, NewShare, RefusedCommand};
use palisade_core::event::{Event, EventKind};
use palisade_core::kv::{Kv, MemoryKv};
use palisade_core::name::{Login, Name, RequestId, SessionId};
use palisade_core::record::{Completeness, Record, RecordingMode, RecordingSpec, SessionKind, parse_records};
use palisade_core::state::{self, SHARE_NOTE_CHARS, SHARE_TTL_MS, SHARES_MAX, apply};
use palisade_core::time::Timestamp;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY_MS: u64 = 86_400_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn uuid(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

fn session(n: u64) -> SessionId {
    SessionId::parse(&uuid(n)).unwrap()
}

/// A log with a user, an ended session 1 and a live session 2.
struct Log {
    kv: MemoryKv,
    next: u64,
    now: Timestamp,
}

impl Log {
    fn new() -> Self {
        let mut log = Log {
            kv: MemoryKv::default(),
            next: 10,
            now: START,
        };
        let yaml = "kind: role\nmetadata: {name: access}\nspec: {}\n---\n\
                    kind: user\nmetadata: {name: alice}\nspec: {roles: [access]}\n";
        for record in parse_records(yaml).unwrap() {
            let record = Box::new(record);
            let expect = Expect::Any;
            log.done(Command::PutRecord { record, expect });
        }
        for n in [1, 2] {
            log.done(Command::StartSession {
                recording: Box::new(Record::new(name(&uuid(n)), row(n))),
                events: vec![],
                max_sessions: None,
            });
        }
        log.done(Command::EndSession {
            session: session(1),
            completeness: Completeness::Complete,
            chunks: 1,
            output_bytes: 0,
            last_chunk: String::new(),
            events: vec![],
        });
        log
    }

    fn say(&mut self, command: Command) -> Result<u64, RefusedCommand> {
        self.next += 1;
        let entry = Entry {
            id: RequestId::parse(&uuid(1000 + self.next)).unwrap(),
            now: self.now,
            node: 1,
            actor: Actor {
                name: "alice".into(),
                addr: "192.0.2.7".into(),
            },
            command,
        };
        let applied = apply(&self.kv, self.next, &entry.to_bytes()).unwrap();
        self.kv.commit(applied.changes);
        applied.reply.done()
    }

    fn done(&mut self, command: Command) -> u64 {
        self.say(command).unwrap()
    }

    fn share(&mut self, n: u64, change: impl FnOnce(&mut NewShare)) -> Result<u64, RefusedCommand> {
        let mut share = NewShare {
            id: id(n),
            token_sha256: token(n),
            note: "for the auditor".into(),
            expires: self.now.plus_ms(DAY_MS),
        };
        change(&mut share);
        self.say(Command::CreateShare {
            maker: name("alice"),
            session: session(1),
            share,
        })
    }

    fn open(&mut self, n: u64) -> Result<u64, RefusedCommand> {
        self.say(Command::OpenShare {
            token_sha256: token(n),
            what: "recording".into(),
        })
    }

    fn events(&self, kind: EventKind) -> Vec<Event> {
        let all = state::audit_bytes(&self.kv, 0, usize::MAX).unwrap();
        let all = all.iter().map(|(_, bytes)| Event::from_bytes(bytes).unwrap());
        all.filter(|event| event.event == kind).collect()
    }

    fn kept(&self) -> Vec<String> {
        let kept = state::shares(&self.kv, &session(1)).unwrap();
        kept.into_iter().map(|kept| kept.share.id).collect()
    }

    /// Keys of the state that have to do with links.
    fn keys(&self) -> usize {
        let all = self
            .kv
            .scan(b"s/share", Some(b"s/sharf"), usize::MAX, false)
            .unwrap();
        all.len()
    }
}

fn row(n: u64) -> RecordingSpec {
    RecordingSpec {
        session: session(n),
        session_kind: SessionKind::Interactive,
        user: name("alice"),
        login: Login::parse("root").unwrap(),
        host: name("web1"),
        node: 1,
        at_agent: false,
        client_addr: String::new(),
        command: String::new(),
        mode: RecordingMode::BestEffort,
        started: START,
        ended: None,
        completeness: Completeness::Live,
        chunks: 0,
        output_bytes: 0,
        last_chunk: String::new(),
        sealed_key: String::new(),
    }
}

/// What is changed in a link before it is asked for.
type Change = fn(&mut NewShare);

fn id(n: u64) -> String {
    format!("{n:032x}")
}

fn token(n: u64) -> String {
    format!("{n:064x}")
}

#[test]
fn a_link_is_made_opened_and_revoked_with_an_event_each() {
    let mut log = Log::new();
    let serial = log.share(1, |_| {}).unwrap();
    let kept = state::share_of_token(&log.kv, &token(1)).unwrap().unwrap();
    assert_eq!(
        (kept.maker.as_str(), kept.serial, kept.opened),
        ("alice", serial, 0)
    );
    let made = log.events(EventKind::RecordingShare);
    let said = (
        made[0].user.as_str(),
        made[0].host.as_str(),
        made[0].session.as_str(),
    );
    assert_eq!(said, ("alice", "web1", uuid(1).as_str()));
    assert_eq!(made[0].data["note"], "for the auditor");
    assert!(
        made[0].data.values().all(|value| *value != token(1)),
        "not even the hash"
    );
    log.now = log.now.plus_ms(5);
    log.open(1).unwrap();
    log.open(1).unwrap();
    let kept = state::share(&log.kv, &session(1), &id(1)).unwrap().unwrap();
    assert_eq!((kept.opened, kept.last_opened), (2, Some(log.now)));
    let opened = log.events(EventKind::RecordingShareOpen);
    assert_eq!((opened.len(), opened[0].data["what"].as_str()), (2, "recording"));
    let revoke = |log: &mut Log, share: String| {
        log.say(Command::RevokeShare {
            session: session(1),
            share,
        })
    };
    revoke(&mut log, id(1)).unwrap();
    assert_eq!(log.events(EventKind::RecordingShareRevoke).len(), 1);
    assert_eq!(log.open(1), Err(RefusedCommand::BadToken));
    assert_eq!(revoke(&mut log, id(1)), Err(RefusedCommand::NoShare));
    assert_eq!(
        (log.keys(), log.events(EventKind::RecordingShareOpen).len()),
        (0, 2)
    );
}

#[test]
fn what_may_not_be_a_link_is_refused_and_leaves_nothing() {
    let mut log = Log::new();
    let now = log.now;
    let refusals: [(&str, Change); 5] = [
        ("time is over", |share| share.expires = START),
        ("30 days", |share| share.expires = START.plus_ms(SHARE_TTL_MS + 1)),
        ("note: ", |share| share.note = "x".repeat(SHARE_NOTE_CHARS + 1)),
        ("note: ", |share| share.note = "a\nb".into()),
        ("note: ", |share| share.note = "\u{9b}31m".into()),
    ];
    for (why, change) in refusals {
        let refused = log.share(1, change).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    let other = |maker: &str, of: u64| Command::CreateShare {
        maker: name(maker),
        session: session(of),
        share: NewShare {
            id: id(1),
            token_sha256: token(1),
            note: String::new(),
            expires: now.plus_ms(1),
        },
    };
    assert!(
        log.say(other("alice", 2))
            .unwrap_err()
            .to_string()
            .contains("still runs")
    );
    assert!(matches!(
        log.say(other("alice", 3)),
        Err(RefusedCommand::NotFound { .. })
    ));
    assert!(matches!(
        log.say(other("nobody", 1)),
        Err(RefusedCommand::NotFound { .. })
    ));
    assert_eq!(log.keys(), 0);
    assert_eq!(log.events(EventKind::RecordRefused).len(), 8);
    // As long as allowed, and with as much of a note.
    log.share(1, |share| {
        share.expires = now.plus_ms(SHARE_TTL_MS);
        share.note = "ü".repeat(SHARE_NOTE_CHARS);
    })
    .unwrap();
    for (n, change) in [(1, 2), (2, 1)] {
        // The id of one there is, and the token of one there is.
        let taken = log.share(n, |share| share.token_sha256 = token(change));
        assert!(matches!(taken, Err(RefusedCommand::Invalid(_))));
    }
    assert_eq!(log.kept(), [id(1)]);
}

#[test]
fn a_recording_has_so_many_links_and_those_that_are_over_make_room() {
    let mut log = Log::new();
    for n in 1..=SHARES_MAX as u64 {
        log.share(n, |share| share.expires = START.plus_ms(n * DAY_MS))
            .unwrap();
    }
    let full = log.share(99, |_| {}).unwrap_err().to_string();
    assert!(full.contains("revoke one first"), "{full}");
    // At its very end a link is over, though it is still kept.
    log.now = START.plus_ms(2 * DAY_MS);
    assert_eq!(log.open(2), Err(RefusedCommand::BadToken));
    assert!(log.open(3).is_ok());
    assert_eq!(log.kept().len(), SHARES_MAX);
    log.share(99, |_| {}).unwrap();
    let kept = log.kept();
    assert_eq!((kept.len(), kept.last()), (SHARES_MAX - 1, Some(&id(99))));
    assert!(!kept.contains(&id(1)) && !kept.contains(&id(2)));
    assert_eq!(log.keys(), 2 * kept.len(), "tokens go with their links");
}

#[test]
fn links_are_kept_in_the_form_of_every_state_value() {
    let mut log = Log::new();
    log.share(1, |_| {}).unwrap();
    // Kept as the first program wrote it that had links.
    let kept = log
        .kv
        .get(format!("s/shares/{}/{}", uuid(1), id(1)).as_bytes())
        .unwrap()
        .unwrap();
    assert_eq!(kept.first(), Some(&state::STATE_VERSION));
    assert!(
        kept.windows(10).any(|bytes| bytes == b"created\xcf\x00\x00"),
        "by names, times as numbers"
    );
}
