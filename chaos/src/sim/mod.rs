//! Clusters in one thread: everything that happens follows from a seed.
//!
//! What runs is the code of the product: `core`'s apply, `raft` with openraft in it, `storage` with its log, state and
//! snapshots. Simulated are the network ([`network`]), the disk below the stores ([`disk`]), time (tokio's paused
//! clock) and the operating system's random numbers, which the program of the simulation gives from the seed.
//! [`faults`] breaks things, [`workload`] is the clients, and [`invariants`] look at everything that happens.

mod cluster;
mod disk;
mod faults;
mod invariants;
mod life;
mod network;
mod rng;
mod watch;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use palisade_core::kv::{Kv as _, MemoryKv};
use tokio::time::Instant;

use cluster::Cluster;
use faults::{Nemesis, join};
use invariants::{End, EndNode};
use rng::Rng;
pub use watch::Violation;
use watch::{Event, Watch};
use workload::{Client, Tally};

/// What a run is to be.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What everything follows from.
    pub seed: u64,
    /// Whether everything that happens is printed as it happens.
    pub trace: bool,
    /// Without faults, to show that such a run is not taken for a good one.
    pub calm: bool,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// The hash of everything that happened.
    pub trace: u64,
    /// How much it was.
    pub events: u64,
    /// How often each fault was made.
    pub faults: BTreeMap<String, u64>,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests whose outcome stayed unknown.
    pub unknown: u64,
    /// Linearizable reads.
    pub reads: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
}

/// A run with fewer faults or answers than this has shown nothing.
const FEWEST_FAULTS: u64 = 8;
const FEWEST_ANSWERS: u64 = 20;
/// How long a cluster may take to be whole again when all is healed.
const WHOLE_AGAIN: Duration = Duration::from_secs(40);
/// How long a node may take to notice that its disk is well: a full log looks twice a second, the watchdog five times,
/// and until then a leader refuses changes. One whose last sync failed has ended by then.
const NOTICE: Duration = Duration::from_secs(1);

/// Runs one seed. The thread must be a fresh one, so that nothing of it is left from another seed.
pub fn run(options: Options) -> std::io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let shm = std::path::Path::new("/dev/shm");
    let dir = if shm.is_dir() {
        tempfile::tempdir_in(shm)?
    } else {
        tempfile::tempdir()?
    };
    Ok(runtime.block_on(whole_run(options, dir.path().to_path_buf())))
}

async fn whole_run(options: Options, dir: std::path::PathBuf) -> Outcome {
    let watch = Arc::new(Watch::new(options.trace));
    let cluster = Arc::new(Cluster::new(options.seed, dir, Arc::clone(&watch)));
    let tally = Arc::new(Tally::default());
    let mut rng = Rng::new(options.seed, "run");
    let size = if rng.permille(600) { 3 } else { 5 };
    let mut nemesis = Nemesis::new(Arc::clone(&cluster), Rng::new(options.seed, "faults"), size + 1);
    let mut background = tokio::task::JoinSet::new();
    if found(&cluster, &tally, size, options.seed).await {
        background.spawn(probe(Arc::clone(&cluster)));
        background.spawn(bury(Arc::clone(&cluster)));
        let mut clients = tokio::task::JoinSet::new();
        for n in 0..rng.range(2, 5) {
            let client = Client::new(
                Arc::clone(&cluster),
                Arc::clone(&tally),
                Rng::new(options.seed, &format!("client {n}")),
            );
            clients.spawn(client.run());
        }
        let how_long = rng.millis(10_000, 20_000);
        if options.calm {
            tokio::time::sleep(how_long).await;
        } else {
            nemesis.run(how_long).await;
            // Faults that left the clients no room: more of them, for as long again.
            if tally.answered.load(Ordering::Relaxed) < FEWEST_ANSWERS {
                nemesis.run(how_long).await;
            }
        }
        nemesis.end().await;
        clients.shutdown().await;
        if watch.violation().is_none() {
            finish(&cluster, &tally, options.seed).await;
        }
    }
    let faults = nemesis.counts();
    let answered = tally.answered.load(Ordering::Relaxed);
    if faults.values().sum::<u64>() < FEWEST_FAULTS || answered < FEWEST_ANSWERS {
        watch.broken(
            "enough-faults",
            format!("{faults:?} and {answered} answers show nothing"),
        );
    }
    background.shutdown().await;
    for id in cluster.ids() {
        if let Some(running) = cluster.running(id) {
            running.life.end().await;
        }
    }
    let (trace, events) = watch.trace();
    Outcome {
        violation: watch.violation(),
        trace,
        events,
        faults,
        answered,
        unknown: tally.unknown.load(Ordering::Relaxed),
        reads: tally.reads.load(Ordering::Relaxed),
        simulated_ms: watch.now_ms(),
    }
}

/// Founds a cluster of that many voters.
async fn found(cluster: &Arc<Cluster>, tally: &Arc<Tally>, size: u64, seed: u64) -> bool {
    for id in 1..=size {
        cluster.add(id);
        cluster.start(id).await;
    }
    let founded = async {
        let first = cluster.running(1).ok_or("node 1 is not there")?;
        let done = first.inside(|node| async move { node.bootstrap().await });
        done.await.ok_or("node 1 died")?.map_err(|e| e.to_string())?;
        let mut client = Client::new(Arc::clone(cluster), Arc::clone(tally), Rng::new(seed, "founder"));
        for id in 2..=size {
            join(&first, id)
                .await
                .ok_or("node 1 died")?
                .map_err(|e| e.to_string())?;
        }
        let init = workload::init().ok_or("the first command is not valid")?;
        if client.change(init, 4).await {
            Ok(())
        } else {
            Err("the first command has no answer".to_owned())
        }
    };
    match founded.await {
        Ok(()) => true,
        Err(why) => {
            cluster.watch.broken("founding", why);
            false
        }
    }
}

/// Looks at every node, ten times a second.
async fn probe(cluster: Arc<Cluster>) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for running in cluster.all_running() {
            look(&cluster, &running);
        }
    }
}

fn look(cluster: &Cluster, running: &cluster::Running) {
    let who = running.who;
    match running.view() {
        Ok(Some(view)) => cluster.watch.tell(&Event::Seen { who, view: &view }),
        Ok(None) => {}
        Err(why) => cluster.watch.broken("readable-log", format!("{who}: {why}")),
    }
    // A process that stands still is asked nothing.
    if !running.life.is_paused()
        && let Some(age_ms) = running.lease_age()
        && let Some(silent) = cluster.network.silent(who.node)
    {
        cluster.watch.tell(&Event::Lease {
            who,
            age_ms,
            silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
        });
    }
}

/// Starts processes again that ended themselves.
async fn bury(cluster: Arc<Cluster>) {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let buried = Arc::clone(&cluster);
        // Not to be cut short.
        let Ok(ids) = tokio::spawn(async move { buried.bury().await }).await else {
            continue;
        };
        for id in ids {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let starting = Arc::clone(&cluster);
            let _ = tokio::spawn(async move { starting.start(id).await }).await;
        }
    }
}

/// All is healed: the cluster must become whole, write and read through each node, and hold what it promised.
async fn finish(cluster: &Arc<Cluster>, tally: &Arc<Tally>, seed: u64) {
    tokio::time::sleep(NOTICE).await;
    let began = Instant::now();
    let mut client = Client::new(Arc::clone(cluster), Arc::clone(tally), Rng::new(seed, "end"));
    let late = |what: String| cluster.watch.broken("whole-again", what);
    // Who is a member is for the leader to say.
    let members = loop {
        for id in cluster.ids() {
            if cluster.running(id).is_none() {
                cluster.start(id).await;
            }
        }
        if cluster.watch.violation().is_some() {
            return;
        }
        if let Some(leader) = cluster.leader()
            && let Some(status) = leader.status()
        {
            let all = status.nodes.keys().all(|id| {
                let theirs = cluster.running(*id).and_then(|member| member.status());
                theirs.is_some_and(|theirs| {
                    theirs.leader == Some(leader.who.node) && theirs.term == status.term
                })
            });
            if all && !status.joint {
                break status.nodes.keys().copied().collect::<Vec<_>>();
            }
        }
        if began.elapsed() > WHOLE_AGAIN {
            let states: Vec<_> = cluster
                .all_running()
                .iter()
                .map(|r| (r.who, r.status()))
                .collect();
            return late(format!("no leader that all know: {states:?}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for id in cluster.ids() {
        if !members.contains(&id) {
            cluster.forget(id).await;
        }
    }
    // Before anything new is applied: what a node has applied already must be enough for a read.
    for node in cluster.all_running() {
        if !client.read_through(&node, 5000).await {
            return late(format!("no answer to a first read through {}", node.who));
        }
    }
    for id in &members {
        let Some(node) = cluster.running(*id) else {
            return late(format!("n{id} is gone again"));
        };
        let Some(command) = workload::last(*id) else {
            return;
        };
        if !client.change_through(&node, command).await {
            return late(format!("no answer to a change through n{id}"));
        }
        if !client.read_through(&node, 5000).await {
            return late(format!("no answer to a read through n{id}"));
        }
    }
    let applied = loop {
        let applied: Vec<u64> = cluster
            .all_running()
            .iter()
            .filter_map(|r| Some(r.status()?.applied))
            .collect();
        if applied.len() == members.len()
            && let Some(first) = applied.first()
            && applied.iter().all(|other| other == first)
        {
            break *first;
        }
        if began.elapsed() > WHOLE_AGAIN {
            return late(format!("the members have applied up to {applied:?}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut nodes = Vec::new();
    for running in cluster.all_running() {
        look(cluster, &running);
        match running.with_state(|state| state.scan(&[], None, usize::MAX, false)) {
            Some(Ok(pairs)) => nodes.push(EndNode {
                id: running.who.node,
                applied,
                state: MemoryKv(pairs.into_iter().collect()),
            }),
            None => {}
            Some(Err(e)) => cluster
                .watch
                .broken("readable-state", format!("{}: {e}", running.who)),
        }
    }
    cluster.watch.end(&End { nodes });
}
