//! The user's SSH agent on this host: a socket that only they reach, carried to the agent at their end.

use crate::as_user::{self, Do};
use crate::connection::Connection;
use crate::forward::{accept, listen_as_user};
use palisade_core::access::Ability;
use palisade_core::event::EventKind;
use palisade_session::ssh::russh::server::Handle;
use palisade_session::ssh::serve::Stop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UnixStream;

/// A socket for the user's agent; it goes when this is dropped.
pub(crate) struct AgentSocket {
    path: PathBuf,
    stop: Stop,
}

impl AgentSocket {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.stop.stop("the session is over");
    }
}

/// Makes the socket, as the user, in a directory of their own.
pub(crate) async fn open(connection: &Arc<Connection>) -> Result<AgentSocket, String> {
    let event = connection
        .event(EventKind::Forward)
        .with("kind", Ability::AgentForward.as_str());
    connection.audit(vec![event]).await.map_err(|e| e.to_string())?;
    let path = PathBuf::from(format!("/tmp/palisade-{:032x}/agent", rand::random::<u128>()));
    let listener = listen_as_user(connection, Do::ListenPrivately, &path).await?;
    let stop = Stop::default();
    let socket = AgentSocket {
        path: path.clone(),
        stop: stop.clone(),
    };
    let connection = Arc::clone(connection);
    connection.shared.tasks.clone().spawn(async move {
        let next = || async { listener.accept().await.map(|(stream, _)| stream) };
        let open =
            |user: Handle, stream: UnixStream| async move { Ok((user.channel_open_agent().await?, stream)) };
        accept(&connection, Ability::AgentForward, &stop, next, open).await;
        as_user::remove(&connection, path);
    });
    Ok(socket)
}
