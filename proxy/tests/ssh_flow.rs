//! Bulk data in both directions: nothing may stall, whatever the other directions and channels do.

#![allow(
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that cannot go on should stop"
)]

mod support;

use std::time::Duration;
use support::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

const MIB: usize = 1 << 20;

fn big_file(path: &std::path::Path, mib: usize) {
    let block: Vec<u8> = (0..MIB).map(|i| (i % 251) as u8).collect();
    let mut file = std::fs::File::create(path).unwrap();
    for _ in 0..mib {
        std::io::Write::write_all(&mut file, &block).unwrap();
    }
}

async fn within<T>(what: &str, secs: u64, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(secs), work)
        .await
        .unwrap_or_else(|_| panic!("{what} stalled"))
}

/// A relay that acknowledges what it cannot pass on, or waits with its session loop, stalls within the first 10 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_get_of_256_mib_does_not_stall() {
    // More than a gibibyte goes through a re-key as well: PALISADE_BULK_MIB=1100.
    let mib = std::env::var("PALISADE_BULK_MIB")
        .ok()
        .and_then(|m| m.parse().ok())
        .unwrap_or(256);
    let world = World::new().await;
    big_file(&world.path("big"), mib);
    let get = format!(
        "get {} {}\n",
        world.path("big").display(),
        world.path("got").display()
    );
    std::fs::write(world.path("batch"), get).unwrap();
    let batch = world.path("batch");
    let mut sftp = world.client("sftp", &["-q", "-b", batch.to_str().unwrap(), "web1"]);
    let begun = std::time::Instant::now();
    let out = within("sftp get", 60 + mib as u64 / 5, sftp.output())
        .await
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    println!("{mib} MiB in {:?}", begun.elapsed());
    let same = Command::new("cmp")
        .arg(world.path("big"))
        .arg(world.path("got"))
        .status()
        .await
        .unwrap();
    assert!(same.success());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_channels_carry_both_directions_at_once() {
    let world = World::new().await;
    let socket = world.path("mux");
    let control = format!("ControlPath={}", socket.display());
    let mut master = world.ssh(&["-o", &control, "-M", "-N", "web1"]).spawn().unwrap();
    support::until("the master's socket", || socket.exists().then_some(())).await;
    // `cat` returns what it gets: every channel is full in both directions.
    let one = |i: u8| {
        let mut cat = world.ssh(&["-o", &control, "web1", "cat"]);
        cat.stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped());
        async move {
            let mut cat = cat.spawn().unwrap();
            let (mut stdin, mut stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
            let block = vec![i; MIB];
            let write = async {
                for _ in 0..8 {
                    stdin.write_all(&block).await.unwrap();
                }
                drop(stdin);
            };
            let read = async {
                let mut got = Vec::new();
                stdout.read_to_end(&mut got).await.unwrap();
                got
            };
            let ((), got) = tokio::join!(write, read);
            assert_eq!(got.len(), 8 * MIB);
            assert!(got.iter().all(|b| *b == i));
            assert!(cat.wait().await.unwrap().success());
        }
    };
    within("16 channels", 60, futures::future::join_all((0..16).map(one))).await;
    master.kill().await.unwrap();
    world.stop().await;
}

/// The program writes everything before it reads anything: its input must wait without holding up its output.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_flows_while_input_is_not_read() {
    let world = World::new().await;
    let mut ssh = world.ssh(&["web1", "head -c 33554432 /dev/zero; cat | wc -c"]);
    ssh.stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut ssh = ssh.spawn().unwrap();
    let (mut stdin, mut stdout) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let write = async {
        let block = vec![1; MIB];
        for _ in 0..32 {
            stdin.write_all(&block).await.unwrap();
        }
        drop(stdin);
    };
    let read = async {
        let mut got = Vec::new();
        stdout.read_to_end(&mut got).await.unwrap();
        got
    };
    let ((), got) = within("both directions", 60, async { tokio::join!(write, read) }).await;
    assert_eq!(
        String::from_utf8_lossy(&got[32 * MIB..]).trim(),
        (32 * MIB).to_string()
    );
    world.stop().await;
}
