//! The audit log is whole: its events are those that its tree hashes.
//!
//! Source: README, promise 3: entries chain into a Merkle tree whose signed heads can be checked offline. The root is
//! computed anew from the stored bytes of all events, which follow one another without a gap.

use palisade_core::{merkle, state};

use super::{End, Invariant};

#[derive(Default)]
pub(super) struct AuditChain;

impl Invariant for AuditChain {
    fn name(&self) -> &'static str {
        "audit-chain"
    }

    fn at_end(&mut self, end: &End) -> Result<(), String> {
        for node in &end.nodes {
            let frontier = state::audit_frontier(&node.state).map_err(|e| e.to_string())?;
            let events = state::audit_bytes(&node.state, 0, usize::MAX).map_err(|e| e.to_string())?;
            if events.iter().zip(0..).any(|((seq, _), at)| *seq != at)
                || events.len() as u64 != frontier.size()
            {
                return Err(format!(
                    "node {} has {} events of {}",
                    node.id,
                    events.len(),
                    frontier.size()
                ));
            }
            let root = merkle::root_of(events.iter().map(|(_, bytes)| merkle::leaf_hash(bytes)));
            if root != frontier.root() {
                return Err(format!(
                    "the events of node {} are not those of its tree",
                    node.id
                ));
            }
        }
        Ok(())
    }
}
