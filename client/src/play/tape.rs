//! A recording in memory: what was shown when.

use super::vt::Plain;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use palisade_core::api::{MaskedRule, PlayEvent, PlayLine};
use palisade_core::record::SessionKind;
use palisade_core::time::Timestamp;
use serde_json::Value;

/// More than this is not played but exported.
pub const TAPE_MAX: usize = 512 * 1024 * 1024;

/// A recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tape {
    /// Lines about it.
    pub title: Vec<String>,
    /// When it began.
    pub started: Timestamp,
    /// First size of the terminal: columns and rows.
    pub size: (u16, u16),
    /// What happened, in order of time.
    pub frames: Vec<Frame>,
    /// How it ended, in words.
    pub end: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Milliseconds since the session began.
    pub at_ms: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Output.
    Output(Vec<u8>),
    /// Something to know that was not on the screen.
    Remark(String),
    /// The terminal got this size.
    Resize(u16, u16),
    /// Somebody typed, or the like: only the time counts.
    Nothing,
}

/// A place where a text was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// When.
    pub at_ms: u64,
    /// The line that it was in.
    pub line: String,
}

/// A recording that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TapeError {
    /// A line makes no sense.
    #[error("line {line} cannot be read: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// It is too long to hold.
    #[error("the recording is larger than {} MiB", TAPE_MAX / (1024 * 1024))]
    TooLarge,
    /// It has no beginning.
    #[error("there is no recording in it")]
    Empty,
}

impl Tape {
    /// Reads what the API answers: one [`PlayLine`] a line.
    pub fn from_play_lines(text: &[u8]) -> Result<Self, TapeError> {
        let mut tape = Tape {
            size: (80, 24),
            ..Tape::default()
        };
        let mut begun = false;
        for (number, line) in text
            .split(|b| *b == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
        {
            let bad = |why: String| TapeError::Line {
                line: number + 1,
                why,
            };
            match serde_json::from_slice(line).map_err(|e| bad(e.to_string()))? {
                PlayLine::Start(spec) => {
                    begun = true;
                    let kind = match spec.session_kind {
                        SessionKind::Interactive => "terminal",
                        SessionKind::Exec => "command",
                        SessionKind::Sftp => "file transfer",
                        SessionKind::Forward => "forwarding",
                    };
                    tape.started = spec.started;
                    tape.title.push(format!("Session {}", spec.session));
                    tape.title.push(format!(
                        "{} as {} on {} ({kind}), {}",
                        spec.user, spec.login, spec.host, spec.started
                    ));
                    if !spec.command.is_empty() {
                        tape.title.push(format!("Command: {}", spec.command));
                    }
                }
                PlayLine::Event { at_ms, what, .. } => {
                    let what = frame(what).map_err(|_| bad("its bytes are not base64".into()))?;
                    tape.push(at_ms, what);
                }
                PlayLine::Masked(rules) => {
                    let masked = |rule: &MaskedRule| format!("{} {}", rule.name, rule.count);
                    let masked: Vec<String> = rules.iter().map(masked).collect();
                    tape.title.push(format!("Masked: {}", masked.join(", ")));
                }
                PlayLine::End { complete, text } => {
                    let kind = if complete { "complete" } else { "NOT complete" };
                    tape.end = format!("End of the recording ({kind}): {text}");
                }
            }
        }
        if !begun {
            return Err(TapeError::Empty);
        }
        if tape.end.is_empty() {
            tape.end = "End of what could be read: the recording breaks off here".into();
        }
        Ok(tape)
    }

    /// Reads an asciicast v2 file.
    pub fn from_asciicast(text: &[u8]) -> Result<Self, TapeError> {
        let mut lines = text
            .split(|b| *b == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.is_empty());
        let bad = |line: usize, why: &str| TapeError::Line {
            line: line + 1,
            why: why.to_owned(),
        };
        let (_, head) = lines.next().ok_or(TapeError::Empty)?;
        let head: Value = serde_json::from_slice(head).map_err(|e| bad(0, &e.to_string()))?;
        if head.get("version").and_then(Value::as_u64) != Some(2) {
            return Err(bad(0, "this is no asciicast of version 2"));
        }
        let cells = |name| {
            head.get(name)
                .and_then(Value::as_u64)
                .and_then(|n| u16::try_from(n).ok())
        };
        let mut tape = Tape {
            started: Timestamp::from_secs(head.get("timestamp").and_then(Value::as_u64).unwrap_or(0)),
            size: (cells("width").unwrap_or(80), cells("height").unwrap_or(24)),
            end: "End of the recording".into(),
            ..Tape::default()
        };
        tape.title
            .extend(head.get("title").and_then(Value::as_str).map(str::to_owned));
        for (number, line) in lines {
            let (at, kind, data): (f64, String, String) =
                serde_json::from_slice(line).map_err(|e| bad(number, &e.to_string()))?;
            if !at.is_finite() || !(0.0..1e12).contains(&at) {
                return Err(bad(number, "its time makes no sense"));
            }
            let what = match kind.as_str() {
                "o" => What::Output(data.into_bytes()),
                "m" => What::Remark(data),
                "r" => match data.split_once('x').map(|(c, r)| (c.parse(), r.parse())) {
                    Some((Ok(cols), Ok(rows))) => What::Resize(cols, rows),
                    _ => What::Nothing,
                },
                _ => What::Nothing,
            };
            // Checked above: finite, not negative, far below the limit.
            tape.push((at * 1000.0) as u64, what);
        }
        Ok(tape)
    }

    fn push(&mut self, at_ms: u64, what: What) {
        if self.frames.is_empty()
            && let What::Resize(cols, rows) = what
        {
            self.size = (cols, rows);
        }
        // Clocks may step back between two nodes; what is shown does not.
        let at_ms = at_ms.max(self.duration_ms());
        self.frames.push(Frame { at_ms, what });
    }

    /// When the last thing happened.
    pub fn duration_ms(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.at_ms)
    }

    /// The time of day at a place, RFC 3339 in seconds.
    pub fn wall(&self, at_ms: u64) -> String {
        Timestamp::from_secs(self.started.plus_ms(at_ms).secs()).to_string()
    }

    /// Places where a text was shown, whatever its case and colours, and wherever the output was cut.
    pub fn search(&self, wanted: &str) -> Vec<Hit> {
        let wanted = wanted.to_lowercase();
        if wanted.is_empty() {
            return Vec::new();
        }
        let (mut hits, mut plain) = (Vec::new(), Plain::default());
        // The line so far, and when each of its bytes was shown.
        let (mut line, mut times): (Vec<u8>, Vec<u64>) = (Vec::new(), Vec::new());
        let flush = |line: &mut Vec<u8>, times: &mut Vec<u64>, hits: &mut Vec<Hit>| {
            let text = String::from_utf8_lossy(line);
            if let Some(at) = text.to_lowercase().find(&wanted) {
                let at_ms = times.get(at).or(times.last()).copied().unwrap_or(0);
                hits.push(Hit {
                    at_ms,
                    line: text.into_owned(),
                });
            }
            line.clear();
            times.clear();
        };
        for frame in &self.frames {
            let What::Output(bytes) = &frame.what else {
                continue;
            };
            plain.feed(bytes, |b| {
                if b == b'\n' || line.len() >= 8192 {
                    flush(&mut line, &mut times, &mut hits);
                }
                if b != b'\n' {
                    line.push(b);
                    times.push(frame.at_ms);
                }
            });
        }
        flush(&mut line, &mut times, &mut hits);
        hits
    }
}

fn frame(event: PlayEvent) -> Result<What, base64::DecodeError> {
    Ok(match event {
        PlayEvent::Output(bytes) | PlayEvent::ErrorOutput(bytes) => What::Output(STANDARD.decode(bytes)?),
        PlayEvent::Input(_) | PlayEvent::InputSize(_) => What::Nothing,
        PlayEvent::Resize { cols, rows } => What::Resize(cols, rows),
        PlayEvent::Note(text) => What::Remark(text),
        PlayEvent::Exec(command) => What::Remark(format!("command: {command}")),
        PlayEvent::Exit(status) => What::Remark(format!("exit status {status}")),
        PlayEvent::Captured {
            direction,
            size,
            recorded,
            sha256,
        } if recorded < size => What::Remark(format!(
            "{direction}: {size} bytes, of which {recorded} are recorded; SHA-256 {sha256}"
        )),
        PlayEvent::Captured { .. } => What::Nothing,
    })
}

/// `0:01:30`.
pub fn elapsed(ms: u64) -> String {
    let secs = ms / 1000;
    format!("{}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(lines: &[&str]) -> Result<Tape, TapeError> {
        let head = r#"{"version": 2, "width": 100, "height": 30, "timestamp": 1700000000, "title": "t"}"#;
        Tape::from_asciicast(format!("{head}\n{}\n", lines.join("\n")).as_bytes())
    }

    #[test]
    fn asciicasts_are_read() {
        let tape = cast(&[
            r#"[0.5, "o", "a\u001b[1mb"]"#,
            r#"[1.25, "r", "120x40"]"#,
            r#"[2, "i", "x"]"#,
        ])
        .expect("a tape");
        assert_eq!((tape.size, tape.duration_ms()), ((100, 30), 2000));
        assert_eq!(
            tape.frames[1],
            Frame {
                at_ms: 1250,
                what: What::Resize(120, 40)
            }
        );
        assert_eq!(tape.wall(1000), "2023-11-14T22:13:21Z");
        for bad in [
            r#"[-1, "o", "x"]"#,
            r#"[1e99, "o", "x"]"#,
            "{}",
            "[1]",
            "nonsense",
        ] {
            assert!(cast(&[bad]).is_err(), "{bad}");
        }
        assert!(Tape::from_asciicast(b"").is_err());
        assert!(Tape::from_asciicast(b"{\"version\": 1}").is_err());
    }

    #[test]
    fn text_is_found_across_colours_and_cuts() {
        let tape = cast(&[
            r#"[1, "o", "$ se"]"#,
            r#"[2, "o", "cr\u001b[31met\u001b[0m-Key\r\n"]"#,
            r#"[3, "o", "\u001b]0;secret title\u0007done"]"#,
        ])
        .expect("a tape");
        let hits = tape.search("SECRET-key");
        assert_eq!(
            hits,
            [Hit {
                at_ms: 1000,
                line: "$ secret-Key".into()
            }]
        );
        assert_eq!(tape.search("title"), [], "what was not shown on the screen");
        assert_eq!(tape.search("done").len(), 1);
        assert_eq!(tape.search(""), []);
    }

    #[test]
    fn a_recording_without_an_end_says_so() {
        let start = r#"{"start":{"session":"00000000-0000-4000-8000-000000000001","session_kind":"interactive","user":"alice","login":"root","host":"web1","node":1,"mode":"best_effort","started":"2026-11-22T10:00:00Z","completeness":"live"}}"#;
        let event = r#"{"event":{"at_ms":5,"wall_ms":6,"what":{"output":"aGk="}}}"#;
        let tape = Tape::from_play_lines(format!("{start}\n{event}\n").as_bytes()).expect("a tape");
        assert_eq!(
            tape.frames,
            [Frame {
                at_ms: 5,
                what: What::Output(b"hi".to_vec())
            }]
        );
        assert!(tape.end.contains("breaks off"), "{}", tape.end);
        let end = r#"{"end":{"complete":false,"text":"node 2 died"}}"#;
        let tape = Tape::from_play_lines(format!("{start}\n{event}\n{end}").as_bytes()).expect("a tape");
        assert!(
            tape.end.contains("NOT complete") && tape.end.contains("node 2 died"),
            "{}",
            tape.end
        );
        assert_eq!(Tape::from_play_lines(b""), Err(TapeError::Empty));
        assert!(Tape::from_play_lines(b"{\"event\":1}").is_err());
    }

    #[test]
    fn time_is_shown_as_on_a_clock() {
        assert_eq!(elapsed(0), "0:00:00");
        assert_eq!(elapsed(3_723_999), "1:02:03");
    }
}
