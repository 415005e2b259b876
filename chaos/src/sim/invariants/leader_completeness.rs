//! What is committed is in the log of every later leader.
//!
//! Source: Raft paper, section 5.4 and figure 3, "Leader Completeness": if a log entry is committed in a given term, then
//! that entry will be present in the logs of the leaders for all higher-numbered terms.

use std::collections::BTreeMap;

use palisade_raft::inspect::VoteFor;

use super::super::watch::{Event, Who};
use super::Invariant;

#[derive(Default)]
pub(super) struct LeaderCompleteness {
    committed: BTreeMap<u64, Known>,
    /// The highest term that anybody was seen in.
    term: u64,
}

struct Known {
    by: VoteFor,
    /// No lower than the one it was committed in.
    term: u64,
    seen_at: Who,
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader-completeness"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Seen { who, view } = event else {
            return Ok(());
        };
        self.term = self.term.max(view.term);
        for entry in view.log.iter().take_while(|entry| entry.index <= view.committed) {
            let known = self.committed.entry(entry.index).or_insert(Known {
                by: entry.by,
                term: self.term,
                seen_at: *who,
            });
            if known.by != entry.by {
                return Err(format!(
                    "entry {} is committed as one of {:?} at {who}, and as one of {:?} at {}",
                    entry.index, entry.by, known.by, known.seen_at
                ));
            }
        }
        let Some(first) = view.log.first().filter(|_| view.leads) else {
            return Ok(());
        };
        for (index, known) in self.committed.range(first.index..) {
            if known.term >= view.term {
                continue;
            }
            let found = usize::try_from(index - first.index)
                .ok()
                .and_then(|at| view.log.get(at));
            if found.map(|entry| entry.by) != Some(known.by) {
                return Err(format!(
                    "{who} leads in term {}, and has not got entry {index} of {:?}, which {} had committed by term {}",
                    view.term, known.by, known.seen_at, known.term
                ));
            }
        }
        Ok(())
    }
}
