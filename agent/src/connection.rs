//! One user's connection to this host: what its channels share, what they may do, and what ends them.

use crate::account::{self, Account};
use crate::server::Shared;
use crate::uplink::Declined;
use palisade_core::access::{Ability, Refusal};
use palisade_core::event::{Event, EventKind};
use palisade_core::name::Login;
use palisade_core::pass::{LoginPass, Pass};
use palisade_core::record::RecordingSite;
use palisade_core::time::Timestamp;
use palisade_session::ssh::russh::server::Handle;
use palisade_session::ssh::serve::{Ending, Places, Stop};
use palisade_session::ssh::stream::Egress;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the certificate's end and the idle limit are looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// Audit entries of one connection's refusals. Whoever provokes more is told to go.
const REFUSALS: u64 = 1000;

/// A user on this host.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// Who records it: this agent (`node`), or the node that made it (`proxy`). It stays so when the pass changes.
    pub(crate) site: RecordingSite,
    pass: Mutex<Arc<Pass>>,
    /// Changes with each new decision.
    decided: watch::Sender<u64>,
    who: OnceLock<(Login, Account)>,
    /// Of the user's connection.
    pub(crate) egress: Arc<Egress>,
    /// Ends everything of this connection.
    pub(crate) stop: Stop,
    pub(crate) places: Places,
    user: OnceLock<Handle>,
    /// What we listen on for this user, and what ends it.
    pub(crate) listeners: Mutex<HashMap<String, Stop>>,
    /// Whether the client can be reached: a connection that is resumable goes on without it for a while.
    linked: watch::Receiver<bool>,
    /// They have joined the session that they came for.
    joined: AtomicBool,
    /// How the connection ended, once it has.
    ending: watch::Sender<Option<Ending>>,
    refusals: AtomicU64,
    /// Milliseconds after `born` at which the user last did something.
    active_ms: AtomicU64,
    born: Instant,
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        pass: Pass,
        egress: Arc<Egress>,
        linked: watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Connection {
            site: pass.site(),
            shared,
            pass: Mutex::new(Arc::new(pass)),
            decided: watch::Sender::new(0),
            who: OnceLock::new(),
            egress,
            stop: Stop::default(),
            places: Places::default(),
            user: OnceLock::new(),
            listeners: Mutex::default(),
            linked,
            joined: AtomicBool::new(false),
            ending: watch::Sender::new(None),
            refusals: AtomicU64::new(0),
            active_ms: AtomicU64::new(0),
            born: Instant::now(),
        })
    }

    pub(crate) fn pass(&self) -> Arc<Pass> {
        Arc::clone(&self.pass.lock())
    }

    /// A new decision about this connection.
    pub(crate) fn revise(&self, decision: Result<Pass, String>) {
        match decision {
            Ok(pass) => {
                *self.pass.lock() = Arc::new(pass);
                self.decided.send_modify(|n| *n += 1);
            }
            Err(reason) => self.stop.stop(&reason),
        }
    }

    /// Notes as whom the user logged in, and how to open channels to them.
    pub(crate) fn logged_in(&self, login: Login, account: Account) -> bool {
        self.touch();
        self.who.set((login, account)).is_ok()
    }

    pub(crate) fn answers_to(&self, user: Handle) {
        let _ = self.user.set(user);
    }

    /// To open channels to the user with.
    pub(crate) fn user(&self) -> Option<&Handle> {
        self.user.get()
    }

    /// Whether the client can be reached now, and its changes.
    pub(crate) fn linked(&self) -> watch::Receiver<bool> {
        self.linked.clone()
    }

    /// True the first time: whoever comes to join a session joins it once.
    pub(crate) fn joins(&self) -> bool {
        !self.joined.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn account(&self) -> Option<&Account> {
        self.who.get().map(|(_, account)| account)
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.who.get().map(|(login, _)| login)
    }

    /// The user did something.
    pub(crate) fn touch(&self) {
        let ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.active_ms.store(ms, Ordering::Relaxed);
    }

    /// What the user may do as the login of this connection, if they may still log in.
    pub(crate) fn login_pass(&self) -> Result<LoginPass, String> {
        let pass = self.pass();
        if pass.join().is_some() {
            return Err("this connection is for joining a session, and for nothing else".into());
        }
        let login = self.login().ok_or("not logged in")?;
        let found = pass.login(login.as_str());
        found.cloned().ok_or_else(|| {
            format!(
                "login {login} is not allowed on {} any more",
                self.shared.config.host
            )
        })
    }

    /// Whether the ability is in the pass.
    pub(crate) fn allows(&self, ability: Ability) -> Result<LoginPass, String> {
        let pass = self.login_pass()?;
        if pass.abilities.contains(&ability) {
            Ok(pass)
        } else if !pass.require_session_join.is_empty() {
            Err(unmoderated(&pass, ability.as_str()))
        } else {
            Err(format!("{} is not allowed by your roles", ability.as_str()))
        }
    }

    /// Asks for an ability. A refusal is audited.
    pub(crate) async fn ask(&self, ability: Ability, target: &str) -> Result<LoginPass, String> {
        let verdict = self.allows(ability);
        if let Err(reason) = &verdict {
            self.refused(ability.as_str(), target, reason).await;
        }
        verdict
    }

    /// Ready with the reason when the ability was taken away.
    pub(crate) async fn taken_away(&self, ability: Ability) -> String {
        let mut decided = self.decided.subscribe();
        loop {
            if let Err(reason) = self.allows(ability) {
                return reason;
            }
            if decided.changed().await.is_err() {
                // It cannot be: the sender is `self`.
                return String::new();
            }
        }
    }

    /// Audits the refusal of a channel or request.
    pub(crate) async fn refused(&self, what: &str, target: &str, reason: &str) {
        if self.refusals.fetch_add(1, Ordering::Relaxed) >= REFUSALS {
            self.stop.stop("too many refused requests on one connection");
            return;
        }
        let event = self
            .event(EventKind::ChannelRefused)
            .target(target)
            .message(reason)
            .with("wanted", what);
        self.audit_refusal(event).await;
    }

    /// Writes events; nothing that needs them happens before.
    pub(crate) async fn audit(&self, events: Vec<Event>) -> Result<(), Declined> {
        if self.site == RecordingSite::Proxy {
            // The node that made the connection writes what happens in it.
            return Ok(());
        }
        self.shared.uplink.audit(self.pass().proof(), events).await
    }

    /// Writes a refusal. If that fails the refusal stands, and the log of this host says so.
    pub(crate) async fn audit_refusal(&self, event: Event) {
        let (user, message) = (event.user.clone(), event.message.clone());
        // Also where a node records: what it let through and this host does not is known here alone.
        if let Err(error) = self.shared.uplink.audit(self.pass().proof(), vec![event]).await {
            tracing::warn!(user, error = %error, reason = message, "a refusal could not be audited");
        }
    }

    /// The beginning of every event about this connection.
    pub(crate) fn event(&self, kind: EventKind) -> Event {
        let pass = self.pass();
        let claims = pass.claims();
        let login = self.login().map(Login::as_str).unwrap_or_default();
        Event::new(kind)
            .user(claims.user.as_str())
            .addr(claims.client_addr.as_str())
            .login(login)
            .host(self.shared.config.host.as_str())
    }

    /// Whether the certificate or the user's patience has run out.
    pub(crate) fn over(&self) -> Option<String> {
        let now = self.shared.uplink.now();
        let expired = |ends: Option<Timestamp>| {
            let over = ends.is_some_and(|ends| ends <= now);
            over.then(|| Refusal::CertExpired.to_string())
        };
        if let Some(join) = self.pass().join() {
            // Whoever looks on is not idle.
            return expired(join.ends);
        }
        let pass = self.login_pass().ok()?;
        if let Some(reason) = expired(pass.ends) {
            return Some(reason);
        }
        let most = pass.client_idle_timeout?;
        let active = Duration::from_millis(self.active_ms.load(Ordering::Relaxed));
        let silent = self.born.elapsed().saturating_sub(active);
        (silent >= Duration::from_millis(most.ms())).then(|| format!("nothing happened for {most}"))
    }

    /// Watches what may end the whole connection, and answers with the reason.
    pub(crate) async fn watch(&self) -> String {
        loop {
            if self.login().is_some()
                && let Err(reason) = self.login_pass()
            {
                return reason;
            }
            let joins = self.pass().join().is_some();
            if (joins || self.login().is_some())
                && let Some(reason) = self.over()
            {
                return reason;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) fn ended(&self, how: Ending) {
        // Nothing of it goes on unrecorded while its user is on the way back.
        let how = match self.site {
            RecordingSite::Node => how,
            RecordingSite::Proxy => Ending::Closed,
        };
        self.ending.send_replace(Some(how));
        for listener in self.listeners.lock().values() {
            listener.stop("the user's connection is gone");
        }
    }

    /// How the connection ended; waits until it has.
    pub(crate) async fn ending(&self) -> Ending {
        let mut ending = self.ending.subscribe();
        let ended = ending.wait_for(Option::is_some).await.map(|how| *how);
        ended.ok().flatten().unwrap_or(Ending::Lost)
    }

    /// Looks the account up, where that may wait.
    pub(crate) async fn look_up(&self, login: &Login) -> Result<Account, String> {
        let (login, today) = (login.to_string(), self.shared.uplink.now().secs() / 86_400);
        let today = i64::try_from(today).unwrap_or(i64::MAX);
        let found = tokio::task::spawn_blocking(move || account::look_up(&login, today)).await;
        found
            .map_err(|_| "the account could not be looked up".to_owned())?
            .map_err(|e| e.to_string())
    }
}

/// Why something is refused to somebody whose sessions others have to join.
pub(crate) fn unmoderated(pass: &LoginPass, what: &'static str) -> String {
    let needs = pass.require_session_join.to_string();
    Refusal::Unmoderated { needs, what }.to_string()
}
