//! What a log entry can say, and what applying it answers.
//!
//! The proposer decides, the log repeats: time, ids, hashes and salts are fixed before an entry is proposed.
//! [`state::apply`](crate::state::apply) checks what must still hold at that place in the log (a token is unused,
//! a revision is current, a code was not used before) and writes the change and its audit events together.

use crate::event::Event;
use crate::name::{Login, Name, NodeId, RequestId, SessionId};
use crate::record::{AnyRecord, CertAuthoritySpec, Completeness, Kind, NodeSpec, Record, RecordingSpec};
use crate::time::Timestamp;
use crate::wire::{self, WireError};
use serde::{Deserialize, Serialize};

/// The version byte of log entries.
pub const ENTRY_VERSION: u8 = 1;
/// The version byte of replies, which are kept for retries.
pub const REPLY_VERSION: u8 = 1;

/// Who asked for a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// A user's name, `node:<id>`, `local` for an operator on the node itself, or empty.
    pub name: String,
    /// The network address they came from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub addr: String,
}

impl Actor {
    /// A node acting for itself.
    pub fn node(id: NodeId) -> Self {
        Actor {
            name: format!("node:{id}"),
            addr: String::new(),
        }
    }
}

/// One log entry: a command, with everything that applying it may not find out by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The same id never has two effects: a retry is answered with the first answer.
    pub id: RequestId,
    /// The proposer's clock.
    pub now: Timestamp,
    /// The proposer.
    pub node: NodeId,
    /// Who asked.
    pub actor: Actor,
    /// What is asked.
    pub command: Command,
}

impl Entry {
    /// The bytes that go into the log.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(ENTRY_VERSION, self)
    }

    /// Reads an entry from the log. An unknown version or command is an error, and must stop the node.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        wire::decode("log entry", ENTRY_VERSION, bytes)
    }
}

/// What must be true of a record for a change of it to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Anything.
    Any,
    /// There is none yet.
    Absent,
    /// There is one, at any revision.
    Present,
    /// There is one, at this revision.
    Revision(u64),
}

/// A private key as it is kept: sealed under the cluster key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Why an invite was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvitePurpose {
    /// A new user sets password and second factor.
    Invite,
    /// A user who lost them sets new ones.
    Reset,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertPurpose {
    /// A person's SSH and X.509 certificates, after a login.
    Login,
    /// The same, from a certificate that is still valid.
    Renew,
    /// A host key of an OpenSSH server.
    Host,
}

/// What a certificate will say. The serial is the index of the entry that allows it, so it can never be used twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertTerms {
    /// What it is for.
    pub purpose: CertPurpose,
    /// The subject: a user's or a host's name.
    pub subject: Name,
    /// Logins, or host names.
    pub principals: Vec<Login>,
    /// First moment.
    pub valid_after: Timestamp,
    /// Last moment.
    pub valid_before: Timestamp,
    /// SHA-256 of the public key, as `ssh-keygen -l` shows it.
    pub key_fingerprint: String,
    /// The address it is pinned to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// The serial of the certificate that it is issued on, if it is not a login's: that must not be void by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews: Option<u64>,
}

/// A browser's session as the node describes it that let somebody in. Of its two secrets only the hashes are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewBrowserSession {
    /// 32 hex digits, random; no secret.
    pub id: String,
    /// Hex SHA-256 of what the cookie proves.
    pub secret_sha256: String,
    /// Hex SHA-256 of what the page proves beside the cookie, so that no other site can act with it.
    pub page_sha256: String,
    /// Its last moment.
    pub expires: Timestamp,
    /// The browser, in a few words.
    pub agent: String,
}

/// A recovery code, as the proposer recognised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryUse {
    /// Of which set; must be the one that counts.
    pub set: u32,
    /// Which of the set, from 0; must not have been used.
    pub index: u32,
}

/// What a program asks to be let in for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalWanted {
    /// Certificates, as a login gives them.
    Login,
    /// One connection from a computer that is not the person's own: certificates for one account and a short time.
    Headless {
        /// Where to.
        host: String,
        /// As which account.
        login: Login,
    },
}

/// A program that asks to be let in, as the node describes it that heard it. Of its secret only the hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApproval {
    /// What a person compares and types: eight letters.
    pub code: String,
    /// Hex SHA-256 of what the program proves when it takes the answer.
    pub secret_sha256: String,
    /// What it wants.
    pub wanted: ApprovalWanted,
    /// Of its SSH key, as `ssh-keygen -l` shows it.
    pub ssh_key: String,
    /// Hex SHA-256 of its TLS public key in PEM.
    pub tls_key_sha256: String,
    /// How long it wants the certificates to live, in seconds; 0 leaves it to the cluster.
    pub ttl_secs: u64,
    /// The program and its computer, by its own account.
    pub client: String,
    /// Until when it can be answered.
    pub expires: Timestamp,
}

/// What proved who logs in, as the proposer checked it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginProof {
    /// The password, and a code where one is asked for.
    Password {
        /// The time step of the code; must be later than the last one used.
        totp_step: Option<u64>,
    },
    /// A passkey (Web Authentication).
    Passkey {
        /// Its id among the user's.
        id: String,
        /// When the challenge was made that it signed; must be later than that of the last login with it.
        issued: Timestamp,
        /// The credential with its new counter.
        credential: Vec<u8>,
        /// Whether the password was checked beside it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        with_password: bool,
    },
    /// The password, and a recovery code instead of the authenticator's.
    Recovery(RecoveryUse),
}

impl std::fmt::Debug for LoginProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.method())
    }
}

impl LoginProof {
    /// What the audit log calls it.
    pub fn method(&self) -> &'static str {
        match self {
            LoginProof::Password { totp_step: Some(_) } => "password+totp",
            LoginProof::Password { totp_step: None } => "password",
            LoginProof::Passkey {
                with_password: true, ..
            } => "password+passkey",
            LoginProof::Passkey { .. } => "passkey",
            LoginProof::Recovery(_) => "password+recovery",
        }
    }
}

/// A page of audit events as whoever sealed it describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedPage {
    /// Its place among all pages, which its file is stored under.
    pub number: u32,
    /// The sequence number of its first event.
    pub first: u64,
    /// How many events it holds.
    pub count: u32,
    /// Hex root of the subtree over them.
    pub root: String,
    /// Hex SHA-256 of the encrypted file.
    pub file_sha256: String,
    /// The key of the file, sealed under the cluster key.
    pub sealed_key: Sealed,
}

/// What a log entry asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first entry of a cluster: its authorities, its first node, the preset roles.
    Init {
        /// The cluster's name.
        cluster_name: Name,
        /// Its id.
        cluster_id: String,
        /// Public and sealed private halves.
        authorities: Vec<(CertAuthoritySpec, Sealed)>,
        /// The first node's record; its id is 1.
        node: Box<Record<NodeSpec>>,
        /// Preset roles and policies.
        presets: Vec<AnyRecord>,
    },
    /// Makes or changes a record.
    PutRecord {
        /// The record; its revision in the metadata is ignored.
        record: Box<AnyRecord>,
        /// What must hold.
        expect: Expect,
    },
    /// Removes a record.
    DeleteRecord {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: Name,
        /// What must hold.
        expect: Expect,
    },
    /// An invite or reset for a user. A newer one makes the older ones void; a reset also makes the old
    /// password and code void once it is used.
    CreateInvite {
        /// For whom.
        user: Name,
        /// Why.
        purpose: InvitePurpose,
        /// Hex SHA-256 of the token in the link.
        token_sha256: String,
        /// The TOTP secret that it will set, sealed.
        totp: Sealed,
        /// When it runs out.
        expires: Timestamp,
    },
    /// An invite is used.
    AcceptInvite {
        /// Hex SHA-256 of the token.
        token_sha256: String,
        /// The password's argon2id hash in PHC form.
        password_hash: String,
        /// The time step of the code that proved the second factor; it cannot be used again.
        totp_step: u64,
    },
    /// A login whose password and code the proposer found right: it issues the certificates.
    Login {
        /// Who.
        user: Name,
        /// The time step of the code; must be later than the last one used. `None` where no code is asked for.
        totp_step: Option<u64>,
        /// The recovery code that stood for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovery: Option<RecoveryUse>,
        /// The generation of the credentials that were checked: a reset in between makes this login void.
        generation: u64,
        /// What the certificates will say.
        terms: CertTerms,
    },
    /// A login in a browser: the same checks, and instead of certificates a session. The index of this entry is what
    /// a reset of the credentials makes void, as it does a certificate's serial.
    BrowserLogin {
        /// Who.
        user: Name,
        /// What proved it.
        proof: LoginProof,
        /// The generation of the credentials that were checked.
        generation: u64,
        /// The session.
        session: NewBrowserSession,
    },
    /// Whoever sits at a browser proved again who they are: for a few minutes they may change credentials.
    BrowserConfirm {
        /// Whose session.
        user: Name,
        /// Which.
        session: String,
        /// What proved it.
        proof: LoginProof,
        /// The generation of the credentials that were checked.
        generation: u64,
    },
    /// A browser's session was used: it does not count as idle.
    BrowserSeen {
        /// Whose.
        user: Name,
        /// Which.
        session: String,
    },
    /// A browser's session ends.
    BrowserLogout {
        /// Whose.
        user: Name,
        /// Which.
        session: String,
    },
    /// A user sets a new password. Their certificates and other sessions are void.
    SetPassword {
        /// Who.
        user: Name,
        /// The session in which it was confirmed; it goes on.
        session: String,
        /// The password's argon2id hash in PHC form.
        password_hash: String,
        /// The generation of the credentials that are replaced.
        generation: u64,
    },
    /// A user keeps a passkey. Its credential must be nobody's yet.
    AddPasskey {
        /// Whose.
        user: Name,
        /// The session in which it was confirmed.
        session: String,
        /// The user's handle in their passkeys: 32 hex digits. An earlier one stays.
        handle: String,
        /// Hex SHA-256 of the credential's id.
        id: String,
        /// What the user calls it.
        name: String,
        /// The credential's public half.
        credential: Vec<u8>,
    },
    /// A user's passkey is forgotten.
    RemovePasskey {
        /// Whose.
        user: Name,
        /// The session in which it was confirmed.
        session: String,
        /// Hex SHA-256 of the credential's id.
        id: String,
    },
    /// A login that failed. Counts towards the lock-out of `user` if there is such a user.
    LoginFailed {
        /// The name that was tried, as it was typed.
        user: String,
        /// Why, for the audit log alone.
        reason: String,
    },
    /// A certificate that is not a login's.
    IssueCert {
        /// What it will say.
        terms: CertTerms,
    },
    /// A session begins: the index row of its recording, and its audit events.
    StartSession {
        /// The row.
        recording: Box<Record<RecordingSpec>>,
        /// `session.start` and what belongs to it.
        events: Vec<Event>,
        /// How many sessions the user may have at a time, if there is a limit.
        max_sessions: Option<u32>,
    },
    /// A session ended.
    EndSession {
        /// Which.
        session: SessionId,
        /// Whole, or cut off.
        completeness: Completeness,
        /// Chunks written.
        chunks: u32,
        /// Bytes of output.
        output_bytes: u64,
        /// Hex SHA-256 of the last chunk.
        last_chunk: String,
        /// `session.end` and what belongs to it.
        events: Vec<Event>,
    },
    /// Things that happened and change nothing else.
    Audit {
        /// They.
        events: Vec<Event>,
    },
    /// The head of the audit tree, signed by the audit authority.
    SignHead {
        /// Number of events covered.
        size: u64,
        /// Hex root hash.
        root: String,
        /// When it was signed; part of what is signed.
        time: Timestamp,
        /// Hex signature.
        signature: String,
    },
    /// A node joins: uses up the token, allocates the id (the index of this entry).
    JoinNode {
        /// The token's record name.
        token: Name,
        /// Hex SHA-256 of the token's secret.
        secret_sha256: String,
        /// The node's record; its `spec.id` is ignored.
        node: Box<Record<NodeSpec>>,
    },
    /// A node left or was removed. Its id is never used again.
    RemoveNode {
        /// Which.
        id: NodeId,
    },
    /// An agent joins: uses up the token, writes the host's record, allows the agent's certificates. The index of
    /// this entry is the agent's id and the serial of both.
    JoinHost {
        /// The token's record name.
        token: Name,
        /// Hex SHA-256 of the token's secret.
        secret_sha256: String,
        /// The host's name.
        host: Name,
        /// What the certificates will say.
        terms: AgentTerms,
    },
    /// New certificates for an agent, from valid ones.
    RenewHost {
        /// The host's name.
        host: Name,
        /// The agent's id; must be the one in force.
        agent: u64,
        /// What the certificates will say.
        terms: AgentTerms,
    },
    /// The oldest audit events in the state are on a page that a majority of nodes has on disk.
    SealAuditPage {
        /// The page.
        page: SealedPage,
    },
    /// A user has new recovery codes.
    NewRecovery {
        /// Whose.
        user: Name,
        /// The session in which it was confirmed.
        session: String,
        /// The set's number: one more than the last.
        set: u32,
    },
    /// A user has a new authenticator, and the recovery codes that go with it.
    SetTotp {
        /// Whose.
        user: Name,
        /// The session in which it was confirmed.
        session: String,
        /// The secret, sealed.
        totp: Sealed,
        /// The time step of the code that proved it.
        totp_step: u64,
        /// The generation of the credentials that are replaced.
        generation: u64,
    },
    /// A program asks to be let in.
    AskApproval {
        /// It.
        approval: NewApproval,
    },
    /// A user answers a program that asked to be let in: with certificates for its keys, or with no.
    AnswerApproval {
        /// Who answers.
        user: Name,
        /// The session in which they do.
        session: String,
        /// Which program.
        code: String,
        /// What its certificates will say; `None` turns it away.
        terms: Option<CertTerms>,
    },
    /// A link to a recording is made. It lives by the rights of whoever makes it.
    CreateShare {
        /// Who makes it.
        maker: Name,
        /// The recording's session.
        session: SessionId,
        /// The link.
        share: NewShare,
    },
    /// A link to a recording is opened: something of the recording is about to be given out.
    OpenShare {
        /// Hex SHA-256 of the token in the link.
        token_sha256: String,
        /// What is given out: `description`, `recording`.
        what: String,
    },
    /// A link to a recording is revoked.
    RevokeShare {
        /// The recording's session.
        session: SessionId,
        /// The link's id.
        share: String,
    },
}

/// A link to a recording as the node describes it that made it. Of its token only the hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewShare {
    /// 32 hex digits, random; no secret.
    pub id: String,
    /// Hex SHA-256 of the token in the link.
    pub token_sha256: String,
    /// What it is for, a line for people.
    pub note: String,
    /// Its last moment.
    pub expires: Timestamp,
}

/// What an agent's two certificates will say beside its name: a host certificate and an X.509 identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentTerms {
    /// SHA-256 of the SSH host key, as `ssh-keygen -l` shows it.
    pub ssh_key: String,
    /// Hex SHA-256 of the TLS public key.
    pub tls_key: String,
    /// First moment.
    pub valid_after: Timestamp,
    /// Last moment.
    pub valid_before: Timestamp,
}

impl Command {
    /// A word for logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Command::Init { .. } => "init",
            Command::PutRecord { .. } => "put_record",
            Command::DeleteRecord { .. } => "delete_record",
            Command::CreateInvite { .. } => "create_invite",
            Command::AcceptInvite { .. } => "accept_invite",
            Command::Login { .. } => "login",
            Command::BrowserLogin { .. } => "browser_login",
            Command::BrowserConfirm { .. } => "browser_confirm",
            Command::BrowserSeen { .. } => "browser_seen",
            Command::BrowserLogout { .. } => "browser_logout",
            Command::SetPassword { .. } => "set_password",
            Command::AddPasskey { .. } => "add_passkey",
            Command::RemovePasskey { .. } => "remove_passkey",
            Command::LoginFailed { .. } => "login_failed",
            Command::IssueCert { .. } => "issue_cert",
            Command::StartSession { .. } => "start_session",
            Command::EndSession { .. } => "end_session",
            Command::Audit { .. } => "audit",
            Command::SignHead { .. } => "sign_head",
            Command::JoinNode { .. } => "join_node",
            Command::RemoveNode { .. } => "remove_node",
            Command::JoinHost { .. } => "join_host",
            Command::RenewHost { .. } => "renew_host",
            Command::SealAuditPage { .. } => "seal_audit_page",
            Command::NewRecovery { .. } => "new_recovery",
            Command::SetTotp { .. } => "set_totp",
            Command::AskApproval { .. } => "ask_approval",
            Command::AnswerApproval { .. } => "answer_approval",
            Command::CreateShare { .. } => "create_share",
            Command::OpenShare { .. } => "open_share",
            Command::RevokeShare { .. } => "revoke_share",
        }
    }
}

/// The answer to an entry. It is kept for a while, so that a retry gets the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It was done, at this log index: the revision of a changed record, the serial of a certificate, the id of a node.
    Done {
        /// The log index.
        index: u64,
    },
    /// It was refused and nothing changed but the audit log.
    Refused(RefusedCommand),
}

impl Reply {
    /// The bytes kept for retries and sent between nodes.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(REPLY_VERSION, self)
    }

    /// Reads those bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        wire::decode("reply", REPLY_VERSION, bytes)
    }

    /// The index, or the refusal as an error.
    pub fn done(self) -> Result<u64, RefusedCommand> {
        match self {
            Reply::Done { index } => Ok(index),
            Reply::Refused(why) => Err(why),
        }
    }
}

/// Why the state machine refused a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RefusedCommand {
    /// There is no such record.
    #[error("there is no {kind} {name:?}")]
    NotFound {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// There is one already.
    #[error("{kind} {name:?} exists already")]
    Exists {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Somebody else changed it first.
    #[error(
        "{kind} {name:?} was changed meanwhile (it is at revision {now}): read it again, then repeat the change"
    )]
    Conflict {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its revision now.
        now: u64,
    },
    /// Wrong, used or expired; which one is in the audit log alone.
    #[error("the token is not valid: it is wrong, used or expired")]
    BadToken,
    /// Wrong credentials, a used code, or a reset in between; which one is in the audit log alone.
    #[error("wrong user name, password or code")]
    BadLogin,
    /// There is no such session of a browser, or not any more.
    #[error("this session has ended: log in again")]
    NoSession,
    /// Credentials are changed only a short time after whoever sits there proved who they are.
    #[error("confirm who you are first")]
    NotConfirmed,
    /// Locked out for a while.
    #[error("too many failures: try again after {until}")]
    LockedOut {
        /// When the next try is allowed.
        until: Timestamp,
    },
    /// A lock is in force.
    #[error("locked: {0}")]
    Locked(String),
    /// The limit of sessions is reached.
    #[error("this user has {now} open sessions and may have {most}")]
    TooManySessions {
        /// Open now.
        now: u32,
        /// Allowed.
        most: u32,
    },
    /// The request contradicts itself or the state.
    #[error("{0}")]
    Invalid(String),
    /// There is no such link to a recording.
    #[error("there is no such link (any more)")]
    NoShare,
}
