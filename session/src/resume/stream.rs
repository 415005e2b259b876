//! Either end of a resumable stream, as its user sees it.

use super::Event;
use super::Link;
use super::Observer;
use super::carrier::{Carrier, Timer};
use super::error::Error;
use super::machine::{Machine, Readable};
use super::token::Id;
use bytes::BytesMut;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long an agent remembers a connection that both ends have ended: the client may have lost its link
/// just before it heard so.
const LINGER: Duration = Duration::from_secs(5);

/// What the user of a stream and its driver share.
pub(crate) struct Shared {
    state: Mutex<State>,
    observer: Option<Observer>,
}

pub(crate) struct State {
    pub(crate) machine: Machine,
    /// Counts the links; whoever carries an older one stops.
    pub(crate) generation: u64,
    /// A link that the driver is to take next, and what was read from it.
    offered: Option<(Box<dyn Link>, BytesMut)>,
    /// Why the last dial failed: people want to know that too.
    pub(crate) reason: Option<Arc<str>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    driver: Option<Waker>,
    /// The user dropped the stream, and waits no longer than this for what is under way.
    abandoned: Option<Instant>,
}

/// Who is to be woken once the lock is released.
#[derive(Default)]
#[must_use]
pub(crate) struct Wakers([Option<Waker>; 3]);

impl Wakers {
    pub(crate) fn wake(self) {
        for waker in self.0.into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Shared {
    pub(crate) fn new(machine: Machine, observer: Option<Observer>) -> Arc<Self> {
        Arc::new(Shared {
            state: Mutex::new(State {
                machine,
                generation: 0,
                offered: None,
                reason: None,
                reader: None,
                writer: None,
                driver: None,
                abandoned: None,
            }),
            observer,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, event: Event) {
        if let Some(observer) = &self.observer {
            let id = self.lock().machine.id();
            observer(id, event);
        }
    }

    /// Fails the connection, and says so to its user.
    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.lock();
        state.machine.abort(error);
        let wakers = state.all_wakers();
        drop(state);
        wakers.wake();
    }

    /// A link is gone. Unless another took its place meanwhile, what is left of the connection waits for one.
    pub(crate) fn lost(&self, generation: u64, error: Error) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        state.machine.lost(Instant::now());
        let needed = state.machine.failure().is_none() && !state.machine.complete();
        drop(state);
        if needed {
            self.tell(Event::Lost(error));
        }
    }
}

impl State {
    /// Whoever polls with `cx` drives this connection from now on.
    pub(crate) fn driven_by(&mut self, cx: &Context<'_>) {
        remember(&mut self.driver, cx);
    }

    pub(crate) fn due_wakers(&mut self) -> Wakers {
        let failed = self.machine.failure().is_some();
        let reader = if failed || self.machine.readable() != Readable::Wait {
            self.reader.take()
        } else {
            None
        };
        let writer = if failed || self.machine.has_much_room() || self.machine.drained() {
            self.writer.take()
        } else {
            None
        };
        Wakers([reader, writer, None])
    }

    fn all_wakers(&mut self) -> Wakers {
        Wakers([self.reader.take(), self.writer.take(), self.driver.take()])
    }

    /// Hands a link over; the carrier of an older one stops before it moves another byte.
    pub(crate) fn offer(&mut self, link: Box<dyn Link>, input: BytesMut) -> Wakers {
        self.generation += 1;
        self.offered = Some((link, input));
        Wakers([None, None, self.driver.take()])
    }

    pub(crate) fn take_offer(&mut self) -> Option<Carrier> {
        let (link, input) = self.offered.take()?;
        Some(Carrier::new(link, input, self.generation))
    }

    /// Whether the connection is done with links, apart from what is still in a batch.
    pub(crate) fn needs_no_link(&self) -> bool {
        (self.machine.failure().is_some() && !self.machine.has_last_words())
            || (self.machine.complete() && self.machine.closes_links())
    }

    /// Does what is due, on the link and beyond it. After an error the link is dead.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.abandoned.is_some_and(|at| at <= now) {
            self.machine.abort(Error::Ended);
        }
        self.machine.handle_timeout(now)
    }

    /// When that is to be called next.
    pub(crate) fn timeout(&self, now: Instant) -> Option<Instant> {
        let machine = self.machine.timeout(now)?;
        Some(self.abandoned.map_or(machine, |at| at.min(machine)))
    }

    fn error(&self) -> Option<io::Error> {
        let error = self.machine.failure()?;
        Some(match &self.reason {
            Some(reason) if matches!(error, Error::Grace | Error::NotDialled) => {
                io::Error::new(io::Error::from(error).kind(), format!("{error}: {reason}"))
            }
            _ => error.into(),
        })
    }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

/// Either end of a resumable stream.
///
/// Reads and writes go on over whatever link there is; while there is none they wait. They fail for good
/// with an [`Error`] inside the `io::Error` when the connection has failed. `shutdown` ends this direction and does not
/// wait for the other end: [`ResumeStream::drained`] does. Dropping the stream ends it in the background, as dropping a
/// socket does; a program that exits right after must wait for `drained` first.
pub struct ResumeStream {
    shared: Arc<Shared>,
}

impl ResumeStream {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        ResumeStream { shared }
    }

    /// The name of the connection.
    pub fn id(&self) -> Id {
        self.shared.lock().machine.id()
    }

    /// Whether there is a link on which both ends have greeted.
    pub fn is_linked(&self) -> bool {
        self.shared.lock().machine.is_open()
    }

    /// Waits, after `shutdown`, until the other end has read everything and the end of it.
    ///
    /// # Errors
    /// Why the connection failed before that.
    pub async fn drained(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.machine.drained() {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = state.error() {
                return Poll::Ready(Err(error));
            }
            remember(&mut state.writer, cx);
            Poll::Pending
        })
        .await
    }

    /// Gives the connection up at once: the other end's reads fail, as far as it can be reached.
    pub fn reset(&self) {
        self.shared.fail(Error::Ended);
    }
}

impl fmt::Debug for ResumeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResumeStream").field(&self.id()).finish()
    }
}

impl Drop for ResumeStream {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.abandoned = Some(now + state.machine.grace());
        state.machine.finish();
        state.machine.discard(now);
        let wakers = state.all_wakers();
        drop(state);
        wakers.wake();
    }
}

impl AsyncRead for ResumeStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        match state.machine.readable() {
            Readable::Data => {}
            Readable::End => return Poll::Ready(Ok(())),
            Readable::Wait => {
                if let Some(error) = state.error() {
                    return Poll::Ready(Err(error));
                }
                remember(&mut state.reader, cx);
                return Poll::Pending;
            }
        }
        let mut taken = 0;
        while buf.remaining() > 0 && state.machine.readable() == Readable::Data {
            let front = state.machine.front();
            let count = front.len().min(buf.remaining());
            buf.put_slice(&front[..count]);
            state.machine.consume(count);
            taken += count;
        }
        let wake = if taken > 0 && state.machine.consumed(Instant::now()) {
            state.driver.take()
        } else {
            None
        };
        drop(state);
        if let Some(driver) = wake {
            driver.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ResumeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: what is written is sent without being asked for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.shared.lock().error() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        if let Some(error) = state.error() {
            return Poll::Ready(Err(error));
        }
        state.machine.finish();
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl ResumeStream {
    fn write(&self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        if let Some(error) = state.error() {
            return Poll::Ready(Err(error));
        }
        if state.machine.is_finished() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if total == 0 {
            return Poll::Ready(Ok(0));
        }
        if state.machine.room() == 0 {
            remember(&mut state.writer, cx);
            return Poll::Pending;
        }
        let had_work = state.machine.sendable();
        let taken = bufs.iter().map(|buf| state.machine.write(buf)).sum();
        // A driver that had something to send already is at it, or waits for the link to take it.
        let wake = if !had_work && state.machine.sendable() {
            state.driver.take()
        } else {
            None
        };
        drop(state);
        if let Some(driver) = wake {
            driver.wake();
        }
        Poll::Ready(Ok(taken))
    }
}

/// Waits without a link until `ready` says something, or until no link is needed any more.
pub(crate) async fn wait<T>(
    shared: &Arc<Shared>,
    mut ready: impl FnMut(&mut State) -> Option<T>,
) -> Option<T> {
    let mut timer = Timer::default();
    let mut forgotten_at = None;
    std::future::poll_fn(move |cx| {
        loop {
            let now = Instant::now();
            let mut state = shared.lock();
            state.driven_by(cx);
            if let Some(found) = ready(&mut state) {
                return Poll::Ready(Some(found));
            }
            // Without a link there is none that could be dead.
            let _ = state.handle_timeout(now);
            if state.machine.complete() && forgotten_at.is_none() {
                let closed = state.machine.closes_links();
                forgotten_at = Some(if closed { now } else { now + LINGER });
            }
            let over = state.machine.failure().is_some() || forgotten_at.is_some_and(|at| at <= now);
            let deadline = state.timeout(now).into_iter().chain(forgotten_at).min();
            let wakers = state.due_wakers();
            drop(state);
            wakers.wake();
            if over {
                return Poll::Ready(None);
            }
            if timer.poll(cx, deadline).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}
