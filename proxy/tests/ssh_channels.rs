//! Every way to a host, and every one through the decision. Uses our own SSH client, to ask for what stock ssh never
//! asks for.

mod support;

use palisade_ca::ssh_key::{Certificate, PrivateKey, PublicKey};
use palisade_core::access::Ability;
use palisade_core::event::EventKind;
use palisade_session::ssh::client::{self, Connection, Identity, NodeCheck, Nothing, dial_through};
use palisade_session::ssh::russh::{ChannelMsg, Error};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Cas, World};
use tokio::net::TcpListener;

const WITHIN: Duration = Duration::from_secs(5);

fn identity(world: &World) -> Identity {
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    Identity {
        key: Arc::new(PrivateKey::from_openssh(read("id_alice")).unwrap()),
        certificate: Certificate::from_openssh(read("id_alice-cert.pub").trim()).unwrap(),
    }
}

fn check(world: &World, name: &str) -> Arc<NodeCheck> {
    let authority = PublicKey::from_openssh(&Cas::line(&world.cas.host)).unwrap();
    Arc::new(NodeCheck::new(vec![authority], vec![name.into()]))
}

/// Through the node to web1, as `pal ssh` goes.
async fn connect(world: &World) -> Result<Connection<Nothing>, client::ConnectError> {
    let identity = identity(world);
    let stream = dial_through(world.addr, check(world, "node1"), &identity, "web1", 22, WITHIN).await?;
    let mut connection = client::handshake(stream, "web1", check(world, "web1"), Nothing).await?;
    connection.login(&world.login, &identity).await?;
    Ok(connection)
}

/// What a program on a channel says until it is over.
async fn drain(mut channel: palisade_session::ssh::russh::Channel<palisade_session::ssh::russh::client::Msg>) -> (String, Option<u32>) {
    let (mut said, mut status) = (Vec::new(), None);
    let read = async {
        while let Some(msg) = channel.wait().await {
            match msg {
                ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => said.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                ChannelMsg::Close => break,
                _ => {}
            }
        }
    };
    tokio::time::timeout(WITHIN, read).await.expect("the channel ends");
    (String::from_utf8_lossy(&said).into_owned(), status)
}

/// Tries an ability in every way there is to have it. `Ok` if the host was reached.
///
/// No wildcard: a new ability does not compile until it has its row here.
async fn attempt(world: &World, connection: &Connection<Nothing>, ability: Ability) -> Result<(), String> {
    let handle = connection.handle();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = u32::from(listener.local_addr().unwrap().port());
    let opened = |result: Result<_, Error>| result.map(drop).map_err(|e: Error| format!("{e:?}"));
    let program = |result: (String, Option<u32>)| match result {
        (said, Some(255)) => Err(said),
        (said, status) => {
            assert!(!said.contains("palisade:"), "{said} {status:?}");
            Ok(())
        }
    };
    match ability {
        Ability::Connect => connect(world).await.map(drop).map_err(|e| e.to_string()),
        Ability::Shell => {
            let channel = handle.channel_open_session().await.unwrap();
            channel.request_shell(true).await.unwrap();
            channel.data_bytes(&b"exit\n"[..]).await.unwrap();
            program(drain(channel).await)
        }
        Ability::Exec => {
            let channel = handle.channel_open_session().await.unwrap();
            channel.exec(true, "true").await.unwrap();
            program(drain(channel).await)
        }
        Ability::Sftp => {
            let channel = handle.channel_open_session().await.unwrap();
            channel.request_subsystem(true, "sftp").await.unwrap();
            channel.eof().await.unwrap();
            program(drain(channel).await)
        }
        Ability::Subsystem => {
            let channel = handle.channel_open_session().await.unwrap();
            channel.request_subsystem(true, "netconf").await.unwrap();
            program(drain(channel).await)
        }
        Ability::LocalForward => opened(handle.channel_open_direct_tcpip("127.0.0.1", port, "127.0.0.1", 1).await),
        Ability::RemoteForward => handle.tcpip_forward("127.0.0.1", 0).await.map(drop).map_err(|e| e.to_string()),
        Ability::StreamLocal => {
            let path = world.path("host.sock");
            let _ = std::fs::remove_file(&path);
            let _socket = tokio::net::UnixListener::bind(&path).unwrap();
            // The other way, a socket listener on the host, is carried for nobody.
            assert!(handle.streamlocal_forward(world.path("remote.sock").to_str().unwrap()).await.is_err());
            opened(handle.channel_open_direct_streamlocal(path.to_str().unwrap()).await)
        }
        Ability::AgentForward => {
            let mut channel = handle.channel_open_session().await.unwrap();
            channel.agent_forward(true).await.unwrap();
            answer(&mut channel).await
        }
        Ability::X11 => {
            // X11 channels from the user's side are refused as a kind.
            assert!(handle.channel_open_x11("127.0.0.1", 1).await.is_err());
            let mut channel = handle.channel_open_session().await.unwrap();
            channel.request_x11(true, true, "MIT-MAGIC-COOKIE-1", "00", 0).await.unwrap();
            answer(&mut channel).await
        }
    }
}

async fn answer(
    channel: &mut palisade_session::ssh::russh::Channel<palisade_session::ssh::russh::client::Msg>,
) -> Result<(), String> {
    let mut said = String::new();
    loop {
        match tokio::time::timeout(WITHIN, channel.wait()).await.expect("an answer") {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::ExtendedData { data, .. }) => said.push_str(&String::from_utf8_lossy(&data)),
            Some(ChannelMsg::Failure) => {
                // The reason may come before the answer or after it.
                while said.is_empty() {
                    match tokio::time::timeout(WITHIN, channel.wait()).await.expect("a reason") {
                        Some(ChannelMsg::ExtendedData { data, .. }) => said.push_str(&String::from_utf8_lossy(&data)),
                        Some(_) => {}
                        None => break,
                    }
                }
                return Err(said);
            }
            Some(_) => {}
            None => return Err("the channel is gone".into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ability_is_carried_only_with_a_decision() {
    let world = World::new().await;
    let connection = connect(&world).await.unwrap();
    for ability in Ability::ALL {
        let carried = attempt(&world, &connection, ability).await;
        // Nobody may have these two yet, whatever the role says.
        let never = matches!(ability, Ability::Subsystem | Ability::X11);
        assert_eq!(carried.is_ok(), !never, "{ability:?} with every permit: {carried:?}");
    }
    let events = world.consensus.events().len();
    // Now no decision can be made: nothing new is carried, though the connection lives.
    world.consensus.no_quorum.store(true, Ordering::Relaxed);
    for ability in Ability::ALL {
        let refused = attempt(&world, &connection, ability).await;
        assert!(refused.is_err(), "{ability:?} was carried without a decision");
        if let Err(reason) = refused
            && !matches!(ability, Ability::RemoteForward | Ability::Connect)
        {
            assert!(reason.contains("quorum"), "{ability:?}: {reason}");
        }
    }
    assert_eq!(world.consensus.events().len(), events, "nothing was committed");
    world.consensus.no_quorum.store(false, Ordering::Relaxed);
    attempt(&world, &connection, Ability::Exec).await.expect("carried again");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_channels_is_capped() {
    const FLOOD: usize = 10_000;
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = u32::from(listener.local_addr().unwrap().port());
    let hold = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            all.push(stream);
        }
    });
    let connection = connect(&world).await.unwrap();
    let handle = connection.handle();
    let open = |i: usize| handle.channel_open_direct_tcpip("127.0.0.1", port, "127.0.0.1", i as u32 % 60_000);
    let (mut held, mut refused) = (Vec::new(), 0);
    for batch in 0..FLOOD / 500 {
        let opened = futures::future::join_all((0..500).map(|i| open(batch * 500 + i))).await;
        for channel in opened {
            match channel {
                Ok(channel) => held.push(channel),
                Err(error) => {
                    refused += 1;
                    assert!(format!("{error:?}").contains("more than 256 channels"), "{error:?}");
                }
            }
        }
    }
    assert_eq!((held.len(), refused), (256, FLOOD - 256));
    // Places come back.
    for channel in held.drain(..200) {
        channel.close().await.unwrap();
    }
    let deadline = tokio::time::Instant::now() + WITHIN;
    while open(1).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no place came back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(connection);
    hold.abort();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_whose_key_is_not_held_opens_nothing() {
    let world = World::new().await;
    let mut stolen = identity(&world);
    // The certificate is good and offered; the signature is by another key.
    stolen.key = Arc::new(palisade_ca::generate_ssh_key().unwrap());
    let refused = dial_through(world.addr, check(&world, "node1"), &stolen, "web1", 22, WITHIN).await.unwrap_err();
    assert!(matches!(refused, client::ConnectError::Denied { .. } | client::ConnectError::Ssh { .. }), "{refused:?}");
    assert!(world.consensus.events_of(EventKind::CertIssue).is_empty(), "no host was dialled");
    world.stop().await;
}
