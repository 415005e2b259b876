//! How long a node takes to be of use again: started on what it has, and back from being away while the others went on.

use crate::grow::share;
use crate::writes::{Api, Writer, runtime};
use anyhow::{Context as _, bail};
use palisade_testkit::Cluster;
use std::time::{Duration, Instant};

/// Nobody waits longer.
const BOUND: Duration = Duration::from_secs(600);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// The node that comes and goes.
const ONE: usize = 2;

/// Makes `records`, starts a node on them, then writes `entries` more without it and lets it come back.
pub(crate) fn measure(records: u64, entries: u64, clients: usize) -> anyhow::Result<()> {
    println!("\n== a node that starts on {records} records, and comes back after {entries} entries");
    let cluster = crate::cluster();
    write(&cluster, &[0, 1, 2], 0, records, clients)?;
    for _ in 0..3 {
        cluster.stop(leave(&cluster)?);
        let began = Instant::now();
        cluster.spawn(ONE);
        ready(&cluster, began)?;
        println!(
            "start on {records} records until /readyz is green: {} ms (aim 1000)",
            began.elapsed().as_millis()
        );
    }
    cluster.stop(leave(&cluster)?);
    let began = Instant::now();
    write(&cluster, &[0, 1], records, entries, clients)?;
    println!(
        "away: {entries} entries in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    let target = cluster.status(0)["last_index"].as_u64().context("an index")?;
    let began = Instant::now();
    cluster.spawn(ONE);
    while cluster.status(ONE)["applied_index"].as_u64().unwrap_or(0) < target {
        if began.elapsed() > BOUND {
            bail!("it is not level after {BOUND:?}");
        }
        std::thread::sleep(LOOK);
    }
    println!(
        "back and level with the others after {:.1} s (aim 60)",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Takes leadership from the node, which is about to stop, and names it.
fn leave(cluster: &Cluster) -> anyhow::Result<usize> {
    if cluster.leader() == ONE {
        let to = cluster.nodes[0].name.clone();
        let ran = cluster.palctl(0, &["cluster", "transfer", "--to", &to]);
        if !ran.succeeded() {
            bail!("{ran}");
        }
    }
    Ok(ONE)
}

fn write(cluster: &Cluster, nodes: &[usize], from: u64, count: u64, clients: usize) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut all = Vec::new();
        for which in 0..clients {
            let socket = cluster.nodes[nodes[which % nodes.len()]].socket();
            all.push(Writer::connect(&socket, "away").await?);
        }
        share(all, from, count).await
    })
}

fn ready(cluster: &Cluster, began: Instant) -> anyhow::Result<()> {
    let socket = cluster.nodes[ONE].socket();
    runtime()?.block_on(async {
        while Api::connect(&socket).await?.get("/readyz").await.is_err() {
            if began.elapsed() > BOUND {
                bail!("it is not ready after {BOUND:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    })
}
