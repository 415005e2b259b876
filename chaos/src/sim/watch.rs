//! What happens in a run, told to everybody who checks: the trace and the invariants.

use std::fmt;

use palisade_raft::inspect::VoteFor;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::invariants::{self, Invariant};

/// Which run of which node's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) node: u64,
    pub(crate) life: u32,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}.{}", self.node, self.life)
    }
}

/// One entry of a log, as a checker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) index: u64,
    /// The leader that made it.
    pub(crate) by: VoteFor,
    pub(crate) hash: u64,
}

/// What a node looks like from outside at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) leads: bool,
    pub(crate) term: u64,
    pub(crate) committed: u64,
    pub(crate) applied: u64,
    pub(crate) purged: u64,
    pub(crate) snapshot: u64,
    /// The end of its log, without gaps.
    pub(crate) log: Vec<LogEntry>,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A process was started, on a state that is applied up to here.
    Started { who: Who, applied: u64 },
    /// For the trace alone: a fault, or a process that ended.
    Told { what: &'a str },
    /// A node applied a command.
    Applied {
        who: Who,
        index: u64,
        term: u64,
        entry: &'a [u8],
        /// What it changed, and what it answered.
        effect: u64,
        reply: &'a [u8],
        /// Whether it changed anything at all.
        effective: bool,
    },
    /// A node let a vote out of the house.
    Granted { who: Who, vote: VoteFor },
    /// A node told a leader that it follows.
    Follows { who: Who, vote: VoteFor },
    /// A node spoke as a leader.
    Leads { who: Who, vote: VoteFor },
    /// A client was told that its request is done, or was refused, at this index of the log.
    Answered { request: &'a str, index: u64 },
    /// A linearizable read through a node: what had been acknowledged before it began, and what it saw.
    Read {
        who: Who,
        acknowledged: u64,
        applied: u64,
    },
    /// What a node says of its lease, and for how long nothing has reached it.
    Lease { who: Who, age_ms: u64, silent_ms: u64 },
    /// What a node looks like.
    Seen { who: Who, view: &'a View },
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: String,
    /// What contradicts it.
    pub what: String,
    /// Milliseconds of simulated time since the start.
    pub at_ms: u64,
}

pub(crate) struct Watch {
    began: Instant,
    print: bool,
    inner: Mutex<Inner>,
}

struct Inner {
    hash: u64,
    events: u64,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<Violation>,
}

impl Inner {
    /// Asks one invariant after the other until one is broken; once one is, none is asked again.
    fn ask(&mut self, at_ms: u64, mut holds: impl FnMut(&mut dyn Invariant) -> Result<(), String>) {
        if self.violation.is_some() {
            return;
        }
        self.violation = self.invariants.iter_mut().find_map(|invariant| {
            let what = holds(invariant.as_mut()).err()?;
            Some(Violation {
                invariant: invariant.name().to_owned(),
                what,
                at_ms,
            })
        });
    }
}

/// FNV-1a: not for anybody hostile.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    fold(0xcbf2_9ce4_8422_2325, bytes)
}

fn fold(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Watch {
    pub(crate) fn new(print: bool) -> Self {
        Self {
            began: Instant::now(),
            print,
            inner: Mutex::new(Inner {
                hash: 0xcbf2_9ce4_8422_2325,
                events: 0,
                invariants: invariants::all(),
                violation: None,
            }),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        let at_ms = self.now_ms();
        let line = match event {
            Event::Told { what } => format!("{at_ms:>6} {what}"),
            Event::Applied {
                who,
                index,
                term,
                entry,
                effect,
                effective,
                ..
            } => format!(
                "{at_ms:>6} {who} applied {index} of term {term} entry {:016x} effect {effect:016x} {effective}",
                hash(entry)
            ),
            Event::Seen { who, view } => {
                let last = view.log.last();
                format!(
                    "{at_ms:>6} {who} leads {} term {} committed {} applied {} purged {} snapshot {} last {last:?}",
                    view.leads, view.term, view.committed, view.applied, view.purged, view.snapshot
                )
            }
            other => format!("{at_ms:>6} {other:?}"),
        };
        let mut inner = self.inner.lock();
        inner.hash = fold(inner.hash, line.as_bytes());
        inner.events += 1;
        if self.print {
            // Only on demand, and only by the program of the simulation.
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        inner.ask(at_ms, |invariant| invariant.on(event));
    }

    /// Says that something is broken which no event shows.
    pub(crate) fn broken(&self, invariant: &str, what: String) {
        let at_ms = self.now_ms();
        let mut inner = self.inner.lock();
        inner.violation.get_or_insert(Violation {
            invariant: invariant.to_owned(),
            what,
            at_ms,
        });
    }

    /// Asks every invariant whether it holds of what is left at the end.
    pub(crate) fn end(&self, end: &invariants::End) {
        let at_ms = self.now_ms();
        let mut inner = self.inner.lock();
        inner.ask(at_ms, |invariant| invariant.at_end(end));
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.inner.lock().violation.clone()
    }

    /// The hash of everything told so far, and how much it was.
    pub(crate) fn trace(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.hash, inner.events)
    }
}
