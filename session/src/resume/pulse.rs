//! Signs of life on a link.

use super::Config;
use super::error::Error;
use std::time::{Duration, Instant};

/// What one end knows about whether its link lives.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// Since when nothing was heard; or since when something should have been.
    quiet_since: Instant,
    /// Questions since then, and when the last was.
    asked: u32,
    asked_at: Instant,
    /// When data last went either way.
    traffic: Instant,
}

impl Pulse {
    pub(crate) fn new(now: Instant) -> Self {
        Pulse {
            quiet_since: now,
            asked: 0,
            asked_at: now,
            traffic: now,
        }
    }

    /// Something came over the link.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.quiet_since = now;
        self.asked = 0;
    }

    /// Data went over the link. `busy` is whether an answer was owed before.
    pub(crate) fn traffic(&mut self, busy: bool, now: Instant) {
        if !busy && self.asked == 0 {
            // Nothing was expected so far: the silence begins to count now.
            self.quiet_since = now;
        }
        self.traffic = now;
    }

    /// When to ask, or to give up. `busy`: the other end owes an answer. A link over which data went is asked
    /// once more soon after, so that who only receives notices its death, too.
    pub(crate) fn due(&self, busy: bool, idle: Duration, config: &Config, now: Instant) -> Instant {
        let recent = now.saturating_duration_since(self.traffic) < config.ping_busy * 2;
        if self.asked > 0 {
            self.asked_at + config.ping_busy
        } else if busy || recent {
            self.quiet_since + config.ping_busy
        } else {
            self.quiet_since + idle
        }
    }

    /// It is due: returns the number of the question to ask.
    pub(crate) fn ask(&mut self, config: &Config, now: Instant) -> Result<u64, Error> {
        if self.asked >= config.missed {
            return Err(Error::Silent);
        }
        // One at a time, however late the call: a process that was stopped asks before it judges.
        self.asked += 1;
        self.asked_at = now;
        Ok(self.asked.into())
    }
}
