//! SSH connections that we make: to hosts from a node, and to a node from a person's machine.

use super::channel_io::ChannelIo;
use super::config;
use super::stream::{Back, Egress, Transport};
use russh::client::{DisconnectReason, Handle, Handler, Msg};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::{Certificate, HashAlg};
use russh::keys::{PrivateKey, PublicKey};
use russh::{Channel, ChannelOpenFailure};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use russh::keys::PublicKeyOrCertificate as HostKey;

/// The originator that a client names when it wants the way to a host on its own TCP connection instead of a channel
/// of it: see [`Connection::way`]. No program that forwards a connection names this.
pub const WAY_ORIGIN: &str = "way@palisade/1";

/// The last words of a node on a connection that becomes the way to a host.
pub const WAY_OPEN: &str = "palisade: the way is open";

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("cannot reach {addr}")]
    Unreachable {
        /// Where.
        addr: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Nobody answered in time.
    #[error("{addr} does not answer within {} ms", after.as_millis())]
    Timeout {
        /// Where.
        addr: String,
        /// How long we waited.
        after: Duration,
    },
    /// The other end is not who it should be.
    #[error("{addr} does not prove its identity: {reason}")]
    Untrusted {
        /// Where.
        addr: String,
        /// What is wrong with its key.
        reason: String,
    },
    /// Our certificate was not accepted.
    #[error("{addr} does not accept the certificate for {user}")]
    Denied {
        /// Where.
        addr: String,
        /// As whom.
        user: String,
    },
    /// The node refuses the host.
    #[error("{0}")]
    Refused(String),
    /// The SSH protocol failed.
    #[error("ssh with {addr} failed")]
    Ssh {
        /// Where.
        addr: String,
        /// The cause.
        #[source]
        source: russh::Error,
    },
}

/// Decides about the key a server proves to have; the error is shown to the person.
pub trait CheckHostKey: Send + Sync {
    /// `Ok` if the key belongs to the server that was meant.
    fn check(&self, key: &HostKey) -> Result<(), String>;
}

/// Accepts a node of the cluster: a host certificate by one of the cluster's host authorities that names it.
#[derive(Debug, Clone)]
pub struct NodeCheck {
    authorities: Vec<PublicKey>,
    names: Vec<String>,
}

impl NodeCheck {
    /// The host authorities of the cluster, and names of which the certificate must hold one.
    pub fn new(authorities: Vec<PublicKey>, names: Vec<String>) -> Self {
        NodeCheck { authorities, names }
    }
}

impl CheckHostKey for NodeCheck {
    fn check(&self, key: &HostKey) -> Result<(), String> {
        let cert = key.certificate().ok_or("it has no host certificate")?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        if cert.cert_type() != CertType::Host {
            return Err("its certificate is not a host certificate".into());
        }
        if !self
            .authorities
            .iter()
            .any(|ca| ca.key_data() == cert.signature_key())
        {
            return Err("its certificate is by an authority that is not this cluster's".into());
        }
        let fingerprint = cert.signature_key().fingerprint(HashAlg::Sha256);
        cert.validate_at(now, [&fingerprint])
            .map_err(|_| "its certificate is expired, not yet valid or damaged")?;
        if !cert.critical_options().is_empty() {
            return Err("its certificate has options that are not known".into());
        }
        let named = |p: &String| self.names.iter().any(|name| name.eq_ignore_ascii_case(p));
        if !cert.valid_principals().iter().any(named) {
            return Err("its certificate is for another name".into());
        }
        Ok(())
    }
}

/// The key and certificate by which we log in.
#[derive(Clone)]
pub struct Identity {
    /// The private key.
    pub key: Arc<PrivateKey>,
    /// The certificate of its public half.
    pub certificate: Certificate,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("key_id", &self.certificate.key_id())
            .finish_non_exhaustive()
    }
}

/// What a connection that we made wants to know of its owner. All have refusing defaults.
pub trait Incoming: Send + 'static {
    /// The host opens a connection that came to a port forwarded with `-R`.
    fn forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        connected: (String, u32),
        origin: (String, u32),
        reply: russh::client::ChannelOpenHandle,
    ) {
        drop((channel, connected, origin, reply));
    }
    /// The host wants to talk to the user's agent.
    fn agent(&mut self, channel: Channel<Msg>, reply: russh::client::ChannelOpenHandle) {
        drop((channel, reply));
    }
}

/// Expects nothing from the server.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;
impl Incoming for Nothing {}

/// The russh handler of connections that we make.
pub struct ClientHandler<I> {
    check: Arc<dyn CheckHostKey>,
    complaint: Arc<Mutex<Option<String>>>,
    /// What the other end said when it ended the connection.
    farewell: Arc<Mutex<Option<String>>>,
    incoming: I,
}

impl<I: Incoming> Handler for ClientHandler<I> {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &HostKey) -> Result<bool, russh::Error> {
        match self.check.check(key) {
            Ok(()) => Ok(true),
            Err(reason) => {
                *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                Ok(false)
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        match reason {
            DisconnectReason::ReceivedDisconnect(said) => {
                *self.farewell.lock().unwrap_or_else(PoisonError::into_inner) = Some(said.message);
                Ok(())
            }
            DisconnectReason::Error(error) => Err(error),
        }
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        connected_address: &str,
        connected_port: u32,
        originator_address: &str,
        originator_port: u32,
        reply: russh::client::ChannelOpenHandle,
        _: &mut russh::client::Session,
    ) -> Result<(), russh::Error> {
        let connected = (connected_address.to_owned(), connected_port);
        self.incoming.forwarded_tcpip(
            channel,
            connected,
            (originator_address.to_owned(), originator_port),
            reply,
        );
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: russh::client::ChannelOpenHandle,
        _: &mut russh::client::Session,
    ) -> Result<(), russh::Error> {
        self.incoming.agent(channel, reply);
        Ok(())
    }

    // A server has no business opening any other channel; the library would accept these by default.
    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: russh::client::ChannelOpenHandle,
        _: &mut russh::client::Session,
    ) -> Result<(), russh::Error> {
        refuse(reply).await
    }
    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: russh::client::ChannelOpenHandle,
        _: &mut russh::client::Session,
    ) -> Result<(), russh::Error> {
        refuse(reply).await
    }
    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: russh::client::ChannelOpenHandle,
        _: &mut russh::client::Session,
    ) -> Result<(), russh::Error> {
        refuse(reply).await
    }
    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: russh::client::ChannelOpenHandle,
        _: &mut russh::client::Session,
    ) -> Result<(), russh::Error> {
        refuse(reply).await
    }
    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: russh::client::ChannelOpenHandle,
        _: &mut russh::client::Session,
    ) -> Result<(), russh::Error> {
        refuse(reply).await
    }
}

async fn refuse(reply: russh::client::ChannelOpenHandle) -> Result<(), russh::Error> {
    reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    Ok(())
}

/// A connection that we made.
pub struct Connection<I: Incoming> {
    handle: Handle<ClientHandler<I>>,
    egress: Arc<Egress>,
    farewell: Arc<Mutex<Option<String>>>,
    shown: String,
    window: u32,
}

impl<I: Incoming> Connection<I> {
    /// Logs in as `user`.
    pub async fn login(&mut self, user: &str, identity: &Identity) -> Result<(), ConnectError> {
        let (key, certificate) = (Arc::clone(&identity.key), identity.certificate.clone());
        let tried = self
            .handle
            .authenticate_openssh_cert(user, key, certificate)
            .await;
        let accepted = tried.map_err(|source| ConnectError::Ssh {
            addr: self.shown.clone(),
            source,
        })?;
        if accepted.success() {
            return Ok(());
        }
        Err(ConnectError::Denied {
            addr: self.shown.clone(),
            user: user.to_owned(),
        })
    }

    /// Makes the connection itself the way to `host:port`: the node ends this SSH session, which said who we are, and
    /// goes on as the host on the same stream. So nothing is encrypted twice and nobody copies in between. `back` is
    /// of the transport under this connection.
    pub async fn way<S>(self, back: Back<S>, host: &str, port: u16) -> Result<S, ConnectError> {
        self.egress.lend();
        let asked = self
            .handle
            .channel_open_direct_tcpip(host, port.into(), WAY_ORIGIN, 0)
            .await;
        let ssh = |source| ConnectError::Ssh {
            addr: self.shown.clone(),
            source,
        };
        match asked {
            Err(russh::Error::ChannelOpenFailure(failure)) => {
                return Err(ConnectError::Refused(failure.description().to_owned()));
            }
            // A channel is not what was asked for.
            Ok(_) => return Err(ssh(russh::Error::Inconsistent)),
            // The session ends, which is the answer.
            Err(_) => {}
        }
        let stream = back.stream().await;
        let said = self
            .farewell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match stream {
            Some(stream) if said.as_deref() == Some(WAY_OPEN) => Ok(stream),
            _ => Err(ssh(russh::Error::Disconnect)),
        }
    }

    /// To open channels with.
    pub fn handle(&self) -> &Handle<ClientHandler<I>> {
        &self.handle
    }

    /// What a channel may hold that its reader has not taken.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// The last words of the other end, once it has ended the connection.
    pub fn farewell(&self) -> Option<String> {
        self.farewell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The gate for bulk data.
    pub fn egress(&self) -> Arc<Egress> {
        Arc::clone(&self.egress)
    }
}

impl<I: Incoming> Drop for Connection<I> {
    fn drop(&mut self) {
        self.egress.kill();
    }
}

/// Opens a TCP connection within a bound, without delay for small packets.
pub async fn dial(addr: SocketAddr, within: Duration) -> Result<TcpStream, ConnectError> {
    let stream = tokio::time::timeout(within, TcpStream::connect(addr))
        .await
        .map_err(|_| ConnectError::Timeout {
            addr: addr.to_string(),
            after: within,
        })?
        .map_err(|source| ConnectError::Unreachable {
            addr: addr.to_string(),
            source,
        })?;
    stream
        .set_nodelay(true)
        .map_err(|source| ConnectError::Unreachable {
            addr: addr.to_string(),
            source,
        })?;
    Ok(stream)
}

/// Shakes hands over `stream`; the other end has proved who it is when this is ready. `shown` names it in errors.
pub async fn handshake<S, I>(
    stream: S,
    shown: &str,
    check: Arc<dyn CheckHostKey>,
    incoming: I,
) -> Result<Connection<I>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    I: Incoming,
{
    handshake_on(Transport::new(stream), shown, check, incoming).await
}

/// As [`handshake`], over a transport of the caller's.
pub async fn handshake_on<S, I>(
    transport: Transport<S>,
    shown: &str,
    check: Arc<dyn CheckHostKey>,
    incoming: I,
) -> Result<Connection<I>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    I: Incoming,
{
    handshake_within(transport, shown, check, incoming, config::WINDOW).await
}

/// As [`handshake_on`], where a channel may hold no more than `window` that its reader has not taken.
pub async fn handshake_within<S, I>(
    transport: Transport<S>,
    shown: &str,
    check: Arc<dyn CheckHostKey>,
    incoming: I,
    window: u32,
) -> Result<Connection<I>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    I: Incoming,
{
    let egress = transport.egress();
    let (complaint, farewell) = (Arc::default(), Arc::default());
    let handler = ClientHandler {
        check,
        complaint: Arc::clone(&complaint),
        farewell: Arc::clone(&farewell),
        incoming,
    };
    let config = Arc::new(config::client_within(true, window));
    let failed = |source| match complaint.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(reason) => ConnectError::Untrusted {
            addr: shown.to_owned(),
            reason,
        },
        None => ConnectError::Ssh {
            addr: shown.to_owned(),
            source,
        },
    };
    let handle = russh::client::connect_stream(config, transport, handler)
        .await
        .map_err(failed)?;
    Ok(Connection {
        handle,
        egress,
        farewell,
        shown: shown.to_owned(),
        window,
    })
}

/// Goes through a node to `host:port` in a channel of the connection to it: what `ssh -J` does.
///
/// `within` bounds only the TCP connection, so that a caller with several nodes can try the next one soon; the rest has
/// the login grace.
pub async fn dial_through(
    node: SocketAddr,
    check: Arc<dyn CheckHostKey>,
    identity: &Identity,
    host: &str,
    port: u16,
    within: Duration,
) -> Result<ChannelIo<Msg>, ConnectError> {
    let shown = node.to_string();
    let stream = dial(node, within).await?;
    let through = async {
        let mut connection = handshake(stream, &shown, check, Nothing).await?;
        connection.login(identity.certificate.key_id(), identity).await?;
        let opened = connection
            .handle()
            .channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0)
            .await;
        match opened {
            Ok(channel) => {
                let egress = connection.egress();
                Ok(ChannelIo::new(channel, egress).keeping(Arc::new(connection)))
            }
            Err(russh::Error::ChannelOpenFailure(failure)) => {
                Err(ConnectError::Refused(failure.description().to_owned()))
            }
            Err(source) => Err(ConnectError::Ssh {
                addr: shown.clone(),
                source,
            }),
        }
    };
    tokio::time::timeout(config::LOGIN_GRACE, through)
        .await
        .map_err(|_| ConnectError::Timeout {
            addr: shown.clone(),
            after: config::LOGIN_GRACE,
        })?
}
