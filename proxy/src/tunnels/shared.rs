//! What nodes tell each other about their agents: all of it once, then what changed, each second; and nothing of it
//! outlives its teller's silence.

use super::Tunnels;
use palisade_core::name::{Name, NodeId};
use palisade_core::tunnel::AgentPresence;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a node tells the others.
pub const PRESENCE_EVERY: Duration = Duration::from_millis(500);
/// After this much silence a node's agents are not offered any more.
const FORGET: Duration = Duration::from_millis(2500);
/// Agents in one message: the rest follows in the next ones.
const PART: usize = 2000;

/// One message from node to node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which run of the teller this is; drawn at its start.
    pub run: u64,
    /// What this message makes of what was said before: `from` is the version that the listener must have, 0 to begin
    /// anew.
    pub from: u64,
    /// The version after it.
    pub to: u64,
    /// Agents that are here, or changed.
    #[serde(default)]
    pub here: Vec<AgentPresence>,
    /// Hosts whose agents are gone.
    #[serde(default)]
    pub gone: Vec<Name>,
}

/// What a listener answers: the version that it has now; 0 asks for everything.
pub type Heard = u64;

#[derive(Default)]
struct Told {
    run: u64,
    version: u64,
    at: Option<Instant>,
    agents: BTreeMap<Name, AgentPresence>,
}

/// What the other nodes said.
#[derive(Default)]
pub(super) struct Others(BTreeMap<NodeId, Told>);

impl Others {
    fn fresh(&self) -> impl Iterator<Item = (NodeId, &Told)> {
        let now = Instant::now();
        let fresh = move |told: &Told| told.at.is_some_and(|at| now.duration_since(at) < FORGET);
        self.0
            .iter()
            .filter(move |(_, told)| fresh(told))
            .map(|(node, told)| (*node, told))
    }

    /// A node that holds a tunnel to the host, and what it says of the agent.
    pub(super) fn find(&self, host: &Name) -> Option<(NodeId, &AgentPresence)> {
        self.fresh()
            .find_map(|(node, told)| told.agents.get(host).map(|agent| (node, agent)))
    }

    /// All such nodes.
    pub(super) fn nodes_of(&self, host: &Name) -> Vec<NodeId> {
        self.fresh()
            .filter(|(_, told)| told.agents.contains_key(host))
            .map(|(node, _)| node)
            .collect()
    }

    fn hear(&mut self, node: NodeId, share: Share) -> Heard {
        let told = self.0.entry(node).or_default();
        if share.from == 0 {
            *told = Told {
                run: share.run,
                ..Told::default()
            };
        } else if told.run != share.run || told.version != share.from {
            return 0;
        }
        told.version = share.to;
        told.at = Some(Instant::now());
        for host in &share.gone {
            told.agents.remove(host);
        }
        told.agents
            .extend(share.here.into_iter().map(|agent| (agent.host.clone(), agent)));
        told.version
    }
}

/// What one listener has been told so far.
#[derive(Debug, Default)]
pub struct Listener {
    version: u64,
    told: BTreeMap<Name, Arc<AgentPresence>>,
}

impl Listener {
    /// The next message for this listener, and which of our agents are in it: what it does not know yet.
    pub fn next(&self, tunnels: &Tunnels, run: u64) -> (Share, Vec<Arc<AgentPresence>>) {
        let mut here = Vec::new();
        let mut gone = Vec::new();
        {
            let held = tunnels.held.lock();
            for (host, held) in held.iter() {
                let presence = held.presence.lock();
                // What was not replaced did not change.
                let known = self
                    .told
                    .get(host)
                    .is_some_and(|told| Arc::ptr_eq(told, &presence) || **told == **presence);
                if !known {
                    here.push(Arc::clone(&presence));
                }
                if here.len() == PART {
                    break;
                }
            }
            for host in self.told.keys().filter(|host| !held.contains_key(*host)) {
                gone.push(host.clone());
            }
        }
        let share = Share {
            run,
            from: self.version,
            to: self.version + 1,
            here: here.iter().map(|agent| (**agent).clone()).collect(),
            gone,
        };
        (share, here)
    }

    /// Takes the answer to a message in.
    pub fn answered(&mut self, (share, here): (Share, Vec<Arc<AgentPresence>>), heard: Heard) {
        if heard != share.to {
            *self = Listener::default();
            return;
        }
        self.version = share.to;
        for host in &share.gone {
            self.told.remove(host);
        }
        self.told
            .extend(here.into_iter().map(|agent| (agent.host.clone(), agent)));
    }
}

impl Tunnels {
    /// Takes in what another node says.
    pub fn hear(&self, node: NodeId, share: Share) -> Heard {
        self.others.lock().hear(node, share)
    }

    /// Answers when what this node holds is no longer as it was at `seen`; for those who tell the others.
    pub async fn presence_changed(&self, seen: u64) -> u64 {
        let mut changes = self.changes.subscribe();
        let now = changes.wait_for(|version| *version != seen).await;
        now.map(|version| *version).unwrap_or(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::time::Timestamp;

    fn agent(name: &str) -> AgentPresence {
        AgentPresence {
            host: Name::parse(name).expect("a name"),
            agent: 7,
            labels: BTreeMap::new(),
            facts: BTreeMap::new(),
            version: "1".into(),
            transport: "tls".into(),
            since: Timestamp::ZERO,
        }
    }

    fn share(from: u64, to: u64, here: &[&str], gone: &[&str]) -> Share {
        Share {
            run: 1,
            from,
            to,
            here: here.iter().map(|name| agent(name)).collect(),
            gone: gone
                .iter()
                .map(|name| Name::parse(name).expect("a name"))
                .collect(),
        }
    }

    #[test]
    fn a_gap_or_another_run_asks_for_everything_and_changes_nothing() {
        let mut others = Others::default();
        let web1 = Name::parse("web1").expect("a name");
        assert_eq!(others.hear(2, share(0, 1, &["web1"], &[])), 1);
        assert_eq!(others.hear(2, share(5, 6, &[], &["web1"])), 0);
        let other_run = Share {
            run: 9,
            ..share(1, 2, &[], &["web1"])
        };
        assert_eq!(others.hear(2, other_run), 0);
        assert_eq!(others.nodes_of(&web1), [2]);
        assert_eq!(others.hear(2, share(1, 2, &["web2"], &["web1"])), 2);
        assert_eq!(others.nodes_of(&web1), [0u64; 0]);
    }
}
