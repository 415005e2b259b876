//! At most one leader of each name.
//!
//! Source: Raft paper, section 5.2 and figure 3, "Election Safety: at most one leader can be elected in a given term".
//! In openraft's advanced mode the name of a leader is the term and the node, and two names of one term are ordered as
//! terms are. So the same name must never be borne by two runs of a process: the second one would have been
//! elected anew in a term in which it had led before, and could put other entries under the same names.

use std::collections::BTreeMap;

use palisade_raft::inspect::VoteFor;

use super::super::watch::{Event, Who};
use super::Invariant;

#[derive(Default)]
pub(super) struct ElectionSafety(BTreeMap<VoteFor, Who>);

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election-safety"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Leads { who, vote } = event else {
            return Ok(());
        };
        if vote.1 != who.node {
            return Err(format!("{who} speaks as the leader {vote:?}"));
        }
        let first = self.0.entry(*vote).or_insert(*who);
        if first != who {
            return Err(format!("{who} leads as {vote:?}, as {first} did before"));
        }
        Ok(())
    }
}
