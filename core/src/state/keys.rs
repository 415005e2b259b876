//! Where things are kept. Numbers in keys are big endian, so that key order is number order.

use crate::kv::KvFault;
use crate::name::{Name, NodeId, RequestId, SessionId};
use crate::record::{AuthorityType, Kind};

pub(super) const CLUSTER: &[u8] = b"m/cluster";
pub(super) const FRONTIER: &[u8] = b"m/frontier";
pub(super) const CLOCK: &[u8] = b"m/clock";

/// The key of a record.
pub fn record_key(kind: Kind, name: &str) -> Vec<u8> {
    format!("r/{kind}/{name}").into_bytes()
}

/// The key of an audit event.
pub fn audit_key(seq: u64) -> Vec<u8> {
    [b"a/".as_slice(), &seq.to_be_bytes()].concat()
}

/// The keys of the audit events `from..to`.
pub fn audit_range(from: u64, to: u64) -> (Vec<u8>, Vec<u8>) {
    (audit_key(from), audit_key(to))
}

pub(super) fn audit_seq(key: &[u8]) -> Result<u64, KvFault> {
    let number = key.strip_prefix(b"a/").and_then(|rest| rest.try_into().ok());
    number.map(u64::from_be_bytes).ok_or_else(|| odd(key))
}

/// The key of a page's manifest, by the sequence number of its first event.
pub(super) fn page(first: u64) -> Vec<u8> {
    [b"p/".as_slice(), &first.to_be_bytes()].concat()
}

pub(super) fn authority(authority: AuthorityType) -> Vec<u8> {
    format!("s/ca/{}", authority.as_str()).into_bytes()
}

pub(super) fn auth(user: &Name) -> Vec<u8> {
    format!("s/auth/{user}").into_bytes()
}

pub(super) fn browser(id: &str) -> Vec<u8> {
    format!("s/web/{id}").into_bytes()
}

pub(super) const APPROVALS: &[u8] = b"s/approval/";

/// A program that asks to be let in.
pub(super) fn approval(code: &str) -> Vec<u8> {
    [APPROVALS, code.as_bytes()].concat()
}

pub(super) fn passkeys(user: &Name) -> Vec<u8> {
    format!("s/passkeys/{user}").into_bytes()
}

/// Whose passkeys carry this handle.
pub(super) fn passkey_handle(handle: &str) -> Vec<u8> {
    format!("s/handle/{handle}").into_bytes()
}

/// Whose a passkey's credential is.
pub(super) fn passkey_credential(id: &str) -> Vec<u8> {
    format!("s/credential/{id}").into_bytes()
}

/// Whose sessions in browsers there are: the ids of one user's.
pub(super) fn browsers(user: &Name) -> Vec<u8> {
    format!("w/{user}/").into_bytes()
}

pub(super) fn browser_of(user: &Name, id: &str) -> Vec<u8> {
    [browsers(user), id.as_bytes().to_vec()].concat()
}

pub(super) fn browser_id(key: &[u8]) -> Result<String, KvFault> {
    let text = std::str::from_utf8(key).ok();
    let id = text
        .and_then(|text| text.rsplit_once('/'))
        .map(|(_, id)| id.to_owned());
    id.ok_or_else(|| odd(key))
}

pub(super) fn void_until(user: &Name) -> Vec<u8> {
    format!("v/{user}").into_bytes()
}

pub(super) fn invite(token_sha256: &str) -> Vec<u8> {
    format!("s/invite/{token_sha256}").into_bytes()
}

pub(super) fn invited(user: &Name) -> Vec<u8> {
    format!("s/invited/{user}").into_bytes()
}

/// Which link to a recording a token opens: its session and its id.
pub(super) fn share_token(token_sha256: &str) -> Vec<u8> {
    format!("s/share/{token_sha256}").into_bytes()
}

/// The links to one recording.
pub(super) fn shares(session: &SessionId) -> Vec<u8> {
    format!("s/shares/{session}/").into_bytes()
}

pub(super) fn share(session: &SessionId, id: &str) -> Vec<u8> {
    [shares(session), id.as_bytes().to_vec()].concat()
}

pub(super) fn tombstone(id: NodeId) -> Vec<u8> {
    [b"x/".as_slice(), &id.to_be_bytes()].concat()
}

pub(super) fn tombstone_id(key: &[u8]) -> Result<NodeId, KvFault> {
    let number = key.strip_prefix(b"x/").and_then(|rest| rest.try_into().ok());
    number.map(u64::from_be_bytes).ok_or_else(|| odd(key))
}

pub(super) fn head(size: u64) -> Vec<u8> {
    [b"h/".as_slice(), &size.to_be_bytes()].concat()
}

/// Slots for kept answers.
const ANSWER_SLOTS: u16 = 1 << 14;

pub(super) fn answers(id: &[u8; 16]) -> Vec<u8> {
    // The first bytes of a UUID are as random as any.
    let slot = u16::from_be_bytes([id[0], id[1]]) % ANSWER_SLOTS;
    [b"k/".as_slice(), &slot.to_be_bytes()].concat()
}

pub(super) fn earlier_answer(id: &RequestId) -> Vec<u8> {
    format!("q/{id}").into_bytes()
}

pub(super) fn earlier_answer_id(key: &[u8]) -> Result<RequestId, KvFault> {
    let id = key.get(10..).and_then(|id| std::str::from_utf8(id).ok());
    id.and_then(|id| RequestId::parse(id).ok())
        .ok_or_else(|| odd(key))
}

pub(super) fn open_session(user: &Name, session: &SessionId) -> Vec<u8> {
    format!("l/{user}/{session}").into_bytes()
}

pub(super) fn open_sessions(user: Option<&Name>) -> Vec<u8> {
    user.map_or_else(|| b"l/".to_vec(), |user| format!("l/{user}/").into_bytes())
}

pub(super) fn open_session_parts(key: &[u8]) -> Result<(Name, SessionId), KvFault> {
    let text = key
        .strip_prefix(b"l/")
        .and_then(|rest| std::str::from_utf8(rest).ok());
    let parts = text.and_then(|text| text.split_once('/'));
    let parsed = parts.and_then(|(user, id)| Some((Name::parse(user).ok()?, SessionId::parse(id).ok()?)));
    parsed.ok_or_else(|| odd(key))
}

fn odd(key: &[u8]) -> KvFault {
    KvFault {
        key: String::from_utf8_lossy(key).escape_debug().to_string(),
        why: "the key is not of its form".into(),
    }
}
