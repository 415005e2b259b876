//! A session's program: the login shell, a command, or the SFTP server.

use super::become_user::{account, become_user, close_others};
use super::sftp;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Uid, User};
use palisade_agent::accounting::{self, Entry, Files};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Open files that a session begins with; the agent itself has more.
const OPEN_FILES: u64 = 1024;

#[derive(Debug, Default)]
struct Asked {
    user: String,
    tty: Option<PathBuf>,
    from: String,
    env: Vec<OsString>,
    program: Option<Program>,
}

#[derive(Debug)]
enum Program {
    Login,
    Command(OsString),
    Sftp,
}

impl Asked {
    fn read(args: Vec<OsString>) -> Result<Asked, String> {
        let mut asked = Asked::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .ok_or_else(|| format!("{} needs a value", arg.display()))
            };
            match arg.to_str() {
                Some("--user") => asked.user = value()?.to_string_lossy().into_owned(),
                Some("--tty") => asked.tty = Some(value()?.into()),
                Some("--from") => asked.from = value()?.to_string_lossy().into_owned(),
                Some("--env") => asked.env.push(value()?),
                Some("--login") => asked.program = Some(Program::Login),
                Some("--command") => asked.program = Some(Program::Command(value()?)),
                Some("--sftp") => asked.program = Some(Program::Sftp),
                _ => return Err(format!("{} is not known", arg.display())),
            }
        }
        Ok(asked)
    }
}

pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode, String> {
    let asked = Asked::read(args)?;
    close_others();
    let user = account(&asked.user)?;
    rustix::process::setsid().map_err(|e| format!("no session of its own: {e}"))?;
    if let Some(tty) = &asked.tty {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
            .map_err(|e| format!("{} cannot be taken: {e}", tty.display()))?;
        note_login(tty, &user, &asked.from);
    }
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft > OPEN_FILES
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES.min(hard), hard);
    }
    umask(Mode::from_bits_truncate(0o022));
    become_user(&user)?;
    let mut away = None;
    if let Err(error) = std::env::set_current_dir(&user.dir) {
        away = Some(format!("palisade: {}: {error}\r\n", user.dir.display()));
        let _ = std::env::set_current_dir("/");
    }
    let shell = if user.shell.as_os_str().is_empty() {
        PathBuf::from("/bin/sh")
    } else {
        user.shell.clone()
    };
    let mut command = Command::new(&shell);
    match asked.program {
        Some(Program::Sftp) => return sftp::serve(&user.dir),
        Some(Program::Login) => {
            // A login shell is one whose name begins with a dash.
            let mut name = b"-".to_vec();
            name.extend_from_slice(shell.file_name().unwrap_or(shell.as_os_str()).as_bytes());
            command.arg0(OsString::from_vec(name));
            if asked.tty.is_some() {
                greet(&user);
            }
        }
        Some(Program::Command(text)) => {
            command.arg0(shell.file_name().unwrap_or(shell.as_os_str()));
            command.arg("-c").arg(text);
        }
        None => return Err("nothing to run".into()),
    }
    if let Some(away) = away {
        use std::io::Write;
        let _ = std::io::stderr().write_all(away.as_bytes());
    }
    command
        .env_clear()
        .envs(environment(&user, &shell, asked.tty.as_deref()));
    for pair in &asked.env {
        let mut parts = pair.as_bytes().splitn(2, |b| *b == b'=');
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
    }
    catch_ignored();
    // Resets what the standard library changed: SIGPIPE and the signal mask.
    let error = command.exec();
    Err(format!("{}: {error}", shell.display()))
}

/// Whatever started the agent may have had it ignore signals, which programs inherit: a shell cannot even trap them. What
/// is caught is the default again in the program that we become.
fn catch_ignored() {
    use signal_hook::consts::*;
    for signal in [
        SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGCHLD, SIGUSR1, SIGUSR2, SIGALRM,
    ] {
        let _ = signal_hook::flag::register(signal, Arc::default());
    }
}

fn environment(user: &User, shell: &Path, tty: Option<&Path>) -> Vec<(&'static str, OsString)> {
    let path = if user.uid.is_root() {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    } else {
        "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
    };
    let mut all = vec![
        ("USER", OsString::from(&user.name)),
        ("LOGNAME", OsString::from(&user.name)),
        ("HOME", user.dir.clone().into()),
        ("SHELL", shell.into()),
        ("PATH", path.into()),
    ];
    let mail = Path::new("/var/mail").join(&user.name);
    all.push(("MAIL", mail.into()));
    if let Some(tty) = tty {
        all.push(("SSH_TTY", tty.into()));
    }
    all
}

/// The message of the day, unless the user hushed it.
fn greet(user: &User) {
    if user.dir.join(".hushlogin").exists() {
        return;
    }
    if let Ok(text) = std::fs::read("/etc/motd") {
        use std::io::Write;
        let _ = std::io::stdout().write_all(&text);
    }
}

fn note_login(tty: &Path, user: &User, from: &str) {
    if !Uid::effective().is_root() {
        return;
    }
    let line = tty.strip_prefix("/dev").unwrap_or(tty);
    let at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let entry = Entry {
        pid: i32::try_from(std::process::id()).unwrap_or(0),
        line: &line.to_string_lossy(),
        user: &user.name,
        uid: user.uid.as_raw(),
        host: from,
        at: i64::try_from(at).unwrap_or(i64::MAX),
    };
    accounting::login(Files::usual(), &entry);
}
