//! The TLS listener. A client certificate is optional; one that is shown must verify.

use super::connection::{self, DRAIN};
use super::front::{Front, GUEST_PROTOCOLS, Guest, Side};
use crate::caller::{Caller, Certified, Peer};
use crate::limits::source;
use palisade_ca::AgentIdentity;
use palisade_core::name::Name;
use palisade_core::time::Timestamp;
use parking_lot::Mutex;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const HANDSHAKE: Duration = Duration::from_secs(10);
const CONNECTIONS_MAX: usize = 4096;
const CONNECTIONS_MAX_PER_SOURCE: usize = 512;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server's own certificate and key do not fit, or the protocol versions do not.
    #[error("the certificate and key of the HTTPS port cannot be used")]
    Own(#[source] rustls::Error),
    /// A certificate of the TLS authority cannot be read.
    #[error("a certificate of the TLS authority cannot be used")]
    Authority(#[source] rustls::Error),
    /// There are no authorities to verify clients against.
    #[error("client certificates cannot be verified")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// TLS 1.2 and 1.3 with this certificate chain and key; clients may show a certificate of one of the authorities.
pub fn tls_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: &[CertificateDer<'static>],
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(TlsError::Authority)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Own)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Own)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
        .alpn_protocols
        .extend(GUEST_PROTOCOLS.iter().map(|name| name.to_vec()));
    Ok(config)
}

/// Serves until `stop`, and then until open requests are answered or half a minute has passed. New connections use
/// the newest configuration.
pub async fn serve_tls(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    front: Arc<Front>,
    stop: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let abort = CancellationToken::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let sources = Arc::new(Sources::default());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: some connections have to end first.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!("too many connections: one is turned away");
            continue;
        };
        let Some(counted) = sources.clone().enter(source(Some(from.ip()))) else {
            tracing::warn!(client.addr = %from.ip(), "too many connections of one source: one is turned away");
            continue;
        };
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let (front, stop, abort) = (front.clone(), stop.clone(), abort.clone());
        tracker.spawn(async move {
            let _kept = (place, counted);
            tokio::select! {
                () = abort.cancelled() => {}
                () = one(stream, from, acceptor, front, stop) => {}
            }
        });
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(DRAIN, tracker.wait()).await.is_err() {
        abort.cancel();
        tracker.wait().await;
    }
}

async fn one(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: TlsAcceptor,
    front: Arc<Front>,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let handshake = tokio::select! {
        () = stop.cancelled() => return,
        handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)) => handshake,
    };
    let tls = match handshake {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return tracing::debug!(%error, client.addr = %from.ip(), "TLS handshake failed"),
        Err(_) => return tracing::debug!(client.addr = %from.ip(), "TLS handshake took too long"),
    };
    let session = tls.get_ref().1;
    let caller = match session.peer_certificates().and_then(<[_]>::first) {
        None => Caller::Nobody,
        Some(certificate) => match (
            certified(certificate),
            AgentIdentity::from_certificate(certificate),
        ) {
            (Some(certified), None) => Caller::User(certified),
            (None, Some(agent)) => Caller::Agent(agent),
            _ => {
                // Ours by signature, but neither a user's nor an agent's: nobody who should be here.
                return tracing::warn!(client.addr = %from.ip(), "a client certificate names no user");
            }
        },
    };
    let asked = session
        .alpn_protocol()
        .filter(|name| GUEST_PROTOCOLS.contains(name));
    if let Some(asked) = asked {
        // Before the node serves a cluster there is nobody to let in.
        if let Some(door) = front.door(asked) {
            let guest = Guest {
                stream: tls,
                caller,
                addr: from,
            };
            door(guest).await;
        }
        return;
    }
    let http2 = session.alpn_protocol() == Some(b"h2");
    let peer = Peer {
        caller,
        addr: Some(from.ip().to_canonical()),
    };
    connection::serve(tls, http2, (peer, Some(from.port())), Side::Tls, front, stop).await;
}

/// What a client certificate says. TLS has verified it.
fn certified(der: &CertificateDer<'_>) -> Option<Certified> {
    let name = palisade_ca::client_cert_user(der).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let serial = certificate.raw_serial().iter().try_fold(0u64, |serial, byte| {
        Some(serial.checked_mul(256)? + u64::from(*byte))
    })?;
    let moment =
        |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok().map(Timestamp::from_secs);
    Some(Certified {
        name: Name::parse(&name).ok()?,
        serial,
        not_before: moment(certificate.validity().not_before)?,
        not_after: moment(certificate.validity().not_after)?,
    })
}

/// Open connections by source.
#[derive(Default)]
struct Sources(Mutex<HashMap<IpAddr, usize>>);

struct Counted(Arc<Sources>, IpAddr);

impl Sources {
    fn enter(self: Arc<Self>, from: IpAddr) -> Option<Counted> {
        let mut open = self.0.lock();
        let count = open.entry(from).or_insert(0);
        if *count >= CONNECTIONS_MAX_PER_SOURCE {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Counted(self, from))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.0.0.lock();
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}
