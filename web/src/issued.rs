//! What a certificate was issued to say, read back from the audit log by its serial. The log is the only place that
//! knows: certificates are not stored, and an X.509 client certificate carries neither logins nor an address.

use palisade_core::audit_log::{self, AuditFault, AuditLog};
use palisade_core::command::CertTerms;
use palisade_core::event::{Event, EventKind};
use palisade_core::name::Login;
use palisade_core::page::PageManifest;
use palisade_core::time::Timestamp;
use std::cmp::Ordering;
use std::net::IpAddr;

/// How far certificates are dated back, so that a host whose clock is a little behind accepts them.
pub(crate) const BACKDATED_MS: u64 = 60_000;
/// How far the clocks of nodes may lie apart for an event to be found.
const SKEW_MS: u64 = 5 * 60_000;
/// Events looked at before giving up.
const LOOKED_AT_MAX: usize = 200_000;

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
pub(crate) fn find(
    log: AuditLog<'_>,
    serial: u64,
    not_before: Timestamp,
) -> Result<Option<Issued>, AuditFault> {
    let at = not_before.plus_ms(BACKDATED_MS);
    for around_ms in [SKEW_MS / 50, SKEW_MS] {
        if let Some(found) = find_near(log, serial, at, around_ms)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn find_near(
    log: AuditLog<'_>,
    serial: u64,
    at: Timestamp,
    around_ms: u64,
) -> Result<Option<Issued>, AuditFault> {
    let (begin, end) = (at.minus_ms(around_ms), at.plus_ms(around_ms));
    // If the state goes back that far, pages need not be looked at.
    let first = log.recent_since(begin)?.unwrap_or(0);
    let mut runs = log.runs(first..log.size()?, false)?;
    let around = |page: &PageManifest| {
        let page = &page.summary;
        page.latest >= begin && page.earliest <= end && page.kinds.contains(&EventKind::CertIssue)
    };
    let mut looked_at = 0;
    while looked_at < LOOKED_AT_MAX
        && let Some(run) = runs.next(around)?
    {
        for (seq, bytes) in run.iter() {
            let event = audit_log::read(seq, bytes)?;
            if event.time > end {
                return Ok(None);
            }
            match place(&event, serial) {
                Place::Here(issued) => return Ok(Some(issued)),
                Place::After => return Ok(None),
                Place::Before | Place::Unrelated => {}
            }
            looked_at += 1;
        }
    }
    Ok(None)
}

/// Finds a certificate that was issued a short while ago, from the end of the log backwards.
pub(crate) fn find_newest(log: AuditLog<'_>, serial: u64) -> Result<Option<Issued>, AuditFault> {
    let mut runs = log.runs(0..log.size()?, true)?;
    let mut looked_at = 0;
    while looked_at < LOOKED_AT_MAX
        && let Some(run) = runs.next(|page| page.summary.kinds.contains(&EventKind::CertIssue))?
    {
        for (seq, bytes) in run.iter().rev() {
            looked_at += 1;
            match place(&audit_log::read(seq, bytes)?, serial) {
                Place::Here(issued) => return Ok(Some(issued)),
                Place::Before => return Ok(None),
                Place::After | Place::Unrelated => {}
            }
        }
    }
    Ok(None)
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
