//! Every channel type and every request, against a pass with each ability and without it. By our own SSH client, to ask
//! for what stock ssh never asks for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_ca::ssh_key::{Certificate, PrivateKey, PublicKey};
use palisade_core::access::Ability;
use palisade_core::event::EventKind;
use palisade_core::pass::{JOIN_LOGIN, Pass};
use palisade_core::record::JoinMode;
use palisade_session::ssh::client::{self, Connection, Identity, NodeCheck, Nothing};
use palisade_session::ssh::russh::client::Msg;
use palisade_session::ssh::russh::{Channel, ChannelMsg, Error};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use support::{Cas, EVERYTHING, Policy, WITHIN, World, decide};
use tokio::net::TcpListener;

/// What a channel type or request needs. The names are those of the protocol.
const TABLE: &[(&str, Needs)] = &[
    // Channels.
    ("session", Needs::Nothing),
    ("direct-tcpip", Needs::All(&[Ability::LocalForward])),
    (
        "direct-streamlocal@openssh.com",
        Needs::All(&[Ability::StreamLocal]),
    ),
    ("x11", Needs::Refused),
    ("forwarded-tcpip", Needs::Refused),
    ("forwarded-streamlocal@openssh.com", Needs::Refused),
    ("auth-agent@openssh.com", Needs::Refused),
    // Requests on session channels.
    ("shell", Needs::All(&[Ability::Shell])),
    ("exec", Needs::All(&[Ability::Exec])),
    ("exec:copy", Needs::All(&[Ability::Exec, Ability::Sftp])),
    ("subsystem:sftp", Needs::All(&[Ability::Sftp])),
    ("subsystem", Needs::Refused),
    ("auth-agent-req@openssh.com", Needs::All(&[Ability::AgentForward])),
    ("x11-req", Needs::All(&[Ability::X11])),
    // Without an effect of their own.
    ("pty-req", Needs::Nothing),
    ("env", Needs::Nothing),
    ("window-change", Needs::Nothing),
    ("signal", Needs::Nothing),
    // Requests on the connection.
    ("tcpip-forward", Needs::All(&[Ability::RemoteForward])),
    (
        "streamlocal-forward@openssh.com",
        Needs::All(&[Ability::StreamLocal]),
    ),
    // Of what is not one's own.
    ("cancel-tcpip-forward", Needs::Refused),
    ("cancel-streamlocal-forward@openssh.com", Needs::Refused),
];

#[derive(Debug, Clone, Copy)]
enum Needs {
    Nothing,
    All(&'static [Ability]),
    Refused,
}

/// The names that the SSH library understands, read from its source: one that is new there has no row here.
#[test]
fn every_channel_type_and_request_of_the_library_has_a_row() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../session/vendor/russh/src");
    let mut names = BTreeSet::new();
    for file in ["server/encrypted.rs", "parsing.rs"] {
        let text = std::fs::read_to_string(source.join(file)).unwrap();
        for line in text.lines() {
            let arm = line
                .trim()
                .strip_prefix('"')
                .and_then(|rest| rest.split_once("\" => {"));
            if let Some((name, "")) = arm {
                names.insert(name.to_owned());
            }
        }
    }
    assert!(names.len() >= 20, "the source reads otherwise now: {names:?}");
    for name in names {
        assert!(TABLE.iter().any(|(row, _)| *row == name), "{name} has no row");
    }
}

/// A pass with exactly these abilities, which no role could give.
fn pass(abilities: &BTreeSet<Ability>) -> Pass {
    let policy = Policy {
        role: EVERYTHING.into(),
        logins: vec![support::me()],
    };
    let full = decide(&policy, "matrix", "127.0.0.1:1").unwrap();
    let mut json = serde_json::to_value(&full).unwrap();
    json["logins"][0]["abilities"] = serde_json::to_value(abilities).unwrap();
    serde_json::from_value(json).unwrap()
}

async fn connect(world: &World, abilities: &BTreeSet<Ability>) -> Connection<Nothing> {
    connect_as(world, &world.login, pass(abilities)).await
}

/// With the identity of the pass's user, as this login.
async fn connect_as(world: &World, login: &str, pass: Pass) -> Connection<Nothing> {
    let user = pass.claims().user.clone();
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let server = Arc::clone(&world.server);
    tokio::spawn(async move { server.serve(theirs, pass).await });
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    let identity = Identity {
        key: Arc::new(PrivateKey::from_openssh(read(&format!("id_{user}"))).unwrap()),
        certificate: Certificate::from_openssh(read(&format!("id_{user}-cert.pub")).trim()).unwrap(),
    };
    let authority = PublicKey::from_openssh(&Cas::line(&world.cas.host)).unwrap();
    let check = Arc::new(NodeCheck::new(vec![authority], vec!["web1".into()]));
    let mut connection = client::handshake(ours, "web1", check, Nothing).await.unwrap();
    connection.login(login, &identity).await.unwrap();
    connection
}

async fn ended(mut channel: Channel<Msg>) -> Result<(), String> {
    let (mut said, mut status) = (Vec::new(), None);
    let read = async {
        while let Some(msg) = channel.wait().await {
            match msg {
                ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => {
                    said.extend_from_slice(&data)
                }
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                ChannelMsg::Close => break,
                _ => {}
            }
        }
    };
    tokio::time::timeout(WITHIN, read)
        .await
        .expect("the channel ends");
    match status {
        Some(0) => Ok(()),
        _ => Err(String::from_utf8_lossy(&said).into_owned()),
    }
}

async fn answer(channel: &mut Channel<Msg>) -> Result<(), String> {
    loop {
        match tokio::time::timeout(WITHIN, channel.wait())
            .await
            .expect("an answer")
        {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure) => return Err("no".into()),
            Some(_) => {}
            None => return Err("the channel is gone".into()),
        }
    }
}

/// Tries one row. `Ok` if it was carried out.
async fn attempt(
    world: &World,
    connection: &Connection<Nothing>,
    row: &str,
    target: &TcpListener,
) -> Result<(), String> {
    let handle = connection.handle();
    let port = u32::from(target.local_addr().unwrap().port());
    let opened = |result: Result<Channel<Msg>, Error>| result.map(drop).map_err(|e| format!("{e:?}"));
    let yes = |result: Result<(), Error>| result.map_err(|e| format!("{e:?}"));
    let session = || async { handle.channel_open_session().await.unwrap() };
    match row {
        "session" => opened(handle.channel_open_session().await),
        "direct-tcpip" => opened(
            handle
                .channel_open_direct_tcpip("127.0.0.1", port, "127.0.0.1", 1)
                .await,
        ),
        "direct-streamlocal@openssh.com" => {
            let path = world.path("host.sock");
            let _ = std::fs::remove_file(&path);
            let _socket = tokio::net::UnixListener::bind(&path).unwrap();
            opened(
                handle
                    .channel_open_direct_streamlocal(path.to_str().unwrap())
                    .await,
            )
        }
        "x11" => opened(handle.channel_open_x11("127.0.0.1", 1).await),
        // The client side of the library cannot even say these.
        "forwarded-tcpip" | "forwarded-streamlocal@openssh.com" | "auth-agent@openssh.com" => {
            Err("not to be said".into())
        }
        "shell" => {
            let channel = session().await;
            channel.request_shell(true).await.unwrap();
            let _ = channel.data_bytes(&b"exit 0\n"[..]).await;
            ended(channel).await
        }
        "exec" => {
            let channel = session().await;
            channel.exec(true, "true").await.unwrap();
            ended(channel).await
        }
        "exec:copy" => {
            let channel = session().await;
            channel.exec(true, "cat /etc/hostname").await.unwrap();
            ended(channel).await
        }
        "subsystem:sftp" | "subsystem" => {
            let channel = session().await;
            let name = if row == "subsystem" { "netconf" } else { "sftp" };
            channel.request_subsystem(true, name).await.unwrap();
            let _ = channel.eof().await;
            ended(channel).await
        }
        "auth-agent-req@openssh.com" => {
            let mut channel = session().await;
            channel.agent_forward(true).await.unwrap();
            answer(&mut channel).await
        }
        "x11-req" => {
            let mut channel = session().await;
            channel
                .request_x11(true, true, "MIT-MAGIC-COOKIE-1", "00ff", 0)
                .await
                .unwrap();
            answer(&mut channel).await
        }
        "pty-req" => {
            let mut channel = session().await;
            channel
                .request_pty(true, "xterm", 80, 24, 0, 0, &[])
                .await
                .unwrap();
            answer(&mut channel).await
        }
        "env" => {
            let mut channel = session().await;
            channel.set_env(true, "LANG", "C").await.unwrap();
            answer(&mut channel).await
        }
        "window-change" => yes(session().await.window_change(80, 24, 0, 0).await),
        "signal" => yes(session()
            .await
            .signal(palisade_session::ssh::russh::Sig::INT)
            .await),
        "tcpip-forward" => handle
            .tcpip_forward("127.0.0.1", 0)
            .await
            .map(drop)
            .map_err(|e| e.to_string()),
        "streamlocal-forward@openssh.com" => {
            let path = world.path(&format!("r{:x}.sock", rand::random::<u64>()));
            yes(handle.streamlocal_forward(path.to_str().unwrap()).await)
        }
        "cancel-tcpip-forward" => yes(handle.cancel_tcpip_forward("127.0.0.1", 22).await),
        "cancel-streamlocal-forward@openssh.com" => yes(handle.cancel_streamlocal_forward("/tmp/x").await),
        other => panic!("{other} is not tried"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_carried_with_its_abilities_and_with_no_others() {
    let world = World::new().await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let all: BTreeSet<_> = Ability::ALL.into_iter().collect();
    let mut passes = vec![all.clone(), BTreeSet::new()];
    for ability in Ability::ALL {
        passes.push(all.iter().copied().filter(|one| *one != ability).collect());
        passes.push([ability].into());
    }
    for abilities in passes {
        let connection = connect(&world, &abilities).await;
        for (row, needs) in TABLE {
            let before = world.uplink.of(EventKind::ChannelRefused).len();
            let got = attempt(&world, &connection, row, &target).await;
            let (want, audited) = match needs {
                Needs::Nothing => (true, false),
                Needs::All(needs) => {
                    let has = needs.iter().all(|need| abilities.contains(need));
                    (has, !has)
                }
                Needs::Refused => (
                    false,
                    *row == "x11" || (*row == "subsystem" && !abilities.contains(&Ability::Subsystem)),
                ),
            };
            assert_eq!(got.is_ok(), want, "{row} with {abilities:?}: {got:?}");
            let refusals = world.uplink.of(EventKind::ChannelRefused).len() - before;
            assert_eq!(
                refusals,
                usize::from(audited),
                "refusals of {row} with {abilities:?}"
            );
        }
    }
    assert!(
        world.uplink.of(EventKind::SessionTerminated).is_empty(),
        "nothing was cut off"
    );
}

/// Whoever joins a session gains nothing else on the host: each row that needs an ability is refused and audited, and a
/// shell is the session that they joined, which is over here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_refused_to_whoever_joins_a_session() {
    let world = World::new().await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let over = "00000000-0000-4000-8000-000000000000";
    for mode in JoinMode::ALL {
        let pass = support::pass_to_join("alice", over, mode, mode.as_str());
        let connection = connect_as(&world, JOIN_LOGIN, pass).await;
        for (row, needs) in TABLE {
            let before = world.uplink.of(EventKind::ChannelRefused).len();
            let got = attempt(&world, &connection, row, &target).await;
            let (want, audited) = match needs {
                Needs::Nothing => (true, false),
                Needs::All(_) => (false, *row != "shell"),
                Needs::Refused => (false, matches!(*row, "x11" | "subsystem")),
            };
            assert_eq!(got.is_ok(), want, "{row}: {got:?}");
            if *row == "shell" {
                assert!(got.unwrap_err().contains("the session is over"));
            }
            let refusals = world.uplink.of(EventKind::ChannelRefused).len() - before;
            assert_eq!(refusals, usize::from(audited), "refusals of {row}");
        }
    }
    // Not by another name either: nothing is carried at all.
    let pass = support::pass_to_join("alice", over, JoinMode::Peer, "named");
    let connection = connect_as(&world, &world.login, pass).await;
    assert!(connection.handle().channel_open_session().await.is_err());
    assert!(world.uplink.of(EventKind::SessionStart).is_empty());
}

/// Two users in one account: what one of them had the agent listen on is not the other's to cancel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_cancels_what_somebody_else_listens_on() {
    let world = World::new().await;
    let all: BTreeSet<_> = Ability::ALL.into_iter().collect();
    let alice = connect(&world, &all).await;
    world.identity("bob", |request| request.key_id = "bob".into());
    let mut of_bob = serde_json::to_value(pass(&all)).unwrap();
    of_bob["claims"]["user"] = "bob".into();
    of_bob["claims"]["connection"] = "bobs".into();
    let bob = connect_as(&world, &world.login, serde_json::from_value(of_bob).unwrap()).await;

    let port = alice.handle().tcpip_forward("127.0.0.1", 0).await.unwrap();
    let path = world.path("alices.sock").display().to_string();
    alice.handle().streamlocal_forward(path.clone()).await.unwrap();
    let tcp = || std::net::TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap()));
    let socket = || std::os::unix::net::UnixStream::connect(&path);
    for address in ["127.0.0.1", "localhost", "", "0.0.0.0", "*"] {
        assert!(
            bob.handle().cancel_tcpip_forward(address, port).await.is_err(),
            "{address:?}"
        );
    }
    assert!(bob.handle().cancel_tcpip_forward("127.0.0.1", 0).await.is_err());
    assert!(
        bob.handle()
            .cancel_streamlocal_forward(path.clone())
            .await
            .is_err()
    );
    assert!(tcp().is_ok() && socket().is_ok(), "alice's listeners are there");

    alice
        .handle()
        .cancel_tcpip_forward("127.0.0.1", port)
        .await
        .unwrap();
    alice
        .handle()
        .cancel_streamlocal_forward(path.clone())
        .await
        .unwrap();
    support::until("they are gone", || {
        (tcp().is_err() && socket().is_err()).then_some(())
    })
    .await;
}

/// A connection that a node made and records: the agent serves it by the same pass, and writes nothing but refusals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_records_is_not_recorded_here_as_well() {
    let world = World::new().await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let all: BTreeSet<_> = Ability::ALL
        .into_iter()
        .filter(|one| *one != Ability::X11)
        .collect();
    let connection = connect_as(&world, &world.login, pass(&all).recorded_at_the_node()).await;
    for row in [
        "shell",
        "exec",
        "exec:copy",
        "subsystem:sftp",
        "direct-tcpip",
        "tcpip-forward",
    ] {
        attempt(&world, &connection, row, &target)
            .await
            .unwrap_or_else(|e| panic!("{row}: {e}"));
    }
    assert!(attempt(&world, &connection, "x11-req", &target).await.is_err());
    support::until("every session is over", || {
        world.server.live().is_empty().then_some(())
    })
    .await;
    assert!(world.uplink.sessions.lock().unwrap().is_empty());
    let events = world.uplink.events.lock().unwrap().clone();
    assert!(
        events
            .iter()
            .all(|event| event.event == EventKind::ChannelRefused),
        "{events:?}"
    );
    assert_eq!(events.len(), 1, "the refusal is written where it happened");
    assert!(std::fs::read_dir(world.path("spool")).map_or(true, |mut files| files.next().is_none()));
}
