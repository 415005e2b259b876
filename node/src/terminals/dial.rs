//! The links of one connection to an agent: dialled at this node itself, in memory.

use super::{DUPLEX, Person, Way, Ways};
use palisade_core::name::Name;
use palisade_core::tunnel::{ClientAnswer, ClientHello, MESSAGE_BYTES_MAX};
use palisade_proxy::tunnels::ClientLink;
use palisade_session::resume::{Dial, DialError, Link, ResumeStream};
use palisade_session::tunnel::wire::{read_message, write_message};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a node may take to say how a host is reached: it may have to find the agent first.
const HELLO: Duration = Duration::from_secs(6);

/// Why there is no link to an agent.
pub(super) enum NoLink {
    /// The host's SSH is ended by a node.
    Plain,
    Refused(String),
    Failed(String),
}

/// Dials this node itself, in memory, for one connection; again when the way to the agent was lost.
pub(super) struct Dialler {
    node: Arc<Ways>,
    user: Name,
    addr: SocketAddr,
    pub(super) hello: ClientHello,
    /// Made before it was known that the host has an agent.
    pub(super) first: Option<Box<dyn Link>>,
}

impl Dialler {
    pub(super) fn new(node: &Arc<Ways>, person: &Person, way: &Way<'_>) -> Self {
        Dialler {
            node: Arc::clone(node),
            user: person.user.clone(),
            addr: person.addr,
            hello: ClientHello {
                host: way.host.to_owned(),
                port: way.port,
                ssh_certificate: person.line.clone(),
                connection: uuid::Uuid::new_v4().simple().to_string(),
                resumes: false,
                asks_only: false,
                join: way.join.cloned(),
            },
            first: None,
        }
    }

    /// A link, and the host of the session that is joined.
    pub(super) async fn link(&mut self) -> Result<(Box<dyn Link>, Option<Name>), NoLink> {
        let (mut near, far) = tokio::io::duplex(DUPLEX);
        let link = ClientLink {
            stream: far,
            user: self.user.clone(),
            addr: self.addr,
        };
        tokio::spawn(Arc::clone(&self.node.tunnels).serve_client(link));
        let asking = async {
            write_message(&mut near, &self.hello, MESSAGE_BYTES_MAX).await?;
            read_message::<ClientAnswer>(&mut near, MESSAGE_BYTES_MAX).await
        };
        let answer = match tokio::time::timeout(HELLO, asking).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => return Err(NoLink::Failed("this node is stopping".into())),
            Ok(Err(error)) => return Err(NoLink::Failed(error.to_string())),
            Err(_) => return Err(NoLink::Failed("no way to the host was found in time".into())),
        };
        match answer {
            ClientAnswer::Agent => Ok((Box::new(near), None)),
            ClientAnswer::Joins(host) => Ok((Box::new(near), Some(host))),
            ClientAnswer::Plain => Err(NoLink::Plain),
            ClientAnswer::Refused(why) => Err(NoLink::Refused(why)),
            ClientAnswer::Unavailable(why) => Err(NoLink::Failed(why)),
        }
    }
}

impl Dial for Dialler {
    async fn dial(&mut self, _: u32) -> Result<Box<dyn Link>, DialError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        match self.link().await {
            Ok((link, _)) => Ok(link),
            Err(NoLink::Refused(why)) => Err(DialError::Never(why)),
            Err(NoLink::Plain) => Err(DialError::Never("the host has no agent any more".into())),
            Err(NoLink::Failed(why)) => Err(DialError::Again(io::Error::other(why))),
        }
    }
}

/// A resumable stream that, unless it is closed on purpose, breaks when it is dropped: at the other end a broken stream is
/// a user who may come back, and one that ended is a user who has left.
pub(super) struct LeftBehind {
    pub(super) stream: ResumeStream,
    pub(super) left: Arc<AtomicBool>,
}

impl Drop for LeftBehind {
    fn drop(&mut self) {
        if self.left.load(Ordering::SeqCst) {
            self.stream.reset();
        }
    }
}

impl AsyncRead for LeftBehind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for LeftBehind {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.left.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
