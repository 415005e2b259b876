//! Sessions at plain hosts, through a node: beside sshd itself and beside `ssh -J` over a stock sshd.

use crate::scene::{Files, Scene, Way, down, keystrokes, rates, set_up, table, up};
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

    let keys = times * 10;
    println!("\n== plain host: keystroke echo, {keys} keys in turn, recording on");
    table(&WAYS, keystrokes(&scene, &WAYS, keys)?);

    println!("\n== plain host: output of a command, {mib} MiB, recording on");
    rates(&WAYS, mib, ROUNDS, |way| down(&scene, way, mib))?;
    println!("\n== plain host: input of a command, {mib} MiB, recording on");
    rates(&WAYS, mib, ROUNDS, |way| up(&scene, way, mib))?;

    let files = Files::new(mib)?;
    println!("\n== plain host: sftp get, {mib} MiB");
    rates(&WAYS, mib, ROUNDS, |way| files.get(&scene, way))?;
    println!("\n== plain host: sftp put, {mib} MiB");
    rates(&WAYS, mib, ROUNDS, |way| files.put(&scene, way))
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

/// After the start, with idle sessions, after work, and when that has had time to be forgotten.
pub(crate) fn memory(sessions: usize, writes: u64, rest: Duration) -> anyhow::Result<()> {
    println!("\n== resident memory of three nodes; the first carries the sessions");
    let scene = Scene::start(3, false)?;
    let idle = residents(&scene.cluster)?;
    show("idle", &idle);
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
