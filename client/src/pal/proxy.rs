//! `pal proxy ssh`: what OpenSSH runs as its ProxyCommand. Goes through whichever node answers first.
//!
//! Once the node knows who we are, our TCP connection to it becomes the way to the host. With `ProxyUseFdpass` ssh gets
//! that connection itself and we are gone; otherwise we copy.

use super::join::Mode;
use super::reach::{self, Way};
use super::ssh::Target;
use crate::errors::Failure;
use crate::profile::Profile;
use crate::race::{STAGGER, first_ok};
use palisade_core::name::SessionId;
use palisade_core::pass::Joining;
use palisade_core::record::HostAddr;
use palisade_session::ssh::client::{
    ConnectError, Connection, Identity, NodeCheck, Nothing, dial, handshake_on,
};
use palisade_session::ssh::keys::ssh_key::{Certificate, PrivateKey, PublicKey};
use palisade_session::ssh::stream::{Back, Transport};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

/// How long one address may take to accept a connection; the next node is tried long before.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a node may take to prove itself, and again to let us in and open the way.
const GRACE: Duration = Duration::from_secs(15);
/// How long what ssh wrote last may take to reach the host, once ssh has ended.
const PARTING: Duration = Duration::from_secs(10);
/// Bytes moved at a time.
const PIECE: usize = 256 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct ProxySshArgs {
    /// The cluster that the host is in
    #[arg(long)]
    cluster: Option<String>,
    /// Hand the connection over on standard output and end: what ssh expects with `ProxyUseFdpass yes`
    #[arg(long)]
    pass_fd: bool,
    /// Carry the connection on standard input, which is a socket: what `--pass-fd` leaves behind
    #[arg(long, hide = true, conflicts_with = "pass_fd")]
    on_socket: bool,
    /// Join this live session instead: what `pal join` gives to ssh
    #[arg(long, hide = true, value_name = "SESSION", value_parser = SessionId::parse)]
    join: Option<SessionId>,
    /// As what
    #[arg(long, hide = true, value_enum, default_value_t)]
    mode: Mode,
    /// Where to; the login is decided inside
    #[arg(value_name = "[LOGIN@]HOST:PORT")]
    target: String,
}

pub(super) async fn proxy_ssh(profile: &Profile, args: &ProxySshArgs) -> Result<(), Failure> {
    if args
        .cluster
        .as_ref()
        .is_some_and(|cluster| *cluster != profile.meta.cluster)
    {
        return Err(Failure::usage(
            format!(
                "you are logged in to cluster {}, not to {}",
                profile.meta.cluster,
                args.cluster.as_deref().unwrap_or("")
            ),
            "give the right --proxy, or run `pal login` there",
        ));
    }
    profile.check_valid()?;
    if let Some(session) = &args.join {
        let joining = Joining {
            session: session.clone(),
            mode: args.mode.into(),
        };
        let (from_agent, to_agent) = tokio::io::split(reach::join(profile, &joining).await?);
        return carry(false, from_agent, to_agent).await;
    }
    let target = Target::parse(&args.target)?;
    let suffix = format!(".{}", profile.meta.cluster);
    let host = target.host.strip_suffix(&suffix).unwrap_or(&target.host);
    let port = target.port.unwrap_or(22);
    // A connection that outlives its node needs somebody who looks after it: ssh gets one end of a pair instead.
    if args.pass_fd && reach::has_agent(profile, host, port).await? {
        return leave_behind().map_err(|e| not_handed(&e));
    }
    if !args.pass_fd
        && let Way::Agent(stream) = reach::find(profile, host, port).await?
    {
        let (from_agent, to_agent) = tokio::io::split(stream);
        return carry(args.on_socket, from_agent, to_agent).await;
    }
    let stream = open(profile, host, port).await?;
    if args.pass_fd {
        return pass(stream.as_raw_fd()).map_err(|e| not_handed(&e));
    }
    let (from_node, to_node) = stream.into_split();
    carry(args.on_socket, from_node, to_node).await
}

fn not_handed(e: &std::io::Error) -> Failure {
    Failure::new(
        format!("the connection could not be handed to ssh: {e}"),
        "--pass-fd is for ssh with `ProxyUseFdpass yes`: use what `pal config` prints",
    )
}

/// Starts this program once more, to carry the connection on one end of a pair of sockets; ssh gets the other end, and
/// waits for us to be gone.
fn leave_behind() -> std::io::Result<()> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let words = std::env::args_os().skip(1).map(|word| {
        if word == "--pass-fd" {
            "--on-socket".into()
        } else {
            word
        }
    });
    std::process::Command::new(std::env::current_exe()?)
        .args(words)
        .stdin(OwnedFd::from(ours.try_clone()?))
        .stdout(OwnedFd::from(ours))
        // What is typed at the terminal is for ssh.
        .process_group(0)
        .spawn()?;
    pass(theirs.as_raw_fd())
}

/// Our own standard input, as a socket that goes both ways.
fn own_socket() -> std::io::Result<tokio::net::UnixStream> {
    let own = std::os::unix::net::UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    own.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(own)
}

/// Moves bytes between our own input and output and a stream, until the stream ends.
async fn carry(
    on_socket: bool,
    from_node: impl AsyncRead + Unpin,
    to_node: impl AsyncWrite + Unpin,
) -> Result<(), Failure> {
    let broken = |e: std::io::Error| {
        Failure::new(
            format!("the connection broke: {e}"),
            "try again: another node takes over",
        )
    };
    // An ssh that ends says goodbye to the host, hangs up on its ProxyCommand and does not wait for it. Without the
    // goodbye the host would take its user for somebody who may come back, so it is carried to its end.
    let mut hung_up = signal(SignalKind::hangup()).map_err(broken)?;
    let parted = async {
        hung_up.recv().await;
        tokio::time::sleep(PARTING).await;
    };
    // Pipes are moved without a thread between; anything else the slow way.
    let (input, output): (Pin<Box<dyn AsyncRead>>, Pin<Box<dyn AsyncWrite>>) = if on_socket {
        let (input, output) = own_socket().map_err(broken)?.into_split();
        (Box::pin(input), Box::pin(output))
    } else {
        (
            match own_pipe(std::io::stdin(), pipe::Receiver::from_owned_fd) {
                Some(pipe) => Box::pin(pipe),
                None => Box::pin(tokio::io::stdin()),
            },
            match own_pipe(std::io::stdout(), pipe::Sender::from_owned_fd) {
                Some(pipe) => Box::pin(pipe),
                None => Box::pin(tokio::io::stdout()),
            },
        )
    };
    // The node's side ends the connection; the end of our input only closes that direction.
    let up = async {
        let mut to_node = to_node;
        if let Err(e) = pump(input, &mut to_node).await {
            unless_ssh_left(e, Side::From)?;
            // As after the end of our input: the far side hears of it, and ends.
            let _ = to_node.shutdown().await;
        }
        std::future::pending::<std::io::Result<()>>().await
    };
    let down = async {
        let done = pump(from_node, output).await;
        done.or_else(|e| unless_ssh_left(e, Side::To))
    };
    tokio::select! {
        biased;
        down = down => down.map_err(broken),
        up = up => up.map_err(broken),
        () = parted => Ok(()),
    }
}

/// Which end of a pump failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

/// An ssh that has ended with something unread resets its socket. That is no fault of the connection, and the terminal is
/// somebody else's by then: nothing is said.
fn unless_ssh_left((side, error): (Side, std::io::Error), ssh: Side) -> std::io::Result<()> {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    match error.kind() {
        BrokenPipe | ConnectionReset if side == ssh => Ok(()),
        _ => Err(error),
    }
}

/// Sends a descriptor over standard output, which ssh has made a socket.
fn pass(descriptor: RawFd) -> std::io::Result<()> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let passed = [descriptor];
    // The descriptor has to come with a byte of data.
    sendmsg::<()>(
        std::io::stdout().as_raw_fd(),
        &[IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&passed)],
        MsgFlags::empty(),
        None,
    )?;
    Ok(())
}

fn own_pipe<F: AsFd, P>(fd: F, make: impl Fn(std::os::fd::OwnedFd) -> std::io::Result<P>) -> Option<P> {
    make(fd.as_fd().try_clone_to_owned().ok()?).ok()
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> Result<(), (Side, std::io::Error)> {
    let mut buffer = vec![0; PIECE];
    loop {
        let n = from.read(&mut buffer).await.map_err(|e| (Side::From, e))?;
        let written = async {
            if n == 0 {
                return to.shutdown().await;
            }
            to.write_all(&buffer[..n]).await?;
            to.flush().await
        };
        written.await.map_err(|e| (Side::To, e))?;
        if n == 0 {
            return Ok(());
        }
    }
}

/// A way to `host:port` through the first node that answers; the next is tried if that one fails before it says no.
async fn open(profile: &Profile, host: &str, port: u16) -> Result<TcpStream, Failure> {
    let identity = identity(profile)?;
    let authorities = host_authorities(profile)?;
    let mut nodes: Vec<HostAddr> = profile
        .meta
        .ssh_addrs
        .iter()
        .filter_map(|addr| HostAddr::parse(addr).ok())
        .collect();
    let mut reasons = Vec::new();
    while !nodes.is_empty() {
        let ready = first_ok(nodes.len(), STAGGER, |i| {
            reach(nodes[i].clone(), authorities.clone())
        })
        .await;
        let (i, (connection, back)) = match ready {
            Ok(won) => won,
            Err(failed) => {
                reasons.extend(failed.into_iter().map(|(_, reason)| reason));
                break;
            }
        };
        let opened = tokio::time::timeout(GRACE, enter(connection, back, &identity, host, port)).await;
        match opened {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(ConnectError::Refused(said))) => {
                return Err(Failure::new(said, "`pal ls` shows the hosts that you may reach"));
            }
            Ok(Err(e @ ConnectError::Denied { .. })) => {
                return Err(Failure::new(e.to_string(), "run `pal login`"));
            }
            Ok(Err(e)) => reasons.push(e.to_string()),
            Err(_) => reasons.push(format!("{} did not open the way in time", nodes[i])),
        }
        nodes.remove(i);
    }
    Err(Failure::new(
        format!("no node lets us through: {}", reasons.join("; ")),
        "check with `pal status` and that the nodes run; run `pal login` if the addresses changed",
    ))
}

/// Connects to a node and lets it prove that it is one. No credential of ours goes out yet.
async fn reach(
    node: HostAddr,
    authorities: Vec<PublicKey>,
) -> Result<(Connection<Nothing>, Back<TcpStream>), String> {
    let shown = node.to_string();
    let found = tokio::net::lookup_host((node.host(), node.port())).await;
    let found: Vec<_> = found.map_err(|e| format!("{shown}: {e}"))?.collect();
    let mut last = format!("{shown} has no address");
    for addr in found {
        let check = Arc::new(NodeCheck::new(authorities.clone(), vec![node.host().to_owned()]));
        let connected = async {
            let (transport, back) = Transport::lending(dial(addr, CONNECT).await?);
            let connection = handshake_on(transport, &shown, check, Nothing).await?;
            Ok::<_, ConnectError>((connection, back))
        };
        match tokio::time::timeout(GRACE, connected).await {
            Ok(Ok(reached)) => return Ok(reached),
            Ok(Err(e)) => last = e.to_string(),
            Err(_) => last = format!("{shown} did not answer in time"),
        }
    }
    Err(last)
}

async fn enter(
    mut connection: Connection<Nothing>,
    back: Back<TcpStream>,
    identity: &Identity,
    host: &str,
    port: u16,
) -> Result<TcpStream, ConnectError> {
    connection.login(identity.certificate.key_id(), identity).await?;
    connection.way(back, host, port).await
}

fn identity(profile: &Profile) -> Result<Identity, Failure> {
    let read = |path: std::path::PathBuf| {
        std::fs::read_to_string(&path).map_err(|e| Failure::file(&path, "read", &e))
    };
    let damaged = |_| {
        Failure::new(
            "the saved SSH key or certificate is damaged",
            "run `pal login` again",
        )
    };
    let key = zeroize::Zeroizing::new(read(profile.ssh_key())?);
    Ok(Identity {
        key: Arc::new(PrivateKey::from_openssh(key.as_str()).map_err(damaged)?),
        certificate: Certificate::from_openssh(read(profile.ssh_certificate())?.trim()).map_err(damaged)?,
    })
}

/// The host authorities, from the file that ssh reads as well.
fn host_authorities(profile: &Profile) -> Result<Vec<PublicKey>, Failure> {
    let path = profile.known_hosts();
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::file(&path, "read", &e))?;
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("@cert-authority * "));
    Ok(lines
        .filter_map(|key| PublicKey::from_openssh(key).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixStream;

    /// A socket that is closed with unread bytes is reset, and so the other end reads an error.
    #[tokio::test]
    async fn an_ssh_that_ends_with_something_unread_is_no_broken_connection() {
        let (ssh, ours) = UnixStream::pair().unwrap();
        let (node, mut far) = UnixStream::pair().unwrap();
        let (input, mut output) = ours.into_split();
        output.write_all(b"nobody reads this").await.unwrap();
        drop(ssh);
        let (from_node, to_node) = node.into_split();
        let up = pump(input, to_node).await.unwrap_err();
        assert_eq!(
            (up.0, up.1.kind()),
            (Side::From, std::io::ErrorKind::ConnectionReset)
        );
        assert!(unless_ssh_left(up, Side::From).is_ok());
        far.write_all(b"nor this").await.unwrap();
        let down = pump(from_node, output).await.unwrap_err();
        assert_eq!(
            (down.0, down.1.kind()),
            (Side::To, std::io::ErrorKind::BrokenPipe)
        );
        assert!(unless_ssh_left(down, Side::To).is_ok());
        // The same from the other side is what it says.
        let lost = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(unless_ssh_left((Side::To, lost()), Side::From).is_err());
        assert!(unless_ssh_left((Side::From, lost()), Side::To).is_err());
    }
}
