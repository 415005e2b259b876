//! The way to a host that an agent serves: a byte stream that goes on when the node that carries it dies.

use crate::errors::Failure;
use crate::profile::Profile;
use crate::race::{STAGGER, first_ok};
use crate::tls;
use palisade_core::name::Name;
use palisade_core::pass::Joining;
use palisade_core::record::HostAddr;
use palisade_core::tunnel::{ALPN_CONNECT, ClientAnswer, ClientHello, MESSAGE_BYTES_MAX};
use palisade_session::resume::{self, Dial, DialError, Link, ResumeStream};
use palisade_session::tunnel::wire::{read_message, write_message};
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one node may take to be reached, and again to answer.
const CONNECT: Duration = Duration::from_secs(3);

/// What a node said, or why none did.
#[derive(Debug, thiserror::Error)]
enum NoLink {
    /// The host is a plain OpenSSH server.
    #[error("the host has no agent")]
    Plain,
    /// No; another node would say the same.
    #[error("{0}")]
    Refused(String),
    /// Try another node, or later.
    #[error("{0}")]
    Failed(String),
}

/// How a host is reached.
pub(super) enum Way {
    /// Through its agent.
    Agent(ResumeStream),
    /// By SSH through a node: it is a plain OpenSSH server, or the nodes' HTTPS ports cannot be reached.
    Ssh,
}

/// Finds the way to `host:port`.
pub(super) async fn find(profile: &Profile, host: &str, port: u16) -> Result<Way, Failure> {
    let mut dialler = Dialler::new(profile, host, port)?;
    match dialler.link().await {
        Ok(linked) => dialler.first = Some(linked.link),
        Err(NoLink::Plain | NoLink::Failed(_)) => return Ok(Way::Ssh),
        Err(NoLink::Refused(why)) => {
            return Err(Failure::new(why, "`pal ls` shows the hosts that you may reach"));
        }
    }
    dialler.hello.resumes = true;
    let connected = resume::connect(dialler, resume::Config::default(), None).await;
    connected
        .map(Way::Agent)
        .map_err(|e| Failure::new(format!("no node lets us through: {e}"), "check with `pal status`"))
}

/// Whether the host has an agent. No connection to it is made.
pub(super) async fn has_agent(profile: &Profile, host: &str, port: u16) -> Result<bool, Failure> {
    let mut dialler = Dialler::new(profile, host, port)?;
    dialler.hello.asks_only = true;
    match dialler.link().await {
        Ok(_) => Ok(true),
        Err(NoLink::Plain | NoLink::Failed(_)) => Ok(false),
        Err(NoLink::Refused(why)) => Err(Failure::new(why, "`pal ls` shows the hosts that you may reach")),
    }
}

/// The host of a live session that may be joined. No connection to it is made.
pub(super) async fn host_of(profile: &Profile, joining: &Joining) -> Result<Name, Failure> {
    let mut dialler = Dialler::new(profile, "", 22)?;
    dialler.hello.asks_only = true;
    dialler.hello.join = Some(joining.clone());
    let host = match dialler.link().await {
        Ok(linked) => linked.host,
        Err(why) => return Err(not_joined(&why)),
    };
    host.ok_or_else(|| not_joined(&NoLink::Failed("the nodes are of an older version".into())))
}

/// Joins a live session.
pub(super) async fn join(profile: &Profile, joining: &Joining) -> Result<ResumeStream, Failure> {
    let mut dialler = Dialler::new(profile, "", 22)?;
    dialler.hello.join = Some(joining.clone());
    dialler.first = Some(dialler.link().await.map_err(|why| not_joined(&why))?.link);
    dialler.hello.resumes = true;
    let connected = resume::connect(dialler, resume::Config::default(), None).await;
    connected.map_err(|e| not_joined(&NoLink::Failed(e.to_string())))
}

fn not_joined(why: &NoLink) -> Failure {
    let hint = match why {
        NoLink::Failed(_) => "check with `pal status`",
        NoLink::Plain | NoLink::Refused(_) => "`pal sessions ls` shows those that you may see or join",
    };
    Failure::new(why.to_string(), hint)
}

/// What a node gave us.
struct Linked {
    link: Box<dyn Link>,
    /// The host of the session that is joined.
    host: Option<Name>,
}

/// Dials nodes, in turn and beside each other, for one connection.
struct Dialler {
    nodes: Vec<HostAddr>,
    tls: TlsConnector,
    hello: ClientHello,
    /// Made before it was known that the host has an agent.
    first: Option<Box<dyn Link>>,
}

impl Dialler {
    fn new(profile: &Profile, host: &str, port: u16) -> Result<Self, Failure> {
        let mut config = tls::config(profile.trust()?, Some(&profile.client_certificate()?))?;
        config.alpn_protocols = vec![ALPN_CONNECT.to_vec()];
        let path = profile.ssh_certificate();
        let certificate = std::fs::read_to_string(&path).map_err(|e| Failure::file(&path, "read", &e))?;
        let nodes = profile
            .meta
            .web_addrs
            .iter()
            .filter_map(|addr| HostAddr::parse(addr).ok());
        Ok(Dialler {
            nodes: nodes.collect(),
            tls: TlsConnector::from(Arc::new(config)),
            hello: ClientHello {
                host: host.to_owned(),
                port,
                ssh_certificate: certificate.trim().to_owned(),
                connection: uuid::Uuid::new_v4().simple().to_string(),
                resumes: false,
                asks_only: false,
                join: None,
            },
            first: None,
        })
    }

    /// A link through the first node that has one.
    async fn link(&mut self) -> Result<Linked, NoLink> {
        let found = first_ok(self.nodes.len(), STAGGER, |i| {
            let (node, tls, hello) = (self.nodes[i].clone(), self.tls.clone(), self.hello.clone());
            async move {
                match one(&node, tls, &hello).await {
                    // What is the same at every node ends the race.
                    Err(said @ (NoLink::Plain | NoLink::Refused(_))) => Ok(Err(said)),
                    Err(failed) => Err(failed),
                    Ok(link) => Ok(Ok(link)),
                }
            }
        })
        .await;
        match found {
            Ok((i, said)) => {
                // The node that worked is the first one the next time.
                self.nodes.swap(0, i);
                said
            }
            Err(failed) => {
                let reasons: Vec<_> = failed.into_iter().map(|(_, e)| e.to_string()).collect();
                Err(NoLink::Failed(reasons.join("; ")))
            }
        }
    }
}

async fn one(node: &HostAddr, tls: TlsConnector, hello: &ClientHello) -> Result<Linked, NoLink> {
    let failed = |e: &dyn std::fmt::Display| NoLink::Failed(format!("{node}: {e}"));
    let connecting = async {
        let tcp = TcpStream::connect((node.host(), node.port())).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(node.host().to_owned()).map_err(io::Error::other)?;
        let stream = tls.connect(name, tcp).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_CONNECT) {
            return Err(io::Error::other("the node is of an older version"));
        }
        Ok(stream)
    };
    let mut stream = match tokio::time::timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|e| failed(&e))?,
        Err(_) => return Err(failed(&"no answer in time")),
    };
    let asking = async {
        write_message(&mut stream, hello, MESSAGE_BYTES_MAX).await?;
        read_message::<ClientAnswer>(&mut stream, MESSAGE_BYTES_MAX).await
    };
    // The node may have to find the agent first.
    match tokio::time::timeout(CONNECT * 2, asking).await {
        Ok(Ok(Some(ClientAnswer::Agent))) if hello.join.is_none() => Ok(Linked {
            link: Box::new(stream),
            host: None,
        }),
        Ok(Ok(Some(ClientAnswer::Joins(host)))) => Ok(Linked {
            link: Box::new(stream),
            host: Some(host),
        }),
        Ok(Ok(Some(ClientAnswer::Agent))) => Err(failed(&"it is of an older version")),
        Ok(Ok(Some(ClientAnswer::Plain))) => Err(NoLink::Plain),
        Ok(Ok(Some(ClientAnswer::Refused(why)))) => Err(NoLink::Refused(why)),
        Ok(Ok(Some(ClientAnswer::Unavailable(why)))) => Err(NoLink::Failed(why)),
        Ok(Ok(None)) => Err(failed(&"it closed the connection")),
        Ok(Err(e)) => Err(failed(&e)),
        Err(_) => Err(failed(&"no answer in time")),
    }
}

impl Dial for Dialler {
    async fn dial(&mut self, _: u32) -> Result<Box<dyn Link>, DialError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let linked = self.link().await.map(|linked| linked.link);
        linked.map_err(|why| match why {
            NoLink::Refused(why) => DialError::Never(why),
            NoLink::Plain => DialError::Never("the host has no agent any more".into()),
            NoLink::Failed(why) => DialError::Again(io::Error::other(why)),
        })
    }
}
