//! A vote once given is never taken back.
//!
//! Source: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", section 5.2: a server votes for
//! at most one candidate in a term, and keeps its vote on stable storage before it answers. Votes here are ordered by
//! term and candidate (openraft's advanced mode, in which a later candidate of a term outbids an earlier one), so
//! what must hold is: nothing that a node has let go out is followed by something older, not even after a restart.

use std::collections::BTreeMap;

use palisade_raft::inspect::VoteFor;

use super::super::watch::{Event, Who};
use super::Invariant;

#[derive(Default)]
pub(super) struct Votes(BTreeMap<u64, (VoteFor, Who)>);

impl Invariant for Votes {
    fn name(&self) -> &'static str {
        "votes"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        let (Event::Granted { who, vote } | Event::Follows { who, vote }) = event else {
            return Ok(());
        };
        match self.0.get(&who.node) {
            // Two answers of one run may leave it in another order than they were made.
            Some((before, by)) if before > vote && by != who => Err(format!(
                "{who} stands by the vote {vote:?}, after {by} had given the vote {before:?}"
            )),
            Some((before, _)) if before >= vote => Ok(()),
            _ => {
                self.0.insert(who.node, (*vote, *who));
                Ok(())
            }
        }
    }
}
