//! Reading the whole log at start, and refusing it if anything is missing or changed.

use super::{
    entry_damage,
    record::{self, META_FROM, Marker},
    view::{Assembly, Front},
};
use crate::{
    engine::Engine,
    error::{Damage, OpenError, ReadError},
};

pub(crate) const KEY_BASE: &[u8] = b"mb";
pub(crate) const KEY_COMMITTED: &[u8] = b"mc";
pub(crate) const KEY_SEQ: &[u8] = b"mg";
pub(crate) const KEY_PURGED: &[u8] = b"mp";
pub(crate) const KEY_VOTE: [&[u8]; 2] = [b"mv0", b"mv1"];

pub(crate) struct Loaded {
    pub(crate) front: Front,
    /// Running number of the last write.
    pub(crate) seq: u64,
}

/// What the markers say, apart from the entries.
#[derive(Default)]
pub(crate) struct Markers {
    pub(crate) base: Option<Marker>,
    pub(crate) committed: Option<Marker>,
    pub(crate) seq: Option<Marker>,
    pub(crate) purged: Option<Marker>,
    pub(crate) vote: [Option<Marker>; 2],
}

impl Markers {
    pub(crate) fn read(engine: &Engine) -> Result<Markers, ReadError> {
        Ok(Markers {
            base: marker(engine, KEY_BASE)?,
            committed: marker(engine, KEY_COMMITTED)?,
            seq: marker(engine, KEY_SEQ)?,
            purged: marker(engine, KEY_PURGED)?,
            vote: [marker(engine, KEY_VOTE[0])?, marker(engine, KEY_VOTE[1])?],
        })
    }

    fn max_seq(&self) -> u64 {
        [
            &self.base,
            &self.committed,
            &self.seq,
            &self.purged,
            &self.vote[0],
            &self.vote[1],
        ]
        .into_iter()
        .flatten()
        .map(|m| m.seq)
        .max()
        .unwrap_or(0)
    }

    /// The newest vote and its sequence number. The older one must be there as well: if it is not, the newest may
    /// be what is missing, and a node that forgets its vote votes twice.
    pub(crate) fn newest_vote(&self, engine: &Engine) -> Result<Option<Marker>, Damage> {
        let damaged = |why: &str| Damage::new(engine.dir(), "the vote", why);
        let newest = match (&self.vote[0], &self.vote[1]) {
            (None, None) => return Ok(None),
            (Some(v), None) | (None, Some(v)) if v.number == 1 => v,
            (Some(a), Some(b)) if a.number.abs_diff(b.number) == 1 => {
                if a.number > b.number {
                    a
                } else {
                    b
                }
            }
            (Some(_), Some(_)) => return Err(damaged("its two copies do not follow one another")),
            _ => return Err(damaged("one of its two copies is missing")),
        };
        let slot = usize::from(newest.number % 2 == 1);
        if self.vote[slot].as_ref() != Some(newest) {
            return Err(damaged("its copies are in each other's place"));
        }
        Ok(Some(newest.clone()))
    }
}

fn marker(engine: &Engine, key: &[u8]) -> Result<Option<Marker>, ReadError> {
    let Some(stored) = engine.get(key)? else {
        return Ok(None);
    };
    match record::decode_marker(key, &stored) {
        Ok(m) => Ok(Some(m)),
        Err(why) => Err(Damage::new(engine.dir(), marker_name(key), why).into()),
    }
}

fn marker_name(key: &[u8]) -> String {
    let name = match key {
        KEY_BASE => "the marker of the first entry",
        KEY_COMMITTED => "the committed marker",
        KEY_SEQ => "the write counter",
        KEY_PURGED => "the purge marker",
        _ => "the vote",
    };
    format!("{name} (key {})", crate::escaped(key))
}

pub(crate) fn load(engine: &Engine) -> Result<Loaded, OpenError> {
    let markers = Markers::read(engine).map_err(open_error)?;
    let vote = markers.newest_vote(engine)?;
    let purged = markers.purged.as_ref().map(|m| m.number);
    let base = match (markers.base.as_ref().map(|m| m.number), purged) {
        (Some(base), Some(purged)) => Some(base.max(purged.saturating_add(1))),
        (base, purged) => base.or(purged.map(|p| p.saturating_add(1))),
    };
    let first = base.unwrap_or(0);
    let mut entries = Assembly::new(first);
    engine
        .scan(
            &record::entry_key(first, 0),
            Some(META_FROM),
            false,
            |key, value| entries.add(engine, key, value).map(|_| true),
        )
        .map_err(open_error)?;
    if entries.mid_entry() {
        return Err(entry_damage(engine, entries.next(), "it is cut short").into());
    }
    let last = (entries.next() > first).then(|| entries.next() - 1);
    if last.is_some() && base.is_none() {
        return Err(Damage::new(engine.dir(), "the marker of the first entry", "it is missing").into());
    }
    let seq = markers.max_seq().max(entries.seq);
    if seq < engine.tip() {
        let end = last.map_or("holds no entry".to_owned(), |l| format!("ends at entry {l}"));
        let why = format!(
            "it {end} (write {seq}), and {} writes had been made durable",
            engine.tip()
        );
        return Err(Damage::new(engine.dir(), "the end of the log", why).into());
    }
    let committed = match (markers.committed, entries.rider) {
        (Some(m), Some((seq, rider))) => Some(if seq > m.seq { rider } else { m.payload }),
        (m, rider) => m.map(|m| m.payload).or(rider.map(|(_, r)| r)),
    };
    let front = Front {
        base,
        purged: markers.purged.map(|m| (m.number, m.payload)),
        last,
        vote: vote.map(|m| m.payload),
        committed,
        ..Front::default()
    };
    Ok(Loaded { front, seq })
}

pub(crate) fn open_error(e: ReadError) -> OpenError {
    match e {
        ReadError::Damaged(d) => d.into(),
        ReadError::Failed(why) => Damage::new(std::path::Path::new("the database"), "a page", why).into(),
    }
}
