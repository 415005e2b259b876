//! Agents that do what no agent does, with an identity that is their own: what they may not write they do not write, and
//! nobody else is the worse for them. And strangers who try to take over a connection on its way to an agent.

use palisade_core::event::{Event, EventKind};
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::record::{Completeness, RecordingMode, RecordingSpec, SessionKind};
use palisade_core::time::Timestamp;
use palisade_core::tunnel::{
    ALPN_CONNECT, Answer, Beat, BeatAck, ClientAnswer, ClientHello, Hello, HostSession, LiveConnection,
    MESSAGE_BYTES_MAX, Opened, Participant, SHIP_BYTES_MAX, SessionEnd, ToAgent, ToNode,
};
use palisade_node::agent::AgentHome;
use palisade_node::home::Home;
use palisade_session::resume::{self, Dial, DialError, Refusal};
use palisade_session::ssh::client::{self, Connection, Identity, NodeCheck, Nothing};
use palisade_session::ssh::keys::PublicKey;
use palisade_session::ssh::keys::ssh_key::{Certificate, PrivateKey};
use palisade_session::ssh::russh::ChannelMsg;
use palisade_session::tunnel::wire::{read_message, write_message};
use palisade_session::tunnel::{Dialler, Limits, Target, Tunnel};
use palisade_testkit::{Agent, Background, Cluster, Person, me, retry};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;

const BOUND: Duration = Duration::from_secs(60);

/// An agent of ours: it has a host's identity, and says what the test wants.
struct Played {
    tunnel: Tunnel,
    beats: tokio::task::JoinHandle<()>,
    /// What the next beat says is served.
    claims: Arc<Mutex<Option<Vec<LiveConnection>>>>,
    heard: Arc<AtomicUsize>,
    /// Its socket lives as long as the tunnel.
    _dialler: Dialler,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.beats.abort();
        self.tunnel.close();
    }
}

/// What an agent proves itself with to nodes.
fn identity(agent: &Agent) -> rustls::ClientConfig {
    let home = Home::open(&agent.data_dir()).expect("its directory");
    let name = Name::parse(&agent.name).expect("a name");
    let identity = AgentHome::load(&home, &name)
        .expect("whole")
        .expect("it has joined");
    identity.tls().expect("its certificate")
}

/// Dials a node as the host that has joined, and says that its agent is there.
async fn play(cluster: &Cluster, agent: &Agent, limits: Limits) -> Played {
    let tls = identity(agent);
    let dialler = Dialler::new(Arc::new(move || Ok(tls.clone())), limits).expect("a UDP port");
    let target = Target {
        addresses: vec![cluster.nodes[0].web_addr().parse().expect("an address")],
        name: "127.0.0.1".to_owned().try_into().expect("an address"),
    };
    let tunnel = dialler.dial(&target).await.expect("the node takes its agents");
    let mut stream = tunnel.open().await.expect("a stream");
    let hello = Hello {
        version: "0".into(),
        facts: Default::default(),
        labels: Default::default(),
        tunnels_wanted: 1,
    };
    write_message(&mut stream, &ToNode::Presence(hello), MESSAGE_BYTES_MAX)
        .await
        .expect("heard");
    let (claims, heard) = (Arc::default(), Arc::default());
    let beats = tokio::spawn({
        let (claims, heard): (Arc<Mutex<Option<_>>>, Arc<AtomicUsize>) =
            (Arc::clone(&claims), Arc::clone(&heard));
        async move {
            loop {
                let connections = claims.lock().expect("nobody panicked").take();
                let told = connections.is_some();
                let beat = Beat {
                    labels: None,
                    connections,
                };
                if write_message(&mut stream, &beat, SHIP_BYTES_MAX).await.is_err() {
                    return;
                }
                if read_message::<BeatAck>(&mut stream, MESSAGE_BYTES_MAX)
                    .await
                    .is_err()
                {
                    return;
                }
                heard.fetch_add(usize::from(told), Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
    agent.wait_online(cluster);
    Played {
        tunnel,
        beats,
        claims,
        heard,
        _dialler: dialler,
    }
}

impl Played {
    async fn ask(&self, message: &ToNode) -> Answer {
        let mut stream = self.tunnel.open().await.expect("a stream");
        write_message(&mut stream, message, SHIP_BYTES_MAX)
            .await
            .expect("sent");
        let answer = read_message(&mut stream, MESSAGE_BYTES_MAX).await;
        answer.expect("an answer").expect("an answer")
    }

    /// The reason of a refusal.
    async fn refused(&self, message: &ToNode) -> String {
        match self.ask(message).await {
            Answer::Refused(why) => why,
            other => panic!("{other:?} to {message:?}"),
        }
    }

    /// The proof of a connection that a user really makes.
    async fn proof_of(&self, alice: &Person) -> Vec<u8> {
        let target = format!("{}@web1", me());
        let _ssh = Background::start(&mut alice.pal_command(&["ssh", &target, "true"]));
        loop {
            let mut stream = self.tunnel.accept().await.expect("a user comes");
            let message = read_message::<ToAgent>(&mut stream, MESSAGE_BYTES_MAX).await;
            if let Ok(Some(ToAgent::Connect { pass, .. })) = message {
                let no = Opened::No("nobody is at home".into());
                write_message(&mut stream, &no, MESSAGE_BYTES_MAX)
                    .await
                    .expect("told");
                let _ = stream.shutdown().await;
                return pass.proof().to_vec();
            }
        }
    }
}

fn session() -> SessionId {
    SessionId::parse(&uuid::Uuid::new_v4().to_string()).expect("an id")
}

fn row(session: &SessionId, host: &str, login: &str) -> RecordingSpec {
    RecordingSpec {
        session: session.clone(),
        session_kind: SessionKind::Exec,
        user: Name::parse("mallory").expect("a name"),
        login: Login::parse(login).expect("a login"),
        host: Name::parse(host).expect("a name"),
        node: 0,
        at_agent: false,
        client_addr: "192.0.2.1:1".into(),
        command: "true".into(),
        mode: RecordingMode::BestEffort,
        started: Timestamp::ZERO,
        ended: None,
        completeness: Completeness::Complete,
        chunks: 7,
        output_bytes: 7,
        last_chunk: "00".into(),
        sealed_key: String::new(),
    }
}

fn start(proof: &[u8], row: RecordingSpec) -> ToNode {
    ToNode::Start {
        proof: proof.to_vec(),
        row: Box::new(row),
        data_key: vec![7; 32],
        events: vec![Event::new(EventKind::SessionStart).user("mallory").host("web2")],
    }
}

fn end(proof: &[u8], session: &SessionId, completeness: Completeness) -> ToNode {
    ToNode::End {
        proof: proof.to_vec(),
        end: SessionEnd {
            session: session.clone(),
            completeness,
            chunks: 1,
            output_bytes: 1,
            last_chunk: "00".repeat(32),
            events: Vec::new(),
        },
    }
}

/// Goal: an agent writes its own host's sessions and recordings, for users whom a node let in, and nothing else.
/// Method: two agents played by the test; web2 has everything that web1 knows, and uses it.
#[test]
fn an_agent_writes_nothing_in_anothers_name_and_nothing_of_anothers_recording() {
    let cluster = Cluster::start(1);
    let (one, two) = (Agent::joined(&cluster, "web1"), Agent::joined(&cluster, "web2"));
    let alice = cluster.person("alice", "access,auditor");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let web1 = play(&cluster, &one, Limits::default()).await;
        let web2 = play(&cluster, &two, Limits::default()).await;
        let proof = web1.proof_of(&alice).await;
        let id = session();
        let me = me();

        // Who it is says its certificate; a row that names another host is of no use with another host's proof.
        for host in ["web1", "web2"] {
            let why = web2.refused(&start(&proof, row(&id, host, &me))).await;
            assert!(why.contains("the pass is for another host"), "{why}");
        }
        let mut forged = proof.clone();
        *forged.last_mut().expect("not empty") ^= 1;
        for proof in [&forged[..], b"", &[0; 64]] {
            let why = web1.refused(&start(proof, row(&id, "web1", &me))).await;
            assert!(why.contains("no node of this cluster gave this pass"), "{why}");
        }
        let why = web1.refused(&start(&proof, row(&id, "web1", "somebody"))).await;
        assert!(why.contains("somebody"), "{why}");
        let again = Hello {
            version: "0".into(),
            facts: Default::default(),
            labels: Default::default(),
            tunnels_wanted: 1,
        };
        let why = web2.refused(&ToNode::Presence(again)).await;
        assert!(why.contains("once in a tunnel"), "{why}");

        // The session that web1 may begin is what a node found out, not what the row says.
        assert_eq!(
            web1.ask(&start(&proof, row(&id, "web2", &me))).await,
            Answer::Done
        );
        let ship = |session: &SessionId| ToNode::Ship {
            session: session.clone(),
            seq: 0,
            bytes: vec![1; 100],
        };
        assert_eq!(web1.ask(&ship(&id)).await, Answer::Done);

        // Nothing of it is web2's.
        let why = web2.refused(&ship(&id)).await;
        assert!(why.contains("not one of this host's"), "{why}");
        let why = web2.refused(&end(&proof, &id, Completeness::Complete)).await;
        assert!(why.contains("the pass is for another host"), "{why}");
        let exec = Event::new(EventKind::Exec)
            .user("mallory")
            .host("web2")
            .target("rm -rf /");
        let audit = |event: Event| ToNode::Audit {
            proof: proof.clone(),
            events: vec![event],
        };
        let why = web2.refused(&audit(exec.clone())).await;
        assert!(why.contains("the pass is for another host"), "{why}");
        let made = Event::new(EventKind::HostCertIssue);
        let why = web1.refused(&audit(made)).await;
        assert!(why.contains("does not write"), "{why}");
        assert_eq!(web1.ask(&audit(exec)).await, Answer::Done);

        // Nor does it carry a connection that is web1's: nobody sees it there.
        *web2.claims.lock().expect("nobody panicked") = Some(vec![LiveConnection {
            proof: proof.clone(),
            connection: "0".repeat(32),
            sessions: vec![HostSession {
                session: id.clone(),
                login: me.clone(),
                kind: "interactive".into(),
                started: Timestamp::ZERO,
                participants: vec![Participant {
                    user: Name::parse("mallory").expect("a name"),
                    joined: None,
                }],
            }],
        }]);
        while web2.heard.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let live = cluster.palctl(0, &["sessions", "ls", "--format", "json"]).ok();
        assert!(!live.contains(id.as_str()), "{live}");

        // What is over is not added to.
        assert_eq!(
            web1.ask(&end(&proof, &id, Completeness::Complete)).await,
            Answer::Done
        );
        let why = web1.refused(&ship(&id)).await;
        assert!(why.contains("the recording is complete"), "{why}");

        let rows = alice
            .pal(&["recordings", "ls", "--format", "json"])
            .json()
            .to_string();
        assert!(rows.contains(id.as_str()) && rows.contains("\"web1\""), "{rows}");
        assert!(!rows.contains("web2") && !rows.contains("mallory"), "{rows}");
    });
    let execs = cluster.events(0, "session.exec");
    assert_eq!(execs.len(), 1, "{execs:?}");
    assert_eq!(
        (&execs[0]["event"]["user"], &execs[0]["event"]["host"]),
        (&"alice".into(), &"web1".into())
    );
    let refused = cluster.events(0, "agent.refused");
    let by = |host: &str| {
        refused
            .iter()
            .filter(|event| event["event"]["host"] == host)
            .count()
    };
    // Each refusal is written, under the name that the certificate proves.
    assert_eq!(
        (by("web1"), by("web2"), refused.len()),
        (6, 6, 12),
        "{refused:#?}"
    );
}

/// Goal: an agent's certificate is for tunnels and for its own renewal. Method: it is shown to every other part of the
/// API that could tell or change something.
#[test]
fn an_agents_certificate_opens_no_other_part_of_the_api() {
    let cluster = Cluster::start(1);
    let web1 = Agent::joined(&cluster, "web1");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = reqwest::Client::builder().use_preconfigured_tls(identity(&web1));
    let client = client.build().expect("a client");
    let kinds = [
        "user",
        "role",
        "host",
        "token",
        "lock",
        "cert_authority",
        "recording",
        "node",
    ];
    let reads = kinds.iter().map(|kind| format!("/v1/records/{kind}")).chain(
        [
            "whoami",
            "hosts",
            "sessions",
            "recordings",
            "audit/events",
            "audit/export",
            "cluster/status",
        ]
        .map(|path| format!("/v1/{path}")),
    );
    let tries = reads.map(|path| (reqwest::Method::GET, path)).chain([
        (reqwest::Method::DELETE, "/v1/records/host/web1".to_owned()),
        (reqwest::Method::POST, "/v1/tokens".to_owned()),
        (reqwest::Method::POST, "/v1/records/user".to_owned()),
        (reqwest::Method::POST, "/v1/certs".to_owned()),
        (reqwest::Method::POST, "/v1/authorities/host/sign".to_owned()),
        (reqwest::Method::POST, "/v1/cluster/transfer".to_owned()),
    ]);
    runtime.block_on(async {
        for (method, path) in tries {
            let url = format!("https://{}{path}", cluster.nodes[0].web_addr());
            let mut asked = client.request(method.clone(), url);
            if method == reqwest::Method::POST {
                asked = asked.header("content-type", "application/json").body("{}");
            }
            let status = asked.send().await.expect("an answer").status().as_u16();
            // What does not even make sense may be said to be so first.
            let fine = [401, 403].contains(&status) || (method == reqwest::Method::POST && status == 400);
            assert!(fine, "{method} {path}: {status}");
        }
    });
    assert!(web1.listed(&cluster).is_some());
}

/// Goal: a tunnel that floods, stalls or opens streams without end takes its own share, and users of other hosts do not
/// notice. Method: one played agent does all of it at once, while people use a real one.
#[test]
fn a_tunnel_that_floods_stalls_and_opens_streams_without_end_harms_nobody() {
    let cluster = Cluster::start(1);
    let _web1 = Agent::start(&cluster, "web1", "");
    let evil = Agent::joined(&cluster, "web2");
    let alice = cluster.person("alice", "access");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let target = format!("{}@web1", me());
    alice.pal(&["ssh", &target, "true"]).ok();
    let pid = cluster.nodes[0].pid().expect("it runs");
    let before = resident_kib(pid);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let opened = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let limits = Limits {
        outbound: 100_000,
        ..Limits::default()
    };
    let web2 = runtime.block_on(play(&cluster, &evil, limits));
    let tunnel = web2.tunnel.clone();
    // Streams that say that much follows, and say no more.
    runtime.spawn({
        let (tunnel, opened) = (tunnel.clone(), Arc::clone(&opened));
        async move {
            let mut kept = Vec::new();
            while let Ok(mut stream) = tunnel.open().await {
                if stream.write_all(&[0, 16, 0, 0, 1]).await.is_err() {
                    return;
                }
                opened.fetch_add(1, Ordering::SeqCst);
                kept.push(stream);
            }
        }
    });
    // Chunks of recordings that there are not: a hundred megabytes a second and more, were they taken.
    for _ in 0..16 {
        let (tunnel, over) = (tunnel.clone(), Arc::clone(&over));
        runtime.spawn(async move {
            let message = ToNode::Ship {
                session: session(),
                seq: 0,
                bytes: vec![0; 1 << 20],
            };
            // This machine carries the flood at both ends: it is not the processor that is to be shown to be full.
            let mut beat = tokio::time::interval(Duration::from_millis(100));
            while !over.load(Ordering::SeqCst) {
                beat.tick().await;
                let Ok(mut stream) = tunnel.open().await else {
                    return;
                };
                let _ = write_message(&mut stream, &message, SHIP_BYTES_MAX).await;
                let _ = read_message::<Answer>(&mut stream, MESSAGE_BYTES_MAX).await;
            }
        });
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut most = 0;
    while began.elapsed() < Duration::from_secs(10) {
        let asked = Instant::now();
        let mut ssh = Background::start(&mut alice.pal_command(&["ssh", &target, "echo served; cat"]));
        ssh.expect_output("served", BOUND);
        slowest = slowest.max(asked.elapsed());
        ssh.close_input();
        ssh.finish(2 * BOUND).ok();
        most = most.max(resident_kib(pid));
    }
    over.store(true, Ordering::SeqCst);
    println!(
        "{} streams opened; slowest command {slowest:?}; node {before} KiB before, {most} KiB at most",
        opened.load(Ordering::SeqCst)
    );
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    // The node closes what says nothing after five seconds, and never has more than it allows at a time.
    assert!(
        most < before + 300 * 1024,
        "the node grew from {before} to {most} KiB"
    );
    drop(web2);
    retry("the hostile agent to be gone", BOUND, || {
        match evil.listed(&cluster) {
            Some(host) if host["online"] == true => Err(format!("{host}")),
            _ => Ok(()),
        }
    });
    alice.pal(&["ssh", &target, "true"]).ok();
}

/// Resident memory of a process, in KiB (proc(5), VmRSS).
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("a number")
}

/// Somebody's own way to a host: what `pal proxy ssh` does, in the hands of the test.
#[derive(Clone)]
struct Somebody {
    node: String,
    tls: Arc<rustls::ClientConfig>,
    certificate: String,
}

impl Somebody {
    fn new(cluster: &Cluster, person: &Person) -> Self {
        let read = |ending: &str| std::fs::read(person.saved(ending)).expect("a login saves it");
        let mut roots = rustls::RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&read("ca.pem")) {
            roots
                .add(authority.expect("a certificate"))
                .expect("an authority");
        }
        let chain = read("-tls.pem");
        let chain = CertificateDer::pem_slice_iter(&chain).map(|one| one.expect("a certificate"));
        let key = PrivateKeyDer::from_pem_slice(&read("-tls.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.collect(), key)
            .expect("they fit");
        tls.alpn_protocols = vec![ALPN_CONNECT.to_vec()];
        Somebody {
            node: cluster.nodes[0].web_addr(),
            tls: Arc::new(tls),
            certificate: String::from_utf8(read("-cert.pub")).expect("text"),
        }
    }

    /// A link to web1's agent for this connection: the node has let it through.
    async fn link(&self, connection: &str, resumes: bool) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(&self.node).await?;
        let name = "127.0.0.1".to_owned().try_into().expect("an address");
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        let mut stream = connector.connect(name, tcp).await?;
        let hello = ClientHello {
            host: "web1".into(),
            port: 22,
            ssh_certificate: self.certificate.trim().to_owned(),
            connection: connection.to_owned(),
            resumes,
            asks_only: false,
            join: None,
        };
        let failed = |error| std::io::Error::other(format!("{error}"));
        let sent = write_message(&mut stream, &hello, MESSAGE_BYTES_MAX).await;
        sent.map_err(failed)?;
        match read_message(&mut stream, MESSAGE_BYTES_MAX)
            .await
            .map_err(failed)?
        {
            Some(ClientAnswer::Agent) => Ok(stream),
            other => Err(std::io::Error::other(format!("{other:?}"))),
        }
    }
}

/// The links of one connection, with everything that was sent over them, and a way to slip something in.
#[derive(Clone)]
struct Links {
    somebody: Somebody,
    connection: String,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    slip_in: Arc<Mutex<Option<mpsc::Sender<Option<Vec<u8>>>>>>,
}

impl Links {
    fn count(&self) -> usize {
        self.sent.lock().expect("nobody panicked").len()
    }

    /// Slips bytes into the link that is in use; `None` cuts it.
    async fn slip_in(&self, bytes: Option<Vec<u8>>) {
        let to = self.slip_in.lock().expect("nobody panicked").clone();
        to.expect("there is a link")
            .send(bytes)
            .await
            .expect("it is in use");
    }
}

impl Dial for Links {
    async fn dial(&mut self, _: u32) -> Result<Box<dyn resume::Link>, DialError> {
        let number = self.count();
        let (mut from, mut to) = tokio::io::split(self.somebody.link(&self.connection, number > 0).await?);
        self.sent.lock().expect("nobody panicked").push(Vec::new());
        let (slip, mut slipped) = mpsc::channel(1);
        *self.slip_in.lock().expect("nobody panicked") = Some(slip);
        let (theirs, ours): (DuplexStream, DuplexStream) = duplex(1 << 16);
        let (mut up, mut down) = tokio::io::split(ours);
        let sent = Arc::clone(&self.sent);
        tokio::spawn(async move {
            let upward = async {
                let mut buffer = vec![0; 1 << 16];
                loop {
                    tokio::select! {
                        read = up.read(&mut buffer) => {
                            let Ok(n @ 1..) = read else { return };
                            sent.lock().expect("nobody panicked")[number].extend_from_slice(&buffer[..n]);
                            if to.write_all(&buffer[..n]).await.is_err() || to.flush().await.is_err() {
                                return;
                            }
                        }
                        more = slipped.recv() => {
                            let Some(Some(more)) = more else { return };
                            if to.write_all(&more).await.is_err() || to.flush().await.is_err() {
                                return;
                            }
                        }
                    }
                }
            };
            tokio::select! {
                () = upward => {}
                _ = tokio::io::copy(&mut from, &mut down) => {}
            }
        });
        Ok(Box::new(theirs))
    }
}

async fn says(ssh: &Connection<Nothing>, word: &str) {
    let saying = async {
        let mut channel = ssh.handle().channel_open_session().await.expect("a channel");
        channel.exec(true, format!("echo {word}")).await.expect("asked");
        let mut said = Vec::new();
        while let Some(message) = channel.wait().await {
            if let ChannelMsg::Data { data } = message {
                said.extend_from_slice(&data);
            }
        }
        assert_eq!(String::from_utf8_lossy(&said), format!("{word}\n"));
    };
    tokio::time::timeout(BOUND, saying).await.expect("in time");
}

/// Goal: whoever is not the client of a connection cannot take it over through the nodes, and what does not belong into
/// it does not get in. Method: a connection of alice's over links that the test holds; what was said on them is said
/// again, altered, and in another's name; frames are slipped in. Each time the session goes on, with nothing lost.
#[test]
fn a_connection_to_an_agent_is_taken_over_by_nobody_and_takes_nothing_that_is_not_its_own() {
    let cluster = Cluster::start(1);
    let _web1 = Agent::start(&cluster, "web1", "");
    let (alice, bob) = (cluster.person("alice", "access"), cluster.person("bob", "access"));
    for person in [&alice, &bob] {
        person.login(&cluster.nodes[0].web_addr()).ok();
    }
    let text = |ending: &str| std::fs::read_to_string(alice.saved(ending)).expect("a login saves it");
    let key = alice
        .saved("-cert.pub")
        .display()
        .to_string()
        .replace("-cert.pub", "");
    let identity = Identity {
        key: Arc::new(PrivateKey::read_openssh_file(std::path::Path::new(&key)).expect("a key")),
        certificate: Certificate::from_openssh(text("-cert.pub").trim()).expect("a certificate"),
    };
    let known = text("known_hosts");
    let authorities = known
        .lines()
        .filter_map(|line| line.strip_prefix("@cert-authority * "));
    let authorities = authorities.map(|key| PublicKey::from_openssh(key).expect("a key"));
    let check = Arc::new(NodeCheck::new(authorities.collect(), vec!["web1".into()]));
    let links = Links {
        somebody: Somebody::new(&cluster, &alice),
        connection: uuid::Uuid::new_v4().simple().to_string(),
        sent: Arc::default(),
        slip_in: Arc::default(),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let stream = resume::connect(links.clone(), resume::Config::default(), None).await;
        let stream = stream.expect("a connection");
        let mut ssh = client::handshake(stream, "web1", check, Nothing)
            .await
            .expect("SSH");
        ssh.login(&me(), &identity).await.expect("logged in");
        says(&ssh, "one").await;
        links.slip_in(None).await;
        says(&ssh, "two").await;
        // On a busy machine a link may be given up and replaced at any time; it is never fewer.
        assert!(links.count() >= 2, "it was resumed");

        // Header of five bytes; version, kind, id (16), attempt (8), what was received (8), token (32): frame.rs.
        let sent = links.sent.lock().expect("nobody panicked").clone();
        let (greeting, resumption) = (&sent[0][..5 + 54], &sent[1][..5 + 66]);
        let altered = |at: usize| {
            let mut bytes = resumption.to_vec();
            bytes[5 + at] ^= 0x40;
            bytes
        };
        let tries = [
            ("the attempt again", resumption.to_vec(), Refusal::Denied),
            (
                "a later attempt with an old token",
                altered(2 + 16 + 7),
                Refusal::Denied,
            ),
            ("an offset from the future", altered(2 + 16 + 8), Refusal::Denied),
            ("a wrong token", altered(2 + 16 + 8 + 8 + 5), Refusal::Denied),
            ("another connection", altered(2), Refusal::Unknown),
            ("the first greeting again", greeting.to_vec(), Refusal::Denied),
        ];
        for who in [&links.somebody, &Somebody::new(&cluster, &bob)] {
            for (what, bytes, refusal) in &tries {
                let mut link = who.link(&links.connection, true).await.expect("let through");
                link.write_all(bytes).await.expect("sent");
                link.flush().await.expect("sent");
                let mut said = vec![0; 6];
                let read = tokio::time::timeout(BOUND, link.read_exact(&mut said)).await;
                read.expect("in time").expect("an answer");
                assert_eq!(said, [3, 0, 0, 0, 1, *refusal as u8], "{what}");
                says(&ssh, "undisturbed").await;
            }
        }
        let refused = cluster.events(0, "session.refused");
        let by = |user: &str| {
            let mine = |event: &&serde_json::Value| {
                event["event"]["user"] == user && event["event"]["target"] == "resume"
            };
            refused.iter().filter(mine).count()
        };
        assert_eq!(
            (by("alice"), by("bob")),
            (tries.len(), tries.len()),
            "{refused:#?}"
        );

        // The first data frame once more; an acknowledgement of what was never sent; data from far ahead.
        // The host may have spoken first: then what it said is acknowledged before anything is said to it.
        let mut frames = &sent[0][5 + 54..];
        let replayed = loop {
            let length = u32::from_be_bytes(frames[1..5].try_into().expect("four bytes"));
            let (first, rest) = frames.split_at(5 + usize::try_from(length).expect("small"));
            if first[0] == 4 {
                break first.to_vec();
            }
            frames = rest;
        };
        let frame = |kind: u8, offset: u64, bytes: &[u8]| {
            let mut frame = vec![kind];
            frame.extend(u32::try_from(8 + bytes.len()).expect("small").to_be_bytes());
            frame.extend(offset.to_be_bytes());
            frame.extend(bytes);
            frame
        };
        let slips = [
            replayed,
            frame(5, 1 << 60, b""),
            frame(4, 1 << 60, b"ahead"),
            frame(8, 1 << 60, b""),
        ];
        for bytes in slips {
            let before = links.count();
            links.slip_in(Some(bytes)).await;
            says(&ssh, "nothing-lost").await;
            assert!(
                links.count() > before,
                "a link with such a frame is given up, and the connection goes on"
            );
        }
    });
}
