//! Finding text in a recording, as a person saw it: escape sequences do not count.

use super::event::EventKind;
use super::playback::Played;
use super::shown::{LineStep, line_step};
use super::vt::Vt;
use std::collections::VecDeque;

pub use palisade_core::find::{Query, QueryError};

/// So much of the line is given on either side of what was found, in characters.
const AROUND_CHARS: usize = 80;

/// Where a text was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// When its first character appeared, in milliseconds since the session began.
    pub at_ms: u64,
    /// The same by the clock on the wall, in milliseconds since 1970.
    pub wall_ms: u64,
    /// What stands before it in its line, its last 80 characters.
    pub before: String,
    /// The text itself, as it was shown.
    pub text: String,
    /// What stands behind it in its line, as far as 80 characters.
    pub after: String,
}

/// Finds `query` in what was shown, up to `max` times. Memory does not grow with the recording.
pub fn search(events: impl IntoIterator<Item = Played>, query: &Query, max: usize) -> Vec<Match> {
    let mut search = Search::new(query.clone(), max);
    for played in events {
        if search.is_full() {
            break;
        }
        search.push(&played);
    }
    search.finish()
}

/// The same for whoever gets the events little by little.
#[derive(Debug)]
pub struct Search {
    query: Query,
    max: usize,
    output: Line,
    error_output: Line,
    /// Those whose line is over, and may not grow any more.
    found: Vec<Match>,
}

impl Search {
    /// A search that finds up to `max` places.
    pub fn new(query: Query, max: usize) -> Self {
        Self {
            query,
            max,
            output: Line::default(),
            error_output: Line::default(),
            found: Vec::new(),
        }
    }

    /// Looks at what happened next.
    pub fn push(&mut self, played: &Played) {
        if self.is_full() {
            return;
        }
        let (query, found) = (&self.query, &mut self.found);
        // One more than is given, so that whoever asks learns that there is more.
        let room = (self.max + 1)
            .saturating_sub(found.len() + self.output.open.len() + self.error_output.open.len());
        let at = (played.event.at_ms, played.wall_ms);
        let alone = |text: &str, found: &mut Vec<Match>| {
            let mut line = Line::default();
            line.look(text.as_bytes(), at, query, room, found);
            line.end(found);
        };
        match &played.event.kind {
            EventKind::Output(bytes) => self.output.look(bytes, at, query, room, found),
            EventKind::ErrorOutput(bytes) => self.error_output.look(bytes, at, query, room, found),
            EventKind::ExecStart { command } => alone(command, found),
            EventKind::Note(text) => alone(text, found),
            EventKind::Input(_)
            | EventKind::InputSize(_)
            | EventKind::Resize { .. }
            | EventKind::Exit { .. }
            | EventKind::Captured { .. } => {}
        }
    }

    /// Whether as much was found as is wanted, and more.
    pub fn is_full(&self) -> bool {
        self.found.len() + self.output.open.len() + self.error_output.open.len() > self.max
    }

    /// Forgets what was found until here, but not what the lines that are being written hold: what begins in them and
    /// ends later is found.
    pub fn forget_found(&mut self) {
        self.found.clear();
        self.output.open.clear();
        self.error_output.open.clear();
    }

    /// What was found, in the order in which it appeared.
    pub fn finish(mut self) -> Vec<Match> {
        self.output.end(&mut self.found);
        self.error_output.end(&mut self.found);
        self.found.sort_by_key(|found| found.at_ms);
        self.found.truncate(self.max);
        self.found
    }
}

/// The line being written: its end, as long as the query; as much before that as is shown; and what was found in it.
#[derive(Debug, Default)]
struct Line {
    vt: Vt,
    tail: VecDeque<Written>,
    before: VecDeque<char>,
    open: Vec<Match>,
}

/// A character, and when it came.
#[derive(Debug, Clone, Copy)]
struct Written {
    c: char,
    at_ms: u64,
    wall_ms: u64,
}

impl Line {
    fn look(
        &mut self,
        bytes: &[u8],
        (at_ms, wall_ms): (u64, u64),
        query: &Query,
        room: usize,
        found: &mut Vec<Match>,
    ) {
        let mut vt = std::mem::take(&mut self.vt);
        let most = self.open.len() + found.len() + room;
        vt.feed(bytes, |piece| match line_step(piece) {
            LineStep::Add(c) => self.add(
                Written { c, at_ms, wall_ms },
                query,
                most.saturating_sub(found.len()),
            ),
            LineStep::Gap(spaces) => {
                let c = ' ';
                (0..spaces).for_each(|_| {
                    self.add(
                        Written { c, at_ms, wall_ms },
                        query,
                        most.saturating_sub(found.len()),
                    );
                });
            }
            LineStep::Back => self.take_back(),
            LineStep::End => self.end(found),
            LineStep::Nothing => {}
        });
        self.vt = vt;
    }

    fn add(&mut self, written: Written, query: &Query, most_open: usize) {
        for open in &mut self.open {
            // Counting is bounded as well: what is full is not looked at again.
            if open.after.len() < AROUND_CHARS * 4 && open.after.chars().count() < AROUND_CHARS {
                open.after.push(written.c);
            }
        }
        if self.tail.len() == query.wanted().len()
            && let Some(gone) = self.tail.pop_front()
        {
            self.keep_before(gone.c);
        }
        self.tail.push_back(written);
        let here = self.tail.iter().map(|written| query.fold(written.c));
        if self.open.len() < most_open && here.eq(query.wanted().iter().copied()) {
            self.open.extend(self.tail.front().map(|first| Match {
                at_ms: first.at_ms,
                wall_ms: first.wall_ms,
                before: self.before.iter().collect(),
                text: self.tail.iter().map(|written| written.c).collect(),
                after: String::new(),
            }));
            // What was found once is not found again in its own middle.
            for gone in std::mem::take(&mut self.tail) {
                self.keep_before(gone.c);
            }
        }
    }

    fn keep_before(&mut self, c: char) {
        if self.before.len() == AROUND_CHARS {
            self.before.pop_front();
        }
        self.before.push_back(c);
    }

    fn take_back(&mut self) {
        for open in &mut self.open {
            open.after.pop();
        }
        if self.tail.pop_back().is_none() {
            self.before.pop_back();
        }
    }

    fn end(&mut self, found: &mut Vec<Match>) {
        found.append(&mut self.open);
        self.tail.clear();
        self.before.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    fn times(pieces: &[&[u8]], text: &str, ignore_case: bool) -> Vec<u64> {
        let events = (0..).zip(pieces).map(|(at, bytes)| Played {
            event: Event {
                at_ms: at * 10,
                kind: EventKind::Output(bytes.to_vec()),
            },
            wall_ms: 1000 + at * 10,
        });
        let found = search(events, &Query::new(text, ignore_case).unwrap(), 100);
        found
            .iter()
            .for_each(|at| assert_eq!(at.wall_ms, at.at_ms + 1000));
        found.iter().map(|at| at.at_ms).collect()
    }

    #[test]
    fn text_is_found_through_colours_and_across_events() {
        assert_eq!(
            times(
                &[b"say \x1b[31mhel", b"l\x1b]0;x\x07o\x1b[0m world"],
                "hello w",
                false
            ),
            [0]
        );
        assert_eq!(times(&[b"x", b"hello", b"y", b"hello"], "hello", false), [10, 30]);
        assert_eq!(times(&[b"gr\xc3", b"\xbcn"], "grün", false), [0]);
        assert_eq!(times(&[b"HeLLo"], "hEllO", true), [0]);
        assert!(times(&[b"HeLLo"], "hello", false).is_empty());
    }

    #[test]
    fn typing_with_corrections_is_found_as_it_was_left() {
        assert_eq!(times(&[b"rm -rx\x08f /"], "rm -rf /", false), [0]);
        assert_eq!(times(&[b"rm -rx\x08 \x08f /"], "rm -rf /", false), [0]);
        assert_eq!(times(&[b"rm\x1b[C-rf"], "rm -rf", false), [0]);
    }

    #[test]
    fn text_of_different_lines_or_places_is_not_joined() {
        for broken in [&b"he\r\nllo"[..], b"he\x1b[5;5Hllo", b"he\rllo", b"he\x1b[2Jllo"] {
            assert!(times(&[broken], "hello", false).is_empty(), "{broken:?}");
        }
    }

    #[test]
    fn titles_are_not_what_was_shown() {
        assert!(times(&[b"\x1b]0;hello\x07"], "hello", false).is_empty());
    }

    #[test]
    fn the_number_of_matches_is_bounded() {
        let events = || {
            let event = Event {
                at_ms: 0,
                kind: EventKind::Output(vec![b'a'; 1000]),
            };
            [
                Played {
                    event: event.clone(),
                    wall_ms: 0,
                },
                Played { event, wall_ms: 0 },
            ]
        };
        let query = Query::new("aa", false).unwrap();
        assert_eq!(search(events(), &query, 7).len(), 7);
        assert_eq!(search(events(), &query, 5000).len(), 1000);
    }

    #[test]
    fn what_is_found_comes_with_its_line() {
        let shown = |pieces: &[&str], text: &str| -> Vec<(String, String, String)> {
            let events = (0..).zip(pieces).map(|(at_ms, text)| Played {
                event: Event {
                    at_ms,
                    kind: EventKind::Output(text.as_bytes().to_vec()),
                },
                wall_ms: 0,
            });
            let found = search(events, &Query::new(text, true).unwrap(), 10);
            found.into_iter().map(|m| (m.before, m.text, m.after)).collect()
        };
        let line = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(
            shown(&["$ \x1b[1mca", "T\x1b[0m /etc/shadow\r\nroot", ":x\r\n"], "cat"),
            [line("$ ", "caT", " /etc/shadow")]
        );
        assert_eq!(
            shown(&["one two one"], "one"),
            [line("", "one", " two one"), line("one two ", "one", "")]
        );
        assert_eq!(shown(&["no\rabx\x08c"], "ab"), [line("", "ab", "c")]);
        let long = format!("{}NEEDLE{}", "ä".repeat(500), "ö".repeat(500));
        assert_eq!(
            shown(&[&long], "needle"),
            [line(&"ä".repeat(80), "NEEDLE", &"ö".repeat(80))]
        );
    }

    #[test]
    fn a_search_that_goes_on_finds_what_begins_before_and_ends_after() {
        let played = |text: &str| Played {
            event: Event {
                at_ms: 5,
                kind: EventKind::Output(text.as_bytes().to_vec()),
            },
            wall_ms: 0,
        };
        let mut search = Search::new(Query::new("hello", false).unwrap(), 10);
        search.push(&played("hello hel"));
        search.forget_found();
        search.push(&played("lo\r\nhello"));
        assert_eq!(search.finish().len(), 2);
    }

    #[test]
    fn whoever_asks_for_a_number_learns_that_there_is_more() {
        let played = |text: &str| Played {
            event: Event {
                at_ms: 0,
                kind: EventKind::Output(text.as_bytes().to_vec()),
            },
            wall_ms: 0,
        };
        for text in ["aaa", "a\na\na\n"] {
            let mut search = Search::new(Query::new("a", false).unwrap(), 2);
            search.push(&played(text));
            assert!(search.is_full());
            assert_eq!(search.finish().len(), 2);
        }
        let mut search = Search::new(Query::new("a", false).unwrap(), 2);
        search.push(&played("aa"));
        assert!(!search.is_full());
    }
}
