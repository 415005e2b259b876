//! The replicated state and how a log entry changes it. [`apply`] is a pure function of the state and the entry:
//! every node that applies the same log holds the same bytes.
//!
//! | keys | what |
//! | --- | --- |
//! | `r/<kind>/<name>` | records |
//! | `s/ca/<type>` | sealed private keys of the authorities |
//! | `s/auth/<user>` | password hash, sealed TOTP secret, failures: never shown by any API |
//! | `s/invite/<sha256>`, `s/invited/<user>` | open invites and resets |
//! | `s/web/<id>`, `w/<user>/<id>` | sessions of browsers, and whose they are |
//! | `s/approval/<code>` | programs that ask to be let in |
//! | `s/passkeys/<user>`, `s/handle/<handle>`, `s/credential/<sha256>` | passkeys, and whose handles and credentials are |
//! | `s/shares/<session>/<id>`, `s/share/<sha256>` | links to recordings, and which of them a token opens |
//! | `v/<user>` | up to which serial the user's certificates are void |
//! | `a/<seq>` | recent audit events, in order: those that are on no page yet |
//! | `p/<first seq>` | manifests of audit pages |
//! | `h/<size>` | signed heads of the audit tree |
//! | `l/<user>/<session>` | sessions that have begun and not ended |
//! | `k/<slot>` | answers kept for retries; `q/<id>` and `t/<time><id>` in states of earlier programs |
//! | `x/<id>` | ids of nodes that left, never to be used again |
//! | `m/...` | cluster, audit frontier, clock |

mod agents;
mod answers;
mod apply;
mod approvals;
mod auth;
mod browser;
mod keys;
mod pages;
mod passkeys;
mod people;
mod shares;

pub use apply::{
    Applied, ENTRY_BYTES_MAX, FIRST_NODE, Fault, NOTIFY_MEMBERS, NOTIFY_POLICY, NOTIFY_SESSIONS, apply,
};
pub use approvals::{APPROVAL_MS, APPROVALS_MAX, Approval, Outcome, approval};
pub use auth::{Invite, LocalAuth, RECOVERY_CODES};
pub use browser::{BROWSER_SESSIONS_MAX, BrowserSession, CONFIRMED_MS, browser_session, browser_sessions};
pub use keys::{audit_key, audit_range, record_key};
pub use pages::{last_page, next_page, pages_before, pages_from, sealed_until};
pub use passkeys::{PASSKEY_CHALLENGE_MS, PASSKEYS_MAX, Passkey, Passkeys, handle_owner, passkeys};
pub use shares::{SHARE_NOTE_CHARS, SHARE_TTL_MS, SHARES_MAX, Share, share, share_of_token, shares};

use crate::command::Sealed;
use crate::event::Event;
use crate::kv::{Kv, KvFault, prefix_end};
use crate::merkle::Frontier;
use crate::name::{ClusterId, Name, NodeId, SessionId};
use crate::record::{
    AnyRecord, AuthPreferenceSpec, AuthorityType, Kind, MaintenanceConfigSpec, Record, RecordingConfigSpec,
    Spec,
};
use crate::time::Timestamp;
use crate::wire::{self, WireError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;

/// The version byte of everything stored under the keys above, except events and replies, which have their own.
pub const STATE_VERSION: u8 = 1;

/// What the cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: Name,
    /// Its id.
    pub id: ClusterId,
    /// When it was made.
    pub created: Timestamp,
    /// The feature level: commands of a higher one may not be proposed.
    pub level: u32,
}

/// A signed head of the audit tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// Events covered.
    pub size: u64,
    /// Hex root hash.
    pub root: String,
    /// When it was signed.
    pub time: Timestamp,
    /// Hex signature of the audit authority.
    pub signature: String,
}

fn fault(key: &[u8], error: WireError) -> KvFault {
    KvFault {
        key: String::from_utf8_lossy(key).escape_debug().to_string(),
        why: error.to_string(),
    }
}

fn read<T: DeserializeOwned>(kv: &dyn Kv, what: &'static str, key: &[u8]) -> Result<Option<T>, KvFault> {
    let Some(bytes) = kv.get(key)? else {
        return Ok(None);
    };
    wire::decode(what, STATE_VERSION, &bytes)
        .map(Some)
        .map_err(|e| fault(key, e))
}

/// The cluster, once it is initialised.
pub fn cluster(kv: &dyn Kv) -> Result<Option<Cluster>, KvFault> {
    read(kv, "cluster", keys::CLUSTER)
}

/// One record of any kind.
pub fn any_record(kv: &dyn Kv, kind: Kind, name: &str) -> Result<Option<AnyRecord>, KvFault> {
    read(kv, "record", &record_key(kind, name))
}

/// One record of a known kind.
pub fn record<S: Spec>(kv: &dyn Kv, name: &Name) -> Result<Option<Record<S>>, KvFault> {
    Ok(any_record(kv, S::KIND, name.as_str())?.and_then(S::from_any))
}

/// Up to `limit` records of a kind in name order, beginning after a name.
pub fn any_records(
    kv: &dyn Kv,
    kind: Kind,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<AnyRecord>, KvFault> {
    let prefix = record_key(kind, "");
    let from = match after {
        Some(after) => [record_key(kind, after), vec![0]].concat(),
        None => prefix.clone(),
    };
    let pairs = kv.scan(&from, prefix_end(&prefix).as_deref(), limit, false)?;
    pairs
        .iter()
        .map(|(key, bytes)| wire::decode("record", STATE_VERSION, bytes).map_err(|e| fault(key, e)))
        .collect()
}

/// Every record of a kind.
pub fn records<S: Spec>(kv: &dyn Kv) -> Result<Vec<Record<S>>, KvFault> {
    Ok(any_records(kv, S::KIND, None, usize::MAX)?
        .into_iter()
        .filter_map(S::from_any)
        .collect())
}

/// The name of the one `cluster_auth_preference`.
pub const AUTH_PREFERENCE: &str = "cluster-auth-preference";
/// The name of the one `session_recording_config`.
pub const RECORDING_CONFIG: &str = "session-recording-config";

/// The name of the one `cluster_maintenance_config`.
pub const MAINTENANCE_CONFIG: &str = "cluster-maintenance-config";

/// What the cluster does for its own upkeep: the record, or the defaults.
pub fn maintenance_config(kv: &dyn Kv) -> Result<MaintenanceConfigSpec, KvFault> {
    let any = any_record(kv, Kind::MaintenanceConfig, MAINTENANCE_CONFIG)?;
    Ok(any
        .and_then(MaintenanceConfigSpec::from_any)
        .map(|r| r.spec)
        .unwrap_or_default())
}

/// How people log in: the record, or the defaults.
pub fn auth_preference(kv: &dyn Kv) -> Result<AuthPreferenceSpec, KvFault> {
    let any = any_record(kv, Kind::AuthPreference, AUTH_PREFERENCE)?;
    Ok(any
        .and_then(AuthPreferenceSpec::from_any)
        .map(|r| r.spec)
        .unwrap_or_default())
}

/// How sessions are recorded: the record, or the defaults.
pub fn recording_config(kv: &dyn Kv) -> Result<RecordingConfigSpec, KvFault> {
    let any = any_record(kv, Kind::RecordingConfig, RECORDING_CONFIG)?;
    Ok(any
        .and_then(RecordingConfigSpec::from_any)
        .map(|r| r.spec)
        .unwrap_or_default())
}

/// An authority's sealed private key.
pub fn sealed_authority(kv: &dyn Kv, authority: AuthorityType) -> Result<Option<Sealed>, KvFault> {
    read(kv, "sealed authority", &keys::authority(authority))
}

/// What proves a local user. Only the login and the lock-out logic read it.
pub fn local_auth(kv: &dyn Kv, user: &Name) -> Result<Option<LocalAuth>, KvFault> {
    read(kv, "credentials", &keys::auth(user))
}

/// Certificates of this user with this serial or a lower one are void: they were issued to an earlier user of the name,
/// or before the password was reset. Serials are log indices, so that no clock is asked.
pub fn certs_void_until(kv: &dyn Kv, user: &Name) -> Result<u64, KvFault> {
    Ok(read(kv, "void certificates", &keys::void_until(user))?.unwrap_or(0))
}

/// An open invite, by the hex SHA-256 of its token.
pub fn invite(kv: &dyn Kv, token_sha256: &str) -> Result<Option<Invite>, KvFault> {
    read(kv, "invite", &keys::invite(token_sha256))
}

/// Ids of nodes that left.
pub fn tombstones(kv: &dyn Kv) -> Result<BTreeSet<NodeId>, KvFault> {
    let pairs = kv.scan(b"x/", prefix_end(b"x/").as_deref(), usize::MAX, false)?;
    pairs.iter().map(|(key, _)| keys::tombstone_id(key)).collect()
}

/// The append-only frontier of the audit tree: size and root.
pub fn audit_frontier(kv: &dyn Kv) -> Result<Frontier, KvFault> {
    match kv.get(keys::FRONTIER)? {
        None => Ok(Frontier::default()),
        Some(bytes) => Frontier::from_bytes(&bytes).map_err(|e| KvFault {
            key: "m/frontier".into(),
            why: e.to_string(),
        }),
    }
}

/// Audit events that are on no page yet as `(sequence number, stored bytes)`, from `from` on. Whoever wants all events
/// reads through [`AuditLog`](crate::audit_log::AuditLog).
pub fn audit_bytes(kv: &dyn Kv, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, KvFault> {
    let (start, end) = audit_range(from, u64::MAX);
    let pairs = kv.scan(&start, Some(&end), limit, false)?;
    pairs
        .into_iter()
        .map(|(key, bytes)| Ok((keys::audit_seq(&key)?, bytes)))
        .collect()
}

/// One audit event that is on no page yet.
pub fn audit_event(kv: &dyn Kv, seq: u64) -> Result<Option<Event>, KvFault> {
    let key = audit_key(seq);
    let Some(bytes) = kv.get(&key)? else {
        return Ok(None);
    };
    Event::from_bytes(&bytes).map(Some).map_err(|e| fault(&key, e))
}

/// Signed heads, oldest first, of trees of at least `from` events.
pub fn signed_heads(kv: &dyn Kv, from: u64, limit: usize) -> Result<Vec<SignedHead>, KvFault> {
    let pairs = kv.scan(&keys::head(from), prefix_end(b"h/").as_deref(), limit, false)?;
    pairs
        .iter()
        .map(|(key, bytes)| wire::decode("head", STATE_VERSION, bytes).map_err(|e| fault(key, e)))
        .collect()
}

/// The newest signed head.
pub fn last_head(kv: &dyn Kv) -> Result<Option<SignedHead>, KvFault> {
    let pairs = kv.scan(b"h/", prefix_end(b"h/").as_deref(), 1, true)?;
    pairs
        .first()
        .map(|(key, bytes)| wire::decode("head", STATE_VERSION, bytes).map_err(|e| fault(key, e)))
        .transpose()
}

/// Sessions that have begun and not ended, of one user or of all: `(user, session)`.
pub fn open_sessions(kv: &dyn Kv, user: Option<&Name>) -> Result<Vec<(Name, SessionId)>, KvFault> {
    let prefix = keys::open_sessions(user);
    let pairs = kv.scan(&prefix, prefix_end(&prefix).as_deref(), usize::MAX, false)?;
    pairs
        .iter()
        .map(|(key, _)| keys::open_session_parts(key))
        .collect()
}
