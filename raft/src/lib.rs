//! Palisade: the raft room.
