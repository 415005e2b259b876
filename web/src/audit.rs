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
use palisade_core::audit_log::{AuditFault, AuditLog, Run};
use palisade_core::event::Event;
use palisade_core::kv::Kv;
use palisade_core::page::PageManifest;
use palisade_core::ports::{AuditPages, PageLost};
use palisade_core::record::{AuthorityType, Grant, Labels, Verb};
use palisade_core::search::{AuditFilter, AuditQuery};
use palisade_core::state;
use palisade_core::time::Timestamp;
use std::sync::Arc;

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
    let now = ask.now();
    let page = ask.audit_log(move |log| scan(log, &query, resume, &who, &permit, now));
    Ok(axum::Json(page.await?))
}

pub(crate) fn moment(field: &str, text: &str) -> Result<Option<Timestamp>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let short: String = text.chars().take(64).collect();
    Timestamp::parse(&short)
        .map(Some)
        .map_err(|e| Failure::invalid(format!("{field}: {e}")))
}

fn scan(
    log: AuditLog<'_>,
    query: &AuditQuery,
    resume: Option<u64>,
    who: &Who,
    permit: &RulePermit,
    now: Timestamp,
) -> Result<AuditPage, Failure> {
    let found = log.search(query, resume, |event| shows(who, permit, event, now))?;
    let item = |(seq, event): (u64, Event)| AuditItem {
        seq,
        code: event.event.code().to_owned(),
        event,
    };
    Ok(AuditPage {
        items: found.items.into_iter().map(item).collect(),
        cursor: found.cursor,
    })
}

/// A rule's condition on events is asked for each: its name and what it speaks of.
pub(crate) fn shows(who: &Who, permit: &RulePermit, event: &Event, now: Timestamp) -> bool {
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
        pages: ask.app.api.pages.clone(),
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
    pages: Arc<dyn AuditPages>,
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
    /// The next lines; a page that no node has is one line, which verification names.
    fn next(&mut self) -> Result<Option<String>, AuditFault> {
        loop {
            match &mut self.part {
                Part::First(text) => {
                    let text = std::mem::take(text);
                    self.part = Part::Events(0);
                    return Ok(Some(text));
                }
                Part::Events(from) => {
                    let log = AuditLog::new(self.kv.as_ref(), self.pages.as_ref());
                    let (lines, next) = match log.runs(*from..self.size, false)?.next(|_| true) {
                        Ok(None) => {
                            self.part = Part::Heads(0);
                            continue;
                        }
                        Ok(Some(run)) => event_lines(&run),
                        Err(AuditFault::Lost { page, why }) => {
                            tracing::error!(%page, %why, "the audit export lacks a page");
                            (lost_line(&page, &why), page.end())
                        }
                        Err(fault) => return Err(fault),
                    };
                    *from = next;
                    return Ok(Some(lines));
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

/// A run's lines, and what comes after it.
fn event_lines(run: &Run) -> (String, u64) {
    let (mut lines, mut next) = (String::new(), 0);
    for (seq, bytes) in run.iter() {
        let bytes = STANDARD.encode(bytes);
        lines.push_str(&line(&AuditExportLine::Event { seq, bytes }));
        next = seq + 1;
    }
    (lines, next)
}

fn lost_line(page: &PageManifest, why: &PageLost) -> String {
    line(&AuditExportLine::Lost {
        first: page.first,
        count: page.count,
        file_sha256: page.file_sha256.clone(),
        why: why.to_string(),
    })
}

fn line(line: &AuditExportLine) -> String {
    // Plain data with string keys.
    let mut text = serde_json::to_string(line).expect("an export line is plain data");
    text.push('\n');
    text
}
