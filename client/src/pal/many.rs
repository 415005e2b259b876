//! `pal ssh label=value command`: one command on every host that matches.

use super::ls;
use super::ssh::{SshArgs, options, write_config};
use crate::errors::Failure;
use crate::http::Nodes;
use crate::profile::Profile;
use futures::StreamExt as _;
use palisade_core::api::HostView;
use palisade_core::shown::Shown;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::{ExitCode, Output, Stdio};
use tokio::process::Command;

/// Hosts at a time: more than a person watches, fewer than a laptop has sockets.
const AT_ONCE: usize = 32;

/// `[login@]label=value[,label=value...]`, if a target is that and no host's name.
pub(super) fn selector(target: &str) -> Option<(Option<&str>, &str)> {
    let (login, rest) = match target.rsplit_once('@') {
        Some((login, rest)) => (Some(login), rest),
        None => (None, target),
    };
    rest.contains('=').then_some((login, rest))
}

/// Runs the command on all hosts. What each printed comes whole, in order of their names, each line behind the host's.
/// The exit code is 0 if all were, and otherwise the largest; 255 is a host that could not be reached.
pub(super) async fn run(
    profile: &Profile,
    args: &SshArgs,
    login: Option<&str>,
    search: &str,
) -> Result<ExitCode, Failure> {
    if args.command.is_empty() {
        return Err(Failure::usage(
            format!("{search:?} may be many hosts, and there is no command for them"),
            "give a command, or one host: `pal ls` lists them",
        ));
    }
    let hosts: Vec<HostView> = ls::hosts_with(&Nodes::of_profile(profile)?, search).await?;
    if hosts.is_empty() {
        return Err(Failure::new(
            format!("no host that you may reach has {search}"),
            "`pal ls` lists hosts and their labels",
        ));
    }
    let config = write_config(profile)?;
    let width = hosts.iter().map(|host| host.name.len()).max().unwrap_or(0);
    let running = hosts.iter().map(|host| one(args, login, host, &config));
    // In order of names: who is done early waits to be shown.
    let mut done = futures::stream::iter(running).buffered(AT_ONCE);
    let mut worst = 0;
    while let Some((host, output)) = done.next().await {
        let status = match &output {
            Ok(output) => output.status.code().unwrap_or(255),
            Err(_) => 255,
        };
        show(host, width, &output, status).map_err(|e| {
            Failure::new(
                format!("the output cannot be written: {e}"),
                "check where it goes",
            )
        })?;
        worst = worst.max(status);
    }
    Ok(ExitCode::from(u8::try_from(worst).unwrap_or(255)))
}

async fn one<'a>(
    args: &SshArgs,
    login: Option<&str>,
    host: &'a HostView,
    config: &Path,
) -> (&'a str, std::io::Result<Output>) {
    let mut words: Vec<OsString> = options(args, config);
    // Nobody can answer for many hosts at once.
    words.extend(["-n", "-T", "-o", "BatchMode=yes"].map(OsString::from));
    if let Some(login) = args.login.as_deref().or(login) {
        words.extend(["-l".into(), login.into()]);
    }
    words.extend(["--".into(), OsString::from(&host.name)]);
    words.extend(args.command.iter().cloned());
    let output = Command::new("ssh")
        .args(words)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    (&host.name, output)
}

fn show(host: &str, width: usize, output: &std::io::Result<Output>, status: i32) -> std::io::Result<()> {
    let prefix = format!("{:width$} | ", Shown(host).to_string());
    match output {
        Ok(output) => {
            std::io::stdout().write_all(prefixed(&prefix, &output.stdout).as_bytes())?;
            std::io::stderr().write_all(prefixed(&prefix, &output.stderr).as_bytes())?;
        }
        Err(error) => writeln!(std::io::stderr(), "{prefix}ssh cannot be started: {error}")?,
    }
    if status != 0 {
        writeln!(std::io::stderr(), "{prefix}exit {status}")?;
    }
    std::io::stdout().flush()
}

/// Each line behind a prefix. What would drive the terminal is shown, not obeyed: there is no program of the user's own
/// at the other end that could be meant to.
fn prefixed(prefix: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .map(|line| format!("{prefix}{}\n", Shown(line)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_a_label_is_many_hosts() {
        assert_eq!(selector("env=prod"), Some((None, "env=prod")));
        assert_eq!(
            selector("root@env=prod,role=db"),
            Some((Some("root"), "env=prod,role=db"))
        );
        assert_eq!(selector("root@web1:22"), None);
    }

    #[test]
    fn lines_are_prefixed_and_cannot_drive_the_terminal() {
        assert_eq!(prefixed("web1 | ", b"a\nb"), "web1 | a\nweb1 | b\n");
        assert!(!prefixed("web1 | ", b"\x1b]0;x\x07").contains('\x1b'));
    }
}
