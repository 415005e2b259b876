//! A cluster writes, reads, fails over and changes its members.

mod common;

use common::{Cluster, entry, eventually, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_on_any_node_is_read_on_every_node() {
    let cluster = Cluster::of(3).await;
    for via in 1..=3u64 {
        cluster.put(via, &format!("r{via}"), &format!("key{via}"), b"value").await;
    }
    for running in cluster.nodes.values() {
        running.node.read_barrier(soon(5)).await.unwrap();
        for via in 1..=3u64 {
            assert_eq!(running.value(&format!("key{via}")).as_deref(), Some(&b"value"[..]));
        }
        let lease = running.node.lease().unwrap();
        assert!(lease.age_ms < 1000, "{lease:?}");
    }
}
