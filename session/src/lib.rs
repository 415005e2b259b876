//! Palisade: the session room.
