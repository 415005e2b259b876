//! Tunnels over real UDP and TCP on loopback, and the networks and peers that they must bear.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod kit;

use kit::{Identities, both, loopback, quic_pair, relay, serve_tls, target, tls_pair, until};
use palisade_session::tunnel::{Limits, QuicListener, Transport, Tunnel, TunnelStream};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};

async fn quic() -> (Tunnel, Tunnel, impl Sized) {
    quic_pair(Limits::default()).await
}

async fn tls() -> (Tunnel, Tunnel, impl Sized) {
    tls_pair(Limits::default()).await
}

/// One stream, there and back.
async fn works(from: &Tunnel, to: &Tunnel) -> (TunnelStream, TunnelStream) {
    let mut opened = from.open().await.unwrap();
    opened.write_all(b"question").await.unwrap();
    opened.flush().await.unwrap();
    let mut accepted = to.accept().await.unwrap();
    let mut buffer = [0; 8];
    accepted.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"question");
    accepted.write_all(b"answered").await.unwrap();
    accepted.flush().await.unwrap();
    opened.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"answered");
    (opened, accepted)
}

async fn either_end_opens_streams_and_each_direction_ends_by_itself(agent: Tunnel, node: Tunnel) {
    works(&agent, &node).await;
    let (mut opened, mut accepted) = works(&node, &agent).await;
    assert_eq!((node.streams(), agent.streams()), (1, 1));
    opened.write_all(&[7; 100_000]).await.unwrap();
    opened.shutdown().await.unwrap();
    let mut all = Vec::new();
    accepted.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), 100_000);
    accepted.write_all(b"still").await.unwrap();
    accepted.shutdown().await.unwrap();
    let mut all = Vec::new();
    opened.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"still");
    drop((opened, accepted));
    assert_eq!((node.streams(), agent.streams()), (0, 0));
    until(|| agent.rtt().is_some()).await;
    assert!(agent.rtt().unwrap() < Duration::from_secs(1));
    agent.close();
    node.closed().await;
    assert!(node.is_closed() && node.open().await.is_err() && node.accept().await.is_err());
}

#[tokio::test]
async fn either_end_of_a_quic_tunnel_opens_streams_and_each_direction_ends_by_itself() {
    let (agent, node, _keep) = quic().await;
    either_end_opens_streams_and_each_direction_ends_by_itself(agent, node).await;
}

#[tokio::test]
async fn either_end_of_a_tls_tunnel_opens_streams_and_each_direction_ends_by_itself() {
    let (agent, node, _keep) = tls().await;
    either_end_opens_streams_and_each_direction_ends_by_itself(agent, node).await;
}

/// Whoever reads can tell a tunnel that is gone from a peer that has said all.
async fn a_reader_is_told_of_the_end_of_the_tunnel(agent: Tunnel, node: Tunnel) {
    let (mut opened, mut accepted) = works(&node, &agent).await;
    let (mut finished, mut other) = works(&node, &agent).await;
    other.write_all(b"all").await.unwrap();
    other.shutdown().await.unwrap();
    let mut all = Vec::new();
    finished.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"all");
    agent.close();
    node.closed().await;
    assert!(opened.read_u8().await.unwrap_err().kind() != std::io::ErrorKind::UnexpectedEof);
    assert!(accepted.read(&mut [0; 1]).await.is_err());
}

#[tokio::test]
async fn a_reader_is_told_of_the_end_of_a_quic_tunnel() {
    let (agent, node, _kept) = quic().await;
    a_reader_is_told_of_the_end_of_the_tunnel(agent, node).await;
}

#[tokio::test]
async fn a_reader_is_told_of_the_end_of_a_tls_tunnel() {
    let (agent, node, _kept) = tls().await;
    a_reader_is_told_of_the_end_of_the_tunnel(agent, node).await;
}

#[tokio::test]
async fn quic_is_taken_when_it_answers_and_the_node_sees_the_agents_certificate() {
    let identities = Identities::new();
    let (tcp, udp) = both().await;
    let address = tcp.local_addr().unwrap();
    drop(udp);
    let node = QuicListener::bind(address, identities.server(), Limits::default()).unwrap();
    let _tls = serve_tls(tcp, &identities, Limits::default());
    let dialler = identities.dialler(Limits::default());
    let begun = Instant::now();
    let tunnel = dialler.dial(&target(address)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(tunnel.transport(), Transport::Quic);
    let peer = node.accept().await.unwrap();
    assert_eq!(peer.certificates, [identities.agent_certificate()]);
    works(&peer.tunnel, &tunnel).await;
}

#[tokio::test]
async fn where_udp_does_not_pass_tls_is_there_in_time_and_quic_takes_over_once_it_passes() {
    let identities = Identities::new();
    let (tcp, swallows) = both().await;
    let address = tcp.local_addr().unwrap();
    let mut node_tls = serve_tls(tcp, &identities, Limits::default());
    let dialler = identities.dialler(Limits::default());
    let target = target(address);
    let begun = Instant::now();
    let old = dialler.dial(&target).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(old.transport(), Transport::Tls);
    let node_old = node_tls.recv().await.unwrap();
    let (mut opened, mut accepted) = works(&node_old, &old).await;

    let upgrade = dialler.upgrade(&old, &target, Duration::from_millis(300));
    tokio::pin!(upgrade);
    let early = tokio::time::timeout(Duration::from_millis(1500), &mut upgrade).await;
    assert!(early.is_err(), "UDP does not pass yet");
    drop(swallows);
    let node = QuicListener::bind(address, identities.server(), Limits::default()).unwrap();
    let new = upgrade.await.unwrap();
    assert_eq!(new.transport(), Transport::Quic);
    works(&node.accept().await.unwrap().tunnel, &new).await;

    // What runs over the old one is not disturbed; the old one goes when that is done.
    let retired = tokio::spawn(old.clone().retire());
    opened.write_all(b"still").await.unwrap();
    opened.flush().await.unwrap();
    let mut buffer = [0; 5];
    accepted.read_exact(&mut buffer).await.unwrap();
    assert!(!old.is_closed());
    drop((opened, accepted));
    retired.await.unwrap();
    node_old.closed().await;
}

#[tokio::test]
async fn a_node_that_is_nowhere_is_an_error_that_names_both_ways() {
    let identities = Identities::new();
    let (tcp, udp) = both().await;
    let address = tcp.local_addr().unwrap();
    drop((tcp, udp));
    let dialler = identities.dialler(Limits::default());
    let error = dialler.dial(&target(address)).await.unwrap_err();
    assert_eq!(error.tls.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("over QUIC: "), "{error}");
}

#[tokio::test]
async fn an_address_that_does_not_answer_does_not_keep_the_next_from_being_tried() {
    let identities = Identities::new();
    let (_tcp, swallows) = both().await;
    let node = QuicListener::bind(loopback(0), identities.server(), Limits::default()).unwrap();
    let dialler = identities.dialler(Limits::default());
    let mut target = target(node.local_addr().unwrap());
    target.addresses.insert(0, swallows.local_addr().unwrap());
    let begun = Instant::now();
    dialler.quic(&target).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
}

/// Both ends of a tunnel notice in under three seconds that nothing passes any more.
async fn silence_is_noticed(agent: Tunnel, node: Tunnel, silence: tokio::sync::watch::Sender<bool>) {
    let (mut opened, _accepted) = works(&node, &agent).await;
    // Longer than a dead peer is suffered: a quiet tunnel lives.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!agent.is_closed() && !node.is_closed());
    // The worst moment: something was just heard, and the next question is as far away as can be.
    works(&agent, &node).await;
    silence.send_replace(true);
    let begun = Instant::now();
    let (at_agent, at_node) = tokio::join!(
        async {
            agent.closed().await;
            begun.elapsed()
        },
        async {
            node.closed().await;
            begun.elapsed()
        },
    );
    assert!(at_agent < Duration::from_secs(3), "{at_agent:?}");
    assert!(at_node < Duration::from_secs(3), "{at_node:?}");
    assert!(agent.open().await.is_err());
    // Nobody waits for ever on a stream of a dead tunnel.
    assert!(opened.read_u8().await.is_err());
}

#[tokio::test]
async fn silence_of_a_quic_peer_is_noticed_in_under_three_seconds() {
    let identities = Identities::new();
    let node = QuicListener::bind(loopback(0), identities.server(), Limits::default()).unwrap();
    let (address, silence) = relay(node.local_addr().unwrap()).await;
    let dialler = identities.dialler(Limits::default());
    let agent = dialler.quic(&target(address)).await.unwrap();
    let peer = node.accept().await.unwrap();
    silence_is_noticed(agent, peer.tunnel, silence).await;
}

#[tokio::test]
async fn silence_of_a_tls_peer_is_noticed_in_under_three_seconds() {
    let identities = Identities::new();
    let tcp = TcpListener::bind(loopback(0)).await.unwrap();
    let (address, silence) = relay(tcp.local_addr().unwrap()).await;
    let mut node = serve_tls(tcp, &identities, Limits::default());
    let dialler = identities.dialler(Limits::default());
    let agent = dialler.tls(&target(address)).await.unwrap();
    let peer = node.recv().await.unwrap();
    silence_is_noticed(agent, peer, silence).await;
}

async fn a_thousand_streams_run_at_once(agent: Tunnel, node: Tunnel) {
    let echo = tokio::spawn(async move {
        let mut streams = Vec::new();
        for _ in 0..1000 {
            let mut stream = agent.accept().await.unwrap();
            streams.push(tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(&mut stream);
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                stream.shutdown().await.unwrap();
            }));
        }
        for stream in streams {
            stream.await.unwrap();
        }
    });
    let mut users = Vec::new();
    for n in 0..1000u32 {
        let mut stream = node.open().await.unwrap();
        stream.write_all(&n.to_be_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        users.push((n, stream));
    }
    // All are open before the first is used.
    for (n, stream) in &mut users {
        let bytes = vec![*n as u8; 3000];
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all[..4], n.to_be_bytes());
        assert_eq!(all[4..], bytes);
    }
    echo.await.unwrap();
}

#[tokio::test]
async fn a_thousand_streams_run_at_once_over_quic() {
    let (agent, node, _keep) = quic().await;
    a_thousand_streams_run_at_once(agent, node).await;
}

#[tokio::test]
async fn a_thousand_streams_run_at_once_over_tls() {
    let (agent, node, _keep) = tls().await;
    a_thousand_streams_run_at_once(agent, node).await;
}

async fn streams_that_nobody_reads_are_bounded_and_stop_nobody(agent: Tunnel, node: Tunnel) {
    let mut stalled = Vec::new();
    let chunk = vec![0; 64 << 10];
    for _ in 0..100 {
        let mut stream = node.open().await.unwrap();
        let mut taken = 0;
        while let Ok(count) = tokio::time::timeout(Duration::from_millis(20), stream.write(&chunk)).await {
            taken += count.unwrap();
            assert!(taken <= 16 << 20, "writing waits at last");
        }
        let _ = tokio::time::timeout(Duration::from_millis(20), stream.flush()).await;
        stalled.push((stream, agent.accept().await.unwrap()));
    }
    let begun = Instant::now();
    works(&node, &agent).await;
    works(&agent, &node).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn quic_streams_that_nobody_reads_are_bounded_and_stop_nobody() {
    let (agent, node, _keep) = quic().await;
    streams_that_nobody_reads_are_bounded_and_stop_nobody(agent, node).await;
}

#[tokio::test]
async fn tls_streams_that_nobody_reads_are_bounded_and_stop_nobody() {
    let (agent, node, _keep) = tls().await;
    streams_that_nobody_reads_are_bounded_and_stop_nobody(agent, node).await;
}

async fn the_stream_after_the_last_that_is_allowed_waits(agent: Tunnel, node: Tunnel) {
    let mut first = Vec::new();
    for _ in 0..3 {
        first.push(works(&agent, &node).await);
    }
    let fourth = works(&agent, &node);
    tokio::pin!(fourth);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut fourth).await;
    assert!(early.is_err());
    let (mut opened, mut accepted) = first.pop().unwrap();
    opened.shutdown().await.unwrap();
    accepted.shutdown().await.unwrap();
    assert_eq!(opened.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(accepted.read(&mut [0]).await.unwrap(), 0);
    drop((opened, accepted));
    tokio::time::timeout(Duration::from_secs(5), fourth)
        .await
        .expect("a place was free");
}

const THREE: Limits = Limits {
    inbound: 3,
    outbound: 3,
    window: 64 << 10,
};

#[tokio::test]
async fn the_quic_stream_after_the_last_that_is_allowed_waits() {
    let (agent, node, _keep) = quic_pair(THREE).await;
    the_stream_after_the_last_that_is_allowed_waits(agent, node).await;
}

#[tokio::test]
async fn the_tls_stream_after_the_last_that_is_allowed_waits() {
    let (agent, node, _keep) = tls_pair(THREE).await;
    the_stream_after_the_last_that_is_allowed_waits(agent, node).await;
}

/// A tunnel begins with room for few, and makes more as they are used.
#[tokio::test]
async fn a_quic_peer_gets_all_the_streams_of_its_share_and_none_more() {
    let limits = Limits {
        inbound: 100,
        outbound: 200,
        window: 64 << 10,
    };
    let (agent, node, _keep) = quic_pair(limits).await;
    let all = async {
        let mut all = Vec::new();
        for _ in 0..100 {
            all.push(works(&agent, &node).await);
        }
        all
    };
    let mut first = tokio::time::timeout(Duration::from_secs(20), all)
        .await
        .expect("the share is open");
    let next = works(&agent, &node);
    tokio::pin!(next);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut next).await;
    assert!(early.is_err());
    // quinn tells of places that are free again an eighth of the share at a time.
    first.truncate(100 - 13);
    tokio::time::timeout(Duration::from_secs(5), next)
        .await
        .expect("a place was free");
}

#[tokio::test]
async fn a_peer_that_opens_streams_without_end_gets_no_more_than_its_share() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let node = Tunnel::accept_over(far, THREE);
    // A yamux of its own, which keeps to no limit of ours.
    let mut config = yamux::Config::default();
    config.set_max_num_streams(4000);
    let mut rude = yamux::Connection::new(near.compat(), config, yamux::Mode::Client);
    let (give, mut streams) = tokio::sync::mpsc::unbounded_channel();
    let driver = tokio::spawn(std::future::poll_fn(move |cx| {
        for _ in 0..100 {
            match rude.poll_new_outbound(cx) {
                std::task::Poll::Ready(Ok(stream)) => {
                    let _ = give.send(stream);
                }
                std::task::Poll::Ready(Err(_)) => return std::task::Poll::Ready(()),
                std::task::Poll::Pending => break,
            }
        }
        loop {
            match rude.poll_next_inbound(cx) {
                std::task::Poll::Ready(Some(Ok(_))) => {}
                std::task::Poll::Ready(_) => return std::task::Poll::Ready(()),
                std::task::Poll::Pending => return std::task::Poll::Pending,
            }
        }
    }));
    let flood = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(stream) = streams.recv().await {
            let mut stream = stream.compat();
            if stream.write_all(&[1]).await.is_err() || stream.flush().await.is_err() {
                break;
            }
            kept.push(stream);
        }
        kept
    });
    let mut accepted = Vec::new();
    let more = tokio::time::timeout(Duration::from_secs(5), async {
        while let Ok(stream) = node.accept().await {
            accepted.push(stream);
        }
    })
    .await;
    assert!(accepted.len() <= 3, "{}", accepted.len());
    assert!(more.is_ok(), "a peer that goes on regardless loses its tunnel");
    assert!(node.is_closed());
    driver.await.unwrap();
    drop(flood.await.unwrap());
}

#[tokio::test]
async fn garbage_on_either_port_harms_no_tunnel() {
    let identities = Identities::new();
    let (tcp, udp) = both().await;
    let address = tcp.local_addr().unwrap();
    drop(udp);
    let node = QuicListener::bind(address, identities.server(), Limits::default()).unwrap();
    let mut node_tls = serve_tls(tcp, &identities, Limits::default());
    let dialler = identities.dialler(Limits::default());
    let over_quic = dialler.quic(&target(address)).await.unwrap();
    let node_quic = node.accept().await.unwrap().tunnel;
    let over_tls = dialler.tls(&target(address)).await.unwrap();
    let node_over_tls = node_tls.recv().await.unwrap();

    let noise = UdpSocket::bind(loopback(0)).await.unwrap();
    let mut state = 1u64;
    for n in 0..2000usize {
        let bytes: Vec<u8> = (0..n % 1400)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(n as u64);
                // Long headers of QUIC version 1 among it.
                (state >> 33) as u8 | if n % 3 == 0 { 0xc0 } else { 0 }
            })
            .collect();
        noise.send_to(&bytes, address).await.unwrap();
    }
    for greeting in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"SSH-2.0-x\r\n",
        &[0x16, 3, 1, 0xff, 0xff],
    ] {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        stranger.write_all(greeting).await.unwrap();
        stranger.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stranger.read_to_end(&mut answer).await;
    }
    works(&node_quic, &over_quic).await;
    works(&node_over_tls, &over_tls).await;

    // Garbage from someone who did pass the handshake ends that tunnel and no other.
    let (mut stranger, link) = tokio::io::duplex(4096);
    let broken = Tunnel::accept_over(link, Limits::default());
    stranger.write_all(&[0xff; 64]).await.unwrap();
    let why = tokio::time::timeout(Duration::from_secs(2), broken.closed()).await;
    assert!(why.is_ok());
    works(&node_over_tls, &over_tls).await;
}

#[tokio::test]
async fn a_stranger_without_a_certificate_gets_no_tunnel() {
    let identities = Identities::new();
    let (tcp, udp) = both().await;
    let address = tcp.local_addr().unwrap();
    drop(udp);
    let node = QuicListener::bind(address, identities.server(), Limits::default()).unwrap();
    let mut node_tls = serve_tls(tcp, &identities, Limits::default());
    let stranger = identities.nobody(Limits::default());
    // TLS 1.3 lets a client believe that it is done before it is refused: then it learns so at once.
    if let Ok(tunnel) = stranger.quic(&target(address)).await {
        tunnel.closed().await;
    }
    if let Ok(tunnel) = stranger.tls(&target(address)).await {
        tunnel.closed().await;
    }
    // The node has only ever seen the agent.
    let dialler = identities.dialler(Limits::default());
    let _agent = dialler.quic(&target(address)).await.unwrap();
    assert_eq!(
        node.accept().await.unwrap().certificates,
        [identities.agent_certificate()]
    );
    assert!(node_tls.try_recv().is_err());
}

#[tokio::test]
async fn a_peer_that_greets_and_falls_silent_is_dropped() {
    let (_silent, link) = tokio::io::duplex(4096);
    let tunnel = Tunnel::accept_over(link, Limits::default());
    let begun = Instant::now();
    assert_eq!(tunnel.closed().await, "nothing heard from the peer");
    assert!(begun.elapsed() < Duration::from_secs(3));
}
