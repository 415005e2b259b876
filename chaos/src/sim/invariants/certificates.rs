//! No certificate without its audit event.
//!
//! Source: README, promise 2: no certificate, session or change without its audit event; they commit in the same log
//! entry, or the entry does not exist. The serial of a certificate is the index of its entry, so that each can be asked for.

use std::collections::BTreeMap;

use palisade_core::command::{Command, Reply};
use palisade_core::event::{Event as AuditEvent, EventKind};
use palisade_core::state;

use super::super::watch::Event;
use super::{Commands, End, Invariant};

#[derive(Default)]
pub(super) struct Certificates {
    commands: Commands,
    /// Serials, and whom they were given to.
    issued: BTreeMap<u64, String>,
}

impl Invariant for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        self.commands.note(event)?;
        if let Event::Applied {
            index,
            effective: true,
            reply,
            ..
        } = event
            && let Some(entry) = self.commands.0.get(index)
            && let Command::IssueCert { terms } = &entry.command
            && let Ok(Reply::Done { index: serial }) = Reply::from_bytes(reply)
        {
            self.issued.insert(serial, terms.subject.to_string());
        }
        Ok(())
    }

    fn at_end(&mut self, end: &End) -> Result<(), String> {
        for node in &end.nodes {
            let mut missing = self.issued.clone();
            for (seq, bytes) in state::audit_bytes(&node.state, 0, usize::MAX).map_err(|e| e.to_string())? {
                let event = AuditEvent::from_bytes(&bytes).map_err(|e| format!("event {seq}: {e}"))?;
                if event.event != EventKind::CertIssue {
                    continue;
                }
                let serial = event.data.get("serial").and_then(|serial| serial.parse().ok());
                let Some(serial) = serial else {
                    return Err(format!("event {seq} at node {} names no serial", node.id));
                };
                if missing.remove(&serial) != Some(event.target) {
                    return Err(format!(
                        "event {seq} at node {} tells of the certificate {serial}, which was not issued, or was told of before",
                        node.id
                    ));
                }
            }
            if let Some((serial, subject)) = missing.first_key_value() {
                return Err(format!(
                    "certificate {serial} of {subject} has no audit event at node {}",
                    node.id
                ));
            }
        }
        Ok(())
    }
}
