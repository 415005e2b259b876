//! How an agent gets a tunnel: QUIC, and TLS over TCP where UDP does not pass.

use super::{ALPN, Limits, Transport, Tunnel, quic};
use crate::backoff::{backoff, random};
use futures::stream::{FuturesUnordered, StreamExt};
use rustls::pki_types::ServerName;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The waits before a node is dialled again, for [`backoff`]. The first is there so that ten thousand agents that lose
/// one node do not come to the next in the same millisecond.
pub const STEPS: [Duration; 6] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// QUIC is alone for this long.
const HEAD_START: Duration = Duration::from_secs(1);

/// The next address of a node is tried after this long, beside those before.
const STAGGER: Duration = Duration::from_millis(250);

/// No dial takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node, as an agent finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it may be: the same number over UDP and TCP.
    pub addresses: Vec<SocketAddr>,
    /// The name that its certificate must carry.
    pub name: ServerName<'static>,
}

/// Why there is no tunnel: what became of either way.
#[derive(Debug)]
pub struct DialError {
    /// Over QUIC.
    pub quic: io::Error,
    /// Over TLS.
    pub tls: io::Error,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "over QUIC: {}; over TLS: {}", self.quic, self.tls)
    }
}

impl std::error::Error for DialError {}

/// Gives the TLS configuration for each dial: an identity that was renewed meanwhile is used.
pub type Tls = Arc<dyn Fn() -> io::Result<rustls::ClientConfig> + Send + Sync>;

/// Dials tunnels.
#[derive(Clone)]
pub struct Dialler {
    endpoint: quinn::Endpoint,
    tls: Tls,
    limits: Limits,
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialler").finish_non_exhaustive()
    }
}

impl Dialler {
    /// Makes one, with a UDP port of its own. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// There is no UDP port to be had.
    pub fn new(tls: Tls, limits: Limits) -> io::Result<Self> {
        Ok(Dialler {
            endpoint: quic::dialling()?,
            tls,
            limits,
        })
    }

    /// Dials a node: over QUIC, and beside it over TLS when that has not answered within a second or has failed. The
    /// first that answers is taken; QUIC if both do.
    ///
    /// # Errors
    /// What became of either way.
    pub async fn dial(&self, target: &Target) -> Result<Tunnel, DialError> {
        let mut quic = pin!(bounded(self.quic(target)));
        let mut failed = None;
        tokio::select! {
            result = &mut quic => match result {
                Ok(tunnel) => return Ok(tunnel),
                Err(error) => failed = Some(error),
            },
            () = tokio::time::sleep(HEAD_START) => {}
        }
        let mut tls = pin!(bounded(self.tls(target)));
        let failed = match failed {
            Some(error) => error,
            None => tokio::select! {
                biased;
                result = &mut quic => match result {
                    Ok(tunnel) => return Ok(tunnel),
                    Err(error) => error,
                },
                result = &mut tls => match result {
                    Ok(tunnel) => return Ok(tunnel),
                    Err(tls) => {
                        return quic.await.map_err(|quic| DialError { quic, tls });
                    }
                },
            },
        };
        tls.await.map_err(|tls| DialError { quic: failed, tls })
    }

    /// Dials over QUIC alone.
    ///
    /// # Errors
    /// Why that failed at the last of the addresses.
    pub async fn quic(&self, target: &Target) -> io::Result<Tunnel> {
        let config = quic::client((self.tls)()?, self.limits)?;
        let name = target.name.to_str();
        let connection = race(&target.addresses, |address| {
            let dialling = self
                .endpoint
                .connect_with(config.clone(), address, &name)
                .map_err(io::Error::other);
            async move { Ok(dialling?.await?) }
        })
        .await?;
        Ok(quic::tunnel(connection, self.limits))
    }

    /// Dials over TLS alone.
    ///
    /// # Errors
    /// Why that failed at the last of the addresses.
    pub async fn tls(&self, target: &Target) -> io::Result<Tunnel> {
        let mut config = (self.tls)()?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_early_data = false;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = race(&target.addresses, |address| {
            let connector = connector.clone();
            let name = target.name.clone();
            async move {
                let tcp = TcpStream::connect(address).await?;
                tcp.set_nodelay(true)?;
                let stream = connector.connect(name, tcp).await?;
                // A server that does not know our protocol might take what follows for something else.
                if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                    return Err(io::Error::other("the peer takes no tunnels here"));
                }
                Ok(stream)
            }
        })
        .await?;
        Ok(Tunnel::dial_over(stream, self.limits))
    }

    /// Waits until QUIC works, trying about `every` so often, and returns the tunnel that takes the place of `old`, a
    /// tunnel over TLS; the caller moves to it and calls [`Tunnel::retire`] on the old one. Nothing if the old one is
    /// closed before that, or is over QUIC already.
    pub async fn upgrade(&self, old: &Tunnel, target: &Target, every: Duration) -> Option<Tunnel> {
        if old.transport() == Transport::Quic {
            return None;
        }
        let trying = async {
            loop {
                tokio::time::sleep(backoff(&[every], 0, random())).await;
                if let Ok(tunnel) = bounded(self.quic(target)).await {
                    return tunnel;
                }
            }
        };
        tokio::select! {
            tunnel = trying => Some(tunnel),
            _ = old.closed() => None,
        }
    }

    /// Closes all tunnels over QUIC that it dialled, and tells the peers, a second at most.
    pub async fn close(&self) {
        self.endpoint.close(quic::CODE_CLOSED, b"closing");
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

async fn bounded<T>(dialling: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, dialling).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Dials one address after the other, without waiting for those before to fail; the first that answers is taken.
async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    dial: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut running = FuturesUnordered::new();
    let mut waiting = addresses.iter();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address to dial");
    loop {
        if let Some(&address) = waiting.next() {
            running.push(dial(address));
        } else if running.is_empty() {
            return Err(last);
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(result) = running.next() => match result {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            },
            () = tokio::time::sleep(STAGGER), if more => {}
        }
    }
}
