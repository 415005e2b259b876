//! The whole audit log: recent events from the replicated state, older ones from sealed pages. Every reader of events
//! goes through here, so that none can forget one of the two.
//!
//! A page may be sealed while the log is read; an event is then found in the one place or the other, never in
//! neither: what is missing from the state is looked for on a page, and what is on no page either is a fault.

use crate::event::Event;
use crate::kv::{Kv, KvFault};
use crate::page::{PageEvents, PageManifest};
use crate::ports::{AuditPages, PageLost};
use crate::search::AuditQuery;
use crate::state;
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Events looked at in one call: a search for something rare answers what it found and a cursor.
const LOOKED_AT_MAX: u64 = 50_000;
/// What passing over a page costs of the above.
const SKIP_COSTS: u64 = 8;
/// The first and the largest run that is read from the state.
const RUN_FIRST: u64 = 16;
const RUN_MAX: u64 = 512;
/// Manifests read at a time.
const MANIFESTS: usize = 128;

/// Why events could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// The state cannot be read, or an event is damaged or in no place.
    #[error(transparent)]
    State(#[from] KvFault),
    /// No node has the page that they are on.
    #[error("{page} cannot be read: {why}")]
    Lost {
        /// The page.
        page: Box<PageManifest>,
        /// What each node said.
        why: PageLost,
    },
}

/// The audit log as one node sees it.
#[derive(Clone, Copy)]
pub struct AuditLog<'a> {
    kv: &'a dyn Kv,
    pages: &'a dyn AuditPages,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Events with their sequence numbers, in the order asked for.
    pub items: Vec<(u64, Event)>,
    /// Where to go on; empty if everything was looked at. There may be few events, or none, and a cursor all the same.
    pub cursor: String,
}

/// A run of consecutive events.
#[derive(Debug, Clone)]
pub struct Run {
    events: Arc<PageEvents>,
    range: Range<usize>,
}

impl Run {
    fn clipped(events: Arc<PageEvents>, within: &Range<u64>) -> Self {
        let offset = |seq: u64| usize::try_from(seq.saturating_sub(events.first)).unwrap_or(usize::MAX);
        let end = offset(within.end).min(events.events.len());
        let range = offset(within.start).min(end)..end;
        Run { events, range }
    }

    /// Sequence numbers and stored bytes, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        let numbered = move |at: usize| (self.events.first + at as u64, self.events.events[at].as_slice());
        self.range.clone().map(numbered)
    }

    fn in_order(&self, newest_first: bool) -> impl Iterator<Item = (u64, &[u8])> {
        let (one, other) = if newest_first {
            (None, Some(self.iter().rev()))
        } else {
            (Some(self.iter()), None)
        };
        one.into_iter().flatten().chain(other.into_iter().flatten())
    }
}

impl<'a> AuditLog<'a> {
    /// Over a node's state and pages.
    pub fn new(kv: &'a dyn Kv, pages: &'a dyn AuditPages) -> Self {
        AuditLog { kv, pages }
    }

    /// How many events there are.
    pub fn size(&self) -> Result<u64, KvFault> {
        Ok(state::audit_frontier(self.kv)?.size())
    }

    /// The events `range` in runs, from the end that comes first.
    pub fn runs(&self, range: Range<u64>, newest_first: bool) -> Result<Runs<'a>, KvFault> {
        Ok(Runs {
            log: *self,
            rest: range,
            newest_first,
            sealed: state::sealed_until(self.kv)?,
            next_run: RUN_FIRST,
            manifests: VecDeque::new(),
            budget: u64::MAX,
        })
    }

    /// Finds events that answer the query and that `shows` lets through, from where an earlier search stopped: after
    /// `resume`, from the beginning if there is none.
    pub fn search(
        &self,
        query: &AuditQuery,
        resume: Option<u64>,
        mut shows: impl FnMut(&Event) -> bool,
    ) -> Result<Found, AuditFault> {
        let size = self.size()?;
        let range = match (query.newest_first(), resume) {
            (_, None) => 0..size,
            (true, Some(last)) => 0..last.min(size),
            (false, Some(last)) => last.saturating_add(1)..size,
        };
        let mut runs = self.runs(range, query.newest_first())?.at_most(LOOKED_AT_MAX);
        let mut items = Vec::new();
        while let Some(run) = runs.next(|page| query.may_match(&page.summary))? {
            for (seq, bytes) in run.in_order(query.newest_first()) {
                let event = read(seq, bytes)?;
                if query.matches(&event) && shows(&event) {
                    items.push((seq, event));
                }
                if items.len() == query.limit() {
                    let cursor = query.cursor(seq);
                    return Ok(Found { items, cursor });
                }
            }
        }
        let cursor = runs.passed().map_or_else(String::new, |last| query.cursor(last));
        Ok(Found { items, cursor })
    }

    /// The first event since a moment, by halving: the log is in the order of time but for the skew of clocks. None if
    /// it may be on a page.
    pub fn recent_since(&self, begin: Timestamp) -> Result<Option<u64>, KvFault> {
        loop {
            let sealed = state::sealed_until(self.kv)?;
            let (mut low, mut high) = (sealed, self.size()?);
            while low < high {
                let middle = low + (high - low) / 2;
                let before = state::audit_event(self.kv, middle)?.is_none_or(|event| event.time < begin);
                if before {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            // An event that moved to a page meanwhile was taken for an early one.
            if state::sealed_until(self.kv)? == sealed {
                return Ok((low > sealed || sealed == 0).then_some(low));
            }
        }
    }
}

/// Reads an event's stored bytes.
pub fn read(seq: u64, bytes: &[u8]) -> Result<Event, KvFault> {
    Event::from_bytes(bytes).map_err(|e| KvFault {
        key: format!("a/{seq}"),
        why: e.to_string(),
    })
}

/// Runs of events on their way out. Each is read when it is asked for.
pub struct Runs<'a> {
    log: AuditLog<'a>,
    /// What is still to come.
    rest: Range<u64>,
    newest_first: bool,
    sealed: u64,
    next_run: u64,
    manifests: VecDeque<PageManifest>,
    /// Events that may still be looked at.
    budget: u64,
}

impl<'a> Runs<'a> {
    /// Ends after so many events; one run may go over it, and a page that is not wanted costs little.
    fn at_most(mut self, events: u64) -> Runs<'a> {
        self.budget = events;
        self
    }

    /// The next run, leaving out pages that are not wanted; none at the end. After [`AuditFault::Lost`] it goes on
    /// behind the lost page.
    pub fn next(&mut self, want: impl Fn(&PageManifest) -> bool) -> Result<Option<Run>, AuditFault> {
        while !self.rest.is_empty() && self.budget > 0 {
            let at = if self.newest_first {
                self.rest.end - 1
            } else {
                self.rest.start
            };
            if at >= self.sealed {
                if let Some(run) = self.recent()? {
                    return Ok(Some(run));
                }
                continue;
            }
            let page = self.page_of(at)?;
            let within = page.first.max(self.rest.start)..page.end().min(self.rest.end);
            self.shrink(&within);
            if !want(&page) {
                self.spend(SKIP_COSTS);
                continue;
            }
            self.spend(within.end - within.start);
            return match self.log.pages.open(&page) {
                Ok(events) => Ok(Some(Run::clipped(events, &within))),
                Err(why) => Err(AuditFault::Lost {
                    page: Box::new(page),
                    why,
                }),
            };
        }
        Ok(None)
    }

    fn spend(&mut self, events: u64) {
        self.budget = self.budget.saturating_sub(events);
    }

    /// The last sequence number that was passed; none if there is nothing more to come.
    fn passed(&self) -> Option<u64> {
        if self.rest.is_empty() {
            return None;
        }
        // Something was passed, so that the start is not 0.
        Some(if self.newest_first {
            self.rest.end
        } else {
            self.rest.start.saturating_sub(1)
        })
    }

    fn shrink(&mut self, passed: &Range<u64>) {
        if self.newest_first {
            self.rest.end = passed.start;
        } else {
            self.rest.start = passed.end;
        }
    }

    /// A run from the state; none if it was sealed meanwhile.
    fn recent(&mut self) -> Result<Option<Run>, KvFault> {
        let low = self.rest.start.max(self.sealed);
        let count = self.next_run.min(self.rest.end - low);
        let within = if self.newest_first {
            self.rest.end - count..self.rest.end
        } else {
            low..low + count
        };
        let mut pairs = state::audit_bytes(
            self.log.kv,
            within.start,
            usize::try_from(count).unwrap_or(usize::MAX),
        )?;
        pairs.retain(|(seq, _)| within.contains(seq));
        if pairs.len() as u64 != count {
            let sealed = state::sealed_until(self.log.kv)?;
            if sealed == self.sealed {
                return Err(KvFault {
                    key: format!("a/{}", within.start),
                    why: "an audit event is neither in the state nor on a page".into(),
                });
            }
            self.sealed = sealed;
            return Ok(None);
        }
        self.next_run = (self.next_run * 4).min(RUN_MAX);
        self.spend(count);
        self.shrink(&within);
        let events = PageEvents {
            first: within.start,
            events: pairs.into_iter().map(|(_, bytes)| bytes).collect(),
        };
        Ok(Some(Run::clipped(Arc::new(events), &within)))
    }

    /// The page that an event is on.
    fn page_of(&mut self, seq: u64) -> Result<PageManifest, KvFault> {
        let holds = |page: &PageManifest| (page.first..page.end()).contains(&seq);
        if !self.manifests.front().is_some_and(holds) {
            let kv = self.log.kv;
            let more = if self.newest_first {
                state::pages_before(kv, seq + 1, MANIFESTS)?
            } else {
                // The last page that begins no later is the one that holds it.
                let first = state::pages_before(kv, seq + 1, 1)?
                    .first()
                    .map_or(seq, |page| page.first);
                state::pages_from(kv, first, MANIFESTS)?
            };
            self.manifests = more.into();
        }
        self.manifests.pop_front().filter(holds).ok_or_else(|| KvFault {
            key: format!("p/{seq}"),
            why: "the manifest of an audit page is missing".into(),
        })
    }
}
