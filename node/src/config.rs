//! The node's configuration: what was written ([`RawConfig`], unknown keys refused) and what it means
//! ([`Config`]). All faults are reported together. What concerns the whole cluster is not here: it is in records.

use palisade_core::name::Name;
use palisade_core::text;
use serde::Deserialize;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file as it is written. Every key may be left out; the defaults are in [`Config::resolve`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    data_dir: Option<String>,
    name: Option<String>,
    cluster_listen: Option<String>,
    web_listen: Option<String>,
    ssh_listen: Option<String>,
    advertise: Option<String>,
    control_socket: Option<String>,
    log: Option<LogForm>,
    #[serde(default)]
    raft: RawRaft,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRaft {
    heartbeat_ms: Option<u64>,
    election_min_ms: Option<u64>,
    election_max_ms: Option<u64>,
    snapshot_every: Option<u64>,
    audit_recent: Option<u64>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    /// For a terminal.
    Text,
    /// For a log collector.
    Json,
}

/// What a node needs to know about itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is kept. Default `/var/lib/palisade`.
    pub data_dir: PathBuf,
    /// The node's name in the cluster. Default: the machine's host name.
    pub name: Name,
    /// Node-to-node traffic (Raft, segments). Default `0.0.0.0:3025`.
    pub cluster_listen: SocketAddr,
    /// HTTPS: API and, later, UI. Default `0.0.0.0:3080`.
    pub web_listen: SocketAddr,
    /// SSH proxy. Default `0.0.0.0:3023`.
    pub ssh_listen: SocketAddr,
    /// The name or address by which others reach this node. Default: the listen address, or the host name where
    /// that is a wildcard.
    pub advertise: String,
    /// The operator's socket. Default `<data_dir>/control.sock`.
    pub control_socket: PathBuf,
    /// How log lines are written. Default: text.
    pub log: LogForm,
    /// Between two heartbeats of the leader. Default 50 ms, for a LAN: 1 ms round trips, disks that sync in 20 ms.
    pub heartbeat: Duration,
    /// The range of election time-outs. Default 200 to 400 ms, for the same.
    pub election: (Duration, Duration),
    /// A snapshot after so many entries, or more as the state grows. Default 20,000: a few seconds of replay.
    pub snapshot_every: u64,
    /// So many audit events stay in the replicated state; older ones are sealed into pages. Default 4,096.
    pub audit_recent: u64,
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct ConfigFaults {
    path: PathBuf,
    faults: Vec<String>,
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} in the configuration",
            self.path.display(),
            plural(self.faults.len(), "fault")
        )?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}

fn plural(n: usize, word: &str) -> String {
    if n == 1 {
        format!("1 {word}")
    } else {
        format!("{n} {word}s")
    }
}

impl Config {
    /// Reads and resolves a file.
    pub fn load(path: &Path) -> Result<Config, ConfigFaults> {
        let refuse = |faults| ConfigFaults {
            path: path.to_owned(),
            faults,
        };
        let text =
            std::fs::read_to_string(path).map_err(|e| refuse(vec![format!("it cannot be read: {e}")]))?;
        Config::parse(&text).map_err(refuse)
    }

    /// Resolves the text of a file.
    pub fn parse(text: &str) -> Result<Config, Vec<String>> {
        let empty = text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let raw = if empty {
            RawConfig::default()
        } else {
            text::from_yaml(text).map_err(|e| vec![e.to_string()])?
        };
        Config::resolve(raw)
    }

    fn resolve(raw: RawConfig) -> Result<Config, Vec<String>> {
        let mut faults = Vec::new();
        let mut listen = |key: &str, written: &Option<String>, default: &str| {
            let text = written.as_deref().unwrap_or(default);
            match text.to_socket_addrs().ok().and_then(|mut found| found.next()) {
                Some(addr) => addr,
                None => {
                    faults.push(format!(
                        "{key}: {text:?} is not an address with a port, such as {default}"
                    ));
                    SocketAddr::from(([0, 0, 0, 0], 0))
                }
            }
        };
        let cluster_listen = listen("cluster_listen", &raw.cluster_listen, "0.0.0.0:3025");
        let web_listen = listen("web_listen", &raw.web_listen, "0.0.0.0:3080");
        let ssh_listen = listen("ssh_listen", &raw.ssh_listen, "0.0.0.0:3023");
        let pairs = [
            ("cluster_listen", cluster_listen),
            ("web_listen", web_listen),
            ("ssh_listen", ssh_listen),
        ];
        for (i, (a, addr)) in pairs.iter().enumerate() {
            for (b, other) in &pairs[i + 1..] {
                if addr == other && addr.port() != 0 {
                    faults.push(format!("{a} and {b} are both {addr}"));
                }
            }
        }
        let host_name = nix::unistd::gethostname()
            .ok()
            .and_then(|n| n.into_string().ok())
            .unwrap_or_default();
        let name_text = raw.name.clone().unwrap_or_else(|| host_name.to_ascii_lowercase());
        let name = Name::parse(&name_text).unwrap_or_else(|e| {
            faults.push(format!("name: {e}"));
            Name::parse("invalid").expect("a valid name")
        });
        let advertise = match raw.advertise {
            Some(written) => {
                if written.is_empty()
                    || !written
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b".-:_".contains(&b))
                {
                    faults.push(format!("advertise: {written:?} is not a name or an address"));
                }
                written
            }
            None if web_listen.ip().is_unspecified() => host_name,
            None => web_listen.ip().to_string(),
        };
        let written = raw.data_dir.as_deref().unwrap_or("/var/lib/palisade");
        let data_dir = std::path::absolute(written).unwrap_or_else(|e| {
            faults.push(format!("data_dir: {written:?} is not a path: {e}"));
            PathBuf::from(written)
        });
        let control_socket = raw
            .control_socket
            .map_or_else(|| data_dir.join("control.sock"), PathBuf::from);
        if control_socket.as_os_str().len() > 100 {
            // The kernel's limit for socket paths is 108 bytes.
            faults.push("control_socket: the path is longer than 100 bytes".into());
        }
        let heartbeat = raw.raft.heartbeat_ms.unwrap_or(50);
        let (min, max) = (
            raw.raft.election_min_ms.unwrap_or(200),
            raw.raft.election_max_ms.unwrap_or(400),
        );
        if !(10..=5_000).contains(&heartbeat) {
            faults.push(format!(
                "raft.heartbeat_ms: {heartbeat} is not between 10 and 5000"
            ));
        }
        if min < heartbeat.saturating_mul(3) || max <= min || max > 60_000 {
            faults.push(format!(
                "raft: election_min_ms ({min}) must be at least three times heartbeat_ms ({heartbeat}) and less than election_max_ms ({max}, at most 60000)"
            ));
        }
        let snapshot_every = raw.raft.snapshot_every.unwrap_or(20_000);
        if snapshot_every < 50 {
            faults.push(format!("raft.snapshot_every: {snapshot_every} is less than 50"));
        }
        let audit_recent = raw.raft.audit_recent.unwrap_or(4_096);
        if !(16..=1_000_000).contains(&audit_recent) {
            faults.push(format!(
                "raft.audit_recent: {audit_recent} is not between 16 and 1000000"
            ));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Config {
            data_dir,
            name,
            cluster_listen,
            web_listen,
            ssh_listen,
            advertise,
            control_socket,
            log: raw.log.unwrap_or(LogForm::Text),
            heartbeat: Duration::from_millis(heartbeat),
            election: (Duration::from_millis(min), Duration::from_millis(max)),
            snapshot_every,
            audit_recent,
        })
    }

    /// `advertise` with a port.
    pub fn advertised(&self, port: u16) -> String {
        if self.advertise.contains(':') {
            format!("[{}]:{port}", self.advertise)
        } else {
            format!("{}:{port}", self.advertise)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = Config::parse("# nothing\n\n").expect("defaults");
        assert_eq!(config.web_listen.port(), 3080);
        assert_eq!(
            config.control_socket,
            PathBuf::from("/var/lib/palisade/control.sock")
        );
    }

    #[test]
    fn all_faults_are_shown_at_once() {
        let text = "name: Not A Name\ncluster_listen: nowhere\nweb_listen: 127.0.0.1:1\nssh_listen: 127.0.0.1:1\ndata_dir: ''\nraft:\n  heartbeat_ms: 500\n";
        let faults = Config::parse(text).expect_err("five faults");
        assert_eq!(faults.len(), 5, "{faults:#?}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let faults = Config::parse("nmae: a\n").expect_err("unknown key");
        assert!(
            faults[0].contains("line 1") && faults[0].contains("name"),
            "{faults:?}"
        );
    }
}
