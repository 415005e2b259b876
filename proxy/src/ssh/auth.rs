//! Authentication by user certificate, the same for outer and inner connections.

use crate::ssh::limits::Waiting;
use crate::ssh::node::{Node, Who};
use palisade_core::command::{Actor, Command};
use palisade_core::event::{Event, EventKind};
use palisade_session::ssh::keys::ssh_key::Certificate;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Refusals of strangers that are audited each second; the rest is counted. Strangers must not fill the log.
const STRANGERS_PER_SECOND: u64 = 5;

/// One connection's authentication.
pub(crate) struct Door {
    node: Arc<Node>,
    peer: SocketAddr,
    waiting: Option<Waiting>,
    passed: Arc<AtomicBool>,
}

impl Door {
    pub(crate) fn new(node: Arc<Node>, peer: SocketAddr, waiting: Option<Waiting>) -> Self {
        Door {
            node,
            peer,
            waiting,
            passed: Arc::default(),
        }
    }

    /// Becomes true when somebody authenticated.
    pub(crate) fn passed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.passed)
    }

    /// Who holds this certificate, if it is good. The handshake has proved that they hold its key.
    pub(crate) async fn knock(&mut self, certificate: &Certificate, login: &str) -> Option<Who> {
        let now = self.node.consensus.now();
        match self.node.authorities.check_user(certificate, self.peer.ip(), now) {
            Ok(holder) => {
                self.passed.store(true, Ordering::SeqCst);
                self.waiting = None;
                Some(Who {
                    holder,
                    peer: self.peer,
                })
            }
            Err(reason) => {
                self.refuse(certificate.key_id(), login, &reason.to_string())
                    .await;
                None
            }
        }
    }

    /// Notes a refusal of somebody who did not prove who they are.
    pub(crate) async fn refuse(&self, key_id: &str, login: &str, reason: &str) {
        static WINDOW: AtomicU64 = AtomicU64::new(0);
        static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
        // High half: the second; low half: how many in it.
        let second = self.node.consensus.now().secs() & 0xffff_ffff;
        let count = WINDOW
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |w| {
                Some(if w >> 32 == second {
                    w + 1
                } else {
                    (second << 32) | 1
                })
            })
            .map_or(0, |w| if w >> 32 == second { w & 0xffff_ffff } else { 0 });
        if count >= STRANGERS_PER_SECOND {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let shown = |text: &str| {
            text.chars()
                .take(128)
                .collect::<String>()
                .escape_debug()
                .to_string()
        };
        let mut event = Event::new(EventKind::SessionRefused)
            .addr(self.peer.to_string())
            .login(shown(login))
            .message(reason)
            .with("claimed_key_id", shown(key_id));
        let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            event = event.with("not_logged_before", left_out);
        }
        let actor = Actor {
            name: String::new(),
            addr: self.peer.to_string(),
        };
        let (node, peer) = (Arc::clone(&self.node), self.peer);
        // Not waited for: a stranger's refusal must not be slower than the log.
        self.node.tasks.spawn(async move {
            let command = Command::Audit { events: vec![event] };
            if let Err(error) = node.commit(actor, node.consensus.new_id(), command).await {
                tracing::warn!(client.addr = %peer, error = %error, "a refusal could not be audited");
            }
        });
    }
}
