//! `pal ls`.

use crate::errors::Failure;
use crate::http::{CallError, Nodes};
use crate::output::{self, Format, Table};
use crate::profile::Profile;
use palisade_core::api::{HostPage, HostView, path};

/// Hosts asked for at a time.
const PAGE: usize = 1000;

/// All hosts that the user may reach, in order of name.
pub(super) async fn hosts(nodes: &Nodes) -> Result<Vec<HostView>, CallError> {
    found(nodes, "", "").await
}

/// Those that have all of these labels: `name=value,name=value`.
pub(super) async fn hosts_with(nodes: &Nodes, labels: &str) -> Result<Vec<HostView>, CallError> {
    // The node finds texts, which is more than what is asked for, and much less than all.
    let mut hosts = found(nodes, &words(labels), "").await?;
    hosts.retain(|host| has_labels(host, labels));
    Ok(hosts)
}

/// What a node looks for: words that must all be there. Labels are separated by commas.
fn words(search: &str) -> String {
    match search.contains('=') {
        true => search.replace(',', " "),
        false => search.to_owned(),
    }
}

/// The node searches; only what it found crosses the network.
async fn found(nodes: &Nodes, search: &str, expression: &str) -> Result<Vec<HostView>, CallError> {
    let (mut hosts, mut after) = (Vec::new(), String::new());
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        for (name, value) in [
            ("after", after.as_str()),
            ("search", search),
            ("query", expression),
        ] {
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

pub(super) async fn ls(
    profile: &Profile,
    format: Format,
    search: Option<&str>,
    expression: Option<&str>,
) -> Result<(), Failure> {
    let search = words(search.unwrap_or_default());
    let hosts = found(
        &Nodes::of_profile(profile)?,
        &search,
        expression.unwrap_or_default(),
    )
    .await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_words_for_the_node_and_compared_whole_here() {
        assert_eq!(words("env=prod,role=db"), "env=prod role=db");
        assert_eq!(words("a, b"), "a, b");
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
        for good in ["env=prod", "tier=front,env=prod"] {
            assert!(has_labels(&host, good), "{good}");
        }
        for bad in ["env=pr", "env=test", "env=prod,tier=back", "web"] {
            assert!(!has_labels(&host, bad), "{bad}");
        }
    }
}
