//! Sessions at plain hosts, through a node: beside sshd itself and beside `ssh -J` over a stock sshd.

use crate::report::{Aim, Figure, keep};
use crate::scene::{Files, Scene, Way, down, keep_times, keystrokes, rates, set_up, table, up};
use anyhow::Context as _;
use palisade_testkit::{Background, Cluster};
use std::time::Duration;

const WAYS: [Way; 4] = [Way::Node, Way::NodeJump, Way::Jump, Way::Direct];
const ROUNDS: usize = 3;

/// All of it, in turn.
pub(crate) fn measure(times: usize, mib: u64) -> anyhow::Result<()> {
    let scene = Scene::start(1, false)?;
    println!("\n== plain host: session set-up, `ssh host true`, {times} times in turn");
    let seen = table(&WAYS, set_up(&scene, &WAYS, times)?);
    println!(
        "{:>18}  {:.2} of ssh -J over sshd",
        "ratio",
        seen[0].percentile(50) / seen[2].percentile(50)
    );
    let aims = [(Way::Node, Aim::RatioAtMost(0.8))];
    keep_times("plain host: session set-up", &WAYS, &seen, 2, &aims);

    let keys = times * 10;
    println!("\n== plain host: keystroke echo, {keys} keys in turn, recording on");
    let seen = table(&WAYS, keystrokes(&scene, &WAYS, keys)?);
    let aims = [(Way::Node, Aim::RatioAtMost(1.5))];
    keep_times("plain host: keystroke echo", &WAYS, &seen, 3, &aims);

    println!("\n== plain host: output of a command, {mib} MiB, recording on");
    rates("plain host: output", &WAYS, mib, ROUNDS, |way| {
        down(&scene, way, mib)
    })?;
    println!("\n== plain host: input of a command, {mib} MiB, recording on");
    rates("plain host: input", &WAYS, mib, ROUNDS, |way| {
        up(&scene, way, mib)
    })?;

    let files = Files::new(mib)?;
    println!("\n== plain host: sftp get, {mib} MiB");
    rates("plain host: sftp get", &WAYS, mib, ROUNDS, |way| {
        files.get(&scene, way)
    })?;
    println!("\n== plain host: sftp put, {mib} MiB");
    rates("plain host: sftp put", &WAYS, mib, ROUNDS, |way| {
        files.put(&scene, way)
    })
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .context("VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}

/// Resident memory of each node, in KiB; that of the first, which carries the sessions, in front.
pub(crate) fn residents(cluster: &Cluster) -> anyhow::Result<Vec<u64>> {
    let pids = cluster.nodes.iter().map(|n| n.pid().context("the node runs"));
    pids.map(|pid| resident(pid?)).collect()
}

pub(crate) fn show(when: &str, kib: &[u64]) {
    let mib: Vec<_> = kib.iter().map(|k| format!("{:.1}", *k as f64 / 1024.0)).collect();
    println!("{when:>28}: {} MiB", mib.join(", "));
}

/// Until the allocator has given back what starting, joining and the first login took.
const SETTLED: Duration = Duration::from_secs(20);

fn percents(parts: &[f64]) -> String {
    let words: Vec<_> = parts
        .iter()
        .map(|part| format!("{:.1} %", part * 100.0))
        .collect();
    words.join(", ")
}

/// The part of one core that each node takes.
fn cpu_of(cluster: &Cluster, over: Duration) -> anyhow::Result<Vec<f64>> {
    let seconds = || -> anyhow::Result<Vec<f64>> {
        let pids = cluster.nodes.iter().map(|n| n.pid().context("the node runs"));
        pids.map(|pid| crate::writes::cpu_seconds(pid?)).collect()
    };
    let before = seconds()?;
    std::thread::sleep(over);
    let after = seconds()?;
    let parts = before
        .iter()
        .zip(after)
        .map(|(before, after)| (after - before) / over.as_secs_f64());
    Ok(parts.collect())
}

/// After the start, with idle sessions, after work, and when that has had time to be forgotten.
pub(crate) fn memory(sessions: usize, writes: u64, rest: Duration) -> anyhow::Result<()> {
    println!("\n== resident memory of three nodes; the first carries the sessions");
    let scene = Scene::start(3, false)?;
    std::thread::sleep(SETTLED);
    let idle = residents(&scene.cluster)?;
    show("idle", &idle);
    let most = idle.iter().max().copied().unwrap_or(0) as f64 / 1024.0;
    keep(
        "idle node: memory",
        Figure::new("MiB", most).aim(Aim::AtMost(50.0)),
    );
    let cpu = cpu_of(&scene.cluster, Duration::from_secs(30))?;
    println!("{:>28}: {} of a core each", "idle", percents(&cpu));
    let most = cpu.iter().copied().fold(0.0, f64::max) * 100.0;
    keep(
        "idle node: processor",
        Figure::new("% of a core", most)
            .aim(Aim::AtMost(1.0))
            .cost(percents(&cpu)),
    );
    for round in 0..4 {
        let mut open: Vec<Background> = Vec::new();
        for _ in 0..sessions {
            let mut ssh = scene.command("ssh", Way::Node);
            ssh.args(["-tt", &scene.host(Way::Node), "echo open-$((1+1)); exec cat"]);
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
        let each = full[0].saturating_sub(idle[0]) as f64 * 1.024 / sessions.max(1) as f64;
        keep(
            "plain host: idle session at the node",
            Figure::new("KB", each).aim(Aim::AtMost(300.0)),
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
