//! Palisade: the chaos room. Faults, and checkers that say which promise they broke.
//!
//! Two halves: [`sim`] runs the real consensus, storage and apply code of a cluster in one thread, with a simulated
//! network, clock and disk, from a seed; [`real`] runs the shipped binary in network namespaces.

pub mod real;
pub mod sim;

/// The next number of a state: SplitMix64, so that a seed means the same on every machine and in every version.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
