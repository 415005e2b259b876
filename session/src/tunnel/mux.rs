//! A tunnel over one ordered byte stream, by yamux.
//!
//! Beside the streams of its users it has one of its own, the first that the dialling end opens: a question each
//! [`BEAT`], answered at once, tells both ends that the other lives, and how far it is.

use super::{BEAT, DEATH, Limits};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode, Stream};

/// What yamux keeps for a stream from its beginning, in bytes.
const CREDIT: usize = yamux::DEFAULT_CREDIT as usize;

/// What all streams of a tunnel together may have above that, where the path is long and fat.
const GROWTH: usize = 16 << 20;

/// Streams over the limit that a peer may open before yamux ends the tunnel. Each is reset at once, but a peer that
/// has just closed one may not have heard of ours.
const SLACK: usize = 64;

/// Bytes of a question or an answer: which, and its number.
const BEAT_LEN: usize = 9;
/// The number of the stream for it: the dialling end's are odd (yamux specification, "StreamID field").
const FIRST: &str = "1";
const QUESTION: u8 = 1;
const ANSWER: u8 = 2;

/// Why a tunnel over TLS is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MuxError {
    /// This end closed it.
    #[error("closed")]
    Here,
    /// The peer closed it.
    #[error("closed by the peer")]
    Peer,
    /// Nothing was heard for [`DEATH`].
    #[error("nothing heard from the peer")]
    Silent,
    /// The peer broke the protocol, or the connection failed.
    #[error("{0}")]
    Broken(Arc<str>),
}

impl From<MuxError> for io::Error {
    fn from(error: MuxError) -> Self {
        let kind = match error {
            MuxError::Silent => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, error)
    }
}

/// A stream, and the leave to have it.
pub(super) struct MuxStream {
    stream: Compat<Stream>,
    /// This end said that it writes no more.
    shut: bool,
    _permit: OwnedSemaphorePermit,
}

impl MuxStream {
    fn new(stream: Stream, permit: OwnedSemaphorePermit) -> Self {
        MuxStream {
            stream: stream.compat(),
            shut: false,
            _permit: permit,
        }
    }
}

impl AsyncRead for MuxStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let ended = matches!(polled, Poll::Ready(Ok(()))) && room > 0 && buf.filled().len() == before;
        // yamux ends the streams of a connection that died as if the peer had. A peer that ends its direction leaves
        // ours open; only both ends together, a reset or the death of the connection close a stream.
        if ended && !self.shut && self.stream.get_ref().is_closed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        polled
    }
}

impl AsyncWrite for MuxStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The handle of a tunnel; its driver ends when the handle is gone.
pub(super) struct Mux {
    opens: mpsc::Sender<oneshot::Sender<Stream>>,
    accepts: AsyncMutex<mpsc::Receiver<MuxStream>>,
    outbound: Arc<Semaphore>,
    closed: watch::Receiver<Option<MuxError>>,
    /// Asks the driver to end; also by being dropped.
    close: Mutex<Option<oneshot::Sender<()>>>,
    rtt: Arc<AtomicU64>,
}

impl Mux {
    pub(super) fn start<S>(socket: S, mode: Mode, limits: Limits) -> Arc<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let most = (limits.inbound + limits.outbound) as usize + SLACK;
        let mut config = Config::default();
        config
            .set_max_connection_receive_window(None)
            .set_max_num_streams(most)
            .set_max_connection_receive_window(Some(most * CREDIT + GROWTH));
        let heard = Arc::new(Heard::default());
        let socket = Listening {
            socket,
            heard: Arc::clone(&heard),
        };
        let connection = Connection::new(socket.compat(), config, mode);
        let (opens, asked) = mpsc::channel(1);
        let (arrived, accepts) = mpsc::channel((limits.inbound as usize).max(1));
        let (say_closed, closed) = watch::channel(None);
        let (close, stop) = oneshot::channel();
        let rtt = Arc::new(AtomicU64::new(u64::MAX));
        let driver = Driver {
            connection,
            mode,
            asked,
            opening: VecDeque::new(),
            arrived,
            inbound: Arc::new(Semaphore::new(limits.inbound as usize)),
            heard,
            rtt: Arc::clone(&rtt),
            begun: mode == Mode::Server,
            life: None,
        };
        tokio::spawn(async move {
            let why = driver.run(stop).await;
            say_closed.send_replace(Some(why));
        });
        Arc::new(Mux {
            opens,
            accepts: AsyncMutex::new(accepts),
            outbound: Arc::new(Semaphore::new(limits.outbound as usize)),
            closed,
            close: Mutex::new(Some(close)),
            rtt,
        })
    }

    pub(super) async fn open(&self) -> io::Result<MuxStream> {
        let opening = async {
            let permit = Arc::clone(&self.outbound).acquire_owned().await.ok()?;
            let (give, given) = oneshot::channel();
            self.opens.send(give).await.ok()?;
            Some(MuxStream::new(given.await.ok()?, permit))
        };
        tokio::select! {
            stream = opening => match stream {
                Some(stream) => Ok(stream),
                None => Err(self.closed().await.into()),
            },
            error = self.closed() => Err(error.into()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<MuxStream> {
        let next = async { self.accepts.lock().await.recv().await };
        match next.await {
            Some(stream) => Ok(stream),
            None => Err(self.closed().await.into()),
        }
    }

    pub(super) async fn closed(&self) -> MuxError {
        let mut closed = self.closed.clone();
        match closed.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(MuxError::Here),
            Err(_) => MuxError::Here,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.borrow().is_some() || self.closed.has_changed().is_err()
    }

    pub(super) fn close(&self) {
        let close = self.close.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(close) = close {
            let _ = close.send(());
        }
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        match self.rtt.load(Ordering::Relaxed) {
            u64::MAX => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }
}

/// When something last came out of the socket.
struct Heard {
    begun: Instant,
    millis: AtomicU64,
}

impl Default for Heard {
    fn default() -> Self {
        Heard {
            begun: Instant::now(),
            millis: AtomicU64::new(0),
        }
    }
}

impl Heard {
    fn now(&self) {
        let millis = self.begun.elapsed().as_millis() as u64;
        self.millis.store(millis, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

/// A socket that notes when it was heard.
struct Listening<S> {
    socket: S,
    heard: Arc<Heard>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.now();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

struct Driver<S> {
    connection: Connection<Compat<Listening<S>>>,
    mode: Mode,
    asked: mpsc::Receiver<oneshot::Sender<Stream>>,
    opening: VecDeque<oneshot::Sender<Stream>>,
    arrived: mpsc::Sender<MuxStream>,
    inbound: Arc<Semaphore>,
    heard: Arc<Heard>,
    rtt: Arc<AtomicU64>,
    /// The dialling end has opened the stream of the signs of life; the accepting end waits for it.
    begun: bool,
    life: Option<tokio::task::JoinHandle<()>>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Driver<S> {
    async fn run(mut self, mut stop: oneshot::Receiver<()>) -> MuxError {
        let mut death = Box::pin(tokio::time::sleep(DEATH));
        let why = loop {
            tokio::select! {
                why = std::future::poll_fn(|cx| self.poll(cx)) => break why,
                () = &mut death => {
                    let dead_at = self.heard.last() + DEATH;
                    if dead_at <= Instant::now() {
                        break MuxError::Silent;
                    }
                    death.as_mut().reset(dead_at);
                }
                _ = &mut stop => {
                    let closing = std::future::poll_fn(|cx| self.connection.poll_close(cx));
                    let _ = tokio::time::timeout(Duration::from_secs(1), closing).await;
                    break MuxError::Here;
                }
            }
        };
        if let Some(life) = self.life {
            life.abort();
        }
        why
    }

    /// Moves everything that can be moved. Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<MuxError> {
        if !self.begun
            && let Poll::Ready(opened) = self.connection.poll_new_outbound(cx)
        {
            self.begun = true;
            match opened {
                Ok(stream) => {
                    let rtt = Arc::clone(&self.rtt);
                    self.life = Some(tokio::spawn(ask(stream.compat(), rtt)));
                }
                Err(error) => return Poll::Ready(broken(&error)),
            }
        }
        loop {
            if self.opening.is_empty()
                && let Poll::Ready(Some(give)) = self.asked.poll_recv(cx)
            {
                self.opening.push_back(give);
            }
            if self.opening.front().is_some() {
                match self.connection.poll_new_outbound(cx) {
                    Poll::Ready(Ok(stream)) => {
                        if let Some(give) = self.opening.pop_front() {
                            // Whoever asked may have given up; then the stream is dropped here.
                            let _ = give.send(stream);
                        }
                        continue;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(broken(&error)),
                    Poll::Pending => {}
                }
            }
            match self.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => self.arrival(stream),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(broken(&error)),
                Poll::Ready(None) => return Poll::Ready(MuxError::Peer),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn arrival(&mut self, stream: Stream) {
        // Another stream may be heard of before the first one says anything.
        if self.mode == Mode::Server && self.life.is_none() && stream.id().to_string() == FIRST {
            self.life = Some(tokio::spawn(answer(stream.compat())));
            return;
        }
        // A stream that is dropped is reset: the peer has more than it may have, or nobody accepts any more.
        if let Ok(permit) = Arc::clone(&self.inbound).try_acquire_owned() {
            let _ = self.arrived.try_send(MuxStream::new(stream, permit));
        }
    }
}

fn broken(error: &yamux::ConnectionError) -> MuxError {
    MuxError::Broken(error.to_string().into())
}

/// The dialling end's signs of life. It ends with the stream; the silence then ends the tunnel.
async fn ask(mut stream: Compat<Stream>, rtt: Arc<AtomicU64>) {
    let mut number = 0u64;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        number += 1;
        let asked = Instant::now();
        let mut message = [QUESTION; BEAT_LEN];
        message[1..].copy_from_slice(&number.to_be_bytes());
        let mut reply = [0; BEAT_LEN];
        let exchange = async {
            stream.write_all(&message).await?;
            stream.flush().await?;
            stream.read_exact(&mut reply).await
        };
        if exchange.await.is_err() || reply[0] != ANSWER || reply[1..] != message[1..] {
            return;
        }
        rtt.store(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
}

/// The accepting end's.
async fn answer(mut stream: Compat<Stream>) {
    let mut message = [0; BEAT_LEN];
    while stream.read_exact(&mut message).await.is_ok() && message[0] == QUESTION {
        message[0] = ANSWER;
        if stream.write_all(&message).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
