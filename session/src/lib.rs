//! Palisade: the session room.

pub mod ssh;
