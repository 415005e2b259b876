//! A cluster writes, reads, fails over and changes its members.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Cluster, entry, eventually, incarnation, soon};
use palisade_raft::{BootstrapError, MemberError, ProposeError, Role};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_on_any_node_is_read_on_every_node() {
    let cluster = Cluster::of(3).await;
    for via in 1..=3u64 {
        cluster
            .put(via, &format!("r{via}"), &format!("key{via}"), b"value")
            .await;
    }
    for running in cluster.nodes.values() {
        running.node.read_barrier(soon(5)).await.unwrap();
        for via in 1..=3u64 {
            assert_eq!(
                running.value(&format!("key{via}")).as_deref(),
                Some(&b"value"[..])
            );
        }
        let lease = running.node.lease().unwrap();
        assert!(lease.age_ms < 1000, "{lease:?}");
    }
    let applied = *cluster.nodes[&1].node.applied_watch().borrow();
    assert!(applied.raised[0] > 0 && applied.raised[1] == 0, "{applied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn barriers_that_share_a_round_see_what_was_acknowledged_before_each_of_them() {
    let cluster = Cluster::of(3).await;
    let cluster = Arc::new(cluster);
    let mut tasks = Vec::new();
    for n in 0..100u64 {
        let cluster = Arc::clone(&cluster);
        tasks.push(tokio::spawn(async move {
            let (via, at) = (n % 3 + 1, (n + 1) % 3 + 1);
            let key = format!("key{n}");
            cluster.put(via, &format!("r{n}"), &key, b"value").await;
            let elsewhere = &cluster.nodes[&at];
            elsewhere.node.read_barrier(soon(10)).await.unwrap();
            assert_eq!(elsewhere.value(&key).as_deref(), Some(&b"value"[..]), "{key}");
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_request_id_proposed_fifty_times_at_once_changes_once() {
    let cluster = Cluster::of(3).await;
    let mut tasks = Vec::new();
    for n in 0..50u64 {
        let node = Arc::clone(&cluster.nodes[&(n % 3 + 1)].node);
        tasks.push(tokio::spawn(async move {
            node.propose(entry("same", "k", b"v"), soon(15)).await
        }));
    }
    let mut first = 0;
    for task in tasks {
        let reply = task.await.unwrap().unwrap();
        first += usize::from(reply.bytes.as_ref() == b"done");
    }
    assert_eq!(first, 1);
    let running = &cluster.nodes[&2];
    running.node.read_barrier(soon(5)).await.unwrap();
    assert_eq!(running.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::of(3).await;
    let mut gaps = Vec::new();
    let mut written = 0u64;
    for round in 0..8u64 {
        for n in 0..5u64 {
            cluster
                .put(
                    n % 3 + 1,
                    &format!("a{round}-{n}"),
                    &format!("key{written}"),
                    b"v",
                )
                .await;
            written += 1;
        }
        let leader = cluster.leader().await;
        let died = Instant::now();
        cluster.kill(leader).await;
        let via = *cluster.nodes.keys().next().unwrap();
        cluster
            .put(via, &format!("b{round}"), &format!("key{written}"), b"v")
            .await;
        written += 1;
        gaps.push(died.elapsed().as_millis());
        cluster.start(leader).await;
        cluster.settled(3).await;
    }
    gaps.sort_unstable();
    println!("leader killed, its process gone -> next committed write, ms: {gaps:?}");
    assert!(gaps.last().unwrap() < &3000, "{gaps:?}");
    for running in cluster.nodes.values() {
        running.node.read_barrier(soon(5)).await.unwrap();
        assert_eq!(running.count(), written);
        assert!(running.fatal.lock().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_planned_stop_of_the_leader_under_load_fails_no_proposal() {
    let mut cluster = Cluster::of(3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (done, slowest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = Vec::new();
    for client in 0..12u64 {
        let nodes: Vec<_> = cluster.nodes.values().map(|n| Arc::clone(&n.node)).collect();
        let (stop, done, slowest) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&slowest));
        clients.push(tokio::spawn(async move {
            let mut at = client as usize;
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                // What a client of the node room does: a node that drains is left for another.
                while nodes[at % 3].status().draining {
                    at += 1;
                }
                let asked = Instant::now();
                let change = entry(&format!("c{client}-{n}"), "k", b"v");
                nodes[at % 3]
                    .propose(change, soon(10))
                    .await
                    .map_err(|e| format!("{client}/{n}: {e}"))?;
                slowest.fetch_max(asked.elapsed().as_millis() as u64, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                n += 1;
            }
            Ok::<_, String>(())
        }));
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let leader = cluster.leader().await;
        cluster.nodes[&leader]
            .node
            .transfer_leader(None, soon(10))
            .await
            .unwrap();
    }
    let leader = cluster.leader().await;
    let leaving = Arc::clone(&cluster.nodes[&leader].node);
    let drained = Instant::now();
    leaving.drain(soon(10)).await.unwrap();
    let took = drained.elapsed();
    assert_ne!(leaving.status().role, Role::Leader);
    cluster.kill(leader).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap().unwrap();
    }
    let (done, slowest) = (done.load(Ordering::SeqCst), slowest.load(Ordering::SeqCst));
    println!("planned stop: drain {took:?}, {done} proposals, none failed, slowest {slowest} ms");
    let running = cluster.nodes.values().next().unwrap();
    running.node.read_barrier(soon(5)).await.unwrap();
    assert_eq!(running.count(), done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_that_is_far_behind_gets_a_snapshot() {
    let mut cluster = Cluster::empty();
    (cluster.snapshot_every, cluster.keep_logs) = (50, 0);
    cluster.grow(3).await;
    let leader = cluster.leader().await;
    let away = if leader == 3 { 2 } else { 3 };
    cluster.kill(away).await;
    for n in 0..300u64 {
        cluster
            .put(leader, &format!("r{n}"), &format!("key{n}"), &[7; 2000])
            .await;
    }
    eventually("the log is purged", 20, || {
        (cluster.nodes[&leader].node.status().purged > 100).then_some(())
    })
    .await;
    cluster.start(away).await;
    let running = &cluster.nodes[&away];
    eventually("caught up", 20, || (running.count() == 300).then_some(())).await;
    assert!(
        running.node.applied_watch().borrow().replaced > 0,
        "it came as a snapshot"
    );
    assert_eq!(running.value("key299").unwrap().len(), 2000);
    assert!(running.fatal.lock().is_empty(), "{:?}", running.fatal.lock());
    cluster.put(away, "after", "after", b"v").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_of_all_nodes_keeps_everything() {
    let mut cluster = Cluster::of(3).await;
    for n in 0..20u64 {
        cluster.put(1, &format!("r{n}"), &format!("key{n}"), b"v").await;
    }
    let term = cluster.nodes[&1].node.status().term;
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
        // What was acknowledged is not taken back, not even before a leader is there.
        if id == 1 {
            let node = &cluster.nodes[&1].node;
            eventually("its log", 5, || (node.status().last_log >= 20).then_some(())).await;
            assert_eq!(cluster.nodes[&1].count(), 20);
        }
    }
    cluster.settled(3).await;
    assert!(
        cluster.nodes[&1].node.status().term > term,
        "a restarted leader is elected anew"
    );
    for running in cluster.nodes.values() {
        running.node.read_barrier(soon(5)).await.unwrap();
        assert_eq!(running.count(), 20);
        assert_eq!(running.node.bootstrap().await, Err(BootstrapError::NotEmpty));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_are_removed_and_leave_and_their_ids_stay_dead() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    // The leader leaves: leadership goes first.
    cluster.nodes[&leader].node.leave(soon(20)).await.unwrap();
    cluster.tombstones.lock().push(leader);
    cluster.kill(leader).await;
    cluster.settled(2).await;
    let via = *cluster.nodes.keys().next().unwrap();
    cluster.put(via, "r", "k", b"v").await;
    let refused = cluster.nodes[&via]
        .node
        .add_learner(leader, "127.0.0.1:1", "again", soon(5))
        .await;
    assert!(matches!(refused, Err(MemberError::Refused(_))), "{refused:?}");
    // A new node takes its place, under a new id.
    cluster.start(4).await;
    let addr = cluster.addrs[&4].to_string();
    let founder = &cluster.nodes[&via].node;
    founder
        .add_learner(4, &addr, &incarnation(4).to_string(), soon(10))
        .await
        .unwrap();
    let taken = founder.add_learner(4, &addr, "other", soon(5)).await;
    assert!(matches!(taken, Err(MemberError::Refused(_))), "{taken:?}");
    founder.promote(4, soon(10)).await.unwrap();
    cluster.settled(3).await;
    eventually("the new node has it all", 10, || {
        (cluster.nodes[&4].count() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_without_a_quorum_refuses_soon_and_loses_its_lease() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster.nodes.keys().copied().filter(|id| *id != leader).collect();
    for id in &others {
        cluster.kill(*id).await;
    }
    let node = Arc::clone(&cluster.nodes[&leader].node);
    let asked = Instant::now();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let refused = node.propose(entry("r", "k", b"v"), soon(20)).await;
    assert!(matches!(refused, Err(ProposeError::NoQuorum)), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    assert!(node.lease().unwrap().age_ms > 600);
    assert!(node.read_barrier(soon(1)).await.is_err());
    for id in others {
        cluster.start(id).await;
    }
    cluster.put(leader, "r", "k", b"v").await;
    assert!(node.lease().unwrap().age_ms < 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_entry_that_cannot_be_applied_stops_the_node_and_is_never_skipped() {
    for bad in [b"no such version".to_vec(), entry("r", "panic", b"")] {
        let cluster = Cluster::of(1).await;
        let running = &cluster.nodes[&1];
        cluster.put(1, "good", "k", b"v").await;
        let before = running.node.applied_watch().borrow().index;
        let started = Instant::now();
        let _ = running.node.propose(bad, soon(3)).await;
        eventually("the fatal hook", 2, || {
            (!running.fatal.lock().is_empty()).then_some(())
        })
        .await;
        assert!(started.elapsed() < Duration::from_secs(4));
        assert_eq!(running.fatal.lock().len(), 1);
        assert_eq!(running.node.applied_watch().borrow().index, before);
        assert_eq!(running.count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_entry_over_the_limit_is_refused_and_one_at_the_limit_goes_through() {
    let cluster = Cluster::of(3).await;
    let big = vec![0u8; palisade_raft::MAX_ENTRY + 1];
    assert_eq!(
        cluster.nodes[&1].node.propose(big, soon(5)).await,
        Err(ProposeError::TooLarge(palisade_raft::MAX_ENTRY + 1))
    );
    let head = entry("r", "k", b"").len();
    let value = vec![1u8; palisade_raft::MAX_ENTRY - head];
    for via in 1..=3u64 {
        cluster.put(via, "r", "k", &value).await;
    }
    assert_eq!(cluster.nodes[&1].count(), 1);
}
