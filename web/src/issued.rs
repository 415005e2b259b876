//! What a certificate was issued to say, read back from the audit log by its serial. The log is the only place that
//! knows: certificates are not stored, and an X.509 client certificate carries neither logins nor an address.

use palisade_core::command::CertTerms;
use palisade_core::event::{Event, EventKind};
use palisade_core::kv::{Kv, KvFault};
use palisade_core::name::Login;
use palisade_core::state;
use palisade_core::time::Timestamp;
use std::cmp::Ordering;
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

impl Issued {
    /// What terms that were just allowed say.
    pub(crate) fn of(terms: &CertTerms) -> Self {
        Issued {
            principals: terms.principals.clone(),
            valid_before: terms.valid_before,
            key_fingerprint: terms.key_fingerprint.clone(),
            source: terms.source_address.as_deref().and_then(|addr| addr.parse().ok()),
        }
    }
}

/// How one event relates to the certificate that is looked for. Serials are log indices, so that they grow along
/// the log.
enum Place {
    Before,
    Here(Issued),
    After,
    Unrelated,
}

fn place(event: &Event, serial: u64) -> Place {
    if event.event != EventKind::CertIssue && event.event != EventKind::HostCertIssue {
        return Place::Unrelated;
    }
    let found: Option<u64> = event.data.get("serial").and_then(|text| text.parse().ok());
    match found.map(|found| found.cmp(&serial)) {
        None => Place::Unrelated,
        Some(Ordering::Less) => Place::Before,
        Some(Ordering::Greater) => Place::After,
        Some(Ordering::Equal) if event.event == EventKind::CertIssue => Place::Here(issued(event)),
        Some(Ordering::Equal) => Place::Unrelated,
    }
}

/// Finds the certificate with this serial that begins at `not_before`: close to where clocks say, then further off.
pub(crate) fn find(kv: &dyn Kv, serial: u64, not_before: Timestamp) -> Result<Option<Issued>, KvFault> {
    let at = not_before.plus_ms(BACKDATED_MS);
    for around_ms in [SKEW_MS / 50, SKEW_MS] {
        if let Some(found) = find_near(kv, serial, at, around_ms)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn find_near(kv: &dyn Kv, serial: u64, at: Timestamp, around_ms: u64) -> Result<Option<Issued>, KvFault> {
    let (begin, end) = (at.minus_ms(around_ms), at.plus_ms(around_ms));
    let mut seq = first_since(kv, begin)?;
    let mut looked_at = 0;
    while looked_at < LOOKED_AT_MAX {
        let page = state::audit_bytes(kv, seq, PAGE)?;
        for (_, bytes) in &page {
            let event = read(bytes)?;
            if event.time > end {
                return Ok(None);
            }
            match place(&event, serial) {
                Place::Here(issued) => return Ok(Some(issued)),
                Place::After => return Ok(None),
                Place::Before | Place::Unrelated => {}
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

/// Finds a certificate that was issued a short while ago, from the end of the log backwards.
pub(crate) fn find_newest(kv: &dyn Kv, serial: u64) -> Result<Option<Issued>, KvFault> {
    let mut end = state::audit_frontier(kv)?.size();
    let (mut page, mut looked_at) = (16, 0);
    while end > 0 && looked_at < LOOKED_AT_MAX {
        let from = end.saturating_sub(page as u64);
        let events = state::audit_bytes(kv, from, page)?;
        for (_, bytes) in events.iter().rev().filter(|(seq, _)| *seq < end) {
            match place(&read(bytes)?, serial) {
                Place::Here(issued) => return Ok(Some(issued)),
                Place::Before => return Ok(None),
                Place::After | Place::Unrelated => {}
            }
        }
        looked_at += page;
        (end, page) = (from, PAGE);
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
