//! A node with everything in memory, and a real OpenSSH server and client on loopback.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part of this, and a test that cannot go on should stop"
)]

pub mod memory;
pub mod openssh;

use memory::{MemoryConsensus, MemoryRecordings};
use openssh::Sshd;
use palisade_ca::ssh_key::PrivateKey;
use palisade_ca::ssh_key::private::Ed25519Keypair;
use palisade_ca::{
    AuthorityType, ClusterKey, Principals, Seal as _, SealContext, Signer, StandardExtension, SubjectKey,
    UserCertRequest,
};
use palisade_core::record::AnyRecord;
use palisade_proxy::authorities::ClusterAuthorities;
use palisade_proxy::ssh::{Config, Proxy};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::process::Command;
use tokio::sync::oneshot;

pub const CLUSTER: &str = "test";

pub fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A cluster's authorities, made for one test.
pub struct Cas {
    pub user: Arc<Signer>,
    pub host: Arc<Signer>,
    /// The user authority's private key itself, for certificates that our own code refuses to sign.
    pub user_key: PrivateKey,
}

impl Cas {
    pub fn new() -> Self {
        let key = ClusterKey::generate().unwrap();
        let id = "5e6b1c1e-7f5e-4f43-9d5e-2f4d0c6a1b2c";
        let make = |kind| {
            let new = palisade_ca::create_authority(kind, CLUSTER, id, &key, now_secs()).unwrap();
            let signer = Signer::open(kind, id, &new.sealed_private, &new.public, &key).unwrap();
            (new, Arc::new(signer))
        };
        let (new, user) = make(AuthorityType::User);
        let path = format!("cert_authority/user/{}", new.public.pin);
        let context = SealContext::new(id, &path, 1);
        let private = key.open(context.as_str(), &new.sealed_private).unwrap();
        // PKCS#8 of Ed25519 ends with the seed.
        let seed: [u8; 32] = private[private.len() - 32..].try_into().unwrap();
        Cas {
            user,
            host: make(AuthorityType::Host).1,
            user_key: PrivateKey::from(Ed25519Keypair::from_seed(&seed)),
        }
    }

    pub fn line(signer: &Signer) -> String {
        signer.public().ssh_public_key.clone().unwrap()
    }
}

/// A node under test, one host behind it, and a directory for clients.
pub struct World {
    pub dir: tempfile::TempDir,
    pub cas: Arc<Cas>,
    pub consensus: Arc<MemoryConsensus>,
    pub recordings: Arc<MemoryRecordings>,
    pub proxy: Proxy,
    pub addr: SocketAddr,
    pub sshd: Sshd,
    pub login: String,
    shutdown: Option<oneshot::Sender<()>>,
    serving: Option<tokio::task::JoinHandle<()>>,
}

pub const EVERYTHING: &str = "
    options: {port_forwarding: true, forward_agent: true}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";

impl World {
    /// alice with the role `dev`, which allows everything on `web1`.
    pub async fn new() -> Self {
        Self::with_role(EVERYTHING).await
    }

    pub async fn with_role(spec: &str) -> Self {
        Self::with(spec, Config::default(), "").await
    }

    pub async fn with(role: &str, mut config: Config, sshd_lines: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("palisade-proxy")
            .tempdir()
            .unwrap();
        let cas = Arc::new(Cas::new());
        let sshd = Sshd::start(dir.path(), &cas, sshd_lines).await;
        let consensus = Arc::new(MemoryConsensus::new());
        let recordings = Arc::new(MemoryRecordings::default());
        let login = openssh::me();
        config.names = vec!["127.0.0.1".into(), "node1".into()];
        let authorities =
            Arc::new(ClusterAuthorities::new(Arc::clone(&cas.user), Arc::clone(&cas.host)).unwrap());
        let proxy = Proxy::new(consensus.clone(), authorities, recordings.clone(), config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (shutdown, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn({
            let proxy = proxy.clone();
            async move {
                proxy
                    .serve(listener, async {
                        let _ = stopped.await;
                    })
                    .await;
            }
        });
        let world = World {
            dir,
            cas,
            consensus,
            recordings,
            proxy,
            addr,
            sshd,
            login,
            shutdown: Some(shutdown),
            serving: Some(serving),
        };
        world.put(&format!(
            "kind: role\nversion: v1\nmetadata: {{name: dev}}\nspec: {role}"
        ));
        world.put(&format!(
            "kind: user\nversion: v1\nmetadata: {{name: alice}}\nspec: {{roles: [dev], traits: {{logins: [{}]}}}}",
            world.login
        ));
        world.put(&format!(
            "kind: host\nversion: v1\nmetadata: {{name: web1, labels: {{env: test}}}}\nspec: {{addr: '127.0.0.1:{}'}}",
            world.sshd.port
        ));
        world.identity("alice", &[&world.login.clone()]).await;
        world.client_config().await;
        world
    }

    /// Writes a record.
    pub fn put(&self, yaml: &str) {
        let record: AnyRecord = memory::read_record(yaml);
        self.consensus.put(record);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A key and certificate under the name `id_<user>` in the client's directory.
    pub async fn identity(&self, user: &str, principals: &[&str]) {
        let now = now_secs();
        self.identity_with(user, |request| {
            request.principals = Principals::new(principals.iter().copied()).unwrap();
            request.valid_after = now - 60;
            request.valid_before = now + 600;
        })
        .await;
    }

    pub async fn identity_with(&self, user: &str, change: impl FnOnce(&mut UserCertRequest)) {
        let key = palisade_ca::generate_ssh_key().unwrap();
        let now = now_secs();
        let mut request = UserCertRequest {
            public_key: SubjectKey::parse(&key.public_key().to_openssh().unwrap()).unwrap(),
            key_id: user.to_owned(),
            principals: Principals::new([self.login.as_str()]).unwrap(),
            valid_after: now - 60,
            valid_before: now + 600,
            ttl_max_secs: 1 << 30,
            // Newer than every record of these tests.
            serial: 1 << 40,
            extensions: BTreeSet::from([
                StandardExtension::Pty,
                StandardExtension::PortForwarding,
                StandardExtension::AgentForwarding,
            ]),
            custom_extensions: BTreeMap::new(),
            source_networks: Vec::new(),
        };
        change(&mut request);
        let line = palisade_ca::sign_user_cert(&self.cas.user, &request).unwrap();
        self.write_identity(user, &key, &line);
    }

    pub fn write_identity(&self, user: &str, key: &PrivateKey, certificate: &str) {
        write_key(&self.path(&format!("id_{user}")), key);
        std::fs::write(
            self.path(&format!("id_{user}-cert.pub")),
            format!("{certificate}\n"),
        )
        .unwrap();
    }

    /// What `pal config` writes, for this test.
    async fn client_config(&self) {
        let dir = self.dir.path().display();
        let known = format!("@cert-authority * {}\n", Cas::line(&self.cas.host));
        std::fs::write(self.path("known_hosts"), known).unwrap();
        let common = format!(
            "    UserKnownHostsFile {dir}/known_hosts\n    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    \
             IdentityFile {dir}/id_alice\n    CertificateFile {dir}/id_alice-cert.pub\n    IdentitiesOnly yes\n    \
             IdentityAgent none\n    BatchMode yes\n    LogLevel INFO\n"
        );
        let config = format!(
            "Host node1\n    HostName 127.0.0.1\n    Port {port}\n    User alice\n{common}\nHost web1 web1.*\n    HostName web1\n    \
             ProxyJump node1\n    User {login}\n{common}\n",
            port = self.addr.port(),
            login = self.login
        );
        std::fs::write(self.path("config"), config).unwrap();
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
            .stdin(std::process::Stdio::null());
        command
    }

    pub async fn stop(mut self) {
        drop(self.shutdown.take());
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
        self.sshd.stop().await;
    }
}

pub fn write_key(path: &Path, key: &PrivateKey) {
    use std::os::unix::fs::PermissionsExt;
    let text = key.to_openssh(palisade_ca::ssh_key::LineEnding::LF).unwrap();
    std::fs::write(path, text.as_bytes()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Waits for a condition, with a bound.
pub async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
