//! The replicated state as [`state::apply`](crate::state::apply) sees it: ordered keys and values that are read
//! through [`Kv`] and changed only by returned [`Change`]s.

use std::collections::BTreeMap;

/// The store could not answer: damaged or unreadable data. Whoever gets this must stop, not guess.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the replicated state cannot be read at key {key}: {why}")]
pub struct KvFault {
    /// The key, escaped for people.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A consistent, ordered view of the replicated state.
pub trait Kv: Send + Sync {
    /// The value under a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvFault>;

    /// At most `limit` pairs with `from <= key < to` (to the end if `to` is `None`), ascending, or descending
    /// from the end of the range if `reverse`.
    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: usize, reverse: bool)
    -> Result<Vec<Pair>, KvFault>;
}

/// One change of the replicated state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key gets this value.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// The key is removed.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

/// The smallest key that is greater than every key with this prefix; `None` if there is none.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// A view with pending changes laid over it, so that several entries can be applied before one write.
pub struct Overlay<'a> {
    below: &'a dyn Kv,
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Overlay<'a> {
    /// An overlay without changes.
    pub fn new(below: &'a dyn Kv) -> Self {
        Overlay {
            below,
            pending: BTreeMap::new(),
        }
    }

    /// Lays a change over what is below.
    pub fn push(&mut self, change: Change) {
        match change {
            Change::Put { key, value } => self.pending.insert(key, Some(value)),
            Change::Delete { key } => self.pending.insert(key, None),
        };
    }

    /// Puts a value.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.pending.insert(key, Some(value));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.pending.insert(key, None);
    }

    /// The changes, in key order.
    pub fn into_changes(self) -> Vec<Change> {
        let changed = |(key, value)| match value {
            Some(value) => Change::Put { key, value },
            None => Change::Delete { key },
        };
        self.pending.into_iter().map(changed).collect()
    }
}

impl Kv for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvFault> {
        match self.pending.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.below.get(key),
        }
    }

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, KvFault> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let upper = to.map_or(Unbounded, Excluded);
        let over: BTreeMap<&[u8], &Option<Vec<u8>>> = self
            .pending
            .range::<[u8], _>((Included(from), upper))
            .map(|(k, v)| (k.as_slice(), v))
            .collect();
        // Every pending deletion may hide one stored pair, so that many more are asked for.
        let below = self
            .below
            .scan(from, to, limit.saturating_add(over.len()), reverse)?;
        let mut all: BTreeMap<Vec<u8>, Vec<u8>> = below.into_iter().collect();
        for (key, value) in over {
            match value {
                Some(value) => all.insert(key.to_vec(), value.clone()),
                None => all.remove(key),
            };
        }
        Ok(if reverse {
            all.into_iter().rev().take(limit).collect()
        } else {
            all.into_iter().take(limit).collect()
        })
    }
}

/// The state in memory: for tests of every room, and for replaying a log beside the real store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryKv(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl MemoryKv {
    /// Applies changes.
    pub fn commit(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, value } => self.0.insert(key, value),
                Change::Delete { key } => self.0.remove(&key),
            };
        }
    }
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvFault> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, KvFault> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let range = self
            .0
            .range::<[u8], _>((Included(from), to.map_or(Unbounded, Excluded)));
        let pair = |(k, v): (&Vec<u8>, &Vec<u8>)| (k.clone(), v.clone());
        Ok(if reverse {
            range.rev().take(limit).map(pair).collect()
        } else {
            range.take(limit).map(pair).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlay_shows_pending_changes_in_order() {
        let mut below = MemoryKv::default();
        for key in ["a", "b", "c", "d"] {
            below.0.insert(key.into(), b"old".to_vec());
        }
        let mut over = Overlay::new(&below);
        over.delete(b"a".to_vec());
        over.put(b"bb".to_vec(), b"new".to_vec());
        let keys = |pairs: Vec<Pair>| pairs.into_iter().map(|(k, _)| k).collect::<Vec<_>>();
        assert_eq!(
            keys(over.scan(b"a", None, 2, false).expect("memory")),
            [b"b".to_vec(), b"bb".to_vec()]
        );
        assert_eq!(
            keys(over.scan(b"a", Some(b"c"), 9, true).expect("memory")),
            [b"bb".to_vec(), b"b".to_vec()]
        );
        assert_eq!(over.get(b"a"), Ok(None));
    }

    #[test]
    fn prefix_end_skips_the_highest_byte() {
        assert_eq!(prefix_end(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(prefix_end(&[1, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff]), None);
    }
}
