//! A cluster in one process: real TCP on loopback, real mutual TLS, real stores.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use palisade_core::kv::{Change, Kv};
use palisade_core::peer::PeerIdentity;
use palisade_raft::{
    Applied, Apply, Fault, LogPosition, NoSegments, PeerTls, RaftConfig, RaftNode, Role, SegmentBackend,
    StartError, Timing,
};
use palisade_storage::{LogOptions, LogStore, OpenError, StateOptions, StateStore};
use parking_lot::Mutex;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub const CLUSTER: &str = "test-cluster";

/// An authority for peer certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    pub fn root(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub fn tls_for_uri(&self, uri: &str) -> PeerTls {
        self.tls_until(uri, None)
    }

    /// Valid until then.
    fn tls_until(&self, uri: &str, end: Option<SystemTime>) -> PeerTls {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        if let Some(end) = end {
            params.not_after = end.into();
        }
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        PeerTls {
            cert_chain: vec![cert.der().clone()],
            key: Arc::new(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(
                key.serialize_der(),
            ))),
            authorities: vec![self.root()],
        }
    }

    pub fn tls(&self, cluster: &str, id: u64, incarnation: u64) -> PeerTls {
        self.tls_for_uri(&Self::uri(cluster, id, incarnation))
    }

    fn uri(cluster: &str, id: u64, incarnation: u64) -> String {
        let id = PeerIdentity {
            cluster_id: cluster.into(),
            node_id: id,
            incarnation,
        };
        id.to_string()
    }
}

/// Entries are `request id NUL key NUL value`; each request id is applied once. Bit 0 is raised by every change.
pub struct TestApply;

pub fn entry(request: &str, key: &str, value: &[u8]) -> Vec<u8> {
    [request.as_bytes(), b"\0", key.as_bytes(), b"\0", value].concat()
}

impl Apply for TestApply {
    fn apply(&self, kv: &dyn Kv, _at: LogPosition, entry: &[u8]) -> Result<Applied, Fault> {
        let mut parts = entry.splitn(3, |b| *b == 0);
        let (Some(request), Some(key), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Fault("unknown command version".into()));
        };
        let seen = [b"req/", request].concat();
        if kv.get(&seen).map_err(|e| Fault(e.to_string()))?.is_some() {
            return Ok(Applied {
                changes: vec![],
                reply: b"again".to_vec(),
                notify: 0,
            });
        }
        if key == b"panic" {
            panic!("asked to");
        }
        let count = kv.get(b"count").map_err(|e| Fault(e.to_string()))?;
        let count = count.map_or(0, |c| u64::from_be_bytes(c.try_into().unwrap())) + 1;
        let put = |key: Vec<u8>, value: Vec<u8>| Change::Put { key, value };
        Ok(Applied {
            changes: vec![
                put(seen, Vec::new()),
                put(b"count".to_vec(), count.to_be_bytes().to_vec()),
                // The store keeps values below 64 KiB.
                put([b"k/", key].concat(), value[..value.len().min(32 << 10)].to_vec()),
            ],
            reply: b"done".to_vec(),
            notify: 1,
        })
    }
}

/// One running node of a test.
pub struct Running {
    pub node: Arc<RaftNode>,
    pub state: StateStore,
    pub log: LogStore,
    pub fatal: Arc<Mutex<Vec<String>>>,
}

impl Running {
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.state.get(format!("k/{key}").as_bytes()).unwrap()
    }

    pub fn count(&self) -> u64 {
        self.state
            .get(b"count")
            .unwrap()
            .map_or(0, |c| u64::from_be_bytes(c.try_into().unwrap()))
    }
}

pub struct Cluster {
    pub authority: Authority,
    pub dir: tempfile::TempDir,
    pub nodes: BTreeMap<u64, Running>,
    pub addrs: BTreeMap<u64, SocketAddr>,
    pub timing: Timing,
    pub snapshot_every: u64,
    pub keep_logs: u64,
    pub tombstones: Arc<Mutex<Vec<u64>>>,
    /// When the certificates of nodes that are started end; `None`: not soon.
    pub certificates_end: Option<SystemTime>,
}

pub fn soon(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// Waits until something holds, for so many seconds at most.
pub async fn eventually<T>(what: &str, seconds: u64, mut check: impl FnMut() -> Option<T>) -> T {
    let end = soon(seconds);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < end, "not within {seconds} s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Cluster {
    pub fn empty() -> Self {
        Self {
            authority: Authority::new(),
            dir: tempfile::tempdir().unwrap(),
            nodes: BTreeMap::new(),
            addrs: BTreeMap::new(),
            timing: Timing::default(),
            snapshot_every: 20_000,
            keep_logs: 5_000,
            tombstones: Arc::default(),
            certificates_end: None,
        }
    }

    /// A cluster of `n` voters.
    pub async fn of(n: u64) -> Self {
        let mut cluster = Self::empty();
        cluster.grow(n).await;
        cluster
    }

    pub async fn grow(&mut self, n: u64) {
        self.start(1).await;
        self.nodes[&1].node.bootstrap().await.unwrap();
        for id in 2..=n {
            self.start(id).await;
            self.join(id).await;
        }
        self.settled(n as usize).await;
    }

    pub async fn join(&self, id: u64) {
        let founder = &self.nodes[&1].node;
        let addr = self.addrs[&id].to_string();
        founder
            .add_learner(id, &addr, &incarnation(id).to_string(), soon(20))
            .await
            .unwrap();
        founder.promote(id, soon(20)).await.unwrap();
    }

    /// Waits until all running nodes know `voters` voters and one leader.
    pub async fn settled(&self, voters: usize) {
        eventually("one leader known to all", 20, || {
            let statuses: Vec<_> = self.nodes.values().map(|n| n.node.status()).collect();
            let leader = statuses.first()?.leader?;
            statuses
                .iter()
                .all(|s| s.leader == Some(leader) && s.voters().len() == voters && !s.joint)
                .then_some(())
        })
        .await;
    }

    pub fn node_dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("node-{id}"))
    }

    pub fn config(&self, id: u64, fatal: &Arc<Mutex<Vec<String>>>) -> RaftConfig {
        let listen = self
            .addrs
            .get(&id)
            .copied()
            .unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let mut cfg = RaftConfig::new(CLUSTER, id, incarnation(id), listen);
        cfg.timing = self.timing;
        cfg.snapshot_every = self.snapshot_every;
        cfg.keep_logs = self.keep_logs;
        cfg.promote_after = Duration::from_millis(100);
        let (fatal, tombstones) = (Arc::clone(fatal), Arc::clone(&self.tombstones));
        cfg.fatal = Arc::new(move |why| fatal.lock().push(why.to_owned()));
        cfg.is_tombstoned = Arc::new(move |id| tombstones.lock().contains(&id));
        cfg
    }

    pub async fn start(&mut self, id: u64) {
        self.start_with(id, Arc::new(NoSegments)).await.unwrap();
    }

    pub async fn start_with(&mut self, id: u64, segments: Arc<dyn SegmentBackend>) -> Result<(), StartError> {
        let fatal = Arc::default();
        let cfg = self.config(id, &fatal);
        let (log, state) = open_stores(&self.node_dir(id)).await;
        let uri = Authority::uri(CLUSTER, id, incarnation(id));
        let tls = self.authority.tls_until(&uri, self.certificates_end);
        let node = RaftNode::start(
            cfg,
            tls,
            log.clone(),
            state.clone(),
            Arc::new(TestApply),
            segments,
        )
        .await?;
        self.addrs.insert(id, node.local_addr());
        self.nodes.insert(
            id,
            Running {
                node: Arc::new(node),
                state,
                log,
                fatal,
            },
        );
        Ok(())
    }

    /// Stops a node without a word to the others.
    pub async fn kill(&mut self, id: u64) {
        let running = self.nodes.remove(&id).unwrap();
        running.node.shutdown().await;
    }

    pub async fn leader(&self) -> u64 {
        eventually("a leader", 20, || {
            self.nodes
                .iter()
                .find(|(_, n)| n.node.status().role == Role::Leader)
                .map(|(id, _)| *id)
        })
        .await
    }

    pub async fn put(&self, via: u64, request: &str, key: &str, value: &[u8]) {
        self.nodes[&via]
            .node
            .propose(entry(request, key, value), soon(15))
            .await
            .unwrap();
    }
}

pub fn incarnation(id: u64) -> u64 {
    100 + id
}

include!("stores.rs");
