//! Giving space back: the log is copied into a new database beside the old one, and the pointer is switched.

use std::sync::Arc;

use super::{Shared, record};
use crate::{
    engine::{Batch, Engine},
    error::{OpenError, ReadError, WriteError},
    files,
};

/// Compaction starts above this many times the live size ...
const AMPLIFICATION: u64 = 6;
/// ... and this much more than it.
const SLACK: u64 = 32 << 20;

/// Whether `on_disk` bytes are too many for `live` ones.
pub(crate) fn needed(on_disk: u64, live: u64) -> bool {
    on_disk > live.saturating_mul(AMPLIFICATION) && on_disk > live.saturating_add(SLACK)
}

/// Runs on the committer thread, so nothing is written meanwhile. Until the switch a failure leaves all as it was.
pub(crate) fn compact(shared: &Shared, seq: u64, generation: &mut u64) -> Result<bool, WriteError> {
    let old = shared.engine.read().clone();
    let first = shared.front.lock().first();
    let start = record::entry_key(first, 0);
    let mut live = 0u64;
    old.scan(&start, None, false, |key, value| {
        live += (key.len() + value.len()) as u64;
        Ok(true)
    })
    .map_err(refused)?;
    let on_disk = old.size_on_disk();
    if !needed(on_disk, live) {
        return Ok(false);
    }
    let free = shared.opts.free_space.at(old.dir());
    let reserve = shared.opts.reserve.saturating_add(live.saturating_mul(3));
    if free < reserve {
        return Err(WriteError::NoSpace { free, reserve });
    }
    let number = *generation + 1;
    let dir = shared.generations.dir(number);
    let built = build(shared, &old, &dir, &start, seq);
    let new = match built {
        Ok(new) => new,
        Err(e) => {
            if let Err(e) = files::remove_all(&dir) {
                tracing::warn!(dir = %dir.display(), %e, "an unfinished compaction is left behind");
            }
            return Err(e);
        }
    };
    // From here on an error leaves open which of the two counts.
    shared
        .generations
        .switch(number)
        .map_err(|e| WriteError::Failed(e.to_string()))?;
    *shared.engine.write() = Arc::new(new);
    *generation = number;
    if let Err(e) = shared.generations.remove_others(number) {
        tracing::warn!(%e, "the log from before the compaction is left behind");
    }
    tracing::info!(on_disk, live, "the log was compacted");
    Ok(true)
}

fn build(
    shared: &Shared,
    old: &Engine,
    dir: &std::path::Path,
    start: &[u8],
    seq: u64,
) -> Result<Engine, WriteError> {
    let opened = |e: OpenError| WriteError::Refused(format!("compaction did not start: {e}"));
    files::remove_all(dir).map_err(|e| WriteError::Refused(format!("compaction did not start: {e}")))?;
    let new = Engine::open(dir, &shared.opts.engine(true)).map_err(opened)?;
    let mut pending = Batch::default();
    let mut count = 0usize;
    let mut broken = None;
    old.scan(start, None, false, |key, value| {
        pending.insert(key, value);
        count += 1;
        if count.is_multiple_of(256)
            && let Err(e) = new.apply(std::mem::take(&mut pending))
        {
            broken = Some(e);
        }
        Ok(broken.is_none())
    })
    .map_err(refused)?;
    let not_fatal = |e: WriteError| WriteError::Refused(format!("compaction failed: {e}"));
    if let Some(e) = broken {
        return Err(not_fatal(e));
    }
    new.apply(pending)
        .and_then(|()| new.sync(seq))
        .map_err(not_fatal)?;
    Ok(new)
}

fn refused(e: ReadError) -> WriteError {
    WriteError::Refused(format!("compaction did not start: {e}"))
}
