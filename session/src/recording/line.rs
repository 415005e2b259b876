//! A recording's events as lines of the HTTP API ([`PlayLine`]), and back.

use super::event::{Direction, Event, EventKind};
use super::playback::Played;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_core::api::{PlayEvent, PlayLine};

/// A line that is not an event of this program's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a line of the recording cannot be read: {0}")]
pub struct LineError(&'static str);

impl From<Played> for PlayLine {
    fn from(played: Played) -> PlayLine {
        let what = match played.event.kind {
            EventKind::Output(bytes) => PlayEvent::Output(STANDARD.encode(bytes)),
            EventKind::ErrorOutput(bytes) => PlayEvent::ErrorOutput(STANDARD.encode(bytes)),
            EventKind::Input(bytes) => PlayEvent::Input(STANDARD.encode(bytes)),
            EventKind::InputSize(size) => PlayEvent::InputSize(size),
            EventKind::Resize { cols, rows } => PlayEvent::Resize { cols, rows },
            EventKind::Note(text) => PlayEvent::Note(text),
            EventKind::ExecStart { command } => PlayEvent::Exec(command),
            EventKind::Exit { status } => PlayEvent::Exit(status),
            EventKind::Captured { direction, size, recorded, sha256 } => {
                let direction = direction_word(direction).to_owned();
                PlayEvent::Captured { direction, size, recorded, sha256: hex::encode(sha256) }
            }
        };
        PlayLine::Event { at_ms: played.event.at_ms, wall_ms: played.wall_ms, what }
    }
}

/// Reads an event's line back; `None` for the first and last lines, which are not events.
pub fn played(line: PlayLine) -> Result<Option<Played>, LineError> {
    let PlayLine::Event { at_ms, wall_ms, what } = line else { return Ok(None) };
    let bytes = |text: String| STANDARD.decode(text).map_err(|_| LineError("bytes are not base64"));
    let kind = match what {
        PlayEvent::Output(text) => EventKind::Output(bytes(text)?),
        PlayEvent::ErrorOutput(text) => EventKind::ErrorOutput(bytes(text)?),
        PlayEvent::Input(text) => EventKind::Input(bytes(text)?),
        PlayEvent::InputSize(size) => EventKind::InputSize(size),
        PlayEvent::Resize { cols, rows } => EventKind::Resize { cols, rows },
        PlayEvent::Note(text) => EventKind::Note(text),
        PlayEvent::Exec(command) => EventKind::ExecStart { command },
        PlayEvent::Exit(status) => EventKind::Exit { status },
        PlayEvent::Captured { direction, size, recorded, sha256 } => {
            let directions = [Direction::Input, Direction::Output, Direction::ErrorOutput];
            let direction = directions.into_iter().find(|d| direction_word(*d) == direction);
            let direction = direction.ok_or(LineError("there is no such direction"))?;
            let sha256 = hex::decode(sha256).ok().and_then(|hash| hash.try_into().ok());
            let sha256 = sha256.ok_or(LineError("the hash is not one"))?;
            EventKind::Captured { direction, size, recorded, sha256 }
        }
    };
    Ok(Some(Played { event: Event { at_ms, kind }, wall_ms }))
}

fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Input => "input",
        Direction::Output => "output",
        Direction::ErrorOutput => "error_output",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back_what_was_written() {
        let kinds = [
            EventKind::Output(vec![0, 255, 27]),
            EventKind::Input(b"x".to_vec()),
            EventKind::Resize { cols: 80, rows: 24 },
            EventKind::Exit { status: 3 },
            EventKind::Captured { direction: Direction::ErrorOutput, size: 9, recorded: 1, sha256: [7; 32] },
        ];
        for kind in kinds {
            let event = Played { event: Event { at_ms: 5, kind }, wall_ms: 9 };
            assert_eq!(played(event.clone().into()), Ok(Some(event)));
        }
        let bad = PlayLine::Event { at_ms: 0, wall_ms: 0, what: PlayEvent::Output("*".into()) };
        assert!(played(bad).is_err());
    }
}
