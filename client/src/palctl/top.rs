//! `palctl top`: how the nodes are doing right now, again every second.

use super::status::{size, sync};
use super::{FormatArg, Link};
use crate::errors::{Failure, print};
use crate::output::{self, Format, Table};
use palisade_core::api::{ClusterStatus, NodeStatus, path};
use palisade_core::shown::Shown;
use serde::Serialize;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// Between two frames.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    /// Show one frame and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// One node in a frame.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    node: String,
    role: String,
    answers: bool,
    /// Entries that it applied each second; absent where it did not answer twice.
    writes_per_second: Option<f64>,
    fsync_p99_us: Option<u64>,
    lag: Option<u64>,
    sessions: Option<u64>,
    agents: Option<u64>,
    memory_bytes: Option<u64>,
    /// Of one core.
    cpu_percent: Option<f64>,
    disk_free_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Frame {
    cluster: String,
    quorum: bool,
    failure_tolerance: u64,
    nodes: Vec<Row>,
    advice: Vec<String>,
}

pub(super) async fn run(link: &Link, args: &TopArgs) -> Result<(), Failure> {
    let nodes = link.nodes()?;
    let mut before: ClusterStatus = nodes.get(path::STATUS, &[]).await?;
    let mut at = Instant::now();
    let clears = !args.once && args.format.format == Format::Text && std::io::stdout().is_terminal();
    loop {
        tokio::time::sleep(EVERY).await;
        let now: ClusterStatus = nodes.get(path::STATUS, &[]).await?;
        let frame = frame(&before, &now, at.elapsed());
        (before, at) = (now, Instant::now());
        let text = match args.format.format {
            Format::Text => text(&frame),
            format => output::data_text(format, &output::to_value(&frame)?),
        };
        // The screen is cleared from its first line on, so that nothing flickers.
        let head = if clears { "\u{1b}[H\u{1b}[2J" } else { "" };
        print(&format!("{head}{text}"))?;
        if args.once {
            return Ok(());
        }
    }
}

fn frame(before: &ClusterStatus, now: &ClusterStatus, passed: Duration) -> Frame {
    let secs = passed.as_secs_f64().max(0.001);
    let row = |node: &NodeStatus| {
        let vitals = node.vitals.as_ref();
        let earlier = before.nodes.iter().find(|n| n.id == node.id);
        // A node that was started anew in between counts from 0 again.
        let both = vitals.zip(earlier.and_then(|n| n.vitals.as_ref()));
        let both = both.filter(|(new, old)| new.cpu_ms >= old.cpu_ms && new.uptime_secs >= old.uptime_secs);
        Row {
            node: node.name.clone(),
            role: node.role.clone(),
            answers: node.reachable,
            writes_per_second: both
                .map(|(new, old)| new.applied_index.saturating_sub(old.applied_index) as f64 / secs),
            fsync_p99_us: vitals.map(|v| v.fsync_p99_us),
            lag: node.lag,
            sessions: vitals.map(|v| v.sessions),
            agents: vitals.map(|v| v.agents),
            memory_bytes: vitals.map(|v| v.memory_bytes),
            cpu_percent: both.map(|(new, old)| (new.cpu_ms - old.cpu_ms) as f64 / 10.0 / secs),
            disk_free_bytes: vitals.map(|v| v.disk_free_bytes),
        }
    };
    Frame {
        cluster: now.cluster.clone(),
        quorum: now.quorum,
        failure_tolerance: now.failure_tolerance,
        nodes: now.nodes.iter().map(row).collect(),
        advice: now.advice.clone(),
    }
}

fn text(frame: &Frame) -> String {
    let mut out = format!(
        "{}: quorum {}, may lose {} more\n\n",
        Shown(&frame.cluster),
        if frame.quorum { "yes" } else { "NO" },
        frame.failure_tolerance
    );
    let mut table = Table::new(&[
        "Node",
        "Role",
        "Answers",
        "Writes/s",
        "Sync p99",
        "Lag",
        "Sessions",
        "Agents",
        "Memory",
        "CPU",
        "Disk free",
    ]);
    let number = |n: Option<u64>| n.map_or("-".into(), |n| n.to_string());
    for row in &frame.nodes {
        table.row(&[
            row.node.clone(),
            row.role.clone(),
            if row.answers { "yes" } else { "no" }.into(),
            row.writes_per_second.map_or("-".into(), |n| format!("{n:.1}")),
            row.fsync_p99_us.map_or("-".into(), sync),
            number(row.lag),
            number(row.sessions),
            number(row.agents),
            row.memory_bytes.map_or("-".into(), size),
            row.cpu_percent.map_or("-".into(), |n| format!("{n:.1} %")),
            row.disk_free_bytes.map_or("-".into(), size),
        ]);
    }
    out += &table.render();
    for advice in &frame.advice {
        out += &format!("\n! {}", Shown(advice));
    }
    if !frame.advice.is_empty() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::api::NodeVitals;

    fn at(applied: u64, cpu_ms: u64, uptime_secs: u64) -> ClusterStatus {
        let vitals = NodeVitals {
            applied_index: applied,
            cpu_ms,
            uptime_secs,
            memory_bytes: 48 << 20,
            ..NodeVitals::default()
        };
        let node = NodeStatus {
            id: 1,
            name: "n1".into(),
            role: "leader".into(),
            reachable: true,
            vitals: Some(vitals),
            ..NodeStatus::default()
        };
        ClusterStatus {
            cluster: "main".into(),
            quorum: true,
            nodes: vec![node],
            ..ClusterStatus::default()
        }
    }

    #[test]
    fn rates_are_of_the_time_that_passed() {
        let shown = frame(&at(100, 1_000, 5), &at(160, 1_150, 7), Duration::from_secs(2));
        let row = &shown.nodes[0];
        assert_eq!((row.writes_per_second, row.cpu_percent), (Some(30.0), Some(7.5)));
        let said = text(&shown);
        assert!(
            said.contains("30.0") && said.contains("7.5 %") && said.contains("48 MiB"),
            "{said}"
        );
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        // Started anew in between.
        let row = &frame(&at(100, 9_000, 500), &at(160, 40, 1), Duration::from_secs(1)).nodes[0];
        assert_eq!((row.writes_per_second, row.cpu_percent), (None, None));
        // Silent before.
        let mut silent = at(100, 0, 1);
        silent.nodes[0].vitals = None;
        let row = &frame(&silent, &at(160, 40, 1), Duration::from_secs(1)).nodes[0];
        assert_eq!(row.writes_per_second, None);
    }
}
