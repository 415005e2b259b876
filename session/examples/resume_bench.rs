//! What the resumable stream costs: throughput beside a plain copy over the same kind of link, in one run; a keystroke
//! there and back beside a plain link; memory of idle ends.
//!
//! `cargo run --profile fast -p palisade-session --example resume_bench [MIB]`

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

use palisade_session::resume::{Accepted, Acceptor, Config, Dial, DialError, Link, ResumeStream, connect};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ROUNDS: usize = 7;
const BUFFER: usize = 256 << 10;

struct Dialler(SocketAddr);

impl Dial for Dialler {
    async fn dial(&mut self, _: u32) -> Result<Box<dyn Link>, DialError> {
        let tcp = TcpStream::connect(self.0).await?;
        tcp.set_nodelay(true)?;
        Ok(Box::new(tcp))
    }
}

async fn tcp_pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, far) = (near.unwrap(), far.unwrap().0);
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

async fn resume_pair(listener: &TcpListener, acceptor: &Acceptor<()>) -> (ResumeStream, ResumeStream) {
    let address = listener.local_addr().unwrap();
    let agent = async {
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let Accepted::New { stream, .. } = acceptor.accept(Box::new(tcp), (), |_, _| true).await.unwrap()
        else {
            panic!("resumed")
        };
        stream
    };
    let (client, agent) = tokio::join!(connect(Dialler(address), Config::default(), None), agent);
    (client.unwrap(), agent)
}

/// MB/s from one end to the other.
async fn throughput(
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    mut from: impl AsyncRead + Unpin,
    total: usize,
) -> f64 {
    let begun = Instant::now();
    let writer = tokio::spawn(async move {
        let chunk = vec![7u8; BUFFER];
        let mut left = total;
        while left > 0 {
            let count = left.min(chunk.len());
            to.write_all(&chunk[..count]).await.unwrap();
            left -= count;
        }
        to
    });
    let mut buffer = vec![0u8; BUFFER];
    let mut left = total;
    while left > 0 {
        left -= from.read(&mut buffer).await.unwrap();
    }
    let took = begun.elapsed();
    drop(writer.await.unwrap());
    total as f64 / took.as_secs_f64() / 1e6
}

/// The median and the 99th percentile of one byte there and back.
async fn echo(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (Duration, Duration) {
    tokio::spawn(async move {
        while let Ok(byte) = far.read_u8().await {
            far.write_u8(byte).await.unwrap();
        }
    });
    let mut times = Vec::new();
    for _ in 0..3000 {
        let begun = Instant::now();
        near.write_u8(1).await.unwrap();
        near.read_u8().await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn rss() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let mib: usize = std::env::args().nth(1).map_or(1024, |mib| mib.parse().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(Config::default(), 2000, None);

    let (mut plain, mut resumed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (near, far) = tcp_pair(&listener).await;
        plain.push(throughput(near, far, mib << 20).await);
        let (near, far) = resume_pair(&listener, &acceptor).await;
        resumed.push(throughput(near, far, mib << 20).await);
    }
    let (plain, resumed) = (median(plain), median(resumed));
    println!("copy of {mib} MiB over loopback TCP, median of {ROUNDS}:");
    println!("  plain     {plain:7.0} MB/s");
    println!("  resumable {resumed:7.0} MB/s   ratio {:.2}", resumed / plain);

    let (near, far) = tcp_pair(&listener).await;
    let plain = echo(near, far).await;
    let (near, far) = resume_pair(&listener, &acceptor).await;
    let resumed = echo(near, far).await;
    println!("one byte there and back, median and p99:");
    println!("  plain     {:?} {:?}", plain.0, plain.1);
    println!("  resumable {:?} {:?}", resumed.0, resumed.1);

    let before = rss();
    let mut idle = Vec::new();
    for _ in 0..1000 {
        let (mut near, mut far) = resume_pair(&listener, &acceptor).await;
        // Each has carried something, and is done with it.
        near.write_all(&[1; 10_000]).await.unwrap();
        far.read_exact(&mut [0; 10_000]).await.unwrap();
        idle.push((near, far));
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    println!(
        "1000 idle connections, both ends: {:.1} KB for one end, its TCP link included",
        (rss() - before) as f64 / 2000.0 / 1000.0
    );
}
