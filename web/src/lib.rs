//! Palisade: the web room.
