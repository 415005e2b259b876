//! What every connection at this node shares: ports, limits, live sessions; and the one way to a decision.

use crate::ports::{Authorities, Holder};
use crate::ssh::lanes::Lanes;
use crate::ssh::limits::Limits;
use crate::ssh::live::Live;
use crate::tunnels::Tunnels;
use palisade_core::access::{self, Ability, Ask, Permit, Refusal, View};
use palisade_core::command::{Actor, Command, RefusedCommand, Reply};
use palisade_core::event::{Event, EventKind};
use palisade_core::name::{Login, Name, RequestId};
use palisade_core::ports::{Agents as _, Consensus, Recordings, Unavailable};
use palisade_core::record::{HostSpec, Record, RecordingSite};
use palisade_core::state;
use palisade_core::tunnel::with_presence;
use palisade_session::ssh::keys::PrivateKey;
use palisade_session::ssh::keys::ssh_key::Certificate;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A presented certificate is renewed when it has less than this left.
const RENEW_BEFORE_SECS: u64 = 3600;

/// What is decided by this node's operator rather than by the cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names and addresses under which people reach this node's SSH port.
    pub names: Vec<String>,
    /// How long a client may take to authenticate.
    pub login_grace: Duration,
    /// Connections that may be unauthenticated at a time, from one address.
    pub unauthenticated_per_address: usize,
    /// And from all addresses.
    pub unauthenticated: usize,
    /// Connections in all.
    pub connections: usize,
    /// How long a host may take to answer and to let us in.
    pub host_timeout: Duration,
}

impl Default for Config {
    /// For a node of a few hundred people.
    fn default() -> Self {
        Config {
            names: Vec::new(),
            login_grace: palisade_session::ssh::config::LOGIN_GRACE,
            unauthenticated_per_address: 64,
            unauthenticated: 512,
            connections: 10_000,
            host_timeout: Duration::from_secs(10),
        }
    }
}

pub(crate) struct Node {
    pub(crate) consensus: Arc<dyn Consensus>,
    pub(crate) authorities: Arc<dyn Authorities>,
    pub(crate) recordings: Arc<dyn Recordings>,
    pub(crate) config: Config,
    pub(crate) limits: Arc<Limits>,
    pub(crate) live: Arc<Live>,
    pub(crate) identities: HostIdentities,
    /// Agents of hosts; set once, where there are any.
    pub(crate) tunnels: OnceLock<Weak<Tunnels>>,
    /// Everything that runs for a connection: a stopping node waits for it.
    pub(crate) tasks: TaskTracker,
    /// What connections run on.
    pub(crate) lanes: Lanes,
    /// What the ports run on: whatever they start must outlive a connection, and must not delay one.
    pub(crate) home: Handle,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) holder: Holder,
    pub(crate) peer: SocketAddr,
}

impl Who {
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            name: self.holder.user.to_string(),
            addr: self.peer.to_string(),
        }
    }

    pub(crate) fn event(&self, kind: EventKind) -> Event {
        Event::new(kind)
            .user(self.holder.user.as_str())
            .addr(self.peer.to_string())
    }
}

/// Why something is not done for a user. The text may be shown to them.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Policy(#[from] Refusal),
    #[error(transparent)]
    Command(#[from] RefusedCommand),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("your certificate does not carry {0}: run `pal login` again")]
    Extension(&'static str),
    #[error("{0}")]
    Other(String),
}

impl Node {
    /// What is known about a user now.
    pub(crate) fn view(&self, who: &Who) -> Result<View, Refused> {
        self.consensus.may_decide()?;
        let kv = self.consensus.kv();
        let view = View::load(&*kv, &who.holder.user).map_err(|e| Unavailable::Fault(e.to_string()))?;
        view.ok_or_else(|| Refusal::NoUser(who.holder.user.to_string()).into())
    }

    /// The one decision about anything on a host.
    pub(crate) fn decide(
        &self,
        who: &Who,
        login: &Login,
        host: &Record<HostSpec>,
        ability: Ability,
    ) -> Result<Permit, Refused> {
        let view = self.view(who)?;
        // The record as it is now: a host that was removed or relabelled is not reached by an old connection.
        let kv = self.consensus.kv();
        let current = state::record::<HostSpec>(&*kv, &host.metadata.name)
            .map_err(|e| Unavailable::Fault(e.to_string()))?
            .filter(|now| now.spec == host.spec)
            .ok_or_else(|| Refused::Other(format!("host {} was removed or changed", host.metadata.name)))?;
        if let Some(needed) = ability.extension()
            && !who.holder.extensions.iter().any(|e| e == needed)
        {
            return Err(Refused::Extension(needed));
        }
        let current = self.with_presence(current);
        let ask = Ask {
            credential: &who.holder.credential,
            client: Some(who.peer.ip()),
            login,
            host: &current,
            ability,
        };
        Ok(access::decide(&ask, &view, self.consensus.now())?)
    }

    /// The host a user means by `name:port`, if they may reach it as anybody. Unknown and forbidden look the same.
    pub(crate) fn find_host(&self, who: &Who, name: &str, port: u32) -> Result<Record<HostSpec>, Refused> {
        let view = self.view(who)?;
        if let Some(lock) = view.lock(None, None, self.consensus.now()) {
            return Err(Refusal::Locked(access::lock_text(lock)).into());
        }
        view.check_serial(who.holder.credential.serial)?;
        let kv = self.consensus.kv();
        let fault = |e: palisade_core::kv::KvFault| Unavailable::Fault(e.to_string());
        let wanted = name.trim_matches(['[', ']']).to_ascii_lowercase();
        let named = match Name::parse(&wanted) {
            Ok(name) => state::record::<HostSpec>(&*kv, &name).map_err(fault)?,
            Err(_) => None,
        };
        let at = |h: &Record<HostSpec>| h.spec.addr.as_ref().map(|addr| u32::from(addr.port()));
        let found = match named.filter(|h| port == 22 || at(h) == Some(port)) {
            Some(host) => Some(host),
            // Only who asks by address pays for looking at every host.
            None => state::records::<HostSpec>(&*kv)
                .map_err(fault)?
                .into_iter()
                .find(|h| at(h) == Some(port) && h.spec.addr.as_ref().is_some_and(|a| a.host() == wanted)),
        };
        let found = found.map(|host| self.with_presence(host));
        let allowed = found.filter(|host| !view.logins_on(host, self.consensus.now()).is_empty());
        allowed.ok_or_else(|| {
            let shown: String = wanted.chars().filter(|c| c.is_ascii_graphic()).take(80).collect();
            Refused::Other(format!(
                "you have no access to a host {shown}:{port}: `pal ls` shows yours"
            ))
        })
    }

    /// A host as decisions see it: with its agent's own labels.
    pub(crate) fn with_presence(&self, host: Record<HostSpec>) -> Record<HostSpec> {
        if host.spec.agent.is_none() {
            return host;
        }
        let presence = self
            .tunnels()
            .and_then(|tunnels| tunnels.agent(&host.metadata.name));
        with_presence(host, presence.as_ref())
    }

    /// Where sessions at a host are recorded, and so where the user's SSH to it ends.
    pub(crate) fn site(&self, host: &HostSpec) -> Result<RecordingSite, Refused> {
        let config = state::recording_config(&*self.consensus.kv());
        let config = config.map_err(|e| Unavailable::Fault(e.to_string()))?;
        Ok(RecordingSite::of(host, &config))
    }

    pub(crate) fn tunnels(&self) -> Option<Arc<Tunnels>> {
        self.tunnels.get()?.upgrade()
    }

    /// Proposes a command, from whatever thread.
    pub(crate) async fn commit(
        &self,
        actor: Actor,
        id: RequestId,
        command: Command,
    ) -> Result<Reply, Unavailable> {
        let consensus = Arc::clone(&self.consensus);
        let proposed = self
            .home
            .spawn(async move { consensus.propose(actor, id, command).await });
        proposed
            .await
            .unwrap_or_else(|_| Err(Unavailable::Unknown("this node is stopping".into())))
    }

    /// Proposes a command for a user; a refusal by the state machine is an error here.
    pub(crate) async fn propose(&self, who: &Who, command: Command) -> Result<u64, Refused> {
        let reply = self.commit(who.actor(), self.consensus.new_id(), command).await?;
        Ok(reply.done()?)
    }

    /// Commits an event of something that was refused or happened.
    pub(crate) async fn audit(&self, who: &Who, event: Event) -> Result<(), Refused> {
        self.propose(who, Command::Audit { events: vec![event] })
            .await
            .map(drop)
    }

    /// Commits a refusal. The refusal stands whether or not the log can be written; a loss is logged.
    pub(crate) async fn audit_refusal(&self, who: &Who, event: Event) {
        if let Err(error) = self.audit(who, event).await {
            tracing::warn!(user = %who.holder.user, error = %error, "a refusal could not be audited");
        }
    }
}

/// What is presented to users, by the first of its names.
#[derive(Default)]
pub(crate) struct HostIdentities(tokio::sync::Mutex<HashMap<String, (PrivateKey, Certificate)>>);

impl Node {
    /// The node's key under a certificate for these names. Kept and renewed; each new one is audited first.
    pub(crate) async fn host_identity(&self, names: &[String]) -> Result<(PrivateKey, Certificate), Refused> {
        let first = names.first().cloned().unwrap_or_default();
        let now = self.consensus.now();
        let mut kept = self.identities.0.lock().await;
        if let Some((key, certificate)) = kept.get(&first)
            && certificate.valid_before() > now.secs() + RENEW_BEFORE_SECS
            && names.iter().all(|name| {
                certificate
                    .valid_principals()
                    .iter()
                    .any(|p| p.eq_ignore_ascii_case(name))
            })
        {
            return Ok((key.clone(), certificate.clone()));
        }
        let identity = self
            .authorities
            .host_identity(names, now)
            .map_err(|e| Refused::Other(e.to_string()))?;
        let event = Event::new(EventKind::HostCertIssue)
            .target(&*first)
            .with("purpose", "proxy")
            .with("principals", names.join(","))
            .with("serial", identity.1.serial());
        let actor = Actor::node(self.consensus.node_id());
        let command = Command::Audit { events: vec![event] };
        let reply = self.commit(actor, self.consensus.new_id(), command).await?;
        reply.done()?;
        kept.insert(first, identity.clone());
        Ok(identity)
    }
}
