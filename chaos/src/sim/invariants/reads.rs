//! A linearizable read sees everything that was acknowledged before it began.
//!
//! Source: Raft paper, section 8, and `RaftNode::read_barrier`: "reads of this node's state see everything that was
//! acknowledged anywhere before the call". As the state at an index is the same everywhere (`same-bytes`), it is enough to
//! compare indices.

use super::super::watch::Event;
use super::Invariant;

#[derive(Default)]
pub(super) struct Reads;

impl Invariant for Reads {
    fn name(&self) -> &'static str {
        "linearizable-reads"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Read {
                who,
                acknowledged,
                applied,
            } if applied < acknowledged => Err(format!(
                "a read through {who} saw the state at {applied}, after entry {acknowledged} had been acknowledged"
            )),
            _ => Ok(()),
        }
    }
}
