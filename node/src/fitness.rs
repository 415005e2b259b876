//! Whether this node is fit to lead. A leader that is not gives leadership to a node that is; where there is none, it
//! leads on, for a sick leader is better than none.
//!
//! A disk that hangs is not looked at here: `palisade_raft` sees it sooner, and gives up even where nobody is known
//! to do better.

use crate::appliance::Running;
use crate::health;
use bytes::Bytes;
use palisade_core::name::NodeId;
use palisade_core::record::{HostAddr, NodeSpec};
use palisade_core::state;
use palisade_raft::{Role, server_verifier};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What nodes ask each other.
const CALL: &str = "node.fitness";
/// How long the answer may take.
const ASK: Duration = Duration::from_millis(500);
/// How long another node's HTTPS port may take to answer.
const KNOCK: Duration = Duration::from_secs(2);
/// A port that has not answered for this long is out of people's reach.
const OUT_OF_REACH: Duration = Duration::from_secs(6);
/// After a hand-over the next one waits: two sick nodes do not throw leadership to and fro.
const PAUSE: Duration = Duration::from_secs(30);

/// What this node keeps in mind of itself and the others.
#[derive(Default)]
pub(crate) struct Fitness {
    /// How it knocks; made once.
    tls: OnceLock<TlsConnector>,
    /// Nodes whose HTTPS port does not answer, and since when.
    silent: Mutex<BTreeMap<NodeId, Instant>>,
    /// The last time that leadership was given away for this.
    gave_up: Mutex<Option<Instant>>,
}

impl Fitness {
    fn knocked(&self, node: NodeId, answered: bool) {
        let mut silent = self.silent.lock();
        if answered {
            silent.remove(&node);
        } else {
            silent.entry(node).or_insert_with(Instant::now);
        }
    }

    fn out_of_reach(&self) -> Vec<NodeId> {
        let silent = self.silent.lock();
        let long = silent.iter().filter(|(_, since)| since.elapsed() > OUT_OF_REACH);
        long.map(|(id, _)| *id).collect()
    }
}

/// What a node says of itself and of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    /// Why it should not lead.
    unfit: Option<String>,
    /// Nodes whose HTTPS port it does not reach.
    out_of_reach: Vec<NodeId>,
}

/// What is wrong with a leader, and who should lead instead. `own` is its own report, `others` those of the voters that
/// answered. Whoever says nothing against itself, and is out of nobody's reach, may lead.
fn successor(
    leader: NodeId,
    own: &Report,
    others: &BTreeMap<NodeId, Report>,
    voters: usize,
) -> Option<(NodeId, String)> {
    let blind = others
        .values()
        .filter(|r| r.out_of_reach.contains(&leader))
        .count();
    // As many as make a quorum without it: one node that is blind proves nothing about the leader.
    let isolated = blind > 0 && blind == others.len() && blind + 1 > voters / 2;
    let why = match (&own.unfit, isolated) {
        (Some(why), _) => why.clone(),
        (None, true) => "its HTTPS port is out of the others' reach".to_owned(),
        (None, false) => return None,
    };
    let reachable = |id: &NodeId| {
        !own.out_of_reach.contains(id)
            && others
                .iter()
                .all(|(by, report)| by == id || !report.out_of_reach.contains(id))
    };
    // A leader that nobody reaches may well reach nobody: its own word does not count then.
    let fit = |(id, report): &(&NodeId, &Report)| report.unfit.is_none() && (isolated || reachable(id));
    let next = others.iter().find(fit)?;
    Some((*next.0, why))
}

/// Answers the other nodes.
pub(crate) fn listen(node: &Arc<Running>) {
    let asked = Arc::downgrade(node);
    node.consensus.raft().on_call(CALL, move |_, _| {
        let report = asked.upgrade().map(|node| report(&node)).unwrap_or_default();
        let bytes = serde_json::to_vec(&report).map(Bytes::from);
        Box::pin(async move { bytes.map_err(|e| e.to_string()) })
    });
}

fn report(node: &Running) -> Report {
    let leads = node.consensus.raft().status().role == Role::Leader;
    Report {
        unfit: health::fit_to_lead(&node.operations.signs(), leads).err(),
        out_of_reach: node.fitness.out_of_reach(),
    }
}

/// Looks at every other node's HTTPS port, as people would.
pub(crate) async fn knock(node: &Running) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let own = node.consensus.raft().status().id;
    let records = state::records::<NodeSpec>(node.consensus.store())?;
    let tls = match node.fitness.tls.get() {
        Some(tls) => tls.clone(),
        None => {
            let made = TlsConnector::from(Arc::new(anybody()?));
            node.fitness.tls.get_or_init(|| made).clone()
        }
    };
    let others = records.iter().filter(|r| r.spec.id != own);
    let knocks = others.map(|record| {
        let (id, tls) = (record.spec.id, tls.clone());
        async move {
            let answered = tokio::time::timeout(KNOCK, answers(&record.spec.web_addr, tls)).await;
            (id, answered.is_ok_and(|answered| answered.is_ok()))
        }
    });
    for (id, answered) in futures::future::join_all(knocks).await {
        node.fitness.knocked(id, answered);
    }
    node.fitness
        .silent
        .lock()
        .retain(|id, _| records.iter().any(|r| r.spec.id == *id));
    Ok(())
}

async fn answers(addr: &str, tls: TlsConnector) -> std::io::Result<()> {
    let addr = HostAddr::parse(addr).map_err(std::io::Error::other)?;
    let tcp = TcpStream::connect((addr.host(), addr.port())).await?;
    let name = ServerName::try_from(addr.host().to_owned()).map_err(std::io::Error::other)?;
    tls.connect(name, tcp).await.map(drop)
}

/// Nothing is told and nothing is believed, only whether anybody answers: any certificate will do, an operator's own
/// included.
fn anybody() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(server_verifier(provider, |_, _, _| Ok(())))
        .with_no_client_auth();
    Ok(config)
}

/// A leader that is not fit gives leadership up.
pub(crate) async fn lead_or_leave(node: &Running) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let raft = node.consensus.raft();
    let status = raft.status();
    let paused = node.fitness.gave_up.lock().is_some_and(|at| at.elapsed() < PAUSE);
    if status.role != Role::Leader || status.draining || paused {
        return Ok(());
    }
    let asked = status
        .voters()
        .into_iter()
        .filter(|id| *id != status.id)
        .map(|id| async move {
            let answer = raft.peers().call(id, CALL, Bytes::new(), ASK).await.ok()?;
            Some((id, serde_json::from_slice::<Report>(&answer).ok()?))
        });
    let others: BTreeMap<_, _> = futures::future::join_all(asked)
        .await
        .into_iter()
        .flatten()
        .collect();
    let Some((next, why)) = successor(status.id, &report(node), &others, status.voters().len()) else {
        return Ok(());
    };
    tracing::warn!(
        why,
        next,
        "this node does not lead any longer: leadership is handed over"
    );
    *node.fitness.gave_up.lock() = Some(Instant::now());
    raft.transfer_leader(Some(next), Instant::now() + Duration::from_secs(5))
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(unfit: &str, out_of_reach: &[NodeId]) -> Report {
        Report {
            unfit: (!unfit.is_empty()).then(|| unfit.to_owned()),
            out_of_reach: out_of_reach.to_vec(),
        }
    }

    #[test]
    fn a_sick_leader_is_followed_by_whoever_is_well() {
        let well = says("", &[]);
        let full = says("full", &[]);
        let blind = says("", &[1]);
        for (what, own, second, third, next) in [
            ("all is well", &well, Some(&well), Some(&well), None),
            ("a sick leader", &full, Some(&well), Some(&well), Some(2)),
            ("the next is sick too", &full, Some(&full), Some(&well), Some(3)),
            ("all are sick", &full, Some(&full), Some(&full), None),
            ("only a sick one answers", &full, Some(&full), None, None),
            ("a sick follower", &well, Some(&full), Some(&well), None),
            (
                "nobody reaches the leader",
                &well,
                Some(&blind),
                Some(&blind),
                Some(2),
            ),
            ("one of two reaches it", &well, Some(&blind), Some(&well), None),
            ("the other is dead", &well, Some(&blind), None, Some(2)),
            (
                "it reaches nobody either",
                &says("", &[2, 3]),
                Some(&blind),
                Some(&blind),
                Some(2),
            ),
            (
                "it reaches the third alone",
                &says("full", &[2]),
                Some(&well),
                Some(&well),
                Some(3),
            ),
            (
                "the second is out of the third's reach",
                &full,
                Some(&well),
                Some(&says("", &[2])),
                Some(3),
            ),
        ] {
            let others = [(2, second), (3, third)];
            let others = others
                .into_iter()
                .filter_map(|(id, r)| Some((id, r?.clone())))
                .collect();
            let found = successor(1, own, &others, 3).map(|(id, _)| id);
            assert_eq!(found, next, "{what}");
        }
    }
}
