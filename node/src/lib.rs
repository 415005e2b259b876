//! The appliance: reads the configuration, builds every room, stops them in order. Nothing but this crate composes.
//!
//! Start with [`appliance`]; the other modules are the real ports that it plugs in.

mod advice;
pub mod agent;
pub mod appliance;
mod bootstrap;
mod bundle;
pub mod clock;
pub mod config;
pub mod consensus;
mod fitness;
mod health;
pub mod home;
mod host_table;
mod housekeeping;
pub mod logging;
mod membership;
pub mod meter;
mod metrics;
pub mod operations;
pub mod otlp;
pub mod pages;
mod pinned;
mod presets;
mod process;
pub mod public_tls;
mod pulse;
pub mod recordings;
pub mod reload;
pub mod segments;
pub mod sessions;
pub mod setup;
mod status;
pub mod supervisor;
mod support;
mod terminals;
mod tombstones;
mod tunnels;
pub mod web_tls;
