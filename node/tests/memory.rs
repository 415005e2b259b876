//! What a node that has nothing to do holds in memory.

use palisade_testkit::{Cluster, retry};
use std::time::Duration;

/// Anonymous resident memory of a node in KiB: what it allocated, without the pages of its program file.
fn allocated(cluster: &Cluster, i: usize) -> u64 {
    let pid = cluster.nodes[i].pid().expect("the node runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find(|l| l.starts_with("RssAnon:"))
        .expect("Linux has it");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("a number")
}

/// Goal: what a login takes (19 MiB for each password hash) is given back, whichever thread did it, and the engine's
/// own tables do not cost what they would if they were written to.
#[test]
fn a_node_is_small_again_after_logins() {
    let cluster = Cluster::start(1);
    cluster.without_second_factor();
    let alice = cluster.person_by_password("alice", "access");
    let addr = cluster.nodes[0].web_addr();
    let before = allocated(&cluster, 0);
    for _ in 0..8 {
        alice.login_by_password(&addr).ok();
    }
    let kib = retry(
        "it to be small again",
        Duration::from_secs(30),
        || match allocated(&cluster, 0) {
            // One hash whose memory is kept is 19 MiB; the engine's tables, written to, are 20 MiB above the rest.
            kib if kib < before + 8 * 1024 && kib < 40 * 1024 => Ok(kib),
            kib => Err(format!("{kib} KiB, {before} KiB before")),
        },
    );
    println!("allocated after logins: {kib} KiB, before: {before} KiB");
}
