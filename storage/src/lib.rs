//! Palisade: the storage room.
