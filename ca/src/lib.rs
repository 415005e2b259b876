//! Palisade: the ca room.
