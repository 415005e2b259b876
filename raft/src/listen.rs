//! The node-to-node listener. Nothing behind it sees a byte of a caller that has no certificate of this cluster.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::guard;
use crate::hop;
use crate::shared::Shared;
use crate::tls::identity_in;
use palisade_core::peer::PeerIdentity;

/// A handshake takes milliseconds; who needs longer is no node.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Handshakes at once.
const HALF_OPEN: usize = 64;

/// An accepted connection whose other end is a node of this cluster.
pub(crate) struct PeerIo {
    stream: TlsStream<TcpStream>,
    identity: PeerIdentity,
}

impl Connected for PeerIo {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        self.identity.clone()
    }
}

impl AsyncRead for PeerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Accepts connections until the node stops, and passes on those that are nodes.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    out: mpsc::Sender<io::Result<PeerIo>>,
) {
    let half_open = Arc::new(Semaphore::new(HALF_OPEN));
    loop {
        let permit = tokio::select! {
            () = shared.stop.cancelled() => return,
            permit = Arc::clone(&half_open).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors, most likely: it passes, and the loop must not spin until then.
                tracing::warn!(error = %e, "cannot accept a node-to-node connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (shared, out) = (Arc::clone(&shared), out.clone());
        crate::runtime::spawn(async move {
            let _permit = permit;
            match tokio::time::timeout(HANDSHAKE, handshake(&shared, tcp)).await {
                Ok(Ok(io)) if io.stream.get_ref().1.alpn_protocol() == Some(hop::ALPN) => {
                    // No message follows that could be refused.
                    if guard::standing(&shared, &io.identity).is_ok() {
                        shared
                            .hops
                            .take(io.identity.node_id, tokio_rustls::TlsStream::Server(io.stream));
                    }
                }
                Ok(Ok(io)) => {
                    let _ = out.send(Ok(io)).await;
                }
                Ok(Err(e)) => tracing::warn!(%from, error = %e, "a node-to-node connection was refused"),
                Err(_) => tracing::warn!(%from, "a node-to-node handshake took too long"),
            }
        });
    }
}

async fn handshake(shared: &Shared, tcp: TcpStream) -> io::Result<PeerIo> {
    tcp.set_nodelay(true)?;
    let stream = TlsAcceptor::from(shared.way.tls()?.server()).accept(tcp).await?;
    let refused = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned());
    let identity = {
        let certs = stream.get_ref().1.peer_certificates().unwrap_or_default();
        certs.first().and_then(|cert| identity_in(cert))
    };
    let identity = identity.ok_or_else(|| refused("the certificate is not one of a node"))?;
    guard::admit(shared, &identity).map_err(refused)?;
    Ok(PeerIo { stream, identity })
}
