//! What a long audit log costs, with and without pages: the state, its snapshot, searches, and the entry that seals.
//! Real apply, store, page files and search; no network.
//! `cargo run --profile fast --example audit_pages -p palisade-node -- [events, default 1000000]`

use palisade_core::audit_log::AuditLog;
use palisade_core::command::{Actor, Command, Entry, Sealed, SealedPage};
use palisade_core::event::{Event, EventKind};
use palisade_core::kv::Overlay;
use palisade_core::name::{ClusterId, RequestId};
use palisade_core::page::{PAGE_EVENTS_MAX, PageEvents, PageManifest};
use palisade_core::ports::{AuditPages, PageLost};
use palisade_core::search::{AuditFilter, AuditQuery};
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_node::pages::format;
use palisade_session::recording::DataKey;
use palisade_storage::{AUDIT_PAGES, SegmentName, SegmentOptions, SegmentStore, StateOptions, StateStore};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Done<T> = Result<T, Box<dyn Error>>;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const CLUSTER: &str = "5b0f3ab6-7c43-4e35-9a9f-6a60f8f8a001";
/// Events that stay in the state, as by default.
const RECENT: u64 = 4096;
/// Events in one entry, and entries in one write.
const EACH: u64 = 16;
const BATCH: u64 = 64;

/// A node's state and pages, without the node.
struct Node {
    state: StateStore,
    segments: SegmentStore,
    cluster: ClusterId,
    next: u64,
}

impl AuditPages for Node {
    fn open(&self, page: &PageManifest) -> Result<Arc<PageEvents>, PageLost> {
        let read = || -> Done<PageEvents> {
            let hash = hex::decode(&page.file_sha256)?
                .try_into()
                .map_err(|_| "no hash")?;
            let file = self
                .segments
                .get(&SegmentName::new(AUDIT_PAGES, page.number, hash)?)?;
            let key = DataKey::from_bytes(&page.sealed_key.0)?;
            Ok(format::read(&self.cluster, page, &key, &file)?)
        };
        read().map(Arc::new).map_err(|e| PageLost(e.to_string()))
    }
}

impl Node {
    fn open(dir: &Path) -> Done<Self> {
        Ok(Node {
            state: StateStore::open(dir, StateOptions::default())?,
            segments: SegmentStore::open(dir, SegmentOptions::default())?,
            cluster: ClusterId::parse(CLUSTER)?,
            next: 1,
        })
    }

    /// Applies commands with one write, as the group does.
    fn apply(&mut self, now: Timestamp, commands: Vec<Command>) -> Done<()> {
        let mut overlay = Overlay::new(&self.state);
        for command in commands {
            self.next += 1;
            let entry = Entry {
                id: RequestId::parse(&format!("00000000-0000-4000-8000-{:012x}", self.next))?,
                now,
                node: 1,
                actor: Actor::node(1),
                command,
            };
            let applied = state::apply(&overlay, self.next, &entry.to_bytes())?;
            applied.reply.done()?;
            applied
                .changes
                .into_iter()
                .for_each(|change| overlay.push(change));
        }
        self.state
            .apply(overlay.into_changes(), self.next.to_be_bytes().to_vec(), None)?;
        Ok(())
    }

    fn seal(&mut self, now: Timestamp) -> Done<Duration> {
        let (number, events) = state::next_page(&self.state, PAGE_EVENTS_MAX)?.ok_or("no events")?;
        let key = DataKey::generate()?;
        let file = format::write(&self.cluster, &events, &key)?;
        self.segments.put(AUDIT_PAGES, number, &file)?;
        let page = SealedPage {
            number,
            first: events.first,
            count: u32::try_from(events.events.len())?,
            root: hex::encode(events.root()),
            file_sha256: hex::encode(Sha256::digest(&file)),
            // Not sealed here: there is no cluster key. A node's takes 37 bytes more.
            sealed_key: Sealed(key.expose().to_vec()),
        };
        let begun = Instant::now();
        self.apply(now, vec![Command::SealAuditPage { page }])?;
        Ok(begun.elapsed())
    }
}

/// Events as a busy cluster makes them: 200 people on 50 hosts, and one whom the log saw five times.
fn event(n: u64, all: u64) -> Event {
    let user = if n % (all / 5).max(1) == all / 10 {
        "rare".into()
    } else {
        format!("user{}", n * 7919 % 200)
    };
    let kinds = [
        EventKind::SessionStart,
        EventKind::Exec,
        EventKind::SessionEnd,
        EventKind::CertIssue,
    ];
    Event::new(kinds[(n % 4) as usize])
        .user(user)
        .addr(format!("192.0.2.{}", n % 250))
        .login("root")
        .host(format!("host{}", n * 104_729 % 50))
        .session(format!("0c9a4c9e-5c5c-4f6e-9c7a-{n:012x}"))
        .message(format!("ran /usr/bin/something --with arguments --number {n}"))
}

fn fill(node: &mut Node, events: u64, pages: bool) -> Done<Vec<Duration>> {
    let (mut n, mut seals) = (0, Vec::new());
    while n < events {
        let mut batch = Vec::new();
        for _ in 0..BATCH {
            let run = (n..n + EACH).map(|n| event(n, events)).collect();
            batch.push(Command::Audit { events: run });
            n += EACH;
        }
        node.apply(START.plus_ms(n * 1000), batch)?;
        while pages && n - state::sealed_until(&node.state)? > RECENT {
            seals.push(node.seal(START.plus_ms(n * 1000))?);
        }
    }
    Ok(seals)
}

/// The time of a search: cursor by cursor until so much was found, or everything was looked at.
fn search(node: &Node, filter: &AuditFilter<'_>, wanted: usize) -> Done<(usize, Duration)> {
    let query = AuditQuery::new(filter)?;
    let log = AuditLog::new(&node.state, node);
    let begun = Instant::now();
    let (mut found, mut resume) = (0, None);
    loop {
        let page = log.search(&query, resume, |_| true)?;
        found += page.items.len();
        resume = query.resume(&page.cursor)?;
        if resume.is_none() || found >= wanted {
            return Ok((found, begun.elapsed()));
        }
    }
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    format!(
        "p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
        at(50),
        at(99),
        at(100)
    )
}

fn measure(dir: &Path, events: u64, pages: bool) -> Done<()> {
    let mut node = Node::open(dir)?;
    println!("{}", if pages { "with pages" } else { "without pages" });
    let begun = Instant::now();
    let seals = fill(&mut node, events, pages)?;
    println!("  filled in {:.1} s", begun.elapsed().as_secs_f64());
    if !seals.is_empty() {
        println!(
            "  entry that seals {PAGE_EVENTS_MAX} events, {} of them: {}",
            seals.len(),
            shown(seals)
        );
    }
    let begun = Instant::now();
    let snapshot = node.state.build_snapshot(Vec::new())?;
    let took = begun.elapsed();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "  state {:.1} MiB, snapshot {:.2} MiB in {:.2} s, pages {:.1} MiB",
        mib(node.state.size_on_disk()),
        mib(snapshot.len),
        took.as_secs_f64(),
        mib(node.segments.total_bytes())
    );
    let hour = |n: u64| {
        let from = START.plus_ms(n * 1000);
        (Some(from), Some(from.plus_ms(3_600_000)))
    };
    let any = AuditFilter::default;
    let tries = 40;
    let spread = |i: u64| events / tries * i;
    for (what, wanted) in [
        ("a frequent user, 100 events", 100),
        ("a rare user, all", usize::MAX),
        ("an hour, 100 events", 100),
    ] {
        let mut times = Vec::new();
        let mut found = 0;
        for i in 0..tries {
            let user = format!("user{i}");
            let (from, to) = hour(spread(i));
            let filter = match what {
                "a rare user, all" => AuditFilter {
                    user: "rare",
                    ..any()
                },
                "an hour, 100 events" => AuditFilter { from, to, ..any() },
                _ => AuditFilter { user: &user, ..any() },
            };
            let (count, took) = search(&node, &filter, wanted)?;
            found += count;
            times.push(took);
        }
        println!("  search by {what}: {} ({found} found)", shown(times));
    }
    let mut times = Vec::new();
    for i in 0..5 {
        let text = format!("--number {}", spread(i * 8));
        times.push(search(&node, &AuditFilter { text: &text, ..any() }, usize::MAX)?.1);
    }
    println!("  search for a text through all: {}", shown(times));
    Ok(())
}

fn main() -> Done<()> {
    let events: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    for (name, pages) in [("state", false), ("pages", true)] {
        measure(&dir.path().join(name), events, pages)?;
    }
    Ok(())
}
