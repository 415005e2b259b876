//! What to do next, in words: a plain function of the status.

use crate::clock;
use palisade_core::api::{ClusterStatus, NodeStatus, NodeVitals};
use palisade_core::time::Ttl;
use palisade_storage::LOG_RESERVE;
use std::collections::BTreeSet;

/// Below this a disk is low.
const DISK_LOW: u64 = 1 << 30;
/// A disk whose syncs take longer than this slows everybody down, in microseconds.
const SYNC_SLOW_US: u64 = 100_000;
/// So many entries behind is worth a word.
const LAG: u64 = 5_000;
/// A node's certificates are renewed long before this.
const PEER_DAYS: u64 = 14;
/// The HTTPS certificate lives for a week and is renewed when a third of that is left.
const HTTPS_DAYS: u64 = 1;
/// A new authority takes time to reach everybody.
const AUTHORITY_DAYS: u64 = 90;

/// One sentence for everything that wants attention, the most urgent first; empty if nothing does.
pub(crate) fn advice(status: &ClusterStatus) -> Vec<String> {
    let mut advice = Vec::new();
    quorum(status, &mut advice);
    for node in &status.nodes {
        if let Some(vitals) = node.vitals.as_ref().filter(|_| status.quorum) {
            trouble(node, vitals, &mut advice);
        }
    }
    members(status, &mut advice);
    for node in &status.nodes {
        if let Some(vitals) = &node.vitals {
            disk(node, vitals, &mut advice);
            stores(node, vitals, &mut advice);
        }
    }
    if status.clock_skew_ms > clock::WARN_MS {
        advice.push(format!(
            "the clocks of two nodes differ by {} s: set them by NTP",
            status.clock_skew_ms / 1000
        ));
    }
    versions(status, &mut advice);
    certificates(status, &mut advice);
    voters(status, &mut advice);
    advice
}

fn quorum(status: &ClusterStatus, advice: &mut Vec<String>) {
    if status.quorum {
        return;
    }
    let voters = status.nodes.iter().filter(|n| n.voter).count();
    let silent: Vec<&str> = status
        .nodes
        .iter()
        .filter(|n| n.voter && !n.reachable)
        .map(|n| n.name.as_str())
        .collect();
    let needed = voters / 2 + 1;
    let answering = voters - silent.len();
    advice.push(if answering < needed {
        format!(
            "there is no quorum ({answering} of {voters} voters answer, {needed} are needed): start {}; running sessions go on, new ones and changes are refused",
            silent.join(" and ")
        )
    } else {
        "there is no quorum, although enough voters answer: an election is under way; if this stays, look at the nodes' logs and at their network".into()
    });
}

fn trouble(node: &NodeStatus, vitals: &NodeVitals, advice: &mut Vec<String>) {
    // A full disk has a sentence of its own.
    if !vitals.trouble.is_empty() && vitals.disk_free_bytes >= LOG_RESERVE {
        advice.push(format!(
            "node {} takes no changes: {}; its log says more",
            node.name, vitals.trouble
        ));
    }
}

fn members(status: &ClusterStatus, advice: &mut Vec<String>) {
    for node in &status.nodes {
        let name = &node.name;
        let learns = node.role == "learner" || node.role == "joining";
        if !node.reachable {
            // Without a quorum it has been said.
            if status.quorum {
                let since = match node.last_contact_ms {
                    Some(ms) => format!("has not answered for {} s", ms / 1000),
                    None => "does not answer".into(),
                };
                advice.push(format!(
                    "node {name} {since}: start it, or join another and `palctl cluster replace {name} --with OTHER`"
                ));
                if let Some(secs) = node.removed_in_secs {
                    advice.push(format!(
                        "node {name} is taken out of the cluster in {}, as cluster_maintenance_config says, unless it \
                         answers before",
                        Ttl::secs(secs)
                    ));
                }
            }
        } else if learns {
            advice.push(format!("node {name} is catching up and does not vote yet: wait"));
        } else if let Some(lag) = node.lag.filter(|lag| *lag > LAG) {
            advice.push(format!(
                "node {name} is {lag} entries behind: wait; if this does not shrink, look at its disk and its network"
            ));
        }
    }
}

fn disk(node: &NodeStatus, vitals: &NodeVitals, advice: &mut Vec<String>) {
    let (name, free) = (&node.name, vitals.disk_free_bytes);
    if free < LOG_RESERVE {
        advice.push(format!(
            "the disk of node {name} is full and takes no changes: free some space, it recovers by itself"
        ));
    } else if free < DISK_LOW {
        advice.push(format!(
            "the disk of node {name} has {} MiB left: free some space, or enlarge it; below {} MiB it takes no changes",
            free >> 20,
            LOG_RESERVE >> 20
        ));
    }
    if vitals.fsync_p99_us > SYNC_SLOW_US {
        advice.push(format!(
            "the disk of node {name} is slow (a sync takes {} ms): give its data directory a disk of its own",
            vitals.fsync_p99_us / 1000
        ));
    }
}

fn stores(node: &NodeStatus, vitals: &NodeVitals, advice: &mut Vec<String>) {
    let name = &node.name;
    if vitals.pages_missing > 0 {
        advice.push(format!(
            "node {name} lacks {} audit pages and fetches them: wait; `palctl audit verify` names those that no node has",
            vitals.pages_missing
        ));
    }
    if vitals.chunks_missing > 0 {
        advice.push(format!(
            "node {name} lacks {} chunks of recordings, which are on fewer nodes than they should be: wait, it fetches them; keep all nodes running meanwhile",
            vitals.chunks_missing
        ));
    }
}

fn versions(status: &ClusterStatus, advice: &mut Vec<String>) {
    let told = status
        .nodes
        .iter()
        .filter_map(|n| n.vitals.as_ref().map(|v| (&n.name, &v.version)));
    let each: Vec<_> = told.collect();
    if each
        .iter()
        .map(|(_, version)| *version)
        .collect::<BTreeSet<_>>()
        .len()
        > 1
    {
        let list: Vec<_> = each
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        advice.push(format!(
            "nodes run different versions ({}): bring all of them to the newest",
            list.join(", ")
        ));
    }
}

fn certificates(status: &ClusterStatus, advice: &mut Vec<String>) {
    for node in &status.nodes {
        for certificate in node.vitals.iter().flat_map(|v| &v.certificates) {
            let soon = match certificate.what.as_str() {
                "https" => HTTPS_DAYS,
                _ => PEER_DAYS,
            };
            if certificate.days_left < soon {
                advice.push(format!(
                    "the {} certificate of node {} ends in {} days and should have been renewed by now: look at its log, then restart it",
                    certificate.what, node.name, certificate.days_left
                ));
            }
        }
    }
    for authority in &status.certificates {
        if authority.days_left < AUTHORITY_DAYS {
            advice.push(format!(
                "the {} ends in {} days: plan its successor",
                authority.what, authority.days_left
            ));
        }
    }
}

fn voters(status: &ClusterStatus, advice: &mut Vec<String>) {
    match status.nodes.iter().filter(|n| n.voter).count() {
        1 => advice.push("one voter survives no failure: join two more nodes".into()),
        2 | 4 => advice.push(
            "an even number of voters survives no more failures than one fewer: join one more node".into(),
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::api::CertificateEnd;

    fn node(id: u64) -> NodeStatus {
        NodeStatus {
            id,
            name: format!("n{id}"),
            role: if id == 1 { "leader" } else { "follower" }.into(),
            voter: true,
            lag: Some(0),
            last_contact_ms: Some(40),
            reachable: true,
            vitals: Some(NodeVitals {
                version: "1.0.0".into(),
                disk_free_bytes: 50 << 30,
                fsync_p99_us: 4_000,
                certificates: vec![certificate("peer", 80), certificate("https", 6)],
                ..NodeVitals::default()
            }),
            ..NodeStatus::default()
        }
    }

    fn certificate(what: &str, days_left: u64) -> CertificateEnd {
        CertificateEnd {
            what: what.into(),
            days_left,
            ..CertificateEnd::default()
        }
    }

    fn well() -> ClusterStatus {
        ClusterStatus {
            quorum: true,
            nodes: vec![node(1), node(2), node(3)],
            certificates: vec![certificate("tls authority", 3_000)],
            ..ClusterStatus::default()
        }
    }

    fn silent(status: &mut ClusterStatus, i: usize) {
        status.nodes[i].reachable = false;
        status.nodes[i].vitals = None;
        status.nodes[i].last_contact_ms = Some(12_000);
    }

    fn vitals(status: &mut ClusterStatus, i: usize) -> &mut NodeVitals {
        status.nodes[i].vitals.as_mut().expect("it answers")
    }

    #[test]
    fn nothing_is_said_of_a_cluster_that_is_well() {
        assert_eq!(advice(&well()), Vec::<String>::new());
    }

    /// Each condition alone: exactly one sentence, which names what it is about and says what to do.
    #[test]
    fn every_condition_has_its_one_sentence() {
        type Change = Box<dyn Fn(&mut ClusterStatus)>;
        let table: Vec<(&[&str], Change)> = vec![
            (
                &[
                    "no quorum (1 of 3",
                    "start n2 and n3",
                    "new ones and changes are refused",
                ],
                Box::new(|s| {
                    s.quorum = false;
                    silent(s, 1);
                    silent(s, 2);
                }),
            ),
            (
                &["no quorum, although", "election", "network"],
                Box::new(|s| s.quorum = false),
            ),
            (
                &[
                    "n2 has not answered for 12 s",
                    "start it",
                    "palctl cluster replace n2",
                ],
                Box::new(|s| silent(s, 1)),
            ),
            (
                &["n3 is catching up", "wait"],
                Box::new(|s| {
                    s.nodes[2].role = "learner".into();
                    s.nodes.push(node(4));
                }),
            ),
            (
                &["n2 is 5001 entries behind", "look at its disk"],
                Box::new(|s| s.nodes[1].lag = Some(5_001)),
            ),
            (
                &["n3 has 512 MiB left", "free some space"],
                Box::new(|s| vitals(s, 2).disk_free_bytes = 512 << 20),
            ),
            (
                &["n3 is full", "free some space", "by itself"],
                Box::new(|s| {
                    vitals(s, 2).disk_free_bytes = 1 << 20;
                    vitals(s, 2).trouble = "the disk is full".into();
                }),
            ),
            (
                &["n1 is slow", "150 ms", "disk of its own"],
                Box::new(|s| vitals(s, 0).fsync_p99_us = 150_000),
            ),
            (
                &["n2 takes no changes: the audit log is stuck", "its log"],
                Box::new(|s| vitals(s, 1).trouble = "the audit log is stuck".into()),
            ),
            (&["clocks", "7 s", "NTP"], Box::new(|s| s.clock_skew_ms = 7_400)),
            (
                &["versions", "n2 1.1.0", "newest"],
                Box::new(|s| vitals(s, 1).version = "1.1.0".into()),
            ),
            (
                &["peer certificate of node n1", "13 days", "restart"],
                Box::new(|s| vitals(s, 0).certificates[0].days_left = 13),
            ),
            (
                &["https certificate of node n1", "0 days"],
                Box::new(|s| vitals(s, 0).certificates[1].days_left = 0),
            ),
            (
                &["tls authority ends in 89 days", "successor"],
                Box::new(|s| s.certificates[0].days_left = 89),
            ),
            (
                &["n1 lacks 3 audit pages", "palctl audit verify"],
                Box::new(|s| vitals(s, 0).pages_missing = 3),
            ),
            (
                &["n1 lacks 5 chunks", "fewer nodes", "keep all nodes running"],
                Box::new(|s| vitals(s, 0).chunks_missing = 5),
            ),
            (&["one voter", "join two more"], Box::new(|s| s.nodes.truncate(1))),
            (
                &["even number", "join one more"],
                Box::new(|s| s.nodes.truncate(2)),
            ),
        ];
        for (words, change) in table {
            let mut status = well();
            change(&mut status);
            // The learner's row brings a fourth voter along, for three that vote.
            if status.nodes.len() == 4 {
                status.nodes[2].voter = false;
            }
            let said = advice(&status);
            assert_eq!(said.len(), 1, "{words:?}: {said:#?}");
            for word in words {
                assert!(said[0].contains(word), "{:?} does not say {word:?}", said[0]);
            }
        }
    }

    #[test]
    fn the_most_urgent_comes_first() {
        let mut status = well();
        status.quorum = false;
        status.clock_skew_ms = 9_000;
        silent(&mut status, 1);
        silent(&mut status, 2);
        let said = advice(&status);
        assert!(
            said[0].contains("no quorum") && said[1].contains("clocks"),
            "{said:#?}"
        );
    }
}
