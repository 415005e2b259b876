//! What goes wrong in a run: drawn from its seed, each for a while, several at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_raft::MemberError;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cluster::{Cluster, Death, Running, soon};
use super::network::Line;
use super::rng::Rng;
use super::watch::Event;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Loss,
    Delay,
    Doubling,
    OneWayCut,
    Partition,
    Bridge,
    Kill,
    KillMost,
    KillAll,
    Pause,
    SlowDisk,
    FailedSync,
    FullDisk,
    Snapshot,
    Compaction,
    Transfer,
    Membership,
}

/// Each with its usual weight; a seed changes that.
const KINDS: [(Fault, u64); 17] = [
    (Fault::Loss, 3),
    (Fault::Delay, 3),
    (Fault::Doubling, 2),
    (Fault::OneWayCut, 3),
    (Fault::Partition, 4),
    (Fault::Bridge, 2),
    (Fault::Kill, 5),
    (Fault::KillMost, 2),
    (Fault::KillAll, 1),
    (Fault::Pause, 3),
    (Fault::SlowDisk, 2),
    (Fault::FailedSync, 2),
    (Fault::FullDisk, 1),
    (Fault::Snapshot, 2),
    (Fault::Compaction, 1),
    (Fault::Transfer, 3),
    (Fault::Membership, 3),
];

/// Voters are never fewer than this by intention, nor more than [`MOST`].
const LEAST: usize = 3;
const MOST: usize = 5;

/// Makes faults, and keeps count of them.
pub(crate) struct Nemesis {
    cluster: Arc<Cluster>,
    rng: Rng,
    weights: Vec<(Fault, u64)>,
    counts: Arc<Mutex<BTreeMap<Fault, u64>>>,
    under_way: JoinSet<()>,
    next_id: u64,
    changing: Arc<tokio::sync::Mutex<()>>,
}

impl Nemesis {
    pub(crate) fn new(cluster: Arc<Cluster>, mut rng: Rng, next_id: u64) -> Self {
        let weights = KINDS
            .iter()
            // A seed is fond of some faults and leaves others out.
            .map(|(fault, weight)| {
                (
                    *fault,
                    weight * [0, 1, 1, 4][usize::try_from(rng.below(4)).unwrap_or(1)],
                )
            })
            .collect();
        Self {
            cluster,
            rng,
            weights,
            counts: Arc::default(),
            under_way: JoinSet::new(),
            next_id,
            changing: Arc::default(),
        }
    }

    /// How often each fault was made.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let counts = self.counts.lock();
        counts
            .iter()
            .map(|(fault, count)| (format!("{fault:?}"), *count))
            .collect()
    }

    /// Makes faults for a while.
    pub(crate) async fn run(&mut self, how_long: Duration) {
        let began = Instant::now();
        while began.elapsed() < how_long && self.cluster.watch.violation().is_none() {
            let pause = self.rng.millis(50, 900);
            tokio::time::sleep(pause).await;
            let total = self.weights.iter().map(|(_, weight)| weight).sum();
            let mut at = self.rng.below(total);
            let fault = self.weights.iter().find(|(_, weight)| {
                let found = at < *weight;
                at = at.saturating_sub(*weight);
                found
            });
            if let Some((fault, _)) = fault {
                self.make(*fault).await;
            }
            while self.under_way.try_join_next().is_some() {}
        }
    }

    /// Ends everything that was begun.
    pub(crate) async fn end(&mut self) {
        self.under_way.shutdown().await;
        self.cluster.network.heal();
        for id in self.cluster.ids() {
            if let Some(host) = self.cluster.host(id) {
                host.heal();
            }
            if let Some(running) = self.cluster.running(id) {
                running.life.resume();
            }
        }
        self.say("all is healed");
    }

    fn say(&self, what: &str) {
        self.cluster.watch.tell(&Event::Told { what });
    }

    async fn make(&mut self, fault: Fault) {
        let ids = self.cluster.ids();
        let Some(victim) = self.rng.pick(&ids).copied() else {
            return;
        };
        let leader = self.cluster.leader();
        // Half of what hits one node hits the leader.
        let victim = match &leader {
            Some(leader) if self.rng.permille(400) => leader.who.node,
            _ => victim,
        };
        *self.counts.lock().entry(fault).or_default() += 1;
        self.say(&format!("{fault:?} near n{victim}"));
        let cluster = Arc::clone(&self.cluster);
        let for_a_while = self.rng.millis(100, 3500);
        match fault {
            Fault::Loss | Fault::Delay | Fault::Doubling => {
                let (lost, late, doubled) = (
                    self.rng.range(20, 400),
                    self.rng.range(10, 400),
                    self.rng.range(50, 600),
                );
                self.change_lines(&ids, for_a_while, move |line| match fault {
                    Fault::Loss => line.lost = lost,
                    Fault::Delay => line.late = late,
                    _ => line.doubled = doubled,
                });
            }
            Fault::OneWayCut => {
                let inwards = self.rng.permille(500);
                let others: Vec<u64> = ids.iter().copied().filter(|id| *id != victim).collect();
                let some = 1 + self.rng.below(others.len() as u64);
                let others = others.into_iter().take(usize::try_from(some).unwrap_or(1));
                let pairs = others.map(|other| if inwards { (other, victim) } else { (victim, other) });
                self.cut(pairs.collect(), for_a_while);
            }
            Fault::Partition => {
                let mut sides = ids.clone();
                self.rng.shuffle(&mut sides);
                let at = 1 + self.rng.below(sides.len() as u64 / 2);
                let (ours, theirs) = sides.split_at(usize::try_from(at).unwrap_or(1).min(sides.len()));
                let pairs = ours
                    .iter()
                    .flat_map(|a| theirs.iter().flat_map(move |b| [(*a, *b), (*b, *a)]));
                self.cut(pairs.collect(), for_a_while);
            }
            // Two that cannot hear each other, while all others hear both.
            Fault::Bridge => {
                let other = ids.iter().copied().find(|id| *id != victim);
                let pairs = other.map(|other| vec![(victim, other), (other, victim)]);
                self.cut(pairs.unwrap_or_default(), for_a_while);
            }
            Fault::Kill => self.kill(&[victim]),
            Fault::KillMost => {
                let mut victims = ids.clone();
                self.rng.shuffle(&mut victims);
                victims.truncate(ids.len() / 2 + 1);
                self.kill(&victims);
            }
            Fault::KillAll => self.kill(&ids),
            Fault::Pause => {
                let Some(running) = self.cluster.running(victim) else {
                    return;
                };
                running.life.pause();
                self.under_way.spawn(async move {
                    tokio::time::sleep(for_a_while).await;
                    running.life.resume();
                });
            }
            Fault::SlowDisk | Fault::FullDisk | Fault::Compaction => {
                let Some(host) = cluster.host(victim) else { return };
                let slow = self.rng.millis(20, 2500);
                self.under_way.spawn(async move {
                    match fault {
                        Fault::SlowDisk => host.disk().set_slow(slow),
                        Fault::FullDisk => host.disk().set_full(true),
                        _ => host.disk().set_bloated(true),
                    }
                    tokio::time::sleep(for_a_while).await;
                    match fault {
                        Fault::SlowDisk => host.disk().set_slow(Duration::ZERO),
                        Fault::FullDisk => host.disk().set_full(false),
                        _ => host.disk().set_bloated(false),
                    }
                });
            }
            Fault::FailedSync => {
                let Some(host) = cluster.host(victim).filter(|_| cluster.running(victim).is_some()) else {
                    return;
                };
                host.expect_end();
                host.disk().fail_next_sync();
            }
            Fault::Snapshot => {
                if let Some(running) = cluster.running(victim) {
                    self.under_way.spawn(async move {
                        running
                            .inside(|node| async move { node.snapshot_now().await })
                            .await;
                    });
                }
            }
            Fault::Transfer => {
                let to = self.rng.permille(500).then_some(victim);
                if let Some(running) = leader {
                    self.under_way.spawn(async move {
                        running
                            .inside(move |node| async move { node.transfer_leader(to, soon(3000)).await })
                            .await;
                    });
                }
            }
            Fault::Membership => self.change_membership(victim),
        }
    }

    fn change_lines(&mut self, ids: &[u64], how_long: Duration, change: impl Fn(&mut Line) + Send + 'static) {
        let mut lines = Vec::new();
        for from in ids {
            for to in ids {
                if from != to && self.rng.permille(700) {
                    lines.push((*from, *to));
                }
            }
        }
        for (from, to) in &lines {
            self.cluster.network.line(*from, *to, &change);
        }
        let cluster = Arc::clone(&self.cluster);
        self.under_way.spawn(async move {
            tokio::time::sleep(how_long).await;
            for (from, to) in lines {
                cluster.network.line(from, to, |line| {
                    *line = Line {
                        cut: line.cut,
                        ..Line::default()
                    }
                });
            }
        });
    }

    fn cut(&mut self, lines: Vec<(u64, u64)>, how_long: Duration) {
        for (from, to) in &lines {
            self.cluster.network.line(*from, *to, |line| line.cut = true);
        }
        let cluster = Arc::clone(&self.cluster);
        self.under_way.spawn(async move {
            tokio::time::sleep(how_long).await;
            for (from, to) in lines {
                cluster.network.line(from, to, |line| line.cut = false);
            }
        });
    }

    /// Kills nodes within a moment, and starts each again after a while of its own.
    fn kill(&mut self, victims: &[u64]) {
        for id in victims {
            let (id, cluster) = (*id, Arc::clone(&self.cluster));
            let death = if self.rng.permille(500) {
                Death::Process
            } else {
                Death::Power
            };
            let (before, down) = (self.rng.millis(0, 8), self.rng.millis(20, 2500));
            self.under_way.spawn(async move {
                tokio::time::sleep(before).await;
                // Not to be cut short: the process is half dead then.
                let killed = tokio::spawn(async move {
                    cluster.kill(id, death).await;
                    cluster
                });
                let Ok(cluster) = killed.await else { return };
                tokio::time::sleep(down).await;
                let _ = tokio::spawn(async move { cluster.start(id).await }).await;
            });
        }
    }

    /// One node more, or one less.
    fn change_membership(&mut self, victim: u64) {
        let Some(asked) = self.cluster.all_running().first().cloned() else {
            return;
        };
        let Some(voters) = asked.status().map(|status| status.voters().len()) else {
            return;
        };
        let grow = voters < MOST && (voters <= LEAST || self.rng.permille(500));
        let (cluster, changing) = (Arc::clone(&self.cluster), Arc::clone(&self.changing));
        if grow {
            let id = self.next_id;
            self.next_id += 1;
            self.under_way.spawn(async move {
                let Ok(_alone) = changing.try_lock() else { return };
                cluster.add(id);
                let starting = Arc::clone(&cluster);
                let _ = tokio::spawn(async move { starting.start(id).await }).await;
                join(&asked, id).await;
            });
        } else if voters > LEAST {
            self.under_way.spawn(async move {
                let Ok(_alone) = changing.try_lock() else { return };
                let removed = asked
                    .inside(move |node| async move { node.remove(victim, soon(6000)).await })
                    .await;
                if matches!(removed, Some(Ok(()))) {
                    let _ = tokio::spawn(async move { cluster.forget(victim).await }).await;
                }
            });
        }
    }
}

/// Makes a running node a member, by way of another.
pub(crate) async fn join(through: &Running, id: u64) -> Option<Result<(), MemberError>> {
    through
        .inside(move |node| async move {
            let addr = format!("10.0.0.{id}:3025");
            node.add_learner(id, &addr, &(100 + id).to_string(), soon(6000))
                .await?;
            node.promote(id, soon(8000)).await
        })
        .await
}
