//! Forwarded connections: `-L`, `-D`, `-R`, with ports and with sockets.

use crate::as_user::{self, Do};
use crate::connection::Connection;
use palisade_core::access::Ability;
use palisade_core::event::EventKind;
use palisade_session::ssh::channel_io::ChannelIo;
use palisade_session::ssh::russh::server::{ChannelOpenHandle, Handle, Msg};
use palisade_session::ssh::russh::{Channel, ChannelOpenFailure, Error};
use palisade_session::ssh::serve::{Stop, prohibited};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// How long a connection outwards may take to be made.
const DIAL: Duration = Duration::from_secs(20);

/// How much is copied at a time.
const PIECE: usize = 64 << 10;

/// Listeners that one connection may have.
const LISTENERS: usize = 64;

/// Ports that only root may listen on.
const PRIVILEGED: u32 = 1024;

/// How a listener is called: what it is cancelled by.
pub(crate) fn tcp_name(address: &str, port: u32) -> String {
    format!("{address}:{port}")
}

/// Decides about a forward and audits it; the error is the reason.
async fn permit(connection: &Connection, ability: Ability, target: &str) -> Result<(), String> {
    connection.ask(ability, target).await?;
    let event = connection
        .event(EventKind::Forward)
        .target(target)
        .with("kind", ability.as_str());
    // No forwarded byte without its event.
    connection.audit(vec![event]).await.map_err(|e| e.to_string())
}

fn cannot(reason: impl std::fmt::Display) -> ChannelOpenFailure {
    ChannelOpenFailure::Other {
        // SSH_OPEN_CONNECT_FAILED
        code: 2,
        reason: reason.to_string(),
    }
}

/// `-L` and `-D`: the user wants to go on from here to an address.
pub(crate) async fn to_tcp(
    connection: Arc<Connection>,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    host: &str,
    port: u32,
) {
    let shown = format!("{}:{port}", host.escape_debug());
    if let Err(reason) = permit(&connection, Ability::LocalForward, &shown).await {
        return reply.reject(prohibited(&reason)).await;
    }
    let dialled = async {
        let port = u16::try_from(port).map_err(|_| "there is no such port".to_owned())?;
        let stream = tokio::time::timeout(DIAL, TcpStream::connect((host, port)))
            .await
            .map_err(|_| format!("{shown} does not answer"))?
            .map_err(|e| format!("{shown}: {e}"))?;
        let _ = stream.set_nodelay(true);
        Ok::<_, String>(stream)
    };
    match dialled.await {
        Ok(stream) => {
            reply.accept().await;
            couple(&connection, Ability::LocalForward, channel, stream).await;
        }
        Err(reason) => reply.reject(cannot(reason)).await,
    }
}

/// `-L` to a socket: opened as the user.
pub(crate) async fn to_socket(
    connection: Arc<Connection>,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    path: &str,
) {
    let shown = path.escape_debug().to_string();
    if let Err(reason) = permit(&connection, Ability::StreamLocal, &shown).await {
        return reply.reject(prohibited(&reason)).await;
    }
    let opened = async {
        let socket = as_user::socket(&connection, Do::Connect, Path::new(path)).await?;
        let stream = std::os::unix::net::UnixStream::from(socket);
        stream.set_nonblocking(true).map_err(|e| e.to_string())?;
        UnixStream::from_std(stream).map_err(|e| e.to_string())
    };
    match opened.await {
        Ok(stream) => {
            reply.accept().await;
            couple(&connection, Ability::StreamLocal, channel, stream).await;
        }
        Err(reason) => reply.reject(cannot(reason)).await,
    }
}

/// `-R` with a port: what comes to it on this host is carried to the user. Answers with the port.
///
/// As with sshd's usual settings only this host itself reaches the port, whatever address was asked for.
pub(crate) async fn listen_tcp(connection: &Arc<Connection>, address: &str, port: u32) -> Option<u32> {
    let asked = tcp_name(address, port);
    permit(
        connection,
        Ability::RemoteForward,
        &asked.escape_debug().to_string(),
    )
    .await
    .ok()?;
    let root = connection.account().is_some_and(|account| account.uid.is_root());
    if port != 0 && port < PRIVILEGED && !root {
        let reason = "ports below 1024 are root's";
        connection.refused("tcpip-forward", &asked, reason).await;
        return None;
    }
    let port = u16::try_from(port).ok()?;
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let chosen = first.local_addr().ok()?.port();
    // A host may be without the one or the other.
    let second = TcpListener::bind((Ipv6Addr::LOCALHOST, chosen)).await.ok();
    let stop = register(connection, tcp_name(address, chosen.into()))?;
    for listener in [Some(first), second].into_iter().flatten() {
        let (connection, stop, address) = (Arc::clone(connection), stop.clone(), address.to_owned());
        connection.shared.tasks.clone().spawn(async move {
            let next = || async {
                let (stream, from) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((stream, from))
            };
            let open = |user: Handle, (stream, from): (TcpStream, std::net::SocketAddr)| {
                let address = address.clone();
                async move {
                    let (ip, port) = (from.ip().to_string(), u32::from(from.port()));
                    let channel = user
                        .channel_open_forwarded_tcpip(address, chosen.into(), ip, port)
                        .await?;
                    Ok((channel, stream))
                }
            };
            accept(&connection, Ability::RemoteForward, &stop, next, open).await;
        });
    }
    Some(chosen.into())
}

/// `-R` with a socket: made as the user, and removed when it is given up.
pub(crate) async fn listen_socket(connection: &Arc<Connection>, path: &str) -> bool {
    if permit(connection, Ability::StreamLocal, &path.escape_debug().to_string())
        .await
        .is_err()
    {
        return false;
    }
    let listener = match listen_as_user(connection, Do::Listen, Path::new(path)).await {
        Ok(listener) => listener,
        Err(reason) => {
            tracing::debug!(reason, "a socket for a forward could not be made");
            return false;
        }
    };
    let Some(stop) = register(connection, path.to_owned()) else {
        as_user::remove(connection, path.into());
        return false;
    };
    let (connection, path) = (Arc::clone(connection), path.to_owned());
    connection.shared.tasks.clone().spawn(async move {
        let next = || async { listener.accept().await.map(|(stream, _)| stream) };
        let open = |user: Handle, stream: UnixStream| {
            let path = path.clone();
            async move { Ok((user.channel_open_forwarded_streamlocal(path).await?, stream)) }
        };
        accept(&connection, Ability::StreamLocal, &stop, next, open).await;
        as_user::remove(&connection, path.into());
    });
    true
}

/// Listens on a new socket of the file system, as the user.
pub(crate) async fn listen_as_user(
    connection: &Connection,
    how: Do,
    path: &Path,
) -> Result<UnixListener, String> {
    let socket = as_user::socket(connection, how, path).await?;
    let listener = std::os::unix::net::UnixListener::from(socket);
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    UnixListener::from_std(listener).map_err(|e| e.to_string())
}

fn register(connection: &Connection, name: String) -> Option<Stop> {
    let mut listeners = connection.listeners.lock();
    if listeners.len() >= LISTENERS || listeners.contains_key(&name) {
        return None;
    }
    let stop = Stop::default();
    listeners.insert(name, stop.clone());
    Some(stop)
}

/// Gives a listener up. Only those of the same connection are known here.
pub(crate) fn cancel(connection: &Connection, name: &str) -> bool {
    let stop = connection.listeners.lock().remove(name);
    if let Some(stop) = &stop {
        stop.stop("given up");
    }
    stop.is_some()
}

/// Takes what comes to a listener and carries each to the user, until it is given up or not allowed any more.
pub(crate) async fn accept<T, S, Next, Open>(
    connection: &Arc<Connection>,
    ability: Ability,
    stop: &Stop,
    next: impl Fn() -> Next,
    open: impl Fn(Handle, T) -> Open,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Next: Future<Output = io::Result<T>>,
    Open: Future<Output = Result<(Channel<Msg>, S), Error>> + Send + 'static,
{
    loop {
        let came = tokio::select! {
            came = next() => came,
            _ = stop.stopped() => return,
            _ = connection.taken_away(ability) => return,
        };
        let came = match came {
            Ok(came) => came,
            Err(error) => {
                // Out of descriptors, most likely: others finish, so this passes.
                tracing::debug!(error = %error, "a forwarded connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (Some(user), Ok(place)) = (connection.user().cloned(), connection.places.take()) else {
            continue;
        };
        let (connection, opened) = (Arc::clone(connection), open(user, came));
        connection.shared.tasks.clone().spawn(async move {
            if let Ok((channel, stream)) = opened.await {
                couple(&connection, ability, channel, stream).await;
            }
            drop(place);
        });
    }
}

/// Copies both ways until both ends are over, or the ability is taken away.
pub(crate) async fn couple<S>(
    connection: &Arc<Connection>,
    ability: Ability,
    channel: Channel<Msg>,
    stream: S,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut user = ChannelIo::new(channel, Arc::clone(&connection.egress));
    let mut stream = Touching {
        stream,
        connection: Arc::clone(connection),
    };
    tokio::select! {
        _ = copy_bidirectional_with_sizes(&mut user, &mut stream, PIECE, PIECE) => {}
        _ = connection.stop.stopped() => {}
        _ = connection.taken_away(ability) => {}
        _ = connection.ending() => {}
    }
}

/// A stream whose bytes are signs of life of the user's connection.
struct Touching<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Touching<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if polled.is_ready() {
            this.connection.touch();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Touching<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        if polled.is_ready() {
            this.connection.touch();
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
