//! `palctl`: for operators. On a node it uses the node's control socket, elsewhere the login of `pal`.

mod audit;
mod auth;
mod bundle;
mod cluster;
mod doctor;
mod hosts;
mod locks;
mod records;
mod sessions;
mod status;
mod tokens;
mod top;
mod users;

use crate::errors::Failure;
use crate::http::{CallError, DEFAULT_SOCKET, Nodes, fill};
use crate::output::Format;
use crate::profile::{self, Profile};
use clap::{CommandFactory, Parser, Subcommand};
use palisade_core::api::{Page, path};
use palisade_core::record::Kind;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "palctl",
    version,
    about = "Operate a Palisade cluster",
    max_term_width = 100
)]
#[command(
    after_help = "On a node, palctl is the operator by the node's control socket; elsewhere it uses `pal login`."
)]
pub struct Palctl {
    /// The node's control socket [default: /var/lib/palisade/control.sock if it is there]
    #[arg(long, global = true, env = "PALISADE_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Use the saved login for this address instead of a socket
    #[arg(long, global = true, env = "PAL_PROXY", value_name = "ADDR")]
    proxy: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make, join, show and change the cluster
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Show the cluster: nodes, leader, pin, and what needs attention
    Status(status::StatusArgs),
    /// How the nodes are doing right now, again every second
    Top(top::TopArgs),
    /// Write what somebody who helps wants to see into one file, without secrets
    Doctor(doctor::DoctorArgs),
    /// Users and their invites
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// Show records: users, roles, hosts, locks, tokens, ...
    Get(records::GetArgs),
    /// Make records from YAML or JSON
    Create(records::CreateArgs),
    /// Change a record in your editor
    Edit(records::EditArgs),
    /// Remove a record
    Rm(records::RmArgs),
    /// Join tokens for new nodes
    #[command(subcommand)]
    Tokens(tokens::TokensCommand),
    /// Plain OpenSSH servers
    #[command(subcommand)]
    Hosts(hosts::HostsCommand),
    /// Lock a user, role, login or host out, at once
    Lock(locks::LockArgs),
    /// Locks that are in force
    #[command(subcommand)]
    Locks(locks::LocksCommand),
    /// Certificate authorities and host certificates
    #[command(subcommand)]
    Auth(auth::AuthCommand),
    /// The offline bundle, which this node serves to hosts
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Live sessions
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// Print a completion script
    #[command(hide = true)]
    Completion {
        /// For this shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    #[command(hide = true)]
    Man {
        /// Write one page for every command into this directory
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

impl Palctl {
    /// The definition, for completion and man pages.
    pub fn definition() -> clap::Command {
        Palctl::command()
    }

    /// Runs it.
    pub async fn run(self) -> Result<ExitCode, Failure> {
        let link = Link {
            socket: self.socket,
            proxy: self.proxy,
        };
        match self.command {
            Command::Cluster(command) => cluster::run(&link, command).await?,
            Command::Status(args) => return status::run(&link, &args).await,
            Command::Top(args) => top::run(&link, &args).await?,
            Command::Doctor(args) => doctor::run(&link, &args).await?,
            Command::Users(command) => users::run(&link, command).await?,
            Command::Get(args) => records::get(&link, &args).await?,
            Command::Create(args) => records::create(&link, &args).await?,
            Command::Edit(args) => records::edit(&link, &args).await?,
            Command::Rm(args) => records::rm(&link, &args).await?,
            Command::Tokens(command) => tokens::run(&link, command).await?,
            Command::Hosts(command) => hosts::run(&link, command).await?,
            Command::Lock(args) => locks::lock(&link, args).await?,
            Command::Locks(command) => locks::run(&link, command).await?,
            Command::Auth(command) => auth::run(&link, command).await?,
            Command::Bundle(command) => bundle::run(&link, command).await?,
            Command::Audit(command) => audit::run(&link, command).await?,
            Command::Sessions(command) => sessions::run(&link, command).await?,
            Command::Completion { shell } => crate::pages::completion(Palctl::command(), shell)?,
            Command::Man { dir } => crate::pages::man(Palctl::command(), dir.as_deref())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How to reach the cluster.
#[derive(Debug)]
struct Link {
    socket: Option<PathBuf>,
    proxy: Option<String>,
}

impl Link {
    /// The nodes: by the socket if it was asked for or is there, else by the saved login.
    fn nodes(&self) -> Result<Nodes, Failure> {
        if let Some(socket) = &self.socket {
            return self.over(socket);
        }
        let usual = std::path::Path::new(DEFAULT_SOCKET);
        if self.proxy.is_none() && usual.exists() {
            return self.over(usual);
        }
        let profile = Profile::load(&profile::home()?, self.proxy.as_deref()).map_err(|mut failure| {
            failure.todo +=
                ", or run palctl on a node (with --socket if its data directory is not the usual one)";
            failure
        })?;
        Nodes::of_profile(&profile)
    }

    /// The node's own control socket, which alone may do it.
    fn control(&self) -> Result<Nodes, Failure> {
        let usual = PathBuf::from(DEFAULT_SOCKET);
        self.over(self.socket.as_ref().unwrap_or(&usual))
    }

    /// The data directory of the node here: where its control socket is.
    fn data_dir(&self) -> Result<PathBuf, Failure> {
        self.control()?;
        let socket = self
            .socket
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
        let parent = socket.parent().map(std::path::Path::to_owned);
        parent.ok_or_else(|| Failure::usage("the socket is in no folder", "give --socket a whole path"))
    }

    fn over(&self, socket: &std::path::Path) -> Result<Nodes, Failure> {
        // A connection would say "no such file" without saying which.
        std::fs::metadata(socket).map_err(|e| {
            Failure::new(
                format!("cannot use the control socket {}: {e}", socket.display()),
                "run this on a node whose `palisade node` is running, as its user or as root, or give --socket",
            )
        })?;
        Nodes::over_socket(socket)
    }
}

/// All records of a kind.
async fn all_records(nodes: &Nodes, kind: Kind) -> Result<Vec<serde_json::Value>, CallError> {
    let route = fill(path::RECORDS, &[kind.as_str()]);
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let query = if after.is_empty() {
            vec![]
        } else {
            vec![("after", after.clone())]
        };
        let page: Page = nodes.get(&route, &query).await?;
        items.extend(page.items);
        if page.next.is_empty() || page.next == after {
            return Ok(items);
        }
        after = page.next;
    }
}

/// A record's name, for lists.
fn name_of(record: &serde_json::Value) -> String {
    text_at(record, "/metadata/name")
}

/// A text in a record, empty if it is not there.
fn text_at(record: &serde_json::Value, pointer: &str) -> String {
    match record.pointer(pointer) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Array(items)) => items
            .iter()
            .map(|i| i.as_str().unwrap_or_default())
            .collect::<Vec<_>>()
            .join(","),
        Some(serde_json::Value::Object(map)) => map
            .iter()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(","),
        Some(serde_json::Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Asks before something is destroyed.
fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            format!("{question}: not done without being asked"),
            "give --yes",
        ));
    }
    eprint!("{question}? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new("nothing was done", "")),
    }
}

/// How a list is shown.
#[derive(Debug, Clone, Copy, clap::Args)]
struct FormatArg {
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Whether to ask.
#[derive(Debug, Clone, Copy, clap::Args)]
struct YesArg {
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}
