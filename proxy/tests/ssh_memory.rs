//! A reader that stopped reading must not grow the node. Alone in this file: it looks at the whole process.

#![allow(
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that cannot go on should stop"
)]

mod support;

use support::World;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_readers_hold_no_more_than_their_windows() {
    const READERS: u64 = 8;
    let world = World::new().await;
    let out = world.ssh(&["web1", "true"]).output().await.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let before = resident_kib();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut ssh = world.ssh(&["web1", "cat /dev/zero"]);
        // Nobody reads the pipe: the client stops reading once it is full.
        readers.push(ssh.stdout(std::process::Stdio::piped()).spawn().unwrap());
    }
    // Until nothing moves any more.
    let carried = || world.recordings.all().len();
    support::until("all sessions run", || {
        (carried() as u64 == READERS + 1).then_some(())
    })
    .await;
    let mut last = resident_kib();
    let mut quiet = 0;
    while quiet < 10 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let now = resident_kib();
        quiet = if now.abs_diff(last) < 512 { quiet + 1 } else { 0 };
        last = now;
    }
    let each = last.saturating_sub(before) / READERS;
    println!("{each} KiB for a stalled reader");
    // The host's window, what two layers of SSH have in flight, and the recording's bounded beginning.
    assert!(each < 8 * 1024, "{each} KiB for each stalled reader");
    let then = resident_kib();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(resident_kib() < then + 1024, "it still grows");
    drop(readers);
    world.stop().await;
}
