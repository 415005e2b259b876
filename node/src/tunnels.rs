//! Agents at this node: the doors that they and clients come in by, streams between nodes, and what nodes tell each
//! other about agents.

use crate::consensus::NodeConsensus;
use bytes::Bytes;
use palisade_ca::AgentIdentity;
use palisade_core::name::NodeId;
use palisade_core::ports::Pending;
use palisade_core::tunnel::{ALPN_CONNECT, ALPN_TUNNEL};
use palisade_proxy::tunnels::{ClientLink, HopStream, Hops, Listener, PRESENCE_EVERY, Share, Tunnels};
use palisade_session::tunnel::{Limits, QuicListener, Tunnel};
use palisade_web::{Caller, Front, Guest};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What nodes call each other for.
const PRESENCE: &str = "agents.presence";
/// After a change, until the others are told.
const TOGETHER: Duration = Duration::from_millis(30);
/// How long another node may take to hear.
const HEAR: Duration = Duration::from_millis(1500);

/// Streams to other nodes, over the Raft room's connections.
pub(crate) struct PeerHops(pub(crate) Arc<NodeConsensus>);

impl Hops for PeerHops {
    fn open(&self, node: NodeId) -> Pending<'_, io::Result<Box<dyn HopStream>>> {
        Box::pin(async move {
            let hop = self.0.raft().peers().hop(node).await.map_err(io::Error::other)?;
            Ok(Box::new(hop) as Box<dyn HopStream>)
        })
    }
}

/// Opens the doors, and begins to tell the other nodes.
pub(crate) fn start(
    tunnels: &Arc<Tunnels>,
    consensus: &Arc<NodeConsensus>,
    front: &Front,
    stop: &CancellationToken,
) {
    let raft = consensus.raft();
    let here = Arc::clone(tunnels);
    raft.on_hop(Arc::new(move |_, hop| {
        let here = Arc::clone(&here);
        Box::pin(here.serve_hop(hop))
    }));
    let here = Arc::clone(tunnels);
    raft.on_call(PRESENCE, move |from, body| {
        let heard = rmp_serde::from_slice::<Share>(&body)
            .map(|share| here.hear(from, share))
            .map_err(|e| e.to_string());
        Box::pin(async move { Ok(Bytes::copy_from_slice(&heard?.to_be_bytes())) })
    });
    let here = Arc::clone(tunnels);
    front.set_door(
        ALPN_CONNECT,
        Arc::new(move |guest: Guest| {
            let here = Arc::clone(&here);
            Box::pin(async move {
                // Nobody else has anything to say here; the handshake told them that they need a certificate.
                if let Caller::User(certified) = guest.caller {
                    let link = ClientLink {
                        stream: guest.stream,
                        user: certified.name,
                        addr: guest.addr,
                    };
                    here.serve_client(link).await;
                }
            })
        }),
    );
    let here = Arc::clone(tunnels);
    front.set_door(
        ALPN_TUNNEL,
        Arc::new(move |guest: Guest| {
            let here = Arc::clone(&here);
            Box::pin(async move {
                if let Caller::Agent(identity) = guest.caller {
                    let tunnel = Tunnel::accept_over(guest.stream, Limits::default());
                    here.serve_agent(tunnel, identity, guest.addr).await;
                }
            })
        }),
    );
    tokio::spawn(tell(Arc::clone(tunnels), Arc::clone(consensus), stop.clone()));
}

/// Takes tunnels over QUIC until `stop`; new ones use the newest certificate.
pub(crate) async fn serve_quic(
    tunnels: Arc<Tunnels>,
    listen: SocketAddr,
    mut tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    stop: CancellationToken,
) {
    let own = |tls: &Arc<rustls::ServerConfig>| {
        let mut config = (**tls).clone();
        config.alpn_protocols = vec![ALPN_TUNNEL.to_vec()];
        config
    };
    let first = own(&tls.borrow_and_update());
    let listener = match QuicListener::bind(listen, first, Limits::default()) {
        Ok(listener) => listener,
        Err(error) => {
            // Agents fall back to TLS; it is slower, and it works.
            return tracing::warn!(%listen, error = %error, "no tunnels over QUIC");
        }
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            changed = tls.changed() => {
                if changed.is_err() { break }
                let renewed = own(&tls.borrow_and_update());
                if let Err(error) = listener.renew(renewed) {
                    tracing::warn!(error = %error, "tunnels over QUIC keep the old certificate");
                }
            }
            accepted = listener.accept() => {
                let Some(accepted) = accepted else { break };
                let identity = accepted.certificates.first().and_then(|c| AgentIdentity::from_certificate(c));
                let Some(identity) = identity else {
                    accepted.tunnel.close();
                    continue;
                };
                let here = Arc::clone(&tunnels);
                tokio::spawn(here.serve_agent(accepted.tunnel, identity, accepted.remote));
            }
        }
    }
    listener.close().await;
}

/// Tells every other node what changed here, at least twice a second, so that silence means absence.
async fn tell(tunnels: Arc<Tunnels>, consensus: Arc<NodeConsensus>, stop: CancellationToken) {
    let run: u64 = rand::random();
    let mut told: BTreeMap<NodeId, watch::Sender<()>> = BTreeMap::new();
    loop {
        let others = consensus.raft().peers().others();
        told.retain(|node, _| others.contains(node));
        for node in others {
            told.entry(node).or_insert_with(|| {
                let (alive, gone) = watch::channel(());
                tokio::spawn(tell_one(
                    Arc::clone(&tunnels),
                    Arc::clone(&consensus),
                    node,
                    run,
                    gone,
                ));
                alive
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn tell_one(
    tunnels: Arc<Tunnels>,
    consensus: Arc<NodeConsensus>,
    node: NodeId,
    run: u64,
    mut gone: watch::Receiver<()>,
) {
    let mut listener = Listener::default();
    let mut seen = 0;
    loop {
        let next = listener.next(&tunnels, run);
        let heard = match rmp_serde::to_vec_named(&next.0) {
            Ok(body) => consensus
                .raft()
                .peers()
                .call(node, PRESENCE, body.into(), HEAR)
                .await
                .ok()
                .and_then(|answer| <[u8; 8]>::try_from(&answer[..]).ok())
                .map(u64::from_be_bytes),
            Err(_) => None,
        };
        listener.answered(next, heard.unwrap_or(0));
        tokio::select! {
            _ = gone.changed() => return,
            now = tunnels.presence_changed(seen) => {
                seen = now;
                // When thousands come at once, what comes in this time is one message.
                tokio::time::sleep(TOGETHER).await;
            }
            () = tokio::time::sleep(PRESENCE_EVERY) => {}
        }
        if heard.is_none() {
            // A node that does not answer is not asked faster than this.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
