//! What a node costs, beside a direct sshd and beside `ssh -J` over a stock sshd, in one run.
//!
//! `cargo run --release -p palisade-proxy --example ssh_bench [MiB]`

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};
use support::World;
use support::openssh::Sshd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

async fn setup(world: &World, args: &[&str]) -> Duration {
    let mut all = Vec::new();
    for _ in 0..11 {
        let begun = Instant::now();
        let out = world.ssh(args).output().await.expect("ssh runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        all.push(begun.elapsed());
    }
    median(all)
}

async fn bulk(mut command: Command) -> Duration {
    let mut all = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        let status = command.stdout(Stdio::null()).status().await.expect("ssh runs");
        assert!(status.success());
        all.push(begun.elapsed());
    }
    median(all)
}

async fn echo(world: &World, host: &[&str]) -> Duration {
    let mut args = vec!["-tt"];
    args.extend_from_slice(host);
    args.push("stty raw -echo; echo ready; exec cat");
    let mut ssh = world.ssh(&args);
    let mut ssh = ssh
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh runs");
    let (mut stdin, mut stdout) = (
        ssh.stdin.take().expect("piped"),
        ssh.stdout.take().expect("piped"),
    );
    let mut seen = Vec::new();
    while !seen.ends_with(b"ready\n") && !seen.ends_with(b"ready\r\n") {
        let mut one = [0];
        stdout.read_exact(&mut one).await.expect("ready");
        seen.push(one[0]);
    }
    let mut all = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        stdin.write_all(b"x").await.expect("written");
        let mut one = [0];
        stdout.read_exact(&mut one).await.expect("echoed");
        all.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let _ = ssh.kill().await;
    median(all)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("Linux");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number")
}

fn row(what: &str, node: Duration, beside: &str, other: Duration, higher_is_better: bool) {
    let ratio = node.as_secs_f64() / other.as_secs_f64();
    let ratio = if higher_is_better { 1.0 / ratio } else { ratio };
    println!("{what:<28} node {node:>10.2?}   {beside} {other:>10.2?}   ratio {ratio:.2}");
}

#[tokio::main]
async fn main() {
    let mib: u64 = std::env::args()
        .nth(1)
        .and_then(|a| a.parse().ok())
        .unwrap_or(1024);
    let world = World::new().await;
    let dir = world.path("jump");
    std::fs::create_dir(&dir).expect("made");
    let mut jump = Sshd::start(&dir, &world.cas, "").await;
    let config = std::fs::read_to_string(world.path("config")).expect("there");
    let block = |name: &str, host: &str, port: u16, more: &str| {
        let common = config
            .split("\n\n")
            .next()
            .expect("a block")
            .lines()
            .skip(4)
            .collect::<Vec<_>>()
            .join("\n");
        let login = &world.login;
        format!(
            "Host {name}\n    HostName {host}\n    HostKeyAlias web1\n    Port {port}\n    User {login}\n{more}{common}\n\n"
        )
    };
    let direct = block("direct", "127.0.0.1", world.sshd.port, "");
    let hop = block("hop", "127.0.0.1", jump.port, "");
    let jumped = block("jumped", "127.0.0.1", world.sshd.port, "    ProxyJump hop\n");
    std::fs::write(world.path("config"), format!("{config}\n{direct}{hop}{jumped}")).expect("written");

    let (node, over, alone) = (
        setup(&world, &["web1", "true"]).await,
        setup(&world, &["jumped", "true"]).await,
        setup(&world, &["direct", "true"]).await,
    );
    row("set-up", node, "ssh -J", over, false);
    row("set-up", node, "direct", alone, false);

    let size = (mib << 20).to_string();
    let command = format!("head -c {size} /dev/zero");
    for cipher in ["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com"] {
        let ciphers = format!("Ciphers={cipher}");
        let node = bulk(world.ssh(&["-o", &ciphers, "web1", &command])).await;
        let alone = bulk(world.ssh(&["-o", &ciphers, "direct", &command])).await;
        let over = bulk(world.ssh(&["-o", &ciphers, "jumped", &command])).await;
        row(
            &format!("{mib} MiB {}", &cipher[..10]),
            node,
            "direct",
            alone,
            true,
        );
        row(
            &format!("{mib} MiB {}", &cipher[..10]),
            node,
            "ssh -J",
            over,
            true,
        );
    }
    let big = world.path("big");
    std::fs::File::create(&big)
        .and_then(|f| f.set_len(mib << 20))
        .expect("made");
    let get = |host: &str| {
        std::fs::write(world.path("batch"), format!("get {} /dev/null\n", big.display())).expect("written");
        world.client(
            "sftp",
            &["-q", "-b", world.path("batch").to_str().expect("UTF-8"), host],
        )
    };
    let (node, alone) = (bulk(get("web1")).await, bulk(get("direct")).await);
    row(&format!("{mib} MiB sftp get"), node, "direct", alone, true);

    let (node, alone) = (echo(&world, &["web1"]).await, echo(&world, &["direct"]).await);
    row("keystroke echo", node, "direct", alone, false);
    row(
        "keystroke echo",
        node,
        "ssh -J",
        echo(&world, &["jumped"]).await,
        false,
    );

    let before = resident_kib();
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(world.ssh(&["web1", "exec sleep 600"]).spawn().expect("ssh runs"));
    }
    support::until("twenty live", || {
        (world.proxy.live().list().len() == 20).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!(
        "idle session                 {} KiB",
        resident_kib().saturating_sub(before) / 20
    );
    drop(idle);
    jump.stop().await;
    world.stop().await;
}
