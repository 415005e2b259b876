//! Every key of the configuration, with its default and the reason for it: the one table of which the defaults in the
//! code, the file that `palisade configure` writes and `docs/config.md` are made.

/// What may stand as a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any text; what it must be is checked afterwards.
    Text,
    /// A whole number between these two.
    Number(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
}

/// What holds where a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// This value.
    Value(&'static str),
    /// Something that is found out, in words.
    Found(&'static str),
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name; a dot is one level of the file.
    pub name: &'static str,
    /// What may stand there.
    pub form: Form,
    /// What holds where it is left out.
    pub default: Default,
    /// What it is.
    pub what: &'static str,
    /// Why the default is what it is.
    pub why: &'static str,
    /// Whether a running node takes a new value at SIGHUP.
    pub reload: bool,
}

const fn key(name: &'static str, form: Form, default: Default, what: &'static str, why: &'static str) -> Key {
    Key {
        name,
        form,
        default,
        what,
        why,
        reload: false,
    }
}

const fn live(mut key: Key) -> Key {
    key.reload = true;
    key
}

/// All of them, in the order of the file.
pub const KEYS: &[Key] = &[
    key(
        "name",
        Form::Text,
        Default::Found("the machine's host name"),
        "the node's name in the cluster: lower case, unique",
        "so that one file serves on all nodes",
    ),
    key(
        "advertise",
        Form::Text,
        Default::Found("the listen address; where that is a wildcard the host's full name, or its address"),
        "the name or address by which others reach this node; without a port",
        "a short host name is seldom known to the other machines, a full name or an address is",
    ),
    key(
        "data_dir",
        Form::Text,
        Default::Value("/var/lib/palisade"),
        "everything the node keeps; belongs to this node alone",
        "where the FHS has a service's state; a disk of its own that honours fsync is best",
    ),
    key(
        "cluster_listen",
        Form::Text,
        Default::Value("0.0.0.0:3025"),
        "nodes to each other, mutual TLS; for nodes only",
        "Teleport's port for the same, so that firewall rules may stay",
    ),
    key(
        "web_listen",
        Form::Text,
        Default::Value("0.0.0.0:3080"),
        "HTTPS API and probes; the same number over UDP for agents",
        "Teleport's port for the same; 443 works as well",
    ),
    live(key(
        "web_tls.certificate",
        Form::Text,
        Default::Found("none: the cluster's own certificate serves every name"),
        "a certificate of yours and its chain, in PEM, for names of yours under which people reach this node",
        "pal, agents and nodes expect the cluster's own, and get it for the node's name and for `advertise`",
    )),
    live(key(
        "web_tls.key",
        Form::Text,
        Default::Found("none"),
        "the private key of web_tls.certificate, in PEM; readable by the node's account alone",
        "read again at SIGHUP and every ten minutes, so that a renewed certificate needs no restart",
    )),
    key(
        "ssh_listen",
        Form::Text,
        Default::Value("0.0.0.0:3023"),
        "SSH for people",
        "Teleport's port for the same",
    ),
    key(
        "control_socket",
        Form::Text,
        Default::Found("control.sock in data_dir"),
        "the operator's socket, for palctl on this machine; at most 100 bytes long",
        "data_dir can be opened by root and the node's account only, and so can the socket",
    ),
    live(key(
        "log",
        Form::Word(&["text", "json"]),
        Default::Value("text"),
        "how log lines are written: text or json",
        "text reads well in the journal; json is for collectors",
    )),
    live(key(
        "log_level",
        Form::Word(&["error", "warn", "info", "debug", "trace"]),
        Default::Value("info"),
        "what is logged: error, warn, info, debug or trace; PALISADE_LOG overrules it with a tracing filter",
        "info is a few lines an hour on a quiet cluster; the audit log does not depend on it",
    )),
    key(
        "raft.heartbeat_ms",
        Form::Number(10, 5_000),
        Default::Value("50"),
        "between two heartbeats of the leader, in milliseconds",
        "a LAN with round trips of 1 ms; raise all three for a WAN",
    ),
    key(
        "raft.election_min_ms",
        Form::Number(30, 60_000),
        Default::Value("200"),
        "the shortest election time-out; at least three heartbeats",
        "four lost heartbeats: a leader that is gone is replaced in less than a second",
    ),
    key(
        "raft.election_max_ms",
        Form::Number(30, 60_000),
        Default::Value("400"),
        "the longest election time-out",
        "twice the shortest, so that two nodes seldom ask for votes at once",
    ),
    key(
        "raft.snapshot_every",
        Form::Number(50, u64::MAX),
        Default::Value("20000"),
        "a snapshot after so many entries, or more as the state grows",
        "a few seconds of replay at the start",
    ),
    key(
        "raft.audit_recent",
        Form::Number(16, 1_000_000),
        Default::Value("4096"),
        "so many audit events stay in the replicated state; older ones are sealed into pages",
        "the last hours of most clusters are searched in memory, and snapshots stay small",
    ),
    live(key(
        "otlp.endpoint",
        Form::Text,
        Default::Found("none: nothing is sent"),
        "an OpenTelemetry collector, such as http://127.0.0.1:4318: metrics and spans go there by OTLP over HTTP",
        "a node calls nobody by itself",
    )),
    live(key(
        "otlp.every_s",
        Form::Number(1, 3_600),
        Default::Value("15"),
        "between two exports, in seconds",
        "what Prometheus usually scrapes at",
    )),
];

/// A key by its name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The default of a key that has a value for one.
pub(crate) fn default(name: &str) -> &'static str {
    match find(name).map(|key| key.default) {
        Some(Default::Value(value)) => value,
        Some(Default::Found(_)) | None => "",
    }
}

impl Key {
    /// The default, for people.
    pub fn default_text(&self) -> &'static str {
        match self.default {
            Default::Value(text) | Default::Found(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_form() {
        for key in KEYS {
            assert!(!key.what.is_empty() && !key.why.is_empty(), "{}", key.name);
            let Default::Value(value) = key.default else {
                continue;
            };
            match key.form {
                Form::Text => {}
                Form::Number(least, most) => {
                    let n: u64 = value.parse().expect("a number");
                    assert!((least..=most).contains(&n), "{}: {n}", key.name);
                }
                Form::Word(words) => assert!(words.contains(&value), "{}", key.name),
            }
        }
    }
}
