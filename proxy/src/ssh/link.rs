//! One user's connection to one host: what its channels share, and what ends it.

use crate::ssh::host;
use crate::ssh::live::Stop;
use crate::ssh::node::{Node, Refused, Who};
use crate::ssh::outer::{ChannelPlace, prohibited};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use palisade_core::access::{Ability, Permit};
use palisade_core::event::EventKind;
use palisade_core::name::Login;
use palisade_core::record::{HostSpec, Record};
use palisade_session::ssh::client::{Connection, Incoming};
use palisade_session::ssh::relay::{BytesOnly, End, Progress, relay};
use palisade_session::ssh::russh::{self, Channel, client, server};
use palisade_session::ssh::stream::Egress;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

pub(crate) type HostConnection = Connection<FromHost>;
type Dialled = Shared<BoxFuture<'static, Result<Arc<HostConnection>, Arc<str>>>>;

/// How often the certificate's end and the idle limit are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How often everything is decided anew without a change of the policy: records run out by themselves.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A user on a host.
pub(crate) struct Link {
    pub(crate) node: Arc<Node>,
    pub(crate) who: Who,
    pub(crate) login: Login,
    pub(crate) host: Record<HostSpec>,
    /// Of the user's connection.
    pub(crate) egress: Arc<Egress>,
    /// Ends everything of this link.
    pub(crate) stop: Stop,
    pub(crate) channels: Arc<AtomicUsize>,
    user: OnceLock<server::Handle>,
    dialled: OnceLock<Dialled>,
    /// What the user asked the host to listen on.
    forwards: Mutex<BTreeSet<(String, u32)>>,
    /// What is in use, and therefore asked again when the policy changes.
    abilities: Mutex<BTreeSet<Ability>>,
    /// Milliseconds after `born` at which the user last did something.
    active_ms: AtomicU64,
    born: Instant,
}

impl Link {
    pub(crate) fn new(
        node: Arc<Node>,
        who: Who,
        login: Login,
        host: Record<HostSpec>,
        egress: Arc<Egress>,
        stop: Stop,
    ) -> Arc<Self> {
        Arc::new(Link {
            node,
            who,
            login,
            host,
            egress,
            stop,
            channels: Arc::default(),
            user: OnceLock::new(),
            dialled: OnceLock::new(),
            forwards: Mutex::default(),
            abilities: Mutex::default(),
            active_ms: AtomicU64::new(0),
            born: Instant::now(),
        })
    }

    /// The user did something.
    pub(crate) fn touch(&self) {
        let ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.active_ms.store(ms, Ordering::Relaxed);
    }

    /// Asks for an ability, and if it is granted keeps asking whenever the policy changes. A refusal is audited.
    pub(crate) async fn ask(&self, ability: Ability, target: &str) -> Result<Permit, Refused> {
        let verdict = self.node.decide(&self.who, &self.login, &self.host, ability);
        match &verdict {
            Ok(_) => {
                self.abilities.lock().insert(ability);
            }
            Err(refused) => self.refused(ability.as_str(), target, &refused.to_string()).await,
        }
        verdict
    }

    /// Audits the refusal of a channel or request.
    pub(crate) async fn refused(&self, what: &str, target: &str, reason: &str) {
        let event = self
            .event(EventKind::ChannelRefused)
            .target(target)
            .message(reason)
            .with("wanted", what);
        self.node.audit_refusal(&self.who, event).await;
    }

    pub(crate) fn event(&self, kind: EventKind) -> palisade_core::event::Event {
        self.who
            .event(kind)
            .login(self.login.as_str())
            .host(self.host.metadata.name.as_str())
    }

    /// Begins to dial the host, while the client still thinks about its first channel.
    pub(crate) fn begin(self: &Arc<Self>, permit: Permit, user: server::Handle) {
        let _ = self.user.set(user);
        let link = Arc::downgrade(self);
        let (node, who) = (Arc::clone(&self.node), self.who.clone());
        let dial = async move {
            let dialled = host::dial(&node, &who, &permit, FromHost(link.clone())).await;
            let failed = match dialled {
                Ok(connection) => return Ok(Arc::new(connection)),
                Err(error) => error,
            };
            let cause = failed
                .source()
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            let reason = format!("{failed}{cause}");
            if let Some(link) = link.upgrade() {
                let event = link.event(EventKind::HostRefused).message(&*reason);
                link.node.audit_refusal(&link.who, event).await;
            }
            Err(Arc::from(reason))
        };
        let dialled = dial.boxed().shared();
        // Driven by itself: the first channel may come late or never.
        self.node.tasks.spawn(dialled.clone().map(drop));
        let _ = self.dialled.set(dialled);
    }

    /// The connection to the host.
    pub(crate) async fn host(&self) -> Result<Arc<HostConnection>, Arc<str>> {
        match self.dialled.get() {
            Some(dialled) => dialled.clone().await,
            None => Err(Arc::from("the host was not dialled")),
        }
    }

    /// Lets go of the connection to the host, after the user is gone.
    pub(crate) fn end(&self, reason: &str) {
        self.stop.stop(reason);
        if let Some(Some(Ok(connection))) = self.dialled.get().map(Shared::peek) {
            connection.egress().kill();
        }
    }

    /// Whether the host was asked to listen there.
    pub(crate) fn forwards(&self) -> &Mutex<BTreeSet<(String, u32)>> {
        &self.forwards
    }

    /// Watches what may end the link, and answers with the reason: policy, certificate, idleness.
    pub(crate) async fn watch(&self) -> String {
        let mut seen = self.node.consensus.policy_version();
        let mut permits = Vec::new();
        let mut ask_at = Instant::now();
        loop {
            if ask_at <= Instant::now() {
                match self.ask_again() {
                    // A node that cannot decide now goes by what it last decided.
                    Ok(none) if none.is_empty() => {}
                    Ok(now) => permits = now,
                    Err(reason) => return reason,
                }
                ask_at = Instant::now() + ASK_AGAIN;
            }
            if let Some(reason) = self.over(&permits) {
                return reason;
            }
            tokio::select! {
                now = self.node.consensus.policy_changed(seen) => {
                    seen = now;
                    ask_at = Instant::now();
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Whether the certificate or the user's patience has run out.
    fn over(&self, permits: &[Permit]) -> Option<String> {
        let now = self.node.consensus.now();
        if permits.iter().filter_map(Permit::ends).any(|ends| ends <= now) {
            return Some("your certificate has expired: run `pal login`".into());
        }
        let most = permits
            .iter()
            .filter_map(|p| p.options().client_idle_timeout)
            .min()?;
        let active = Duration::from_millis(self.active_ms.load(Ordering::Relaxed));
        let silent = self.born.elapsed().saturating_sub(active);
        (silent >= Duration::from_millis(most.ms())).then(|| format!("nothing happened for {most}"))
    }

    /// Decides anew about everything in use. A node that cannot decide keeps what runs.
    fn ask_again(&self) -> Result<Vec<Permit>, String> {
        let mut abilities = self.abilities.lock().clone();
        // `Connect` looks at the certificate's end whatever the role says; what runs has its own rule.
        abilities.remove(&Ability::Connect);
        abilities.insert(Ability::Exec);
        let mut permits = Vec::new();
        for ability in abilities {
            match self.node.decide(&self.who, &self.login, &self.host, ability) {
                Ok(permit) => permits.push(permit),
                Err(Refused::Unavailable(_)) => {}
                Err(refused) => return Err(refused.to_string()),
            }
        }
        Ok(permits)
    }

    /// Couples a forwarded connection: `open` gets the far channel, once the near one is known to be wanted.
    pub(crate) async fn forward<U, H>(&self, user: End<U>, host: End<H>)
    where
        U: From<(russh::ChannelId, russh::ChannelMsg)> + Send + Sync + 'static,
        H: From<(russh::ChannelId, russh::ChannelMsg)> + Send + Sync + 'static,
    {
        let progress = Progress::default();
        let stop = async {
            self.stop.stopped().await;
            String::new()
        };
        let couple = relay(user, host, BytesOnly, &progress, stop);
        tokio::pin!(couple);
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        let mut before = 0;
        loop {
            tokio::select! {
                _ = &mut couple => return,
                _ = beat.tick() => {
                    let now = progress.input.load(Ordering::Relaxed) + progress.output.load(Ordering::Relaxed);
                    if now != before {
                        self.touch();
                        before = now;
                    }
                }
            }
        }
    }
}

/// Channels that the host opens.
pub(crate) struct FromHost(Weak<Link>);

impl Incoming for FromHost {
    fn forwarded_tcpip(
        &mut self,
        channel: Channel<client::Msg>,
        connected: (String, u32),
        origin: (String, u32),
        reply: client::ChannelOpenHandle,
    ) {
        let Some(link) = self.0.upgrade() else { return };
        let tasks = link.node.tasks.clone();
        tasks.spawn(async move {
            // Port 0 was replaced by the port that the host chose when it answered.
            let asked = link
                .forwards
                .lock()
                .iter()
                .any(|(addr, port)| *port == connected.1 && same_listener(addr, &connected.0));
            if !asked {
                let reason = "the host opened a forwarded connection that nobody asked for";
                link.refused(
                    "forwarded-tcpip",
                    &format!("{}:{}", connected.0, connected.1),
                    reason,
                )
                .await;
                reply.reject(prohibited(reason)).await;
                return;
            }
            let opened = match link.user.get() {
                Some(user) => {
                    user.channel_open_forwarded_tcpip(&connected.0, connected.1, &origin.0, origin.1)
                        .await
                }
                None => Err(russh::Error::Disconnect),
            };
            link.couple_from_host(channel, reply, opened).await;
        });
    }

    fn agent(&mut self, channel: Channel<client::Msg>, reply: client::ChannelOpenHandle) {
        let Some(link) = self.0.upgrade() else { return };
        let tasks = link.node.tasks.clone();
        tasks.spawn(async move {
            let allowed = link.abilities.lock().contains(&Ability::AgentForward);
            if !allowed {
                let reason = "agent forwarding was not allowed on this connection";
                link.refused("auth-agent@openssh.com", "", reason).await;
                reply.reject(prohibited(reason)).await;
                return;
            }
            let opened = match link.user.get() {
                Some(user) => user.channel_open_agent().await,
                None => Err(russh::Error::Disconnect),
            };
            link.couple_from_host(channel, reply, opened).await;
        });
    }
}

impl Link {
    async fn couple_from_host(
        &self,
        channel: Channel<client::Msg>,
        reply: client::ChannelOpenHandle,
        opened: Result<Channel<server::Msg>, russh::Error>,
    ) {
        let place = ChannelPlace::take(&self.channels);
        let (Ok(user), Some(_place), Ok(host)) = (opened, place, self.host().await) else {
            reply.reject(russh::ChannelOpenFailure::ConnectFailed).await;
            return;
        };
        reply.accept().await;
        let user = End {
            channel: user,
            egress: Arc::clone(&self.egress),
        };
        self.forward(
            user,
            End {
                channel,
                egress: host.egress(),
            },
        )
        .await;
    }
}

/// sshd names the address as it was asked for, except that it may spell out what "all" and "local" mean.
fn same_listener(asked: &str, named: &str) -> bool {
    let any = |a: &str| matches!(a, "" | "*" | "0.0.0.0" | "::");
    let local = |a: &str| matches!(a, "localhost" | "127.0.0.1" | "::1");
    asked == named || (any(asked) && (any(named) || local(named))) || (local(asked) && local(named))
}
