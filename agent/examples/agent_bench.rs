//! What an agent costs beside a stock sshd on the same host, in one run.
//!
//! `cargo run --profile fast -p palisade-agent --example agent_bench [MiB] [idle sessions]`
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on should stop")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::openssh::Sshd;
use support::{World, said};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

const HOSTS: [&str; 2] = ["web1", "direct"];

fn at(mut all: Vec<Duration>, hundredth: usize) -> Duration {
    all.sort();
    all[(all.len() * hundredth / 100).min(all.len() - 1)]
}

async fn timed(mut command: Command) -> Duration {
    let begun = Instant::now();
    let out = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .await
        .unwrap();
    assert!(out.status.success(), "{command:?}: {}", said(&out.stderr));
    begun.elapsed()
}

/// Both in turn, `n` times; the medians.
async fn both(n: usize, command: impl Fn(&str) -> Command) -> [Duration; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for _ in 0..n {
        for (host, times) in HOSTS.iter().zip(&mut all) {
            times.push(timed(command(host)).await);
        }
    }
    all.map(|times| at(times, 50))
}

fn row(what: &str, [agent, sshd]: [Duration; 2], faster: bool) {
    let ratio = agent.as_secs_f64() / sshd.as_secs_f64();
    let ratio = if faster { 1.0 / ratio } else { ratio };
    println!("{what:<28} agent {agent:>10.2?}   sshd {sshd:>10.2?}   ratio {ratio:.2}");
}

async fn echo(world: &World, host: &str) -> Vec<Duration> {
    let mut ssh = world.ssh(&["-tt", host, "stty raw -echo; echo ready; exec cat"]);
    let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let mut seen = Vec::new();
    while !seen.ends_with(b"ready\n") && !seen.ends_with(b"ready\r\n") {
        seen.push(stdout.read_u8().await.unwrap());
    }
    let mut all = Vec::new();
    for _ in 0..1000 {
        let begun = Instant::now();
        stdin.write_all(b"x").await.unwrap();
        stdout.read_u8().await.unwrap();
        all.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let _ = ssh.kill().await;
    all
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn sftp(world: &World, host: &str, line: &str) -> Command {
    let batch: PathBuf = world.path(&format!("batch-{host}"));
    std::fs::write(&batch, line).unwrap();
    world.client("sftp", &["-q", "-b", batch.to_str().unwrap(), host])
}

async fn files(world: &World, mib: u64, there: &Path) {
    let big = there.join("big");
    std::fs::File::create(&big).unwrap().set_len(mib << 20).unwrap();
    for (what, line) in [
        ("sftp get", format!("get {} /dev/null", big.display())),
        (
            "sftp put",
            format!("put {} {}", big.display(), there.join("put").display()),
        ),
    ] {
        let mut all = [Vec::new(), Vec::new()];
        for _ in 0..3 {
            for (host, times) in HOSTS.iter().zip(&mut all) {
                times.push(timed(sftp(world, host, &line).await).await);
                let _ = std::fs::remove_file(there.join("put"));
            }
        }
        row(&format!("{what} {mib} MiB"), all.map(|times| at(times, 50)), true);
    }
}

#[tokio::main]
async fn main() {
    let number = |n: usize, or: u64| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(or);
    let (mib, idle) = (number(1, 1024), number(2, 50));
    let world = World::new().await;
    let dir = world.path("sshd");
    std::fs::create_dir(&dir).unwrap();
    let mut sshd = Sshd::start(&dir, &world.cas, "").await;
    let config = std::fs::read_to_string(world.path("config")).unwrap();
    let direct = config.replace("Host web1", "Host direct").replace(
        &format!("Port {}", world.addr.port()),
        &format!("Port {}", sshd.port),
    );
    std::fs::write(world.path("config"), format!("{config}\n{direct}")).unwrap();

    row("true", both(21, |host| world.ssh(&[host, "true"])).await, false);
    let mut echoes = [Vec::new(), Vec::new()];
    for _ in 0..2 {
        for (host, times) in HOSTS.iter().zip(&mut echoes) {
            times.extend(echo(&world, host).await);
        }
    }
    row("echo, median", echoes.clone().map(|times| at(times, 50)), false);
    row("echo, 99th of 100", echoes.map(|times| at(times, 99)), false);
    let size = (mib << 20).to_string();
    let down = format!("head -c {size} /dev/zero");
    row(
        &format!("{mib} MiB down"),
        both(3, |host| world.ssh(&[host, &down])).await,
        true,
    );
    let up = both(3, |host| {
        let mut command = Command::new("sh");
        let ssh = format!(
            "head -c {size} /dev/zero | ssh -F {} {host} 'cat >/dev/null'",
            world.path("config").display()
        );
        command.args(["-c", &ssh]);
        command
    });
    row(&format!("{mib} MiB up"), up.await, true);
    files(&world, mib, &dir).await;

    let before = resident_kib();
    let mut shells = Vec::new();
    for _ in 0..idle {
        shells.push(
            world
                .ssh(&["-tt", "web1"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
    }
    support::until("all are there", || {
        (world.server.live().len() as u64 == idle).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let each = resident_kib().saturating_sub(before) / idle.max(1);
    println!("{idle} idle shells                agent {each} KiB each, beside the users' own");
    sshd.stop().await;
}
