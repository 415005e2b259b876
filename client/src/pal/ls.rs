//! `pal ls`.

use crate::errors::Failure;
use crate::http::{CallError, Nodes};
use crate::output::{self, Format, Table};
use crate::profile::Profile;
use palisade_core::api::{HostPage, HostView, path};

/// All hosts that the user may reach, in order of name.
pub(super) async fn hosts(nodes: &Nodes) -> Result<Vec<HostView>, CallError> {
    found(nodes, "").await
}

/// Those that have all of these labels: `name=value,name=value`.
pub(super) async fn hosts_with(nodes: &Nodes, labels: &str) -> Result<Vec<HostView>, CallError> {
    // The node finds texts, which is more than what is asked for, and much less than all.
    let mut hosts = found(nodes, &labels.replace(',', " ")).await?;
    hosts.retain(|host| has_labels(host, labels));
    Ok(hosts)
}

async fn found(nodes: &Nodes, search: &str) -> Result<Vec<HostView>, CallError> {
    let (mut hosts, mut after) = (Vec::new(), String::new());
    loop {
        let mut query = Vec::new();
        for (name, value) in [("after", after.as_str()), ("search", search)] {
            if !value.is_empty() {
                query.push((name, value.to_owned()));
            }
        }
        let page: HostPage = nodes.get(path::HOSTS, &query).await?;
        hosts.extend(page.items);
        // A server that gives the same page for ever must not keep us for ever.
        if page.next.is_empty() || page.next == after {
            return Ok(hosts);
        }
        after = page.next;
    }
}

pub(super) async fn ls(profile: &Profile, format: Format, search: Option<&str>) -> Result<(), Failure> {
    let mut hosts = hosts(&Nodes::of_profile(profile)?).await?;
    if let Some(search) = search {
        hosts.retain(|host| matches(host, search));
    }
    output::list(format, &hosts, || {
        let mut table = Table::new(&["Host", "Address", "Labels", "Logins"]);
        for host in &hosts {
            table.row(&[&host.name, &host.addr, &labels(host), &host.logins.join(",")]);
        }
        table
    })
}

fn labels(host: &HostView) -> String {
    host.labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn has_labels(host: &HostView, labels: &str) -> bool {
    labels.split(',').all(|part| {
        part.split_once('=')
            .is_some_and(|(key, value)| host.labels.get(key.trim()).is_some_and(|v| v == value.trim()))
    })
}

fn matches(host: &HostView, search: &str) -> bool {
    let by_label = has_labels(host, search);
    let text = search.to_lowercase();
    by_label
        || [&host.name, &host.addr, &labels(host)]
            .iter()
            .any(|field| field.to_lowercase().contains(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_by_label_and_by_text() {
        let host = HostView {
            online: None,
            name: "web1".into(),
            addr: "10.0.0.7:22".into(),
            labels: [
                ("env".to_owned(), "prod".to_owned()),
                ("tier".to_owned(), "front".to_owned()),
            ]
            .into(),
            logins: vec![],
        };
        for good in ["env=prod", "tier=front,env=prod", "WEB", "10.0.0", "env=pr"] {
            assert!(matches(&host, good), "{good}");
        }
        for bad in ["env=test", "env=prod,tier=back", "db"] {
            assert!(!matches(&host, bad), "{bad}");
        }
    }
}
