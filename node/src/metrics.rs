//! Prometheus metrics: what was counted ([`Meter`](crate::meter::Meter)), and one table of what is looked at when asked.

use crate::health;
use crate::operations::NodeOperations;
use crate::process;
use palisade_core::record::NodeSpec;
use palisade_core::state;
use palisade_raft::Role;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Encoder as _, Gauge, GaugeVec, Opts, Registry, TextEncoder};
use std::collections::BTreeMap;

/// A number that goes up and down.
const GAUGE: bool = false;
/// One that only ever grows while the process lives.
const COUNTER: bool = true;

/// The node's metrics as Prometheus text.
pub(crate) fn text(node: &NodeOperations) -> String {
    let mut text = Vec::new();
    let _ = TextEncoder::new().encode(&families(node), &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// The node's metrics, in the order of their names.
pub(crate) fn families(node: &NodeOperations) -> Vec<MetricFamily> {
    let registry = Registry::new();
    // The names are constants: valid and distinct.
    let register = |collector: Box<dyn Collector>| drop(registry.register(collector));
    for (kind, name, help, value) in numbers(node) {
        if kind == COUNTER {
            if let Ok(counter) = Counter::new(name, help) {
                counter.inc_by(value.max(0.0));
                register(Box::new(counter));
            }
        } else if let Ok(gauge) = Gauge::new(name, help) {
            gauge.set(value);
            register(Box::new(gauge));
        }
    }
    for family in labelled(node) {
        register(family);
    }
    let mut families = node.consensus.meter().gather();
    families.extend(registry.gather());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    families
}

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

type Number = (bool, &'static str, &'static str, f64);

fn numbers(node: &NodeOperations) -> Vec<Number> {
    let mut all = raft(node);
    all.extend(stores(node));
    all.extend(process_numbers());
    all
}

fn raft(node: &NodeOperations) -> Vec<Number> {
    let raft = node.consensus.raft();
    let status = raft.status();
    let signs = node.signs();
    let quorum_age = signs.quorum_age_ms.map_or(f64::INFINITY, |ms| ms as f64 / 1000.0);
    let mut all = vec![
        (
            GAUGE,
            "palisade_raft_term",
            "Current Raft term",
            status.term as f64,
        ),
        (
            GAUGE,
            "palisade_raft_leader",
            "1 while this node leads",
            flag(status.role == Role::Leader),
        ),
        (
            GAUGE,
            "palisade_raft_last_log_index",
            "Last entry in this node's log",
            status.last_log as f64,
        ),
        (
            GAUGE,
            "palisade_raft_committed_index",
            "Last entry known to be committed",
            status.committed as f64,
        ),
        (
            GAUGE,
            "palisade_raft_applied_index",
            "Last entry applied",
            status.applied as f64,
        ),
        (
            GAUGE,
            "palisade_raft_snapshot_index",
            "Last entry in the newest snapshot",
            status.snapshot as f64,
        ),
        (
            GAUGE,
            "palisade_raft_purged_index",
            "Last entry dropped from this node's log",
            status.purged as f64,
        ),
        (
            GAUGE,
            "palisade_raft_voters",
            "Voters in the membership",
            status.voters().len() as f64,
        ),
        (
            GAUGE,
            "palisade_quorum_age_seconds",
            "Since a leader with a quorum was heard from",
            quorum_age,
        ),
        (
            GAUGE,
            "palisade_ready",
            "1 while /readyz is green",
            flag(health::ready(&signs).is_ok()),
        ),
        (
            GAUGE,
            "palisade_ready_to_write",
            "1 while /readyz?write is green",
            flag(health::ready_to_write(&signs).is_ok()),
        ),
        (
            GAUGE,
            "palisade_clock_skew_seconds",
            "Largest difference between this node's clock and another's",
            node.skew.worst_ms() as f64 / 1000.0,
        ),
        (
            GAUGE,
            "palisade_audit_head_wait_seconds",
            "For how long no head of the audit log was signed although events wait",
            signs.head_waits.as_secs_f64(),
        ),
        (
            GAUGE,
            "palisade_audit_sealing_wait_seconds",
            "For how long no audit page was sealed although enough events wait",
            signs.sealing_waits.as_secs_f64(),
        ),
        (
            GAUGE,
            "palisade_commit_wait_seconds",
            "For how long nothing was committed although changes wait",
            signs.commit_waits.as_secs_f64(),
        ),
        (
            GAUGE,
            "palisade_segments_writable",
            "1 while recordings and audit pages can be stored",
            flag(signs.segments.is_ok()),
        ),
    ];
    if let Some(tolerance) = node.failure_tolerance() {
        all.push((
            GAUGE,
            "palisade_failure_tolerance",
            "Voters that may be lost from those that answer now; told by the leader alone",
            tolerance as f64,
        ));
    }
    all
}

fn stores(node: &NodeOperations) -> Vec<Number> {
    let stats = node.log.sync_stats();
    let kv = node.consensus.store();
    let events = state::audit_frontier(kv).map_or(f64::NAN, |frontier| frontier.size() as f64);
    let sealed = state::last_page(kv);
    let pages = sealed.map_or(f64::NAN, |last| {
        last.map_or(0.0, |page| f64::from(page.number) + 1.0)
    });
    let waiting = state::sealed_until(kv).map_or(f64::NAN, |sealed| (events - sealed as f64).max(0.0));
    vec![
        (
            GAUGE,
            "palisade_log_sync_p99_seconds",
            "99th percentile of recent log syncs",
            stats.p99.as_secs_f64(),
        ),
        (
            COUNTER,
            "palisade_log_syncs_total",
            "Log syncs since start",
            stats.count as f64,
        ),
        (
            GAUGE,
            "palisade_log_sync_wait_seconds",
            "How long the log sync under way has taken",
            stats.in_progress.unwrap_or_default().as_secs_f64(),
        ),
        (
            GAUGE,
            "palisade_log_queue",
            "Writes that wait for the log",
            stats.queue as f64,
        ),
        (
            GAUGE,
            "palisade_log_disk_full",
            "1 while the log takes no changes for lack of space",
            flag(stats.no_space),
        ),
        (
            GAUGE,
            "palisade_disk_free_bytes",
            "Free bytes on the data disk",
            node.segments.free_bytes() as f64,
        ),
        (
            GAUGE,
            "palisade_sessions_live",
            "Sessions that this node carries",
            node.sessions.here().len() as f64,
        ),
        (
            GAUGE,
            "palisade_agents",
            "Agents whose tunnel ends at this node",
            node.sessions.agents_here() as f64,
        ),
        (GAUGE, "palisade_audit_events", "Audit events in the log", events),
        (
            GAUGE,
            "palisade_audit_events_unsealed",
            "Audit events that are on no page yet",
            waiting,
        ),
        (
            GAUGE,
            "palisade_audit_pages",
            "Audit pages that were sealed",
            pages,
        ),
        (
            GAUGE,
            "palisade_audit_pages_missing",
            "Audit pages that this node does not hold yet",
            node.pages.missing() as f64,
        ),
        (
            GAUGE,
            "palisade_recording_chunks_missing",
            "Chunks of recordings that this node does not hold yet",
            node.recordings.missing() as f64,
        ),
    ]
}

/// Under the names that every exporter uses.
fn process_numbers() -> Vec<Number> {
    let process = process::look();
    vec![
        (
            GAUGE,
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            process.memory_bytes as f64,
        ),
        (
            COUNTER,
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds",
            process.cpu.as_secs_f64(),
        ),
        (
            GAUGE,
            "process_open_fds",
            "Number of open file descriptors",
            process.open_files as f64,
        ),
        (
            GAUGE,
            "process_max_fds",
            "Maximum number of open file descriptors",
            process.most_files as f64,
        ),
        (
            GAUGE,
            "process_threads",
            "Number of OS threads in the process",
            process.threads as f64,
        ),
    ]
}

fn family(name: &str, help: &str, label: &str, values: BTreeMap<String, f64>) -> Box<dyn Collector> {
    let family = GaugeVec::new(Opts::new(name, help), &[label]).expect("the names here are well formed");
    for (key, value) in values {
        family.with_label_values(&[key.as_str()]).set(value);
    }
    Box::new(family)
}

fn labelled(node: &NodeOperations) -> Vec<Box<dyn Collector>> {
    let mut certificates = node.own_certificates();
    certificates.extend(node.authority_certificates());
    let ends = certificates
        .into_iter()
        .map(|c| (c.what, c.ends.secs() as f64))
        .collect();
    let names: BTreeMap<u64, String> = state::records::<NodeSpec>(node.consensus.store())
        .unwrap_or_default()
        .into_iter()
        .map(|record| (record.spec.id, record.metadata.name.to_string()))
        .collect();
    let status = node.consensus.raft().status();
    let (mut contact, mut lag) = (BTreeMap::new(), BTreeMap::new());
    for (id, peer) in status.nodes.iter().filter(|_| status.role == Role::Leader) {
        let name = names.get(id).cloned().unwrap_or_else(|| id.to_string());
        let own = *id == status.id;
        let since = if own { Some(0) } else { peer.last_contact_ms };
        contact.insert(name.clone(), since.map_or(f64::INFINITY, |ms| ms as f64 / 1000.0));
        lag.insert(name, peer.lag.unwrap_or(0) as f64);
    }
    vec![
        family(
            "palisade_certificate_end_timestamp_seconds",
            "When a certificate of this node, or of an authority, ends",
            "certificate",
            ends,
        ),
        family(
            "palisade_member_contact_age_seconds",
            "Since the leader last heard from a member; told by the leader alone",
            "member",
            contact,
        ),
        family(
            "palisade_member_lag_entries",
            "Entries that a member lacks; told by the leader alone",
            "member",
            lag,
        ),
        family(
            "palisade_build_info",
            "The program's version; always 1",
            "version",
            BTreeMap::from([(env!("CARGO_PKG_VERSION").to_owned(), 1.0)]),
        ),
    ]
}
