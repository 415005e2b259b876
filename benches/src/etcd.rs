//! A three-node etcd from the system's package, with its defaults, and a client that puts keys over gRPC.

use crate::load::Client;
use anyhow::{Context as _, ensure};
use palisade_testkit::free_port;
use prost::Message;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes, tag = "1")]
    key: Vec<u8>,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

/// Its processes, stopped when dropped.
pub(crate) struct Etcd {
    nodes: Vec<Child>,
    ports: Vec<u16>,
    _dir: tempfile::TempDir,
}

impl Etcd {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("palisade-bench-etcd-")
            .tempdir()?;
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let members: Vec<_> = ports
            .iter()
            .enumerate()
            .map(|(i, p)| format!("e{i}={}", url(p.1)))
            .collect();
        let mut nodes = Vec::new();
        for (i, (client, peer)) in ports.iter().enumerate() {
            let log = std::fs::File::create(dir.path().join(format!("e{i}.log")))?;
            let node = Command::new("etcd")
                .arg("--name")
                .arg(format!("e{i}"))
                .arg("--data-dir")
                .arg(dir.path().join(format!("e{i}")))
                .args([
                    "--listen-client-urls",
                    &url(*client),
                    "--advertise-client-urls",
                    &url(*client),
                ])
                .args([
                    "--listen-peer-urls",
                    &url(*peer),
                    "--initial-advertise-peer-urls",
                    &url(*peer),
                ])
                .args([
                    "--initial-cluster",
                    &members.join(","),
                    "--initial-cluster-state",
                    "new",
                ])
                .args(["--quota-backend-bytes", "8000000000"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .context("etcd does not start: scripts/setup.sh bench installs it")?;
            nodes.push(node);
        }
        Ok(Etcd {
            nodes,
            ports: ports.into_iter().map(|p| p.0).collect(),
            _dir: dir,
        })
    }

    /// A client of its own connection, once the cluster takes writes. Clients spread over the nodes.
    pub(crate) async fn client(&self, which: usize) -> anyhow::Result<Putter> {
        let port = self.ports[which % self.ports.len()];
        let began = Instant::now();
        loop {
            let made = async {
                let channel = Channel::from_shared(format!("http://127.0.0.1:{port}"))?
                    .connect()
                    .await?;
                let mut putter = Putter {
                    grpc: Grpc::new(channel),
                };
                putter.once(u64::MAX - which as u64).await?;
                anyhow::Ok(putter)
            };
            match made.await {
                Ok(putter) => return Ok(putter),
                Err(e) => ensure!(
                    began.elapsed() < Duration::from_secs(30),
                    "etcd does not answer: {e}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Process ids of its nodes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(Child::id).collect()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

/// Puts one key after another.
pub(crate) struct Putter {
    grpc: Grpc<Channel>,
}

impl Client for Putter {
    async fn once(&mut self, n: u64) -> anyhow::Result<()> {
        self.grpc.ready().await?;
        let put = PutRequest {
            key: format!("bench-{n}").into_bytes(),
            value: vec![b'x'; 256],
        };
        let path = hyper::http::uri::PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let codec: ProstCodec<PutRequest, PutResponse> = ProstCodec::default();
        self.grpc.unary(tonic::Request::new(put), path, codec).await?;
        Ok(())
    }
}
