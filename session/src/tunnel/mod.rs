//! What an agent dials and a node accepts: one connection that carries many streams, over QUIC or over TLS.
//!
//! ```text
//!   agent                                                     node
//!   +---------+   QUIC, UDP: streams of its own      +-------------------+
//!   | Dialler |=====================================>| QuicListener      |--+
//!   |         |   or, where UDP does not pass:       |                   |  +--> Tunnel
//!   |         |   TLS, TCP: streams by yamux         | HTTPS port, ALPN  |--+
//!   +---------+------------------------------------->| -> Tunnel::accept_over
//!        |                                           +-------------------+
//!        v
//!      Tunnel   open() / accept() -> TunnelStream, which begins with one message of `wire`
//! ```
//!
//! Either end opens streams; the one that opens speaks first (until it does, the other end does not learn of
//! the stream). A peer that falls silent is noticed within [`DEATH`] and one [`BEAT`], over either transport.
//! What a peer can make this end keep is bounded by [`Limits`]: more streams than that wait at an honest peer and are reset
//! from another, and a stream that nobody reads holds its own window and stops nobody else.
//!
//! Both transports need mutual TLS 1.3: the caller brings the configurations, this room sets [`ALPN`] and forbids early data.

mod dial;
mod mux;
mod quic;
pub mod wire;

pub use dial::{DialError, Dialler, STEPS, Target, Tls};
pub use quic::{QuicListener, QuicPeer};

use mux::Mux;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// What the two ends of a tunnel agree on in their TLS handshake (RFC 7301), over UDP and over TCP.
pub const ALPN: &[u8] = b"palisade-tunnel/1";

/// A peer from which nothing is heard for this long is dead. Over QUIC the silence counts from the first question that
/// finds no answer (RFC 9000, 10.1), so that one [`BEAT`] comes on top: 2.8 s at most.
pub const DEATH: Duration = Duration::from_secs(2);

/// How often the end that dialled asks for a sign of life.
pub const BEAT: Duration = Duration::from_millis(800);

/// What one tunnel may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams that the peer may have open at once.
    pub inbound: u32,
    /// Streams that this end opens at once; more wait. No more than the peer's `inbound` makes sense.
    pub outbound: u32,
    /// Bytes that are kept for one stream when nobody reads it, over QUIC. Over TLS it is 256 KiB.
    pub window: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            inbound: 1024,
            outbound: 1024,
            window: 512 << 10,
        }
    }
}

/// What a tunnel runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// QUIC, over UDP.
    Quic,
    /// TLS over TCP, with yamux.
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Quic => "quic",
            Transport::Tls => "tls",
        })
    }
}

/// One end of a tunnel. Clones are the same tunnel; it is closed when the last clone and the last stream are gone.
#[derive(Clone)]
pub struct Tunnel {
    carrier: Carrier,
    live: Arc<watch::Sender<usize>>,
}

#[derive(Clone)]
enum Carrier {
    Quic(Arc<quic::Quic>),
    Mux(Arc<Mux>),
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("transport", &self.transport())
            .field("streams", &self.streams())
            .finish()
    }
}

impl Tunnel {
    fn new(carrier: Carrier) -> Self {
        Tunnel {
            carrier,
            live: Arc::new(watch::channel(0).0),
        }
    }

    /// The accepting end over an ordered byte stream: the TLS connection of a peer that asked for [`ALPN`]. Must be
    /// called in a tokio runtime.
    pub fn accept_over<S>(stream: S, limits: Limits) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Tunnel::new(Carrier::Mux(Mux::start(stream, yamux::Mode::Server, limits)))
    }

    /// The dialling end over an ordered byte stream. [`Dialler`] does this over TLS.
    pub fn dial_over<S>(stream: S, limits: Limits) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Tunnel::new(Carrier::Mux(Mux::start(stream, yamux::Mode::Client, limits)))
    }

    /// Opens a stream. Waits while as many are open as may be. The peer learns of it with the first byte written.
    ///
    /// # Errors
    /// The tunnel is closed.
    pub async fn open(&self) -> io::Result<TunnelStream> {
        let pipe = match &self.carrier {
            Carrier::Quic(quic) => {
                let (send, recv) = quic.connection.open_bi().await?;
                Pipe::Quic { send, recv }
            }
            Carrier::Mux(mux) => Pipe::Mux(Box::new(mux.open().await?)),
        };
        Ok(self.stream(pipe))
    }

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// The tunnel is closed.
    pub async fn accept(&self) -> io::Result<TunnelStream> {
        let pipe = match &self.carrier {
            Carrier::Quic(quic) => {
                let (send, recv) = quic.accept(self.streams()).await?;
                Pipe::Quic { send, recv }
            }
            Carrier::Mux(mux) => Pipe::Mux(Box::new(mux.accept().await?)),
        };
        Ok(self.stream(pipe))
    }

    fn stream(&self, pipe: Pipe) -> TunnelStream {
        self.live.send_modify(|live| *live += 1);
        TunnelStream {
            pipe,
            live: Live(Arc::clone(&self.live)),
            _carrier: self.carrier.clone(),
        }
    }

    /// Streams that are in use at this end.
    pub fn streams(&self) -> usize {
        *self.live.borrow()
    }

    /// Waits until the tunnel is closed, by whichever end or by death, and says why.
    pub async fn closed(&self) -> String {
        match &self.carrier {
            Carrier::Quic(quic) => quic.connection.closed().await.to_string(),
            Carrier::Mux(mux) => mux.closed().await.to_string(),
        }
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        match &self.carrier {
            Carrier::Quic(quic) => quic.connection.close_reason().is_some(),
            Carrier::Mux(mux) => mux.is_closed(),
        }
    }

    /// Closes it, with all its streams.
    pub fn close(&self) {
        match &self.carrier {
            Carrier::Quic(quic) => quic.connection.close(quic::CODE_CLOSED, b"closed"),
            Carrier::Mux(mux) => mux.close(),
        }
    }

    /// Closes it as soon as no stream is in use at this end: for a tunnel whose place another has taken.
    pub async fn retire(self) {
        let mut live = self.live.subscribe();
        tokio::select! {
            _ = live.wait_for(|live| *live == 0) => self.close(),
            _ = self.closed() => {}
        }
    }

    /// What it runs over.
    pub fn transport(&self) -> Transport {
        match &self.carrier {
            Carrier::Quic(_) => Transport::Quic,
            Carrier::Mux(_) => Transport::Tls,
        }
    }

    /// How long a sign of life takes there and back, if that was measured yet.
    pub fn rtt(&self) -> Option<Duration> {
        match &self.carrier {
            Carrier::Quic(quic) => Some(quic.connection.rtt()),
            Carrier::Mux(mux) => mux.rtt(),
        }
    }

    /// Where the peer is, if the transport knows: a QUIC peer may change its address.
    pub fn remote(&self) -> Option<SocketAddr> {
        match &self.carrier {
            Carrier::Quic(quic) => Some(quic.connection.remote_address()),
            Carrier::Mux(_) => None,
        }
    }
}

struct Live(Arc<watch::Sender<usize>>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.send_modify(|live| *live -= 1);
    }
}

enum Pipe {
    Quic {
        send: quinn::SendStream,
        recv: quinn::RecvStream,
    },
    Mux(Box<mux::MuxStream>),
}

/// One stream of a tunnel. `shutdown` ends this end's direction; the other goes on. When the tunnel dies, reads
/// and writes fail. Over TLS a read after `shutdown` may then end as if the peer had ended it: what must be known to be
/// whole says so itself.
pub struct TunnelStream {
    pipe: Pipe,
    live: Live,
    /// A tunnel lives as long as its streams.
    _carrier: Carrier,
}

impl fmt::Debug for TunnelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = *self.live.0.borrow() - 1;
        f.debug_struct("TunnelStream")
            .field("others", &others)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().pipe {
            Pipe::Quic { recv, .. } => AsyncRead::poll_read(Pin::new(recv), cx, buf),
            Pipe::Mux(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().pipe {
            Pipe::Quic { send, .. } => AsyncWrite::poll_write(Pin::new(send), cx, buf),
            Pipe::Mux(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().pipe {
            Pipe::Quic { send, .. } => AsyncWrite::poll_flush(Pin::new(send), cx),
            Pipe::Mux(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().pipe {
            Pipe::Quic { send, .. } => AsyncWrite::poll_shutdown(Pin::new(send), cx),
            Pipe::Mux(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
