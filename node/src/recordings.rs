//! The [`Recordings`] port: encrypted chunks on a majority of nodes, and their way back out.
//!
//! A chunk is acknowledged once a majority of the voters has it on disk; the others get it when they can
//! ([`NodeRecordings::repair`]). Playing gathers chunks from whichever nodes have them, so that a recording outlives the node
//! that made it.

use crate::consensus::NodeConsensus;
use crate::segments::Segments;
use palisade_ca::{ClusterKey, Seal as _, SealContext};
use palisade_core::access::RulePermit;
use palisade_core::name::SessionId;
use palisade_core::ports::{
    ByteSource, Pending, PlayFormat, Recordings, SearchOrder, SearchedPart, Unavailable,
};
use palisade_core::record::{AnyRecord, Completeness, Grant, Kind, Record, RecordingSpec, Verb};
use palisade_core::state;
use palisade_session::recording::{DataKey, Masks};
use palisade_storage::SegmentName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::sync::mpsc;

mod playing;
mod searching;

/// The port.
pub struct NodeRecordings {
    consensus: Arc<NodeConsensus>,
    segments: Arc<Segments>,
    key: Arc<ClusterKey>,
    cluster_id: String,
    missing: AtomicU64,
    this: Weak<NodeRecordings>,
}

impl NodeRecordings {
    /// On the node's segment store.
    pub fn new(
        consensus: Arc<NodeConsensus>,
        segments: Arc<Segments>,
        key: Arc<ClusterKey>,
        cluster_id: &str,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| NodeRecordings {
            consensus,
            segments,
            key,
            cluster_id: cluster_id.to_owned(),
            missing: AtomicU64::new(0),
            this: this.clone(),
        })
    }

    fn handle(&self) -> Arc<NodeRecordings> {
        self.this.upgrade().expect("somebody holds what is being called")
    }

    fn context(&self, session: &SessionId) -> SealContext {
        SealContext::new(&self.cluster_id, &format!("recording/{session}"), 1)
    }

    fn row(&self, session: &SessionId) -> Result<Record<RecordingSpec>, Unavailable> {
        let found = state::any_record(self.consensus.store(), Kind::Recording, session.as_str());
        match found.map_err(fault)? {
            Some(AnyRecord::Recording(row)) => Ok(row),
            _ => Err(Unavailable::Fault(format!(
                "there is no recording of session {session}"
            ))),
        }
    }

    /// Looks for a session's chunks on every node.
    async fn locate(&self, session: &SessionId) -> Result<Located, Unavailable> {
        let local = self.segments.store().list(session.as_str()).map_err(fault)?;
        let (held, silent) = self.segments.held_by_others(session.as_str()).await;
        let mut located = Located {
            chunks: local.into_iter().map(|name| (name, None)).collect(),
            silent,
        };
        for (node, names) in held {
            for name in names {
                located.chunks.entry(name).or_insert(Some(node));
            }
        }
        Ok(located)
    }

    /// The chunks of a session, each once, by number: on this node if it has all of them, else on any. Also which nodes did
    /// not answer.
    async fn chunks(&self, row: &RecordingSpec) -> Result<(Chunks, BTreeSet<u64>), Unavailable> {
        let session = row.session.as_str();
        let held = self.segments.store().list(session).map_err(fault)?;
        let mut found = Chunks::new();
        if row.completeness != Completeness::Live && row.chunks > 0 {
            for name in held {
                found.entry(name.seq()).or_insert((name, None));
            }
            if found.keys().copied().eq(0..row.chunks) {
                return Ok((found, BTreeSet::new()));
            }
        }
        let located = self.locate(&row.session).await?;
        found.clear();
        for (name, node) in located.chunks {
            found.entry(name.seq()).or_insert((name, node));
        }
        Ok((found, located.silent))
    }

    /// A session's data key.
    fn data_key(&self, row: &RecordingSpec) -> Result<DataKey, Unavailable> {
        let sealed = hex::decode(&row.sealed_key).map_err(fault)?;
        let context = self.context(&row.session);
        let key = self.key.open(context.as_str(), &sealed).map_err(fault)?;
        DataKey::from_bytes(&key).map_err(fault)
    }

    /// What the cluster's rules mask in copies that leave it, as they are now.
    fn masks(&self) -> Result<Masks, Unavailable> {
        let config = state::recording_config(self.consensus.store()).map_err(fault)?;
        Masks::new(&config.redact).map_err(fault)
    }

    async fn fetch(&self, name: &SegmentName, node: Option<u64>) -> Result<Vec<u8>, Unavailable> {
        match node {
            None => self.segments.store().get(name).map_err(fault),
            Some(node) => self.segments.fetch_from(node, name).await,
        }
    }

    /// The chunks of a session that form an unbroken row from the first on, with the hash of the last: what can be
    /// played after its node died.
    pub async fn gathered(&self, session: &SessionId) -> Result<(u32, String), Unavailable> {
        let found = self.locate(session).await?.chunks;
        let (mut next, mut last) = (0u32, String::new());
        for name in found.keys() {
            if name.seq() == next {
                next += 1;
                last = hex::encode(name.hash());
            }
        }
        Ok((next, last))
    }

    /// How many chunks this node lacks, as of the last repair.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Fetches chunks that this node lacks and others have. Answers how many.
    pub async fn repair(&self) -> Result<u32, Unavailable> {
        let mut missing = 0;
        let repaired = self.repair_rows(&mut missing).await;
        self.missing.store(missing, Ordering::Relaxed);
        repaired
    }

    async fn repair_rows(&self, missing: &mut u64) -> Result<u32, Unavailable> {
        let mut fetched = 0;
        let mut after: Option<String> = None;
        loop {
            let rows = state::any_records(self.consensus.store(), Kind::Recording, after.as_deref(), 256)
                .map_err(fault)?;
            let Some(last) = rows.last() else {
                return Ok(fetched);
            };
            after = Some(last.metadata().name.to_string());
            for row in rows {
                let AnyRecord::Recording(row) = row else { continue };
                let held = self
                    .segments
                    .store()
                    .list(row.spec.session.as_str())
                    .map_err(fault)?
                    .len();
                // A live session's newest chunks are still on their way: its node sends them to everybody.
                if row.spec.completeness == Completeness::Live || held >= row.spec.chunks as usize {
                    continue;
                }
                *missing += u64::from(row.spec.chunks) - held as u64;
                for (name, node) in self.locate(&row.spec.session).await?.chunks {
                    let Some(node) = node else { continue };
                    let bytes = self.fetch(&name, Some(node)).await?;
                    let stored = self
                        .segments
                        .store()
                        .put(name.session(), name.seq(), &bytes)
                        .map_err(fault)?;
                    if stored == name {
                        fetched += 1;
                        *missing = missing.saturating_sub(1);
                    }
                }
            }
        }
    }
}

fn fault(error: impl std::fmt::Display) -> Unavailable {
    Unavailable::Fault(error.to_string())
}

impl Recordings for NodeRecordings {
    fn seal_key(&self, session: &SessionId, key: &[u8]) -> Result<Vec<u8>, Unavailable> {
        self.key.seal(self.context(session).as_str(), key).map_err(fault)
    }

    fn ship<'a>(
        &'a self,
        session: &'a SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Pending<'a, Result<(), Unavailable>> {
        Box::pin(async move {
            let began = Instant::now();
            let shipped = self
                .segments
                .ship(session.as_str(), seq, bytes.into(), "recording")
                .await;
            self.consensus.meter().shipped(began.elapsed(), shipped.is_ok());
            shipped
        })
    }

    fn play<'a>(
        &'a self,
        session: &'a SessionId,
        format: PlayFormat,
    ) -> Pending<'a, Result<Box<dyn ByteSource>, Unavailable>> {
        Box::pin(async move {
            let row = self.row(session)?;
            let key = self.data_key(&row.spec)?;
            let masks = match format {
                // Inside the cluster a recording is played as it was.
                PlayFormat::Events => Masks::default(),
                PlayFormat::Asciicast | PlayFormat::Shared => self.masks()?,
            };
            let (found, silent) = self.chunks(&row.spec).await?;
            let (sender, receiver) = mpsc::channel(4);
            let playing = playing::Playing {
                recordings: self.handle(),
                row,
                key,
                found,
                silent,
                format,
                masks,
                out: sender,
            };
            // Decryption and decompression are work for a thread; it waits when the reader does.
            let waiter = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || playing.run(&waiter));
            Ok(Box::new(Received(receiver)) as Box<dyn ByteSource>)
        })
    }

    fn search<'a>(
        &'a self,
        permit: &'a RulePermit,
        order: SearchOrder,
    ) -> Pending<'a, Result<SearchedPart, Unavailable>> {
        Box::pin(async move {
            if (permit.verb(), permit.resource()) != (Verb::Read, Grant::Recording) {
                return Err(Unavailable::Fault("a search needs the permit to read".into()));
            }
            let row = self.row(&order.session)?.spec;
            let key = self.data_key(&row)?;
            let (found, _) = self.chunks(&row).await?;
            let searching = searching::Searching {
                recordings: self.handle(),
                row,
                key,
                found,
                order,
            };
            let waiter = tokio::runtime::Handle::current();
            let searched = tokio::task::spawn_blocking(move || searching.run(&waiter));
            searched.await.map_err(fault)?
        })
    }

    fn masked(&self, text: &str) -> Result<String, Unavailable> {
        Ok(self.masks()?.text(text))
    }
}

/// The chunks of a session by number, and on which other node each is, if it is not on this one.
type Chunks = BTreeMap<u32, (SegmentName, Option<u64>)>;

/// What the nodes have of a session.
struct Located {
    /// Where each chunk can be had: on this node (`None`) or on another.
    chunks: BTreeMap<SegmentName, Option<u64>>,
    /// Nodes that did not answer.
    silent: BTreeSet<u64>,
}

struct Received(mpsc::Receiver<Result<Vec<u8>, Unavailable>>);

impl ByteSource for Received {
    fn next(&mut self) -> Pending<'_, Option<Result<Vec<u8>, Unavailable>>> {
        Box::pin(self.0.recv())
    }
}
