//! Audit events: what happened, by whom, to what. One name and one code each, never shared.
//!
//! An event is stored exactly once, under its sequence number, in the same log entry as what it speaks of. The
//! bytes that are stored are the bytes that the Merkle tree hashes.

use crate::name::NodeId;
use crate::time::Timestamp;
use crate::wire::{self, WireError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version byte of stored events.
pub const EVENT_VERSION: u8 = 1;

macro_rules! event_kinds {
    // Tokens, not `literal`s, for the same reason as the kinds of record.
    ($($(#[$doc:meta])* $variant:ident = $name:tt, $code:tt;)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum EventKind { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$variant,)*];
            /// Its name, as in searches.
            pub const fn name(self) -> &'static str {
                match self { $(EventKind::$variant => $name,)* }
            }
            /// Its code. `I` informs, `W` was refused or went wrong.
            pub const fn code(self) -> &'static str {
                match self { $(EventKind::$variant => $code,)* }
            }
        }
    };
}

event_kinds! {
    /// The cluster was made.
    ClusterInit = "cluster.init", "PC100I";
    /// A node joined.
    NodeJoin = "node.join", "PC101I";
    /// A join was refused.
    NodeJoinRefused = "node.join.refused", "PC102W";
    /// A node left, or was removed.
    NodeLeave = "node.leave", "PC103I";
    /// Somebody logged in.
    Login = "user.login", "PL100I";
    /// A login was refused.
    LoginRefused = "user.login.refused", "PL101W";
    /// Too many failures: a user has to wait.
    LoginLockout = "user.lockout", "PL102W";
    /// Somebody logged out.
    Logout = "user.logout", "PL103I";
    /// Somebody at a browser proved again who they are.
    LoginConfirm = "user.login.confirm", "PL104I";
    /// A user set a new password.
    PasswordChange = "user.password", "PL105I";
    /// A user keeps a passkey.
    PasskeyAdd = "user.passkey.add", "PL106I";
    /// A user's passkey was removed.
    PasskeyRemove = "user.passkey.remove", "PL107I";
    /// A user made new recovery codes: the older ones are void.
    RecoveryNew = "user.recovery", "PL108I";
    /// A user has a new authenticator.
    TotpChange = "user.totp", "PL109I";
    /// An invite or a reset was made.
    InviteCreate = "user.invite", "PL110I";
    /// An invite or a reset was used: password and second factor set.
    InviteAccept = "user.invite.accept", "PL111I";
    /// An invite was refused.
    InviteRefused = "user.invite.refused", "PL112W";
    /// A user let a program in that asked for it.
    ApprovalGrant = "user.approval", "PL120I";
    /// A user turned away a program that asked to be let in.
    ApprovalRefuse = "user.approval.refused", "PL121W";
    /// A certificate was issued.
    CertIssue = "cert.issue", "PK100I";
    /// A certificate was refused.
    CertRefused = "cert.refused", "PK101W";
    /// A host certificate was issued for an OpenSSH server.
    HostCertIssue = "cert.host.issue", "PK102I";
    /// A record was made.
    RecordCreate = "record.create", "PR100I";
    /// A record was changed.
    RecordUpdate = "record.update", "PR101I";
    /// A record was removed.
    RecordDelete = "record.delete", "PR102I";
    /// A change was refused.
    RecordRefused = "record.refused", "PR103W";
    /// A session began.
    SessionStart = "session.start", "PS100I";
    /// A session ended.
    SessionEnd = "session.end", "PS101I";
    /// A session was cut off with its node.
    SessionInterrupted = "session.interrupted", "PS102W";
    /// Access to a host was refused.
    SessionRefused = "session.refused", "PS103W";
    /// A recording was played or downloaded.
    SessionPlay = "session.play", "PS104I";
    /// A session was ended by a lock, an expiry or an operator.
    SessionTerminated = "session.terminated", "PS105W";
    /// Somebody joined another's session.
    SessionJoin = "session.join", "PS106I";
    /// Somebody who had joined a session left it.
    SessionLeave = "session.leave", "PS107I";
    /// What recordings show was searched for a text.
    RecordingSearch = "recording.search", "PS140I";
    /// A link to a recording was made.
    RecordingShare = "recording.share", "PS141I";
    /// A link to a recording was opened.
    RecordingShareOpen = "recording.share.open", "PS142I";
    /// A link to a recording was revoked.
    RecordingShareRevoke = "recording.share.revoke", "PS143I";
    /// A link to a recording is void: it was not opened.
    RecordingShareRefused = "recording.share.refused", "PS144W";
    /// A command was run without a terminal.
    Exec = "session.exec", "PS110I";
    /// A file was transferred.
    FileTransfer = "session.file", "PS120I";
    /// What all file transfers of a session come to.
    FileSummary = "session.files", "PS121I";
    /// A connection was forwarded.
    Forward = "session.forward", "PS130I";
    /// A channel or request inside a session was refused.
    ChannelRefused = "session.channel.refused", "PS131W";
    /// An agent joined: a host was added.
    HostJoin = "host.join", "PH100I";
    /// An agent's join was refused.
    HostJoinRefused = "host.join.refused", "PH102W";
    /// An agent's certificates were renewed.
    HostRenew = "host.renew", "PH103I";
    /// What an agent asked for was refused.
    AgentRefused = "agent.refused", "PH104W";
    /// A connection to a host failed, for example because its key was not the expected one.
    HostRefused = "host.refused", "PH101W";
    /// A call of the HTTP API was refused.
    ApiRefused = "api.refused", "PA101W";
    /// The head of the audit log was signed.
    AuditHead = "audit.head", "PX100I";
}

/// One audit event. Empty fields are not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// What happened.
    pub event: EventKind,
    /// When, by the clock of the node that proposed it.
    pub time: Timestamp,
    /// The node that proposed it; 0 before there is one.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = u64, required = true))]
    pub node: NodeId,
    /// Who did it: a user, `node:<id>`, or nobody known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Where they came from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub addr: String,
    /// The account on the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub login: String,
    /// The host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// What it was about: `role/admin`, a certificate's serial, a path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Why, or what exactly, in a sentence for people. Never a secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Further facts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}

impl Event {
    /// An event with nothing but its kind; time and node are set when it is proposed.
    pub fn new(event: EventKind) -> Self {
        Event {
            event,
            time: Timestamp::ZERO,
            node: 0,
            user: String::new(),
            addr: String::new(),
            login: String::new(),
            host: String::new(),
            session: String::new(),
            target: String::new(),
            message: String::new(),
            data: BTreeMap::new(),
        }
    }

    /// Sets who did it.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = bounded(user.into());
        self
    }
    /// Sets where they came from.
    pub fn addr(mut self, addr: impl Into<String>) -> Self {
        self.addr = bounded(addr.into());
        self
    }
    /// Sets the account.
    pub fn login(mut self, login: impl Into<String>) -> Self {
        self.login = bounded(login.into());
        self
    }
    /// Sets the host.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = bounded(host.into());
        self
    }
    /// Sets the session.
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.session = bounded(session.into());
        self
    }
    /// Sets what it was about.
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = bounded(target.into());
        self
    }
    /// Sets the sentence.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = bounded(message.into());
        self
    }
    /// Adds a fact.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.data.insert(name.to_owned(), bounded(value.to_string()));
        self
    }

    /// The bytes that are stored and hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(EVENT_VERSION, self)
    }

    /// Reads stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        wire::decode("audit event", EVENT_VERSION, bytes)
    }
}

/// Nothing that a client sends makes an event larger than a few kilobytes.
fn bounded(mut text: String) -> String {
    const MOST: usize = 4096;
    if text.len() > MOST {
        let mut end = MOST;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_codes_are_never_shared() {
        let names: BTreeSet<_> = EventKind::ALL.iter().map(|k| k.name()).collect();
        let codes: BTreeSet<_> = EventKind::ALL.iter().map(|k| k.code()).collect();
        assert_eq!(
            (names.len(), codes.len()),
            (EventKind::ALL.len(), EventKind::ALL.len())
        );
    }

    #[test]
    fn an_event_reads_what_it_wrote() {
        let event = Event::new(EventKind::Login).user("alice").with("method", "totp");
        assert_eq!(Event::from_bytes(&event.to_bytes()), Ok(event));
        assert!(Event::from_bytes(&[9, 1]).is_err());
        assert!(Event::from_bytes(&[]).is_err());
    }

    #[test]
    fn long_texts_are_cut() {
        assert!(
            Event::new(EventKind::Login)
                .message("é".repeat(9000))
                .message
                .len()
                < 4200
        );
    }
}
