//! What somebody who helps wants to see of a node. Nothing here reads a key, a password, a token or a record of a person;
//! and because a mistake would be costly, every text is looked through once more for what looks like a secret.

use crate::clock::now;
use crate::logging::Log;
use crate::metrics;
use crate::operations::NodeOperations;
use crate::process;
use palisade_core::api::{SupportBundle, SupportFile};
use palisade_core::state;
use regex::Regex;
use std::fmt::Write as _;
use std::fs;
use std::sync::OnceLock;

/// Collects it.
pub(crate) async fn bundle(node: &NodeOperations) -> SupportBundle {
    let status = node.cluster_status().await;
    let status = serde_json::to_string_pretty(&status).unwrap_or_else(|e| e.to_string());
    let files = [
        ("status.json", status),
        ("metrics.txt", metrics::text(node)),
        ("config.txt", config(node)),
        ("raft.txt", raft(node)),
        ("storage.txt", storage(node)),
        ("machine.txt", machine(node)),
        ("log.txt", Log::recent_lines()),
    ];
    let file = |(name, text): (&str, String)| SupportFile {
        name: name.to_owned(),
        text: scrub(&text),
    };
    SupportBundle {
        files: files.map(file).into(),
    }
}

fn config(node: &NodeOperations) -> String {
    let mut out = String::from(
        "# As read at the start of the node; SIGHUP may have changed log, log_level and otlp since.\n",
    );
    for effective in &node.config.effective {
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "{}: {} ({})",
            effective.key, effective.value, effective.source
        );
    }
    out
}

fn raft(node: &NodeOperations) -> String {
    let status = node.consensus.raft().status();
    let lease = node.consensus.raft().lease();
    format!("{status:#?}\nlease: {lease:#?}\n")
}

/// What can be said while the node runs and holds its stores.
fn storage(node: &NodeOperations) -> String {
    let kv = node.consensus.store();
    let events = state::audit_frontier(kv).map(|frontier| frontier.size());
    let sealed = state::sealed_until(kv);
    let sessions = node
        .segments
        .sessions()
        .map(|all| all.len())
        .map_err(|e| e.to_string());
    format!(
        "log: {:#?}\nlog on disk: {} bytes, entries {:?}, purged up to {:?}\n\
         audit events: {events:?}, on pages up to {sealed:?}, pages missing here: {}\n\
         segments: groups {sessions:?}, writable: {:?}, recording chunks missing here: {}\n\
         health: {:#?}\n\
         Every byte of the stores is checked by `palisade repair` while the node is stopped.\n",
        node.log.sync_stats(),
        node.log.size_on_disk(),
        node.log.bounds(),
        node.log.purged().map(|(index, _)| index),
        node.pages.missing(),
        node.segments.try_write().map_err(|e| e.to_string()),
        node.recordings.missing(),
        node.signs(),
    )
}

fn machine(node: &NodeOperations) -> String {
    let mut out = format!(
        "palisade {}\ntime here {}, clocks differ by {} ms at most\nprocess: {:#?}\n",
        env!("CARGO_PKG_VERSION"),
        now(),
        node.skew.worst_ms(),
        process::look(),
    );
    if let Ok(system) = nix::sys::utsname::uname() {
        let _ = writeln!(
            out,
            "system: {} {} {}",
            system.sysname().to_string_lossy(),
            system.release().to_string_lossy(),
            system.machine().to_string_lossy()
        );
    }
    if let Ok(disk) = nix::sys::statvfs::statvfs(node.home.dir()) {
        let _ = writeln!(
            out,
            "disk of {}: {} bytes, {} free, {} of {} files free",
            node.home.dir().display(),
            disk.blocks() * disk.fragment_size(),
            disk.blocks_available() * disk.fragment_size(),
            disk.files_available(),
            disk.files(),
        );
    }
    for file in [
        "/etc/os-release",
        "/proc/loadavg",
        "/proc/uptime",
        "/proc/self/limits",
        "/proc/pressure/io",
    ] {
        let text = fs::read_to_string(file).unwrap_or_else(|e| e.to_string());
        let _ = writeln!(out, "== {file}\n{}", text.trim_end());
    }
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    for line in memory.lines().take(3) {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// Takes out whatever looks like a secret: join tokens, links of invites, secrets of authenticators, private keys, hashes of
/// passwords.
fn scrub(text: &str) -> String {
    static LOOKS_SECRET: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = concat!(
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)",
        r"|\bpj1\.[A-Za-z0-9._~-]+",
        r#"|otpauth://[^\s"']+"#,
        r#"|/invites?/[^\s"'{}]+"#,
        r#"|\$argon2[a-z]*\$[^\s"']+"#,
    );
    let found = LOOKS_SECRET.get_or_init(|| Regex::new(pattern).ok());
    match found {
        Some(found) => found.replace_all(text, "[left out]").into_owned(),
        // Never: a test reads the pattern. Nothing is better than too much.
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::scrub;

    #[test]
    fn what_looks_like_a_secret_is_left_out() {
        for (text, left) in [
            ("a pj1.5b0f-1.ab12.join-x.s3cr3t b", "a [left out] b"),
            (
                "at https://n1:3080/invite/AbC_1-2?x=1, then",
                "at https://n1:3080[left out] then",
            ),
            ("uri=otpauth://totp/x?secret=ABC\" z", "uri=[left out]\" z"),
            ("h $argon2id$v=19$m=1$c2FsdA$aGFzaA z", "h [left out] z"),
            (
                "-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\nafter",
                "[left out]\nafter",
            ),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "[left out]"),
            (
                "route=/v1/invites/{token} status=200",
                "route=/v1/invites/{token} status=200",
            ),
            ("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"),
        ] {
            assert_eq!(scrub(text), left);
        }
    }
}
