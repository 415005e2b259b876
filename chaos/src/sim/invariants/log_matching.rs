//! Two logs that agree on one entry agree on all before it.
//!
//! Source: Raft paper, section 5.3, "Log Matching": if two logs contain an entry with the same index and term, then the
//! logs are identical in all entries up through the given index. By induction it is enough that an entry of one
//! name always has the same content and the same entry before it.

use std::collections::BTreeMap;

use palisade_raft::inspect::VoteFor;

use super::super::watch::{Event, Who};
use super::Invariant;

#[derive(Default)]
pub(super) struct LogMatching(BTreeMap<(u64, VoteFor), Known>);

struct Known {
    hash: u64,
    before: Option<VoteFor>,
    seen_at: Who,
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log-matching"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Seen { who, view } = event else {
            return Ok(());
        };
        let mut before = None;
        for entry in &view.log {
            let (index, by) = (entry.index, entry.by);
            let known = self.0.entry((index, by)).or_insert(Known {
                hash: entry.hash,
                before,
                seen_at: *who,
            });
            if known.hash != entry.hash {
                return Err(format!(
                    "entry {index} of leader {by:?} is not the same at {who} as at {}",
                    known.seen_at
                ));
            }
            match (known.before, before) {
                (Some(theirs), Some(ours)) if theirs != ours => {
                    return Err(format!(
                        "before entry {index} of leader {by:?} is one of {ours:?} at {who}, and of {theirs:?} at {}",
                        known.seen_at
                    ));
                }
                (None, Some(_)) => known.before = before,
                _ => {}
            }
            before = Some(by);
        }
        Ok(())
    }
}
