//! Where sessions are measured: nodes, hosts with and without an agent, and a stock sshd as a jump host, all on loopback.

use crate::load::Seen;
use crate::report::{Aim, Figure, keep};
use anyhow::{Context as _, ensure};
use palisade_testkit::{Agent, Cluster, Person, Sshd, me};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How a session gets to its host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To a host with an agent, by `pal ssh`.
    Pal,
    /// To a host with an agent, by stock ssh as `pal config` sets it up: `ProxyCommand pal proxy ssh`.
    Agent,
    /// To a plain sshd through a node, by stock ssh as `pal config` sets it up.
    Node,
    /// To a plain sshd by `ssh -J` over a node, for machines without `pal`.
    NodeJump,
    /// To a plain sshd by `ssh -J` over a plain sshd.
    Jump,
    /// To a plain sshd.
    Direct,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Pal => "agent, pal ssh",
            Way::Agent => "agent, stock ssh",
            Way::Node => "through a node",
            Way::NodeJump => "ssh -J over a node",
            Way::Jump => "ssh -J over sshd",
            Way::Direct => "direct sshd",
        }
    }
}

/// Hosts are there as long as this is.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) agent: Option<Agent>,
    pub(crate) alice: Person,
    _host: Sshd,
    _jump: Sshd,
    plain: PathBuf,
    node_jump: PathBuf,
}

/// The host that runs a plain sshd, and the one that runs an agent.
const PLAIN: &str = "web1";
const WITH_AGENT: &str = "web2";

impl Scene {
    /// `agent` says whether there is a host with one.
    pub(crate) fn start(nodes: usize, agent: bool) -> anyhow::Result<Self> {
        let cluster = Cluster::start(nodes);
        let host = Sshd::start(&cluster, PLAIN);
        let jump = Sshd::start_apart(&cluster, "jump");
        let agent = agent.then(|| Agent::start(&cluster, WITH_AGENT, "env=test"));
        let alice = cluster.person("alice", "access");
        alice.login(&cluster.nodes[0].web_addr()).ok();
        let through = std::fs::read_to_string(alice.ssh_config())?;
        // The same keys, ciphers and trust, without the node.
        let identity: Vec<&str> = through
            .lines()
            .filter(|l| l.starts_with("    ") && !l.contains("Proxy") && !l.contains("HostName"))
            .filter(|l| !l.contains("HostKeyAlias"))
            .collect();
        let plain = alice.home.join("ssh_config.plain");
        let text = format!(
            "Host direct jumped\n    HostName 127.0.0.1\n    Port {}\n    HostKeyAlias {PLAIN}\nHost jumped\n    ProxyJump jump\nHost jump\n    HostName 127.0.0.1\n    Port {}\n    HostKeyAlias jump\nHost *\n    User {}\n{}\n",
            host.port,
            jump.port,
            me(),
            identity.join("\n")
        );
        std::fs::write(&plain, text)?;
        let node_jump = alice.ssh_config_through(cluster.nodes[0].ssh_addr().port());
        Ok(Scene {
            cluster,
            agent,
            alice,
            _host: host,
            _jump: jump,
            plain,
            node_jump,
        })
    }

    /// `ssh`, `scp` or `sftp` that way; [`Scene::host`] is where to.
    pub(crate) fn command(&self, tool: &str, way: Way) -> Command {
        if way == Way::Pal && tool != "sftp" {
            return self.alice.pal_command(&[tool]);
        }
        let mut command = Command::new(tool);
        command.arg("-F").arg(match way {
            Way::Pal | Way::Agent | Way::Node => self.alice.home.join("ssh_config"),
            Way::NodeJump => self.node_jump.clone(),
            Way::Direct | Way::Jump => self.plain.clone(),
        });
        command.args(["-o", "BatchMode=yes"]);
        self.alice.at_home(&mut command);
        command
    }

    /// How the host is called that way.
    pub(crate) fn host(&self, way: Way) -> String {
        match way {
            Way::Pal | Way::Agent => format!("{}@{WITH_AGENT}", me()),
            Way::Node | Way::NodeJump => format!("{}@{PLAIN}", me()),
            Way::Direct => "direct".to_owned(),
            Way::Jump => "jumped".to_owned(),
        }
    }
}

/// Times by way, and what each is of the last.
pub(crate) fn table(ways: &[Way], took: Vec<Vec<Duration>>) -> Vec<Seen> {
    let seen: Vec<_> = took
        .into_iter()
        .map(|took| Seen::of(took, Duration::from_secs(1)))
        .collect();
    let Some(last) = seen.last() else { return seen };
    for (way, one) in ways.iter().zip(&seen) {
        println!(
            "{:>18}  p50 {:>7.2} ms, {:.2} of direct  p99 {:>7.2} ms, {:+.2} ms",
            way.name(),
            one.percentile(50),
            one.percentile(50) / last.percentile(50),
            one.percentile(99),
            one.percentile(99) - last.percentile(99),
        );
    }
    seen
}

/// Keeps the medians of `ways` beside the one at `peer` of them.
pub(crate) fn keep_times(what: &str, ways: &[Way], seen: &[Seen], peer: usize, aims: &[(Way, Aim)]) {
    for (way, one) in ways.iter().zip(seen) {
        if *way == ways[peer] {
            continue;
        }
        let mut figure = Figure::times(one).peer(ways[peer].name(), seen[peer].percentile(50));
        if let Some((_, aim)) = aims.iter().find(|(of, _)| of == way) {
            figure = figure.aim(*aim);
        }
        keep(format!("{what}, {}", way.name()), figure);
    }
}

/// MiB/s by way, the last being direct: the best of `rounds` rounds in turn, for all ways alike, and the median of what
/// each round gave beside its own direct one.
pub(crate) fn rates(
    what: &str,
    ways: &[Way],
    mib: u64,
    rounds: usize,
    once: impl Fn(Way) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut seen = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (way, seen) in ways.iter().zip(&mut seen) {
            let began = Instant::now();
            once(*way)?;
            seen.push(mib as f64 / began.elapsed().as_secs_f64());
        }
    }
    let direct = seen.last().cloned().unwrap_or_default();
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    for (way, rates) in ways.iter().zip(&seen) {
        let mut beside: Vec<f64> = rates
            .iter()
            .zip(&direct)
            .map(|(one, direct)| one / direct)
            .collect();
        beside.sort_by(f64::total_cmp);
        println!(
            "{:>18}  {:>5.0} MiB/s, {:.2} of direct (median of rounds {:.2})",
            way.name(),
            best(rates),
            best(rates) / best(&direct),
            beside[beside.len() / 2],
        );
        if way != &ways[ways.len() - 1] {
            let least = rates.iter().copied().fold(f64::MAX, f64::min);
            let mut figure =
                Figure::new("MiB/s", best(rates)).peer(ways[ways.len() - 1].name(), best(&direct));
            figure.spread = Some((least, best(rates)));
            figure.beside = Some(beside[beside.len() / 2]);
            if matches!(way, Way::Pal | Way::Node) {
                figure = figure.aim(Aim::RatioAtLeast(0.8));
            }
            keep(format!("{what}, {}", way.name()), figure);
        }
    }
    Ok(())
}

/// `ssh host true`, in turn.
pub(crate) fn set_up(scene: &Scene, ways: &[Way], times: usize) -> anyhow::Result<Vec<Vec<Duration>>> {
    let mut took = vec![Vec::new(); ways.len()];
    for n in 0..=times {
        for (way, took) in ways.iter().zip(&mut took) {
            let mut ssh = scene.command("ssh", *way);
            ssh.args([scene.host(*way).as_str(), "true"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            // No thread of ours polls: what is measured is theirs.
            let began = Instant::now();
            let out = ssh.output()?;
            let elapsed = began.elapsed();
            ensure!(
                out.status.success(),
                "{}: {}",
                way.name(),
                String::from_utf8_lossy(&out.stderr)
            );
            // The first warms the caches up.
            if n > 0 {
                took.push(elapsed);
            }
        }
    }
    Ok(took)
}

/// A terminal that echoes by itself.
struct Typing {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    took: Vec<Duration>,
}

impl Typing {
    fn start(scene: &Scene, way: Way) -> anyhow::Result<Self> {
        let mut ssh = scene.command("ssh", way);
        ssh.args(["-tt", &scene.host(way), "stty raw -echo; echo ready; exec cat"]);
        let mut child = ssh
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let keys = child.stdin.take().context("a pipe")?;
        let mut screen = child.stdout.take().context("a pipe")?;
        let mut byte = [0; 1];
        let mut shown = Vec::new();
        while !shown.ends_with(b"ready\n") && !shown.ends_with(b"ready\r\n") {
            screen.read_exact(&mut byte)?;
            shown.push(byte[0]);
        }
        Ok(Typing {
            child,
            keys,
            screen,
            took: Vec::new(),
        })
    }

    /// Time from a key to its echo.
    fn press(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        self.keys.write_all(b"k")?;
        self.keys.flush()?;
        self.screen.read_exact(&mut [0; 1])?;
        self.took.push(began.elapsed());
        Ok(())
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One key at a time; the ways take turns, so that a busy moment of the machine meets them all.
pub(crate) fn keystrokes(scene: &Scene, ways: &[Way], times: usize) -> anyhow::Result<Vec<Vec<Duration>>> {
    let mut typing = Vec::new();
    for way in ways {
        typing.push(Typing::start(scene, *way)?);
    }
    for _ in 0..times {
        for one in &mut typing {
            one.press()?;
            // People do not type faster.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(typing
        .iter_mut()
        .map(|one| std::mem::take(&mut one.took))
        .collect())
}

/// Output of a command on the host.
pub(crate) fn down(scene: &Scene, way: Way, mib: u64) -> anyhow::Result<()> {
    let mut ssh = scene.command("ssh", way);
    ssh.args([&scene.host(way), &format!("head -c {mib}M /dev/zero")])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    ensure!(ssh.status()?.success(), "the transfer failed: {}", way.name());
    Ok(())
}

/// Input of a command on the host.
pub(crate) fn up(scene: &Scene, way: Way, mib: u64) -> anyhow::Result<()> {
    let mut zeros = Command::new("head")
        .args(["-c", &format!("{mib}M"), "/dev/zero"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ssh = scene.command("ssh", way);
    // It counts, so that nothing can be left out unseen.
    ssh.args([&scene.host(way), "wc -c"])
        .stdin(zeros.stdout.take().context("a pipe")?)
        .stderr(Stdio::inherit());
    let out = ssh.output()?;
    zeros.wait()?;
    let counted = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    ensure!(
        out.status.success() && counted == (mib << 20).to_string(),
        "the transfer failed: {}: {counted:?} of {} bytes arrived",
        way.name(),
        mib << 20
    );
    Ok(())
}

/// A folder in memory, if the machine has one.
pub(crate) fn scratch() -> anyhow::Result<tempfile::TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("palisade-bench-");
    Ok(match memory.is_dir() {
        true => builder.tempdir_in(memory)?,
        false => builder.tempdir()?,
    })
}

/// What sftp moves, in memory: neither side is measured against the disk.
pub(crate) struct Files {
    folder: tempfile::TempDir,
    mib: u64,
}

impl Files {
    pub(crate) fn new(mib: u64) -> anyhow::Result<Self> {
        let folder = scratch()?;
        std::fs::File::create(folder.path().join("big"))?.set_len(mib << 20)?;
        Ok(Files { folder, mib })
    }

    pub(crate) fn get(&self, scene: &Scene, way: Way) -> anyhow::Result<()> {
        let big = self.folder.path().join("big");
        self.sftp(scene, way, &format!("get {} /dev/null\n", big.display()))
    }

    pub(crate) fn put(&self, scene: &Scene, way: Way) -> anyhow::Result<()> {
        let (big, to) = (self.folder.path().join("big"), self.folder.path().join("put"));
        self.sftp(scene, way, &format!("put {} {}\n", big.display(), to.display()))?;
        let size = std::fs::metadata(&to)?.len();
        ensure!(size == self.mib << 20, "{size} bytes arrived: {}", way.name());
        Ok(std::fs::remove_file(to)?)
    }

    fn sftp(&self, scene: &Scene, way: Way, lines: &str) -> anyhow::Result<()> {
        let batch = self.folder.path().join("batch");
        std::fs::write(&batch, lines)?;
        let mut sftp = scene.command("sftp", way);
        sftp.arg("-b")
            .arg(&batch)
            .arg(scene.host(way))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        ensure!(sftp.status()?.success(), "sftp failed: {}", way.name());
        Ok(())
    }
}
