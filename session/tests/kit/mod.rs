//! Identities, and a network between agent and node that can be broken.

#![allow(dead_code, reason = "not every user of the kit needs all of it")]

use palisade_session::tunnel::{Dialler, Limits, QuicListener, Target, Tunnel};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// The name of the node.
pub(crate) const NODE: &str = "node.palisade.test";

/// One authority, a node and an agent.
pub(crate) struct Identities {
    roots: Arc<RootCertStore>,
    node: (CertificateDer<'static>, Vec<u8>),
    agent: (CertificateDer<'static>, Vec<u8>),
}

impl Identities {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let sign = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (certificate.der().clone(), key.serialize_der())
        };
        Identities {
            roots: Arc::new(roots),
            node: sign(NODE),
            agent: sign("agent.palisade.test"),
        }
    }

    fn provider() -> Arc<rustls::crypto::CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    pub(crate) fn server(&self) -> ServerConfig {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Self::provider())
            .build()
            .unwrap();
        let key = PrivateKeyDer::try_from(self.node.1.clone()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Self::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.node.0.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![palisade_session::tunnel::ALPN.to_vec()];
        config
    }

    fn client_builder(&self) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder_with_provider(Self::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let key = PrivateKeyDer::try_from(self.agent.1.clone()).unwrap();
        self.client_builder()
            .with_client_auth_cert(vec![self.agent.0.clone()], key)
            .unwrap()
    }

    pub(crate) fn dialler(&self, limits: Limits) -> Dialler {
        let config = self.client();
        Dialler::new(Arc::new(move || Ok(config.clone())), limits).unwrap()
    }

    pub(crate) fn agent_certificate(&self) -> CertificateDer<'static> {
        self.agent.0.clone()
    }

    /// A client that shows no certificate.
    pub(crate) fn nobody(&self, limits: Limits) -> Dialler {
        let config = self.client_builder().with_no_client_auth();
        Dialler::new(Arc::new(move || Ok(config.clone())), limits).unwrap()
    }
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

pub(crate) fn target(address: SocketAddr) -> Target {
    Target {
        addresses: vec![address],
        name: ServerName::try_from(NODE).unwrap(),
    }
}

/// A TCP and a UDP socket with the same number.
pub(crate) async fn both() -> (TcpListener, std::net::UdpSocket) {
    loop {
        let tcp = TcpListener::bind(loopback(0)).await.unwrap();
        if let Ok(udp) = std::net::UdpSocket::bind(tcp.local_addr().unwrap()) {
            udp.set_nonblocking(true).unwrap();
            return (tcp, udp);
        }
    }
}

/// The TLS side of a node: every tunnel that comes in.
pub(crate) fn serve_tls(
    listener: TcpListener,
    identities: &Identities,
    limits: Limits,
) -> mpsc::Receiver<Tunnel> {
    let (give, tunnels) = mpsc::channel(16);
    let acceptor = TlsAcceptor::from(Arc::new(identities.server()));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tcp.set_nodelay(true).unwrap();
            let (acceptor, give) = (acceptor.clone(), give.clone());
            tokio::spawn(async move {
                if let Ok(tls) = acceptor.accept(tcp).await {
                    let _ = give.send(Tunnel::accept_over(tls, limits)).await;
                }
            });
        }
    });
    tunnels
}

/// A tunnel over QUIC: the agent's end, the node's, and what must live as long.
pub(crate) async fn quic_pair(limits: Limits) -> (Tunnel, Tunnel, (QuicListener, Dialler)) {
    let identities = Identities::new();
    let node = QuicListener::bind(loopback(0), identities.server(), limits).unwrap();
    let dialler = identities.dialler(limits);
    let target = target(node.local_addr().unwrap());
    let (agent, peer) = tokio::join!(dialler.quic(&target), node.accept());
    (agent.unwrap(), peer.unwrap().tunnel, (node, dialler))
}

/// The same over TLS.
pub(crate) async fn tls_pair(limits: Limits) -> (Tunnel, Tunnel, (mpsc::Receiver<Tunnel>, Dialler)) {
    let identities = Identities::new();
    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    let target = target(listener.local_addr().unwrap());
    let mut node = serve_tls(listener, &identities, limits);
    let dialler = identities.dialler(limits);
    let (agent, peer) = tokio::join!(dialler.tls(&target), node.recv());
    (agent.unwrap(), peer.unwrap(), (node, dialler))
}

/// Forwards UDP and TCP on one number to another until it is told to be silent: then nothing passes, and nobody is told.
pub(crate) async fn relay(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let (tcp, udp) = both().await;
    let address = tcp.local_addr().unwrap();
    let (silence, silent) = watch::channel(false);
    let inner = Arc::new(UdpSocket::bind(loopback(0)).await.unwrap());
    inner.connect(to).await.unwrap();
    let outer = Arc::new(UdpSocket::from_std(udp).unwrap());
    {
        let (inner, outer, silent) = (Arc::clone(&inner), Arc::clone(&outer), silent.clone());
        tokio::spawn(async move {
            let mut buffer = vec![0; 65536];
            let mut back: Option<SocketAddr> = None;
            let mut answer = vec![0; 65536];
            loop {
                tokio::select! {
                    Ok((count, from)) = outer.recv_from(&mut buffer) => {
                        back = Some(from);
                        if !*silent.borrow() {
                            let _ = inner.send(&buffer[..count]).await;
                        }
                    }
                    Ok(count) = inner.recv(&mut answer) => {
                        if let Some(back) = back && !*silent.borrow() {
                            let _ = outer.send_to(&answer[..count], back).await;
                        }
                    }
                }
            }
        });
    }
    tokio::spawn(async move {
        while let Ok((near, _)) = tcp.accept().await {
            let silent = silent.clone();
            tokio::spawn(async move {
                let far = TcpStream::connect(to).await?;
                let (mut near, mut far) = (near, far);
                let (mut from_near, mut to_near) = near.split();
                let (mut from_far, mut to_far) = far.split();
                tokio::try_join!(
                    pump(&mut from_near, &mut to_far, silent.clone()),
                    pump(&mut from_far, &mut to_near, silent),
                )?;
                Ok::<_, io::Error>(())
            });
        }
    });
    (address, silence)
}

async fn pump(
    from: &mut (impl tokio::io::AsyncReadExt + Unpin),
    to: &mut (impl tokio::io::AsyncWriteExt + Unpin),
    mut silent: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if silent.wait_for(|silent| !silent).await.is_err() || count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// Waits for something that must come true soon.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("never came true");
}
