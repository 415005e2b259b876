//! Finding text in a recording, as a person saw it: escape sequences do not count.

use super::event::EventKind;
use super::playback::Played;
use super::vt::{Piece, Vt};
use std::collections::VecDeque;

const QUERY_CHARS_MAX: usize = 256;

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    wanted: Vec<char>,
    ignore_case: bool,
}

/// Why something cannot be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Nothing is everywhere.
    #[error("there is nothing to look for")]
    Empty,
    /// Longer than any line of interest.
    #[error("the text to look for is longer than {QUERY_CHARS_MAX} characters")]
    TooLong,
    /// A line break or the like: lines are looked at one by one.
    #[error("the text to look for has a control character")]
    Control,
}

/// Where a text was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// When its first character appeared, in milliseconds since the session began.
    pub at_ms: u64,
    /// The same by the clock on the wall, in milliseconds since 1970.
    pub wall_ms: u64,
}

impl Query {
    /// Looks for `text` within a line.
    pub fn new(text: &str, ignore_case: bool) -> Result<Self, QueryError> {
        if text.is_empty() {
            return Err(QueryError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(QueryError::Control);
        }
        let mut query = Self {
            wanted: Vec::new(),
            ignore_case,
        };
        query.wanted = text.chars().map(|c| query.fold(c)).collect();
        if query.wanted.len() > QUERY_CHARS_MAX {
            Err(QueryError::TooLong)
        } else {
            Ok(query)
        }
    }

    /// One character for one, so that places stay places.
    fn fold(&self, c: char) -> char {
        if self.ignore_case {
            c.to_lowercase().next().unwrap_or(c)
        } else {
            c
        }
    }
}

/// Finds `query` in what was shown, up to `max` times. Memory does not grow with the recording.
pub fn search(events: impl IntoIterator<Item = Played>, query: &Query, max: usize) -> Vec<Match> {
    let mut found = Vec::new();
    let (mut output, mut error_output) = (Line::default(), Line::default());
    for Played { event, wall_ms } in events {
        if found.len() >= max {
            break;
        }
        let at = Match {
            at_ms: event.at_ms,
            wall_ms,
        };
        match event.kind {
            EventKind::Output(bytes) => output.look(&bytes, &at, query, &mut found),
            EventKind::ErrorOutput(bytes) => error_output.look(&bytes, &at, query, &mut found),
            EventKind::ExecStart { command } => {
                Line::default().look(command.as_bytes(), &at, query, &mut found);
            }
            EventKind::Note(text) => Line::default().look(text.as_bytes(), &at, query, &mut found),
            EventKind::Input(_)
            | EventKind::InputSize(_)
            | EventKind::Resize { .. }
            | EventKind::Exit { .. }
            | EventKind::Captured { .. } => {}
        }
    }
    found.truncate(max);
    found
}

/// The end of the line being written: as much of it as the query is long.
#[derive(Default)]
struct Line {
    vt: Vt,
    tail: VecDeque<(char, Match)>,
}

impl Line {
    fn look(&mut self, bytes: &[u8], at: &Match, query: &Query, found: &mut Vec<Match>) {
        let tail = &mut self.tail;
        let mut add = |tail: &mut VecDeque<(char, Match)>, c: char| {
            if tail.len() == query.wanted.len() {
                tail.pop_front();
            }
            tail.push_back((query.fold(c), at.clone()));
            if tail.iter().map(|(c, _)| c).eq(&query.wanted) {
                found.extend(tail.front().map(|(_, first)| first.clone()));
                // What was found once is not found again in its own middle.
                tail.clear();
            }
        };
        self.vt.feed(bytes, |piece| match piece {
            Piece::Char(c) => add(tail, c),
            Piece::Control('\t') => add(tail, ' '),
            Piece::Control('\x08') => {
                tail.pop_back();
            }
            Piece::Control('\n' | '\r' | '\x0b' | '\x0c') => tail.clear(),
            // Programs that draw skip spaces instead of writing them.
            Piece::Csi { body, last: 'C' } => {
                let spaces = body.parse::<usize>().unwrap_or(1).min(QUERY_CHARS_MAX);
                (0..spaces).for_each(|_| add(tail, ' '));
            }
            // The cursor is elsewhere now: what follows does not continue what was before.
            Piece::Csi {
                last: 'A' | 'B' | 'D'..='H' | 'J' | 'd' | 'f' | 'r' | 'u' | '`',
                ..
            } => tail.clear(),
            Piece::Escape {
                last: '8' | 'D' | 'E' | 'M' | 'c',
                ..
            } => tail.clear(),
            Piece::Control(_) | Piece::Csi { .. } | Piece::Escape { .. } | Piece::Hidden => {}
        });
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
    fn searches_that_make_no_sense_are_refused() {
        assert_eq!(Query::new("", false).unwrap_err(), QueryError::Empty);
        assert_eq!(Query::new("a\nb", false).unwrap_err(), QueryError::Control);
        assert_eq!(
            Query::new(&"a".repeat(257), false).unwrap_err(),
            QueryError::TooLong
        );
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
}
