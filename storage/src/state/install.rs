//! Replacing the whole state: from a received snapshot, or by itself to give space back. The new database is built
//! beside the old one, and only a switch of the pointer, after all of it is durable, makes it count.

use std::{
    io::{BufReader, Seek, SeekFrom},
    path::Path,
};

use parking_lot::RwLockUpgradableReadGuard;

use super::{
    APPLIED, Inner, Live, MEMBERSHIP, StateStore,
    format::{self, Header},
    snapshot::{IncomingSnapshot, SnapshotError, SnapshotFile},
    value::{self, DATA, META},
};
use crate::{
    engine::{Batch, Engine},
    error::WriteError,
    files,
    log::compaction_needed,
};

/// Pairs imported in one batch.
const STEP: u64 = 128;

impl StateStore {
    /// Replaces the state by a received snapshot. Everything is verified before anything is changed; until the
    /// switch at the end a failure or power cut leaves the old state in force. The file becomes the current snapshot.
    pub fn install_snapshot(&self, mut incoming: IncomingSnapshot) -> Result<SnapshotFile, SnapshotError> {
        let inner = &self.inner;
        let _alone = inner.maintenance.lock();
        inner.check()?;
        incoming.file.sync_all()?;
        let header = incoming.verified_header()?;
        let len = incoming.file.metadata()?.len();
        let reserve = inner.opts.reserve.saturating_add(len.saturating_mul(4));
        let free = inner.opts.free_space.at(&inner.data_dir);
        if free < reserve {
            return Err(WriteError::NoSpace { free, reserve }.into());
        }
        let number = inner.live.read().number + 1;
        incoming.file.seek(SeekFrom::Start(0))?;
        let (engine, seq) = inner.build(number, &header, |put| {
            format::read_all::<SnapshotError>(BufReader::new(&incoming.file), |key, value| {
                Ok(put(&key, &value)?)
            })?;
            Ok(())
        })?;
        let new = Live::new(engine, number, seq)?;
        // A sync that is under way must not find the files of the old database gone: that would stop the node.
        let _no_sync = inner.syncing.lock();
        inner.switch(number)?;
        *inner.live.write() = new;
        inner.remove_others(number);
        inner.adopt(&incoming.path)
    }

    /// Rewrites the state into a new database if it takes more than six times (and 32 MiB above) what it holds.
    /// Changes wait meanwhile, readers do not. Tells whether it did.
    pub fn compact_if_needed(&self) -> Result<bool, SnapshotError> {
        let inner = &self.inner;
        let _alone = inner.maintenance.lock();
        inner.check()?;
        let _no_sync = inner.syncing.lock();
        let live = inner.live.upgradable_read();
        let on_disk = live.engine.size_on_disk();
        if !compaction_needed(on_disk, 0) {
            return Ok(false);
        }
        let mut held = 0u64;
        live.engine.scan(&[], None, false, |key, stored| {
            held += (key.len() + stored.len()) as u64;
            Ok(true)
        })?;
        if !compaction_needed(on_disk, held) {
            return Ok(false);
        }
        let free = inner.opts.free_space.at(&inner.data_dir);
        let reserve = inner.opts.reserve.saturating_add(held.saturating_mul(3));
        if free < reserve {
            return Err(WriteError::NoSpace { free, reserve }.into());
        }
        let number = live.number + 1;
        let (applied, membership) = live.markers()?;
        let header = Header {
            meta: Vec::new(),
            applied,
            membership,
        };
        let old = live.engine.clone();
        let (engine, seq) = inner.build(number, &header, |put| {
            let mut broken = None;
            old.scan(&[DATA], Some(&[DATA + 1]), false, |head, stored| {
                let value = value::load(&old, head, stored)?;
                broken = put(&head[1..], &value).err();
                Ok(broken.is_none())
            })?;
            broken.map_or(Ok(()), |e| Err(e.into()))
        })?;
        let new = Live::new(engine, number, seq)?;
        inner.switch(number)?;
        let mut live = RwLockUpgradableReadGuard::upgrade(live);
        *live = new;
        drop(live);
        inner.remove_others(number);
        tracing::info!(on_disk, held, "the state was compacted");
        Ok(true)
    }
}

impl Inner {
    /// Builds generation `number` from what `fill` puts, and makes it durable. On failure nothing is left.
    fn build(
        &self,
        number: u64,
        header: &Header,
        fill: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]) -> Result<(), WriteError>) -> Result<(), SnapshotError>,
    ) -> Result<(Engine, u64), SnapshotError> {
        let dir = self.generations.dir(number);
        files::remove_all(&dir)?;
        let built = self.build_in(&dir, header, fill);
        if built.is_err()
            && let Err(e) = files::remove_all(&dir)
        {
            tracing::warn!(dir = %dir.display(), %e, "an unfinished state is left behind");
        }
        built
    }

    fn build_in(
        &self,
        dir: &Path,
        header: &Header,
        fill: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]) -> Result<(), WriteError>) -> Result<(), SnapshotError>,
    ) -> Result<(Engine, u64), SnapshotError> {
        let engine = Engine::open(dir, &self.opts.engine(true))?;
        let mut batch = Batch::default();
        let mut seq = 0u64;
        fill(&mut |key, value| {
            seq += 1;
            value::put(&mut batch, value::head_key(DATA, key), value, seq);
            if seq.is_multiple_of(STEP) {
                engine.apply(std::mem::take(&mut batch))
            } else {
                Ok(())
            }
        })?;
        if let Some(membership) = &header.membership {
            seq += 1;
            value::put(&mut batch, value::head_key(META, MEMBERSHIP), membership, seq);
        }
        if let Some(applied) = &header.applied {
            seq += 1;
            let mut marker = seq.to_be_bytes().to_vec();
            marker.extend_from_slice(applied);
            value::put(&mut batch, value::head_key(META, APPLIED), &marker, seq);
        } else {
            seq = 0;
        }
        engine.apply(batch)?;
        engine.sync(seq)?;
        Ok((engine, seq))
    }

    fn switch(&self, number: u64) -> Result<(), SnapshotError> {
        // From here on an error leaves open which of the two counts, so that this process must stop.
        self.generations
            .switch(number)
            .map_err(|e| self.fail(WriteError::Failed(e.to_string())).into())
    }

    fn remove_others(&self, number: u64) {
        if let Err(e) = self.generations.remove_others(number) {
            tracing::warn!(%e, "the state from before is left behind");
        }
    }
}
