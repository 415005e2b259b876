//! The [`Sessions`] port: sessions that run now, on every node. Presence: it lives in memory at the node that
//! carries the session, and is asked for when somebody wants to know.

use crate::consensus::NodeConsensus;
use bytes::Bytes;
use palisade_core::api::LiveSession;
use palisade_core::name::SessionId;
use palisade_core::ports::{Pending, Sessions, Unavailable};
use palisade_proxy::ssh::Live;
use palisade_proxy::tunnels::Tunnels;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long another node may take to say.
const PEER_FOR: Duration = Duration::from_secs(2);
/// What nodes ask each other.
const LIST: &str = "sessions.list";
const END: &str = "sessions.end";

/// The port.
pub struct NodeSessions {
    consensus: Arc<NodeConsensus>,
    live: Arc<Live>,
    agents: Arc<Tunnels>,
}

#[derive(Serialize, Deserialize)]
struct EndCall {
    session: SessionId,
    why: String,
}

impl NodeSessions {
    /// Over this node's live sessions; answers the other nodes' questions about them from now on.
    pub fn start(consensus: Arc<NodeConsensus>, live: Arc<Live>, agents: Arc<Tunnels>) -> Arc<Self> {
        let (here, tunnels, raft) = (live.clone(), agents.clone(), consensus.raft().clone());
        raft.on_call(LIST, move |_, _| {
            let listed = serde_json::to_vec(&all_here(&here, &tunnels))
                .map(Bytes::from)
                .map_err(|e| e.to_string());
            Box::pin(async move { listed })
        });
        let (here, tunnels) = (live.clone(), agents.clone());
        raft.on_call(END, move |_, body| {
            let ended = serde_json::from_slice::<EndCall>(&body).map_err(|e| e.to_string());
            let ended =
                ended.map(|call| here.end(&call.session, &call.why) || tunnels.end(&call.session, &call.why));
            Box::pin(async move {
                serde_json::to_vec(&ended?)
                    .map(Bytes::from)
                    .map_err(|e| e.to_string())
            })
        });
        Arc::new(NodeSessions {
            consensus,
            live,
            agents,
        })
    }

    /// Those that this node carries.
    pub fn here(&self) -> Vec<LiveSession> {
        self.live.list()
    }

    /// Agents whose tunnel ends here.
    pub fn agents_here(&self) -> usize {
        self.agents.held_here()
    }

    async fn ask_all<T: for<'de> Deserialize<'de> + Send + 'static>(
        &self,
        kind: &'static str,
        body: Bytes,
    ) -> Vec<T> {
        let mut asked = JoinSet::new();
        for node in self.consensus.raft().peers().others() {
            let (consensus, body) = (self.consensus.clone(), body.clone());
            asked.spawn(async move { consensus.raft().peers().call(node, kind, body, PEER_FOR).await });
        }
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            // A node that does not answer carries no session that anybody could reach.
            if let Ok(Ok(bytes)) = answer {
                answers.extend(serde_json::from_slice(&bytes).ok());
            }
        }
        answers
    }
}

/// What runs at this node, and at the agents whose tunnels it holds.
fn all_here(live: &Live, agents: &Tunnels) -> Vec<LiveSession> {
    let mut all = live.list();
    all.extend(agents.sessions());
    all
}

impl Sessions for NodeSessions {
    fn list(&self) -> Pending<'_, Vec<LiveSession>> {
        Box::pin(async move {
            let mut all = all_here(&self.live, &self.agents);
            all.extend(
                self.ask_all::<Vec<LiveSession>>(LIST, Bytes::new())
                    .await
                    .into_iter()
                    .flatten(),
            );
            all.sort_by(|a, b| (a.started, &a.session).cmp(&(b.started, &b.session)));
            // An agent holds tunnels to two nodes, and both tell of its sessions.
            all.dedup_by(|a, b| a.session == b.session);
            all
        })
    }

    fn end<'a>(&'a self, session: &'a SessionId, why: &'a str) -> Pending<'a, Result<bool, Unavailable>> {
        Box::pin(async move {
            if self.live.end(session, why) || self.agents.end(session, why) {
                return Ok(true);
            }
            let call = EndCall {
                session: session.clone(),
                why: why.to_owned(),
            };
            let body = serde_json::to_vec(&call).map_err(|e| Unavailable::Fault(e.to_string()))?;
            Ok(self.ask_all::<bool>(END, body.into()).await.contains(&true))
        })
    }
}
