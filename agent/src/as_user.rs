//! Sockets of the host's file system, made and opened as the user, so that the kernel asks whether they may.
//!
//! The helper does it and hands the descriptor back; the agent itself never opens a path that a user named.

use crate::account::Account;
use crate::connection::Connection;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::ffi::OsStr;
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long the helper may take.
const WITHIN: Duration = Duration::from_secs(10);

/// What the helper is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Do {
    /// Connect to a socket.
    Connect,
    /// Listen on a new one.
    Listen,
    /// Listen on a new one in a new directory that nobody else may enter.
    ListenPrivately,
}

impl Do {
    fn words(self) -> &'static [&'static str] {
        match self {
            Do::Connect => &["connect"],
            Do::Listen => &["listen"],
            Do::ListenPrivately => &["listen", "--private"],
        }
    }
}

/// The descriptor of a socket that was opened as the user. The error is what the user reads.
pub(crate) async fn socket(connection: &Connection, what: Do, path: &Path) -> Result<OwnedFd, String> {
    let account = connection.account().ok_or("not logged in")?.clone();
    let (helper, path) = (connection.shared.config.helper.clone(), path.to_owned());
    tokio::task::spawn_blocking(move || ask(&helper, &account, what, &path))
        .await
        .map_err(|_| "the host failed".to_owned())?
}

/// Removes a socket that was made as the user, and its directory if that was made for it.
pub(crate) fn remove(connection: &Arc<Connection>, path: PathBuf) {
    let Some(account) = connection.account().cloned() else {
        return;
    };
    let helper = connection.shared.config.helper.clone();
    connection.shared.tasks.spawn_blocking(move || {
        let mut command = command(&helper, &account, &["remove"], path.as_os_str());
        if let Err(error) = command.stdin(Stdio::null()).stderr(Stdio::null()).status() {
            tracing::warn!(error = %error, "a socket could not be removed");
        }
    });
}

fn command(helper: &Path, account: &Account, words: &[&str], path: &OsStr) -> Command {
    let mut command = Command::new(helper);
    command.env_clear().current_dir("/").args(words);
    command.arg("--user").arg(&account.name).arg("--").arg(path);
    command.stdout(Stdio::null());
    command
}

fn ask(helper: &Path, account: &Account, what: Do, path: &Path) -> Result<OwnedFd, String> {
    let failed = |error: std::io::Error| format!("the host failed: {error}");
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    ours.set_read_timeout(Some(WITHIN)).map_err(failed)?;
    let mut command = command(helper, account, what.words(), path.as_os_str());
    let mut child = command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // While we hold the other end, its closing is not seen.
    drop(command);
    let got = receive(&ours);
    drop(ours);
    if got.is_err() {
        // It may still wait, for example for a socket that nobody accepts on.
        let _ = child.kill();
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(1000).read_to_string(&mut said);
    }
    child.wait().map_err(failed)?;
    got.map_err(|error| {
        let said = said.trim().trim_start_matches("palisade: ");
        if said.is_empty() {
            failed(error)
        } else {
            said.escape_debug().to_string()
        }
    })
}

fn receive(from: &UnixStream) -> std::io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    recvmsg(
        from,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message
            && let Some(descriptor) = descriptors.next()
        {
            return Ok(descriptor);
        }
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}
