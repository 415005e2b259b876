//! What ends a session that runs, and that the user and the audit log learn why.

#![allow(
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that cannot go on should stop"
)]

mod support;

use palisade_core::event::EventKind;
use palisade_core::name::SessionId;
use std::process::Stdio;
use std::time::Duration;
use support::{EVERYTHING, World};

struct Running {
    child: tokio::process::Child,
    begun: std::time::Instant,
}

/// `sleep` on the host, live when this returns.
async fn running(world: &World) -> Running {
    let mut ssh = world.ssh(&["web1", "exec sleep 60"]);
    let child = ssh.stderr(Stdio::piped()).spawn().unwrap();
    support::until("the session is live", || {
        (!world.proxy.live().list().is_empty()).then_some(())
    })
    .await;
    Running {
        child,
        begun: std::time::Instant::now(),
    }
}

impl Running {
    async fn said(self) -> (String, Duration) {
        let out = tokio::time::timeout(Duration::from_secs(20), self.child.wait_with_output()).await;
        let out = out.expect("the session ends").unwrap();
        assert!(!out.status.success());
        (
            String::from_utf8_lossy(&out.stderr).into_owned(),
            self.begun.elapsed(),
        )
    }
}

async fn terminated(world: &World) -> palisade_core::event::Event {
    support::until("the end's event", || {
        world.consensus.events_of(EventKind::SessionTerminated).pop()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_ends_a_live_session_within_a_second() {
    let world = World::new().await;
    let session = running(&world).await;
    let begun = std::time::Instant::now();
    world.put("kind: lock\nversion: v1\nmetadata: {name: l1}\nspec: {target: {user: alice}, message: 'lost laptop'}");
    let (said, _) = session.said().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(said.contains("locked: lost laptop"), "{said}");
    assert!(terminated(&world).await.message.contains("lost laptop"));
    support::until("nothing is live", || {
        world.proxy.live().list().is_empty().then_some(())
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_no_longer_allows_ends_a_live_session() {
    let world = World::new().await;
    let session = running(&world).await;
    world.put("kind: role\nversion: v1\nmetadata: {name: dev}\nspec: {allow: {logins: [somebody], host_labels: {'*': '*'}}}");
    let (said, _) = session.said().await;
    assert!(said.contains("none of your roles allows login"), "{said}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_certificate_where_the_role_says_so() {
    let role = "
    options: {disconnect_expired_cert: true}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    let session = running(&world).await;
    // Eleven minutes later, by the cluster's clock.
    world
        .consensus
        .shift_ms
        .store(660_000, std::sync::atomic::Ordering::Relaxed);
    let (said, took) = session.said().await;
    assert!(said.contains("your certificate has expired"), "{said}");
    assert!(took < Duration::from_secs(10));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_its_certificate_where_no_role_says_otherwise() {
    let world = World::new().await;
    let mut session = running(&world).await;
    world
        .consensus
        .shift_ms
        .store(660_000, std::sync::atomic::Ordering::Relaxed);
    let ended = tokio::time::timeout(Duration::from_millis(2500), session.child.wait()).await;
    assert!(ended.is_err(), "it ended");
    session.child.kill().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_session_ends_at_the_idle_limit() {
    let role = "
    options: {client_idle_timeout: 2s}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    let (said, took) = running(&world).await.said().await;
    assert!(said.contains("nothing happened for 2s"), "{said}");
    assert!(
        took > Duration::from_millis(1500) && took < Duration::from_secs(6),
        "{took:?}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_a_listed_session() {
    let world = World::new().await;
    let session = running(&world).await;
    let live = world.proxy.live().list().remove(0);
    assert_eq!(
        (live.user.as_str(), live.host.as_str(), live.kind.as_str()),
        ("alice", "web1", "exec")
    );
    let id = SessionId::parse(&live.session).unwrap();
    assert!(world.proxy.live().end(&id, "ended by bob"));
    let (said, _) = session.said().await;
    assert!(said.contains("ended by bob"), "{said}");
    assert!(terminated(&world).await.message.contains("ended by bob"));
    support::until("nothing is live", || {
        world.proxy.live().list().is_empty().then_some(())
    })
    .await;
    assert!(!world.proxy.live().end(&id, "again"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_sessions_begin_than_the_role_allows() {
    let role = "
    options: {max_sessions: 1}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    let mut first = running(&world).await;
    let out = world.ssh(&["web1", "echo in"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.stdout.is_empty() && said.contains("may have 1"), "{said}");
    first.child.kill().await.unwrap();
    support::until("the first is over", || {
        world.consensus.events_of(EventKind::SessionEnd).pop()
    })
    .await;
    let out = world.ssh(&["web1", "echo in"]).output().await.unwrap();
    assert_eq!(out.stdout, b"in\n", "{}", String::from_utf8_lossy(&out.stderr));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_node_says_goodbye() {
    let world = World::with_role(EVERYTHING).await;
    let session = running(&world).await;
    let consensus = world.consensus.clone();
    world.stop().await;
    assert_eq!(
        consensus.events_of(EventKind::SessionEnd).len(),
        1,
        "the end is written before the node is stopped"
    );
    let (said, _) = session.said().await;
    assert!(said.contains("this node is stopping"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_output_is_shown_only_once_a_majority_has_it() {
    let role = "
    options: {record_session: strict}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    world
        .recordings
        .fail
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let mut ssh = world.ssh(&["web1", "echo shown; sleep 60"]);
    let mut ssh = ssh.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = ssh.stdout.take().unwrap();
    let mut got = [0; 6];
    let early = tokio::time::timeout(
        Duration::from_secs(2),
        tokio::io::AsyncReadExt::read_exact(&mut stdout, &mut got),
    )
    .await;
    assert!(early.is_err(), "output was shown before it was durable");
    world
        .recordings
        .fail
        .store(false, std::sync::atomic::Ordering::Relaxed);
    let late = tokio::time::timeout(
        Duration::from_secs(5),
        tokio::io::AsyncReadExt::read_exact(&mut stdout, &mut got),
    )
    .await;
    late.expect("output is shown once it is durable").unwrap();
    assert_eq!(&got, b"shown\n");
    assert_eq!(world.recordings.all().remove(0).output, b"shown\n");
    ssh.kill().await.unwrap();
    world.stop().await;
}
