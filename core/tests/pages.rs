//! Audit events that leave the state for pages: only the right ones, the same on every replica, and found as before.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use palisade_core::audit_log::{AuditFault, AuditLog};
use palisade_core::command::{Actor, Command, Entry, RefusedCommand, Reply, Sealed, SealedPage};
use palisade_core::event::{Event, EventKind};
use palisade_core::kv::{Kv, KvFault, MemoryKv, Pair};
use palisade_core::name::RequestId;
use palisade_core::page::{PAGE_EVENTS_MAX, PageEvents, PageManifest};
use palisade_core::ports::{AuditPages, PageLost};
use palisade_core::search::{AuditFilter, AuditQuery};
use palisade_core::state::{self, apply};
use palisade_core::time::Timestamp;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Pages by the hash of their file, which here is that of their root.
#[derive(Default)]
struct MemoryPages {
    kept: Mutex<BTreeMap<String, Arc<PageEvents>>>,
    opened: Mutex<Vec<u32>>,
}

impl AuditPages for MemoryPages {
    fn open(&self, page: &PageManifest) -> Result<Arc<PageEvents>, PageLost> {
        self.opened.lock().unwrap().push(page.number);
        let kept = self.kept.lock().unwrap();
        kept.get(&page.file_sha256)
            .cloned()
            .ok_or_else(|| PageLost("nobody has it".into()))
    }
}

#[derive(Default)]
struct Log {
    kv: MemoryKv,
    pages: MemoryPages,
    next: u64,
    now: Timestamp,
}

impl Log {
    fn new() -> Self {
        Log {
            next: 1,
            now: START,
            ..Log::default()
        }
    }

    fn say(&mut self, command: Command) -> Result<u64, RefusedCommand> {
        self.next += 1;
        let entry = Entry {
            id: RequestId::parse(&format!("00000000-0000-4000-8000-{:012x}", self.next)).unwrap(),
            now: self.now,
            node: 1,
            actor: Actor::node(1),
            command,
        };
        let applied = apply(&self.kv, self.next, &entry.to_bytes()).unwrap();
        self.kv.commit(applied.changes);
        applied.reply.done()
    }

    /// So many events of users `user0` to `user<users>` in turn, each a second after the one before.
    fn events(&mut self, count: u64, users: u64) {
        for n in 0..count {
            let event = Event::new(EventKind::SessionStart)
                .user(format!("user{}", n % users))
                .host(format!("host{}", n % 3))
                .message(format!("number {n}"));
            self.say(Command::Audit { events: vec![event] }).unwrap();
            self.now = self.now.plus_ms(1000);
        }
    }

    fn page(&self, most: u64) -> SealedPage {
        let (number, events) = state::next_page(&self.kv, most)
            .unwrap()
            .expect("there are events");
        let root = hex::encode(events.root());
        let page = SealedPage {
            number,
            first: events.first,
            count: events.events.len() as u32,
            file_sha256: root.clone(),
            root,
            sealed_key: Sealed(vec![7; 69]),
        };
        self.pages
            .kept
            .lock()
            .unwrap()
            .insert(page.file_sha256.clone(), Arc::new(events));
        page
    }

    fn seal(&mut self, most: u64) {
        let page = self.page(most);
        self.say(Command::SealAuditPage { page }).unwrap();
    }

    fn log(&self) -> AuditLog<'_> {
        AuditLog::new(&self.kv, &self.pages)
    }

    /// Everything that a search finds, cursor by cursor.
    fn all(&self, filter: &AuditFilter<'_>) -> Vec<(u64, Event)> {
        let query = AuditQuery::new(filter).unwrap();
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self
                .log()
                .search(&query, query.resume(&cursor).unwrap(), |_| true)
                .unwrap();
            assert!(page.items.len() <= query.limit());
            found.extend(page.items);
            if page.cursor.is_empty() {
                return found;
            }
            assert_ne!(page.cursor, cursor, "it stands still");
            cursor = page.cursor;
        }
    }

    fn stored(&self) -> Vec<Vec<u8>> {
        let mut runs = self.log().runs(0..self.log().size().unwrap(), false).unwrap();
        let mut all = Vec::new();
        while let Some(run) = runs.next(|_| true).unwrap() {
            for (seq, bytes) in run.iter() {
                assert_eq!(seq, all.len() as u64);
                all.push(bytes.to_vec());
            }
        }
        all
    }

    fn opened(&self) -> Vec<u32> {
        std::mem::take(&mut *self.pages.opened.lock().unwrap())
    }
}

#[test]
fn a_seal_takes_exactly_the_oldest_events_out_of_the_state() {
    let mut log = Log::new();
    log.events(100, 7);
    let (before, frontier) = (log.stored(), state::audit_frontier(&log.kv).unwrap());
    log.seal(16);
    log.seal(64);
    assert_eq!(state::sealed_until(&log.kv).unwrap(), 32, "a page is aligned");
    assert_eq!(state::audit_bytes(&log.kv, 0, 1).unwrap()[0].0, 32);
    assert_eq!(log.stored(), before);
    assert_eq!(state::audit_frontier(&log.kv).unwrap(), frontier);
    let pages = state::pages_from(&log.kv, 0, 9).unwrap();
    let seen: Vec<_> = pages
        .iter()
        .map(|page| (page.number, page.first, page.end()))
        .collect();
    assert_eq!(seen, [(0, 0, 16), (1, 16, 32)]);
    assert_eq!(pages[1].summary.earliest, START.plus_ms(16_000));
    assert_eq!(pages[1].summary.latest, START.plus_ms(31_000));
    assert_eq!(pages[1].summary.kinds, BTreeSet::from([EventKind::SessionStart]));
}

#[test]
fn a_page_that_is_not_the_next_or_not_these_events_is_refused() {
    let mut log = Log::new();
    log.events(100, 7);
    log.seal(16);
    let good = log.page(16);
    let changed = |change: &dyn Fn(&mut SealedPage)| {
        let mut page = good.clone();
        change(&mut page);
        page
    };
    let wrong = [
        changed(&|page| page.number = 0),
        changed(&|page| page.number = 2),
        changed(&|page| page.first = 0),
        changed(&|page| page.first = 32),
        changed(&|page| page.count = 0),
        changed(&|page| page.count = 15),
        changed(&|page| page.count = 32),
        changed(&|page| page.count = u32::MAX),
        changed(&|page| page.count = 8),
        changed(&|page| page.root = "00".repeat(32)),
        changed(&|page| page.root = page.root.to_uppercase()),
        changed(&|page| page.root.clear()),
        changed(&|page| page.file_sha256.truncate(62)),
        changed(&|page| page.file_sha256 = "g".repeat(64)),
        changed(&|page| page.sealed_key = Sealed(vec![0; 257])),
    ];
    for page in wrong {
        let what = format!("{page:?}");
        let before = log.kv.clone();
        let said = log.say(Command::SealAuditPage { page });
        assert!(
            matches!(said, Err(RefusedCommand::Invalid(_))),
            "{what}: {said:?}"
        );
        assert_eq!(state::sealed_until(&log.kv).unwrap(), 16, "{what}");
        assert_eq!(
            state::audit_bytes(&log.kv, 0, 999).unwrap(),
            state::audit_bytes(&before, 0, 999).unwrap(),
            "{what}"
        );
    }
    log.say(Command::SealAuditPage { page: good.clone() }).unwrap();
    assert!(
        log.say(Command::SealAuditPage { page: good }).is_err(),
        "a page is sealed once"
    );
    let mut beyond = log.page(64);
    (beyond.first, beyond.count) = (32, 64);
    assert!(log.say(Command::SealAuditPage { page: beyond }).is_err());
}

#[test]
fn the_largest_seal_fits_and_a_hole_in_the_state_stops_the_node() {
    let mut log = Log::new();
    log.events(PAGE_EVENTS_MAX + 1, 50);
    let page = log.page(PAGE_EVENTS_MAX);
    assert_eq!(u64::from(page.count), PAGE_EVENTS_MAX);
    let entry = Entry {
        id: RequestId::parse("00000000-0000-4000-8000-00000000ffff").unwrap(),
        now: START,
        node: 1,
        actor: Actor::node(1),
        command: Command::SealAuditPage { page },
    };
    let mut holed = log.kv.clone();
    holed.0.remove(&state::audit_key(700));
    let fault = apply(&holed, 9999, &entry.to_bytes()).unwrap_err().to_string();
    assert!(fault.contains("a/700"), "{fault}");
    let applied = apply(&log.kv, 9999, &entry.to_bytes()).unwrap();
    assert_eq!(applied.reply, Reply::Done { index: 9999 });
    log.kv.commit(applied.changes);
    let manifest = log.kv.scan(b"p/", None, 1, false).unwrap().remove(0).1;
    assert!(manifest.len() < 800, "a manifest of {} bytes", manifest.len());
}

#[test]
fn pages_that_cannot_answer_are_not_opened() {
    let mut log = Log::new();
    log.events(64, 1);
    log.say(Command::Audit {
        events: vec![Event::new(EventKind::Login).user("rare").host("lonely")],
    })
    .unwrap();
    log.events(191, 1);
    (0..4).for_each(|_| log.seal(64));
    let at = |secs: u64| Some(START.plus_ms(secs * 1000));
    let any = AuditFilter::default;
    let table = [
        (
            AuditFilter {
                user: "rare",
                ..any()
            },
            1,
            vec![1],
        ),
        (
            AuditFilter {
                host: "lonely",
                ..any()
            },
            1,
            vec![1],
        ),
        (
            AuditFilter {
                kind: "user.login",
                ..any()
            },
            1,
            vec![1],
        ),
        (
            AuditFilter {
                kind: "PL100I",
                ..any()
            },
            1,
            vec![1],
        ),
        (
            AuditFilter {
                user: "nobody",
                ..any()
            },
            0,
            vec![],
        ),
        (
            AuditFilter {
                kind: "cert",
                ..any()
            },
            0,
            vec![],
        ),
        (
            AuditFilter {
                from: at(130),
                to: at(131),
                ..any()
            },
            1,
            vec![2],
        ),
        (AuditFilter { to: at(3), ..any() }, 3, vec![0]),
        (
            AuditFilter {
                text: "number 190",
                ..any()
            },
            1,
            vec![3, 2, 1, 0],
        ),
    ];
    for (filter, found, opened) in table {
        log.opened();
        assert_eq!(log.all(&filter).len(), found, "{filter:?}");
        assert_eq!(log.opened(), opened, "{filter:?}");
    }
}

#[test]
fn a_lost_page_is_named_and_what_is_behind_it_can_still_be_read() {
    let mut log = Log::new();
    log.events(64, 2);
    (0..3).for_each(|_| log.seal(16));
    let lost = state::pages_from(&log.kv, 16, 1).unwrap().remove(0);
    log.pages.kept.lock().unwrap().remove(&lost.file_sha256);
    let query = AuditQuery::new(&AuditFilter::default()).unwrap();
    let fault = log.log().search(&query, None, |_| true).unwrap_err();
    let text = fault.to_string();
    assert!(
        text.contains("page 1 (entries 16 to 31") && text.contains("nobody has it"),
        "{text}"
    );
    let mut runs = log.log().runs(0..64, false).unwrap();
    let (mut seen, mut losses) = (0, 0);
    loop {
        match runs.next(|_| true) {
            Ok(Some(run)) => seen += run.iter().count(),
            Ok(None) => break,
            Err(AuditFault::Lost { page, .. }) => {
                assert_eq!(*page, lost);
                losses += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((seen, losses), (48, 1));
}

/// A state in which pages are sealed while it is read, one at each look.
struct Moving {
    log: Mutex<Log>,
    pages: MemoryPages,
}

impl Kv for Moving {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvFault> {
        self.log.lock().unwrap().kv.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, KvFault> {
        let mut log = self.log.lock().unwrap();
        let seen = log.kv.scan(from, to, limit, reverse);
        if state::audit_frontier(&log.kv)?.size() - state::sealed_until(&log.kv)? >= 8 {
            log.seal(8);
            self.pages
                .kept
                .lock()
                .unwrap()
                .append(&mut log.pages.kept.lock().unwrap());
        }
        seen
    }
}

#[test]
fn events_that_are_sealed_while_they_are_read_are_seen_once() {
    for oldest_first in [false, true] {
        let mut log = Log::new();
        log.events(1500, 3);
        let moving = Moving {
            log: Mutex::new(log),
            pages: MemoryPages::default(),
        };
        let query = AuditQuery::new(&AuditFilter {
            oldest_first,
            limit: 1000,
            ..AuditFilter::default()
        })
        .unwrap();
        let log = AuditLog::new(&moving, &moving.pages);
        let (mut found, mut resume) = (Vec::new(), None);
        while found.len() < 1500 {
            let page = log.search(&query, resume, |_| true).unwrap();
            found.extend(page.items.iter().map(|(seq, _)| *seq));
            resume = found.last().copied();
        }
        if !oldest_first {
            found.reverse();
        }
        assert_eq!(found, (0..1500).collect::<Vec<_>>());
    }
}

#[test]
fn the_first_recent_event_since_a_moment_is_found_by_halving() {
    let mut log = Log::new();
    log.events(100, 3);
    log.seal(16);
    let since = |log: &Log, secs: u64| log.log().recent_since(START.plus_ms(secs * 1000)).unwrap();
    assert_eq!(since(&log, 40), Some(40));
    assert_eq!(since(&log, 17), Some(17));
    assert_eq!(since(&log, 16), None, "there may be more on a page");
    assert_eq!(since(&log, 3), None);
    assert_eq!(since(&log, 500), Some(100));
}

#[test]
fn a_search_that_finds_little_ends_its_page_in_time() {
    let mut log = Log::new();
    log.events(50_500, 1);
    let query = AuditQuery::new(&AuditFilter {
        text: "no such text",
        ..AuditFilter::default()
    })
    .unwrap();
    let first = log.log().search(&query, None, |_| true).unwrap();
    assert_eq!(first.items, []);
    let resume = query.resume(&first.cursor).unwrap();
    assert!(resume.is_some(), "there is more");
    let second = log.log().search(&query, resume, |_| true).unwrap();
    assert_eq!((second.items.len(), second.cursor.as_str()), (0, ""));
}

#[test]
fn a_damaged_event_stops_the_search_by_name() {
    let mut log = Log::new();
    log.events(10, 1);
    log.kv.0.insert(state::audit_key(4), b"\x01garbage".to_vec());
    let query = AuditQuery::new(&AuditFilter::default()).unwrap();
    let fault = log.log().search(&query, None, |_| true).unwrap_err().to_string();
    assert!(fault.contains("a/4"), "{fault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However events and seals alternate: replicas stay identical, every search finds what it finds without pages, in
    /// either order and with any page size, and the tree is that of all events.
    #[test]
    fn pages_change_no_answer(
        steps in prop::collection::vec((1..60u64, 0..3usize, 1..70u64), 1..12),
        limit in 1..90u32, oldest_first: bool,
        user in prop::sample::select(vec!["", "user0", "user2", "nobody"]),
        text in prop::sample::select(vec!["", "number 1", "host2"]),
        from in 0..200u64, long in 0..400u64,
    ) {
        let (mut plain, mut one, mut other) = (Log::new(), Log::new(), Log::new());
        for (events, seals, most) in steps {
            plain.events(events, 4);
            for log in [&mut one, &mut other] {
                log.events(events, 4);
                for _ in 0..seals {
                    if state::next_page(&log.kv, most).unwrap().is_some() {
                        log.seal(most);
                    }
                }
            }
        }
        prop_assert_eq!(&one.kv, &other.kv);
        prop_assert_eq!(one.stored(), plain.stored());
        prop_assert_eq!(state::audit_frontier(&one.kv).unwrap(), state::audit_frontier(&plain.kv).unwrap());
        let from = START.plus_ms(from * 1000);
        let filter = AuditFilter {
            user, text, limit, oldest_first,
            from: Some(from), to: Some(from.plus_ms(long * 1000)),
            ..AuditFilter::default()
        };
        prop_assert_eq!(one.all(&filter), plain.all(&filter));
        // A cursor from before a seal goes on after it.
        let query = AuditQuery::new(&filter).unwrap();
        let first = one.log().search(&query, None, |_| true).unwrap();
        if state::next_page(&one.kv, 1024).unwrap().is_some() {
            one.seal(1024);
        }
        let resume = query.resume(&first.cursor).unwrap();
        if resume.is_some() {
            let rest = one.log().search(&query, resume, |_| true).unwrap();
            let same = plain.log().search(&query, resume, |_| true).unwrap();
            prop_assert_eq!(rest.items, same.items);
        }
    }
}
