//! Memory ports: one node whose state is the real state machine on a map, with a clock that tests turn.

use crate::api::{Api, Config};
use crate::limits::Rate;
use palisade_ca as ca;
use palisade_core::access::{RulePermit, View};
use palisade_core::api::{
    ClusterStatus, InitReply, InitRequest, JoinOrder, JoinReply, JoinRequest, LiveSession, Replacement,
    SupportBundle, SupportFile,
};
use palisade_core::command::{Actor, Command, Entry, Reply, Sealed, SealedPage};
use palisade_core::event::Event;
use palisade_core::kv::{Kv, KvFault, MemoryKv, Pair};
use palisade_core::name::{ClusterId, Name, NodeId, RequestId, SessionId};
use palisade_core::page::{PageEvents, PageManifest};
use palisade_core::ports::{
    Agents, AuditPages, Bootstrap, ByteSource, Consensus, FileReading, FileWanted, FileWriting,
    OperationFailed, Operations, PageLost, Pending, PlayFormat, Recordings, SearchOrder, SearchedPart,
    Sessions, Terminal, TerminalEvent, TerminalFault, TerminalInput, TerminalKey, TerminalOutput,
    TerminalUser, TerminalWanted, Terminals, Unavailable,
};
use palisade_core::record::{AnyRecord, AuthorityType, CertAuthoritySpec, NodeSpec, Record, parse_records};
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_core::tunnel::AgentPresence;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// When tests begin, unless they say otherwise: 2026-11-22T12:00:00Z.
pub const START: Timestamp = Timestamp::from_secs(1_795_348_800);

/// The cluster's id in tests.
pub const CLUSTER_ID: &str = "5b0f3ab6-7c43-4e35-9a9f-6a60f8f8a001";

/// The code that an authenticator app shows for a secret in base32.
pub fn totp_code(secret_base32: &str, now: Timestamp) -> String {
    crate::totp::app_shows(secret_base32, now.secs()).expect("a secret of ours")
}

#[derive(Clone, Default)]
struct SharedKv(Arc<RwLock<MemoryKv>>);

impl Kv for SharedKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvFault> {
        self.0.read().get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, KvFault> {
        self.0.read().scan(from, to, limit, reverse)
    }
}

/// One node without Raft: a proposal is applied at once.
pub struct MemoryNode {
    kv: SharedKv,
    index: Mutex<u64>,
    clock: AtomicU64,
    policy: tokio::sync::watch::Sender<u64>,
    broken: Mutex<Option<Unavailable>>,
    barriers: AtomicU64,
    proposals: AtomicU64,
}

impl MemoryNode {
    /// A node with an empty state.
    pub fn new() -> Arc<MemoryNode> {
        Arc::new(MemoryNode {
            kv: SharedKv::default(),
            // Ids of nodes are log indices above 1.
            index: Mutex::new(10),
            clock: AtomicU64::new(START.ms()),
            policy: tokio::sync::watch::Sender::new(0),
            broken: Mutex::new(None),
            barriers: AtomicU64::new(0),
            proposals: AtomicU64::new(0),
        })
    }

    /// Turns the clock forward.
    pub fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).expect("a short time");
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the clock.
    pub fn set_clock(&self, at: Timestamp) {
        self.clock.store(at.ms(), Ordering::SeqCst);
    }

    /// From now on everything fails like this, or works again.
    pub fn break_with(&self, why: Option<Unavailable>) {
        *self.broken.lock() = why;
    }

    /// How often the barrier was asked for.
    pub fn barriers(&self) -> u64 {
        self.barriers.load(Ordering::SeqCst)
    }

    /// How many entries were proposed.
    pub fn proposals(&self) -> u64 {
        self.proposals.load(Ordering::SeqCst)
    }

    /// Every audit event that is on no page, oldest first.
    pub fn events(&self) -> Vec<Event> {
        let stored = state::audit_bytes(&self.kv, 0, usize::MAX).expect("memory");
        stored
            .iter()
            .map(|(_, bytes)| Event::from_bytes(bytes).expect("written by apply"))
            .collect()
    }

    /// Applies a command at once.
    pub fn apply(&self, actor: &str, command: Command) -> Reply {
        let actor = Actor {
            name: actor.to_owned(),
            addr: String::new(),
        };
        self.run(actor, self.new_id(), command)
    }

    /// Writes records in YAML, as the node itself.
    pub fn write(&self, yaml: &str) {
        for record in parse_records(yaml).expect("good records") {
            let command = Command::PutRecord {
                record: Box::new(record),
                expect: palisade_core::command::Expect::Any,
            };
            self.apply("node:1", command).done().expect("written");
        }
    }

    fn run(&self, actor: Actor, id: RequestId, command: Command) -> Reply {
        let mut index = self.index.lock();
        self.proposals.fetch_add(1, Ordering::SeqCst);
        *index += 1;
        let entry = Entry {
            id,
            now: self.now(),
            node: self.node_id(),
            actor,
            command,
        };
        let applied = state::apply(&self.kv, *index, &entry.to_bytes()).expect("the state is good");
        self.kv.0.write().commit(applied.changes);
        if applied.notify & state::NOTIFY_POLICY != 0 {
            self.policy.send_modify(|version| *version += 1);
        }
        applied.reply
    }

    fn broken(&self) -> Result<(), Unavailable> {
        self.broken.lock().clone().map_or(Ok(()), Err)
    }
}

impl Consensus for MemoryNode {
    fn node_id(&self) -> NodeId {
        1
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.clock.load(Ordering::SeqCst))
    }

    fn kv(&self) -> Arc<dyn Kv> {
        Arc::new(self.kv.clone())
    }

    fn new_id(&self) -> RequestId {
        RequestId::parse(&uuid::Uuid::new_v4().to_string()).expect("a UUID")
    }

    fn propose(
        &self,
        actor: Actor,
        id: RequestId,
        command: Command,
    ) -> Pending<'_, Result<Reply, Unavailable>> {
        Box::pin(async move {
            self.broken()?;
            Ok(self.run(actor, id, command))
        })
    }

    fn barrier(&self) -> Pending<'_, Result<(), Unavailable>> {
        self.barriers.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { self.broken() })
    }

    fn may_decide(&self) -> Result<(), Unavailable> {
        self.broken()
    }

    fn policy_version(&self) -> u64 {
        *self.policy.borrow()
    }

    fn policy_changed(&self, seen: u64) -> Pending<'static, u64> {
        let mut policy = self.policy.subscribe();
        Box::pin(async move {
            let changed = policy.wait_for(|version| *version != seen).await;
            changed.map_or(seen, |version| *version)
        })
    }
}

/// Sessions, recordings and operations of one node, as a test sets them.
#[derive(Default)]
pub struct MemoryPorts {
    /// What [`Sessions::list`] answers.
    pub live: Mutex<Vec<LiveSession>>,
    /// What [`Recordings::play`] gives out, in pieces; an empty piece breaks off.
    pub pieces: Mutex<Vec<Vec<u8>>>,
    /// The forms in which [`Recordings::play`] was asked.
    pub played: Mutex<Vec<PlayFormat>>,
    /// What [`Recordings::search`] answers, by session; nothing for the others.
    pub found: Mutex<BTreeMap<String, SearchedPart>>,
    /// The sessions that were searched, and from which chunk on.
    pub searched: Mutex<Vec<(String, u32)>>,
    /// Join requests that came in.
    pub joins: Mutex<Vec<String>>,
    /// Nodes that were removed, and transfers.
    pub done: Mutex<Vec<String>>,
    /// Agents that are online.
    pub agents: Mutex<BTreeMap<Name, AgentPresence>>,
    /// Why the node is not ready.
    pub unready: Mutex<Option<String>>,
    /// Sealed audit pages, by the hash of their file.
    pub pages: Mutex<BTreeMap<String, Arc<PageEvents>>>,
    /// The hosts there are to be reached: none, unless a test says so.
    pub hosts: Arc<MemoryHosts>,
}

/// Hosts of which every user may reach any, as anybody, once a test says so.
#[derive(Default)]
pub struct MemoryHosts {
    /// Whether they can be reached.
    pub open: AtomicBool,
    /// Terminals that were opened, and by whom.
    pub opened: Mutex<Vec<(TerminalUser, TerminalWanted)>>,
    /// How many of them were closed on purpose.
    pub closed: AtomicU64,
    /// Bytes of output that terminals gave out.
    pub shown: AtomicU64,
    /// Files, by path.
    pub files: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// The session of every terminal in memory.
pub const MEMORY_SESSION: &str = "0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a";

impl Terminals for MemoryPorts {
    fn key(&self) -> Result<Box<dyn TerminalKey>, Unavailable> {
        let key = ca::generate_ssh_key().expect("randomness");
        Ok(Box::new(MemoryKey {
            public: key.public_key().to_openssh().expect("a line"),
            hosts: Arc::clone(&self.hosts),
        }))
    }
}

struct MemoryKey {
    public: String,
    hosts: Arc<MemoryHosts>,
}

impl MemoryKey {
    fn reached(&self) -> Result<Arc<MemoryHosts>, TerminalFault> {
        if self.hosts.open.load(Ordering::SeqCst) {
            return Ok(Arc::clone(&self.hosts));
        }
        Err(TerminalFault::Refused("you have no access to that host".into()))
    }
}

impl TerminalKey for MemoryKey {
    fn public_key(&self) -> &str {
        &self.public
    }

    fn terminal(
        self: Box<Self>,
        user: TerminalUser,
        wanted: TerminalWanted,
    ) -> Pending<'static, Result<Terminal, TerminalFault>> {
        Box::pin(async move {
            let hosts = self.reached()?;
            hosts.opened.lock().push((user, wanted));
            let (say, said) = tokio::sync::mpsc::unbounded_channel();
            Ok(Terminal {
                session: SessionId::parse(MEMORY_SESSION).expect("a UUID"),
                host: "web1".into(),
                output: Box::new(MemoryScreen {
                    said,
                    flood: 0,
                    hosts: Arc::clone(&hosts),
                }),
                input: Arc::new(MemoryKeys { say, hosts }),
            })
        })
    }

    fn read(
        self: Box<Self>,
        _: TerminalUser,
        wanted: FileWanted,
    ) -> Pending<'static, Result<FileReading, TerminalFault>> {
        Box::pin(async move {
            let hosts = self.reached()?;
            let found = hosts.files.lock().get(&wanted.path).cloned();
            let bytes =
                found.ok_or_else(|| TerminalFault::NotFound(format!("there is no {}", wanted.path)))?;
            let pieces: Vec<_> = bytes.chunks(1000).map(<[u8]>::to_vec).collect();
            Ok(FileReading {
                size: Some(bytes.len() as u64),
                bytes: Box::new(Pieces(pieces.into_iter())),
            })
        })
    }

    fn write(
        self: Box<Self>,
        _: TerminalUser,
        wanted: FileWanted,
    ) -> Pending<'static, Result<Box<dyn FileWriting>, TerminalFault>> {
        Box::pin(async move {
            let (hosts, path, bytes) = (self.reached()?, wanted.path, Vec::new());
            Ok(Box::new(MemoryFile { hosts, path, bytes }) as Box<dyn FileWriting>)
        })
    }
}

struct MemoryFile {
    hosts: Arc<MemoryHosts>,
    path: String,
    bytes: Vec<u8>,
}

impl FileWriting for MemoryFile {
    fn write(&mut self, bytes: Vec<u8>) -> Pending<'_, Result<(), TerminalFault>> {
        self.bytes.extend(bytes);
        let full = self.path == "full";
        Box::pin(async move {
            match full {
                true => Err(TerminalFault::Failed("there is no space left on the host".into())),
                false => Ok(()),
            }
        })
    }

    fn finish(self: Box<Self>) -> Pending<'static, Result<(), TerminalFault>> {
        self.hosts.files.lock().insert(self.path, self.bytes);
        Box::pin(async { Ok(()) })
    }
}

/// A terminal that shows what is typed. `exit` ends it, `flood` has it say without end, `stuck` has it read no more.
struct MemoryScreen {
    said: tokio::sync::mpsc::UnboundedReceiver<TerminalEvent>,
    flood: usize,
    hosts: Arc<MemoryHosts>,
}

struct MemoryKeys {
    say: tokio::sync::mpsc::UnboundedSender<TerminalEvent>,
    hosts: Arc<MemoryHosts>,
}

impl TerminalOutput for MemoryScreen {
    fn next(&mut self, most: usize) -> Pending<'_, TerminalEvent> {
        Box::pin(async move {
            if self.flood == 0 {
                match self.said.recv().await {
                    Some(TerminalEvent::Output(bytes)) if bytes == b"flood" => self.flood = usize::MAX,
                    Some(event) => return event,
                    None => std::future::pending().await,
                }
            }
            self.hosts.shown.fetch_add(most as u64, Ordering::SeqCst);
            TerminalEvent::Output(vec![b'x'; most])
        })
    }
}

impl TerminalInput for MemoryKeys {
    fn typed(&self, bytes: Vec<u8>) -> Pending<'_, bool> {
        let stuck = bytes == b"stuck";
        let event = match &bytes[..] {
            b"exit" => TerminalEvent::Closed {
                status: Some(3),
                reason: String::new(),
            },
            _ => TerminalEvent::Output(bytes),
        };
        Box::pin(async move {
            if stuck {
                std::future::pending::<()>().await;
            }
            self.say.send(event).is_ok()
        })
    }

    fn resize(&self, columns: u32, rows: u32) -> Pending<'_, ()> {
        let _ = self.say.send(TerminalEvent::Notice(format!("{columns}x{rows}")));
        Box::pin(async {})
    }

    fn close(&self) -> Pending<'_, ()> {
        self.hosts.closed.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {})
    }
}

impl AuditPages for MemoryPorts {
    fn open(&self, page: &PageManifest) -> Result<Arc<PageEvents>, PageLost> {
        let kept = self.pages.lock();
        let found = kept.get(&page.file_sha256).cloned();
        found.ok_or_else(|| PageLost("no such segment".into()))
    }
}

struct Pieces(std::vec::IntoIter<Vec<u8>>);

impl ByteSource for Pieces {
    fn next(&mut self) -> Pending<'_, Option<Result<Vec<u8>, Unavailable>>> {
        let piece = self.0.next().map(|piece| {
            if piece.is_empty() {
                Err(Unavailable::Fault("a chunk is lost".into()))
            } else {
                Ok(piece)
            }
        });
        Box::pin(async move { piece })
    }
}

impl Recordings for MemoryPorts {
    fn seal_key(&self, _: &SessionId, key: &[u8]) -> Result<Vec<u8>, Unavailable> {
        Ok(key.to_vec())
    }

    fn ship<'a>(&'a self, _: &'a SessionId, _: u32, _: Vec<u8>) -> Pending<'a, Result<(), Unavailable>> {
        Box::pin(async { Ok(()) })
    }

    fn play<'a>(
        &'a self,
        _: &'a SessionId,
        format: PlayFormat,
    ) -> Pending<'a, Result<Box<dyn ByteSource>, Unavailable>> {
        self.played.lock().push(format);
        let pieces: Box<dyn ByteSource> = Box::new(Pieces(self.pieces.lock().clone().into_iter()));
        Box::pin(async move { Ok(pieces) })
    }

    fn search<'a>(
        &'a self,
        _: &'a RulePermit,
        order: SearchOrder,
    ) -> Pending<'a, Result<SearchedPart, Unavailable>> {
        let session = order.session.to_string();
        self.searched.lock().push((session.clone(), order.from_chunk));
        let found = self.found.lock().get(&session).cloned().unwrap_or_default();
        Box::pin(async move { Ok(found) })
    }

    fn masked(&self, text: &str) -> Result<String, Unavailable> {
        Ok(text.replace(MEMORY_MASKED, "*******"))
    }
}

/// What is masked in memory.
pub const MEMORY_MASKED: &str = "hunter2";

impl Sessions for MemoryPorts {
    fn list(&self) -> Pending<'_, Vec<LiveSession>> {
        let live = self.live.lock().clone();
        Box::pin(async move { live })
    }

    fn end<'a>(&'a self, session: &'a SessionId, _: &'a str) -> Pending<'a, Result<bool, Unavailable>> {
        let mut live = self.live.lock();
        let before = live.len();
        live.retain(|one| one.session != session.as_str());
        let ended = live.len() < before;
        Box::pin(async move { Ok(ended) })
    }
}

impl Agents for MemoryPorts {
    fn agent(&self, host: &Name) -> Option<AgentPresence> {
        self.agents.lock().get(host).cloned()
    }
}

impl Operations for MemoryPorts {
    fn status(&self) -> Pending<'_, ClusterStatus> {
        Box::pin(async {
            ClusterStatus {
                cluster: "demo".into(),
                ..ClusterStatus::default()
            }
        })
    }

    fn admit<'a>(
        &'a self,
        request: JoinRequest,
        _: String,
    ) -> Pending<'a, Result<JoinReply, OperationFailed>> {
        self.joins.lock().push(request.name);
        Box::pin(async {
            Err(OperationFailed(
                "the token is not valid: it is wrong, used or expired".into(),
            ))
        })
    }

    fn remove<'a>(&'a self, actor: Actor, node: &'a Name) -> Pending<'a, Result<(), OperationFailed>> {
        self.done.lock().push(format!("{} removes {node}", actor.name));
        Box::pin(async { Ok(()) })
    }

    fn replace<'a>(
        &'a self,
        actor: Actor,
        request: &'a Replacement,
    ) -> Pending<'a, Result<(), OperationFailed>> {
        let Replacement { old, with, healthy } = request;
        self.done.lock().push(format!(
            "{} has {with} replace {old}, healthy {healthy}",
            actor.name
        ));
        Box::pin(async { Ok(()) })
    }

    fn transfer<'a>(&'a self, to: Option<&'a Name>) -> Pending<'a, Result<(), OperationFailed>> {
        self.done
            .lock()
            .push(format!("transfer {}", to.map_or("any", Name::as_str)));
        Box::pin(async { Ok(()) })
    }

    fn bundle_file<'a>(
        &'a self,
        name: &'a str,
    ) -> Pending<'a, Result<Option<Box<dyn ByteSource>>, OperationFailed>> {
        let pieces = vec![b"one ".to_vec(), b"two".to_vec()];
        let found =
            (name == "SHA256SUMS").then(|| Box::new(Pieces(pieces.into_iter())) as Box<dyn ByteSource>);
        Box::pin(async move { Ok(found) })
    }

    fn metrics(&self) -> String {
        "palisade_up 1\n".into()
    }

    fn support(&self) -> Pending<'_, SupportBundle> {
        let files = vec![SupportFile {
            name: "node.txt".into(),
            text: "well\n".into(),
        }];
        Box::pin(async { SupportBundle { files } })
    }

    fn ready(&self, _: bool) -> Result<(), String> {
        self.unready.lock().clone().map_or(Ok(()), Err)
    }
}

/// A beginning that only says what was asked.
#[derive(Default)]
pub struct MemoryBootstrap(pub Mutex<Vec<String>>);

impl Bootstrap for MemoryBootstrap {
    fn init(&self, request: InitRequest) -> Pending<'_, Result<InitReply, OperationFailed>> {
        self.0.lock().push(format!("init {}", request.cluster));
        Box::pin(async {
            Ok(InitReply {
                cluster_id: CLUSTER_ID.into(),
                ca_pin: String::new(),
                created: true,
            })
        })
    }

    fn join(&self, order: JoinOrder) -> Pending<'_, Result<ClusterStatus, OperationFailed>> {
        self.0.lock().push(format!("join {}", order.addr));
        Box::pin(async { Err(OperationFailed("the member does not answer".into())) })
    }
}

/// A cluster of one memory node, with an `admin` role and what an API needs.
pub struct MemoryCluster {
    /// The state.
    pub node: Arc<MemoryNode>,
    /// The other ports.
    pub ports: Arc<MemoryPorts>,
    /// The cluster key.
    pub key: Arc<ca::ClusterKey>,
    /// The API's limits.
    pub config: Config,
}

impl MemoryCluster {
    /// A new cluster named `demo`.
    pub fn new() -> MemoryCluster {
        let node = MemoryNode::new();
        let key = Arc::new(ca::ClusterKey::generate().expect("randomness"));
        let command = Command::Init {
            cluster_name: Name::parse("demo").expect("a name"),
            cluster_id: CLUSTER_ID.into(),
            authorities: authorities(&key, node.now()),
            node: Box::new(node_record()),
            presets: parse_records(PRESETS).expect("good records"),
        };
        node.apply("local:operator", command)
            .done()
            .expect("a new cluster");
        MemoryCluster {
            node,
            ports: Arc::new(MemoryPorts::default()),
            key,
            config: Config {
                login_rate: UNLIMITED,
                token_rate: UNLIMITED,
                refusal_rate: UNLIMITED,
                failed_login_floor: Duration::ZERO,
                ..Config::default()
            },
        }
    }

    /// The API over it.
    pub fn api(&self) -> Api {
        Api {
            consensus: self.node.clone(),
            recordings: self.ports.clone(),
            pages: self.ports.clone(),
            sessions: self.ports.clone(),
            terminals: self.ports.clone(),
            operations: self.ports.clone(),
            agents: self.ports.clone(),
            seal: self.key.clone(),
            config: self.config.clone(),
        }
    }

    /// Seals the oldest audit events into pages of so many, until at most `recent` are in the state.
    pub fn seal_pages(&self, recent: u64, each: u64) {
        let kv = self.node.kv();
        let unsealed = || {
            let size = state::audit_frontier(kv.as_ref()).expect("memory").size();
            size - state::sealed_until(kv.as_ref()).expect("memory")
        };
        while unsealed() > recent {
            let events = state::next_page(kv.as_ref(), each).expect("memory");
            let (number, events) = events.expect("there are events");
            let root = hex_text(&events.root());
            let page = SealedPage {
                number,
                first: events.first,
                count: u32::try_from(events.events.len()).expect("few"),
                file_sha256: root.clone(),
                root: root.clone(),
                sealed_key: Sealed(Vec::new()),
            };
            self.ports.pages.lock().insert(root, Arc::new(events));
            self.node
                .apply("node:1", Command::SealAuditPage { page })
                .done()
                .expect("sealed");
        }
    }

    /// The user as decisions see them.
    pub fn view(&self, user: &str) -> Option<View> {
        View::load(self.node.kv().as_ref(), &Name::parse(user).expect("a name")).expect("memory")
    }

    /// The public half of an authority.
    pub fn authority(&self, authority: AuthorityType) -> CertAuthoritySpec {
        let name = Name::parse(authority.as_str()).expect("a name");
        let record = state::record::<CertAuthoritySpec>(self.node.kv().as_ref(), &name);
        record.expect("memory").expect("made by init").spec
    }

    /// The signer of an authority.
    pub fn signer(&self, authority: AuthorityType) -> ca::Signer {
        let public = self.authority(authority);
        let sealed = state::sealed_authority(self.node.kv().as_ref(), authority);
        let public = ca::AuthorityPublic::of(&public);
        let sealed = sealed.expect("memory").expect("made by init");
        ca::Signer::open(authority, CLUSTER_ID, &sealed.0, &public, self.key.as_ref()).expect("opens")
    }
}

impl Default for MemoryCluster {
    fn default() -> Self {
        MemoryCluster::new()
    }
}

const UNLIMITED: Rate = Rate {
    burst: 1e9,
    per_second: 1e9,
};

const PRESETS: &str = r#"
kind: role
metadata: {name: admin}
spec:
  allow:
    logins: ["{{internal.logins}}"]
    host_labels: {"*": ["*"]}
    rules:
      - resources: ["*"]
        verbs: ["*"]
"#;

fn node_record() -> Record<NodeSpec> {
    Record::new(
        Name::parse("n1").expect("a name"),
        NodeSpec {
            id: 1,
            incarnation: "1".into(),
            peer_addr: "127.0.0.1:3025".into(),
            web_addr: "127.0.0.1:3080".into(),
            ssh_addr: "127.0.0.1:3023".into(),
            joined: START,
        },
    )
}

fn authorities(key: &ca::ClusterKey, now: Timestamp) -> Vec<(CertAuthoritySpec, Sealed)> {
    let id = ClusterId::parse(CLUSTER_ID).expect("a UUID");
    AuthorityType::ALL
        .into_iter()
        .map(|authority| {
            let made = ca::create_authority(authority, "demo", id.as_str(), key, now.secs()).expect("made");
            let public = made.public.to_spec(now);
            (public, Sealed(made.sealed_private))
        })
        .collect()
}

fn hex_text(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// A record in YAML, as a value.
pub fn record(yaml: &str) -> AnyRecord {
    let mut records = parse_records(yaml).expect("good records");
    assert_eq!(records.len(), 1, "one record");
    records.remove(0)
}
