//! Who the caller is, and which hosts they may reach. No rule is asked: everybody may know this of themselves.

use crate::ask::{Ask, Fresh, Who};
use crate::body::Query;
use crate::error::Failure;
use crate::records::{PAGE_DEFAULT, PAGE_MAX};
use palisade_core::api::{HostPage, HostView, WhoAmI};
use palisade_core::record::{HostSpec, Record, Spec};
use palisade_core::state;
use palisade_core::tunnel::with_presence;
use serde::Deserialize;

/// Hosts looked at for one page.
const LOOKED_AT_MAX: usize = 20_000;

/// `GET /v1/whoami`.
pub(crate) async fn whoami(ask: Ask) -> Result<axum::Json<WhoAmI>, Failure> {
    let who = ask.who(Fresh::Decision).await?;
    let now = ask.now();
    Ok(axum::Json(match &who {
        Who::Operator => WhoAmI {
            user: who.name().to_owned(),
            roles: Vec::new(),
            logins: Vec::new(),
        },
        Who::User(view, _) => WhoAmI {
            user: who.name().to_owned(),
            roles: view.user.spec.roles.iter().map(ToString::to_string).collect(),
            logins: view.principals(now).iter().map(ToString::to_string).collect(),
        },
    }))
}

/// Which hosts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostQuery {
    #[serde(default)]
    after: String,
    #[serde(default)]
    limit: usize,
    /// Text in the name, the address or a label (`name=value`); several words must all be found.
    #[serde(default)]
    search: String,
}

/// `GET /v1/hosts`.
pub(crate) async fn list(ask: Ask, Query(query): Query<HostQuery>) -> Result<axum::Json<HostPage>, Failure> {
    let who = ask.who(Fresh::Decision).await?;
    let limit = match query.limit {
        0 => PAGE_DEFAULT,
        n if n <= PAGE_MAX => n,
        _ => return Err(Failure::invalid(format!("limit: at most {PAGE_MAX}"))),
    };
    if query.search.len() > 256 || query.after.len() > 100 {
        return Err(Failure::invalid("search or after: too long"));
    }
    let words: Vec<String> = query.search.split_whitespace().map(str::to_lowercase).collect();
    let (kv, now) = (ask.kv(), ask.now());
    let (mut items, mut after, mut looked_at) = (Vec::new(), query.after, 0);
    loop {
        let from = Some(after.as_str()).filter(|name| !name.is_empty());
        let found = state::any_records(kv.as_ref(), HostSpec::KIND, from, PAGE_MAX)?;
        let whole = found.len() < PAGE_MAX;
        for host in found.into_iter().filter_map(HostSpec::from_any) {
            looked_at += 1;
            after = host.metadata.name.to_string();
            let presence = match host.spec.agent {
                Some(_) => ask.app.api.agents.agent(&host.metadata.name),
                None => None,
            };
            let host = with_presence(host, presence.as_ref());
            let logins: Vec<String> = match &who {
                Who::Operator => Vec::new(),
                Who::User(view, _) => view
                    .logins_on(&host, now)
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            };
            let reachable = matches!(who, Who::Operator) || !logins.is_empty();
            if !reachable || host.expired(now) || !matches_words(&host, &words) {
                continue;
            }
            items.push(HostView {
                name: host.metadata.name.to_string(),
                addr: host.spec.shown_addr(),
                online: host.spec.agent.as_ref().map(|_| presence.is_some()),
                labels: host.metadata.labels,
                logins,
            });
            if items.len() == limit {
                return Ok(axum::Json(HostPage { items, next: after }));
            }
        }
        if whole {
            return Ok(axum::Json(HostPage {
                items,
                next: String::new(),
            }));
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok(axum::Json(HostPage { items, next: after }));
        }
    }
}

fn matches_words(host: &Record<HostSpec>, words: &[String]) -> bool {
    words.iter().all(|word| {
        host.metadata.name.as_str().contains(word.as_str())
            || host.spec.shown_addr().contains(word.as_str())
            || host
                .metadata
                .labels
                .iter()
                .any(|(name, value)| format!("{name}={value}").to_lowercase().contains(word.as_str()))
    })
}
