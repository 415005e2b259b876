//! What happens to a node whose disk fails it: damage is named and repaired from the others, a full disk refuses
//! writes and recovers, and neither costs the cluster anything.

use palisade_testkit::{Cluster, SmallDisk, program, retry, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

fn add_hosts(cluster: &Cluster, on: usize, from: usize, to: usize) {
    for n in from..to {
        cluster
            .palctl(on, &["hosts", "add", &format!("h{n}"), "--addr", "127.0.0.1:22"])
            .ok();
    }
}

fn hosts(cluster: &Cluster, on: usize) -> usize {
    cluster
        .palctl(on, &["hosts", "ls", "--format", "json"])
        .json()
        .as_array()
        .map_or(0, Vec::len)
}

/// All database files below a folder.
fn databases(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(databases(&path));
        } else if path.file_name().is_some_and(|n| n == "db") {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_damaged_store_is_named_and_repaired_from_the_others() {
    let cluster = Cluster::start(3);
    add_hosts(&cluster, 0, 0, 20);
    cluster.wait_converged();
    let broken = cluster.follower();
    let name = cluster.nodes[broken].name.clone();
    cluster.kill9(broken);
    let files = databases(&cluster.nodes[broken].data);
    assert!(!files.is_empty(), "where are the stores?");
    for file in &files {
        let mut bytes = fs::read(file).expect("it is there");
        // Every 97th byte of what was written: wherever the records lie, some are hit.
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        (0..used).step_by(97).for_each(|at| bytes[at] ^= 0x55);
        fs::write(file, bytes).expect("it is ours");
    }
    let said = cluster.spawn_refused(broken);
    assert!(
        said.contains("palisade repair"),
        "it does not say what to do: {said}"
    );

    let repair = |more: &[&str]| {
        let config = &cluster.nodes[broken].config;
        run(Command::new(program("palisade"))
            .arg("repair")
            .arg("--config")
            .arg(config)
            .args(more))
    };
    let report = repair(&[]);
    assert!(
        !report.succeeded() && report.text().contains("cluster leave"),
        "{report}"
    );
    let well = cluster.leader();
    cluster.palctl(well, &["cluster", "leave", &name, "--yes"]).ok();
    repair(&["--set-aside"]).ok();
    cluster.spawn(broken);
    let token = cluster.join_token(well);
    cluster
        .palctl(
            broken,
            &["cluster", "join", &token, &cluster.nodes[well].web_addr()],
        )
        .ok();
    cluster.wait_voters(3);
    cluster.wait_converged();
    assert_eq!(hosts(&cluster, broken), 20);
    cluster.palctl(broken, &["audit", "verify"]).ok();
}

fn add_one(cluster: &Cluster, name: &str) -> Result<(), String> {
    let ran = cluster.palctl(0, &["hosts", "add", name, "--addr", "127.0.0.1:22"]);
    if ran.succeeded() || ran.complaint().contains("already") {
        Ok(())
    } else {
        Err(ran.to_string())
    }
}

/// Goal: what a node does when its disk fills up. With its reserve used up it refuses writes, answers reads, and goes
/// on by itself once there is room. When others have taken the last byte as well it may stop, but it loses nothing.
#[test]
fn a_full_disk_refuses_writes_keeps_reading_and_recovers() {
    let cluster = Cluster::unformed(1);
    let data = cluster.nodes[0].data.clone();
    let Some(disk) = SmallDisk::mount(&data, "256m") else {
        println!("NOT RUN: this needs the right to mount a tmpfs");
        return;
    };
    cluster.spawn(0);
    cluster.palctl(0, &["cluster", "init", "--name", "test"]).ok();
    add_hosts(&cluster, 0, 0, 5);
    cluster.wait_probe(0, "/readyz?write", 200);

    disk.fill(32 << 20);
    // At once, also while nobody writes.
    for path in ["/readyz", "/readyz?write"] {
        let said = cluster.wait_probe(0, path, 503);
        assert!(said.contains("the disk is full"), "{path}: {said}");
    }
    assert_eq!(cluster.probe(0, "/livez").0, 200);
    let status = cluster.palctl(0, &["status"]).text();
    assert!(status.contains("is full and takes no changes"), "{status}");
    let refused = retry("a refusal", BOUND, || match add_one(&cluster, "no-room") {
        Ok(()) => Err("it was written".to_owned()),
        Err(why) => Ok(why),
    });
    println!("on a full disk: {refused}");
    let (unknown, nothing) = (
        refused.contains("not known"),
        refused.contains("nothing happened"),
    );
    assert!(unknown != nothing, "it says one thing or the other: {refused}");
    assert!(hosts(&cluster, 0) >= 5, "reading stopped");
    assert!(cluster.nodes[0].is_running(), "{}", cluster.nodes[0].log());
    disk.empty();
    retry("writes to work again", BOUND, || add_one(&cluster, "room-again"));
    cluster.wait_probe(0, "/readyz?write", 200);

    disk.fill(0);
    let _ = add_one(&cluster, "not-a-byte");
    disk.empty();
    if cluster.nodes[0].is_running() {
        retry("writes to work again", BOUND, || {
            add_one(&cluster, "room-once-more")
        });
        cluster.stop(0);
    }
    let log = cluster.nodes[0].log();
    assert!(!log.contains("panicked at"), "{log}");
    // With not a byte left it does not start, says why, and harms nothing.
    disk.fill(0);
    let said = cluster.spawn_refused(0);
    assert!(said.to_lowercase().contains("no space left"), "{said}");
    disk.empty();
    cluster.spawn(0);
    assert!(hosts(&cluster, 0) >= 6);
    cluster.palctl(0, &["audit", "verify"]).ok();
}

/// Goal: a full disk at the leader stops nobody's writes, for others have room. Method: the leader alone has a small disk.
#[test]
fn a_leader_whose_disk_is_full_hands_over() {
    let cluster = Cluster::unformed(3);
    let data = cluster.nodes[0].data.clone();
    let Some(disk) = SmallDisk::mount(&data, "192m") else {
        println!("NOT RUN: this needs the right to mount a tmpfs");
        return;
    };
    for i in 0..3 {
        cluster.spawn(i);
    }
    cluster.palctl(0, &["cluster", "init", "--name", "test"]).ok();
    cluster.join(1);
    cluster.join(2);
    cluster.wait_voters(3);
    cluster.palctl(0, &["cluster", "transfer", "--to", "n1"]).ok();
    retry("n1 to lead", BOUND, || {
        (cluster.leader() == 0).then_some(()).ok_or_else(String::new)
    });
    disk.fill(48 << 20);
    let began = Instant::now();
    // The first may still pass, by the others' disks alone; that the leader's is full it knows by it.
    let add = |name: &str| {
        let ran = cluster.palctl(1, &["hosts", "add", name, "--addr", "127.0.0.1:22"]);
        let done = ran.succeeded() || ran.complaint().contains("already");
        done.then_some(()).ok_or_else(|| ran.to_string())
    };
    let _ = add("fills-it");
    retry("another to lead", BOUND, || {
        (cluster.leader() != 0).then_some(()).ok_or_else(String::new)
    });
    add("while-full").expect("others have room");
    println!(
        "the leader's disk is full -> a write through another: {} ms",
        began.elapsed().as_millis()
    );
    let log = cluster.nodes[0].log();
    assert!(log.contains("leadership is handed over"), "{log}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    disk.empty();
    retry("the full node to take part again", BOUND, || {
        add_one(&cluster, "room-again")
    });
    cluster.wait_converged();
    assert!(hosts(&cluster, 0) >= 2);
}
