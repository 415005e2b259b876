//! A member whose data directory was put back from an old copy, identity and all: it must never vote, and nothing
//! acknowledged may be lost by it.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{Cluster, eventually, soon};
use palisade_raft::Role;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Cluster {
    /// Remembers a running node's directory as it is; nothing may be written meanwhile.
    fn photograph(&self, id: u64) {
        self.nodes[&id].state.sync().unwrap();
        copy(&self.node_dir(id), &self.photo(id));
    }

    fn photo(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("copy-{id}"))
    }

    /// Puts the remembered directory in the place of a stopped node's.
    fn put_back(&self, id: u64) {
        std::fs::remove_dir_all(self.node_dir(id)).unwrap();
        copy(&self.photo(id), &self.node_dir(id));
    }

    async fn fenced(&self, id: u64) {
        let running = &self.nodes[&id];
        let why = eventually("the old copy is noticed", 10, || {
            running.fatal.lock().first().cloned()
        })
        .await;
        assert!(
            why.contains("old copy") && why.contains("palisade repair"),
            "{why}"
        );
        assert_ne!(running.node.status().role, Role::Leader);
    }

    async fn put_many(&self, via: u64, what: &str, count: u64) {
        for n in 0..count {
            self.put(via, &format!("{what}{n}"), &format!("{what}{n}"), b"v")
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_old_copy_of_a_follower_stops_when_the_leader_speaks_to_it() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let old = (1..=3u64).find(|id| *id != leader).unwrap();
    cluster.photograph(old);
    cluster.put_many(leader, "k", 30).await;
    cluster.nodes[&old].node.read_barrier(soon(5)).await.unwrap();
    cluster.kill(old).await;
    cluster.put_back(old);
    cluster.start(old).await;
    cluster.fenced(old).await;
    // The others have lost nothing by it and go on.
    cluster.kill(old).await;
    cluster.put(leader, "after", "after", b"v").await;
    for running in cluster.nodes.values() {
        running.node.read_barrier(soon(5)).await.unwrap();
        assert_eq!(running.count(), 31);
        assert!(running.fatal.lock().is_empty(), "{:?}", running.fatal.lock());
    }
}

/// The worst case that leaves a quorum of honest disks: the copy is of the leader, within its own term, a third node
/// lags so far that it would vote for anybody, and all are restarted at once, so that nobody leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_old_copy_of_the_leader_is_not_elected_by_one_that_lags() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    cluster.photograph(leader);
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    let (full, lagging) = (others[0], others[1]);
    cluster.kill(lagging).await;
    cluster.put_many(leader, "k", 30).await;
    cluster.kill(leader).await;
    cluster.kill(full).await;
    cluster.put_back(leader);
    cluster.start(full).await;
    cluster.start(leader).await;
    cluster.fenced(leader).await;
    cluster.start(lagging).await;
    cluster.kill(leader).await;
    cluster.put(lagging, "after", "after", b"v").await;
    for running in cluster.nodes.values() {
        running.node.read_barrier(soon(5)).await.unwrap();
        assert_eq!(running.count(), 31, "an acknowledged entry was lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_old_copy_that_no_leader_remembers_does_not_vote_twice() {
    let mut cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    cluster.photograph(old);
    // It votes, or is voted for, in newer terms; its log does not grow by anything else.
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.nodes[&leader]
            .node
            .transfer_leader(None, soon(10))
            .await
            .unwrap();
        cluster.settled(3).await;
    }
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    cluster.put_back(old);
    for id in 1..=3 {
        cluster.start(id).await;
    }
    cluster.fenced(old).await;
    cluster.kill(old).await;
    let via = *cluster.nodes.keys().next().unwrap();
    cluster.put(via, "after", "after", b"v").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_that_has_forgotten_nothing_is_welcome() {
    let mut cluster = Cluster::of(3).await;
    cluster.put_many(1, "k", 10).await;
    for id in 1..=3 {
        cluster.kill(id).await;
        copy(&cluster.node_dir(id), &cluster.photo(id));
    }
    for id in 1..=3 {
        cluster.put_back(id);
        cluster.start(id).await;
    }
    cluster.settled(3).await;
    for id in 1..=3 {
        cluster.put(id, &format!("after{id}"), "after", b"v").await;
        assert!(cluster.nodes[&id].fatal.lock().is_empty());
    }
}
