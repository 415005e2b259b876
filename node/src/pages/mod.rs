//! Audit pages on real nodes: the [`AuditPages`] port, how the leader seals a page, and how every node comes to hold
//! all of them.
//!
//! A page is sealed in an order that may break off anywhere: its file goes to a majority, is read back, and only then
//! its manifest is proposed. A file whose manifest never came is no part of the log, and is removed once another page
//! has taken its place.

pub mod format;

use crate::consensus::NodeConsensus;
use crate::segments::{Segments, sha256};
use bytes::Bytes;
use format::PageFault;
use palisade_ca::{ClusterKey, Seal as _, SealContext};
use palisade_core::command::{Command, Sealed, SealedPage};
use palisade_core::name::ClusterId;
use palisade_core::page::{PAGE_EVENTS_MAX, PageEvents, PageManifest};
use palisade_core::ports::{AuditPages, Consensus as _, PageLost, Unavailable};
use palisade_core::state;
use palisade_session::recording::DataKey;
use palisade_storage::{AUDIT_PAGES, SegmentError, SegmentName};
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Pages kept open: a search goes on where its last page ended.
const OPEN_PAGES: usize = 8;
/// Bytes of events that they may take together.
const OPEN_BYTES: usize = 8 << 20;
/// Pages that one step of repair reads again, to find what has rotted.
const SCRUB_AT_ONCE: usize = 8;
/// Manifests looked at in one go.
const MANIFESTS: usize = 256;
/// So many pages that cannot be had end a step: the others are most likely not there either.
const GIVE_UP_AFTER: u64 = 3;

/// The port.
pub struct NodePages {
    consensus: Arc<NodeConsensus>,
    segments: Arc<Segments>,
    key: Arc<ClusterKey>,
    cluster: ClusterId,
    runtime: tokio::runtime::Handle,
    open: Mutex<VecDeque<(String, Arc<PageEvents>)>>,
    /// All pages that begin before it were seen on this node's disk.
    present: AtomicU64,
    /// Where reading again goes on.
    scrub: AtomicU64,
    missing: AtomicU64,
    /// What could not be shipped or proposed yet. The next try is with the same file, so that tries leave no more than
    /// one behind.
    cut: Mutex<Option<Cut>>,
    this: Weak<NodePages>,
}

/// What a step of repair did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Repaired {
    /// Pages that were fetched.
    pub fetched: u64,
    /// Pages that this node lacks, or has damaged, still.
    pub missing: u64,
    /// Files removed that belong to no page.
    pub removed: u64,
}

/// A page ready to be shipped.
#[derive(Clone)]
struct Cut {
    file: Bytes,
    sealed: SealedPage,
}

fn fault(error: impl std::fmt::Display) -> Unavailable {
    Unavailable::Fault(error.to_string())
}

impl NodePages {
    /// On the node's segments. Must be called in the runtime that later fetches pages.
    pub fn new(
        consensus: Arc<NodeConsensus>,
        segments: Arc<Segments>,
        key: Arc<ClusterKey>,
        cluster: ClusterId,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| NodePages {
            consensus,
            segments,
            key,
            cluster,
            runtime: tokio::runtime::Handle::current(),
            open: Mutex::new(VecDeque::new()),
            present: AtomicU64::new(0),
            scrub: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            cut: Mutex::new(None),
            this: this.clone(),
        })
    }

    /// Runs what blocks on the disk on a thread that may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&NodePages) -> Result<T, Unavailable> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let this = self.this.upgrade().expect("somebody holds what is being called");
        tokio::task::spawn_blocking(move || work(&this))
            .await
            .map_err(fault)?
    }

    /// How many pages this node lacks, as of the last repair.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    fn context(&self, first: u64) -> SealContext {
        SealContext::new(self.cluster.as_str(), &format!("audit-page/{first}"), 1)
    }

    fn read(&self, page: &PageManifest, file: &[u8]) -> Result<PageEvents, String> {
        let key = self
            .key
            .open(self.context(page.first).as_str(), &page.sealed_key.0)
            .map_err(|e| format!("its key does not open: {e}"))?;
        let key = DataKey::from_bytes(&key).map_err(|e| e.to_string())?;
        format::read(&self.cluster, page, &key, file).map_err(|e: PageFault| e.to_string())
    }

    fn read_own(&self, page: &PageManifest, name: &SegmentName) -> Result<PageEvents, String> {
        let file = self.segments.store().get(name).map_err(|e| match e {
            SegmentError::NotFound(_) => "no such segment".to_owned(),
            e => e.to_string(),
        })?;
        self.read(page, &file)
    }

    /// Fetches a page that this node lacks or has damaged, and keeps it if the disk takes it: whether it did comes along.
    async fn fetch(&self, page: &PageManifest, name: &SegmentName) -> Result<(PageEvents, bool), String> {
        let file = self.segments.fetch(name).await?;
        let events = self.read(page, &file)?;
        let place = name.clone();
        let stored = self.blocking(move |this| this.segments.store().replace(&place, &file).map_err(fault));
        let stored = stored.await;
        if let Err(error) = &stored {
            tracing::warn!(%page, %error, "a fetched audit page could not be kept");
        }
        Ok((events, stored.is_ok()))
    }

    fn remember(&self, hash: &str, events: &Arc<PageEvents>) {
        let mut open = self.open.lock();
        open.push_back((hash.to_owned(), events.clone()));
        while open.len() > OPEN_PAGES || open.iter().map(|(_, page)| page.bytes()).sum::<usize>() > OPEN_BYTES
        {
            open.pop_front();
        }
    }

    // The leader.

    /// Seals pages until at most `recent` events are in the state. Answers how many.
    pub async fn seal(&self, recent: u64) -> Result<u32, Unavailable> {
        let mut sealed = 0;
        while self.unsealed()? > recent {
            // A page that was sealed already would be refused, after its file had gone round.
            self.consensus.barrier().await?;
            let Some(cut) = self.blocking(move |this| this.cut(recent)).await? else {
                break;
            };
            self.segments
                .ship(AUDIT_PAGES, cut.sealed.number, cut.file, "audit page")
                .await?;
            let command = Command::SealAuditPage { page: cut.sealed };
            let reply = self.consensus.propose_own(command).await?;
            *self.cut.lock() = None;
            reply.done().map_err(fault)?;
            sealed += 1;
        }
        Ok(sealed)
    }

    /// How many events are on no page.
    fn unsealed(&self) -> Result<u64, Unavailable> {
        let kv = self.consensus.store();
        let sealed = state::sealed_until(kv).map_err(fault)?;
        Ok(state::audit_frontier(kv)
            .map_err(fault)?
            .size()
            .saturating_sub(sealed))
    }

    /// The next page, on this node's disk and read back from there; none if there are few events.
    fn cut(&self, recent: u64) -> Result<Option<Cut>, Unavailable> {
        if self.unsealed()? <= recent {
            return Ok(None);
        }
        let next = state::next_page(self.consensus.store(), page_size(recent)).map_err(fault)?;
        let Some((number, page)) = next else {
            return Ok(None);
        };
        let mut kept = self.cut.lock();
        if kept.as_ref().is_some_and(|cut| cut.sealed.number == number) {
            return Ok(kept.clone());
        }
        let key = DataKey::generate().map_err(fault)?;
        let sealed_key = self
            .key
            .seal(self.context(page.first).as_str(), key.expose())
            .map_err(fault)?;
        let file = format::write(&self.cluster, &page, &key).map_err(fault)?;
        let manifest = PageManifest {
            number,
            first: page.first,
            count: page.events.len() as u32,
            root: hex::encode(page.root()),
            file_sha256: hex::encode(sha256(&file)),
            sealed_key: Sealed(sealed_key),
            summary: page.summary().map_err(fault)?,
        };
        let name = self
            .segments
            .store()
            .put(AUDIT_PAGES, manifest.number, &file)
            .map_err(fault)?;
        // What cannot be read back must not replace what is in the state.
        self.read_own(&manifest, &name).map_err(fault)?;
        *kept = Some(Cut {
            file: file.into(),
            sealed: SealedPage {
                number,
                first: manifest.first,
                count: manifest.count,
                root: manifest.root,
                file_sha256: manifest.file_sha256,
                sealed_key: manifest.sealed_key,
            },
        });
        Ok(kept.clone())
    }

    // Every node.

    /// Fetches pages that this node lacks, reads some again, and removes files that belong to no page.
    pub async fn repair(&self) -> Result<Repaired, Unavailable> {
        let (missing, lacking) = self.blocking(NodePages::lacking).await?;
        let rotten = self.blocking(NodePages::rotten).await?;
        let mut done = Repaired {
            missing: missing + rotten.len() as u64,
            ..Repaired::default()
        };
        let mut failed = 0;
        for page in lacking.into_iter().chain(rotten) {
            match self.fetch(&page, &name_of(&page)?).await {
                Ok((_, true)) => {
                    done.fetched += 1;
                    done.missing -= 1;
                }
                // The disk is full: that one was not kept, nor will the next be.
                Ok((_, false)) => failed = GIVE_UP_AFTER,
                Err(why) => {
                    tracing::warn!(%page, why, "an audit page is not on this node, and no other could hand it out");
                    failed += 1;
                }
            }
            if failed == GIVE_UP_AFTER {
                break;
            }
        }
        self.missing.store(done.missing, Ordering::Relaxed);
        done.removed = self.blocking(NodePages::remove_strays).await?;
        Ok(done)
    }

    /// How many pages are not on this node's disk, and the first of them.
    fn lacking(&self) -> Result<(u64, Vec<PageManifest>), Unavailable> {
        let kv = self.consensus.store();
        let (mut from, mut count, mut lacking) = (self.present.load(Ordering::Relaxed), 0, Vec::new());
        loop {
            let pages = state::pages_from(kv, from, MANIFESTS).map_err(fault)?;
            let Some(last) = pages.last() else {
                return Ok((count, lacking));
            };
            from = last.end();
            for page in pages {
                if self.segments.store().has(&name_of(&page)?) {
                    if count == 0 {
                        self.present.store(page.end(), Ordering::Relaxed);
                    }
                    continue;
                }
                count += 1;
                if lacking.len() < MANIFESTS {
                    lacking.push(page);
                }
            }
        }
    }

    /// Reads the next few pages again; answers those whose files are gone or damaged.
    fn rotten(&self) -> Result<Vec<PageManifest>, Unavailable> {
        let (from, until) = (
            self.scrub.load(Ordering::Relaxed),
            self.present.load(Ordering::Relaxed),
        );
        let mut pages = state::pages_from(self.consensus.store(), from, SCRUB_AT_ONCE).map_err(fault)?;
        pages.retain(|page| page.first < until);
        self.scrub
            .store(pages.last().map_or(0, PageManifest::end), Ordering::Relaxed);
        let mut rotten = Vec::new();
        for page in pages {
            if let Err(error) = self.segments.store().get(&name_of(&page)?) {
                tracing::warn!(%page, %error, "an audit page on this node is damaged");
                rotten.push(page);
            }
        }
        Ok(rotten)
    }

    /// Removes files whose place was taken by another page. One whose place is free may be on its way.
    fn remove_strays(&self) -> Result<u64, Unavailable> {
        let kv = self.consensus.store();
        let store = self.segments.store();
        let held = store.list(AUDIT_PAGES).map_err(fault)?;
        let settled = state::last_page(kv)
            .map_err(fault)?
            .map_or(0, |page| u64::from(page.number) + 1);
        if held.len() as u64 + self.missing() <= settled {
            return Ok(0);
        }
        let (mut known, mut from) = (HashSet::new(), 0);
        loop {
            let pages = state::pages_from(kv, from, MANIFESTS).map_err(fault)?;
            let Some(last) = pages.last() else { break };
            from = last.end();
            known.extend(pages.into_iter().map(|page| page.file_sha256));
        }
        let mut removed = 0;
        for name in held {
            if u64::from(name.seq()) < settled && !known.contains(&hex::encode(name.hash())) {
                store.remove(&name).map_err(fault)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl AuditPages for NodePages {
    fn open(&self, page: &PageManifest) -> Result<Arc<PageEvents>, PageLost> {
        let known = self
            .open
            .lock()
            .iter()
            .find(|(hash, _)| *hash == page.file_sha256)
            .cloned();
        if let Some((_, events)) = known {
            return Ok(events);
        }
        let name = name_of(page).map_err(|e| PageLost(e.to_string()))?;
        let events = self.read_own(page, &name).or_else(|here| {
            let fetched = self.runtime.block_on(self.fetch(page, &name));
            fetched
                .map(|(events, _)| events)
                .map_err(|there| PageLost(format!("this node: {here}; {there}")))
        })?;
        let events = Arc::new(events);
        self.remember(&page.file_sha256, &events);
        Ok(events)
    }
}

/// The name of a page's file.
fn name_of(page: &PageManifest) -> Result<SegmentName, Unavailable> {
    let hash = hex::decode(&page.file_sha256)
        .ok()
        .and_then(|hash| hash.try_into().ok());
    let hash = hash.ok_or_else(|| fault(format!("{page}: its manifest names no file")))?;
    SegmentName::new(AUDIT_PAGES, page.number, hash).map_err(fault)
}

/// How many events a page may hold, so that sealing one leaves most of the recent ones in the state.
fn page_size(recent: u64) -> u64 {
    (1 << (recent / 4).max(1).ilog2()).min(PAGE_EVENTS_MAX)
}
