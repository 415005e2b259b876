//! One session channel: a terminal, a command or a file transfer. Decides when it begins, records what passes.

use crate::ports::{Recorded, RecordingSink};
use crate::ssh::link::Link;
use crate::ssh::live::{Entry, Stop};
use crate::ssh::node::Refused;
use crate::ssh::outer::prohibited;
use bytes::Bytes;
use palisade_core::access::{Ability, Permit};
use palisade_core::api::LiveSession;
use palisade_core::command::Command;
use palisade_core::event::EventKind;
use palisade_core::name::{Name, SessionId};
use palisade_core::record::{Completeness, Record, RecordingSpec, SessionKind};
use palisade_session::ssh::relay::{Boxed2, Chunk, End, Inspect, Outcome, Progress, relay};
use palisade_session::ssh::russh::server::{ChannelOpenHandle, Msg};
use palisade_session::ssh::russh::{Channel, ChannelMsg};
use std::sync::Arc;
use std::time::Duration;

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
    let user = End { channel, egress: Arc::clone(&link.egress) };
    let far = End { channel: far, egress: host.egress() };
    let stop = Stop::default();
    let session = Session { link: Arc::clone(&link), stop: stop.clone(), terminal: None, running: None };
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
    sink: Box<dyn RecordingSink>,
    /// How many more bytes of output are recorded whole; `None` is all of them.
    left: Option<u64>,
    /// Hash over all output, where not all of it is recorded.
    hash: Option<aws_digest::Sha256>,
    _entry: Entry,
}

impl Session {
    async fn begin(&mut self, kind: SessionKind, ability: Ability, command: &str) -> Result<(), String> {
        if self.running.is_some() {
            return Err("this channel has a program already".into());
        }
        let permit = self.link.ask(ability, command).await.map_err(|refused| refused.to_string())?;
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
        let (mut sink, sealed_key) = link.node.recorders.begin(&id, mode)?;
        let started = consensus.now();
        let row = RecordingSpec {
            session: id.clone(),
            session_kind: kind,
            user: link.who.holder.user.clone(),
            login: link.login.clone(),
            host: link.host.metadata.name.clone(),
            node: consensus.node_id(),
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
        let event = link.event(EventKind::SessionStart).session(id.as_str()).with("kind", word);
        let event = event.with("recording", format!("{mode:?}").to_lowercase()).with("cert_serial", link.who.holder.serial);
        let mut events = vec![event];
        if kind == SessionKind::Exec {
            events.push(link.event(EventKind::Exec).session(id.as_str()).target(cut(command)));
        }
        let max_sessions = permit.options().max_sessions;
        link.node.propose(&link.who, Command::StartSession { recording, events, max_sessions }).await?;
        if let Some((columns, rows)) = self.terminal {
            sink.resize(started, columns, rows);
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
        let left = match kind {
            SessionKind::Interactive => None,
            SessionKind::Exec => Some(permit.exec_capture_bytes()),
            // File contents are not recorded: the transfers are audited by name and size.
            SessionKind::Sftp | SessionKind::Forward => Some(0),
        };
        let hash = left.map(|_| aws_digest::Sha256::default());
        Ok(Running { id, kind, sink, left, hash, _entry: entry })
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

/// A command as it is kept: long ones are cut, control characters are escaped where they are shown.
fn cut(command: &str) -> String {
    command.chars().take(4096).collect()
}

impl Inspect for Session {
    fn request<'a>(&'a mut self, request: &'a mut ChannelMsg) -> Boxed2<'a, Result<(), String>> {
        Box::pin(async move {
            self.link.touch();
            match request {
                ChannelMsg::RequestPty { col_width, row_height, .. } => {
                    let permitted = self.link.who.holder.extensions.iter().any(|e| e == "permit-pty");
                    if !permitted {
                        return Err("your certificate does not carry permit-pty: run `pal login` again".into());
                    }
                    self.terminal = Some((*col_width, *row_height));
                    Ok(())
                }
                ChannelMsg::WindowChange { col_width, row_height, .. } => {
                    self.terminal = Some((*col_width, *row_height));
                    if let Some(running) = &mut self.running {
                        running.sink.resize(self.link.node.consensus.now(), *col_width, *row_height);
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
                ChannelMsg::AgentForward { .. } => {
                    self.link.ask(Ability::AgentForward, "").await.map(drop).map_err(|r| r.to_string())
                }
                ChannelMsg::RequestX11 { .. } => {
                    self.link.ask(Ability::X11, "").await.map(drop).map_err(|r| r.to_string())
                }
                ChannelMsg::SetEnv { .. } | ChannelMsg::Signal { .. } => Ok(()),
                _ => Err("this request is not known".into()),
            }
        })
    }

    fn output<'a>(&'a mut self, data: &'a [Chunk]) -> Boxed2<'a, Result<(), String>> {
        Box::pin(async move {
            let Some(running) = &mut self.running else { return Ok(()) };
            // Output of an interactive session says nothing about the person; a long transfer does.
            if running.kind != SessionKind::Interactive {
                self.link.touch();
            }
            running.output(self.link.node.consensus.now(), data).await.map_err(|e| format!("the session cannot be recorded: {e}"))
        })
    }

    fn input<'a>(&'a mut self, data: &'a Bytes) -> Boxed2<'a, Result<(), String>> {
        self.link.touch();
        if let Some(running) = &mut self.running {
            running.sink.input(self.link.node.consensus.now(), data.len() as u64);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Session {
    fn kind(&self) -> SessionKind {
        if self.terminal.is_some() { SessionKind::Interactive } else { SessionKind::Exec }
    }
}

impl Running {
    async fn output(
        &mut self,
        at: palisade_core::time::Timestamp,
        data: &[Chunk],
    ) -> Result<(), palisade_core::ports::Unavailable> {
        if let Some(hash) = &mut self.hash {
            data.iter().for_each(|chunk| hash.update(&chunk.data));
        }
        let Some(left) = &mut self.left else { return self.sink.output(at, data).await };
        let mut kept = Vec::new();
        for chunk in data {
            if *left == 0 {
                break;
            }
            let n = usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.data.len());
            *left -= n as u64;
            kept.push(Chunk { ext: chunk.ext, data: chunk.data.slice(..n) });
        }
        if kept.is_empty() { Ok(()) } else { self.sink.output(at, &kept).await }
    }

    /// Ends the recording and commits the end, also when the cluster has no quorum for a while.
    async fn finish(self, link: &Arc<Link>, outcome: Outcome, stopped: Option<String>) {
        let Recorded { completeness, chunks, output_bytes, last_chunk } = self.sink.finish().await;
        let mut event = link.event(EventKind::SessionEnd).session(self.id.as_str()).with("kind", kind_word(self.kind));
        event = event.with("input_bytes", outcome.input_bytes).with("output_bytes", outcome.output_bytes);
        if let Some(status) = outcome.exit_status {
            event = event.with("exit_status", status);
        }
        if let Some(signal) = outcome.exit_signal {
            event = event.with("exit_signal", signal);
        }
        if let Some(hash) = self.hash {
            event = event.with("output_sha256", hash.hex());
        }
        let mut events = Vec::new();
        let ours = stopped.filter(|_| outcome.broken.is_some());
        if let Some(reason) = ours.as_ref().or(outcome.broken.as_ref()) {
            event = event.message(reason.as_str());
        }
        if let Some(reason) = ours {
            let cut_off = link.event(EventKind::SessionTerminated).session(self.id.as_str()).message(reason);
            events.push(cut_off);
        }
        events.push(event);
        let end = Command::EndSession { session: self.id, completeness, chunks, output_bytes, last_chunk, events };
        let (link, id) = (Arc::clone(link), link.node.consensus.new_id());
        tokio::spawn(async move {
            let started = tokio::time::Instant::now();
            let mut pause = Duration::from_millis(100);
            loop {
                // The same id each time: an end that was committed unseen is not committed twice.
                match link.node.consensus.propose(link.who.actor(), id.clone(), end.clone()).await {
                    Ok(_) => return,
                    Err(error) if started.elapsed() > END_PATIENCE => {
                        tracing::error!(user = %link.who.holder.user, error = %error, "the end of a session was not written");
                        return;
                    }
                    Err(_) => tokio::time::sleep(pause).await,
                }
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        });
    }
}

/// SHA-256 as it goes.
mod aws_digest {
    use aws_lc_rs::digest::{Context, SHA256};

    pub(super) struct Sha256(Context);

    impl Default for Sha256 {
        fn default() -> Self {
            Sha256(Context::new(&SHA256))
        }
    }

    impl Sha256 {
        pub(super) fn update(&mut self, data: &[u8]) {
            self.0.update(data);
        }

        pub(super) fn hex(self) -> String {
            self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        }
    }
}
