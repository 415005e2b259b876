//! The state as `apply` sees it: core's own words for it.

pub use palisade_core::kv::{Change, Kv, KvFault, Pair};
