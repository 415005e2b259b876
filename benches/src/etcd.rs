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

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {}

/// What is read of it: who answers, and who leads.
#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member: u64,
}

/// Its processes, stopped when dropped.
pub(crate) struct Etcd {
    nodes: Vec<Child>,
    /// Of clients and of peers.
    ports: Vec<(u16, u16)>,
    flags: Vec<String>,
    dir: tempfile::TempDir,
}

/// Until it answers, from a start or a restart.
const PATIENCE: Duration = Duration::from_secs(30);

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

impl Etcd {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// With flags besides the defaults.
    pub(crate) fn start_with(flags: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("palisade-bench-etcd-")
            .tempdir()?;
        let mut etcd = Etcd {
            nodes: Vec::new(),
            ports: (0..3).map(|_| (free_port(), free_port())).collect(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            dir,
        };
        for which in 0..3 {
            let node = etcd.spawn(which)?;
            etcd.nodes.push(node);
        }
        Ok(etcd)
    }

    fn spawn(&self, which: usize) -> anyhow::Result<Child> {
        let members: Vec<_> = self
            .ports
            .iter()
            .enumerate()
            .map(|(i, ports)| format!("e{i}={}", url(ports.1)))
            .collect();
        let (client, peer) = self.ports[which];
        let log = std::fs::File::create(self.dir.path().join(format!("e{which}.log")))?;
        Command::new("etcd")
            .arg("--name")
            .arg(format!("e{which}"))
            .arg("--data-dir")
            .arg(self.dir.path().join(format!("e{which}")))
            .args([
                "--listen-client-urls",
                &url(client),
                "--advertise-client-urls",
                &url(client),
            ])
            .args([
                "--listen-peer-urls",
                &url(peer),
                "--initial-advertise-peer-urls",
                &url(peer),
            ])
            .args([
                "--initial-cluster",
                &members.join(","),
                "--initial-cluster-state",
                "new",
            ])
            .args(["--quota-backend-bytes", "8000000000"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("etcd does not start: scripts/setup.sh bench installs it")
    }

    /// kill -9 of a node.
    pub(crate) fn kill(&mut self, which: usize) -> anyhow::Result<()> {
        self.nodes[which].kill()?;
        self.nodes[which].wait()?;
        Ok(())
    }

    /// Starts a node again that was killed.
    pub(crate) fn respawn(&mut self, which: usize) -> anyhow::Result<()> {
        self.nodes[which] = self.spawn(which)?;
        Ok(())
    }

    /// The node that leads, once all of them know one and the same.
    pub(crate) async fn leader(&self) -> anyhow::Result<usize> {
        let began = Instant::now();
        loop {
            if let Ok(all) = self.status().await
                && let Some(leader) = all.iter().position(|(member, leader)| member == leader)
                && all.iter().all(|(_, named)| *named == all[leader].0)
            {
                return Ok(leader);
            }
            ensure!(began.elapsed() < PATIENCE, "etcd has no leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Member and leader, by what each node says.
    async fn status(&self) -> anyhow::Result<Vec<(u64, u64)>> {
        let mut all = Vec::new();
        for (port, _) in &self.ports {
            let channel = Channel::from_shared(url(*port))?.connect().await?;
            let mut grpc = Grpc::new(channel);
            grpc.ready().await?;
            let path = hyper::http::uri::PathAndQuery::from_static("/etcdserverpb.Maintenance/Status");
            let codec: ProstCodec<StatusRequest, StatusResponse> = ProstCodec::default();
            let said = grpc
                .unary(tonic::Request::new(StatusRequest {}), path, codec)
                .await?
                .into_inner();
            let header = said.header.context("a header")?;
            all.push((header.member, said.leader));
        }
        Ok(all)
    }

    /// A client of its own connection, once the cluster takes writes. Clients spread over the nodes.
    pub(crate) async fn client(&self, which: usize) -> anyhow::Result<Putter> {
        let (port, _) = self.ports[which % self.ports.len()];
        let began = Instant::now();
        loop {
            let made = async {
                let channel = Channel::from_shared(url(port))?.connect().await?;
                let mut putter = Putter {
                    grpc: Grpc::new(channel),
                };
                putter.once(u64::MAX - which as u64).await?;
                anyhow::Ok(putter)
            };
            match made.await {
                Ok(putter) => return Ok(putter),
                Err(e) => ensure!(began.elapsed() < PATIENCE, "etcd does not answer: {e}"),
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
