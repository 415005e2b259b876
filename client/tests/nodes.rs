//! The client of the API: which node is asked, when another is, and what is repeated.

mod stub;

use palisade_client::http::{CallError, Nodes};
use palisade_client::tls::Trust;
use palisade_core::api::WhoAmI;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use stub::{Asked, Authority, Stub, dead_port, error};

const ME: &str = r#"{"user":"alice","roles":[],"logins":[]}"#;

fn nodes(addrs: &[&str], authority: &Authority) -> Nodes {
    let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    Nodes::over_tls(&addrs, Trust::Pin(authority.pin), None).expect("a client")
}

async fn whoami(nodes: &Nodes) -> Result<WhoAmI, CallError> {
    nodes.get("/v1/whoami", &[]).await
}

fn fine(_: &Asked) -> Option<(u16, String)> {
    Some((200, ME.into()))
}

#[tokio::test]
async fn a_dead_node_is_passed_at_once() {
    let ca = Authority::new();
    let live = Stub::start(&ca, fine).await;
    let nodes = nodes(&[&dead_port().await, &dead_port().await, &live.addr], &ca);
    let begun = Instant::now();
    assert!(whoami(&nodes).await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_node_that_accepts_and_never_answers_costs_250_ms() {
    let ca = Authority::new();
    let silent = Stub::start(&ca, |_| None).await;
    let live = Stub::start(&ca, fine).await;
    let nodes = nodes(&[&silent.addr, &live.addr], &ca);
    let begun = Instant::now();
    assert!(whoami(&nodes).await.is_ok());
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(250) && took < Duration::from_secs(2),
        "{took:?}"
    );
    // The next call goes straight to the one that answered.
    let begun = Instant::now();
    assert!(whoami(&nodes).await.is_ok());
    assert!(
        begun.elapsed() < Duration::from_millis(250),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_change_is_repeated_on_another_node_under_the_same_request_id() {
    let ca = Authority::new();
    let changing = |asked: &Asked| match asked.method.as_str() {
        "POST" => Some((503, error("unknown_outcome"))),
        _ => Some((200, "{}".into())),
    };
    let losing = Stub::start(&ca, changing).await;
    let live = Stub::start(&ca, fine).await;
    let nodes = nodes(&[&losing.addr, &live.addr], &ca);
    let made: Result<WhoAmI, _> = nodes.post("/v1/x", &serde_json::json!({"a": 1})).await;
    assert!(made.is_ok(), "{made:?}");
    let (first, second) = (losing.seen(), live.seen());
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(first, second, "id and body must be the same");
    assert_eq!(first[0].id.len(), 36);
}

#[tokio::test]
async fn one_node_alone_is_asked_again() {
    let ca = Authority::new();
    let count = AtomicUsize::new(0);
    let recovering = move |_: &Asked| match count.fetch_add(1, Ordering::SeqCst) {
        0..=2 => Some((503, error("unavailable"))),
        _ => Some((200, ME.into())),
    };
    let stub = Stub::start(&ca, recovering).await;
    assert!(whoami(&nodes(&[&stub.addr], &ca)).await.is_ok());
}

#[tokio::test]
async fn what_is_refused_is_not_repeated() {
    let ca = Authority::new();
    let stub = Stub::start(&ca, |asked| {
        Some(if asked.path == "/v1/ping" {
            (200, "{}".into())
        } else {
            (403, error("refused"))
        })
    })
    .await;
    let other = Stub::start(&ca, fine).await;
    let refused = whoami(&nodes(&[&stub.addr, &other.addr], &ca)).await;
    assert!(
        matches!(&refused, Err(CallError::Refused { status: 403, .. })),
        "{refused:?}"
    );
    assert_eq!((stub.seen().len(), other.seen().len()), (1, 0));
}

#[tokio::test]
async fn an_unknown_outcome_is_not_called_nothing_by_what_came_after_it() {
    let ca = Authority::new();
    let count = AtomicUsize::new(0);
    let filling_up = move |asked: &Asked| match asked.method.as_str() {
        "POST" if count.fetch_add(1, Ordering::SeqCst) == 0 => Some((503, error("unknown_outcome"))),
        "POST" => Some((
            503,
            r#"{"code":"unavailable","message":"nothing happened"}"#.into(),
        )),
        _ => Some((200, "{}".into())),
    };
    let stub = Stub::start(&ca, filling_up).await;
    let nodes = nodes(&[&stub.addr], &ca).deadline(Duration::from_millis(700));
    let outcome: Result<WhoAmI, _> = nodes.post("/v1/x", &()).await;
    assert!(stub.seen().iter().filter(|asked| asked.method == "POST").count() > 1);
    assert!(
        matches!(outcome, Err(CallError::UnknownOutcome(_))),
        "{outcome:?}"
    );
    let said = outcome.map_or_else(|e| e.to_string(), |_| String::new());
    assert!(!said.contains("nothing happened"), "{said}");
}

#[tokio::test]
async fn what_a_node_said_is_not_lost_to_an_attempt_that_the_deadline_cut_short() {
    let ca = Authority::new();
    let count = AtomicUsize::new(0);
    let slower = move |_: &Asked| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Some((503, r#"{"code":"unavailable","message":"a page is lost"}"#.into())),
        _ => None,
    };
    let stub = Stub::start(&ca, slower).await;
    let nodes = nodes(&[&stub.addr], &ca).deadline(Duration::from_millis(700));
    let said = whoami(&nodes).await;
    assert!(stub.seen().len() > 1);
    assert!(
        matches!(&said, Err(CallError::Unavailable(why)) if why.contains("a page is lost")),
        "{said:?}"
    );
}

#[tokio::test]
async fn nothing_loops_without_bound() {
    let ca = Authority::new();
    let begun = Instant::now();
    let dead = nodes(&[&dead_port().await, &dead_port().await], &ca);
    assert!(matches!(whoami(&dead).await, Err(CallError::Unreachable(_))));
    let dead = nodes(&[&dead_port().await], &ca);
    assert!(matches!(whoami(&dead).await, Err(CallError::Unreachable(_))));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    let lost = Stub::start(&ca, |_| Some((503, error("unknown_outcome")))).await;
    let nodes = nodes(&[&lost.addr], &ca).deadline(Duration::from_millis(700));
    let begun = Instant::now();
    let outcome: Result<WhoAmI, _> = nodes.post("/v1/x", &()).await;
    // An unknown outcome stays unknown: it is not called a failure.
    assert!(
        matches!(outcome, Err(CallError::UnknownOutcome(_))),
        "{outcome:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(lost.seen().iter().all(|asked| asked.id == lost.seen()[0].id));
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let impostor = Stub::start(&theirs, fine).await;
    let refused = whoami(&nodes(&[&impostor.addr], &ours)).await;
    assert!(
        matches!(&refused, Err(CallError::Untrusted { pin: true, .. })),
        "{refused:?}"
    );
    let saved = Trust::pem(ours.pem.as_bytes()).expect("an authority");
    let nodes = Nodes::over_tls(std::slice::from_ref(&impostor.addr), saved, None).expect("a client");
    let refused = whoami(&nodes).await;
    assert!(
        matches!(&refused, Err(CallError::Untrusted { pin: false, .. })),
        "{refused:?}"
    );
    assert_eq!(impostor.seen(), [], "a request went to an impostor");
}

#[tokio::test]
async fn a_saved_authority_is_trusted() {
    let ca = Authority::new();
    let stub = Stub::start(&ca, fine).await;
    let saved = Trust::pem(ca.pem.as_bytes()).expect("an authority");
    let nodes = Nodes::over_tls(std::slice::from_ref(&stub.addr), saved, None).expect("a client");
    assert!(whoami(&nodes).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_is_garbage_is_an_error() {
    let ca = Authority::new();
    let stub = Stub::start(&ca, |_| Some((200, "<html>".into()))).await;
    let garbage = whoami(&nodes(&[&stub.addr], &ca)).await;
    assert!(matches!(garbage, Err(CallError::BadAnswer(_))), "{garbage:?}");
}
