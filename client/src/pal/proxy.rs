//! `pal proxy ssh`: what OpenSSH runs as its ProxyCommand. Goes through whichever node answers first.
//!
//! Once the node knows who we are, our TCP connection to it becomes the way to the host. With `ProxyUseFdpass` ssh gets
//! that connection itself and we are gone; otherwise we copy.

use super::ssh::Target;
use crate::errors::Failure;
use crate::profile::Profile;
use crate::race::{STAGGER, first_ok};
use palisade_core::record::HostAddr;
use palisade_session::ssh::client::{
    ConnectError, Connection, Identity, NodeCheck, Nothing, dial, handshake_on,
};
use palisade_session::ssh::keys::ssh_key::{Certificate, PrivateKey, PublicKey};
use palisade_session::ssh::stream::{Back, Transport};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;

/// How long one address may take to accept a connection; the next node is tried long before.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a node may take to prove itself, and again to let us in and open the way.
const GRACE: Duration = Duration::from_secs(15);
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
    let target = Target::parse(&args.target)?;
    let suffix = format!(".{}", profile.meta.cluster);
    let host = target.host.strip_suffix(&suffix).unwrap_or(&target.host);
    let stream = open(profile, host, target.port.unwrap_or(22)).await?;
    if args.pass_fd {
        return pass(&stream).map_err(|e| {
            Failure::new(
                format!("the connection could not be handed to ssh: {e}"),
                "--pass-fd is for ssh with `ProxyUseFdpass yes`: use what `pal config` prints",
            )
        });
    }
    let (from_node, to_node) = stream.into_split();
    let broken = |e: std::io::Error| {
        Failure::new(
            format!("the connection broke: {e}"),
            "try again: another node takes over",
        )
    };
    // Pipes are moved without a thread between; anything else the slow way.
    let input: Pin<Box<dyn AsyncRead>> = match own_pipe(std::io::stdin(), pipe::Receiver::from_owned_fd) {
        Some(pipe) => Box::pin(pipe),
        None => Box::pin(tokio::io::stdin()),
    };
    let output: Pin<Box<dyn AsyncWrite>> = match own_pipe(std::io::stdout(), pipe::Sender::from_owned_fd) {
        Some(pipe) => Box::pin(pipe),
        None => Box::pin(tokio::io::stdout()),
    };
    // The node's side ends the connection; the end of our input only closes that direction.
    let up = async {
        let done = pump(input, to_node).await;
        match done {
            Ok(()) => std::future::pending().await,
            Err(e) => Err::<(), _>(e),
        }
    };
    tokio::select! {
        biased;
        down = pump(from_node, output) => down.map_err(broken),
        up = up => up.map_err(broken),
    }
}

/// Sends a descriptor over standard output, which ssh has made a socket.
fn pass(stream: &TcpStream) -> std::io::Result<()> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let passed = [stream.as_raw_fd()];
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

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            n => {
                to.write_all(&buffer[..n]).await?;
                to.flush().await?;
            }
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
