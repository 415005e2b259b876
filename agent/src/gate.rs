//! Whether a session goes on: it may need others in it before it begins, and for as long as it lasts.

use palisade_core::access::Moderation;
use palisade_core::record::{JoinMode, OnLeave};
use std::time::Duration;
use tokio::time::Instant;

/// Whoever was cut off, and did not leave, may come back for so long before a session that needs them ends. It is
/// paused meanwhile.
const CUT_OFF: Duration = Duration::from_secs(10);

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Nothing was started yet.
    Waiting,
    /// It runs.
    Running,
    /// It takes no input and shows no output.
    Paused,
}

/// What is to be done about who came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Stay,
    /// What waited begins.
    Begin,
    /// Those who are needed are not here.
    Pause,
    /// They are back.
    Resume,
    /// They have left, and the session ends with that.
    End,
}

/// Somebody who joined, as far as it matters here: one for each person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) mode: JoinMode,
    /// Their client can be reached.
    pub(crate) linked: bool,
}

/// A state machine without clock or I/O.
#[derive(Debug)]
pub(crate) struct Gate {
    flow: Flow,
    paused: Option<Instant>,
}

impl Gate {
    pub(crate) fn new(waits: bool) -> Self {
        Gate {
            flow: if waits { Flow::Waiting } else { Flow::Running },
            paused: None,
        }
    }

    pub(crate) fn flow(&self) -> Flow {
        self.flow
    }

    pub(crate) fn weigh(&mut self, needs: &Moderation, here: &[Present], now: Instant) -> Step {
        let modes = |linked_only: bool| -> Vec<JoinMode> {
            let counted = here.iter().filter(|one| one.linked || !linked_only);
            counted.map(|one| one.mode).collect()
        };
        let verdict = needs.judge(&modes(true));
        // Who was cut off does not count; but a session does not end for it at once.
        let cut_off = needs.judge(&modes(false)).is_ok();
        match (self.flow, verdict) {
            (Flow::Waiting, Ok(())) => {
                self.flow = Flow::Running;
                Step::Begin
            }
            (Flow::Paused, Ok(())) => {
                (self.flow, self.paused) = (Flow::Running, None);
                Step::Resume
            }
            (Flow::Running, Err(OnLeave::Terminate)) if !cut_off => Step::End,
            (Flow::Running, Err(_)) => {
                (self.flow, self.paused) = (Flow::Paused, Some(now));
                Step::Pause
            }
            (Flow::Paused, Err(OnLeave::Terminate)) => {
                let long = self
                    .paused
                    .is_some_and(|since| now.saturating_duration_since(since) >= CUT_OFF);
                if long || !cut_off { Step::End } else { Step::Stay }
            }
            (Flow::Waiting | Flow::Paused, Err(_)) | (Flow::Running, Ok(())) => Step::Stay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::record::{RequireSessionJoin, RoleSpec};

    fn needs(on_leave: OnLeave) -> Moderation {
        let one = RequireSessionJoin {
            modes: vec![JoinMode::Moderator],
            count: std::num::NonZeroU32::MIN,
            on_leave,
        };
        let mut role = RoleSpec::default();
        role.allow.require_session_join.push(one);
        Moderation::of([&role].into_iter())
    }

    fn here(mode: JoinMode, linked: bool) -> [Present; 1] {
        [Present { mode, linked }]
    }

    #[test]
    fn it_waits_runs_pauses_and_goes_on() {
        let (needs, now) = (needs(OnLeave::Pause), Instant::now());
        let mut gate = Gate::new(true);
        assert_eq!(gate.weigh(&needs, &[], now), Step::Stay);
        assert_eq!(
            gate.weigh(&needs, &here(JoinMode::Peer, true), now),
            Step::Stay,
            "another mode does not count"
        );
        let moderator = here(JoinMode::Moderator, true);
        assert_eq!(gate.weigh(&needs, &moderator, now), Step::Begin);
        assert_eq!(gate.weigh(&needs, &moderator, now), Step::Stay);
        assert_eq!(gate.weigh(&needs, &[], now), Step::Pause);
        assert_eq!(gate.weigh(&needs, &[], now + CUT_OFF * 9), Step::Stay);
        assert_eq!(gate.weigh(&needs, &moderator, now), Step::Resume);
        assert_eq!(gate.flow(), Flow::Running);
    }

    #[test]
    fn leaving_ends_at_once_and_being_cut_off_only_after_a_while() {
        let (needs, now) = (needs(OnLeave::Terminate), Instant::now());
        let moderator = here(JoinMode::Moderator, true);
        let cut_off = here(JoinMode::Moderator, false);
        let mut gate = Gate::new(true);
        assert_eq!(
            gate.weigh(&needs, &cut_off, now),
            Step::Stay,
            "it begins with nobody cut off"
        );
        assert_eq!(gate.weigh(&needs, &moderator, now), Step::Begin);
        assert_eq!(gate.weigh(&needs, &cut_off, now), Step::Pause);
        assert_eq!(gate.weigh(&needs, &cut_off, now + CUT_OFF / 2), Step::Stay);
        assert_eq!(gate.weigh(&needs, &moderator, now), Step::Resume);
        assert_eq!(gate.weigh(&needs, &cut_off, now), Step::Pause);
        assert_eq!(gate.weigh(&needs, &cut_off, now + CUT_OFF), Step::End);
        let mut gate = Gate::new(false);
        assert_eq!(gate.weigh(&needs, &[], now), Step::End);
    }

    #[test]
    fn a_requirement_that_comes_later_and_goes_again_pauses_and_lets_go() {
        let now = Instant::now();
        let mut gate = Gate::new(false);
        assert_eq!(gate.weigh(&Moderation::default(), &[], now), Step::Stay);
        assert_eq!(gate.weigh(&needs(OnLeave::Pause), &[], now), Step::Pause);
        assert_eq!(gate.weigh(&Moderation::default(), &[], now), Step::Resume);
    }
}
