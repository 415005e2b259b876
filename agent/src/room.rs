//! A session: its program, and whoever is in the room. It lives here and not in a connection, so that its owner may lose
//! theirs and come back.
//!
//! ```text
//! program -> recording -> screen kept -> owner        waits for the owner's window
//!                                     -> others       bounded queues: whoever is slow misses something
//! seats -> program
//! ```

use crate::channel::tell;
use crate::connection::{Connection, LOOK};
use crate::program::{Control, Exit, Input, Output, Program, signal_name};
use crate::server::LiveRow;
use crate::spool::Writer;
use crate::start::{self, Begun};
use bytes::{Bytes, BytesMut};
use palisade_core::access::Ability;
use palisade_core::api::LiveSession;
use palisade_core::event::{Event, EventKind};
use palisade_core::name::SessionId;
use palisade_core::record::{RecordingSite, SessionKind};
use palisade_session::ssh::relay::{Chunk, Outcome};
use palisade_session::ssh::russh::server::Msg;
use palisade_session::ssh::russh::{ChannelWriteHalf, Sig};
use palisade_session::ssh::serve::Stop;
use palisade_session::tap::Tap;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// How much is read from a program at a time.
const READ: usize = 64 << 10;

/// Output that is kept for whoever comes in later.
const SCREEN: usize = 64 << 10;

/// Pieces of output that wait for somebody who looks on.
const BEHIND: usize = 64;

/// How long a terminal may be silent, after its program has ended, before what others in it may still say is given up.
const AFTER_EXIT: Duration = Duration::from_millis(100);

/// What somebody in a room may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Whose session it is.
    Owner,
    /// Looks on.
    Observer,
    /// Looks on and may end the session.
    Moderator,
    /// Types as well.
    Peer,
}

impl Mode {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Owner => "owner",
            Mode::Observer => "observer",
            Mode::Moderator => "moderator",
            Mode::Peer => "peer",
        }
    }

    /// Of a word; nobody becomes an owner by asking.
    pub(crate) fn parse(word: &str) -> Option<Mode> {
        [Mode::Observer, Mode::Moderator, Mode::Peer]
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }

    fn types(self) -> bool {
        matches!(self, Mode::Owner | Mode::Peer)
    }
}

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Who.
    pub user: String,
    /// As what.
    pub mode: Mode,
    /// From where.
    pub client_addr: String,
}

/// Somebody's place in a room: the channel that their terminal is at the other end of.
pub(crate) struct Seat {
    room: Arc<Room>,
    connection: Arc<Connection>,
    write: Arc<ChannelWriteHalf<Msg>>,
    mode: Mode,
    /// They have left, or were made to.
    pub(crate) gone: Stop,
}

/// A running session.
pub(crate) struct Room {
    id: SessionId,
    live: LiveSession,
    kind: SessionKind,
    ability: Ability,
    pub(crate) stop: Stop,
    control: Control,
    input: tokio::sync::Mutex<Option<Input>>,
    tap: Tap,
    writer: Arc<Writer>,
    people: Mutex<People>,
    /// The first owner has sat down: before that nobody hears what the program says.
    ready: Notify,
    /// The owner's seat is taken or given up.
    moved: Notify,
    /// The owner left on purpose: what they leave behind ends.
    closed: AtomicBool,
    screen: Mutex<Screen>,
    input_bytes: AtomicU64,
    output_bytes: AtomicU64,
}

struct People {
    /// The connection that answers for the session: the owner's, or the one that they lost last.
    answers: Arc<Connection>,
    owner: Option<Arc<Seat>>,
    others: Vec<Other>,
}

struct Other {
    seat: Arc<Seat>,
    out: mpsc::Sender<Bytes>,
    /// Missed something since they last got something.
    behind: bool,
}

impl Seat {
    pub(crate) fn new(
        room: &Arc<Room>,
        connection: Arc<Connection>,
        write: Arc<ChannelWriteHalf<Msg>>,
        mode: Mode,
    ) -> Arc<Seat> {
        Arc::new(Seat {
            room: Arc::clone(room),
            connection,
            write,
            mode,
            gone: Stop::default(),
        })
    }

    fn participant(&self) -> Participant {
        let pass = self.connection.pass();
        Participant {
            user: pass.claims().user.to_string(),
            mode: self.mode,
            client_addr: pass.claims().client_addr.clone(),
        }
    }

    /// They typed, or sent. Ready when the program has taken it.
    pub(crate) async fn typed(&self, bytes: &Bytes) {
        if !self.mode.types() {
            return;
        }
        self.room.tap.input(bytes);
        self.room
            .input_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut input = self.room.input.lock().await;
        if let Some(to) = input.as_mut()
            && to.write_all(bytes).await.is_err()
        {
            // The program does not read any more; it may still write.
            *input = None;
        }
    }

    /// They will send nothing more. A terminal has no end of input: that is a key.
    pub(crate) async fn end_of_input(&self) {
        if self.mode == Mode::Owner && self.room.kind != SessionKind::Interactive {
            *self.room.input.lock().await = None;
        }
    }

    pub(crate) fn resized(&self, columns: u32, rows: u32, pixels: (u32, u32)) {
        // One terminal has one size, and it is its owner's.
        if self.mode == Mode::Owner && self.room.kind == SessionKind::Interactive {
            self.room.control.resize(columns, rows, pixels);
            self.room.tap.resize(columns, rows);
        }
    }

    pub(crate) fn signal(&self, signal: &Sig) {
        if self.mode.types() {
            self.room.control.signal(signal);
        }
    }

    /// They leave. An owner who does so on purpose ends the session, as closing any terminal does.
    pub(crate) fn leave(self: &Arc<Self>, on_purpose: bool) {
        self.gone.stop("");
        self.room.left(self, on_purpose);
    }

    /// Sends output, as fast as they take it. False when they are gone.
    async fn send(&self, ext: Option<u32>, data: Bytes) -> bool {
        let send = async {
            self.connection.egress.ready().await;
            match ext {
                None => self.write.data_bytes(data).await,
                Some(ext) => self.write.extended_data_bytes(ext, data).await,
            }
        };
        tokio::select! {
            sent = send => sent.is_ok(),
            _ = self.gone.stopped() => false,
        }
    }
}

impl Room {
    /// Opens the room of a program that has just been started. `keeps` lives as long as the session does.
    pub(crate) fn open(
        connection: Arc<Connection>,
        begun: Begun,
        mut program: Program,
        ability: Ability,
        keeps: Box<dyn std::any::Any + Send>,
    ) -> Arc<Room> {
        let room = Arc::new(Room {
            id: begun.plan.session.clone(),
            live: begun.live,
            kind: begun.plan.kind,
            ability,
            stop: Stop::default(),
            control: program.control.clone(),
            input: tokio::sync::Mutex::new(program.input.take()),
            tap: begun.tap,
            writer: begun.writer,
            people: Mutex::new(People {
                answers: Arc::clone(&connection),
                owner: None,
                others: Vec::new(),
            }),
            ready: Notify::new(),
            moved: Notify::new(),
            closed: AtomicBool::new(false),
            screen: Mutex::default(),
            input_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
        });
        let shared = Arc::clone(&connection.shared);
        shared.rooms.lock().insert(room.id.clone(), Arc::clone(&room));
        let running = Arc::clone(&room);
        shared.tasks.clone().spawn(async move {
            running.ready.notified().await;
            let (exit, broken) = running.run(program).await;
            shared.rooms.lock().remove(&running.id);
            running.finish(exit, broken).await;
            drop(keeps);
        });
        room
    }

    pub(crate) fn row(&self) -> LiveRow {
        let people = self.people.lock();
        let owner = people.owner.iter().map(|seat| seat.participant());
        let others = people.others.iter().map(|other| other.seat.participant());
        LiveRow {
            connection: people.answers.pass().claims().connection.clone(),
            session: self.live.clone(),
            participants: owner.chain(others).collect(),
            site: people.answers.site,
        }
    }

    /// Whether it is this user's, as this login, and one that can be come back to.
    pub(crate) fn may_come_back(&self, connection: &Connection) -> Result<(), ()> {
        let pass = connection.pass();
        let same = pass.claims().user.as_str() == self.live.user
            && connection
                .login()
                .is_some_and(|login| login.as_str() == self.live.login)
            && self.kind == SessionKind::Interactive
            // What a node records runs through that node alone.
            && connection.site == RecordingSite::Node
            && self.people.lock().answers.site == RecordingSite::Node
            && self.stop.reason().is_none();
        if same { Ok(()) } else { Err(()) }
    }

    /// Lets somebody in who was found to be allowed.
    pub(crate) async fn seat(self: &Arc<Self>, seat: Arc<Seat>) {
        if self.stop.reason().is_some() {
            seat.gone.stop("");
            return;
        }
        if seat.mode != Mode::Owner {
            return self.seat_other(seat).await;
        }
        let (before, first) = {
            let mut people = self.people.lock();
            let first = Arc::ptr_eq(&people.answers, &seat.connection) && people.owner.is_none();
            people.answers = Arc::clone(&seat.connection);
            (people.owner.take(), first)
        };
        if let Some(before) = before {
            // The old connection may still think that it lives.
            tell(&before.write, "this session goes on elsewhere").await;
            before.gone.stop("");
        }
        if !first {
            let screen = self.screen.lock().bytes();
            seat.send(None, screen).await;
            self.tap.remark("the owner came back".into());
            self.announce("the owner came back", &seat);
            self.control.signal(&Sig::Custom("WINCH".into()));
        }
        self.people.lock().owner = Some(seat);
        self.ready.notify_one();
        self.moved.notify_one();
    }

    async fn seat_other(self: &Arc<Self>, seat: Arc<Seat>) {
        let (out, mut queue) = mpsc::channel::<Bytes>(BEHIND);
        let screen = self.screen.lock().bytes();
        let _ = out.try_send(screen);
        self.people.lock().others.push(Other {
            seat: Arc::clone(&seat),
            out,
            behind: false,
        });
        let who = seat.participant();
        self.tap
            .remark(format!("{} came in as {}", who.user, who.mode.as_str()));
        self.announce(&format!("{} is here as {}", who.user, who.mode.as_str()), &seat);
        let room = Arc::clone(self);
        self.people.lock().answers.shared.tasks.spawn(async move {
            while let Some(bytes) = queue.recv().await {
                if !seat.send(None, bytes).await {
                    break;
                }
            }
            room.left(&seat, true);
        });
    }

    fn left(&self, seat: &Arc<Seat>, on_purpose: bool) {
        let was_owner = {
            let mut people = self.people.lock();
            people.others.retain(|other| !Arc::ptr_eq(&other.seat, seat));
            match &people.owner {
                Some(owner) if Arc::ptr_eq(owner, seat) => {
                    people.owner = None;
                    true
                }
                _ => false,
            }
        };
        if was_owner {
            // Only a terminal is worth waiting for: whoever started anything else cannot come back to it.
            if on_purpose || self.kind != SessionKind::Interactive {
                self.closed.store(true, Ordering::SeqCst);
            }
            self.moved.notify_one();
        } else if seat.mode != Mode::Owner {
            let who = seat.participant();
            self.tap.remark(format!("{} left", who.user));
            self.announce(&format!("{} has left", who.user), seat);
        }
    }

    /// Says something to everybody but one.
    fn announce(&self, what: &str, but: &Arc<Seat>) {
        let line = Bytes::from(format!("\r\npalisade: {what}\r\n"));
        let mut people = self.people.lock();
        for other in &mut people.others {
            if !Arc::ptr_eq(&other.seat, but) {
                let _ = other.out.try_send(line.clone());
            }
        }
        if let Some(owner) = people.owner.clone().filter(|owner| !Arc::ptr_eq(owner, but)) {
            people.answers.shared.tasks.spawn(async move {
                let _ = tokio::time::timeout(crate::channel::TELL, owner.send(None, line)).await;
            });
        }
    }

    fn owner(&self) -> Option<Arc<Seat>> {
        self.people.lock().owner.clone()
    }

    fn answers(&self) -> Arc<Connection> {
        Arc::clone(&self.people.lock().answers)
    }

    /// Runs the program to its end: how it ended, or why it was.
    async fn run(self: &Arc<Self>, mut program: Program) -> (Option<Exit>, Option<String>) {
        let outputs = (program.output.take(), program.error_output.take());
        let mut exit = None;
        let broken = {
            let output = self.output(outputs);
            let policy = self.policy();
            tokio::pin!(output, policy);
            // With a terminal: since when it has been silent after the end of its program.
            let mut silent: Option<(Instant, u64)> = None;
            loop {
                tokio::select! {
                    biased;
                    reason = &mut policy => break Some(reason),
                    done = &mut output => match (done, exit) {
                        (Err(reason), _) => break Some(reason),
                        (Ok(()), Some(_)) => break None,
                        // A program may close its output long before it ends.
                        (Ok(()), None) => {
                            exit = tokio::select! {
                                exit = program.wait() => Some(exit),
                                reason = &mut policy => break Some(reason),
                            };
                            break None;
                        }
                    },
                    ended = program.wait(), if exit.is_none() => {
                        exit = Some(ended);
                        if self.kind == SessionKind::Interactive {
                            silent = Some((Instant::now() + AFTER_EXIT, self.output_bytes.load(Ordering::Relaxed)));
                        }
                    }
                    () = async { tokio::time::sleep_until(silent.map_or_else(Instant::now, |(at, _)| at)).await }, if silent.is_some() => {
                        let now = self.output_bytes.load(Ordering::Relaxed);
                        match silent {
                            Some((_, before)) if before == now => break None,
                            _ => silent = Some((Instant::now() + AFTER_EXIT, now)),
                        }
                    }
                }
            }
        };
        let exit = match (exit, &broken) {
            (Some(exit), None) => Some(exit),
            (Some(_), Some(_)) => None,
            (None, _) => {
                program.end().await;
                None
            }
        };
        self.stop.stop(broken.as_deref().unwrap_or_default());
        program.over().await;
        self.farewell(exit, broken.as_deref()).await;
        // Only now: whoever still wrote into it has been sent away.
        *self.input.lock().await = None;
        (exit, broken)
    }

    /// Tells everybody how it ended.
    async fn farewell(&self, exit: Option<Exit>, broken: Option<&str>) {
        let (owner, others) = {
            let mut people = self.people.lock();
            (people.owner.take(), std::mem::take(&mut people.others))
        };
        for seat in owner
            .into_iter()
            .chain(others.into_iter().map(|other| other.seat))
        {
            if let Some(reason) = broken {
                tell(&seat.write, reason).await;
            }
            let said = async {
                match exit {
                    Some(Exit::Status(status)) => {
                        let _ = seat.write.exit_status(status).await;
                    }
                    Some(Exit::Signal(signal)) => {
                        let _ = seat
                            .write
                            .exit_signal(signal_name(signal), false, String::new(), String::new())
                            .await;
                    }
                    None => {}
                }
                let _ = seat.write.eof().await;
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), said).await;
            seat.gone.stop("");
        }
    }

    /// Ready with a reason when the session must end: somebody says so, the policy does, or nobody comes back.
    async fn policy(&self) -> String {
        let mut alone_since: Option<Instant> = Some(Instant::now());
        loop {
            let connection = self.answers();
            let grace = connection.shared.config.grace;
            let moved = self.moved.notified();
            if self.owner().is_some() {
                alone_since = None;
            } else if self.closed.load(Ordering::SeqCst) {
                return "the user's connection is gone".into();
            } else {
                let since = *alone_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= grace {
                    return format!("nobody came back for {} s", grace.as_secs());
                }
            }
            if let Some(reason) = connection.over() {
                return reason;
            }
            tokio::select! {
                reason = self.stop.stopped() => return reason,
                // A lost connection ends without a reason: its session waits.
                reason = connection.stop.stopped() => return reason,
                reason = connection.taken_away(self.ability) => return reason,
                () = moved => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Everything that the program says, to whoever is there. `Err` ends the session.
    async fn output(self: &Arc<Self>, (out, err): (Option<Output>, Option<Output>)) -> Result<(), String> {
        let mut out = out.map(|from| (from, BytesMut::new()));
        let mut err = err.map(|from| (from, BytesMut::new()));
        loop {
            let (ext, data) = tokio::select! {
                data = read(&mut out), if out.is_some() => (None, data),
                data = read(&mut err), if err.is_some() => (Some(1), data),
                else => return Ok(()),
            };
            match data {
                Some(data) => self.shown(Chunk { ext, data }).await?,
                None if ext.is_none() => out = None,
                None => err = None,
            }
        }
    }

    async fn shown(self: &Arc<Self>, chunk: Chunk) -> Result<(), String> {
        let connection = self.answers();
        // Output of an interactive session says nothing about the person; a long transfer does.
        if self.kind != SessionKind::Interactive {
            connection.touch();
        }
        let chunk = [chunk];
        let safe = self.tap.output(&chunk).await;
        safe.map_err(|e| format!("the session cannot be recorded: {e}"))?;
        let base = |kind: EventKind| -> Event { connection.event(kind) };
        let events = self.tap.transfers(&base);
        if !events.is_empty() {
            self.writer.audit(events);
        }
        let [Chunk { ext, data }] = chunk;
        self.output_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        if self.kind == SessionKind::Interactive {
            self.screen.lock().push(&data);
            self.to_others(&data);
        }
        if let Some(owner) = self.owner()
            && !owner.send(ext, data).await
        {
            // Their channel ends by itself and says how.
            owner.gone.stopped().await;
        }
        Ok(())
    }

    fn to_others(&self, data: &Bytes) {
        let mut people = self.people.lock();
        for other in &mut people.others {
            if other.behind {
                let told = other.out.try_send(Bytes::from_static(
                    b"\x1b[0m\r\npalisade: some output was left out\r\n",
                ));
                other.behind = told.is_err();
            }
            if !other.behind {
                other.behind = other.out.try_send(data.clone()).is_err();
            }
        }
    }

    /// Ends the recording and has the end written.
    async fn finish(&self, exit: Option<Exit>, broken: Option<String>) {
        let connection = self.answers();
        let outcome = Outcome {
            exit_status: match exit {
                Some(Exit::Status(status)) => Some(status),
                _ => None,
            },
            exit_signal: match exit {
                Some(Exit::Signal(signal)) => Some(format!("{:?}", signal_name(signal))),
                _ => None,
            },
            input_bytes: self.input_bytes.load(Ordering::Relaxed),
            output_bytes: self.output_bytes.load(Ordering::Relaxed),
            broken: broken.clone(),
        };
        let ours = broken.as_deref().filter(|_| !self.closed.load(Ordering::SeqCst));
        start::end(&connection, &self.tap, &self.writer, &self.id, &outcome, ours).await;
    }
}

/// The next piece; `None` at the end.
async fn read(from: &mut Option<(Output, BytesMut)>) -> Option<Bytes> {
    let (from, buffer) = from.as_mut()?;
    if buffer.capacity() < READ / 4 {
        buffer.reserve(READ);
    }
    // A terminal that nobody holds any more says so by an error.
    match from.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(buffer.split().freeze()),
    }
}

/// The last of the output, for whoever comes in later.
#[derive(Debug, Default)]
struct Screen {
    kept: VecDeque<u8>,
}

impl Screen {
    fn push(&mut self, data: &[u8]) {
        let data = &data[data.len().saturating_sub(SCREEN)..];
        let over = (self.kept.len() + data.len()).saturating_sub(SCREEN);
        self.kept.drain(..over);
        self.kept.extend(data);
    }

    /// What is kept, from the beginning of a line: half an escape sequence would be shown as text.
    fn bytes(&self) -> Bytes {
        let from = if self.kept.len() < SCREEN {
            0
        } else {
            self.kept.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1)
        };
        self.kept.iter().skip(from).copied().collect::<Vec<u8>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_is_bounded_and_begins_with_a_line() {
        let mut screen = Screen::default();
        screen.push(b"first\n");
        assert_eq!(&screen.bytes()[..], b"first\n");
        for n in 0..20_000 {
            screen.push(format!("line {n}\n").as_bytes());
        }
        assert_eq!(screen.kept.len(), SCREEN);
        let kept = screen.bytes();
        assert!(kept.starts_with(b"line ") && kept.ends_with(b"line 19999\n"));
        screen.push(&vec![b'x'; 3 * SCREEN]);
        assert_eq!(screen.kept.len(), SCREEN);
    }

    #[test]
    fn nobody_asks_to_be_an_owner() {
        assert_eq!(Mode::parse("peer"), Some(Mode::Peer));
        assert_eq!(Mode::parse("owner"), None);
    }
}
