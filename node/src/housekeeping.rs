//! What a node does by itself, again and again: keeps membership and records in agreement, signs the audit head, seals
//! audit pages, settles sessions that were cut off, fetches recordings and pages it lacks, renews certificates,
//! compares clocks.
//!
//! Each task looks at the state, does one step and looks again: it can be killed anywhere.

use crate::appliance::Running;
use crate::clock::{self, now};
use crate::fitness;
use crate::home::PeerFiles;
use crate::membership;
use crate::pages::Repaired;
use palisade_ca::{generate_tls_key, sign_head};
use palisade_core::command::Command;
use palisade_core::event::{Event, EventKind};
use palisade_core::name::{NodeId, SessionId};
use palisade_core::ports::{Sessions as _, Unavailable};
use palisade_core::record::{AnyRecord, AuthorityType, Completeness, Kind, NodeSpec, Record, RecordingSpec};
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_raft::Role;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often the leader compares records and membership.
const MEMBERS_EVERY: Duration = Duration::from_millis(300);
/// How long a new node may take to catch up before the next try.
const CATCH_UP: Duration = Duration::from_secs(60);
/// How often a head of the audit tree is signed while events come in.
const HEAD_EVERY: Duration = Duration::from_secs(10);
/// How often sessions are looked at.
const SESSIONS_EVERY: Duration = Duration::from_secs(3);
/// A node that was not heard from for this long does not carry its sessions any more.
const SESSIONS_GONE_MS: u64 = 10_000;
/// A session at an agent that no node has heard of for this long is closed.
const AGENT_GONE: Duration = Duration::from_secs(90);
/// A session this young may not be in its node's list yet.
const SESSION_YOUNG_MS: u64 = 15_000;
/// How often it is looked whether an audit page is due.
const PAGES_EVERY: Duration = Duration::from_secs(1);
/// How often missing recordings and audit pages are looked for.
const REPAIR_EVERY: Duration = Duration::from_secs(10);
/// How often certificates are looked at.
const CERTS_EVERY: Duration = Duration::from_secs(600);
/// How often a leader asks whether it should lead.
const FITNESS_EVERY: Duration = Duration::from_secs(1);
/// How often the other nodes' HTTPS ports are looked at.
const KNOCK_EVERY: Duration = Duration::from_secs(3);
/// How often nodes that have been silent for long are looked for.
const DEAD_EVERY: Duration = Duration::from_secs(5);
/// How often clocks are compared.
const CLOCKS_EVERY: Duration = Duration::from_secs(5);

/// A step failed; it is tried again.
type Step = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Starts every task; they end with `stop`.
pub(crate) fn start(node: &Arc<Running>, stop: &CancellationToken) {
    every(node, stop, "members", MEMBERS_EVERY, |node| async move {
        members(&node).await
    });
    every(node, stop, "audit head", HEAD_EVERY, |node| async move {
        audit_head(&node).await
    });
    every(node, stop, "fitness", FITNESS_EVERY, |node| async move {
        fitness::lead_or_leave(&node).await
    });
    every(node, stop, "knock", KNOCK_EVERY, |node| async move {
        fitness::knock(&node).await
    });
    every(node, stop, "dead nodes", DEAD_EVERY, |node| async move {
        dead_nodes(&node).await
    });
    every(node, stop, "sessions", SESSIONS_EVERY, |node| async move {
        sessions(&node).await
    });
    every(node, stop, "recordings", REPAIR_EVERY, |node| async move {
        repair(&node).await
    });
    every(node, stop, "audit pages", PAGES_EVERY, |node| async move {
        seal_pages(&node).await
    });
    every(node, stop, "audit page repair", REPAIR_EVERY, |node| async move {
        repair_pages(&node).await
    });
    every(node, stop, "certificates", CERTS_EVERY, |node| async move {
        certificates(&node).await
    });
    every(node, stop, "clocks", CLOCKS_EVERY, |node| async move {
        clock::compare(node.consensus.raft(), &node.skew).await;
        Ok(())
    });
}

fn every<F, R>(node: &Arc<Running>, stop: &CancellationToken, what: &'static str, period: Duration, step: F)
where
    F: Fn(Arc<Running>) -> R + Send + 'static,
    R: Future<Output = Step> + Send,
{
    let (node, stop) = (node.clone(), stop.clone());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = step(node.clone()).await {
                tracing::debug!(what, error = %error, "a housekeeping step failed; it is tried again");
            }
        }
    });
}

fn leads(node: &Running) -> bool {
    node.consensus.raft().status().role == Role::Leader
}

/// Records say who should be in the group; the leader makes it so.
async fn members(node: &Running) -> Step {
    let raft = node.consensus.raft();
    let status = raft.status();
    if status.role != Role::Leader || status.draining || state::cluster(node.consensus.store())?.is_none() {
        return Ok(());
    }
    let records = state::records::<NodeSpec>(node.consensus.store())?;
    let wanted: BTreeSet<NodeId> = records.iter().map(|r| r.spec.id).collect();
    for record in &records {
        let spec = &record.spec;
        match status.nodes.get(&spec.id) {
            None => {
                tracing::info!(node.id = spec.id, node.name = %record.metadata.name, "a node joins as a learner");
                raft.add_learner(
                    spec.id,
                    &spec.peer_addr,
                    &spec.incarnation,
                    Instant::now() + CATCH_UP,
                )
                .await?;
            }
            Some(member) if !member.voter => {
                raft.promote(spec.id, Instant::now() + CATCH_UP).await?;
                tracing::info!(node.id = spec.id, node.name = %record.metadata.name, "a node votes from now on");
            }
            Some(_) => {}
        }
    }
    for id in status.nodes.keys().filter(|id| !wanted.contains(id)) {
        raft.remove(*id, Instant::now() + Duration::from_secs(10)).await?;
        tracing::info!(node.id = id, "a node was taken out of the group");
    }
    Ok(())
}

/// Takes out a node that has been silent for as long as `cluster_maintenance_config` says.
async fn dead_nodes(node: &Running) -> Step {
    if !leads(node) {
        return Ok(());
    }
    let Some(after) = state::maintenance_config(node.consensus.store())?.dead_node_after else {
        return Ok(());
    };
    let members = node.operations.members().await;
    let Some((gone, silent_ms)) = membership::dead(&members, after.ms()) else {
        return Ok(());
    };
    let command = Command::RemoveNode { id: gone.id };
    node.consensus.propose_own(command).await?.done()?;
    tracing::warn!(node.id = gone.id, node.name = %gone.name, silent_s = silent_ms / 1000, "a node that was silent for long was taken out");
    Ok(())
}

async fn audit_head(node: &Running) -> Step {
    if !leads(node) {
        return Ok(());
    }
    let kv = node.consensus.store();
    let frontier = state::audit_frontier(kv)?;
    // The event of a signed head is itself the first one after it.
    let covered = state::last_head(kv)?.map_or(0, |head| head.size + 1);
    if frontier.size() <= covered {
        return Ok(());
    }
    let signer = node.authorities.signer(kv, AuthorityType::Audit)?;
    let at = now();
    let head = sign_head(&signer, frontier.size(), frontier.root(), at.ms())?;
    let command = Command::SignHead {
        size: head.tree_size,
        root: hex::encode(head.root),
        time: at,
        signature: hex::encode(head.signature),
    };
    node.consensus.propose_own(command).await?.done()?;
    Ok(())
}

/// Sessions whose node is gone, or has forgotten them, are closed at the last chunk that a majority has.
async fn sessions(node: &Running) -> Step {
    let raft = node.consensus.raft();
    let status = raft.status();
    let own = status.id;
    let led_ms = node.leading.for_ms(&status);
    let here: BTreeSet<String> = node.sessions.here().into_iter().map(|s| s.session).collect();
    let mut at_agents = Vec::new();
    for (_, session) in state::open_sessions(node.consensus.store(), None)? {
        let row = state::any_record(node.consensus.store(), Kind::Recording, session.as_str())?;
        let Some(AnyRecord::Recording(row)) = row else {
            continue;
        };
        if row.spec.at_agent {
            at_agents.push((session, row));
            continue;
        }
        let why = if row.spec.node == own {
            let young =
                row.spec.started > node.started && now().since_ms(row.spec.started) < SESSION_YOUNG_MS;
            if young || here.contains(session.as_str()) {
                continue;
            }
            format!("node {} was restarted", name_of(node, own))
        } else if status.role == Role::Leader {
            let seen = status.nodes.get(&row.spec.node).map(|peer| peer.last_contact_ms);
            // A leader that never heard from the node knows of its silence since it leads.
            let silent_ms = seen.map(|contact| contact.unwrap_or(led_ms));
            if silent_ms.is_some_and(|ms| ms < SESSIONS_GONE_MS) {
                continue;
            }
            format!("node {} was lost", name_of(node, row.spec.node))
        } else {
            continue;
        };
        close(node, &session, &row, &why).await?;
    }
    if status.role == Role::Leader {
        agents_sessions(node, at_agents).await?;
    } else {
        node.unheard.lock().clear();
    }
    Ok(())
}

/// A session at an agent outlives nodes. It is closed when no node has heard of it for a while: its agent was killed or
/// cut off for good. An agent that comes back with the rest still ends it properly.
async fn agents_sessions(node: &Running, open: Vec<(SessionId, Record<RecordingSpec>)>) -> Step {
    if open.is_empty() {
        node.unheard.lock().clear();
        return Ok(());
    }
    let live: BTreeSet<String> = node
        .sessions
        .list()
        .await
        .into_iter()
        .map(|s| s.session)
        .collect();
    let lost: Vec<_> = {
        let mut unheard = node.unheard.lock();
        unheard.retain(|session, _| open.iter().any(|(open, _)| open == session));
        let silent = |(session, _): &&(SessionId, Record<RecordingSpec>)| {
            if live.contains(session.as_str()) {
                unheard.remove(session);
                return false;
            }
            unheard
                .entry(session.clone())
                .or_insert_with(Instant::now)
                .elapsed()
                > AGENT_GONE
        };
        open.iter().filter(silent).cloned().collect()
    };
    for (session, row) in lost {
        close(
            node,
            &session,
            &row,
            &format!("the agent of {} was lost", row.spec.host),
        )
        .await?;
    }
    Ok(())
}

async fn close(node: &Running, session: &SessionId, row: &Record<RecordingSpec>, why: &str) -> Step {
    let (chunks, last_chunk) = node.recordings.gathered(session).await?;
    let text = format!("{why}: at most the last second may be missing");
    let event = Event::new(EventKind::SessionInterrupted)
        .user(row.spec.user.as_str())
        .login(row.spec.login.as_str())
        .host(row.spec.host.as_str())
        .session(session.as_str())
        .message(&text)
        .with("chunks", chunks);
    let command = Command::EndSession {
        session: session.clone(),
        completeness: Completeness::Interrupted(text),
        chunks,
        output_bytes: row.spec.output_bytes,
        last_chunk,
        events: vec![event],
    };
    node.consensus.propose_own(command).await?.done()?;
    tracing::info!(session.id = %session, chunks, why, "an interrupted session was closed");
    Ok(())
}

fn name_of(node: &Running, id: NodeId) -> String {
    let records = state::records::<NodeSpec>(node.consensus.store()).unwrap_or_default();
    records
        .iter()
        .find(|r| r.spec.id == id)
        .map_or_else(|| id.to_string(), |r| r.metadata.name.to_string())
}

async fn repair(node: &Running) -> Step {
    let fetched = node.recordings.repair().await?;
    if fetched > 0 {
        tracing::info!(chunks = fetched, "recordings were completed from other nodes");
    }
    Ok(())
}

async fn seal_pages(node: &Running) -> Step {
    if leads(node) {
        let sealed = node.pages.seal(node.config.audit_recent).await?;
        if sealed > 0 {
            tracing::info!(pages = sealed, "audit events were sealed");
        }
    }
    Ok(())
}

async fn repair_pages(node: &Running) -> Step {
    loop {
        let done = node.pages.repair().await?;
        if done != Repaired::default() {
            tracing::info!(
                fetched = done.fetched,
                missing = done.missing,
                removed = done.removed,
                "audit pages were compared with their manifests"
            );
        }
        // A node that has just joined lacks more than one step fetches.
        if done.missing == 0 || done.fetched == 0 {
            return Ok(());
        }
    }
}

async fn certificates(node: &Running) -> Step {
    let kv = node.consensus.store();
    node.public_tls.reload();
    if node
        .public_tls
        .renew_if_due(&node.config, kv, &node.authorities, now())?
    {
        tracing::info!("the HTTPS certificate was renewed");
    }
    let ends = peer_certificate_ends(node)?;
    let life = crate::operations::PEER_LIFE_SECS;
    if ends.secs().saturating_sub(now().secs()) > life / 3 {
        return Ok(());
    }
    let own = generate_tls_key()?;
    let signer = node.authorities.signer(kv, AuthorityType::Peer)?;
    let spki = palisade_ca::SubjectSpki::from_der(&own.spki_der)?;
    let id = &node.identity;
    let signed = crate::operations::sign_peer(&signer, id.node, id.incarnation, &spki, now())?;
    let files = PeerFiles {
        private_key: own.private_pem,
        certificate: signed.0,
        authorities: signed.1,
    };
    node.home.write_peer(&files)?;
    node.consensus.raft().renew_tls(node.home.peer_tls()?)?;
    tracing::info!("the peer certificate was renewed");
    Ok(())
}

fn peer_certificate_ends(node: &Running) -> Result<Timestamp, Box<dyn std::error::Error + Send + Sync>> {
    let tls = node.home.peer_tls()?;
    let own = tls.cert_chain.first().ok_or("there is no peer certificate")?;
    Ok(Timestamp::from_secs(palisade_ca::not_after(own)?))
}

/// A step's errors include those of ports.
impl From<Unavailable> for crate::appliance::ApplianceError {
    fn from(error: Unavailable) -> Self {
        crate::appliance::ApplianceError::Cluster(error.to_string())
    }
}
