//! The SSH server of one host: shared by all of its connections.

use crate::config::{HostIdentity, ServerConfig};
use crate::connection::Connection;
use crate::handler::Handler;
use crate::room::Room;
use crate::seat::Participant;
use crate::spool::Spool;
use crate::uplink::Uplink;
use palisade_core::api::LiveSession;
use palisade_core::name::SessionId;
use palisade_core::pass::Pass;
use palisade_core::record::RecordingSite;
use palisade_session::ssh::config;
use palisade_session::ssh::keys::PublicKey;
use palisade_session::ssh::serve::{self, Ending};
use palisade_session::ssh::stream::Transport;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// How long the ends of sessions may take to be written when the agent stops.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A session that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRow {
    /// What is listed. The node is not known here: it is 0.
    pub session: LiveSession,
    /// The connection that answers for it: its owner's, or the one that they lost last.
    pub connection: String,
    /// Who is in the room.
    pub participants: Vec<Participant>,
    /// Who records it: this agent (`node`), or the node that carries it (`proxy`).
    pub site: RecordingSite,
}

pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    pub(crate) uplink: Arc<dyn Uplink>,
    pub(crate) spool: Arc<Spool>,
    identity: RwLock<HostIdentity>,
    user_authorities: RwLock<Vec<PublicKey>>,
    pub(crate) rooms: Mutex<HashMap<SessionId, Arc<Room>>>,
    connections: Mutex<Vec<Weak<Connection>>>,
    /// Everything that outlives a connection: sessions, and the writing of their ends.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn user_authorities(&self) -> Vec<PublicKey> {
        self.user_authorities.read().clone()
    }
}

/// The SSH server of a host.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.shared.config.host)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server. Nothing runs until it is given connections, but recordings that wait in the spool are shipped.
    pub fn new(config: ServerConfig, uplink: Arc<dyn Uplink>) -> Arc<Self> {
        let spool = Spool::open(config.spool.clone(), config.spool_bytes_max, Arc::clone(&uplink));
        Arc::new(Server {
            shared: Arc::new(Shared {
                identity: RwLock::new(config.identity.clone()),
                user_authorities: RwLock::new(config.user_authorities.clone()),
                config,
                uplink,
                spool,
                rooms: Mutex::default(),
                connections: Mutex::default(),
                tasks: TaskTracker::new(),
            }),
        })
    }

    /// The key and certificate of connections from now on.
    pub fn set_identity(&self, identity: HostIdentity) {
        *self.shared.identity.write() = identity;
    }

    /// The user authorities that are believed from now on.
    pub fn set_user_authorities(&self, keys: Vec<PublicKey>) {
        *self.shared.user_authorities.write() = keys;
    }

    /// Serves one SSH connection, for which a node made `pass`, to its end.
    pub async fn serve<S>(&self, stream: S, pass: Pass)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (_here, linked) = watch::channel(true);
        self.serve_linked(stream, pass, linked).await;
    }

    /// The same, where the connection goes on for a while though its client cannot be reached: `linked` says whether it
    /// can.
    pub async fn serve_linked<S>(&self, stream: S, pass: Pass, linked: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let transport = Transport::new(stream);
        let connection = Connection::new(Arc::clone(&self.shared), pass, transport.egress(), linked);
        self.remember(&connection);
        let HostIdentity { key, certificate } = self.shared.identity.read().clone();
        let handler = Handler::new(Arc::clone(&connection));
        let passed = handler.passed();
        let run = serve::run(
            config::server(key, certificate),
            transport,
            handler,
            passed,
            self.shared.config.login_grace,
            &connection.stop,
        );
        tokio::pin!(run);
        let mut over = Over(Arc::clone(&connection), Ending::Lost);
        over.1 = tokio::select! {
            how = &mut run => how,
            reason = connection.watch() => {
                connection.stop.stop(&reason);
                run.await
            }
        };
    }

    fn remember(&self, connection: &Arc<Connection>) {
        let mut all = self.shared.connections.lock();
        all.retain(|old| old.strong_count() > 0);
        all.push(Arc::downgrade(connection));
    }

    /// Sessions that run here now, oldest first.
    pub fn live(&self) -> Vec<LiveRow> {
        let rooms: Vec<_> = self.shared.rooms.lock().values().cloned().collect();
        let mut rows: Vec<_> = rooms.iter().map(|room| room.row()).collect();
        rows.sort_by(|a, b| {
            (a.session.started, &a.session.session).cmp(&(b.session.started, &b.session.session))
        });
        rows
    }

    /// Ends a session; whoever is in the room reads `why`. False if it does not run here.
    pub fn end(&self, session: &SessionId, why: &str) -> bool {
        let found = self.shared.rooms.lock().get(session).cloned();
        if let Some(room) = &found {
            room.stop.stop(why);
        }
        found.is_some()
    }

    /// A new decision about a connection: what it takes away ends at once, and if it is a refusal everything does. The
    /// reason is what the user reads.
    pub fn revise(&self, connection: &str, decision: &Result<Pass, String>) {
        let found: Vec<_> = {
            let all = self.shared.connections.lock();
            all.iter().filter_map(Weak::upgrade).collect()
        };
        for one in found {
            if one.pass().claims().connection == connection {
                one.revise(decision.clone());
            }
        }
    }

    /// Ends every session with a reason, and waits a little for their ends to be written.
    pub async fn shutdown(&self, why: &str) {
        let connections: Vec<_> = {
            let all = self.shared.connections.lock();
            all.iter().filter_map(Weak::upgrade).collect()
        };
        let rooms: Vec<_> = self.shared.rooms.lock().values().cloned().collect();
        rooms.iter().for_each(|room| room.stop.stop(why));
        connections
            .iter()
            .for_each(|connection| connection.stop.stop(why));
        self.shared.tasks.close();
        // A connection without a session has its goodbye to say as well.
        let over = async {
            self.shared.tasks.wait().await;
            for connection in &connections {
                connection.ending().await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, over).await.is_err() {
            tracing::warn!(
                left = self.shared.tasks.len(),
                "sessions were cut off before their end was written"
            );
        }
    }
}

/// Says how a connection ended, also when its task was cut off.
struct Over(Arc<Connection>, Ending);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.ended(self.1);
    }
}
