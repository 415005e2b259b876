//! What must hold in every run, one file each.

mod acknowledged;
mod audit_chain;
mod certificates;
mod election_safety;
mod exactly_once;
mod leader_completeness;
mod lease;
mod log_matching;
mod monotone;
mod reads;
mod same_bytes;
mod state_machine_safety;
mod votes;

use std::collections::BTreeMap;

use palisade_core::command::Entry;
use palisade_core::kv::MemoryKv;

use super::watch::Event;

/// Something that holds whatever happens.
pub(crate) trait Invariant: Send {
    /// Its name, as reports say it.
    fn name(&self) -> &'static str;

    /// Looks at one event; an error says what contradicts the invariant.
    fn on(&mut self, _event: &Event<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Looks at what every member has at the end, when all is healed and has converged.
    fn at_end(&mut self, _end: &End) -> Result<(), String> {
        Ok(())
    }
}

/// What is left when all is over.
pub(crate) struct End {
    pub(crate) nodes: Vec<EndNode>,
}

/// One member at the end.
pub(crate) struct EndNode {
    pub(crate) id: u64,
    /// Up to which index it has applied.
    pub(crate) applied: u64,
    /// The whole of its state.
    pub(crate) state: MemoryKv,
}

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<votes::Votes>::default(),
        Box::<election_safety::ElectionSafety>::default(),
        Box::<log_matching::LogMatching>::default(),
        Box::<leader_completeness::LeaderCompleteness>::default(),
        Box::<state_machine_safety::StateMachineSafety>::default(),
        Box::<monotone::Monotone>::default(),
        Box::<acknowledged::Acknowledged>::default(),
        Box::<reads::Reads>::default(),
        Box::<lease::Lease>::default(),
        Box::<certificates::Certificates>::default(),
        Box::<exactly_once::ExactlyOnce>::default(),
        Box::<audit_chain::AuditChain>::default(),
        Box::<same_bytes::SameBytes>::default(),
    ]
}

/// The commands that were applied, by the index in the log.
#[derive(Default)]
struct Commands(BTreeMap<u64, Entry>);

impl Commands {
    fn note(&mut self, event: &Event<'_>) -> Result<(), String> {
        if let Event::Applied { index, entry, .. } = event
            && !self.0.contains_key(index)
        {
            let entry = Entry::from_bytes(entry).map_err(|e| format!("entry {index} cannot be read: {e}"))?;
            self.0.insert(*index, entry);
        }
        Ok(())
    }
}
