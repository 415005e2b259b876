//! Whether the audit log is whole, as this node reckons it; and every event that a search finds, as a file.

use crate::ask::{Ask, Fresh, Who};
use crate::audit::{moment, shows};
use crate::body::Query;
use crate::error::Failure;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use palisade_ca as ca;
use palisade_core::access::RulePermit;
use palisade_core::api::AuditState;
use palisade_core::audit_log::{AuditFault, AuditLog};
use palisade_core::event::Event;
use palisade_core::kv::Kv;
use palisade_core::merkle::{self, Frontier};
use palisade_core::record::{AuthorityType, Grant, Verb};
use palisade_core::search::{AuditFilter, AuditQuery};
use palisade_core::state::{self, SignedHead};
use palisade_core::time::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// Events of one piece of a download.
const PIECE: u32 = 500;
/// Manifests of pages read at a time.
const PAGES: usize = 1024;

/// `GET /v1/audit/state`.
pub(crate) async fn state(ask: Ask) -> Result<axum::Json<AuditState>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    ask.permit(&who, Verb::List, Grant::Event, None).await?;
    let (kv, now) = (ask.kv(), ask.now());
    let reckoned = ask.audit_log(move |log| reckon(kv.as_ref(), log, now));
    Ok(axum::Json(reckoned.await?))
}

/// The roots of pages and the hashes of newer events, put together as far as the newest signed head goes and then to
/// the end, and held against both. What is on the pages is held against their roots when they are read.
fn reckon(kv: &dyn Kv, log: AuditLog<'_>, now: Timestamp) -> Result<AuditState, Failure> {
    let kept = state::audit_frontier(kv)?;
    let head = state::last_head(kv)?;
    let mut tree = Frontier::default();
    let wrong = match &head {
        None => None,
        Some(head) => {
            grow(kv, log, &mut tree, head.size)?;
            signed(kv, head, &tree)?
        }
    };
    grow(kv, log, &mut tree, kept.size())?;
    let wrong = wrong.or_else(|| {
        (tree.root() != kept.root()).then(|| "the events do not come to the log's own root".to_owned())
    });
    let message = match (&wrong, &head) {
        (Some(why), _) => {
            format!("{why}: `palctl audit verify` on another node tells which event was changed")
        }
        (None, Some(head)) => format!("all {} events come to what was signed", head.size),
        (None, None) => "no head is signed yet".to_owned(),
    };
    Ok(AuditState {
        events: kept.size(),
        signed: head.as_ref().map_or(0, |head| head.size),
        head_time: head.as_ref().map(|head| head.time),
        verified: wrong.is_none() && head.is_some(),
        message,
        checked: now,
    })
}

/// Adds what is missing to a tree, until it has `size` leaves.
fn grow(kv: &dyn Kv, log: AuditLog<'_>, tree: &mut Frontier, size: u64) -> Result<(), Failure> {
    'pages: loop {
        let pages = state::pages_from(kv, tree.size(), PAGES)?;
        let last = pages.len() < PAGES;
        for page in pages {
            let count = u64::from(page.count);
            if page.first != tree.size() || page.end() > size || !count.is_power_of_two() {
                break 'pages;
            }
            let mut root = merkle::Hash::default();
            let read = hex_into(&page.root, &mut root);
            if !read || !tree.append_subtree(count.ilog2(), root) {
                break 'pages;
            }
        }
        if last {
            break;
        }
    }
    let mut runs = log.runs(tree.size()..size, false).map_err(Failure::from)?;
    while let Some(run) = runs.next(|_| true).map_err(Failure::from)? {
        for (_, bytes) in run.iter() {
            tree.append(merkle::leaf_hash(bytes));
        }
    }
    Ok(())
}

fn hex_into(text: &str, out: &mut [u8]) -> bool {
    let decoded = data_encoding::HEXLOWER.decode(text.as_bytes());
    decoded.is_ok_and(|bytes| {
        let fits = bytes.len() == out.len();
        if fits {
            out.copy_from_slice(&bytes);
        }
        fits
    })
}

/// What is wrong with the newest head; `None` if it is the audit authority's, over these events.
fn signed(kv: &dyn Kv, head: &SignedHead, tree: &Frontier) -> Result<Option<String>, Failure> {
    let (mut root, mut signature) = (merkle::Hash::default(), [0; 64]);
    if !hex_into(&head.root, &mut root) || !hex_into(&head.signature, &mut signature) {
        return Ok(Some("the newest signed head is malformed".into()));
    }
    if tree.size() != head.size || tree.root() != root {
        return Ok(Some("the events do not come to what was signed".into()));
    }
    let Some(cluster) = state::cluster(kv)? else {
        return Ok(Some("this node is in no cluster yet".into()));
    };
    let public = ca::public_authority(kv, AuthorityType::Audit)?;
    let head = ca::SignedHead {
        tree_size: head.size,
        root,
        time_ms: head.time.ms(),
        signature,
    };
    let verified = ca::verify_head(&ca::AuthorityPublic::of(&public), cluster.id.as_str(), &head);
    Ok(verified.err().map(|why| why.to_string()))
}

/// In which form.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// JSON lines.
    #[default]
    Jsonl,
    /// Comma-separated values (RFC 4180).
    Csv,
}

/// Which events, and how.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Download {
    /// In which form.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// Not before (RFC 3339).
    #[serde(default)]
    #[param(format = DateTime)]
    from: String,
    /// Before (RFC 3339).
    #[serde(default)]
    #[param(format = DateTime)]
    to: String,
    /// This user.
    #[serde(default)]
    user: String,
    /// This host.
    #[serde(default)]
    host: String,
    /// This event name, or the beginning of one: `session.`.
    #[serde(default)]
    event: String,
    /// Text that appears anywhere in the event.
    #[serde(default)]
    text: String,
    /// Oldest first instead of newest first.
    #[serde(default)]
    oldest_first: bool,
}

/// `GET /v1/audit/download`.
pub(crate) async fn download(ask: Ask, Query(asked): Query<Download>) -> Result<Response, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    let permit = ask.permit(&who, Verb::List, Grant::Event, None).await?;
    let query = AuditQuery::new(&AuditFilter {
        from: moment("from", &asked.from)?,
        to: moment("to", &asked.to)?,
        user: &asked.user,
        host: &asked.host,
        kind: &asked.event,
        text: &asked.text,
        limit: PIECE,
        oldest_first: asked.oldest_first,
    })
    .map_err(|e| Failure::invalid(e.to_string()))?;
    let format = asked.format;
    let found = Found {
        now: ask.now(),
        ask,
        who,
        permit,
        query,
        format,
        resume: None,
        state: Next::First,
    };
    let pieces = futures::stream::unfold(Some(found), |found| async move {
        let found = found?;
        let done = tokio::task::spawn_blocking(move || found.next()).await;
        match done {
            Ok(Ok(Some((piece, rest)))) => Some((Ok(piece), Some(rest))),
            Ok(Ok(None)) => None,
            Ok(Err(why)) => {
                tracing::error!(why = why.message(), "an audit download broke off");
                Some((Err(std::io::Error::other("the download broke off")), None))
            }
            Err(_) => Some((Err(std::io::Error::other("the download broke off")), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let (media_type, disposition) = match format {
        Format::Jsonl => ("application/x-ndjson", "attachment; filename=\"audit.jsonl\""),
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\""),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    Ok(response)
}

struct Found {
    ask: Ask,
    who: Who,
    permit: RulePermit,
    query: AuditQuery,
    format: Format,
    now: Timestamp,
    resume: Option<u64>,
    state: Next,
}

#[derive(PartialEq, Eq)]
enum Next {
    First,
    More,
    End,
}

const CSV_HEAD: &str = "seq,code,event,time,node,user,addr,login,host,session,target,message,data\r\n";

impl Found {
    /// The next lines, and what gives those after them.
    fn next(mut self) -> Result<Option<(String, Found)>, Failure> {
        if self.state == Next::End {
            return Ok(None);
        }
        let mut text = String::new();
        if self.state == Next::First && self.format == Format::Csv {
            text.push_str(CSV_HEAD);
        }
        let (kv, pages) = (self.ask.kv(), self.ask.app.api.pages.clone());
        let log = AuditLog::new(kv.as_ref(), pages.as_ref());
        let page = log.search(&self.query, self.resume, |event| {
            shows(&self.who, &self.permit, event, self.now)
        });
        let page = page.map_err(|fault: AuditFault| Failure::from(fault))?;
        for (seq, event) in &page.items {
            match self.format {
                Format::Jsonl => text.push_str(&json_line(*seq, event)),
                Format::Csv => text.push_str(&csv_line(*seq, event)),
            }
        }
        self.state = if page.cursor.is_empty() {
            Next::End
        } else {
            Next::More
        };
        self.resume = self
            .query
            .resume(&page.cursor)
            .map_err(|e| Failure::invalid(e.to_string()))?;
        Ok(Some((text, self)))
    }
}

fn json_line(seq: u64, event: &Event) -> String {
    let line = serde_json::json!({"seq": seq, "code": event.event.code(), "event": event});
    format!("{line}\n")
}

/// One event as a row (RFC 4180). A field that a spreadsheet would take for a formula is led by an apostrophe.
fn csv_line(seq: u64, event: &Event) -> String {
    let data = if event.data.is_empty() {
        String::new()
    } else {
        serde_json::json!(event.data).to_string()
    };
    let (seq, node, time) = (seq.to_string(), event.node.to_string(), event.time.to_string());
    let fields = [
        seq.as_str(),
        event.event.code(),
        event.event.name(),
        &time,
        &node,
        &event.user,
        &event.addr,
        &event.login,
        &event.host,
        &event.session,
        &event.target,
        &event.message,
        &data,
    ];
    let mut line = fields.map(csv_field).join(",");
    line.push_str("\r\n");
    line
}

fn csv_field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let lead = if formula { "'" } else { "" };
    if formula || text.contains([',', '"', '\n', '\r']) {
        format!("\"{lead}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_leave_its_place_nor_be_a_formula() {
        for (text, field) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"\nbye", "\"say \"\"hi\"\"\nbye\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("@SUM(1)", "\"'@SUM(1)\""),
            ("-1", "\"'-1\""),
        ] {
            assert_eq!(csv_field(text), field);
        }
    }
}
