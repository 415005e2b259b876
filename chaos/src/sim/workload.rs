//! What clients do all the while: changes through any node, made again under the same id when the outcome is not known,
//! and reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use palisade_core::command::{Actor, CertPurpose, CertTerms, Command, Entry, Expect, InvitePurpose, Sealed};
use palisade_core::event::{Event as AuditEvent, EventKind};
use palisade_core::name::{Login, Name, RequestId};
use palisade_core::record::{
    AnyRecord, AuthorityType, CertAuthoritySpec, Kind, LockSpec, LockTarget, NodeSpec, Record, UserSpec,
};
use palisade_core::state;
use palisade_core::time::Timestamp;
use parking_lot::Mutex;

use super::cluster::{Cluster, Running, soon};
use super::rng::Rng;
use super::watch::Event;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// Users, records and so on that the clients fight over.
const NAMES: u64 = 4;

/// What the clients have done so far.
#[derive(Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) reads: AtomicU64,
    /// The highest index that anybody was answered with.
    acknowledged: AtomicU64,
    tokens: Mutex<Vec<String>>,
}

fn uuid(n: u64) -> String {
    // Spread as random ones are: answers are kept in slots by their first digits.
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-0000-4000-8000-{n:012x}", spread >> 32)
}

fn name(text: &str) -> Option<Name> {
    Name::parse(text).ok()
}

fn some_name(rng: &mut Rng, what: &str) -> Option<Name> {
    name(&format!("{what}-{}", rng.below(NAMES)))
}

fn record(name: &Name, message: String) -> Option<Box<AnyRecord>> {
    let spec = LockSpec {
        target: LockTarget {
            login: Some(Login::parse("nobody").ok()?),
            ..LockTarget::default()
        },
        message,
    };
    Some(Box::new(AnyRecord::Lock(Record::new(name.clone(), spec))))
}

/// The first entry.
pub(crate) fn init() -> Option<Command> {
    let authority = |authority| {
        let public = CertAuthoritySpec {
            authority,
            ssh_public_key: None,
            certificate: None,
            pin: "sha256:00".into(),
            created: START,
        };
        (public, Sealed(vec![1, 2, 3]))
    };
    let addr = || "10.0.0.1:1".to_owned();
    let node = NodeSpec {
        id: 0,
        incarnation: "101".into(),
        peer_addr: addr(),
        web_addr: addr(),
        ssh_addr: addr(),
        joined: START,
    };
    let user = |n| {
        Some(AnyRecord::User(Record::new(
            name(&format!("user-{n}"))?,
            UserSpec::default(),
        )))
    };
    Some(Command::Init {
        cluster_name: name("simulated")?,
        cluster_id: uuid(0),
        authorities: AuthorityType::ALL.into_iter().map(authority).collect(),
        node: Box::new(Record::new(name("n1")?, node)),
        presets: (0..NAMES).map(user).collect::<Option<Vec<_>>>()?,
    })
}

/// What is asked of each node when all is over.
pub(crate) fn last(node: u64) -> Option<Command> {
    Some(Command::PutRecord {
        record: record(&name("last")?, format!("through {node}"))?,
        expect: Expect::Any,
    })
}

/// One client.
pub(crate) struct Client {
    cluster: Arc<Cluster>,
    tally: Arc<Tally>,
    rng: Rng,
}

impl Client {
    pub(crate) fn new(cluster: Arc<Cluster>, tally: Arc<Tally>, rng: Rng) -> Self {
        Self { cluster, tally, rng }
    }

    /// Goes on until it is aborted.
    pub(crate) async fn run(mut self) {
        loop {
            let pause = self.rng.millis(0, 60);
            tokio::time::sleep(pause).await;
            if self.rng.permille(200) {
                self.read().await;
            } else if let Some(command) = self.command() {
                self.change(command, 4).await;
            }
        }
    }

    fn any_node(&mut self) -> Option<Running> {
        let running = self.cluster.all_running();
        self.rng.pick(&running).cloned()
    }

    /// Something to ask for, from what one of the nodes has: perhaps not the newest.
    fn command(&mut self) -> Option<Command> {
        let node = self.any_node()?;
        let count = self.tally.requests.load(Ordering::Relaxed);
        let now = self.now();
        let sealed = || Sealed(vec![7; 16]);
        Some(match self.rng.below(10) {
            // A register that anybody writes.
            0 => Command::PutRecord {
                record: record(&some_name(&mut self.rng, "register")?, format!("write {count}"))?,
                expect: Expect::Any,
            },
            // Compare and set.
            1 | 2 => {
                let name = some_name(&mut self.rng, "register")?;
                let known =
                    node.with_state(|state| state::any_record(state, Kind::Lock, name.as_str()).ok())??;
                Command::PutRecord {
                    record: record(&name, format!("set {count}"))?,
                    expect: known.map_or(Expect::Absent, |known| {
                        Expect::Revision(known.metadata().revision)
                    }),
                }
            }
            // A lock that one at a time may have.
            3 => Command::PutRecord {
                record: record(&some_name(&mut self.rng, "lock")?, format!("held by {count}"))?,
                expect: Expect::Absent,
            },
            4 => Command::DeleteRecord {
                kind: Kind::Lock,
                name: some_name(&mut self.rng, "lock")?,
                expect: Expect::Present,
            },
            5 => {
                let token_sha256 = format!("{count:064x}");
                self.tally.tokens.lock().push(token_sha256.clone());
                Command::CreateInvite {
                    user: some_name(&mut self.rng, "user")?,
                    purpose: InvitePurpose::Invite,
                    token_sha256,
                    totp: sealed(),
                    expires: now.plus_ms(3_600_000),
                }
            }
            // One of the last few, which others may try to use as well.
            6 => {
                let tokens = self.tally.tokens.lock();
                let last = tokens.len().saturating_sub(3);
                let token = self.rng.pick(tokens.get(last..)?)?.clone();
                Command::AcceptInvite {
                    token_sha256: token,
                    password_hash: format!("$argon2id${count}"),
                    totp_step: count,
                }
            }
            7 | 8 => {
                let subject = some_name(&mut self.rng, "user")?;
                Command::IssueCert {
                    terms: CertTerms {
                        purpose: CertPurpose::Login,
                        principals: vec![Login::parse("login").ok()?],
                        subject,
                        valid_after: now,
                        valid_before: now.plus_ms(3_600_000),
                        key_fingerprint: format!("SHA256:{count}"),
                        source_address: None,
                        renews: None,
                    },
                }
            }
            _ => Command::Audit {
                events: vec![AuditEvent::new(EventKind::Logout).message(format!("event {count}"))],
            },
        })
    }

    fn now(&self) -> Timestamp {
        START.plus_ms(self.cluster.watch.now_ms())
    }

    /// Has a command done, through one node after another, under one request id. Tells whether it was answered.
    pub(crate) async fn change(&mut self, command: Command, attempts: u32) -> bool {
        let Some((id, bytes)) = self.entry(command) else {
            return false;
        };
        for _ in 0..attempts {
            let Some(node) = self.any_node() else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let patience = self.rng.range(200, 3000);
            if self.attempt(&node, &id, bytes.clone(), patience).await {
                return true;
            }
        }
        self.tally.unknown.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// A command as an entry with a request id of its own.
    fn entry(&self, mut command: Command) -> Option<(String, Vec<u8>)> {
        let number = self.tally.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let id = uuid(number);
        let addr = format!("request {number}");
        if let Command::Audit { events } = &mut command {
            *events = events.drain(..).map(|event| event.addr(&addr)).collect();
        }
        let entry = Entry {
            id: RequestId::parse(&id).ok()?,
            now: self.now(),
            node: 1,
            actor: Actor {
                name: "client".into(),
                addr,
            },
            command,
        };
        Some((id, entry.to_bytes()))
    }

    async fn attempt(&self, node: &Running, id: &str, bytes: Vec<u8>, patience: u64) -> bool {
        let done = node.inside(|node| async move { node.propose(bytes, soon(patience)).await });
        // A client has a timeout of its own: its node may stand still.
        let done = tokio::time::timeout(Duration::from_millis(patience + 1000), done).await;
        let reply = match done {
            Ok(Some(Ok(reply))) => reply,
            other => {
                let why = match other {
                    Ok(Some(Err(e))) => e.to_string(),
                    Ok(_) => "the process ended".to_owned(),
                    Err(_) => "nothing".to_owned(),
                };
                self.cluster.watch.tell(&Event::Told {
                    what: &format!("{} has no answer to {id}: {why}", node.who),
                });
                return false;
            }
        };
        self.cluster.watch.tell(&Event::Answered {
            request: id,
            index: reply.index,
        });
        self.tally.answered.fetch_add(1, Ordering::Relaxed);
        self.tally.acknowledged.fetch_max(reply.index, Ordering::Relaxed);
        true
    }

    /// Has a command done through one node, which must be able to.
    pub(crate) async fn change_through(&mut self, node: &Running, command: Command) -> bool {
        let (id, bytes) = match self.entry(command) {
            Some(made) => made,
            None => return false,
        };
        self.attempt(node, &id, bytes, 8000).await
    }

    async fn read(&mut self) {
        if let Some(node) = self.any_node() {
            let patience = self.rng.range(100, 2000);
            self.read_through(&node, patience).await;
        }
    }

    /// A linearizable read. Tells whether there was an answer.
    pub(crate) async fn read_through(&mut self, node: &Running, patience: u64) -> bool {
        let acknowledged = self.tally.acknowledged.load(Ordering::Relaxed);
        let done = node.inside(|node| async move {
            let passed = node.read_barrier(soon(patience)).await;
            passed.map(|()| node.status().applied)
        });
        let done = tokio::time::timeout(Duration::from_millis(patience + 1000), done).await;
        let Ok(Some(Ok(applied))) = done else { return false };
        self.cluster.watch.tell(&Event::Read {
            who: node.who,
            acknowledged,
            applied,
        });
        self.tally.reads.fetch_add(1, Ordering::Relaxed);
        // What has been seen must be seen from now on.
        self.tally.acknowledged.fetch_max(applied, Ordering::Relaxed);
        true
    }
}
