//! Thousands of agents at three nodes: what each costs there, and how soon all are back when a node dies.
//!
//! An agent here is the whole of `palisade agent start` but its process: they share this one. Each has joined by a
//! token of its own, and holds its two tunnels as any agent does.

use crate::report::{Aim, Figure, keep};
use crate::ssh::{residents, show};
use crate::writes::{Api, runtime};
use anyhow::{Context as _, ensure};
use palisade_node::agent::{self, Config};
use palisade_testkit::Cluster;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Joins at the same time.
const JOINS: usize = 32;
/// Agents that are started in a second.
const STARTS: usize = 250;
/// How long heartbeats are watched for what they write.
const QUIET: Duration = Duration::from_secs(30);
/// A measurement that does not get there is given up after this.
const PATIENCE: Duration = Duration::from_secs(300);

/// So many agents.
pub(crate) fn measure(agents: usize) -> anyhow::Result<()> {
    println!("\n== {agents} agents in one process, three nodes");
    open_files(agents)?;
    let cluster = Cluster::start(3);
    let folder = crate::scene::scratch()?;
    let runtime = runtime()?;
    let stop = CancellationToken::new();
    let began = Instant::now();
    let configs = runtime.block_on(join_all(&cluster, folder.path(), agents))?;
    println!("{:>28}: {:.0} s", "joined in", began.elapsed().as_secs_f64());
    cluster.wait_converged();
    std::thread::sleep(Duration::from_secs(10));
    let before = residents(&cluster)?;
    show("nodes before", &before);
    let began = Instant::now();
    let starting = stop.clone();
    runtime.spawn(async move {
        for (n, config) in configs.into_iter().enumerate() {
            let stop = starting.clone();
            tokio::spawn(async move {
                if let Err(error) = agent::run(tokio::sync::watch::channel(config).1, stop).await {
                    println!("an agent ended: {error}");
                }
            });
            if n % STARTS == STARTS - 1 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    let wanted = agents as f64 * 2.0;
    until_tunnels(&cluster, wanted)?;
    println!(
        "{:>28}: {:.1} s after the first was started",
        "all have two tunnels",
        began.elapsed().as_secs_f64()
    );
    std::thread::sleep(Duration::from_secs(10));
    let full = residents(&cluster)?;
    show("nodes", &full);
    let grown: u64 = full.iter().sum::<u64>() - before.iter().sum::<u64>().min(full.iter().sum());
    let each = grown as f64 * 1.024 / agents as f64;
    println!(
        "{:>28}: {each:.0} KB at all nodes together (aim: under 100), {:.0} KB a tunnel",
        "each agent",
        each / 2.0
    );
    let figure = Figure::new("KB", each).aim(Aim::AtMost(100.0));
    keep(
        "crowd: each agent at all nodes together",
        figure.cost(format!("{agents} agents")),
    );
    let applied = || cluster.metric(0, "palisade_raft_applied_index");
    let (quiet, cpu) = (applied(), cpu(&cluster)?);
    std::thread::sleep(QUIET);
    println!(
        "{:>28}: {} log entries in {} s, {:.2} of a core at the nodes together",
        "heartbeats",
        applied() - quiet,
        QUIET.as_secs(),
        (self::cpu(&cluster)? - cpu).as_secs_f64() / QUIET.as_secs_f64()
    );
    ensure!(cluster.tunnels() == wanted, "tunnels were lost without a reason");
    let killed = Instant::now();
    cluster.kill9(0);
    until_tunnels(&cluster, wanted)?;
    println!(
        "{:>28}: {:.1} s after a node died (aim: under 15)",
        "all back with two tunnels",
        killed.elapsed().as_secs_f64()
    );
    let figure = Figure::new("s", killed.elapsed().as_secs_f64()).aim(Aim::AtMost(15.0));
    keep(
        "crowd: all back after a node died",
        figure.cost(format!("{agents} agents")),
    );
    show("nodes that are left", &residents_running(&cluster)?);
    stop.cancel();
    runtime.shutdown_timeout(Duration::from_secs(10));
    Ok(())
}

/// Takes all the open files that may be had: each agent has a socket of its own, and two more while UDP is too slow.
fn open_files(agents: usize) -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    ensure!(
        most >= agents as u64 + 4096,
        "{most} open files are too few for {agents} agents: raise the limit (ulimit -Hn), or ask for fewer"
    );
    Ok(())
}

fn residents_running(cluster: &Cluster) -> anyhow::Result<Vec<u64>> {
    let pids = cluster.nodes.iter().filter_map(|node| node.pid());
    pids.map(crate::ssh::resident).collect()
}

/// Processor time of all nodes.
fn cpu(cluster: &Cluster) -> anyhow::Result<Duration> {
    let mut ticks = 0;
    for pid in cluster.nodes.iter().filter_map(|node| node.pid()) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after = stat.rsplit(')').next().unwrap_or_default();
        // utime and stime, in hundredths of a second: proc(5).
        for word in after.split_whitespace().skip(11).take(2) {
            ticks += word.parse::<u64>()?;
        }
    }
    Ok(Duration::from_millis(ticks * 10))
}

fn until_tunnels(cluster: &Cluster, wanted: f64) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut said = Instant::now();
    loop {
        let now = cluster.tunnels();
        if now >= wanted {
            return Ok(());
        }
        if said.elapsed() > Duration::from_secs(10) {
            println!("{:>28}  {now} of {wanted} tunnels", "");
            said = Instant::now();
        }
        ensure!(began.elapsed() < PATIENCE, "{now} of {wanted} tunnels");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Joins hosts with a token each, from an address each: the limit on tokens counts addresses.
async fn join_all(cluster: &Cluster, folder: &Path, agents: usize) -> anyhow::Result<Vec<Config>> {
    let nodes: Vec<_> = cluster.nodes.iter().map(|node| node.web_port).collect();
    let relay = relay(nodes).await?;
    let places = Arc::new(Semaphore::new(JOINS));
    let mut tasks = Vec::new();
    for n in 0..agents {
        let place = Arc::clone(&places).acquire_owned().await?;
        let socket = cluster.nodes[n % cluster.nodes.len()].socket();
        let text = format!(
            "name: agent-{n}\ndata_dir: {}\nlabels: {{env: test, rack: r{}}}\n",
            folder.join(n.to_string()).display(),
            n % 40
        );
        let config = Config::parse(&text).map_err(|faults| anyhow::anyhow!(faults.join("; ")))?;
        tasks.push(tokio::spawn(async move {
            let _place = place;
            let mut api = Api::connect(&socket).await?;
            let ask = json!({"host": {"name": format!("agent-{n}")}});
            let token = api.ask("/v1/tokens", &ask).await?;
            let token = token["token"].as_str().context("a token")?.to_owned();
            agent::join(&config, &token, &[relay.to_string()])
                .await
                .map_err(|e| anyhow::anyhow!("{e}"))?;
            anyhow::Ok(config)
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await??);
    }
    Ok(all)
}

/// Takes connections and makes each anew to one of the nodes, from another address of loopback.
async fn relay(nodes: Vec<u16>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        let next = AtomicU32::new(0);
        while let Ok((mut from, _)) = listener.accept().await {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let source = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + n);
            let node = SocketAddr::from((Ipv4Addr::LOCALHOST, nodes[n as usize % nodes.len()]));
            tokio::spawn(async move {
                let socket = TcpSocket::new_v4()?;
                socket.bind((source, 0).into())?;
                let mut to = socket.connect(node).await?;
                tokio::io::copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    Ok(addr)
}
