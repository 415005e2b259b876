//! -L, -D, -R and the agent, where the role allows them and where it does not.

#![allow(
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that cannot go on should stop"
)]

mod support;

use palisade_core::event::EventKind;
use palisade_testkit::free_port;
use std::process::Stdio;
use support::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NO_FORWARDS: &str = "
    options: {port_forwarding: false, forward_agent: false}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";

/// Answers every connection with what it got, in capitals.
async fn shouting_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut got = Vec::new();
                let _ = stream.read_to_end(&mut got).await;
                let _ = stream.write_all(&got.to_ascii_uppercase()).await;
            });
        }
    });
    port
}

async fn shout(mut stream: TcpStream) -> String {
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), read)
        .await
        .expect("an answer or an end");
    answer
}

async fn connect(port: u16) -> TcpStream {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
    loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => return stream,
            Err(e) => assert!(
                tokio::time::Instant::now() < deadline,
                "no listener on {port}: {e}"
            ),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_forwards_reach_what_the_host_reaches() {
    let world = World::new().await;
    let (target, local) = (shouting_server().await, free_port());
    let forward = format!("{local}:127.0.0.1:{target}");
    let mut ssh = world.ssh(&["-N", "-L", &forward, "web1"]).spawn().unwrap();
    assert_eq!(shout(connect(local).await).await, "HELLO");
    let event = world.consensus.events_of(EventKind::Forward).remove(0);
    assert_eq!(event.target, format!("127.0.0.1:{target}"));
    ssh.kill().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dynamic_forwards_reach_what_the_host_reaches() {
    let world = World::new().await;
    let (target, local) = (shouting_server().await, free_port());
    let mut ssh = world
        .ssh(&["-N", "-D", &local.to_string(), "web1"])
        .spawn()
        .unwrap();
    let mut stream = connect(local).await;
    stream.write_all(&[5, 1, 0]).await.unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.unwrap();
    let [high, low] = target.to_be_bytes();
    stream
        .write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low])
        .await
        .unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[1], 0, "SOCKS refused");
    assert_eq!(shout(stream).await, "HELLO");
    ssh.kill().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_forwards_bring_connections_from_the_host() {
    let world = World::new().await;
    let (target, remote) = (shouting_server().await, free_port());
    let forward = format!("{remote}:127.0.0.1:{target}");
    let mut ssh = world.ssh(&["-N", "-R", &forward, "web1"]).spawn().unwrap();
    assert_eq!(shout(connect(remote).await).await, "HELLO");
    ssh.kill().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_forward_to_a_port_of_the_hosts_choice_works() {
    let world = World::new().await;
    let target = shouting_server().await;
    let forward = format!("0:127.0.0.1:{target}");
    let mut ssh = world.ssh(&["-o", "LogLevel=INFO", "-N", "-R", &forward, "web1"]);
    let mut ssh = ssh.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = tokio::io::BufReader::new(ssh.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Allocated port") {
        line.clear();
        assert!(
            tokio::io::AsyncBufReadExt::read_line(&mut stderr, &mut line)
                .await
                .unwrap()
                > 0,
            "no port"
        );
    }
    let port = line.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert_eq!(shout(connect(port).await).await, "HELLO");
    ssh.kill().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_that_the_role_does_not_allow_are_refused_with_a_reason() {
    let world = World::with_role(NO_FORWARDS).await;
    let (target, local) = (shouting_server().await, free_port());
    let forward = format!("{local}:127.0.0.1:{target}");
    let mut ssh = world.ssh(&["-o", "LogLevel=INFO", "-N", "-L", &forward, "web1"]);
    let mut ssh = ssh.stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(shout(connect(local).await).await, "");
    let event = support::until("the refusal's event", || {
        world
            .consensus
            .events_of(EventKind::ChannelRefused)
            .into_iter()
            .next()
    })
    .await;
    assert!(
        event
            .message
            .contains("local port forwarding is not allowed by your roles"),
        "{event:?}"
    );
    ssh.kill().await.unwrap();
    let mut said = String::new();
    ssh.stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .await
        .unwrap();
    assert!(
        said.contains("local port forwarding is not allowed by your roles"),
        "{said}"
    );

    let remote = format!("{}:127.0.0.1:{target}", free_port());
    let out = world
        .ssh(&["-o", "ExitOnForwardFailure=yes", "-N", "-R", &remote, "web1"])
        .output()
        .await
        .unwrap();
    assert!(!out.status.success());
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("remote port forwarding failed"),
        "{out:?}"
    );
    assert!(world.consensus.events_of(EventKind::Forward).is_empty());
    world.stop().await;
}

struct Agent {
    child: tokio::process::Child,
    socket: std::path::PathBuf,
}

async fn agent(world: &World) -> Agent {
    let socket = world.path("agent");
    let child = tokio::process::Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    support::until("the agent", || socket.exists().then_some(())).await;
    let add = tokio::process::Command::new("ssh-add")
        .arg(world.path("id_alice"))
        .env("SSH_AUTH_SOCK", &socket)
        .output()
        .await
        .unwrap();
    assert!(add.status.success(), "{add:?}");
    Agent { child, socket }
}

async fn list_keys_on_host(world: &World, agent: &Agent) -> std::process::Output {
    let mut ssh = world.ssh(&[
        "-A",
        "-o",
        &format!("IdentityAgent={}", agent.socket.display()),
        "web1",
        "ssh-add -l",
    ]);
    ssh.env("SSH_AUTH_SOCK", &agent.socket).output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_is_carried_where_the_role_allows_it() {
    let world = World::new().await;
    let mut agent = agent(&world).await;
    let out = list_keys_on_host(&world, &agent).await;
    assert!(
        String::from_utf8_lossy(&out.stdout).contains("ED25519"),
        "{out:?}"
    );
    agent.child.kill().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_is_not_carried_where_the_role_does_not_allow_it() {
    let world = World::with_role(NO_FORWARDS).await;
    let mut agent = agent(&world).await;
    let out = list_keys_on_host(&world, &agent).await;
    assert_eq!(out.status.code(), Some(2), "ssh-add finds no agent: {out:?}");
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("agent forwarding is not allowed by your roles"),
        "{out:?}"
    );
    assert_eq!(world.consensus.events_of(EventKind::ChannelRefused).len(), 1);
    agent.child.kill().await.unwrap();
    world.stop().await;
}
