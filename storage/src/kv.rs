//! The state as `apply` sees it: ordered keys and values. Kept apart so that core's own can take its place.

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
