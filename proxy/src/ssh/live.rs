//! Sessions that this node carries now.

use palisade_core::api::LiveSession;
use palisade_core::name::SessionId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// The live sessions of one node.
#[derive(Debug, Default)]
pub struct Live {
    sessions: Mutex<HashMap<SessionId, (LiveSession, Stop)>>,
}

/// A reason to end, once there is one.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<watch::Sender<Option<String>>>);

impl Default for Stop {
    fn default() -> Self {
        Stop(Arc::new(watch::Sender::new(None)))
    }
}

impl Stop {
    /// Ends whatever waits. The first reason stays.
    pub(crate) fn stop(&self, reason: &str) {
        self.0.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(reason.to_owned());
            }
            first
        });
    }

    /// The reason, if there is one by now.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits for a reason.
    pub(crate) async fn stopped(&self) -> String {
        let mut changes = self.0.subscribe();
        // It cannot fail: the sender is `self`.
        let reason = changes
            .wait_for(Option::is_some)
            .await
            .map(|reason| reason.clone());
        reason.ok().flatten().unwrap_or_default()
    }
}

impl Live {
    /// All of them, oldest first.
    pub fn list(&self) -> Vec<LiveSession> {
        let mut all: Vec<_> = self
            .sessions
            .lock()
            .values()
            .map(|(session, _)| session.clone())
            .collect();
        all.sort_by(|a, b| (a.started, &a.session).cmp(&(b.started, &b.session)));
        all
    }

    /// Ends one; the user reads `why`. False if it does not run here.
    pub fn end(&self, session: &SessionId, why: &str) -> bool {
        let sessions = self.sessions.lock();
        let found = sessions.get(session);
        if let Some((_, stop)) = found {
            stop.stop(why);
        }
        found.is_some()
    }

    pub(crate) fn add(self: &Arc<Self>, id: SessionId, session: LiveSession, stop: Stop) -> Entry {
        self.sessions.lock().insert(id.clone(), (session, stop));
        Entry {
            live: Arc::clone(self),
            id,
        }
    }
}

/// One live session; it is no longer listed when this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    live: Arc<Live>,
    id: SessionId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.live.sessions.lock().remove(&self.id);
    }
}
