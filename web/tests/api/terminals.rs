//! Terminals and files of hosts: who is let in, what frames may be, what may wait. The hosts are in memory.

use crate::listeners::{Served, client_identity, served};
use crate::support::World;
use futures::{SinkExt, StreamExt};
use palisade_core::command::{Command, Expect};
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::ports::TerminalTarget;
use palisade_core::record::{
    Completeness, JoinMode, Kind, Record, RecordingMode, RecordingSpec, SessionKind,
};
use palisade_core::terminal::{FRAME_MAX, TYPED_MAX, UNACKED_MAX};
use palisade_web::testing::START;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const SESSION: &str = palisade_web::testing::MEMORY_SESSION;
const BOUND: Duration = Duration::from_secs(30);

struct Page(WebSocketStream<TlsStream<TcpStream>>);

/// A page's socket; or the status that was answered instead.
async fn socket(served: &Served, user: Option<&str>, origin: Option<&str>) -> Result<Page, u16> {
    socket_with(served, user, origin, None).await
}

async fn socket_with(
    served: &Served,
    user: Option<&str>,
    origin: Option<&str>,
    cookie: Option<&str>,
) -> Result<Page, u16> {
    let identity = user.map(|user| client_identity(&served.world.cluster, user));
    let stream = served.tls(identity, &[b"http/1.1"]).await.expect("TLS");
    let url = format!("wss://localhost:{}/v1/terminal", served.addr.port());
    let mut request = url.into_client_request().expect("a request");
    if let Some(origin) = origin {
        request
            .headers_mut()
            .insert("origin", origin.parse().expect("a header"));
    }
    if let Some(cookie) = cookie {
        request
            .headers_mut()
            .insert("cookie", cookie.parse().expect("a header"));
    }
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(Page(socket)),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

async fn page(served: &Served, user: Option<&str>) -> Page {
    let origin = format!("https://localhost:{}", served.addr.port());
    socket(served, user, Some(&origin)).await.expect("a socket")
}

/// What a page got.
#[derive(Debug, PartialEq)]
enum Got {
    Says(Value),
    Bytes(Vec<u8>),
    /// With its code.
    Closed(Option<u16>),
}

impl Page {
    async fn say(&mut self, frame: Value) {
        self.0
            .send(Message::text(frame.to_string()))
            .await
            .expect("the socket is open");
    }

    async fn types(&mut self, bytes: &[u8]) {
        self.0
            .send(Message::binary(bytes.to_vec()))
            .await
            .expect("the socket is open");
    }

    async fn got(&mut self) -> Got {
        loop {
            let next = tokio::time::timeout(BOUND, self.0.next()).await;
            match next.expect("something comes") {
                Some(Ok(Message::Text(text))) => {
                    return Got::Says(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Binary(bytes))) => return Got::Bytes(bytes.to_vec()),
                Some(Ok(Message::Close(frame))) => return Got::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Got::Closed(None),
            }
        }
    }

    async fn says(&mut self) -> Value {
        match self.got().await {
            Got::Says(frame) => frame,
            other => panic!("{other:?}"),
        }
    }

    /// The code and text of a failure, and the close behind it.
    async fn failed(&mut self) -> (String, String) {
        let frame = self.says().await;
        let text = |name: &str| frame["failed"][name].as_str().unwrap_or_default().to_owned();
        let failed = (text("code"), text("message"));
        assert_eq!(self.got().await, Got::Closed(Some(1008)), "{frame}");
        failed
    }

    async fn opened(&mut self) -> Value {
        self.say(open()).await;
        let frame = self.says().await;
        assert!(frame["opened"].is_object(), "{frame}");
        frame["opened"].clone()
    }
}

fn open() -> Value {
    json!({"open": {"host": "web1", "login": "root", "cols": 80, "rows": 24, "session": ""}})
}

async fn with_hosts() -> Served {
    let served = served(true).await;
    served
        .world
        .cluster
        .ports
        .hosts
        .open
        .store(true, Ordering::SeqCst);
    served
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_pages_of_the_nodes_open_a_socket() {
    let served = with_hosts().await;
    let port = served.addr.port();
    for origin in [
        format!("https://localhost:{port}"),
        "https://127.0.0.1:3080".into(),
    ] {
        let opened = socket(&served, Some("alice"), Some(&origin)).await;
        assert!(opened.is_ok(), "{origin}");
    }
    for origin in [
        None,
        Some("null".to_owned()),
        Some("https://evil.example".into()),
        Some(format!("http://localhost:{port}")),
        Some("https://localhost".into()),
        Some("https://127.0.0.1:3081".into()),
        Some(format!("https://localhost:{port}.evil.example")),
    ] {
        let refused = socket(&served, Some("alice"), origin.as_deref()).await;
        assert_eq!(refused.err(), Some(403), "{origin:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_what_its_frames_say() {
    let served = with_hosts().await;
    let hosts = &served.world.cluster.ports.hosts;
    let mut page = page(&served, Some("alice")).await;
    let opened = page.opened().await;
    assert_eq!(
        opened,
        json!({"session": SESSION, "host": "web1", "login": "root", "node": "n1", "again": false})
    );
    {
        let opened = hosts.opened.lock();
        let (user, wanted) = &opened[0];
        assert_eq!(user.user.as_str(), "alice");
        assert_eq!(
            (user.addr.ip().to_string().as_str(), wanted.columns),
            ("127.0.0.1", 80)
        );
        assert_ne!(user.addr.port(), 0, "where they are is told whole");
        let certificate = palisade_ca::ssh_key::Certificate::from_openssh(&user.certificate).expect("a line");
        assert_eq!(certificate.valid_principals(), ["root"]);
        assert!(certificate.extensions().contains_key("permit-pty"));
        assert_eq!(certificate.extensions().len(), 1, "nothing but a terminal");
        let issued = served.world.events("cert.issue");
        let serial = certificate.serial().to_string();
        assert!(
            issued
                .iter()
                .any(|event| event.data.get("serial") == Some(&serial))
        );
    }
    page.types(b"hello").await;
    assert_eq!(page.got().await, Got::Bytes(b"hello".to_vec()));
    page.say(json!({"ack": 5})).await;
    page.say(json!({"ping": 42})).await;
    assert_eq!(page.says().await, json!({"pong": 42}));
    page.say(json!({"resize": {"cols": 132, "rows": 43}})).await;
    assert_eq!(page.says().await, json!({"notice": "132x43"}));
    page.types(b"exit").await;
    assert_eq!(page.says().await, json!({"closed": {"status": 3, "reason": ""}}));
    assert_eq!(page.got().await, Got::Closed(Some(1000)));
    assert_eq!(hosts.closed.load(Ordering::SeqCst), 0, "it ended by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_let_in_is_told_why() {
    let served = with_hosts().await;
    served.world.cluster.node.write(
        "kind: user\nmetadata: {name: locked}\nspec: {roles: [admin], traits: {logins: [root]}}\n---\n\
         kind: lock\nmetadata: {name: lock1}\nspec: {target: {user: locked}, message: gone}\n",
    );
    for (user, code, why) in [
        (None, "unauthenticated", "log in first"),
        (Some("locked"), "locked", "gone"),
        (Some("ghost"), "unauthenticated", "does not exist"),
    ] {
        let mut page = page(&served, user).await;
        page.say(open()).await;
        let (said, message) = page.failed().await;
        assert!(said == code && message.contains(why), "{said}: {message}");
    }
    let hosts = &served.world.cluster.ports.hosts;
    assert!(hosts.opened.lock().is_empty());
    hosts.open.store(false, Ordering::SeqCst);
    let mut page = page(&served, Some("alice")).await;
    page.say(open()).await;
    let (code, message) = page.failed().await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("refused", "you have no access to that host")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_frame_that_is_none_opens_nothing() {
    let served = with_hosts().await;
    for first in [
        json!({"ping": 1}),
        json!({"open": {"host": "web1"}}),
        json!({"open": {"host": "web1", "login": "root", "cols": 0, "rows": 24}}),
        json!({"open": {"host": "web1", "login": "root", "cols": 80, "rows": 60000}}),
        json!({"open": {"host": "we b1", "login": "root", "cols": 80, "rows": 24}}),
        json!({"open": {"host": "web1", "login": "-x y", "cols": 80, "rows": 24}}),
        json!({"open": {"cols": 80, "rows": 24, "session": "not an id"}}),
        json!({"open": {"host": "web1", "login": "root", "cols": 80, "rows": 24, "more": 1}}),
        json!("open"),
    ] {
        let mut page = page(&served, Some("alice")).await;
        page.say(first.clone()).await;
        let (code, message) = page.failed().await;
        assert_eq!(code, "invalid", "{first}: {message}");
    }
    let mut typed = page(&served, Some("alice")).await;
    typed.types(b"hello").await;
    assert_eq!(typed.failed().await.0, "invalid");
    // A secret in a frame that cannot be read is not repeated.
    let mut secret = page(&served, Some("alice")).await;
    secret.say(json!({"open": {"csrf": "hunter2", "x": 1}})).await;
    let (_, message) = secret.failed().await;
    assert!(!message.contains("hunter2"), "{message}");
    assert!(served.world.cluster.ports.hosts.opened.lock().is_empty());

    let began = Instant::now();
    let mut silent = page(&served, Some("alice")).await;
    let (code, message) = silent.failed().await;
    assert!(
        code == "unauthenticated" && message.contains("10 s"),
        "{code}: {message}"
    );
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_break_a_rule_end_the_socket_and_not_the_session() {
    let served = with_hosts().await;
    let large = "x".repeat(FRAME_MAX + 1);
    for (frame, code) in [
        (json!({"ack": 1}).to_string(), "invalid"),
        (json!({"resize": {"cols": 0, "rows": 1}}).to_string(), "invalid"),
        (open().to_string(), "invalid"),
        ("{".to_owned(), "invalid"),
        (large.clone(), "too_large"),
    ] {
        let mut page = page(&served, Some("alice")).await;
        page.opened().await;
        page.0.send(Message::text(frame.clone())).await.expect("open");
        let (said, message) = page.failed().await;
        assert_eq!(said, code, "{message}");
    }
    let mut page = page(&served, Some("alice")).await;
    page.opened().await;
    page.types(large.as_bytes()).await;
    assert_eq!(page.failed().await.0, "too_large");
    let mut huge = self::page(&served, Some("alice")).await;
    huge.opened().await;
    // Far too large is not even read; the socket may be gone before it is sent.
    let _ = huge.0.send(Message::binary(vec![0; 16 * FRAME_MAX])).await;
    assert!(matches!(huge.got().await, Got::Closed(_)));
    let closed = served.world.cluster.ports.hosts.closed.load(Ordering::SeqCst);
    assert_eq!(closed, 0, "none was closed on purpose");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_closes_and_going_away_does_not() {
    let served = with_hosts().await;
    let closed = || served.world.cluster.ports.hosts.closed.load(Ordering::SeqCst);
    let mut gone = page(&served, Some("alice")).await;
    gone.opened().await;
    gone.0.close(None).await.expect("open");
    let mut dropped = page(&served, Some("alice")).await;
    dropped.opened().await;
    drop(dropped);
    let mut page = page(&served, Some("alice")).await;
    page.opened().await;
    page.say(json!({"close": {}})).await;
    assert_eq!(
        page.says().await,
        json!({"closed": {"status": null, "reason": ""}})
    );
    assert_eq!(page.got().await, Got::Closed(Some(1000)));
    assert_eq!(closed(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_acks_nothing_is_sent_no_more_than_the_bound() {
    let served = with_hosts().await;
    let shown = || served.world.cluster.ports.hosts.shown.load(Ordering::SeqCst);
    let mut stalled = page(&served, Some("alice")).await;
    stalled.opened().await;
    stalled.types(b"flood").await;
    let mut got = 0;
    while got < UNACKED_MAX {
        match stalled.got().await {
            Got::Bytes(bytes) => got += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    // It is still there, answers, and others are not held up.
    stalled.say(json!({"ping": 1})).await;
    assert_eq!(stalled.got().await, Got::Says(json!({"pong": 1})));
    assert_eq!((got, shown()), (UNACKED_MAX, UNACKED_MAX as u64));
    let mut other = page(&served, Some("alice")).await;
    other.opened().await;
    other.types(b"here").await;
    assert_eq!(other.got().await, Got::Bytes(b"here".to_vec()));

    stalled.say(json!({"ack": 100_000})).await;
    let mut more = 0;
    while more < 100_000 {
        match stalled.got().await {
            Got::Bytes(bytes) => more += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    stalled.say(json!({"ping": 2})).await;
    assert_eq!(stalled.got().await, Got::Says(json!({"pong": 2})));
    assert_eq!((more, shown()), (100_000, UNACKED_MAX as u64 + 100_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_program_does_not_read_is_bounded_and_holds_nothing_up() {
    let served = with_hosts().await;
    let mut page = page(&served, Some("alice")).await;
    page.opened().await;
    page.types(b"stuck").await;
    for _ in 0..(2 * TYPED_MAX / FRAME_MAX) {
        page.types(&vec![b'y'; FRAME_MAX]).await;
    }
    let notice = page.says().await;
    assert!(
        notice["notice"]
            .as_str()
            .is_some_and(|text| text.contains("left out")),
        "{notice}"
    );
    page.say(json!({"resize": {"cols": 100, "rows": 30}})).await;
    assert_eq!(page.says().await, json!({"notice": "100x30"}));
    page.say(json!({"ping": 1})).await;
    assert_eq!(page.says().await, json!({"pong": 1}), "one notice is enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_taken_up_again_by_their_owner_and_joined_by_others() {
    let served = with_hosts().await;
    let hosts = &served.world.cluster.ports.hosts;
    let asks = |more: Value| {
        let mut open = json!({"cols": 80, "rows": 24, "session": SESSION});
        open.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        json!({ "open": open })
    };
    // With a mode it is somebody else's to join, whether there is one or not: that is decided at the host.
    {
        let mut page = page(&served, Some("alice")).await;
        page.say(asks(json!({"mode": "peer"}))).await;
        let opened = page.says().await;
        assert_eq!(opened["opened"]["login"], "", "{opened}");
        let opened = hosts.opened.lock();
        let (_, wanted) = opened.last().expect("one");
        match &wanted.target {
            TerminalTarget::Join(joining) => {
                assert_eq!(
                    (joining.session.as_str(), joining.mode),
                    (SESSION, JoinMode::Peer)
                )
            }
            other => panic!("{other:?}"),
        }
    }
    // Without one it is one's own. That there is none is another answer than that it is over: it may be known in a moment.
    let unknown = {
        let mut page = page(&served, Some("alice")).await;
        page.say(asks(json!({}))).await;
        page.failed().await
    };
    assert_eq!(unknown.0, "session_unknown", "{unknown:?}");
    // Their own goes on, at its host and as its account, whatever the page says of either.
    let node = &served.world.cluster.node;
    node.apply("alice", started(true)).done().expect("a row");
    // Of somebody else's nothing is learned.
    served.world.add_user("bob", "admin", "root");
    let mut bobs = self::page(&served, Some("bob")).await;
    bobs.say(asks(json!({}))).await;
    assert_eq!(bobs.failed().await, unknown);
    let mut page = page(&served, Some("alice")).await;
    page.say(asks(json!({"host": "elsewhere", "login": "root"})))
        .await;
    let opened = page.says().await["opened"].clone();
    assert_eq!(
        (&opened["again"], &opened["login"]),
        (&json!(true), &json!("root")),
        "{opened}"
    );
    {
        let opened = hosts.opened.lock();
        match &opened.last().expect("one").1.target {
            TerminalTarget::Again { session, host, login } => {
                assert_eq!(
                    (session.as_str(), host.as_str(), login.as_str()),
                    (SESSION, "web7", "root")
                );
            }
            other => panic!("{other:?}"),
        }
    }
    // It is over.
    let ended = Command::EndSession {
        session: SessionId::parse(SESSION).expect("a UUID"),
        completeness: Completeness::Complete,
        chunks: 1,
        output_bytes: 1,
        last_chunk: String::new(),
        events: Vec::new(),
    };
    node.apply("alice", ended).done().expect("ended");
    let mut page = self::page(&served, Some("alice")).await;
    page.say(asks(json!({}))).await;
    let (code, message) = page.failed().await;
    assert!(
        code == "session_over" && message.contains("over"),
        "{code}: {message}"
    );
}

fn started(at_agent: bool) -> Command {
    let name = |text: &str| Name::parse(text).expect("a name");
    let row = RecordingSpec {
        session: SessionId::parse(SESSION).expect("a UUID"),
        session_kind: SessionKind::Interactive,
        user: name("alice"),
        login: Login::parse("root").expect("a login"),
        host: name("web7"),
        node: 1,
        at_agent,
        client_addr: String::new(),
        command: String::new(),
        mode: RecordingMode::BestEffort,
        started: START,
        ended: None,
        completeness: Completeness::Live,
        chunks: 0,
        output_bytes: 0,
        last_chunk: String::new(),
        sealed_key: String::new(),
    };
    Command::StartSession {
        recording: Box::new(Record::new(name(SESSION), row)),
        events: Vec::new(),
        max_sessions: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ran_through_a_node_is_over_with_its_socket() {
    let served = with_hosts().await;
    let node = &served.world.cluster.node;
    node.apply("alice", started(false)).done().expect("a row");
    let mut page = page(&served, Some("alice")).await;
    page.say(json!({"open": {"cols": 80, "rows": 24, "session": SESSION}}))
        .await;
    let (code, message) = page.failed().await;
    assert!(
        code == "session_over" && message.contains("agent"),
        "{code}: {message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_terminals_are_another_answer_than_a_busy_node() {
    let served = with_hosts().await;
    let mut open = Vec::new();
    let (code, message) = loop {
        let mut page = page(&served, Some("alice")).await;
        page.say(self::open()).await;
        match page.says().await {
            frame if frame["opened"].is_object() => open.push(page),
            frame => {
                let text = |name: &str| frame["failed"][name].as_str().unwrap_or_default().to_owned();
                break (text("code"), text("message"));
            }
        }
        assert!(open.len() <= 1000, "there is no bound");
    };
    assert_eq!(code, "too_many_terminals", "{message}");
    assert!(
        message.contains(&open.len().to_string()) && message.contains("close one"),
        "{message}"
    );
    // Closing one makes room.
    drop(open.pop());
    let again = tokio::time::timeout(BOUND, async {
        loop {
            let mut page = page(&served, Some("alice")).await;
            page.say(self::open()).await;
            let frame = page.says().await;
            if frame["opened"].is_object() {
                break;
            }
            assert_eq!(frame["failed"]["code"], "too_many_terminals", "{frame}");
        }
    });
    again.await.expect("room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_both_ways_and_say_what_is_wrong() {
    let world = World::new();
    world.add_user("alice", "admin", "root");
    let hosts = &world.cluster.ports.hosts;
    hosts.open.store(true, Ordering::SeqCst);
    let alice = world.user("alice");
    let call = async |method: &str, query: &str, body: &[u8]| {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(format!("/v1/hosts/web1/file?{query}"))
            .body(axum::body::Body::from(body.to_vec()))
            .expect("a request");
        world.send(&alice, request).await
    };
    let content: Vec<u8> = (0..100_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let answer = call("PUT", "login=root&path=~/a%20b", &content).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(hosts.files.lock().get("a b"), Some(&content));
    let answer = call("GET", "login=root&path=a%20b", b"").await;
    assert_eq!(answer.bytes, content);
    assert_eq!(answer.headers["content-length"], "100000");
    assert_eq!(
        answer.headers["content-disposition"],
        "attachment; filename*=UTF-8''a%20b"
    );
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    for (method, query, status, code) in [
        ("GET", "login=root&path=none", 404, "not_found"),
        ("PUT", "login=root&path=full", 409, "conflict"),
        ("GET", "login=root", 400, "invalid"),
        ("GET", "login=root&path=", 400, "invalid"),
        ("GET", "login=root&path=x%00y", 400, "invalid"),
        ("GET", "login=-%20x&path=x", 400, "invalid"),
        ("GET", "login=root&path=x&more=1", 400, "invalid"),
        ("PUT", "path=x", 400, "invalid"),
    ] {
        call(method, query, b"x").await.refused(status, code);
    }
    let long = format!("login=root&path={}", "x".repeat(5000));
    call("GET", &long, b"").await.refused(400, "invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_void_login_ends_its_terminals() {
    let served = with_hosts().await;
    let mut page = page(&served, Some("alice")).await;
    page.opened().await;
    served.world.cluster.node.apply(
        "local:operator",
        Command::DeleteRecord {
            kind: Kind::User,
            name: Name::parse("alice").expect("a name"),
            expect: Expect::Any,
        },
    );
    let closed = page.says().await;
    let reason = closed["closed"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("does not exist"), "{closed}");
    assert_eq!(page.got().await, Got::Closed(Some(1008)));
}

/// Goal: the cookie alone opens nothing, nor does what another session's page knows; at another node, without the cookie, what
/// the page knows is enough; and logging out ends what was opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_session_opens_terminals_only_with_what_its_page_knows() {
    let served = with_hosts().await;
    served.world.add_user("carol", "admin", "root");
    let secret = served.world.enrol("carol").await;
    let browser = served.world.browser("carol", &secret).await;
    let other = served.world.browser("carol", &secret).await;
    let origin = format!("https://localhost:{}", served.addr.port());
    let cookie = Some(browser.cookie.as_str());
    let ask = |credential: Value| {
        let mut frame = open();
        for (name, value) in credential.as_object().expect("an object") {
            frame["open"][name] = value.clone();
        }
        frame
    };
    let (csrf, resume) = (&browser.page.csrf, &browser.page.resume);
    for (cookie, credential, code) in [
        (cookie, json!({}), "refused"),
        (cookie, json!({"csrf": other.page.csrf}), "refused"),
        (None, json!({"csrf": csrf}), "unauthenticated"),
        (None, json!({"resume": csrf}), "unauthenticated"),
        (
            None,
            json!({"resume": format!("{}.{csrf}", other.page.id)}),
            "unauthenticated",
        ),
        (
            None,
            json!({"resume": browser.cookie.split_once('=').expect("a pair").1}),
            "unauthenticated",
        ),
    ] {
        let mut page = socket_with(&served, None, Some(&origin), cookie)
            .await
            .expect("a socket");
        page.say(ask(credential.clone())).await;
        assert_eq!(page.failed().await.0, code, "{credential}");
    }
    let mut open = Vec::new();
    for (cookie, credential) in [(cookie, json!({"csrf": csrf})), (None, json!({"resume": resume}))] {
        let mut page = socket_with(&served, None, Some(&origin), cookie)
            .await
            .expect("a socket");
        page.say(ask(credential)).await;
        let frame = page.says().await;
        assert!(frame["opened"].is_object(), "{frame}");
        open.push(page);
    }
    let out = served.world.by(&browser, "POST", "/v1/web/logout", None).await;
    assert_eq!(out.status, 204);
    for page in &mut open {
        loop {
            match page.got().await {
                Got::Says(frame) if frame["closed"].is_object() => {
                    assert_eq!(frame["closed"]["reason"], "you logged out", "{frame}");
                    break;
                }
                Got::Says(_) | Got::Bytes(_) => {}
                Got::Closed(code) => panic!("closed with {code:?} and without a word"),
            }
        }
    }
}
