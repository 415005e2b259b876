//! `GET /v1/terminal`: a terminal at a host, in a browser. What is said over the socket is in [`palisade_core::terminal`].
//!
//! ```text
//! browser --frames--> inward --(bounded queue)--> typist --> host
//!    ^                  | acks, pings                          |
//!    +----- outward <---+<------- output, only while there is room ---+
//! ```
//!
//! The three run beside each other, so that none waits for another: a program that does not read what is typed still shows
//! what it has to say, and a browser that shows nothing can still type. What waits anywhere is bounded.

mod browser;
mod files;
mod flow;
mod origin;
mod places;

pub(crate) use files::{FileQuery, get as get_file, put as put_file};
pub(crate) use places::Places;

use crate::ask::{Ask, Who};
use crate::caller::FromPort;
use crate::certs;
use crate::error::Failure;
use crate::sessions;
use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use flow::Flow;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::pass::Joining;
use palisade_core::ports::{
    Terminal, TerminalEvent, TerminalFault, TerminalInput, TerminalKey, TerminalOutput, TerminalTarget,
    TerminalUser, TerminalWanted,
};
use palisade_core::record::{Completeness, HostAddr, NodeSpec, SessionKind};
use palisade_core::state;
use palisade_core::terminal::{Asks, FRAME_MAX, Open, Says, TYPED_MAX};
use parking_lot::Mutex;
use places::Full;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// The first frame comes within this, or never.
const FIRST: Duration = Duration::from_secs(10);
/// How often a browser is asked for a sign of life. Its answer comes by itself, also while its page does nothing.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A browser that was not heard of for so long is gone.
const SILENT: Duration = Duration::from_secs(65);
/// How long the last words of a socket may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Output goes in frames of at most this size.
const PIECE: usize = 64 << 10;
/// What is larger than this breaks the socket before it is read whole.
const MESSAGE_MAX: usize = 8 * FRAME_MAX;
/// Answers to pings that may wait.
const ANSWERS: usize = 32;
/// A terminal is at most so many characters wide or high.
const SIZE_MAX: u16 = 4096;

/// Terminals at one node, and of one user.
pub(crate) const MOST: usize = 2000;
pub(crate) const MOST_EACH: usize = 100;
/// Sockets that have not said who they are, and those of one source.
pub(crate) const WAITING: usize = 256;
pub(crate) const WAITING_EACH: usize = 32;

/// Why a socket is closed: RFC 6455, section 7.4.1.
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

type Waiting = places::Place<IpAddr>;

/// `GET /v1/terminal`.
pub(crate) async fn open(
    ask: Ask,
    port: Option<Extension<FromPort>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let (addrs, _) = certs::addresses(ask.kv().as_ref())?;
    if !origin::is_ours(&headers, &addrs) {
        return Err(Failure::refused("only pages of this cluster open terminals"));
    }
    let upgrade = upgrade.map_err(|_| Failure::invalid("this is a WebSocket"))?;
    let waiting = ask.app.terminals_waiting.take(ask.source());
    let waiting = waiting.map_err(|_| Failure::rate_limited())?;
    let port = port.map_or(0, |Extension(FromPort(port))| port);
    let upgrade = upgrade
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        // Written through at once: what waits is counted, and waits at the host.
        .write_buffer_size(0)
        .max_write_buffer_size(4 * PIECE);
    Ok(upgrade.on_upgrade(move |socket| serve(ask, port, waiting, socket)))
}

type To = SplitSink<WebSocket, Message>;
type From = SplitStream<WebSocket>;

/// Serves one socket to its end.
async fn serve(ask: Ask, port: u16, waiting: Waiting, socket: WebSocket) {
    let (mut to, mut from) = socket.split();
    let (code, words) = match begin(&ask, port, waiting, &mut from).await {
        Ok(begun) => run(&ask, begun, &mut to, &mut from).await,
        Err(No::Gone) => return,
        Err(No::Failed(failure)) => (POLICY, Some(failed(failure))),
    };
    let last = async {
        if let Some(words) = words {
            to.send(text(&words)).await?;
        }
        let close = CloseFrame {
            code,
            reason: "".into(),
        };
        to.send(Message::Close(Some(close))).await?;
        // So that what was sent arrives before the connection is gone.
        while let Some(Ok(_)) = from.next().await {}
        Ok::<_, axum::Error>(())
    };
    let _ = tokio::time::timeout(LAST_WORDS, last).await;
}

fn text(says: &Says) -> Message {
    // Plain data: it cannot fail.
    Message::Text(serde_json::to_string(says).unwrap_or_default().into())
}

fn failed(failure: Failure) -> Says {
    let error = failure.into_error();
    Says::Failed {
        code: error.code,
        message: error.message,
    }
}

/// Why there is no terminal.
enum No {
    /// Nobody is there to be told.
    Gone,
    Failed(Failure),
}

impl<E: Into<Failure>> std::convert::From<E> for No {
    fn from(why: E) -> Self {
        No::Failed(why.into())
    }
}

/// A terminal with somebody at it.
struct Begun {
    who: Who,
    /// The browser's, if it is one.
    session: Option<String>,
    terminal: Terminal,
    opened: Says,
    _place: places::Place<Name>,
}

/// From the first frame to an open terminal.
async fn begin(ask: &Ask, port: u16, waiting: Waiting, from: &mut From) -> Result<Begun, No> {
    let open = match tokio::time::timeout(FIRST, first(from)).await {
        Ok(open) => open?,
        Err(_) => {
            let why = format!("nobody said who they are within {} s", FIRST.as_secs());
            return Err(Failure::unauthenticated(why).into());
        }
    };
    let (who, session) = browser::who_opens(ask, &open).await?;
    drop(waiting);
    let fits = |size: u16| (1..=SIZE_MAX).contains(&size);
    if !fits(open.cols) || !fits(open.rows) {
        let why = format!("cols and rows: 1 to {SIZE_MAX}");
        return Err(Failure::invalid(why).into());
    }
    let Who::User(view, _) = &who else {
        return Err(no_operator().into());
    };
    let place = ask.app.terminals.take(view.user.metadata.name.clone());
    let place = place.map_err(|full| match full {
        Full::Each => Failure::too_many_terminals(MOST_EACH),
        // It is not theirs to close one, and another node may have a place.
        Full::All => Failure::unavailable("this node has no place for another terminal"),
    })?;
    let target = target(ask, &view.user.metadata.name, &open)?;
    let (login, again) = match &target {
        TerminalTarget::Host { login, .. } => (Some(login.clone()), false),
        TerminalTarget::Again { login, .. } => (Some(login.clone()), true),
        TerminalTarget::Join(_) => (None, false),
    };
    let (key, user) = client(ask, &who, port, login.as_ref()).await?;
    let wanted = TerminalWanted {
        target,
        columns: open.cols.into(),
        rows: open.rows.into(),
    };
    let terminal = key.terminal(user, wanted).await?;
    let opened = Says::Opened {
        session: terminal.session.to_string(),
        host: terminal.host.clone(),
        login: login.as_ref().map(ToString::to_string).unwrap_or_default(),
        node: this_node(ask)?,
        again,
    };
    Ok(Begun {
        who,
        session,
        terminal,
        opened,
        _place: place,
    })
}

fn no_operator() -> Failure {
    Failure::refused("the control socket has no login on any host: log in as a user")
}

/// The first frame.
async fn first(from: &mut From) -> Result<Open, No> {
    loop {
        match from.next().await {
            Some(Ok(Message::Text(text))) if text.len() <= FRAME_MAX => match serde_json::from_str(&text) {
                Ok(Asks::Open(open)) => return Ok(open),
                Ok(_) => return Err(Failure::invalid("the first frame must be `open`").into()),
                // Not a word of it: it may hold a secret in the wrong place.
                Err(_) => return Err(Failure::invalid("the first frame cannot be read").into()),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                return Err(Failure::invalid("the first frame must be `open`").into());
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(No::Gone),
        }
    }
}

/// What a first frame asks for.
fn target(ask: &Ask, user: &Name, open: &Open) -> Result<TerminalTarget, Failure> {
    if open.session.is_empty() {
        let (host, port) = host_port(&open.host)?;
        return Ok(TerminalTarget::Host {
            host,
            port,
            login: Login::parse(&open.login)?,
        });
    }
    let session = SessionId::parse(&open.session)?;
    if let Some(mode) = open.mode {
        // Whether they may join it is decided on the way there; so is whether they may know that there is one.
        return Ok(TerminalTarget::Join(Joining { session, mode }));
    }
    // Somebody else's is not told apart from one that never was. The row of a session is committed before it begins, and
    // this node's state was fresh when its user was looked up: their own is unknown here only if it began after that.
    let own = sessions::row(ask, &session)?.filter(|row| row.spec.user == *user);
    let Some(row) = own.map(|row| row.spec) else {
        return Err(Failure::session_unknown(
            "you have no such session at this cluster",
        ));
    };
    if row.completeness != Completeness::Live {
        return Err(Failure::session_over("this session is over: open a new one"));
    }
    if !row.at_agent || row.session_kind != SessionKind::Interactive {
        return Err(Failure::session_over(
            "only a terminal at a host with an agent outlives its connection: open a new one",
        ));
    }
    Ok(TerminalTarget::Again {
        session,
        host: row.host,
        login: row.login,
    })
}

/// `host`, `host:port` or `[address]:port`.
fn host_port(text: &str) -> Result<(String, u16), Failure> {
    if let Ok(addr) = HostAddr::parse(text) {
        return Ok((addr.host().to_owned(), addr.port()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if text.is_empty() || text.len() > 255 || !text.chars().all(plain) {
        return Err(Failure::invalid("host: a name, or address:port"));
    }
    Ok((text.to_owned(), 22))
}

/// A key for one connection of somebody to a host, and their certificate for it.
async fn client(
    ask: &Ask,
    who: &Who,
    port: u16,
    login: Option<&Login>,
) -> Result<(Box<dyn TerminalKey>, TerminalUser), Failure> {
    let (Who::User(view, certified), Some(addr)) = (who, ask.peer.addr) else {
        return Err(no_operator());
    };
    let key = ask.app.api.terminals.key()?;
    let certificate = ask
        .issue_for_connection(view, certified, key.public_key(), login)
        .await?;
    let user = TerminalUser {
        user: view.user.metadata.name.clone(),
        addr: SocketAddr::new(addr.to_canonical(), port),
        certificate,
    };
    Ok((key, user))
}

/// The name of the node that answers.
fn this_node(ask: &Ask) -> Result<String, Failure> {
    let id = ask.app.api.consensus.node_id();
    let nodes = state::records::<NodeSpec>(ask.kv().as_ref())?;
    let found = nodes.into_iter().find(|node| node.spec.id == id);
    Ok(found
        .map(|node| node.metadata.name.to_string())
        .unwrap_or_default())
}

impl std::convert::From<TerminalFault> for Failure {
    fn from(why: TerminalFault) -> Self {
        match why {
            TerminalFault::Refused(why) => Failure::refused(why),
            TerminalFault::NotFound(why) => Failure::not_found(why),
            TerminalFault::Failed(why) => Failure::conflict(why),
            TerminalFault::Unavailable(why) => Failure::unavailable(why),
        }
    }
}

/// What the browser did that ends it all.
enum Left {
    /// It is gone, and may come back.
    Lost,
    /// It closed the terminal.
    Closed,
    /// It broke a rule.
    Failed(Failure),
}

/// Carries a terminal until it, its socket or its user's right to it ends; with the last words for the browser.
async fn run(ask: &Ask, begun: Begun, to: &mut To, from: &mut From) -> (u16, Option<Says>) {
    let Begun {
        who,
        session,
        terminal,
        opened,
        _place,
    } = begun;
    let Terminal {
        mut output, input, ..
    } = terminal;
    let flow = Flow::default();
    let heard = Mutex::new(Instant::now());
    let (answers, mut answer) = mpsc::channel(ANSWERS);
    let (typed, keys) = mpsc::unbounded_channel();
    let (sizes, size) = watch::channel((0, 0));
    let inward = Inward {
        flow: &flow,
        heard: &heard,
        answers,
        typed,
        sizes,
        room: Arc::new(Semaphore::new(TYPED_MAX)),
        left_out: false,
    };
    let ended = tokio::select! {
        ended = outward(to, opened, &mut *output, &mut answer, &flow, &heard) => ended,
        left = inward.read(from) => Err(left),
        () = typist(&*input, keys, size) => Err(Left::Lost),
        why = browser::gone(ask, &who, session.as_deref()) => {
            input.close().await;
            return (POLICY, Some(Says::Closed { status: None, reason: why }));
        }
    };
    match ended {
        Ok(TerminalEvent::Closed { status, reason }) => (NORMAL, Some(Says::Closed { status, reason })),
        Ok(TerminalEvent::Moves | TerminalEvent::Output(_) | TerminalEvent::Notice(_)) => (GOING_AWAY, None),
        Err(Left::Lost) => (GOING_AWAY, None),
        Err(Left::Failed(failure)) => (POLICY, Some(failed(failure))),
        Err(Left::Closed) => {
            input.close().await;
            let closed = Says::Closed {
                status: None,
                reason: String::new(),
            };
            (NORMAL, Some(closed))
        }
    }
}

/// To the browser: output while there is room for it, answers, signs of life. Ready with how the terminal ended.
async fn outward(
    to: &mut To,
    opened: Says,
    output: &mut dyn TerminalOutput,
    answer: &mut mpsc::Receiver<Says>,
    flow: &Flow,
    heard: &Mutex<Instant>,
) -> Result<TerminalEvent, Left> {
    let gone = |_| Left::Lost;
    to.send(text(&opened)).await.map_err(gone)?;
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let room = flow.room();
        let event = tokio::select! {
            biased;
            Some(says) = answer.recv() => {
                to.send(text(&says)).await.map_err(gone)?;
                continue;
            }
            _ = ping.tick() => {
                if heard.lock().elapsed() > SILENT {
                    return Err(Left::Lost);
                }
                to.send(Message::Ping(Default::default())).await.map_err(gone)?;
                continue;
            }
            event = output.next(room.min(PIECE)), if room > 0 => event,
            () = flow.more(), if room == 0 => continue,
        };
        match event {
            TerminalEvent::Output(bytes) => {
                flow.sent(bytes.len());
                to.send(Message::Binary(bytes.into())).await.map_err(gone)?;
            }
            TerminalEvent::Notice(line) => to.send(text(&Says::Notice(line))).await.map_err(gone)?,
            ended @ (TerminalEvent::Closed { .. } | TerminalEvent::Moves) => return Ok(ended),
        }
    }
}

/// What was typed, and its place among what waits.
type Typed = (Vec<u8>, OwnedSemaphorePermit);

/// From the browser.
struct Inward<'a> {
    flow: &'a Flow,
    heard: &'a Mutex<Instant>,
    answers: mpsc::Sender<Says>,
    typed: mpsc::UnboundedSender<Typed>,
    sizes: watch::Sender<(u16, u16)>,
    /// Bytes that may wait to be read by the program.
    room: Arc<Semaphore>,
    left_out: bool,
}

impl Inward<'_> {
    /// Reads until the browser has left. Never waits for the host.
    async fn read(mut self, from: &mut From) -> Left {
        loop {
            let Some(Ok(message)) = from.next().await else {
                return Left::Lost;
            };
            *self.heard.lock() = Instant::now();
            let done = match message {
                Message::Binary(bytes) if bytes.len() > FRAME_MAX => Err(Left::Failed(too_large())),
                Message::Text(text) if text.len() > FRAME_MAX => Err(Left::Failed(too_large())),
                Message::Binary(bytes) => self.typed(bytes.into()).await,
                Message::Text(text) => self.asks(&text).await,
                Message::Ping(_) | Message::Pong(_) => Ok(()),
                Message::Close(_) => Err(Left::Lost),
            };
            if let Err(left) = done {
                return left;
            }
        }
    }

    async fn typed(&mut self, bytes: Vec<u8>) -> Result<(), Left> {
        if bytes.is_empty() {
            return Ok(());
        }
        // At most `FRAME_MAX`.
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        match Arc::clone(&self.room).try_acquire_many_owned(count) {
            Ok(place) => {
                self.left_out = false;
                self.typed.send((bytes, place)).map_err(|_| Left::Lost)
            }
            // Acks come by the same way: it must not wait.
            Err(_) if std::mem::replace(&mut self.left_out, true) => Ok(()),
            Err(_) => {
                let why = "the program does not read what is typed: the rest was left out";
                self.says(Says::Notice(why.into())).await
            }
        }
    }

    async fn asks(&mut self, text: &str) -> Result<(), Left> {
        let invalid = |why: &str| Left::Failed(Failure::invalid(why));
        match serde_json::from_str(text) {
            Ok(Asks::Ack(bytes)) => self
                .flow
                .acked(bytes)
                .map_err(|_| invalid("ack: more than was sent")),
            Ok(Asks::Resize { cols, rows }) => {
                if cols == 0 || rows == 0 || cols.max(rows) > SIZE_MAX {
                    return Err(invalid("resize: no such size"));
                }
                self.sizes.send_replace((cols, rows));
                Ok(())
            }
            Ok(Asks::Ping(number)) => self.says(Says::Pong(number)).await,
            Ok(Asks::Close {}) => Err(Left::Closed),
            Ok(Asks::Open(_)) => Err(invalid("the terminal is open already")),
            Err(_) => Err(invalid("a frame cannot be read")),
        }
    }

    /// Waits only for a browser that asks faster than it reads the answers.
    async fn says(&self, says: Says) -> Result<(), Left> {
        self.answers.send(says).await.map_err(|_| Left::Lost)
    }
}

fn too_large() -> Failure {
    Failure::too_large(format!("a frame is larger than {} KiB", FRAME_MAX / 1024))
}

/// To the host: keys as fast as it takes them, and the newest size at once. Ready when the host takes no more and the
/// socket has gone.
async fn typist(
    input: &dyn TerminalInput,
    mut keys: mpsc::UnboundedReceiver<Typed>,
    mut size: watch::Receiver<(u16, u16)>,
) {
    let typing = async {
        while let Some((bytes, place)) = keys.recv().await {
            if !input.typed(bytes).await {
                // The terminal is over, and says so by itself.
                break;
            }
            drop(place);
        }
        std::future::pending::<()>().await;
    };
    let sizing = async {
        while size.changed().await.is_ok() {
            let (columns, rows) = *size.borrow_and_update();
            input.resize(columns.into(), rows.into()).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::join!(typing, sizing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_with_or_without_a_port() {
        for (text, host, port) in [
            ("web1", "web1", 22),
            ("10.0.0.7:2222", "10.0.0.7", 2222),
            ("[::1]:22", "::1", 22),
            ("web-1.example", "web-1.example", 22),
        ] {
            assert_eq!(host_port(text), Ok((host.to_owned(), port)), "{text}");
        }
        for bad in ["", "a b", "web1\n", "w\u{e9}b", "web1;x", "-o\u{1b}"] {
            assert!(host_port(bad).is_err(), "{bad:?}");
        }
    }
}
