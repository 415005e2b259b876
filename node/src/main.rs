//! `palisade`: the node's program.

mod help;

use clap::{CommandFactory as _, Parser, Subcommand};
use palisade_core::name::Name;
use palisade_node::agent;
use palisade_node::appliance::Appliance;
use palisade_node::config::{Config, LogForm};
use palisade_node::logging::Log;
use palisade_node::{reload, setup};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A node of a Palisade cluster.
#[derive(Parser)]
#[command(name = "palisade", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    /// Run this machine's node.
    Node {
        /// The configuration file.
        #[arg(long, default_value = "/etc/palisade/palisade.yaml")]
        config: PathBuf,
    },
    /// Serve this machine as a host of a cluster.
    Agent {
        #[command(subcommand)]
        command: AgentCommands,
    },
    /// Look for damage in this machine's data directory while the node is stopped; with --set-aside, the first half
    /// of a repair from the other nodes.
    Repair {
        /// The configuration file.
        #[arg(long, default_value = "/etc/palisade/palisade.yaml")]
        config: PathBuf,
        /// Move log, state and identity out of the way, so that the node can join anew under a new id.
        #[arg(long)]
        set_aside: bool,
    },
    /// Write a commented configuration for this machine.
    Configure {
        #[command(flatten)]
        answers: setup::Answers,
    },
    /// Print a completion script
    #[command(hide = true)]
    Completion {
        /// For this shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page
    #[command(hide = true)]
    Man {
        /// Write one page for every command into this directory.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommands,
    },
}

#[derive(Subcommand)]
enum AgentCommands {
    /// Dial the cluster's nodes and serve, until stopped.
    Start {
        #[command(flatten)]
        at: AgentAt,
    },
    /// Join a cluster with a token of `palctl tokens add --host`.
    Join {
        #[command(flatten)]
        at: AgentAt,
        /// The token (or - to read it), unless it comes otherwise, then HTTPS addresses of nodes, NAME:PORT.
        ///
        /// The token is a secret for as long as it is valid. As an argument other accounts of this machine can see it:
        /// give it by --token-file, as - on the input, or in PALISADE_JOIN_TOKEN instead.
        #[arg(required = true, value_names = ["TOKEN", "ADDRESS"])]
        words: Vec<String>,
        /// Read the token from this file.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
}

#[derive(Clone, clap::Args)]
struct AgentAt {
    /// The configuration file; without one, everything has its default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The host's name in the cluster, instead of the configured one.
    #[arg(long)]
    name: Option<String>,
    /// Where identity and spool are kept, instead of the configured folder.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum ConfigCommands {
    /// Report every fault of a configuration file.
    Check {
        /// The configuration file [default: /etc/palisade/palisade.yaml, with --agent /etc/palisade/agent.yaml].
        file: Option<PathBuf>,
        /// It is an agent's.
        #[arg(long)]
        agent: bool,
    },
    /// Show every value that is in force, and where it comes from.
    Show {
        /// The configuration file.
        #[arg(default_value = "/etc/palisade/palisade.yaml")]
        file: PathBuf,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Commands::Config {
            command: ConfigCommands::Check { file, agent },
        } => check_config(file, agent),
        Commands::Config {
            command: ConfigCommands::Show { file, json },
        } => say(setup::show(&file, json)),
        Commands::Configure { answers } => say(setup::configure(&answers)),
        Commands::Agent { command } => agent(command),
        Commands::Repair { config, set_aside } => match Config::load(&config) {
            Ok(config) => repair(&config, set_aside),
            Err(faults) => refuse(&faults),
        },
        Commands::Node { config } => match Config::load(&config) {
            Ok(loaded) => {
                #[cfg(debug_assertions)]
                if let Err(why) = mutant() {
                    return refuse(&why);
                }
                node(&config, loaded)
            }
            Err(faults) => {
                refuse(&faults);
                ExitCode::from(BAD_CONFIG)
            }
        },
        Commands::Completion { shell } => printed(&help::completion(Cli::command(), shell)),
        Commands::Man { dir: None } => {
            help::man(Cli::command()).map_or_else(|e| refuse(&e), |page| printed(&page))
        }
        Commands::Man { dir: Some(dir) } => match clap_mangen::generate_to(Cli::command(), &dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&format!("{}: {error}", dir.display())),
        },
    }
}

fn say(done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => refuse(&why),
    }
}

fn check_config(file: Option<PathBuf>, of_agent: bool) -> ExitCode {
    let usual = if of_agent { "agent.yaml" } else { "palisade.yaml" };
    let file = file.unwrap_or_else(|| PathBuf::from("/etc/palisade").join(usual));
    let checked = if of_agent {
        agent::Config::load(&file, true).map(|_| ())
    } else {
        Config::load(&file)
            .map(|_| ())
            .map_err(|faults| faults.to_string())
    };
    match checked {
        Ok(()) => {
            println!("{}: no faults", file.display());
            ExitCode::SUCCESS
        }
        Err(faults) => refuse(&faults),
    }
}

fn printed(text: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

/// What a program ends with that cannot read its configuration: trying again changes nothing, so the units do not.
const BAD_CONFIG: u8 = 78;

fn refuse(why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("palisade: {why}");
    ExitCode::FAILURE
}

fn repair(config: &Config, set_aside: bool) -> ExitCode {
    let report = palisade_storage::check(&config.data_dir);
    println!("{report}");
    let name = &config.name;
    if report.is_healthy() && !set_aside {
        return ExitCode::SUCCESS;
    }
    if !set_aside {
        println!("To repair this node from the others:");
        println!("  1. on another node:  palctl cluster leave {name} --yes");
        println!("  2. here:             palisade repair --set-aside, then start the node");
        println!("  3. on another node:  palctl tokens add");
        println!("  4. here:             palctl cluster join TOKEN ADDRESS");
        return ExitCode::FAILURE;
    }
    match palisade_storage::set_aside(&config.data_dir) {
        Ok(moved) => {
            println!(
                "moved to {}; recordings stay. Start the node, then join it with a fresh token.",
                moved.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&format!("{}: {error}", config.data_dir.display())),
    }
}

fn agent_config(at: AgentAt) -> Result<agent::Config, String> {
    let default = PathBuf::from("/etc/palisade/agent.yaml");
    let given = at.config.is_some();
    let mut config = agent::Config::load(&at.config.unwrap_or(default), given)?;
    if let Some(name) = at.name {
        config.name = Name::parse(&name).map_err(|e| e.to_string())?;
    }
    if let Some(dir) = at.data_dir {
        config.data_dir = dir;
    }
    Ok(config)
}

/// Token and addresses, however the token was given.
fn agent_token(mut words: Vec<String>, file: Option<PathBuf>) -> Result<(String, Vec<String>), String> {
    const VARIABLE: &str = "PALISADE_JOIN_TOKEN";
    let read = |mut from: &mut dyn std::io::Read, what: &str| {
        let mut text = String::new();
        match std::io::Read::take(&mut from, 4096).read_to_string(&mut text) {
            Ok(_) => Ok(text.trim().to_owned()),
            Err(e) => Err(format!("{what}: {e}")),
        }
    };
    let first = words.first().cloned().unwrap_or_default();
    let token = if let Some(path) = file {
        let what = path.display().to_string();
        let mut file = std::fs::File::open(&path).map_err(|e| format!("{what}: {e}"))?;
        read(&mut file, &what)?
    } else if first == "-" {
        words.remove(0);
        read(&mut std::io::stdin().lock(), "the input")?
    } else if first.starts_with("pj1.") || (words.len() > 1 && std::env::var_os(VARIABLE).is_none()) {
        eprintln!(
            "warning: a token in the arguments can be seen by other accounts of this machine and stays in the shell's history: use --token-file, - or {VARIABLE}"
        );
        words.remove(0)
    } else {
        std::env::var(VARIABLE).map_err(|_| {
            format!("there is no token: give it by --token-file FILE, as - on the input, or in {VARIABLE}")
        })?
    };
    if words.is_empty() {
        return Err("there is no address of a node: NAME:PORT".into());
    }
    Ok((token, words))
}

fn agent(command: AgentCommands) -> ExitCode {
    let (at, joins) = match command {
        AgentCommands::Start { at } => (at, None),
        AgentCommands::Join {
            at,
            words,
            token_file,
        } => match agent_token(words, token_file) {
            Ok(given) => (at, Some(given)),
            Err(why) => return refuse(&why),
        },
    };
    let config = match agent_config(at.clone()) {
        Ok(config) => config,
        Err(why) => {
            refuse(&why);
            return ExitCode::from(BAD_CONFIG);
        }
    };
    if let Err(code) = begin(config.log, "info") {
        return code;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    let done = runtime.block_on(async {
        if let Some((token, addresses)) = joins {
            let joined = agent::join(&config, &token, &addresses)
                .await
                .map_err(|e| e.to_string())?;
            println!(
                "{} has joined cluster {}. `systemctl enable --now palisade-agent`, or `palisade agent start`, serves it.",
                config.name,
                joined.cluster()
            );
            return Ok(());
        }
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let mut term = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
        let mut int = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
        let mut hangup = signal(SignalKind::hangup()).map_err(|e| e.to_string())?;
        let (configs, started) = tokio::sync::watch::channel(config);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => break,
                    _ = int.recv() => break,
                    _ = hangup.recv() => reload::reload_agent(|| agent_config(at.clone()), &configs),
                }
            }
            stopping.cancel();
        });
        agent::run(started, stop).await.map_err(|e| e.to_string())
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => refuse(&why),
    }
}

/// What every long-running program of ours does first.
fn begin(form: LogForm, level: &str) -> Result<Log, ExitCode> {
    let log = Log::start(form, level);
    // Keys are in this process's memory: no core dump, and no other process of the same user may read it.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(error = %error, "core dumps could not be switched off");
    }
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return Err(refuse(&"a second TLS provider is linked in"));
    }
    Ok(log)
}

/// Switches a deliberate fault on that the environment names. What ships has neither this function nor the faults: it is
/// for `chaos`, which shows with them that its checkers can fail.
#[cfg(debug_assertions)]
fn mutant() -> Result<(), String> {
    use palisade_core::mutant::{Mutant, activate};
    const VARIABLE: &str = "PALISADE_MUTANT";
    let Ok(name) = std::env::var(VARIABLE) else {
        return Ok(());
    };
    let Some(mutant) = Mutant::named(&name) else {
        let names: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        return Err(format!(
            "{VARIABLE} is {name:?}, and there are {}",
            names.join(", ")
        ));
    };
    // Loud, and before any log level can hide it.
    eprintln!(
        "palisade: WARNING: this node has the deliberate fault {name} and BREAKS ITS PROMISES: it is for tests alone"
    );
    activate(mutant);
    Ok(())
}

fn node(file: &Path, config: Config) -> ExitCode {
    let log = match begin(config.log, &config.log_level) {
        Ok(log) => log,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    let done = runtime.block_on(async {
        // A replica that doubts its disk or its state must not go on, not even to say goodbye.
        let fatal = Arc::new(|why: &str| {
            tracing::error!(why, "this node stops at once");
            eprintln!("palisade: {why}");
            std::process::abort();
        });
        let mut hangup = signal(SignalKind::hangup()).map_err(signal_error)?;
        let mut current = config.clone();
        let appliance = Appliance::new(config, fatal).await?;
        let mut term = signal(SignalKind::terminate()).map_err(signal_error)?;
        let mut int = signal(SignalKind::interrupt()).map_err(signal_error)?;
        appliance
            .run(async {
                loop {
                    tokio::select! {
                        _ = term.recv() => return,
                        _ = int.recv() => return,
                        _ = hangup.recv() => {
                            current = reload::reload(file, current, &log);
                            appliance.reconfigure(&current);
                        }
                    }
                }
            })
            .await
    });
    let code = match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("palisade: {error}");
            1
        }
    };
    // Everything that must reach the disk has: threads of half-started rooms are not waited for.
    std::process::exit(code)
}

fn signal_error(error: std::io::Error) -> palisade_node::appliance::ApplianceError {
    palisade_node::appliance::ApplianceError::Cluster(format!("signals cannot be received: {error}"))
}
