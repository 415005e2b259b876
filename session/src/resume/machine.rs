//! One end of a resumable stream as a state machine: bytes and times go in, frames and times come out.
//!
//! Whoever drives it has a clock and links, asks [`Machine::transmit`] for what to write and [`Machine::timeout`] for
//! when to call [`Machine::handle_timeout`], and says with [`Machine::lost`] that a link is gone. It never waits,
//! reads no clock and draws no randomness; nothing a peer does makes it hold more than two buffers.
//!
//! Offsets count the bytes of one direction from its beginning:
//!
//! ```text
//!          acked        sent      written          this end's bytes; `replay` holds acked..written
//!   ---------+-----------+-----------+-->
//!          consumed   received                     the other end's bytes; `inbound` holds consumed..received
//!   ---------+-----------+-------------->
//! ```

use super::batch::Batch;
use super::error::Error;
use super::frame::{Frame, Hello, MAX_DATA, Refusal, Welcome, decode};
use super::pulse::Pulse;
use super::queue::{Piece, Queue};
use super::token::{Ephemeral, Id, Secret, Side};
use super::{Config, MIN_WINDOW};
use bytes::{Bytes, BytesMut};
use std::time::{Duration, Instant};

/// How much is handed to a link at once, in bytes.
const BATCH: usize = 256 << 10;

/// What reading would give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readable {
    Data,
    End,
    Wait,
}

/// The link, as this end sees it.
#[derive(Debug)]
enum Link {
    /// There is none since then.
    None(Instant),
    /// The client's greeting is out; the answer is awaited since then.
    Greeting(Instant),
    /// Both ends have greeted.
    Open,
}

/// One end of one connection.
#[derive(Debug)]
pub(crate) struct Machine {
    config: Config,
    side: Side,
    id: Id,
    /// The client's half, until the agent's is known.
    ephemeral: Option<Ephemeral>,
    secret: Option<Secret>,
    attempt: u64,
    link: Link,
    pulse: Pulse,
    /// The agent gives nothing to its reader before it knows that the client knows of it: a client that never got
    /// the welcome begins again under another id, and what it wrote must not be read twice.
    confirmed: bool,

    replay: Queue,
    acked: u64,
    sent: u64,
    /// The highest offset that was ever sent, over all links.
    furthest: u64,
    peer_window: u64,
    finished: bool,
    fin_sent: bool,
    fin_ever_sent: bool,
    fin_acked: bool,

    inbound: Queue,
    consumed: u64,
    peer_fin: bool,
    ack_sent: u64,
    ack_due: Option<Instant>,
    discard: bool,

    greeting: Option<Frame>,
    pong: Option<u64>,
    ping: Option<u64>,
    reset: bool,
    failed: Option<Error>,
}

impl Machine {
    /// The client's end, before its first link.
    pub(crate) fn client(config: Config, id: Id, ephemeral: Ephemeral, now: Instant) -> Self {
        let mut machine = Self::new(config, Side::Client, id, now);
        machine.ephemeral = Some(ephemeral);
        machine.confirmed = true;
        machine
    }

    /// The agent's end, on the link that brought `hello`.
    pub(crate) fn agent(
        config: Config,
        hello: &Hello,
        ephemeral: Ephemeral,
        now: Instant,
    ) -> Result<Self, Error> {
        let Hello::New { id, key, window } = hello else {
            return Err(Error::Unexpected("a resumption"));
        };
        let mut machine = Self::new(config, Side::Agent, *id, now);
        let public = ephemeral.public();
        machine.secret = Some(Secret::agree(Side::Agent, ephemeral, key, *id)?);
        machine.peer_window = u64::from(*window).max(MIN_WINDOW as u64);
        machine.greeting = Some(Frame::Welcome(Welcome::New {
            key: public,
            window: machine.window(),
        }));
        machine.open(now);
        Ok(machine)
    }

    fn new(config: Config, side: Side, id: Id, now: Instant) -> Self {
        Machine {
            config,
            side,
            id,
            ephemeral: None,
            secret: None,
            attempt: 0,
            link: Link::None(now),
            pulse: Pulse::new(now),
            confirmed: false,
            replay: Queue::default(),
            acked: 0,
            sent: 0,
            furthest: 0,
            peer_window: MIN_WINDOW as u64,
            finished: false,
            fin_sent: false,
            fin_ever_sent: false,
            fin_acked: false,
            inbound: Queue::default(),
            consumed: 0,
            peer_fin: false,
            ack_sent: 0,
            ack_due: None,
            discard: false,
            greeting: None,
            pong: None,
            ping: None,
            reset: false,
            failed: None,
        }
    }

    fn window(&self) -> u32 {
        u32::try_from(self.config.buffer.max(MIN_WINDOW)).unwrap_or(u32::MAX)
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    // ---- links

    /// Whether a link is in use.
    pub(crate) fn linked(&self) -> bool {
        !matches!(self.link, Link::None(_))
    }

    /// Whether both ends have greeted on it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.link, Link::Open)
    }

    /// Whether the client must begin under another id: it greeted, and never learned whether it was heard.
    pub(crate) fn wants_restart(&self) -> bool {
        self.side == Side::Client && self.secret.is_none() && self.attempt > 0
    }

    /// Begins again under another id. Nothing was acknowledged yet, so nothing is missing.
    pub(crate) fn restart(&mut self, id: Id, ephemeral: Ephemeral) {
        debug_assert!(self.wants_restart() && self.acked == 0);
        self.id = id;
        self.ephemeral = Some(ephemeral);
        self.attempt = 0;
    }

    /// The client's end has a link, and greets on it.
    pub(crate) fn connect(&mut self, now: Instant) {
        self.unlink(now);
        self.attempt += 1;
        let received = self.received();
        let hello = match (&self.secret, &self.ephemeral) {
            (Some(secret), _) => Hello::Resume {
                id: self.id,
                attempt: self.attempt,
                received,
                token: secret.token(Side::Client, self.id, self.attempt, received),
            },
            (None, Some(ephemeral)) => {
                let key = ephemeral.public();
                self.rewind(0);
                Hello::New {
                    id: self.id,
                    key,
                    window: self.window(),
                }
            }
            (None, None) => {
                self.failed = Some(Error::Ended);
                return;
            }
        };
        self.greeting = Some(Frame::Hello(hello));
        self.link = Link::Greeting(now);
    }

    /// The agent's end is offered another link. On an error nothing has changed.
    pub(crate) fn resume(&mut self, hello: &Hello, now: Instant) -> Result<(), Error> {
        let received = self.prove(hello)?;
        let Hello::Resume { attempt, .. } = hello else {
            return Err(Error::Unexpected("a new connection"));
        };
        let Some(secret) = &self.secret else {
            return Err(Error::Token);
        };
        let here = self.received();
        let token = secret.token(Side::Agent, self.id, *attempt, here);
        self.unlink(now);
        self.attempt = *attempt;
        self.confirmed = true;
        self.rewind(received);
        self.greeting = Some(Frame::Welcome(Welcome::Resume {
            received: here,
            token,
        }));
        self.open(now);
        Ok(())
    }

    /// Checks an attempt to resume and changes nothing; returns from where the client wants to go on.
    pub(crate) fn prove(&self, hello: &Hello) -> Result<u64, Error> {
        let Hello::Resume {
            id,
            attempt,
            received,
            token,
        } = hello
        else {
            return Err(Error::Unexpected("a new connection"));
        };
        let secret = self.secret.as_ref().ok_or(Error::Token)?;
        if *id != self.id || !secret.proves(Side::Client, *id, *attempt, *received, token) {
            return Err(Error::Token);
        }
        if *attempt <= self.attempt {
            return Err(Error::AttemptReplayed);
        }
        self.check_offset(*received)?;
        if let Some(error) = self.failed {
            return Err(error);
        }
        Ok(*received)
    }

    fn check_offset(&self, received: u64) -> Result<(), Error> {
        if received > self.furthest {
            Err(Error::OffsetFuture)
        } else if received < self.acked {
            Err(Error::OffsetPast)
        } else {
            Ok(())
        }
    }

    /// The link is gone.
    pub(crate) fn lost(&mut self, now: Instant) {
        if self.linked() {
            self.unlink(now);
        }
    }

    fn unlink(&mut self, now: Instant) {
        if self.linked() {
            self.link = Link::None(now);
        }
        self.greeting = None;
        self.ping = None;
        self.pong = None;
        self.ack_due = None;
    }

    fn open(&mut self, now: Instant) {
        self.link = Link::Open;
        self.pulse = Pulse::new(now);
        // The first acknowledgement tells the other end that its greeting arrived.
        self.ack_due = Some(now);
    }

    fn rewind(&mut self, to: u64) {
        self.sent = to;
        self.fin_sent = false;
    }

    // ---- this end's bytes

    fn written(&self) -> u64 {
        self.acked + self.replay.len() as u64
    }

    /// How many bytes may be written now.
    pub(crate) fn room(&self) -> usize {
        if self.finished || self.failed.is_some() {
            0
        } else {
            self.config.buffer.saturating_sub(self.replay.len())
        }
    }

    /// Whether a writer that waited has something to gain from waking up.
    pub(crate) fn has_much_room(&self) -> bool {
        self.replay.len() <= self.config.buffer / 4 * 3
    }

    /// Takes as many bytes as there is room for.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.replay.extend(&bytes[..taken]);
        taken
    }

    /// Nothing more will be written.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether everything written, and the end of it, has been read at the other end.
    pub(crate) fn drained(&self) -> bool {
        self.fin_acked
    }

    /// Whether [`Machine::finish`] was called.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    // ---- the other end's bytes

    fn received(&self) -> u64 {
        self.consumed + self.inbound.len() as u64
    }

    /// What reading would give now.
    pub(crate) fn readable(&self) -> Readable {
        if !self.confirmed {
            Readable::Wait
        } else if self.inbound.len() > 0 {
            Readable::Data
        } else if self.peer_fin {
            Readable::End
        } else {
            Readable::Wait
        }
    }

    /// The next bytes to read.
    pub(crate) fn front(&self) -> &[u8] {
        self.inbound.front()
    }

    /// The reader took these. [`Machine::consumed`] follows.
    pub(crate) fn consume(&mut self, count: usize) {
        self.inbound.advance(count);
        self.consumed += count as u64;
    }

    /// What was consumed is to be acknowledged in time. Says whether that changed when this end wants to act.
    pub(crate) fn consumed(&mut self, now: Instant) -> bool {
        let before = self.ack_due;
        let enough = self.ack() - self.ack_sent >= self.config.ack_bytes;
        self.ack_by(if enough { now } else { now + self.config.ack_delay });
        self.ack_due != before
    }

    /// Nobody will read here any more. What is under way to the other end still goes there; what comes from it is
    /// thrown away, and once there is nothing else to do, it is told so.
    pub(crate) fn discard(&mut self, now: Instant) {
        self.discard = true;
        self.confirmed = true;
        self.throw_away(now);
    }

    fn throw_away(&mut self, now: Instant) {
        let held = self.inbound.len();
        self.consume(held);
        self.consumed(now);
        if held > 0 && self.fin_acked {
            self.abort(Error::Ended);
        }
    }

    fn ack(&self) -> u64 {
        self.consumed + u64::from(self.peer_fin && self.inbound.len() == 0)
    }

    fn ack_by(&mut self, at: Instant) {
        self.ack_due = Some(self.ack_due.map_or(at, |due| due.min(at)));
    }

    // ---- the end of it

    /// Gives the connection up and tells the other end, if there is a link.
    pub(crate) fn abort(&mut self, error: Error) {
        if self.failed.is_none() {
            self.reset = self.is_open();
            self.fail(error);
        }
    }

    fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
        // What has arrived may still be read, and then the error.
        self.replay = Queue::default();
    }

    /// Why the connection failed, if it did.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failed
    }

    /// Whether both directions have ended, and this end has nothing more to say.
    pub(crate) fn complete(&self) -> bool {
        self.fin_acked && self.peer_fin && self.inbound.len() == 0 && self.ack_sent == self.ack()
    }

    /// Whether it is this end that closes a link when the connection is complete. The agent leaves that to the
    /// client, which may have lost the last acknowledgement.
    pub(crate) fn closes_links(&self) -> bool {
        self.side == Side::Client
    }

    /// Grows with every byte that was acknowledged or read.
    pub(crate) fn progress(&self) -> u64 {
        self.acked + self.consumed
    }

    /// Whether this end still has something to tell before its link may be closed.
    pub(crate) fn has_last_words(&self) -> bool {
        self.reset
    }

    // ---- input

    /// Bytes came over the link, be they a whole frame or not: on a slow link a large frame takes its time.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.pulse.heard(now);
    }

    /// Takes in what a link brought. After an error the link is of no use; the connection is.
    pub(crate) fn handle(&mut self, input: &mut BytesMut, now: Instant) -> Result<(), Error> {
        while let Some(frame) = decode(input)? {
            self.handle_frame(frame, now)?;
        }
        if self.is_open() && !input.is_empty() {
            // The other end is to hear that its bytes arrive, too.
            self.ack_by(now + self.config.ack_delay);
        }
        Ok(())
    }

    fn handle_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Error> {
        if self.failed.is_some() {
            return Ok(());
        }
        if !self.is_open() {
            return match frame {
                Frame::Welcome(welcome) => self.welcomed(&welcome, now),
                Frame::Refuse(refusal) => {
                    self.refused(refusal);
                    Ok(())
                }
                _ => Err(Error::Unexpected("a frame before the greeting")),
            };
        }
        match frame {
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Refuse(_) => {
                Err(Error::Unexpected("a second greeting"))
            }
            Frame::Data { offset, bytes } => self.data(offset, bytes, now),
            Frame::Ack(offset) => self.acknowledged(offset),
            Frame::Ping(nonce) => {
                self.pong = Some(nonce);
                Ok(())
            }
            Frame::Pong(_) => Ok(()),
            Frame::Fin(offset) => {
                if offset != self.received() {
                    return Err(Error::AfterEnd);
                }
                self.peer_fin = true;
                self.consumed(now);
                Ok(())
            }
            Frame::Reset => {
                self.fail(Error::Reset);
                Ok(())
            }
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, now: Instant) -> Result<(), Error> {
        match (welcome, &self.secret) {
            (Welcome::New { key, window }, None) => {
                let own = self.ephemeral.take().ok_or(Error::Unexpected("a welcome"))?;
                self.secret = Some(Secret::agree(Side::Client, own, key, self.id)?);
                self.peer_window = u64::from(*window).max(MIN_WINDOW as u64);
            }
            (Welcome::Resume { received, token }, Some(secret)) => {
                if !secret.proves(Side::Agent, self.id, self.attempt, *received, token) {
                    return Err(Error::Token);
                }
                self.check_offset(*received)?;
                self.rewind(*received);
            }
            _ => return Err(Error::Unexpected("a welcome of another kind")),
        }
        self.open(now);
        Ok(())
    }

    fn refused(&mut self, refusal: Refusal) {
        // The other end forgets a connection when both directions have ended. If all that is missing here is the
        // acknowledgement of our end, then that is what happened.
        let done = self.peer_fin && self.fin_ever_sent && self.replay.len() == 0;
        if refusal == Refusal::Unknown && done {
            self.fin_acked = true;
            self.ack_sent = self.ack();
        } else {
            self.fail(Error::Refused(refusal));
        }
    }

    fn data(&mut self, offset: u64, bytes: Bytes, now: Instant) -> Result<(), Error> {
        let expected = self.received();
        if offset < expected {
            return Err(Error::DataReplayed);
        }
        if offset > expected {
            return Err(Error::DataMissing);
        }
        if self.peer_fin {
            return Err(Error::AfterEnd);
        }
        if self.inbound.len() + bytes.len() > self.window() as usize {
            return Err(Error::Window);
        }
        self.inbound.push(bytes);
        self.pulse.traffic(true, now);
        self.ack_by(now + self.config.ack_delay);
        if self.discard {
            self.throw_away(now);
        }
        Ok(())
    }

    fn acknowledged(&mut self, offset: u64) -> Result<(), Error> {
        let written = self.written();
        let fin = self.fin_ever_sent && offset == written + 1;
        let data = if fin { written } else { offset };
        if data > self.furthest {
            return Err(Error::AckFuture);
        }
        if data < self.acked || (self.fin_acked && !fin) {
            return Err(Error::AckPast);
        }
        // After a resumption the other end may have read on before it hears from us.
        self.sent = self.sent.max(data);
        self.replay.advance((data - self.acked) as usize);
        self.acked = data;
        self.fin_acked = fin;
        self.confirmed = true;
        Ok(())
    }

    // ---- output

    /// Puts what is to be written to the link into `batch`, up to a batch full.
    pub(crate) fn transmit(&mut self, batch: &mut Batch, now: Instant) {
        if !self.linked() {
            return;
        }
        if let Some(frame) = self.greeting.take() {
            batch.frame(&frame);
        }
        if self.failed.is_some() {
            if std::mem::take(&mut self.reset) {
                batch.frame(&Frame::Reset);
            }
            return;
        }
        // A client may send right behind its first greeting; behind a later one it must know from where.
        let open = self.is_open();
        if !open && self.secret.is_some() {
            return;
        }
        if let Some(nonce) = self.pong.take() {
            batch.frame(&Frame::Pong(nonce));
        }
        if let Some(nonce) = self.ping.take() {
            batch.frame(&Frame::Ping(nonce));
        }
        let may_send = self.sendable();
        let news = self.ack() != self.ack_sent;
        if open && (self.ack_due.is_some_and(|due| due <= now) || (may_send && news)) {
            self.ack_sent = self.ack();
            self.ack_due = None;
            batch.frame(&Frame::Ack(self.ack_sent));
        }
        if may_send {
            self.pulse.traffic(self.is_owed(), now);
            self.send(batch);
        }
        if open && self.finished && !self.fin_sent && !self.fin_acked && self.sent == self.written() {
            batch.frame(&Frame::Fin(self.sent));
            self.fin_sent = true;
            self.fin_ever_sent = true;
        }
    }

    fn limit(&self) -> u64 {
        self.written().min(self.acked + self.peer_window)
    }

    /// Whether there is data that the other end has room for.
    pub(crate) fn sendable(&self) -> bool {
        self.sent < self.limit()
    }

    fn send(&mut self, batch: &mut Batch) {
        let limit = self.limit();
        while self.sent < limit && batch.len() < BATCH {
            let at = (self.sent - self.acked) as usize;
            let most = ((limit - self.sent) as usize).min(MAX_DATA);
            let sent = match self.replay.piece(at, most) {
                Piece::Shared(bytes) => {
                    let len = bytes.len();
                    batch.shared_data(self.sent, bytes);
                    len
                }
                Piece::Small(bytes) => {
                    batch.small_data(self.sent, bytes);
                    bytes.len()
                }
            };
            self.sent += sent as u64;
        }
        self.furthest = self.furthest.max(self.sent);
    }

    // ---- time

    /// Whether the other end owes an answer.
    fn is_owed(&self) -> bool {
        self.sent > self.acked || (self.fin_sent && !self.fin_acked)
    }

    fn ping_at(&self, now: Instant) -> Instant {
        let idle = match self.side {
            Side::Client => self.config.ping_idle,
            // The client's pings come first: an idle link carries one ping and one pong.
            Side::Agent => self.config.ping_idle * 3 / 2,
        };
        self.pulse.due(self.is_owed(), idle, &self.config, now)
    }

    /// How long it lives without a link.
    pub(crate) fn grace(&self) -> Duration {
        self.config.grace
    }

    /// When [`Machine::handle_timeout`] wants to be called.
    pub(crate) fn timeout(&self, now: Instant) -> Option<Instant> {
        if self.failed.is_some() {
            return None;
        }
        match self.link {
            Link::None(since) => Some(since + self.config.grace),
            Link::Greeting(since) => Some(since + self.config.greeting),
            Link::Open => {
                let ping = self.ping_at(now);
                // One that is due already goes out as soon as the link takes something.
                let ack = self.ack_due.filter(|due| *due > now);
                Some(ack.map_or(ping, |due| due.min(ping)))
            }
        }
    }

    /// Does what is due. On an error the link is dead: the driver drops it and calls [`Machine::lost`].
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.failed.is_some() {
            return Ok(());
        }
        match self.link {
            Link::None(since) => {
                if now >= since + self.config.grace {
                    self.fail(Error::Grace);
                }
                Ok(())
            }
            Link::Greeting(since) if now >= since + self.config.greeting => Err(Error::Greeting),
            Link::Greeting(_) => Ok(()),
            Link::Open => {
                if now < self.ping_at(now) {
                    return Ok(());
                }
                self.ping = Some(self.pulse.ask(&self.config, now)?);
                Ok(())
            }
        }
    }

    /// Memory held for data, in bytes, more or less.
    #[cfg(test)]
    pub(crate) fn footprint(&self) -> usize {
        self.replay.footprint() + self.inbound.footprint()
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
