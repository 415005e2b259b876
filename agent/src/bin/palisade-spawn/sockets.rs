//! Sockets of the file system, made and opened as the user. The descriptor goes back over standard input, which is a
//! socket of the agent's.

use super::become_user::{account, become_user, close_others};
use nix::sys::stat::{Mode, umask};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::ffi::OsString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A directory of this name was made for one socket, and goes with it.
const PRIVATE: &str = "/tmp/palisade-";

struct Asked {
    private: bool,
    path: PathBuf,
}

/// Reads the arguments and becomes the user.
fn begin(args: Vec<OsString>) -> Result<Asked, String> {
    let (mut private, mut user, mut path) = (false, None, None);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--private") => private = true,
            Some("--user") => user = args.next(),
            Some("--") => path = args.next(),
            _ => return Err(format!("{} is not known", arg.display())),
        }
    }
    let (Some(user), Some(path)) = (user, path) else {
        return Err("a user and a path are needed".into());
    };
    close_others();
    let user = account(&user.to_string_lossy())?;
    become_user(&user)?;
    // Of what is made here nothing is for others.
    umask(Mode::from_bits_truncate(0o077));
    let mut path = PathBuf::from(path);
    if path.is_relative() {
        path = user.dir.join(path);
    }
    Ok(Asked { private, path })
}

pub(crate) fn connect(args: Vec<OsString>) -> Result<ExitCode, String> {
    let Asked { path, .. } = begin(args)?;
    let stream = UnixStream::connect(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    send(stream.as_fd())
}

pub(crate) fn listen(args: Vec<OsString>) -> Result<ExitCode, String> {
    let Asked { private, path } = begin(args)?;
    if private && let Some(dir) = path.parent() {
        // Somebody else's directory of this name is an error.
        let made = std::fs::DirBuilder::new().mode(0o700).create(dir);
        made.map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let listener = UnixListener::bind(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    send(listener.as_fd())
}

pub(crate) fn remove(args: Vec<OsString>) -> Result<ExitCode, String> {
    let Asked { path, .. } = begin(args)?;
    let socket = std::fs::symlink_metadata(&path).is_ok_and(|m| m.file_type().is_socket());
    if socket {
        std::fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if let Some(dir) = path.parent().filter(|dir| is_private(dir)) {
        // Whatever else is in it stays.
        let _ = std::fs::remove_dir(dir);
    }
    Ok(ExitCode::SUCCESS)
}

fn is_private(dir: &Path) -> bool {
    dir.to_str().is_some_and(|dir| dir.starts_with(PRIVATE))
}

fn send(descriptor: BorrowedFd<'_>) -> Result<ExitCode, String> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err("a descriptor does not fit".into());
    }
    sendmsg(
        rustix::stdio::stdin(),
        &[IoSlice::new(&[1])],
        &mut control,
        SendFlags::empty(),
    )
    .map_err(|e| format!("the agent does not listen: {e}"))?;
    Ok(ExitCode::SUCCESS)
}
