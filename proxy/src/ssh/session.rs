//! One session channel: a terminal, a command or a file transfer. Decides when it begins, records what passes.

use crate::recorder::{Recorded, Recorder, hex};
use crate::ssh::link::Link;
use crate::ssh::live::{Entry, Stop};
use crate::ssh::node::Refused;
use crate::ssh::outer::prohibited;
use crate::ssh::sftp;
use bytes::Bytes;
use palisade_core::access::{Ability, Permit};
use palisade_core::api::LiveSession;
use palisade_core::command::Command;
use palisade_core::event::{Event, EventKind};
use palisade_core::name::{Name, RequestId, SessionId};
use palisade_core::record::{Completeness, Record, RecordingMode, RecordingSpec, SessionKind};
use palisade_session::recording::{CappedCapture, Direction, EventKind as RecordedEvent};
use palisade_session::ssh::relay::{Boxed2, Chunk, End, Inspect, Outcome, Progress, relay};
use palisade_session::ssh::russh::server::{ChannelOpenHandle, Msg};
use palisade_session::ssh::russh::{Channel, ChannelMsg};
use std::sync::Arc;
use std::time::Duration;

/// File transfers that are audited in one log entry while a session lasts.
const TRANSFERS_AT_ONCE: usize = 32;

/// How long the end of a session is tried to be written while the cluster has no quorum.
const END_PATIENCE: Duration = Duration::from_secs(600);

/// Carries a session channel to the host until it ends.
pub(crate) async fn carry(link: Arc<Link>, channel: Channel<Msg>, reply: ChannelOpenHandle) {
    let host = match link.host().await {
        Ok(host) => host,
        Err(reason) => return reply.reject(prohibited(&reason)).await,
    };
    let Ok(far) = host.handle().channel_open_session().await else {
        return reply.reject(prohibited("the host opens no session")).await;
    };
    reply.accept().await;
    let user = End {
        channel,
        egress: Arc::clone(&link.egress),
    };
    let far = End {
        channel: far,
        egress: host.egress(),
    };
    let stop = Stop::default();
    let session = Session {
        link: Arc::clone(&link),
        stop: stop.clone(),
        terminal: None,
        running: None,
    };
    let progress = Progress::default();
    let ended = async {
        tokio::select! {
            reason = link.stop.stopped() => reason,
            reason = stop.stopped() => reason,
        }
    };
    let (outcome, session) = relay(user, far, session, &progress, ended).await;
    let stopped = stop.reason().or_else(|| link.stop.reason());
    if let Some(running) = session.running {
        running.finish(&link, outcome, stopped).await;
    }
}

struct Session {
    link: Arc<Link>,
    stop: Stop,
    /// Columns and rows, if there is a terminal.
    terminal: Option<(u32, u32)>,
    running: Option<Running>,
}

/// A session whose start is committed.
struct Running {
    id: SessionId,
    kind: SessionKind,
    recorder: Recorder,
    /// What is kept of each direction, where it is not all of the output.
    capped: Option<Capped>,
    /// Looks on while files are transferred.
    files: Option<sftp::Watch>,
    entry: Entry,
}

/// The three streams of a program without a terminal.
struct Capped {
    input: CappedCapture,
    output: CappedCapture,
    error_output: CappedCapture,
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
}

impl Session {
    async fn begin(&mut self, kind: SessionKind, ability: Ability, command: &str) -> Result<(), String> {
        if self.running.is_some() {
            return Err("this channel has a program already".into());
        }
        let permit = self
            .link
            .ask(ability, command)
            .await
            .map_err(|refused| refused.to_string())?;
        let started = self.start(&permit, kind, command).await;
        match started {
            Ok(running) => {
                self.running = Some(running);
                Ok(())
            }
            Err(refused) => Err(refused.to_string()),
        }
    }

    /// Commits the start: nothing runs before its event and the recording's index row are in the log.
    async fn start(&self, permit: &Permit, kind: SessionKind, command: &str) -> Result<Running, Refused> {
        let link = &self.link;
        let consensus = &link.node.consensus;
        let other = |_| Refused::Other("no session id could be made".into());
        let id = SessionId::parse(&uuid::Uuid::new_v4().to_string()).map_err(other)?;
        let mode = permit.options().record_session;
        let (recorder, sealed_key) = Recorder::begin(
            Arc::clone(consensus),
            Arc::clone(&link.node.recordings),
            &id,
            mode,
            &link.node.home,
        )?;
        let started = consensus.now();
        let row = RecordingSpec {
            session: id.clone(),
            session_kind: kind,
            user: link.who.holder.user.clone(),
            login: link.login.clone(),
            host: link.host.metadata.name.clone(),
            node: consensus.node_id(),
            at_agent: false,
            client_addr: link.who.peer.to_string(),
            command: cut(command),
            mode,
            started,
            ended: None,
            completeness: Completeness::Live,
            chunks: 0,
            output_bytes: 0,
            last_chunk: String::new(),
            sealed_key,
        };
        let name = Name::parse(id.as_str()).map_err(|e| Refused::Other(e.to_string()))?;
        let recording = Box::new(Record::new(name, row));
        let word = kind_word(kind);
        let event = link
            .event(EventKind::SessionStart)
            .session(id.as_str())
            .with("kind", word);
        let event = event
            .with("recording", mode_word(mode))
            .with("cert_serial", link.who.holder.credential.serial);
        let mut events = vec![event];
        if kind == SessionKind::Exec {
            events.push(
                link.event(EventKind::Exec)
                    .session(id.as_str())
                    .target(cut(command)),
            );
        }
        let max_sessions = permit.options().max_sessions;
        link.node
            .propose(
                &link.who,
                Command::StartSession {
                    recording,
                    events,
                    max_sessions,
                },
            )
            .await?;
        if let Some((columns, rows)) = self.terminal {
            recorder.note(resize(columns, rows));
        }
        if !command.is_empty() {
            recorder.note(RecordedEvent::ExecStart {
                command: cut(command),
            });
        }
        let live = LiveSession {
            session: id.to_string(),
            user: link.who.holder.user.to_string(),
            login: link.login.to_string(),
            host: link.host.metadata.name.to_string(),
            client_addr: link.who.peer.to_string(),
            node: consensus.node_id(),
            kind: word.to_owned(),
            started,
        };
        let entry = link.node.live.add(id.clone(), live, self.stop.clone());
        let capped = match kind {
            SessionKind::Interactive => None,
            SessionKind::Exec => Some(Capped::new(permit.exec_capture_bytes())),
            // File contents are not recorded: size and hash of the streams are.
            SessionKind::Sftp | SessionKind::Forward => Some(Capped::new(0)),
        };
        let files = (kind == SessionKind::Sftp).then(sftp::Watch::default);
        Ok(Running {
            id,
            kind,
            recorder,
            capped,
            files,
            entry,
        })
    }
}

fn mode_word(mode: RecordingMode) -> &'static str {
    match mode {
        RecordingMode::BestEffort => "best_effort",
        RecordingMode::Strict => "strict",
    }
}

fn kind_word(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Interactive => "interactive",
        SessionKind::Exec => "exec",
        SessionKind::Sftp => "sftp",
        SessionKind::Forward => "forward",
    }
}

fn resize(columns: u32, rows: u32) -> RecordedEvent {
    let bounded = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    RecordedEvent::Resize {
        cols: bounded(columns),
        rows: bounded(rows),
    }
}

/// A command as it is kept: long ones are cut, control characters are escaped where they are shown.
fn cut(command: &str) -> String {
    command.chars().take(4096).collect()
}

impl Inspect for Session {
    fn request<'a>(&'a mut self, request: &'a mut ChannelMsg) -> Boxed2<'a, Result<(), String>> {
        Box::pin(async move {
            self.link.touch();
            match request {
                ChannelMsg::RequestPty {
                    col_width,
                    row_height,
                    ..
                } => {
                    let permitted = self.link.who.holder.extensions.iter().any(|e| e == "permit-pty");
                    if !permitted {
                        return Err(
                            "your certificate does not carry permit-pty: run `pal login` again".into(),
                        );
                    }
                    self.terminal = Some((*col_width, *row_height));
                    Ok(())
                }
                ChannelMsg::WindowChange {
                    col_width,
                    row_height,
                    ..
                } => {
                    self.terminal = Some((*col_width, *row_height));
                    if let Some(running) = &mut self.running {
                        running.recorder.note(resize(*col_width, *row_height));
                    }
                    Ok(())
                }
                ChannelMsg::RequestShell { .. } => self.begin(self.kind(), Ability::Shell, "").await,
                ChannelMsg::Exec { command, .. } => {
                    let command = String::from_utf8_lossy(command).into_owned();
                    self.begin(self.kind(), Ability::Exec, &command).await
                }
                ChannelMsg::RequestSubsystem { name, .. } => {
                    let name = name.clone();
                    let (kind, ability) = match name.as_str() {
                        "sftp" => (SessionKind::Sftp, Ability::Sftp),
                        _ => (self.kind(), Ability::Subsystem),
                    };
                    self.begin(kind, ability, &name).await
                }
                ChannelMsg::AgentForward { .. } => self
                    .link
                    .ask(Ability::AgentForward, "")
                    .await
                    .map(drop)
                    .map_err(|r| r.to_string()),
                ChannelMsg::RequestX11 { .. } => self
                    .link
                    .ask(Ability::X11, "")
                    .await
                    .map(drop)
                    .map_err(|r| r.to_string()),
                ChannelMsg::SetEnv { .. } | ChannelMsg::Signal { .. } => Ok(()),
                _ => Err("this request is not known".into()),
            }
        })
    }

    fn output<'a>(&'a mut self, data: &'a [Chunk]) -> Boxed2<'a, Result<(), String>> {
        Box::pin(async move {
            let Some(running) = &mut self.running else {
                return Ok(());
            };
            // Output of an interactive session says nothing about the person; a long transfer does.
            if running.kind != SessionKind::Interactive {
                self.link.touch();
            }
            running.files(
                &self.link,
                data.iter().map(|chunk| &chunk.data),
                sftp::Watch::reply,
            );
            running
                .output(data)
                .await
                .map_err(|e| format!("the session cannot be recorded: {e}"))
        })
    }

    fn input<'a>(&'a mut self, data: &'a Bytes) -> Boxed2<'a, Result<(), String>> {
        self.link.touch();
        if let Some(running) = &mut self.running {
            running.files(&self.link, std::iter::once(data), sftp::Watch::request);
            running.input(data);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Session {
    fn kind(&self) -> SessionKind {
        if self.terminal.is_some() {
            SessionKind::Interactive
        } else {
            SessionKind::Exec
        }
    }
}

impl Running {
    /// Shows passing bytes to whoever watches the transfers, and audits those that are finished.
    fn files<'a>(
        &mut self,
        link: &Arc<Link>,
        data: impl Iterator<Item = &'a Bytes>,
        show: fn(&mut sftp::Watch, &[u8]),
    ) {
        let Some(watch) = &mut self.files else { return };
        data.for_each(|bytes| show(watch, bytes));
        if watch.waiting() < TRANSFERS_AT_ONCE {
            return;
        }
        let events = transfer_events(link, &self.id, watch.done());
        let (link, id) = (Arc::clone(link), link.node.consensus.new_id());
        link.node
            .tasks
            .clone()
            .spawn(async move { commit(&link, id, Command::Audit { events }).await });
    }

    async fn output(&mut self, data: &[Chunk]) -> Result<(), palisade_core::ports::Unavailable> {
        let Some(capped) = &mut self.capped else {
            // Everything a terminal shows is one stream.
            return self
                .recorder
                .output(
                    data.iter()
                        .map(|chunk| RecordedEvent::Output(chunk.data.to_vec())),
                )
                .await;
        };
        let kept = data.iter().filter_map(|chunk| match chunk.ext {
            None => capped.output.event(&chunk.data),
            Some(_) => capped.error_output.event(&chunk.data),
        });
        let kept: Vec<_> = kept.collect();
        self.recorder.output(kept.into_iter()).await
    }

    fn input(&mut self, data: &Bytes) {
        match &mut self.capped {
            // What is typed may be a password: only how much.
            None => self.recorder.note(RecordedEvent::InputSize(data.len() as u64)),
            Some(capped) => {
                if let Some(event) = capped.input.event(data) {
                    self.recorder.note(event);
                }
            }
        }
    }

    /// Ends the recording and commits the end, also when the cluster has no quorum for a while.
    async fn finish(self, link: &Arc<Link>, outcome: Outcome, stopped: Option<String>) {
        let mut hash = None;
        drop(self.entry);
        if let Some(capped) = self.capped {
            for capture in [capped.input, capped.output, capped.error_output] {
                let total = capture.finish();
                if let RecordedEvent::Captured {
                    size,
                    sha256,
                    direction: Direction::Output,
                    ..
                } = &total
                {
                    hash = Some((*size, hex(sha256)));
                }
                self.recorder.note(total);
            }
        }
        let ours = stopped.filter(|_| outcome.broken.is_some());
        if let Some(reason) = ours.as_ref().or(outcome.broken.as_ref()) {
            self.recorder.note(RecordedEvent::Note(reason.clone()));
        }
        if let Some(status) = outcome.exit_status {
            self.recorder.note(RecordedEvent::Exit { status });
        }
        let Recorded {
            completeness,
            chunks,
            last_chunk,
        } = self.recorder.finish().await;
        let output_bytes = outcome.output_bytes;
        let mut event = link
            .event(EventKind::SessionEnd)
            .session(self.id.as_str())
            .with("kind", kind_word(self.kind));
        event = event
            .with("input_bytes", outcome.input_bytes)
            .with("output_bytes", outcome.output_bytes);
        if let Some(status) = outcome.exit_status {
            event = event.with("exit_status", status);
        }
        if let Some(signal) = outcome.exit_signal {
            event = event.with("exit_signal", signal);
        }
        if let Some((size, hash)) = hash {
            event = event.with("stdout_bytes", size).with("stdout_sha256", hash);
        }
        let mut events = match self.files {
            Some(watch) => transfer_events(link, &self.id, watch.finish()),
            None => Vec::new(),
        };
        if let Some(reason) = ours.as_ref().or(outcome.broken.as_ref()) {
            event = event.message(reason.as_str());
        }
        if let Some(reason) = ours {
            let cut_off = link
                .event(EventKind::SessionTerminated)
                .session(self.id.as_str())
                .message(reason);
            events.push(cut_off);
        }
        events.push(event);
        let end = Command::EndSession {
            session: self.id,
            completeness,
            chunks,
            output_bytes,
            last_chunk,
            events,
        };
        let (link, id) = (Arc::clone(link), link.node.consensus.new_id());
        link.node
            .tasks
            .clone()
            .spawn(async move { commit(&link, id, end).await });
    }
}

/// Commits what has happened, with patience: it cannot be undone, so it must be written.
async fn commit(link: &Link, id: RequestId, command: Command) {
    let started = tokio::time::Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        // The same id each time: what was committed unseen is not committed twice.
        match link
            .node
            .commit(link.who.actor(), id.clone(), command.clone())
            .await
        {
            Ok(_) => return,
            Err(error) if started.elapsed() > END_PATIENCE => {
                let what = command.word();
                tracing::error!(user = %link.who.holder.user, error = %error, what, "audit events were not written");
                return;
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

fn transfer_events(link: &Link, id: &SessionId, transfers: Vec<sftp::Transfer>) -> Vec<Event> {
    let event = |file: sftp::Transfer| {
        let event = link
            .event(EventKind::FileTransfer)
            .session(id.as_str())
            .target(file.path)
            .with("action", file.action);
        let event = if file.read > 0 {
            event.with("bytes_read", file.read)
        } else {
            event
        };
        if file.written > 0 {
            event.with("bytes_written", file.written)
        } else {
            event
        }
    };
    transfers.into_iter().map(event).collect()
}
