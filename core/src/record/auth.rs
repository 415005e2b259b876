//! `cert_authority` and `cluster_auth_preference`.

use crate::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};

/// What an authority vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AuthorityType {
    /// SSH user certificates (Ed25519).
    User,
    /// SSH host certificates (Ed25519).
    Host,
    /// HTTPS servers and API clients (X.509, P-256).
    Tls,
    /// Nodes to each other, and nothing else (X.509, P-256).
    Peer,
    /// Heads of the audit log (Ed25519).
    Audit,
}

impl AuthorityType {
    /// All of them, in the order they are made.
    pub const ALL: [AuthorityType; 5] = [
        AuthorityType::User,
        AuthorityType::Host,
        AuthorityType::Tls,
        AuthorityType::Peer,
        AuthorityType::Audit,
    ];

    /// The word in YAML, URLs and as the record's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuthorityType::User => "user",
            AuthorityType::Host => "host",
            AuthorityType::Tls => "tls",
            AuthorityType::Peer => "peer",
            AuthorityType::Audit => "audit",
        }
    }
}

impl std::fmt::Display for AuthorityType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The public half of an authority. The sealed private half lives under a key of its own that no API reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertAuthoritySpec {
    /// What it vouches for.
    #[serde(rename = "type")]
    pub authority: AuthorityType,
    /// The SSH public key line (user, host, audit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_public_key: Option<String>,
    /// The certificate in PEM (tls, peer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// `sha256:<hex>` of the public key: what people pin.
    pub pin: String,
    /// When it was made.
    pub created: Timestamp,
}

/// Whether a password alone is enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SecondFactor {
    /// A time-based code (RFC 6238) is needed as well.
    #[default]
    Totp,
    /// Password alone.
    Off,
}

/// How people log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuthPreferenceSpec {
    /// The second factor that local users need.
    #[serde(default)]
    pub second_factor: SecondFactor,
    /// After this many failures within `lockout_window`, a user waits for `lockout_window`.
    #[serde(default = "default_failures")]
    pub max_failures: u32,
    /// See `max_failures`.
    #[serde(default = "default_window")]
    pub lockout_window: Ttl,
    /// The life of a certificate when neither the user nor a role asks for a shorter one.
    #[serde(default = "default_ttl")]
    pub default_session_ttl: Ttl,
    /// Whether people may log in to the web pages with a passkey (Web Authentication) instead of a code.
    #[serde(default = "default_passkeys")]
    pub passkeys: bool,
    /// Whether a passkey is enough, without the password beside it.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub passwordless: bool,
    /// The domain that passkeys are for, such as `example.com`, where the nodes have names below it; empty: each name that
    /// the pages are opened under has its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rp_id: String,
}

fn default_passkeys() -> bool {
    true
}
fn yes() -> bool {
    true
}
// What was written before the field was there reads and writes as it was.
fn is_true(value: &bool) -> bool {
    *value
}
fn default_failures() -> u32 {
    5
}
fn default_window() -> Ttl {
    Ttl::secs(300)
}
fn default_ttl() -> Ttl {
    Ttl::hours(12)
}

impl Default for AuthPreferenceSpec {
    fn default() -> Self {
        AuthPreferenceSpec {
            second_factor: SecondFactor::Totp,
            max_failures: default_failures(),
            lockout_window: default_window(),
            default_session_ttl: default_ttl(),
            passkeys: default_passkeys(),
            passwordless: yes(),
            rp_id: String::new(),
        }
    }
}
