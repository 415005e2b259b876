//! One log entry, applied.

use super::{Cluster, Invite, Passkey, STATE_VERSION, SignedHead, answers, keys, pages};
use crate::access::{View, lock_text};
use crate::command::{
    Actor, CertPurpose, CertTerms, Command, Entry, Expect, LoginProof, RefusedCommand, Reply,
};
use crate::event::{Event, EventKind};
use crate::kv::{Change, Kv, KvFault, Overlay};
use crate::merkle;
use crate::mutant::{self, Mutant};
use crate::name::{ClusterId, Name, NodeId, RequestId};
use crate::record::{
    AnyRecord, AuthorityType, CertAuthoritySpec, Completeness, Kind, NodeSpec, Record, RecordingSpec,
    RoleSpec, TokenSpec, UserSpec,
};
use crate::time::Timestamp;
use crate::wire::{self, WireError};
use serde::Serialize;

/// Users, roles, locks, hosts or policies changed: decisions are to be asked again.
pub const NOTIFY_POLICY: u32 = 1;
/// Nodes joined or left.
pub const NOTIFY_MEMBERS: u32 = 2;
/// Sessions began or ended.
pub const NOTIFY_SESSIONS: u32 = 4;

/// The largest entry that has an effect. No value that it writes is larger, and the store takes none above 60 KiB:
/// one that got this far would stop every node.
pub const ENTRY_BYTES_MAX: usize = 48 * 1024;

/// What applying an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Changes of the state, in key order.
    pub changes: Vec<Change>,
    /// The answer.
    pub reply: Reply,
    /// `NOTIFY_*` bits.
    pub notify: u32,
}

/// The entry cannot be applied on this node. It must stop: guessing or skipping would let it differ from the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] KvFault),
    /// The entry cannot be read: a newer program wrote it, or it is damaged.
    #[error("log entry {index}: {why}")]
    Entry {
        /// Its place in the log.
        index: u64,
        /// The reason.
        why: WireError,
    },
}

/// Applies the entry with these bytes at this log index.
pub fn apply(kv: &dyn Kv, index: u64, bytes: &[u8]) -> Result<Applied, Fault> {
    let entry = Entry::from_bytes(bytes).map_err(|why| Fault::Entry { index, why })?;
    let known = if mutant::active(Mutant::ForgetRequests) {
        None
    } else {
        answers::find(kv, &entry.id)?
    };
    // Whoever applies an entry twice would else be saved by this.
    let again = mutant::active(Mutant::ApplyTwice) && known == Some(Reply::Done { index });
    if let Some(reply) = known.filter(|_| !again) {
        return Ok(Applied {
            changes: Vec::new(),
            reply,
            notify: 0,
        });
    }
    let mut run = Run {
        state: Overlay::new(kv),
        index,
        now: entry.now,
        node: entry.node,
        actor: entry.actor,
        notify: 0,
        events: Vec::new(),
    };
    let verdict = if bytes.len() > ENTRY_BYTES_MAX {
        let why = format!(
            "the request takes {} KiB and may take {}",
            bytes.len() / 1024,
            ENTRY_BYTES_MAX / 1024
        );
        let refused = Err(RefusedCommand::Invalid(why));
        run.audited(refused, EventKind::RecordRefused, entry.command.word())
    } else {
        run.command(entry.command)?
    };
    run.write_events()?;
    let reply = match verdict {
        Ok(()) => Reply::Done { index },
        Err(why) => Reply::Refused(why),
    };
    run.keep_reply(&entry.id, &reply)?;
    Ok(Applied {
        changes: run.state.into_changes(),
        reply,
        notify: run.notify,
    })
}

/// A command's own verdict: done, or refused with nothing changed but the audit log.
pub(super) type Verdict = Result<(), RefusedCommand>;

pub(super) struct Run<'a> {
    pub(super) state: Overlay<'a>,
    pub(super) index: u64,
    pub(super) now: Timestamp,
    node: NodeId,
    actor: Actor,
    pub(super) notify: u32,
    events: Vec<Event>,
}

impl Run<'_> {
    fn command(&mut self, command: Command) -> Result<Verdict, KvFault> {
        match command {
            Command::Init {
                cluster_name,
                cluster_id,
                authorities,
                node,
                presets,
            } => self.init(cluster_name, &cluster_id, authorities, *node, presets),
            Command::PutRecord { record, expect } => {
                let what = format!("{}/{}", record.kind(), record.metadata().name);
                let verdict = self.put_record(*record, expect)?;
                Ok(self.audited(verdict, EventKind::RecordRefused, &what))
            }
            Command::DeleteRecord { kind, name, expect } => {
                let verdict = self.delete_record(kind, &name, expect)?;
                Ok(self.audited(verdict, EventKind::RecordRefused, &format!("{kind}/{name}")))
            }
            Command::CreateInvite {
                user,
                purpose,
                token_sha256,
                totp,
                expires,
            } => self.create_invite(
                &user,
                &token_sha256,
                Invite {
                    user: user.clone(),
                    purpose,
                    totp,
                    expires,
                },
            ),
            Command::AcceptInvite {
                token_sha256,
                password_hash,
                totp_step,
            } => self.accept_invite(&token_sha256, password_hash, totp_step),
            Command::Login {
                user,
                totp_step,
                recovery,
                generation,
                terms,
            } => {
                let proof = match recovery {
                    Some(code) => LoginProof::Recovery(code),
                    None => LoginProof::Password { totp_step },
                };
                self.login(&user, &proof, generation, &terms)
            }
            Command::BrowserLogin {
                user,
                proof,
                generation,
                session,
            } => self.browser_login(&user, &proof, generation, session),
            Command::BrowserConfirm {
                user,
                session,
                proof,
                generation,
            } => self.browser_confirm(&user, &session, &proof, generation),
            Command::BrowserSeen { user, session } => self.browser_seen(&user, &session),
            Command::BrowserLogout { user, session } => self.browser_logout(&user, &session),
            Command::SetPassword {
                user,
                session,
                password_hash,
                generation,
            } => self.set_password(&user, &session, password_hash, generation),
            Command::AddPasskey {
                user,
                session,
                handle,
                id,
                name,
                credential,
            } => {
                let passkey = Passkey {
                    id,
                    name,
                    created: self.now,
                    used: None,
                    last_issued: Timestamp::ZERO,
                    credential,
                };
                self.add_passkey(&user, &session, handle, passkey)
            }
            Command::RemovePasskey { user, session, id } => self.remove_passkey(&user, &session, &id),
            Command::LoginFailed { user, reason } => self.login_failed(&user, &reason).map(Ok),
            Command::IssueCert { terms } => {
                let verdict = self.check_terms(&terms)?;
                if verdict.is_ok() {
                    self.issued(&terms);
                }
                Ok(self.audited(verdict, EventKind::CertRefused, terms.subject.as_str()))
            }
            Command::StartSession {
                recording,
                events,
                max_sessions,
            } => {
                let what = recording.spec.clone();
                let verdict = self.start_session(*recording, events, max_sessions)?;
                if let Err(why) = &verdict {
                    let event = Event::new(EventKind::SessionRefused)
                        .user(what.user.as_str())
                        .addr(what.client_addr);
                    self.events.push(
                        event
                            .login(what.login.as_str())
                            .host(what.host.as_str())
                            .message(why.to_string()),
                    );
                }
                Ok(verdict)
            }
            Command::EndSession {
                session,
                completeness,
                chunks,
                output_bytes,
                last_chunk,
                events,
            } => {
                let Some(AnyRecord::Recording(mut row)) =
                    super::any_record(&self.state, Kind::Recording, session.as_str())?
                else {
                    return Ok(Err(not_found(Kind::Recording, session.as_str())));
                };
                let spec = &mut row.spec;
                if spec.completeness == Completeness::Complete {
                    return Ok(Ok(()));
                }
                spec.ended = Some(self.now);
                spec.completeness = completeness;
                (spec.chunks, spec.output_bytes, spec.last_chunk) = (chunks, output_bytes, last_chunk);
                self.state.delete(keys::open_session(&spec.user, &session));
                self.write_record(row.into());
                self.events.extend(events);
                self.notify |= NOTIFY_SESSIONS;
                Ok(Ok(()))
            }
            Command::Audit { events } => {
                self.events.extend(events);
                Ok(Ok(()))
            }
            Command::SignHead {
                size,
                root,
                time,
                signature,
            } => self.sign_head(SignedHead {
                size,
                root,
                time,
                signature,
            }),
            Command::JoinNode {
                token,
                secret_sha256,
                node,
            } => self.join_node(&token, &secret_sha256, *node),
            Command::RemoveNode { id } => self.remove_node(id),
            Command::JoinHost {
                token,
                secret_sha256,
                host,
                terms,
            } => self.join_host(&token, &secret_sha256, &host, &terms),
            Command::RenewHost { host, agent, terms } => self.renew_host(&host, agent, &terms),
            Command::SealAuditPage { page } => pages::seal(&mut self.state, page),
            Command::NewRecovery { user, session, set } => self.new_recovery(&user, &session, set),
            Command::SetTotp {
                user,
                session,
                totp,
                totp_step,
                generation,
            } => self.set_totp(&user, &session, totp, totp_step, generation),
            Command::AskApproval { approval } => self.ask_approval(approval),
            Command::AnswerApproval {
                user,
                session,
                code,
                terms,
            } => self.answer_approval(&user, &session, &code, terms),
            Command::CreateShare {
                maker,
                session,
                share,
            } => self.create_share(maker, session, share),
            Command::OpenShare { token_sha256, what } => self.open_share(&token_sha256, &what),
            Command::RevokeShare { session, share } => self.revoke_share(&session, &share),
        }
    }

    // What several commands need.

    pub(super) fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) {
        self.state.put(key, wire::encode(STATE_VERSION, value));
    }

    pub(super) fn write_record(&mut self, mut record: AnyRecord) {
        record.metadata_mut().revision = self.index;
        let key = keys::record_key(record.kind(), record.metadata().name.as_str());
        self.put(key, &record);
    }

    /// Where whoever asks comes from.
    pub(super) fn actor_addr(&self) -> &str {
        &self.actor.addr
    }

    pub(super) fn event(&mut self, event: Event) {
        let who = if event.user.is_empty() {
            self.actor.name.clone()
        } else {
            event.user.clone()
        };
        let addr = if event.addr.is_empty() {
            self.actor.addr.clone()
        } else {
            event.addr.clone()
        };
        self.events.push(event.user(who).addr(addr));
    }

    /// Adds the event of a refusal.
    pub(super) fn audited(&mut self, verdict: Verdict, refused: EventKind, target: &str) -> Verdict {
        if let Err(why) = &verdict {
            self.event(Event::new(refused).target(target).message(why.to_string()));
        }
        verdict
    }

    fn write_events(&mut self) -> Result<(), KvFault> {
        if self.events.is_empty() {
            return Ok(());
        }
        let mut frontier = super::audit_frontier(&self.state)?;
        for mut event in std::mem::take(&mut self.events) {
            // Of changes of records alone: what looks for its own event, as whoever signs a certificate does, would stop.
            if mutant::active(Mutant::DropAuditEvent)
                && self.index.is_multiple_of(4)
                && event.event == EventKind::RecordUpdate
            {
                continue;
            }
            (event.time, event.node) = (self.now, self.node);
            let mut bytes = event.to_bytes();
            let seq = frontier.size();
            frontier.append(merkle::leaf_hash(&bytes));
            if mutant::active(Mutant::TamperEvent) && seq.is_multiple_of(16) {
                bytes = event.message("nothing to see here").to_bytes();
            }
            self.state.put(keys::audit_key(seq), bytes);
        }
        self.state.put(keys::FRONTIER.to_vec(), frontier.to_bytes());
        Ok(())
    }

    fn keep_reply(&mut self, id: &RequestId, reply: &Reply) -> Result<(), KvFault> {
        // A clock that only goes forward, so that a node whose clock runs behind cannot bring old answers back.
        let before: Timestamp = super::read(&self.state, "clock", keys::CLOCK)?.unwrap_or_default();
        let clock = before.max(self.now);
        if clock != before {
            self.put(keys::CLOCK.to_vec(), &clock);
        }
        answers::keep(&mut self.state, clock, id, reply)
    }

    // Records.

    fn check_expect(
        &self,
        kind: Kind,
        name: &Name,
        expect: Expect,
    ) -> Result<Result<Option<AnyRecord>, RefusedCommand>, KvFault> {
        let found = super::any_record(&self.state, kind, name.as_str())?;
        let now = found.as_ref().map(|r| r.metadata().revision);
        Ok(match (expect, now) {
            (Expect::Any, _) | (Expect::Absent, None) | (Expect::Present, Some(_)) => Ok(found),
            (Expect::Revision(wanted), Some(now)) if wanted == now => Ok(found),
            (Expect::Absent, Some(_)) => Err(RefusedCommand::Exists {
                kind,
                name: name.to_string(),
            }),
            (Expect::Revision(_), Some(now)) => Err(RefusedCommand::Conflict {
                kind,
                name: name.to_string(),
                now,
            }),
            (Expect::Present | Expect::Revision(_), None) => Err(not_found(kind, name.as_str())),
        })
    }

    fn put_record(&mut self, record: AnyRecord, expect: Expect) -> Result<Verdict, KvFault> {
        let (kind, name) = (record.kind(), record.metadata().name.clone());
        let before = match self.check_expect(kind, &name, expect)? {
            Ok(before) => before,
            Err(why) => return Ok(Err(why)),
        };
        let invalid = |why: String| Ok(Err(RefusedCommand::Invalid(why)));
        match &record {
            AnyRecord::User(user) => {
                for role in &user.spec.roles {
                    if super::record::<RoleSpec>(&self.state, role)?.is_none() {
                        return invalid(format!(
                            "user {name} cannot hold role {role}: there is no such role"
                        ));
                    }
                }
            }
            AnyRecord::Lock(lock) if lock.spec.target.is_empty() => {
                return invalid("a lock needs a target: user, role, login or host".into());
            }
            AnyRecord::AuthPreference(_)
            | AnyRecord::RecordingConfig(_)
            | AnyRecord::MaintenanceConfig(_) => {
                if let Some(only) = only_name(kind).filter(|only| name.as_str() != *only) {
                    return invalid(format!("there is one such record, named {only}"));
                }
            }
            AnyRecord::CertAuthority(_) | AnyRecord::Recording(_) | AnyRecord::Node(_) => {
                return invalid(format!("a {kind} is made by the cluster itself"));
            }
            AnyRecord::Host(host) => {
                let agent_before = match &before {
                    Some(AnyRecord::Host(before)) => before.spec.agent.clone(),
                    _ => None,
                };
                if host.spec.agent != agent_before {
                    return invalid(
                        "the agent of a host is written when it joins: remove the host to make it a plain one".into(),
                    );
                }
            }
            AnyRecord::Role(_) | AnyRecord::Token(_) | AnyRecord::Lock(_) => {}
        }
        let event = if before.is_some() {
            EventKind::RecordUpdate
        } else {
            EventKind::RecordCreate
        };
        if before.is_none() && kind == Kind::User {
            self.void_certs(&name);
        }
        self.event(
            Event::new(event)
                .target(format!("{kind}/{name}"))
                .with("revision", self.index),
        );
        self.write_record(record);
        self.notify |= NOTIFY_POLICY;
        Ok(Ok(()))
    }

    fn delete_record(&mut self, kind: Kind, name: &Name, expect: Expect) -> Result<Verdict, KvFault> {
        let expect = if expect == Expect::Any {
            Expect::Present
        } else {
            expect
        };
        if let Err(why) = self.check_expect(kind, name, expect)? {
            return Ok(Err(why));
        }
        match kind {
            Kind::CertAuthority | Kind::Recording | Kind::Node => {
                return Ok(Err(RefusedCommand::Invalid(format!(
                    "a {kind} is removed by the cluster itself"
                ))));
            }
            Kind::Role => {
                let holders = super::records::<UserSpec>(&self.state)?;
                if let Some(holder) = holders.iter().find(|u| u.spec.roles.contains(name)) {
                    let why = format!(
                        "role {name} is held by user {}: take it away first",
                        holder.metadata.name
                    );
                    return Ok(Err(RefusedCommand::Invalid(why)));
                }
            }
            Kind::User => {
                self.void_invite(name)?;
                self.end_browsers(name, None)?;
                self.forget_passkeys(name)?;
                self.state.delete(keys::auth(name));
                self.state.delete(keys::void_until(name));
            }
            Kind::Token | Kind::Host | Kind::Lock => {}
            Kind::AuthPreference | Kind::RecordingConfig | Kind::MaintenanceConfig => {}
        }
        self.state.delete(keys::record_key(kind, name.as_str()));
        self.event(Event::new(EventKind::RecordDelete).target(format!("{kind}/{name}")));
        self.notify |= NOTIFY_POLICY;
        Ok(Ok(()))
    }

    // Certificates.

    /// Whether a certificate may still say this at this place in the log.
    pub(super) fn check_terms(&self, terms: &CertTerms) -> Result<Verdict, KvFault> {
        let invalid = |why: &str| Ok(Err(RefusedCommand::Invalid(why.into())));
        if terms.principals.is_empty() {
            return invalid("the certificate would name no login");
        }
        if terms.valid_after >= terms.valid_before {
            return invalid("the certificate would end before it begins");
        }
        if terms.purpose == CertPurpose::Host {
            return Ok(Ok(()));
        }
        let Some(view) = View::load(&self.state, &terms.subject)?.filter(|v| !v.user.expired(self.now))
        else {
            return Ok(Err(not_found(Kind::User, terms.subject.as_str())));
        };
        if let Some(lock) = view.lock(None, None, self.now) {
            return Ok(Err(RefusedCommand::Locked(lock_text(lock))));
        }
        if let Some(why) = terms.renews.and_then(|serial| view.check_serial(serial).err()) {
            return invalid(&why.to_string());
        }
        let allowed = view.cert_principals(self.now);
        if let Some(login) = terms.principals.iter().find(|login| !allowed.contains(login)) {
            return invalid(&format!(
                "login {login} is not allowed by the user's roles any more"
            ));
        }
        if terms.valid_before.since_ms(self.now) > view.options(self.now).max_session_ttl.ms() {
            return invalid("the certificate would live longer than the user's roles allow");
        }
        Ok(Ok(()))
    }

    pub(super) fn issued(&mut self, terms: &CertTerms) {
        let kind = if terms.purpose == CertPurpose::Host {
            EventKind::HostCertIssue
        } else {
            EventKind::CertIssue
        };
        let principals: Vec<&str> = terms.principals.iter().map(|p| p.as_str()).collect();
        let mut event = Event::new(kind)
            .target(terms.subject.as_str())
            .with("serial", self.index)
            .with("principals", principals.join(","))
            .with("valid_before", terms.valid_before)
            .with("key", &terms.key_fingerprint);
        if terms.purpose != CertPurpose::Host {
            event = event.user(terms.subject.as_str());
        }
        if let Some(source) = &terms.source_address {
            event = event.with("source_address", source);
        }
        self.event(event);
    }

    // Sessions.

    fn start_session(
        &mut self,
        recording: Record<RecordingSpec>,
        events: Vec<Event>,
        max_sessions: Option<u32>,
    ) -> Result<Verdict, KvFault> {
        let spec = &recording.spec;
        if super::any_record(&self.state, Kind::Recording, spec.session.as_str())?.is_some()
            || recording.metadata.name.as_str() != spec.session.as_str()
        {
            return Ok(Err(RefusedCommand::Exists {
                kind: Kind::Recording,
                name: spec.session.to_string(),
            }));
        }
        let Some(view) = View::load(&self.state, &spec.user)? else {
            return Ok(Err(not_found(Kind::User, spec.user.as_str())));
        };
        if let Some(lock) = view.lock(Some(&spec.login), Some(&spec.host), self.now) {
            return Ok(Err(RefusedCommand::Locked(lock_text(lock))));
        }
        if let Some(most) = max_sessions {
            let now = super::open_sessions(&self.state, Some(&spec.user))?.len() as u32;
            if now >= most {
                return Ok(Err(RefusedCommand::TooManySessions { now, most }));
            }
        }
        self.put(keys::open_session(&spec.user, &spec.session), &spec.node);
        self.write_record(recording.into());
        self.events.extend(events);
        self.notify |= NOTIFY_SESSIONS;
        Ok(Ok(()))
    }

    // The audit log.

    fn sign_head(&mut self, head: SignedHead) -> Result<Verdict, KvFault> {
        let newer = super::last_head(&self.state)?.is_some_and(|last| last.size >= head.size);
        if newer || head.size > super::audit_frontier(&self.state)?.size() {
            return Ok(Err(RefusedCommand::Invalid(
                "a newer head is signed already".into(),
            )));
        }
        self.event(
            Event::new(EventKind::AuditHead)
                .with("size", head.size)
                .with("root", &head.root),
        );
        self.put(keys::head(head.size), &head);
        Ok(Ok(()))
    }

    // The cluster.

    fn init(
        &mut self,
        name: Name,
        id: &str,
        authorities: Vec<(CertAuthoritySpec, crate::command::Sealed)>,
        mut node: Record<NodeSpec>,
        presets: Vec<AnyRecord>,
    ) -> Result<Verdict, KvFault> {
        let invalid = |why: &str| Ok(Err(RefusedCommand::Invalid(why.into())));
        if super::cluster(&self.state)?.is_some() {
            return invalid("the cluster is initialised already");
        }
        let Ok(id) = ClusterId::parse(id) else {
            return invalid("the cluster id is not a UUID");
        };
        let made: Vec<AuthorityType> = authorities.iter().map(|(public, _)| public.authority).collect();
        if !AuthorityType::ALL.iter().all(|kind| made.contains(kind)) {
            return invalid("an authority is missing");
        }
        for (public, sealed) in authorities {
            let kind = public.authority;
            let Ok(record_name) = Name::parse(kind.as_str()) else {
                return invalid("an authority has no name");
            };
            self.put(keys::authority(kind), &sealed);
            self.write_record(Record::new(record_name, public).into());
        }
        for preset in presets {
            self.write_record(preset);
        }
        node.spec.id = FIRST_NODE;
        self.write_record(node.into());
        self.event(
            Event::new(EventKind::ClusterInit)
                .target(name.as_str())
                .with("cluster_id", &id),
        );
        self.put(
            keys::CLUSTER.to_vec(),
            &Cluster {
                name,
                id,
                created: self.now,
                level: 1,
            },
        );
        self.notify |= NOTIFY_POLICY | NOTIFY_MEMBERS;
        Ok(Ok(()))
    }

    fn join_node(
        &mut self,
        token: &Name,
        secret_sha256: &str,
        mut node: Record<NodeSpec>,
    ) -> Result<Verdict, KvFault> {
        let name = node.metadata.name.clone();
        let found = super::record::<TokenSpec>(&self.state, token)?;
        let good = found.is_some_and(|t| {
            !t.expired(self.now) && t.spec.secret_sha256 == secret_sha256 && t.spec.host.is_none()
        });
        let verdict = if !good {
            Err(RefusedCommand::BadToken)
        } else if super::any_record(&self.state, Kind::Node, name.as_str())?.is_some() {
            Err(RefusedCommand::Exists {
                kind: Kind::Node,
                name: name.to_string(),
            })
        } else {
            Ok(())
        };
        if verdict.is_ok() {
            self.state.delete(keys::record_key(Kind::Token, token.as_str()));
            node.spec.id = self.index;
            node.spec.joined = self.now;
            self.event(
                Event::new(EventKind::NodeJoin)
                    .target(format!("node/{name}"))
                    .with("id", self.index),
            );
            self.write_record(node.into());
            self.notify |= NOTIFY_MEMBERS;
        }
        Ok(self.audited(verdict, EventKind::NodeJoinRefused, &format!("node/{name}")))
    }

    fn remove_node(&mut self, id: NodeId) -> Result<Verdict, KvFault> {
        let nodes = super::records::<NodeSpec>(&self.state)?;
        let Some(node) = nodes.into_iter().find(|n| n.spec.id == id) else {
            return Ok(Err(not_found(Kind::Node, &id.to_string())));
        };
        self.state
            .delete(keys::record_key(Kind::Node, node.metadata.name.as_str()));
        self.put(keys::tombstone(id), &self.now.clone());
        self.event(
            Event::new(EventKind::NodeLeave)
                .target(format!("node/{}", node.metadata.name))
                .with("id", id),
        );
        self.notify |= NOTIFY_MEMBERS;
        Ok(Ok(()))
    }
}

/// The id of the node that made the cluster; later ones are log indices, which are greater.
pub const FIRST_NODE: NodeId = 1;

/// The one name that a record of this kind may have, where there is one.
fn only_name(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::AuthPreference => Some(super::AUTH_PREFERENCE),
        Kind::RecordingConfig => Some(super::RECORDING_CONFIG),
        Kind::MaintenanceConfig => Some(super::MAINTENANCE_CONFIG),
        _ => None,
    }
}

pub(super) fn not_found(kind: Kind, name: &str) -> RefusedCommand {
    RefusedCommand::NotFound {
        kind,
        name: name.chars().take(80).collect(),
    }
}
