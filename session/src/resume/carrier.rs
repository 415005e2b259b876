//! Moves bytes between one link and the machine.

use super::batch::Batch;
use super::error::Error;
use super::stream::{Shared, State};
use super::{Event, Link};
use bytes::BytesMut;
use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

/// What is read at once from a quiet link, and from a busy one, in bytes.
const SMALL_READ: usize = 1 << 10;
const LARGE_READ: usize = 256 << 10;

/// Pieces in one vectored write.
const SLICES: usize = 16;

/// Rounds of reading and writing before other tasks get their turn.
const ROUNDS: usize = 32;

/// How a link came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// It died, or misbehaved.
    Lost(Error),
    /// The client brought another one.
    Replaced,
    /// The connection needs no link any more.
    Over,
}

/// One link in use.
pub(crate) struct Carrier {
    link: Box<dyn Link>,
    generation: u64,
    input: BytesMut,
    want: usize,
    read_since_tick: bool,
    batch: Batch,
    unflushed: bool,
    greeted: bool,
    timer: Timer,
}

impl Carrier {
    /// `input` is what was read from the link already.
    pub(crate) fn new(link: Box<dyn Link>, input: BytesMut, generation: u64) -> Self {
        Carrier {
            link,
            generation,
            input,
            want: SMALL_READ,
            read_since_tick: false,
            batch: Batch::default(),
            unflushed: false,
            greeted: false,
            timer: Timer::default(),
        }
    }

    /// Which link of the connection this is, counted from 1.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Carries until the link ends.
    pub(crate) async fn run(&mut self, shared: &Arc<Shared>) -> End {
        std::future::poll_fn(|cx| self.poll(cx, shared)).await
    }

    /// Tells the link that nothing follows. Whether it hears that does not matter.
    pub(crate) async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.link.shutdown()).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>, shared: &Arc<Shared>) -> Poll<End> {
        for _ in 0..ROUNDS {
            let heard = match self.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(End::Lost(Error::LinkEnded)),
                Poll::Ready(Ok(_)) => true,
                Poll::Pending => false,
            };
            let (over, deadline) = {
                let now = std::time::Instant::now();
                let mut state = shared.lock();
                if state.generation != self.generation {
                    return Poll::Ready(End::Replaced);
                }
                state.driven_by(cx);
                if heard {
                    state.machine.heard(now);
                }
                let result = self.step(&mut state, now);
                let wakers = state.due_wakers();
                let over = state.needs_no_link();
                let deadline = state.timeout(now);
                let open = state.machine.is_open();
                drop(state);
                wakers.wake();
                if open && !self.greeted {
                    self.greeted = true;
                    if self.generation > 1 {
                        shared.tell(Event::Resumed);
                    }
                }
                if let Err(error) = result {
                    return Poll::Ready(End::Lost(error));
                }
                (over, deadline)
            };
            let wrote = match self.poll_write(cx) {
                Poll::Ready(Ok(wrote)) => wrote,
                Poll::Ready(Err(())) => return Poll::Ready(End::Lost(Error::LinkEnded)),
                Poll::Pending => false,
            };
            if over && self.batch.is_empty() && !self.unflushed {
                return Poll::Ready(End::Over);
            }
            if !heard && !wrote {
                if self.timer.poll(cx, deadline).is_pending() {
                    return Poll::Pending;
                }
                if !std::mem::take(&mut self.read_since_tick) {
                    self.rest();
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn step(&mut self, state: &mut State, now: std::time::Instant) -> Result<(), Error> {
        if !self.input.is_empty() {
            state.machine.handle(&mut self.input, now)?;
        }
        state.handle_timeout(now)?;
        if self.batch.is_empty() {
            state.machine.transmit(&mut self.batch, now);
        }
        Ok(())
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        self.input.reserve(self.want);
        let read = tokio_util::io::poll_read_buf(Pin::new(&mut self.link), cx, &mut self.input);
        match read {
            Poll::Ready(Ok(count)) => {
                self.read_since_tick = true;
                if count >= self.want {
                    self.want = (self.want * 4).min(LARGE_READ);
                }
            }
            Poll::Pending if self.input.is_empty() && self.want == SMALL_READ => {
                self.input = BytesMut::new();
            }
            Poll::Pending | Poll::Ready(Err(_)) => {}
        }
        read
    }

    /// Gives back what a busy link needed.
    fn rest(&mut self) {
        self.want = SMALL_READ;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Whether something was written; pending if the link takes no more now.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ()>> {
        let mut wrote = false;
        while !self.batch.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.batch.slices(&mut slices);
            match Pin::new(&mut self.link).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(())),
                Poll::Ready(Ok(count)) => {
                    self.batch.advance(count);
                    self.unflushed = true;
                    wrote = true;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.link).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                Poll::Pending => {}
            }
        }
        Poll::Ready(Ok(wrote))
    }
}

/// A timer that is set anew only when it must fire earlier: deadlines mostly move away.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready when the deadline has come, and maybe earlier.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<std::time::Instant>) -> Poll<()> {
        let Some(deadline) = deadline.map(Instant::from_std) else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}
