//! `palctl status`: the cluster as one node sees it, with or without a quorum.

use super::{FormatArg, Link};
use crate::errors::{Failure, print};
use crate::output::{self, Format, Table};
use palisade_core::api::{ClusterStatus, NodeStatus, path};
use palisade_core::shown::Shown;
use std::fmt::Write as _;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    format: FormatArg,
}

pub(super) async fn run(link: &Link, args: &StatusArgs) -> Result<ExitCode, Failure> {
    let status: ClusterStatus = link.nodes()?.get(path::STATUS, &[]).await?;
    match args.format.format {
        Format::Text => print(&text(&status))?,
        format => print(&output::data_text(format, &output::to_value(&status)?))?,
    }
    // So that a script notices without reading.
    Ok(if status.cluster.is_empty() || status.quorum {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        u64::MAX => "?".into(),
        b if b >= 10 << 30 => format!("{} GiB", b >> 30),
        b => format!("{} MiB", b >> 20),
    }
}

/// Microseconds for people; nothing was measured yet at 0.
pub(super) fn sync(us: u64) -> String {
    match us {
        0 => "-".into(),
        us => format!("{:.1} ms", us as f64 / 1000.0),
    }
}

fn since(ms: Option<u64>) -> String {
    match ms {
        None => "-".into(),
        Some(ms) if ms < 1_000 => format!("{ms} ms"),
        Some(ms) => format!("{:.1} s", ms as f64 / 1000.0),
    }
}

/// What `palctl status` prints.
pub(super) fn text(status: &ClusterStatus) -> String {
    if status.cluster.is_empty() {
        return "This node is in no cluster yet: run `palctl cluster init` or `palctl cluster join` on it.\n"
            .into();
    }
    let named = |id: u64| status.nodes.iter().find(|n| n.id == id);
    let mut out = String::new();
    let mut line = |label: &str, value: String| {
        let label = format!("{label}:");
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{label:<14}{value}");
    };
    line(
        "Cluster",
        format!("{} ({})", Shown(&status.cluster), Shown(&status.cluster_id)),
    );
    line("Version", Shown(&status.version).to_string());
    line("CA pin", Shown(&status.ca_pin).to_string());
    line("Quorum", if status.quorum { "yes" } else { "NO" }.into());
    let leader = status.leader.and_then(named);
    line(
        "Leader",
        leader.map_or("none".to_owned(), |n| format!("{} (id {})", Shown(&n.name), n.id)),
    );
    line(
        "Term",
        format!(
            "{}, log {}, applied {}",
            status.term, status.last_index, status.applied_index
        ),
    );
    line(
        "Disk",
        format!(
            "{} free, sync p99 {}",
            size(status.disk_free_bytes),
            sync(status.fsync_p99_us)
        ),
    );
    line(
        "Clock",
        format!("off by {} at most", since(Some(status.clock_skew_ms))),
    );
    let own = named(status.node).and_then(|n| n.vitals.as_ref());
    let ends: Vec<String> = own
        .iter()
        .flat_map(|vitals| &vitals.certificates)
        .chain(&status.certificates)
        .map(|c| format!("{} {} days", Shown(&c.what), c.days_left))
        .collect();
    line("Certificates", ends.join(", "));
    line(
        "May lose",
        match status.failure_tolerance {
            0 => "no node".into(),
            1 => "1 more node".into(),
            n => format!("{n} more nodes"),
        },
    );
    out.push('\n');
    let mut table = Table::new(&[
        "Node", "Id", "Role", "Votes", "Answers", "Contact", "Lag", "Version", "Disk", "Sync", "HTTPS",
        "SSH", "Peer",
    ]);
    for node in &status.nodes {
        table.row(&row(node, status.node));
    }
    out += &table.render();
    for advice in &status.advice {
        let _ = write!(out, "\n! {}", Shown(advice));
    }
    if !status.advice.is_empty() {
        out.push('\n');
    }
    out
}

fn row(node: &NodeStatus, answering: u64) -> Vec<String> {
    let yes = |b: bool| if b { "yes" } else { "no" }.to_owned();
    let name = if node.id == answering {
        format!("{} *", node.name)
    } else {
        node.name.clone()
    };
    let vitals = node.vitals.as_ref();
    vec![
        name,
        node.id.to_string(),
        node.role.clone(),
        yes(node.voter),
        yes(node.reachable),
        since(node.last_contact_ms),
        node.lag.map_or("-".into(), |n| n.to_string()),
        vitals.map_or("-".into(), |v| v.version.clone()),
        vitals.map_or("-".into(), |v| size(v.disk_free_bytes)),
        vitals.map_or("-".into(), |v| sync(v.fsync_p99_us)),
        node.web_addr.clone(),
        node.ssh_addr.clone(),
        node.peer_addr.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::api::{CertificateEnd, NodeVitals};

    #[test]
    fn the_status_says_what_an_operator_asks() {
        let certificate = |what: &str, days_left| CertificateEnd {
            what: what.into(),
            days_left,
            ..CertificateEnd::default()
        };
        let status = ClusterStatus {
            cluster: "main".into(),
            node: 1,
            leader: Some(1),
            term: 7,
            last_index: 120,
            applied_index: 119,
            quorum: true,
            failure_tolerance: 1,
            disk_free_bytes: 20 << 30,
            fsync_p99_us: 2_500,
            clock_skew_ms: 1_500,
            certificates: vec![certificate("tls authority", 3_649)],
            advice: vec!["do \u{1b}[31mthis".into()],
            nodes: vec![
                NodeStatus {
                    id: 1,
                    name: "n1".into(),
                    role: "leader".into(),
                    voter: true,
                    reachable: true,
                    lag: Some(0),
                    last_contact_ms: Some(0),
                    vitals: Some(NodeVitals {
                        version: "0.1.0".into(),
                        disk_free_bytes: 300 << 20,
                        certificates: vec![certificate("peer", 89)],
                        ..NodeVitals::default()
                    }),
                    ..NodeStatus::default()
                },
                NodeStatus {
                    id: 2,
                    name: "n2".into(),
                    role: "follower".into(),
                    last_contact_ms: Some(12_345),
                    ..NodeStatus::default()
                },
            ],
            ..ClusterStatus::default()
        };
        let said = text(&status);
        for words in [
            "Leader:       n1 (id 1)",
            "Term:         7, log 120, applied 119",
            "20 GiB free, sync p99 2.5 ms",
            "off by 1.5 s at most",
            "peer 89 days, tls authority 3649 days",
            "May lose:     1 more node\n",
            "12.3 s",
            "300 MiB",
        ] {
            assert!(said.contains(words), "{words:?} is not in:\n{said}");
        }
        assert!(!said.contains('\u{1b}'), "advice is not printed raw");
    }
}
