//! What is held against every message before Raft sees it.
//!
//! openraft believes what a message says about its sender. Here it is the certificate that counts: the sender named
//! in the body, the node that it speaks for and the leader of the vote must all be the holder of the certificate.

use openraft::async_runtime::watch::WatchReceiver as _;
use tonic::{Request, Status};

use crate::shared::Shared;
use crate::types::Vote;
use palisade_core::peer::PeerIdentity;

/// No honest node is this many terms ahead: a term near the end of the number range would freeze the cluster.
const MAX_TERM_STEP: u64 = 1 << 32;

fn refuse(why: &str, peer: &PeerIdentity) -> Status {
    // One that was removed asks again and again until it has understood.
    if why == REMOVED {
        tracing::debug!(peer = peer.node_id, why, "a node-to-node message was refused");
    } else {
        tracing::warn!(peer = peer.node_id, why, "a node-to-node message was refused");
    }
    Status::permission_denied(why)
}

/// Whose connection a request came over.
pub(crate) fn identity<T>(request: &Request<T>) -> Result<PeerIdentity, Status> {
    request
        .extensions()
        .get::<PeerIdentity>()
        .cloned()
        .ok_or_else(|| Status::unauthenticated("no peer certificate of this cluster"))
}

/// A new connection: the certificate alone.
pub(crate) fn admit(shared: &Shared, peer: &PeerIdentity) -> Result<(), &'static str> {
    if peer.cluster_id != shared.identity.cluster_id {
        return Err("the certificate is of another cluster");
    }
    if peer.node_id == shared.id() {
        return Err("the certificate carries this node's own id");
    }
    match standing(shared, peer) {
        // It has to hear it, so that it stops by itself: every message of it is answered with that, and none is read.
        Err(REMOVED) => Ok(()),
        other => other,
    }
}

/// What a node is told that was taken out of the cluster.
pub(crate) const REMOVED: &str = "the node was removed from this cluster";

/// Whether the holder still is a node, and still the same one.
pub(crate) fn standing(shared: &Shared, peer: &PeerIdentity) -> Result<(), &'static str> {
    if (shared.is_tombstoned)(peer.node_id) {
        return Err(REMOVED);
    }
    match shared.member(peer.node_id) {
        Some(known) if !known.incarnation.is_empty() && known.incarnation.parse() != Ok(peer.incarnation) => {
            Err("the certificate is of another incarnation of the node")
        }
        // A node that was added after our last entry is not known yet; its certificate has to do.
        _ => Ok(()),
    }
}

/// One message.
pub(crate) fn check(shared: &Shared, peer: &PeerIdentity, from: u64, to: u64) -> Result<(), Status> {
    if peer.cluster_id != shared.identity.cluster_id {
        return Err(refuse("the certificate is of another cluster", peer));
    }
    if from != peer.node_id {
        return Err(refuse(
            "the sender named in the message is not the holder of the certificate",
            peer,
        ));
    }
    if to != shared.id() {
        return Err(refuse("the message is for another node", peer));
    }
    standing(shared, peer).map_err(|why| refuse(why, peer))
}

/// The vote of a message that only a leader may send.
pub(crate) fn check_leader(peer: &PeerIdentity, vote: &Vote) -> Result<(), Status> {
    if !vote.committed || vote.leader_id.node_id != peer.node_id {
        return Err(refuse("the vote names another leader than the sender", peer));
    }
    Ok(())
}

/// The vote of a candidate.
pub(crate) fn check_candidate(shared: &Shared, peer: &PeerIdentity, vote: &Vote) -> Result<(), Status> {
    if vote.committed || vote.leader_id.node_id != peer.node_id {
        return Err(refuse("the vote names another candidate than the sender", peer));
    }
    check_term(shared, peer, vote)
}

/// A term may only grow in steps that an honest cluster can make.
pub(crate) fn check_term(shared: &Shared, peer: &PeerIdentity, vote: &Vote) -> Result<(), Status> {
    let own = shared.raft().map_or(0u64, |raft| {
        raft.server_metrics().borrow_watched().vote.leader_id.term
    });
    if vote.leader_id.term > own.saturating_add(MAX_TERM_STEP) {
        return Err(refuse("the term is absurdly far ahead", peer));
    }
    Ok(())
}
