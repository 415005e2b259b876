//! A client's link to a host, or to a live session there: who they are, whether they may, and the way to the agent.

use super::way::{HopStream, NoWay, splice};
use super::{Tunnels, unavailable};
use crate::ssh::node::{Refused, Who};
use palisade_core::access::{self, JoinAsk, Refusal, View};
use palisade_core::command::{Actor, Command};
use palisade_core::event::{Event, EventKind};
use palisade_core::kv::KvFault;
use palisade_core::name::Name;
use palisade_core::pass::{Claims, Joining, Pass};
use palisade_core::ports::Unavailable;
use palisade_core::record::{
    Completeness, HostSpec, Kind, Record, RecordingSite, RecordingSpec, SessionKind, Spec as _,
};
use palisade_core::state;
use palisade_core::time::Timestamp;
use palisade_core::tunnel::{ClientAnswer, ClientHello, MESSAGE_BYTES_MAX, ToAgent};
use palisade_session::ssh::keys::ssh_key::Certificate;
use palisade_session::tunnel::wire::{read_message, write_message};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a client may take to say where it wants to go.
const FIRST_WORDS: Duration = Duration::from_secs(10);

/// A client's connection, authenticated by TLS.
pub struct ClientLink<S> {
    /// The connection.
    pub stream: S,
    /// The user that the client certificate names.
    pub user: Name,
    /// Where it comes from.
    pub addr: SocketAddr,
}

/// What stands in the way of a link.
enum No {
    Plain,
    /// Nothing does, and nothing more was asked.
    Asked(ClientAnswer),
    Refused(String),
    Unavailable(String),
}

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unavailable(why) => No::Unavailable(unavailable(&why)),
            other => No::Refused(other.to_string()),
        }
    }
}

impl Tunnels {
    /// Serves a client's link until it ends.
    pub async fn serve_client<S: HopStream>(self: Arc<Self>, link: ClientLink<S>) {
        let ClientLink {
            mut stream,
            user,
            addr,
        } = link;
        let hello = read_message::<ClientHello>(&mut stream, MESSAGE_BYTES_MAX);
        let Ok(Ok(Some(hello))) = tokio::time::timeout(FIRST_WORDS, hello).await else {
            return;
        };
        let way = self.way(&hello, &user, addr).await;
        let answer = match &way {
            Ok((yes, _)) | Err(No::Asked(yes)) => yes.clone(),
            Err(No::Plain) => ClientAnswer::Plain,
            Err(No::Refused(why)) => ClientAnswer::Refused(why.clone()),
            Err(No::Unavailable(why)) => ClientAnswer::Unavailable(why.clone()),
        };
        let told = write_message(&mut stream, &answer, MESSAGE_BYTES_MAX).await;
        if let (Ok(()), Ok((_, agent))) = (told, way) {
            tokio::select! {
                _ = splice(&mut stream, agent) => {}
                // The client finds another node, and goes on where it was.
                () = self.stop.cancelled() => {}
            }
        }
    }

    async fn way(
        &self,
        hello: &ClientHello,
        user: &Name,
        addr: SocketAddr,
    ) -> Result<(ClientAnswer, Box<dyn HopStream>), No> {
        let sound = hello.connection.len() == 32 && hello.connection.bytes().all(|b| b.is_ascii_hexdigit());
        if !sound || hello.ssh_certificate.len() > 16 * 1024 {
            return Err(No::Refused("the request makes no sense".into()));
        }
        let who = match self.who(hello, user, addr) {
            Ok(who) => who,
            Err(why) => {
                self.refuse_stranger(user, addr, hello, &why).await;
                return Err(No::Refused(why));
            }
        };
        let (answer, host, pass) = match &hello.join {
            Some(joining) => {
                let (host, pass) = self.join_way(hello, joining, &who).await?;
                (ClientAnswer::Joins(host.metadata.name.clone()), host, pass)
            }
            None => {
                let (host, pass) = self.host_way(hello, &who).await?;
                (ClientAnswer::Agent, host, pass)
            }
        };
        match self.open_for(&who, &host, pass, false).await {
            Ok(agent) => Ok((answer, agent)),
            Err(NoWay::Refused(why)) => Err(No::Refused(why)),
            Err(other) => Err(No::Unavailable(other.to_string())),
        }
    }

    /// To a host, as whoever they may be there.
    async fn host_way(&self, hello: &ClientHello, who: &Who) -> Result<(Record<HostSpec>, Pass), No> {
        let host = match self.node.find_host(who, &hello.host, u32::from(hello.port)) {
            Ok(host) => host,
            Err(refused) => {
                self.refuse(who, &hello.host, &refused.to_string()).await;
                return Err(refused.into());
            }
        };
        // Recorded at a node it is reached as a plain OpenSSH server is: the user's SSH ends here.
        if self.node.site(&host.spec)? == RecordingSite::Proxy {
            return Err(No::Plain);
        }
        if hello.asks_only {
            return Err(No::Asked(ClientAnswer::Agent));
        }
        match self.pass(who, &host, &hello.connection) {
            Ok(pass) => Ok((host, pass)),
            Err(refused) => {
                self.refuse(who, host.metadata.name.as_str(), &refused.to_string())
                    .await;
                Err(refused.into())
            }
        }
    }

    /// To a live session, and to nothing else there.
    async fn join_way(
        &self,
        hello: &ClientHello,
        joining: &Joining,
        who: &Who,
    ) -> Result<(Record<HostSpec>, Pass), No> {
        match self.pass_to_join(hello, joining, who).await {
            Ok((host, _)) if hello.asks_only => Err(No::Asked(ClientAnswer::Joins(host.metadata.name))),
            Ok(found) => Ok(found),
            Err(refused) => {
                let event = who
                    .event(EventKind::SessionRefused)
                    .session(joining.session.as_str())
                    .target("join")
                    .message(refused.to_string())
                    .with("mode", joining.mode.as_str());
                self.node.audit_refusal(who, event).await;
                Err(refused.into())
            }
        }
    }

    async fn pass_to_join(
        &self,
        hello: &ClientHello,
        joining: &Joining,
        who: &Who,
    ) -> Result<(Record<HostSpec>, Pass), Refused> {
        let mut live = self.joinable(joining)?;
        if live.is_none() {
            // It may have begun a moment ago, at another node.
            self.node.consensus.barrier().await?;
            live = self.joinable(joining)?;
        }
        let Joinable { row, owner, host } = live.ok_or_else(|| not_joinable(joining))?;
        let view = self.node.view(who)?;
        let now = self.node.consensus.now();
        let ask = JoinAsk {
            credential: &who.holder.credential,
            client: Some(who.peer.ip()),
            session: &joining.session,
            owner: &owner,
            login: &row.login,
            host: &row.host,
            mode: joining.mode,
            again: false,
        };
        let permit = access::decide_join(&ask, &view, now)?;
        // What follows only those read who may join.
        let agent = match &host.spec.agent {
            Some(agent) if row.at_agent => agent.id,
            _ => {
                return Err(Refused::Other(format!(
                    "session {} at {} is recorded by a node (a plain OpenSSH server, or `site: proxy`): only sessions \
                     that an agent records can be joined. `pal play {0}` shows it while it lives, where your roles allow that",
                    joining.session, row.host
                )));
            }
        };
        if row.session_kind != SessionKind::Interactive {
            return Err(Refused::Other(
                "only sessions with a terminal can be joined".into(),
            ));
        }
        let claims = claims(who, &host, agent, &hello.connection, now);
        sealed(Pass::to_join(claims, &permit, |bytes| self.prove(bytes))).map(|pass| (host, pass))
    }

    /// A session that runs, with what is known about its owner and its host; `None` if there is none.
    fn joinable(&self, joining: &Joining) -> Result<Option<Joinable>, Unavailable> {
        let kv = self.node.consensus.kv();
        let fault = |e: KvFault| Unavailable::Fault(e.to_string());
        let row = state::any_record(&*kv, Kind::Recording, joining.session.as_str()).map_err(fault)?;
        let Some(row) = row.and_then(RecordingSpec::from_any) else {
            return Ok(None);
        };
        if row.spec.completeness != Completeness::Live {
            return Ok(None);
        }
        let owner = View::load(&*kv, &row.spec.user).map_err(fault)?;
        let host = state::record::<HostSpec>(&*kv, &row.spec.host).map_err(fault)?;
        Ok(owner.zip(host).map(|(owner, host)| Joinable {
            row: row.spec,
            owner,
            host,
        }))
    }

    /// Decides anew about somebody who is in a session.
    pub(super) fn join_again(
        &self,
        claims: &Claims,
        joining: &Joining,
        view: &View,
    ) -> Result<Pass, Refused> {
        let found = self.joinable(joining)?;
        let Joinable { row, owner, host } = found.ok_or_else(|| not_joinable(joining))?;
        if row.host != claims.host || host.spec.agent.as_ref().map(|agent| agent.id) != Some(claims.agent) {
            return Err(not_joinable(joining));
        }
        let ask = JoinAsk {
            credential: &claims.credential,
            client: None,
            session: &joining.session,
            owner: &owner,
            login: &row.login,
            host: &row.host,
            mode: joining.mode,
            again: true,
        };
        let permit = access::decide_join(&ask, view, self.node.consensus.now())?;
        sealed(Pass::to_join(claims.clone(), &permit, |bytes| self.prove(bytes)))
    }

    /// Opens the way for a pass that was decided.
    pub(crate) async fn open_for(
        &self,
        who: &Who,
        host: &Record<HostSpec>,
        pass: Pass,
        plain: bool,
    ) -> Result<Box<dyn HopStream>, NoWay> {
        let connect = ToAgent::Connect {
            pass: Box::new(pass),
            plain,
        };
        let opened = self.open(&host.metadata.name, &connect).await;
        if let Err(why) = &opened {
            self.refuse(who, host.metadata.name.as_str(), &why.to_string())
                .await;
        }
        opened
    }

    /// Who the certificate in the hello says they are; TLS has proved that they are `user`.
    fn who(&self, hello: &ClientHello, user: &Name, addr: SocketAddr) -> Result<Who, String> {
        let certificate = Certificate::from_openssh(hello.ssh_certificate.trim())
            .map_err(|_| "your SSH certificate is damaged: run `pal login`".to_owned())?;
        let now = self.node.consensus.now();
        let holder = self
            .node
            .authorities
            .check_user(&certificate, addr.ip(), now)
            .map_err(|e| e.to_string())?;
        if holder.user != *user {
            return Err("your two certificates are of different users: run `pal login`".into());
        }
        Ok(Who { holder, peer: addr })
    }

    /// Decides about everything that this user may do on the host.
    pub(crate) fn pass(&self, who: &Who, host: &Record<HostSpec>, connection: &str) -> Result<Pass, Refused> {
        let view = self.node.view(who)?;
        let now = self.node.consensus.now();
        let agent = host.spec.agent.as_ref().map_or(0, |agent| agent.id);
        let claims = claims(who, host, agent, connection, now);
        sealed(Pass::decide(claims, host, &view, now, |bytes| self.prove(bytes))?)
    }

    /// Claims as a proof; empty if the cluster key fails, which no node takes for one.
    pub(super) fn prove(&self, claims: &[u8]) -> Vec<u8> {
        match self.seal.seal(self.context().as_str(), claims) {
            Ok(proof) => proof,
            Err(error) => {
                tracing::error!(error = %error, "claims could not be sealed");
                Vec::new()
            }
        }
    }

    async fn refuse(&self, who: &Who, host: &str, why: &str) {
        let shown: String = host
            .chars()
            .take(128)
            .collect::<String>()
            .escape_debug()
            .to_string();
        let event = who.event(EventKind::SessionRefused).host(shown).message(why);
        self.node.audit_refusal(who, event).await;
    }

    async fn refuse_stranger(&self, user: &Name, addr: SocketAddr, hello: &ClientHello, why: &str) {
        let shown: String = hello
            .host
            .chars()
            .take(128)
            .collect::<String>()
            .escape_debug()
            .to_string();
        let event = Event::new(EventKind::SessionRefused)
            .user(user.as_str())
            .addr(addr.to_string())
            .host(shown)
            .message(why);
        let actor = Actor {
            name: user.to_string(),
            addr: addr.to_string(),
        };
        let consensus = &self.node.consensus;
        let command = Command::Audit { events: vec![event] };
        if let Err(error) = consensus.propose(actor, consensus.new_id(), command).await {
            tracing::warn!(user = %user, error = %error, "a refusal could not be audited");
        }
    }
}

/// A session that runs.
struct Joinable {
    row: RecordingSpec,
    owner: View,
    host: Record<HostSpec>,
}

fn not_joinable(joining: &Joining) -> Refused {
    Refusal::NotJoinable {
        session: joining.session.clone(),
        mode: joining.mode,
    }
    .into()
}

/// A pass without its proof is none.
fn sealed(pass: Pass) -> Result<Pass, Refused> {
    if pass.proof().is_empty() {
        return Err(Refused::Other(
            "the pass could not be sealed: try another node".into(),
        ));
    }
    Ok(pass)
}

/// For messages that name a refusal of policy.
impl From<Refusal> for No {
    fn from(why: Refusal) -> Self {
        No::Refused(why.to_string())
    }
}

/// What a node has found out about who came, for whom it let through to this agent.
fn claims(who: &Who, host: &Record<HostSpec>, agent: u64, connection: &str, issued: Timestamp) -> Claims {
    Claims {
        connection: connection.to_owned(),
        host: host.metadata.name.clone(),
        agent,
        user: who.holder.user.clone(),
        credential: who.holder.credential.clone(),
        extensions: who.holder.extensions.clone(),
        client_addr: who.peer.to_string(),
        issued,
        join: None,
    }
}
