//! A stream that gives up on a silent other end: nothing read nor written for long, or a reader that takes nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Longer than any handler takes to begin its answer.
const SILENT: Duration = Duration::from_secs(240);
/// How long a full socket may stay full.
const STALLED: Duration = Duration::from_secs(60);

pub(crate) struct Idle<T> {
    inner: T,
    silent: Pin<Box<Sleep>>,
    stalled: Pin<Box<Sleep>>,
    bounds: (Duration, Duration),
    waits_to_write: bool,
}

impl<T> Idle<T> {
    pub(crate) fn new(inner: T) -> Self {
        Idle::bounded(inner, SILENT, STALLED)
    }

    fn bounded(inner: T, silent: Duration, stalled: Duration) -> Self {
        Idle {
            inner,
            silent: Box::pin(sleep_until(Instant::now() + silent)),
            stalled: Box::pin(sleep_until(Instant::now() + stalled)),
            bounds: (silent, stalled),
            waits_to_write: false,
        }
    }

    fn progress(&mut self) {
        let silent = self.bounds.0;
        self.silent.as_mut().reset(Instant::now() + silent);
        self.waits_to_write = false;
    }

    fn wrote<V>(&mut self, polled: Poll<io::Result<V>>, cx: &mut Context<'_>) -> Poll<io::Result<V>> {
        if polled.is_ready() {
            self.progress();
            return polled;
        }
        if !self.waits_to_write {
            self.waits_to_write = true;
            let stalled = self.bounds.1;
            self.stalled.as_mut().reset(Instant::now() + stalled);
        }
        match self.stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Idle<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(done) = Pin::new(&mut self.inner).poll_read(cx, buf) {
            let silent = self.bounds.0;
            self.silent.as_mut().reset(Instant::now() + silent);
            return Poll::Ready(done);
        }
        match self.silent.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Idle<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.wrote(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.wrote(polled, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_silent_peer_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let error = Idle::bounded(ours, SHORT, SILENT)
            .read_u8()
            .await
            .expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let error = Idle::bounded(ours, SILENT, SHORT)
            .write_all(&[0; 64])
            .await
            .expect_err("it is full");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
