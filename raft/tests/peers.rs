//! What nodes do for one another beside Raft: segments and calls.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::Cluster;
use futures::FutureExt as _;
use palisade_raft::{PeerError, SegmentBackend, SegmentFault};
use parking_lot::Mutex;

#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, Bytes>>);

impl SegmentBackend for Memory {
    fn put(&self, session: &str, seq: u64, data: Bytes) -> Result<String, SegmentFault> {
        if session.contains('/') {
            return Err(SegmentFault::Refused("bad session".into()));
        }
        let name = format!("{session}-{seq}");
        self.0.lock().insert(name.clone(), data);
        Ok(name)
    }

    fn get(&self, name: &str) -> Result<Bytes, SegmentFault> {
        self.0.lock().get(name).cloned().ok_or(SegmentFault::Missing)
    }

    fn list(&self, session: &str) -> Result<Vec<String>, SegmentFault> {
        Ok(self
            .0
            .lock()
            .keys()
            .filter(|name| name.starts_with(session))
            .cloned()
            .collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn segments_and_calls_reach_the_other_nodes() {
    let limit = Duration::from_secs(5);
    let mut cluster = Cluster::empty();
    cluster.start(1).await;
    cluster.nodes[&1].node.bootstrap().await.unwrap();
    cluster.start_with(2, Arc::new(Memory::default())).await.unwrap();
    cluster.join(2).await;
    cluster.settled(2).await;
    let peers = cluster.nodes[&1].node.peers();
    assert_eq!(peers.others(), vec![2]);

    let data = Bytes::from(vec![9u8; 3_000_000]);
    let name = peers
        .segment_put(2, "session", 4, data.clone(), limit)
        .await
        .unwrap();
    assert_eq!(peers.segment_get(2, &name, limit).await.unwrap(), data);
    assert_eq!(peers.segment_list(2, "session", limit).await.unwrap(), vec![name]);
    let missing = peers.segment_get(2, "none", limit).await;
    assert!(matches!(missing, Err(PeerError::Refused { .. })), "{missing:?}");
    let refused = peers.segment_put(2, "../x", 1, data, limit).await;
    assert!(matches!(refused, Err(PeerError::Refused { .. })), "{refused:?}");

    cluster.nodes[&2].node.on_call("live", |from, body| {
        async move { Ok(Bytes::from(format!("{from}:{}", body.len()))) }.boxed()
    });
    let answer = peers
        .call(2, "live", Bytes::from_static(b"abc"), limit)
        .await
        .unwrap();
    assert_eq!(answer, "1:3");
    assert!(peers.call(2, "other", Bytes::new(), limit).await.is_err());
    assert!(matches!(
        peers.call(9, "live", Bytes::new(), limit).await,
        Err(PeerError::Unknown(9))
    ));

    let (id, addr) = (2, cluster.addrs[&2]);
    cluster.kill(id).await;
    let gone = cluster.nodes[&1]
        .node
        .peers()
        .call(id, "live", Bytes::new(), limit)
        .await;
    assert!(
        matches!(
            gone,
            Err(PeerError::Unreachable { .. } | PeerError::Refused { .. })
        ),
        "{gone:?} {addr}"
    );
}
