//! A tunnel over QUIC, by quinn.

use super::{ALPN, BEAT, Carrier, DEATH, Limits, Tunnel};
use parking_lot::Mutex;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Said to the peer when this end closes.
pub(super) const CODE_CLOSED: VarInt = VarInt::from_u32(0);

/// Handshakes that run at once at a listener; more are turned away, and come again.
const HANDSHAKES: usize = 512;

/// A handshake takes no longer than this.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Kept for handshakes that nobody has looked at yet, in bytes, for each and for all of them.
const EARLY: u64 = 64 << 10;
const EARLY_TOTAL: u64 = 8 << 20;

/// The largest datagram that is tried. What the path takes is found out (RFC 8899); where it is more than the 1500 bytes of
/// most networks, bulk costs a fraction. quinn hands ten of them to the kernel at a time, and what is more than 64 KiB
/// together is dropped there without a word.
const DATAGRAM: u16 = 6500;

/// What the kernel holds of a socket's datagrams, in bytes, as far as it lets us: a stream's whole window of small
/// datagrams, several times over. With the usual 200 KiB a busy machine drops them, and QUIC takes that for congestion.
const KERNEL: usize = 4 << 20;

/// Streams that a peer may open before any is in use. quinn keeps a place in two tables for each that may be opened, 86 KiB
/// for a thousand; most tunnels of a large cluster carry a few.
const FIRST: u32 = 16;

/// What this end buffers of its own to be sent, over all streams of a tunnel, in bytes.
const SEND: u64 = 8 << 20;

fn transport(limits: Limits, dials: bool) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(DATAGRAM);
    let all = u64::from(limits.window) * u64::from(limits.inbound + limits.outbound);
    config
        .max_concurrent_bidi_streams(limits.inbound.min(FIRST).into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(limits.window.into())
        // As much as all streams may have: with less, streams that nobody reads would stop the others.
        .receive_window(VarInt::from_u64(all).unwrap_or(VarInt::MAX))
        .send_window(SEND)
        .mtu_discovery_config(Some(mtu))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(DEATH).ok())
        // One end's questions keep both ends awake.
        .keep_alive_interval(dials.then_some(BEAT));
    Arc::new(config)
}

/// A client configuration for tunnels out of one for TLS.
pub(super) fn client(mut tls: rustls::ClientConfig, limits: Limits) -> io::Result<quinn::ClientConfig> {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.enable_early_data = false;
    let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(limits, true));
    Ok(config)
}

fn server(mut tls: rustls::ServerConfig, limits: Limits) -> io::Result<quinn::ServerConfig> {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.max_early_data_size = 0;
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(transport(limits, false))
        .max_incoming(HANDSHAKES)
        .incoming_buffer_size(EARLY)
        .incoming_buffer_size_total(EARLY_TOTAL);
    Ok(config)
}

/// An endpoint that dials, over IPv6 and IPv4 where the machine has both.
pub(super) fn dialling() -> io::Result<Endpoint> {
    let open = |socket| Endpoint::new(endpoint()?, None, socket, Arc::new(TokioRuntime));
    socket((std::net::Ipv6Addr::UNSPECIFIED, 0).into())
        .and_then(open)
        .or_else(|_| socket((std::net::Ipv4Addr::UNSPECIFIED, 0).into()).and_then(open))
}

/// A UDP socket; one for any IPv6 address takes IPv4 as well.
fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        // Where that is refused there is no IPv4 by this socket.
        let _ = sockopt::set_ipv6_v6only(&socket, false);
    }
    // The kernel bounds both by itself; with less it works too.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, KERNEL);
    let _ = sockopt::set_socket_send_buffer_size(&socket, KERNEL);
    bind(&socket, &address)?;
    Ok(socket.into())
}

fn endpoint() -> io::Result<EndpointConfig> {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(DATAGRAM).map_err(io::Error::other)?;
    Ok(config)
}

pub(super) fn tunnel(connection: quinn::Connection, limits: Limits) -> Tunnel {
    Tunnel::new(Carrier::Quic(Arc::new(Quic {
        connection,
        allowed: Mutex::new(limits.inbound.min(FIRST)),
        most: limits.inbound,
    })))
}

/// A connection, and how many streams its peer may have open by now.
pub(super) struct Quic {
    pub(super) connection: quinn::Connection,
    allowed: Mutex<u32>,
    most: u32,
}

impl Quic {
    /// The next stream that the peer opens, where `live` are in use. The peer may open twice as many as before, up to
    /// the limit, as soon as half of them are: it waits for none unless it opens many within one round trip.
    pub(super) async fn accept(&self, live: usize) -> io::Result<(quinn::SendStream, quinn::RecvStream)> {
        let streams = self.connection.accept_bi().await?;
        let mut allowed = self.allowed.lock();
        if *allowed < self.most && live >= *allowed as usize / 2 {
            *allowed = self.most.min(allowed.saturating_mul(2));
            self.connection.set_max_concurrent_bi_streams((*allowed).into());
        }
        Ok(streams)
    }
}

/// A peer that came in over QUIC.
#[derive(Debug)]
pub struct QuicPeer {
    /// The certificates that it proved to hold, its own first; the TLS configuration says what they are worth. Empty
    /// only if that asks for none.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Where it came from.
    pub remote: SocketAddr,
    /// The tunnel.
    pub tunnel: Tunnel,
}

/// Accepts tunnels over QUIC on one UDP port.
#[derive(Debug)]
pub struct QuicListener {
    endpoint: Endpoint,
    limits: Limits,
    peers: tokio::sync::Mutex<mpsc::Receiver<QuicPeer>>,
}

impl QuicListener {
    /// Listens. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The port is not to be had, or the TLS configuration is not one for TLS 1.3.
    pub fn bind(address: SocketAddr, tls: rustls::ServerConfig, limits: Limits) -> io::Result<Self> {
        let config = server(tls, limits)?;
        let socket = socket(address)?;
        let endpoint = Endpoint::new(endpoint()?, Some(config), socket, Arc::new(TokioRuntime))?;
        let (ready, peers) = mpsc::channel(16);
        tokio::spawn(accept(endpoint.clone(), ready, limits));
        Ok(QuicListener {
            endpoint,
            limits,
            peers: tokio::sync::Mutex::new(peers),
        })
    }

    /// The next peer whose handshake is done; nothing once the listener is closed.
    pub async fn accept(&self) -> Option<QuicPeer> {
        self.peers.lock().await.recv().await
    }

    /// Takes another TLS configuration for those who come from now on.
    ///
    /// # Errors
    /// It is not one for TLS 1.3.
    pub fn renew(&self, tls: rustls::ServerConfig) -> io::Result<()> {
        let config = server(tls, self.limits)?;
        self.endpoint.set_server_config(Some(config));
        Ok(())
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Stops listening and closes all its tunnels; waits until the peers were told, a second at most.
    pub async fn close(&self) {
        self.endpoint.close(CODE_CLOSED, b"closing");
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

impl Drop for QuicListener {
    fn drop(&mut self) {
        self.endpoint.close(CODE_CLOSED, b"closing");
    }
}

async fn accept(endpoint: Endpoint, ready: mpsc::Sender<QuicPeer>, limits: Limits) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        // Half of the slots are for those who have shown that they can be reached where they claim to be.
        if slots.available_permits() < HANDSHAKES / 2 && !incoming.remote_address_validated() {
            let _ = incoming.retry();
            continue;
        }
        let ready = ready.clone();
        tokio::spawn(async move {
            let _slot = slot;
            let Ok(connecting) = incoming.accept() else {
                return;
            };
            // What fails here came from someone who is no peer.
            let Ok(Ok(connection)) = tokio::time::timeout(HANDSHAKE, connecting).await else {
                return;
            };
            let certificates = connection
                .peer_identity()
                .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
                .map(|certificates| *certificates)
                .unwrap_or_default();
            let peer = QuicPeer {
                certificates,
                remote: connection.remote_address(),
                tunnel: tunnel(connection, limits),
            };
            let _ = ready.send(peer).await;
        });
    }
}
