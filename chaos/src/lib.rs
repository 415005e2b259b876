//! Palisade: the chaos room. Faults, and checkers that say which promise they broke.
//!
//! Two halves: [`sim`] runs the real consensus, storage and apply code of a cluster in one thread, with a simulated
//! network, clock and disk, from a seed; [`real`] runs the shipped binary in network namespaces.

pub mod real;
pub mod sim;
