//! The [`Recordings`] port: encrypted chunks on a majority of nodes, and their way back out.
//!
//! A chunk is acknowledged once a majority of the voters has it on disk; the others get it when they can
//! ([`repair`]). Playing gathers chunks from whichever nodes have them, so that a recording outlives the node
//! that made it.

use crate::consensus::NodeConsensus;
use crate::segments::Segments;
use palisade_ca::{ClusterKey, Seal as _, SealContext};
use palisade_core::api::PlayLine;
use palisade_core::name::SessionId;
use palisade_core::ports::{ByteSource, Pending, PlayFormat, Recordings, Unavailable};
use palisade_core::record::{AnyRecord, Completeness, Kind, Record, RecordingSpec};
use palisade_core::state;
use palisade_session::recording::{CastHeader, CastWriter, Chain, DataKey, Played, event_line};
use palisade_storage::SegmentName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::sync::mpsc;

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
            let sealed = hex::decode(&row.spec.sealed_key).map_err(fault)?;
            let key = self
                .key
                .open(self.context(session).as_str(), &sealed)
                .map_err(fault)?;
            let key = DataKey::from_bytes(&key).map_err(fault)?;
            let mut found = BTreeMap::new();
            let located = self.locate(session).await?;
            for (name, node) in located.chunks {
                found.entry(name.seq()).or_insert((name, node));
            }
            let (sender, receiver) = mpsc::channel(4);
            let playing = Playing {
                recordings: self.handle(),
                row,
                key,
                found,
                silent: located.silent,
                format,
                out: sender,
            };
            // Decryption and decompression are work for a thread; it waits when the reader does.
            let waiter = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || playing.run(&waiter));
            Ok(Box::new(Received(receiver)) as Box<dyn ByteSource>)
        })
    }
}

/// What the nodes have of a session.
struct Located {
    /// Where each chunk can be had: on this node (`None`) or on another.
    chunks: BTreeMap<SegmentName, Option<u64>>,
    /// Nodes that did not answer.
    silent: BTreeSet<u64>,
}

/// A recording on its way out, on a thread of its own.
struct Playing {
    recordings: Arc<NodeRecordings>,
    row: Record<RecordingSpec>,
    key: DataKey,
    found: BTreeMap<u32, (SegmentName, Option<u64>)>,
    silent: BTreeSet<u64>,
    format: PlayFormat,
    out: mpsc::Sender<Result<Vec<u8>, Unavailable>>,
}

impl Playing {
    fn run(self, waiter: &tokio::runtime::Handle) {
        let mut chain = Chain::new((&self.row.spec.session).into(), &self.key);
        let played = match self.format {
            PlayFormat::Events => self.events(&mut chain, waiter),
            PlayFormat::Asciicast => self.asciicast(&mut chain, waiter),
        };
        if let Err(Ended::Fault(why)) = played {
            let _ = self.out.blocking_send(Err(why));
        }
    }

    /// Feeds the chunks one after another, and gives each one's events away.
    fn each(
        &self,
        chain: &mut Chain<'_>,
        waiter: &tokio::runtime::Handle,
        mut take: impl FnMut(Vec<Played>) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        for (name, node) in self.found.values() {
            let bytes = waiter
                .block_on(self.recordings.fetch(name, *node))
                .map_err(Ended::Fault)?;
            match chain.feed(&bytes) {
                Ok(events) => take(events)?,
                // Nothing after a gap is proven; the last line says where it stops.
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn send(&self, lines: Vec<u8>) -> Result<(), Ended> {
        self.out.blocking_send(Ok(lines)).map_err(|_| Ended::NobodyReads)
    }

    fn events(&self, chain: &mut Chain<'_>, waiter: &tokio::runtime::Handle) -> Result<(), Ended> {
        let mut row = self.row.spec.clone();
        row.sealed_key.clear();
        self.send(json_line(&PlayLine::Start(row))?)?;
        self.each(chain, waiter, |events| {
            let mut lines = Vec::new();
            for event in &events {
                lines.extend(json_line(&event_line(event))?);
            }
            self.send(lines)
        })?;
        self.send(json_line(&self.end(chain))?)
    }

    fn end(&self, chain: &Chain<'_>) -> PlayLine {
        let complete = chain.has_ended();
        let text = match (&self.row.spec.completeness, complete) {
            (_, true) => "complete".to_owned(),
            // The row says so only once the cluster has given the node up.
            (Completeness::Live, _) if self.silent.contains(&self.row.spec.node) => format!(
                "node {} carries the session and does not answer: this is what the other nodes have",
                self.row.spec.node
            ),
            (Completeness::Live, _) => "the session still runs".to_owned(),
            (Completeness::Interrupted(why), _) => why.clone(),
            (Completeness::Complete, _) => chain.finish().to_string(),
        };
        PlayLine::End { complete, text }
    }

    fn asciicast(&self, chain: &mut Chain<'_>, waiter: &tokio::runtime::Handle) -> Result<(), Ended> {
        let spec = &self.row.spec;
        let title = format!("{} as {} on {}", spec.user, spec.login, spec.host);
        let header = CastHeader {
            cols: 80,
            rows: 24,
            timestamp: spec.started.secs(),
            title: Some(title),
        };
        let mut writer = CastWriter::new(header);
        self.each(chain, waiter, |events| {
            let mut lines = String::new();
            for Played { event, .. } in &events {
                writer.push(&event.kind, event.at_ms, &mut lines);
            }
            self.send(lines.into_bytes())
        })?;
        let mut rest = String::new();
        writer.finish(&mut rest);
        self.send(rest.into_bytes())
    }
}

/// Why a playback stops early.
enum Ended {
    NobodyReads,
    Fault(Unavailable),
}

fn json_line(line: &PlayLine) -> Result<Vec<u8>, Ended> {
    let mut bytes = serde_json::to_vec(line).map_err(|e| Ended::Fault(fault(e)))?;
    bytes.push(b'\n');
    Ok(bytes)
}

struct Received(mpsc::Receiver<Result<Vec<u8>, Unavailable>>);

impl ByteSource for Received {
    fn next(&mut self) -> Pending<'_, Option<Result<Vec<u8>, Unavailable>>> {
        Box::pin(self.0.recv())
    }
}
