//! A host with its agent in this process, a cluster in memory, and stock OpenSSH clients on loopback.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part of this, and a test that cannot go on should stop"
)]

#[path = "../../../proxy/tests/support/openssh.rs"]
pub mod openssh;
pub mod tty;
pub mod uplink;

use palisade_agent::{HostIdentity, Server, ServerConfig};
use palisade_ca::ssh_key::PrivateKey;
use palisade_ca::{
    AuthorityType, ClusterKey, HostCertRequest, HostNames, Principals, Signer, StandardExtension, SubjectKey,
    UserCertRequest,
};
use palisade_core::access::{Credential, JoinAsk, View, decide_join};
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::pass::{Claims, Pass};
use palisade_core::record::{HostSpec, JoinMode, Record, RoleSpec, Spec, UserSpec, parse_records};
use palisade_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::process::Command;
use uplink::MemoryUplink;

pub const CLUSTER: &str = "test";
/// How long anything may take on a busy machine.
pub const WITHIN: Duration = Duration::from_secs(60);

pub fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// The account that runs the tests.
pub fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective())
        .unwrap()
        .unwrap()
        .name
}

pub fn one<S: Spec>(yaml: &str) -> Record<S> {
    let mut all = parse_records(yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    S::from_any(all.remove(0)).unwrap()
}

pub struct Cas {
    pub user: Signer,
    pub host: Signer,
}

impl Cas {
    pub fn new() -> Self {
        let key = ClusterKey::generate().unwrap();
        let id = "5e6b1c1e-7f5e-4f43-9d5e-2f4d0c6a1b2c";
        let make = |kind| {
            let new = palisade_ca::create_authority(kind, CLUSTER, id, &key, now_secs()).unwrap();
            Signer::open(kind, id, &new.sealed_private, &new.public, &key).unwrap()
        };
        Cas {
            user: make(AuthorityType::User),
            host: make(AuthorityType::Host),
        }
    }

    pub fn line(signer: &Signer) -> String {
        signer.public().ssh_public_key.clone().unwrap()
    }

    pub fn host_identity(&self, name: &str) -> HostIdentity {
        let key = palisade_ca::generate_ssh_key().unwrap();
        let request = HostCertRequest {
            public_key: SubjectKey::parse(&key.public_key().to_openssh().unwrap()).unwrap(),
            key_id: name.into(),
            host_names: HostNames::new([name]).unwrap(),
            valid_after: now_secs() - 60,
            valid_before: now_secs() + 3600,
            ttl_max_secs: 1 << 30,
            serial: 1,
        };
        let line = palisade_ca::sign_host_cert(&self.host, &request).unwrap();
        HostIdentity {
            key,
            certificate: palisade_ca::ssh_key::Certificate::from_openssh(&line).unwrap(),
        }
    }
}

/// The helper that was built with us: tests are told where, examples lie in a folder beside it.
fn helper() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_palisade-spawn") {
        Some(path) => path.into(),
        None => std::env::current_exe()
            .unwrap()
            .with_file_name("../palisade-spawn"),
    }
}

/// All that a role can allow.
pub const EVERYTHING: &str = "
    options: {port_forwarding: true, forward_agent: true, x11_forwarding: true}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";

/// What decides about connections that come now.
#[derive(Clone)]
pub struct Policy {
    pub role: String,
    pub logins: Vec<String>,
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub cas: Cas,
    pub uplink: Arc<MemoryUplink>,
    pub server: Arc<Server>,
    pub addr: SocketAddr,
    pub login: String,
    pub policy: Arc<Mutex<Policy>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl World {
    /// alice, who may do everything as the account that runs the tests.
    pub async fn new() -> Self {
        Self::with(EVERYTHING, &me(), |_| {}).await
    }

    pub async fn with_role(role: &str) -> Self {
        Self::with(role, &me(), |_| {}).await
    }

    pub async fn with(role: &str, login: &str, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("palisade-agent")
            .tempdir()
            .unwrap();
        // Other accounts reach their files in it.
        open_up(dir.path());
        let cas = Cas::new();
        let uplink = Arc::new(MemoryUplink::default());
        let trusted = palisade_ca::parse_trusted_keys([Cas::line(&cas.user).as_str()]).unwrap();
        let mut config = ServerConfig::new(
            Name::parse("web1").unwrap(),
            cas.host_identity("web1"),
            trusted,
            helper(),
            dir.path().join("spool"),
        );
        change(&mut config);
        let server = Server::new(config, uplink.clone());
        let policy = Arc::new(Mutex::new(Policy {
            role: role.to_owned(),
            logins: vec![login.to_owned()],
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = tokio::spawn({
            let (server, policy) = (Arc::clone(&server), Arc::clone(&policy));
            async move {
                let mut n = 0;
                while let Ok((stream, from)) = listener.accept().await {
                    n += 1;
                    stream.set_nodelay(true).unwrap();
                    let policy = policy.lock().unwrap().clone();
                    let pass = decide(&policy, &format!("c{n}"), &from.to_string()).unwrap();
                    let server = Arc::clone(&server);
                    tokio::spawn(async move { server.serve(stream, pass).await });
                }
            }
        });
        let world = World {
            dir,
            cas,
            uplink,
            server,
            addr,
            login: login.to_owned(),
            policy,
            accepting,
        };
        world.identity("alice", |_| {});
        world.client_config();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A key and certificate under the name `id_<name>` in the client's directory.
    pub fn identity(&self, name: &str, change: impl FnOnce(&mut UserCertRequest)) {
        self.identity_by(&self.cas.user, name, change);
    }

    pub fn identity_by(&self, authority: &Signer, name: &str, change: impl FnOnce(&mut UserCertRequest)) {
        let key = palisade_ca::generate_ssh_key().unwrap();
        let now = now_secs();
        let mut request = UserCertRequest {
            public_key: SubjectKey::parse(&key.public_key().to_openssh().unwrap()).unwrap(),
            key_id: "alice".to_owned(),
            principals: Principals::new([self.login.as_str()]).unwrap(),
            valid_after: now - 60,
            valid_before: now + 600,
            ttl_max_secs: 1 << 30,
            serial: 7,
            extensions: BTreeSet::from([
                StandardExtension::Pty,
                StandardExtension::PortForwarding,
                StandardExtension::AgentForwarding,
                StandardExtension::X11Forwarding,
            ]),
            custom_extensions: BTreeMap::new(),
            source_networks: Vec::new(),
        };
        change(&mut request);
        let line = palisade_ca::sign_user_cert(authority, &request).unwrap();
        write_key(&self.path(&format!("id_{name}")), &key);
        std::fs::write(self.path(&format!("id_{name}-cert.pub")), format!("{line}\n")).unwrap();
    }

    fn client_config(&self) {
        let dir = self.dir.path().display();
        let known = format!("@cert-authority * {}\n", Cas::line(&self.cas.host));
        std::fs::write(self.path("known_hosts"), known).unwrap();
        let config = format!(
            "Host web1\n    HostName 127.0.0.1\n    HostKeyAlias web1\n    Port {port}\n    User {login}\n    \
             UserKnownHostsFile {dir}/known_hosts\n    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    \
             IdentityFile {dir}/id_alice\n    CertificateFile {dir}/id_alice-cert.pub\n    IdentitiesOnly yes\n    \
             IdentityAgent none\n    BatchMode yes\n    LogLevel INFO\n    ControlPath none\n",
            port = self.addr.port(),
            login = self.login
        );
        std::fs::write(self.path("config"), config).unwrap();
    }

    /// Somebody who joins a session by stock ssh, as their node decided. They have a key of their own, and their client
    /// can be reached for as long as `linked` says so.
    pub async fn join(&self, user: &str, session: &str, mode: JoinMode) -> Joiner {
        self.identity(user, |request| {
            request.key_id = user.to_owned();
            // Nothing hangs on their logins: they have none here.
            request.principals = palisade_ca::Principals::new(["no-login@palisade"]).unwrap();
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connection = format!("{user}-{port}");
        let (linked, links) = tokio::sync::watch::channel(true);
        let pass = pass_to_join(user, session, mode, &connection);
        let server = Arc::clone(&self.server);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            server.serve_linked(stream, pass, links).await;
        });
        let config = self.path(&format!("config_{user}_{port}"));
        let text = std::fs::read_to_string(self.path("config")).unwrap();
        let text = text
            .replace("/id_alice", &format!("/id_{user}"))
            .replace(&format!("User {}\n", self.login), "User join@palisade\n")
            .replace(&format!("Port {}\n", self.addr.port()), &format!("Port {port}\n"));
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("ssh");
        command
            .arg("-F")
            .arg(config)
            .args(["-tt", "web1"])
            .kill_on_drop(true);
        Joiner {
            tty: tty::Tty::run(command),
            connection,
            linked,
        }
    }

    /// `ssh -F config` with these arguments.
    pub fn ssh(&self, args: &[&str]) -> Command {
        self.client("ssh", args)
    }

    pub fn client(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-F")
            .arg(self.path("config"))
            .args(args)
            .kill_on_drop(true)
            .stdin(Stdio::null());
        command
    }

    /// Runs a client to its end.
    pub async fn run(&self, program: &str, args: &[&str]) -> Output {
        ended(self.client(program, args)).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub async fn ended(mut command: Command) -> Output {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    tokio::time::timeout(WITHIN, output)
        .await
        .expect("it ends")
        .unwrap()
}

pub fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Somebody in another's session.
pub struct Joiner {
    pub tty: tty::Tty,
    pub connection: String,
    pub linked: tokio::sync::watch::Sender<bool>,
}

/// The decision about somebody who may join alice's sessions as anything.
pub fn pass_to_join(user: &str, session: &str, mode: JoinMode, connection: &str) -> Pass {
    let view = |name: &str, role: &str| View {
        user: one(&format!(
            "kind: user\nmetadata: {{name: {name}}}\nspec: {{roles: [r]}}"
        )),
        roles: vec![one(&format!("kind: role\nmetadata: {{name: r}}\nspec: {role}"))],
        locks: Vec::new(),
        recording: Default::default(),
        auth: Default::default(),
        certs_void_until: Default::default(),
    };
    let joiner = view(
        user,
        "{allow: {join_sessions: [{roles: ['*'], modes: [observer, moderator, peer]}]}}",
    );
    let now = Timestamp::from_secs(now_secs());
    let credential = Credential {
        principals: Vec::new(),
        valid_before: now.plus_ms(600_000),
        source_address: None,
        serial: 7,
    };
    let (session, host) = (SessionId::parse(session).unwrap(), Name::parse("web1").unwrap());
    let ask = JoinAsk {
        credential: &credential,
        client: None,
        session: &session,
        owner: &view("somebody", "{}"),
        login: &Login::parse("anybody").unwrap(),
        host: &host,
        mode,
        again: false,
    };
    let permit = decide_join(&ask, &joiner, now).unwrap();
    let claims = Claims {
        connection: connection.to_owned(),
        host,
        agent: 9,
        user: Name::parse(user).unwrap(),
        credential: credential.clone(),
        extensions: vec!["permit-pty".to_owned()],
        client_addr: "127.0.0.1:1".to_owned(),
        issued: now,
        join: None,
    };
    Pass::to_join(claims, &permit, |bytes| [b"sealed ", bytes].concat())
}

/// The decision about a connection of alice's.
pub fn decide(policy: &Policy, connection: &str, from: &str) -> Result<Pass, String> {
    let host: Record<HostSpec> = one(
        "kind: host\nmetadata: {name: web1, labels: {env: test}}\nspec: {agent: {id: 9, joined: '2026-01-01T00:00:00Z'}}\n",
    );
    let role: Record<RoleSpec> = one(&format!(
        "kind: role\nmetadata: {{name: dev}}\nspec: {}",
        policy.role
    ));
    let user: Record<UserSpec> = one(&format!(
        "kind: user\nmetadata: {{name: alice}}\nspec: {{roles: [dev], traits: {{logins: [{}]}}}}",
        policy.logins.join(", ")
    ));
    let view = View {
        user,
        roles: vec![role],
        locks: Vec::new(),
        recording: Default::default(),
        auth: Default::default(),
        certs_void_until: Default::default(),
    };
    let now = Timestamp::from_secs(now_secs());
    let claims = Claims {
        connection: connection.to_owned(),
        host: host.metadata.name.clone(),
        agent: 9,
        user: view.user.metadata.name.clone(),
        credential: Credential {
            principals: policy.logins.iter().map(|l| Login::parse(l).unwrap()).collect(),
            valid_before: now.plus_ms(600_000),
            source_address: None,
            serial: 7,
        },
        extensions: [
            "permit-pty",
            "permit-port-forwarding",
            "permit-agent-forwarding",
            "permit-X11-forwarding",
        ]
        .map(str::to_owned)
        .to_vec(),
        client_addr: from.to_owned(),
        issued: now,
        join: None,
    };
    Pass::decide(claims, &host, &view, now, |bytes| [b"sealed ", bytes].concat()).map_err(|e| e.to_string())
}

pub fn write_key(path: &Path, key: &PrivateKey) {
    use std::os::unix::fs::PermissionsExt;
    let text = key.to_openssh(palisade_ca::ssh_key::LineEnding::LF).unwrap();
    std::fs::write(path, text.as_bytes()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits for a condition, with a bound.
pub async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + WITHIN;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An account that exists for one test. `None`, loudly, where we may not make one.
pub struct User {
    pub name: String,
}

impl User {
    pub fn make(test: &str, more: &[&str]) -> Option<User> {
        if !is_root() {
            eprintln!("SKIPPED {test}: only root can make accounts");
            return None;
        }
        let name = format!("pal{}", &format!("{:016x}", rand::random::<u64>())[..10]);
        let made = std::process::Command::new("useradd")
            .args(["-m", "-p", "*", "-s", "/bin/sh"])
            .args(more)
            .arg(&name)
            .status()
            .unwrap();
        assert!(made.success(), "useradd");
        Some(User { name })
    }

    pub fn uid(&self) -> u32 {
        nix::unistd::User::from_name(&self.name)
            .unwrap()
            .unwrap()
            .uid
            .as_raw()
    }

    pub fn home(&self) -> PathBuf {
        nix::unistd::User::from_name(&self.name).unwrap().unwrap().dir
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = std::process::Command::new("userdel")
            .args(["-r", "-f", &self.name])
            .stderr(Stdio::null())
            .status();
    }
}
