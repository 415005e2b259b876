//! What goes over the HTTP API, and its paths. `web` serves exactly this and `client` uses nothing else; the
//! OpenAPI document is generated from these types (feature `openapi`).

use crate::event::Event;
use crate::record::{Labels, RecordingSpec};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Whether a name can be that of a file in the offline bundle: no folders, nothing hidden.
pub fn bundle_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
}

/// Paths.
pub mod path {
    /// GET: what the cluster is; needs no credential.
    pub const PING: &str = "/v1/ping";
    /// POST [`super::LoginRequest`] -> [`super::Certificates`].
    pub const LOGIN: &str = "/v1/login";
    /// POST: ends nothing but writes the audit event; the client deletes its keys.
    pub const LOGOUT: &str = "/v1/logout";
    /// POST [`super::RenewRequest`] -> [`super::Certificates`].
    pub const CERTS: &str = "/v1/certs";
    /// GET -> [`super::InviteView`]; POST [`super::AcceptInvite`] -> 204.
    pub const INVITE: &str = "/v1/invites/{token}";
    /// POST [`super::NewInvite`] -> [`super::InviteLink`]: an invite, or a reset if the user has credentials.
    pub const INVITES: &str = "/v1/users/{name}/invites";
    /// GET -> [`super::WhoAmI`].
    pub const WHOAMI: &str = "/v1/whoami";
    /// GET [`super::Page`] of records; POST one record (JSON or YAML) to create.
    pub const RECORDS: &str = "/v1/records/{kind}";
    /// GET, PUT, DELETE one record.
    pub const RECORD: &str = "/v1/records/{kind}/{name}";
    /// POST [`super::NewToken`] -> [`super::JoinToken`].
    pub const TOKENS: &str = "/v1/tokens";
    /// POST [`super::JoinRequest`] -> [`super::JoinReply`]; the token is the credential.
    pub const JOIN: &str = "/v1/join";
    /// GET: a file of the offline bundle that this node holds.
    pub const BUNDLE: &str = "/v1/bundle/{file}";
    /// POST [`super::HostJoinRequest`] -> [`super::HostJoinReply`]: an agent joins; the token is the credential.
    pub const HOST_JOIN: &str = "/v1/hosts/join";
    /// POST [`super::HostRenewRequest`] -> [`super::HostJoinReply`]: for agents alone, with their certificate.
    pub const HOST_RENEW: &str = "/v1/hosts/renew";
    /// GET -> hosts that the caller may reach, with logins.
    pub const HOSTS: &str = "/v1/hosts";
    /// WebSocket: a terminal at a host. [`crate::terminal::Asks`] from the browser, [`crate::terminal::Says`] from the node.
    pub const TERMINAL: &str = "/v1/terminal";
    /// GET, PUT: a file of a host.
    pub const FILE: &str = "/v1/hosts/{host}/file";
    /// GET -> [`super::LiveSession`]s.
    pub const SESSIONS: &str = "/v1/sessions";
    /// DELETE ends one.
    pub const SESSION: &str = "/v1/sessions/{id}";
    /// GET with [`super::RecordingFilter`] as the query -> [`super::RecordingPage`].
    pub const RECORDINGS: &str = "/v1/recordings";
    /// GET with [`super::RecordingSearch`] as the query -> [`super::RecordingHits`].
    pub const RECORDINGS_SEARCH: &str = "/v1/recordings/search";
    /// GET one.
    pub const RECORDING: &str = "/v1/recordings/{id}";
    /// GET: newline-delimited [`super::PlayLine`]s, for the player.
    pub const RECORDING_EVENTS: &str = "/v1/recordings/{id}/events";
    /// GET: asciicast v2.
    pub const RECORDING_CAST: &str = "/v1/recordings/{id}/asciicast";
    /// GET -> [`super::Shares`]; POST [`super::NewShare`] -> [`super::ShareLink`].
    pub const SHARES: &str = "/v1/recordings/{id}/shares";
    /// DELETE revokes one.
    pub const SHARE: &str = "/v1/recordings/{id}/shares/{share}";
    /// POST [`super::OpenShare`] -> [`super::SharedView`]; the token is the credential.
    pub const SHARED: &str = "/v1/shared";
    /// POST [`super::OpenShare`]: newline-delimited [`super::PlayLine`]s; the token is the credential.
    pub const SHARED_EVENTS: &str = "/v1/shared/events";
    /// GET with [`super::AuditSearch`] as the query -> [`super::AuditPage`].
    pub const AUDIT: &str = "/v1/audit/events";
    /// GET: the whole log for offline verification: newline-delimited [`super::AuditExportLine`].
    pub const AUDIT_EXPORT: &str = "/v1/audit/export";
    /// GET -> [`super::AuthorityView`].
    pub const AUTHORITY: &str = "/v1/authorities/{type}";
    /// POST [`super::SignHost`] -> [`super::HostCertificate`].
    pub const SIGN_HOST: &str = "/v1/authorities/host/sign";
    /// GET -> [`super::ClusterStatus`].
    pub const STATUS: &str = "/v1/cluster/status";
    /// DELETE: takes a node out.
    pub const NODE: &str = "/v1/cluster/nodes/{name}";
    /// POST [`super::Transfer`].
    pub const TRANSFER: &str = "/v1/cluster/transfer";
    /// `POST`: one node takes another's place.
    pub const REPLACE: &str = "/v1/cluster/replace";
    /// GET -> [`super::SupportBundle`]: only on the node's own control socket.
    pub const SUPPORT: &str = "/v1/cluster/support";
    /// GET -> [`super::WaysIn`]; needs no credential.
    pub const WEB_WAYS: &str = "/v1/web/ways";
    /// POST [`super::BrowserLogin`] -> [`super::BrowserSession`], with the cookie.
    pub const WEB_LOGIN: &str = "/v1/web/login";
    /// POST: ends this browser's session.
    pub const WEB_LOGOUT: &str = "/v1/web/logout";
    /// GET -> [`super::BrowserSession`].
    pub const WEB_SESSION: &str = "/v1/web/session";
    /// GET -> [`super::BrowserSessions`]: one's own.
    pub const WEB_SESSIONS: &str = "/v1/web/sessions";
    /// DELETE ends one of one's own.
    pub const WEB_SESSION_OF: &str = "/v1/web/sessions/{id}";
    /// POST [`super::Confirm`]: proves again who sits there.
    pub const WEB_CONFIRM: &str = "/v1/web/confirm";
    /// PUT [`super::NewPassword`].
    pub const WEB_PASSWORD: &str = "/v1/web/password";
    /// POST -> [`super::PasskeyChallenge`]: begins to keep a passkey.
    pub const PASSKEY_BEGIN: &str = "/v1/web/passkeys/begin";
    /// POST [`super::NewPasskey`].
    pub const PASSKEY_FINISH: &str = "/v1/web/passkeys/finish";
    /// GET -> [`super::Passkeys`].
    pub const PASSKEYS: &str = "/v1/web/passkeys";
    /// DELETE forgets one.
    pub const PASSKEY: &str = "/v1/web/passkeys/{id}";
    /// POST -> [`super::PasskeyChallenge`]: begins to log in.
    pub const PASSKEY_LOGIN_BEGIN: &str = "/v1/web/passkeys/login/begin";
    /// POST [`super::PasskeyLogin`] -> [`super::BrowserSession`], with the cookie.
    pub const PASSKEY_LOGIN_FINISH: &str = "/v1/web/passkeys/login/finish";
    /// GET -> [`super::SecondFactors`]: one's own.
    pub const MFA: &str = "/v1/mfa";
    /// POST -> [`super::RecoveryCodes`]: new ones; the older are void.
    pub const RECOVERY: &str = "/v1/web/recovery";
    /// GET -> [`super::RecoveryCodes`] that go with an invite.
    pub const INVITE_RECOVERY: &str = "/v1/invites/{token}/recovery";
    /// POST -> [`super::TotpChallenge`]: begins with a new authenticator.
    pub const TOTP_BEGIN: &str = "/v1/web/totp/begin";
    /// POST [`super::NewTotp`] -> [`super::RecoveryCodes`].
    pub const TOTP_FINISH: &str = "/v1/web/totp/finish";
    /// POST [`super::ApprovalRequest`] -> [`super::ApprovalTicket`].
    pub const APPROVALS: &str = "/v1/approvals";
    /// POST [`super::ApprovalTake`] -> [`super::ApprovalReply`].
    pub const APPROVAL_TAKE: &str = "/v1/approvals/{code}/take";
    /// GET -> [`super::ApprovalView`]; POST [`super::ApprovalAnswer`].
    pub const WEB_APPROVAL: &str = "/v1/web/approvals/{code}";
    /// POST [`super::Lint`] -> [`super::LintReply`].
    pub const LINT: &str = "/v1/lint";
    /// POST [`super::Explain`] -> [`super::RoleExplained`].
    pub const EXPLAIN: &str = "/v1/roles/explain";
    /// GET -> [`super::AuditState`].
    pub const AUDIT_STATE: &str = "/v1/audit/state";
    /// GET with [`super::AuditSearch`] and a `format` as the query: every match, as a file.
    pub const AUDIT_DOWNLOAD: &str = "/v1/audit/download";
    /// GET: the OpenAPI document.
    pub const OPENAPI: &str = "/v1/openapi.json";
    /// POST [`super::InitRequest`] -> [`super::InitReply`]: only on the node's own control socket.
    pub const INIT: &str = "/v1/cluster/init";
    /// POST [`super::JoinOrder`] -> [`super::ClusterStatus`]: only on the node's own control socket.
    pub const JOIN_ORDER: &str = "/v1/cluster/join";
}

/// Header by which a page shows that it is the cluster's own: see [`BrowserSession::csrf`].
pub const CSRF_HEADER: &str = "x-palisade-csrf";

/// Header that carries a client-chosen request id (a UUID): a repeated request with the same id has no second effect.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

macro_rules! wire_types {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
            pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }
        )*
    };
}

macro_rules! secret_debug {
    ($($name:ident($shown:ident)),* $(,)?) => {
        $(impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field(stringify!($shown), &self.$shown).finish_non_exhaustive()
            }
        })*
    };
}

mod approvals;
mod browser;
mod code;
mod credentials;
mod recordings;

pub use approvals::*;
pub use browser::*;
pub use code::ErrorCode;
pub use credentials::*;
pub use recordings::*;

wire_types! {
    /// Every error of the API.
    #[derive(Debug)]
    pub struct ApiError {
        /// A word for programs: an [`ErrorCode`], or one that a newer node knows.
        #[cfg_attr(feature = "openapi", schema(value_type = ErrorCode))]
        pub code: String,
        /// What failed, and what to do, for people.
        pub message: String,
    }

    /// What the cluster is; no credential needed.
    #[derive(Debug)]
    pub struct Ping {
        /// The cluster's name; empty while the node is in no cluster.
        pub cluster: String,
        /// The program's version.
        pub version: String,
        /// The pin of the TLS authority, `sha256:<hex>`.
        pub ca_pin: String,
        /// HTTPS addresses of all nodes.
        pub web_addrs: Vec<String>,
        /// SSH addresses of all nodes, in the same order.
        pub ssh_addrs: Vec<String>,
        /// Whether a code is needed beside the password.
        pub second_factor: bool,
    }

    /// A login.
    pub struct LoginRequest {
        /// The user's name.
        pub user: String,
        /// The password.
        pub password: String,
        /// The six digits, if the cluster asks for them.
        #[serde(default)]
        pub code: String,
        /// The client's new SSH public key, one OpenSSH line.
        pub ssh_public_key: String,
        /// The client's new TLS public key, PEM (SubjectPublicKeyInfo).
        pub tls_public_key: String,
        /// How long the certificates shall live, in seconds; 0 for as long as allowed. Longer than allowed is shortened.
        #[serde(default)]
        pub ttl_secs: u64,
    }

    /// New certificates from valid ones, never longer-lived than roles allow.
    #[derive(Debug)]
    pub struct RenewRequest {
        /// As in a login.
        pub ssh_public_key: String,
        /// As in a login.
        pub tls_public_key: String,
        /// As in a login.
        #[serde(default)]
        pub ttl_secs: u64,
    }

    /// What a login or renewal gives.
    #[derive(Debug)]
    pub struct Certificates {
        /// The user.
        pub user: String,
        /// The cluster's name.
        pub cluster: String,
        /// OpenSSH user certificate, one line.
        pub ssh_certificate: String,
        /// X.509 client certificate, PEM.
        pub tls_certificate: String,
        /// TLS authority certificates, PEM.
        pub tls_authorities: Vec<String>,
        /// Host authorities: OpenSSH public key lines for `@cert-authority`.
        pub host_authorities: Vec<String>,
        /// HTTPS addresses of all nodes.
        pub web_addrs: Vec<String>,
        /// SSH addresses of all nodes.
        pub ssh_addrs: Vec<String>,
        /// The logins in the certificate.
        pub logins: Vec<String>,
        /// The user's roles.
        pub roles: Vec<String>,
        /// The certificate's last moment.
        pub valid_before: Timestamp,
    }

    /// What an invited person sees before choosing a password.
    pub struct InviteView {
        /// The user's name.
        pub user: String,
        /// The cluster's name.
        pub cluster: String,
        /// The TOTP secret in base32, for typing.
        pub totp_secret: String,
        /// The `otpauth://` address, for a QR code.
        pub totp_uri: String,
        /// Whether a code will be needed to log in.
        pub second_factor: bool,
    }

    /// Uses an invite.
    pub struct AcceptInvite {
        /// The new password.
        pub password: String,
        /// A code of the new secret, to prove it was stored.
        #[serde(default)]
        pub code: String,
    }

    /// Asks for an invite or a reset.
    #[derive(Debug)]
    pub struct NewInvite {
        /// How long it may be used, in seconds; 0 for one hour.
        #[serde(default)]
        pub ttl_secs: u64,
    }

    /// An invite: shown once.
    pub struct InviteLink {
        /// The user.
        pub user: String,
        /// The secret part.
        pub token: String,
        /// Where to open or pass to `pal invite accept`.
        pub url: String,
        /// The pin to check at first contact.
        pub ca_pin: String,
        /// When it runs out.
        pub expires: Timestamp,
    }

    /// Who the caller is.
    #[derive(Debug)]
    pub struct WhoAmI {
        /// The user, or `local:operator`.
        pub user: String,
        /// Their roles.
        pub roles: Vec<String>,
        /// The logins that their roles allow.
        pub logins: Vec<String>,
    }

    /// A page of a list.
    #[derive(Debug)]
    pub struct Page {
        /// The items, as records in JSON.
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::record::AnyRecord>))]
        pub items: Vec<serde_json::Value>,
        /// Give it back as `after` for the next page; empty at the end.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub next: String,
    }

    /// Asks for a join token.
    #[derive(Debug)]
    pub struct NewToken {
        /// How long it may be used, in seconds; 0 for 30 minutes.
        #[serde(default)]
        pub ttl_secs: u64,
        /// For an agent instead of a node: what it may join as.
        #[serde(default)]
        pub host: Option<crate::record::HostToken>,
    }

    /// An agent asks to be let in.
    pub struct HostJoinRequest {
        /// The token record's name.
        pub token: String,
        /// The token's secret.
        pub secret: String,
        /// The cluster id that the token names.
        pub cluster_id: String,
        /// The host's name.
        pub name: String,
        /// Its SSH host key, one OpenSSH line.
        pub ssh_public_key: String,
        /// Its TLS public key, PEM (SubjectPublicKeyInfo).
        pub tls_public_key: String,
        /// Its clock, to notice a wrong one.
        pub now: Timestamp,
        /// Its program's version.
        pub version: String,
    }

    /// New certificates for an agent, for new keys or the ones it has.
    #[derive(Debug)]
    pub struct HostRenewRequest {
        /// As in a join.
        pub ssh_public_key: String,
        /// As in a join.
        pub tls_public_key: String,
    }

    /// What an agent gets.
    #[derive(Debug)]
    pub struct HostJoinReply {
        /// The host's name.
        pub host: String,
        /// The agent's id.
        pub agent: u64,
        /// The cluster's name.
        pub cluster: String,
        /// The cluster's id.
        pub cluster_id: String,
        /// OpenSSH host certificate, one line.
        pub ssh_certificate: String,
        /// X.509 identity, PEM.
        pub tls_certificate: String,
        /// TLS authority certificates, PEM.
        pub tls_authorities: Vec<String>,
        /// User authorities, OpenSSH public key lines: whose certificates the agent accepts.
        pub user_authorities: Vec<String>,
        /// HTTPS addresses of all nodes.
        pub web_addrs: Vec<String>,
        /// When the certificates begin to be valid.
        pub valid_after: Timestamp,
        /// Their last moment.
        pub valid_before: Timestamp,
    }

    /// A join token: shown once.
    pub struct JoinToken {
        /// The whole token, as `palctl cluster join` takes it: `pj1.<cluster id>.<ca pin hex>.<name>.<secret>`.
        pub token: String,
        /// The pin in it.
        pub ca_pin: String,
        /// The token record's name, to revoke it by.
        pub name: String,
        /// When it runs out.
        pub expires: Timestamp,
        /// The addresses to join at.
        pub web_addrs: Vec<String>,
    }

    /// A node asks to be let in.
    pub struct JoinRequest {
        /// The token record's name.
        pub token: String,
        /// The token's secret.
        pub secret: String,
        /// The cluster id that the token names.
        pub cluster_id: String,
        /// The new node's name.
        pub name: String,
        /// Where other nodes will reach it.
        pub peer_addr: String,
        /// Its HTTPS address.
        pub web_addr: String,
        /// Its SSH address.
        pub ssh_addr: String,
        /// Made anew with its data directory.
        pub incarnation: String,
        /// Its peer TLS public key, PEM.
        pub peer_public_key: String,
        /// Its key for wrapping the cluster key, hex (X25519).
        pub wrap_public_key: String,
        /// Its clock, to notice a wrong one.
        pub now: Timestamp,
        /// Its program's version.
        pub version: String,
    }

    /// A node is let in.
    pub struct JoinReply {
        /// The id allocated to it.
        pub node_id: u64,
        /// The cluster's name.
        pub cluster: String,
        /// The cluster's id.
        pub cluster_id: String,
        /// Its peer certificate, PEM.
        pub peer_certificate: String,
        /// The peer authorities, PEM.
        pub peer_authorities: Vec<String>,
        /// The cluster key, sealed to the key in the request, hex.
        pub wrapped_cluster_key: String,
        /// Peer addresses of the members, `id=addr`.
        pub members: Vec<String>,
    }

    /// A host that the caller may reach.
    #[derive(Debug)]
    pub struct HostView {
        /// Its name.
        pub name: String,
        /// Its address, or that an agent serves it.
        pub addr: String,
        /// Whether its agent is connected; not known of plain OpenSSH servers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub online: Option<bool>,
        /// Its labels.
        #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
        pub labels: Labels,
        /// The logins allowed there.
        pub logins: Vec<String>,
    }

    /// Hosts, paged.
    #[derive(Debug)]
    pub struct HostPage {
        /// The hosts.
        pub items: Vec<HostView>,
        /// Give it back as `after` for the next page; empty at the end.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub next: String,
    }

    /// A session that runs now.
    #[derive(Debug)]
    pub struct LiveSession {
        /// Its id.
        pub session: String,
        /// Who.
        pub user: String,
        /// As which account.
        pub login: String,
        /// Where.
        pub host: String,
        /// From where.
        pub client_addr: String,
        /// The node that carries it.
        pub node: u64,
        /// `interactive`, `exec`, `sftp`, `forward`.
        pub kind: String,
        /// Since when.
        pub started: Timestamp,
        /// Who is in it, the owner first; an owner who lost their connection is not.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub participants: Vec<SessionParticipant>,
    }

    /// Somebody who is in a live session.
    #[derive(Debug)]
    pub struct SessionParticipant {
        /// Who.
        pub user: String,
        /// As what: `owner`, `observer`, `moderator`, `peer`.
        pub mode: String,
    }

    /// Live sessions.
    #[derive(Debug)]
    pub struct LiveSessions {
        /// They.
        pub items: Vec<LiveSession>,
    }

    /// A recording's row; the sealed key is left out.
    #[derive(Debug)]
    pub struct RecordingView {
        /// The row.
        pub recording: RecordingSpec,
    }

    /// Recordings, paged, newest first.
    #[derive(Debug)]
    pub struct RecordingPage {
        /// The rows.
        pub items: Vec<RecordingView>,
        /// Give it back as `after` for the next page; empty at the end.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub next: String,
    }

    /// A search of the audit log; every field narrows it.
    #[derive(Debug, Default)]
    #[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
    pub struct AuditSearch {
        /// Not before (RFC 3339).
        #[serde(default)]
        #[cfg_attr(feature = "openapi", param(format = DateTime))]
        pub from: String,
        /// Before (RFC 3339).
        #[serde(default)]
        #[cfg_attr(feature = "openapi", param(format = DateTime))]
        pub to: String,
        /// This user.
        #[serde(default)]
        pub user: String,
        /// This host.
        #[serde(default)]
        pub host: String,
        /// This event name, or the beginning of one: `session.`.
        #[serde(default)]
        pub event: String,
        /// Text that appears anywhere in the event.
        #[serde(default)]
        pub text: String,
        /// At most so many, 1 to 1000; 0 for 100.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", param(maximum = 1000))]
        pub limit: u32,
        /// Oldest first instead of newest first.
        #[serde(default)]
        pub oldest_first: bool,
        /// From the page before.
        #[serde(default)]
        pub cursor: String,
    }

    /// One audit event with its place.
    #[derive(Debug)]
    pub struct AuditItem {
        /// Its sequence number in the log, from 0.
        pub seq: u64,
        /// Its code.
        pub code: String,
        /// The event.
        pub event: Event,
    }

    /// A page of audit events.
    #[derive(Debug)]
    pub struct AuditPage {
        /// The events.
        pub items: Vec<AuditItem>,
        /// For the next page; empty at the end.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub cursor: String,
    }

    /// An authority's public half.
    #[derive(Debug)]
    pub struct AuthorityView {
        /// `user`, `host`, `tls`, `peer` or `audit`.
        #[serde(rename = "type")]
        #[cfg_attr(feature = "openapi", schema(value_type = crate::record::AuthorityType))]
        pub authority: String,
        /// What to put into a file: an OpenSSH public key line, or a certificate in PEM.
        pub public: String,
        /// `sha256:<hex>`.
        pub pin: String,
    }

    /// Asks for a host certificate for an OpenSSH server.
    #[derive(Debug)]
    pub struct SignHost {
        /// The names people use for it; the first is the host's record name if there is one.
        pub names: Vec<String>,
        /// The server's host public key, one OpenSSH line.
        pub public_key: String,
        /// How long it shall live, in seconds; 0 for a year.
        #[serde(default)]
        pub ttl_secs: u64,
    }

    /// A host certificate, and what sshd must trust.
    #[derive(Debug)]
    pub struct HostCertificate {
        /// For `HostCertificate`.
        pub certificate: String,
        /// For `TrustedUserCAKeys`.
        pub user_authorities: Vec<String>,
    }

    /// One node in the status.
    #[derive(Debug, Default)]
    pub struct NodeStatus {
        /// Its id.
        pub id: u64,
        /// Its name.
        pub name: String,
        /// `leader`, `follower`, `candidate`, `learner`, or `unknown`.
        pub role: String,
        /// Whether it votes.
        pub voter: bool,
        /// Its peer address.
        pub peer_addr: String,
        /// Its HTTPS address.
        pub web_addr: String,
        /// Its SSH address.
        pub ssh_addr: String,
        /// Entries that it lacks, as the leader sees it; absent where that is not known.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub lag: Option<u64>,
        /// Milliseconds since it was last heard from, as the leader sees it.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub last_contact_ms: Option<u64>,
        /// Whether it answers.
        pub reachable: bool,
        /// For how many milliseconds the leader has not heard from it.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub silent_ms: Option<u64>,
        /// In how many seconds it is taken out, if it stays silent; only where `cluster_maintenance_config` says so.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub removed_in_secs: Option<u64>,
        /// What it says of itself; absent where it did not answer in time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub vitals: Option<NodeVitals>,
    }

    /// When a certificate ends.
    #[derive(Debug, Default)]
    pub struct CertificateEnd {
        /// Which: `peer`, `https`, `peer authority`, `tls authority`.
        pub what: String,
        /// Its last moment.
        pub ends: Timestamp,
        /// Whole days until then; 0 once it has ended.
        pub days_left: u64,
    }

    /// How a node is doing, by its own account.
    #[derive(Debug, Default)]
    pub struct NodeVitals {
        /// Its program's version.
        pub version: String,
        /// Since its process began to serve, in seconds.
        pub uptime_secs: u64,
        /// Last log index that it applied.
        pub applied_index: u64,
        /// Free bytes on its data disk.
        pub disk_free_bytes: u64,
        /// Size of its data disk.
        pub disk_size_bytes: u64,
        /// 99th percentile of its recent disk syncs, in microseconds.
        pub fsync_p99_us: u64,
        /// The largest difference between its clock and another node's, in milliseconds.
        pub clock_skew_ms: u64,
        /// Sessions that it carries.
        pub sessions: u64,
        /// Agents that hold a tunnel to it.
        pub agents: u64,
        /// Resident memory of its process.
        pub memory_bytes: u64,
        /// Processor time that its process took, in milliseconds.
        pub cpu_ms: u64,
        /// Audit pages that it lacks.
        pub pages_missing: u64,
        /// Chunks of recordings that it lacks.
        pub chunks_missing: u64,
        /// When its own certificates end.
        pub certificates: Vec<CertificateEnd>,
        /// Why it is not fit to take changes (as `/readyz?write` says); empty if it is.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub trouble: String,
    }

    /// The cluster, as one node sees it.
    #[derive(Debug, Default)]
    pub struct ClusterStatus {
        /// The cluster's name; empty while the node is in no cluster.
        pub cluster: String,
        /// Its id.
        pub cluster_id: String,
        /// The TLS authority's pin.
        pub ca_pin: String,
        /// The node that answers.
        pub node: u64,
        /// The leader's id, if there is one.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub leader: Option<u64>,
        /// The term.
        pub term: u64,
        /// Last log index on the answering node.
        pub last_index: u64,
        /// Applied log index on the answering node.
        pub applied_index: u64,
        /// Whether the answering node hears from a leader with a quorum.
        pub quorum: bool,
        /// How many voters may be lost without losing the quorum, counted from those that answer now.
        pub failure_tolerance: u64,
        /// Free bytes on the answering node's disk.
        pub disk_free_bytes: u64,
        /// 99th percentile of recent disk syncs on the answering node, in microseconds.
        pub fsync_p99_us: u64,
        /// The largest difference between the answering node's clock and another's, in milliseconds.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub clock_skew_ms: u64,
        /// The program's version.
        pub version: String,
        /// When the cluster's authorities end, where they end at all.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub certificates: Vec<CertificateEnd>,
        /// The members.
        pub nodes: Vec<NodeStatus>,
        /// What to do next, in words; empty if nothing.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required = true))]
        pub advice: Vec<String>,
    }

    /// A text of a support bundle.
    #[derive(Debug)]
    pub struct SupportFile {
        /// Its name.
        pub name: String,
        /// What is in it; no secrets.
        pub text: String,
    }

    /// What somebody who helps wants to see of a node. Only on its control socket.
    #[derive(Debug)]
    pub struct SupportBundle {
        /// The texts.
        pub files: Vec<SupportFile>,
    }

    /// Hands leadership over.
    #[derive(Debug)]
    pub struct Transfer {
        /// To this node, or to any if empty.
        #[serde(default)]
        pub to: String,
    }

    /// Has one node take another's place.
    #[derive(Debug)]
    pub struct Replacement {
        /// The node that goes.
        pub old: crate::name::Name,
        /// The node that stays in its place: a member already, whether it votes yet or not.
        pub with: crate::name::Name,
        /// Also if the node that goes answers while another does not.
        #[serde(default)]
        pub healthy: bool,
    }

    /// Makes a cluster of this node. Only on the control socket.
    #[derive(Debug)]
    pub struct InitRequest {
        /// The cluster's name.
        pub cluster: String,
    }

    /// A new cluster.
    #[derive(Debug)]
    pub struct InitReply {
        /// Its id.
        pub cluster_id: String,
        /// The TLS authority's pin.
        pub ca_pin: String,
        /// False if the node was a cluster's already: nothing was done.
        pub created: bool,
    }

    /// Orders a node to join. Only on its control socket.
    pub struct JoinOrder {
        /// The whole token.
        pub token: String,
        /// HTTPS address of a member.
        pub addr: String,
    }
}

/// One line of the audit export: an event as stored, or a signed head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AuditExportLine {
    /// The audit authorities' public keys, first line.
    Authority {
        /// OpenSSH public key line.
        ssh_public_key: String,
        /// The cluster's id, which is part of what is signed.
        cluster_id: String,
    },
    /// An event.
    Event {
        /// Its sequence number.
        seq: u64,
        /// The stored bytes, base64: what the tree hashes.
        bytes: String,
    },
    /// Events that are on no node any more, in the place where they belong.
    Lost {
        /// The sequence number of the first.
        first: u64,
        /// How many.
        count: u32,
        /// Hex SHA-256 of the page's file.
        file_sha256: String,
        /// What each node said.
        why: String,
    },
    /// A signed head.
    Head {
        /// Events covered.
        size: u64,
        /// Hex root.
        root: String,
        /// When.
        time: Timestamp,
        /// Hex signature.
        signature: String,
    },
}

/// One line of a recording as the player reads it: the first is `start`, the last `end`. Bytes are base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PlayLine {
    /// Whose session it was.
    Start(RecordingSpec),
    /// Something that happened.
    Event {
        /// Milliseconds since the session began.
        at_ms: u64,
        /// Milliseconds since 1970.
        wall_ms: u64,
        /// What.
        what: PlayEvent,
    },
    /// What was masked in this copy, before its end: one for each rule. Only in copies that leave the cluster.
    Masked(Vec<MaskedRule>),
    /// There is no more.
    End {
        /// Whether the recording holds the session to its end.
        complete: bool,
        /// The same in words.
        text: String,
    },
}

/// What happened in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PlayEvent {
    /// Output, base64.
    Output(String),
    /// Standard error of a command without a terminal, base64.
    ErrorOutput(String),
    /// Input of a command without a terminal, base64.
    Input(String),
    /// So many bytes were typed.
    InputSize(u64),
    /// The terminal got this size.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// A remark.
    Note(String),
    /// A command was started.
    Exec(String),
    /// It ended with this status.
    Exit(u32),
    /// All of one direction of a command without a terminal.
    Captured {
        /// `input`, `output` or `error_output`.
        direction: String,
        /// Bytes that went by.
        size: u64,
        /// Bytes that were kept.
        recorded: u64,
        /// Hex SHA-256 of all of them.
        sha256: String,
    },
}

// These carry secrets: they show the one field that says whose they are.
secret_debug!(
    LoginRequest(user),
    InviteView(user),
    InviteLink(user),
    JoinToken(name),
    JoinRequest(name),
    JoinReply(node_id),
    JoinOrder(addr)
);

impl std::fmt::Debug for AcceptInvite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AcceptInvite { .. }")
    }
}
