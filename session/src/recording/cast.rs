//! Export to asciicast v2: a header line, then a line for each event, as asciinema and its kin read it.

use super::event::EventKind;
use super::playback::Played;
use super::utf8::Utf8Stream;
use serde_json::{Value, json};
use std::io::{self, Write};

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CastHeader {
    /// Columns at the start, if no resize comes first.
    pub cols: u16,
    /// Rows at the start, if no resize comes first.
    pub rows: u16,
    /// When the session began, in seconds since 1970.
    pub timestamp: u64,
    /// A title, if there is one.
    pub title: Option<String>,
    /// The names of the rules by which parts of what follows were masked.
    pub redacted: Vec<String>,
}

/// Writes asciicast v2 as events come.
///
/// The bytes are those of the session: it is for the program that plays them to be careful with escape sequences.
#[derive(Debug)]
pub struct CastWriter {
    /// Still to be written; a resize before anything else changes it.
    header: Option<CastHeader>,
    // Two streams may be cut in the middle of a character independently.
    output: Utf8Stream,
    error_output: Utf8Stream,
    last_ms: u64,
}

impl CastWriter {
    /// A writer; the header comes out with the first event.
    pub fn new(header: CastHeader) -> Self {
        Self {
            header: Some(header),
            output: Utf8Stream::default(),
            error_output: Utf8Stream::default(),
            last_ms: 0,
        }
    }

    /// Appends what `event` becomes to `out`. A resize at the very start becomes the size in the header.
    pub fn push(&mut self, event: &EventKind, at_ms: u64, out: &mut String) {
        if let (Some(header), EventKind::Resize { cols, rows }) = (&mut self.header, event) {
            (header.cols, header.rows) = (*cols, *rows);
            return;
        }
        self.begin(out);
        self.last_ms = at_ms;
        let (code, text) = match event {
            EventKind::Output(bytes) => ("o", self.output.push(bytes)),
            EventKind::ErrorOutput(bytes) => ("o", self.error_output.push(bytes)),
            EventKind::Resize { cols, rows } => ("r", format!("{cols}x{rows}")),
            EventKind::Note(text) => ("m", text.clone()),
            EventKind::ExecStart { command } => ("m", format!("exec: {command}")),
            EventKind::Exit { status } => ("m", format!("exit status {status}")),
            // What was typed is not part of what was seen.
            EventKind::Input(_) | EventKind::InputSize(_) | EventKind::Captured { .. } => return,
        };
        // A character that is not complete yet shows nothing.
        if code != "o" || !text.is_empty() {
            line(out, at_ms, code, &text);
        }
    }

    /// Appends what is left at the end, and how much each rule masked: a marker, which players show or pass over.
    pub fn finish_redacted<'r>(mut self, masked: impl Iterator<Item = (&'r str, u64)>, out: &mut String) {
        self.finish_events(out);
        let masked: Vec<String> = masked.map(|(name, count)| format!("{name} {count}")).collect();
        if !masked.is_empty() {
            line(
                out,
                self.last_ms,
                "m",
                &format!("redacted: {}", masked.join(", ")),
            );
        }
    }

    /// Appends what is left at the end.
    pub fn finish(mut self, out: &mut String) {
        self.finish_events(out);
    }

    fn finish_events(&mut self, out: &mut String) {
        self.begin(out);
        for rest in [self.output.finish(), self.error_output.finish()] {
            if !rest.is_empty() {
                line(out, self.last_ms, "o", rest);
            }
        }
    }

    fn begin(&mut self, out: &mut String) {
        let Some(CastHeader {
            cols,
            rows,
            timestamp,
            title,
            redacted,
        }) = self.header.take()
        else {
            return;
        };
        let mut first = json!({"version": 2, "width": cols, "height": rows, "timestamp": timestamp});
        if let (Some(title), Some(fields)) = (title, first.as_object_mut()) {
            fields.insert("title".into(), Value::from(title));
        }
        if let (false, Some(fields)) = (redacted.is_empty(), first.as_object_mut()) {
            fields.insert("x_palisade".into(), json!({ "redacted": redacted }));
        }
        out.push_str(&first.to_string());
        out.push('\n');
    }
}

/// Writes `events` as asciicast v2.
pub fn write_asciicast(
    header: CastHeader,
    events: impl IntoIterator<Item = Played>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut writer = CastWriter::new(header);
    let mut text = String::new();
    for Played { event, .. } in events {
        writer.push(&event.kind, event.at_ms, &mut text);
        out.write_all(text.as_bytes())?;
        text.clear();
    }
    writer.finish(&mut text);
    out.write_all(text.as_bytes())
}

fn line(out: &mut String, at_ms: u64, code: &str, text: &str) {
    let (secs, ms) = (at_ms / 1000, at_ms % 1000);
    out.push_str(&format!("[{secs}.{ms:03},\"{code}\",{}]\n", Value::from(text)));
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    fn cast(events: Vec<(u64, EventKind)>) -> Vec<Value> {
        let header = CastHeader {
            cols: 80,
            rows: 24,
            timestamp: 1_800_000_000,
            title: Some("a \"b\"\n".into()),
            redacted: Vec::new(),
        };
        let events = events.into_iter().map(|(at_ms, kind)| Played {
            event: Event { at_ms, kind },
            wall_ms: 0,
        });
        let mut out = Vec::new();
        write_asciicast(header, events, &mut out).unwrap();
        String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn events_become_lines() {
        use EventKind::*;
        let lines = cast(vec![
            (0, Resize { cols: 100, rows: 30 }),
            (5, Output(b"a\x1b[0m\"\\\r\n".to_vec())),
            (1234, InputSize(3)),
            (1500, Resize { cols: 120, rows: 40 }),
            (1600, Note("watcher joined".into())),
            (2000, Exit { status: 1 }),
        ]);
        assert_eq!(
            lines,
            [
                json!({"version": 2, "width": 100, "height": 30, "timestamp": 1_800_000_000u64, "title": "a \"b\"\n"}),
                json!([0.005, "o", "a\u{1b}[0m\"\\\r\n"]),
                json!([1.5, "r", "120x40"]),
                json!([1.6, "m", "watcher joined"]),
                json!([2.0, "m", "exit status 1"]),
            ]
        );
    }

    #[test]
    fn characters_cut_between_events_are_whole_and_broken_ones_are_marked() {
        use EventKind::*;
        let lines = cast(vec![
            (1, Output(b"\xe2\x82".to_vec())),
            (2, ErrorOutput(b"\xff".to_vec())),
            (3, Output(b"\xac\xf0".to_vec())),
        ]);
        assert_eq!(
            lines[1..],
            [
                json!([0.002, "o", "\u{fffd}"]),
                json!([0.003, "o", "€"]),
                json!([0.003, "o", "\u{fffd}"])
            ]
        );
    }

    #[test]
    fn a_masked_copy_says_so_first_and_last() {
        let header = CastHeader {
            cols: 80,
            rows: 24,
            timestamp: 0,
            title: None,
            redacted: vec!["key".into(), "word".into()],
        };
        let (mut writer, mut out) = (CastWriter::new(header), String::new());
        writer.push(&EventKind::Output(b"***".to_vec()), 7, &mut out);
        writer.finish_redacted([("key", 1), ("word", 0)].into_iter(), &mut out);
        assert_eq!(
            out,
            "{\"version\":2,\"width\":80,\"height\":24,\"timestamp\":0,\"x_palisade\":{\"redacted\":[\"key\",\"word\"]}}\n\
             [0.007,\"o\",\"***\"]\n[0.007,\"m\",\"redacted: key 1, word 0\"]\n"
        );
    }

    #[test]
    fn an_empty_recording_is_a_header() {
        assert_eq!(cast(vec![]).len(), 1);
    }
}
