//! What things cost, beside etcd and OpenSSH on the same machine in the same run. Ratios are what counts; absolute
//! numbers belong to the machine and the minute.
//!
//! `make bench` builds with optimisation and runs all but the long `grow` and `crowd`; `make bench BENCH='writes --seconds 5'` runs one.

mod agents;
mod away;
mod crowd;
mod etcd;
mod grow;
mod hosts;
mod idle;
mod kills;
mod load;
mod report;
mod scene;
mod ssh;
mod web;
mod writes;

use agents::Part;
use clap::{Parser, Subcommand, ValueEnum as _};
use palisade_testkit::Cluster;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(name = "palisade-bench", about = "Measures Palisade beside etcd and OpenSSH")]
struct Bench {
    /// Where the figures are kept; those of parts that are not measured now stay
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Committed writes a second beside a three-node etcd, and certificates a second
    Writes {
        /// How long each is measured
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Numbers of clients
        #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
        clients: Vec<usize>,
    },
    /// A million writes: memory and disk of every node along the way, and what a three-node etcd takes
    Grow {
        /// Writes to Palisade
        #[arg(long, default_value_t = 1_000_000)]
        writes: u64,
        /// Writes to etcd
        #[arg(long, default_value_t = 250_000)]
        etcd: u64,
        /// Clients that write
        #[arg(long, default_value_t = 64)]
        clients: usize,
    },
    /// A node that starts on many records, and one that was away for many entries
    Away {
        /// Records that there are at the start
        #[arg(long, default_value_t = 100_000)]
        records: u64,
        /// Entries that it misses
        #[arg(long, default_value_t = 1_000_000)]
        entries: u64,
        /// Clients that write
        #[arg(long, default_value_t = 64)]
        clients: usize,
    },
    /// kill -9 of the leader: time to the next committed write, beside etcd at its defaults and at 50/500 ms
    Failover {
        /// How often
        #[arg(long, default_value_t = 20)]
        tries: usize,
        /// How often each etcd's
        #[arg(long, default_value_t = 10)]
        etcd: usize,
    },
    /// Compares the figures of two files
    Compare {
        /// Measured before
        before: PathBuf,
        /// Measured after
        after: PathBuf,
    },
    /// Makes docs/figures.md and its chart of the figures that are kept
    Document,
    /// Hosts with an agent: session set-up, keystroke echo, bulk and sftp, beside direct sshd and `ssh -J`
    Agents {
        /// What is measured; all if nothing is said
        #[arg(value_enum)]
        parts: Vec<Part>,
        /// Nodes of the cluster
        #[arg(long, default_value_t = 1)]
        nodes: usize,
        /// Sessions measured, and a twentieth of the keystrokes
        #[arg(long, default_value_t = 30)]
        times: usize,
        /// MiB moved in bulk
        #[arg(long, default_value_t = 1024)]
        mib: u64,
        /// Rounds of bulk
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Hosts with an agent: kill -9 of the node that carries a shell, a transfer and a forwarded stream at once
    Kills {
        /// How often
        #[arg(long, default_value_t = 30)]
        tries: usize,
        /// MiB of the transfer
        #[arg(long, default_value_t = 1024)]
        mib: u64,
    },
    /// Hosts with an agent: memory of idle sessions, at the nodes and at the agent
    Idle {
        /// Sessions open at once
        #[arg(long, default_value_t = 1000)]
        sessions: usize,
    },
    /// Thousands of agents: memory at the nodes, log entries of heartbeats, and the time until all are back after a kill
    Crowd {
        /// How many; ten thousand need about 8 GiB, and 15,000 open files (`ulimit -Hn`)
        #[arg(long, default_value_t = 10_000)]
        agents: usize,
    },
    /// Searches among many hosts, by name, label and expression
    Hosts {
        /// Host records
        #[arg(long, default_value_t = 50_000)]
        hosts: u64,
        /// Searches of each kind
        #[arg(long, default_value_t = 200)]
        times: usize,
    },
    /// Plain hosts through a node: session set-up, keystroke echo, bulk and sftp, beside direct sshd and `ssh -J`
    Ssh {
        /// Sessions and keystrokes measured
        #[arg(long, default_value_t = 30)]
        times: usize,
        /// MiB moved in bulk
        #[arg(long, default_value_t = 1024)]
        mib: u64,
    },
    /// The web pages in Chromium: signing in, the terminal beside `pal ssh`, many hosts, a long recording
    Web {
        /// Host records
        #[arg(long, default_value_t = 50_000)]
        hosts: u64,
        /// Sign-ins, and openings of the list of hosts
        #[arg(long, default_value_t = 10)]
        times: usize,
        /// Keystrokes
        #[arg(long, default_value_t = 300)]
        keys: usize,
        /// MiB of text on the terminal's screen
        #[arg(long, default_value_t = 100)]
        mib: u64,
    },
    /// Resident memory of an idle node, and of idle sessions
    Memory {
        /// Idle sessions held open at once, four times over
        #[arg(long, default_value_t = 50)]
        sessions: usize,
        /// Records written
        #[arg(long, default_value_t = 10_000)]
        writes: u64,
        /// Seconds of rest after all that
        #[arg(long, default_value_t = 60)]
        rest: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let all = [
        What::Writes {
            seconds: 5,
            clients: vec![1, 16, 64, 256],
        },
        What::Failover { tries: 20, etcd: 10 },
        What::Agents {
            parts: Vec::new(),
            nodes: 1,
            times: 30,
            mib: 1024,
            rounds: 5,
        },
        What::Kills { tries: 30, mib: 1024 },
        What::Idle { sessions: 1000 },
        What::Hosts {
            hosts: 50_000,
            times: 200,
        },
        What::Ssh { times: 30, mib: 1024 },
        What::Web {
            hosts: 50_000,
            times: 10,
            keys: 300,
            mib: 100,
        },
        What::Memory {
            sessions: 50,
            writes: 10_000,
            rest: 60,
        },
    ];
    let Bench { out, what } = Bench::parse();
    let out = out.unwrap_or_else(report::default_path);
    if let Some(What::Compare { before, after }) = &what {
        return report::compare(before, after);
    }
    if matches!(what, Some(What::Document)) {
        return report::document(&out, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs"));
    }
    let wanted = what.map_or_else(|| all.to_vec(), |one| vec![one]);
    println!("machine: {} cores, load {}", cores(), load_average());
    for what in wanted {
        match what {
            What::Writes { seconds, clients } => writes::measure_all(seconds, &clients)?,
            What::Grow {
                writes,
                etcd,
                clients,
            } => grow::measure(writes, etcd, clients)?,
            What::Away {
                records,
                entries,
                clients,
            } => away::measure(records, entries, clients)?,
            What::Failover { tries, etcd } => writes::failover(tries, etcd)?,
            What::Compare { .. } | What::Document => {}
            What::Agents {
                parts,
                nodes,
                times,
                mib,
                rounds,
            } => {
                let parts = if parts.is_empty() {
                    Part::value_variants()
                } else {
                    &parts[..]
                };
                agents::measure(parts, nodes, times, mib, rounds)?;
            }
            What::Kills { tries, mib } => kills::measure(tries, mib)?,
            What::Idle { sessions } => idle::measure(sessions)?,
            What::Crowd { agents } => crowd::measure(agents)?,
            What::Hosts { hosts, times } => hosts::measure(hosts, times)?,
            What::Ssh { times, mib } => ssh::measure(times, mib)?,
            What::Web {
                hosts,
                times,
                keys,
                mib,
            } => web::measure(web::Plan {
                hosts,
                times,
                keys,
                mib,
            })?,
            What::Memory {
                sessions,
                writes,
                rest,
            } => ssh::memory(sessions, writes, Duration::from_secs(rest))?,
        }
    }
    report::write(&out)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Three nodes, warm.
fn cluster() -> Cluster {
    Cluster::start(3)
}
