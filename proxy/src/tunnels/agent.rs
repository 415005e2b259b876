//! One agent's tunnel, as its node sees it. An agent may say that it is there, and write the sessions and recordings of
//! its own host for users whom a node let in; it reads nothing.

use super::{AGENT_GONE, Live, Tunnels, opened};
use palisade_ca::AgentIdentity;
use palisade_core::access::{self, Ability, Ask, Permit};
use palisade_core::command::{Actor, Command, RefusedCommand};
use palisade_core::event::{Event, EventKind};
use palisade_core::name::{Login, Name, SessionId};
use palisade_core::pass::{Claims, Joining};
use palisade_core::ports::Unavailable;
use palisade_core::record::{
    AnyRecord, Completeness, HostSpec, Kind, Labels, LockSpec, NodeSpec, Record, RecordingSpec, SessionKind,
};
use palisade_core::state;
use palisade_core::tunnel::{
    AgentPresence, Answer, Beat, BeatAck, Hello, MESSAGE_BYTES_MAX, Order, SHIP_BYTES_MAX, SessionEnd,
    ToAgent, ToNode,
};
use palisade_session::tunnel::wire::{WireError, read_message, write_message};
use palisade_session::tunnel::{Tunnel, TunnelStream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

/// How long a new tunnel may take to say who is there, and a stream to say what it wants.
const FIRST_WORDS: Duration = Duration::from_secs(5);
/// Requests of one agent that are worked on at a time; more wait in its own tunnel.
const AT_ONCE: usize = 64;
/// Labels and facts of one agent.
const LABELS_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 256;
/// For how long the addresses of nodes are not read again.
const ADDRS_FOR: Duration = Duration::from_secs(1);
/// After a change of the policy, until standings are looked at: changes in a row are one look, not one for each agent.
const SETTLE: Duration = Duration::from_millis(100);
/// How long an agent may take to read an order.
const ORDER: Duration = Duration::from_secs(3);

/// Why a tunnel is not taken, or a request is not granted. The agent logs the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Declined {
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Unavailable(String),
}

impl From<Unavailable> for Declined {
    fn from(why: Unavailable) -> Self {
        Declined::Unavailable(why.to_string())
    }
}

impl From<RefusedCommand> for Declined {
    fn from(why: RefusedCommand) -> Self {
        Declined::Refused(why.to_string())
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, Declined> {
    Err(Declined::Refused(why.into()))
}

fn fault(why: impl std::fmt::Display) -> Declined {
    Declined::Unavailable(why.to_string())
}

/// Tells an agent something.
pub(super) async fn order(tunnel: &Tunnel, order: Order) -> Result<(), WireError> {
    let telling = async {
        let mut stream = tunnel.open().await?;
        let message = ToAgent::Order(order);
        write_message(&mut stream, &message, MESSAGE_BYTES_MAX).await?;
        stream.shutdown().await?;
        // The agent closes its side when it has done what it was told.
        let mut rest = Vec::new();
        stream.take(1).read_to_end(&mut rest).await?;
        Ok(())
    };
    match tokio::time::timeout(ORDER, telling).await {
        Ok(told) => told,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

impl Tunnels {
    /// Serves an agent's tunnel until it ends. TLS has verified the identity's certificate.
    pub async fn serve_agent(self: Arc<Self>, tunnel: Tunnel, identity: AgentIdentity, addr: SocketAddr) {
        if let Err(why) = self.standing(&identity) {
            self.audit_refusal(&identity, addr, "tunnel", &why.to_string())
                .await;
            return tunnel.close();
        }
        let first = async {
            let mut stream = tunnel.accept().await.ok()?;
            match read_message::<ToNode>(&mut stream, MESSAGE_BYTES_MAX)
                .await
                .ok()?
            {
                Some(ToNode::Presence(hello)) if sound(&hello) => Some((stream, hello)),
                _ => None,
            }
        };
        let Ok(Some((stream, hello))) = tokio::time::timeout(FIRST_WORDS, first).await else {
            tracing::warn!(host = %identity.host, client.addr = %addr, "a tunnel did not begin with its agent's presence");
            return tunnel.close();
        };
        let presence = AgentPresence {
            host: identity.host.clone(),
            agent: identity.agent,
            labels: hello.labels,
            facts: hello.facts,
            version: hello.version,
            transport: tunnel.transport().to_string(),
            since: self.node.consensus.now(),
        };
        tracing::info!(host = %identity.host, client.addr = %addr, transport = %presence.transport, "an agent is here");
        let held = self.add(presence, tunnel.clone());
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let requests = async {
            while let Ok(stream) = tunnel.accept().await {
                // Not taken while too much of this agent's is worked on: it waits in its own tunnel.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                    return;
                };
                let (this, identity) = (Arc::clone(&self), identity.clone());
                self.node.tasks.spawn(async move {
                    this.request(stream, &identity, addr).await;
                    drop(place);
                });
            }
        };
        let why = tokio::select! {
            () = requests => "the tunnel ended".to_owned(),
            why = self.beats(stream, &held) => why,
            why = self.watch_standing(&identity) => why,
            () = self.stop.cancelled() => "this node is stopping".to_owned(),
        };
        tunnel.close();
        self.remove(&held);
        tracing::info!(host = %identity.host, why, "an agent is gone from here");
    }

    /// Reads signs of life until they stay out.
    async fn beats(&self, mut stream: TunnelStream, held: &super::Held) -> String {
        let mut told_addrs = Arc::default();
        loop {
            let next = read_message::<Beat>(&mut stream, SHIP_BYTES_MAX);
            let beat = match tokio::time::timeout(AGENT_GONE, next).await {
                Ok(Ok(Some(beat))) => beat,
                Ok(Ok(None)) => return "the agent said goodbye".into(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "the agent fell silent".into(),
            };
            *held.last_beat.lock() = Instant::now();
            if let Some(labels) = beat.labels.filter(small) {
                Arc::make_mut(&mut held.presence.lock()).labels = labels;
                self.changed();
            }
            if let Some(told) = beat.connections {
                let presence = held.presence.lock().clone();
                *held.connections.lock() = opened(self, &presence, told);
            }
            let addrs = self.web_addrs();
            let ack = BeatAck {
                web_addrs: if addrs == told_addrs {
                    Vec::new()
                } else {
                    addrs.to_vec()
                },
                leaving: self.stop.is_cancelled(),
            };
            told_addrs = addrs;
            if let Err(error) = write_message(&mut stream, &ack, MESSAGE_BYTES_MAX).await {
                return error.to_string();
            }
        }
    }

    /// Where the nodes are. Thousands of agents ask each second: it is read once in that time.
    fn web_addrs(&self) -> Arc<Vec<String>> {
        let mut kept = self.web_addrs.lock();
        if let Some((at, addrs)) = &*kept
            && at.elapsed() < ADDRS_FOR
        {
            return Arc::clone(addrs);
        }
        let nodes = state::records::<NodeSpec>(&*self.node.consensus.kv()).unwrap_or_default();
        let addrs: Arc<Vec<_>> = Arc::new(nodes.into_iter().map(|node| node.spec.web_addr).collect());
        *kept = Some((Instant::now(), Arc::clone(&addrs)));
        addrs
    }

    /// Whether the certificate still stands for the host's agent.
    fn standing(&self, identity: &AgentIdentity) -> Result<Record<HostSpec>, Declined> {
        if identity.cluster_id != self.cluster_id {
            return refused("the certificate is of another cluster");
        }
        let kv = self.node.consensus.kv();
        let now = self.node.consensus.now();
        let host = state::record::<HostSpec>(&*kv, &identity.host)
            .map_err(fault)?
            .filter(|host| !host.expired(now));
        let Some(host) = host else {
            return refused(format!("host {} was removed: join it anew", identity.host));
        };
        if host.spec.agent.as_ref().map(|agent| agent.id) != Some(identity.agent) {
            return refused(format!("another agent serves {} now", identity.host));
        }
        let locks = state::records::<LockSpec>(&*kv).map_err(fault)?;
        let locked = locks.iter().find(|lock| {
            let target = &lock.spec.target;
            !lock.expired(now)
                && target.host.as_ref() == Some(&identity.host)
                && target.user.is_none()
                && target.role.is_none()
                && target.login.is_none()
        });
        match locked {
            Some(lock) => refused(format!("locked: {}", access::lock_text(lock))),
            None => Ok(host),
        }
    }

    async fn watch_standing(&self, identity: &AgentIdentity) -> String {
        let consensus = &self.node.consensus;
        let mut seen = consensus.policy_version();
        loop {
            if let Err(Declined::Refused(why)) = self.standing(identity) {
                return why;
            }
            tokio::select! {
                _ = consensus.policy_changed(seen) => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
            seen = consensus.policy_version();
        }
    }

    async fn request(&self, mut stream: TunnelStream, identity: &AgentIdentity, addr: SocketAddr) {
        let message = read_message::<ToNode>(&mut stream, SHIP_BYTES_MAX);
        let Ok(Ok(Some(message))) = tokio::time::timeout(FIRST_WORDS, message).await else {
            return;
        };
        let what = match &message {
            ToNode::Presence(_) => "presence",
            ToNode::Ship { .. } => "recording",
            ToNode::Start { .. } => "session start",
            ToNode::End { .. } => "session end",
            ToNode::Audit { .. } => "events",
        };
        let done = match message {
            ToNode::Presence(_) => refused("an agent says once in a tunnel that it is here"),
            ToNode::Ship { session, seq, bytes } => self.ship(identity, &session, seq, bytes).await,
            ToNode::Start {
                proof,
                row,
                data_key,
                events,
            } => self.start(identity, &proof, *row, &data_key, events).await,
            ToNode::End { proof, end } => self.end_session(identity, &proof, end).await,
            ToNode::Audit { proof, events } => self.events(identity, &proof, events).await,
        };
        let answer = match done {
            Ok(()) => Answer::Done,
            Err(Declined::Unavailable(why)) => Answer::Unavailable(why),
            Err(Declined::Refused(why)) => {
                self.audit_refusal(identity, addr, what, &why).await;
                Answer::Refused(why)
            }
        };
        let told = write_message(&mut stream, &answer, MESSAGE_BYTES_MAX).await;
        if told.is_ok() {
            let _ = stream.shutdown().await;
        }
    }

    async fn audit_refusal(&self, identity: &AgentIdentity, addr: SocketAddr, what: &str, why: &str) {
        let event = Event::new(EventKind::AgentRefused)
            .host(identity.host.as_str())
            .addr(addr.to_string())
            .target(what)
            .message(why);
        let command = Command::Audit { events: vec![event] };
        let actor = actor(&identity.host);
        let consensus = &self.node.consensus;
        if let Err(error) = consensus.propose(actor, consensus.new_id(), command).await {
            tracing::warn!(host = %identity.host, error = %error, "a refusal could not be audited");
        }
    }

    /// The claims behind a proof, which must be about this agent's host.
    fn own_claims(&self, identity: &AgentIdentity, proof: &[u8]) -> Result<Claims, Declined> {
        let claims = self
            .claims(proof)
            .map_err(|_| Declined::Refused("no node of this cluster gave this pass".into()))?;
        if claims.host != identity.host || claims.agent != identity.agent {
            return refused("the pass is for another host");
        }
        Ok(claims)
    }

    /// The same of somebody who has sessions of their own there: whoever joins another's has none.
    fn claims_of_owner(&self, identity: &AgentIdentity, proof: &[u8]) -> Result<Claims, Declined> {
        let claims = self.own_claims(identity, proof)?;
        if claims.join.is_some() {
            return refused("the pass is for joining a session, not for having one");
        }
        Ok(claims)
    }

    async fn ship(
        &self,
        identity: &AgentIdentity,
        session: &SessionId,
        seq: u32,
        bytes: Vec<u8>,
    ) -> Result<(), Declined> {
        let row = self.own_row(identity, session)?;
        if row.spec.completeness == Completeness::Complete {
            return refused("the recording is complete: nothing is added to it");
        }
        self.node.recordings.ship(session, seq, bytes).await?;
        Ok(())
    }

    fn own_row(
        &self,
        identity: &AgentIdentity,
        session: &SessionId,
    ) -> Result<Record<RecordingSpec>, Declined> {
        let found = state::any_record(&*self.node.consensus.kv(), Kind::Recording, session.as_str());
        match found.map_err(fault)? {
            Some(AnyRecord::Recording(row)) if row.spec.host == identity.host && row.spec.at_agent => Ok(row),
            Some(_) => refused("the session is not one of this host's"),
            // Committed a moment ago, and not applied here yet.
            None => Err(Declined::Unavailable(format!(
                "session {session} is not known here yet"
            ))),
        }
    }

    async fn start(
        &self,
        identity: &AgentIdentity,
        proof: &[u8],
        mut row: RecordingSpec,
        data_key: &[u8],
        events: Vec<Event>,
    ) -> Result<(), Declined> {
        let claims = self.claims_of_owner(identity, proof)?;
        let permit = self.decide(&claims, &row.login, ability_of(row.session_kind))?;
        let consensus = &self.node.consensus;
        let session = row.session.clone();
        row.user = claims.user.clone();
        row.host = identity.host.clone();
        row.node = consensus.node_id();
        row.at_agent = true;
        row.client_addr = claims.client_addr.clone();
        row.mode = permit.options().record_session;
        row.started = consensus.now();
        (row.ended, row.completeness) = (None, Completeness::Live);
        (row.chunks, row.output_bytes, row.last_chunk) = (0, 0, String::new());
        row.command = row.command.chars().take(4096).collect();
        let sealed = self.node.recordings.seal_key(&session, data_key)?;
        row.sealed_key = hex::encode(&sealed);
        let login = row.login.clone();
        // Exactly one of them says that the session starts, and it says so first.
        let mut events = events.into_iter();
        let start = events
            .next()
            .filter(|event| event.event == EventKind::SessionStart);
        let Some(start) = start else {
            return refused("a session begins with its session.start event");
        };
        let start = bounded(start)?.with("recorded_at", "agent");
        let mut all = vec![owned(start, &claims, &login, &session)];
        for event in events {
            all.push(checked(event, &claims, Some((&login, &session)))?);
        }
        let name = Name::parse(session.as_str()).map_err(fault)?;
        let max_sessions = permit.options().max_sessions;
        let command = Command::StartSession {
            recording: Box::new(Record::new(name, row)),
            events: all,
            max_sessions,
        };
        let reply = consensus
            .propose(user_actor(&claims), consensus.new_id(), command)
            .await?;
        match reply.done() {
            Ok(_) => Ok(()),
            // Asked again after an answer that got lost: it is this very session that exists.
            Err(RefusedCommand::Exists { .. }) => {
                consensus.barrier().await?;
                self.own_row(identity, &session).and_then(|row| {
                    if row.spec.user == claims.user {
                        Ok(())
                    } else {
                        refused("the session exists")
                    }
                })
            }
            Err(why) => Err(why.into()),
        }
    }

    /// The one decision, about what an agent says that a user does now.
    fn decide(&self, claims: &Claims, login: &Login, ability: Ability) -> Result<Permit, Declined> {
        self.node.consensus.may_decide()?;
        let (view, host) = self.known(claims)?;
        let ask = Ask {
            credential: &claims.credential,
            client: None,
            login,
            host: &host,
            ability,
        };
        access::decide(&ask, &view, self.node.consensus.now())
            .map_err(|why| Declined::Refused(why.to_string()))
    }

    async fn end_session(
        &self,
        identity: &AgentIdentity,
        proof: &[u8],
        end: SessionEnd,
    ) -> Result<(), Declined> {
        let claims = self.claims_of_owner(identity, proof)?;
        let row = self.own_row(identity, &end.session)?;
        if row.spec.user != claims.user {
            return refused("the session is another user's");
        }
        if end.completeness == Completeness::Live {
            return refused("a session that ended is not live");
        }
        let mut events = Vec::new();
        for event in end.events {
            events.push(checked(event, &claims, Some((&row.spec.login, &end.session)))?);
        }
        let command = Command::EndSession {
            session: end.session,
            completeness: end.completeness,
            chunks: end.chunks,
            output_bytes: end.output_bytes,
            last_chunk: end.last_chunk,
            events,
        };
        let consensus = &self.node.consensus;
        let reply = consensus
            .propose(user_actor(&claims), consensus.new_id(), command)
            .await?;
        reply.done()?;
        Ok(())
    }

    async fn events(
        &self,
        identity: &AgentIdentity,
        proof: &[u8],
        events: Vec<Event>,
    ) -> Result<(), Declined> {
        let claims = self.own_claims(identity, proof)?;
        let checked: Result<Vec<_>, _> = events
            .into_iter()
            .map(|event| checked(event, &claims, None))
            .collect();
        let command = Command::Audit { events: checked? };
        let consensus = &self.node.consensus;
        let reply = consensus
            .propose(user_actor(&claims), consensus.new_id(), command)
            .await?;
        reply.done()?;
        Ok(())
    }

    /// What is known of a connection's user and host now; the host with its agent's own labels.
    pub(super) fn known(&self, claims: &Claims) -> Result<(access::View, Record<HostSpec>), Declined> {
        let kv = self.node.consensus.kv();
        let view = access::View::load(&*kv, &claims.user).map_err(fault)?;
        let Some(view) = view else {
            return refused(access::Refusal::NoUser(claims.user.to_string()).to_string());
        };
        let host = state::record::<HostSpec>(&*kv, &claims.host).map_err(fault)?;
        let in_force =
            |host: &Record<HostSpec>| host.spec.agent.as_ref().map(|agent| agent.id) == Some(claims.agent);
        let Some(host) = host.filter(in_force) else {
            return refused(format!("host {} was removed or changed", claims.host));
        };
        Ok((view, self.node.with_presence(host)))
    }
}

impl super::Held {
    pub(super) fn live(&self) -> Vec<Live> {
        self.connections.lock().clone()
    }
}

fn ability_of(kind: SessionKind) -> Ability {
    match kind {
        SessionKind::Interactive => Ability::Shell,
        SessionKind::Exec => Ability::Exec,
        SessionKind::Sftp => Ability::Sftp,
        SessionKind::Forward => Ability::Connect,
    }
}

fn actor(host: &Name) -> Actor {
    Actor {
        name: format!("host:{host}"),
        addr: String::new(),
    }
}

fn user_actor(claims: &Claims) -> Actor {
    Actor {
        name: claims.user.to_string(),
        addr: claims.client_addr.clone(),
    }
}

/// An event about what a connection's user did: who and where are what a node found out, not what an agent says.
fn owned(event: Event, claims: &Claims, login: &Login, session: &SessionId) -> Event {
    event
        .user(claims.user.as_str())
        .addr(claims.client_addr.clone())
        .host(claims.host.as_str())
        .login(login.as_str())
        .session(session.as_str())
}

/// An agent's event, if it is of a kind that agents write, with everything that a node knows better set by it.
fn checked(event: Event, claims: &Claims, of: Option<(&Login, &SessionId)>) -> Result<Event, Declined> {
    if let Some(joining) = &claims.join {
        return joined(event, claims, joining);
    }
    let may = matches!(
        event.event,
        EventKind::SessionEnd
            | EventKind::SessionTerminated
            | EventKind::SessionInterrupted
            | EventKind::SessionRefused
            | EventKind::Exec
            | EventKind::FileTransfer
            | EventKind::FileSummary
            | EventKind::Forward
            | EventKind::ChannelRefused
    );
    if !may {
        return refused(format!("an agent does not write {} events", event.event.name()));
    }
    let event = bounded(event)?;
    Ok(match of {
        Some((login, session)) => owned(event, claims, login, session),
        None => event
            .user(claims.user.as_str())
            .addr(claims.client_addr.clone())
            .host(claims.host.as_str()),
    })
}

/// An event about somebody who joined a session: which, and as what, is in their pass.
fn joined(event: Event, claims: &Claims, joining: &Joining) -> Result<Event, Declined> {
    let may = matches!(
        event.event,
        EventKind::SessionJoin
            | EventKind::SessionLeave
            | EventKind::SessionRefused
            | EventKind::ChannelRefused
    );
    if !may {
        return refused(format!(
            "whoever joins a session causes no {} events",
            event.event.name()
        ));
    }
    Ok(bounded(event)?
        .user(claims.user.as_str())
        .addr(claims.client_addr.clone())
        .host(claims.host.as_str())
        .login("")
        .session(joining.session.as_str())
        .with("mode", joining.mode.as_str()))
}

fn bounded(event: Event) -> Result<Event, Declined> {
    if event.data.len() > LABELS_MAX {
        return refused("an event has too many facts");
    }
    Ok(event)
}

fn small(labels: &Labels) -> bool {
    labels.len() <= LABELS_MAX
        && labels
            .iter()
            .all(|(name, value)| name.len() + value.len() <= LABEL_BYTES_MAX && !name.is_empty())
}

fn sound(hello: &Hello) -> bool {
    small(&hello.labels) && small(&hello.facts) && hello.version.len() <= 64
}
