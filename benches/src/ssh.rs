//! Sessions through a node beside sshd itself and beside `ssh -J` over a stock sshd.

use crate::load::Seen;
use anyhow::{Context as _, ensure};
use palisade_testkit::{Background, Cluster, Person, Sshd, me, run};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Nodes, a host, and a stock sshd that serves as a jump host.
struct Scene {
    cluster: Cluster,
    _host: Sshd,
    _jump: Sshd,
    alice: Person,
    target: String,
    plain: PathBuf,
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
            .filter(|l| l.starts_with("    ") && !l.contains("ProxyCommand") && !l.contains("HostName"))
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
        Ok(Scene {
            cluster,
            _host: host,
            _jump: jump,
            alice,
            target,
            plain,
        })
    }

    fn command(&self, tool: &str, way: &Way) -> Command {
        let mut command = Command::new(tool);
        command.arg("-F").arg(match way {
            Way::Node => self.alice.home.join("ssh_config"),
            Way::Direct | Way::Jump => self.plain.clone(),
        });
        command.args(["-o", "BatchMode=yes"]);
        self.alice.at_home(&mut command);
        command
    }

    fn host(&self, way: &Way) -> &str {
        match way {
            Way::Node => &self.target,
            Way::Direct => "direct",
            Way::Jump => "jumped",
        }
    }
}

enum Way {
    Node,
    Direct,
    Jump,
}

impl Way {
    fn name(&self) -> &'static str {
        match self {
            Way::Node => "through a node",
            Way::Direct => "direct sshd",
            Way::Jump => "ssh -J over sshd",
        }
    }
}

fn run_all(scene: &Scene, times: usize, mib: u64) -> anyhow::Result<()> {
    println!("\n== session set-up, `ssh host true`, {times} times in turn");
    let ways = [Way::Node, Way::Jump, Way::Direct];
    let mut took = [const { Vec::new() }; 3];
    for _ in 0..times {
        for (way, took) in ways.iter().zip(&mut took) {
            let ran = run(scene.command("ssh", way).args([scene.host(way), "true"]));
            ensure!(ran.succeeded(), "{ran}");
            took.push(ran.took);
        }
    }
    let seen = took.map(|t| Seen::of(t, Duration::from_secs(1)).percentile(50));
    for (way, p50) in ways.iter().zip(seen) {
        println!("{:>18}  p50 {p50:.0} ms", way.name());
    }
    println!("{:>18}  {:.2} of ssh -J", "ratio", seen[0] / seen[1]);

    println!("\n== keystroke echo, {times} keys");
    let echo = [Way::Node, Way::Jump, Way::Direct].map(|way| keystrokes(scene, &way, times));
    let mut direct = f64::NAN;
    for (way, seen) in ways.iter().zip(&echo) {
        let seen = seen.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?;
        println!(
            "{:>18}  p50 {:.2} ms  p99 {:.2} ms",
            way.name(),
            seen.percentile(50),
            seen.percentile(99)
        );
        direct = seen.percentile(50);
    }
    if let Ok(node) = &echo[0] {
        println!("{:>18}  {:.2} of direct", "ratio", node.percentile(50) / direct);
    }

    println!("\n== bulk, {mib} MiB, recording on");
    let command = format!("head -c {}M /dev/zero", mib);
    let bulk = |way: &Way| -> anyhow::Result<f64> {
        let mut ssh = scene.command("ssh", way);
        ssh.args([scene.host(way), &command])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let began = Instant::now();
        ensure!(ssh.status()?.success(), "the transfer failed {}", way.name());
        Ok(mib as f64 / began.elapsed().as_secs_f64())
    };
    let (direct, node) = (bulk(&Way::Direct)?, bulk(&Way::Node)?);
    println!(
        "       direct {direct:.0} MiB/s, through a node {node:.0} MiB/s, ratio {:.2}",
        node / direct
    );

    let big = scene.cluster.folder("files").join("big");
    std::fs::File::create(&big)?.set_len(mib << 20)?;
    let batch = scene.cluster.folder("files").join("batch");
    std::fs::write(&batch, format!("get {} /dev/null\n", big.display()))?;
    let sftp = |way: &Way| -> anyhow::Result<f64> {
        let mut sftp = scene.command("sftp", way);
        sftp.arg("-b")
            .arg(&batch)
            .arg(scene.host(way))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let began = Instant::now();
        ensure!(sftp.status()?.success(), "sftp failed {}", way.name());
        Ok(mib as f64 / began.elapsed().as_secs_f64())
    };
    let (direct, node) = (sftp(&Way::Direct)?, sftp(&Way::Node)?);
    println!(
        "sftp:  direct {direct:.0} MiB/s, through a node {node:.0} MiB/s, ratio {:.2}",
        node / direct
    );
    Ok(())
}

/// Time from a key to its echo, one at a time.
fn keystrokes(scene: &Scene, way: &Way, times: usize) -> anyhow::Result<Seen> {
    let mut ssh = scene.command("ssh", way);
    ssh.args(["-tt", scene.host(way), "stty raw -echo; echo ready; exec cat"]);
    let mut child = ssh
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (mut keys, mut screen) = (
        child.stdin.take().context("a pipe")?,
        child.stdout.take().context("a pipe")?,
    );
    let mut byte = [0; 1];
    let mut shown = Vec::new();
    while !shown.ends_with(b"ready\n") && !shown.ends_with(b"ready\r\n") {
        screen.read_exact(&mut byte)?;
        shown.push(byte[0]);
    }
    let mut took = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        keys.write_all(b"k")?;
        keys.flush()?;
        screen.read_exact(&mut byte)?;
        took.push(began.elapsed());
        // People do not type faster.
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    child.wait()?;
    Ok(Seen::of(took, Duration::from_secs(1)))
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
            let mut ssh = scene.command("ssh", &Way::Node);
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
    show(&format!("{} s later", rest.as_secs()), &residents(&scene.cluster)?);
    Ok(())
}
