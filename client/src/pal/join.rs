//! `pal join`: another's live session, by the system's OpenSSH. The session stays when we leave.

use super::config::own_path;
use super::reach;
use super::ssh::{become_program, write_config};
use crate::errors::Failure;
use crate::profile::Profile;
use crate::ssh_config::join_command;
use palisade_core::name::SessionId;
use palisade_core::pass::{JOIN_LOGIN, Joining};
use palisade_core::record::JoinMode;
use std::ffi::OsString;
use std::process::ExitCode;

/// As what a session is joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// Look on; Ctrl-C leaves
    #[default]
    Observer,
    /// Look on, and end the session with t
    Moderator,
    /// Type as well; Enter ~ . leaves
    Peer,
}

impl From<Mode> for JoinMode {
    fn from(mode: Mode) -> JoinMode {
        match mode {
            Mode::Observer => JoinMode::Observer,
            Mode::Moderator => JoinMode::Moderator,
            Mode::Peer => JoinMode::Peer,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct JoinArgs {
    /// As what
    #[arg(long, short, value_enum, default_value_t)]
    mode: Mode,
    /// The session, as `pal sessions ls` lists it
    #[arg(value_parser = SessionId::parse)]
    session: SessionId,
}

pub(super) async fn join(profile: &Profile, args: JoinArgs) -> Result<ExitCode, Failure> {
    profile.check_valid()?;
    let joining = Joining {
        session: args.session,
        mode: args.mode.into(),
    };
    // Asked first: ssh would hide the reason of a refusal, and has to know whose key it sees.
    let host = reach::host_of(profile, &joining).await?;
    let config = write_config(profile)?;
    let command = format!("ProxyCommand={}", join_command(profile, &own_path()?, &joining));
    become_program("ssh", ssh_args(&config, &command, host.as_str()))
}

/// What is ours comes first: of two values of an option ssh takes the first.
fn ssh_args(config: &std::path::Path, command: &str, host: &str) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["-F".into(), config.into(), "-tt".into()];
    for option in [
        "ProxyUseFdpass=no",
        command,
        "ForwardAgent=no",
        "ForwardX11=no",
        "ClearAllForwardings=yes",
        "ControlMaster=no",
        "ControlPath=none",
        "LogLevel=ERROR",
    ] {
        all.extend(["-o".into(), option.into()]);
    }
    all.extend(["-l".into(), JOIN_LOGIN.into(), "--".into(), host.into()]);
    all
}

#[cfg(test)]
mod tests {
    use crate::pal::{Command, Pal};
    use clap::Parser as _;
    use palisade_core::record::JoinMode;

    const SESSION: &str = "0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a";

    #[test]
    fn one_looks_on_unless_more_is_asked_for() {
        let mode = |line: &[&str]| match Pal::try_parse_from(line).map(|pal| pal.command) {
            Ok(Command::Join(args)) => Some(JoinMode::from(args.mode)),
            _ => None,
        };
        assert_eq!(mode(&["pal", "join", SESSION]), Some(JoinMode::Observer));
        assert_eq!(
            mode(&["pal", "join", "--mode", "peer", SESSION]),
            Some(JoinMode::Peer)
        );
        assert_eq!(
            mode(&["pal", "join", "-m", "moderator", SESSION]),
            Some(JoinMode::Moderator)
        );
        assert_eq!(mode(&["pal", "join", "--mode", "owner", SESSION]), None);
        assert_eq!(mode(&["pal", "join", "x\x1b[2J"]), None);
    }
}
