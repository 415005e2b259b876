//! How the cluster is doing, as one node sees it: what its own Raft room knows, what the leader sees of each member,
//! and what each member says of itself. Answers within a second, with or without a quorum.

use crate::advice::advice;
use crate::appliance::Leading;
use crate::clock::now;
use crate::health::{self, FRESH_MS, Signs};
use crate::membership;
use crate::operations::NodeOperations;
use crate::process;
use bytes::Bytes;
use palisade_ca::public_authority;
use palisade_core::api::{CertificateEnd, ClusterStatus, NodeStatus, NodeVitals};
use palisade_core::ports::Consensus as _;
use palisade_core::record::{AuthorityType, NodeSpec};
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_raft::{RaftStatus, Role};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What nodes ask the leader.
const SEEN: &str = "cluster.seen";
/// What nodes ask each other.
const VITALS: &str = "node.vitals";
/// How long another node may take to answer: both questions are asked at the same time.
const ASK_FOR: Duration = Duration::from_millis(600);
const DAY_SECS: u64 = 24 * 3600;

/// What the leader sees of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Seen {
    lag: Option<u64>,
    last_contact_ms: Option<u64>,
    /// For how long it has been silent: since it was heard from, or since this leader leads.
    #[serde(default)]
    silent_ms: Option<u64>,
}

fn seen(status: &RaftStatus, leading: &Leading) -> BTreeMap<u64, Seen> {
    let led_ms = leading.for_ms(status);
    let one = |(id, peer): (&u64, &palisade_raft::PeerStatus)| {
        let own = *id == status.id;
        (
            *id,
            Seen {
                lag: peer.lag,
                last_contact_ms: if own { Some(0) } else { peer.last_contact_ms },
                silent_ms: Some(if own {
                    0
                } else {
                    peer.last_contact_ms.unwrap_or(led_ms)
                }),
            },
        )
    };
    status.nodes.iter().map(one).collect()
}

fn certificate(what: impl Into<String>, ends: Timestamp) -> CertificateEnd {
    CertificateEnd {
        what: what.into(),
        ends,
        days_left: ends.secs().saturating_sub(now().secs()) / DAY_SECS,
    }
}

/// Without a quorum none may be lost either.
fn floor(may_lose: i64) -> u64 {
    u64::try_from(may_lose).unwrap_or(0)
}

impl NodeOperations {
    /// Answers the other nodes' questions about this one, and about what it sees as leader.
    pub fn listen(self: &std::sync::Arc<Self>) {
        let raft = self.consensus.raft().clone();
        let (asked, leading) = (std::sync::Arc::downgrade(&raft), self.leading.clone());
        raft.on_call(SEEN, move |_, _| {
            let answer = asked.upgrade().map(|raft| seen(&raft.status(), &leading));
            let bytes = serde_json::to_vec(&answer.unwrap_or_default())
                .map(Bytes::from)
                .map_err(|e| e.to_string());
            Box::pin(async move { bytes })
        });
        let this = std::sync::Arc::downgrade(self);
        raft.on_call(VITALS, move |_, _| {
            let answer = this.upgrade().map(|node| node.vitals()).unwrap_or_default();
            let bytes = serde_json::to_vec(&answer)
                .map(Bytes::from)
                .map_err(|e| e.to_string());
            Box::pin(async move { bytes })
        });
    }

    async fn leaders_view(&self, status: &RaftStatus) -> BTreeMap<u64, Seen> {
        match status.leader {
            Some(leader) if leader == status.id => seen(status, &self.leading),
            Some(leader) => {
                let peers = self.consensus.raft().peers();
                let asked = peers.call(leader, SEEN, Bytes::new(), ASK_FOR).await;
                asked
                    .ok()
                    .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                    .unwrap_or_default()
            }
            None => BTreeMap::new(),
        }
    }

    async fn everybodys_vitals(&self, own: u64) -> BTreeMap<u64, NodeVitals> {
        let peers = self.consensus.raft().peers();
        let asked = peers.others().into_iter().map(|id| async move {
            let answer = peers.call(id, VITALS, Bytes::new(), ASK_FOR).await.ok()?;
            Some((id, serde_json::from_slice(&answer).ok()?))
        });
        let mut all: BTreeMap<u64, NodeVitals> = futures::future::join_all(asked)
            .await
            .into_iter()
            .flatten()
            .collect();
        all.insert(own, self.vitals());
        all
    }

    /// What this node says of itself.
    pub(crate) fn vitals(&self) -> NodeVitals {
        let process = process::look();
        NodeVitals {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_secs: now().since_ms(self.started) / 1000,
            applied_index: self.consensus.raft().status().applied,
            disk_free_bytes: self.segments.free_bytes(),
            disk_size_bytes: nix::sys::statvfs::statvfs(self.home.dir())
                .map_or(0, |disk| disk.blocks() * disk.fragment_size()),
            fsync_p99_us: u64::try_from(self.log.sync_stats().p99.as_micros()).unwrap_or(u64::MAX),
            clock_skew_ms: self.skew.worst_ms(),
            sessions: self.sessions.here().len() as u64,
            agents: self.sessions.agents_here() as u64,
            memory_bytes: process.memory_bytes,
            cpu_ms: u64::try_from(process.cpu.as_millis()).unwrap_or(u64::MAX),
            pages_missing: self.pages.missing(),
            chunks_missing: self.recordings.missing(),
            certificates: self.own_certificates(),
            trouble: health::ready_to_write(&self.signs()).err().unwrap_or_default(),
        }
    }

    /// When this node's own certificates end.
    pub(crate) fn own_certificates(&self) -> Vec<CertificateEnd> {
        let peer = self.home.peer_tls().ok().and_then(|tls| {
            let ends = palisade_ca::not_after(tls.cert_chain.first()?).ok()?;
            Some(certificate("peer", Timestamp::from_secs(ends)))
        });
        peer.into_iter()
            .chain([certificate("https", self.public_tls.ends())])
            .chain(
                self.public_tls
                    .operators_end()
                    .map(|ends| certificate("web_tls", ends)),
            )
            .collect()
    }

    /// When the authorities end that have a certificate; SSH authorities are bare keys.
    pub(crate) fn authority_certificates(&self) -> Vec<CertificateEnd> {
        let ends = |authority| {
            let spec = public_authority(self.consensus.store(), authority).ok()?;
            let der = CertificateDer::from_pem_slice(spec.certificate?.as_bytes()).ok()?;
            let ends = palisade_ca::not_after(&der).ok()?;
            let what = format!("{} authority", authority.as_str());
            Some(certificate(what, Timestamp::from_secs(ends)))
        };
        AuthorityType::ALL.into_iter().filter_map(ends).collect()
    }

    /// How many voters may be lost from those that answer; known at the leader alone.
    pub(crate) fn failure_tolerance(&self) -> Option<u64> {
        let status = self.consensus.raft().status();
        if status.role != Role::Leader {
            return None;
        }
        let answers = |id: &u64| {
            let contact = status.nodes.get(id).and_then(|peer| peer.last_contact_ms);
            *id == status.id || contact.is_some_and(|ms| ms < FRESH_MS)
        };
        let members = status.nodes.iter().map(|(id, peer)| (peer.voter, answers(id)));
        Some(floor(membership::tolerance(members)))
    }

    /// What is observed of this node now.
    pub(crate) fn signs(&self) -> Signs {
        let status = self.consensus.raft().status();
        let stats = self.log.sync_stats();
        let seen = self.pulse.seen();
        Signs {
            decides: self.consensus.may_decide().map_err(|e| e.to_string()),
            lag: status.committed.saturating_sub(status.applied),
            stopping: status.role == Role::Stopped || status.draining,
            leader: status.leader.is_some(),
            quorum_age_ms: self.consensus.raft().lease().ok().map(|lease| lease.age_ms),
            disk_error: stats.last_error,
            // The log says so only once it has been asked to write.
            disk_full: stats.no_space || self.segments.free_bytes() < palisade_storage::LOG_RESERVE,
            sync_waits: stats.in_progress.unwrap_or_default(),
            segments: seen.segments,
            commit_waits: seen.commit_waits,
            head_waits: seen.head_waits,
            sealing_waits: seen.sealing_waits,
        }
    }

    /// Members, leader, lag, and what to do next.
    pub(crate) async fn cluster_status(&self) -> ClusterStatus {
        let status = self.consensus.raft().status();
        let kv = self.consensus.store();
        let cluster = state::cluster(kv).ok().flatten();
        let records = state::records::<NodeSpec>(kv).unwrap_or_default();
        let (leaders, mut vitals) =
            futures::future::join(self.leaders_view(&status), self.everybodys_vitals(status.id)).await;
        let quorum = self
            .consensus
            .raft()
            .lease()
            .is_ok_and(|lease| lease.age_ms < FRESH_MS);
        let mut nodes: Vec<NodeStatus> = records
            .iter()
            .map(|record| {
                let (id, spec) = (record.spec.id, &record.spec);
                let member = status.nodes.get(&id);
                let seen = leaders.get(&id);
                let vitals = vitals.remove(&id);
                let heard = seen.is_some_and(|s| s.last_contact_ms.is_some_and(|ms| ms < FRESH_MS));
                // Where there is no leader to ask, whoever answered us is there.
                let reachable = id == status.id || heard || (!quorum && vitals.is_some());
                let voter = member.is_some_and(|m| m.voter);
                let role = match (status.leader == Some(id), voter) {
                    (true, _) => "leader",
                    (false, true) => "follower",
                    (false, false) if member.is_some() => "learner",
                    (false, false) => "joining",
                };
                NodeStatus {
                    id,
                    name: record.metadata.name.to_string(),
                    role: role.to_owned(),
                    voter,
                    peer_addr: spec.peer_addr.clone(),
                    web_addr: spec.web_addr.clone(),
                    ssh_addr: spec.ssh_addr.clone(),
                    lag: seen.and_then(|s| s.lag),
                    last_contact_ms: seen.and_then(|s| s.last_contact_ms),
                    reachable,
                    silent_ms: seen.and_then(|s| s.silent_ms),
                    removed_in_secs: None,
                    vitals,
                }
            })
            .collect();
        let after = state::maintenance_config(kv).unwrap_or_default().dead_node_after;
        if let Some(after) = after.filter(|_| quorum) {
            membership::count_down(&mut nodes, after.ms());
        }
        let may_lose = membership::tolerance(nodes.iter().map(|n| (n.voter, n.reachable)));
        let stats = self.log.sync_stats();
        let mut report = ClusterStatus {
            cluster: cluster.as_ref().map(|c| c.name.to_string()).unwrap_or_default(),
            cluster_id: cluster.map(|c| c.id.to_string()).unwrap_or_default(),
            ca_pin: public_authority(kv, AuthorityType::Tls)
                .map(|spec| spec.pin)
                .unwrap_or_default(),
            node: status.id,
            leader: status.leader,
            term: status.term,
            last_index: status.last_log,
            applied_index: status.applied,
            quorum,
            failure_tolerance: if quorum { floor(may_lose) } else { 0 },
            disk_free_bytes: self.segments.free_bytes(),
            fsync_p99_us: u64::try_from(stats.p99.as_micros()).unwrap_or(u64::MAX),
            clock_skew_ms: self.skew.worst_ms(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            certificates: self.authority_certificates(),
            nodes,
            advice: Vec::new(),
        };
        report.advice = advice(&report);
        report
    }
}
