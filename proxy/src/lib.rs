//! Palisade: the proxy room.
