//! What a node that wants to join is told when it cannot work, on real processes: a plain reason, and a cluster that is as
//! it was, with the token still good.

use palisade_testkit::{Cluster, free_port, run, under_clock};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

fn nodes(cluster: &Cluster) -> Vec<String> {
    let status = cluster.status(0);
    let nodes = status["nodes"].as_array().expect("it lists nodes");
    nodes
        .iter()
        .map(|n| n["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Replaces a line of a configuration.
fn set(config: &Path, key: &str, value: &str) {
    let text = fs::read_to_string(config).expect("it was written");
    let begin = format!("{key}: ");
    let lines = text.lines().map(|line| match line.strip_prefix(&begin) {
        Some(_) => format!("{begin}{value}\n"),
        None => format!("{line}\n"),
    });
    fs::write(config, lines.collect::<String>()).expect("the folder is writable");
}

/// Goal: whatever cannot work is refused before anything is used up or half done. Method: one token, tried in every way
/// that cannot work; at last it lets its node in, twice.
#[test]
fn what_cannot_join_is_told_why_and_changes_nothing() {
    let mut cluster = Cluster::start(1);
    let token = cluster.join_token(0);
    let member = cluster.nodes[0].web_addr();
    let newcomer = cluster.add_node();
    let refused = |cluster: &Cluster, token: &str, addr: &str, words: &[&str]| {
        let said = cluster
            .palctl(newcomer, &["cluster", "join", token, addr])
            .refused();
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said:?}");
        }
        assert_eq!(nodes(cluster), ["n1"]);
    };

    // A clock that is an hour off, either way.
    let clock = cluster.root().join("clock");
    for off in ["+3600\n", "-3600\n"] {
        fs::write(&clock, off).expect("the folder is writable");
        cluster.spawn_under(newcomer, &under_clock(&clock));
        refused(&cluster, &token, &member, &["clock", "NTP"]);
        cluster.stop(newcomer);
    }

    // A member's port that is closed, and a node's that the members cannot reach.
    cluster.spawn(newcomer);
    let closed = format!("127.0.0.1:{}", free_port());
    refused(&cluster, &token, &closed, &["cannot be asked", &closed]);
    cluster.stop(newcomer);
    let config = cluster.nodes[newcomer].config.clone();
    set(&config, "advertise", "not-a-machine.invalid");
    cluster.spawn(newcomer);
    refused(
        &cluster,
        &token,
        &member,
        &["cannot reach", "advertise", "not-a-machine.invalid"],
    );
    cluster.stop(newcomer);

    // A name that a node has.
    cluster.write_config(newcomer, "");
    set(&config, "name", "n1");
    cluster.spawn(newcomer);
    refused(&cluster, &token, &member, &["n1"]);
    cluster.stop(newcomer);
    cluster.write_config(newcomer, "");
    cluster.spawn(newcomer);

    // A token of another cluster, here; and this one's token there.
    let other = Cluster::start(1);
    refused(&cluster, &other.join_token(0), &member, &["pin"]);
    refused(&cluster, &token, &other.nodes[0].web_addr(), &["pin"]);
    assert_eq!(nodes(&other), ["n1"]);

    // Another version, as such a node would ask.
    let parts: Vec<&str> = token.split('.').collect();
    let now = run(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])).ok();
    let request = json!({
        "token": parts[3], "secret": parts[4], "cluster_id": parts[1], "name": "n2",
        "peer_addr": "127.0.0.1:1", "web_addr": "127.0.0.1:2", "ssh_addr": "127.0.0.1:3",
        "incarnation": "1", "peer_public_key": "", "wrap_public_key": "", "version": "9.9.9",
        "now": now.trim(),
    });
    let mut curl = Command::new("curl");
    curl.args([
        "-sSk",
        "-H",
        "content-type: application/json",
        "-d",
        &request.to_string(),
    ]);
    let said = run(curl.arg(format!("https://{member}/v1/join"))).text();
    assert!(
        said.contains("9.9.9") && said.contains("install the same"),
        "{said}"
    );
    assert_eq!(nodes(&cluster), ["n1"]);

    // None of it used the token up. Twice is harmless.
    for _ in 0..2 {
        cluster.join_with(newcomer, &token).ok();
        assert_eq!(nodes(&cluster), ["n1", "n2"]);
    }
    cluster.wait_voters(2);
    cluster.palctl(newcomer, &["audit", "verify"]).ok();
}

/// Goal: `init` says all that the other nodes need, and is harmless a second time, as `join` is.
#[test]
fn init_prints_a_line_for_each_further_node_and_twice_changes_nothing() {
    let mut cluster = Cluster::unformed(1);
    cluster.spawn(0);
    let said = cluster.palctl(0, &["cluster", "init", "--nodes", "2"]).ok();
    let line = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("palctl cluster join "))
        .unwrap_or_else(|| panic!("there is no join line in {said}"));
    let words: Vec<&str> = line.split(' ').collect();
    let pin = cluster.status(0)["ca_pin"]
        .as_str()
        .expect("it has a pin")
        .to_owned();
    assert!(
        said.contains(&pin) && words[0].contains(pin.trim_start_matches("sha256:")),
        "{said}"
    );
    let before = cluster.status(0)["cluster_id"].clone();
    let again = cluster.palctl(0, &["cluster", "init", "--nodes", "2"]).ok();
    assert!(again.contains("already") && !again.contains("pj1."), "{again}");
    assert_eq!(cluster.status(0)["cluster_id"], before);

    let newcomer = cluster.add_node();
    cluster.spawn(newcomer);
    let join = ["cluster", "join", words[0], words[1]];
    cluster.palctl(newcomer, &join).ok();
    cluster.palctl(newcomer, &join).ok();
    assert_eq!(nodes(&cluster), ["n1", "n2"]);
    // The line was for one node.
    let third = cluster.add_node();
    cluster.spawn(third);
    cluster.palctl(third, &join).refused();
    assert_eq!(nodes(&cluster), ["n1", "n2"]);
}
