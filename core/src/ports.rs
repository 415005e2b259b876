//! What the rooms above need from a node, as small traits: `node` plugs in the real ones, tests plug in memory ones.
//!
//! `proxy` and `web` see neither Raft nor the disk: they see [`Consensus`], [`Recordings`], [`AuditPages`],
//! [`Sessions`] and [`Operations`].

use crate::api::{ClusterStatus, JoinRequest, LiveSession, SupportBundle};
use crate::command::{Actor, Command, Reply};
use crate::hosts::Hosts;
use crate::kv::{Kv, KvFault};
use crate::name::{Name, NodeId, RequestId, SessionId};
use crate::page::{PageEvents, PageManifest};
use crate::time::Timestamp;
use crate::tunnel::AgentPresence;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// An answer that comes later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The node cannot say, for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Nothing happened and nothing will: there is no leader, no quorum, or the node is stopping.
    #[error("the cluster has no quorum right now: {0}")]
    NoQuorum(String),
    /// The change may have happened or may still happen. The same request id finds out.
    #[error("the outcome is not known yet: {0}")]
    Unknown(String),
    /// The disk is full, or the request is too large or too many at once: nothing happened.
    #[error("the node cannot take this now: {0}")]
    Overloaded(String),
    /// The local state cannot be read.
    #[error("the node's store is damaged: {0}")]
    Fault(String),
}

/// The replicated state, as one node sees it and changes it.
pub trait Consensus: Send + Sync + 'static {
    /// This node.
    fn node_id(&self) -> NodeId;
    /// The wall clock. Everything that decides takes the time from here.
    fn now(&self) -> Timestamp;
    /// This node's own applied state.
    fn kv(&self) -> Arc<dyn Kv>;
    /// All hosts, as new as [`Consensus::kv`] is. A node keeps them ready; this reads them all.
    fn hosts(&self) -> Result<Arc<Hosts>, KvFault> {
        Hosts::load(&*self.kv()).map(Arc::new)
    }
    /// A fresh request id, for changes that no client chose one for.
    fn new_id(&self) -> RequestId;
    /// Proposes a change on whichever node leads, across a failover if need be. Answers once it is committed; a
    /// read that must see it asks for the [`Consensus::barrier`] first.
    fn propose(
        &self,
        actor: Actor,
        id: RequestId,
        command: Command,
    ) -> Pending<'_, Result<Reply, Unavailable>>;
    /// Waits until this node's state is at least as new as everything acknowledged before the call.
    fn barrier(&self) -> Pending<'_, Result<(), Unavailable>>;
    /// Whether this node may decide from its own state: it heard from a leader with a quorum a short, stated time ago.
    fn may_decide(&self) -> Result<(), Unavailable>;
    /// A number that changes whenever users, roles, locks, hosts or policies change.
    fn policy_version(&self) -> u64;
    /// Answers when [`Consensus::policy_version`] is no longer `seen`.
    fn policy_changed(&self, seen: u64) -> Pending<'static, u64>;
}

/// The form in which a recording is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayFormat {
    /// One JSON object a line: what the player reads.
    Events,
    /// asciicast v2.
    Asciicast,
}

/// Bytes that come piece by piece.
pub trait ByteSource: Send {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> Pending<'_, Option<Result<Vec<u8>, Unavailable>>>;
}

/// Where recordings are kept: encrypted chunks, on a majority of nodes.
pub trait Recordings: Send + Sync + 'static {
    /// Seals a session's data key for its index row.
    fn seal_key(&self, session: &SessionId, key: &[u8]) -> Result<Vec<u8>, Unavailable>;
    /// Stores one encrypted chunk; answers when a majority of nodes has it on disk.
    fn ship<'a>(
        &'a self,
        session: &'a SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Pending<'a, Result<(), Unavailable>>;
    /// Opens a recording to be given out, also while the session lives. Chunks that are not on this node are
    /// fetched from others.
    fn play<'a>(
        &'a self,
        session: &'a SessionId,
        format: PlayFormat,
    ) -> Pending<'a, Result<Box<dyn ByteSource>, Unavailable>>;
}

/// A page that no node could hand out whole, and what each said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PageLost(pub String);

/// Where sealed audit pages are kept: encrypted files, on a majority of nodes.
pub trait AuditPages: Send + Sync + 'static {
    /// The events of a page, proven to be those that its manifest vouches for. A page that this node lacks, or has
    /// damaged, is fetched from others: this blocks on the disk and the network, on a thread that may wait.
    fn open(&self, page: &PageManifest) -> Result<Arc<PageEvents>, PageLost>;
}

/// Sessions that run now, on every node.
pub trait Sessions: Send + Sync + 'static {
    /// All of them.
    fn list(&self) -> Pending<'_, Vec<LiveSession>>;
    /// Ends one, wherever it runs; false if it does not run.
    fn end<'a>(&'a self, session: &'a SessionId, why: &'a str) -> Pending<'a, Result<bool, Unavailable>>;
}

/// Agents that are online, on any node, as far as this one knows.
pub trait Agents: Send + Sync + 'static {
    /// What is known of a host's agent; `None` while it is offline.
    fn agent(&self, host: &Name) -> Option<AgentPresence>;
}

/// A failed operation on the cluster, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OperationFailed(pub String);

/// What operators do with the cluster itself.
pub trait Operations: Send + Sync + 'static {
    /// Members, leader, lag: answers with or without a quorum.
    fn status(&self) -> Pending<'_, ClusterStatus>;
    /// Lets a node in that holds a join token: allocates its id, signs its certificates, wraps the cluster key for
    /// it, adds it as a learner and, once it has caught up, as a voter.
    fn admit<'a>(
        &'a self,
        request: JoinRequest,
        addr: String,
    ) -> Pending<'a, Result<crate::api::JoinReply, OperationFailed>>;
    /// Takes a node out of the cluster, unless the quorum would go with it; its own leadership is handed over first.
    fn remove<'a>(
        &'a self,
        actor: crate::command::Actor,
        node: &'a Name,
    ) -> Pending<'a, Result<(), OperationFailed>>;
    /// Takes a node out as soon as another votes in its place; at no time without a quorum.
    fn replace<'a>(
        &'a self,
        actor: crate::command::Actor,
        request: &'a crate::api::Replacement,
    ) -> Pending<'a, Result<(), OperationFailed>>;
    /// Hands leadership to a node, or to any.
    fn transfer<'a>(&'a self, to: Option<&'a Name>) -> Pending<'a, Result<(), OperationFailed>>;
    /// A file of the offline bundle that this node holds; `None` if it has none of that name. The name is
    /// [`crate::api::bundle_name`].
    fn bundle_file<'a>(
        &'a self,
        name: &'a str,
    ) -> Pending<'a, Result<Option<Box<dyn ByteSource>>, OperationFailed>>;
    /// Prometheus text.
    fn metrics(&self) -> String;
    /// What somebody who helps wants to see of this node, without secrets.
    fn support(&self) -> Pending<'_, SupportBundle>;
    /// Whether this node is fit to serve; with `write`, whether a change with its audit event can commit through it
    /// now. `Err` says why not.
    fn ready(&self, write: bool) -> Result<(), String>;
    /// A request was answered: for the metrics.
    fn answered(&self, method: &str, route: &str, status: u16, took: std::time::Duration) {
        let _ = (method, route, status, took);
    }
}

/// What a node that is in no cluster yet can be told at its control socket.
pub trait Bootstrap: Send + Sync + 'static {
    /// Makes a new cluster of this node. Harmless when it is in one already: answers what there is.
    fn init(
        &self,
        request: crate::api::InitRequest,
    ) -> Pending<'_, Result<crate::api::InitReply, OperationFailed>>;
    /// Joins the cluster that the token names, through the member at the address. Harmless when it is a member already.
    fn join(&self, order: crate::api::JoinOrder) -> Pending<'_, Result<ClusterStatus, OperationFailed>>;
}
