//! A run's cluster: three nodes that vote and a spare, each in its namespace, with a small disk and a shim of its own.

use super::check::levels::Level;
use super::history::History;
use super::net::{Net, addr_of};
use super::rng::Rng;
use super::shim::{self, Shim};
use palisade_testkit::{
    Cluster, Loss, Ran, SmallDisk, build_power_shim, cut_power, forget_synced, program, retry, run,
    under_power_shim,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Nodes that vote.
pub const NODES: usize = 3;
/// The place of the one that joins and leaves.
pub const SPARE: usize = 3;

/// How long the cluster may take to be well again once nothing is wrong any more. Generous: test machines are busy.
const RECOVERY: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_secs(60);

/// Few entries between snapshots and few events in the state, so that a short run has snapshots and pages.
const CONFIG: &str = "raft:\n  snapshot_every: 500\n  audit_recent: 256\n";

/// Everything that faults act on.
#[derive(Debug)]
pub struct World {
    /// The nodes.
    pub cluster: Cluster,
    /// Their network.
    pub net: Net,
    /// Their clocks and disks.
    pub shims: Vec<Shim>,
    /// What they lie on.
    pub disks: Vec<SmallDisk>,
    /// The places of the nodes that belong to the cluster.
    pub members: Vec<usize>,
    /// The same program under another path.
    other: PathBuf,
}

impl World {
    /// Makes the cluster. With a mutant, every node is started with it.
    pub fn new(mutant: Option<&str>) -> Self {
        let mut cluster = Cluster::unformed(NODES + 1);
        let folder = cluster.folder("chaos");
        let net = Net::lay(NODES + 1, &folder);
        let libraries = [build_power_shim(&folder), shim::build(&folder)];
        let (mut shims, mut disks) = (Vec::new(), Vec::new());
        for i in 0..=SPARE {
            let shim = Shim::new(&libraries, folder.join(format!("control-{}", i + 1)));
            let node = &mut cluster.nodes[i];
            node.ip = addr_of(i);
            node.under = Net::way_in(i);
            node.under.extend(shim.under());
            node.under
                .extend(under_power_shim(&node.data, &undo_log(&folder, i)));
            node.under
                .extend(mutant.map(|name| format!("PALISADE_MUTANT={name}")));
            let disk = SmallDisk::mount(&node.data, "1g").expect("a tmpfs can be mounted: that was tried");
            shims.push(shim);
            disks.push(disk);
            cluster.write_config(i, CONFIG);
        }
        let other = folder.join("palisade");
        fs::copy(program("palisade"), &other).expect("the program can be copied");
        let world = World {
            cluster,
            net,
            shims,
            disks,
            members: (0..NODES).collect(),
            other,
        };
        for i in 0..NODES {
            world.cluster.spawn(i);
        }
        let name = world.cluster.name();
        world.cluster.palctl(0, &["cluster", "init", "--name", name]).ok();
        for i in 1..NODES {
            world.cluster.join(i);
        }
        world.cluster.wait_voters(NODES);
        world
    }

    /// A member that is not among these.
    pub fn member(&self, rng: &mut Rng, not: &[usize]) -> usize {
        let others: Vec<usize> = self
            .members
            .iter()
            .copied()
            .filter(|i| !not.contains(i))
            .collect();
        *rng.pick(&others)
    }

    /// The name of a node.
    pub fn name(&self, i: usize) -> &str {
        &self.cluster.nodes[i].name
    }

    /// kill -9, if it runs.
    pub fn kill(&self, i: usize) {
        if self.cluster.nodes[i].is_running() {
            self.cluster.kill9(i);
        }
    }

    /// Starts a node that does not run.
    pub fn start(&self, i: usize) {
        if !self.cluster.nodes[i].is_running() {
            // What was synced is safe: without this the log of writes would grow for as long as the run lasts.
            forget_synced(&self.undo_log(i));
            self.cluster.spawn(i);
        }
    }

    /// The power of a node's machine goes: what its disk was never told to keep is gone. Answers how many writes that was.
    pub fn power_cut(&self, i: usize, loss: Loss, rng: &mut Rng) -> usize {
        self.kill(i);
        let mut below = |n: u64| rng.number() % n.max(1);
        cut_power(&self.cluster.nodes[i].data, &self.undo_log(i), loss, &mut below)
    }

    fn undo_log(&self, i: usize) -> PathBuf {
        undo_log(&self.cluster.folder("chaos"), i)
    }

    /// The node runs the other of two paths from its next start on.
    pub fn change_program(&mut self, i: usize) {
        let node = &mut self.cluster.nodes[i];
        node.binary = match node.binary {
            None => Some(self.other.clone()),
            Some(_) => None,
        };
    }

    /// An operator's command about a node, at any other member that can do it.
    pub fn order(&self, about: usize, words: &[&str]) {
        retry(&format!("`palctl {}`", words.join(" ")), STEP, || {
            let mut last = String::new();
            for on in self.members.iter().copied().filter(|i| *i != about) {
                if self.cluster.nodes[on].is_running() {
                    let ran = self.cluster.palctl(on, words);
                    // A first try may have succeeded without our hearing of it.
                    if ran.succeeded() || ran.complaint().contains("there is no node") {
                        return Ok(());
                    }
                    last = ran.to_string();
                }
            }
            Err(last)
        });
    }

    /// Lets a running node with an empty data directory join.
    pub fn join(&mut self, i: usize) {
        retry(&format!("n{} to join", i + 1), STEP, || {
            let via = self
                .members
                .iter()
                .copied()
                .find(|m| *m != i && self.cluster.nodes[*m].is_running());
            let via = via.ok_or("no member runs")?;
            let token = self.cluster.palctl(via, &["tokens", "add", "--quiet"]);
            if !token.succeeded() {
                return Err(token.to_string());
            }
            let addr = self.cluster.nodes[via].web_addr();
            let ran = self
                .cluster
                .palctl(i, &["cluster", "join", token.text().trim(), &addr]);
            match ran.succeeded() || ran.complaint().contains("already") {
                true => Ok(()),
                false => Err(ran.to_string()),
            }
        });
        if !self.members.contains(&i) {
            self.members.push(i);
            self.members.sort_unstable();
        }
    }

    /// Takes a member out, and ends its process.
    pub fn leave(&mut self, i: usize) {
        let name = self.name(i).to_owned();
        self.order(i, &["cluster", "leave", &name, "--yes"]);
        self.members.retain(|m| *m != i);
        self.kill(i);
    }

    /// Empties the data directory of a node that does not run.
    pub fn wipe(&self, i: usize) {
        for entry in fs::read_dir(&self.cluster.nodes[i].data)
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            let _ = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
        }
    }

    /// What `palisade repair` says about a node that does not run.
    pub fn repair(&self, i: usize, more: &[&str]) -> Ran {
        let mut command = Command::new(program("palisade"));
        command
            .arg("repair")
            .arg("--config")
            .arg(&self.cluster.nodes[i].config);
        run(command.args(more))
    }

    /// Repairs a node that has left: its damaged files are set aside, and it joins anew.
    pub fn rejoin(&mut self, i: usize) {
        self.repair(i, &["--set-aside"]).ok();
        // What was set aside is a person's to look at; here it would only fill the disk.
        for entry in fs::read_dir(&self.cluster.nodes[i].data)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with("damaged-") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        self.start(i);
        self.join(i);
    }

    /// Nothing is wrong any more: no cut, no shim, nobody paused, everybody runs.
    pub fn heal(&mut self) {
        self.net.heal();
        self.shims.iter().for_each(Shim::reset);
        for i in self.members.clone() {
            if self.cluster.nodes[i].is_running() {
                self.cluster.resume(i);
            } else {
                self.start(i);
            }
        }
    }

    /// Waits until all members vote, reach each other and take writes; how long that took.
    ///
    /// # Errors
    /// They do not, though nothing is wrong any more.
    pub fn settle(&self, history: &History) -> Result<Duration, String> {
        let began = Instant::now();
        let target = history.writes() + 2;
        loop {
            let why = match self.well() {
                Ok(()) if history.writes() >= target => return Ok(began.elapsed()),
                Ok(()) => "no write succeeds".to_owned(),
                Err(why) => why,
            };
            if began.elapsed() > RECOVERY {
                return Err(format!(
                    "the cluster is not well after {RECOVERY:?} without a fault: {why}"
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn well(&self) -> Result<(), String> {
        for i in self.members.iter().copied() {
            if !self.cluster.nodes[i].is_running() {
                // One that was about to end when the fault did.
                self.start(i);
            }
            let nodes = self.cluster.voters(i, self.members.len())?;
            if nodes != self.members.len() {
                return Err(format!("n{} knows {nodes} nodes", i + 1));
            }
        }
        Ok(())
    }

    /// What a node holds now.
    pub fn level(&self, i: usize) -> Level {
        let pid = self.cluster.nodes[i].pid().expect("it runs");
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let pages: u64 = statm
            .split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        Level {
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |dir| dir.count() as u64),
            memory: pages * 4096,
            disk: size(&self.cluster.nodes[i].data),
            entries: self.cluster.status(i)["applied_index"].as_u64().unwrap_or(0),
        }
    }

    /// All files of the nodes, and the logs of the hosts: where a secret must not be.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(self.cluster.root(), &mut found);
        let nodes: Vec<_> = self
            .cluster
            .nodes
            .iter()
            .filter_map(|node| node.config.parent())
            .collect();
        found.retain(|path| {
            let is_log = path.extension().is_some_and(|end| end == "log") || path.ends_with("log");
            is_log || nodes.iter().any(|folder| path.starts_with(folder))
        });
        found
    }
}

fn undo_log(folder: &Path, node: usize) -> PathBuf {
    folder.join(format!("undo-{}", node + 1))
}

fn size(folder: &Path) -> u64 {
    let mut found = Vec::new();
    walk(folder, &mut found);
    found
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|meta| meta.len())
        .sum()
}

/// All files below a folder.
pub fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}
