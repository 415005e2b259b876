//! Playing on a terminal, with keys: space pauses, arrows jump, + and - change the speed, / searches, n goes on, q ends.

use super::tape::{Tape, What, elapsed};
use super::vt::Filter;
use super::{Wish, shown};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal;
use palisade_core::shown::Shown;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// A pause longer than this is idle time, and so much of it is kept when idle time is skipped.
const IDLE_MS: u64 = 2000;
const IDLE_KEPT_MS: u64 = 500;
/// How far an arrow jumps.
const JUMP_MS: u64 = 5_000;
const FAR_MS: u64 = 60_000;
/// How long a message stays.
const MESSAGE: Duration = Duration::from_secs(2);

/// Restores the terminal whatever happens.
struct Raw;

impl Raw {
    fn on() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        Ok(Raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Colours off, cursor on, normal screen and margins.
        let _ = io::stdout().write_all(b"\x1b[0m\x1b[r\x1b[?25h\x1b[?1049l\x1b[?7h\r\n");
        let _ = io::stdout().flush();
        let _ = terminal::disable_raw_mode();
    }
}

/// Where playing stands. Time is an argument everywhere, so that it can be tested without waiting.
#[derive(Debug, Clone, PartialEq)]
struct Head {
    /// Position in milliseconds.
    at: f64,
    /// The next frame.
    next: usize,
    speed: f64,
    paused: bool,
    skip_idle: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// Show this frame.
    Show(usize),
    /// Nothing for so long.
    Wait(Duration),
    /// Idle time of so many milliseconds was left out.
    Skipped(u64),
    /// There is no more.
    Over,
}

impl Head {
    fn step(&mut self, tape: &Tape) -> Step {
        let Some(frame) = tape.frames.get(self.next) else {
            return Step::Over;
        };
        let gap = frame.at_ms as f64 - self.at;
        if gap <= 0.0 {
            self.next += 1;
            return Step::Show(self.next - 1);
        }
        if self.skip_idle && gap > IDLE_MS as f64 {
            let skipped = gap - IDLE_KEPT_MS as f64;
            self.at += skipped;
            return Step::Skipped(skipped as u64);
        }
        Step::Wait(Duration::from_secs_f64(
            (gap / self.speed / 1000.0).clamp(0.0, 3600.0),
        ))
    }

    fn pass(&mut self, time: Duration) {
        if !self.paused {
            self.at += time.as_secs_f64() * 1000.0 * self.speed;
        }
    }

    /// Moves to a place; the frames before it are to be shown again from the beginning.
    fn seek(&mut self, tape: &Tape, at_ms: u64) {
        let at_ms = at_ms.min(tape.duration_ms());
        self.at = at_ms as f64;
        self.next = tape.frames.partition_point(|frame| frame.at_ms <= at_ms);
    }
}

struct Screen<'a> {
    tape: &'a Tape,
    filter: Filter,
    head: Head,
    message: Option<(String, Instant)>,
    term_rows: u16,
    needed_rows: u16,
    found: Option<String>,
    last_status: Option<Instant>,
}

pub(super) fn play(tape: &Tape, wish: &Wish) -> io::Result<()> {
    let (_, rows) = terminal::size()?;
    let raw = Raw::on()?;
    let mut screen = Screen {
        tape,
        filter: Filter::default(),
        head: Head {
            at: 0.0,
            next: 0,
            speed: wish.speed,
            paused: false,
            skip_idle: wish.skip_idle,
        },
        message: None,
        term_rows: rows,
        needed_rows: tape.size.1,
        found: wish.search.clone(),
        last_status: None,
    };
    screen.jump(wish.at_ms)?;
    if let Some(text) = &wish.search {
        screen.find(&text.clone(), wish.at_ms)?;
    }
    let outcome = screen.run();
    drop(raw);
    outcome
}

impl Screen<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let step = if self.head.paused {
                Step::Wait(Duration::from_secs(1))
            } else {
                self.head.step(self.tape)
            };
            match step {
                Step::Show(i) => self.show(i)?,
                Step::Over => return self.status(true),
                Step::Skipped(ms) => self.say(format!(">> {} of idle time skipped", elapsed(ms)))?,
                Step::Wait(time) => {
                    self.status(false)?;
                    let begun = Instant::now();
                    let pressed = event::poll(time.min(Duration::from_millis(200)))?;
                    self.head.pass(begun.elapsed());
                    if pressed && !self.key(event::read()?)? {
                        return Ok(());
                    }
                    continue;
                }
            }
            // Keys work also while output comes without a pause.
            if event::poll(Duration::ZERO)? && !self.key(event::read()?)? {
                return Ok(());
            }
        }
    }

    /// False to end.
    fn key(&mut self, event: Event) -> io::Result<bool> {
        let key = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => key,
            Event::Resize(_, rows) => {
                self.term_rows = rows;
                return self.jump(self.at()).map(|()| true);
            }
            _ => return Ok(true),
        };
        let far = key
            .modifiers
            .intersects(KeyModifiers::SHIFT | KeyModifiers::CONTROL | KeyModifiers::ALT);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(false),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(false),
            KeyCode::Char(' ' | 'p') => {
                self.head.paused = !self.head.paused;
                if self.head.paused {
                    self.status(true)?;
                } else {
                    // What the status line covered comes back.
                    self.jump(self.at())?;
                }
            }
            KeyCode::Right => self.jump(self.at() + if far { FAR_MS } else { JUMP_MS })?,
            KeyCode::Left => self.jump(self.at().saturating_sub(if far { FAR_MS } else { JUMP_MS }))?,
            KeyCode::Up | KeyCode::PageUp => self.jump(self.at() + FAR_MS)?,
            KeyCode::Down | KeyCode::PageDown => self.jump(self.at().saturating_sub(FAR_MS))?,
            KeyCode::Home => self.jump(0)?,
            KeyCode::End => self.jump(self.tape.duration_ms())?,
            KeyCode::Char('+' | '=') => self.speed(2.0)?,
            KeyCode::Char('-' | '_') => self.speed(0.5)?,
            KeyCode::Char('i') => {
                self.head.skip_idle = !self.head.skip_idle;
                let now = if self.head.skip_idle {
                    "idle time is skipped"
                } else {
                    "idle time is shown"
                };
                self.say(now.into())?;
            }
            KeyCode::Char('/') => {
                if let Some(text) = self.ask("/")? {
                    self.find(&text, self.at())?;
                    self.found = Some(text);
                }
            }
            KeyCode::Char('n') => {
                if let Some(text) = self.found.clone() {
                    self.find(&text, self.at() + 1)?;
                }
            }
            _ => {}
        }
        Ok(true)
    }

    fn at(&self) -> u64 {
        self.head.at.max(0.0) as u64
    }

    fn speed(&mut self, by: f64) -> io::Result<()> {
        self.head.speed = (self.head.speed * by).clamp(0.125, 64.0);
        self.say(format!("speed {}x", self.head.speed))
    }

    fn show(&mut self, i: usize) -> io::Result<()> {
        let frame = &self.tape.frames[i];
        if let What::Resize(_, rows) = frame.what {
            self.needed_rows = rows;
        }
        let bytes = shown(frame, &mut self.filter);
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }

    /// Draws the screen as it was at a place: from the beginning, without waiting.
    fn jump(&mut self, at_ms: u64) -> io::Result<()> {
        self.head.seek(self.tape, at_ms);
        self.filter = Filter::default();
        io::stdout()
            .lock()
            .write_all(b"\x1b[!p\x1b[0m\x1b[r\x1b[?1049l\x1b[2J\x1b[H")?;
        for i in 0..self.head.next {
            self.show(i)?;
        }
        self.last_status = None;
        self.status(self.head.paused)
    }

    fn find(&mut self, text: &str, from_ms: u64) -> io::Result<()> {
        match self
            .tape
            .search(text)
            .into_iter()
            .find(|hit| hit.at_ms >= from_ms)
        {
            Some(hit) => {
                self.jump(hit.at_ms)?;
                self.say(format!("found at {}: {}", elapsed(hit.at_ms), hit.line.trim()))
            }
            None => self.say(format!("{text} does not appear after this")),
        }
    }

    /// Shows a message for a moment; where it covers output, that is drawn again afterwards.
    fn say(&mut self, text: String) -> io::Result<()> {
        self.message = Some((text, Instant::now() + MESSAGE));
        self.last_status = None;
        self.status(true)
    }

    /// The bottom line, if the recorded terminal was smaller than this one or if it must be; at most once a second.
    fn status(&mut self, must: bool) -> io::Result<()> {
        let now = Instant::now();
        let gone = self.message.as_ref().is_some_and(|(_, until)| *until <= now);
        if gone {
            self.message = None;
            if self.needed_rows >= self.term_rows && !self.head.paused {
                return self.jump(self.at());
            }
        }
        let recent = self
            .last_status
            .is_some_and(|at| now.duration_since(at) < Duration::from_secs(1));
        if !must && !gone && (recent || self.needed_rows >= self.term_rows) {
            return Ok(());
        }
        self.last_status = Some(now);
        let text = match &self.message {
            Some((text, _)) => text.clone(),
            None => format!(
                "{} / {}   {}   {}x{}   space pause, arrows jump, +/- speed, / search, q quit",
                elapsed(self.at()),
                elapsed(self.tape.duration_ms()),
                self.tape.wall(self.at()),
                self.head.speed,
                if self.head.paused { "   PAUSED" } else { "" },
            ),
        };
        let (cols, rows) = terminal::size()?;
        let width = usize::from(cols.max(1));
        let mut out = io::stdout().lock();
        write!(
            out,
            "\x1b7\x1b[{rows};1H\x1b[0;7m{:<width$.width$}\x1b[0m\x1b8",
            Shown(&text)
        )?;
        out.flush()
    }

    /// A line typed at the bottom.
    fn ask(&mut self, prompt: &str) -> io::Result<Option<String>> {
        let mut text = String::new();
        loop {
            self.message = Some((format!("{prompt}{text}"), Instant::now() + MESSAGE));
            self.status(true)?;
            let Event::Key(key) = event::read()? else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            match key.code {
                KeyCode::Enter => return Ok(Some(text).filter(|t| !t.is_empty())),
                KeyCode::Esc => return Ok(None),
                KeyCode::Backspace => {
                    text.pop();
                }
                KeyCode::Char(c) if text.chars().count() < 200 => text.push(c),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tape::Frame;
    use super::*;

    fn tape(times: &[u64]) -> Tape {
        let frames = times.iter().map(|at_ms| Frame {
            at_ms: *at_ms,
            what: What::Output(b"x".to_vec()),
        });
        Tape {
            frames: frames.collect(),
            ..Tape::default()
        }
    }

    fn head(skip_idle: bool, speed: f64) -> Head {
        Head {
            at: 0.0,
            next: 0,
            speed,
            paused: false,
            skip_idle,
        }
    }

    #[test]
    fn frames_are_shown_at_their_time_divided_by_the_speed() {
        let tape = tape(&[0, 1000]);
        let mut head = head(false, 2.0);
        assert_eq!(head.step(&tape), Step::Show(0));
        assert_eq!(head.step(&tape), Step::Wait(Duration::from_millis(500)));
        head.pass(Duration::from_millis(500));
        assert_eq!(head.step(&tape), Step::Show(1));
        assert_eq!(head.step(&tape), Step::Over);
    }

    #[test]
    fn skipped_idle_time_is_told() {
        let tape = tape(&[0, 60_000]);
        let mut head = head(true, 1.0);
        assert_eq!(head.step(&tape), Step::Show(0));
        assert_eq!(head.step(&tape), Step::Skipped(59_500));
        assert_eq!(head.step(&tape), Step::Wait(Duration::from_millis(500)));
    }

    #[test]
    fn jumps_stay_within_the_recording() {
        let tape = tape(&[0, 1000, 2000]);
        let mut head = head(false, 1.0);
        head.seek(&tape, 1500);
        assert_eq!((head.at, head.next), (1500.0, 2));
        head.seek(&tape, u64::MAX);
        assert_eq!((head.at, head.next), (2000.0, 3));
        head.seek(&tape, 0);
        assert_eq!(head.next, 1);
    }

    #[test]
    fn time_stands_still_in_a_pause() {
        let mut head = head(false, 1.0);
        head.paused = true;
        head.pass(Duration::from_secs(9));
        assert_eq!(head.at, 0.0);
    }
}
