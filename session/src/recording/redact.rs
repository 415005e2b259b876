//! Masking what must not leave the cluster: a copy of a recording's events in which the matches of some rules are `*`.
//!
//! Rules are tried on each line as it was seen, with the escape sequences left out and whatever events it came in; what
//! matches is masked where it stands, one `*` for each character, and the sequences between and the times stay. Strings
//! for the terminal itself (titles, the clipboard, links, pictures) are no part of a line: they are left out altogether,
//! since what they say would not be looked at. So are hashes of what went by, which would let anybody test guesses.
//!
//! A line is held back until it is over. How much is held is bounded by the constants below, whatever was recorded.

use super::event::{Event, EventKind};
use super::playback::Played;
use super::shown::{LineStep, line_step};
use super::utf8::Utf8Stream;
use super::vt::{Inside, Vt};
use palisade_core::pattern::{Finder, PatternError};
use palisade_core::record::RedactRule;
use std::collections::{BTreeMap, VecDeque};

/// A line that is longer is taken for two: a match across that place is not found.
const LINE_BYTES_MAX: usize = 64 << 10;
/// The same of what it came in, escape sequences included.
const LINE_SPAN_MAX: u64 = 128 << 10;
/// Characters that are looked at before one of them is taken back.
const TAKEN_BACK_CHARS: usize = 256;
/// Events that wait for the end of a line of another stream.
const HELD_EVENTS_MAX: usize = LINE_SPAN_MAX as usize + (64 << 10);
/// Bytes of those.
const HELD_BYTES_MAX: usize = 4 << 20;

/// Rules, ready to be used.
#[derive(Debug, Clone, Default)]
pub struct Masks(Vec<(String, Finder)>);

impl Masks {
    /// Compiles rules.
    pub fn new(rules: &[RedactRule]) -> Result<Self, PatternError> {
        let compiled = rules.iter().map(|rule| {
            let finder = rule.pattern.finder()?;
            Ok((rule.name.to_string(), finder))
        });
        compiled.collect::<Result<_, _>>().map(Masks)
    }

    /// Whether there are none: then nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    /// A text with what they mask, line by line.
    pub fn text(&self, text: &str) -> String {
        self.counted(text, &mut vec![0; self.0.len()])
    }

    fn counted(&self, text: &str, counts: &mut [u64]) -> String {
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let (line, end) = match line.strip_suffix('\n') {
                Some(line) => (line, "\n"),
                None => (line, ""),
            };
            let places: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
            let mut masked = vec![false; places.len()];
            self.mark(line, &places, &mut masked, counts);
            let chars = line.chars().zip(masked);
            out.extend(chars.map(|(c, masked)| if masked { '*' } else { c }));
            out.push_str(end);
        }
        out
    }

    /// Marks the characters of a line that rules match, and counts matches by which something new is marked. `places`
    /// says where each character begins.
    fn mark(&self, line: &str, places: &[usize], masked: &mut [bool], counts: &mut [u64]) {
        for ((_, finder), count) in self.0.iter().zip(counts) {
            for found in finder.find_in(line) {
                let from = places.partition_point(|at| *at < found.start);
                let to = places.partition_point(|at| *at < found.end);
                let marks = &mut masked[from..to];
                if marks.contains(&false) {
                    *count += 1;
                    marks.fill(true);
                }
            }
        }
    }
}

/// Makes the masked copy: events go in as they were recorded, and come out in the same order, a line later.
#[derive(Debug)]
pub struct Redactor {
    masks: Masks,
    counts: Vec<u64>,
    streams: [Stream; 3],
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// An event that waits.
#[derive(Debug)]
struct Held {
    played: Played,
    /// Where its bytes stand, if it has any: which stream, and up to where.
    bytes: Option<(usize, u64)>,
}

impl Redactor {
    /// A copy by these rules. Without rules everything comes out as it goes in.
    pub fn new(masks: Masks) -> Self {
        Self {
            counts: vec![0; masks.0.len()],
            masks,
            streams: Default::default(),
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Takes what happened next, and gives what may leave by now.
    pub fn push(&mut self, played: Played) -> Vec<Played> {
        if self.masks.is_empty() {
            return vec![played];
        }
        let Played { event, wall_ms } = played;
        let kind = match event.kind {
            EventKind::Note(text) => EventKind::Note(self.masks.counted(&text, &mut self.counts)),
            EventKind::ExecStart { command } => EventKind::ExecStart {
                command: self.masks.counted(&command, &mut self.counts),
            },
            EventKind::Captured { .. } => return Vec::new(),
            other => other,
        };
        let bytes = stream_of(&kind).map(|(nth, bytes)| {
            let stream = &mut self.streams[nth];
            stream.take(bytes, &self.masks, &mut self.counts);
            self.held_bytes += bytes.len();
            (nth, stream.taken)
        });
        let at_ms = event.at_ms;
        let event = Event { at_ms, kind };
        self.held.push_back(Held {
            played: Played { event, wall_ms },
            bytes,
        });
        let mut out = self.release();
        while self.held.len() > HELD_EVENTS_MAX || self.held_bytes > HELD_BYTES_MAX {
            // A line of one stream waits for its end while others go on: it is taken to be over.
            if let Some((nth, _)) = self.held.front().and_then(|held| held.bytes) {
                self.streams[nth].close(&self.masks, &mut self.counts);
            }
            out.extend(self.release());
        }
        out
    }

    /// The rest.
    pub fn finish(&mut self) -> Vec<Played> {
        for stream in &mut self.streams {
            stream.close(&self.masks, &mut self.counts);
        }
        self.release()
    }

    /// How many matches of each rule were masked so far.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        let names = self.masks.0.iter().map(|(name, _)| name.as_str());
        names.zip(self.counts.iter().copied())
    }

    fn release(&mut self) -> Vec<Played> {
        let mut out = Vec::new();
        while let Some(first) = self.held.front() {
            if let Some((nth, end)) = first.bytes
                && self.streams[nth].decided() < end
            {
                break;
            }
            let Some(Held { mut played, bytes }) = self.held.pop_front() else {
                break;
            };
            if let Some((nth, end)) = bytes {
                let (EventKind::Output(bytes) | EventKind::ErrorOutput(bytes) | EventKind::Input(bytes)) =
                    &mut played.event.kind
                else {
                    continue;
                };
                self.held_bytes -= bytes.len();
                let was_empty = bytes.is_empty();
                *bytes = self.streams[nth].edited(bytes, end);
                // Nothing is left of it: it belonged to a string for the terminal, or to a character that began before.
                if bytes.is_empty() && !was_empty {
                    continue;
                }
            }
            out.push(played);
        }
        out
    }
}

fn stream_of(kind: &EventKind) -> Option<(usize, &[u8])> {
    match kind {
        EventKind::Output(bytes) => Some((0, bytes)),
        EventKind::ErrorOutput(bytes) => Some((1, bytes)),
        EventKind::Input(bytes) => Some((2, bytes)),
        EventKind::InputSize(_)
        | EventKind::Resize { .. }
        | EventKind::Note(_)
        | EventKind::ExecStart { .. }
        | EventKind::Exit { .. }
        | EventKind::Captured { .. } => None,
    }
}

/// One direction's bytes, and the line that is being written there. Places count its bytes from the first on.
#[derive(Debug, Default)]
struct Stream {
    utf8: Utf8Stream,
    vt: Vt,
    /// Bytes that came.
    taken: u64,
    /// Bytes of whole characters that came.
    read: u64,
    /// Where the sequence began that may turn out to be a string for the terminal.
    escape_at: u64,
    /// Everything before this is decided, whatever is open: the line was taken to be over.
    closed: u64,
    line: Vec<Written>,
    line_bytes: usize,
    /// Whether something was written since the line was looked at.
    fresh: bool,
    /// What is changed, by where it begins: where it ends, and whether a `*` takes its place.
    edits: BTreeMap<u64, (u64, bool)>,
}

/// A character of the line.
#[derive(Debug, Clone, Copy)]
struct Written {
    c: char,
    /// Where its bytes begin.
    at: u64,
    /// How many there are; none stand for a gap.
    size: u8,
    masked: bool,
}

impl Stream {
    fn take(&mut self, bytes: &[u8], masks: &Masks, counts: &mut [u64]) {
        self.taken += bytes.len() as u64;
        let mut utf8 = std::mem::take(&mut self.utf8);
        utf8.each(bytes, |c, size| {
            let at = self.read;
            self.read += size as u64;
            self.step(c, at, masks, counts);
        });
        self.utf8 = utf8;
    }

    fn step(&mut self, c: char, at: u64, masks: &Masks, counts: &mut [u64]) {
        let before = self.vt.inside();
        if c == '\x1b' {
            self.escape_at = at;
        }
        let mut vt = std::mem::take(&mut self.vt);
        let size = (self.read - at) as u8;
        vt.step(c, &mut |piece| match line_step(piece) {
            LineStep::Add(c) => self.add(
                Written {
                    c,
                    at,
                    size,
                    masked: false,
                },
                masks,
                counts,
            ),
            LineStep::Gap(spaces) => {
                let gap = Written {
                    c: ' ',
                    at,
                    size: 0,
                    masked: false,
                };
                (0..spaces).for_each(|_| self.add(gap, masks, counts));
            }
            LineStep::Back => self.take_back(masks, counts),
            LineStep::End => self.end_line(masks, counts),
            LineStep::Nothing => {}
        });
        self.vt = vt;
        match (before, self.vt.inside()) {
            // In a string, or at its end.
            (Inside::Text, Inside::Text | Inside::Other) => self.leave_out(at),
            // It begins: with its escape, or with one character for both.
            (Inside::Escape | Inside::TextEscape, Inside::Text) => self.leave_out(self.escape_at),
            (Inside::Other, Inside::Text) => self.leave_out(at),
            (Inside::TextEscape, Inside::Other) if c == '\\' => self.leave_out(self.escape_at),
            _ => {}
        }
        // A line whose beginning lies so far back is taken to end here, wherever events begin and end.
        if self
            .line
            .first()
            .is_some_and(|first| self.read - first.at >= LINE_SPAN_MAX)
        {
            self.end_line(masks, counts);
        }
    }

    fn leave_out(&mut self, from: u64) {
        if let Some(mut last) = self.edits.last_entry()
            && last.get() == &(from, false)
        {
            last.get_mut().0 = self.read;
            return;
        }
        self.edits.insert(from, (self.read, false));
    }

    fn add(&mut self, written: Written, masks: &Masks, counts: &mut [u64]) {
        if self.line_bytes + written.c.len_utf8() > LINE_BYTES_MAX {
            self.end_line(masks, counts);
        }
        self.line_bytes += written.c.len_utf8();
        self.line.push(written);
        self.fresh = true;
    }

    fn take_back(&mut self, masks: &Masks, counts: &mut [u64]) {
        // It was seen before it was taken back.
        if std::mem::take(&mut self.fresh) {
            self.look(self.line.len().saturating_sub(TAKEN_BACK_CHARS), masks, counts);
        }
        if let Some(gone) = self.line.pop() {
            self.line_bytes -= gone.c.len_utf8();
        }
    }

    fn end_line(&mut self, masks: &Masks, counts: &mut [u64]) {
        self.look(0, masks, counts);
        self.line.clear();
        self.line_bytes = 0;
        self.fresh = false;
    }

    /// Masks what rules match in the line from the `from`th character on.
    fn look(&mut self, from: usize, masks: &Masks, counts: &mut [u64]) {
        let part = &mut self.line[from..];
        if part.is_empty() {
            return;
        }
        let (mut text, mut places) = (String::new(), Vec::with_capacity(part.len()));
        for written in &*part {
            places.push(text.len());
            text.push(written.c);
        }
        let mut masked: Vec<bool> = part.iter().map(|written| written.masked).collect();
        masks.mark(&text, &places, &mut masked, counts);
        for (written, masked) in part.iter_mut().zip(masked) {
            if masked && !written.masked {
                written.masked = true;
                if written.size > 0 {
                    let end = written.at + u64::from(written.size);
                    self.edits.insert(written.at, (end, true));
                }
            }
        }
    }

    /// Everything is decided, whatever is open.
    fn close(&mut self, masks: &Masks, counts: &mut [u64]) {
        self.end_line(masks, counts);
        self.closed = self.taken;
    }

    /// Up to where it is known what becomes of the bytes.
    fn decided(&self) -> u64 {
        let mut open = self.read;
        if let Some(first) = self.line.first() {
            open = open.min(first.at);
        }
        if matches!(self.vt.inside(), Inside::Escape | Inside::TextEscape) {
            open = open.min(self.escape_at);
        }
        open.max(self.closed)
    }

    /// What leaves of the bytes that end at `end`.
    fn edited(&mut self, bytes: &[u8], end: u64) -> Vec<u8> {
        let begin = end - bytes.len() as u64;
        let piece = |from: u64, to: u64| {
            let place = |at: u64| (at.clamp(begin, end) - begin) as usize;
            &bytes[place(from)..place(to.max(from))]
        };
        let (mut out, mut at) = (Vec::with_capacity(bytes.len()), begin);
        while let Some(edit) = self.edits.first_entry() {
            let (from, &(to, star)) = (*edit.key(), edit.get());
            if from >= end {
                break;
            }
            out.extend_from_slice(piece(at, from));
            if star && from >= begin {
                out.push(b'*');
            }
            at = at.max(to.min(end));
            if to > end {
                break;
            }
            edit.remove();
        }
        out.extend_from_slice(piece(at, end));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::name::Name;
    use palisade_core::pattern::Mask;

    fn masks(rules: &[(&str, &str)]) -> Masks {
        let rules: Vec<RedactRule> = rules
            .iter()
            .map(|(name, pattern)| RedactRule {
                name: Name::parse(name).unwrap(),
                pattern: Mask::parse(pattern).unwrap(),
            })
            .collect();
        Masks::new(&rules).unwrap()
    }

    fn played(at_ms: u64, kind: EventKind) -> Played {
        Played {
            event: Event { at_ms, kind },
            wall_ms: at_ms,
        }
    }

    /// What leaves of output that came in these pieces, piece by piece, with the time of each.
    fn copy(rules: &[(&str, &str)], pieces: &[&str]) -> (Vec<(u64, String)>, Vec<u64>) {
        let mut redactor = Redactor::new(masks(rules));
        let mut out = Vec::new();
        for (at, piece) in (0..).zip(pieces) {
            out.extend(redactor.push(played(at, EventKind::Output(piece.as_bytes().to_vec()))));
        }
        out.extend(redactor.finish());
        let texts = out.into_iter().map(|played| match played.event.kind {
            EventKind::Output(bytes) => (played.event.at_ms, String::from_utf8(bytes).unwrap()),
            other => panic!("{other:?}"),
        });
        (texts.collect(), redactor.counts().map(|(_, n)| n).collect())
    }

    #[test]
    fn what_was_seen_is_masked_wherever_it_was_cut_and_however_it_was_coloured() {
        let (out, counts) = copy(
            &[("key", "AKIA[0-9]{4}"), ("word", "(?i)hunter2")],
            &[
                "id AK",
                "IA12\x1b[31m3",
                "4\x1b[0m, Hun",
                "tér \r\nHUNT",
                "ER2 ",
                "end",
            ],
        );
        let texts: Vec<&str> = out.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "id **",
                "****\x1b[31m*",
                "*\x1b[0m, Hun",
                "tér \r\n****",
                "*** ",
                "end"
            ]
        );
        assert_eq!(
            out.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5]
        );
        assert_eq!(counts, [1, 1]);
    }

    #[test]
    fn what_was_taken_back_had_been_seen() {
        let (out, counts) = copy(
            &[("word", "hunter2")],
            &["hunter2\x08\x08\x08\x08\x08\x08\x08x\r\n"],
        );
        assert_eq!(out[0].1, "*******\x08\x08\x08\x08\x08\x08\x08x\r\n");
        assert_eq!(counts, [1]);
        let (out, _) = copy(&[("word", "hunter2")], &["hunx\x08ter2\r\n"]);
        assert_eq!(out[0].1, "***x\x08****\r\n");
    }

    #[test]
    fn titles_and_other_strings_for_the_terminal_are_left_out() {
        let (out, counts) = copy(
            &[("word", "hunter2")],
            &[
                "a\x1b]0;hun",
                "ter2\x07b\x1b]52;c;aHVudGVyMg==\x1b",
                "\\c\u{9d}8;;x\u{9c}d\x1b",
                "[1me",
            ],
        );
        let text: String = out.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(text, "abcd\x1b[1me");
        assert_eq!(counts, [0]);
    }

    #[test]
    fn characters_cut_between_events_get_one_star() {
        let mut redactor = Redactor::new(masks(&[("sum", "€+")]));
        let mut out = Vec::new();
        for bytes in [&b"x\xe2\x82"[..], b"\xac\xe2", b"\x82", b"\xac \xff\n"] {
            out.extend(redactor.push(played(0, EventKind::Output(bytes.to_vec()))));
        }
        let bytes: Vec<u8> = out
            .iter()
            .flat_map(|played| match &played.event.kind {
                EventKind::Output(bytes) => bytes.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        // What is no text stays as it is.
        assert_eq!(bytes, b"x** \xff\n");
    }

    #[test]
    fn everything_else_is_masked_or_left_out_and_keeps_its_place() {
        let mut redactor = Redactor::new(masks(&[("word", "hunter2")]));
        let mut out = redactor.push(played(0, EventKind::Output(b"open line hunt".to_vec())));
        out.extend(redactor.push(played(1, EventKind::Resize { cols: 1, rows: 2 })));
        assert_eq!(out, [], "the line may go on");
        out.extend(redactor.push(played(
            2,
            EventKind::ExecStart {
                command: "mysql -phunter2".into(),
            },
        )));
        out.extend(redactor.push(played(3, EventKind::Note("hunter2 joined".into()))));
        out.extend(redactor.push(played(
            4,
            EventKind::Captured {
                direction: super::super::event::Direction::Output,
                size: 1,
                recorded: 1,
                sha256: [7; 32],
            },
        )));
        out.extend(redactor.push(played(5, EventKind::Output(b"er2\n".to_vec()))));
        out.extend(redactor.push(played(6, EventKind::Input(b"hunter2\n".to_vec()))));
        let kinds: Vec<EventKind> = out.into_iter().map(|played| played.event.kind).collect();
        assert_eq!(
            kinds,
            [
                EventKind::Output(b"open line ****".to_vec()),
                EventKind::Resize { cols: 1, rows: 2 },
                EventKind::ExecStart {
                    command: "mysql -p*******".into()
                },
                EventKind::Note("******* joined".into()),
                EventKind::Output(b"***\n".to_vec()),
                EventKind::Input(b"*******\n".to_vec()),
            ]
        );
    }

    #[test]
    fn without_rules_nothing_is_held_or_changed() {
        let mut redactor = Redactor::new(Masks::default());
        let event = played(0, EventKind::Output(b"open \x1b]0;t\x07".to_vec()));
        assert_eq!(redactor.push(event.clone()), [event]);
        assert!(redactor.finish().is_empty());
    }

    #[test]
    fn what_is_held_is_bounded() {
        // A line without an end, a string without an end, and a line of one stream that waits while another goes on.
        let mut redactor = Redactor::new(masks(&[("word", "hunter2")]));
        let (mut most, mut left) = (0, 0usize);
        for n in 0..3000u64 {
            let kind = match n {
                0 => EventKind::ErrorOutput(b"waits".to_vec()),
                1..1000 => EventKind::Output(vec![b'x'; 32 << 10]),
                1000 => EventKind::Output(b"y\x1bP".to_vec()),
                _ => EventKind::Output(vec![b'z'; 32 << 10]),
            };
            left += redactor.push(played(n, kind)).len();
            most = most.max(redactor.held_bytes);
            let lines: usize = redactor.streams.iter().map(|stream| stream.line_bytes).sum();
            assert!(lines <= 2 * LINE_BYTES_MAX);
            assert!(redactor.streams[0].edits.len() < 1000);
        }
        left += redactor.finish().len();
        assert!(most <= HELD_BYTES_MAX + (32 << 10), "{most}");
        // Of the string for the terminal nothing leaves but the character before it.
        assert_eq!(left, 1001);
    }
}
