//! One tunnel kept up: dialled, told who is here, listened to, and dialled anew at another node when it dies.

use super::Link;
use crate::seat::Mode;
use palisade_core::record::RecordingSite;
use palisade_core::tunnel::{
    Beat, BeatAck, HostSession, LiveConnection, MESSAGE_BYTES_MAX, Participant, SHIP_BYTES_MAX, ToNode,
};
use palisade_session::backoff::backoff;
use palisade_session::tunnel::wire::{WireError, read_message, write_message};
use palisade_session::tunnel::{Target, Tunnel, TunnelStream};
use rand::Rng as _;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Between two signs of life, when nothing changes.
const BEAT: Duration = Duration::from_secs(1);
/// A node that does not answer a beat for this long is gone.
const SILENCE: Duration = Duration::from_millis(2500);
/// Before a node is dialled again; jittered, so that the agents of a node that died do not come back at one moment.
const STEPS: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// A tunnel that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// How often a tunnel over TLS is tried over QUIC.
const UPGRADE: Duration = Duration::from_secs(30);

impl Link {
    /// Keeps one tunnel until `stop`.
    pub(super) async fn keep(self: Arc<Self>, number: usize, stop: CancellationToken) {
        let mut attempt = 0;
        while !stop.is_cancelled() {
            let Some(addr) = self.choose(number, attempt) else {
                // Every node has a tunnel already, or none is known.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_secs(1)) => continue,
                }
            };
            let begun = Instant::now();
            let why = tokio::select! {
                () = stop.cancelled() => return,
                why = self.one(&addr) => why,
            };
            self.remove(&addr);
            if begun.elapsed() > GOOD {
                attempt = 0;
            }
            tracing::info!(node = %addr, why, "a tunnel is down");
            let wait = backoff(&STEPS, attempt, rand::rng().random());
            attempt = attempt.saturating_add(1);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// A node without a tunnel, another one with each attempt.
    fn choose(&self, number: usize, attempt: u32) -> Option<String> {
        let nodes = self.config.nodes.borrow().clone();
        let taken = self.tunnels.lock();
        let free: Vec<_> = nodes
            .into_iter()
            .filter(|addr| !taken.contains_key(addr))
            .collect();
        // Spread by the host's name, so that agents do not all choose the same nodes.
        let spread = self
            .config
            .host
            .as_str()
            .bytes()
            .fold(0usize, |n, b| n.wrapping_mul(31).wrapping_add(b.into()));
        let at = spread.wrapping_add(number).wrapping_add(attempt as usize);
        (!free.is_empty()).then(|| free[at % free.len()].clone())
    }

    /// One tunnel from its first byte to its last; why it ended.
    async fn one(self: &Arc<Self>, addr: &str) -> String {
        let target = match target(addr).await {
            Ok(target) => target,
            Err(why) => return why,
        };
        let mut tunnel = match self.dialler.dial(&target).await {
            Ok(tunnel) => tunnel,
            Err(error) => return error.to_string(),
        };
        loop {
            // Two keepers may have had the same idea.
            if let Some(other) = self.add(addr, &tunnel)
                && !other.is_closed()
                && other.transport() == tunnel.transport()
            {
                self.add(addr, &other);
                tunnel.close();
                return "another tunnel to this node is up already".into();
            }
            tracing::info!(node = addr, transport = %tunnel.transport(), "a tunnel is up");
            let better = tokio::select! {
                why = self.live(&tunnel) => {
                    tunnel.close();
                    return why;
                }
                Some(better) = self.dialler.upgrade(&tunnel, &target, UPGRADE) => better,
            };
            // What runs through the old one may end by itself; it is served until then.
            let (this, old) = (Arc::clone(self), std::mem::replace(&mut tunnel, better));
            tokio::spawn(async move {
                tokio::select! {
                    () = old.clone().retire() => {}
                    _ = this.incoming(&old) => {}
                }
            });
        }
    }

    /// Says that we are here and serves what comes.
    async fn live(self: &Arc<Self>, tunnel: &Tunnel) -> String {
        let begun = async {
            let mut stream = tunnel.open().await?;
            write_message(&mut stream, &ToNode::Presence(self.hello()), MESSAGE_BYTES_MAX).await?;
            Ok::<_, WireError>(stream)
        };
        let stream = match begun.await {
            Ok(stream) => stream,
            Err(error) => return error.to_string(),
        };
        tokio::select! {
            why = self.beats(stream) => why,
            why = self.incoming(tunnel) => why,
            why = tunnel.closed() => why,
        }
    }

    async fn beats(&self, mut stream: TunnelStream) -> String {
        let mut labels = self.config.labels.clone();
        let mut changes = self.changes.subscribe();
        labels.mark_unchanged();
        let mut told_of = self.connections();
        let mut beat = Beat {
            labels: None,
            connections: Some(told_of.clone()),
        };
        loop {
            let told = async {
                write_message(&mut stream, &beat, SHIP_BYTES_MAX).await?;
                read_message::<BeatAck>(&mut stream, MESSAGE_BYTES_MAX).await
            };
            match tokio::time::timeout(SILENCE, told).await {
                Ok(Ok(Some(ack))) => {
                    if !ack.web_addrs.is_empty() {
                        self.config.nodes.send_if_modified(|nodes| {
                            let new = *nodes != ack.web_addrs;
                            *nodes = ack.web_addrs.clone();
                            new
                        });
                    }
                    if ack.leaving {
                        return "the node is stopping".into();
                    }
                }
                Ok(Ok(None)) => return "the node ended it".into(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "the node fell silent".into(),
            }
            beat = Beat::default();
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {}
                changed = labels.changed() => {
                    if changed.is_ok() {
                        beat.labels = Some(labels.borrow_and_update().clone());
                    }
                }
                changed = changes.changed() => {
                    if changed.is_ok() {
                        // Several changes at once are one beat.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        changes.mark_unchanged();
                    }
                }
            }
            let now = self.connections();
            if now != told_of {
                told_of.clone_from(&now);
                beat.connections = Some(now);
            }
        }
    }

    /// What is served now, as nodes are told.
    fn connections(&self) -> Vec<LiveConnection> {
        let mut all: Vec<_> = self
            .passes
            .lock()
            .iter()
            .map(|(id, pass)| LiveConnection {
                proof: pass.proof().to_vec(),
                connection: id.clone(),
                sessions: Vec::new(),
            })
            .collect();
        let Some(server) = self.server() else { return all };
        // A session that a node records is that node's to tell of.
        for row in server
            .live()
            .into_iter()
            .filter(|row| row.site == RecordingSite::Node)
        {
            let Some(of) = all.iter_mut().find(|one| one.connection == row.connection) else {
                continue;
            };
            let (Ok(session), listed) = (row.session.session.parse(), row.session) else {
                continue;
            };
            of.sessions.push(HostSession {
                session,
                login: listed.login,
                kind: listed.kind,
                started: listed.started,
                participants: row.participants.into_iter().map(told).collect(),
            });
        }
        all
    }
}

fn told(one: crate::seat::Participant) -> Participant {
    Participant {
        user: one.user,
        joined: match one.mode {
            Mode::Owner => None,
            Mode::Joined(mode) => Some(mode),
        },
    }
}

async fn target(addr: &str) -> Result<Target, String> {
    let name = addr.rsplit_once(':').map_or(addr, |(name, _)| name);
    let name =
        ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).map_err(|e| format!("{addr}: {e}"))?;
    let found = tokio::net::lookup_host(addr)
        .await
        .map_err(|e| format!("{addr}: {e}"))?;
    Ok(Target {
        addresses: found.collect(),
        name,
    })
}
