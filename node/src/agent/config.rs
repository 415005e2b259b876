//! The agent's configuration: what was written, and what it means. All faults are reported together.

use crate::config::LogForm;
use palisade_core::name::Name;
use palisade_core::record::Labels;
use palisade_core::text::Document;
use palisade_core::time::Ttl;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two runs of a label's command, at least.
const INTERVAL_MIN: Duration = Duration::from_secs(5);

/// The file as it is written; everything may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    data_dir: Option<String>,
    name: Option<String>,
    nodes: Option<Vec<String>>,
    token: Option<String>,
    log: Option<LogForm>,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    label_commands: BTreeMap<String, RawCommand>,
    env: Option<Vec<String>>,
    spool_mib: Option<u64>,
    grace: Option<Ttl>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCommand {
    command: Vec<String>,
    interval: Option<Ttl>,
}

/// A label whose value a command prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelCommand {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// How often it runs.
    pub interval: Duration,
}

/// What an agent needs to know about itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its identity and its spool are kept. Default `/var/lib/palisade-agent`.
    pub data_dir: PathBuf,
    /// The host's name in the cluster. Default: the machine's host name.
    pub name: Name,
    /// HTTPS addresses of nodes, for the first contact; afterwards the nodes tell.
    pub nodes: Vec<String>,
    /// A token to join by at the first start.
    pub token: Option<String>,
    /// How log lines are written. Default: text.
    pub log: LogForm,
    /// Labels that do not change.
    pub labels: Labels,
    /// Labels that commands print.
    pub label_commands: BTreeMap<String, LabelCommand>,
    /// Variables that clients may set, instead of the usual ones; a trailing `*` covers a family.
    pub env: Option<Vec<String>>,
    /// The most that recordings may take on disk while no node can be reached. Default 1 GiB.
    pub spool_bytes_max: u64,
    /// How long a session waits for its owner after their connection was lost. Default 60 s.
    pub grace: Duration,
}

impl Config {
    /// Reads and resolves a file; one that is not there means defaults, if it is the default one.
    pub fn load(path: &Path, must_exist: bool) -> Result<Config, String> {
        let refuse = |faults: Vec<String>| format!("{}:\n  {}", path.display(), faults.join("\n  "));
        match std::fs::read_to_string(path) {
            Ok(text) => Config::parse(&text).map_err(refuse),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                Config::parse("").map_err(refuse)
            }
            Err(e) => Err(format!("{}: it cannot be read: {e}", path.display())),
        }
    }

    /// The keys, but for the labels, in which another configuration differs: they take effect at the next start.
    pub fn waiting(&self, other: &Config) -> Vec<&'static str> {
        [
            ("data_dir", self.data_dir != other.data_dir),
            ("name", self.name != other.name),
            ("nodes", self.nodes != other.nodes),
            ("token", self.token != other.token),
            ("log", self.log != other.log),
            ("env", self.env != other.env),
            ("spool_mib", self.spool_bytes_max != other.spool_bytes_max),
            ("grace", self.grace != other.grace),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }

    /// Resolves the text of a file.
    pub fn parse(written: &str) -> Result<Config, Vec<String>> {
        let empty = written
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let (raw, document) = if empty {
            (RawConfig::default(), None)
        } else {
            let document = Document::from_yaml(written).map_err(|e| vec![e.to_string()])?;
            let raw: Result<RawConfig, _> = document.decode_all();
            let raw = raw.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            (raw, Some(document))
        };
        let mut faults = Vec::new();
        // With the place where it stands, if it was written.
        let fault = |path: &[&str], what: &str| match &document {
            Some(document) => document.error_at(path, what, &[]).to_string(),
            None => format!("{}: {what}", path.join(".")),
        };
        let host_name = nix::unistd::gethostname()
            .ok()
            .and_then(|n| n.into_string().ok())
            .unwrap_or_default();
        let name_text = raw.name.unwrap_or_else(|| host_name.to_ascii_lowercase());
        let name = Name::parse(&name_text)
            .map_err(|e| faults.push(fault(&["name"], &e.to_string())))
            .ok();
        let labels = raw.labels.keys().map(|label| ("labels", label));
        for (key, label) in labels.chain(raw.label_commands.keys().map(|label| ("label_commands", label))) {
            if label.is_empty() || label.len() > 64 || label.chars().any(|c| c.is_control() || c == '=') {
                faults.push(fault(&[key, label], "this is not a label's name"));
            }
        }
        let mut label_commands = BTreeMap::new();
        for (label, raw) in raw.label_commands {
            if raw
                .command
                .first()
                .is_none_or(|program| !program.starts_with('/'))
            {
                let what = "the command begins with the program's whole path";
                faults.push(fault(&["label_commands", &label, "command"], what));
            }
            let interval = raw
                .interval
                .map_or(Duration::from_secs(60), |ttl| Duration::from_millis(ttl.ms()));
            if interval < INTERVAL_MIN {
                let least = INTERVAL_MIN.as_secs();
                let what = format!("the interval is at least {least} s");
                faults.push(fault(&["label_commands", &label, "interval"], &what));
            }
            label_commands.insert(
                label,
                LabelCommand {
                    command: raw.command,
                    interval,
                },
            );
        }
        let (Some(name), true) = (name, faults.is_empty()) else {
            return Err(faults);
        };
        Ok(Config {
            data_dir: PathBuf::from(raw.data_dir.unwrap_or_else(|| "/var/lib/palisade-agent".into())),
            name,
            nodes: raw.nodes.unwrap_or_default(),
            token: raw.token,
            log: raw.log.unwrap_or(LogForm::Text),
            labels: raw.labels,
            label_commands,
            env: raw.env,
            spool_bytes_max: raw.spool_mib.unwrap_or(1024) << 20,
            grace: raw
                .grace
                .map_or(Duration::from_secs(60), |ttl| Duration::from_millis(ttl.ms())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_all_at_once_and_unknown_keys_are_refused() {
        let faults = Config::parse(
            "name: Web 1\nlabels: {'a=b': x}\nlabel_commands: {up: {command: [uptime], interval: 1s}}\n",
        )
        .expect_err("three faults");
        assert_eq!(faults.len(), 4, "{faults:?}");
        for (fault, place) in faults.iter().zip([
            "line 1, column 7: name",
            "line 2, column 17: labels[\"a=b\"]: this is not",
            "line 3, column 32: label_commands.up.command: the command",
            "line 3, column 52: label_commands.up.interval: the interval",
        ]) {
            assert!(fault.starts_with(place), "{fault}");
        }
        let unknown = Config::parse("name: web1\nlabel: {}\n").expect_err("an unknown key");
        assert!(unknown[0].contains("labels"), "{unknown:?}");
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = Config::parse(
            "name: web1\nnodes: ['n1:3080']\nlabels: {env: prod}\n\
             label_commands: {kernel: {command: [/bin/uname, -r], interval: 1h}}\ngrace: 2m\n",
        )
        .expect("a configuration");
        assert_eq!(
            config.label_commands["kernel"].interval,
            Duration::from_secs(3600)
        );
        assert_eq!(
            (config.grace, config.spool_bytes_max),
            (Duration::from_secs(120), 1 << 30)
        );
    }
}
