//! The listeners: who TLS says calls, what a node without a cluster serves, what a connection may cost.

use crate::support::{World, keys};
use base64::Engine;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade_ca as ca;
use palisade_core::record::AuthorityType;
use palisade_web::testing::{MemoryBootstrap, MemoryCluster};
use palisade_web::{Front, bind_control, serve_control, serve_tls, tls_config};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Served {
    pub(crate) world: World,
    front: Arc<Front>,
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn secs() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")
}

fn window() -> ca::Window {
    ca::Window {
        not_before: secs() - 60,
        not_after: secs() + 3600,
        ttl_max_secs: 4000,
    }
}

pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn server_identity(cluster: &MemoryCluster) -> Identity {
    let key = ca::generate_tls_key().expect("a key");
    let request = ca::ServerCertRequest {
        public_key: ca::SubjectSpki::from_der(&key.spki_der).expect("a key"),
        dns_names: vec!["localhost".into()],
        addresses: vec![],
        serial: 3,
        window: window(),
    };
    let cert = ca::sign_server_cert(&cluster.signer(AuthorityType::Tls), &request).expect("signed");
    (
        vec![cert.der],
        PrivateKeyDer::from_pem_slice(key.private_pem.as_bytes()).expect("PEM"),
    )
}

pub(crate) fn client_identity(cluster: &MemoryCluster, user: &str) -> Identity {
    let key = ca::generate_tls_key().expect("a key");
    let request = ca::ClientCertRequest {
        public_key: ca::SubjectSpki::from_der(&key.spki_der).expect("a key"),
        user: user.into(),
        serial: 1 << 40,
        window: window(),
    };
    let cert = ca::sign_client_cert(&cluster.signer(AuthorityType::Tls), &request).expect("signed");
    (
        vec![cert.der],
        PrivateKeyDer::from_pem_slice(key.private_pem.as_bytes()).expect("PEM"),
    )
}

pub(crate) async fn served(with_api: bool) -> Served {
    let cluster = MemoryCluster::new();
    cluster
        .node
        .set_clock(palisade_core::time::Timestamp::from_secs(secs()));
    let world = World::of(cluster);
    world.add_user("alice", "admin", "root");
    let front = Front::new(Arc::new(MemoryBootstrap::default()));
    if with_api {
        front.set_api(world.cluster.api());
    }
    let authority = world
        .cluster
        .authority(AuthorityType::Tls)
        .certificate
        .expect("a certificate");
    let (chain, key) = server_identity(&world.cluster);
    let config = tls_config(chain, key, &[der(&authority)]).expect("a configuration");
    let (_keep, config) = watch::channel(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_tls(listener, config, front.clone(), stop.clone()));
    Served {
        world,
        front,
        addr,
        stop,
        task,
    }
}

impl Served {
    pub(crate) async fn tls(
        &self,
        identity: Option<Identity>,
        alpn: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let authority = self
            .world
            .cluster
            .authority(AuthorityType::Tls)
            .certificate
            .expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(der(&authority)).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("an identity"),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(self.addr).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    async fn get(&self, identity: Option<Identity>, path: &str) -> std::io::Result<(u16, Value)> {
        let stream = self.tls(identity, &[b"http/1.1"]).await?;
        request(stream, "GET", path, None).await
    }
}

async fn request<T>(stream: T, method: &str, path: &str, body: Option<Value>) -> std::io::Result<(u16, Value)>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = std::io::Error::other::<hyper::Error>;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let driver = tokio::spawn(connection);
    let body = Full::new(Bytes::from(body.map(|b| b.to_string()).unwrap_or_default()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(body)
        .expect("a request");
    let response = sender.send_request(request).await.map_err(failed)?;
    let answer = read(response).await?;
    drop(sender);
    driver.abort();
    Ok(answer)
}

async fn read(response: Response<hyper::body::Incoming>) -> std::io::Result<(u16, Value)> {
    let status = response.status().as_u16();
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(std::io::Error::other)?
        .to_bytes();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_says_who_calls() {
    let served = served(true).await;
    let alice = client_identity(&served.world.cluster, "alice");
    let (status, me) = served.get(Some(alice), "/v1/whoami").await.expect("answered");
    assert_eq!((status, &me["user"]), (200, &json!("alice")));
    let (status, _) = served.get(None, "/v1/whoami").await.expect("answered");
    assert_eq!(status, 401);
    let (status, ping) = served.get(None, "/v1/ping").await.expect("answered");
    assert_eq!((status, &ping["cluster"]), (200, &json!("demo")));
    // A certificate of another cluster, and one that is for servers.
    let foreign = client_identity(&MemoryCluster::new(), "alice");
    assert!(served.get(Some(foreign), "/v1/whoami").await.is_err());
    let server = server_identity(&served.world.cluster);
    assert!(served.get(Some(server), "/v1/whoami").await.is_err());
    served.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_served_as_well() {
    let served = served(true).await;
    let stream = served
        .tls(Some(client_identity(&served.world.cluster, "alice")), &[b"h2"])
        .await
        .expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("h2");
    tokio::spawn(connection);
    let request = Request::get("https://localhost/v1/whoami")
        .body(Full::<Bytes>::default())
        .expect("a request");
    let (status, me) = read(sender.send_request(request).await.expect("answered"))
        .await
        .expect("read");
    assert_eq!((status, &me["user"]), (200, &json!("alice")));
    served.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_smuggled_requests_end_the_connection() {
    let served = served(true).await;
    for sent in [
        &b"\x00\x01\x02garbage\r\n\r\n"[..],
        b"GET /v1/ping HTTP/9.9\r\nhost: x\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, x\r\n\r\n0\r\n\r\n",
    ] {
        let mut stream = served.tls(None, &[b"http/1.1"]).await.expect("TLS");
        stream.write_all(sent).await.expect("sent");
        let mut answer = Vec::new();
        // The other end may reset: what counts is that no good answer came.
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection stays open after {sent:?}");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let mut plain = TcpStream::connect(served.addr).await.expect("connected");
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP"));
    let (status, _) = served.get(None, "/healthz").await.expect("still served");
    assert_eq!(status, 200);
    served.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_headers_are_refused() {
    let served = served(true).await;
    let mut stream = served.tls(None, &[b"http/1.1"]).await.expect("TLS");
    let request = format!(
        "GET /v1/ping HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    stream.write_all(request.as_bytes()).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    served.stop.cancel();
}

/// Sends one more byte each half second until the other side hangs up, and says how long that took.
async fn trickle<T: AsyncRead + AsyncWrite + Unpin>(stream: T, begin: &[u8], byte: u8) -> Duration {
    let began = std::time::Instant::now();
    let (mut reader, mut writer) = tokio::io::split(stream);
    if writer.write_all(begin).await.is_err() {
        return began.elapsed();
    }
    let ended = async {
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).await.ok();
    };
    let more = async {
        while writer.write_all(&[byte]).await.is_ok() && writer.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! { () = ended => {}, () = more => {} }
    began.elapsed()
}

/// Goal: who sends slowly holds a connection for a bounded time and keeps nobody out. Method: a handshake, headers and a
/// body that come byte by byte, many at once, while others ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_are_given_up_and_keep_nobody_out() {
    let served = served(true).await;
    let bound = Duration::from_secs(60);
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let plain = TcpStream::connect(served.addr).await.expect("connected");
        slow.spawn(async move { trickle(plain, &[0x16, 0x03, 0x01, 0x40, 0x00], 1).await });
        let headers = served.tls(None, &[b"http/1.1"]).await.expect("TLS");
        slow.spawn(
            async move { trickle(headers, b"GET /v1/ping HTTP/1.1\r\nhost: x\r\nx-slow: ", b'x').await },
        );
    }
    let body = served.tls(None, &[b"http/1.1"]).await.expect("TLS");
    let head = b"POST /v1/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{";
    slow.spawn(async move { trickle(body, head, b' ').await });
    let mut asked = 0;
    let all = async {
        let mut longest = Duration::ZERO;
        while let Some(took) = slow.join_next().await {
            longest = longest.max(took.expect("no panic"));
        }
        longest
    };
    tokio::pin!(all);
    let longest = loop {
        tokio::select! {
            longest = &mut all => break longest,
            answer = served.get(None, "/v1/ping") => {
                assert_eq!(answer.expect("others are served").0, 200);
                asked += 1;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    };
    println!("the slowest was given up after {longest:?}; {asked} others were served meanwhile");
    assert!(longest < bound, "{longest:?}");
    assert!(asked > 10, "{asked}");
    served.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_open_requests() {
    let served = served(true).await;
    // Half of a login is sent before the stop, the rest after it.
    let keys = keys();
    let body = json!({
        "user": "nobody", "password": "x", "ssh_public_key": keys.ssh, "tls_public_key": keys.tls,
    })
    .to_string();
    let (first, rest) = body.split_at(10);
    let mut stream = served.tls(None, &[b"http/1.1"]).await.expect("TLS");
    let head = format!(
        "POST /v1/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    // The request has arrived once a second one on another connection was answered after it, several times over.
    for _ in 0..5 {
        served.get(None, "/healthz").await.expect("answered");
    }
    served.stop.cancel();
    for _ in 0..200 {
        if TcpStream::connect(served.addr).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stream.write_all(rest.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    tokio::time::timeout(Duration::from_secs(10), served.task)
        .await
        .expect("stopped")
        .expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_cluster_knows_how_to_begin_and_nothing_else() {
    let served = served(false).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    let listener = bind_control(&path).expect("a socket");
    let mode = std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_control(listener, served.front.clone(), stop.clone()));
    let ask = async |method: &str, uri: &str, body: Option<Value>| {
        let stream = UnixStream::connect(&path).await.expect("connected");
        request(stream, method, uri, body).await.expect("answered")
    };
    let (status, answer) = ask("GET", "/v1/cluster/status", None).await;
    assert_eq!((status, &answer["cluster"]), (200, &json!("")));
    assert_eq!(ask("GET", "/v1/ping", None).await.0, 200);
    assert_eq!(ask("GET", "/readyz", None).await.0, 503);
    assert_eq!(ask("GET", "/v1/records/role", None).await.0, 503);
    assert_eq!(
        ask("POST", "/v1/cluster/init", Some(json!({"cluster": "a b"})))
            .await
            .0,
        400
    );
    let (status, answer) = ask("POST", "/v1/cluster/init", Some(json!({"cluster": "demo"}))).await;
    assert_eq!((status, &answer["created"]), (200, &json!(true)));
    let (status, answer) = ask(
        "POST",
        "/v1/cluster/join",
        Some(json!({"token": "x", "addr": "x:1"})),
    )
    .await;
    assert_eq!(
        (status, &answer["message"]),
        (409, &json!("the member does not answer"))
    );
    let (status, answer) = served.get(None, "/v1/whoami").await.expect("answered");
    assert_eq!((status, &answer["code"]), (503, &json!("unavailable")));
    assert_eq!(served.get(None, "/v1/ping").await.expect("answered").0, 200);
    // Now it is in one.
    served.front.set_api(served.world.cluster.api());
    let (status, answer) = ask("GET", "/v1/whoami", None).await;
    assert_eq!((status, &answer["user"]), (200, &json!("local:operator")));
    assert_eq!(ask("GET", "/v1/records/role", None).await.0, 200);
    assert_eq!(
        ask("POST", "/v1/cluster/init", Some(json!({"cluster": "demo"})))
            .await
            .0,
        200
    );
    assert_eq!(served.get(None, "/v1/whoami").await.expect("answered").0, 401);
    // A second node on the same socket, and what a dead one left.
    assert!(bind_control(&path).is_err());
    stop.cancel();
    task.await.expect("no panic");
    assert!(bind_control(&path).is_ok());
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("written");
    assert!(bind_control(&file).is_err());
    assert!(file.exists());
    served.stop.cancel();
}

#[test]
fn the_keys_of_the_support_are_keys() {
    let pem = keys().tls;
    let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(body)
        .expect("base64");
    assert!(ca::SubjectSpki::from_der(&der).is_ok());
}

/// Goal: whoever is refused before their body was read reads why, and the connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_refused_while_it_sends_reads_why() {
    let served = served(true).await;
    let mut stream = served.tls(None, &[b"http/1.1"]).await.expect("TLS");
    let body = vec![b'x'; 2 << 20];
    for (more, status) in [
        // Read by nobody; read in part, and found to be too long.
        ("x-request-id: none\r\n", "400"),
        ("content-type: text/plain\r\n", "415"),
        ("content-type: application/json\r\n", "413"),
    ] {
        let head = format!(
            "POST /v1/records/host HTTP/1.1\r\nhost: localhost\r\n{more}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("it listens");
        stream.write_all(&body).await.expect("it takes the rest");
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("\"code\""), "{answer}");
    }
    let ping = "GET /v1/ping HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(ping.as_bytes()).await.expect("it still listens");
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// One answer with a body of a known length.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut got = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if Some(body.len()) == length.and_then(|length| length.parse().ok()) {
                return text;
            }
        }
        let mut piece = [0; 4096];
        let size = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut piece)).await;
        let size = size.expect("an answer").expect("the connection holds");
        assert_ne!(size, 0, "the connection ended: {text}");
        got.extend_from_slice(&piece[..size]);
    }
}
