//! The one way in: who asks, whether they may, and the change they make. No handler decides by itself, and nothing
//! touches a record without the permit that [`Ask::permit`] gives.

use crate::api::App;
use crate::browser::{self, Shown};
use crate::caller::{Caller, Certified, Peer};
use crate::error::Failure;
use crate::issued::{self, Issued};
use crate::limits::source;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use palisade_core::access::{
    LOCAL_OPERATOR, Refusal, RuleAsk, RulePermit, View, check_grant, decide_rule, grant_word, local_operator,
    lock_text,
};
use palisade_core::api::REQUEST_ID_HEADER;
use palisade_core::audit_log::AuditLog;
use palisade_core::command::{Actor, Command, Reply};
use palisade_core::event::{Event, EventKind};
use palisade_core::kv::Kv;
use palisade_core::name::RequestId;
use palisade_core::record::{Conditions, Grant, Labels, RoleSpec, Rule, Verb};
use palisade_core::state::BrowserSession;
use palisade_core::time::Timestamp;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;

/// Certificates of which is remembered what they say.
const ISSUED_MAX: usize = 20_000;

/// One request: who sent it, from where, under which id.
pub(crate) struct Ask {
    pub(crate) app: App,
    pub(crate) peer: Peer,
    /// What a browser shows, where no certificate is.
    pub(crate) browser: Option<Shown>,
    client_id: Option<RequestId>,
}

/// How fresh the state has to be for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// As fresh as a decision needs: a leader was heard a short time ago.
    Decision,
    /// Everything acknowledged before, anywhere in the cluster, is seen.
    Linear,
    /// For a change: as `Linear` for a user, whose rights are part of the state. What the operator may do is not,
    /// and what must hold of the record is checked where the change is applied: so nothing is waited for.
    Change,
}

/// Somebody whose credential was checked: they exist, are not locked, and their certificate is valid here and now.
pub(crate) enum Who {
    /// The operator at the node's own control socket.
    Operator,
    /// A user.
    User(Box<View>, Certified),
}

impl Who {
    /// The name in events.
    pub(crate) fn name(&self) -> &str {
        match self {
            Who::Operator => LOCAL_OPERATOR,
            Who::User(view, _) => view.user.metadata.name.as_str(),
        }
    }

    /// The one decision about records.
    fn decide(
        &self,
        verb: Verb,
        resource: Grant,
        record: Option<(&str, &Labels)>,
        now: Timestamp,
    ) -> Result<RulePermit, Refusal> {
        match self {
            Who::Operator => Ok(local_operator(verb, resource)),
            Who::User(view, _) => user_decides(view, verb, resource, record, now),
        }
    }

    /// Whether a list shows them this record: a rule's condition may leave it out.
    pub(crate) fn sees(&self, permit: &RulePermit, name: &str, labels: &Labels, now: Timestamp) -> bool {
        self.decide(permit.verb(), permit.resource(), Some((name, labels)), now)
            .is_ok()
    }

    /// The permit for one record among many: whoever lacks it is not told so, the record is passed over.
    pub(crate) fn permit_among(
        &self,
        verb: Verb,
        resource: Grant,
        record: (&str, &Labels),
        now: Timestamp,
    ) -> Option<RulePermit> {
        self.decide(verb, resource, Some(record), now).ok()
    }

    /// Whether they may use a verb on a resource at all. To be told why not, or to act, takes [`Ask::permit`].
    pub(crate) fn may(&self, verb: Verb, resource: Grant, now: Timestamp) -> bool {
        self.decide(verb, resource, None, now).is_ok()
    }

    /// Whether some role lets them join some sessions.
    pub(crate) fn joins_some(&self, now: Timestamp) -> bool {
        match self {
            Who::Operator => false,
            Who::User(view, _) => {
                let mut roles = view.roles.iter().filter(|role| !role.expired(now));
                roles.any(|role| !role.spec.allow.join_sessions.is_empty())
            }
        }
    }

    /// Whether they hold everything: `*` on `*`, without a condition.
    pub(crate) fn holds_all(&self, now: Timestamp) -> bool {
        let all = RoleSpec {
            allow: Conditions {
                rules: vec![Rule {
                    resources: vec![Grant::All],
                    verbs: vec![Verb::All],
                    condition: None,
                }],
                ..Conditions::default()
            },
            ..RoleSpec::default()
        };
        match self {
            Who::Operator => true,
            Who::User(view, _) => check_grant(&all, view, now).is_ok(),
        }
    }
}

impl FromRequestParts<App> for Ask {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let peer = parts.extensions.get::<Peer>().cloned();
        let client_id = match parts.headers.get(REQUEST_ID_HEADER) {
            None => None,
            Some(value) => {
                let text = value
                    .to_str()
                    .map_err(|_| Failure::invalid("x-request-id is not a UUID"))?;
                Some(
                    RequestId::parse(text)
                        .map_err(|e| Failure::invalid(format!("{REQUEST_ID_HEADER}: {e}")))?,
                )
            }
        };
        Ok(Ask {
            app: app.clone(),
            // A listener that says nothing about the other end has accepted nobody we know.
            peer: peer.unwrap_or(Peer::nobody(None)),
            browser: Shown::of(&parts.method, &parts.headers),
            client_id,
        })
    }
}

impl Ask {
    /// The clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.app.api.consensus.now()
    }

    /// This node's applied state.
    pub(crate) fn kv(&self) -> Arc<dyn Kv> {
        self.app.api.consensus.kv()
    }

    /// The source that limits count.
    pub(crate) fn source(&self) -> IpAddr {
        source(self.peer.addr)
    }

    /// Waits until the state is fresh enough.
    pub(crate) async fn fresh(&self, fresh: Fresh) -> Result<(), Failure> {
        match fresh {
            Fresh::Decision => self.app.api.consensus.may_decide()?,
            Fresh::Linear | Fresh::Change => self.app.api.consensus.barrier().await?,
        }
        Ok(())
    }

    /// Who asks, with the state fresh enough for what they ask.
    pub(crate) async fn who(&self, fresh: Fresh) -> Result<Who, Failure> {
        let certified = match &self.peer.caller {
            Caller::Nobody => {
                let Some(shown) = &self.browser else {
                    return Err(Failure::unauthenticated(
                        "this needs a credential: run `pal login`, or log in with a browser",
                    ));
                };
                return Ok(self.who_shows(shown, fresh).await?.0);
            }
            Caller::LocalOperator => {
                if fresh != Fresh::Change {
                    self.fresh(fresh).await?;
                }
                return Ok(Who::Operator);
            }
            // Nothing that people and operators do is for agents.
            Caller::Agent(agent) => {
                let name = format!("host:{}", agent.host);
                return Err(self.audited(&name, "api", Refusal::AgentHere).await);
            }
            Caller::User(certified) => certified,
        };
        let now = self.now();
        if certified.not_after <= now || certified.not_before > now {
            return Err(Refusal::CertExpired.into());
        }
        self.fresh(fresh).await?;
        self.user(certified.clone(), None).await
    }

    /// Who shows this of a browser's session, and the session.
    pub(crate) async fn who_shows(
        &self,
        shown: &Shown,
        fresh: Fresh,
    ) -> Result<(Who, BrowserSession), Failure> {
        self.fresh(fresh).await?;
        let session = browser::open(self, shown).await?;
        let certified = Certified {
            name: session.user.clone(),
            serial: session.serial,
            not_before: session.created,
            not_after: session.session.expires,
        };
        let who = self.user(certified, Some(&session)).await?;
        Ok((who, session))
    }

    /// The user that a credential names, if it is still good here and now.
    async fn user(&self, certified: Certified, session: Option<&BrowserSession>) -> Result<Who, Failure> {
        let (now, name) = (self.now(), &certified.name);
        let Some(view) = View::load(self.kv().as_ref(), name)?.filter(|view| !view.user.expired(now)) else {
            return Err(Refusal::NoUser(name.to_string()).into());
        };
        if let Some(lock) = view.lock(None, None, now) {
            let why = Refusal::Locked(lock_text(lock));
            return Err(self.audited(name.as_str(), "api", why).await);
        }
        if let Err(why) = view.check_serial(certified.serial) {
            return Err(self.audited(name.as_str(), "api", why).await);
        }
        if view.options(now).pin_source_ip {
            let pinned = match session {
                // Where the login came from, which fails closed where it is not known.
                Some(session) => session
                    .addr
                    .parse()
                    .map_err(|_| Failure::from(Refusal::CertExpired))?,
                None => self.pinned(&certified).await?,
            };
            if self.peer.addr.map(|a| a.to_canonical()) != Some(pinned) {
                return Err(self
                    .audited(name.as_str(), "api", Refusal::OtherAddress(pinned))
                    .await);
            }
        }
        Ok(Who::User(Box::new(view), certified))
    }

    /// The same request, with what a browser shows in another place than its headers.
    pub(crate) fn showing(&self, shown: Shown) -> Ask {
        Ask {
            app: self.app.clone(),
            peer: self.peer.clone(),
            browser: Some(shown),
            client_id: None,
        }
    }

    /// Whether it is a browser's session that asks, and no certificate.
    pub(crate) fn is_browser(&self) -> bool {
        self.peer.caller == Caller::Nobody && self.browser.is_some()
    }

    /// The permit to use a verb on a resource. A refusal is audited.
    pub(crate) async fn permit(
        &self,
        who: &Who,
        verb: Verb,
        resource: Grant,
        record: Option<(&str, &Labels)>,
    ) -> Result<RulePermit, Failure> {
        match who.decide(verb, resource, record, self.now()) {
            Ok(permit) => Ok(permit),
            Err(why) => {
                let target = format!("{} {}", verb.as_str(), grant_word(resource));
                Err(self.audited(who.name(), &target, why).await)
            }
        }
    }

    /// Writes a refusal into the audit log, and gives it as the answer.
    pub(crate) async fn audited(&self, user: &str, target: &str, why: Refusal) -> Failure {
        if !self.app.refusals.take(user.to_owned()) {
            // Never refused unseen: who is refused too often waits instead.
            return Failure::rate_limited();
        }
        let event = Event::new(EventKind::ApiRefused)
            .user(user)
            .addr(self.peer.shown_addr())
            .target(target)
            .message(why.to_string());
        let wrote = self.propose(self.actor(user), self.new_id(), audit(event)).await;
        if let Err(error) = wrote {
            tracing::warn!(user, ?error, "a refusal could not be written to the audit log");
        }
        why.into()
    }

    /// Makes a change that a permit allows. `parts` are what makes two requests the same one, beside their id.
    pub(crate) async fn change(
        &self,
        permit: &RulePermit,
        parts: &[&[u8]],
        command: Command,
    ) -> Result<u64, Failure> {
        let actor = self.actor(permit.actor());
        let id = self.id_for(permit.actor(), parts);
        self.propose(actor, id, command).await
    }

    /// Proposes for an actor under an id.
    pub(crate) async fn propose(
        &self,
        actor: Actor,
        id: RequestId,
        command: Command,
    ) -> Result<u64, Failure> {
        let reply: Reply = self.app.api.consensus.propose(actor, id, command).await?;
        Ok(reply.done()?)
    }

    /// The actor with this name, from where this request comes.
    pub(crate) fn actor(&self, name: &str) -> Actor {
        Actor {
            name: name.to_owned(),
            addr: self.peer.shown_addr(),
        }
    }

    /// An id that no client chose.
    pub(crate) fn new_id(&self) -> RequestId {
        self.app.api.consensus.new_id()
    }

    /// Whether the client chose an id, so that this may be a repetition.
    pub(crate) fn may_be_repeated(&self) -> bool {
        self.client_id.is_some()
    }

    /// The id of the client's request bound to who asks what: an id chosen by one user never answers another, nor
    /// another request of the same user. Without a client's id, a fresh one. Secrets are never among the parts.
    pub(crate) fn id_for(&self, user: &str, parts: &[&[u8]]) -> RequestId {
        let Some(id) = &self.client_id else {
            return self.new_id();
        };
        let mut hash = Sha256::new();
        for part in [id.as_str().as_bytes(), user.as_bytes()].iter().chain(parts) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let uuid = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        RequestId::parse(&uuid.to_string()).expect("a UUID prints as one in lower case")
    }

    /// Reads the audit log, on a thread that may wait for the disk and for other nodes.
    pub(crate) async fn audit_log<T, E>(
        &self,
        read: impl FnOnce(AuditLog<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Into<Failure> + Send + 'static,
    {
        let (kv, pages) = (self.kv(), self.app.api.pages.clone());
        let done = tokio::task::spawn_blocking(move || read(AuditLog::new(kv.as_ref(), pages.as_ref())));
        let done = done.await.map_err(|e| Failure::internal("audit log", &e))?;
        done.map_err(Into::into)
    }

    /// What the caller's certificate was issued to say; none if the log does not know.
    pub(crate) async fn issued(&self, certified: &Certified) -> Result<Option<Arc<Issued>>, Failure> {
        if let Some(known) = self.app.issued.lock().get(&certified.serial) {
            return Ok(Some(known.clone()));
        }
        let (serial, not_before) = (certified.serial, certified.not_before);
        let found = self
            .audit_log(move |log| issued::find(log, serial, not_before))
            .await?;
        Ok(found.map(|issued| self.remember(certified.serial, issued)))
    }

    /// Remembers what a certificate was issued to say.
    pub(crate) fn remember(&self, serial: u64, issued: Issued) -> Arc<Issued> {
        let issued = Arc::new(issued);
        let mut known = self.app.issued.lock();
        if known.len() >= ISSUED_MAX {
            known.clear();
        }
        known.insert(serial, issued.clone());
        issued
    }

    /// The address that a certificate of a user with pinned certificates was issued for.
    async fn pinned(&self, certified: &Certified) -> Result<IpAddr, Failure> {
        // Issued before the role asked for pinning, or too long ago to find out: both fail closed.
        self.issued(certified)
            .await?
            .and_then(|issued| issued.source)
            .ok_or_else(|| {
                Failure::unauthenticated(
                    "your roles now pin certificates to an address: run `pal login` again",
                )
            })
    }
}

/// The one decision about records, for a user.
pub(crate) fn user_decides(
    view: &View,
    verb: Verb,
    resource: Grant,
    record: Option<(&str, &Labels)>,
    now: Timestamp,
) -> Result<RulePermit, Refusal> {
    let ask = RuleAsk {
        verb,
        resource,
        record,
    };
    decide_rule(&ask, view, now)
}

/// Why a user may not use a verb on a resource, whatever the record; `None` if they may.
pub(crate) fn why_not(view: &View, verb: Verb, resource: Grant, now: Timestamp) -> Option<String> {
    let decided = user_decides(view, verb, resource, None, now);
    decided.err().map(|why| why.to_string())
}

/// A command that writes one event.
pub(crate) fn audit(event: Event) -> Command {
    Command::Audit { events: vec![event] }
}
