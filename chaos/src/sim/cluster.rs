//! The nodes of a run: their processes, which come and go, and their disks, which stay.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palisade_core::kv::Kv;
use palisade_core::state;
use palisade_raft::{
    Applied, Apply, Fault, LogPosition, RaftConfig, RaftNode, RaftStatus, Role, inspect, spawn_kept,
};
use palisade_storage::{FreeSpace, LogOptions, LogStore, OnFull, StateOptions, StateStore};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::disk::Disk;
use super::life::Life;
use super::network::{Network, Port};
use super::rng::Rng;
use super::watch::{Event, LogEntry, View, Watch, Who, hash};

/// The cluster's id in certificates, had it any.
const CLUSTER: &str = "simulated";
/// Entries of the end of a log that are looked at each time.
const TAIL: u64 = 64;

/// A machine.
pub(crate) struct Host {
    id: u64,
    disk: Arc<Disk>,
    dir: PathBuf,
    lives: Mutex<u32>,
    running: Mutex<Option<Running>>,
    /// Why its process ended itself.
    fatal: Mutex<Option<String>>,
    /// One start or stop at a time.
    door: tokio::sync::Mutex<()>,
    /// It was told to end itself: a disk that fails, a removal.
    may_end: Mutex<bool>,
}

/// A process.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) who: Who,
    pub(crate) life: Arc<Life>,
    /// None once it has ended: whoever still holds this must not hold its files open.
    parts: Arc<Mutex<Option<Parts>>>,
}

/// What a process has open.
#[derive(Clone)]
struct Parts {
    node: Arc<RaftNode>,
    log: LogStore,
    state: StateStore,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// The process alone: its machine refuses connections.
    Process,
    /// The machine: it answers nothing.
    Power,
}

pub(crate) struct Cluster {
    pub(crate) network: Arc<Network>,
    pub(crate) watch: Arc<Watch>,
    hosts: Mutex<BTreeMap<u64, Arc<Host>>>,
    dir: PathBuf,
    seed: u64,
    rng: Mutex<Rng>,
}

/// `core`'s state machine, watched.
struct WatchedApply {
    watch: Arc<Watch>,
    who: Who,
    life: Arc<Life>,
}

impl Apply for WatchedApply {
    fn apply(&self, kv: &dyn Kv, at: LogPosition, entry: &[u8]) -> Result<Applied, Fault> {
        let applied = state::apply(kv, at.index, entry).map_err(|e| Fault(e.to_string()))?;
        let reply = applied.reply.to_bytes();
        let effect = hash(format!("{:?} {reply:?}", applied.changes).as_bytes());
        if !self.life.is_dead() {
            self.watch.tell(&Event::Applied {
                who: self.who,
                index: at.index,
                term: at.term,
                entry,
                effect,
                reply: &reply,
                effective: !applied.changes.is_empty(),
            });
        }
        Ok(Applied {
            changes: applied.changes,
            reply,
            notify: applied.notify,
        })
    }
}

fn addr(id: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(id).unwrap_or(u8::MAX)], 3025))
}

pub(crate) fn soon(millis: u64) -> std::time::Instant {
    (Instant::now() + Duration::from_millis(millis)).into_std()
}

impl Cluster {
    pub(crate) fn new(seed: u64, dir: PathBuf, watch: Arc<Watch>) -> Self {
        Self {
            network: Arc::new(Network::new(Rng::new(seed, "network"), Arc::clone(&watch))),
            watch,
            hosts: Mutex::default(),
            dir,
            seed,
            rng: Mutex::new(Rng::new(seed, "cluster")),
        }
    }

    /// A new machine, with nothing on its disk.
    pub(crate) fn add(&self, id: u64) {
        let host = Host {
            id,
            disk: Arc::new(Disk::new(Rng::new(self.seed, &format!("disk {id}")))),
            dir: self.dir.join(format!("n{id}")),
            lives: Mutex::new(0),
            running: Mutex::default(),
            fatal: Mutex::default(),
            door: tokio::sync::Mutex::default(),
            may_end: Mutex::new(false),
        };
        self.hosts.lock().insert(id, Arc::new(host));
    }

    pub(crate) fn host(&self, id: u64) -> Option<Arc<Host>> {
        self.hosts.lock().get(&id).cloned()
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.hosts.lock().keys().copied().collect()
    }

    pub(crate) fn running(&self, id: u64) -> Option<Running> {
        let running = self.host(id)?.running.lock().clone();
        running.filter(|running| !running.life.is_dead())
    }

    pub(crate) fn all_running(&self) -> Vec<Running> {
        self.ids().into_iter().filter_map(|id| self.running(id)).collect()
    }

    /// Those that say that they lead; the one of the highest term first.
    pub(crate) fn leader(&self) -> Option<Running> {
        let mut leaders: Vec<(u64, Running)> = self
            .all_running()
            .into_iter()
            .filter(|running| !running.life.is_paused())
            .filter_map(|running| Some((running.status()?, running)))
            .filter(|(status, _)| status.role == Role::Leader)
            .map(|(status, running)| (status.term, running))
            .collect();
        leaders.sort_by_key(|(term, _)| *term);
        leaders.pop().map(|(_, running)| running)
    }

    /// Starts the process of a node.
    pub(crate) async fn start(&self, id: u64) {
        let Some(host) = self.host(id) else { return };
        let _door = host.door.lock().await;
        if host.running.lock().is_some() {
            return;
        }
        let life_number = {
            let mut lives = host.lives.lock();
            *lives += 1;
            *lives
        };
        let who = Who {
            node: id,
            life: life_number,
        };
        let life = Arc::new(Life::default());
        *host.fatal.lock() = None;
        *host.may_end.lock() = false;
        self.network.powered(id);
        let port = Port {
            network: Arc::clone(&self.network),
            life: Arc::clone(&life),
            who,
        };
        let began = spawn_kept(
            Arc::clone(&life) as Arc<_>,
            begin(Arc::clone(&host), Arc::clone(&self.watch), port),
        );
        let began = tokio::select! {
            biased;
            began = began => began.ok(),
            // It ended itself: it is not going to answer.
            () = life.stopped() => None,
        };
        match began {
            Some(Ok(running)) => {
                *host.running.lock() = Some(running);
                return;
            }
            Some(Err(why)) => self
                .watch
                .broken("starts", format!("{who} does not start: {why}")),
            None if !*host.may_end.lock() => {
                let why = host.fatal.lock().clone();
                self.watch.broken(
                    "no-unprovoked-stop",
                    format!("{who} stopped at its start: {why:?}"),
                );
            }
            None => {}
        }
        self.network.gone(id, false);
        life.end().await;
        let lost = host.disk.crash();
        self.watch.tell(&Event::Told {
            what: &format!("{who} died at its start; {lost} writes lost"),
        });
    }

    /// Ends the process of a node, whatever it is doing.
    pub(crate) async fn kill(&self, id: u64, death: Death) {
        let Some(host) = self.host(id) else { return };
        let _door = host.door.lock().await;
        let Some(running) = host.running.lock().take() else {
            return;
        };
        self.end(&host, running, death).await;
    }

    async fn end(&self, host: &Host, running: Running, death: Death) {
        let Running { who, life, parts } = running;
        life.stop();
        self.network.gone(host.id, death == Death::Power);
        let writes = self.rng.lock().below(12);
        host.disk.tear(writes);
        let parts = parts.lock().take();
        if let Some(parts) = &parts {
            // What it was writing gets as far as it gets; nobody is told.
            parts.log.turn();
        }
        life.end().await;
        drop(parts);
        let lost = host.disk.crash();
        if death == Death::Power && self.rng.lock().permille(300) {
            // Not synced, by intention.
            let _ = std::fs::remove_file(host.dir.join("raft").join("log.notes"));
        }
        let why = host.fatal.lock().clone().unwrap_or_else(|| format!("{death:?}"));
        self.watch.tell(&Event::Told {
            what: &format!("{who} ended: {why}; {lost} writes lost"),
        });
    }

    /// Clears up after processes that ended themselves; says which.
    pub(crate) async fn bury(&self) -> Vec<u64> {
        let mut buried = Vec::new();
        for id in self.ids() {
            let Some(host) = self.host(id) else { continue };
            let Some(why) = host.fatal.lock().clone() else {
                continue;
            };
            let Ok(_door) = host.door.try_lock() else { continue };
            let Some(running) = host.running.lock().take() else {
                continue;
            };
            let who = running.who;
            self.end(&host, running, Death::Process).await;
            if !std::mem::take(&mut *host.may_end.lock()) {
                self.watch
                    .broken("no-unprovoked-stop", format!("{who} stopped: {why}"));
            }
            buried.push(id);
        }
        buried
    }

    /// A node that is no member any more.
    pub(crate) async fn forget(&self, id: u64) {
        if let Some(host) = self.host(id) {
            *host.may_end.lock() = true;
        }
        self.kill(id, Death::Process).await;
        self.hosts.lock().remove(&id);
    }
}

impl Host {
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Nothing is wrong with its disk any more.
    pub(crate) fn heal(&self) {
        if self.disk.heal() {
            // The sync that its process would have ended itself for did not come.
            *self.may_end.lock() = false;
        }
    }

    /// The process will end itself, and is right to.
    pub(crate) fn expect_end(&self) {
        *self.may_end.lock() = true;
    }
}

async fn begin(host: Arc<Host>, watch: Arc<Watch>, port: Port) -> Result<Running, String> {
    let (who, life) = (port.who, Arc::clone(&port.life));
    let stop: Arc<dyn Fn(&str) + Send + Sync> = {
        let (host, life) = (Arc::clone(&host), Arc::clone(&life));
        Arc::new(move |why: &str| {
            if !life.is_dead() {
                life.stop();
                *host.fatal.lock() = Some(why.to_owned());
            }
        })
    };
    let free = {
        let disk = Arc::clone(&host.disk);
        FreeSpace::from_fn(move || disk.free())
    };
    let log = LogOptions {
        on_full: OnFull::Wait,
        free_space: free.clone(),
        on_fatal: Some(Arc::clone(&stop)),
        machine: Some(Arc::clone(&host.disk) as Arc<_>),
        ..LogOptions::default()
    };
    let log = LogStore::open(&host.dir.join("raft"), log).map_err(|e| e.to_string())?;
    let state = StateOptions {
        free_space: free,
        on_fatal: Some(Arc::clone(&stop)),
        machine: Some(Arc::clone(&host.disk) as Arc<_>),
        ..StateOptions::default()
    };
    let state = StateStore::open(&host.dir, state).map_err(|e| e.to_string())?;
    let (applied, _) = state.applied().map_err(|e| e.to_string())?;
    let applied = applied
        .and_then(|id| inspect::log_id(&id))
        .map_or(0, |(_, _, index)| index);
    watch.tell(&Event::Started { who, applied });
    spawn_kept(
        Arc::clone(&life) as Arc<_>,
        Arc::clone(&host.disk).drive_log(log.clone()),
    );
    spawn_kept(
        Arc::clone(&life) as Arc<_>,
        Arc::clone(&host.disk).drive_state(state.clone()),
    );
    let mut config = RaftConfig::new(CLUSTER, host.id, 100 + host.id, addr(host.id));
    // Rare things are to happen often.
    (config.snapshot_every, config.keep_logs) = (50, 20);
    config.promote_after = Duration::from_millis(200);
    config.fatal = stop;
    let apply = WatchedApply {
        watch,
        who,
        life: Arc::clone(&life),
    };
    let node = RaftNode::start_carried(
        config,
        Arc::new(port),
        log.clone(),
        state.clone(),
        Arc::new(apply),
    )
    .await
    .map_err(|e| e.to_string())?;
    let parts = Parts {
        node: Arc::new(node),
        log,
        state,
    };
    Ok(Running {
        who,
        life,
        parts: Arc::new(Mutex::new(Some(parts))),
    })
}

impl Running {
    fn parts(&self) -> Option<Parts> {
        self.parts.lock().clone()
    }

    /// Does something with the node inside of its process; none if that ends meanwhile.
    pub(crate) async fn inside<T, F>(&self, work: impl FnOnce(Arc<RaftNode>) -> F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let work = work(self.parts()?.node);
        spawn_kept(Arc::clone(&self.life) as Arc<_>, work).await.ok()
    }

    pub(crate) fn status(&self) -> Option<RaftStatus> {
        Some(self.parts()?.node.status())
    }

    /// What it says of its lease, in milliseconds.
    pub(crate) fn lease_age(&self) -> Option<u64> {
        Some(self.parts()?.node.lease().ok()?.age_ms)
    }

    /// Reads its state.
    pub(crate) fn with_state<T>(&self, read: impl FnOnce(&StateStore) -> T) -> Option<T> {
        Some(read(&self.parts()?.state))
    }

    /// What it looks like now.
    pub(crate) fn view(&self) -> Result<Option<View>, String> {
        let Some(parts) = self.parts() else {
            return Ok(None);
        };
        let status = parts.node.status();
        let mut log = Vec::new();
        if let Some((first, last)) = parts.log.bounds() {
            let from = first.max(last.saturating_sub(TAIL));
            let records = parts
                .log
                .read(from, last + 1, usize::MAX)
                .map_err(|e| e.to_string())?;
            for record in records {
                let (term, leader, index) =
                    inspect::entry(record.index, &record.payload).ok_or("an entry cannot be read")?;
                log.push(LogEntry {
                    index,
                    by: (term, leader),
                    hash: hash(&record.payload),
                });
            }
        }
        Ok(Some(View {
            leads: status.role == Role::Leader,
            term: status.term,
            committed: status.committed,
            applied: status.applied,
            purged: status.purged,
            snapshot: status.snapshot,
            log,
        }))
    }
}
