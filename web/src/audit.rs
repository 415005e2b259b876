//! The audit log: search, and export for offline verification.

use crate::ask::{Ask, Fresh, Who};
use crate::body::Query;
use crate::error::Failure;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use palisade_ca::public_authority;
use palisade_core::access::RulePermit;
use palisade_core::api::{AuditExportLine, AuditItem, AuditPage, AuditSearch};
use palisade_core::event::Event;
use palisade_core::kv::{Kv, KvFault};
use palisade_core::record::{AuthorityType, Grant, Labels, Verb};
use palisade_core::search::{AuditFilter, AuditQuery};
use palisade_core::state;
use palisade_core::time::Timestamp;
use std::sync::Arc;

/// Events looked at for one page: a search for something rare answers a short page and a cursor.
const LOOKED_AT_MAX: u64 = 50_000;
/// Events read at a time.
const CHUNK: u64 = 512;

/// `GET /v1/audit/events`.
pub(crate) async fn search(
    ask: Ask,
    Query(asked): Query<AuditSearch>,
) -> Result<axum::Json<AuditPage>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let permit = ask.permit(&who, Verb::List, Grant::Event, None).await?;
    let query = AuditQuery::new(&AuditFilter {
        from: moment("from", &asked.from)?,
        to: moment("to", &asked.to)?,
        user: &asked.user,
        host: &asked.host,
        kind: &asked.event,
        text: &asked.text,
        limit: asked.limit,
        oldest_first: asked.oldest_first,
    })
    .map_err(|e| Failure::invalid(e.to_string()))?;
    let resume = query
        .resume(&asked.cursor)
        .map_err(|e| Failure::invalid(format!("cursor: {e}")))?;
    let (kv, now) = (ask.kv(), ask.now());
    let page = tokio::task::spawn_blocking(move || scan(kv.as_ref(), &query, resume, &who, &permit, now));
    let page = page.await.map_err(|e| Failure::internal("audit search", &e))??;
    Ok(axum::Json(page))
}

fn moment(field: &str, text: &str) -> Result<Option<Timestamp>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let short: String = text.chars().take(64).collect();
    Timestamp::parse(&short)
        .map(Some)
        .map_err(|e| Failure::invalid(format!("{field}: {e}")))
}

fn scan(
    kv: &dyn Kv,
    query: &AuditQuery,
    resume: Option<u64>,
    who: &Who,
    permit: &RulePermit,
    now: Timestamp,
) -> Result<AuditPage, Failure> {
    let size = state::audit_frontier(kv)?.size();
    // The range still to be looked at, `low..high`, shrinks from the end that comes first.
    let (mut low, mut high) = match (query.newest_first(), resume) {
        (_, None) => (0, size),
        (true, Some(last)) => (0, last.min(size)),
        (false, Some(last)) => (last.saturating_add(1), size),
    };
    let (mut items, mut looked_at, mut last) = (Vec::new(), 0, None);
    while low < high && looked_at < LOOKED_AT_MAX {
        let count = CHUNK.min(high - low);
        let from = if query.newest_first() { high - count } else { low };
        let mut chunk = state::audit_bytes(kv, from, usize::try_from(count).unwrap_or(usize::MAX))?;
        // What lies beyond the range was written meanwhile, or its beginning is kept no more.
        chunk.retain(|(seq, _)| *seq < from + count);
        if query.newest_first() {
            chunk.reverse();
            high = from;
        } else {
            low = from + count;
        }
        for (seq, bytes) in chunk {
            looked_at += 1;
            last = Some(seq);
            let event = read(seq, &bytes)?;
            if query.matches(&event) && shows(who, permit, &event, now) {
                items.push(AuditItem {
                    seq,
                    code: event.event.code().to_owned(),
                    event,
                });
            }
            if items.len() == query.limit() {
                return Ok(AuditPage {
                    items,
                    cursor: query.cursor(seq),
                });
            }
        }
    }
    let cursor = match last {
        Some(last) if low < high => query.cursor(last),
        Some(_) | None => String::new(),
    };
    Ok(AuditPage { items, cursor })
}

fn read(seq: u64, bytes: &[u8]) -> Result<Event, KvFault> {
    Event::from_bytes(bytes).map_err(|e| KvFault {
        key: format!("a/{seq}"),
        why: e.to_string(),
    })
}

/// A rule's condition on events is asked for each: its name and what it speaks of.
fn shows(who: &Who, permit: &RulePermit, event: &Event, now: Timestamp) -> bool {
    let about = [
        ("user", &event.user),
        ("host", &event.host),
        ("login", &event.login),
    ];
    let labels: Labels = about.map(|(name, value)| (name.to_owned(), value.clone())).into();
    who.sees(permit, event.event.name(), &labels, now)
}

/// `GET /v1/audit/export`: the authority, then every event, then every signed head, one JSON object a line.
pub(crate) async fn export(ask: Ask) -> Result<Response, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    ask.permit(&who, Verb::Read, Grant::Event, None).await?;
    let kv = ask.kv();
    let missing = || Failure::unavailable("this node is in no cluster yet");
    let cluster = state::cluster(kv.as_ref())?.ok_or_else(missing)?;
    let authority = public_authority(kv.as_ref(), AuthorityType::Audit)?.ssh_public_key;
    let first = line(&AuditExportLine::Authority {
        ssh_public_key: authority.ok_or_else(missing)?,
        cluster_id: cluster.id.to_string(),
    });
    let export = Export {
        size: state::audit_frontier(kv.as_ref())?.size(),
        kv,
        part: Part::First(first),
    };
    let pieces = futures::stream::unfold(Some(export), |export| async move {
        let mut export = export?;
        let done = tokio::task::spawn_blocking(move || {
            let piece = export.next();
            (piece, export)
        });
        match done.await {
            Ok((Ok(Some(piece)), export)) => Some((Ok(piece), Some(export))),
            Ok((Ok(None), _)) => None,
            Ok((Err(why), _)) => {
                tracing::error!(%why, "the audit export broke off");
                Some((Err(std::io::Error::other("the export broke off")), None))
            }
            Err(_) => Some((Err(std::io::Error::other("the export broke off")), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"audit.ndjson\""),
    );
    Ok(response)
}

struct Export {
    kv: Arc<dyn Kv>,
    /// Events that there were when it began.
    size: u64,
    part: Part,
}

enum Part {
    First(String),
    Events(u64),
    Heads(u64),
    End,
}

impl Export {
    fn next(&mut self) -> Result<Option<String>, KvFault> {
        loop {
            match &mut self.part {
                Part::First(text) => {
                    let text = std::mem::take(text);
                    self.part = Part::Events(0);
                    return Ok(Some(text));
                }
                Part::Events(from) => {
                    let limit = usize::try_from(CHUNK).unwrap_or(usize::MAX);
                    let mut chunk = state::audit_bytes(self.kv.as_ref(), *from, limit)?;
                    chunk.retain(|(seq, _)| *seq < self.size);
                    match chunk.last() {
                        Some((last, _)) => *from = last + 1,
                        None => {
                            self.part = Part::Heads(0);
                            continue;
                        }
                    }
                    let lines = chunk.into_iter().map(|(seq, bytes)| {
                        line(&AuditExportLine::Event {
                            seq,
                            bytes: STANDARD.encode(bytes),
                        })
                    });
                    return Ok(Some(lines.collect()));
                }
                Part::Heads(from) => {
                    let mut heads = state::signed_heads(self.kv.as_ref(), *from, 256)?;
                    heads.retain(|head| head.size <= self.size);
                    match heads.last() {
                        Some(last) => *from = last.size + 1,
                        None => {
                            self.part = Part::End;
                            continue;
                        }
                    }
                    let lines = heads.into_iter().map(|head| {
                        line(&AuditExportLine::Head {
                            size: head.size,
                            root: head.root,
                            time: head.time,
                            signature: head.signature,
                        })
                    });
                    return Ok(Some(lines.collect()));
                }
                Part::End => return Ok(None),
            }
        }
    }
}

fn line(line: &AuditExportLine) -> String {
    // Plain data with string keys.
    let mut text = serde_json::to_string(line).expect("an export line is plain data");
    text.push('\n');
    text
}
