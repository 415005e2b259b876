//! Playing: what to show next, and how long to wait first. Waiting and showing are the caller's.

use super::event::EventKind;
use super::playback::Played;
use super::safe::SafeOutput;
use std::time::Duration;

const SPEED_MIN: f64 = 0.01;
const SPEED_MAX: f64 = 1000.0;

/// How to play.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlayOptions {
    speed: f64,
    idle_max_ms: Option<u64>,
    from_ms: u64,
    raw: bool,
}

/// Why a recording cannot be played like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlayError {
    /// Not a number, or one that makes no sense.
    #[error("the speed lies between {SPEED_MIN} and {SPEED_MAX}")]
    Speed,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How long to wait first.
    pub delay: Duration,
    /// What to show then.
    pub show: Show,
    /// Where in the session this is, in milliseconds since it began.
    pub elapsed_ms: u64,
    /// The same by the clock on the wall, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// Bytes for the screen.
    Bytes(Vec<u8>),
    /// Nothing happened for this long, and most of it is skipped.
    Idle {
        /// How long nothing happened, in milliseconds.
        idle_ms: u64,
    },
    /// The terminal had this size from here on.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// A line about the session, not of it: notes, a command's start and end.
    Line(String),
}

impl Default for PlayOptions {
    fn default() -> Self {
        Self {
            speed: 1.0,
            idle_max_ms: None,
            from_ms: 0,
            raw: false,
        }
    }
}

impl PlayOptions {
    /// Plays this many times as fast.
    pub fn speed(self, speed: f64) -> Result<Self, PlayError> {
        if (SPEED_MIN..=SPEED_MAX).contains(&speed) {
            Ok(Self { speed, ..self })
        } else {
            Err(PlayError::Speed)
        }
    }

    /// Skips what is left of a pause after this long.
    pub fn skip_idle(self, idle_max_ms: u64) -> Self {
        Self {
            idle_max_ms: Some(idle_max_ms),
            ..self
        }
    }

    /// Begins here: what was shown before is shown at once, so that the screen is as it was.
    pub fn from(self, from_ms: u64) -> Self {
        Self { from_ms, ..self }
    }

    /// Shows the bytes as they are, escape sequences and all. Only for a terminal that may be harmed.
    pub fn raw(self) -> Self {
        Self { raw: true, ..self }
    }
}

/// Turns events into steps.
pub struct Player<I: Iterator> {
    events: I,
    options: PlayOptions,
    output: SafeOutput,
    error_output: SafeOutput,
    /// Where the viewer is.
    at_ms: u64,
    /// What comes after an idle mark.
    next: Option<Step>,
}

impl<I: Iterator<Item = Played>> Player<I> {
    /// Plays `events`.
    pub fn new(events: I, options: PlayOptions) -> Self {
        Self {
            events,
            options,
            output: SafeOutput::default(),
            error_output: SafeOutput::default(),
            at_ms: options.from_ms,
            next: None,
        }
    }

    /// The events, for instance to ask a [`super::Playback`] how it ended.
    pub fn events(&self) -> &I {
        &self.events
    }

    fn show(&mut self, kind: EventKind) -> Option<Show> {
        let raw = self.options.raw;
        let bytes = |filter: &mut SafeOutput, bytes: Vec<u8>| {
            let bytes = if raw {
                bytes
            } else {
                filter.filter(&bytes).into_bytes()
            };
            (!bytes.is_empty()).then_some(Show::Bytes(bytes))
        };
        match kind {
            EventKind::Output(out) => bytes(&mut self.output, out),
            EventKind::ErrorOutput(out) => bytes(&mut self.error_output, out),
            EventKind::Resize { cols, rows } => Some(Show::Resize { cols, rows }),
            EventKind::Note(text) => Some(Show::Line(one_line(&text))),
            EventKind::ExecStart { command } => Some(Show::Line(format!("exec: {}", one_line(&command)))),
            EventKind::Exit { status } => Some(Show::Line(format!("exit status {status}"))),
            EventKind::Captured { size, recorded, .. } if size > recorded => {
                Some(Show::Line(format!("{recorded} of {size} bytes were recorded")))
            }
            EventKind::Input(_) | EventKind::InputSize(_) | EventKind::Captured { .. } => None,
        }
    }

    fn wait(&self, ms: u64) -> Duration {
        Duration::from_millis(ms).div_f64(self.options.speed)
    }
}

impl<I: Iterator<Item = Played>> Iterator for Player<I> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(step) = self.next.take() {
            return Some(step);
        }
        loop {
            let Played { event, wall_ms } = self.events.next()?;
            let elapsed_ms = event.at_ms;
            let Some(show) = self.show(event.kind) else {
                continue;
            };
            let idle_ms = elapsed_ms.saturating_sub(self.at_ms);
            self.at_ms = self.at_ms.max(elapsed_ms);
            let step = Step {
                delay: self.wait(idle_ms),
                show,
                elapsed_ms,
                wall_ms,
            };
            return match self.options.idle_max_ms {
                Some(max) if idle_ms > max => {
                    let left = idle_ms - max;
                    let mark = Step {
                        delay: self.wait(max),
                        show: Show::Idle { idle_ms },
                        elapsed_ms: elapsed_ms.saturating_sub(left),
                        wall_ms: wall_ms.saturating_sub(left),
                    };
                    self.next = Some(Step {
                        delay: Duration::ZERO,
                        ..step
                    });
                    Some(mark)
                }
                _ => Some(step),
            };
        }
    }
}

/// A text as one harmless line.
fn one_line(text: &str) -> String {
    SafeOutput::default()
        .filter(text.as_bytes())
        .chars()
        .filter(|c| !c.is_control() || *c == '\t')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    fn steps(events: Vec<(u64, EventKind)>, options: PlayOptions) -> Vec<(u64, Show, u64, u64)> {
        let events = events.into_iter().map(|(at_ms, kind)| Played {
            event: Event { at_ms, kind },
            wall_ms: 5000 + at_ms,
        });
        Player::new(events, options)
            .map(|step| {
                (
                    u64::try_from(step.delay.as_millis()).unwrap(),
                    step.show,
                    step.elapsed_ms,
                    step.wall_ms,
                )
            })
            .collect()
    }

    fn out(text: &str) -> EventKind {
        EventKind::Output(text.into())
    }

    fn bytes(text: &str) -> Show {
        Show::Bytes(text.into())
    }

    #[test]
    fn time_passes_as_it_did() {
        let events = vec![(100, out("a")), (300, EventKind::InputSize(1)), (350, out("b"))];
        assert_eq!(
            steps(events.clone(), PlayOptions::default()),
            [(100, bytes("a"), 100, 5100), (250, bytes("b"), 350, 5350)]
        );
        let twice = PlayOptions::default().speed(2.0).unwrap();
        assert_eq!(
            steps(events, twice),
            [(50, bytes("a"), 100, 5100), (125, bytes("b"), 350, 5350)]
        );
    }

    #[test]
    fn idle_time_is_skipped_with_a_mark() {
        let events = vec![(500, out("a")), (60_500, out("b")), (61_500, out("c"))];
        assert_eq!(
            steps(events, PlayOptions::default().skip_idle(1000)),
            [
                (500, bytes("a"), 500, 5500),
                (1000, Show::Idle { idle_ms: 60_000 }, 1500, 6500),
                (0, bytes("b"), 60_500, 65_500),
                (1000, bytes("c"), 61_500, 66_500),
            ]
        );
    }

    #[test]
    fn a_jump_shows_at_once_what_led_there() {
        let events = vec![(100, out("a")), (900, out("b")), (1500, out("c"))];
        let jumped = steps(events, PlayOptions::default().from(1000));
        assert_eq!(jumped.iter().map(|step| step.0).collect::<Vec<_>>(), [0, 0, 500]);
        assert_eq!(jumped[0].2, 100);
    }

    #[test]
    fn hostile_output_is_tamed_unless_asked_for() {
        let events = vec![
            (0, out("a\x1b]52;c;ZXZpbA==\x07")),
            (1, out("\x1b[6n")),
            (2, EventKind::Note("x\n\x1b[31my".into())),
            (
                3,
                EventKind::ExecStart {
                    command: "ls\r\nrm".into(),
                },
            ),
        ];
        let tame = steps(events.clone(), PlayOptions::default());
        assert_eq!(tame.len(), 3);
        assert_eq!(tame[0].1, bytes("a"));
        assert_eq!(tame[1].1, Show::Line("x[31my".into()));
        assert_eq!(tame[2].1, Show::Line("exec: lsrm".into()));
        assert_eq!(steps(events, PlayOptions::default().raw())[1].1, bytes("\x1b[6n"));
    }

    #[test]
    fn what_was_not_recorded_is_said() {
        let captured = |recorded| EventKind::Captured {
            direction: super::super::Direction::Output,
            size: 10,
            recorded,
            sha256: [0; 32],
        };
        let events = vec![
            (0, captured(10)),
            (0, captured(4)),
            (0, EventKind::Exit { status: 2 }),
        ];
        let shown: Vec<_> = steps(events, PlayOptions::default())
            .into_iter()
            .map(|step| step.1)
            .collect();
        let line = |text: &str| Show::Line(text.into());
        assert_eq!(
            shown,
            [line("4 of 10 bytes were recorded"), line("exit status 2")]
        );
    }

    #[test]
    fn speeds_that_make_no_sense_are_refused() {
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY, 0.001, 1e9] {
            assert_eq!(
                PlayOptions::default().speed(speed).unwrap_err(),
                PlayError::Speed,
                "{speed}"
            );
        }
    }

    #[test]
    fn absurd_times_do_not_panic() {
        let slow = PlayOptions::default().speed(SPEED_MIN).unwrap().skip_idle(0);
        assert_eq!(steps(vec![(u64::MAX / 2, out("a"))], slow).len(), 2);
    }
}
