//! Who belongs to the cluster and who leads it: what operators change, and what the cluster changes by itself.

use palisade_testkit::{Cluster, retry, run};
use std::process::Command;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

fn names(cluster: &Cluster, on: usize) -> Vec<String> {
    let status = cluster.status(on);
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    nodes
        .iter()
        .filter_map(|n| n["name"].as_str().map(str::to_owned))
        .collect()
}

fn advice(cluster: &Cluster, on: usize) -> String {
    cluster.status(on)["advice"].to_string()
}

/// Goal: a dead node is replaced by one command that cannot cost the quorum, and a forgotten one goes by itself, after a
/// countdown that everybody sees.
#[test]
fn a_dead_node_is_replaced_by_one_command_or_goes_by_itself() {
    let mut cluster = Cluster::start(3);
    cluster.kill9(2);
    retry("n3 to be missed", BOUND, || {
        let said = advice(&cluster, 0);
        if said.contains("node n3 ") {
            Ok(())
        } else {
            Err(said)
        }
    });
    let tries: [(&[&str], &str); 6] = [
        (
            &["replace", "n3", "--with", "n3", "--yes"],
            "cannot take its own place",
        ),
        (&["replace", "n3", "--with", "n9", "--yes"], "there is no node n9"),
        (&["replace", "n9", "--with", "n2", "--yes"], "there is no node n9"),
        (
            &["replace", "n1", "--with", "n2", "--yes"],
            "n1 answers and n3 does not: did you mean n3",
        ),
        (
            &["replace", "n2", "--with", "n3", "--yes"],
            "n3 does not answer: start it first",
        ),
        (
            &["leave", "n2", "--yes"],
            "would have no quorum, because n3 does not answer",
        ),
    ];
    for (words, why) in tries {
        let said = cluster.palctl(1, &[&["cluster"], words].concat()).refused();
        assert!(said.contains(why), "{words:?}: {said}");
    }
    assert_eq!(
        names(&cluster, 0),
        ["n1", "n2", "n3"],
        "a refusal changed something"
    );

    let fourth = cluster.add_node();
    cluster.spawn(fourth);
    cluster.join(fourth);
    cluster
        .palctl(1, &["cluster", "replace", "n3", "--with", "n4", "--yes"])
        .ok();
    cluster.wait_voters(3);
    assert_eq!(names(&cluster, 0), ["n1", "n2", "n4"]);
    assert_eq!(cluster.status(0)["failure_tolerance"], 1);
    let left = cluster.events(0, "node.leave");
    assert!(
        left.len() == 1 && left[0].to_string().contains("operator"),
        "{left:?}"
    );
    // Who was replaced and comes back is told so, and does not take part.
    let said = cluster.spawn_refused(2);
    assert!(said.contains("taken out"), "{said}");

    let policy = "kind: cluster_maintenance_config\nversion: v1\nmetadata: {name: cluster-maintenance-config}\nspec: {dead_node_after: 8s}\n";
    cluster.create(policy);
    cluster.kill9(fourth);
    retry("n4 to be missed", BOUND, || {
        let said = advice(&cluster, 1);
        if said.contains("node n4 ") {
            Ok(())
        } else {
            Err(said)
        }
    });
    // Of three none goes by itself: two survive no more than three of which one is dead.
    assert!(
        !advice(&cluster, 1).contains("is taken out"),
        "{}",
        advice(&cluster, 1)
    );
    let fifth = cluster.add_node();
    cluster.spawn(fifth);
    cluster.join(fifth);
    retry("n4 to go", BOUND, || {
        let (said, names) = (advice(&cluster, 1), names(&cluster, 1));
        if names == ["n1", "n2", "n5"] {
            Ok(())
        } else {
            Err(said)
        }
    });
    let left = cluster.events(0, "node.leave");
    assert!(
        left.len() == 2 && left.iter().any(|e| e.to_string().contains("node/n4")),
        "{left:?}"
    );
}

/// Goal: a leader that can open nothing any more, no file and no connection, does not go on leading, though its heartbeats
/// arrive.
#[test]
fn a_leader_without_descriptors_hands_over() {
    let cluster = Cluster::start(3);
    let sick = cluster.leader();
    let pid = cluster.nodes[sick].pid().expect("it runs").to_string();
    let limit = |soft: &str| {
        run(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")])).ok();
    };
    let before =
        run(Command::new("prlimit").args(["--pid", &pid, "--nofile", "-o", "SOFT", "--noheadings"])).ok();
    // Far fewer than it has: none is free until many are closed.
    limit("16");
    let began = Instant::now();
    let well = (0..3).find(|i| *i != sick).expect("there are three");
    cluster.wait_led_by_another(well, sick);
    println!(
        "no descriptors -> another leads: {} ms",
        began.elapsed().as_millis()
    );
    limit(before.trim());
    let log = cluster.nodes[sick].log();
    assert!(log.contains("leadership is handed over"), "{log}");
    cluster.wait_voters(3);
    cluster
        .palctl(sick, &["hosts", "add", "after", "--addr", "127.0.0.1:22"])
        .ok();
}
