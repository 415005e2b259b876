//! Searching the audit events that are still in the state.

use palisade_core::{
    event::Event,
    search::{AuditQuery, CursorError},
    state::audit_key,
};

use crate::{
    error::escaped,
    kv::{Kv, KvFault},
};

/// Events read from the state at once.
const STEP: usize = 256;
/// Events looked at for one page. A search that finds little ends its page here, so that no call takes long, and
/// goes on with the cursor.
const LOOKED_AT: usize = 20_000;

/// One page of what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// Events with their sequence numbers, in the order asked for.
    pub events: Vec<(u64, Event)>,
    /// Where the next page begins; none if there is nothing more to look at. A page may have few events, or none,
    /// and a cursor all the same.
    pub cursor: Option<String>,
}

/// Why a search failed.
#[derive(Debug, thiserror::Error)]
pub enum AuditSearchError {
    /// The cursor is not one of this search.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The state cannot be read, or an event in it is damaged.
    #[error(transparent)]
    Fault(#[from] KvFault),
}

/// Finds the events that answer the query, from where the cursor says (empty: from the beginning).
pub fn audit_search(kv: &dyn Kv, query: &AuditQuery, cursor: &str) -> Result<AuditPage, AuditSearchError> {
    let newest_first = query.newest_first();
    let (mut from, mut to) = (audit_key(0), end());
    match query.resume(cursor)? {
        Some(seq) if newest_first => to = audit_key(seq),
        Some(seq) => from = audit_key(seq.saturating_add(1)),
        None => {}
    }
    let mut events = Vec::new();
    let mut looked_at = 0;
    loop {
        let pairs = kv.scan(&from, Some(&to), STEP, newest_first)?;
        let complete = pairs.len() < STEP;
        let Some((last_key, _)) = pairs.last() else {
            return Ok(AuditPage { events, cursor: None });
        };
        if newest_first {
            to = last_key.clone();
        } else {
            from = [last_key.as_slice(), &[0]].concat();
        }
        for (key, value) in pairs {
            let fault = |why: String| KvFault {
                key: escaped(&key),
                why,
            };
            let seq = key
                .strip_prefix(b"a/")
                .and_then(|n| n.try_into().ok())
                .map(u64::from_be_bytes)
                .ok_or_else(|| fault("it is not the key of an audit event".to_owned()))?;
            let event = Event::from_bytes(&value).map_err(|e| fault(e.to_string()))?;
            looked_at += 1;
            if query.matches(&event) {
                events.push((seq, event));
            }
            if events.len() >= query.limit() || looked_at >= LOOKED_AT {
                return Ok(AuditPage {
                    events,
                    cursor: Some(query.cursor(seq)),
                });
            }
        }
        if complete {
            return Ok(AuditPage { events, cursor: None });
        }
    }
}

/// Behind the last audit event there can be.
fn end() -> Vec<u8> {
    b"a0".to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::{event::EventKind, kv::MemoryKv, search::AuditFilter};

    fn log(n: u64) -> MemoryKv {
        let mut kv = MemoryKv::default();
        kv.0.insert(b"Z".to_vec(), b"before".to_vec());
        kv.0.insert(b"b/x".to_vec(), b"after".to_vec());
        for seq in 0..n {
            let user = if seq % 10 == 0 { "alice" } else { "bob" };
            kv.0.insert(
                audit_key(seq),
                Event::new(EventKind::SessionStart).user(user).to_bytes(),
            );
        }
        kv
    }

    fn all(kv: &MemoryKv, filter: &AuditFilter<'_>) -> Vec<u64> {
        let query = AuditQuery::new(filter).expect("query");
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = audit_search(kv, &query, &cursor).expect("page");
            assert!(page.events.len() <= query.limit());
            found.extend(page.events.iter().map(|(seq, _)| *seq));
            match page.cursor {
                Some(next) => cursor = next,
                None => return found,
            }
        }
    }

    #[test]
    fn pages_give_every_event_once_in_either_order() {
        let kv = log(1000);
        for limit in [1, 7, 256, 1000] {
            let filter = AuditFilter {
                limit,
                oldest_first: true,
                ..AuditFilter::default()
            };
            assert_eq!(all(&kv, &filter), (0..1000).collect::<Vec<_>>());
            let newest = AuditFilter {
                oldest_first: false,
                ..filter
            };
            assert_eq!(all(&kv, &newest), (0..1000).rev().collect::<Vec<_>>());
        }
        assert_eq!(all(&log(0), &AuditFilter::default()), [0; 0]);
    }

    #[test]
    fn a_search_that_finds_little_ends_its_page_in_time() {
        let kv = log(LOOKED_AT as u64 + 500);
        let query = AuditQuery::new(&AuditFilter {
            user: "nobody",
            ..AuditFilter::default()
        })
        .expect("query");
        let first = audit_search(&kv, &query, "").expect("page");
        assert_eq!(first.events, []);
        let second = audit_search(&kv, &query, &first.cursor.expect("there is more")).expect("page");
        assert_eq!((second.events.len(), second.cursor), (0, None));
        let alice = AuditFilter {
            user: "alice",
            limit: 1000,
            ..AuditFilter::default()
        };
        assert_eq!(all(&kv, &alice).len() as u64, (LOOKED_AT as u64 + 500) / 10);
    }

    #[test]
    fn a_damaged_event_stops_the_search_by_name() {
        let mut kv = log(10);
        kv.0.insert(audit_key(4), b"\x01garbage".to_vec());
        let query = AuditQuery::new(&AuditFilter::default()).expect("query");
        let e = audit_search(&kv, &query, "").expect_err("damaged").to_string();
        assert!(e.contains("a/\\x00"), "{e}");
        assert!(matches!(
            audit_search(&kv, &query, "nonsense!"),
            Err(AuditSearchError::Cursor(_))
        ));
    }
}
