//! Committed writes per second and their latency: three nodes in this process, over TCP and mutual TLS, with real
//! stores on one disk. `cargo run --release --example propose_bench -p palisade-raft -- [seconds] [clients ...]`
//! With `ETCD=http://127.0.0.1:2379` the same writes go to an etcd as well, for the ratio.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Cluster, entry, soon};

/// As much of etcd's API as a write needs, so that it can be measured by the same loop.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

/// Where the writes go.
#[derive(Clone)]
enum Target {
    Ours(Arc<palisade_raft::RaftNode>),
    Etcd(tonic::transport::Channel),
}

impl Target {
    async fn write(&self, request: &str, key: &str) {
        match self {
            Self::Ours(node) => drop(
                node.propose(entry(request, key, &[7; 240]), soon(30))
                    .await
                    .unwrap(),
            ),
            Self::Etcd(channel) => {
                let mut client = tonic::client::Grpc::new(channel.clone());
                client.ready().await.unwrap();
                let put = PutRequest {
                    key: request.as_bytes().to_vec(),
                    value: vec![7; 256 - request.len()],
                };
                let path = tonic::codegen::http::uri::PathAndQuery::from_static("/etcdserverpb.KV/Put");
                let codec = tonic_prost::ProstCodec::<PutRequest, PutResponse>::default();
                client.unary(tonic::Request::new(put), path, codec).await.unwrap();
            }
        }
    }
}

async fn measure(name: &str, target: &Target, clients: u64, seconds: u64, run: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let target = target.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                let mut n = 0u64;
                while Instant::now() < end {
                    let asked = Instant::now();
                    target
                        .write(&format!("{run}-{client}-{n}"), &format!("k{client}"))
                        .await;
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
    let rate = took.len() as f64 / seconds as f64;
    println!(
        "{clients:>5} {name:<14} {rate:>8.0}  {:>8.2}  {:>8.2}",
        at(0.5),
        at(0.99)
    );
}

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
    let mut targets = vec![
        (
            "ours, leader",
            Target::Ours(Arc::clone(&cluster.nodes[&leader].node)),
        ),
        (
            "ours, follower",
            Target::Ours(Arc::clone(&cluster.nodes[&follower].node)),
        ),
    ];
    if let Ok(url) = std::env::var("ETCD") {
        let channel = tonic::transport::Endpoint::from_shared(url)
            .unwrap()
            .connect()
            .await
            .unwrap();
        targets.push(("etcd", Target::Etcd(channel)));
    }
    println!("clients to          ops/s    p50 ms    p99 ms");
    for (run, count) in clients.into_iter().enumerate() {
        for (at, (name, target)) in targets.iter().enumerate() {
            measure(name, target, count, seconds, (run * targets.len() + at) as u64).await;
        }
    }
    let sync = cluster.nodes[&leader].log.sync_stats();
    println!(
        "fdatasync at the leader: p50 {:?}, p99 {:?}, {} in all",
        sync.p50, sync.p99, sync.count
    );
}
