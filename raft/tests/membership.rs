//! Quorums of five, changes of membership that a leader leaves half done, certificates that end.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{CLUSTER, Cluster, entry, eventually, incarnation, soon};
use palisade_raft::{ProposeError, RaftStatus, Role};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_voters_go_on_without_two_of_them() {
    let mut cluster = Cluster::of(5).await;
    let mut written = 0u64;
    // Leaders among the lost: each round loses the leader and one more, whoever they are by then.
    for round in 0..3u64 {
        let leader = cluster.leader().await;
        let other = *cluster.nodes.keys().find(|id| **id != leader).unwrap();
        cluster.kill(leader).await;
        cluster.kill(other).await;
        for n in 0..3u64 {
            let via = *cluster.nodes.keys().nth(n as usize).unwrap();
            let request = format!("{round}-{n}");
            cluster.put(via, &request, &format!("key{written}"), b"v").await;
            written += 1;
        }
        cluster.start(leader).await;
        cluster.start(other).await;
        cluster.settled(5).await;
    }
    for running in cluster.nodes.values() {
        running.node.read_barrier(soon(10)).await.unwrap();
        assert_eq!(running.count(), written);
        assert!(running.fatal.lock().is_empty(), "{:?}", running.fatal.lock());
    }
}

/// Two of five are no quorum, however far the others had come before they went: openraft once counted them wrong when
/// the progress of the followers was not in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_of_five_never_commit_whatever_the_others_had() {
    let mut cluster = Cluster::of(5).await;
    let leader = cluster.leader().await;
    let mut followers: Vec<u64> = cluster.nodes.keys().copied().filter(|id| *id != leader).collect();
    for round in 0..followers.len() {
        // Each round another one stays, and the others go one after the other, each with more than the one before.
        followers.rotate_left(1);
        for (n, away) in followers[1..].iter().enumerate() {
            cluster.put(leader, &format!("{round}-{n}"), "k", b"v").await;
            cluster.kill(*away).await;
        }
        let node = Arc::clone(&cluster.nodes[&leader].node);
        // The status follows the log by a moment.
        let committed = eventually("the last write to be known as committed", 10, || {
            let status = node.status();
            (status.committed == status.last_log).then_some(status.committed)
        })
        .await;
        let alone = format!("{round}-alone");
        let refused = node.propose(entry(&alone, "alone", b"v"), soon(1)).await;
        assert!(
            matches!(refused, Err(ProposeError::NoQuorum | ProposeError::Timeout)),
            "two of five acknowledged: {refused:?}"
        );
        assert_eq!(node.status().committed, committed, "two of five committed");
        for away in &followers[1..] {
            cluster.start(*away).await;
        }
        cluster.settled(5).await;
        if cluster.leader().await != leader {
            let transfer = &cluster.nodes[&followers[0]].node;
            transfer.transfer_leader(Some(leader), soon(10)).await.unwrap();
            cluster.settled(5).await;
        }
        cluster.put(leader, &alone, "alone", b"v").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_that_a_dead_leader_left_half_done_is_finished_by_the_next() {
    let mut cluster = Cluster::of(3).await;
    cluster.start(4).await;
    let leader = cluster.leader().await;
    let addr = cluster.addrs[&4].to_string();
    let node = Arc::clone(&cluster.nodes[&leader].node);
    node.add_learner(4, &addr, &incarnation(4).to_string(), soon(20))
        .await
        .unwrap();
    eventually("the learner follows", 10, || {
        (node.status().nodes.get(&4)?.lag == Some(0)).then_some(())
    })
    .await;
    // Without the learner and one voter, two of four are left: the first step of the change is written and cannot be
    // committed.
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    let (heir, away) = (others[0], others[1]);
    cluster.kill(4).await;
    cluster.kill(away).await;
    let change = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.promote(4, soon(5)).await }
    });
    eventually("the heir has the first step", 10, || {
        cluster.nodes[&heir].node.status().joint.then_some(())
    })
    .await;
    drop(node);
    cluster.kill(leader).await;
    assert!(change.await.unwrap().is_err(), "it cannot have been made");

    cluster.start(away).await;
    cluster.start(4).await;
    let mut led = BTreeSet::new();
    eventually("the change is finished", 30, || {
        let all: Vec<_> = cluster.nodes.values().map(|r| r.node.status()).collect();
        // Afterwards all have the log, and leadership may move.
        let leads = |s: &&RaftStatus| s.joint && s.role == Role::Leader;
        led.extend(all.iter().filter(leads).map(|s| s.id));
        all.iter()
            .all(|s| !s.joint && s.voters() == vec![1, 2, 3, 4])
            .then_some(())
    })
    .await;
    assert!(
        led.iter().all(|id| *id == heir),
        "only it has the whole log: {led:?}"
    );
    cluster.put(4, "after", "after", b"v").await;
    cluster.start(leader).await;
    cluster.settled(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn certificates_are_renewed_before_they_end_without_a_restart() {
    let mut cluster = Cluster::empty();
    let end = SystemTime::now() + Duration::from_secs(8);
    cluster.certificates_end = Some(end);
    cluster.grow(3).await;
    // As the node does it: each by itself, well before the end.
    cluster.certificates_end = None;
    for (id, running) in &cluster.nodes {
        let renewed = cluster.authority.tls(CLUSTER, *id, incarnation(*id));
        running.node.renew_tls(renewed).unwrap();
    }
    // The end of the first ones passes.
    let left = (end + Duration::from_secs(1)).duration_since(SystemTime::now());
    tokio::time::sleep(left.unwrap_or_default()).await;
    // Every connection is made anew: a node that comes back speaks to all the others, and they to it.
    for id in 1..=3u64 {
        cluster.kill(id).await;
        cluster.start(id).await;
        cluster.settled(3).await;
        cluster.put(id, &format!("r{id}"), "k", b"v").await;
    }
    for running in cluster.nodes.values() {
        running.node.read_barrier(soon(5)).await.unwrap();
        assert_eq!(running.count(), 3);
    }
}

/// The test above can fail: a certificate that has ended is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_certificate_that_was_not_renewed_is_refused_after_its_end() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let late = (1..=3u64).find(|id| *id != leader).unwrap();
    cluster.kill(late).await;
    cluster.certificates_end = Some(SystemTime::now() - Duration::from_secs(60));
    cluster.start(late).await;
    let running = &cluster.nodes[&late];
    let refused = running.node.propose(entry("r", "k", b"v"), soon(3)).await;
    assert!(refused.is_err(), "{refused:?}");
    // It may remember who led; nobody that it speaks to has a quorum behind it.
    assert!(running.node.lease().is_err(), "it heard of a leader");
    cluster.put(leader, "r", "k", b"v").await;
}
