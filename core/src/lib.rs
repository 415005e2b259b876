//! Palisade: the core room.

pub mod shown;
pub mod text;
