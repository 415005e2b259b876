//! Committed writes per second and their latency: three nodes in this process, over TCP and mutual TLS, with real
//! stores on one disk. `cargo run --release --example propose_bench -p palisade-raft -- [seconds] [clients ...]`
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Cluster, entry, soon};

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let seconds = args.next().unwrap_or(5);
    let mut clients: Vec<u64> = args.collect();
    if clients.is_empty() {
        clients = vec![1, 16, 64, 256];
    }
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.nodes.keys().copied().find(|id| *id != leader).unwrap();
    println!("clients at      ops/s     p50 ms    p99 ms   fsyncs/op");
    let run = Arc::new(AtomicU64::new(0));
    for count in clients {
        for (place, via) in [("leader", leader), ("follower", follower)] {
            let run = run.fetch_add(1, Ordering::SeqCst);
            let synced = cluster.nodes[&leader].log.sync_stats().count;
            let end = Instant::now() + Duration::from_secs(seconds);
            let tasks: Vec<_> = (0..count)
                .map(|client| {
                    let node = Arc::clone(&cluster.nodes[&via].node);
                    tokio::spawn(async move {
                        let mut took = Vec::new();
                        let mut n = 0u64;
                        while Instant::now() < end {
                            let change =
                                entry(&format!("{run}-{client}-{n}"), &format!("k{client}"), &[7; 240]);
                            let asked = Instant::now();
                            node.propose(change, soon(30)).await.unwrap();
                            took.push(asked.elapsed());
                            n += 1;
                        }
                        took
                    })
                })
                .collect();
            let mut took = Vec::new();
            for task in tasks {
                took.extend(task.await.unwrap());
            }
            took.sort_unstable();
            let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
            let synced = cluster.nodes[&leader].log.sync_stats().count - synced;
            println!(
                "{count:>5} {place:<9} {:>8.0}  {:>8.2}  {:>8.2}  {:>8.2}",
                took.len() as f64 / seconds as f64,
                at(0.5),
                at(0.99),
                synced as f64 / took.len() as f64
            );
        }
    }
}
