//! SSH as Palisade speaks it: algorithms, transport, channels, the relay between two connections, and the client side.
//!
//! This room owns the SSH library; others use it through the names exported here.

pub mod channel_io;
pub mod client;
pub mod config;
pub mod queue;
pub mod relay;
pub mod serve;
pub mod stream;
pub mod user;

pub use russh;
pub use russh::keys;
