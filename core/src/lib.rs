//! Palisade: the core room.
