//! The control socket: a file that only the node's own account and root may open.

use super::connection::{self, DRAIN};
use super::front::{Front, Side};
use crate::caller::{Caller, Peer};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another process answers there.
    #[error("{0} is in use: a node runs with this directory already")]
    InUse(PathBuf),
    /// Something else has the name.
    #[error("{0} is there and is no socket: move it away")]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("cannot make the control socket {path}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Makes the socket file, with mode 0600. One that a dead process left is replaced.
pub fn bind_control(path: &Path) -> Result<UnixListener, ControlError> {
    let failed = |source| ControlError::Io {
        path: path.into(),
        source,
    };
    // A socket file is an address, not data: nothing is read from or written to the disk here.
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => return Err(ControlError::NotASocket(path.into())),
        Ok(_) => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(ControlError::InUse(path.into()));
            }
            nix::unistd::unlink(path).map_err(|e| failed(e.into()))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Whoever slips in before this is still asked for their uid.
    let owner = Mode::S_IRUSR | Mode::S_IWUSR;
    fchmodat(AT_FDCWD, path, owner, FchmodatFlags::FollowSymlink).map_err(|e| failed(e.into()))?;
    Ok(listener)
}

/// Serves until `stop`, and then until open requests are answered or half a minute has passed.
pub async fn serve_control(listener: UnixListener, front: Arc<Front>, stop: CancellationToken) {
    let tracker = TaskTracker::new();
    let abort = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a control connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if !is_operator(&stream) {
            tracing::warn!("a control connection of another account was refused");
            continue;
        }
        let peer = Peer {
            caller: Caller::LocalOperator,
            addr: None,
        };
        let (front, stop, abort) = (front.clone(), stop.clone(), abort.clone());
        tracker.spawn(async move {
            tokio::select! {
                () = abort.cancelled() => {}
                () = connection::serve(stream, false, (peer, None), Side::Control, front, stop) => {}
            }
        });
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(DRAIN, tracker.wait()).await.is_err() {
        abort.cancel();
        tracker.wait().await;
    }
}

fn is_operator(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}
