//! The node's configuration. Its keys and their defaults are one table ([`KEYS`]); a file is read against it with all
//! faults reported together, each with its line and column. What concerns the whole cluster is not here: it is in records.

mod keys;
mod machine;
mod read;
mod write;

pub use keys::{Default, Form, KEYS, Key, find};
pub use machine::Machine;
pub use read::Fault;
pub use write::{DOCUMENT, document, file};

use crate::web_tls::WebTlsFiles;
use palisade_core::name::Name;
use read::Values;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    /// For a terminal.
    Text,
    /// For a log collector.
    Json,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// This line of the file.
    Line(usize),
    /// The table of defaults.
    Default,
    /// Found out from the machine or from other values.
    Found,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Line(n) => write!(f, "line {n}"),
            Source::Default => f.write_str("default"),
            Source::Found => f.write_str("found"),
        }
    }
}

/// One value that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// The key's name.
    pub key: &'static str,
    /// The value, as it could stand in the file.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// What a node needs to know about itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The node's name in the cluster.
    pub name: Name,
    /// Node-to-node traffic (Raft, segments).
    pub cluster_listen: SocketAddr,
    /// HTTPS: API and, later, UI.
    pub web_listen: SocketAddr,
    /// SSH proxy.
    pub ssh_listen: SocketAddr,
    /// The name or address by which others reach this node.
    pub advertise: String,
    /// The operator's socket.
    pub control_socket: PathBuf,
    /// How log lines are written.
    pub log: LogForm,
    /// What is logged.
    pub log_level: String,
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// The range of election time-outs.
    pub election: (Duration, Duration),
    /// A snapshot after so many entries, or more as the state grows.
    pub snapshot_every: u64,
    /// So many audit events stay in the replicated state; older ones are sealed into pages.
    pub audit_recent: u64,
    /// The operator's own certificate for HTTPS.
    pub web_tls: Option<WebTlsFiles>,
    /// Where telemetry is sent; empty for nowhere.
    pub otlp_endpoint: String,
    /// How often.
    pub otlp_every: Duration,
    /// Every key with the value in force, in the order of the table.
    pub effective: Vec<Effective>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct ConfigFaults {
    path: PathBuf,
    faults: Vec<Fault>,
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.faults.len();
        let s = if n == 1 { "" } else { "s" };
        write!(f, "{}: {n} fault{s} in the configuration", self.path.display())?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}

impl Config {
    /// Reads and resolves a file.
    pub fn load(path: &Path) -> Result<Config, ConfigFaults> {
        let refuse = |faults| ConfigFaults {
            path: path.to_owned(),
            faults,
        };
        let text = std::fs::read_to_string(path).map_err(|e| {
            let hint = match e.kind() {
                std::io::ErrorKind::NotFound => "; `palisade configure` writes one",
                _ => "",
            };
            refuse(vec![Fault::nowhere(format!("it cannot be read: {e}{hint}"))])
        })?;
        Config::parse(&text, &Machine::look()).map_err(refuse)
    }

    /// Resolves the text of a file on a machine.
    pub fn parse(text: &str, machine: &Machine) -> Result<Config, Vec<Fault>> {
        let mut values = Values::read(text);
        let config = Config::resolve(&mut values, machine);
        let mut faults = values.into_faults();
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => {
                faults.sort();
                Err(faults)
            }
        }
    }

    /// Looks at every value, and notes what is wrong with each. `None` only if something is.
    fn resolve(values: &mut Values, machine: &Machine) -> Option<Config> {
        let cluster_listen = listen(values, "cluster_listen");
        let web_listen = listen(values, "web_listen");
        let ssh_listen = listen(values, "ssh_listen");
        let pairs = [
            ("cluster_listen", cluster_listen),
            ("web_listen", web_listen),
            ("ssh_listen", ssh_listen),
        ];
        for (i, (a, addr)) in pairs.iter().enumerate() {
            for (b, other) in &pairs[i + 1..] {
                if let Some(addr) = addr.filter(|addr| addr.port() != 0)
                    && *other == Some(addr)
                {
                    values.fault(&[b, a], format!("{a} and {b} are both {addr}"));
                }
            }
        }
        let name_text = values.text_or("name", machine.host_name.to_ascii_lowercase());
        let name = Name::parse(&name_text)
            .map_err(|e| values.fault(&["name"], format!("name: {e}")))
            .ok();
        let found = match web_listen {
            Some(addr) if !addr.ip().is_unspecified() => addr.ip().to_string(),
            _ => machine.reached_at.clone(),
        };
        let advertise = values.text_or("advertise", found);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:_".contains(&b);
        let port = advertise
            .rsplit_once(':')
            .is_some_and(|(host, _)| !host.contains(':'));
        if advertise.is_empty() || !advertise.bytes().all(plain) || port {
            let hint = if port { ": leave out the port" } else { "" };
            values.fault(
                &["advertise"],
                format!("advertise: {advertise:?} is not a name or an address{hint}"),
            );
        }
        let written = values.text("data_dir");
        let data_dir = std::path::absolute(&written)
            .map_err(|e| values.fault(&["data_dir"], format!("data_dir: {written:?} is not a path: {e}")))
            .ok()?;
        let socket = data_dir.join("control.sock").display().to_string();
        let control_socket = PathBuf::from(values.text_or("control_socket", socket));
        if control_socket.as_os_str().len() > 100 {
            // The kernel's limit for socket paths is 108 bytes.
            values.fault(
                &["control_socket", "data_dir"],
                "control_socket: the path is longer than 100 bytes".into(),
            );
        }
        let heartbeat = values.number("raft.heartbeat_ms");
        let (min, max) = (
            values.number("raft.election_min_ms"),
            values.number("raft.election_max_ms"),
        );
        if min < heartbeat.saturating_mul(3) || max <= min {
            values.fault(
                &["raft.election_min_ms", "raft.election_max_ms", "raft.heartbeat_ms"],
                format!(
                    "raft: election_min_ms ({min}) must be at least three times heartbeat_ms ({heartbeat}) and less than election_max_ms ({max})"
                ),
            );
        }
        let otlp_endpoint = values.text_or("otlp.endpoint", String::new());
        let address = otlp_endpoint
            .strip_prefix("http://")
            .or_else(|| otlp_endpoint.strip_prefix("https://"));
        let usable = |rest: &str| !rest.is_empty() && !rest.contains(['@', ' ', '?', '#']);
        if !otlp_endpoint.is_empty() && !address.is_some_and(usable) {
            values.fault(
                &["otlp.endpoint"],
                "otlp.endpoint: it is not http://HOST:PORT or https://HOST:PORT, without a user and a query"
                    .into(),
            );
        }
        let path = |values: &mut Values, key: &'static str| {
            Some(values.text_or(key, String::new())).filter(|p| !p.is_empty())
        };
        let web_tls = match (path(values, "web_tls.certificate"), path(values, "web_tls.key")) {
            (Some(certificate), Some(key)) => Some(WebTlsFiles {
                certificate: certificate.into(),
                key: key.into(),
            }),
            (None, None) => None,
            (certificate, _) => {
                let (has, lacks) = match certificate {
                    Some(_) => ("web_tls.certificate", "web_tls.key"),
                    None => ("web_tls.key", "web_tls.certificate"),
                };
                values.fault(&[has], format!("{has}: it needs {lacks} beside it"));
                None
            }
        };
        if let Some(files) = &web_tls
            && let Err(why) = files.load()
        {
            values.fault(&["web_tls.certificate", "web_tls.key"], format!("web_tls: {why}"));
        }
        let log = match values.text("log").as_str() {
            "json" => LogForm::Json,
            _ => LogForm::Text,
        };
        Some(Config {
            data_dir,
            name: name?,
            cluster_listen: cluster_listen?,
            web_listen: web_listen?,
            ssh_listen: ssh_listen?,
            advertise,
            control_socket,
            log,
            log_level: values.text("log_level"),
            heartbeat: Duration::from_millis(heartbeat),
            election: (Duration::from_millis(min), Duration::from_millis(max)),
            snapshot_every: values.number("raft.snapshot_every"),
            audit_recent: values.number("raft.audit_recent"),
            web_tls,
            otlp_endpoint,
            otlp_every: Duration::from_secs(values.number("otlp.every_s")),
            effective: values.effective(),
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

    /// Which keys have another value than in `old`.
    pub fn changes(&self, old: &Config) -> Vec<(&'static Key, String, String)> {
        let pairs = KEYS.iter().zip(old.effective.iter().zip(&self.effective));
        pairs
            .filter(|(_, (before, after))| before.value != after.value)
            .map(|(key, (before, after))| (key, before.value.clone(), after.value.clone()))
            .collect()
    }
}

fn listen(values: &mut Values, key: &'static str) -> Option<SocketAddr> {
    let text = values.text(key);
    let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    if found.is_none() {
        let example = keys::default(key);
        values.fault(
            &[key],
            format!("{key}: {text:?} is not an address with a port, such as {example}"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            host_name: "N1".into(),
            reached_at: "n1.example.com".into(),
        }
    }

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        Config::parse(text, &machine()).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = parse("# nothing\n\n").expect("defaults");
        assert_eq!(config.web_listen.port(), 3080);
        assert_eq!(
            config.control_socket,
            PathBuf::from("/var/lib/palisade/control.sock")
        );
        assert_eq!(
            (config.name.as_str(), config.advertise.as_str()),
            ("n1", "n1.example.com")
        );
        assert!(
            config
                .effective
                .iter()
                .all(|e| matches!(e.source, Source::Default | Source::Found))
        );
    }

    #[test]
    fn all_faults_are_shown_at_once_with_their_places() {
        let text = "name: Not A Name\ncluster_listen: nowhere\nweb_listen: 127.0.0.1:1\nssh_listen: 127.0.0.1:1\nnmae: x\nlog: loud\nraft:\n  heartbeat_ms: fast\n  election_max_ms: 100\n  audit_recents: 3\n  snapshot_every: 1\n";
        let faults = parse(text).expect_err("faults");
        let starts = [
            "line 1, column 7: name",
            "line 2, column 17: cluster_listen",
            "line 4, column 13: web_listen and ssh_listen are both",
            "line 5, column 1: unknown key \"nmae\": did you mean \"name\"?",
            "line 6, column 6: log: \"loud\" is none of text, json",
            "line 8, column 17: raft.heartbeat_ms: expected a whole number",
            "line 9, column 20: raft: election_min_ms (200)",
            "line 10, column 3: unknown key \"raft.audit_recents\": did you mean \"raft.audit_recent\"?",
            "line 11, column 19: raft.snapshot_every: 1 is not between 50",
        ];
        assert_eq!(faults.len(), starts.len(), "{faults:#?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(
                fault.starts_with(start),
                "{fault:?} does not start with {start:?}"
            );
        }
    }

    #[test]
    fn single_values_are_checked() {
        for (text, words) in [
            ("advertise: n1:3080\n", "leave out the port"),
            ("advertise: 'a b'\n", "not a name or an address"),
            ("data_dir: ''\n", "not a path"),
            ("raft: 3\n", "a mapping of names to values"),
            ("- a\n", "a mapping of names to values"),
            ("name: [a]\n", "expected a text"),
            ("name: a\nname: b\n", "already stands on line 1"),
            ("otlp: {endpoint: 'http://user:secret@x'}\n", "without a user"),
            ("otlp: {endpoint: 'x:4318'}\n", "http://HOST:PORT"),
            ("raft: {heartbeat_ms: 5}\n", "not between 10 and 5000"),
            ("raft: {election_min_ms: 100, heartbeat_ms: 50}\n", "three times"),
        ] {
            let faults = parse(text).expect_err(text);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(
                faults[0].starts_with("line ") && faults[0].contains(words),
                "{faults:?}"
            );
        }
        let long = format!("control_socket: /{}\n", "x".repeat(100));
        assert!(parse(&long).expect_err("too long")[0].contains("100 bytes"));
        assert_eq!(
            parse("advertise: 2001:db8::7\n")
                .expect("an address")
                .advertised(1),
            "[2001:db8::7]:1"
        );
        parse("raft:\n").expect("nothing under a name is nothing written");
    }

    #[test]
    fn what_changed_is_named_key_by_key() {
        let old = parse("log: text\n").expect("fine");
        let new = parse("log: json\nweb_listen: 0.0.0.0:443\nraft: {audit_recent: 4096}\n").expect("fine");
        let changed: Vec<_> = new
            .changes(&old)
            .into_iter()
            .map(|(key, _, value)| (key.name, key.reload, value))
            .collect();
        assert_eq!(
            changed,
            [
                ("web_listen", false, "0.0.0.0:443".to_owned()),
                ("log", true, "json".to_owned())
            ]
        );
    }
}
