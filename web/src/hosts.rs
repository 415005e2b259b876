//! Who the caller is, and which hosts they may reach. No rule is asked: everybody may know this of themselves.

use crate::ask::{Ask, Fresh, Who};
use crate::body::Query;
use crate::error::Failure;
use crate::records::{PAGE_DEFAULT, PAGE_MAX};
use palisade_core::api::{HostPage, HostView, WhoAmI};
use palisade_core::hosts::{Asker, HostSearch};
use palisade_core::tunnel::with_presence;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use utoipa::IntoParams;

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
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostQuery {
    /// From the page before.
    #[serde(default)]
    #[param(max_length = 100)]
    after: String,
    /// At most so many; 0 for 100.
    #[serde(default)]
    #[param(maximum = 1000)]
    limit: usize,
    /// Text in the name, the address or a label (`name=value`); several words must all be found.
    #[serde(default)]
    #[param(max_length = 256)]
    search: String,
    /// An expression about the host, as in a role's `where`: `equals(resource.labels["env"], "prod")`.
    #[serde(default)]
    query: String,
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
    let search = HostSearch::parse(&query.search, &query.query)
        .map_err(|e| Failure::invalid(format!("query: {e}")))?;
    // Tens of thousands of hosts are tens of milliseconds: other requests go on meanwhile.
    let looking = tokio::task::spawn_blocking(move || page(&ask, &who, &search, &query.after, limit));
    let page = looking.await.map_err(|e| Failure::internal("list hosts", &e))?;
    page.map(axum::Json)
}

/// One page of the hosts that somebody may reach, of those that are looked for.
fn page(ask: &Ask, who: &Who, search: &HostSearch, after: &str, limit: usize) -> Result<HostPage, Failure> {
    let (hosts, now) = (ask.app.api.consensus.hosts()?, ask.now());
    let reach = match who {
        Who::Operator => None,
        Who::User(view, _) => Some(view.reach(now)),
    };
    let nothing = BTreeMap::new();
    let asker = Asker {
        name: who.name(),
        roles: match who {
            Who::Operator => &[],
            Who::User(view, _) => &view.user.spec.roles,
        },
        traits: match who {
            Who::Operator => &nothing,
            Who::User(view, _) => &view.user.spec.traits,
        },
    };
    let mut items = Vec::new();
    for row in hosts.after(after) {
        let record = &row.record;
        if record.expired(now) {
            continue;
        }
        let presence = match &record.spec.agent {
            Some(_) => ask.app.api.agents.agent(&record.metadata.name),
            None => None,
        };
        // What an agent says of itself is looked at as well.
        let host = match presence {
            Some(_) => Cow::Owned(with_presence(record.clone(), presence.as_ref())),
            None => Cow::Borrowed(record),
        };
        let found = match &host {
            Cow::Owned(host) => search.finds_with_labels(host, asker),
            Cow::Borrowed(_) => search.finds(row, asker),
        };
        if !found {
            continue;
        }
        let logins = reach.as_ref().map(|reach| reach.logins_on(&host));
        if logins.as_ref().is_some_and(Vec::is_empty) {
            continue;
        }
        items.push(HostView {
            name: record.metadata.name.to_string(),
            addr: record.spec.shown_addr(),
            online: record.spec.agent.as_ref().map(|_| presence.is_some()),
            labels: host.into_owned().metadata.labels,
            logins: logins.iter().flatten().map(ToString::to_string).collect(),
        });
        if items.len() == limit {
            let next = record.metadata.name.to_string();
            return Ok(HostPage { items, next });
        }
    }
    Ok(HostPage {
        items,
        next: String::new(),
    })
}
