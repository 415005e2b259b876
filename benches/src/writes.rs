//! Committed writes and certificates a second, and the gap that the loss of the leader makes.

use crate::etcd::Etcd;
use crate::load::{Client, Seen, measure};
use crate::report::{Aim, Figure, keep};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use palisade_testkit::{Cluster, run};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A connection to a node's control socket: the API without TLS, as etcd is measured without TLS.
pub(crate) struct Api {
    sender: SendRequest<Full<Bytes>>,
}

impl Api {
    pub(crate) async fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream = tokio::net::UnixStream::connect(socket).await?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Api { sender })
    }

    async fn post(&mut self, path: &str, body: &serde_json::Value) -> anyhow::Result<()> {
        let body = Bytes::from(body.to_string());
        self.call(Method::POST, path, body).await.map(drop)
    }

    /// Posts and reads the answer.
    pub(crate) async fn ask(
        &mut self,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let bytes = self
            .call(Method::POST, path, Bytes::from(body.to_string()))
            .await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<String> {
        let bytes = self.call(Method::GET, path, Bytes::new()).await?;
        Ok(String::from_utf8(bytes.into())?)
    }

    async fn call(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        call(&mut self.sender, method, path, body).await
    }

    /// Makes a host record with one label.
    pub(crate) async fn host(&mut self, name: &str, label: &str, value: &str) -> anyhow::Result<()> {
        let record = json!({
            "kind": "host", "version": "v1",
            "metadata": {"name": name, "labels": {label: value}},
            "spec": {"addr": "127.0.0.1:22"},
        });
        self.post("/v1/records/host", &record).await
    }
}

/// One request, over whatever the connection is.
pub(crate) async fn call(
    sender: &mut SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<Bytes> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    ensure!(
        status.is_success(),
        "{path}: {status} {}",
        String::from_utf8_lossy(&bytes)
    );
    Ok(bytes)
}

/// Creates host records of about 256 bytes.
pub(crate) struct Writer {
    api: Api,
    mark: &'static str,
}

impl Writer {
    /// Its names begin with `mark`: a record is created, not changed.
    pub(crate) async fn connect(socket: &Path, mark: &'static str) -> anyhow::Result<Self> {
        let api = Api::connect(socket).await?;
        Ok(Writer { api, mark })
    }
}

impl Client for Writer {
    async fn once(&mut self, n: u64) -> anyhow::Result<()> {
        let record = json!({
            "kind": "host", "version": "v1",
            "metadata": {"name": format!("{}-{n}", self.mark), "description": "x".repeat(100)},
            "spec": {"addr": "127.0.0.1:22"},
        });
        self.api.post("/v1/records/host", &record).await
    }
}

/// Has host keys signed: signed, audited, committed.
struct Signer {
    api: Api,
    key: String,
}

impl Client for Signer {
    async fn once(&mut self, n: u64) -> anyhow::Result<()> {
        let ask = json!({"names": [format!("host-{n}")], "public_key": self.key, "ttl_secs": 3600});
        self.api.post("/v1/authorities/host/sign", &ask).await
    }
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn run_etcd(etcd: &Etcd, clients: usize, seconds: u64) -> anyhow::Result<Seen> {
    runtime()?.block_on(async {
        let mut all = Vec::new();
        for which in 0..clients {
            all.push(etcd.client(which).await?);
        }
        measure(all, seconds).await
    })
}

fn run_writes(cluster: &Cluster, clients: usize, seconds: u64, mark: &'static str) -> anyhow::Result<Seen> {
    runtime()?.block_on(async {
        let mut all = Vec::new();
        for which in 0..clients {
            let socket = cluster.nodes[which % cluster.nodes.len()].socket();
            all.push(Writer::connect(&socket, mark).await?);
        }
        measure(all, seconds).await
    })
}

/// Writes so many records, by 64 clients.
pub(crate) fn write_many(cluster: &Cluster, count: u64) -> anyhow::Result<()> {
    const CLIENTS: u64 = 64;
    runtime()?.block_on(async {
        let mut tasks = Vec::new();
        for which in 0..CLIENTS {
            let socket = cluster.nodes[which as usize % cluster.nodes.len()].socket();
            let api = Api::connect(&socket).await?;
            let mut writer = Writer { api, mark: "many" };
            tasks.push(tokio::spawn(async move {
                for n in 0..count.div_ceil(CLIENTS) {
                    writer.once((which << 32) + n).await?;
                }
                anyhow::Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

/// Writes so many hosts with labels of a fleet: names `web-…` and `db-…`, environments and racks; by 64 clients.
pub(crate) fn write_labelled(cluster: &Cluster, count: u64) -> anyhow::Result<()> {
    const CLIENTS: u64 = 64;
    runtime()?.block_on(async {
        let mut tasks = Vec::new();
        for which in 0..CLIENTS {
            let socket = cluster.nodes[which as usize % cluster.nodes.len()].socket();
            let mut api = Api::connect(&socket).await?;
            tasks.push(tokio::spawn(async move {
                for n in (which..count).step_by(CLIENTS as usize) {
                    let role = ["web", "db", "cache", "many"][n as usize % 4];
                    let env = ["prod", "test", "dev"][n as usize % 3];
                    let record = json!({
                        "kind": "host", "version": "v1",
                        "metadata": {
                            "name": format!("{role}-{n}"),
                            "labels": {"env": env, "role": role, "rack": format!("r{}", n % 400)},
                        },
                        "spec": {"addr": format!("10.{}.{}.{}:22", n >> 16 & 255, n >> 8 & 255, n & 255)},
                    });
                    api.post("/v1/records/host", &record).await?;
                }
                anyhow::Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

fn fresh_key(cluster: &Cluster, name: &str) -> PathBuf {
    let key = cluster.folder("keys").join(name);
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key))
    .ok();
    key
}

/// What stock OpenSSH takes for a certificate that nobody else hears of: a process each.
fn ssh_keygen(cluster: &Cluster, times: usize) -> anyhow::Result<Seen> {
    let (ca, key) = (fresh_key(cluster, "ca"), fresh_key(cluster, "signed"));
    let mut took = Vec::new();
    for _ in 0..times {
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-s"]).arg(&ca);
        sign.args(["-I", "alice", "-n", "alice", "-V", "+1h"])
            .arg(key.with_extension("pub"));
        let began = Instant::now();
        ensure!(sign.output()?.status.success(), "ssh-keygen does not sign");
        took.push(began.elapsed());
    }
    Ok(Seen::of(took, Duration::from_secs(1)))
}

fn run_signing(cluster: &Cluster, clients: usize, seconds: u64) -> anyhow::Result<Seen> {
    let key = fresh_key(cluster, &format!("k{clients}"));
    let key = std::fs::read_to_string(key.with_extension("pub"))?
        .trim()
        .to_owned();
    runtime()?.block_on(async {
        let mut all = Vec::new();
        for which in 0..clients {
            let socket = cluster.nodes[which % cluster.nodes.len()].socket();
            all.push(Signer {
                api: Api::connect(&socket).await?,
                key: key.clone(),
            });
        }
        measure(all, seconds).await
    })
}

/// What a measurement saw, and what it cost these processes: microseconds of processor time for each thing done. Other
/// work on the machine changes rates, and this much less.
fn with_cpu(pids: &[u32], work: impl FnOnce() -> anyhow::Result<Seen>) -> anyhow::Result<(Seen, f64)> {
    let all = || -> anyhow::Result<f64> { pids.iter().map(|pid| cpu_seconds(*pid)).sum() };
    let before = all()?;
    let seen = work()?;
    let each = (all()? - before) * 1e6 / seen.count().max(1) as f64;
    Ok((seen, each))
}

/// Processor time of a process so far, in its own code and in the kernel (proc(5), fields 14 and 15).
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a process's name in brackets")?;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_A_SECOND)
}

/// Both side by side, one after the other for each number of clients.
pub(crate) fn measure_all(seconds: u64, clients: &[usize]) -> anyhow::Result<()> {
    println!("\n== committed writes of 256 bytes, three nodes on one disk, {seconds} s each");
    let cluster = crate::cluster();
    let etcd = Etcd::start()?;
    // One name for each number of clients: a record is created, not changed.
    let marks = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut last = None;
    let nodes = cluster
        .nodes
        .iter()
        .filter_map(|node| node.pid())
        .collect::<Vec<_>>();
    for (count, mark) in clients.iter().zip(marks) {
        let (theirs, their_cpu) =
            with_cpu(&etcd.pids(), || run_etcd(&etcd, *count, seconds).context("etcd"))?;
        let (ours, our_cpu) = with_cpu(&nodes, || {
            run_writes(&cluster, *count, seconds, mark).context("palisade")
        })?;
        println!(
            "{count:>4} clients  palisade {}  cpu {our_cpu:>5.0} µs a write",
            ours.line()
        );
        println!(
            "              etcd     {}  cpu {their_cpu:>5.0} µs a write",
            theirs.line()
        );
        println!(
            "              ratio    {:.2} (rate), {:.2} (p50), {:.2} (cpu)",
            ours.rate() / theirs.rate(),
            ours.percentile(50) / theirs.percentile(50),
            our_cpu / their_cpu
        );
        let cost = format!("{our_cpu:.0} µs a write, etcd {their_cpu:.0}");
        let mut rate = Figure::new("/s", ours.rate())
            .peer("etcd", theirs.rate())
            .cost(cost);
        if *count == 64 {
            rate = rate.aim(Aim::RatioAtLeast(1.0));
        }
        keep(format!("committed writes, {count} clients"), rate);
        let mut p50 = Figure::times(&ours).peer("etcd", theirs.percentile(50));
        if *count == 1 {
            p50 = p50.aim(Aim::RatioAtMost(1.0));
        }
        keep(format!("time of a write, {count} clients"), p50);
        last = (*count == 64).then(|| ours.rate()).or(last);
    }
    let signed = run_signing(&cluster, 64, seconds).context("signing")?;
    println!("certificates, 64 clients: {}", signed.line());
    if let Some(rate) = last {
        println!(
            "              ratio    {:.2} of the writes at 64 clients",
            signed.rate() / rate
        );
        let figure = Figure::new("/s", signed.rate()).peer("our writes", rate);
        keep("certificates, 64 clients", figure.aim(Aim::RatioAtLeast(0.5)));
    }
    let alone = run_signing(&cluster, 1, seconds).context("signing")?;
    let plain = ssh_keygen(&cluster, 50)?;
    println!(
        "one certificate: p50 {:.2} ms, signed, audited and committed; ssh-keygen -s {:.2} ms",
        alone.percentile(50),
        plain.percentile(50)
    );
    keep(
        "one certificate, signed and committed",
        Figure::times(&alone).peer("ssh-keygen -s", plain.percentile(50)),
    );
    Ok(())
}

/// Kills the leader again and again; what is measured is the time to the next write that a survivor acknowledges. The
/// same of etcd, at its defaults and at the shortest times that its documentation gives for one rack.
pub(crate) fn failover(tries: usize, etcd: usize) -> anyhow::Result<()> {
    println!("\n== kill -9 of the leader, time to the next committed write, {tries} tries");
    let ours = our_gaps(tries)?;
    show_gaps("palisade", &ours);
    let figure = Figure::times(&ours).aim(Aim::AtMost(600.0));
    let worst = Figure::new("ms", ours.percentile(99)).aim(Aim::AtMost(1000.0));
    if etcd == 0 {
        keep("leader killed: next write", figure);
        keep("leader killed: next write, p99", worst);
        return Ok(());
    }
    let defaults = their_gaps(&[], etcd)?;
    show_gaps("etcd, defaults", &defaults);
    let short = their_gaps(&["--heartbeat-interval", "50", "--election-timeout", "500"], etcd)?;
    show_gaps("etcd, 50/500 ms", &short);
    keep(
        "leader killed: next write",
        figure
            .peer("etcd, defaults", defaults.percentile(50))
            .cost(format!("etcd at 50/500 ms: {:.0} ms", short.percentile(50))),
    );
    keep(
        "leader killed: next write, p99",
        worst
            .peer("etcd, defaults, worst", defaults.percentile(100))
            .cost(format!("{tries} kills, {etcd} of each etcd")),
    );
    Ok(())
}

fn show_gaps(who: &str, seen: &Seen) {
    println!(
        "{who:>18}  p50 {:>5.0} ms, p90 {:>5.0} ms, p99 {:>5.0} ms",
        seen.percentile(50),
        seen.percentile(90),
        seen.percentile(99)
    );
}

fn our_gaps(tries: usize) -> anyhow::Result<Seen> {
    let cluster = crate::cluster();
    let mut gaps = Vec::new();
    for n in 0..tries {
        let leader = cluster.leader();
        let survivor = (leader + 1) % cluster.nodes.len();
        let socket = cluster.nodes[survivor].socket();
        cluster.kill9(leader);
        let killed = Instant::now();
        let gap = runtime()?.block_on(async {
            loop {
                let written = async { Writer::connect(&socket, "gap").await?.once(n as u64).await };
                // A conflict says that an earlier try was committed after all.
                match written.await {
                    Err(e) if killed.elapsed() > Duration::from_secs(30) => return Err(e),
                    Err(e) if !e.to_string().contains("409") => continue,
                    _ => return anyhow::Ok(killed.elapsed()),
                }
            }
        })?;
        gaps.push(gap);
        cluster.spawn(leader);
        cluster.wait_voters(3);
    }
    Ok(Seen::of(gaps, Duration::from_secs(1)))
}

/// How long one write to etcd may take before it is asked for again.
const ASK_ANEW: Duration = Duration::from_millis(100);

fn their_gaps(flags: &[&str], tries: usize) -> anyhow::Result<Seen> {
    let mut etcd = Etcd::start_with(flags)?;
    let mut gaps = Vec::new();
    for n in 0..tries {
        let leader = runtime()?.block_on(etcd.leader())?;
        let survivor = (leader + 1) % etcd.pids().len();
        // Connected before, as a client of theirs would be; ours connects anew each time.
        let runtime = runtime()?;
        let mut client = runtime.block_on(etcd.client(survivor))?;
        etcd.kill(leader)?;
        let killed = Instant::now();
        let gap = runtime.block_on(async {
            loop {
                // What was sent on to the dead leader is only given up after seconds: it is asked anew before that.
                match tokio::time::timeout(ASK_ANEW, client.once(n as u64)).await {
                    Ok(Ok(())) => return anyhow::Ok(killed.elapsed()),
                    _ => ensure!(killed.elapsed() < Duration::from_secs(30), "etcd takes no writes"),
                }
            }
        })?;
        gaps.push(gap);
        etcd.respawn(leader)?;
        runtime.block_on(etcd.leader())?;
    }
    Ok(Seen::of(gaps, Duration::from_secs(1)))
}
