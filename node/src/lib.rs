//! The appliance: reads the configuration, builds every room, stops them in order. Nothing but this crate composes.
//!
//! Start with [`appliance`]; the other modules are the real ports that it plugs in.

pub mod agent;
pub mod appliance;
mod bootstrap;
mod bundle;
pub mod clock;
pub mod config;
pub mod consensus;
pub mod home;
mod host_table;
mod housekeeping;
mod metrics;
pub mod operations;
pub mod pages;
mod pinned;
mod presets;
pub mod public_tls;
pub mod recordings;
pub mod segments;
pub mod sessions;
pub mod supervisor;
mod tombstones;
mod tunnels;
