//! Members that are not what they seem: a leader whose disk has stopped answering, a data directory put back from an
//! old copy, two processes that are one node.

use palisade_testkit::{Background, Cluster, program, retry, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

fn add_host(cluster: &Cluster, on: usize, name: &str) {
    cluster
        .palctl(on, &["hosts", "add", name, "--addr", "127.0.0.1:22"])
        .ok();
}

fn hosts(cluster: &Cluster, on: usize) -> usize {
    cluster
        .palctl(on, &["hosts", "ls", "--format", "json"])
        .json()
        .as_array()
        .map_or(0, Vec::len)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the temporary folder is writable");
    let ran = run(Command::new("cp").arg("-a").arg(from.join(".")).arg(to));
    assert!(ran.succeeded(), "{ran}");
}

/// Makes the node's stores be as they were in a copy.
fn put_back(cluster: &Cluster, i: usize, from: &Path) {
    let data = &cluster.nodes[i].data;
    fs::remove_dir_all(data).expect("it is ours");
    copy(from, data);
}

/// Compiles `sick_nodes/hang.c`.
fn hang_shim(folder: &Path) -> PathBuf {
    let out = folder.join("hang.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sick_nodes/hang.c");
    let ran = run(Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&out)
        .arg(source)
        .arg("-ldl"));
    assert!(ran.succeeded(), "{ran}");
    out
}

/// What a node is started under so that its syncs hang while the flag is there.
fn hangs(shim: &Path, flag: &Path) -> [String; 3] {
    [
        "env".to_owned(),
        format!("LD_PRELOAD={}", shim.display()),
        format!("PALISADE_HANG={}", flag.display()),
    ]
}

/// Goal: storage that all nodes share and that stalls for seconds costs seconds, and no node. Method: nobody's sync ends
/// until each node has noticed; then they do.
#[test]
fn a_stall_of_every_disk_ends_no_node() {
    let cluster = Cluster::start(3);
    let folder = cluster.folder("shim");
    let (shim, flag) = (hang_shim(&folder), folder.join("hang"));
    for i in 0..3 {
        cluster.stop(i);
        cluster.spawn_under(i, &hangs(&shim, &flag));
        cluster.wait_voters(3);
    }
    add_host(&cluster, 0, "before");
    cluster.wait_probe(0, "/readyz?write", 200);
    fs::write(&flag, "").expect("it is ours");
    // So that there is something to sync: it is not answered as long as the disks hang.
    let mut write = cluster.palctl_command(0);
    write.args(["hosts", "add", "during", "--addr", "127.0.0.1:22"]);
    let write = Background::start(&mut write);
    // The first one that says so is enough: who had nothing to write has no stall to speak of.
    retry("a node to notice", BOUND, || {
        let noticed = |i: usize| {
            cluster.nodes[i]
                .log()
                .contains("the disk has not finished a sync")
        };
        (0..3).any(noticed).then_some(()).ok_or_else(String::new)
    });
    // Who cannot write is red, on whichever node it is noticed first; and lives.
    let said = retry("a red probe", BOUND, || {
        let red = (0..3)
            .map(|i| cluster.probe(i, "/readyz?write"))
            .find(|(status, _)| *status == 503);
        red.map(|(_, line)| line).ok_or_else(String::new)
    });
    println!("while the disks hang: {said}");
    assert_eq!(cluster.probe(0, "/livez").0, 200);
    fs::remove_file(&flag).expect("it is ours");
    let waits = write.finish(BOUND);
    println!("the write that met the stall: {waits}");
    retry("the cluster to write again", BOUND, || {
        let ran = cluster.palctl(1, &["hosts", "add", "after", "--addr", "127.0.0.1:22"]);
        match ran.succeeded() || ran.complaint().contains("exists") {
            true => Ok(()),
            false => Err(ran.complaint()),
        }
    });
    for (i, node) in cluster.nodes.iter().enumerate() {
        assert!(node.is_running(), "{}", node.log());
        cluster.wait_probe(i, "/readyz?write", 200);
    }
    cluster.wait_converged();
    let after = hosts(&cluster, 0);
    assert!(after == 3 || (after == 2 && !waits.succeeded()), "{after} hosts");
}

/// Goal: a leader that cannot write any more does not go on leading. Its heartbeats do not pass by the disk, so
/// nobody else would notice.
#[test]
fn a_leader_whose_disk_hangs_gives_up_within_seconds() {
    let cluster = Cluster::start(3);
    let folder = cluster.folder("shim");
    let (shim, flag) = (hang_shim(&folder), folder.join("hang"));
    let sick = cluster.follower();
    cluster.stop(sick);
    cluster.spawn_under(sick, &hangs(&shim, &flag));
    cluster.wait_voters(3);
    let name = cluster.nodes[sick].name.clone();
    cluster.palctl(sick, &["cluster", "transfer", "--to", &name]).ok();
    retry("it to lead", BOUND, || {
        (cluster.leader() == sick).then_some(()).ok_or_else(String::new)
    });
    add_host(&cluster, sick, "before");

    fs::write(&flag, "").expect("it is ours");
    let began = Instant::now();
    let well = (0..3).find(|i| *i != sick).expect("there are three");
    // Through another node: it keeps trying until somebody else leads.
    add_host(&cluster, well, "after");
    let gap = began.elapsed();
    println!(
        "the disk hangs -> the next committed write: {} ms",
        gap.as_millis()
    );
    assert!(gap < Duration::from_secs(6), "{gap:?}");
    retry("the sick node to end", BOUND, || {
        if cluster.nodes[sick].is_running() {
            Err("it runs".to_owned())
        } else {
            Ok(())
        }
    });
    let log = cluster.nodes[sick].log();
    assert!(log.contains("the disk has not finished a sync"), "{log}");
    fs::remove_file(&flag).expect("it is ours");
    cluster.spawn(sick);
    cluster.wait_voters(3);
    cluster.wait_converged();
    assert_eq!(hosts(&cluster, sick), 2);
}

/// Goal: a node whose disk was restored from yesterday's image says so, does not vote, and comes back by the commands
/// that it names.
#[test]
fn a_node_put_back_from_an_old_copy_says_so_and_joins_anew() {
    let cluster = Cluster::start(3);
    let old = cluster.follower();
    cluster.stop(old);
    let image = cluster.folder("image");
    copy(&cluster.nodes[old].data, &image);
    cluster.spawn(old);
    cluster.wait_voters(3);
    for n in 0..10 {
        add_host(&cluster, old, &format!("h{n}"));
    }
    cluster.wait_converged();
    cluster.kill9(old);
    put_back(&cluster, old, &image);
    let said = cluster.spawn_refused(old);
    for word in [
        "old copy",
        "palctl cluster leave",
        "palisade repair --set-aside",
        "fresh token",
    ] {
        assert!(said.contains(word), "it does not say {word:?}: {said}");
    }

    let well = cluster.leader();
    let name = cluster.nodes[old].name.clone();
    cluster.palctl(well, &["cluster", "leave", &name, "--yes"]).ok();
    let config = &cluster.nodes[old].config;
    let repair = ["repair", "--set-aside", "--config"];
    let ran = run(Command::new(program("palisade")).args(repair).arg(config));
    assert!(ran.succeeded(), "{ran}");
    cluster.spawn(old);
    let token = cluster.join_token(well);
    let addr = cluster.nodes[well].web_addr();
    cluster.palctl(old, &["cluster", "join", &token, &addr]).ok();
    cluster.wait_voters(3);
    cluster.wait_converged();
    assert_eq!(hosts(&cluster, old), 10);
    cluster.palctl(old, &["audit", "verify"]).ok();
}

/// Goal: a second process never acts as a node that runs: neither on the same data directory nor on a copy of it.
#[test]
fn a_second_process_of_one_node_is_refused() {
    let mut cluster = Cluster::start(3);
    let first = cluster.follower();
    add_host(&cluster, first, "h");
    cluster.wait_converged();
    let twin = cluster.add_node();
    let config = |data: &Path| {
        let node = &cluster.nodes[twin];
        let text = fs::read_to_string(&node.config).expect("it was written");
        let text = text
            .replace(
                &format!("name: {}", node.name),
                &format!("name: {}", cluster.nodes[first].name),
            )
            .replace(&node.data.display().to_string(), &data.display().to_string())
            + &format!(
                "control_socket: {}\n",
                node.config.with_extension("sock").display()
            );
        fs::write(&node.config, text).expect("it is ours");
    };
    config(&cluster.nodes[first].data);
    let said = cluster.spawn_refused(twin);
    assert!(said.contains("in use"), "{said}");

    let image = cluster.folder("image");
    copy(&cluster.nodes[first].data, &image);
    cluster.write_config(twin, "");
    config(&image);
    let said = cluster.spawn_refused(twin);
    assert!(
        said.contains("another process") && said.contains("runs as this node"),
        "{said}"
    );
    // The first one has not noticed.
    assert!(cluster.nodes[first].is_running());
    add_host(&cluster, first, "h2");
}
