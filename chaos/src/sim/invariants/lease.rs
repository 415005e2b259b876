//! A node never takes its knowledge of a leader with a quorum for fresher than it is.
//!
//! Source: README, promise 8: a node that has lost the quorum stops granting new access after a stated, short grace;
//! `RaftNode::lease`. Nobody can know anything about the moment after the last message that reached them.

use super::super::watch::Event;
use super::Invariant;

/// A standstill of a process that is shorter than this is not noticed (`raft/src/shared.rs`), and counts as nothing.
const UNNOTICED: u64 = 900;

#[derive(Default)]
pub(super) struct Lease;

impl Invariant for Lease {
    fn name(&self) -> &'static str {
        "lease"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Lease {
                who,
                age_ms,
                silent_ms,
            } if age_ms + UNNOTICED < *silent_ms => Err(format!(
                "{who} says that its lease is {age_ms} ms old, and has heard nothing for {silent_ms} ms"
            )),
            _ => Ok(()),
        }
    }
}
