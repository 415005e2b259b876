//! Raw byte streams between nodes, for traffic that is not Raft's: a connection whose tunnel another node holds.
//!
//! They come in at the same port, under the same mutual TLS and the same rules of admission, told apart by ALPN
//! before a byte of them is read. Each is a connection of its own, so that bulk data never stands in a heartbeat's way.

use crate::peers::PeerError;
use crate::shared::Shared;
use futures::future::BoxFuture;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// ALPN of such a stream.
pub(crate) const ALPN: &[u8] = b"palisade-hop/1";
/// ALPN of everything else.
pub(crate) const ALPN_RPC: &[u8] = b"h2";
/// How long one may take to be there, handshake included.
const CONNECT: Duration = Duration::from_millis(1500);

/// A byte stream to another node of this cluster.
pub type Hop = TlsStream<TcpStream>;

/// Takes streams that other nodes open; it is told which node. The stream has ended when the future has.
pub type HopHandler = Arc<dyn Fn(u64, Hop) -> BoxFuture<'static, ()> + Send + Sync>;

/// Who takes them, once somebody does.
#[derive(Default)]
pub(crate) struct Taker(OnceLock<HopHandler>);

impl Taker {
    pub(crate) fn set(&self, handler: HopHandler) {
        let _ = self.0.set(handler);
    }

    /// Gives a stream away; before anybody takes them it is closed.
    pub(crate) fn take(&self, node: u64, hop: Hop) {
        if let Some(handler) = self.0.get() {
            crate::runtime::spawn(handler(node, hop));
        }
    }
}

/// Opens a stream to a member.
pub(crate) async fn open(shared: &Shared, node: u64) -> Result<Hop, PeerError> {
    let member = shared.member(node).ok_or(PeerError::Unknown(node))?;
    let dialled = tokio::time::timeout(CONNECT, crate::peers::dial(shared, node, &member.addr, ALPN));
    match dialled.await {
        Ok(Ok(stream)) => Ok(TlsStream::Client(stream)),
        Ok(Err(e)) => Err(PeerError::Unreachable {
            node,
            why: e.to_string(),
        }),
        Err(_) => Err(PeerError::Timeout(node)),
    }
}
