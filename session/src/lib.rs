//! What a session is at either end, written once: SSH channels, and the recordings of them.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")
)]

pub mod backoff;
pub mod files;
pub mod recorder;
pub mod recording;
pub mod resume;
pub mod ssh;
pub mod tap;
pub mod tunnel;
