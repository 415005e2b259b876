//! Palisade: the client room.
