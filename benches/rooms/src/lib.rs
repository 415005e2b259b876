//! What the hot paths of the rooms do, one operation at a time: the same code for criterion (`benches/rooms.rs`, how
//! long) and for callgrind (`palisade-count`, how many instructions).
//!
//! Each operation comes as a function that prepares everything and returns the closure that does it once. What is
//! prepared is the same in every run, so that counts can be compared.

use palisade_ca::ssh_key::{Certificate, PublicKey};
use palisade_ca::{
    AuthorityType, ClusterKey, Principals, Signer, StandardExtension, SubjectKey, UserCertRequest,
    check_user_cert, create_authority, generate_ssh_key, parse_trusted_keys, sign_user_cert,
};
use palisade_core::access::{Ability, Ask, Credential, View, decide};
use palisade_core::command::{Actor, CertPurpose, CertTerms, Command, Entry, Expect, Sealed};
use palisade_core::kv::MemoryKv;
use palisade_core::name::{Login, Name, RequestId};
use palisade_core::record::{
    AnyRecord, AuthPreferenceSpec, CertAuthoritySpec, HostSpec, NodeSpec, Record, RecordingConfigSpec,
    RoleSpec, Spec, UserSpec, parse_records,
};
use palisade_core::state::apply;
use palisade_core::time::Timestamp;
use palisade_session::recording::{ChunkReader, ChunkWriter, DataKey, Event, EventKind, SessionId};
use palisade_storage::{LogOptions, LogRecord, LogStore, Memory, StateOptions, StateStore};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::{Arc, mpsc};

const NOW_SECS: u64 = 1_800_000_000;
const NOW: Timestamp = Timestamp::from_secs(NOW_SECS);
const CLUSTER: &str = "00000000-0000-4000-8000-000000000001";

/// Does it once.
pub type Once = Box<dyn FnMut() -> anyhow::Result<()>>;

/// One operation of a room.
pub struct Operation {
    /// `room/what`.
    pub name: &'static str,
    /// How many times a count repeats it: enough to drown what a single run adds, little enough for callgrind.
    pub repeat: u32,
    /// Whether its instructions are counted: not where threads spin while they wait for each other and for the disk.
    pub counted: bool,
    /// How many runs a count looks at: more where other threads or random numbers take part.
    pub runs: u32,
    /// Prepares it.
    pub prepare: fn() -> anyhow::Result<Once>,
}

/// Every operation that is measured.
pub const ALL: [Operation; 12] = [
    Operation {
        name: "core/decide",
        repeat: 1000,
        counted: true,
        runs: 2,
        prepare: decide_once,
    },
    Operation {
        name: "core/parse",
        repeat: 200,
        counted: true,
        runs: 2,
        prepare: parse_once,
    },
    Operation {
        name: "core/apply_record",
        repeat: 400,
        counted: true,
        runs: 2,
        prepare: apply_record,
    },
    Operation {
        name: "core/apply_certificate",
        repeat: 400,
        counted: true,
        runs: 2,
        prepare: apply_certificate,
    },
    Operation {
        name: "core/read_entry",
        repeat: 400,
        counted: true,
        runs: 2,
        prepare: read_entry,
    },
    Operation {
        name: "ca/sign",
        repeat: 800,
        counted: true,
        runs: 3,
        prepare: sign,
    },
    Operation {
        name: "ca/check",
        repeat: 300,
        counted: true,
        runs: 3,
        prepare: check,
    },
    Operation {
        name: "session/chunk",
        repeat: 10,
        counted: true,
        runs: 2,
        prepare: chunk,
    },
    Operation {
        name: "session/play",
        repeat: 10,
        counted: true,
        runs: 2,
        prepare: play,
    },
    Operation {
        name: "storage/append",
        repeat: 500,
        counted: true,
        runs: 2,
        prepare: append,
    },
    Operation {
        name: "storage/append_durable",
        repeat: 500,
        counted: false,
        runs: 1,
        prepare: append_durable,
    },
    Operation {
        name: "storage/apply",
        repeat: 400,
        counted: true,
        runs: 2,
        prepare: store,
    },
];

fn one<S: Spec>(yaml: &str) -> anyhow::Result<Record<S>> {
    let mut all: Vec<AnyRecord> = parse_records(yaml)?;
    S::from_any(all.remove(0)).ok_or_else(|| anyhow::anyhow!("a record of another kind"))
}

/// A role as people write them.
const ROLE: &str = "\
kind: role
version: v1
metadata: {name: on-call, description: who is called at night}
spec:
  options: {max_session_ttl: 8h, client_idle_timeout: 30m, port_forwarding: true, record_session: strict}
  allow:
    logins: ['{{internal.logins}}', ubuntu, '{{external.unix}}']
    host_labels: {env: [staging, prod], team: 'db-*', region: '^(eu|us)-[a-z]+-[0-9]$'}
    rules:
      - {resources: [session, recording], verbs: [list, read]}
      - {resources: [lock], verbs: [list, read, create]}
  deny:
    logins: [root]
    host_labels: {env: vault}
";

const HOST: &str = "\
kind: host
metadata: {name: db-eu-1, labels: {env: prod, team: db-core, region: eu-west-1, os: debian}}
spec: {addr: '10.0.0.1:22'}
";

/// One person with four roles of which the last one allows, asks for a shell.
fn decide_once() -> anyhow::Result<Once> {
    let mut roles: Vec<Record<RoleSpec>> = Vec::new();
    for team in ["web", "build", "mail"] {
        let mut role: Record<RoleSpec> = one(&ROLE.replace("db-*", &format!("{team}-*")))?;
        role.metadata.name = Name::parse(team)?;
        roles.push(role);
    }
    roles.push(one(ROLE)?);
    let mut user: Record<UserSpec> = one(
        "kind: user\nmetadata: {name: alice}\nspec: {traits: {logins: [alice], unix: [deploy, postgres]}}\n",
    )?;
    user.spec.roles = roles.iter().map(|r| r.metadata.name.clone()).collect();
    let view = View {
        user,
        roles,
        locks: Vec::new(),
        recording: RecordingConfigSpec::default(),
        auth: AuthPreferenceSpec::default(),
        certs_void_until: 40,
    };
    let host: Record<HostSpec> = one(HOST)?;
    let login = Login::parse("postgres")?;
    let credential = Credential {
        principals: vec![Login::parse("alice")?, login.clone()],
        serial: 41,
        valid_before: NOW.plus_ms(3_600_000),
        source_address: None,
    };
    Ok(Box::new(move || {
        let ask = Ask {
            credential: &credential,
            client: None,
            login: &login,
            host: &host,
            ability: Ability::Shell,
        };
        black_box(decide(&ask, black_box(&view), NOW))?;
        Ok(())
    }))
}

fn parse_once() -> anyhow::Result<Once> {
    Ok(Box::new(|| {
        black_box(parse_records(black_box(ROLE))?);
        Ok(())
    }))
}

/// A log in memory, and the state that it made.
struct Log {
    kv: MemoryKv,
    next: u64,
}

impl Log {
    fn new() -> anyhow::Result<Self> {
        let authority = |kind| {
            let public = CertAuthoritySpec {
                authority: kind,
                ssh_public_key: None,
                certificate: None,
                pin: "sha256:00".into(),
                created: NOW,
            };
            (public, Sealed(vec![1, 2, 3]))
        };
        let addr = || "127.0.0.1:1".to_owned();
        let node = NodeSpec {
            id: 0,
            incarnation: "1".into(),
            peer_addr: addr(),
            web_addr: addr(),
            ssh_addr: addr(),
            joined: NOW,
        };
        let presets = "kind: role\nmetadata: {name: access}\nspec: {allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}}\n";
        let mut log = Log {
            kv: MemoryKv::default(),
            next: 2,
        };
        log.apply(Command::Init {
            cluster_name: Name::parse("demo")?,
            cluster_id: CLUSTER.to_owned(),
            authorities: AuthorityType::ALL.into_iter().map(authority).collect(),
            node: Box::new(Record::new(Name::parse("a")?, node)),
            presets: parse_records(presets)?,
        })?;
        log.put("kind: user\nmetadata: {name: alice}\nspec: {roles: [access], traits: {logins: [alice]}}\n")?;
        Ok(log)
    }

    fn entry(&self, command: Command) -> anyhow::Result<Entry> {
        Ok(Entry {
            id: RequestId::parse(&format!("00000000-0000-4000-8000-{:012x}", self.next))?,
            now: NOW,
            node: 1,
            actor: Actor {
                name: "alice".into(),
                addr: "192.0.2.7".into(),
            },
            command,
        })
    }

    fn apply(&mut self, command: Command) -> anyhow::Result<()> {
        let bytes = self.entry(command)?.to_bytes();
        let applied = apply(&self.kv, self.next, &bytes)?;
        self.kv.commit(applied.changes);
        self.next += 1;
        applied.reply.done()?;
        Ok(())
    }

    fn put(&mut self, yaml: &str) -> anyhow::Result<()> {
        let record = Box::new(parse_records(yaml)?.remove(0));
        self.apply(Command::PutRecord {
            record,
            expect: Expect::Absent,
        })
    }

    fn new_host(&mut self) -> anyhow::Result<()> {
        let mut host: Record<HostSpec> = one(HOST)?;
        host.metadata.name = Name::parse(&format!("h{}", self.next))?;
        let record = Box::new(host.into());
        self.apply(Command::PutRecord {
            record,
            expect: Expect::Absent,
        })
    }
}

/// A host record: encoded, decoded, applied, audited, in a state of a thousand.
fn apply_record() -> anyhow::Result<Once> {
    let mut log = Log::new()?;
    for _ in 0..1000 {
        log.new_host()?;
    }
    Ok(Box::new(move || log.new_host()))
}

fn certificate() -> anyhow::Result<Command> {
    Ok(Command::IssueCert {
        terms: CertTerms {
            purpose: CertPurpose::Login,
            subject: Name::parse("alice")?,
            principals: vec![Login::parse("alice")?],
            valid_after: NOW,
            valid_before: NOW.plus_ms(3_600_000),
            key_fingerprint: "SHA256:x".into(),
            source_address: None,
            renews: None,
        },
    })
}

fn apply_certificate() -> anyhow::Result<Once> {
    let mut log = Log::new()?;
    Ok(Box::new(move || log.apply(certificate()?)))
}

fn read_entry() -> anyhow::Result<Once> {
    let bytes = Log::new()?.entry(certificate()?)?.to_bytes();
    Ok(Box::new(move || {
        black_box(Entry::from_bytes(black_box(&bytes))?);
        Ok(())
    }))
}

fn signer() -> anyhow::Result<Signer> {
    let key = ClusterKey::generate()?;
    let new = create_authority(AuthorityType::User, "demo", CLUSTER, &key, NOW_SECS)?;
    Ok(Signer::open(
        AuthorityType::User,
        CLUSTER,
        &new.sealed_private,
        &new.public,
        &key,
    )?)
}

fn cert_request() -> anyhow::Result<UserCertRequest> {
    Ok(UserCertRequest {
        public_key: SubjectKey::from_public_key(generate_ssh_key()?.public_key())?,
        key_id: "alice".into(),
        principals: Principals::new(["alice", "deploy"])?,
        valid_after: NOW_SECS - 60,
        valid_before: NOW_SECS + 3600,
        ttl_max_secs: 8 * 3600,
        serial: 7,
        extensions: BTreeSet::from([StandardExtension::Pty, StandardExtension::PortForwarding]),
        custom_extensions: BTreeMap::from([("palisade-roles@palisade".into(), "dev,ops".into())]),
        source_networks: Vec::new(),
    })
}

fn sign() -> anyhow::Result<Once> {
    let (signer, request) = (signer()?, cert_request()?);
    Ok(Box::new(move || {
        black_box(sign_user_cert(&signer, black_box(&request))?);
        Ok(())
    }))
}

fn check() -> anyhow::Result<Once> {
    let signer = signer()?;
    let line = sign_user_cert(&signer, &cert_request()?)?;
    let trusted: Vec<PublicKey> = parse_trusted_keys(signer.public().ssh_public_key.as_deref())?;
    Ok(Box::new(move || {
        let certificate = Certificate::from_openssh(black_box(&line))?;
        black_box(check_user_cert(&certificate, &trusted, NOW_SECS)?);
        Ok(())
    }))
}

const SESSION: SessionId = SessionId([7; 16]);
const DATA_KEY: [u8; 32] = [9; 32];

/// 64 KiB that a terminal shows: lines of a log, in pieces of a screen's size.
fn terminal_output() -> Vec<Event> {
    let mut text = String::new();
    let mut n = 0u64;
    while text.len() < 64 << 10 {
        n += 1;
        let mixed = n.wrapping_mul(6_364_136_223_846_793_005) >> 33;
        text.push_str(&format!(
            "\x1b[32m{n:06}\x1b[0m host db-eu-{} request {mixed:08x} took {} ms\r\n",
            n % 17,
            mixed % 900
        ));
    }
    text.as_bytes()
        .chunks(2000)
        .zip((0..).step_by(7))
        .map(|(bytes, at_ms)| Event {
            at_ms,
            kind: EventKind::Output(bytes.to_vec()),
        })
        .collect()
}

fn recorded(events: &[Event]) -> anyhow::Result<Vec<u8>> {
    let mut writer = ChunkWriter::new(SESSION, DataKey::from_bytes(&DATA_KEY)?);
    for event in events {
        writer.push(event.clone(), NOW_SECS * 1000 + event.at_ms)?;
    }
    let chunk = writer.cut(1000)?;
    Ok(chunk.ok_or_else(|| anyhow::anyhow!("no chunk came out"))?.bytes)
}

fn chunk() -> anyhow::Result<Once> {
    let events = terminal_output();
    Ok(Box::new(move || {
        black_box(recorded(black_box(&events))?);
        Ok(())
    }))
}

fn play() -> anyhow::Result<Once> {
    let bytes = recorded(&terminal_output())?;
    let key = DataKey::from_bytes(&DATA_KEY)?;
    Ok(Box::new(move || {
        black_box(ChunkReader::new(SESSION, &key).decode(black_box(&bytes))?);
        Ok(())
    }))
}

fn record(index: u64) -> Vec<LogRecord> {
    let payload = vec![(index % 251) as u8; 400];
    vec![LogRecord { index, payload }]
}

/// One record of 400 bytes through the log's own code, over a database in memory.
fn append() -> anyhow::Result<Once> {
    let dir = tempfile::tempdir()?;
    let options = LogOptions {
        machine: Some(Arc::new(Memory::default())),
        ..LogOptions::default()
    };
    let log = LogStore::open(dir.path(), options)?;
    let mut index = 0;
    Ok(Box::new(move || {
        let _keep = &dir;
        index += 1;
        let (tx, rx) = mpsc::channel();
        log.append(record(index), Box::new(move |done| drop(tx.send(done))));
        log.turn();
        rx.try_recv()??;
        Ok(())
    }))
}

/// One record of 400 bytes, durable before the next one.
fn append_durable() -> anyhow::Result<Once> {
    let dir = tempfile::tempdir()?;
    let log = LogStore::open(dir.path(), LogOptions::default())?;
    let mut index = 0;
    Ok(Box::new(move || {
        let _keep = &dir;
        index += 1;
        let (tx, rx) = mpsc::channel();
        log.append(record(index), Box::new(move |done| drop(tx.send(done))));
        rx.recv()??;
        Ok(())
    }))
}

/// What one entry changes, through the state's own code, over a database in memory.
fn store() -> anyhow::Result<Once> {
    let dir = tempfile::tempdir()?;
    let options = StateOptions {
        machine: Some(Arc::new(Memory::default())),
        ..StateOptions::default()
    };
    let state = StateStore::open(dir.path(), options)?;
    let mut log = Log::new()?;
    Ok(Box::new(move || {
        let _keep = &dir;
        let bytes = log.entry(certificate()?)?.to_bytes();
        let applied = apply(&log.kv, log.next, &bytes)?;
        log.kv.commit(applied.changes.clone());
        state.apply(applied.changes, log.next.to_be_bytes().to_vec(), None)?;
        log.next += 1;
        Ok(())
    }))
}
