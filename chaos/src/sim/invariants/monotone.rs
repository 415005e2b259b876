//! Term, commit and applied index of a running process only grow, and nothing is applied that is not committed.
//!
//! Source: Raft paper, section 5.1 (terms increase monotonically) and figure 2 (`commitIndex` and `lastApplied`
//! increase monotonically; an entry is applied once it is committed).

use std::collections::BTreeMap;

use super::super::watch::{Event, View, Who};
use super::Invariant;

#[derive(Default)]
pub(super) struct Monotone(BTreeMap<Who, View>);

impl Invariant for Monotone {
    fn name(&self) -> &'static str {
        "monotone"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Seen { who, view } = event else {
            return Ok(());
        };
        let mut kept = (*view).clone();
        kept.log.clear();
        let Some(before) = self.0.insert(*who, kept) else {
            return Ok(());
        };
        let pairs = [
            ("term", before.term, view.term),
            ("committed", before.committed, view.committed),
            ("applied", before.applied, view.applied),
            ("purged", before.purged, view.purged),
            ("snapshot", before.snapshot, view.snapshot),
        ];
        match pairs.iter().find(|(_, before, now)| now < before) {
            Some((what, before, now)) => Err(format!("{what} of {who} went back from {before} to {now}")),
            None => Ok(()),
        }
    }
}
