//! The way to an agent: through a tunnel of this node, or over a hop to a node that holds one.

use super::{Tunnels, elsewhere};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use palisade_core::name::{Name, NodeId};
use palisade_core::ports::Pending;
use palisade_core::tunnel::{MESSAGE_BYTES_MAX, Opened, ToAgent};
use palisade_session::tunnel::wire::{read_message, write_message};
use serde::{Deserialize, Serialize};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long an agent may take to say that it goes on.
const OPEN: Duration = Duration::from_secs(3);
/// How long one way is alone before the next is tried beside it. The agent hears nothing on one that is given up.
const STAGGER: Duration = Duration::from_millis(250);

/// A byte stream, whatever carries it.
pub trait HopStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> HopStream for S {}

/// Byte streams to the other nodes of the cluster.
pub trait Hops: Send + Sync + 'static {
    /// Opens one. The other node gives it to [`Tunnels::serve_hop`].
    fn open(&self, node: NodeId) -> Pending<'_, std::io::Result<Box<dyn HopStream>>>;
}

/// The first message on a hop.
#[derive(Debug, Serialize, Deserialize)]
struct HopHello {
    host: Name,
    connect: ToAgent,
}

/// Why there is no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoWay {
    /// No node holds a tunnel.
    #[error("{0} is offline: its agent is not connected to any node")]
    Offline(Name),
    /// The agent says no.
    #[error("{0}")]
    Refused(String),
    /// The way broke while it was laid.
    #[error("the agent of {host} could not be reached: {why}")]
    Broken {
        /// The host.
        host: Name,
        /// What happened.
        why: String,
    },
}

impl Tunnels {
    /// Opens a stream to a host's agent: the agent has said yes when this returns. A way that is silent does not keep
    /// the others waiting: its node or its tunnel may have died a moment ago, and nobody knows yet.
    pub(crate) async fn open(&self, host: &Name, connect: &ToAgent) -> Result<Box<dyn HopStream>, NoWay> {
        let here = self.held(host).map(|_| None);
        let elsewhere = elsewhere(self, host).into_iter().map(Some);
        let mut ways = here.into_iter().chain(elsewhere).peekable();
        let mut running = FuturesUnordered::new();
        let mut last = NoWay::Offline(host.clone());
        loop {
            match ways.next() {
                Some(way) => running.push(self.open_by(way, host, connect)),
                None if running.is_empty() => return Err(last),
                None => {}
            }
            let more = ways.peek().is_some();
            tokio::select! {
                Some(opened) = running.next() => match opened {
                    Err(broken @ (NoWay::Broken { .. } | NoWay::Offline(_))) => last = broken,
                    other => return other,
                },
                () = tokio::time::sleep(STAGGER), if more => {}
            }
        }
    }

    async fn open_by(
        &self,
        node: Option<NodeId>,
        host: &Name,
        connect: &ToAgent,
    ) -> Result<Box<dyn HopStream>, NoWay> {
        match node {
            None => self.open_here(host, connect).await,
            Some(node) => self.open_at(node, host, connect).await,
        }
    }

    async fn open_here(&self, host: &Name, connect: &ToAgent) -> Result<Box<dyn HopStream>, NoWay> {
        let held = self.held(host).ok_or_else(|| NoWay::Offline(host.clone()))?;
        let broken = |why: String| NoWay::Broken {
            host: host.clone(),
            why,
        };
        let opening = async {
            let mut stream = held.tunnel.open().await.map_err(|e| broken(e.to_string()))?;
            write_message(&mut stream, connect, MESSAGE_BYTES_MAX)
                .await
                .map_err(|e| broken(e.to_string()))?;
            let answer = read_message::<Opened>(&mut stream, MESSAGE_BYTES_MAX).await;
            match answer.map_err(|e| broken(e.to_string()))? {
                Some(Opened::Yes) => Ok(Box::new(stream) as Box<dyn HopStream>),
                Some(Opened::No(why)) => Err(NoWay::Refused(why)),
                None => Err(broken("it closed the stream".into())),
            }
        };
        match tokio::time::timeout(OPEN, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(broken("it did not answer in time".into())),
        }
    }

    async fn open_at(
        &self,
        node: NodeId,
        host: &Name,
        connect: &ToAgent,
    ) -> Result<Box<dyn HopStream>, NoWay> {
        let broken = |why: String| NoWay::Broken {
            host: host.clone(),
            why: format!("node {node}: {why}"),
        };
        let hello = HopHello {
            host: host.clone(),
            connect: connect.clone(),
        };
        let opening = async {
            let mut stream = self.hops.open(node).await.map_err(|e| broken(e.to_string()))?;
            write_message(&mut stream, &hello, MESSAGE_BYTES_MAX)
                .await
                .map_err(|e| broken(e.to_string()))?;
            let answer = read_message::<Result<Opened, String>>(&mut stream, MESSAGE_BYTES_MAX).await;
            match answer.map_err(|e| broken(e.to_string()))? {
                Some(Ok(Opened::Yes)) => Ok(stream),
                Some(Ok(Opened::No(why))) => Err(NoWay::Refused(why)),
                Some(Err(why)) => Err(broken(why)),
                None => Err(broken("it closed the stream".into())),
            }
        };
        match tokio::time::timeout(OPEN, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(broken("it did not answer in time".into())),
        }
    }

    /// Serves a stream that another node opened: it has decided, this node only holds the tunnel.
    pub async fn serve_hop<S: HopStream>(self: Arc<Self>, mut stream: S) {
        let hello = read_message::<HopHello>(&mut stream, MESSAGE_BYTES_MAX);
        let hello = match tokio::time::timeout(OPEN, hello).await {
            Ok(Ok(Some(hello))) => hello,
            Ok(Err(error)) => return tracing::warn!(error = %error, "a hop began with nonsense"),
            Ok(Ok(None)) | Err(_) => return,
        };
        let opened = self.open_here(&hello.host, &hello.connect).await;
        let answer: Result<Opened, String> = match &opened {
            Ok(_) => Ok(Opened::Yes),
            Err(NoWay::Refused(why)) => Ok(Opened::No(why.clone())),
            Err(other) => Err(other.to_string()),
        };
        let said = write_message(&mut stream, &answer, MESSAGE_BYTES_MAX).await;
        if let (Ok(()), Ok(agent)) = (said, opened) {
            splice(&mut stream, agent).await;
        }
    }
}

/// Bytes moved at a time, in each direction.
const PIECE: usize = 64 * 1024;

/// How a link to an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spliced {
    /// Both ends said so, or the client is gone.
    Over,
    /// The way to the agent broke. The client's end is still open.
    Lost,
}

/// Copies both ways until both ends have closed, or either broke.
pub(crate) async fn splice<A: HopStream, B: HopStream>(client: &mut A, agent: B) -> Spliced {
    let mut agent = Watched {
        stream: agent,
        broke: false,
    };
    let copied = tokio::io::copy_bidirectional_with_sizes(client, &mut agent, PIECE, PIECE).await;
    if let Err(error) = copied {
        tracing::debug!(error = %error, "a link to an agent ended");
    }
    if agent.broke { Spliced::Lost } else { Spliced::Over }
}

/// A stream that remembers whether it failed.
struct Watched<S> {
    stream: S,
    broke: bool,
}

impl<S> Watched<S> {
    fn note<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.broke |= matches!(polled, Poll::Ready(Err(_)));
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note(polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A stream that gives what it has and breaks.
    struct Breaks(&'static [u8]);

    impl AsyncRead for Breaks {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match std::mem::take(&mut self.0) {
                [] => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                bytes => {
                    buf.put_slice(bytes);
                    Poll::Ready(Ok(()))
                }
            }
        }
    }

    impl AsyncWrite for Breaks {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_way_that_breaks_leaves_the_client_open_for_a_last_word() {
        let (mut near, mut far) = tokio::io::duplex(64);
        assert_eq!(splice(&mut near, Breaks(b"half")).await, Spliced::Lost);
        near.write_all(b"sorry").await.expect("still open");
        let mut got = [0; 9];
        far.read_exact(&mut got).await.expect("both");
        assert_eq!(&got, b"halfsorry");
    }

    #[tokio::test]
    async fn a_link_that_both_ends_close_is_over() {
        let ((mut near, far), (back, agent)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        drop((far, agent));
        assert_eq!(splice(&mut near, back).await, Spliced::Over);
    }
}
