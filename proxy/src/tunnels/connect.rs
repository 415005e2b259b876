//! A client's link to a host: who they are, whether they may, and the way to the agent.

use super::way::{HopStream, NoWay, splice};
use super::{Tunnels, unavailable};
use crate::ssh::node::{Refused, Who};
use palisade_core::access::Refusal;
use palisade_core::command::{Actor, Command};
use palisade_core::event::{Event, EventKind};
use palisade_core::name::Name;
use palisade_core::pass::{Claims, Pass};
use palisade_core::record::{HostSpec, Record, RecordingSite};
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
    Asked,
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
            Ok(_) | Err(No::Asked) => ClientAnswer::Agent,
            Err(No::Plain) => ClientAnswer::Plain,
            Err(No::Refused(why)) => ClientAnswer::Refused(why.clone()),
            Err(No::Unavailable(why)) => ClientAnswer::Unavailable(why.clone()),
        };
        let told = write_message(&mut stream, &answer, MESSAGE_BYTES_MAX).await;
        if let (Ok(()), Ok(agent)) = (told, way) {
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
    ) -> Result<Box<dyn HopStream>, No> {
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
        let host = match self.node.find_host(&who, &hello.host, u32::from(hello.port)) {
            Ok(host) => host,
            Err(refused) => {
                self.refuse(&who, &hello.host, &refused.to_string()).await;
                return Err(refused.into());
            }
        };
        // Recorded at a node it is reached as a plain OpenSSH server is: the user's SSH ends here.
        if self.node.site(&host.spec)? == RecordingSite::Proxy {
            return Err(No::Plain);
        }
        if hello.asks_only {
            return Err(No::Asked);
        }
        let pass = match self.pass(&who, &host, &hello.connection) {
            Ok(pass) => pass,
            Err(refused) => {
                self.refuse(&who, host.metadata.name.as_str(), &refused.to_string())
                    .await;
                return Err(refused.into());
            }
        };
        self.open_for(&who, &host, pass, false)
            .await
            .map_err(|why| match why {
                NoWay::Refused(why) => No::Refused(why),
                other => No::Unavailable(other.to_string()),
            })
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
        let claims = Claims {
            connection: connection.to_owned(),
            host: host.metadata.name.clone(),
            agent,
            user: who.holder.user.clone(),
            credential: who.holder.credential.clone(),
            extensions: who.holder.extensions.clone(),
            client_addr: who.peer.to_string(),
            issued: now,
        };
        let pass = Pass::decide(claims, host, &view, now, |bytes| self.prove(bytes))?;
        if pass.proof().is_empty() {
            return Err(Refused::Other(
                "the pass could not be sealed: try another node".into(),
            ));
        }
        Ok(pass)
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

/// For messages that name a refusal of policy.
impl From<Refusal> for No {
    fn from(why: Refusal) -> Self {
        No::Refused(why.to_string())
    }
}
