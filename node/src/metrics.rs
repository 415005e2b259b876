//! Prometheus metrics: one table, gathered when asked.

use crate::operations::NodeOperations;
use palisade_core::state;
use palisade_raft::Role;
use prometheus::{Encoder as _, Gauge, Registry, TextEncoder};

/// The node's metrics as Prometheus text.
pub(crate) fn text(node: &NodeOperations) -> String {
    let status = node.consensus.raft().status();
    let stats = node.log.sync_stats();
    let quorum_age = node
        .consensus
        .raft()
        .lease()
        .map_or(f64::INFINITY, |lease| lease.age_ms as f64 / 1000.0);
    let events =
        state::audit_frontier(node.consensus.store()).map_or(f64::NAN, |frontier| frontier.size() as f64);
    let sealed = state::last_page(node.consensus.store());
    let pages = sealed.map_or(f64::NAN, |last| {
        last.map_or(0.0, |page| f64::from(page.number) + 1.0)
    });
    let table: [(&str, &str, f64); 18] = [
        ("palisade_raft_term", "Current Raft term", status.term as f64),
        (
            "palisade_raft_leader",
            "1 while this node leads",
            f64::from(u8::from(status.role == Role::Leader)),
        ),
        (
            "palisade_raft_last_log_index",
            "Last entry in this node's log",
            status.last_log as f64,
        ),
        (
            "palisade_raft_committed_index",
            "Last entry known to be committed",
            status.committed as f64,
        ),
        (
            "palisade_raft_applied_index",
            "Last entry applied",
            status.applied as f64,
        ),
        (
            "palisade_raft_snapshot_index",
            "Last entry in the newest snapshot",
            status.snapshot as f64,
        ),
        (
            "palisade_raft_purged_index",
            "Last entry dropped from this node's log",
            status.purged as f64,
        ),
        (
            "palisade_raft_voters",
            "Voters in the membership",
            status.voters().len() as f64,
        ),
        (
            "palisade_quorum_age_seconds",
            "Since a leader with a quorum was heard from",
            quorum_age,
        ),
        (
            "palisade_log_sync_p99_seconds",
            "99th percentile of recent log syncs",
            stats.p99.as_secs_f64(),
        ),
        (
            "palisade_log_syncs_total",
            "Log syncs since start",
            stats.count as f64,
        ),
        (
            "palisade_log_disk_full",
            "1 while the log takes no changes for lack of space",
            f64::from(u8::from(stats.no_space)),
        ),
        (
            "palisade_disk_free_bytes",
            "Free bytes on the data disk",
            node.segments.free_bytes() as f64,
        ),
        (
            "palisade_sessions_live",
            "Sessions that this node carries",
            node.sessions.here().len() as f64,
        ),
        (
            "palisade_agents",
            "Agents whose tunnel ends at this node",
            node.sessions.agents_here() as f64,
        ),
        ("palisade_audit_events", "Audit events in the log", events),
        ("palisade_audit_pages", "Audit pages that were sealed", pages),
        (
            "palisade_audit_pages_missing",
            "Audit pages that this node does not hold yet",
            node.pages.missing() as f64,
        ),
    ];
    let registry = Registry::new();
    for (name, help, value) in table {
        // The names are constants of this table: valid and distinct.
        if let Ok(gauge) = Gauge::new(name, help) {
            gauge.set(value);
            let _ = registry.register(Box::new(gauge));
        }
    }
    let mut text = Vec::new();
    let _ = TextEncoder::new().encode(&registry.gather(), &mut text);
    String::from_utf8(text).unwrap_or_default()
}
