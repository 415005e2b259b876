//! Sessions through a node beside sshd itself and beside `ssh -J` over a stock sshd.

use crate::load::Seen;
use anyhow::{Context as _, ensure};
use palisade_testkit::{Background, Cluster, Person, Sshd, me, run};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Nodes, a host, and a stock sshd that serves as a jump host.
struct Scene {
    cluster: Cluster,
    _host: Sshd,
    _jump: Sshd,
    alice: Person,
    target: String,
    plain: PathBuf,
    node_jump: PathBuf,
}

impl Scene {
    fn start(nodes: usize) -> anyhow::Result<Self> {
        let cluster = Cluster::start(nodes);
        let host = Sshd::start(&cluster, "web1");
        let jump = Sshd::start_apart(&cluster, "jump");
        let alice = cluster.person("alice", "access");
        alice.login(&cluster.nodes[0].web_addr()).ok();
        let through = std::fs::read_to_string(alice.ssh_config())?;
        // The same keys and the same trust, without the node.
        let identity: Vec<&str> = through
            .lines()
            .filter(|l| l.starts_with("    ") && !l.contains("Proxy") && !l.contains("HostName"))
            .filter(|l| !l.contains("HostKeyAlias"))
            .collect();
        let plain = alice.home.join("ssh_config.plain");
        let me = me();
        let text = format!(
            "Host direct jumped\n    HostName 127.0.0.1\n    Port {}\n    HostKeyAlias web1\nHost jumped\n    ProxyJump jump\nHost jump\n    HostName 127.0.0.1\n    Port {}\n    HostKeyAlias jump\nHost *\n    User {me}\n{}\n",
            host.port,
            jump.port,
            identity.join("\n")
        );
        std::fs::write(&plain, text)?;
        let target = format!("{me}@web1");
        let node_jump = alice.ssh_config_through(cluster.nodes[0].ssh_addr().port());
        Ok(Scene {
            cluster,
            _host: host,
            _jump: jump,
            alice,
            target,
            plain,
            node_jump,
        })
    }

    fn command(&self, tool: &str, way: Way) -> Command {
        let mut command = Command::new(tool);
        command.arg("-F").arg(match way {
            Way::Node => self.alice.home.join("ssh_config"),
            Way::NodeJump => self.node_jump.clone(),
            Way::Direct | Way::Jump => self.plain.clone(),
        });
        command.args(["-o", "BatchMode=yes"]);
        self.alice.at_home(&mut command);
        command
    }

    fn host(&self, way: Way) -> &str {
        match way {
            Way::Node | Way::NodeJump => &self.target,
            Way::Direct => "direct",
            Way::Jump => "jumped",
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    /// As `pal config` writes it: `ProxyCommand pal proxy ssh`.
    Node,
    /// `ssh -J` over a node, for machines without `pal`.
    NodeJump,
    Jump,
    Direct,
}

const WAYS: [Way; 4] = [Way::Node, Way::NodeJump, Way::Jump, Way::Direct];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Node => "through a node",
            Way::NodeJump => "ssh -J over a node",
            Way::Jump => "ssh -J over sshd",
            Way::Direct => "direct sshd",
        }
    }
}

/// Times by way, and what each is of the last.
fn table(seen: &[Seen; 4]) {
    let last = |percent| seen[3].percentile(percent);
    for (way, seen) in WAYS.iter().zip(seen) {
        println!(
            "{:>18}  p50 {:>7.2} ms, {:.2} of direct  p99 {:>7.2} ms, {:+.2} ms",
            way.name(),
            seen.percentile(50),
            seen.percentile(50) / last(50),
            seen.percentile(99),
            seen.percentile(99) - last(99),
        );
    }
}

/// MiB/s by way; each is measured `ROUNDS` times in turn and the best counts, for all ways alike.
fn rates(mib: u64, once: impl Fn(Way) -> anyhow::Result<()>) -> anyhow::Result<()> {
    const ROUNDS: usize = 3;
    let mut best = [0f64; 4];
    for _ in 0..ROUNDS {
        for (way, best) in WAYS.iter().zip(&mut best) {
            let began = Instant::now();
            once(*way)?;
            *best = best.max(mib as f64 / began.elapsed().as_secs_f64());
        }
    }
    for (way, rate) in WAYS.iter().zip(best) {
        println!(
            "{:>18}  {rate:>5.0} MiB/s, {:.2} of direct",
            way.name(),
            rate / best[3]
        );
    }
    Ok(())
}

fn run_all(scene: &Scene, times: usize, mib: u64) -> anyhow::Result<()> {
    println!("\n== session set-up, `ssh host true`, {times} times in turn");
    let mut took = [const { Vec::new() }; 4];
    for _ in 0..times {
        for (way, took) in WAYS.iter().zip(&mut took) {
            let ran = run(scene.command("ssh", *way).args([scene.host(*way), "true"]));
            ensure!(ran.succeeded(), "{ran}");
            took.push(ran.took);
        }
    }
    let seen = took.map(|t| Seen::of(t, Duration::from_secs(1)));
    table(&seen);
    println!(
        "{:>18}  {:.2} of ssh -J over sshd",
        "ratio",
        seen[0].percentile(50) / seen[2].percentile(50)
    );

    let keys = times * 10;
    println!("\n== keystroke echo, {keys} keys in turn, recording on");
    table(&keystrokes(scene, keys)?);

    println!("\n== bulk, {mib} MiB, recording on");
    let command = format!("head -c {mib}M /dev/zero");
    rates(mib, |way| {
        let mut ssh = scene.command("ssh", way);
        ssh.args([scene.host(way), &command])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        ensure!(ssh.status()?.success(), "the transfer failed {}", way.name());
        Ok(())
    })?;

    println!("\n== sftp get, {mib} MiB");
    let big = scene.cluster.folder("files").join("big");
    std::fs::File::create(&big)?.set_len(mib << 20)?;
    let batch = scene.cluster.folder("files").join("batch");
    std::fs::write(&batch, format!("get {} /dev/null\n", big.display()))?;
    rates(mib, |way| {
        let mut sftp = scene.command("sftp", way);
        sftp.arg("-b")
            .arg(&batch)
            .arg(scene.host(way))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        ensure!(sftp.status()?.success(), "sftp failed {}", way.name());
        Ok(())
    })
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
        ssh.args(["-tt", scene.host(way), "stty raw -echo; echo ready; exec cat"]);
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
fn keystrokes(scene: &Scene, times: usize) -> anyhow::Result<[Seen; 4]> {
    let mut typing = Vec::new();
    for way in WAYS {
        typing.push(Typing::start(scene, way)?);
    }
    for _ in 0..times {
        for one in &mut typing {
            one.press()?;
            // People do not type faster.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let took = typing.iter_mut().map(|one| std::mem::take(&mut one.took));
    let seen: Vec<_> = took.map(|took| Seen::of(took, Duration::from_secs(1))).collect();
    seen.try_into().map_err(|_| anyhow::anyhow!("one for each way"))
}

/// All of it, in turn.
pub(crate) fn measure(times: usize, mib: u64) -> anyhow::Result<()> {
    run_all(&Scene::start(1)?, times, mib)
}

/// Resident memory of a node, in KiB.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .context("VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}

/// Resident memory of each node, in KiB; that of the first, which carries the sessions, in front.
fn residents(cluster: &Cluster) -> anyhow::Result<Vec<u64>> {
    let pids = cluster.nodes.iter().map(|n| n.pid().context("the node runs"));
    pids.map(|pid| resident(pid?)).collect()
}

fn show(when: &str, kib: &[u64]) {
    let mib: Vec<_> = kib.iter().map(|k| format!("{:.1}", *k as f64 / 1024.0)).collect();
    println!("{when:>28}: {} MiB", mib.join(", "));
}

/// After the start, with idle sessions, after work, and when that has had time to be forgotten.
pub(crate) fn memory(sessions: usize, writes: u64, rest: Duration) -> anyhow::Result<()> {
    println!("\n== resident memory of three nodes; the first carries the sessions");
    let scene = Scene::start(3)?;
    let idle = residents(&scene.cluster)?;
    show("idle", &idle);
    for round in 0..4 {
        let mut open: Vec<Background> = Vec::new();
        for _ in 0..sessions {
            let mut ssh = scene.command("ssh", Way::Node);
            ssh.args(["-tt", &scene.target, "echo open-$((1+1)); exec cat"]);
            let mut session = Background::start(&mut ssh);
            session.expect_output("open-2", Duration::from_secs(60));
            open.push(session);
        }
        if round > 0 {
            continue;
        }
        let full = residents(&scene.cluster)?;
        show(&format!("{sessions} idle sessions"), &full);
        println!(
            "{:>28}: {:.0} KiB",
            "each",
            full[0].saturating_sub(idle[0]) as f64 / sessions.max(1) as f64
        );
    }
    show(
        &format!("after {} sessions", 4 * sessions),
        &residents(&scene.cluster)?,
    );
    crate::writes::write_many(&scene.cluster, writes)?;
    show(&format!("after {writes} writes"), &residents(&scene.cluster)?);
    std::thread::sleep(rest);
    show(
        &format!("{} s later", rest.as_secs()),
        &residents(&scene.cluster)?,
    );
    Ok(())
}
