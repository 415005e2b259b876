//! One SSH channel as a byte stream: what an inner SSH connection runs on when it comes by `ssh -J`.

use super::config::WINDOW;
use super::stream::{Boxed, Egress};
use bytes::{Buf, Bytes};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that one write takes: several packets, so that a busy session is not woken for each of them.
pub(super) const WRITE: usize = 128 << 10;

/// A channel as a byte stream.
pub struct ChannelIo<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> {
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<M>>,
    egress: Arc<Egress>,
    rest: Bytes,
    ended: bool,
    consumed: u32,
    granting: Option<Boxed<Result<(), russh::Error>>>,
    sending: Option<Boxed<Result<(), russh::Error>>>,
    /// Kept because dropping the last handle of a client connection ends it.
    alive: Option<Arc<dyn Send + Sync>>,
}

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> std::fmt::Debug for ChannelIo<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelIo")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> ChannelIo<M> {
    /// Takes a channel of a connection in relay mode; `egress` is that connection's gate.
    pub fn new(channel: Channel<M>, egress: Arc<Egress>) -> Self {
        let (read, write) = channel.split();
        ChannelIo {
            read,
            write: Arc::new(write),
            egress,
            rest: Bytes::new(),
            ended: false,
            consumed: 0,
            granting: None,
            sending: None,
            alive: None,
        }
    }

    /// Keeps `handle` for as long as the stream lives.
    pub fn keeping(mut self, handle: Arc<dyn Send + Sync>) -> Self {
        self.alive = Some(handle);
        self
    }

    fn poll_grant(&mut self, cx: &mut Context<'_>) {
        if self.granting.is_none() && self.consumed >= WINDOW / 4 {
            let (write, amount) = (Arc::clone(&self.write), self.consumed);
            self.consumed = 0;
            self.granting = Some(Box::pin(async move { write.grant_window(amount).await }));
        }
        if let Some(granting) = &mut self.granting
            && granting.as_mut().poll(cx).is_ready()
        {
            // If the session is gone, reading says so.
            self.granting = None;
        }
    }

    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(sending) = &mut self.sending else {
            return Poll::Ready(Ok(()));
        };
        let result = ready!(sending.as_mut().poll(cx));
        self.sending = None;
        Poll::Ready(result.map_err(|_| io::ErrorKind::BrokenPipe.into()))
    }
}

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> AsyncRead for ChannelIo<M> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            this.poll_grant(cx);
            match ready!(this.read.poll_wait(cx)) {
                Some(ChannelMsg::Data { data }) => this.rest = data,
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    this.consumed = this
                        .consumed
                        .saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
                }
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => this.ended = true,
                Some(_) => {}
            }
        }
        let n = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest[..n]);
        this.rest.advance(n);
        this.consumed = this.consumed.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        this.poll_grant(cx);
        Poll::Ready(Ok(()))
    }
}

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> AsyncWrite for ChannelIo<M> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_sending(cx))?;
        let n = buf.len().min(WRITE);
        let (write, egress, data) = (
            Arc::clone(&this.write),
            Arc::clone(&this.egress),
            Bytes::copy_from_slice(&buf[..n]),
        );
        this.sending = Some(Box::pin(async move {
            egress.ready().await;
            write.data_bytes(data).await
        }));
        match this.poll_sending(cx) {
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            _ => Poll::Ready(Ok(n)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_sending(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_sending(cx))?;
        let write = Arc::clone(&this.write);
        // Small and last: a full queue only delays it.
        tokio::spawn(async move {
            let _ = write.eof().await;
        });
        Poll::Ready(Ok(()))
    }
}

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Drop for ChannelIo<M> {
    fn drop(&mut self) {
        let (write, sending, alive) = (Arc::clone(&self.write), self.sending.take(), self.alive.take());
        // Outside a runtime the connection is gone already.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Some(sending) = sending {
                    let _ = sending.await;
                }
                let _ = write.close().await;
                drop(alive);
            });
        }
    }
}
