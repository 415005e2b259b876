//! What the rooms above need from a node, as small traits: `node` plugs in the real ones, tests plug in memory ones.
//!
//! `proxy` and `web` see neither Raft nor the disk: they see [`Consensus`], [`Recordings`], [`AuditPages`],
//! [`Sessions`], [`Terminals`] and [`Operations`].

use crate::access::RulePermit;
use crate::api::{ClusterStatus, JoinRequest, LiveSession, SupportBundle};
use crate::command::{Actor, Command, Reply};
use crate::find::Query;
use crate::hosts::Hosts;
use crate::kv::{Kv, KvFault};
use crate::name::{Login, Name, NodeId, RequestId, SessionId};
use crate::page::{PageEvents, PageManifest};
use crate::pass::Joining;
use crate::time::Timestamp;
use crate::tunnel::AgentPresence;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

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
    /// asciicast v2, with what the cluster's rules mask: it leaves the cluster.
    Asciicast,
    /// As [`PlayFormat::Events`], with what the cluster's rules mask: what a link shows.
    Shared,
}

/// A search in one recording, or in the rest of one.
#[derive(Debug, Clone)]
pub struct SearchOrder {
    /// Which.
    pub session: SessionId,
    /// The text.
    pub query: Query,
    /// The chunk to begin with; 0, or what an answer before said.
    pub from_chunk: u32,
    /// After so many places the rest of the recording is left.
    pub most_hits: usize,
    /// After so many bytes of events it stops for now.
    pub most_bytes: u64,
    /// After so long it stops for now; one chunk is always read.
    pub within: Duration,
}

/// A place where a text was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundText {
    /// When its first character appeared, in milliseconds since the session began.
    pub at_ms: u64,
    /// What stands before it in its line, clipped.
    pub before: String,
    /// The text itself, as it was shown.
    pub found: String,
    /// What stands behind it in its line, clipped.
    pub rest: String,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchedPart {
    /// The places, in order.
    pub hits: Vec<FoundText>,
    /// Bytes of events that were looked at.
    pub bytes: u64,
    /// Where to go on, if it stopped for now.
    pub next_chunk: Option<u32>,
    /// Whether places were left out, because there were too many.
    pub more: bool,
    /// Why the recording ends earlier than its session did, if it does.
    pub gap: Option<String>,
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
    /// Looks for a text in what a recording shows. It discloses what is in it: the permit is that to read this recording.
    fn search<'a>(
        &'a self,
        permit: &'a RulePermit,
        order: SearchOrder,
    ) -> Pending<'a, Result<SearchedPart, Unavailable>>;
    /// A text with what the cluster's rules mask in copies that leave it.
    fn masked(&self, text: &str) -> Result<String, Unavailable>;
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

/// Somebody for whom a terminal or a file is opened at a host: what their SSH client would show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalUser {
    /// The user.
    pub user: Name,
    /// Where they are: what is decided and audited goes by this.
    pub addr: SocketAddr,
    /// Their SSH certificate for the key of [`Terminals::key`], one OpenSSH line.
    pub certificate: String,
}

/// Where a terminal is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalTarget {
    /// A new shell.
    Host {
        /// The host's name, or its address.
        host: String,
        /// Its port.
        port: u16,
        /// The account there.
        login: Login,
    },
    /// A session of their own that lost its connection.
    Again {
        /// Which.
        session: SessionId,
        /// The host that it runs on.
        host: Name,
        /// As which account.
        login: Login,
    },
    /// A live session that they join.
    Join(Joining),
}

/// A terminal that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalWanted {
    /// Where.
    pub target: TerminalTarget,
    /// Its width, in characters.
    pub columns: u32,
    /// Its height.
    pub rows: u32,
}

/// Why there is no terminal, or no file. The texts are for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TerminalFault {
    /// They may not.
    #[error("{0}")]
    Refused(String),
    /// There is no such file.
    #[error("{0}")]
    NotFound(String),
    /// The host cannot do it: it has no space left, or it is a folder.
    #[error("{0}")]
    Failed(String),
    /// Not now: the host or the cluster cannot be reached.
    #[error("{0}")]
    Unavailable(String),
}

/// What comes from a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalEvent {
    /// Output.
    Output(Vec<u8>),
    /// A line about the terminal rather than from it.
    Notice(String),
    /// It is over.
    Closed {
        /// What the program returned, if it ended by itself.
        status: Option<u32>,
        /// Why it ended, if not by itself.
        reason: String,
    },
    /// The node is stopping: the terminal can be taken up again at another one.
    Moves,
}

/// The end of a terminal that hears.
pub trait TerminalOutput: Send {
    /// What comes next; output in pieces of at most `most` bytes, which is not 0. The host sends no more than a bounded
    /// amount ahead of this. May be given up at any time: nothing is lost.
    fn next(&mut self, most: usize) -> Pending<'_, TerminalEvent>;
}

/// The end of a terminal that speaks.
pub trait TerminalInput: Send + Sync {
    /// Types; ready when the host has room for it. False when the terminal is over.
    fn typed(&self, bytes: Vec<u8>) -> Pending<'_, bool>;
    /// It has another size now.
    fn resize(&self, columns: u32, rows: u32) -> Pending<'_, ()>;
    /// Closes it, which ends its session. A terminal that is dropped without this has lost its user: they may come back.
    fn close(&self) -> Pending<'_, ()>;
}

/// A terminal that was opened.
pub struct Terminal {
    /// Its session.
    pub session: SessionId,
    /// The host.
    pub host: String,
    /// What it says.
    pub output: Box<dyn TerminalOutput>,
    /// To type into it.
    pub input: Arc<dyn TerminalInput>,
}

/// A file of a host that is being read.
pub struct FileReading {
    /// Its length, where that is known.
    pub size: Option<u64>,
    /// Its bytes.
    pub bytes: Box<dyn ByteSource>,
}

/// A file of a host that is being written.
pub trait FileWriting: Send {
    /// Writes what comes next; ready when there is room for more.
    fn write(&mut self, bytes: Vec<u8>) -> Pending<'_, Result<(), TerminalFault>>;
    /// Ends it; ready when the host has all of it.
    fn finish(self: Box<Self>) -> Pending<'static, Result<(), TerminalFault>>;
}

/// A file of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWanted {
    /// The host's name, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The account there.
    pub login: Login,
    /// The file, from the account's home.
    pub path: String,
}

/// A fresh key for one connection to a host. Its private half does not leave the node, and goes with the connection.
pub trait TerminalKey: Send {
    /// The public half, one OpenSSH line: what the certificate is made for.
    fn public_key(&self) -> &str;
    /// Opens a terminal.
    fn terminal(
        self: Box<Self>,
        user: TerminalUser,
        wanted: TerminalWanted,
    ) -> Pending<'static, Result<Terminal, TerminalFault>>;
    /// Opens a file to read.
    fn read(
        self: Box<Self>,
        user: TerminalUser,
        wanted: FileWanted,
    ) -> Pending<'static, Result<FileReading, TerminalFault>>;
    /// Makes a file, or empties it, and opens it to write.
    fn write(
        self: Box<Self>,
        user: TerminalUser,
        wanted: FileWanted,
    ) -> Pending<'static, Result<Box<dyn FileWriting>, TerminalFault>>;
}

/// Terminals and files at hosts for people who have no SSH client: the node is theirs. Nothing is decided here: what they
/// may do is what it would be if they came by SSH, and is decided, recorded and audited where that is.
pub trait Terminals: Send + Sync + 'static {
    /// A fresh key.
    fn key(&self) -> Result<Box<dyn TerminalKey>, Unavailable>;
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
