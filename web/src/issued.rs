//! What a certificate was issued to say, read back from the audit log by its serial. The log is the only place that
//! knows: certificates are not stored, and an X.509 client certificate carries neither logins nor an address.

use palisade_core::event::{Event, EventKind};
use palisade_core::kv::{Kv, KvFault};
use palisade_core::name::Login;
use palisade_core::state;
use palisade_core::time::Timestamp;
use std::net::IpAddr;

/// How far certificates are dated back, so that a host whose clock is a little behind accepts them.
pub(crate) const BACKDATED_MS: u64 = 60_000;
/// How far the clocks of nodes may lie apart for an event to be found.
const SKEW_MS: u64 = 5 * 60_000;
/// Events looked at before giving up.
const LOOKED_AT_MAX: usize = 200_000;
const PAGE: usize = 512;

/// What the log says about one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) principals: Vec<Login>,
    pub(crate) valid_before: Timestamp,
    pub(crate) key_fingerprint: String,
    pub(crate) source: Option<IpAddr>,
}

/// Finds the certificate with this serial that begins at `not_before`.
pub(crate) fn find(kv: &dyn Kv, serial: u64, not_before: Timestamp) -> Result<Option<Issued>, KvFault> {
    find_near(kv, serial, not_before.plus_ms(BACKDATED_MS), SKEW_MS)
}

/// Finds the certificate with this serial that was issued within `around_ms` of a moment.
pub(crate) fn find_near(
    kv: &dyn Kv,
    serial: u64,
    at: Timestamp,
    around_ms: u64,
) -> Result<Option<Issued>, KvFault> {
    let (begin, end) = (at.minus_ms(around_ms), at.plus_ms(around_ms));
    let mut seq = first_since(kv, begin)?;
    let wanted = serial.to_string();
    let mut looked_at = 0;
    while looked_at < LOOKED_AT_MAX {
        let page = state::audit_bytes(kv, seq, PAGE)?;
        for (_, bytes) in &page {
            let event = read(bytes)?;
            if event.time > end {
                return Ok(None);
            }
            if event.event == EventKind::CertIssue && event.data.get("serial") == Some(&wanted) {
                return Ok(Some(issued(&event)));
            }
        }
        looked_at += page.len();
        match page.last() {
            Some((last, _)) => seq = last + 1,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The first event since a moment, by halving: the log is in the order of time but for the skew of clocks.
fn first_since(kv: &dyn Kv, begin: Timestamp) -> Result<u64, KvFault> {
    let (mut low, mut high) = (0, state::audit_frontier(kv)?.size());
    while low < high {
        let middle = low + (high - low) / 2;
        let before = state::audit_event(kv, middle)?.is_none_or(|event| event.time < begin);
        if before {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn issued(event: &Event) -> Issued {
    let fact = |name: &str| event.data.get(name).map(String::as_str).unwrap_or_default();
    Issued {
        principals: fact("principals")
            .split(',')
            .filter_map(|login| Login::parse(login).ok())
            .collect(),
        valid_before: Timestamp::parse(fact("valid_before")).unwrap_or(Timestamp::ZERO),
        key_fingerprint: fact("key").to_owned(),
        source: fact("source_address").parse().ok(),
    }
}

fn read(bytes: &[u8]) -> Result<Event, KvFault> {
    Event::from_bytes(bytes).map_err(|e| KvFault {
        key: "a/".into(),
        why: e.to_string(),
    })
}
