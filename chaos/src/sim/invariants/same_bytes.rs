//! Nodes that have applied the same log have the same bytes, and they are what `apply` says.
//!
//! Source: ARCHITECTURE.md, core: "`apply` is a pure function of state and entry: replicas that apply one log are
//! byte-identical". Each effect is compared as it happens; at the end the whole state of every member is compared with
//! what the applied commands come to when they are applied anew, one by one, to an empty state in memory.

use std::collections::BTreeMap;

use palisade_core::kv::MemoryKv;
use palisade_core::state;

use super::super::watch::{Event, Who};
use super::{End, Invariant};

#[derive(Default)]
pub(super) struct SameBytes {
    effects: BTreeMap<u64, (u64, Who)>,
    entries: BTreeMap<u64, Vec<u8>>,
}

impl Invariant for SameBytes {
    fn name(&self) -> &'static str {
        "same-bytes"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        let Event::Applied {
            who,
            index,
            entry,
            effect,
            ..
        } = event
        else {
            return Ok(());
        };
        let (known, by) = self.effects.entry(*index).or_insert((*effect, *who));
        if known != effect {
            return Err(format!("entry {index} had another effect at {who} than at {by}"));
        }
        self.entries.entry(*index).or_insert_with(|| entry.to_vec());
        Ok(())
    }

    fn at_end(&mut self, end: &End) -> Result<(), String> {
        let mut model = MemoryKv::default();
        for (index, entry) in &self.entries {
            let applied = state::apply(&model, *index, entry).map_err(|e| e.to_string())?;
            model.commit(applied.changes);
        }
        for node in &end.nodes {
            if node.state.0 == model.0 {
                continue;
            }
            let differs = model
                .0
                .iter()
                .find(|(key, value)| node.state.0.get(*key) != Some(*value))
                .or_else(|| node.state.0.iter().find(|(key, _)| !model.0.contains_key(*key)));
            let key = differs.map(|(key, _)| String::from_utf8_lossy(key).into_owned());
            return Err(format!(
                "the state of node {} is not what its log comes to, first at key {:?}",
                node.id,
                key.unwrap_or_default()
            ));
        }
        Ok(())
    }
}
