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
use crate::gate::{Flow, Gate, Present, Step};
use crate::program::{Control, Exit, Input, Output, Program, signal_name};
use crate::screen::Screen;
use crate::seat::{CTRL_C, Mode, Seat};
use crate::server::LiveRow;
use crate::spool::Writer;
use crate::start::{self, Begun};
use bytes::{Bytes, BytesMut};
use palisade_core::access::{Ability, Moderation};
use palisade_core::api::{LiveSession, SessionParticipant};
use palisade_core::event::{Event, EventKind};
use palisade_core::name::{Name, SessionId};
use palisade_core::record::{JoinMode, RecordingSite, SessionKind};
use palisade_core::shown::Shown;
use palisade_session::ssh::relay::{Chunk, Outcome};
use palisade_session::ssh::russh::Sig;
use palisade_session::ssh::serve::Stop;
use palisade_session::tap::Tap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

/// How much is read from a program at a time.
const READ: usize = 64 << 10;

/// Pieces of output that wait for somebody who looks on.
const BEHIND: usize = 64;
/// How long the end of a session waits for somebody who takes its last output slowly.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a terminal may be silent, after its program has ended, before what others in it may still say is given up.
const AFTER_EXIT: Duration = Duration::from_millis(100);

/// People who may be in a room beside its owner.
const MOST: usize = 32;

/// Starts a room's program.
pub(crate) type Launcher = Box<dyn FnOnce() -> io::Result<Program> + Send>;

/// The program of a room.
pub(crate) enum Starting {
    /// It runs.
    Now(Box<Program>),
    /// It is started when those are here who have to be.
    Later(Launcher),
}

/// A running session.
pub(crate) struct Room {
    id: SessionId,
    live: LiveSession,
    kind: SessionKind,
    ability: Ability,
    pub(crate) stop: Stop,
    /// Of the program, once it runs.
    control: Mutex<Option<Control>>,
    /// The size that its owner's terminal got while nothing ran.
    size: Mutex<Option<(u32, u32, (u32, u32))>>,
    input: tokio::sync::Mutex<Option<Input>>,
    gate: Mutex<Gate>,
    flow: watch::Sender<Flow>,
    /// The program can be typed to.
    up: watch::Sender<bool>,
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
    /// Ready when nothing of it is on its way any more, once it is closed.
    shown: oneshot::Receiver<()>,
    /// Missed something since they last got something.
    behind: bool,
}

impl People {
    fn seats(&self) -> impl Iterator<Item = &Arc<Seat>> {
        self.owner
            .iter()
            .chain(self.others.iter().map(|other| &other.seat))
    }
}

impl Room {
    /// Opens the room of a session whose start is committed. `keeps` lives as long as the session does.
    pub(crate) fn open(
        connection: Arc<Connection>,
        begun: Begun,
        mut starting: Starting,
        ability: Ability,
        keeps: Box<dyn std::any::Any + Send>,
    ) -> Arc<Room> {
        let (waits, control, input) = match &mut starting {
            Starting::Now(program) => (false, Some(program.control.clone()), program.input.take()),
            Starting::Later(_) => (true, None, None),
        };
        let gate = Gate::new(waits);
        let room = Arc::new(Room {
            id: begun.plan.session.clone(),
            live: begun.live,
            kind: begun.plan.kind,
            ability,
            stop: Stop::default(),
            control: Mutex::new(control),
            size: Mutex::default(),
            input: tokio::sync::Mutex::new(input),
            up: watch::Sender::new(!waits),
            flow: watch::Sender::new(gate.flow()),
            gate: Mutex::new(gate),
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
            let (exit, broken) = match running.started(starting).await {
                Ok(program) => running.run(program).await,
                Err(reason) => {
                    running.stop.stop(&reason);
                    running.farewell(None, Some(&reason)).await;
                    (None, Some(reason))
                }
            };
            shared.rooms.lock().remove(&running.id);
            running.finish(exit, broken).await;
            drop(keeps);
        });
        room
    }

    /// The room's program, once it may run; or why it never will.
    async fn started(self: &Arc<Self>, starting: Starting) -> Result<Program, String> {
        let launch = match starting {
            Starting::Now(program) => return Ok(*program),
            Starting::Later(launch) => launch,
        };
        let mut flow = self.flow.subscribe();
        tokio::select! {
            biased;
            reason = self.policy() => return Err(reason),
            _ = flow.wait_for(|flow| *flow == Flow::Running) => {}
        }
        let mut program = launch().map_err(|error| {
            tracing::error!(error = %error, "a session could not be started");
            format!("the host cannot start a session: {error}")
        })?;
        {
            let mut control = self.control.lock();
            if let Some((columns, rows, pixels)) = self.size.lock().take() {
                program.control.resize(columns, rows, pixels);
            }
            *control = Some(program.control.clone());
        }
        *self.input.lock().await = program.input.take();
        self.up.send_replace(true);
        Ok(program)
    }

    pub(crate) fn row(&self) -> LiveRow {
        let people = self.people.lock();
        let participants: Vec<_> = people.seats().map(|seat| seat.participant()).collect();
        let mut session = self.live.clone();
        session.participants = participants
            .iter()
            .map(|one| SessionParticipant {
                user: one.user.to_string(),
                mode: one.mode.as_str().to_owned(),
            })
            .collect();
        LiveRow {
            connection: people.answers.pass().claims().connection.clone(),
            session,
            participants,
            site: people.answers.site,
        }
    }

    /// Whether others can be in it at all.
    pub(crate) fn may_be_joined(&self) -> Result<(), String> {
        if self.kind != SessionKind::Interactive {
            return Err("only sessions with a terminal can be joined".into());
        }
        if self.stop.reason().is_some() {
            return Err("the session is over".into());
        }
        if self.people.lock().others.len() >= MOST {
            return Err(format!("{MOST} others are in the session already"));
        }
        Ok(())
    }

    /// The owner or a peer typed.
    pub(crate) async fn typed(&self, seat: &Seat, bytes: &Bytes) {
        let flow = *self.flow.borrow();
        if flow != Flow::Running {
            // Nothing that is typed while nobody looks on is kept for later.
            if flow == Flow::Waiting && seat.mode == Mode::Owner && bytes.contains(&CTRL_C) {
                self.closed.store(true, Ordering::SeqCst);
                self.stop.stop("the owner gave up waiting for others");
            }
            return;
        }
        if seat.mode != Mode::Owner {
            // The session is not idle: its limit is counted by the connection that answers for it.
            self.answers().touch();
        }
        // It is being started: what was typed since it began is for it.
        if !*self.up.borrow() {
            let _ = self.up.subscribe().wait_for(|up| *up).await;
        }
        self.tap.input(bytes);
        self.input_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut input = self.input.lock().await;
        if let Some(to) = input.as_mut()
            && to.write_all(bytes).await.is_err()
        {
            // The program does not read any more; it may still write.
            *input = None;
        }
    }

    pub(crate) async fn end_of_input(&self) {
        if self.kind != SessionKind::Interactive {
            *self.input.lock().await = None;
        }
    }

    pub(crate) fn resized(&self, columns: u32, rows: u32, pixels: (u32, u32)) {
        if self.kind != SessionKind::Interactive {
            return;
        }
        match &*self.control.lock() {
            Some(control) => control.resize(columns, rows, pixels),
            None => *self.size.lock() = Some((columns, rows, pixels)),
        }
        self.tap.resize(columns, rows);
    }

    pub(crate) fn signal(&self, signal: &Sig) {
        if *self.flow.borrow() == Flow::Running
            && let Some(control) = &*self.control.lock()
        {
            control.signal(signal);
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
            self.note_leave(&seat, "the session ended").await;
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
            self.announce("the owner came back", Some(&seat));
        }
        self.people.lock().owner = Some(Arc::clone(&seat));
        if !first {
            self.signal(&Sig::Custom("WINCH".into()));
        }
        self.ready.notify_one();
        self.moved.notify_one();
        if *self.flow.borrow() == Flow::Waiting {
            let line = format!(
                "\r\npalisade: this session begins when others have joined it: {needs} is needed. They type\r\n\
                 palisade:   pal join {id} --mode moderator (or observer, or peer)\r\n\
                 palisade: Ctrl-C gives up.\r\n",
                needs = self.needs().unwrap_or_default(),
                id = self.id,
            );
            seat.send(None, line.into()).await;
        }
    }

    async fn seat_other(self: &Arc<Self>, seat: Arc<Seat>) {
        let (out, mut queue) = mpsc::channel::<Bytes>(BEHIND);
        let (all_shown, shown) = oneshot::channel();
        let who = seat.participant();
        let (user, mode) = (Shown(who.user.as_str()).to_string(), who.mode.as_str());
        let tasks = {
            let screen = self.screen.lock();
            let mut people = self.people.lock();
            let _ = out.try_send(self.greeting(&people, who.mode).into());
            let _ = out.try_send(screen.bytes());
            people.others.push(Other {
                seat: Arc::clone(&seat),
                out,
                shown,
                behind: false,
            });
            people.answers.shared.tasks.clone()
        };
        self.tap.remark(format!("{user} joined as {mode}"));
        self.announce(&format!("{user} joined as {mode}"), Some(&seat));
        self.weigh();
        let room = Arc::clone(self);
        tasks.spawn(async move {
            let shown = async {
                while let Some(bytes) = queue.recv().await {
                    if !seat.send(None, bytes).await {
                        break;
                    }
                }
                // Nobody waits for it where they left before the session's end.
                let _ = all_shown.send(());
            };
            let mut linked = seat.connection.linked();
            let heed = async {
                while linked.changed().await.is_ok() {
                    room.weigh();
                }
                std::future::pending::<()>().await;
            };
            let why = tokio::select! {
                () = shown => String::new(),
                () = heed => String::new(),
                // Their right to be here has ended, or their certificate has.
                why = seat.connection.stop.stopped() => {
                    room.left(&seat, true, &why);
                    tell(&seat.write, &why).await;
                    seat.gone.stop("");
                    why
                }
            };
            room.left(&seat, true, &why);
        });
    }

    /// What somebody reads who joins.
    fn greeting(&self, people: &People, mode: Mode) -> String {
        let here: Vec<_> = people
            .seats()
            .map(|seat| seat.participant())
            .map(|one| format!("{} ({})", Shown(one.user.as_str()), one.mode.as_str()))
            .collect();
        let here = match here.is_empty() {
            true => "nobody; its owner lost their connection".to_owned(),
            false => here.join(", "),
        };
        let keys = match mode {
            Mode::Joined(JoinMode::Observer) => "Ctrl-C leaves.",
            Mode::Joined(JoinMode::Moderator) => "Ctrl-C leaves, t ends the session.",
            Mode::Owner | Mode::Joined(JoinMode::Peer) => {
                "What you type, the session gets. Enter ~ . leaves."
            }
        };
        format!(
            "\r\npalisade: session of {} as {} on {}; here: {here}\r\npalisade: you are {}. {keys}\r\n",
            Shown(&self.live.user),
            Shown(&self.live.login),
            Shown(&self.live.host),
            mode.as_str(),
        )
    }

    pub(crate) fn left(&self, seat: &Arc<Seat>, on_purpose: bool, why: &str) {
        let (was_owner, had_joined) = {
            let mut people = self.people.lock();
            let before = people.others.len();
            people.others.retain(|other| !Arc::ptr_eq(&other.seat, seat));
            let had_joined = people.others.len() < before;
            match &people.owner {
                Some(owner) if Arc::ptr_eq(owner, seat) => {
                    people.owner = None;
                    (true, had_joined)
                }
                _ => (false, had_joined),
            }
        };
        if was_owner {
            // Only a terminal is worth waiting for: whoever started anything else cannot come back to it.
            if on_purpose || self.kind != SessionKind::Interactive {
                self.closed.store(true, Ordering::SeqCst);
            }
            self.moved.notify_one();
        }
        if had_joined {
            let who = Shown(seat.participant().user.as_str()).to_string();
            self.tap.remark(format!("{who} left"));
            self.announce(&format!("{who} has left"), Some(seat));
            let tasks = self.answers().shared.tasks.clone();
            tasks.spawn(self.note_leave(seat, why));
            self.weigh();
        }
    }

    /// The event of somebody who joined; written under the proof of their own pass.
    pub(crate) fn participation(&self, kind: EventKind, seat: &Connection, mode: JoinMode) -> Event {
        seat.event(kind)
            .session(self.id.as_str())
            .with("mode", mode.as_str())
            .with("owner", &self.live.user)
    }

    /// Writes that somebody who had joined is gone. Ready when it is written, or waits on disk.
    fn note_leave(&self, seat: &Seat, why: &str) -> impl Future<Output = ()> + Send + 'static {
        let event = match seat.mode {
            Mode::Owner => None,
            Mode::Joined(mode) => {
                let event = self.participation(EventKind::SessionLeave, &seat.connection, mode);
                Some(if why.is_empty() { event } else { event.message(why) })
            }
        };
        let (writer, proof) = (Arc::clone(&self.writer), seat.connection.pass().proof().to_vec());
        async move {
            if let Some(event) = event {
                writer.audit_as(proof, vec![event]).await;
            }
        }
    }

    /// Who has to be here; `None` when the owner may not be here either.
    fn needs(&self) -> Option<Moderation> {
        let pass = self.answers().pass();
        let login = pass.login(&self.live.login)?;
        Some(login.require_session_join.clone())
    }

    /// Goes by who is here now.
    fn weigh(&self) {
        let Some(needs) = self.needs() else { return };
        let mut here: BTreeMap<Name, Present> = BTreeMap::new();
        for other in &self.people.lock().others {
            let (user, Mode::Joined(mode)) = (other.seat.participant().user, other.seat.mode) else {
                continue;
            };
            let linked = *other.seat.connection.linked().borrow();
            let one = here.entry(user).or_insert(Present { mode, linked });
            // Who is there twice is one person, by the place of the greater weight.
            if (linked, mode == JoinMode::Moderator) > (one.linked, one.mode == JoinMode::Moderator) {
                *one = Present { mode, linked };
            }
        }
        // Nobody is needed in their own session by themselves.
        here.retain(|user, _| user.as_str() != self.live.user);
        let here: Vec<_> = here.into_values().collect();
        let (step, flow) = {
            let mut gate = self.gate.lock();
            let step = gate.weigh(&needs, &here, Instant::now());
            self.flow.send_replace(gate.flow());
            (step, gate.flow())
        };
        let what = match step {
            Step::Stay => return,
            Step::Begin => "the session begins".to_owned(),
            Step::Resume => "the session goes on".to_owned(),
            Step::Pause => format!(
                "the session is paused until others are here: {needs} is needed. Nothing that is typed is kept"
            ),
            Step::End => {
                let why = format!("the session ended because others left: {needs} is needed");
                return self.stop.stop(&why);
            }
        };
        tracing::debug!(session = %self.id, ?flow, "a session's flow changed");
        self.tap.remark(what.clone());
        self.announce(&what, None);
    }

    /// Says something to everybody, or to all but one.
    fn announce(&self, what: &str, but: Option<&Arc<Seat>>) {
        let line = Bytes::from(format!("\r\npalisade: {what}\r\n"));
        let meant = |seat: &Arc<Seat>| !but.is_some_and(|but| Arc::ptr_eq(but, seat));
        let mut people = self.people.lock();
        for other in &mut people.others {
            if meant(&other.seat) {
                let _ = other.out.try_send(line.clone());
            }
        }
        if let Some(owner) = people.owner.clone().filter(meant) {
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
        let left: Vec<_> = others
            .iter()
            .map(|other| self.note_leave(&other.seat, "the session ended"))
            .collect();
        // What the program said last may still be on its way to those who joined: the end comes behind it.
        let others = others.into_iter().map(|other| (other.seat, Some(other.shown)));
        for (seat, shown) in owner.into_iter().map(|seat| (seat, None)).chain(others) {
            if let Some(shown) = shown {
                let _ = tokio::time::timeout(LAST_WORDS, shown).await;
            }
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
        // Before the session's own end.
        for note in left {
            note.await;
        }
    }

    /// Ready with a reason when the session must end: somebody says so, the policy does, or nobody comes back.
    async fn policy(&self) -> String {
        let mut alone_since: Option<Instant> = Some(Instant::now());
        loop {
            let connection = self.answers();
            let grace = connection.shared.config.grace;
            // Decisions change, and whoever was cut off is waited for only so long.
            self.weigh();
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
        // What was said is recorded, whether or not it is shown.
        if *self.flow.borrow() != Flow::Running {
            let mut flow = self.flow.subscribe();
            let _ = flow.wait_for(|flow| *flow == Flow::Running).await;
        }
        let [Chunk { ext, data }] = chunk;
        self.output_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        if self.kind == SessionKind::Interactive {
            // Whoever comes in between the two would see it twice, or not at all.
            let mut screen = self.screen.lock();
            screen.push(&data);
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
