//! Palisade: the node room.
