//! What clients asked and what they were told: the only thing that checkers of operations look at.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One operation on a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Makes it, if there is none.
    Create(u64),
    /// Makes or changes it, whatever it is.
    Put(u64),
    /// Changes it, if it is at this revision.
    Swap {
        /// The revision.
        at: u64,
        /// The new value.
        to: u64,
    },
    /// Removes it, if it is at this revision.
    Delete {
        /// The revision.
        at: u64,
    },
    /// Reads it.
    Read,
    /// Uses a token that works once.
    Use,
}

impl Ask {
    /// The kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Ask::Create(_) => "lock",
            Ask::Put(_) => "write",
            Ask::Swap { .. } => "compare-and-set",
            Ask::Delete { .. } => "unlock",
            Ask::Read => "read",
            Ask::Use => "token",
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, at this revision; 0 where none is told.
    Done(u64),
    /// It is this, at this revision.
    Is {
        /// The revision.
        at: u64,
        /// The value.
        value: u64,
    },
    /// There is none.
    Absent,
    /// It is not as was expected, or is there already.
    Conflict,
    /// It may have happened, may still happen, or never will.
    Unknown,
    /// It did not happen and never will: the node said so, or was not reached.
    Nothing,
}

/// One operation, from its first request to its last answer.
#[derive(Debug, Clone)]
pub struct Op {
    /// The record or token.
    pub key: String,
    /// What was asked.
    pub ask: Ask,
    /// What was answered.
    pub answer: Answer,
    /// When it was asked, in microseconds of the run.
    pub began: u64,
    /// When it was answered.
    pub ended: u64,
    /// Through which node the last request went.
    pub node: usize,
}

/// How often each kind of operation ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// With success, or with an answer that was as good.
    pub ok: u64,
    /// Without, and that was said.
    pub failed: u64,
    /// Nobody knows.
    pub unknown: u64,
}

/// A certificate that somebody holds: who, and its serial.
pub type Issued = (String, String);

/// Everything that was seen, by all clients.
#[derive(Debug)]
pub struct History {
    began: Instant,
    ops: Mutex<Vec<Op>>,
    counts: Mutex<BTreeMap<&'static str, Count>>,
    certificates: Mutex<Vec<Issued>>,
    violations: Mutex<Vec<String>>,
    secrets: Mutex<Vec<(String, String)>>,
    /// When the last write succeeded, and the longest time between two since this was last asked.
    last_write: AtomicU64,
    gap: AtomicU64,
}

impl Default for History {
    fn default() -> Self {
        History {
            began: Instant::now(),
            ops: Mutex::default(),
            counts: Mutex::default(),
            certificates: Mutex::default(),
            violations: Mutex::default(),
            secrets: Mutex::default(),
            last_write: AtomicU64::new(0),
            gap: AtomicU64::new(0),
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Who panicked while holding it has ended the run already.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl History {
    /// Microseconds since the run began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Notes an operation on a record or token.
    pub fn note(&self, op: Op) {
        let (ok, unknown) = match op.answer {
            Answer::Unknown => (false, true),
            Answer::Nothing => (false, false),
            Answer::Done(_) | Answer::Is { .. } | Answer::Absent | Answer::Conflict => (true, false),
        };
        self.count(op.ask.kind(), ok, unknown);
        held(&self.ops).push(op);
    }

    /// Counts something that has no model.
    pub fn count(&self, kind: &'static str, ok: bool, unknown: bool) {
        let mut counts = held(&self.counts);
        let count = counts.entry(kind).or_default();
        match (ok, unknown) {
            (true, _) => count.ok += 1,
            (false, true) => count.unknown += 1,
            (false, false) => count.failed += 1,
        }
    }

    /// A write succeeded that was asked for without pause at every node at once: between two of these nobody could write.
    pub fn pulse(&self, at: u64) {
        let before = self.last_write.fetch_max(at, Ordering::SeqCst);
        self.gap.fetch_max(at.saturating_sub(before), Ordering::SeqCst);
    }

    /// The longest time without a successful write since this was last asked, the one that lasts now included.
    pub fn take_gap(&self) -> Duration {
        let now = self.now();
        let lasts = now.saturating_sub(self.last_write.load(Ordering::SeqCst));
        Duration::from_micros(self.gap.swap(0, Ordering::SeqCst).max(lasts))
    }

    /// How many writes have succeeded.
    pub fn writes(&self) -> u64 {
        let counts = held(&self.counts);
        let of = |kind: &str| counts.get(kind).map_or(0, |count| count.ok);
        of("write") + of("compare-and-set") + of("lock")
    }

    /// Somebody holds a certificate.
    pub fn certificate(&self, user: &str, serial: &str) {
        held(&self.certificates).push((user.to_owned(), serial.to_owned()));
    }

    /// Something that must be seen nowhere.
    pub fn secret(&self, what: &str, text: &str) {
        held(&self.secrets).push((what.to_owned(), text.to_owned()));
    }

    /// A promise was broken.
    pub fn violation(&self, what: String) {
        eprintln!("VIOLATION {what}");
        held(&self.violations).push(what);
    }

    /// The operations since the last call.
    pub fn take_ops(&self) -> Vec<Op> {
        std::mem::take(&mut held(&self.ops))
    }

    /// How often each kind ended how.
    pub fn counts(&self) -> BTreeMap<&'static str, Count> {
        held(&self.counts).clone()
    }

    /// All certificates.
    pub fn certificates(&self) -> Vec<Issued> {
        held(&self.certificates).clone()
    }

    /// All secrets.
    pub fn secrets(&self) -> Vec<(String, String)> {
        held(&self.secrets).clone()
    }

    /// All violations so far.
    pub fn violations(&self) -> Vec<String> {
        held(&self.violations).clone()
    }
}
