//! The transport under an SSH session, made so that writing never keeps the session from reading.
//!
//! A session loop that waits for a full socket does not read, and what it does not read may be the very thing that
//! the other end waits to be rid of. So writes that the socket does not take are kept here and sent while the loop
//! reads. What is kept stays small because whoever sends in bulk first waits at the [`Egress`] gate.
//!
//! A transport can also outlive its session: see [`Back`].

use bytes::{Buf, BytesMut};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, oneshot};

/// Above this much kept output, bulk senders wait.
const GATE: usize = 256 << 10;

/// Above this much the peer is not just slow: it makes us answer and does not read the answers.
const LIMIT: usize = 32 << 20;

/// A kept buffer larger than this is given back when it runs empty.
const KEEP: usize = 64 << 10;

/// The outgoing side of one connection, as its senders see it.
#[derive(Debug, Default)]
pub struct Egress {
    kept: AtomicUsize,
    room: Notify,
    dead: AtomicBool,
    /// The stream goes on after the session: see [`Back`].
    lent: AtomicBool,
    /// What comes from now on is no longer for the session.
    over: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

impl Egress {
    /// Waits until bulk data may be sent. Control messages do not ask.
    pub async fn ready(&self) {
        loop {
            if self.kept.load(Ordering::Relaxed) < GATE || self.dead.load(Ordering::Relaxed) {
                return;
            }
            let room = self.room.notified();
            tokio::pin!(room);
            // Registered before the second look, so that no wake-up falls in between.
            room.as_mut().enable();
            if self.kept.load(Ordering::Relaxed) < GATE {
                return;
            }
            room.await;
        }
    }

    /// Breaks the connection: the session on it ends at once, whatever its peer does.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.room.notify_waiters();
        let waker = self
            .reader
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The stream is given [`Back`] when the session ends, instead of being shut down.
    pub fn lend(&self) {
        self.lent.store(true, Ordering::SeqCst);
    }

    /// As [`Egress::lend`], and the session reads nothing more: what comes from now on is for whoever gets the stream.
    pub fn hand_over(&self) {
        self.lend();
        self.over.store(true, Ordering::SeqCst);
    }

    /// Bytes written by the session that the transport has not taken.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    fn set(&self, kept: usize) {
        let before = self.kept.swap(kept, Ordering::Relaxed);
        if before >= GATE && kept < GATE {
            self.room.notify_waiters();
        }
    }

    fn alive(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut reader = self
            .reader
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !reader.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        drop(reader);
        if self.dead.load(Ordering::SeqCst) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "connection ended",
            ));
        }
        Ok(())
    }
}

/// A transport whose writes never wait.
#[derive(Debug)]
pub struct Transport<S> {
    /// There until it is dropped.
    inner: Option<S>,
    back: Option<oneshot::Sender<S>>,
    out: BytesMut,
    /// Something was handed to the stream since it was last flushed.
    unflushed: bool,
    egress: Arc<Egress>,
}

/// Gives a stream back after the SSH session on it has ended.
///
/// The session must have been told by [`Egress::lend`] or [`Egress::hand_over`] while it ran. SSH packets are read to
/// their last byte and no further, so the stream continues exactly behind the last packet.
#[derive(Debug)]
pub struct Back<S>(oneshot::Receiver<S>);

impl<S> Back<S> {
    /// Waits for the end of the session. `None` if it was not lent, or did not get rid of its last packet.
    pub async fn stream(self) -> Option<S> {
        self.0.await.ok()
    }
}

impl<S> Transport<S> {
    /// Wraps a stream.
    pub fn new(inner: S) -> Self {
        Transport {
            inner: Some(inner),
            back: None,
            out: BytesMut::new(),
            unflushed: false,
            egress: Arc::default(),
        }
    }

    /// Wraps a stream that may be wanted back.
    pub fn lending(inner: S) -> (Self, Back<S>) {
        let (back, got) = oneshot::channel();
        let mut transport = Self::new(inner);
        transport.back = Some(back);
        (transport, Back(got))
    }

    /// The gate for those who send over it.
    pub fn egress(&self) -> Arc<Egress> {
        Arc::clone(&self.egress)
    }
}

impl<S: AsyncWrite + Unpin> Transport<S> {
    /// Sends what is kept, as far as the stream takes it.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.out.is_empty() {
            let result = self.write_kept(cx);
            self.egress.set(self.out.len());
            ready!(result)?;
        }
        if self.unflushed {
            ready!(inner(&mut self.inner)?.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn write_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let n = ready!(inner(&mut self.inner)?.poll_write(cx, &self.out))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.out.advance(n);
        }
        if self.out.capacity() > KEEP {
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Transport<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.egress.alive(cx)?;
        // The loop is reading whenever it has nothing better to do: the moment to send what was kept.
        if let Poll::Ready(Err(e)) = this.drain(cx) {
            return Poll::Ready(Err(e));
        }
        if this.egress.over.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        inner(&mut this.inner)?.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.egress.alive(cx)?;
        if let Poll::Ready(Err(e)) = this.drain(cx) {
            return Poll::Ready(Err(e));
        }
        if this.out.is_empty()
            && let Poll::Ready(result) = inner(&mut this.inner)?.poll_write(cx, buf)
        {
            this.unflushed = true;
            return Poll::Ready(result);
        }
        if this.out.len() + buf.len() > LIMIT {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the peer does not read",
            )));
        }
        this.out.extend_from_slice(buf);
        this.egress.set(this.out.len());
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().drain(cx) {
            Poll::Pending => Poll::Ready(Ok(())),
            done => done,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.egress.alive(cx)?;
        ready!(this.drain(cx))?;
        if this.egress.lent.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        inner(&mut this.inner)?.poll_shutdown(cx)
    }
}

impl<S> Drop for Transport<S> {
    fn drop(&mut self) {
        // Senders that wait at the gate find out by their next send.
        self.egress.dead.store(true, Ordering::SeqCst);
        self.egress.room.notify_waiters();
        // Half a packet that was not sent would be half a packet in the middle of what follows.
        if self.egress.lent.load(Ordering::SeqCst)
            && self.out.is_empty()
            && let (Some(inner), Some(back)) = (self.inner.take(), self.back.take())
        {
            // Nobody wants it back: it is closed.
            let _ = back.send(inner);
        }
    }
}

fn inner<S: Unpin>(inner: &mut Option<S>) -> io::Result<Pin<&mut S>> {
    inner
        .as_mut()
        .map(Pin::new)
        .ok_or_else(|| io::ErrorKind::NotConnected.into())
}

/// A boxed future that may cross threads.
pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn writing_to_a_stalled_peer_does_not_stop_reading() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut near = Transport::new(near);
        let egress = near.egress();
        near.write_all(&[7; 300 << 10]).await.expect("kept");
        near.flush().await.expect("flush does not wait");
        assert!(egress.kept() > GATE);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), egress.ready())
                .await
                .is_err(),
            "the gate is shut"
        );
        far.write_all(b"x").await.expect("written");
        let mut one = [0; 1];
        near.read_exact(&mut one)
            .await
            .expect("read while the output is stuck");

        let mut sink = vec![0; 300 << 10];
        let (got, open, _) = tokio::join!(far.read_exact(&mut sink), egress.ready(), async {
            let mut one = [0; 1];
            let _ = tokio::time::timeout(Duration::from_millis(200), near.read_exact(&mut one)).await;
        });
        let () = open;
        got.expect("all of it arrives");
        assert!(sink.iter().all(|b| *b == 7));
        assert_eq!(egress.kept(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_never_reads_is_cut_off() {
        let (near, _far) = tokio::io::duplex(1024);
        let mut near = Transport::new(near);
        let chunk = vec![0; 1 << 20];
        let mut sent = 0;
        while near.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
            assert!(sent <= LIMIT);
        }
    }

    #[tokio::test]
    async fn a_lent_stream_comes_back_open_and_nothing_of_it_is_lost() {
        let (near, mut far) = tokio::io::duplex(1024);
        let (mut near, back) = Transport::lending(near);
        let egress = near.egress();
        far.write_all(b"for the session, and after")
            .await
            .expect("written");
        let mut first = [0; 15];
        near.read_exact(&mut first).await.expect("read");
        egress.hand_over();
        assert_eq!(
            near.read(&mut first).await.expect("no error"),
            0,
            "the session reads no more"
        );
        near.write_all(b"last words").await.expect("written");
        near.shutdown().await.expect("not really shut down");
        drop(near);
        let mut stream = back.stream().await.expect("it comes back");
        let mut rest = [0; 11];
        stream.read_exact(&mut rest).await.expect("read");
        assert_eq!(&rest, b", and after");
        stream.write_all(b" and more").await.expect("still open");
        let mut heard = [0; 19];
        far.read_exact(&mut heard).await.expect("read");
        assert_eq!(&heard, b"last words and more");
    }

    #[tokio::test]
    async fn a_stream_that_was_not_lent_is_closed() {
        let (near, mut far) = tokio::io::duplex(1024);
        let (near, back) = Transport::lending(near);
        drop(near);
        assert!(back.stream().await.is_none());
        assert_eq!(far.read(&mut [0; 1]).await.expect("no error"), 0);
    }

    #[tokio::test]
    async fn a_killed_connection_stops_reading() {
        let (near, _far) = tokio::io::duplex(1024);
        let mut near = Transport::new(near);
        let egress = near.egress();
        let reading = tokio::spawn(async move { near.read_u8().await });
        tokio::task::yield_now().await;
        egress.kill();
        let end = tokio::time::timeout(Duration::from_secs(5), reading)
            .await
            .expect("ends")
            .expect("no panic");
        assert!(end.is_err());
    }
}
