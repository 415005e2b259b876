//! What many writes leave behind: resident memory, log and disk of every node while the state grows.

use crate::etcd::Etcd;
use crate::load::Client;
use crate::ssh::resident;
use crate::writes::{Api, Writer, runtime};
use anyhow::Context as _;
use palisade_testkit::Cluster;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lines of the table.
const STEPS: u64 = 20;

/// Writes to both, and prints what each node takes along the way.
pub(crate) fn measure(writes: u64, etcd_writes: u64, clients: usize) -> anyhow::Result<()> {
    println!(
        "\n== {writes} writes of 256 bytes by {clients} clients: memory and disk of each of three nodes"
    );
    let cluster = crate::cluster();
    println!(
        "{:>9} {:>8}   resident MiB / data MiB (log, state, snapshots) / entries in the log",
        "writes", "rate"
    );
    println!("{:>9} {:>8}   {}", 0, "", nodes(&cluster)?);
    let mut done = 0;
    while done < writes {
        let step = writes.div_ceil(STEPS).min(writes - done);
        let began = Instant::now();
        runtime()?.block_on(async {
            let mut all = Vec::new();
            for which in 0..clients {
                let socket = cluster.nodes[which % cluster.nodes.len()].socket();
                all.push(Writer::connect(&socket, "grow").await?);
            }
            share(all, done, step).await
        })?;
        done += step;
        let rate = step as f64 / began.elapsed().as_secs_f64();
        println!("{done:>9} {rate:>6.0}/s   {}", nodes(&cluster)?);
    }
    if etcd_writes == 0 {
        return Ok(());
    }
    drop(cluster);
    let etcd = Etcd::start()?;
    let began = Instant::now();
    runtime()?.block_on(async {
        let mut all = Vec::new();
        for which in 0..clients {
            all.push(etcd.client(which).await?);
        }
        share(all, 0, etcd_writes).await
    })?;
    let rate = etcd_writes as f64 / began.elapsed().as_secs_f64();
    let memory: anyhow::Result<Vec<String>> = etcd
        .pids()
        .into_iter()
        .map(|pid| Ok(mib(resident(pid)? * 1024)))
        .collect();
    println!(
        "etcd, {etcd_writes} writes, {rate:.0}/s: resident MiB {}",
        memory?.join("  ")
    );
    Ok(())
}

/// All clients together do `from..from + count`, each number once.
pub(crate) async fn share<C: Client>(clients: Vec<C>, from: u64, count: u64) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(from));
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let next = next.clone();
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= from + count {
                        return anyhow::Ok(());
                    }
                    client.once(n).await?;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn nodes(cluster: &Cluster) -> anyhow::Result<String> {
    let mut shown = Vec::new();
    for node in &cluster.nodes {
        let pid = node.pid().context("the node runs")?;
        let parts = ["raft", "sm", "snap"].map(|part| mib(disk(&node.data, part)));
        let metrics =
            runtime()?.block_on(async { Api::connect(&node.socket()).await?.get("/metrics").await })?;
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<f64>().ok())
                .unwrap_or(f64::NAN)
        };
        let kept = value("palisade_raft_last_log_index ") - value("palisade_raft_purged_index ");
        shown.push(format!(
            "{} / {} / {kept:.0}",
            mib(resident(pid)? * 1024),
            parts.join(" ")
        ));
    }
    Ok(shown.join("   "))
}

/// Bytes below the entries of a directory whose names begin like this.
fn disk(dir: &Path, begins: &str) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let mut total = 0;
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(begins) {
            continue;
        }
        total += match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk(&entry.path(), ""),
            Ok(meta) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
            Err(_) => 0,
        };
    }
    total
}

fn mib(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1048576.0)
}
