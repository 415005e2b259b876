//! Nothing acknowledged is lost.
//!
//! Source: README, promise 1: a change, a certificate or an audit event that was acknowledged survives the loss of any
//! minority of nodes, kill -9 and power cut included. An answer names the index of its entry: by then that entry
//! was applied somewhere, and at the end every member has applied it.

use std::collections::BTreeMap;

use super::super::watch::Event;
use super::{Commands, End, Invariant};

#[derive(Default)]
pub(super) struct Acknowledged {
    commands: Commands,
    answered: BTreeMap<u64, String>,
}

impl Invariant for Acknowledged {
    fn name(&self) -> &'static str {
        "acknowledged"
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), String> {
        self.commands.note(event)?;
        if let Event::Answered { request, index } = event {
            match self.commands.0.get(index) {
                Some(entry) if entry.id.as_str() == *request => {}
                Some(_) => {
                    return Err(format!(
                        "request {request} was answered by the entry {index} of another"
                    ));
                }
                None => {
                    return Err(format!(
                        "request {request} was answered before entry {index} was applied"
                    ));
                }
            }
            self.answered.insert(*index, (*request).to_owned());
        }
        Ok(())
    }

    fn at_end(&mut self, end: &End) -> Result<(), String> {
        let Some((last, request)) = self.answered.last_key_value() else {
            return Err("no request was answered at all".to_owned());
        };
        match end.nodes.iter().find(|node| node.applied < *last) {
            Some(node) => Err(format!(
                "request {request} was answered by entry {last}, and node {} ends at {}",
                node.id, node.applied
            )),
            None => Ok(()),
        }
    }
}
