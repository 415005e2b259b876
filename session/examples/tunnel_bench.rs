//! What tunnels cost: throughput of one stream beside plain TCP, in one run; memory of idle tunnels, agent and node in
//! this one process, each with a presence stream, and the CPU that their signs of life take.
//!
//! `cargo run --profile fast -p palisade-session --example tunnel_bench [TUNNELS]`

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

#[path = "../tests/kit/mod.rs"]
mod kit;

use kit::{Identities, loopback, quic_pair, serve_tls, target, tls_pair};
use palisade_session::tunnel::{Limits, QuicListener, Tunnel, TunnelStream};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn rss() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let field = |n: usize| -> u64 { after.split_whitespace().nth(n).unwrap().parse().unwrap() };
    // utime and stime, in hundredths of a second.
    Duration::from_millis((field(11) + field(12)) * 10)
}

async fn presence(agent: &Tunnel, node: &Tunnel) -> impl Sized + use<> {
    let mut opened = agent.open().await.unwrap();
    opened.write_all(&[1; 200]).await.unwrap();
    opened.flush().await.unwrap();
    let mut accepted = node.accept().await.unwrap();
    accepted.read_exact(&mut [0; 200]).await.unwrap();
    accepted.write_all(&[1; 20]).await.unwrap();
    accepted.flush().await.unwrap();
    opened.read_exact(&mut [0; 20]).await.unwrap();
    (opened, accepted)
}

/// MB/s from one end to the other.
async fn throughput(
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    mut from: impl AsyncRead + Unpin,
) -> f64 {
    const TOTAL: usize = 512 << 20;
    let begun = Instant::now();
    let writer = tokio::spawn(async move {
        let chunk = vec![7u8; 256 << 10];
        for _ in 0..TOTAL / chunk.len() {
            to.write_all(&chunk).await.unwrap();
        }
        to.flush().await.unwrap();
        to
    });
    let mut buffer = vec![0u8; 256 << 10];
    let mut left = TOTAL;
    while left > 0 {
        left -= from.read(&mut buffer).await.unwrap();
    }
    let took = begun.elapsed();
    drop(writer.await.unwrap());
    TOTAL as f64 / took.as_secs_f64() / 1e6
}

async fn stream(agent: &Tunnel, node: &Tunnel) -> (TunnelStream, TunnelStream) {
    let mut opened = node.open().await.unwrap();
    opened.write_all(&[1]).await.unwrap();
    opened.flush().await.unwrap();
    let mut accepted = agent.accept().await.unwrap();
    accepted.read_u8().await.unwrap();
    (opened, accepted)
}

async fn throughputs() {
    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    let (quic_agent, quic_node, _quic) = quic_pair(Limits::default()).await;
    let (tls_agent, tls_node, _tls) = tls_pair(Limits::default()).await;
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..5 {
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        rates[0].push(throughput(near.unwrap(), far.unwrap().0).await);
        let (to, from) = stream(&quic_agent, &quic_node).await;
        rates[1].push(throughput(to, from).await);
        let (to, from) = stream(&tls_agent, &tls_node).await;
        rates[2].push(throughput(to, from).await);
    }
    let [tcp, quic, tls] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    println!("one stream of 512 MiB over loopback, median of 5:");
    println!("  plain TCP {tcp:6.0} MB/s");
    println!("  quic      {quic:6.0} MB/s   ratio {:.2}", quic / tcp);
    println!("  tls       {tls:6.0} MB/s   ratio {:.2}", tls / tcp);
}

async fn measure(what: &str, count: usize, before: usize, pairs: &[(Tunnel, Tunnel, impl Sized)]) {
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = rss();
    let used = cpu();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let busy = (cpu() - used).as_secs_f64() / 10.0;
    let alive = pairs.iter().filter(|(a, n, _)| !a.is_closed() && !n.is_closed());
    println!(
        "{what}: {count} tunnels, {} alive: {:.1} KB for a pair of ends, {:.1} % of one core for both sides",
        alive.count(),
        (after - before) as f64 / count as f64 / 1000.0,
        busy * 100.0,
    );
}

#[tokio::main]
async fn main() {
    let count: usize = std::env::args()
        .nth(1)
        .map_or(1000, |count| count.parse().unwrap());
    throughputs().await;
    let identities = Identities::new();
    let limits = Limits::default();
    let dialler = identities.dialler(limits);

    let node = QuicListener::bind(loopback(0), identities.server(), limits).unwrap();
    let to = target(node.local_addr().unwrap());
    let before = rss();
    let mut pairs = Vec::new();
    for _ in 0..count {
        let (agent, peer) = tokio::join!(dialler.quic(&to), node.accept());
        let (agent, peer) = (agent.unwrap(), peer.unwrap().tunnel);
        let streams = presence(&agent, &peer).await;
        pairs.push((agent, peer, streams));
    }
    measure("quic", count, before, &pairs).await;
    drop(pairs);

    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    let to = target(listener.local_addr().unwrap());
    let mut node = serve_tls(listener, &identities, limits);
    let before = rss();
    let mut pairs = Vec::new();
    for _ in 0..count {
        let (agent, peer) = tokio::join!(dialler.tls(&to), node.recv());
        let (agent, peer) = (agent.unwrap(), peer.unwrap());
        let streams = presence(&agent, &peer).await;
        pairs.push((agent, peer, streams));
    }
    measure("tls", count, before, &pairs).await;
}
