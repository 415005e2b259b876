//! `pal`: for people.

mod approve;
mod config;
mod invite;
mod join;
mod login;
mod ls;
mod many;
mod mfa;
mod proxy;
mod reach;
mod recordings;
mod ssh;

use crate::errors::Failure;
use crate::http::Nodes;
use crate::output::Format;
use crate::profile::{self, Profile};
use crate::tls::CaPin;
use clap::{Args, CommandFactory, Parser, Subcommand};
use palisade_core::time::Ttl;
use std::path::PathBuf;
use std::process::ExitCode;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "pal",
    version,
    about = "Log in to a Palisade cluster and reach its hosts",
    max_term_width = 100
)]
#[command(
    after_help = "Begin with: pal login --proxy node1.example.com:3080 --user alice --ca-pin sha256:..."
)]
pub struct Pal {
    /// Address of a node, or several with commas; for other commands than login, which saved login to use
    #[arg(long, global = true, env = "PAL_PROXY", value_name = "ADDR[,ADDR...]")]
    proxy: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Log in: get certificates that run out by themselves
    Login(LoginArgs),
    /// Log out: delete keys and certificates
    Logout,
    /// Show who is logged in where, and until when
    Status {
        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List the hosts that you may reach
    Ls {
        /// How to show them
        #[arg(long, short, value_enum, default_value_t)]
        format: Format,
        /// Only hosts of which this holds, as in a role's `where`: 'equals(resource.labels["env"], "prod")'
        #[arg(long, value_name = "EXPRESSION")]
        query: Option<String>,
        /// Only hosts with these words in name, address or a label, or with these labels: env=prod,role=db
        search: Option<String>,
    },
    /// Open a session on a host, or run a command there
    Ssh(Box<ssh::SshArgs>),
    /// Copy files to or from a host
    Scp(ssh::ScpArgs),
    /// Connections for other programs
    #[command(subcommand)]
    Proxy(ProxyCommand),
    /// Print what to put into ~/.ssh/config
    Config {
        /// Go through one node with ProxyJump, without pal
        #[arg(long)]
        jump: bool,
    },
    /// Play a recorded session
    Play(recordings::PlayArgs),
    /// Recorded sessions
    #[command(subcommand)]
    Recordings(recordings::RecordingsCommand),
    /// Live sessions
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Take part in somebody's live session
    Join(join::JoinArgs),
    /// What you have beside the password: authenticator, recovery codes, passkeys
    #[command(subcommand)]
    Mfa(mfa::MfaCommand),
    /// Use an invite: choose a password and set up the second factor
    #[command(subcommand)]
    Invite(InviteCommand),
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

/// How the first contact with a cluster is checked.
#[derive(Debug, Clone, Default, Args)]
pub struct ContactArgs {
    /// Pin of the cluster's TLS authority, from the invite or from `palctl status`
    #[arg(long, value_name = "sha256:HEX")]
    ca_pin: Option<CaPin>,
    /// Authority of the operator's own TLS certificate, in PEM
    #[arg(long, value_name = "FILE", conflicts_with = "ca_pin")]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct LoginArgs {
    /// Who you are in the cluster [default: your account's name]
    #[arg(long, short = 'u', env = "PAL_USER", alias = "auth-user")]
    user: Option<String>,
    /// How long the certificates shall live: 8h, 30m [default: as long as your roles allow]
    #[arg(long, value_parser = Ttl::parse)]
    ttl: Option<Ttl>,
    #[command(flatten)]
    contact: ContactArgs,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// The code of the second factor, or a recovery code [default: asked for]
    #[arg(long, alias = "otp")]
    code: Option<String>,
    /// Log in by your browser: with a passkey, or where you are logged in already
    #[arg(long, conflicts_with_all = ["password_stdin", "code"])]
    browser: bool,
}

#[derive(Debug, Subcommand)]
enum ProxyCommand {
    /// Carry an SSH connection on standard input and output, as a ProxyCommand
    Ssh(proxy::ProxySshArgs),
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// List live sessions
    Ls {
        /// How to show them
        #[arg(long, short, value_enum, default_value_t)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
enum InviteCommand {
    /// Accept an invite or a reset
    Accept(invite::AcceptArgs),
}

impl Pal {
    /// The definition, for completion and man pages.
    pub fn definition() -> clap::Command {
        Pal::command()
    }

    /// Runs it.
    pub async fn run(self) -> Result<ExitCode, Failure> {
        let proxy = self.proxy.as_deref();
        match self.command {
            Command::Login(args) => login::login(proxy, args).await.map(|()| ExitCode::SUCCESS),
            Command::Logout => login::logout(proxy).await.map(|()| ExitCode::SUCCESS),
            Command::Status { format } => login::status(proxy, format),
            Command::Ls {
                format,
                query,
                search,
            } => ls::ls(&load(proxy)?, format, search.as_deref(), query.as_deref())
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Ssh(args) if args.headless => ssh::headless(proxy, *args).await,
            Command::Ssh(args) => match many::selector(&args.target) {
                Some((login, search)) => many::run(&load(proxy)?, &args, login, search).await,
                None => ssh::ssh(&load(proxy)?, *args),
            },
            Command::Scp(args) => ssh::scp(&load(proxy)?, args),
            Command::Proxy(ProxyCommand::Ssh(args)) => proxy::proxy_ssh(&load(proxy)?, &args)
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Config { jump } => config::config(&load(proxy)?, jump)
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Play(args) => recordings::play(|| load(proxy), args)
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Recordings(command) => recordings::run(&load(proxy)?, command)
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Sessions(SessionsCommand::Ls { format }) => {
                crate::live::ls(&Nodes::of_profile(&load(proxy)?)?, format)
                    .await
                    .map(|()| ExitCode::SUCCESS)
            }
            Command::Mfa(command) => mfa::run(&load(proxy)?, proxy, command)
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Invite(InviteCommand::Accept(args)) => {
                invite::accept(proxy, args).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Join(args) => join::join(&load(proxy)?, args).await,
            Command::Completion { shell } => {
                crate::pages::completion(Pal::command(), shell).map(|()| ExitCode::SUCCESS)
            }
            Command::Man { dir } => {
                crate::pages::man(Pal::command(), dir.as_deref()).map(|()| ExitCode::SUCCESS)
            }
        }
    }
}

/// The saved login to use.
fn load(proxy: Option<&str>) -> Result<Profile, Failure> {
    Profile::load(&profile::home()?, proxy)
}
