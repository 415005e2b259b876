//! The [`Terminals`] port: the node as the SSH client of people who have none.
//!
//! ```text
//! host with an agent:  here ==resumable==> (in memory) --> Tunnels::serve_client --> tunnel --> agent
//! plain OpenSSH host:  here --SSH--> (in memory) --> Proxy::serve_one --> sshd
//! ```
//!
//! Nothing is decided here. What comes out of the memory is served as if it had come by the network from where the person
//! is: the same code decides, records and audits. Their key is made for one connection and lives as long as that.

mod dial;
mod ends;

use crate::consensus::NodeConsensus;
use crate::pages::NodePages;
use dial::{Dialler, LeftBehind, NoLink};
use ends::{File, Keys, NewFile, Screen};
use palisade_ca::AuthorityType;
use palisade_core::audit_log::{self, AuditFault, AuditLog};
use palisade_core::event::EventKind;
use palisade_core::name::{Name, SessionId};
use palisade_core::pass::{JOIN_LOGIN, Joining};
use palisade_core::ports::{
    Consensus, FileReading, FileWanted, FileWriting, Pending, Terminal, TerminalFault, TerminalKey,
    TerminalTarget, TerminalUser, TerminalWanted, Terminals, Unavailable,
};
use palisade_proxy::ssh::Proxy;
use palisade_proxy::tunnels::Tunnels;
use palisade_session::files::client::{FileError, Reading, Writing};
use palisade_session::resume::{self, Event as LinkEvent};
use palisade_session::ssh::client::{
    ConnectError, Connection, Identity, NodeCheck, Nothing, handshake_within,
};
use palisade_session::ssh::keys::ssh_key::Certificate;
use palisade_session::ssh::keys::{PrivateKey, PublicKey};
use palisade_session::ssh::stream::Transport;
use palisade_session::ssh::user::{self, Hearing, NotBegun, Speaking};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a terminal may hold that its person has not taken: beside what the resumable stream keeps.
const TERMINAL_WINDOW: u32 = 512 << 10;
/// The same for a file: over the round-trip time the ceiling of its speed.
const FILE_WINDOW: u32 = 2 << 20;
/// What a terminal's resumable stream keeps in each direction.
const TERMINAL_KEEPS: usize = 256 << 10;
/// What goes over in memory at a time.
const DUPLEX: usize = 64 << 10;
/// How long a host may take to let somebody in.
const LOGIN: Duration = Duration::from_secs(30);
/// How long the start of a session, which is committed before its program runs, may take to be seen here.
const SEEN: Duration = Duration::from_secs(10);
/// Events looked at for it.
const LOOKED_AT_MAX: usize = 20_000;
/// How long a session that somebody comes to may take to say something.
const SILENT: Duration = Duration::from_millis(500);
/// The kind of terminal that browsers are.
const TERM: &str = "xterm-256color";

/// The port.
pub(crate) struct NodeTerminals(pub(crate) Arc<Ways>);

/// What leads to hosts.
pub(crate) struct Ways {
    pub(crate) consensus: Arc<NodeConsensus>,
    pub(crate) pages: Arc<NodePages>,
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) proxy: Proxy,
    /// A name that this node's own SSH port proves.
    pub(crate) name: String,
    pub(crate) stop: CancellationToken,
}

impl Terminals for NodeTerminals {
    fn key(&self) -> Result<Box<dyn TerminalKey>, Unavailable> {
        let fault = |e: &dyn std::fmt::Display| Unavailable::Fault(e.to_string());
        let key = palisade_ca::generate_ssh_key().map_err(|e| fault(&e))?;
        let public = key.public_key().to_openssh().map_err(|e| fault(&e))?;
        Ok(Box::new(OneKey {
            node: Arc::clone(&self.0),
            key,
            public,
        }))
    }
}

/// A key for one connection.
struct OneKey {
    node: Arc<Ways>,
    key: PrivateKey,
    public: String,
}

impl TerminalKey for OneKey {
    fn public_key(&self) -> &str {
        &self.public
    }

    fn terminal(
        self: Box<Self>,
        user: TerminalUser,
        wanted: TerminalWanted,
    ) -> Pending<'static, Result<Terminal, TerminalFault>> {
        Box::pin(async move {
            let (node, person) = self.person(user)?;
            node.terminal(person, wanted).await
        })
    }

    fn read(
        self: Box<Self>,
        user: TerminalUser,
        wanted: FileWanted,
    ) -> Pending<'static, Result<FileReading, TerminalFault>> {
        Box::pin(async move {
            let (node, person) = self.person(user)?;
            let channel = node.sftp(person, &wanted).await?;
            let reading = Reading::open(channel, &wanted.path).await.map_err(file_fault)?;
            Ok(FileReading {
                size: reading.size(),
                bytes: Box::new(File(reading)),
            })
        })
    }

    fn write(
        self: Box<Self>,
        user: TerminalUser,
        wanted: FileWanted,
    ) -> Pending<'static, Result<Box<dyn FileWriting>, TerminalFault>> {
        Box::pin(async move {
            let (node, person) = self.person(user)?;
            let channel = node.sftp(person, &wanted).await?;
            let writing = Writing::open(channel, &wanted.path).await.map_err(file_fault)?;
            Ok(Box::new(NewFile(writing)) as Box<dyn FileWriting>)
        })
    }
}

/// Somebody, with what proves it.
struct Person {
    user: Name,
    addr: SocketAddr,
    line: String,
    identity: Identity,
}

impl OneKey {
    fn person(self: Box<Self>, user: TerminalUser) -> Result<(Arc<Ways>, Person), TerminalFault> {
        let certificate = Certificate::from_openssh(&user.certificate).map_err(|_| {
            TerminalFault::Unavailable("the certificate for this connection is damaged".into())
        })?;
        let person = Person {
            user: user.user,
            addr: user.addr,
            line: user.certificate,
            identity: Identity {
                key: Arc::new(self.key),
                certificate,
            },
        };
        Ok((self.node, person))
    }
}

/// Where a connection leads.
struct Way<'a> {
    host: &'a str,
    port: u16,
    login: &'a str,
    join: Option<&'a Joining>,
    window: u32,
}

impl Ways {
    async fn terminal(
        self: &Arc<Self>,
        person: Person,
        wanted: TerminalWanted,
    ) -> Result<Terminal, TerminalFault> {
        let serial = person.identity.certificate.serial();
        let (host, port, login, join, again) = match &wanted.target {
            TerminalTarget::Host { host, port, login } => (host.as_str(), *port, login.as_str(), None, None),
            TerminalTarget::Again { session, host, login } => {
                (host.as_str(), 22, login.as_str(), None, Some(session))
            }
            TerminalTarget::Join(joining) => ("", 22, JOIN_LOGIN, Some(joining), None),
        };
        let way = Way {
            host,
            port,
            login,
            join,
            window: TERMINAL_WINDOW,
        };
        let (told, notices) = mpsc::channel(8);
        let Linked {
            connection,
            host,
            left,
        } = self.connect(person, &way, Some(told)).await?;
        let asked = user::Terminal {
            term: TERM,
            columns: wanted.columns,
            rows: wanted.rows,
            session: again.map(SessionId::as_str),
        };
        let (mut hearing, speaking) = user::shell(Arc::new(connection), asked)
            .await
            .map_err(not_begun)?;
        let session = match &wanted.target {
            TerminalTarget::Host { .. } => self.session_of(serial, &mut hearing).await?,
            TerminalTarget::Again { session, .. } | TerminalTarget::Join(Joining { session, .. }) => {
                match hearing.refused(SILENT).await {
                    Some(why) => return Err(TerminalFault::Refused(why)),
                    None => session.clone(),
                }
            }
        };
        Ok(Terminal {
            session,
            host,
            output: Box::new(Screen::new(hearing, notices, self.stop.clone())),
            input: Arc::new(Keys { speaking, left }),
        })
    }

    async fn sftp(
        self: &Arc<Self>,
        person: Person,
        wanted: &FileWanted,
    ) -> Result<(Hearing, Speaking), TerminalFault> {
        let way = Way {
            host: &wanted.host,
            port: wanted.port,
            login: wanted.login.as_str(),
            join: None,
            window: FILE_WINDOW,
        };
        let linked = self.connect(person, &way, None).await?;
        // Nobody comes back to a transfer.
        linked.left.store(false, Ordering::SeqCst);
        user::subsystem(Arc::new(linked.connection), "sftp")
            .await
            .map_err(not_begun)
    }

    /// The authorities that vouch for hosts.
    fn host_authorities(&self) -> Result<Vec<PublicKey>, TerminalFault> {
        let fault = |e: &dyn std::fmt::Display| {
            tracing::error!(error = %e, "the host authority cannot be read");
            TerminalFault::Unavailable("this node cannot tell whether it sees the right host".into())
        };
        let public = palisade_ca::public_authority(self.consensus.store(), AuthorityType::Host);
        let line = public.map_err(|e| fault(&e))?.ssh_public_key;
        palisade_ca::parse_trusted_keys(line.as_deref()).map_err(|e| fault(&e))
    }

    /// An SSH connection to a host, logged in.
    async fn connect(
        self: &Arc<Self>,
        person: Person,
        way: &Way<'_>,
        told: Option<mpsc::Sender<String>>,
    ) -> Result<Linked, TerminalFault> {
        let authorities = self.host_authorities()?;
        let mut dialler = Dialler::new(self, &person, way);
        match dialler.link().await {
            Ok((link, host)) => {
                let host = host.map_or_else(|| way.host.to_owned(), |host| host.to_string());
                dialler.first = Some(link);
                dialler.hello.resumes = true;
                self.through_agent(&person.identity, way, dialler, host, authorities, told)
                    .await
            }
            Err(NoLink::Plain) => self.through_proxy(person, way, authorities).await,
            Err(NoLink::Refused(why)) => Err(TerminalFault::Refused(why)),
            Err(NoLink::Failed(why)) => Err(TerminalFault::Unavailable(why)),
        }
    }

    async fn through_agent(
        &self,
        identity: &Identity,
        way: &Way<'_>,
        dialler: Dialler,
        host: String,
        authorities: Vec<PublicKey>,
        told: Option<mpsc::Sender<String>>,
    ) -> Result<Linked, TerminalFault> {
        let observer: Option<resume::Observer> = told.map(|told| {
            let tell = move |_, event: LinkEvent| {
                let line = match event {
                    LinkEvent::Lost(_) => "the way to the host was lost, another one is looked for",
                    LinkEvent::Resumed => "the way to the host is back",
                    LinkEvent::Ended => return,
                };
                // Whoever does not read notices has no use for more of them.
                let _ = told.try_send(line.to_owned());
            };
            Arc::new(tell) as resume::Observer
        });
        let config = resume::Config {
            buffer: match way.window {
                TERMINAL_WINDOW => TERMINAL_KEEPS,
                _ => resume::Config::default().buffer,
            },
            ..resume::Config::default()
        };
        let stream = resume::connect(dialler, config, observer).await;
        let stream = stream.map_err(|e| TerminalFault::Unavailable(format!("no way to {host}: {e}")))?;
        let left = Arc::new(AtomicBool::new(true));
        let stream = LeftBehind {
            stream,
            left: Arc::clone(&left),
        };
        let check = NodeCheck::new(authorities, vec![host.clone()]);
        let connection = login(stream, &host, check, way, identity).await?;
        Ok(Linked {
            connection,
            host,
            left,
        })
    }

    /// To a host whose SSH a node ends, as `pal ssh` goes there: through the node's own SSH server.
    async fn through_proxy(
        self: &Arc<Self>,
        person: Person,
        way: &Way<'_>,
        authorities: Vec<PublicKey>,
    ) -> Result<Linked, TerminalFault> {
        let (near, far) = tokio::io::duplex(DUPLEX);
        let (node, addr) = (Arc::clone(self), person.addr);
        tokio::spawn(async move {
            let stop = node.stop.clone();
            node.proxy.serve_one(far, addr, stop.cancelled()).await;
        });
        let (transport, back) = Transport::lending(near);
        let check = NodeCheck::new(authorities.clone(), vec![self.name.clone()]);
        let host = way.host.to_ascii_lowercase();
        let hop = async {
            let shown = "this node";
            let mut outer = handshake_within(transport, shown, Arc::new(check), Nothing, FILE_WINDOW).await?;
            let identity = &person.identity;
            outer.login(identity.certificate.key_id(), identity).await?;
            outer.way(back, way.host, way.port).await
        };
        let stream: DuplexStream = match tokio::time::timeout(LOGIN, hop).await {
            Ok(hop) => hop.map_err(|e| connect_fault(&e))?,
            Err(_) => {
                return Err(TerminalFault::Unavailable(format!(
                    "{host} does not answer in time"
                )));
            }
        };
        let check = NodeCheck::new(authorities, vec![host.clone()]);
        let connection = login(stream, &host, check, way, &person.identity).await?;
        Ok(Linked {
            connection,
            host,
            left: Arc::default(),
        })
    }

    /// The session that was begun with this certificate; or why it was not. A far end that refuses a shell grants it, and
    /// then says why it ends: only the log knows.
    async fn session_of(
        self: &Arc<Self>,
        serial: u64,
        hearing: &mut Hearing,
    ) -> Result<SessionId, TerminalFault> {
        let until = Instant::now() + SEEN;
        let mut over = None;
        loop {
            if let Some(session) = self.started(serial).await? {
                return Ok(session);
            }
            if let Some(why) = over {
                let unsaid = || "the host began no session, and does not say why".to_owned();
                return Err(TerminalFault::Refused(Option::unwrap_or_else(why, unsaid)));
            }
            if Instant::now() > until {
                let why = "the session was begun, but this node does not see it: try another node";
                return Err(TerminalFault::Unavailable(why.into()));
            }
            tokio::select! {
                why = hearing.over() => {
                    over = Some(why);
                    // What was committed before it ended is seen after this.
                    let _ = self.consensus.barrier().await;
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    }

    /// Looks back through the log for the start of a session by the certificate's serial.
    async fn started(self: &Arc<Self>, serial: u64) -> Result<Option<SessionId>, TerminalFault> {
        let node = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || {
            let (kv, pages) = (node.consensus.kv(), Arc::clone(&node.pages));
            find_start(AuditLog::new(&*kv, &*pages), serial)
        });
        let failed = |e: &dyn std::fmt::Display| {
            tracing::warn!(error = %e, "the audit log could not be looked through for a session");
            TerminalFault::Unavailable("this node cannot read its audit log".into())
        };
        looked.await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))
    }
}

fn find_start(log: AuditLog<'_>, serial: u64) -> Result<Option<SessionId>, AuditFault> {
    let serial = serial.to_string();
    let mut runs = log.runs(0..log.size()?, true)?;
    let mut looked_at = 0;
    while looked_at < LOOKED_AT_MAX
        && let Some(run) = runs.next(|_| true)?
    {
        for (seq, bytes) in run.iter().rev() {
            looked_at += 1;
            let event = audit_log::read(seq, bytes)?;
            let says = |fact: &str| event.data.get(fact) == Some(&serial);
            if event.event == EventKind::SessionStart && says("cert_serial") {
                return Ok(SessionId::parse(&event.session).ok());
            }
            // Nothing began with it before it was issued.
            if event.event == EventKind::CertIssue && says("serial") {
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// Shakes hands and logs in.
async fn login<S>(
    stream: S,
    host: &str,
    check: NodeCheck,
    way: &Way<'_>,
    identity: &Identity,
) -> Result<Connection<Nothing>, TerminalFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let entering = async {
        let transport = Transport::new(stream);
        let mut connection = handshake_within(transport, host, Arc::new(check), Nothing, way.window).await?;
        connection.login(way.login, identity).await?;
        Ok(connection)
    };
    match tokio::time::timeout(LOGIN, entering).await {
        Ok(entered) => entered.map_err(|e| connect_fault(&e)),
        Err(_) => Err(TerminalFault::Unavailable(format!(
            "{host} does not answer in time"
        ))),
    }
}

/// A connection, logged in.
struct Linked {
    connection: Connection<Nothing>,
    host: String,
    /// Whether whoever drops it leaves a session behind to come back to.
    left: Arc<AtomicBool>,
}

fn connect_fault(error: &ConnectError) -> TerminalFault {
    let text = error.to_string();
    match error {
        ConnectError::Refused(_) | ConnectError::Denied { .. } => TerminalFault::Refused(text),
        ConnectError::Unreachable { .. }
        | ConnectError::Timeout { .. }
        | ConnectError::Untrusted { .. }
        | ConnectError::Ssh { .. } => TerminalFault::Unavailable(text),
    }
}

fn not_begun(why: NotBegun) -> TerminalFault {
    match why {
        NotBegun::Refused(why) => TerminalFault::Refused(why),
        NotBegun::Lost => TerminalFault::Unavailable(why.to_string()),
    }
}

fn file_fault(error: FileError) -> TerminalFault {
    let text = error.to_string();
    match error {
        FileError::Refused(_) | FileError::Denied(_) => TerminalFault::Refused(text),
        FileError::NotFound(_) => TerminalFault::NotFound(text),
        FileError::Folder(_) | FileError::Full(_) | FileError::Failed { .. } => TerminalFault::Failed(text),
        FileError::Lost | FileError::Nonsense => TerminalFault::Unavailable(text),
    }
}
