//! People to hosts: the traffic that nodes carry.
//!
//! Start with [`ssh`]. The proxy sees neither Raft nor the disk: only [`palisade_core::ports`] and [`ports`].

pub mod authorities;
pub mod ports;
mod recorder;
pub mod ssh;
pub mod tunnels;
