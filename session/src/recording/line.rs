//! Events as the lines in which a node gives a recording out, and back again on the side that plays.

use super::event::{Direction, Event, EventKind};
use super::playback::Played;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_core::api::{PlayEvent, PlayLine};

/// Why a line is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Bytes that are not base64.
    #[error("a line of the recording holds malformed base64")]
    Base64,
    /// A direction that does not exist.
    #[error("a line of the recording names an unknown direction")]
    Direction,
    /// Not the hash that was announced.
    #[error("a line of the recording holds a malformed hash")]
    Hash,
}

/// The line of an event.
pub fn event_line(played: &Played) -> PlayLine {
    let what = match &played.event.kind {
        EventKind::Output(bytes) => PlayEvent::Output(STANDARD.encode(bytes)),
        EventKind::ErrorOutput(bytes) => PlayEvent::ErrorOutput(STANDARD.encode(bytes)),
        EventKind::Input(bytes) => PlayEvent::Input(STANDARD.encode(bytes)),
        EventKind::InputSize(size) => PlayEvent::InputSize(*size),
        EventKind::Resize { cols, rows } => PlayEvent::Resize {
            cols: *cols,
            rows: *rows,
        },
        EventKind::Note(text) => PlayEvent::Note(text.clone()),
        EventKind::ExecStart { command } => PlayEvent::Exec(command.clone()),
        EventKind::Exit { status } => PlayEvent::Exit(*status),
        EventKind::Captured {
            direction,
            size,
            recorded,
            sha256,
        } => PlayEvent::Captured {
            direction: name(*direction).to_owned(),
            size: *size,
            recorded: *recorded,
            sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        },
    };
    PlayLine::Event {
        at_ms: played.event.at_ms,
        wall_ms: played.wall_ms,
        what,
    }
}

/// The event of a line; none for the lines before and after the events.
pub fn read_line(line: PlayLine) -> Result<Option<Played>, LineError> {
    let PlayLine::Event { at_ms, wall_ms, what } = line else {
        return Ok(None);
    };
    let bytes = |text: String| STANDARD.decode(text).map_err(|_| LineError::Base64);
    let kind = match what {
        PlayEvent::Output(text) => EventKind::Output(bytes(text)?),
        PlayEvent::ErrorOutput(text) => EventKind::ErrorOutput(bytes(text)?),
        PlayEvent::Input(text) => EventKind::Input(bytes(text)?),
        PlayEvent::InputSize(size) => EventKind::InputSize(size),
        PlayEvent::Resize { cols, rows } => EventKind::Resize { cols, rows },
        PlayEvent::Note(text) => EventKind::Note(text),
        PlayEvent::Exec(command) => EventKind::ExecStart { command },
        PlayEvent::Exit(status) => EventKind::Exit { status },
        PlayEvent::Captured {
            direction,
            size,
            recorded,
            sha256,
        } => EventKind::Captured {
            direction: [Direction::Input, Direction::Output, Direction::ErrorOutput]
                .into_iter()
                .find(|known| name(*known) == direction)
                .ok_or(LineError::Direction)?,
            size,
            recorded,
            sha256: unhex(&sha256).ok_or(LineError::Hash)?,
        },
    };
    Ok(Some(Played {
        event: Event { at_ms, kind },
        wall_ms,
    }))
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Input => "input",
        Direction::Output => "output",
        Direction::ErrorOutput => "error_output",
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (nth, byte) in text.bytes().enumerate() {
        out[nth / 2] = out[nth / 2] << 4 | u8::try_from(char::from(byte).to_digit(16)?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_comes_back_from_its_line() {
        let kinds = [
            EventKind::Output(vec![0, 255, 10]),
            EventKind::ErrorOutput(vec![1]),
            EventKind::Input(vec![]),
            EventKind::InputSize(u64::MAX),
            EventKind::Resize { cols: 1, rows: 2 },
            EventKind::Note("\u{1b}\n\"".into()),
            EventKind::ExecStart { command: "ls".into() },
            EventKind::Exit { status: 3 },
            EventKind::Captured {
                direction: Direction::ErrorOutput,
                size: 9,
                recorded: 8,
                sha256: [0xa7; 32],
            },
            EventKind::Captured {
                direction: Direction::Input,
                size: 9,
                recorded: 8,
                sha256: [0; 32],
            },
            EventKind::Captured {
                direction: Direction::Output,
                size: 9,
                recorded: 8,
                sha256: [1; 32],
            },
        ];
        for kind in kinds {
            let played = Played {
                event: Event { at_ms: 5, kind },
                wall_ms: 6,
            };
            let text = serde_json::to_string(&event_line(&played)).unwrap();
            assert!(!text.contains(['\n', '\u{1b}']), "one line: {text}");
            assert_eq!(
                read_line(serde_json::from_str(&text).unwrap()).unwrap(),
                Some(played)
            );
        }
    }

    #[test]
    fn malformed_lines_are_refused() {
        let line = |what| PlayLine::Event {
            at_ms: 0,
            wall_ms: 0,
            what,
        };
        let captured = |direction: &str, sha256: &str| {
            line(PlayEvent::Captured {
                direction: direction.into(),
                size: 0,
                recorded: 0,
                sha256: sha256.into(),
            })
        };
        assert_eq!(
            read_line(line(PlayEvent::Output("?".into()))),
            Err(LineError::Base64)
        );
        assert_eq!(
            read_line(captured("up", &"0".repeat(64))),
            Err(LineError::Direction)
        );
        assert_eq!(read_line(captured("input", "00")), Err(LineError::Hash));
        assert_eq!(
            read_line(captured("input", &"g".repeat(64))),
            Err(LineError::Hash)
        );
        assert_eq!(
            read_line(captured("input", &"é".repeat(32))),
            Err(LineError::Hash)
        );
        let end = PlayLine::End {
            complete: true,
            text: String::new(),
        };
        assert_eq!(read_line(end), Ok(None));
    }
}
