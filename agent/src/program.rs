//! Programs that run for users: started through `palisade-spawn`, which becomes the user; waited for, and ended.
//!
//! The daemon never changes who it is and is never executed anew: the helper is a small program that is the user's
//! shell a moment later.

use crate::account::Account;
use crate::accounting;
use crate::terminal::{Terminal, Wanted, foreground, resize};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use palisade_session::ssh::russh::Sig;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// How long programs may take to end by themselves after they were asked to.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Run {
    /// The login shell.
    Shell,
    /// A command by the shell.
    Command(Vec<u8>),
    /// Our SFTP server.
    Sftp,
}

/// Everything that is needed to start.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) helper: &'a Path,
    pub(crate) account: &'a Account,
    pub(crate) run: Run,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) terminal: Option<&'a Wanted>,
    /// Where the user comes from, for `who` and `last`.
    pub(crate) from: &'a str,
}

/// What the user's input goes into.
pub(crate) type Input = Box<dyn AsyncWrite + Send + Unpin>;
/// What output comes out of.
pub(crate) type Output = Box<dyn AsyncRead + Send + Unpin>;

/// A running program.
pub(crate) struct Program {
    child: Child,
    pub(crate) control: Control,
    pub(crate) input: Option<Input>,
    pub(crate) output: Option<Output>,
    /// Only without a terminal.
    pub(crate) error_output: Option<Output>,
    /// The name of its terminal without `/dev/`, and its process: what `who` lists.
    listed: Option<(String, i32)>,
}

/// To signal and resize a program with.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    /// The process that leads the session and its first group; 0 once it was waited for, as its number may then be
    /// another's.
    leader: Arc<AtomicI32>,
    terminal: Option<Arc<OwnedFd>>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Status(u32),
    Signal(i32),
}

impl Program {
    pub(crate) fn start(launch: Launch<'_>) -> io::Result<Program> {
        let mut command = Command::new(launch.helper);
        command.env_clear().current_dir("/").kill_on_drop(false);
        command.arg("session").arg("--user").arg(&launch.account.name);
        command.arg("--from").arg(launch.from);
        for (name, value) in &launch.env {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        match launch.run {
            Run::Shell => command.arg("--login"),
            Run::Command(text) => command.arg("--command").arg(OsString::from_vec(text)),
            Run::Sftp => command.arg("--sftp"),
        };
        match launch.terminal {
            Some(wanted) => Self::in_terminal(command, wanted, launch.account),
            None => Self::on_pipes(command),
        }
    }

    fn in_terminal(mut command: Command, wanted: &Wanted, account: &Account) -> io::Result<Program> {
        let terminal = Terminal::open(wanted, account)?;
        command.arg("--tty").arg(&terminal.path);
        command.arg("--env").arg({
            let mut term = OsString::from("TERM=");
            term.push(OsStr::new(&wanted.term));
            term
        });
        command
            .stdin(Stdio::from(terminal.theirs.try_clone()?))
            .stdout(Stdio::from(terminal.theirs.try_clone()?))
            .stderr(Stdio::from(terminal.theirs));
        let child = command.spawn()?;
        let line = terminal.path.strip_prefix("/dev").unwrap_or(&terminal.path);
        let listed = Some((line.to_string_lossy().into_owned(), pid(&child)));
        // The command holds the program's end of the terminal: while we have it, the end of output is not seen.
        drop(command);
        // The library's pipes wait for readiness and nothing else: right for a terminal as well.
        let input = pipe::Sender::from_owned_fd_unchecked(terminal.ours.try_clone()?)?;
        let output = pipe::Receiver::from_owned_fd_unchecked(terminal.ours.try_clone()?)?;
        Ok(Program {
            control: Control {
                leader: Arc::new(AtomicI32::new(pid(&child))),
                terminal: Some(Arc::new(terminal.ours)),
            },
            child,
            input: Some(Box::new(input)),
            output: Some(Box::new(output)),
            error_output: None,
            listed,
        })
    }

    fn on_pipes(mut command: Command) -> io::Result<Program> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        Ok(Program {
            control: Control {
                leader: Arc::new(AtomicI32::new(pid(&child))),
                terminal: None,
            },
            input: child.stdin.take().map(|input| Box::new(input) as Input),
            output: child.stdout.take().map(|output| Box::new(output) as Output),
            error_output: child.stderr.take().map(|output| Box::new(output) as Output),
            child,
            listed: None,
        })
    }

    /// Waits for its end, and takes it off the process table.
    pub(crate) async fn wait(&mut self) -> Exit {
        let ended = self.child.wait().await;
        self.control.leader.store(0, Ordering::SeqCst);
        match ended {
            Ok(status) => match status.signal() {
                Some(signal) => Exit::Signal(signal),
                None => Exit::Status(
                    status
                        .code()
                        .and_then(|code| u32::try_from(code).ok())
                        .unwrap_or(255),
                ),
            },
            Err(error) => {
                tracing::error!(error = %error, "a session's program could not be waited for");
                Exit::Status(255)
            }
        }
    }

    /// Takes it off the list of who is logged in.
    pub(crate) async fn over(&mut self) {
        let Some((line, pid)) = self.listed.take() else {
            return;
        };
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let at = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let noted = tokio::task::spawn_blocking(move || {
            let entry = accounting::Entry {
                pid,
                line: &line,
                user: "",
                uid: 0,
                host: "",
                at: i64::try_from(at).unwrap_or(i64::MAX),
            };
            accounting::logout(accounting::Files::usual(), &entry);
        });
        let _ = noted.await;
    }

    /// Ends it and all of its group: as when a terminal is hung up, and if that does not help, for good.
    pub(crate) async fn end(&mut self) -> Exit {
        self.control.hang_up();
        if let Ok(exit) = tokio::time::timeout(PATIENCE, self.wait()).await {
            return exit;
        }
        self.control.to_foreground(Signal::SIGKILL);
        self.control.to_leader(Signal::SIGKILL);
        self.wait().await
    }
}

fn pid(child: &Child) -> i32 {
    child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0)
}

impl Control {
    /// Gives the terminal another size.
    pub(crate) fn resize(&self, columns: u32, rows: u32, pixels: (u32, u32)) {
        if let Some(terminal) = &self.terminal
            && let Err(error) = resize(terminal, columns, rows, pixels)
        {
            tracing::debug!(error = %error, "a terminal could not be resized");
        }
    }

    /// A signal that the user sent (RFC 4254, section 6.9).
    pub(crate) fn signal(&self, signal: &Sig) {
        let signal = match signal {
            Sig::ABRT => Signal::SIGABRT,
            Sig::ALRM => Signal::SIGALRM,
            Sig::FPE => Signal::SIGFPE,
            Sig::HUP => Signal::SIGHUP,
            Sig::ILL => Signal::SIGILL,
            Sig::INT => Signal::SIGINT,
            Sig::KILL => Signal::SIGKILL,
            Sig::PIPE => Signal::SIGPIPE,
            Sig::QUIT => Signal::SIGQUIT,
            Sig::SEGV => Signal::SIGSEGV,
            Sig::TERM => Signal::SIGTERM,
            Sig::USR1 => Signal::SIGUSR1,
            Sig::Custom(name) if name == "USR2" => Signal::SIGUSR2,
            Sig::Custom(_) => return,
        };
        if !self.to_foreground(signal) {
            self.to_leader(signal);
        }
    }

    fn hang_up(&self) {
        self.to_foreground(Signal::SIGHUP);
        self.to_leader(Signal::SIGHUP);
        // Whoever is stopped gets to see it.
        self.to_foreground(Signal::SIGCONT);
        self.to_leader(Signal::SIGCONT);
        if self.terminal.is_none() {
            // Programs on pipes ignore a hang-up more often than not.
            self.to_leader(Signal::SIGTERM);
        }
    }

    fn to_leader(&self, signal: Signal) {
        let leader = self.leader.load(Ordering::SeqCst);
        if leader > 1 {
            let _ = killpg(Pid::from_raw(leader), signal);
        }
    }

    /// False if there is no terminal, or nobody in front of it.
    fn to_foreground(&self, signal: Signal) -> bool {
        let group = self.terminal.as_deref().and_then(foreground);
        group.is_some_and(|group| group > 1 && killpg(Pid::from_raw(group), signal).is_ok())
    }
}

/// The name of a signal without `SIG` (RFC 4254, section 6.10).
pub(crate) fn signal_name(signal: i32) -> Sig {
    match Signal::try_from(signal) {
        Ok(Signal::SIGABRT) => Sig::ABRT,
        Ok(Signal::SIGALRM) => Sig::ALRM,
        Ok(Signal::SIGFPE) => Sig::FPE,
        Ok(Signal::SIGHUP) => Sig::HUP,
        Ok(Signal::SIGILL) => Sig::ILL,
        Ok(Signal::SIGINT) => Sig::INT,
        Ok(Signal::SIGKILL) => Sig::KILL,
        Ok(Signal::SIGPIPE) => Sig::PIPE,
        Ok(Signal::SIGQUIT) => Sig::QUIT,
        Ok(Signal::SIGSEGV) => Sig::SEGV,
        Ok(Signal::SIGTERM) => Sig::TERM,
        Ok(Signal::SIGUSR1) => Sig::USR1,
        Ok(other) => Sig::Custom(other.as_str().trim_start_matches("SIG").to_owned()),
        Err(_) => Sig::Custom(signal.to_string()),
    }
}
