//! What a session is at either end, written once: SSH channels, and the recordings of them.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")
)]

pub mod recording;
pub mod ssh;
