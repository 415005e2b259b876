//! No two nodes apply different entries at one index, and no node applies one twice.
//!
//! Source: Raft paper, section 5.4.3 and figure 3, "State Machine Safety": if a server has applied a log entry at a given
//! index to its state machine, no other server will ever apply a different log entry for the same index. And
//! section 5.3: a server applies entries in log order. What a node applies after a restart therefore begins behind
//! what its state had durably applied.

use std::collections::BTreeMap;

use super::super::watch::{Event, Who, hash};
use super::Invariant;

#[derive(Default)]
pub(super) struct StateMachineSafety {
    applied: BTreeMap<u64, (u64, u64, Who)>,
    last: BTreeMap<Who, u64>,
}

impl Invariant for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state-machine-safety"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Started { who, applied } => {
                self.last.insert(*who, *applied);
            }
            Event::Applied {
                who,
                index,
                term,
                entry,
                ..
            } => {
                let last = self.last.insert(*who, *index).unwrap_or(0);
                if *index <= last {
                    return Err(format!(
                        "{who} applied entry {index} after it had applied up to {last}"
                    ));
                }
                let now = (*term, hash(entry));
                let (term, content, by) = self.applied.entry(*index).or_insert((now.0, now.1, *who));
                if now != (*term, *content) {
                    return Err(format!("{who} applied another entry at {index} than {by} did"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
