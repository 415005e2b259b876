//! One session channel: what its client asks for, in order, until a program runs; then the seat in that program's room.

use crate::account::Account;
use crate::agent_socket::{self, AgentSocket};
use crate::connection::{Connection, unmoderated};
use crate::program::{Launch, Program, Run};
use crate::room::{Room, Starting};
use crate::seat::{Mode, Seat};
use crate::terminal::Wanted;
use crate::x11::{self, Display};
use crate::{env, start};
use palisade_core::access::Ability;
use palisade_core::event::EventKind;
use palisade_core::name::SessionId;
use palisade_core::pass::Joining;
use palisade_core::record::{RecordingSite, SessionKind};
use palisade_session::files::copied_by;
use palisade_session::ssh::config::WINDOW;
use palisade_session::ssh::queue::{Item, Queue};
use palisade_session::ssh::russh::server::Msg;
use palisade_session::ssh::russh::{Channel, ChannelMsg, ChannelWriteHalf};
use palisade_session::ssh::serve::{Ending, Stop};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A window is granted anew in parts of this size.
const GRANT: u32 = WINDOW / 4;

/// What a refused program returns: the status of `ssh` itself when it fails.
const REFUSED_STATUS: u32 = 255;

/// How long a program may take to read what its user sent before they left.
const LAST_INPUT: Duration = Duration::from_secs(1);

/// How long a line of ours may take to be taken: a client that does not read must not delay anything.
pub(crate) const TELL: Duration = Duration::from_millis(200);

/// Serves a session channel until it is over. The program may outlive it.
pub(crate) async fn serve(connection: Arc<Connection>, channel: Channel<Msg>) {
    let (mut read, write) = channel.split();
    let queue = Queue::default();
    let over = Stop::default();
    let mut served = Served {
        connection,
        write: Arc::new(write),
        terminal: None,
        env: BTreeMap::new(),
        resume: None,
        agent: None,
        display: None,
        seat: None,
        consumed: 0,
    };
    {
        let work = served.work(&queue, &over);
        let intake = async {
            queue.fill(&mut read).await;
            over.stop("");
            // It never finishes before what it left is worked through.
            std::future::pending().await
        };
        tokio::pin!(work);
        tokio::select! {
            () = intake => {}
            () = &mut work => {}
        }
    }
    let _ = served.write.close().await;
}

struct Served {
    connection: Arc<Connection>,
    write: Arc<ChannelWriteHalf<Msg>>,
    terminal: Option<Wanted>,
    env: BTreeMap<String, String>,
    /// A session of their own that they come back to.
    resume: Option<String>,
    agent: Option<AgentSocket>,
    display: Option<Display>,
    seat: Option<Arc<Seat>>,
    consumed: u32,
}

impl Served {
    async fn work(&mut self, queue: &Queue, over: &Stop) {
        loop {
            let item = match self.seat.clone() {
                None => tokio::select! {
                    item = queue.pop() => item,
                    reason = self.connection.stop.stopped() => {
                        tell(&self.write, &reason).await;
                        return;
                    }
                },
                // The room says why by itself.
                Some(seat) => tokio::select! {
                    item = queue.pop() => item,
                    _ = seat.gone.stopped() => return,
                },
            };
            match item {
                Item::Data(chunk) => {
                    let n = u32::try_from(chunk.data.len()).unwrap_or(u32::MAX);
                    self.connection.touch();
                    if let Some(seat) = self.seat.clone()
                        && chunk.ext.is_none()
                    {
                        tokio::select! {
                            () = seat.typed(&chunk.data) => {}
                            _ = seat.gone.stopped() => return,
                            // The program does not read and the user is gone: nothing waits for the other.
                            () = async { over.stopped().await; tokio::time::sleep(LAST_INPUT).await } => {}
                        }
                    }
                    self.consumed = self.consumed.saturating_add(n);
                    if self.consumed >= GRANT {
                        let _ = self.write.grant_window(std::mem::take(&mut self.consumed)).await;
                    }
                }
                Item::Msg(ChannelMsg::Eof) => {
                    if let Some(seat) = &self.seat {
                        seat.end_of_input().await;
                    }
                }
                Item::Msg(ChannelMsg::Close) => return self.leave(true),
                Item::End => {
                    let how = self.connection.ending().await;
                    return self.leave(how == Ending::Closed);
                }
                Item::Overflow => {
                    tell(&self.write, "too many unanswered requests on one channel").await;
                    return self.leave(true);
                }
                Item::Msg(msg) => {
                    self.connection.touch();
                    if !self.request(msg).await {
                        return;
                    }
                }
            }
        }
    }

    fn leave(&mut self, on_purpose: bool) {
        if let Some(seat) = self.seat.take() {
            seat.leave(on_purpose);
        }
    }

    /// Answers one request. False if the channel is over, because its program was refused.
    async fn request(&mut self, msg: ChannelMsg) -> bool {
        let answered = match msg {
            ChannelMsg::RequestPty {
                want_reply,
                term,
                col_width,
                row_height,
                pix_width,
                pix_height,
                terminal_modes,
            } => {
                let wanted = Wanted {
                    term,
                    columns: col_width,
                    rows: row_height,
                    pixels: (pix_width, pix_height),
                    modes: terminal_modes,
                };
                (want_reply, self.terminal(wanted))
            }
            ChannelMsg::SetEnv {
                want_reply,
                variable_name,
                variable_value,
            } => {
                let kept = self.set_env(variable_name, variable_value);
                // Not a word about what is left out: clients send all they have.
                if want_reply {
                    let _ = self.write.reply(kept).await;
                }
                return true;
            }
            ChannelMsg::AgentForward { want_reply } => (want_reply, self.forward_agent().await),
            ChannelMsg::RequestX11 {
                want_reply,
                single_connection,
                x11_authentication_protocol,
                x11_authentication_cookie,
                x11_screen_number,
            } => {
                let ask = x11::Ask {
                    single: single_connection,
                    protocol: x11_authentication_protocol,
                    cookie: x11_authentication_cookie,
                    screen: x11_screen_number,
                };
                (want_reply, self.forward_x11(ask).await)
            }
            ChannelMsg::WindowChange {
                col_width,
                row_height,
                pix_width,
                pix_height,
            } => {
                if let Some(terminal) = &mut self.terminal {
                    (terminal.columns, terminal.rows) = (col_width, row_height);
                    terminal.pixels = (pix_width, pix_height);
                }
                if let Some(seat) = &self.seat {
                    seat.resized(col_width, row_height, (pix_width, pix_height));
                }
                return true;
            }
            ChannelMsg::Signal { signal } => {
                if let Some(seat) = &self.seat {
                    seat.signal(&signal);
                }
                return true;
            }
            ChannelMsg::RequestShell { want_reply } => {
                return self.program(want_reply, Ability::Shell, Run::Shell, "").await;
            }
            ChannelMsg::Exec { want_reply, command } => {
                let shown = String::from_utf8_lossy(&command).into_owned();
                return self
                    .program(want_reply, Ability::Exec, Run::Command(command), &shown)
                    .await;
            }
            ChannelMsg::RequestSubsystem { want_reply, name } => {
                let ability = if name == "sftp" {
                    Ability::Sftp
                } else {
                    Ability::Subsystem
                };
                return self.program(want_reply, ability, Run::Sftp, &name).await;
            }
            // Informational, or not something a user sends.
            _ => return true,
        };
        let (want_reply, verdict) = answered;
        if want_reply {
            let _ = self.write.reply(verdict.is_ok()).await;
        }
        if let Err(reason) = verdict {
            tell_line(&self.write, &format!("palisade: {reason}\r\n")).await;
        }
        true
    }

    fn terminal(&mut self, wanted: Wanted) -> Result<(), String> {
        let pass = self.connection.pass();
        if !pass.claims().extensions.iter().any(|e| e == "permit-pty") {
            return Err("your certificate does not carry permit-pty: run `pal login` again".into());
        }
        let plain = |c: u8| c.is_ascii_graphic() && c != b'/' && c != b'=';
        if self.seat.is_some() || wanted.term.len() > 128 || !wanted.term.bytes().all(plain) {
            return Err("no such terminal".into());
        }
        self.terminal = Some(wanted);
        Ok(())
    }

    fn set_env(&mut self, name: String, value: String) -> bool {
        match name.as_str() {
            "PALISADE_SESSION" => self.resume = Some(value),
            _ if self.seat.is_none()
                && self.env.len() < env::MOST
                && self.connection.shared.config.env.allows(&name, &value) =>
            {
                self.env.insert(name, value);
            }
            _ => return false,
        }
        true
    }

    async fn forward_agent(&mut self) -> Result<(), String> {
        self.connection.ask(Ability::AgentForward, "").await?;
        if self.agent.is_none() && self.seat.is_none() {
            self.agent = Some(agent_socket::open(&self.connection).await?);
        }
        Ok(())
    }

    async fn forward_x11(&mut self, ask: x11::Ask) -> Result<(), String> {
        self.connection.ask(Ability::X11, "").await?;
        if self.display.is_none() && self.seat.is_none() {
            self.display = Some(x11::open(&self.connection, ask).await?);
        }
        Ok(())
    }

    /// Starts the channel's program, or says why not. True if it runs.
    async fn program(&mut self, want_reply: bool, ability: Ability, run: Run, command: &str) -> bool {
        if self.seat.is_some() {
            if want_reply {
                let _ = self.write.reply(false).await;
            }
            return true;
        }
        match self.begin(ability, run, command).await {
            Ok((room, seat)) => {
                if want_reply {
                    let _ = self.write.reply(true).await;
                }
                self.seat = Some(Arc::clone(&seat));
                room.seat(seat).await;
                true
            }
            Err(reason) => {
                // OpenSSH's client throws away what it was told on a channel whose program was refused. So that the
                // reason is read, the program is granted, says it, and fails.
                if want_reply {
                    let _ = self.write.reply(true).await;
                }
                tell_line(&self.write, &format!("palisade: {reason}\r\n")).await;
                let _ = self.write.exit_status(REFUSED_STATUS).await;
                let _ = self.write.eof().await;
                false
            }
        }
    }

    async fn begin(
        &mut self,
        ability: Ability,
        run: Run,
        command: &str,
    ) -> Result<(Arc<Room>, Arc<Seat>), String> {
        let joins = self.connection.pass().join().map(|join| join.joining.clone());
        if let Some(joining) = joins.filter(|_| ability == Ability::Shell) {
            return self.join(&joining).await;
        }
        let mut pass = self.connection.ask(ability, command).await?;
        if let Some(id) = self.resume.take() {
            return self.come_back(&id);
        }
        if ability == Ability::Subsystem {
            return Err("this host has no such subsystem".into());
        }
        if ability == Ability::Exec && copied_by(command).is_some() {
            // A command that copies files is what SFTP is, in another dress.
            pass = self.connection.ask(Ability::Sftp, command).await?;
        }
        let kind = match (ability, &self.terminal) {
            (Ability::Sftp, _) if run == Run::Sftp => SessionKind::Sftp,
            (_, Some(_)) => SessionKind::Interactive,
            (_, None) => SessionKind::Exec,
        };
        let needs = match kind {
            SessionKind::Sftp => Ability::Sftp,
            _ => ability,
        };
        let moderated = !pass.require_session_join.is_empty();
        if moderated && kind != SessionKind::Interactive {
            let reason = unmoderated(&pass, "a shell without a terminal");
            self.connection.refused(ability.as_str(), command, &reason).await;
            return Err(reason);
        }
        let account = self.connection.account().ok_or("not logged in")?.clone();
        let begun = start::begin(&self.connection, &pass, kind, command, self.terminal.as_ref()).await?;
        let mut variables: Vec<(String, String)> = std::mem::take(&mut self.env).into_iter().collect();
        variables.extend(self.facts(&begun.plan.session));
        let launcher = self.launcher(account, run, variables, kind);
        let starting = if moderated {
            Starting::Later(Box::new(launcher))
        } else {
            match launcher() {
                Ok(program) => Starting::Now(Box::new(program)),
                Err(error) => {
                    tracing::error!(error = %error, helper = %self.connection.shared.config.helper.display(), "a session could not be started");
                    let reason = format!("the host cannot start a session: {error}");
                    start::failed(&self.connection, begun, &reason);
                    return Err(reason);
                }
            }
        };
        let keeps = (self.agent.take(), self.display.take());
        let room = Room::open(
            Arc::clone(&self.connection),
            begun,
            starting,
            needs,
            Box::new(keeps),
        );
        let seat = Seat::new(
            &room,
            Arc::clone(&self.connection),
            Arc::clone(&self.write),
            Mode::Owner,
        );
        Ok((room, seat))
    }

    /// What starts the channel's program, now or later.
    fn launcher(
        &self,
        account: Account,
        run: Run,
        env: Vec<(String, String)>,
        kind: SessionKind,
    ) -> impl FnOnce() -> std::io::Result<Program> + Send + 'static {
        let shared = Arc::clone(&self.connection.shared);
        let from = self.connection.pass().claims().client_addr.clone();
        let terminal = self.terminal.clone();
        move || {
            Program::start(Launch {
                helper: &shared.config.helper,
                account: &account,
                run,
                env,
                terminal: terminal.as_ref().filter(|_| kind == SessionKind::Interactive),
                from: from
                    .rsplit_once(':')
                    .map_or("", |(address, _)| address)
                    .trim_matches(['[', ']']),
            })
        }
    }

    /// What the session's program is told about itself.
    fn facts(&self, session: &SessionId) -> Vec<(String, String)> {
        let mut all = Vec::new();
        if self.connection.site == RecordingSite::Node {
            all.push(("PALISADE_SESSION".to_owned(), session.to_string()));
        }
        all.push((
            "PALISADE_HOST".into(),
            self.connection.shared.config.host.to_string(),
        ));
        let pass = self.connection.pass();
        all.push(("PALISADE_USER".into(), pass.claims().user.to_string()));
        if let Some((address, port)) = pass.claims().client_addr.rsplit_once(':') {
            let address = address.trim_matches(['[', ']']);
            // Programs look at these to find out that they are reached by SSH; our own end has no address of its own.
            all.push(("SSH_CLIENT".into(), format!("{address} {port} 22")));
            all.push(("SSH_CONNECTION".into(), format!("{address} {port} 127.0.0.1 22")));
        }
        if let Some(agent) = &self.agent {
            all.push(("SSH_AUTH_SOCK".into(), agent.path().display().to_string()));
        }
        if let Some(display) = &self.display {
            all.push(("DISPLAY".into(), display.name()));
        }
        all
    }

    /// The owner comes back to a session that their old connection left behind.
    fn come_back(&self, id: &str) -> Result<(Arc<Room>, Arc<Seat>), String> {
        let missing = || {
            format!(
                "you have no session {} here",
                id.chars().take(64).collect::<String>().escape_debug()
            )
        };
        let id = SessionId::parse(id).map_err(|_| missing())?;
        let room = self
            .connection
            .shared
            .rooms
            .lock()
            .get(&id)
            .cloned()
            .ok_or_else(missing)?;
        room.may_come_back(&self.connection).map_err(|()| missing())?;
        let terminal = self
            .terminal
            .as_ref()
            .ok_or("a terminal is needed to come back to a session: ssh -t")?;
        let seat = Seat::new(
            &room,
            Arc::clone(&self.connection),
            Arc::clone(&self.write),
            Mode::Owner,
        );
        seat.resized(terminal.columns, terminal.rows, terminal.pixels);
        Ok((room, seat))
    }

    /// Somebody joins another's session, as the node decided. Nobody sees anything before it is written.
    async fn join(&self, joining: &Joining) -> Result<(Arc<Room>, Arc<Seat>), String> {
        let connection = &self.connection;
        let room = connection.shared.rooms.lock().get(&joining.session).cloned();
        let room = room.ok_or("the session is over")?;
        room.may_be_joined()?;
        if !connection.joins() {
            return Err("you have joined the session already".into());
        }
        let event = room.participation(EventKind::SessionJoin, connection, joining.mode);
        connection.audit(vec![event]).await.map_err(|e| e.to_string())?;
        let seat = Seat::new(
            &room,
            Arc::clone(connection),
            Arc::clone(&self.write),
            Mode::Joined(joining.mode),
        );
        Ok((room, seat))
    }
}

/// Writes a line of ours to the user's standard error, as far as the window allows at once.
pub(crate) async fn tell(write: &ChannelWriteHalf<Msg>, reason: &str) {
    tell_line(write, &format!("\r\npalisade: {reason}\r\n")).await;
}

async fn tell_line(write: &ChannelWriteHalf<Msg>, line: &str) {
    let told = write.extended_data_bytes(1, line.as_bytes().to_vec());
    let _ = tokio::time::timeout(TELL, told).await;
}
