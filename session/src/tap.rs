//! What one session leaves behind: its recording, the files that passed, and the words for its end. The same at a node
//! and at an agent, whoever carries the bytes.

use crate::files::{self, Copy, Transfer, copied_by};
use crate::recorder::{Recorded, Recorder, Ship};
use crate::recording::{CappedCapture, DataKey, Direction, EventKind as Seen};
use crate::ssh::relay::{Chunk, Outcome};
use palisade_core::event::{Event, EventKind};
use palisade_core::name::SessionId;
use palisade_core::ports::Unavailable;
use palisade_core::record::{Completeness, RecordingMode, SessionKind};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::runtime::Handle;

/// File transfers that are audited in one log entry while a session lasts.
const TRANSFERS_AT_ONCE: usize = 32;

/// What is to be recorded.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The session.
    pub session: SessionId,
    /// What kind.
    pub kind: SessionKind,
    /// When output may be shown.
    pub mode: RecordingMode,
    /// How much of an exec is kept whole, per direction, in bytes.
    pub exec_capture_bytes: u64,
    /// The command, or the name of the subsystem; empty for a shell.
    pub command: String,
    /// Columns and rows of the terminal, if there is one.
    pub terminal: Option<(u32, u32)>,
}

/// A session being watched.
#[derive(Debug)]
pub struct Tap {
    session: SessionId,
    kind: SessionKind,
    recorder: Recorder,
    capped: Option<Mutex<Capped>>,
    files: Option<Mutex<files::Watch>>,
}

/// The three streams of a program without a terminal.
#[derive(Debug)]
struct Capped {
    input: CappedCapture,
    output: CappedCapture,
    error_output: CappedCapture,
}

/// What is to be written about a session that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How much the recording holds.
    pub completeness: Completeness,
    /// Its chunks.
    pub chunks: u32,
    /// Hex SHA-256 of the last one.
    pub last_chunk: String,
    /// Bytes of output.
    pub output_bytes: u64,
    /// `session.end` and what belongs to it.
    pub events: Vec<Event>,
}

impl Tap {
    /// Begins to record. Chunks are made and shipped on `home`.
    pub fn begin(ship: Arc<dyn Ship>, plan: &Plan, key: DataKey, home: &Handle) -> Self {
        let recorder = Recorder::begin(ship, &plan.session, plan.mode, key, home);
        if let Some((columns, rows)) = plan.terminal {
            recorder.note(resized(columns, rows));
        }
        if !plan.command.is_empty() {
            recorder.note(Seen::ExecStart {
                command: plan.command.clone(),
            });
        }
        let copy: Option<Copy> = match plan.kind {
            SessionKind::Exec => copied_by(&plan.command),
            _ => None,
        };
        let capped = match plan.kind {
            SessionKind::Interactive => None,
            // What is in files is not kept: each is named with its size and hash.
            _ if copy.is_some() => None,
            SessionKind::Sftp | SessionKind::Forward => None,
            SessionKind::Exec => Some(plan.exec_capture_bytes),
        };
        let files = match (plan.kind, copy) {
            (SessionKind::Sftp, _) => Some(files::Watch::sftp()),
            (_, Some(copy)) => Some(files::Watch::copy(&copy)),
            _ => None,
        };
        Tap {
            session: plan.session.clone(),
            kind: plan.kind,
            recorder,
            capped: capped.map(|cap| Mutex::new(Capped::new(cap))),
            files: files.map(Mutex::new),
        }
    }

    /// The terminal got another size.
    pub fn resize(&self, columns: u32, rows: u32) {
        self.recorder.note(resized(columns, rows));
    }

    /// A remark for whoever plays the recording.
    pub fn remark(&self, text: String) {
        self.recorder.note(Seen::Note(text));
    }

    /// The user sends this.
    pub fn input(&self, bytes: &[u8]) {
        if let Some(files) = &self.files {
            files.lock().request(bytes);
        }
        match &self.capped {
            Some(capped) => {
                if let Some(event) = capped.lock().input.event(bytes) {
                    self.recorder.note(event);
                }
            }
            // What is typed may be a password: only how much.
            None => {
                if self.kind == SessionKind::Interactive {
                    self.recorder.note(Seen::InputSize(bytes.len() as u64));
                }
            }
        }
    }

    /// The host sends this. Ready when it may be shown.
    pub async fn output(&self, data: &[Chunk]) -> Result<(), Unavailable> {
        if let Some(files) = &self.files {
            let mut files = files.lock();
            data.iter().for_each(|chunk| files.reply(&chunk.data));
        }
        match &self.capped {
            Some(capped) => {
                let kept: Vec<_> = {
                    let mut capped = capped.lock();
                    data.iter().filter_map(|chunk| capped.output(chunk)).collect()
                };
                self.recorder.output(kept.into_iter()).await
            }
            // Everything a terminal shows is one stream.
            None if self.kind == SessionKind::Interactive => {
                let shown = data.iter().map(|chunk| Seen::Output(chunk.data.to_vec()));
                self.recorder.output(shown).await
            }
            None => Ok(()),
        }
    }

    /// Events of the files that are finished, once there are enough of them for an entry of the log.
    pub fn transfers(&self, base: &dyn Fn(EventKind) -> Event) -> Vec<Event> {
        let Some(files) = &self.files else {
            return Vec::new();
        };
        let mut files = files.lock();
        if files.waiting() < TRANSFERS_AT_ONCE {
            return Vec::new();
        }
        let done = files.done();
        drop(files);
        done.iter().map(|file| self.transfer(base, file)).collect()
    }

    fn transfer(&self, base: &dyn Fn(EventKind) -> Event, file: &Transfer) -> Event {
        let mut event = base(EventKind::FileTransfer)
            .session(self.session.as_str())
            .target(file.path.as_str())
            .with("action", file.action);
        if file.read > 0 {
            event = event.with("bytes_read", file.read);
        }
        if file.written > 0 {
            event = event.with("bytes_written", file.written);
        }
        if let Some(sha256) = &file.sha256 {
            event = event.with("sha256", sha256);
        }
        match &file.failed {
            Some(reason) => event.with("outcome", "failed").message(reason.as_str()),
            None => event.with("outcome", "done"),
        }
    }

    /// Ends the recording, once. `ours` is the reason if it was ended and did not end by itself.
    pub async fn finish(
        &self,
        outcome: &Outcome,
        ours: Option<&str>,
        base: &(dyn Fn(EventKind) -> Event + Send + Sync),
    ) -> Ended {
        let (mut events, summary) = match &self.files {
            Some(files) => {
                let files = std::mem::replace(&mut *files.lock(), files::Watch::sftp());
                let (rest, summary) = files.finish(outcome.exit_status);
                let events: Vec<_> = rest.iter().map(|file| self.transfer(base, file)).collect();
                (events, Some(summary))
            }
            None => (Vec::new(), None),
        };
        let mut end = base(EventKind::SessionEnd)
            .session(self.session.as_str())
            .with("kind", kind_word(self.kind))
            .with("input_bytes", outcome.input_bytes)
            .with("output_bytes", outcome.output_bytes);
        if let Some(capped) = &self.capped {
            let capped = std::mem::replace(&mut *capped.lock(), Capped::new(0));
            for capture in [capped.input, capped.output, capped.error_output] {
                let total = capture.finish();
                if let Seen::Captured {
                    size,
                    sha256,
                    direction: Direction::Output,
                    ..
                } = &total
                {
                    end = end
                        .with("stdout_bytes", size)
                        .with("stdout_sha256", hex::encode(sha256));
                }
                self.recorder.note(total);
            }
        }
        if let Some(reason) = ours.or(outcome.broken.as_deref()) {
            self.recorder.note(Seen::Note(reason.to_owned()));
            end = end.message(reason);
        }
        if let Some(status) = outcome.exit_status {
            self.recorder.note(Seen::Exit { status });
            end = end.with("exit_status", status);
        }
        if let Some(signal) = &outcome.exit_signal {
            end = end.with("exit_signal", signal);
        }
        if let Some(all) = summary {
            events.push(
                base(EventKind::FileSummary)
                    .session(self.session.as_str())
                    .with("files_read", all.files_read)
                    .with("files_written", all.files_written)
                    .with("changes", all.changes)
                    .with("failed", all.failed)
                    .with("bytes_read", all.bytes_read)
                    .with("bytes_written", all.bytes_written),
            );
        }
        if let Some(reason) = ours {
            events.push(
                base(EventKind::SessionTerminated)
                    .session(self.session.as_str())
                    .message(reason),
            );
        }
        events.push(end);
        let Recorded {
            completeness,
            chunks,
            last_chunk,
        } = self.recorder.finish().await;
        Ended {
            completeness,
            chunks,
            last_chunk,
            output_bytes: outcome.output_bytes,
            events,
        }
    }
}

impl Capped {
    fn new(cap: u64) -> Self {
        let capture = |direction| CappedCapture::new(direction, cap);
        Capped {
            input: capture(Direction::Input),
            output: capture(Direction::Output),
            error_output: capture(Direction::ErrorOutput),
        }
    }

    fn output(&mut self, chunk: &Chunk) -> Option<Seen> {
        match chunk.ext {
            None => self.output.event(&chunk.data),
            Some(_) => self.error_output.event(&chunk.data),
        }
    }
}

/// The word for a kind of session in events and lists.
pub fn kind_word(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Interactive => "interactive",
        SessionKind::Exec => "exec",
        SessionKind::Sftp => "sftp",
        SessionKind::Forward => "forward",
    }
}

/// The word for a recording mode in events.
pub fn mode_word(mode: RecordingMode) -> &'static str {
    match mode {
        RecordingMode::BestEffort => "best_effort",
        RecordingMode::Strict => "strict",
    }
}

/// A command as it is kept: long ones are cut, control characters are escaped where they are shown.
pub fn cut_command(command: &str) -> String {
    command.chars().take(4096).collect()
}

fn resized(columns: u32, rows: u32) -> Seen {
    let bounded = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    Seen::Resize {
        cols: bounded(columns),
        rows: bounded(rows),
    }
}
