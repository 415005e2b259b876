//! Records: the replicated, revisioned objects, one type a kind. A value of these types is valid: every name,
//! pattern, verb and length was checked when it was read, and unknown fields were refused.

mod auth;
mod cluster;
mod host;
mod lock;
mod recording;
mod role;
mod user;

pub use auth::{AuthPreferenceSpec, AuthorityType, CertAuthoritySpec, SecondFactor};
pub use cluster::{HostToken, MaintenanceConfigSpec, NodeSpec, TokenSpec};
pub use host::{BadAddr, HostAddr, HostAgent, HostSpec};
pub use lock::{LockSpec, LockTarget};
pub use recording::{
    Completeness, REDACT_RULES_MAX, RecordingConfigSpec, RecordingMode, RecordingSite, RecordingSpec,
    RedactRule, SessionKind,
};
pub use role::{
    Conditions, Grant, JoinMode, JoinSessions, OnLeave, RequireSessionJoin, RoleOptions, RoleSpec, Rule, Verb,
};
pub use user::UserSpec;

use crate::name::Name;
use crate::text;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize, de};
use std::collections::BTreeMap;
use std::fmt;

/// Name, value pairs on hosts and records.
pub type Labels = BTreeMap<String, String>;

/// What every record carries beside its `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Metadata {
    /// The record's name, unique within its kind.
    pub name: Name,
    /// A line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Labels, which role rules and selectors match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub labels: Labels,
    /// When the record stops having any effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The log index of the last change. Given on a change, it must be the current one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Metadata {
    /// Metadata with just a name.
    pub fn named(name: Name) -> Self {
        Metadata {
            name,
            description: String::new(),
            labels: Labels::new(),
            expires: None,
            revision: 0,
        }
    }
}

/// The one version of every kind so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Version {
    /// The first.
    #[default]
    #[serde(rename = "v1")]
    V1,
}

macro_rules! kinds {
    // The words are tokens (`tt`), not `literal`s: a literal that went through a macro stands in a group that the derive of
    // the API's document does not look into, and the document would have Rust's names.
    ($($(#[$doc:meta])* $variant:ident($spec:ty) = $text:tt, $plural:tt;)*) => {
        /// The kinds of record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Kind { $($(#[$doc])* #[serde(rename = $text)] $variant,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            /// The word in YAML and in URLs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $text,)* }
            }

            /// Reads the singular or plural word; the error names the nearest one.
            pub fn parse(text: &str) -> Result<Kind, UnknownKind> {
                match text {
                    $($text | $plural => Ok(Kind::$variant),)*
                    other => Err(UnknownKind::new(other)),
                }
            }
        }

        /// A record of any kind.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum AnyRecord { $($(#[$doc])* #[serde(rename = $text)] $variant(Record<$spec>),)* }

        impl AnyRecord {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(AnyRecord::$variant(_) => Kind::$variant,)* }
            }
            /// Its metadata.
            pub fn metadata(&self) -> &Metadata {
                match self { $(AnyRecord::$variant(r) => &r.metadata,)* }
            }
            /// Its metadata, to change.
            pub fn metadata_mut(&mut self) -> &mut Metadata {
                match self { $(AnyRecord::$variant(r) => &mut r.metadata,)* }
            }
            /// The record as people and the HTTP API see it: `{kind, version, metadata, spec}`.
            pub fn to_json(&self) -> serde_json::Value {
                match self { $(AnyRecord::$variant(r) => document($text, r),)* }
            }
            /// Reads one document of this kind.
            fn read(kind: Kind, document: &text::Document) -> Result<AnyRecord, text::TextErrors> {
                match kind { $(Kind::$variant => document.decode_all::<Written<$spec>>().map(|d| AnyRecord::$variant(d.into())),)* }
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for AnyRecord {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                crate::openapi::one_of_records(&[$(stringify!($variant),)*])
            }
        }
        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for AnyRecord {
            fn schemas(all: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>) {
                $(crate::openapi::record::<$spec>(stringify!($variant), $text, all);)*
            }
        }

        $(impl From<Record<$spec>> for AnyRecord {
            fn from(record: Record<$spec>) -> AnyRecord { AnyRecord::$variant(record) }
        }
        impl Spec for $spec {
            const KIND: Kind = Kind::$variant;
            fn from_any(any: AnyRecord) -> Option<Record<Self>> {
                if let AnyRecord::$variant(record) = any { Some(record) } else { None }
            }
        })*
    };
}

kinds! {
    /// A person (or a robot).
    User(UserSpec) = "user", "users";
    /// What its holders may do.
    Role(RoleSpec) = "role", "roles";
    /// A join token.
    Token(TokenSpec) = "token", "tokens";
    /// A machine that people log in to.
    Host(HostSpec) = "host", "hosts";
    /// A refusal that overrules every role.
    Lock(LockSpec) = "lock", "locks";
    /// The public half of a certificate authority.
    CertAuthority(CertAuthoritySpec) = "cert_authority", "cert_authorities";
    /// How people log in; one record named `cluster-auth-preference`.
    AuthPreference(AuthPreferenceSpec) = "cluster_auth_preference", "cluster_auth_preferences";
    /// How sessions are recorded; one record named `session-recording-config`.
    RecordingConfig(RecordingConfigSpec) = "session_recording_config", "session_recording_configs";
    /// The index row of one session's recording.
    Recording(RecordingSpec) = "recording", "recordings";
    /// A member of the cluster.
    Node(NodeSpec) = "node", "nodes";
    /// What the cluster does for its own upkeep; one record named `cluster-maintenance-config`.
    MaintenanceConfig(MaintenanceConfigSpec) = "cluster_maintenance_config", "cluster_maintenance_configs";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a kind's `spec` is.
pub trait Spec: Serialize + for<'de> Deserialize<'de> + Clone + Sized {
    /// The kind.
    const KIND: Kind;
    /// The record inside, if it is of this kind.
    fn from_any(any: AnyRecord) -> Option<Record<Self>>;
}

/// One record of a known kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record<S> {
    /// Its format's version.
    pub version: Version,
    /// Name, labels, expiry, revision.
    pub metadata: Metadata,
    /// The kind's own part.
    pub spec: S,
}

impl<S> Record<S> {
    /// A record with just a name and a spec.
    pub fn new(name: Name, spec: S) -> Self {
        Record {
            version: Version::V1,
            metadata: Metadata::named(name),
            spec,
        }
    }

    /// Whether the record has run out at this time.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.metadata.expires.is_some_and(|at| at <= now)
    }
}

/// A record as it is written: with its kind beside it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<S> {
    #[expect(dead_code, reason = "read before, to choose the type")]
    kind: Kind,
    #[serde(default)]
    version: Version,
    metadata: Metadata,
    spec: S,
}

impl<S> From<Written<S>> for Record<S> {
    fn from(d: Written<S>) -> Self {
        Record {
            version: d.version,
            metadata: d.metadata,
            spec: d.spec,
        }
    }
}

fn document<S: Serialize>(kind: &'static str, record: &Record<S>) -> serde_json::Value {
    #[derive(Serialize)]
    struct Shown<'a, S> {
        kind: &'static str,
        version: Version,
        metadata: &'a Metadata,
        spec: &'a S,
    }
    let shown = Shown {
        kind,
        version: record.version,
        metadata: &record.metadata,
        spec: &record.spec,
    };
    // Our specs are plain structs with string keys.
    serde_json::to_value(shown).expect("records are plain data")
}

/// A word that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind {found:?}: did you mean {nearest:?}?")]
pub struct UnknownKind {
    /// The word, shortened.
    pub found: String,
    /// The nearest kind.
    pub nearest: &'static str,
}

impl UnknownKind {
    fn new(found: &str) -> Self {
        let found: String = found.chars().take(40).collect();
        let nearest = text::nearest(&found, Kind::ALL.iter().map(|k| k.as_str())).unwrap_or("user");
        UnknownKind { found, nearest }
    }
}

/// Reads records from YAML (several documents may follow one another) or JSON, strictly: unknown fields, kinds and
/// verbs and bad expressions are refused, all of them, with their places and the nearest valid names.
pub fn parse_records(text: &str) -> Result<Vec<AnyRecord>, text::TextErrors> {
    let (mut records, mut faults) = (Vec::new(), Vec::new());
    for document in &text::documents(text)? {
        match read_record(document) {
            Ok(record) => records.push(record),
            Err(more) => faults.extend(more),
        }
    }
    match text::TextErrors::new(faults) {
        None => Ok(records),
        Some(faults) => Err(faults),
    }
}

/// Reads one document as a record of the kind that it names.
pub fn read_record(document: &text::Document) -> Result<AnyRecord, text::TextErrors> {
    #[derive(Deserialize)]
    struct Head {
        kind: Kind,
    }
    match document.decode::<Head>() {
        Ok(head) => AnyRecord::read(head.kind, document),
        // What it should hold is not known, but for what every kind has.
        Err(first) => match document.decode_all::<Written<de::IgnoredAny>>() {
            Ok(_) => Err(first.into()),
            Err(all) => Err(all),
        },
    }
}
