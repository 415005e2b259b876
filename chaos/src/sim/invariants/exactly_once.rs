//! A request has its effect once, however often it is made again, and a single-use token is used once.
//!
//! Source: `core::command::Entry::id`: "The same id never has two effects: a retry is answered with the first answer";
//! section 8 of the Raft paper asks the same of a state machine that clients retry against. Every command of the
//! workload writes one audit event that carries its request id.

use std::collections::BTreeMap;

use palisade_core::command::{Command, Reply};
use palisade_core::event::Event as AuditEvent;
use palisade_core::state;

use super::super::watch::Event;
use super::{Commands, End, Invariant};

#[derive(Default)]
pub(super) struct ExactlyOnce {
    commands: Commands,
    effects: BTreeMap<String, u64>,
    tokens: BTreeMap<String, u64>,
}

impl Invariant for ExactlyOnce {
    fn name(&self) -> &'static str {
        "exactly-once"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        self.commands.note(event)?;
        let Event::Applied {
            index,
            effective: true,
            reply,
            ..
        } = event
        else {
            return Ok(());
        };
        let Some(entry) = self.commands.0.get(index) else {
            return Ok(());
        };
        let first = *self.effects.entry(entry.id.to_string()).or_insert(*index);
        if first != *index {
            return Err(format!(
                "request {} had effects at entries {first} and {index}",
                entry.id
            ));
        }
        if let Command::AcceptInvite { token_sha256, .. } = &entry.command
            && matches!(Reply::from_bytes(reply), Ok(Reply::Done { .. }))
        {
            let first = *self.tokens.entry(token_sha256.clone()).or_insert(*index);
            if first != *index {
                return Err(format!("a token was used at entries {first} and {index}"));
            }
        }
        Ok(())
    }

    fn at_end(&mut self, end: &End) -> Result<(), String> {
        for node in &end.nodes {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for (seq, bytes) in state::audit_bytes(&node.state, 0, usize::MAX).map_err(|e| e.to_string())? {
                let event = AuditEvent::from_bytes(&bytes).map_err(|e| format!("event {seq}: {e}"))?;
                *counts.entry(event.addr).or_default() += 1;
            }
            for (index, entry) in &self.commands.0 {
                let count = counts.get(&entry.actor.addr).copied().unwrap_or(0);
                if count != 1 && !matches!(entry.command, Command::Init { .. }) {
                    return Err(format!(
                        "request {} of entry {index} has {count} events at node {}",
                        entry.id, node.id
                    ));
                }
            }
        }
        Ok(())
    }
}
