//! One session channel: a terminal, a command or a file transfer. Decides when it begins, records what passes.

use crate::recorder::ToNodes;
use crate::ssh::link::Link;
use crate::ssh::live::{Entry, Stop};
use crate::ssh::node::Refused;
use crate::ssh::outer::prohibited;
use bytes::Bytes;
use palisade_core::access::{Ability, Permit};
use palisade_core::api::{LiveSession, SessionParticipant};
use palisade_core::command::Command;
use palisade_core::event::{Event, EventKind};
use palisade_core::name::{Name, RequestId, SessionId};
use palisade_core::record::{Completeness, Record, RecordingSpec, SessionKind};
use palisade_session::files::copied_by;
use palisade_session::ssh::relay::{Boxed2, Chunk, End, Inspect, Outcome, Progress, relay};
use palisade_session::ssh::russh::server::{ChannelOpenHandle, Msg};
use palisade_session::ssh::russh::{Channel, ChannelMsg};
use palisade_session::tap::{Ended, Plan, Tap, cut_command, kind_word, mode_word};
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
    tap: Tap,
    entry: Entry,
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
        // Who may run commands and may not copy files may not copy them by a command either.
        if ability == Ability::Exec && copied_by(command).is_some() {
            let copies = self.link.ask(Ability::Sftp, command).await;
            copies.map_err(|refused| refused.to_string())?;
        }
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
        let ship = ToNodes {
            recordings: Arc::clone(&link.node.recordings),
            consensus: Arc::clone(consensus),
        };
        let (key, sealed_key) = ship.key(&id)?;
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
            command: cut_command(command),
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
            .with("recorded_at", "node")
            .with("cert_serial", link.who.holder.credential.serial);
        let mut events = vec![event];
        if kind == SessionKind::Exec {
            events.push(
                link.event(EventKind::Exec)
                    .session(id.as_str())
                    .target(cut_command(command)),
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
        let plan = Plan {
            session: id.clone(),
            kind,
            mode,
            exec_capture_bytes: permit.exec_capture_bytes(),
            command: cut_command(command),
            terminal: self.terminal,
        };
        let tap = Tap::begin(Arc::new(ship), &plan, key, &link.node.home);
        let live = LiveSession {
            session: id.to_string(),
            user: link.who.holder.user.to_string(),
            login: link.login.to_string(),
            host: link.host.metadata.name.to_string(),
            client_addr: link.who.peer.to_string(),
            node: consensus.node_id(),
            kind: word.to_owned(),
            started,
            participants: vec![SessionParticipant {
                user: link.who.holder.user.to_string(),
                mode: "owner".to_owned(),
            }],
        };
        let entry = link.node.live.add(id.clone(), live, self.stop.clone());
        Ok(Running { id, kind, tap, entry })
    }
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
                        running.tap.resize(*col_width, *row_height);
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
            let shown = running.tap.output(data).await;
            running.audit_transfers(&self.link);
            shown.map_err(|e| format!("the session cannot be recorded: {e}"))
        })
    }

    fn input<'a>(&'a mut self, data: &'a Bytes) -> Boxed2<'a, Result<(), String>> {
        self.link.touch();
        if let Some(running) = &mut self.running {
            running.tap.input(data);
            running.audit_transfers(&self.link);
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
    /// Audits the files that are finished, once they are enough for an entry.
    fn audit_transfers(&self, link: &Arc<Link>) {
        let events = self.tap.transfers(&|kind| link.event(kind));
        if !events.is_empty() {
            commit_soon(link, Command::Audit { events });
        }
    }

    /// Ends the recording and commits the end, also when the cluster has no quorum for a while.
    async fn finish(self, link: &Arc<Link>, outcome: Outcome, stopped: Option<String>) {
        drop(self.entry);
        let ours = stopped.filter(|_| outcome.broken.is_some());
        let base = |kind: EventKind| -> Event { link.event(kind) };
        let Ended {
            completeness,
            chunks,
            last_chunk,
            output_bytes,
            events,
        } = self.tap.finish(&outcome, ours.as_deref(), &base).await;
        let end = Command::EndSession {
            session: self.id,
            completeness,
            chunks,
            output_bytes,
            last_chunk,
            events,
        };
        commit_soon(link, end);
    }
}

/// Commits what has happened without holding anybody up.
fn commit_soon(link: &Arc<Link>, command: Command) {
    let (link, id) = (Arc::clone(link), link.node.consensus.new_id());
    link.node
        .tasks
        .clone()
        .spawn(async move { commit(&link, id, command).await });
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
