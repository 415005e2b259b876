//! `pal ssh` and `pal scp`: the system's OpenSSH, told how to reach the cluster's hosts.

use super::ContactArgs;
use super::approve::{self, One, Passing};
use super::config::own_path;
use super::login::contact;
use super::many;
use crate::errors::Failure;
use crate::profile::{self, NewKeys, Profile};
use crate::ssh_config::for_one;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Options are those of ssh.
#[derive(Debug, clap::Args)]
pub(super) struct SshArgs {
    /// Account on the host
    #[arg(short = 'l', long)]
    pub(super) login: Option<String>,
    /// Port of the host
    #[arg(short = 'p', long)]
    port: Option<u16>,
    /// Carry your SSH agent to the host, if a role allows it
    #[arg(short = 'A', long)]
    forward_agent: bool,
    /// Forward a local port: [bind:]port:host:port
    #[arg(short = 'L', long = "forward", value_name = "SPEC")]
    local: Vec<String>,
    /// Forward a port of the host to here
    #[arg(short = 'R', long = "remote-forward", value_name = "SPEC")]
    remote: Vec<String>,
    /// Forward by SOCKS: [bind:]port
    #[arg(short = 'D', long = "dynamic-forward", value_name = "SPEC")]
    dynamic: Vec<String>,
    /// Run no command: only forward
    #[arg(short = 'N', long)]
    no_remote_exec: bool,
    /// Go to the background before the command runs
    #[arg(short = 'f')]
    background: bool,
    /// Read nothing from standard input
    #[arg(short = 'n')]
    no_stdin: bool,
    /// Ask for a terminal; twice, even without one here
    #[arg(short = 't', long = "tty", action = clap::ArgAction::Count)]
    tty: u8,
    /// Ask for no terminal
    #[arg(short = 'T')]
    no_tty: bool,
    /// Compress
    #[arg(short = 'C')]
    compress: bool,
    /// Say less
    #[arg(short = 'q')]
    quiet: bool,
    /// Say more; up to three times
    #[arg(short = 'v', action = clap::ArgAction::Count)]
    verbose: u8,
    /// Any other option of ssh, as in its configuration file
    #[arg(short = 'o', long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// On a computer that is not yours: you allow this one connection in your browser, and nothing is left here
    #[arg(long, conflicts_with = "background")]
    pub(super) headless: bool,
    #[command(flatten)]
    contact: ContactArgs,
    /// Where to; with labels (env=prod,role=db), the command runs on every host that has them
    #[arg(value_name = "[LOGIN@]HOST[:PORT]")]
    pub(super) target: String,
    /// What to run there
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ScpArgs {
    /// Port of the host
    #[arg(short = 'P', long)]
    port: Option<u16>,
    /// Directories with all that is in them
    #[arg(short = 'r', long)]
    recursive: bool,
    /// Keep times and modes
    #[arg(short = 'p', long)]
    preserve: bool,
    /// Compress
    #[arg(short = 'C')]
    compress: bool,
    /// Show no progress
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Say more
    #[arg(short = 'v', action = clap::ArgAction::Count)]
    verbose: u8,
    /// Any other option of ssh, as in its configuration file
    #[arg(short = 'o', long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// From, and at last to: FILE or [LOGIN@]HOST:FILE
    #[arg(required = true, num_args = 2..)]
    paths: Vec<OsString>,
}

/// `[login@]host[:port]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) login: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let bad = |why: &str| {
            Failure::usage(
                format!("{text:?} is no target: {why}"),
                "write it like root@web1 or root@web1:22",
            )
        };
        let (login, rest) = match text.rsplit_once('@') {
            Some((login, rest)) => (Some(login.to_owned()), rest),
            None => (None, text),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (
                host,
                Some(
                    port.strip_prefix(':')
                        .ok_or_else(|| bad("what follows ] is no port"))?,
                ),
            ),
            // More than one colon is an IPv6 address.
            None if rest.matches(':').count() == 1 => {
                let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
                (host, Some(port))
            }
            None => (rest, None),
        };
        let port = port
            .map(str::parse)
            .transpose()
            .map_err(|_| bad("the port is no number"))?;
        let safe =
            |s: &str| !s.is_empty() && !s.starts_with('-') && s.chars().all(|c| !c.is_control() && c != ' ');
        if !safe(host) || !login.as_deref().is_none_or(safe) {
            return Err(bad("name or login cannot be used"));
        }
        Ok(Target {
            login,
            host: host.to_owned(),
            port,
        })
    }
}

/// The options of ssh that do not say where to.
pub(super) fn options(args: &SshArgs, config: &std::path::Path) -> Vec<OsString> {
    let mut out: Vec<OsString> = vec!["-F".into(), config.into()];
    let flags = [
        (args.forward_agent, "-A"),
        (args.no_remote_exec, "-N"),
        (args.background, "-f"),
        (args.no_stdin, "-n"),
        (args.no_tty, "-T"),
        (args.compress, "-C"),
        (args.quiet, "-q"),
    ];
    out.extend(
        flags
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, flag)| OsString::from(flag)),
    );
    out.extend((0..args.tty.min(2)).map(|_| "-t".into()));
    out.extend((0..args.verbose.min(3)).map(|_| "-v".into()));
    for (flag, values) in [
        ("-L", &args.local),
        ("-R", &args.remote),
        ("-D", &args.dynamic),
        ("-o", &args.options),
    ] {
        for value in values {
            out.extend([flag.into(), value.into()]);
        }
    }
    out
}

fn ssh_args(args: &SshArgs, config: &std::path::Path) -> Result<Vec<OsString>, Failure> {
    let target = Target::parse(&args.target)?;
    let mut out = options(args, config);
    if let Some(port) = args.port.or(target.port) {
        out.extend(["-p".into(), port.to_string().into()]);
    }
    if let Some(login) = args.login.clone().or(target.login) {
        out.extend(["-l".into(), login.into()]);
    }
    out.extend(["--".into(), target.host.into()]);
    out.extend(args.command.iter().cloned());
    Ok(out)
}

fn scp_args(args: &ScpArgs, config: &std::path::Path) -> Vec<OsString> {
    let mut out: Vec<OsString> = vec!["-F".into(), config.into()];
    let flags = [
        (args.recursive, "-r"),
        (args.preserve, "-p"),
        (args.compress, "-C"),
        (args.quiet, "-q"),
        (args.verbose > 0, "-v"),
    ];
    out.extend(
        flags
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, flag)| OsString::from(flag)),
    );
    if let Some(port) = args.port {
        out.extend(["-P".into(), port.to_string().into()]);
    }
    for option in &args.options {
        out.extend(["-o".into(), option.into()]);
    }
    out.push("--".into());
    out.extend(args.paths.iter().cloned());
    out
}

pub(super) fn write_config(profile: &Profile) -> Result<std::path::PathBuf, Failure> {
    let path = profile.dir.join("ssh_config");
    profile::write(&path, for_one(profile, &own_path()?).as_bytes())?;
    Ok(path)
}

pub(super) fn become_program(program: &str, args: Vec<OsString>) -> Result<ExitCode, Failure> {
    let error = Command::new(program).args(args).exec();
    Err(not_started(program, &error))
}

fn not_started(program: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("cannot start {program}: {error}"),
        "install the OpenSSH client",
    )
}

pub(super) fn ssh(profile: &Profile, args: SshArgs) -> Result<ExitCode, Failure> {
    let config = write_config(profile)?;
    let argv = ssh_args(&args, &config)?;
    profile.check_valid()?;
    become_program("ssh", argv)
}

/// A connection that somebody allows in their browser, for one account. Keys and certificates stay in memory and go with
/// this process.
pub(super) async fn headless(proxy: Option<&str>, mut args: SshArgs) -> Result<ExitCode, Failure> {
    if many::selector(&args.target).is_some() {
        return Err(Failure::usage(
            "--headless is for one host, not for all with some labels",
            "name the host: pal ssh --headless root@web1",
        ));
    }
    let target = Target::parse(&args.target)?;
    let Some(login) = args.login.take().or(target.login) else {
        return Err(Failure::usage(
            "it is not known which account is wanted",
            "give it before the host: pal ssh --headless root@web1",
        ));
    };
    let contact = contact(proxy, &args.contact)?;
    let keys = NewKeys::make()?;
    let one = One {
        host: &target.host,
        login: &login,
    };
    let issued = approve::ask(&contact, &keys, None, Some(one), false).await?;
    // Heard before there is anything that must not be left behind. Ctrl-C is from now on for whoever types at the host.
    let hears =
        |kind| signal(kind).map_err(|e| Failure::new(format!("cannot hear signals: {e}"), "try again"));
    let _interrupted = hears(SignalKind::interrupt())?;
    let (mut terminated, mut hung_up) = (hears(SignalKind::terminate())?, hears(SignalKind::hangup())?);
    let passing = Passing::make()?;
    let profile = contact.save(passing.home(), &keys, &issued)?;
    drop(keys);
    args.login = Some(login);
    let argv = ssh_args(&args, &write_config(&profile)?)?;
    // Its end is waited for, so that what it was given can be removed.
    let started = tokio::process::Command::new("ssh")
        .args(argv)
        .env("PAL_HOME", passing.home())
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|e| not_started("ssh", &e))?;
    let status = tokio::select! {
        status = child.wait() => status,
        _ = terminated.recv() => return Ok(ExitCode::FAILURE),
        _ = hung_up.recv() => return Ok(ExitCode::FAILURE),
    };
    let status = status.map_err(|e| not_started("ssh", &e))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

pub(super) fn scp(profile: &Profile, args: ScpArgs) -> Result<ExitCode, Failure> {
    profile.check_valid()?;
    let config = write_config(profile)?;
    become_program("scp", scp_args(&args, &config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pal::{Command as PalCommand, Pal};
    use clap::Parser;

    fn given(line: &[&str]) -> Vec<String> {
        let pal = Pal::try_parse_from(line).expect("a command line");
        let args = match pal.command {
            PalCommand::Ssh(args) => ssh_args(&args, "cfg".as_ref()).expect("arguments"),
            PalCommand::Scp(args) => scp_args(&args, "cfg".as_ref()),
            other => panic!("{other:?}"),
        };
        args.into_iter().map(|a| a.into_string().expect("text")).collect()
    }

    #[test]
    fn ssh_options_pass_through() {
        assert_eq!(
            given(&["pal", "ssh", "root@web1", "ls", "-la", "--color"]),
            ["-F", "cfg", "-l", "root", "--", "web1", "ls", "-la", "--color"]
        );
        assert_eq!(
            given(&[
                "pal",
                "ssh",
                "-A",
                "-tt",
                "-L",
                "8080:db:80",
                "-D",
                "1080",
                "-N",
                "-o",
                "SendEnv=X",
                "web1:2222"
            ]),
            [
                "-F",
                "cfg",
                "-A",
                "-N",
                "-t",
                "-t",
                "-L",
                "8080:db:80",
                "-D",
                "1080",
                "-o",
                "SendEnv=X",
                "-p",
                "2222",
                "--",
                "web1"
            ]
        );
        assert_eq!(
            given(&["pal", "ssh", "web1", "--", "-x"]),
            ["-F", "cfg", "--", "web1", "-x"]
        );
    }

    #[test]
    fn scp_options_pass_through() {
        assert_eq!(
            given(&["pal", "scp", "-r", "-P", "22", "a b", "root@web1:/tmp"]),
            ["-F", "cfg", "-r", "-P", "22", "--", "a b", "root@web1:/tmp"]
        );
        assert!(Pal::try_parse_from(["pal", "scp", "one"]).is_err());
    }

    #[test]
    fn targets_are_read_and_hostile_ones_refused() {
        let of = |login: Option<&str>, host: &str, port| Target {
            login: login.map(Into::into),
            host: host.into(),
            port,
        };
        for (text, wanted) in [
            ("web1", of(None, "web1", None)),
            ("root@web1:22", of(Some("root"), "web1", Some(22))),
            ("a@b@web1", of(Some("a@b"), "web1", None)),
            ("root@[::1]:22", of(Some("root"), "::1", Some(22))),
            ("::1", of(None, "::1", None)),
        ] {
            assert_eq!(Target::parse(text), Ok(wanted), "{text}");
        }
        for bad in [
            "",
            "-oProxyCommand=x",
            "root@",
            "@web1",
            "-x@web1",
            "web1:x",
            "web1:99999",
            "a b",
            "w\x1b1",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
